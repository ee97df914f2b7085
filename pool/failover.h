/* The promotion rule, which standby stands in for which backend, as one pure function.
 *
 * What for: (configuration, which servers are out) -> the server that serves each backend's points.
 * Invariants: the result depends on nothing else, so proxies that see the same agree without
 * talking, whatever the order of events. A backend that is in service owns its points; no server
 * serves two backends; as many backends that are out have a standby as is possible.
 * The order: of the pairs of a backend that is out and a standby in service that may stand in for
 * it, first those with the fewest names in the standby's `for` (without a `for`: last), then the
 * highest hash_pair() of both names, then the names. Pair by pair in this order, one is taken if
 * it and all taken before leave as many backends with a standby as is possible.
 * Ownership: failover_new() to failover_free(); keeps no reference to its arguments.
 * Threads: immutable after failover_new(); failover_owners() may run in any thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

/* Server ids within a pool: 0 .. nbackends-1 are the backends (id = slot), then the standbys. */
#define SERVER_NONE 0xffffu

struct failover;

/* From the pool's backends and standbys (names and `for`). Aborts when memory is out. */
struct failover *failover_new(const struct config_pool *pool);
void failover_free(struct failover *f); /* NULL is fine */

size_t failover_backends(const struct failover *f);
size_t failover_servers(const struct failover *f); /* backends and standbys */

/* out[failover_servers()]: which servers are out. Writes owner[failover_backends()]: the backend's
 * own id if it is in service, else its standby's id, else SERVER_NONE. */
void failover_owners(const struct failover *f, const bool *out, uint16_t *owner);
