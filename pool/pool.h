/* A pool in one generation of the configuration: a ring, its members, and the owner of each slot.
 *
 *   key's hash -> ring_find -> slot -> owner[slot] -> members[id] -> server
 *
 * What for: pool_acquire() lends the server of a key, pool_release() gives it back.
 * Invariants: the ring and the members never change. What has to outlive the generation lies in the
 * servers and the totals, which the pools of several generations share. owner[slot] is one atomic
 * word (struct pool_owner), written by the control thread alone (pool_publish): a failover, a
 * promotion or a failback is one store for each slot. A request first counts itself, then checks
 * the limits, and takes itself off again if one was passed, so two workers can't both slip under a
 * limit.
 * Ownership: pool_new() to pool_free(). A pool keeps a pointer into the config, which must outlive
 * it, and references to its servers, its ring and its totals.
 * Threads: pool_acquire(), pool_release() and pool_find() are for any thread, each with a struct
 * pool_view of its own; pool_publish() is control's. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "pool/failover.h"
#include "pool/server.h"
#include "pool/shared_ring.h"
#include "pool/totals.h"

/* The word of a slot, unpacked. While a failback ramp is on, keys with a hash whose lower 16 bits
 * are below `share` are served by `owner`, the others still by `from`. */
struct pool_owner {
    uint16_t owner; /* server id or SERVER_NONE */
    uint16_t from;  /* server id, or SERVER_NONE: no ramp */
    uint32_t share; /* 0 to 65536 */
};

/* A server in a pool of one generation: all that a new configuration may change about it. */
struct pool_member {
    struct server *server;     /* a reference */
    uint32_t weight;           /* 1 for a standby */
    uint32_t max_connections;  /* 0: no limit */
    unsigned passive_failures; /* the pool's `passive.failures`; 0: off */
    uint16_t id;               /* its index among the members, see failover.h */
    bool standby;
};

struct pool {
    const struct config_pool *config;
    unsigned nworkers;
    struct shared_ring *shared_ring; /* a reference */
    struct ring *ring;               /* the ring in it, to save a step */
    struct failover *failover;
    struct pool_totals *totals;  /* a reference */
    struct pool_member *members; /* nbackends + nstandbys, by id */
    uint16_t *before; /* of each member: the id of its name in the pool that this one was built
                         after; SERVER_NONE: that has no such name. See pool_before() */
    uint16_t nbackends, nservers;
    bool limited;             /* a limit has to be checked: a max_connections or max_load */
    uint64_t load_millionths; /* max_load x 1,000,000; 0: off */
    uint32_t *turn_end;       /* a slot each: where its turns for keyless requests end */
    uint32_t turns,
        turn_step; /* turns of a round, one for each unit of weight; a number coprime to that */
    _Atomic uint64_t *owner;      /* a word for each slot */
    _Atomic uint64_t version;     /* grows by one with each publish */
    _Atomic uint32_t live_slots;  /* slots with an owner */
    _Atomic uint32_t live_weight; /* the sum of their backends' weights, for max_load */
    /* pool_set_agreed(): the two places are used in turn, as in struct server_place */
    _Atomic uint32_t agreed_turn;
    _Atomic uint64_t agreed[2][2];
    _Atomic bool by_agreement; /* the roster's word that the owners follow from it alone */
};

/* What a thread keeps for itself about one pool: the turn of keyless requests, and the owners that
 * the slots would have if the servers tried were out, as last computed ("whatif"). Begins zeroed,
 * ends with pool_view_deinit(). */
struct pool_view {
    uint64_t turn;
    uint64_t *refused; /* scratch: a bit for each slot */
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
    POOL_NONE_LIVE, /* no server in service may serve this key */
    POOL_FULL,      /* all servers that may are at their limits */
};

/* The number of an agreement of a fleet: two numbers to compare in order. epoch 0: none. */
struct pool_agreed {
    uint64_t epoch, seq;
};

struct pool_request {
    bool keyless;
    uint64_t hash;         /* hash_key() of the key */
    const uint16_t *tried; /* server ids already tried, at most 15 */
    unsigned ntried;
    /* keyless: the member that is asked out of turn, if it serves a slot now; NULL: none is */
    const struct pool_member *preferred;
    /* NULL: nobody asks. Else pool_acquire() fills in the agreement that gives the server lent to
     * this key. None: it is lent for another reason (alone, an exception, a further try, a limit,
     * no key). */
    struct pool_agreed *agreed;
};

/* old: the pool of the same name in the generation before, or NULL. The new pool shares its totals,
 * its servers of the same name and address, and its ring if that is the same. New servers begin
 * usable, and each backend owns its slot until the first pool_publish(). Returns NULL with an error
 * if the ring can't be built. */
struct pool *pool_new(const struct config_pool *config, unsigned nworkers, const struct pool *old,
                      struct error *e);
void pool_free(struct pool *p); /* NULL is fine */
void pool_view_deinit(struct pool_view *v);

/* Lends a server for one try. POOL_OK: *member is set, and the server counts one more in `active`
 * until pool_release() of the same pool. The caller must hold the generation meanwhile. */
enum pool_outcome pool_acquire(struct pool *p, struct pool_view *v, const struct pool_request *r,
                               const struct pool_member **member);
void pool_release(struct pool *p, struct server *s);
/* A failure of live traffic, see server_failed(). */
static inline enum server_row pool_member_failed(const struct pool_member *m, bool suspect)
{
    return server_failed(m->server, m->passive_failures, suspect);
}

/* The member of this name, backend or standby; NULL: there is none. */
const struct pool_member *pool_find_name(const struct pool *p, const char *name);
/* The member of this pool that has the server, which may be of any generation; NULL: none has. */
const struct pool_member *pool_find_server(const struct pool *p, const struct server *s);
/* The member of `old`, which must be the pool that p was built after (pool_new()), that has the
 * name of member id of p; NULL: none has. No name is looked up: this is for all servers of a pool
 * in one turn of a loop. */
static inline const struct pool_member *pool_before(const struct pool *p, unsigned id,
                                                    const struct pool *old)
{
    uint16_t was = p->before[id];
    assert(id < p->nservers && (was == SERVER_NONE || was < old->nservers));
    return was == SERVER_NONE ? NULL : &old->members[was];
}
/* Whether that one has the server of member id, too: it stays. */
static inline bool pool_stays(const struct pool *p, unsigned id, const struct pool *old)
{
    const struct pool_member *m = pool_before(p, id, old);
    return m && m->server == p->members[id].server;
}

/* The id of the server that serves a key now, limits and loads ignored, or SERVER_NONE. */
uint16_t pool_find(const struct pool *p, uint64_t hash);
/* The id of the server that pool_acquire() lends for a key, limits and loads ignored, or
 * SERVER_NONE: not the one of pool_find() if that is left out here (roster_is_excepted()). */
uint16_t pool_find_here(struct pool *p, struct pool_view *v, uint64_t hash);
/* The id of the backend whose point the key belongs to, in service or not. */
uint16_t pool_home(const struct pool *p, uint64_t hash);

struct pool_owner pool_owner_of(const struct pool *p, unsigned slot);
/* Control thread: from now on every thread sees owners[nbackends]. */
void pool_publish(struct pool *p, const struct pool_owner *owners);
/* Control thread: the owners that are published follow from the agreement of this number; after
 * roster_agree(). {0, 0}: from none; roster_part() does that itself. */
void pool_set_agreed(struct pool *p, uint64_t epoch, uint64_t seq);
/* Any thread: the last number set, or none if the owners follow from more than the agreement: a
 * server is decided here, or all are out and tried. */
struct pool_agreed pool_agreed(const struct pool *p);
