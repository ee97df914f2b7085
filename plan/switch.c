/* plan_switch(): two generations of a pool as they are in service. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "plan/plan.h"

/* NULL: no server serves the slot. */
static const char *owner_name(const struct pool *p, unsigned slot)
{
    uint16_t id = pool_owner_of(p, slot).owner;
    return id == SERVER_NONE ? NULL : p->members[id].server->name;
}

/* By far the usual case: neither the ring nor an owner differs. */
static bool same_layout(const struct pool *a, const struct pool *b)
{
    if (a->config->when_down != b->config->when_down || !shared_ring_same(a->config, b->config))
        return false;
    for (unsigned slot = 0; slot < a->nbackends; slot++) {
        const char *x = owner_name(a, slot), *y = owner_name(b, slot);
        if (x != y && (x == NULL || y == NULL || strcmp(x, y) != 0))
            return false;
    }
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Returns how many names were added: those of the pool's servers. */
static size_t add_names(const struct pool *p, const char **names)
{
    for (unsigned id = 0; id < p->nservers; id++)
        names[id] = p->members[id].server->name;
    return p->nservers;
}

/* The owner of each slot, as an index into the sorted names; the caller frees. */
static uint16_t *owners(const struct pool *p, const char **names, size_t n)
{
    uint16_t none = p->config->when_down == WHEN_DOWN_NEXT ? RING_NONE : (uint16_t)n;
    uint16_t *owner_of = mem_zalloc_array(p->nbackends, sizeof *owner_of);
    for (unsigned slot = 0; slot < p->nbackends; slot++) {
        const char *name = owner_name(p, slot);
        const char **at = name ? bsearch(&name, names, n, sizeof *names, compare_names) : NULL;
        owner_of[slot] = at ? (uint16_t)(at - names) : none;
    }
    return owner_of;
}

struct plan_moved plan_switch(const struct pool *before, const struct pool *after)
{
    if (same_layout(before, after))
        return (struct plan_moved){0, 0};
    size_t n = 0, all = (size_t)before->nservers + after->nservers;
    const char **names = mem_zalloc_array(all, sizeof *names);
    n += add_names(before, names);
    n += add_names(after, names + n);
    qsort(names, n, sizeof *names, compare_names);
    size_t different = 0; /* each name once, as bsearch() may find any of several */
    for (size_t i = 0; i < n; i++)
        if (different == 0 || strcmp(names[different - 1], names[i]) != 0)
            names[different++] = names[i];
    uint16_t *was = owners(before, names, different), *is = owners(after, names, different);
    struct ring_layout a = {before->ring, was}, b = {after->ring, is};
    struct ring_plan sums;
    ring_plan_sums(&a, &b, different, &sums);
    struct plan_moved result = {sums.moved, sums.least};
    ring_plan_deinit(&sums);
    free(was);
    free(is);
    free(names);
    return result;
}
