#include "pool/server.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE 64 /* bytes */

_Static_assert(sizeof(struct server_cell) == LINE, "cells of two workers share no cache line");

bool server_failed(struct server *s)
{
    uint32_t before = atomic_fetch_add_explicit(&s->failures, 1, memory_order_relaxed);
    return s->passive_failures != 0 && before + 1 == s->passive_failures;
}

uint64_t server_requests(const struct server *s, unsigned nworkers)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < nworkers; i++)
        sum += atomic_load_explicit(&s->cells[i].requests, memory_order_relaxed);
    return sum;
}

uint64_t server_errors(const struct server *s, unsigned nworkers)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < nworkers; i++)
        sum += atomic_load_explicit(&s->cells[i].errors, memory_order_relaxed);
    return sum;
}

void *server_zalloc_lines(size_t count, size_t size)
{
    assert(size % LINE == 0 && size > 0);
    assert(count <= SIZE_MAX / size);
    size_t bytes = count ? count * size : LINE;
    void *p = aligned_alloc(LINE, bytes);
    if (p == NULL) {
        fputs("ringproxy: out of memory\n", stderr);
        abort();
    }
    return memset(p, 0, bytes);
}
