/* The bytes of miniserver's answers: a head; a body whole, in chunks, or evenly over a time.
 *
 * Invariants: a body goes out byte for byte in order; its chunks have the size asked for, but for
 * the last one and those cut short because no more was due.
 * Ownership: struct reply_body points into bytes of its maker, who keeps them until it has ended.
 * Pure; when memory is out nothing of the head was put, of a body maybe some. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/str.h"

struct reply_head {
    int status;
    struct str date;      /* "Date: ...\r\n" or empty */
    struct str type;      /* of the content; empty: none */
    struct str fields;    /* further field lines */
    const char *persists; /* the value of Connection; NULL: no such field */
    bool chunked;         /* else Content-Length; a 204 has neither */
    size_t length;
};

bool reply_put_head(struct buffer *out, const struct reply_head *h);

struct reply_body {
    const char *p; /* what has not gone out yet */
    size_t left, total;
    size_t chunk_size; /* 0: not in chunks */
    size_t in_chunk;   /* of a chunk whose size is out already */
    bool last_chunk;   /* is to come */
    uint64_t drip_ms;  /* 0: at once */
    uint64_t begun_ns; /* dripped: since then; 0: not begun */
};

/* A body that has not begun. */
struct reply_body reply_body(struct str bytes, size_t chunk_size, uint64_t drip_ms);
static inline bool reply_ended(const struct reply_body *b)
{
    return b->left == 0 && b->in_chunk == 0 && !b->last_chunk;
}

/* Puts what is due at now_ns (of a dripped body, which begins with the first call; others need no
 * time) while out holds no more than `most` bytes. False: no memory. */
bool reply_put_body(struct buffer *out, struct reply_body *b, uint64_t now_ns, size_t most);
/* When the next bytes of a body that has begun to drip are due; they may be already. */
uint64_t reply_due_ns(const struct reply_body *b);
