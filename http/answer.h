/* The answers that the proxy itself composes, such as 400 or 503. docs/http.md, Requests that are
 * refused.
 * Ownership: appends to the caller's buffer. Pure. */
#pragma once
#include <stdbool.h>

#include "base/buffer.h"
#include "base/str.h"

/* Appends a complete answer with a body such as "502 Bad Gateway\n".
 * status: 200 to 599 with a body, so neither 204 nor 304. close: add Connection: close. head: the
 * request was HEAD, so leave out the body (RFC 9110 9.3.2). date: a whole field line
 * "Date: ...\r\n" of at most 64 bytes, or empty. False: out of memory; the buffer is unchanged. */
bool answer_write(struct buffer *out, int status, bool close, bool head, struct str date);
/* The reason phrase of a status, "Bad Gateway"; "Unknown" for a status that the proxy never sends
 * itself. A constant. */
const char *answer_reason(int status);
