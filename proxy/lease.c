#include "proxy/lease.h"

#include <assert.h>

#include "proxy/upstream.h"
#include "ring/hash.h"

void lease_init(struct lease *l, struct worker_pool *wp, const struct lease_ops *ops)
{
    *l = (struct lease){.ops = ops, .wp = wp};
    l->retries_left = (uint8_t)wp->pool->config->retries;
}

void lease_set_key(struct lease *l, struct worker_listener *wl, const struct key_source *from)
{
    struct str key;
    struct buffer *scratch = &wl->worker->scratch;
    l->keyless = !key_extract(wl->config->keys, wl->config->nkeys, from, scratch, &key);
    if (l->keyless)
        cell_add(&wl->cell->keyless, 1);
    else
        l->hash = hash_key(key);
    buffer_clear(scratch);
}

enum pool_outcome lease_next(struct lease *l)
{
    struct pool_request r = {l->keyless, l->hash, l->tried, l->ntried};
    assert(l->server == NULL);
    if (l->ntried == LEASE_MAX_TRIED)
        return POOL_NONE_LIVE;
    /* Before a server is picked: what changes meanwhile is then a move, and not overlooked. */
    if (l->wp->pool->config->close_moved == CLOSE_MOVED_ALWAYS && !l->keyless)
        l->owner = pool_find(l->wp->pool, l->hash);
    enum pool_outcome outcome = pool_acquire(l->wp->pool, &l->wp->view, &r, &l->member);
    if (outcome != POOL_OK)
        return outcome;
    l->server = l->member->server;
    l->tried[l->ntried++] = l->member->id;
    cell_add(&lease_cell(l)->requests, 1);
    return POOL_OK;
}

void lease_end_connection(struct lease *l, bool keep)
{
    struct upstream *u = l->upstream;
    l->upstream = NULL;
    if (u)
        upstream_give_back(u, keep);
}

void lease_end(struct lease *l, bool keep)
{
    lease_end_connection(l, keep);
    if (l->server)
        pool_release(l->wp->pool, l->server);
    l->server = NULL;
}

void lease_failed(struct lease *l)
{
    struct worker *w = l->wp->worker;
    cell_add(&lease_cell(l)->errors, 1);
    if (pool_member_failed(l->member))
        mailbox_post(w->control, CONTROL_PASSIVE_DOWN, w->index, server_ref(l->server),
                     server_release);
}

bool lease_retry(struct lease *l)
{
    if (l->retries_left == 0)
        return false;
    l->retries_left--;
    atomic_fetch_add_explicit(&l->wp->pool->totals->retries, 1, memory_order_relaxed);
    return true;
}

bool lease_moved(struct lease *l)
{
    const struct pool *p = l->wp->pool;
    if (p->config->close_moved != CLOSE_MOVED_ALWAYS)
        return false;
    if (l->keyless)
        return !atomic_load_explicit(&l->server->usable, memory_order_relaxed);
    uint16_t before = l->owner;
    l->owner = pool_find(p, l->hash);
    return l->owner != before && l->owner != l->member->id && l->owner != SERVER_NONE;
}
