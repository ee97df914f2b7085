/* One generation of the configuration in service: config, pools, listeners, rosters.
 *
 *   snapshot --- config
 *      |-------- pool[]      ---> servers, totals, ring        shared with other generations
 *      |-------- listener[]  ---> listener_stats               shared with other generations
 *      '-------- roster[]    one for each pool, until snapshot_retire()
 *
 * What for: proxy, health and admin meet here without including each other.
 * Invariants: once it is built, only atomics (pools, servers, cells) and the rosters (control
 * thread) change. What has to outlive a generation is counted by reference, and shared by the
 * generations that have it. No roster works for two generations at a time: when the next generation
 * has taken over, snapshot_retire() is called, before control's own reference is given back.
 * Ownership: counted (base/ref.h); owns its pools and rosters, holds references to the rest.
 * Threads: snapshot_ref() and snapshot_unref() are for any thread, and so are pools and listeners;
 * snapshot_new(), snapshot_start() and the rosters are control's; snapshot_retire() is for a thread
 * that control leaves it to. */
#pragma once
#include <stdatomic.h>
#include <stdint.h>

#include "base/histogram.h"
#include "config/config.h"
#include "pool/pool.h"
#include "pool/roster.h"
#include "pool/routes.h"

#define STATUS_CODES 600 /* codes[c] counts answers with status c, 100 <= c < 600 */

/* One worker's counters of one listener: written by that worker alone. */
struct listener_cell {
    _Alignas(64) _Atomic uint64_t codes[STATUS_CODES];
    _Atomic uint64_t requests;    /* heads that were complete and valid; in mode tcp: streams */
    _Atomic uint64_t keyless;     /* of these, without a key */
    _Atomic uint64_t connections; /* open now */
    _Atomic uint64_t accepted;    /* connections ever */
    struct histogram duration;    /* complete head to the answer's last byte handed over */
};

/* The figures of the listeners of one name in all generations. Counted (base/ref.h). */
struct listener_stats {
    struct ref ref;
    struct listener_cell *cells;               /* one for each worker */
    _Alignas(64) _Atomic uint32_t connections; /* open now, all workers, for max_connections */
};

struct listener_stats *listener_stats_ref(struct listener_stats *l);
void listener_stats_unref(struct listener_stats *l); /* NULL is fine */

/* One worker's counter of one route. */
struct route_cell {
    _Alignas(64) _Atomic uint64_t requests;
};

/* The figures of a route, shared by the generations in which its listener's name, its conditions
 * and its pool's name are the same. Counted (base/ref.h). */
struct route_stats {
    struct ref ref;
    struct route_cell *cells; /* one for each worker */
};

struct snapshot_listener {
    const struct config_listener *config;
    uint64_t socket; /* names the listening sockets: the same as in the generation before if the
                        address is, else a number that no listener of this process had */
    struct routes *routes;            /* NULL: one route without conditions */
    bool tells_servers;               /* some pool of its routes gets PROXY heads */
    struct listener_stats *stats;     /* a reference */
    struct route_stats **route_stats; /* of each route, references; NULL if `routes` is */
};

struct snapshot {
    struct ref ref;
    struct config *config;
    uint64_t generation; /* 1, 2, ... */
    unsigned nworkers;
    bool listen_active; /* cluster.listen of the first generation of this process */
    struct pool **pools;
    struct roster **rosters; /* one for each pool, control thread alone; NULL: retired */
    size_t npools;
    struct snapshot_listener *listeners;
    size_t nlisteners;
    struct server **left; /* those of the generation before that this one has not: references */
    size_t nleft;
};

/* Takes a reference to the config. old: the generation before, or NULL. The new one shares its
 * servers of the same pool, name and address, its totals of pools of the same name, and its figures
 * of listeners of the same name. notify gets the notices of all rosters. Returns NULL with an error
 * if a ring can't be built; then nothing has changed. */
struct snapshot *snapshot_new(struct config *config, const struct snapshot *old,
                              uint64_t generation, unsigned nworkers, roster_notify_fn *notify,
                              void *notify_arg, struct error *e);
struct snapshot *snapshot_ref(struct snapshot *s);
/* The last reference frees the snapshot, which must be retired then. NULL is fine. */
void snapshot_unref(struct snapshot *s);
/* snapshot_unref() as a message_release_fn (net/mailbox.h). */
void snapshot_release(void *snapshot);
/* Each roster starts, or adopts that of the pool of the same name in `old`, the generation that
 * this one replaces and was built after, or NULL; servers that this one has not are `gone`. First
 * checks come before this call. */
void snapshot_start(struct snapshot *s, const struct snapshot *old, uint64_t now_ms);
/* Frees the rosters: no event of this generation may come any more, so its checkers must be closed
 * before. Servers that no later generation has stay as usable as they are, for the requests that
 * this generation still serves. */
void snapshot_retire(struct snapshot *s);

/* The index of the pool of this name; npools if there is none. */
size_t snapshot_find_pool(const struct snapshot *s, const char *name);
