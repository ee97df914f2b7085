/* What moves between two layouts of the circle, exactly, and the least that could.
 *
 * What for: a change of the configuration is judged by the share of the keys that it gives to
 * another server, and by how many of these it could have left where they were.
 * Invariants: owners are ids from 0 to nids - 1, which mean the same in both layouts, or nids:
 * nobody, whose keys are refused. Every figure is a number of positions, of RING_SPACE in all, and
 * exact: nothing is sampled. Nobody counts as an owner like any other: keys that had no owner and
 * have one have moved.
 * Cost: one pass over both rings, about 10 ns a point; ring_plan() more, the more pairs of owners
 * there are between which keys move.
 * Ownership: a plan's arrays belong to it, from ring_plan() to ring_plan_deinit(). Threads: pure.
 */
#pragma once
#include "ring/ring.h"

struct ring_layout {
    const struct ring *ring;
    const uint16_t *owner_of; /* of each slot: an id up to nids; or RING_NONE: its keys go to the
                                 owner of the nearest point of a slot with one, as in ring_walk() */
};

struct ring_move {
    uint16_t from, to; /* differ */
    uint64_t positions;
};

struct ring_plan {
    uint64_t *before, *after; /* of each id, and of nobody: nids + 1 */
    struct ring_move *moves;  /* the largest first, then by `from` and `to` */
    size_t nmoves;
    uint64_t moved; /* the sum of all moves */
    uint64_t least; /* what has to move, however it is done, for these shares after: the sum of what
                       each id, or nobody, gains */
};

/* nids: below RING_NONE. If no slot of a layout has an owner, nobody has all its keys. Aborts when
 * memory is out. */
void ring_plan(const struct ring_layout *before, const struct ring_layout *after, size_t nids,
               struct ring_plan *out);
/* The same without `moves`, which may be millions if most names change: they take up to a hundred
 * times as long as the sums. */
void ring_plan_sums(const struct ring_layout *before, const struct ring_layout *after, size_t nids,
                    struct ring_plan *out);
void ring_plan_deinit(struct ring_plan *p);
