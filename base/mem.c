#include "base/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Not through the log: that could need memory itself. */
static void *check(void *p)
{
    if (p == NULL) {
        fputs("ringproxy: out of memory\n", stderr);
        abort();
    }
    return p;
}

void *mem_zalloc(size_t n)
{
    return check(calloc(1, n ? n : 1)); /* calloc(0) may return NULL, which is no failure here */
}

void *mem_zalloc_array(size_t count, size_t size)
{
    return check(calloc(count ? count : 1, size ? size : 1)); /* calloc() checks the product */
}

void *mem_grow(void *old, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        return check(NULL);
    size_t bytes = count * size;
    return check(realloc(old, bytes ? bytes : 1));
}

char *mem_strdup(const char *s)
{
    return check(strdup(s));
}

char *mem_strndup(const char *s, size_t n)
{
    return check(strndup(s, n));
}
