/* What a new configuration would move, before it is in force.
 *
 * What for: `ringproxy plan`, the guard of a reload, and a dry run of the admin interface say the
 * same: of each pool, how much of the key space would be served by another server, from whom to
 * whom, the least possible, and what each backend would carry.
 * Invariants: both configurations count as if all servers were in service. Pools and servers are
 * known by their names: a server at another address keeps its keys, which is told apart
 * (`addresses`). All figures are positions of RING_SPACE, exact.
 * Ownership: plan_new() to plan_free(). A plan points into both configurations, which must outlive
 * it. Threads: pure; any thread, one at a time for one plan. */
#pragma once
#include "config/config.h"
#include "pool/pool.h"
#include "ring/plan.h"

/* One of the two configurations. pools: its pools in service, in the order of the configuration,
 * whose rings are used; NULL: the rings are built for the plan. */
struct plan_side {
    const struct config *config;
    struct pool *const *pools;
};

enum plan_change {
    PLAN_SAME,  /* no key moves */
    PLAN_MOVED, /* some do, as the rings say */
    PLAN_ADDED,
    PLAN_REMOVED,
    PLAN_ALL_KEYS, /* what keys are taken from has changed (`why`), so each key is another one: all
                      have moved */
};

struct plan_texts {
    char **text;
    size_t n;
};

/* A backend of either configuration. */
struct plan_server {
    const char *name;
    uint32_t weight_before, weight_after; /* 0: the pool does not have it */
};

/* A backend or standby that both have, at another address. */
struct plan_address {
    const char *name, *before, *after;
};

/* A route, or a listener without routes, that is new, gone, or goes to another pool. */
struct plan_route {
    const char *listener;
    char *route;                     /* its conditions; "": none */
    const char *from_pool, *to_pool; /* NULL: it is new, or gone */
};

struct plan_pool {
    const char *name;
    enum plan_change change;
    struct plan_server *servers; /* by name */
    size_t nservers;
    struct ring_plan ring; /* ids are indexes into `servers`; without moves unless PLAN_MOVED */
    uint64_t moved, least; /* PLAN_ALL_KEYS: RING_SPACE; PLAN_ADDED, PLAN_REMOVED: 0 */
    size_t fullest;        /* the server with the most for its weight after; PLAN_REMOVED: before */
    struct plan_texts why; /* of PLAN_ALL_KEYS */
    struct plan_texts notes; /* standbys that have changed, and the like */
    struct plan_address *addresses;
    size_t naddresses;
};

struct plan {
    struct plan_pool *pools; /* in the order of the new configuration, then the removed ones */
    size_t npools;
    struct plan_route *routes;
    size_t nroutes;
    struct plan_texts notes;
};

/* NULL: a ring can't be built, and the error says why. */
struct plan *plan_new(const struct plan_side *before, const struct plan_side *after,
                      struct error *e);
void plan_free(struct plan *p); /* NULL is fine */

/* The pool of both configurations of which the most moves, for a guard; NULL: they have none in
 * common. */
const struct plan_pool *plan_most(const struct plan *p);

/* Whether a route comes from or goes to a pool; NULL: to any. */
bool plan_route_concerns(const struct plan_route *r, const struct plan_pool *pool);

/* How many times its fair share, which its weight promises, a server has. */
double plan_relative(const struct plan_pool *p, size_t server, bool after);

/* What a switch from one generation of a pool to the next moves, with the owners that both have
 * published: who is out and promoted counts. In a ramp the server that takes the keys back counts.
 * Servers are known by their names. */
struct plan_moved {
    uint64_t moved, least;
};
struct plan_moved plan_switch(const struct pool *before, const struct pool *after);

#define PLAN_PERCENT 16
/* Formats a share as a percentage for people: "0%", "<0.0001%", "12.3457%", "100%". Returns out. */
const char *plan_percent(uint64_t positions, char out[PLAN_PERCENT]);
