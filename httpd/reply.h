/* The bytes of an answer's head.
 *
 * Ownership: appends to the caller's buffer. Pure; when memory is out nothing was put. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/str.h"

enum reply_framing {
    REPLY_LENGTH,  /* Content-Length */
    REPLY_CHUNKED, /* Transfer-Encoding: chunked */
    REPLY_CLOSE,   /* neither, the body goes to the end of the connection */
};

struct reply_head {
    int status;
    struct str date;            /* "Date: ...\r\n" or empty */
    struct str type;            /* of the content; empty: none */
    struct str fields;          /* further field lines */
    const char *persists;       /* the value of Connection; NULL: no such field */
    enum reply_framing framing; /* a 204 has none whatever this says */
    size_t length;
};

bool reply_put_head(struct buffer *out, const struct reply_head *h);
