/* The circle as a sequence of arcs, each with one owner.
 *
 * What for: exact shares and moves are sums of the lengths of arcs.
 * Invariants: the arcs cover the positions from 0 to RING_SPACE without a gap, in ascending order.
 * The arc of the point `now` begins where the arc before it ended, and ends before `end`.
 * Neighbouring arcs may have one owner.
 * Ownership: the caller's; ring and owner_of must outlive the iteration. Threads: the caller's. */
#pragma once
#include "ring/ring.h"

struct owned_point {
    int64_t position;
    unsigned owner; /* RING_NONE: no slot of the ring has an owner */
};

struct arcs {
    const uint16_t *owner_of; /* an owner for each slot; RING_NONE: the points of the slot are
                                 skipped, and their keys belong to the neighbours */
    const uint64_t *entry;
    size_t n, i; /* the entries, and the next one to examine; from n on, those of the second turn */
    struct owned_point now, next;
    int64_t end;
};

/* Begins with the arc at position 0. If no slot has an owner, it is the only one. */
void arcs_open(struct arcs *a, const struct ring *r, const uint16_t *owner_of);
/* Advances to the arc that contains `position`, which is not before the present arc. Stays at the
 * last arc if that is RING_SPACE. */
void arcs_seek(struct arcs *a, int64_t position);
