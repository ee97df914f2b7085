/* One generation of the configuration in service: config, pools, listeners, rosters.
 *
 * What for: the place where proxy, health and admin meet without including each other.
 * Invariants: once built only atomics (pools, servers, cells) and the rosters (control thread)
 * move. What has to outlive a generation (servers, totals of pools, figures of listeners) is
 * counted by reference and shared by the generations that have it. `rosters` belong to the control
 * thread alone, and no roster works for two generations at a time: control calls snapshot_retire()
 * when the next generation takes over, and before it gives back its own reference. Ownership:
 * counted (base/ref.h); owns its pools and rosters, and references to all the rest. Threads:
 * snapshot_ref() and snapshot_unref() any; pools and listeners any; snapshot_new(),
 * snapshot_retire() and the rosters the control thread. */
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

/* The figures of a listener of this name, across the generations. Counted (base/ref.h). */
struct listener_stats {
    struct ref ref;
    struct listener_cell *cells;               /* one a worker */
    _Alignas(64) _Atomic uint32_t connections; /* open now, all workers, for max_connections */
};

struct listener_stats *listener_stats_ref(struct listener_stats *l);
void listener_stats_unref(struct listener_stats *l); /* NULL is fine */

struct snapshot_listener {
    const struct config_listener *config;
    struct pool *pool;
    struct listener_stats *stats; /* a reference */
};

struct snapshot {
    struct ref ref;
    struct config *config;
    uint64_t generation; /* 1, 2, ... */
    unsigned nworkers;
    struct pool **pools;
    struct roster **rosters; /* same index; control thread; NULL: retired */
    size_t npools;
    struct snapshot_listener *listeners;
    size_t nlisteners;
};

/* Takes a reference to the config. old: the generation before, or NULL; from it come the servers of
 * the same pool, name and address, the totals of pools of the same name, and the figures of
 * listeners of the same name. notify gets the notices of all rosters. NULL: the error says why (a
 * ring that can't be built), and nothing has changed. */
struct snapshot *snapshot_new(struct config *config, const struct snapshot *old,
                              uint64_t generation, unsigned nworkers, roster_notify_fn *notify,
                              void *notify_arg, struct error *e);
struct snapshot *snapshot_ref(struct snapshot *s);
/* The last one frees it; it must be retired then. NULL is fine. */
void snapshot_unref(struct snapshot *s);
/* snapshot_unref() as a message's release function (net/mailbox.h). */
void snapshot_release(void *snapshot);
/* Control thread: each roster starts, or takes over from that of the pool of the same name in
 * `old`, which is NULL or the generation that this one replaces. First checks come before it. */
void snapshot_start(struct snapshot *s, const struct snapshot *old, uint64_t now_ms);
/* Frees the rosters: no event of this generation comes any more. Servers that no later one has stay
 * as usable as they are, for what this one still serves. Whoever holds a roster, as a checker does,
 * is closed before. */
void snapshot_retire(struct snapshot *s);

/* The index of the pool of this name; npools if there is none. */
size_t snapshot_find_pool(const struct snapshot *s, const char *name);
