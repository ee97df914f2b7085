#include "pool/snapshot.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

static bool add_pools(struct snapshot *s, roster_notify_fn *notify, void *arg, struct error *e)
{
    const struct config *c = s->config;
    s->pools = mem_zalloc_array(c->npools, sizeof(struct pool *));
    s->rosters = mem_zalloc_array(c->npools, sizeof(struct roster *));
    s->npools = c->npools;
    for (size_t i = 0; i < c->npools; i++) {
        s->pools[i] = pool_new(&c->pools[i], s->nworkers, e);
        if (s->pools[i] == NULL) {
            error_prefix(e, "pool %s", c->pools[i].name);
            return false;
        }
        s->rosters[i] = roster_new(s->pools[i], notify, arg);
    }
    return true;
}

static void add_listeners(struct snapshot *s)
{
    const struct config *c = s->config;
    s->listeners = mem_zalloc_array(c->nlisteners, sizeof(struct snapshot_listener));
    s->nlisteners = c->nlisteners;
    for (size_t i = 0; i < c->nlisteners; i++) {
        struct snapshot_listener *l = &s->listeners[i];
        assert(c->listeners[i].pool < s->npools);
        l->config = &c->listeners[i];
        l->pool = s->pools[c->listeners[i].pool];
        l->cells = server_zalloc_lines(s->nworkers, sizeof(struct listener_cell));
    }
}

struct snapshot *snapshot_new(struct config *config, uint64_t generation, unsigned nworkers,
                              roster_notify_fn *notify, void *notify_arg, struct error *e)
{
    assert(nworkers > 0);
    struct snapshot *s = mem_zalloc(sizeof(*s));
    s->config = config_ref(config);
    s->generation = generation;
    s->nworkers = nworkers;
    if (!add_pools(s, notify, notify_arg, e)) {
        snapshot_free(s);
        return NULL;
    }
    add_listeners(s);
    return s;
}

/* A roster may look at its pool until it is freed, a pool at its config. */
void snapshot_free(struct snapshot *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->nlisteners; i++)
        free(s->listeners[i].cells);
    free(s->listeners);
    for (size_t i = 0; i < s->npools; i++) {
        roster_free(s->rosters[i]);
        pool_free(s->pools[i]);
    }
    free(s->rosters);
    free(s->pools);
    config_unref(s->config);
    free(s);
}
