/* A growing run of bytes with a read position: what was received and not used yet, or what is
 * being composed.
 *
 * Invariants: 0 <= start <= end <= cap; data[start, end) is the content. Growing moves the memory,
 * so keep offsets, not pointers, across buffer_reserve().
 * Ownership: owns data; an empty buffer that was released owns nothing. Threads: the owner's.
 * Memory: sizes come from the network, so growing fails (false) instead of aborting. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct buffer {
    char *data;
    size_t start, end, cap;
};

/* Room for n more bytes behind the content (may move it). False: no memory; nothing changed. */
bool buffer_reserve(struct buffer *b, size_t n);
/* Frees the memory and empties the buffer. */
void buffer_release(struct buffer *b);

static inline size_t buffer_len(const struct buffer *b)
{
    return b->end - b->start;
}

static inline char *buffer_head(struct buffer *b)
{
    return b->data ? b->data + b->start : NULL; /* NULL + 0 is not defined in C */
}

static inline void buffer_clear(struct buffer *b)
{
    b->start = b->end = 0;
}

/* Drops n bytes from the front, n <= buffer_len(). */
static inline void buffer_consume(struct buffer *b, size_t n)
{
    b->start += n;
    if (b->start == b->end)
        b->start = b->end = 0;
}

static inline bool buffer_append(struct buffer *b, const void *p, size_t n)
{
    if (n > b->cap - b->end && !buffer_reserve(b, n))
        return false;
    if (n)
        memcpy(b->data + b->end, p, n);
    b->end += n;
    return true;
}
