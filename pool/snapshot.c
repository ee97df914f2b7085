#include "pool/snapshot.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* ---- listeners ---- */

static struct listener_stats *stats_new(unsigned nworkers)
{
    struct listener_stats *l = server_zalloc_lines(1, sizeof *l);
    ref_init(&l->ref);
    l->cells = server_zalloc_lines(nworkers, sizeof *l->cells);
    return l;
}

struct listener_stats *listener_stats_ref(struct listener_stats *l)
{
    ref_get(&l->ref);
    return l;
}

void listener_stats_unref(struct listener_stats *l)
{
    if (l == NULL || !ref_put(&l->ref))
        return;
    assert(atomic_load_explicit(&l->connections, memory_order_relaxed) == 0);
    free(l->cells);
    free(l);
}

/* ---- routes ---- */

static struct route_stats *route_stats_new(unsigned nworkers)
{
    struct route_stats *r = mem_zalloc(sizeof *r);
    ref_init(&r->ref);
    r->cells = server_zalloc_lines(nworkers, sizeof *r->cells);
    return r;
}

static void route_stats_unref(struct route_stats *r)
{
    if (!ref_put(&r->ref))
        return;
    free(r->cells);
    free(r);
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_route(const struct config *c, const struct config_route *a, const struct config *d,
                       const struct config_route *b)
{
    if (!same_text(a->host, b->host) || !same_text(a->path, b->path) ||
        a->path_exact != b->path_exact || !same_text(a->sni, b->sni) ||
        a->nmethods != b->nmethods || strcmp(c->pools[a->pool].name, d->pools[b->pool].name) != 0)
        return false;
    for (size_t i = 0; i < a->nmethods; i++)
        if (strcmp(a->methods[i], b->methods[i]) != 0)
            return false;
    return true;
}

/* The figures of each route, of which those that stay are taken over. They mostly stand in the same
 * order, so each search begins behind what the one before found. */
static void add_route_stats(const struct snapshot *s, struct snapshot_listener *l,
                            const struct snapshot *old, const struct snapshot_listener *before)
{
    size_t n = l->config->nroutes, nbefore = before && before->routes ? before->config->nroutes : 0;
    size_t from = 0;
    if (l->routes == NULL)
        return;
    l->route_stats = mem_zalloc_array(n, sizeof(struct route_stats *));
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < nbefore && l->route_stats[i] == NULL; k++) {
            size_t at = (from + k) % nbefore;
            if (!same_route(s->config, &l->config->routes[i], old->config,
                            &before->config->routes[at]))
                continue;
            l->route_stats[i] = before->route_stats[at];
            ref_get(&l->route_stats[i]->ref);
            from = at + 1;
        }
        if (l->route_stats[i] == NULL)
            l->route_stats[i] = route_stats_new(s->nworkers);
    }
}

static void free_routes(struct snapshot_listener *l)
{
    for (size_t i = 0; i < l->config->nroutes && l->route_stats; i++)
        route_stats_unref(l->route_stats[i]);
    free(l->route_stats);
    routes_free(l->routes);
}

/* The listener of this name in the generation before; NULL: there is none. */
static const struct snapshot_listener *listener_before(const struct snapshot *old, const char *name)
{
    for (size_t i = 0; old && i < old->nlisteners; i++)
        if (strcmp(old->listeners[i].config->name, name) == 0)
            return &old->listeners[i];
    return NULL;
}

/* Listeners of one address have the same sockets, whatever else about them changes. A number is
 * used once, even if its generation is never put in service. */
static uint64_t adopt_socket(const struct snapshot *old, const struct addr *listen)
{
    static _Atomic uint64_t last;
    for (size_t i = 0; old && i < old->nlisteners; i++)
        if (addr_eq(&old->listeners[i].config->listen, listen))
            return old->listeners[i].socket;
    return atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
}

static bool tells_servers(const struct config *c, const struct config_listener *l)
{
    for (size_t i = 0; i < l->nroutes; i++)
        if (c->pools[l->routes[i].pool].send_head != SEND_HEAD_OFF)
            return true;
    return false;
}

/* A listener keeps its figures as long as its name stays, whatever its address and pool become. */
static void add_listeners(struct snapshot *s, const struct snapshot *old)
{
    const struct config *c = s->config;
    s->listeners = mem_zalloc_array(c->nlisteners, sizeof(struct snapshot_listener));
    s->nlisteners = c->nlisteners;
    for (size_t i = 0; i < c->nlisteners; i++) {
        struct snapshot_listener *l = &s->listeners[i];
        l->config = &c->listeners[i];
        l->socket = adopt_socket(old, &l->config->listen);
        const struct snapshot_listener *before = listener_before(old, l->config->name);
        l->routes = routes_new(l->config);
        add_route_stats(s, l, old, before);
        l->tells_servers = tells_servers(c, l->config);
        l->stats = before ? listener_stats_ref(before->stats) : stats_new(s->nworkers);
    }
}

/* ---- pools ---- */

size_t snapshot_find_pool(const struct snapshot *s, const char *name)
{
    size_t i = 0;
    while (i < s->npools && strcmp(s->pools[i]->config->name, name) != 0)
        i++;
    return i;
}

/* The pool of this name; NULL: there is none, or no snapshot. */
static const struct pool *pool_in(const struct snapshot *s, const char *name)
{
    size_t i = s ? snapshot_find_pool(s, name) : 0;
    return s && i < s->npools ? s->pools[i] : NULL;
}

static bool add_pools(struct snapshot *s, const struct snapshot *old, roster_notify_fn *notify,
                      void *arg, struct error *e)
{
    const struct config *c = s->config;
    s->pools = mem_zalloc_array(c->npools, sizeof(struct pool *));
    s->rosters = mem_zalloc_array(c->npools, sizeof(struct roster *));
    s->npools = c->npools;
    for (size_t i = 0; i < c->npools; i++) {
        const struct config_pool *pool = &c->pools[i];
        s->pools[i] = pool_new(pool, s->nworkers, pool_in(old, pool->name), e);
        if (s->pools[i] == NULL) {
            error_prefix(e, "pool %s", pool->name);
            return false;
        }
        s->rosters[i] = roster_new(s->pools[i], notify, arg);
    }
    return true;
}

/* ---- servers that leave ---- */

/* Whether the pool, which is that of the server's pool name or NULL, has it no more. */
static bool has_left(const struct pool *now, const struct server *server)
{
    return now == NULL || pool_find_server(now, server) == NULL;
}

/* Found out here, where no loop waits for it, so that neither the control thread nor a worker has
 * to look at each server when the generation takes over. */
static void list_left(struct snapshot *s, const struct snapshot *old)
{
    size_t most = 0;
    for (size_t p = 0; p < old->npools; p++)
        most += old->pools[p]->nservers;
    s->left = mem_zalloc_array(most, sizeof *s->left);
    for (size_t p = 0; p < old->npools; p++) {
        const struct pool *was = old->pools[p], *now = pool_in(s, was->config->name);
        for (unsigned i = 0; i < was->nservers; i++)
            if (has_left(now, was->members[i].server))
                s->left[s->nleft++] = server_ref(was->members[i].server);
    }
}

static void forget_left(struct snapshot *s)
{
    for (size_t i = 0; i < s->nleft; i++)
        server_unref(s->left[i]);
    free(s->left);
    s->left = NULL;
    s->nleft = 0;
}

/* ---- life ---- */

struct snapshot *snapshot_new(struct config *config, const struct snapshot *old,
                              uint64_t generation, unsigned nworkers, roster_notify_fn *notify,
                              void *notify_arg, struct error *e)
{
    assert(nworkers > 0 && (old == NULL || old->nworkers == nworkers));
    struct snapshot *s = mem_zalloc(sizeof(*s));
    ref_init(&s->ref);
    s->config = config_ref(config);
    s->generation = generation;
    s->nworkers = nworkers;
    s->listen_active = old ? old->listen_active : config->cluster && config->cluster->listen_active;
    if (!add_pools(s, old, notify, notify_arg, e)) { /* some pools and rosters may be made */
        snapshot_retire(s);
        snapshot_unref(s);
        return NULL;
    }
    add_listeners(s, old);
    if (old)
        list_left(s, old);
    return s;
}

void snapshot_start(struct snapshot *s, const struct snapshot *old, uint64_t now_ms)
{
    for (size_t i = 0; i < s->npools; i++) {
        size_t was = old ? snapshot_find_pool(old, s->pools[i]->config->name) : 0;
        if (old && was < old->npools)
            roster_adopt(s->rosters[i], old->rosters[was], now_ms);
        else
            roster_start(s->rosters[i], now_ms);
    }
    for (size_t i = 0; i < s->nleft; i++)
        atomic_store_explicit(&s->left[i]->gone, true, memory_order_relaxed);
    forget_left(s);
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
    ref_get(&s->ref);
    return s;
}

/* A worker may hold the snapshot long after control has given it up, for one slow request. Its
 * rosters must not wait for that: they are control's, and the next generation's decide now. */
void snapshot_retire(struct snapshot *s)
{
    assert(s->rosters != NULL);
    for (size_t i = 0; i < s->npools; i++)
        roster_free(s->rosters[i]);
    free(s->rosters);
    s->rosters = NULL;
}

/* The config goes last: a pool uses it until it is freed. */
void snapshot_unref(struct snapshot *s)
{
    if (s == NULL || !ref_put(&s->ref))
        return;
    assert(s->rosters == NULL);
    for (size_t i = 0; i < s->nlisteners; i++) {
        listener_stats_unref(s->listeners[i].stats);
        free_routes(&s->listeners[i]);
    }
    free(s->listeners);
    for (size_t i = 0; i < s->npools; i++)
        pool_free(s->pools[i]);
    free(s->pools);
    forget_left(s);
    config_unref(s->config);
    free(s);
}

void snapshot_release(void *snapshot)
{
    snapshot_unref(snapshot);
}
