/* Who gets the keys of slots that lose their owner, without a pass over the whole ring.
 *
 * What for: what happens if any one server of a pool fails, or any two, is thousands of questions
 * about one ring. Each one is answered from the points of the slots that are out and the points
 * next to them.
 * Invariants: exact to the position, as ring_shares() is.
 * Ownership: ring_heirs_new() to ring_heirs_free(); the ring must outlive it. Threads: one at a
 * time, as it has scratch memory. */
#pragma once
#include "ring/ring.h"

struct ring_heirs;

/* Takes 4 bytes a point. Aborts when memory is out. */
struct ring_heirs *ring_heirs_new(const struct ring *r);
void ring_heirs_free(struct ring_heirs *h); /* NULL is fine */

/* The number of positions that each slot has if all are in service, ring_slots() of them. */
const uint64_t *ring_heirs_positions(const struct ring_heirs *h);
/* The number of points of a slot. */
size_t ring_heirs_points(const struct ring_heirs *h, unsigned slot);

/* out[n]: different slots, fewer than all. Adds to gain[slot], for each other slot, the positions
 * that it gets from them. gain[] must be zeroed. Lists in heir[ring_slots()] the slots that gain.
 * Returns their number; they are in no order. */
size_t ring_heirs_find(struct ring_heirs *h, const uint16_t *out, size_t n, uint64_t *gain,
                       uint16_t *heir);
