/* Who is in service: checks, passive failures, drains, failback waits, holds and ramps of the
 * servers of one pool, and the owners that follow (docs/configuration.md, "Failback").
 *
 * What for: every event goes in here with the time; out come the published owners (pool_publish),
 * each server's `usable`, notices to log, and when to look again. It starts no timer and reads no
 * clock, so a test drives it through a table of events. now_ms is any clock that does not go back.
 * Opinion and decision: each event changes an opinion, which is what is believed of one server
 * (down, drained, waiting, ...). One function, roster_decide(), turns all opinions into the
 * decision: which servers are out. roster_apply() takes it from there and asks no opinion who is
 * out. A decision that comes from elsewhere, say from a fleet of proxies by server name and epoch,
 * replaces roster_decide() and nothing else: it fills in struct decision. See roster_internal.h.
 * Invariants: owners are always failover_owners() of the servers that are out, plus ramps; a key is
 * served by exactly one server at any time and moves once in a ramp. A backend is usable if it is
 * neither down nor drained, a standby if it is in service (so not while it waits either). Notices
 * are given after the owners they tell of are published; who gets them must not call back in.
 * Ownership: roster_new() to roster_free(); the pool must outlive it. Threads: control alone. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "pool/pool.h"

/* A drained server is `draining` whatever its checks say; last_check tells those. */
enum roster_state { /* the `state` of GET /status */
                    ROSTER_UP,
                    ROSTER_DOWN,
                    ROSTER_DRAINING,
                    ROSTER_RETURNING,
                    ROSTER_STANDBY,
                    ROSTER_PROMOTED,
};

struct roster_check { /* last_check of GET /status */
    bool done;        /* false: never checked */
    bool ok;
    uint64_t at_ms;
    char reason[128]; /* "200 in 3 ms", "connection refused", ... */
};

enum roster_event {
    ROSTER_SERVER_UP,   /* checks pass again (it may still have to wait before it takes its keys) */
    ROSTER_SERVER_DOWN, /* reason; its waiting requests must go on elsewhere */
    ROSTER_PROMOTION,   /* `by` (a standby) serves the points of `member` (a backend) */
    ROSTER_TAKEOVER_ENDED, /* `by` no longer does (it went out or serves another) */
    ROSTER_NEXT,     /* `member` has no standby: its keys go to the next owners (or are refused) */
    ROSTER_RAMP,     /* `member` begins to take its keys back from `by` */
    ROSTER_FAILBACK, /* `member` has all its keys again; `by`: who had them, or NULL */
    ROSTER_HELD,     /* `member` is up but waits: for wait_ms, or (manual) for an operator */
    ROSTER_DRAINED,  /* an operator drained it */
    ROSTER_ENABLED,  /* an operator put it back */
    ROSTER_OWNERS,   /* other owners than before are published, a ramp's step included; no server */
};

struct roster_notice {
    enum roster_event event;
    const struct pool *pool;
    const struct pool_member *member; /* NULL: ROSTER_OWNERS */
    const struct pool_member *by;
    const char *reason; /* or NULL */
    uint64_t wait_ms;   /* ROSTER_HELD: 0 is manual; ROSTER_RAMP: its length */
    /* The exact share of the key space that moved with this event; of a ramp the whole, at its
     * start and again with the failback at its end. -1: no keys moved with it, or it is not known.
     */
    double moved;
};

typedef void roster_notify_fn(void *arg, const struct roster_notice *n);
/* roster_next_ms() has changed to at_ms; UINT64_MAX: nothing is to come. Must not call back in. */
typedef void roster_wake_fn(void *arg, uint64_t at_ms);

struct roster;

struct roster *roster_new(struct pool *p, roster_notify_fn *notify, void *arg);
void roster_free(struct roster *r); /* NULL is fine */
/* Who keeps its time from now on, see roster_tick(): whoever feeds the roster need not know. NULL:
 * nobody. */
void roster_on_wake(struct roster *r, roster_wake_fn *wake, void *arg);

/* The very first check of each server decides how it starts; roster_start() then publishes. With
 * `check: off` every server starts up and roster_first() need not be called. */
void roster_first(struct roster *r, unsigned server, bool ok, const char *reason, uint64_t now_ms);
void roster_start(struct roster *r, uint64_t now_ms);
/* In place of roster_start(): takes over from the roster of the same pool's generation before. The
 * servers that stay keep phases, waits, drains, holds, verdicts and ramps, as far as the new file
 * has a place for them; roster_first() is for the others alone. Whom a standby stands in for stays
 * as it is as long as the same servers are out and the same may stand in. What changes by it is
 * published and told like any event. `old` hears of nothing any more. */
void roster_adopt(struct roster *r, const struct roster *old, uint64_t now_ms);

/* With `check: off` a server that roster_first() called bad has no address, as its name is not
 * resolved: it stays down until this says that it has one. Else nothing. */
void roster_resolved(struct roster *r, unsigned server, uint64_t now_ms);

/* The result of one active check after the start. Returns whether the server is changing state
 * (some but not all of fall or rise seen), so that the next check comes sooner. */
bool roster_check(struct roster *r, unsigned server, bool ok, const char *reason, uint64_t now_ms);
/* Live traffic failed `passive.failures` times in a row. */
void roster_passive_down(struct roster *r, unsigned server, uint64_t now_ms);

/* Operators. Enabling also ends a wait or a hold; with a ramp the keys still come back gradually.
 * A failback puts a drained server back, too. */
void roster_drain(struct roster *r, unsigned server, uint64_t now_ms);
void roster_enable(struct roster *r, unsigned server, uint64_t now_ms);
/* False: the server is down (409). */
bool roster_failback(struct roster *r, unsigned server, uint64_t now_ms);

/* When roster_tick() wants to be called next; UINT64_MAX: no wait is running. Ramps ask for steps
 * of about 1/256 of their length, at least 10 ms. Each change of it is told to roster_on_wake()'s
 * function, except before the start. */
uint64_t roster_next_ms(const struct roster *r);
void roster_tick(struct roster *r, uint64_t now_ms);

enum roster_state roster_state(const struct roster *r, unsigned server);
const char *roster_state_name(enum roster_state s);
const struct roster_check *roster_last_check(const struct roster *r, unsigned server);
/* Down by its checks or by live traffic, drained or not. */
bool roster_is_down(const struct roster *r, unsigned server);
/* True while fewer than all of fall or rise were seen in a row. */
bool roster_changing(const struct roster *r, unsigned server);
