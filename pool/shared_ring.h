/* A pool's ring, shared by the generations of the configuration that do not change it.
 *
 * What for: a reload that leaves `vnodes` and the names and weights of the backends as they are
 * does not build the ring again, nor has two of them in memory.
 * Invariants: immutable.
 * Ownership: counted (base/ref.h).
 * Threads: any. */
#pragma once
#include "base/error.h"
#include "base/ref.h"
#include "config/config.h"
#include "ring/ring.h"

struct shared_ring {
    struct ref ref;
    struct ring *ring;
    uint64_t *positions; /* one for each slot: how many positions of RING_SPACE are its own */
};

/* NULL: the ring can't be built, and the error says why. */
struct shared_ring *shared_ring_new(const struct config_pool *config, struct error *e);
struct shared_ring *shared_ring_ref(struct shared_ring *r);
void shared_ring_unref(struct shared_ring *r); /* NULL is fine */

/* Whether both configurations have the same ring. */
bool shared_ring_same(const struct config_pool *a, const struct config_pool *b);
