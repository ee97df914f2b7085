/* The fleet's store in memory, with all that can go wrong with one.
 *
 * What for: cluster/fleet.c is driven without a Redis and without time. A struct fake_redis is the
 * server: its keys, whose expiry follows a wall clock of its own that can jump; its data can be
 * lost, or set back to what it was. A struct fake_path is the network between it and one machine:
 * delays, cuts, late delivery of what was sent before a cut, lost hints, answers that come late. A
 * struct fake_store is a process's connection, as store_redis.c has one: the store.h of that
 * process. On purpose it can be made to do what the scripts must not (`bugs`).
 * Invariants: those of store.h. What was sent may be carried out after its sender is gone.
 * Ownership: fake_store_new() to fake_store_free() within one life of its process; redis and paths
 * outlive them and the events under way (sim_deinit() first). Threads: one. */
#pragma once
#include "base/list.h"
#include "cluster/store.h"
#include "tests/lib/sim.h"

#define FAKE_NODES 48
#define FAKE_PAST 256 /* states that are remembered, for fake_redis_set_back() */

enum fake_bug {
    FAKE_STALE_PUBLISH = 1 << 0,    /* publish checks neither lock nor epoch nor version */
    FAKE_READER_TAKES_ANY = 1 << 1, /* a sync gives a body that is not newer */
    FAKE_NO_HEAL = 1 << 2,          /* nobody shortens a lock that outlives its time */
    FAKE_PLAIN_DEL = 1 << 3,        /* release deletes the lock whoever has it */
    FAKE_EPOCH_INCR_ONLY = 1 << 4,  /* the epoch is the stored one + 1, whatever the floor is */
    FAKE_NO_RESTORE = 1 << 5,       /* a restore does nothing */
    FAKE_NO_PREVIOUS = 1 << 6,      /* acquire knows no attempts before */
};

struct blob; /* bytes that several have a part in */

struct fake_node {
    char node[64], instance[INSTANCE_SIZE];
    uint64_t n, c;
    struct blob *view; /* NULL: it has a beat alone */
};

/* What Redis can lose. */
struct fake_data {
    char lock[192]; /* "": free */
    int64_t lock_until_ms, lock_ttl_ms;
    char next[INSTANCE_SIZE]; /* "": offered to nobody */
    int64_t next_until_ms;
    uint64_t epoch;
    uint64_t granted; /* the highest epoch given out since it has this data */
    struct version version;
    struct blob *body;
    struct fake_node nodes[FAKE_NODES];
    unsigned nnodes;
    uint64_t highest_c;
};

struct fake_past {
    uint64_t at_us;
    struct fake_data data;
};

struct fake_redis {
    struct sim *sim;
    bool up;
    int64_t jump_ms;   /* of its clock, beside the true time */
    uint64_t offer_ms; /* how long an offer holds */
    unsigned bugs;     /* enum fake_bug */
    struct fake_data data;
    struct fake_past *past; /* FAKE_PAST of them, a ring */
    unsigned past_at, npast;
    struct list stores; /* connections of processes that live */
    /* A publication or restore was stored; NULL: nobody asks. restored: by restore(). */
    void (*on_stored)(void *arg, const struct version *v, struct str body, bool restored);
    void (*on_offer)(void *arg);
    void *arg;
};

/* Between one machine and Redis. */
struct fake_path {
    uint64_t cut_us;     /* nothing passes until then */
    double slow_ms;      /* more delay, of each message, at most */
    double slow_back_ms; /* of each answer, at most */
    double lost_hints;   /* the probability that one is lost */
    uint64_t last_us;    /* when what was sent last arrives: in order */
};

void fake_redis_init(struct fake_redis *r, struct sim *s);
void fake_redis_deinit(struct fake_redis *r);
/* The process dies, and comes back with its data. */
void fake_redis_stop(struct fake_redis *r);
void fake_redis_start(struct fake_redis *r);
/* All data is lost. */
void fake_redis_wipe(struct fake_redis *r);
/* The data is what it was so long ago; the true time goes on. */
void fake_redis_set_back(struct fake_redis *r, double by_ms);
/* Its clock jumps. */
void fake_redis_jump(struct fake_redis *r, int64_t by_ms);

/* Somebody else writes into it: anything may stand there. */
void fake_redis_write_state(struct fake_redis *r, const struct version *v, struct str body);
void fake_redis_write_view(struct fake_redis *r, const char *node, const char *instance, uint64_t n,
                           struct str view);
void fake_redis_write_lock(struct fake_redis *r, const char *value, int64_t ms);

bool fake_path_passes(const struct fake_path *p, const struct fake_redis *r);

struct fake_store;

/* deadline_ms: of a call and of a connect. retry_ms: the longest wait before the next connect. */
struct fake_store *fake_store_new(struct fake_redis *r, struct fake_path *path,
                                  struct sim_process *process, uint64_t deadline_ms,
                                  uint64_t retry_ms);
/* No callback comes any more; what was sent may still be carried out. NULL is fine. */
void fake_store_free(struct fake_store *s);
struct store *fake_store_store(struct fake_store *s);
bool fake_store_is_up(const struct fake_store *s);
