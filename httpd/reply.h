/* Composes the head of an answer.
 *
 * What for: heads in one pass over a buffer of the right size, as each request needs one.
 * Invariants: pure; when memory is out, the buffer is as before.
 * Ownership: appends to the caller's buffer.
 * Threads: any. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/str.h"

enum reply_framing {
    REPLY_LENGTH,  /* Content-Length */
    REPLY_CHUNKED, /* Transfer-Encoding: chunked */
    REPLY_CLOSE,   /* neither: the body lasts to the end of the connection */
};

struct reply_head {
    int status;
    struct str date;            /* "Date: ...\r\n", or empty */
    struct str type;            /* of the Content-Type; empty: no such field */
    struct str fields;          /* further field lines */
    const char *persists;       /* the value of Connection; NULL: no such field */
    enum reply_framing framing; /* a 204 has none, whatever this says */
    size_t length;              /* for REPLY_LENGTH */
};

/* Appends the head. False: memory is out. */
bool reply_put_head(struct buffer *out, const struct reply_head *h);
