#include "proxy/generation.h"

#include <assert.h>

#include "base/mem.h"
#include "proxy/exchange.h"
#include "proxy/listener.h"
#include "proxy/session.h"
#include "proxy/stream.h"
#include "proxy/tunnel.h"

#define PROBE_MS 1000 /* how often tunnels that are not read from are checked for a reset */

static void init_pool(struct generation *g, struct worker_pool *wp, struct pool *pool)
{
    struct deadline_clock *clock = &g->worker->net.clock;
    const struct config_pool *c = pool->config;
    wp->worker = g->worker;
    wp->generation = g;
    wp->pool = pool;
    list_init(&wp->tunnels);
    deadline_init(&wp->probe);
    deadline_queue_init(&wp->probes, clock, PROBE_MS, tunnel_on_probe_deadline);
    deadline_queue_init(&wp->connect, clock, c->connect_timeout_ms, upstream_on_connect_deadline);
    deadline_queue_init(&wp->response, clock, c->response_timeout_ms,
                        exchange_on_response_deadline);
    deadline_queue_init(&wp->body, clock, c->body_timeout_ms, exchange_on_response_deadline);
    deadline_queue_init(&wp->idle, clock, c->idle_timeout_ms, upstream_on_idle_deadline);
}

static void init_listener(struct generation *g, struct worker_listener *wl,
                          struct snapshot_listener *shared)
{
    struct deadline_clock *clock = &g->worker->net.clock;
    const struct config_listener *c = shared->config;
    wl->worker = g->worker;
    wl->generation = g;
    wl->listener = &g->worker->listeners[shared - g->snapshot->listeners];
    wl->shared = shared;
    wl->config = c;
    wl->cell = &shared->stats->cells[g->worker->index];
    wl->pool = &g->pools[c->routes[0].pool];
    wl->mode = c->mode == MODE_TCP ? &stream_mode : &session_mode;
    deadline_queue_init(&wl->request, clock, c->request_timeout_ms, client_on_request_deadline);
    deadline_queue_init(&wl->idle, clock, c->idle_timeout_ms, client_on_idle_deadline);
    deadline_queue_init(&wl->tunnel, clock, c->tunnel_timeout_ms, client_on_idle_deadline);
    deadline_queue_init(&wl->events, clock, c->tunnel_timeout_ms, exchange_on_response_deadline);
}

/* Aborts when memory is out: without its new generation a worker would route by another
 * configuration than the others. */
static struct generation *generation_new(struct worker *w, struct snapshot *s)
{
    struct generation *g = mem_zalloc(sizeof *g);
    g->refs = 1;
    g->worker = w;
    g->snapshot = snapshot_ref(s);
    g->pools = mem_zalloc_array(s->npools, sizeof *g->pools);
    for (size_t i = 0; i < s->npools; i++)
        init_pool(g, &g->pools[i], s->pools[i]);
    g->listeners = mem_zalloc_array(s->nlisteners, sizeof *g->listeners);
    for (size_t i = 0; i < s->nlisteners; i++)
        init_listener(g, &g->listeners[i], &s->listeners[i]);
    return g;
}

/* From now on connections to these servers are kept by the limits of this generation's pools. */
static void settle_servers(struct generation *g)
{
    for (size_t p = 0; p < g->snapshot->npools; p++) {
        const struct pool *pool = g->snapshot->pools[p];
        for (unsigned i = 0; i < pool->nservers; i++)
            worker_cell(g->worker, pool->members[i].server)->home = &g->pools[p];
    }
}

/* Closes the idle connections to servers that are in no pool of the new generation:
 * settle_servers() has moved `home` of all others. Connections that are lent are closed when they
 * come back. */
static void leave_servers(struct generation *old)
{
    for (size_t p = 0; p < old->snapshot->npools; p++) {
        const struct pool *pool = old->snapshot->pools[p];
        for (unsigned i = 0; i < pool->nservers; i++) {
            struct server_cell *cell = worker_cell(old->worker, pool->members[i].server);
            if (cell->home != &old->pools[p])
                continue;
            cell->home = NULL;
            upstream_close_idle(cell);
        }
    }
}

/* The deadlines of kept connections go over to the pool of the same name, so that the old
 * generation can be freed while they wait. */
static void move_idle(struct generation *old, struct generation *new)
{
    for (size_t p = 0; p < old->snapshot->npools; p++) {
        size_t to = snapshot_find_pool(new->snapshot, old->snapshot->pools[p]->config->name);
        if (to < new->snapshot->npools)
            deadline_queue_adopt(&new->pools[to].idle, &old->pools[p].idle);
    }
}

static bool start_listeners(struct worker *w, struct worker_update *u, struct error *e)
{
    bool ok = true;
    for (size_t i = 0; i < w->nlisteners; i++) {
        const struct config_listener *config = w->listeners[i].now->config;
        struct error why;
        int fd = u->fds[i];
        u->fds[i] = -1;
        if (fd < 0 || listener_start(&w->listeners[i], fd, &why) || !ok)
            continue;
        error_set(e, why.code, "listener %s: %s: %s", config->name, config->listen_text, why.text);
        ok = false;
    }
    return ok;
}

bool generation_take_up(struct worker *w, struct worker_update *u, struct error *e)
{
    struct generation *old = w->current;
    struct generation *g = generation_new(w, u->snapshot);
    assert(u->snapshot->nlisteners == w->nlisteners);
    w->current = g;
    for (size_t i = 0; i < w->nlisteners; i++)
        w->listeners[i].now = &g->listeners[i];
    settle_servers(g); /* before leave_servers(), which closes what has no new home */
    if (old) {
        leave_servers(old);
        upstream_close_homeless(w);
        move_idle(old, g);
        generation_unref(old);
    }
    return start_listeners(w, u, e);
}
