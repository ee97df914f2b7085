/* What the peers of fuzz_exchange.c say: requests and answers by number, each with a serial of its
 * own, so that no two can be taken for each other.
 * Pure, but for the buffer. */
#pragma once
#include "base/buffer.h"

/* Appends request or answer n (any number). */
void script_request(struct buffer *out, unsigned n, unsigned serial);
void script_answer(struct buffer *out, unsigned n, unsigned serial);
