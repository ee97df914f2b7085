/* A worker takes up generations of the configuration, one after another.
 *
 * What for: generation_take_up() makes a snapshot what new requests of this thread begin under.
 * Invariants: what is under way stays under the generation it began with. Kept connections to
 * servers that stay are kept, with the time they have left; those to servers that go are closed.
 * The listeners are the same ones in each snapshot, in the same order.
 * Ownership: struct generation is in ground.h. Threads: the worker's, or control before it runs. */
#pragma once
#include "proxy/ground.h"

/* Keeps a reference of its own to the snapshot. */
void generation_take_up(struct worker *w, struct snapshot *s);
