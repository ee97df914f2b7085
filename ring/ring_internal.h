/* The points themselves, for the other modules of this folder, and a ring of given points, for its
 * tests: they need cases that real names practically never produce, such as several points at one
 * position, ties and a single point.
 *
 * Ownership: as ring_new(). Threads: as ring.h. */
#pragma once
#include "ring/ring.h"

/* entries[n], n at least 1, in any order: position << 16 | slot, each slot below nslots. The ring
 * copies them. NULL: out of memory. */
struct ring *ring_from_entries(const uint64_t *entries, size_t n, size_t nslots, struct error *e);

/* The entries in ascending order, ring_points() of them: position << 16 | slot. They are the
 * ring's. */
const uint64_t *ring_entries(const struct ring *r);
/* The first of the entries at the position of entry i, which is the one of the lowest slot. */
size_t ring_first_at_place(const struct ring *r, size_t i);
