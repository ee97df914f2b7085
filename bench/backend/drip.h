/* The bytes of a body as they are due: at once or evenly over a time, in chunks or as they are.
 *
 * Invariants: a body goes out byte for byte in order; its chunks have the size asked for, but for
 * the last one and those cut short because no more was due.
 * Ownership: struct drip points into bytes of its maker, who keeps them until it has ended.
 * Pure; when memory is out some of what was due may have been put. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/str.h"

struct drip {
    const char *p; /* what has not gone out yet */
    size_t left, total;
    size_t chunk_size; /* 0: not in chunks */
    size_t in_chunk;   /* of a chunk whose size is out already */
    bool last_chunk;   /* is to come */
    uint64_t drip_ms;  /* 0: at once */
    uint64_t begun_ns; /* dripped: since then; 0: not begun */
};

/* A body that has not begun. */
struct drip drip_of(struct str bytes, size_t chunk_size, uint64_t drip_ms);
static inline bool drip_ended(const struct drip *b)
{
    return b->left == 0 && b->in_chunk == 0 && !b->last_chunk;
}

/* Puts what is due at now_ns (of a dripped body, which begins with the first call; others need no
 * time) while out holds no more than `most` bytes. False: no memory. */
bool drip_put(struct buffer *out, struct drip *b, uint64_t now_ns, size_t most);
/* When the next bytes of a body that has begun to drip are due; they may be already. */
uint64_t drip_due_ns(const struct drip *b);
