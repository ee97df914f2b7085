/* A growing run of bytes with a read position.
 *
 * What for: bytes that were received but not consumed yet, or a message that is being composed.
 * Invariants: start <= end <= cap; data[start, end) is the content. Growing changes the address, so
 * keep offsets, not pointers, across buffer_reserve() and buffer_append().
 * Ownership: the buffer owns data; {0} and a released buffer own nothing. Threads: the owner's.
 * Memory: sizes come from the network, so growing can fail (false) and never aborts. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct buffer {
    char *data;
    size_t start, end, cap;
};

/* For buffer_reserve(), where there is not enough room. */
bool buffer_grow(struct buffer *b, size_t n);
/* Frees the memory and empties the buffer. */
void buffer_release(struct buffer *b);

/* Makes room for n more bytes after the content, which may be copied to another address for that.
 * False: out of memory; the buffer is unchanged. */
static inline bool buffer_reserve(struct buffer *b, size_t n)
{
    return n <= b->cap - b->end || buffer_grow(b, n);
}

static inline size_t buffer_len(const struct buffer *b)
{
    return b->end - b->start;
}

/* The first byte of the content; NULL if no memory was ever reserved. */
static inline char *buffer_head(struct buffer *b)
{
    return b->data ? b->data + b->start : NULL; /* NULL + 0 is not defined in C */
}

/* Empties the buffer and keeps its memory. */
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

/* Copies n bytes to the end of the content. False: out of memory; the buffer is unchanged. */
static inline bool buffer_append(struct buffer *b, const void *p, size_t n)
{
    if (!buffer_reserve(b, n))
        return false;
    if (n)
        memcpy(b->data + b->end, p, n);
    b->end += n;
    return true;
}
