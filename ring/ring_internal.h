/* A ring of given points, for the ring's own tests: they need cases that real names practically
 * never produce, such as several points at one position, ties and a single point.
 *
 * Ownership: as ring_new(). Threads: as ring.h. */
#pragma once
#include "ring/ring.h"

/* entries[n], n at least 1, in any order: position << 16 | slot, each slot below nslots. The ring
 * copies them. NULL: out of memory. */
struct ring *ring_from_entries(const uint64_t *entries, size_t n, size_t nslots, struct error *e);
