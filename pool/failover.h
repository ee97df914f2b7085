/* The promotion rule: which standby stands in for which backend, as a pure function.
 *
 * What for: (configuration, which servers are out) -> the server that serves each backend's points.
 * docs/routing.md, Promotion.
 * Invariants: the result depends on nothing else. So proxies that see the same servers out agree
 * without talking to each other, whatever the order of events was. A backend that is in service
 * owns its points. No server serves two backends. As many of the backends that are out get a
 * standby as is possible.
 * The order: consider the pairs of a backend that is out and a standby in service that may stand in
 * for it. The pairs with the fewest names in the standby's `for` come first (no `for`: last), among
 * these the one with the highest hash_pair() of both names, and then the names decide. Pair by pair
 * in this order, a pair is taken if it, with all pairs taken before, leaves it possible that as
 * many backends as without it get a standby.
 * Ownership: failover_new() to failover_free(); it keeps no reference to its arguments.
 * Threads: immutable after failover_new(); any thread may call failover_owners(). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

/* Server ids within a pool: 0 .. nbackends-1 are the backends (id = slot), then the standbys. */
#define SERVER_NONE 0xffffu

struct failover;

/* Made from the names of backends and standbys, and each `for`. Aborts when memory is out. */
struct failover *failover_new(const struct config_pool *pool);
void failover_free(struct failover *f); /* NULL is fine */

size_t failover_backends(const struct failover *f);
size_t failover_servers(const struct failover *f); /* backends and standbys */

/* out[failover_servers()]: which servers are out. Fills owner[failover_backends()] with the id of
 * the backend itself if it is in service, else of the standby that stands in, else with
 * SERVER_NONE. */
void failover_owners(const struct failover *f, const bool *out, uint16_t *owner);
