/* A fleet in one process and made-up time: members with real pools, rosters and fleets, the servers
 * they send keys to, the store they meet in, and the eyes that watch all of it.
 *
 * What for: tests/unit/test_fleet_sim.c lets everything go wrong in it, and each step is compared
 * with what is promised. A violation is told by its name:
 *
 *   I1  no member applies a version that is not newer than the one it has
 *   I2  no publication is stored of an epoch older than one handed out since the store has its data
 *   I3  one version, one content
 *   I4  members that applied the same version route every key alike, own exceptions aside
 *   I5  a drain that was acknowledged holds at every member that applied that version or a newer
 *   I6  a server comes back by itself only after the delay that its relapses ask for
 *   I7  no member sends a key to a server that is out by what it routes by
 *   I8  two members never hold the lock at once by their own clocks, while the store keeps its data
 *       and its time
 *   I9  an exception concerns the keys of the server that can't be reached, no others
 *   I10 no key moves where nobody saw a server change
 *   L1  after the faults: one keeper, one version, all serve; what all can reach is in, what nobody
 *       can is out; nobody keeps sending to what it can't reach
 *
 * Each member's part of the world: checks (interval, timeout, fall, rise), and live traffic, which
 * notices a server that refuses within 10 ms, and one that hangs after the timeout.
 * Ownership: world_init() to world_deinit(). Threads: one. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "cluster/fleet.h"
#include "cluster/store.h"
#include "pool/pool.h"
#include "pool/roster.h"
#include "tests/lib/fake_store.h"
#include "tests/lib/sim.h"

/* The defaults of docs/configuration.md, and what follows from them, in ms. */
#define WORLD_TTL 3000
#define WORLD_SYNC (WORLD_TTL / 3)
#define WORLD_DEADLINE (WORLD_TTL / 6)
#define WORLD_SILENT (10 * WORLD_TTL)
#define WORLD_INTERVAL 2000
#define WORLD_TIMEOUT 1000
#define WORLD_FALL 3
#define WORLD_RISE 2
#define WORLD_AFTER 5000
#define WORLD_MAX_AFTER 40000
#define WORLD_RAMP 4000

#define WORLD_KEYS 200
#define WORLD_MEMBERS 4
#define WORLD_SERVERS 7 /* b1 to b5, s1 for b1 and b2, s2 for any */

enum server_name { B1, B2, B3, B4, B5, S1, S2, NOBODY };

enum reach { REACH_OK, REACH_REFUSED, REACH_HANGS };

/* What configuration a member has; they differ in one pool. */
enum world_file {
    FILE_USUAL,   /* b1 to b4, s1, s2 */
    FILE_MORE,    /* and b5 */
    FILE_WEIGHTS, /* b1 weighs more */
    FILE_KINDS,
};

/* A server as one member sees it. */
struct watch {
    struct world_member *member;
    enum server_name server;
    unsigned id; /* in the pool in service */
    bool present, first;
    struct sim_timer timer; /* of the next check, or of the end of this one */
    bool checking;
    double began_ms;
    enum reach result;
    /* live traffic */
    double bad_since_ms; /* < 0: it works, or is not used */
    unsigned in_flight;
    double sent_ms[128]; /* a ring of what is in flight */
    unsigned oldest;
    uint64_t dark_since_us; /* 0: no key goes to it in vain */
};

struct routes {
    uint8_t agreed[WORLD_KEYS], here[WORLD_KEYS]; /* enum server_name */
};

struct world_member {
    struct world *world;
    unsigned number;
    char machine[16], node[40];
    struct sim_process process;
    struct fake_path path;
    enum world_file file;
    bool traffic;   /* clients come to it */
    bool restarted; /* and may have a node of another name then, see world.ghosts */
    uint32_t priority;
    enum reach all[1], to[WORLD_SERVERS]; /* what breaks its paths, beside the servers' own state */
    uint64_t stopped_us, resumed_us;      /* it was stopped from, until */
    uint64_t ok_since_us;                 /* nothing was wrong with it since */
    double began_ms;                      /* its start */

    /* one life */
    struct pool *pool;
    struct roster *roster;
    struct pool_view view;
    struct fake_store *store;
    struct fleet *fleet;
    struct random_store random;
    struct sim_timer tick, wake, traffic_timer;
    struct watch watches[WORLD_SERVERS];
    unsigned nfirst; /* first checks that are still to come */
    bool checked, joined;
    bool listening; /* clients are served */
    bool active;    /* world.listen_active: the last wish of its fleet */
    struct routes routes;
    bool routes_valid;
    uint64_t routes_version;
    unsigned routes_usable;
    bool used[WORLD_SERVERS];
    struct version version; /* the last one seen */
    char *saved;            /* for its next life; NULL: it is a new instance then */
    struct json_t *saved_roster;
};

struct eyes;

struct world {
    struct sim sim;
    struct fake_redis redis;
    struct world_member members[WORLD_MEMBERS];
    unsigned nmembers;
    enum reach servers[WORLD_SERVERS];
    /* of the configuration of all; before the first start */
    enum config_agree agree;
    bool manual;        /* failback.mode */
    bool unchecked;     /* health.check: off */
    bool fails;         /* when_down: fail */
    bool listen_active; /* the keeper alone accepts */
    struct file *files; /* one of each enum world_file; NULL: not made yet */
    bool ghosts;        /* each start has another node, as hostname-pid gives */
    unsigned bugs;      /* enum fake_bug; set before world_init() */
    struct eyes *eyes;
    char violation[400]; /* "": none */
};

/* What the eyes look for, beside what always holds. A scenario may set these any time. */
struct world_watch {
    uint64_t excuse_us;    /* I8: not before */
    bool returns;          /* I6 */
    bool nobody_falls;     /* I10: no publication takes a server out */
    bool if_most_are_well; /* the same, while more than half were not away for lock_ttl */
    bool nobody_moves;     /* I10: keys stay where world_mark() saw them */
};
struct world_watch *world_watch(struct world *w);

/* How many versions a seed's members went through, and how often servers went out, for a look at
 * what was tested at all. */
struct world_counts {
    unsigned publications, restores, outs, returns, samples;
};
struct world_counts world_counts(const struct world *w);

void world_init(struct world *w, uint64_t seed, unsigned nmembers);
void world_deinit(struct world *w);
/* Until then, or a violation. */
void world_run(struct world *w, double until_ms);
double world_ms(const struct world *w);
void world_fail(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What is to happen later. */
struct deed;
typedef void deed_fn(struct world *w, const struct deed *d);
struct deed {
    struct world *world;
    deed_fn *fn;
    struct world_member *m;
    enum server_name s;
    int x;
    double y;
};
void world_at(struct world *w, double at_ms, struct deed d);

void member_start(struct world_member *m);
void member_kill(struct world_member *m);
/* A clean stop: it leaves the fleet, and is gone when that was answered. */
void member_leave(struct world_member *m);
void member_stop(struct world_member *m, double ms);
/* A new generation of its configuration. */
void member_reload(struct world_member *m, enum world_file file);
/* Another process takes its place at once, as after an upgrade. */
void member_upgrade(struct world_member *m);
void member_ask(struct world_member *m, enum server_name s, enum fleet_verb verb);
bool member_runs(const struct world_member *m);
enum reach member_reach(const struct world_member *m, enum server_name s);
bool member_is_alone(const struct world_member *m);
bool member_believes(const struct world_member *m);
bool member_has_out(const struct world_member *m, enum server_name s);
bool member_has_drained(const struct world_member *m, enum server_name s);
const struct routes *member_routes(struct world_member *m);
struct version member_version(const struct world_member *m);
/* Live traffic to a server failed, whatever checks say. */
void member_traffic_fails(struct world_member *m, enum server_name s);

/* Whether some live member can restore what the store loses. */
bool world_is_whole(const struct world *w);
/* The store's data is about to be lost, in part or all. */
void world_data_lost(struct world *w);
/* All that was agreed was overwritten: no drain need hold. */
void world_forget_drains(struct world *w);
/* From now on nobody_moves compares with this moment. */
void world_mark(struct world *w);
/* Leaves a member out of that. */
void world_mark_not(struct world *w, const struct world_member *m);
/* When all is quiet again: L1, I5. */
void world_final(struct world *w);
const char *server_name(enum server_name s);
/* Whose member it is that believes to have the lock; NULL: nobody, or more than one. */
struct world_member *world_keeper(struct world *w);

/* ---- sim_eyes.c, for sim_fleet.c ---- */

struct eyes *eyes_new(struct world *w);
void eyes_free(struct eyes *e);
void eyes_look(struct eyes *e);
void eyes_asked(struct eyes *e, const struct world_member *m, enum server_name s,
                enum fleet_verb verb);
void eyes_answered(struct eyes *e, const struct world_member *m, enum server_name s,
                   enum fleet_verb verb, enum fleet_outcome o);
