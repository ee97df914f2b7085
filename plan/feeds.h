/* What feeds the pools: listeners, their routes, and what these take keys from.
 *
 * What for: a pool whose keys are taken from something else has other keys, whatever its ring.
 * Threads: pure. */
#pragma once
#include "plan/plan.h"

/* Compares the listeners of two configurations. Adds the routes that are new, gone or elsewhere to
 * p->routes, remarks to p->notes, and to `why` of the pools that both have what changes all their
 * keys. p->pools must be there. */
void feeds_compare(const struct config *before, const struct config *after, struct plan *p);
void feeds_free(struct plan *p);
