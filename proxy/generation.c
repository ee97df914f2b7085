#include "proxy/generation.h"

#include <assert.h>

#include "base/mem.h"
#include "proxy/exchange.h"
#include "proxy/listener.h"
#include "proxy/session.h"
#include "proxy/stream.h"
#include "proxy/tunnel.h"

#define PROBE_MS 1000     /* how often tunnels that are not read from are checked for a reset */
#define CATCH_UP_MS 1     /* between two slices of clients that catch up */
#define CATCH_UP_MOST 128 /* clients in a slice, each of which may have to be closed */

/* ---- what goes through generations ---- */

static struct pool_line *line_new(struct worker *w, uint64_t idle_ms)
{
    struct deadline_clock *clock = &w->net.clock;
    struct pool_line *line = mem_zalloc(sizeof *line);
    list_init(&line->tunnels);
    deadline_init(&line->probe);
    deadline_queue_init(&line->probes, clock, PROBE_MS, tunnel_on_probe_deadline);
    deadline_queue_init(&line->idle, clock, idle_ms, upstream_on_idle_deadline);
    return line;
}

/* The line of the pool of the same name before, which has the same totals; else a new one. *next:
 * where to begin to look in the generation before. */
static struct pool_line *line_of(struct worker *w, const struct pool *pool, size_t *next)
{
    const struct generation *old = w->current;
    struct pool_line *line = NULL;
    size_t n = old ? old->snapshot->npools : 0;
    for (size_t tried = 0; tried < n && line == NULL; tried++, ++*next)
        if (old->pools[*next % n].pool->totals == pool->totals)
            line = old->pools[*next % n].line;
    if (line == NULL)
        line = line_new(w, pool->config->idle_timeout_ms);
    line->refs++;
    return line;
}

static struct listener *listener_new(struct worker *w, uint64_t socket)
{
    struct listener *l = mem_zalloc(sizeof *l);
    l->worker = w;
    l->socket = socket;
    return l;
}

/* The same for a listener, by its socket. */
static struct listener *listener_of(struct worker *w, uint64_t socket, size_t *next)
{
    const struct generation *old = w->current;
    struct listener *l = NULL;
    size_t n = old ? old->snapshot->nlisteners : 0;
    for (size_t tried = 0; tried < n && l == NULL; tried++, ++*next)
        if (old->listeners[*next % n].listener->socket == socket)
            l = old->listeners[*next % n].listener;
    if (l == NULL)
        l = listener_new(w, socket);
    l->refs++;
    return l;
}

static struct client_clocks *clocks_of(struct worker *w, const struct listener *l,
                                       const struct config_listener *c)
{
    struct deadline_clock *clock = &w->net.clock;
    struct client_clocks *k = l->now ? l->now->clocks : NULL;
    if (k == NULL || k->request.duration_ms != c->request_timeout_ms ||
        k->idle.duration_ms != c->idle_timeout_ms ||
        k->tunnel.duration_ms != c->tunnel_timeout_ms) {
        k = mem_zalloc(sizeof *k);
        deadline_queue_init(&k->request, clock, c->request_timeout_ms, client_on_request_deadline);
        deadline_queue_init(&k->idle, clock, c->idle_timeout_ms, client_on_idle_deadline);
        deadline_queue_init(&k->tunnel, clock, c->tunnel_timeout_ms, client_on_idle_deadline);
        deadline_queue_init(&k->events, clock, c->tunnel_timeout_ms, exchange_on_response_deadline);
    }
    k->refs++;
    return k;
}

/* ---- a generation ---- */

static void init_pool(struct generation *g, struct worker_pool *wp, struct pool *pool, size_t *next)
{
    struct deadline_clock *clock = &g->worker->net.clock;
    const struct config_pool *c = pool->config;
    wp->worker = g->worker;
    wp->generation = g;
    wp->pool = pool;
    wp->line = line_of(g->worker, pool, next);
    deadline_queue_init(&wp->connect, clock, c->connect_timeout_ms, upstream_on_connect_deadline);
    deadline_queue_init(&wp->response, clock, c->response_timeout_ms,
                        exchange_on_response_deadline);
    deadline_queue_init(&wp->body, clock, c->body_timeout_ms, exchange_on_response_deadline);
}

static void init_listener(struct generation *g, struct worker_listener *wl,
                          struct snapshot_listener *shared, size_t *next)
{
    const struct config_listener *c = shared->config;
    wl->worker = g->worker;
    wl->generation = g;
    wl->listener = listener_of(g->worker, shared->socket, next);
    wl->shared = shared;
    wl->config = c;
    wl->cell = &shared->stats->cells[g->worker->index];
    wl->routes = shared->routes;
    wl->pool = &g->pools[c->routes[0].pool];
    wl->mode = c->mode == MODE_TCP ? &stream_mode : &session_mode;
    wl->clocks = clocks_of(g->worker, wl->listener, c);
}

/* Aborts when memory is out: without its new generation a worker would route by another
 * configuration than the others. Looks at each pool, but at no server: of these there may be a
 * hundred thousand. */
static struct generation *generation_new(struct worker *w, struct snapshot *s)
{
    struct generation *g = mem_zalloc(sizeof *g);
    size_t next = 0;
    g->refs = 1;
    g->worker = w;
    g->snapshot = snapshot_ref(s);
    g->pools = mem_zalloc_array(s->npools, sizeof *g->pools);
    for (size_t i = 0; i < s->npools; i++)
        init_pool(g, &g->pools[i], s->pools[i], &next);
    next = 0;
    g->listeners = mem_zalloc_array(s->nlisteners, sizeof *g->listeners);
    for (size_t i = 0; i < s->nlisteners; i++)
        init_listener(g, &g->listeners[i], &s->listeners[i], &next);
    return g;
}

/* From now on kept connections are kept by the limits of this generation's pools. Those to servers
 * that are gone are closed by the sweep (upstream_idle.c). */
static void move_lines(struct generation *old, struct generation *new)
{
    for (size_t i = 0; i < new->snapshot->npools; i++) {
        struct worker_pool *wp = &new->pools[i];
        wp->line->now = wp;
        deadline_queue_set(&wp->line->idle, wp->pool->config->idle_timeout_ms);
    }
    for (size_t i = 0; old && i < old->snapshot->npools; i++)
        if (old->pools[i].line->now == &old->pools[i])
            old->pools[i].line->now = NULL;
}

/* ---- listeners ---- */

static bool start_listeners(struct generation *g, struct worker_update *u, struct error *e)
{
    bool ok = true;
    for (size_t i = 0; i < g->snapshot->nlisteners; i++) {
        struct worker_listener *wl = &g->listeners[i];
        struct error why;
        int fd = u->fds[i];
        u->fds[i] = -1;
        wl->listener->now = wl;
        wl->listener->takes = g->worker->silent ? NULL : wl->mode;
        if (fd < 0 || listener_start(wl->listener, fd, &why) || !ok)
            continue;
        error_set(e, why.code, "listener %s: %s: %s", wl->config->name, wl->config->listen_text,
                  why.text);
        ok = false;
    }
    return ok;
}

/* Ends the listeners that have no later generation than this one, under which what is queued is
 * accepted. */
static void end_listeners(struct generation *g)
{
    for (size_t i = 0; i < g->snapshot->nlisteners; i++) {
        struct listener *l = g->listeners[i].listener;
        if (l->now != &g->listeners[i])
            continue;
        l->takes = NULL;
        listener_stop(l);
        l->now = NULL;
    }
}

bool generation_waken(struct worker *w, struct worker_socket *sockets, size_t n, struct error *e)
{
    bool ok = true;
    struct generation *g = w->current;
    for (size_t i = 0; i < g->snapshot->nlisteners; i++)
        g->listeners[i].listener->takes = g->listeners[i].mode;
    for (size_t i = 0; i < n; i++) {
        struct worker_listener *wl = &g->listeners[sockets[i].listener];
        struct error why;
        int fd = sockets[i].fd;
        sockets[i].fd = -1;
        if (listener_start(wl->listener, fd, &why) || !ok)
            continue;
        error_set(e, why.code, "listener %s: %s: %s", wl->config->name, wl->config->listen_text,
                  why.text);
        ok = false;
    }
    return ok;
}

void generation_deafen(struct worker *w)
{
    struct generation *g = w->current;
    for (size_t i = 0; i < g->snapshot->nlisteners; i++) {
        g->listeners[i].listener->takes = NULL;
        listener_deafen(g->listeners[i].listener);
    }
}

void generation_silence(struct worker *w)
{
    struct generation *g = w->current;
    for (size_t i = 0; i < g->snapshot->nlisteners; i++)
        listener_silence(g->listeners[i].listener);
}

/* ---- clients catch up ---- */

/* Clients learn of the generation in slices, so that ten thousand idle ones do not hold up the
 * traffic. A client that has a request meanwhile takes up the generation by itself. */
static void catch_up(struct worker *w)
{
    for (unsigned n = 0; n < CATCH_UP_MOST && !list_empty(&w->behind); n++) {
        struct client *c = container_of(w->behind.next, struct client, all);
        list_remove(&c->all);
        list_push_back(&w->clients, &c->all);
        if (c->tunnel)
            tunnel_recheck_one(c->tunnel);
        else
            client_catch_up(c);
    }
    if (!list_empty(&w->behind))
        deadline_arm(&w->catch_ups, &w->catch_up);
}

static void on_catch_up(struct deadline *d)
{
    catch_up(container_of(d, struct worker, catch_up));
}

void generation_init(struct worker *w)
{
    list_init(&w->behind);
    deadline_init(&w->catch_up);
    deadline_queue_init(&w->catch_ups, &w->net.clock, CATCH_UP_MS, on_catch_up);
}

void generation_stop(struct worker *w)
{
    deadline_cancel(&w->catch_up);
    list_append(&w->clients, &w->behind);
    if (w->current)
        end_listeners(w->current);
}

bool generation_take_up(struct worker *w, struct worker_update *u, struct error *e)
{
    struct generation *old = w->current;
    struct generation *g = generation_new(w, u->snapshot);
    move_lines(old, g);
    w->current = g;
    bool ok = start_listeners(g, u, e);
    if (old == NULL)
        return ok;
    end_listeners(old);
    list_append(&w->behind, &w->clients);
    catch_up(w);
    generation_unref(old);
    return ok;
}
