/* A place is a position with at least one point. It belongs to the first of its entries, and while
 * that one's slot is out, to the first whose slot is not; there may be none.
 *
 * The places whose owner is out come in runs, between two places whose owner is not:
 *
 *      left      o    o    o     right           o: a place of a slot that is out
 *   ----|--------|----|----|-------|----
 *           ^                  ^
 *           low                high              what the run has, from above `low` to `high`
 *
 * So what a run loses is one stretch, and it goes to the places that are left: to `left` and
 * `right`, and to those places of the run that have a further entry. Each run is gone through once,
 * from its first place. */
#include "ring/heirs.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "ring/ring_internal.h"

struct ring_heirs {
    const struct ring *ring;
    const uint64_t *entry;
    size_t n, nslots;
    uint32_t *first;     /* nslots + 1: where the entries of a slot begin in `of_slot` */
    uint32_t *of_slot;   /* indexes of entries, slot by slot, ascending */
    uint64_t *positions; /* of each slot */
    bool *is_out;        /* scratch, a slot each */
};

static unsigned slot_at(const struct ring_heirs *h, size_t i)
{
    return h->entry[i] & 0xffff;
}

static void sort_by_slot(struct ring_heirs *h)
{
    for (size_t i = 0; i < h->n; i++)
        h->first[slot_at(h, i) + 1]++;
    for (size_t s = 0; s < h->nslots; s++)
        h->first[s + 1] += h->first[s];
    uint32_t *next = mem_zalloc_array(h->nslots, sizeof *next);
    for (size_t i = 0; i < h->n; i++) {
        unsigned slot = slot_at(h, i);
        h->of_slot[h->first[slot] + next[slot]++] = (uint32_t)i;
    }
    free(next);
}

/* The shares with the slots of is_out out. */
static void count_positions(const struct ring_heirs *h, uint64_t *positions)
{
    uint16_t *owner = mem_zalloc_array(h->nslots, sizeof *owner);
    for (size_t s = 0; s < h->nslots; s++)
        owner[s] = h->is_out[s] ? RING_NONE : (uint16_t)s;
    ring_shares(h->ring, owner, positions, h->nslots);
    free(owner);
}

struct ring_heirs *ring_heirs_new(const struct ring *r)
{
    struct ring_heirs *h = mem_zalloc(sizeof *h);
    h->ring = r;
    h->entry = ring_entries(r);
    h->n = ring_points(r);
    h->nslots = ring_slots(r);
    h->first = mem_zalloc_array(h->nslots + 1, sizeof *h->first);
    h->of_slot = mem_zalloc_array(h->n, sizeof *h->of_slot);
    h->positions = mem_zalloc_array(h->nslots, sizeof *h->positions);
    h->is_out = mem_zalloc_array(h->nslots, sizeof *h->is_out);
    sort_by_slot(h);
    count_positions(h, h->positions);
    return h;
}

void ring_heirs_free(struct ring_heirs *h)
{
    if (h == NULL)
        return;
    free(h->first);
    free(h->of_slot);
    free(h->positions);
    free(h->is_out);
    free(h);
}

const uint64_t *ring_heirs_positions(const struct ring_heirs *h)
{
    return h->positions;
}

size_t ring_heirs_points(const struct ring_heirs *h, unsigned slot)
{
    return h->first[slot + 1] - h->first[slot];
}

/* ---- places, each by the index of its first entry ---- */

static size_t place_before(const struct ring_heirs *h, size_t place)
{
    return ring_first_at_place(h->ring, place == 0 ? h->n - 1 : place - 1);
}

static size_t place_after(const struct ring_heirs *h, size_t place)
{
    size_t i = place + 1;
    while (i < h->n && h->entry[i] >> 16 == h->entry[place] >> 16)
        i++;
    return i == h->n ? 0 : i;
}

static bool is_lost(const struct ring_heirs *h, size_t place)
{
    return h->is_out[slot_at(h, place)];
}

/* The first slot in service at a place; RING_NONE: there is none. */
static unsigned owner_left(const struct ring_heirs *h, size_t place)
{
    for (size_t i = place; i < h->n && h->entry[i] >> 16 == h->entry[place] >> 16; i++)
        if (!h->is_out[slot_at(h, i)])
            return slot_at(h, i);
    return RING_NONE;
}

/* Steps forward from a place to another one, and all around to itself. */
static uint64_t steps(const struct ring_heirs *h, size_t from, size_t to)
{
    uint64_t d = ((h->entry[to] >> 16) - (h->entry[from] >> 16)) & (RING_SPACE - 1);
    return d == 0 ? RING_SPACE : d;
}

/* ---- gains ---- */

struct gains {
    uint64_t *gain;
    uint16_t *heir;
    size_t n;
};

static void give(struct gains *g, unsigned slot, uint64_t positions)
{
    if (positions == 0)
        return;
    if (g->gain[slot] == 0)
        g->heir[g->n++] = (uint16_t)slot;
    g->gain[slot] += positions;
}

/* The last position nearer to a than to b, or as near. */
static uint64_t middle(uint64_t a, uint64_t b)
{
    return a + (b - a) / 2;
}

/* The run that begins at the place `first`. Positions count from `left`, the place before it. */
static void share_run(const struct ring_heirs *h, size_t left, size_t first, struct gains *g)
{
    unsigned owner = slot_at(h, left);
    uint64_t owner_at = 0;
    uint64_t at = middle(0, steps(h, left, first)); /* given away up to here: `low` */
    uint64_t last = 0;                              /* of the run's places */
    size_t place = first;
    for (; is_lost(h, place); place = place_after(h, place)) {
        unsigned next = owner_left(h, place);
        last = steps(h, left, place);
        if (next == RING_NONE)
            continue;
        uint64_t end = middle(owner_at, last);
        give(g, owner, end - at);
        at = end;
        owner = next;
        owner_at = last;
    }
    uint64_t right = steps(h, left, place), end = middle(owner_at, right);
    give(g, owner, end - at);
    give(g, slot_at(h, place), middle(last, right) - end);
}

/* Of rings that consist of lost places alone: a few of a few points. */
static void share_all(const struct ring_heirs *h, struct gains *g)
{
    uint64_t *positions = mem_zalloc_array(h->nslots, sizeof *positions);
    count_positions(h, positions);
    for (size_t s = 0; s < h->nslots; s++)
        if (!h->is_out[s])
            give(g, (unsigned)s, positions[s] - h->positions[s]);
    free(positions);
}

static bool all_lost(const struct ring_heirs *h, size_t place)
{
    size_t at = place;
    do {
        if (!is_lost(h, at))
            return false;
        at = place_after(h, at);
    } while (at != place);
    return true;
}

static void share_slot(const struct ring_heirs *h, unsigned slot, struct gains *g)
{
    for (uint32_t k = h->first[slot]; k < h->first[slot + 1]; k++) {
        size_t place = h->of_slot[k];
        if (ring_first_at_place(h->ring, place) != place)
            continue; /* the place is another's */
        size_t left = place_before(h, place);
        if (!is_lost(h, left))
            share_run(h, left, place, g);
    }
}

size_t ring_heirs_find(struct ring_heirs *h, const uint16_t *out, size_t n, uint64_t *gain,
                       uint16_t *heir)
{
    assert(n < h->nslots);
    struct gains g = {gain, heir, 0};
    for (size_t i = 0; i < n; i++)
        h->is_out[out[i]] = true;
    if (all_lost(h, 0)) {
        share_all(h, &g);
    } else {
        for (size_t i = 0; i < n; i++)
            share_slot(h, out[i], &g);
    }
    for (size_t i = 0; i < n; i++)
        h->is_out[out[i]] = false;
    return g.n;
}
