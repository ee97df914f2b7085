/* What is counted about the pools of one name in all generations of the configuration.
 *
 * What for: a reload does not set the counters of a pool back, and `max_load` counts the requests
 * that an older generation still serves. Mail to workers, which may have several generations of a
 * pool, names the pool by its totals.
 * Invariants: pools of one name share one object.
 * Ownership: counted (base/ref.h); each generation's struct pool holds a reference, and so does
 * mail.
 * Threads: any; the atomics need no order (relaxed). */
#pragma once
#include <stdatomic.h>
#include <stdint.h>

#include "base/ref.h"

struct pool_totals {
    struct ref ref;
    /* raised by the control thread, or by workers at rare events */
    _Atomic uint64_t failovers, retries;
    _Atomic uint64_t all_down; /* how often the pool began to try servers although all were down */
    _Alignas(64) _Atomic uint32_t active; /* requests in flight, of generations with a max_load */
};

struct pool_totals *pool_totals_new(void);
struct pool_totals *pool_totals_ref(struct pool_totals *t);
void pool_totals_unref(struct pool_totals *t); /* NULL is fine */
/* pool_totals_unref() as a message_release_fn (net/mailbox.h). */
void pool_totals_release(void *totals);
