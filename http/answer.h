/* The proxy's own answers, 400 to 505.
 * Pure. */
#pragma once
#include <stdbool.h>

#include "base/buffer.h"
#include "base/str.h"

/* Appends a whole answer (text/plain body "502 Bad Gateway\n", Content-Length, Via not needed).
 * close: says Connection: close. head: the request was HEAD, no body. date: "Date: ...\r\n", at
 * most 64 bytes, or empty. False: no memory. */
bool answer_write(struct buffer *out, int status, bool close, bool head, struct str date);
const char *answer_reason(int status); /* "Bad Gateway"; "Unknown" where there is none */
