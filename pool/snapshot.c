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

/* A reference to the figures of the listener of this name, which may be in the generation before.
 */
static struct listener_stats *adopt_stats(const struct snapshot *s, const struct snapshot *old,
                                          const char *name)
{
    for (size_t i = 0; old && i < old->nlisteners; i++)
        if (strcmp(old->listeners[i].config->name, name) == 0)
            return listener_stats_ref(old->listeners[i].stats);
    return stats_new(s->nworkers);
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
        l->routes = routes_new(l->config);
        l->tells_servers = tells_servers(c, l->config);
        l->stats = adopt_stats(s, old, l->config->name);
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
        routes_free(s->listeners[i].routes);
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
