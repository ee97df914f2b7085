/* The store of a fleet in Redis.
 *
 * What for: carries the calls of store.h out as scripts and reads the answers strictly: a wrong
 * type, a number out of range, a name that does not belong into a log, a size beyond bounds, and
 * the whole answer is refused; its outcome is unknown then.
 * Ownership: store_redis_open() to on_closed; the options' urls, net and lookups must live so long.
 * Threads: one loop. */
#pragma once
#include "cluster/redis.h"
#include "cluster/store.h"

#define STORE_BODY_MAX (1024u * 1024u)
#define STORE_VIEW_MAX (128u * 1024u)
/* Of a node, in bytes: printable ASCII without blanks, and not "#". */
#define STORE_NODE_MAX 128u
/* Of the value of a lock. */
#define STORE_LOCK_MAX 512u

struct store_redis_options {
    struct net *net;
    struct lookups *lookups;
    const struct redis_url *urls;
    size_t nurls;
    const char *fleet;    /* its name, copied */
    uint64_t lock_ttl_ms; /* T: a sixth of it is the deadline of a call, a third the period */
};

/* Set `events` of the store before the loop runs: nothing is told within this call. */
struct store *store_redis_open(const struct store_redis_options *o);
/* The instance that this process is: hints of its own are not told. Before the loop runs. */
void store_redis_name(struct store *s, const char *instance);
/* Calls that wait are not told. on_closed comes later. */
void store_redis_close(struct store *s, void (*on_closed)(void *arg), void *arg);

/* The highest stored epoch that is believed by whose wall clock says this: a thousand years ahead,
 * counted from 2026 if the clock was not set. An epoch is the time of a clock in ms, or one more
 * than another epoch, so none that a member has made is above it; but one of 2^53 - 1 would leave
 * no number for the next. As the bound moves on faster than epochs do, there is always room. */
uint64_t store_redis_most_epoch(uint64_t wall_ms);

bool store_redis_is_up(struct store *s);
const struct redis_counts *store_redis_counts(struct store *s);
