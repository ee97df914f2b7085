/* A pool in one generation of the configuration: a ring, its members, and who serves each slot now.
 *
 * What for: pool_acquire() lends the server of a key, pool_release() gives it back.
 * Invariants: the ring and the members never change. What has to outlive the generation lies in the
 * servers and the totals, which the pools of the generations share. owner[slot] is one atomic word
 * (struct pool_owner), written by the control thread alone (pool_publish): a failover, a promotion,
 * a failback is one store a slot. A request takes a limit first, checks it, and gives it back if it
 * was passed, so that two workers can't both slip under it. Ownership: pool_new() to pool_free();
 * keeps a pointer into the config, which must outlive it, and references to its servers and its
 * totals. Threads: pool_acquire/release/find: any, with the caller's own struct pool_view; publish:
 * control. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "pool/failover.h"
#include "pool/server.h"
#include "pool/shared_ring.h"
#include "pool/totals.h"

/* The word of a slot, unpacked. While a failback ramp is on, keys whose lower 16 bits of hash are
 * below `share` are served by `owner`, the others still by `from`. */
struct pool_owner {
    uint16_t owner; /* server id or SERVER_NONE */
    uint16_t from;  /* server id, or SERVER_NONE: no ramp */
    uint32_t share; /* 0 to 65536 */
};

/* A server's place in a pool of one generation: all that a file may change about it. */
struct pool_member {
    struct server *server;     /* a reference */
    uint32_t weight;           /* 1 for a standby */
    uint32_t max_connections;  /* 0: no limit */
    unsigned passive_failures; /* the pool's threshold; 0: off */
    uint16_t id;               /* its index among the members, see failover.h */
    bool standby;
};

struct pool {
    const struct config_pool *config;
    unsigned nworkers;
    struct shared_ring *shared_ring; /* a reference */
    struct ring *ring;               /* the ring in it, nearer */
    struct failover *failover;
    struct pool_totals *totals;  /* a reference */
    struct pool_member *members; /* nbackends + nstandbys, by id */
    uint16_t nbackends, nservers;
    bool limited;                 /* there is a limit to check: a max_connections or max_load */
    uint64_t load_millionths;     /* max_load x 1,000,000; 0: off */
    uint32_t *turn_end;           /* per slot: where its turns of keyless requests end */
    uint32_t turns, turn_step;    /* of a round, one per unit of weight; coprime to it */
    _Atomic uint64_t *owner;      /* a word a slot */
    _Atomic uint64_t version;     /* grows by one with each publish */
    _Atomic uint32_t live_slots;  /* slots with an owner */
    _Atomic uint32_t live_weight; /* the sum of their backends' weights, for max_load */
};

/* What a thread keeps for itself about a pool: whose turn it is among keyless requests, the last
 * answer to "who would have the slots if these were out". Zero it, then pool_view_deinit(). It
 * serves one pool only. */
struct pool_view {
    uint64_t turn;
    uint64_t *refused; /* scratch: a bit a slot */
    uint64_t whatif_version;
    uint16_t *whatif_owner;
    bool *whatif_out;
    uint16_t whatif_tried[16]; /* ascending */
    unsigned whatif_ntried;
    unsigned whatif_live; /* slots with an owner */
    bool whatif_valid;
};

enum pool_outcome {
    POOL_OK,
    POOL_NONE_LIVE, /* nobody in service may serve this key */
    POOL_FULL,      /* all who may are at their limits */
};

struct pool_request {
    bool keyless;
    uint64_t hash;         /* hash_key() of the key */
    const uint16_t *tried; /* server ids already tried, at most 15 */
    unsigned ntried;
};

/* old: the pool of the same name in the generation before, whose totals, whose servers of the same
 * name and address, and whose ring if it is the same, become the new one's as well; or NULL. New
 * servers start usable, and each backend owns its slot until the first pool_publish(). NULL: the
 * error says why (the ring). */
struct pool *pool_new(const struct config_pool *config, unsigned nworkers, const struct pool *old,
                      struct error *e);
void pool_free(struct pool *p); /* NULL is fine */
void pool_view_deinit(struct pool_view *v);

/* Lends a server for one try. POOL_OK: *member is set, and its server's `active` is raised until
 * pool_release() of the same pool. The caller keeps the generation meanwhile. */
enum pool_outcome pool_acquire(struct pool *p, struct pool_view *v, const struct pool_request *r,
                               const struct pool_member **member);
void pool_release(struct pool *p, struct server *s);
/* A failure of live traffic, see server_failed(). */
static inline bool pool_member_failed(const struct pool_member *m)
{
    return server_failed(m->server, m->passive_failures);
}

/* The member of this name, backend or standby; NULL: there is none. */
const struct pool_member *pool_find_name(const struct pool *p, const char *name);
/* The member that a server of any generation is in this one; NULL: it is none. */
const struct pool_member *pool_find_server(const struct pool *p, const struct server *s);

/* Who serves a key now, limits and loads ignored: a server id or SERVER_NONE. */
uint16_t pool_find(const struct pool *p, uint64_t hash);
/* Whose key it is: the slot's own backend. */
uint16_t pool_home(const struct pool *p, uint64_t hash);

struct pool_owner pool_owner_of(const struct pool *p, unsigned slot);
/* Control thread: makes owners[nbackends] what every thread sees. */
void pool_publish(struct pool *p, const struct pool_owner *owners);
