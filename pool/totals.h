/* What is counted about a pool of a name across the generations of the configuration.
 *
 * What for: a reload does not set the counters of a pool back, and its `max_load` sees the requests
 * that an older generation still serves. It also names a pool in mail to workers, who may have
 * several generations of it.
 * Ownership: counted (base/ref.h); each generation's struct pool holds a reference, mail too.
 * Threads: any; the atomics need no order (relaxed). */
#pragma once
#include <stdatomic.h>
#include <stdint.h>

#include "base/ref.h"

struct pool_totals {
    struct ref ref;
    /* raised by the control thread or at workers' rare events */
    _Atomic uint64_t failovers, retries;
    _Alignas(64) _Atomic uint32_t active; /* requests in flight of generations with a max_load */
};

struct pool_totals *pool_totals_new(void);
struct pool_totals *pool_totals_ref(struct pool_totals *t);
void pool_totals_unref(struct pool_totals *t); /* NULL is fine */
/* pool_totals_unref() as a message's release function (net/mailbox.h). */
void pool_totals_release(void *totals);
