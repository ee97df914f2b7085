/* Where a message's body ends, and its bytes without the framing.
 *
 * What for: one decoder for bodies by length, chunked (RFC 9112 7.1) and to the end of the
 * connection. What two readers could end differently is refused.
 * Invariants: decodes in place and never beyond the end of the message, so what follows stays for
 * the next one.
 * Ownership: trailers are kept on the heap until framing_deinit(). Threads: the owner's. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/head.h"

enum framing_result {
    FRAMING_MORE,  /* the body goes on */
    FRAMING_DONE,  /* the last byte was among those used */
    FRAMING_ERROR, /* malformed: 400 for a request, a broken answer for an answer */
};

struct trailers;

struct framing {
    uint8_t kind;  /* enum body_kind */
    uint8_t state; /* chunked: where in the grammar */
    uint16_t line; /* chunked: bytes of a chunk's size line so far */
    uint32_t max_trailers;
    uint64_t left;             /* bytes to come: of the body, or of this chunk */
    struct trailers *trailers; /* NULL until one begins */
};

/* How an answer's body ends, RFC 9112 6.3: needs the request's method. 1xx, 204, 304 and answers to
 * HEAD have none. */
enum body_kind framing_of_answer(const struct head *answer, bool request_was_head);

/* max_trailers: bytes of trailer fields, beyond is FRAMING_ERROR with framing_status() 431. */
void framing_init(struct framing *f, enum body_kind kind, uint64_t length, uint32_t max_trailers);
void framing_deinit(struct framing *f);

/* Takes bytes from data[0, len): *used of them belong to this message; the payload among them is
 * moved to the front, data[0, *payload). BODY_NONE: done at once with nothing used. BODY_CLOSE:
 * never done by itself. Bytes of data[0, *used) are overwritten. */
enum framing_result framing_decode(struct framing *f, char *data, size_t len, size_t *used,
                                   size_t *payload);
/* After FRAMING_ERROR: 400 or 431. */
int framing_status(const struct framing *f);
/* After FRAMING_DONE of a chunked body: its trailer fields (checked: no framing, routing or other
 * field that may not be a trailer, RFC 9110 6.5.1) and the bytes they point into; false: none. */
bool framing_trailers(const struct framing *f, const struct head **trailers, const char **base);
