/* A pool's ring, shared by the generations of the configuration that do not change it.
 *
 * What for: a reload that leaves the backends' names and weights and vnodes as they are neither
 * builds the ring again nor has two of them in memory.
 * Invariants: immutable. Ownership: counted (base/ref.h). Threads: any. */
#pragma once
#include "base/error.h"
#include "base/ref.h"
#include "config/config.h"
#include "ring/ring.h"

struct shared_ring {
    struct ref ref;
    struct ring *ring;
    uint64_t *positions; /* a slot each: how many of RING_SPACE are its own */
};

/* NULL: the error says why it can't be built. */
struct shared_ring *shared_ring_new(const struct config_pool *config, struct error *e);
struct shared_ring *shared_ring_ref(struct shared_ring *r);
void shared_ring_unref(struct shared_ring *r); /* NULL is fine */

/* Both configurations have the same ring. */
bool shared_ring_same(const struct config_pool *a, const struct config_pool *b);
