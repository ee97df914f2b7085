#include "base/buffer.h"

#include <stdint.h>
#include <stdlib.h>

bool buffer_grow(struct buffer *b, size_t n)
{
    size_t len = b->end - b->start;
    if (n > SIZE_MAX / 4 - len) /* the sum and the doubling below would overflow */
        return false;
    if (b->start && len + n <= b->cap) { /* the consumed front alone makes enough room */
        memmove(b->data, b->data + b->start, len);
    } else {
        size_t cap = b->cap ? b->cap : 512;
        while (cap < len + n)
            cap *= 2;
        /* malloc() and not realloc(), which would also copy the consumed front */
        char *data = malloc(cap);
        if (data == NULL)
            return false;
        if (len)
            memcpy(data, b->data + b->start, len);
        free(b->data);
        b->data = data;
        b->cap = cap;
    }
    b->start = 0;
    b->end = len;
    return true;
}

void buffer_release(struct buffer *b)
{
    free(b->data);
    *b = (struct buffer){0};
}
