#include "pool/shared_ring.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static struct ring *make_ring(const struct config_pool *config, struct error *e)
{
    struct ring_member *members = mem_zalloc_array(config->nbackends, sizeof(*members));
    for (size_t i = 0; i < config->nbackends; i++)
        members[i] =
            (struct ring_member){str_of(config->backends[i].name), config->backends[i].weight};
    struct ring *ring = ring_new(members, config->nbackends, config->vnodes, e);
    free(members);
    return ring;
}

/* Shares are asked for at each promotion; counting them once spares a pass over the ring. */
static uint64_t *count_positions(const struct ring *ring)
{
    size_t n = ring_slots(ring);
    uint64_t *positions = mem_zalloc_array(n, sizeof(*positions));
    uint16_t *own = mem_zalloc_array(n, sizeof(*own));
    for (size_t i = 0; i < n; i++)
        own[i] = (uint16_t)i;
    ring_shares(ring, own, positions, n);
    free(own);
    return positions;
}

struct shared_ring *shared_ring_new(const struct config_pool *config, struct error *e)
{
    struct ring *ring = make_ring(config, e);
    if (ring == NULL)
        return NULL;
    struct shared_ring *r = mem_zalloc(sizeof(*r));
    ref_init(&r->ref);
    r->ring = ring;
    r->positions = count_positions(ring);
    return r;
}

struct shared_ring *shared_ring_ref(struct shared_ring *r)
{
    ref_get(&r->ref);
    return r;
}

void shared_ring_unref(struct shared_ring *r)
{
    if (r == NULL || !ref_put(&r->ref))
        return;
    ring_free(r->ring);
    free(r->positions);
    free(r);
}

bool shared_ring_same(const struct config_pool *a, const struct config_pool *b)
{
    if (a->vnodes != b->vnodes || a->nbackends != b->nbackends)
        return false;
    for (size_t i = 0; i < a->nbackends; i++)
        if (a->backends[i].weight != b->backends[i].weight ||
            strcmp(a->backends[i].name, b->backends[i].name) != 0)
            return false;
    return true;
}
