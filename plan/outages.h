/* What each failure would do: any one server of a pool out, or any two.
 *
 * What for: an overload is seen before it happens.
 * Invariants: who serves what follows from the promotion rule and the ring alone, as in the running
 * proxy (docs/routing.md): standbys, when_down and when_all_down count, limits do not. All figures
 * are positions of RING_SPACE, exact.
 * Ownership: outages_new() to outages_free(); the configuration must outlive it. Threads: pure; one
 * at a time, as it has scratch memory. */
#pragma once
#include "config/config.h"
#include "pool/failover.h"

#define OUTAGES_STEPS UINT64_C(2000000000) /* points and servers looked at: about a minute */

struct outage {
    uint16_t out[2]; /* server ids (failover.h), ascending */
    uint16_t nout;
    bool ignored;           /* no server is left, and with when_all_down: try keys go where they go
                               if all are in service */
    uint16_t fullest;       /* the server with the most for its weight; SERVER_NONE: none is left.
                               A standby counts with the weight of the backend it stands in for */
    uint64_t fullest_share; /* its positions */
    double relative; /* these, as a multiple of what its weight promises with all in service */
    uint64_t moved, refused; /* keys that are not at home; of these, those that nobody serves */
};

struct outages;

/* With all in service. NULL: the ring can't be built, and the error says why. */
struct outages *outages_new(const struct config_pool *pool, struct error *e);
void outages_free(struct outages *o); /* NULL is fine */

/* Tries each server, and if `most` is 2 each pair too. False: that is more than OUTAGES_STEPS, and
 * the error says so. */
bool outages_run(struct outages *o, unsigned most, struct error *e);
/* What the fullest server has with all in service: nout is 0. */
struct outage outages_normal(struct outages *o);
/* The cases, the worst first: the most keys refused, then the fullest server. They are o's. */
const struct outage *outages_cases(const struct outages *o, size_t *n);
/* A server that has more in a case than with all in service. */
struct outage_gain {
    uint16_t id;
    uint64_t share, gained; /* positions: all it has then, and what is new of it */
};
/* Those of a case, with the largest gain first, then by id. Fills gains[failover_servers()];
 * returns how many. */
size_t outages_gains(struct outages *o, const struct outage *c, struct outage_gain *gains);
/* How many positions each server has, by its id, failover_servers() of them. c NULL: with all in
 * service. */
void outages_shares(struct outages *o, const struct outage *c, uint64_t *shares);
const char *outages_name(const struct outages *o, uint16_t id);
