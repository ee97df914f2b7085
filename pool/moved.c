/* The lower 16 bits of a hash decide on which side of a ramp a key is, the upper 48 where it lies
 * on the ring. So the lower bits are cut where some ramp has its side, and for each piece the
 * owners of before and after are compared over the whole ring. */
#include "pool/moved.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

#define LOW_END 65536u
#define RING_PASSES 33

/* SERVER_NONE stays, see id_of_none(). */
static uint16_t common_id(const struct pool *p, uint16_t id, const struct pool *to)
{
    if (p == to || id == SERVER_NONE)
        return id;
    const struct pool_member *m = pool_find_name(to, p->members[id].server->name);
    return m ? m->id : (uint16_t)(to->nservers + 1 + id);
}

/* Keys are refused with `when_down: fail`, and if no slot has an owner. */
static uint16_t id_of_none(const struct pool *p, const struct pool *to)
{
    bool live = false;
    for (unsigned b = 0; b < p->nbackends && !live; b++)
        live = pool_owner_of(p, b).owner != SERVER_NONE;
    return live && p->config->when_down == WHEN_DOWN_NEXT ? RING_NONE : to->nservers;
}

static void common_words(const struct pool *p, const struct pool *to, struct pool_owner *words)
{
    for (unsigned b = 0; b < p->nbackends; b++) {
        struct pool_owner w = pool_owner_of(p, b);
        words[b] =
            (struct pool_owner){common_id(p, w.owner, to), common_id(p, w.from, to), w.share};
    }
}

static void owners_at(const struct pool_owner *words, unsigned n, uint32_t low, uint16_t none,
                      uint16_t *ids)
{
    for (unsigned b = 0; b < n; b++) {
        const struct pool_owner *w = &words[b];
        uint16_t id = w->from != SERVER_NONE && low >= w->share ? w->from : w->owner;
        ids[b] = id == SERVER_NONE ? none : id;
    }
}

static int by_number(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

struct comparison {
    const struct pool *pool; /* for its ring */
    unsigned n;
    struct pool_owner *words[2]; /* before, after */
    uint16_t none[2];
    uint16_t *ids[2];
    uint32_t *cuts; /* where pieces begin, ascending */
    unsigned ncuts;
    bool walks; /* some keys go on to the next slot */
};

/* The step that a ramp has taken with the switch is not the doing of the switch. */
static void look_through(struct comparison *c)
{
    c->cuts[c->ncuts++] = 0;
    for (unsigned b = 0; b < c->n; b++) {
        struct pool_owner *w = &c->words[0][b], *v = &c->words[1][b];
        if (w->owner == v->owner && w->from == v->from)
            w->share = v->share;
        for (unsigned k = 0; k < 2; k++) {
            const struct pool_owner *x = &c->words[k][b];
            c->walks |= x->owner == SERVER_NONE && c->none[k] == RING_NONE;
            if (x->from != SERVER_NONE && x->share < LOW_END)
                c->cuts[c->ncuts++] = x->share;
        }
    }
    qsort(c->cuts, c->ncuts, sizeof *c->cuts, by_number);
    unsigned kept = 1;
    for (unsigned i = 1; i < c->ncuts; i++)
        if (c->cuts[i] != c->cuts[kept - 1])
            c->cuts[kept++] = c->cuts[i];
    c->ncuts = kept;
}

/* Positions of RING_SPACE that change their server, in one piece. */
static uint64_t moved_at(struct comparison *c, uint32_t low)
{
    uint64_t positions = 0;
    bool changed = false;
    for (unsigned k = 0; k < 2; k++)
        owners_at(c->words[k], c->n, low, c->none[k], c->ids[k]);
    for (unsigned b = 0; b < c->n; b++)
        if (c->ids[0][b] != c->ids[1][b]) {
            changed = true;
            positions += c->pool->shared_ring->positions[b];
        }
    return c->walks && changed ? ring_moved(c->pool->ring, c->ids[0], c->ids[1]) : positions;
}

static double compare(struct comparison *c)
{
    double moved = 0;
    look_through(c);
    if (c->walks && c->ncuts > RING_PASSES)
        return -1;
    for (unsigned i = 0; i < c->ncuts; i++) {
        uint32_t end = i + 1 < c->ncuts ? c->cuts[i + 1] : LOW_END;
        double part = (double)(end - c->cuts[i]) / LOW_END;
        moved += part * (double)moved_at(c, c->cuts[i]) / (double)RING_SPACE;
    }
    return moved;
}

double pool_moved(const struct pool *from, const struct pool *to)
{
    struct comparison c = {.pool = to, .n = to->nbackends};
    if (from->ring != to->ring)
        return -1;
    assert(from->nbackends == to->nbackends);
    const struct pool *pools[2] = {from, to};
    for (unsigned k = 0; k < 2; k++) {
        c.words[k] = mem_zalloc_array(c.n, sizeof *c.words[k]);
        c.ids[k] = mem_zalloc_array(c.n, sizeof *c.ids[k]);
        c.none[k] = id_of_none(pools[k], to);
        common_words(pools[k], to, c.words[k]);
    }
    c.cuts = mem_zalloc_array(2 * c.n + 1, sizeof *c.cuts);
    double moved = compare(&c);
    free(c.cuts);
    for (unsigned k = 0; k < 2; k++) {
        free(c.ids[k]);
        free(c.words[k]);
    }
    return moved;
}
