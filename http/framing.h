/* Decodes the body of a message: finds its end and removes the framing.
 *
 * What for: one decoder for bodies with a length, chunked bodies (RFC 9112 7.1) and bodies that
 * last to the end of the connection. A body that two readers could end at different bytes is
 * refused (docs/http.md, Requests that are refused).
 * Invariants: decodes in place, and never past the end of the message: the bytes after it belong to
 * the next message.
 * Ownership: trailers are on the heap until framing_deinit(). Threads: the owner's. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/head.h"

enum framing_result {
    FRAMING_MORE,  /* the body is not complete yet */
    FRAMING_DONE,  /* the body is complete; its last byte was among those used */
    FRAMING_ERROR, /* the framing is malformed: see framing_status(); do not decode further */
};

struct trailers;

struct framing {
    uint8_t kind;  /* enum body_kind */
    uint8_t state; /* chunked: enum state of framing.c */
    uint16_t line; /* chunked: bytes of the present size line so far */
    uint32_t max_trailers;
    uint64_t left;             /* bytes still to come of the body, or of the present chunk */
    struct trailers *trailers; /* NULL until the first trailer begins */
};

/* How the body of an answer ends (RFC 9112 6.3). The fields alone do not tell: answers to HEAD and
 * answers with 1xx, 204 or 304 have no body. */
enum body_kind framing_of_answer(const struct head *answer, bool request_was_head);

/* Begins a body. length: of a BODY_LENGTH. max_trailers: bytes of the trailer section; a larger one
 * is a FRAMING_ERROR with status 431. */
void framing_init(struct framing *f, enum body_kind kind, uint64_t length, uint32_t max_trailers);
void framing_free_trailers(struct framing *f);
static inline void framing_deinit(struct framing *f)
{
    if (f->trailers)
        framing_free_trailers(f);
}

/* Decodes the next bytes, data[0, len). *used: how many of them belong to this message. Their
 * payload (the bytes without framing) is copied to the front, data[0, *payload), so data[0,
 * *used) is overwritten. BODY_NONE is done at once and uses nothing; BODY_CLOSE is never done
 * by itself. */
enum framing_result framing_decode(struct framing *f, char *data, size_t len, size_t *used,
                                   size_t *payload);
/* After FRAMING_ERROR: 400 or 431. */
int framing_status(const struct framing *f);
/* The trailers of a chunked body, after FRAMING_DONE: *trailers has the fields, *base the bytes
 * that their offsets refer to; both live until framing_deinit(). Those that are useless as trailers
 * (field_as_trailer()) have `hop` set: they are not passed on. False: there are no trailers. */
bool framing_trailers(const struct framing *f, const struct head **trailers, const char **base);
/* After FRAMING_DONE: trailers with this name, by field_may_be(), are not passed on either. */
void framing_drop_trailers(struct framing *f, struct str name);
