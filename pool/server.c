#include "pool/server.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

_Static_assert(sizeof(struct server_cell) % SERVER_LINE == 0, "cells share no cache line");

/* ---- life ---- */

/* An address without its interface, which is this host's own and must not be sent (RFC 6874 4).
 * NULL if it has none. */
static char *unscoped(const char *address_text, const struct addr *a)
{
    const char *scope = strchr(address_text, '%');
    const char *close = scope ? strchr(scope, ']') : NULL;
    if (close == NULL || addr_is_unix(a))
        return NULL;
    char *host = mem_strdup(address_text);
    memmove(host + (scope - address_text), close, strlen(close) + 1);
    return host;
}

struct server *server_new(const char *pool, const char *name, const char *address_text,
                          const struct addr *address, unsigned nworkers)
{
    assert(nworkers > 0);
    struct server *s = server_zalloc_lines(1, sizeof *s);
    ref_init(&s->ref);
    s->pool = mem_strdup(pool);
    s->name = mem_strdup(name);
    s->address_text = mem_strdup(address_text);
    s->address = *address;
    s->unscoped_text = unscoped(address_text, address);
    s->nworkers = nworkers;
    s->cells = server_zalloc_lines(nworkers, sizeof *s->cells);
    for (unsigned i = 0; i < nworkers; i++) {
        list_init(&s->cells[i].idle);
        list_init(&s->cells[i].busy);
        list_init(&s->cells[i].stocked);
        s->cells[i].server = s;
    }
    atomic_init(&s->usable, true);
    return s;
}

struct server *server_ref(struct server *s)
{
    ref_get(&s->ref);
    return s;
}

void server_unref(struct server *s)
{
    if (s == NULL || !ref_put(&s->ref))
        return;
    assert(atomic_load_explicit(&s->active, memory_order_relaxed) == 0);
    for (unsigned i = 0; i < s->nworkers; i++)
        assert(list_empty(&s->cells[i].idle) && list_empty(&s->cells[i].busy));
    free(s->cells);
    free(s->unscoped_text);
    free(s->address_text);
    free(s->name);
    free(s->pool);
    free(s);
}

void server_release(void *server)
{
    server_unref(server);
}

/* ---- address ---- */

_Static_assert(sizeof(struct sockaddr_in6) <= 4 * sizeof(uint64_t), "a place holds any of the two");

/* A sequence lock with two places. Each word is stored with release and loaded with acquire.
 * Suppose a reader of generation g gets a word of g + 2, which has the same place. Generation g + 1
 * was stored before that word, so the reader sees it, or a later one, when it loads the generation
 * again, and begins anew. */
bool server_address(const struct server *s, struct addr *out, uint32_t *generation)
{
    uint64_t words[4];
    uint32_t g;
    *generation = 0;
    *out = s->address;
    if (!server_by_name(s))
        return true;
    do {
        g = atomic_load_explicit(&s->place.generation, memory_order_acquire);
        if (g == 0)
            return false;
        for (unsigned i = 0; i < 4; i++)
            words[i] = atomic_load_explicit(&s->place.words[g % 2][i], memory_order_acquire);
    } while (server_generation(s) != g);
    memcpy(&out->v6, words, sizeof out->v6);
    out->len = out->sa.sa_family == AF_INET ? sizeof out->v4 : sizeof out->v6;
    *generation = g;
    return true;
}

bool server_move(struct server *s, const struct addr *to)
{
    struct addr now;
    uint32_t g;
    uint64_t words[4] = {0};
    assert(server_by_name(s) && (to->sa.sa_family == AF_INET || to->sa.sa_family == AF_INET6));
    if (server_address(s, &now, &g) && addr_eq(&now, to))
        return false;
    if (++g == 0)
        g = 2; /* 0 means unresolved; 2 has the place that 0 would have */
    memcpy(words, &to->v6, to->len);
    for (unsigned i = 0; i < 4; i++)
        atomic_store_explicit(&s->place.words[g % 2][i], words[i], memory_order_release);
    atomic_store_explicit(&s->place.generation, g, memory_order_release);
    /* Failures at the old address say nothing about the new one. */
    atomic_store_explicit(&s->failures, 0, memory_order_relaxed);
    return true;
}

/* ---- counters ---- */

/* A row that is suspect may still get so many failures of the other kind: a server that has died
 * resets the requests under way first, and refuses those that follow. */
enum server_row server_failed(struct server *s, unsigned threshold, bool suspect)
{
    uint64_t one = suspect ? UINT64_C(1) << 32 : 1;
    uint64_t row = atomic_fetch_add_explicit(&s->failures, one, memory_order_relaxed) + one;
    uint64_t suspects = row >> 32, others = row & UINT32_MAX;
    if (threshold == 0)
        return SERVER_ROW_GOES_ON;
    if (!suspect && others == threshold)
        return SERVER_ROW_DOWN;
    return suspects && suspects + others == threshold ? SERVER_ROW_SUSPECT : SERVER_ROW_GOES_ON;
}

uint64_t server_requests(const struct server *s)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < s->nworkers; i++)
        sum += atomic_load_explicit(&s->cells[i].requests, memory_order_relaxed);
    return sum;
}

uint64_t server_errors(const struct server *s)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < s->nworkers; i++)
        sum += atomic_load_explicit(&s->cells[i].errors, memory_order_relaxed);
    return sum;
}

uint64_t server_idle(const struct server *s)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < s->nworkers; i++)
        sum += atomic_load_explicit(&s->cells[i].nidle, memory_order_relaxed);
    return sum;
}

void *server_zalloc_lines(size_t count, size_t size)
{
    assert(size > 0 && count <= (SIZE_MAX - SERVER_LINE) / size);
    size_t lines = (count * size + SERVER_LINE - 1) / SERVER_LINE;
    size_t bytes = (lines ? lines : 1) * SERVER_LINE;
    return memset(mem_check(aligned_alloc(SERVER_LINE, bytes)), 0, bytes);
}
