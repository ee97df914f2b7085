/* Ping-pong: a request is a message of a fixed size, the answer the same bytes from an echo server.
 *
 * Ownership: pong_wire_new() to pong_wire_free(). Threads: read-only once made. */
#pragma once
#include "bench/load/wire.h"

/* size: bytes of a message, at least 1. */
struct wire *pong_wire_new(uint64_t size);
void pong_wire_free(struct wire *w); /* NULL is fine */
