#include "plan/plan.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "plan/feeds.h"
#include "plan/texts.h"

/* A pool of one side. config NULL: that side has no such pool. */
struct half {
    const struct config_pool *config;
    struct shared_ring *ring; /* a reference */
    uint16_t *owner_of;       /* of each slot: the index of its backend among plan_pool.servers */
};

static bool half_open(struct half *h, const struct plan_side *s, size_t pool, struct error *e)
{
    *h = (struct half){.config = &s->config->pools[pool]};
    h->ring =
        s->pools ? shared_ring_ref(s->pools[pool]->shared_ring) : shared_ring_new(h->config, e);
    if (h->ring == NULL) {
        error_prefix(e, "pool %s", h->config->name);
        return false;
    }
    h->owner_of = mem_zalloc_array(h->config->nbackends, sizeof *h->owner_of);
    return true;
}

static void half_close(struct half *h)
{
    shared_ring_unref(h->ring);
    free(h->owner_of);
}

static size_t nbackends(const struct half *h)
{
    return h->config ? h->config->nbackends : 0;
}

/* ---- servers ---- */

static int compare_next(const struct half *a, size_t i, const struct half *b, size_t k)
{
    if (i == nbackends(a))
        return 1;
    if (k == nbackends(b))
        return -1;
    return strcmp(a->config->backends[i].name, b->config->backends[k].name);
}

/* The backends of both sides, which are sorted by name, as one list. */
static void join_servers(struct plan_pool *p, struct half *a, struct half *b)
{
    size_t i = 0, k = 0;
    p->servers = mem_zalloc_array(nbackends(a) + nbackends(b), sizeof *p->servers);
    while (i < nbackends(a) || k < nbackends(b)) {
        int order = compare_next(a, i, b, k);
        struct plan_server *s = &p->servers[p->nservers];
        if (order <= 0) {
            s->name = a->config->backends[i].name;
            s->weight_before = a->config->backends[i].weight;
            a->owner_of[i++] = (uint16_t)p->nservers;
        }
        if (order >= 0) {
            s->name = b->config->backends[k].name;
            s->weight_after = b->config->backends[k].weight;
            b->owner_of[k++] = (uint16_t)p->nservers;
        }
        p->nservers++;
    }
}

double plan_relative(const struct plan_pool *p, size_t server, bool after)
{
    uint64_t weights = 0, positions = (after ? p->ring.after : p->ring.before)[server];
    for (size_t i = 0; i < p->nservers; i++)
        weights += after ? p->servers[i].weight_after : p->servers[i].weight_before;
    uint32_t weight = after ? p->servers[server].weight_after : p->servers[server].weight_before;
    return weight ? (double)positions / (double)RING_SPACE * (double)weights / weight : 0;
}

static void find_fullest(struct plan_pool *p)
{
    bool after = p->change != PLAN_REMOVED;
    const uint64_t *positions = after ? p->ring.after : p->ring.before;
    double most = -1;
    for (size_t i = 0; i < p->nservers; i++) {
        uint32_t weight = after ? p->servers[i].weight_after : p->servers[i].weight_before;
        if (weight && (double)positions[i] / weight > most) {
            most = (double)positions[i] / weight;
            p->fullest = i;
        }
    }
}

/* ---- shares ---- */

static void spread(const struct half *h, uint64_t *shares)
{
    for (size_t slot = 0; slot < nbackends(h); slot++)
        shares[h->owner_of[slot]] = h->ring->positions[slot];
}

static void compare_rings(struct plan_pool *p, const struct half *a, const struct half *b)
{
    if (a->config && b->config && !shared_ring_same(a->config, b->config)) {
        struct ring_layout before = {a->ring->ring, a->owner_of};
        struct ring_layout after = {b->ring->ring, b->owner_of};
        ring_plan(&before, &after, p->nservers, &p->ring);
        p->moved = p->ring.moved;
        p->least = p->ring.least;
        return;
    }
    p->ring.before = mem_zalloc_array(p->nservers + 1, sizeof *p->ring.before);
    p->ring.after = mem_zalloc_array(p->nservers + 1, sizeof *p->ring.after);
    spread(a, p->ring.before);
    spread(b, p->ring.after);
}

/* ---- standbys and addresses ---- */

static const struct config_server *find_server(const struct config_server *servers, size_t n,
                                               const char *name)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(servers[middle].name, name);
        if (order == 0)
            return &servers[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static const struct config_server *find_backend(const struct config_pool *c, const char *name)
{
    return find_server(c->backends, c->nbackends, name);
}

static const struct config_server *find_standby(const struct config_pool *c, const char *name)
{
    return find_server(c->standbys, c->nstandbys, name);
}

static void compare_address(struct plan_pool *p, const struct config_server *was,
                            const struct config_server *is)
{
    if (strcmp(was->address_text, is->address_text) == 0)
        return;
    p->addresses = mem_grow(p->addresses, p->naddresses + 1, sizeof *p->addresses);
    p->addresses[p->naddresses++] =
        (struct plan_address){is->name, was->address_text, is->address_text};
}

/* "b1, b2" or "any backend"; the caller frees. */
static char *for_text(const struct config_pool *c, const struct config_server *standby)
{
    char *text = NULL;
    size_t n;
    FILE *f = mem_check(open_memstream(&text, &n));
    for (size_t i = 0; i < standby->nfor; i++)
        fprintf(f, "%s%s", i ? ", " : "", c->backends[standby->for_backends[i]].name);
    if (standby->nfor == 0)
        fputs("any backend", f);
    if (fclose(f) != 0)
        mem_check(NULL);
    return text;
}

static void compare_for(struct plan_pool *p, const struct config_pool *a,
                        const struct config_server *was, const struct config_pool *b,
                        const struct config_server *is)
{
    char *before = for_text(a, was), *after = for_text(b, is);
    if (strcmp(before, after) != 0)
        texts_add(&p->notes, "standby %s was for %s, is for %s", is->name, before, after);
    free(before);
    free(after);
}

static void note_added(struct plan_pool *p, const struct config_pool *b,
                       const struct config_server *is)
{
    char *of = for_text(b, is);
    texts_add(&p->notes, "standby %s is added, for %s", is->name, of);
    free(of);
}

static void compare_standbys(struct plan_pool *p, const struct config_pool *a,
                             const struct config_pool *b)
{
    for (size_t i = 0; i < b->nstandbys; i++) {
        const struct config_server *is = &b->standbys[i], *was = find_standby(a, is->name);
        if (was) {
            compare_address(p, was, is);
            compare_for(p, a, was, b, is);
        } else if ((was = find_backend(a, is->name)) != NULL) {
            compare_address(p, was, is);
            texts_add(&p->notes, "%s was a backend, is a standby", is->name);
        } else {
            note_added(p, b, is);
        }
    }
    for (size_t i = 0; i < a->nstandbys; i++) {
        const char *name = a->standbys[i].name;
        if (find_backend(b, name))
            texts_add(&p->notes, "%s was a standby, is a backend", name);
        else if (find_standby(b, name) == NULL)
            texts_add(&p->notes, "standby %s is removed", name);
    }
}

static void compare_servers(struct plan_pool *p, const struct config_pool *a,
                            const struct config_pool *b)
{
    for (size_t i = 0; i < b->nbackends; i++) {
        const struct config_server *is = &b->backends[i], *was = find_backend(a, is->name);
        if (was == NULL)
            was = find_standby(a, is->name);
        if (was)
            compare_address(p, was, is);
    }
    compare_standbys(p, a, b);
}

/* ---- the plan ---- */

static size_t pool_index(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->npools; i++)
        if (strcmp(c->pools[i].name, name) == 0)
            return i;
    return c->npools;
}

/* before, after: the index of the pool on each side; npools: that side has none. */
static bool plan_one(struct plan *p, const struct plan_side *before, size_t i,
                     const struct plan_side *after, size_t k, struct error *e)
{
    struct half a = {0}, b = {0};
    struct plan_pool *pool = &p->pools[p->npools];
    bool ok = (i == before->config->npools || half_open(&a, before, i, e)) &&
              (k == after->config->npools || half_open(&b, after, k, e));
    if (ok) {
        pool->name = (b.config ? b.config : a.config)->name;
        join_servers(pool, &a, &b);
        compare_rings(pool, &a, &b);
        if (a.config && b.config) {
            compare_servers(pool, a.config, b.config);
            pool->change = pool->moved ? PLAN_MOVED : PLAN_SAME;
        } else {
            pool->change = b.config ? PLAN_ADDED : PLAN_REMOVED;
        }
        find_fullest(pool);
        p->npools++;
    }
    half_close(&a);
    half_close(&b);
    return ok;
}

/* The moves on the ring say nothing if each key is another one. */
static void mark_all_keys(struct plan_pool *p)
{
    if (p->why.n == 0)
        return;
    p->change = PLAN_ALL_KEYS;
    p->moved = p->least = RING_SPACE;
    p->ring.nmoves = 0;
}

struct plan *plan_new(const struct plan_side *before, const struct plan_side *after,
                      struct error *e)
{
    const struct config *a = before->config, *b = after->config;
    struct plan *p = mem_zalloc(sizeof *p);
    p->pools = mem_zalloc_array(a->npools + b->npools, sizeof *p->pools);
    bool ok = true;
    for (size_t k = 0; k < b->npools && ok; k++)
        ok = plan_one(p, before, pool_index(a, b->pools[k].name), after, k, e);
    for (size_t i = 0; i < a->npools && ok; i++)
        if (pool_index(b, a->pools[i].name) == b->npools)
            ok = plan_one(p, before, i, after, b->npools, e);
    if (!ok) {
        plan_free(p);
        return NULL;
    }
    feeds_compare(a, b, p);
    for (size_t i = 0; i < p->npools; i++)
        mark_all_keys(&p->pools[i]);
    return p;
}

void plan_free(struct plan *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->npools; i++) {
        struct plan_pool *pool = &p->pools[i];
        free(pool->servers);
        ring_plan_deinit(&pool->ring);
        texts_free(&pool->why);
        texts_free(&pool->notes);
        free(pool->addresses);
    }
    free(p->pools);
    feeds_free(p);
    texts_free(&p->notes);
    free(p);
}

const struct plan_pool *plan_most(const struct plan *p)
{
    const struct plan_pool *most = NULL;
    for (size_t i = 0; i < p->npools; i++) {
        const struct plan_pool *pool = &p->pools[i];
        if (pool->change != PLAN_ADDED && pool->change != PLAN_REMOVED &&
            (most == NULL || pool->moved > most->moved))
            most = pool;
    }
    return most;
}

bool plan_route_concerns(const struct plan_route *r, const struct plan_pool *pool)
{
    return pool == NULL || (r->from_pool && strcmp(r->from_pool, pool->name) == 0) ||
           (r->to_pool && strcmp(r->to_pool, pool->name) == 0);
}

const char *plan_percent(uint64_t positions, char out[PLAN_PERCENT])
{
    double percent = (double)positions / (double)RING_SPACE * 100;
    if (positions == 0 || positions == RING_SPACE)
        snprintf(out, PLAN_PERCENT, "%s", positions ? "100%" : "0%");
    else if (percent < 0.0001)
        snprintf(out, PLAN_PERCENT, "<0.0001%%");
    else if (percent > 99.9999)
        snprintf(out, PLAN_PERCENT, ">99.9999%%");
    else
        snprintf(out, PLAN_PERCENT, "%.4f%%", percent);
    return out;
}
