#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

void *mem_check(void *p)
{
    if (p == NULL) {
        log_last_words("ringproxy: out of memory\n");
        abort();
    }
    return p;
}

void *mem_zalloc(size_t n)
{
    return mem_check(
        calloc(1, n ? n : 1)); /* calloc(0) may return NULL, which is no failure here */
}

void *mem_zalloc_array(size_t count, size_t size)
{
    return mem_check(calloc(count ? count : 1, size ? size : 1)); /* calloc() checks the product */
}

void *mem_grow(void *old, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        return mem_check(NULL);
    size_t bytes = count * size;
    return mem_check(realloc(old, bytes ? bytes : 1));
}

char *mem_strdup(const char *s)
{
    return mem_check(strdup(s));
}

char *mem_strndup(const char *s, size_t n)
{
    return mem_check(strndup(s, n));
}
