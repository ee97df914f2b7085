/* One generation of the configuration in service: config, pools, rosters, listeners.
 *
 * What for: the place where proxy, health and admin meet without including each other.
 * Invariants: once built only atomics (pools, cells) and the rosters (control thread) move.
 * Ownership: owns its pools and rosters and a reference to the config.
 * Threads: pools and listeners any; rosters the control thread alone. */
#pragma once
#include <stdatomic.h>
#include <stdint.h>

#include "base/histogram.h"
#include "config/config.h"
#include "pool/pool.h"
#include "pool/roster.h"

#define STATUS_CODES 600 /* codes[c] counts answers with status c, 100 <= c < 600 */

/* One worker's counters of one listener: written by that worker alone. */
struct listener_cell {
    _Alignas(64) _Atomic uint64_t codes[STATUS_CODES];
    _Atomic uint64_t requests; /* heads that were complete and valid */
    _Atomic uint64_t keyless;
    _Atomic uint64_t connections; /* open now */
    _Atomic uint64_t accepted;    /* connections ever */
    struct histogram duration;    /* complete head to the answer's last byte handed over */
};

struct snapshot_listener {
    const struct config_listener *config;
    struct pool *pool;
    struct listener_cell *cells;  /* one a worker */
    _Atomic uint32_t connections; /* open now, all workers: max_connections is held against it */
};

struct snapshot {
    struct config *config;
    uint64_t generation; /* 1, 2, ... */
    unsigned nworkers;
    struct pool **pools;
    struct roster **rosters; /* same index; control thread */
    size_t npools;
    struct snapshot_listener *listeners;
    size_t nlisteners;
};

/* Takes a reference to the config. notify gets the notices of all rosters. NULL: the error says
 * why (a ring that can't be built). */
struct snapshot *snapshot_new(struct config *config, uint64_t generation, unsigned nworkers,
                              roster_notify_fn *notify, void *notify_arg, struct error *e);
void snapshot_free(struct snapshot *s); /* NULL is fine */
