/* The part of the ring that only its own tests need: a ring of given points, to force what real
 * names give once in a billion years (points in one place, ties, a lonely point).
 *
 * Ownership: as ring_new(). Threads: as ring.h. */
#pragma once
#include "ring/ring.h"

/* entries[n], n at least 1, in any order: 48 bits of position << 16 | slot, each slot below nslots.
 * They are copied. */
struct ring *ring_from_entries(const uint64_t *entries, size_t n, size_t nslots, struct error *e);
