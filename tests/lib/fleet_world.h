/* A few members of a fleet with real rosters, over a store in memory, in made-up time.
 *
 * What for: unit tests of cluster/fleet.c: what one member does is looked at through the others,
 * the store and the notices. Invariants: each member checks each server every CHECK_MS, and whether
 * it can be reached is a table. A member has one pool, "pool", of the line that it was given.
 * Ownership: world_init() to world_deinit(). Threads: one. */
#pragma once
#include "base/random.h"
#include "cluster/fleet.h"
#include "pool/roster.h"
#include "tests/lib/fake_store.h"
#include "tests/lib/pool_line.h"
#include "tests/lib/sim.h"

#define MEMBERS 4
#define TTL_MS 3000
#define CHECK_MS 500

struct world;

struct member {
    struct world *world;
    unsigned at;
    char node[16];
    struct sim_process process;
    struct fake_path path;
    struct fake_store *store;
    struct file *file, *old_file;
    struct pool *pool, *old_pool;
    struct roster *roster, *old_roster;
    struct config_cluster config;
    struct random_store random;
    struct fleet *fleet;
    struct sim_timer tick, check, first;
    bool reach[MAX_SERVERS]; /* by id */
    bool ready, started;
    bool accepts; /* at its start */
    unsigned joined, looks;
    bool looked[MAX_SERVERS];
    enum fleet_wish wishes[16];
    unsigned nwishes;
    /* notices, a word each: see told() */
    char told[8192];
    char *resume; /* for its next start */
};

struct world {
    struct sim sim;
    struct fake_redis redis;
    struct member members[MEMBERS];
    unsigned nmembers;
    const char *line;
    /* the bodies that were stored */
    unsigned nstored;
    struct version last;
    char *body;
};

/* n members e0, e1, ... that are started. */
void world_init(struct world *w, unsigned n, const char *line);
/* The same, not started, so that their configuration can be changed before. */
void world_prepare(struct world *w, unsigned n, const char *line);
void world_deinit(struct world *w);
void run(struct world *w, uint64_t ms);
/* Runs until it is true, at most that long. */
bool run_until(struct world *w, uint64_t ms, bool (*is)(struct member *m), struct member *m);

void member_start(struct member *m);
/* What it is to do at the end of the process is its caller's. */
void member_kill(struct member *m);
void member_leave(struct member *m);
/* A new configuration; NULL: the same. */
void member_reload(struct member *m, const char *line);
/* By all. */
void reachable(struct world *w, const char *server, bool yes);
void reachable_for(struct member *m, const char *server, bool yes);
/* Live traffic fails at once. */
void traffic_fails(struct member *m, const char *server);
unsigned id_of(const struct member *m, const char *server);
bool is_out(const struct member *m, const char *server);
bool is_excepted(const struct member *m, const char *server);
struct member *keeper_of(struct world *w); /* NULL: none, or several */
/* Whether the member has told of this since the last call of forget_told(): "keeper", "lost", ...
 */
bool told(const struct member *m, const char *word);
unsigned times_told(const struct member *m, const char *word);
void forget_told(struct world *w);

struct asked {
    bool done;
    enum fleet_outcome outcome;
    uint64_t at_ms; /* of made-up time */
    struct world *world;
};
void ask(struct member *m, const char *server, enum fleet_verb verb, struct asked *a);
/* All live members route by one version, and are none alone. */
bool together(struct world *w);
