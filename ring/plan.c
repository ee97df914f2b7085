/* Both layouts are sequences of arcs. They are gone through at once and cut wherever either of them
 * has the end of an arc: between two cuts, each layout has one owner. */
#include "ring/plan.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "ring/arcs.h"

#define FIRST_CELLS 1024           /* a power of two */
#define GOLDEN 0x9e3779b97f4a7c15u /* 2^64 / the golden ratio: its multiples spread evenly */

/* The moves found so far, in a hash table with open addressing. A table of all pairs of ids would
 * have up to 2^32 cells, of which few are used. A cell without positions is empty. */
struct table {
    struct ring_move *cell;
    size_t ncells, used; /* ncells is a power of two, at least twice `used` */
};

static struct ring_move *find_cell(const struct table *t, unsigned from, unsigned to)
{
    uint64_t hash = (from << 16 | to) * GOLDEN;
    size_t mask = t->ncells - 1;
    size_t i = (size_t)(hash >> 32) & mask;
    while (t->cell[i].positions > 0 && (t->cell[i].from != from || t->cell[i].to != to))
        i = (i + 1) & mask;
    return &t->cell[i];
}

static void grow(struct table *t)
{
    struct table larger = {.ncells = t->ncells * 2, .used = t->used};
    larger.cell = mem_zalloc_array(larger.ncells, sizeof *larger.cell);
    for (size_t i = 0; i < t->ncells; i++)
        if (t->cell[i].positions > 0)
            *find_cell(&larger, t->cell[i].from, t->cell[i].to) = t->cell[i];
    free(t->cell);
    *t = larger;
}

static void add_move(struct table *t, unsigned from, unsigned to, uint64_t positions)
{
    struct ring_move *m = find_cell(t, from, to);
    if (m->positions == 0) {
        *m = (struct ring_move){.from = (uint16_t)from, .to = (uint16_t)to};
        t->used++;
    }
    m->positions += positions;
    if (t->used * 2 > t->ncells)
        grow(t);
}

static int compare_moves(const void *a, const void *b)
{
    const struct ring_move *x = a, *y = b;
    if (x->positions != y->positions)
        return x->positions > y->positions ? -1 : 1;
    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    return (x->to > y->to) - (x->to < y->to);
}

/* The table becomes the list of the plan. */
static void list_moves(struct table *t, struct ring_plan *p)
{
    for (size_t i = 0; i < t->ncells; i++)
        if (t->cell[i].positions > 0)
            t->cell[p->nmoves++] = t->cell[i];
    assert(p->nmoves == t->used);
    p->moves = mem_grow(t->cell, p->nmoves + 1, sizeof *p->moves);
    qsort(p->moves, p->nmoves, sizeof *p->moves, compare_moves);
}

static unsigned id_of(const struct arcs *a, size_t nids)
{
    unsigned id = a->now.owner == RING_NONE ? (unsigned)nids : a->now.owner;
    assert(id <= nids);
    return id;
}

/* moves NULL: the sums alone. */
static void merge(const struct ring_layout *before, const struct ring_layout *after, size_t nids,
                  struct ring_plan *out, struct table *moves)
{
    assert(nids < RING_NONE);
    struct arcs a, b;
    *out = (struct ring_plan){.before = mem_zalloc_array(nids + 1, sizeof *out->before),
                              .after = mem_zalloc_array(nids + 1, sizeof *out->after)};
    arcs_open(&a, before->ring, before->owner_of);
    arcs_open(&b, after->ring, after->owner_of);
    for (int64_t at = 0; at < (int64_t)RING_SPACE;) {
        int64_t end = a.end < b.end ? a.end : b.end;
        uint64_t positions = (uint64_t)(end - at);
        unsigned from = id_of(&a, nids), to = id_of(&b, nids);
        out->before[from] += positions;
        out->after[to] += positions;
        if (from != to) {
            out->moved += positions;
            if (moves)
                add_move(moves, from, to, positions);
        }
        at = end;
        arcs_seek(&a, at);
        arcs_seek(&b, at);
    }
    for (size_t id = 0; id <= nids; id++)
        if (out->after[id] > out->before[id])
            out->least += out->after[id] - out->before[id];
}

void ring_plan(const struct ring_layout *before, const struct ring_layout *after, size_t nids,
               struct ring_plan *out)
{
    struct table moves = {.cell = mem_zalloc_array(FIRST_CELLS, sizeof *moves.cell),
                          .ncells = FIRST_CELLS};
    merge(before, after, nids, out, &moves);
    list_moves(&moves, out);
}

void ring_plan_sums(const struct ring_layout *before, const struct ring_layout *after, size_t nids,
                    struct ring_plan *out)
{
    merge(before, after, nids, out, NULL);
}

void ring_plan_deinit(struct ring_plan *p)
{
    free(p->before);
    free(p->after);
    free(p->moves);
    *p = (struct ring_plan){0};
}
