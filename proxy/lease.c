#include "proxy/lease.h"

#include <assert.h>

#include "proxy/client.h"
#include "ring/hash.h"

void lease_init(struct lease *l, struct client *c, struct worker_pool *wp,
                const struct upstream_user_ops *ops)
{
    l->user.ops = ops;
    l->client = c;
    l->wp = wp;
    l->member = NULL;
    l->upstream = NULL;
    l->agreed = (struct pool_agreed){0};
    l->hash = 0;
    l->owner = SERVER_NONE;
    l->keyless = false;
    l->identity = false;
    l->ntried = 0;
    l->suspects = 0;
    l->retries_left = (uint8_t)wp->pool->config->retries;
}

void lease_set_route(struct lease *l, const struct config_route *route)
{
    assert(l->member == NULL && l->ntried == 0);
    l->wp = &l->wp->generation->pools[route->pool];
    l->retries_left = (uint8_t)l->wp->pool->config->retries;
}

/* The hash alone is kept: the key lies in the head, or in the scratch buffer, and neither stays. */
void lease_set_key(struct lease *l, struct worker_listener *wl, const struct config_route *route,
                   const struct key_source *from)
{
    struct str key;
    struct buffer *scratch = &wl->worker->scratch;
    l->keyless = !key_extract(route->keys, route->nkeys, from, scratch, &key);
    if (!l->keyless)
        l->hash = hash_key(key);
    buffer_clear(scratch);
}

void lease_give_key(struct lease *l, struct str key)
{
    assert(l->keyless && l->ntried == 0);
    l->keyless = false;
    l->hash = hash_key(key);
}

/* The member to which the client has a connection of its own, the last used one; NULL: none. */
static const struct pool_member *tied_member(const struct lease *l)
{
    const struct pool_member *m = NULL;
    for (const struct upstream *u = l->client->tied; u && m == NULL; u = u->next_tied)
        m = pool_find_server(l->wp->pool, u->server);
    return m;
}

/* Without a key a login would begin at one server and go on at the next. */
static enum pool_outcome acquire(struct lease *l, const struct pool_member **member)
{
    struct pool_request r = {l->keyless, l->hash, l->tried, l->ntried, NULL, NULL};
    if (l->wp->pool->config->epoch_header)
        r.agreed = &l->agreed;
    if (l->ntried == LEASE_MAX_TRIED) /* `retries` and servers found down may come to more */
        return POOL_NONE_LIVE;
    /* Asked before a server is picked: if the owner changes in between, that counts as a change. */
    if (l->wp->pool->config->close_moved == CLOSE_MOVED_ALWAYS && !l->keyless)
        l->owner = pool_find_here(l->wp->pool, &l->wp->view, l->hash);
    if (l->keyless && l->client->tied)
        r.preferred = tied_member(l);
    enum pool_outcome outcome = pool_acquire(l->wp->pool, &l->wp->view, &r, member);
    if (outcome != POOL_OK)
        return outcome;
    l->tried[l->ntried++] = (*member)->id;
    cell_add(&worker_cell(l->wp->worker, (*member)->server)->requests, 1);
    return POOL_OK;
}

enum pool_outcome lease_next(struct lease *l)
{
    const struct pool_member *member;
    assert(l->member == NULL && l->upstream == NULL);
    enum pool_outcome outcome = acquire(l, &member);
    if (outcome == POOL_OK)
        l->member = member;
    return outcome;
}

const struct pool_member *lease_reserve(struct lease *l)
{
    const struct pool_member *next;
    assert(l->member);
    if (l->retries_left == 0 || acquire(l, &next) != POOL_OK)
        return NULL;
    lease_retry(l);
    return next;
}

void lease_move(struct lease *l, const struct pool_member *reserved)
{
    assert(l->member == NULL && l->upstream == NULL);
    l->member = reserved;
}

bool lease_take_idle(struct lease *l, bool sure)
{
    assert(l->member && l->upstream == NULL);
    if (l->client->tied)
        l->upstream = upstream_take_tied(l->wp, &l->client->tied, lease_server(l), sure, &l->user);
    if (l->upstream == NULL)
        l->upstream = upstream_take_idle(l->wp, lease_server(l), sure, &l->user);
    if (l->upstream == NULL)
        return false;
    l->upstream->identity |= l->identity;
    return true;
}

int lease_connect(struct lease *l)
{
    struct upstream_origin origin;
    int uv_error = 0;
    assert(l->member && l->upstream == NULL);
    bool told = l->wp->pool->config->send_head != SEND_HEAD_OFF &&
                client_addresses(l->client, &origin.source, &origin.destination);
    l->upstream =
        upstream_connect(l->wp, lease_server(l), told ? &origin : NULL, &l->user, &uv_error);
    assert((l->upstream != NULL) == (uv_error == 0));
    if (l->upstream)
        l->upstream->identity = l->identity;
    return uv_error;
}

void lease_end_connection(struct lease *l, bool keep)
{
    struct upstream *u = l->upstream;
    l->upstream = NULL;
    if (u)
        upstream_give_back(u, keep, &l->client->tied);
}

void lease_end(struct lease *l, bool keep)
{
    lease_end_connection(l, keep);
    if (l->member)
        pool_release(l->wp->pool, lease_server(l));
    l->member = NULL;
}

void lease_hand_over(struct lease *to, struct lease *from, const struct upstream_user_ops *ops)
{
    *to = *from;
    to->user.ops = ops;
    if (to->upstream)
        upstream_hand_over(to->upstream, &to->user);
    from->upstream = NULL;
    from->member = NULL;
}

/* Only the control thread decides that a server is down, so the worker mails what it has seen. */
static void count_failure(struct lease *l, const struct pool_member *m, bool suspect)
{
    struct worker *w = l->wp->worker;
    enum server_row row = pool_member_failed(m, suspect);
    if (row == SERVER_ROW_GOES_ON)
        return;
    mailbox_post(w->control, row == SERVER_ROW_DOWN ? CONTROL_PASSIVE_DOWN : CONTROL_SUSPICION,
                 w->index, server_ref(m->server), server_release);
}

void lease_blame(struct lease *l, enum blame b)
{
    cell_add(&lease_cell(l)->errors, 1);
    if (b == BLAME_NOBODY)
        return;
    if (blame_is_suspect(b))
        suspicions_note(&lease_server(l)->suspicions, b, uv_now(&l->wp->worker->loop));
    if (!blame_is_suspect(b) || config_health_reads_answer(&l->wp->pool->config->health))
        count_failure(l, l->member, blame_is_suspect(b));
    else
        l->suspects |= (uint16_t)(1u << (l->ntried - 1)); /* the lent one was tried last */
}

_Static_assert(LEASE_MAX_TRIED <= 16, "each server tried has a bit");

void lease_blame_suspects(struct lease *l)
{
    unsigned suspects = l->suspects & ~(1u << (l->ntried - 1));
    l->suspects = 0;
    for (unsigned i = 0; suspects; i++, suspects >>= 1)
        if (suspects & 1)
            count_failure(l, &l->wp->pool->members[l->tried[i]], false);
}

bool lease_retry(struct lease *l)
{
    if (l->retries_left == 0)
        return false;
    l->retries_left--;
    atomic_fetch_add_explicit(&l->wp->pool->totals->retries, 1, memory_order_relaxed);
    return true;
}

enum config_close_moved lease_close_moved(const struct lease *l)
{
    const struct worker_pool *now = l->wp->line->now;
    return (now ? now : l->wp)->pool->config->close_moved;
}

/* Who had the key when that was last asked. If it never was, as the lease's generation does not
 * close what has moved: who had it when that generation ended, since when its owners stand still.
 */
static uint16_t owner_before(const struct lease *l)
{
    const struct pool *own = l->wp->pool;
    return own->config->close_moved == CLOSE_MOVED_ALWAYS ? l->owner : pool_find(own, l->hash);
}

/* Ids differ from one generation to the next, so servers are compared. The owner that is noted for
 * the next time is the one before, or the lent server, or none: the lease's own pool has an id for
 * each of them. */
bool lease_lost_key(struct lease *l)
{
    const struct pool *own = l->wp->pool;
    struct worker_pool *now = l->wp->line->now;
    if (now == NULL || now->pool->config->close_moved != CLOSE_MOVED_ALWAYS)
        return false;
    if (l->keyless)
        return !server_usable(lease_server(l));
    uint16_t before = owner_before(l), id = pool_find_here(now->pool, &now->view, l->hash);
    l->owner = SERVER_NONE;
    if (id == SERVER_NONE)
        return false;
    const struct server *owner = now->pool->members[id].server;
    if (owner == lease_server(l))
        l->owner = l->member->id;
    else if (before != SERVER_NONE && owner == own->members[before].server)
        l->owner = before;
    else
        return true;
    return false;
}
