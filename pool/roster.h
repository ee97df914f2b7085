/* Which servers of a pool are in service: checks, failures of live traffic, drains, failback waits,
 * holds and ramps, and the owners that follow. docs/routing.md, In service and out, Failback.
 *
 * What for: every event is a call with its time. What comes out are the published owners
 * (pool_publish), each server's `usable`, notices for the log, and the time of the next tick. The
 * roster starts no timer and reads no clock, so a test drives it through a table of events. now_ms
 * is any clock that does not go back.
 * Seeing and deciding: checks and live traffic change what this proxy sees of a server (witness.h).
 * Alone, that changes how the server stands (standings.h), and so which servers are out. In a fleet
 * of proxies that agree, roster_agree() alone changes how servers stand, and what is seen makes
 * votes and exceptions. roster_apply() draws the consequences in both cases. See roster_internal.h.
 * Invariants: the owners are failover_owners() of the servers that are out, plus ramps. A key is
 * served by one server at any time, and moves once in a ramp. A backend is usable if it is neither
 * down nor drained; a standby is usable if it is in service, so not while it waits; neither is if
 * it is left out here (roster_is_excepted()). With `when_all_down: try` and all servers out, those
 * that checks took out are usable. Notices are given after the owners that they tell of were
 * published; their receiver must not call back in. Ownership: roster_new() to roster_free(); the
 * pool must outlive the roster. Threads: control alone. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "pool/agreed.h"
#include "pool/pool.h"
#include "pool/standings.h"

/* A drained server is `draining` whatever its checks say; last_check has their result. */
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

/* What the check has said that live traffic had asked for last. */
enum roster_suspicion {
    ROSTER_UNSUSPECTED, /* none was asked for, or its result is of no interest any more */
    ROSTER_PENDING,     /* it is still to come */
    ROSTER_CLEARED,     /* it has passed */
    ROSTER_CONFIRMED,   /* it has failed */
};

enum roster_event {
    ROSTER_SERVER_UP,   /* checks pass again (it may still have to wait before it takes its keys) */
    ROSTER_SERVER_DOWN, /* with a reason; requests that wait for it must go on elsewhere */
    ROSTER_PROMOTION,   /* `by` (a standby) serves the points of `member` (a backend) */
    ROSTER_TAKEOVER_ENDED, /* `by` no longer serves them (it went out or serves another backend, or
                              the new configuration has no place for that) */
    ROSTER_NEXT,     /* `member` has no standby: its keys go to the next owners (or are refused) */
    ROSTER_RAMP,     /* `member` begins to take its keys back from `by` */
    ROSTER_FAILBACK, /* `member` has all its keys again; `by` had them, or NULL */
    ROSTER_HELD,     /* `member` is up but waits: for wait_ms, or (manual) for an operator */
    ROSTER_DRAINED,  /* an operator drained it */
    ROSTER_ENABLED,  /* an operator put it back */
    ROSTER_ALL_DOWN, /* all are out by their checks: from now on as if they were not; no member */
    ROSTER_ALL_DOWN_ENDED, /* a server is in service again, or none may be tried; no member */
    ROSTER_SUSPECTED, /* live traffic suspected it, and a check has decided: `ok`, and `reason` */
    ROSTER_SPARED, /* `reason` would have taken it down, but no other server of the pool is left */
    ROSTER_AGREED, /* a fleet's agreement was applied that changes how servers stand; no member */
    ROSTER_PARTED, /* no word from the fleet: decided here from now on; no member */
    ROSTER_EXCEPTION,       /* agreed to be in service, and left out here, for `reason` */
    ROSTER_EXCEPTION_ENDED, /* that is over, for `reason` */
    ROSTER_OWNERS,          /* new owners are published, as in a step of a ramp; no member */
};

struct roster_notice {
    enum roster_event event;
    const struct pool *pool;
    /* In roster_adopt() they may be of the generation before: a server that is gone since. */
    const struct pool_member *member; /* NULL: ROSTER_OWNERS, ROSTER_ALL_DOWN* */
    const struct pool_member *by;
    const char *reason; /* or NULL */
    uint64_t wait_ms;   /* ROSTER_HELD: 0 is manual; ROSTER_RAMP: its length */
    enum blame blame;   /* ROSTER_SUSPECTED: what it was suspected of last */
    bool ok;        /* ROSTER_SUSPECTED: the check has passed; ROSTER_EXCEPTION: the server is not
                       down here, but to be drained */
    unsigned count; /* ROSTER_SUSPECTED, ROSTER_SPARED: how often it came to this since that was
                       told, at most once in ROSTER_QUIET_MS unless the server falls by it */
    /* The exact share of the key space that moved with this event. For a ramp: the share that moves
     * in all, told at its start and again with the failback. -1: none moved, or it is not known. */
    double moved;
};

#define ROSTER_QUIET_MS 10000

typedef void roster_notify_fn(void *arg, const struct roster_notice *n);
/* roster_next_ms() has changed to at_ms; UINT64_MAX: no tick is needed. Must not call back in. */
typedef void roster_wake_fn(void *arg, uint64_t at_ms);

struct roster;

struct roster *roster_new(struct pool *p, roster_notify_fn *notify, void *arg);
void roster_free(struct roster *r); /* NULL is fine */
/* From now on `wake` is told when roster_tick() is due, so the code that reports an event need not
 * re-arm a timer. NULL: nobody is told. */
void roster_on_wake(struct roster *r, roster_wake_fn *wake, void *arg);

/* The very first check of each server decides how the server begins; roster_start() then publishes.
 * With `check: off` every server begins up, and roster_first() need not be called. */
void roster_first(struct roster *r, unsigned server, bool ok, const char *reason, uint64_t began_ms,
                  uint64_t now_ms);
void roster_start(struct roster *r, uint64_t now_ms);
/* In place of roster_start(): takes over from `old`, the roster of the same pool in the generation
 * before. Servers that stay keep their phases, waits, drains, holds, verdicts and ramps, as far as
 * the new configuration has a place for them; roster_first() is for the other servers alone. As
 * long as the same servers are out and the same standbys may stand in, no promotion changes. What
 * changes is published and told like any event. `old` must get no event any more. */
void roster_adopt(struct roster *r, const struct roster *old, uint64_t now_ms);

/* The name of a server is resolved. With `check: off` a server that roster_first() reported as bad
 * has no address, and stays down until this call. In all other cases the call does nothing. */
void roster_resolved(struct roster *r, unsigned server, uint64_t now_ms);

/* The result of one active check after the start, which began at began_ms. Returns
 * roster_changing(), so that the next check can come sooner. */
bool roster_check(struct roster *r, unsigned server, bool ok, const char *reason, uint64_t began_ms,
                  uint64_t now_ms);
/* Live traffic failed `passive.failures` times in a row. The server goes down, unless all others of
 * its pool are down or drained. */
void roster_passive_down(struct roster *r, unsigned server, uint64_t now_ms);
/* Live traffic failed so often in a row, but the requests may be to blame. True: a check is to
 * begin that tells the one from the other, and its result goes to roster_verdict(). Until then a
 * failed check of any kind takes the server down, as that one would. False: nothing follows from
 * it. */
bool roster_suspect(struct roster *r, unsigned server);
/* As roster_check(), for a check that began after roster_suspect(). If it fails, the server is
 * down, whatever `fall` is, unless all others are down or drained: then it is a failed check like
 * any other. */
bool roster_verdict(struct roster *r, unsigned server, bool ok, const char *reason,
                    uint64_t began_ms, uint64_t now_ms);

/* What operators do. Enabling a server also ends its wait or hold; with a ramp the keys still come
 * back gradually. A failback ends a drain, too, and brings all keys back at once. */
void roster_drain(struct roster *r, unsigned server, uint64_t now_ms);
void roster_enable(struct roster *r, unsigned server, uint64_t now_ms);
/* False: the server is down (409). */
bool roster_failback(struct roster *r, unsigned server, uint64_t now_ms);

/* When roster_tick() is due; UINT64_MAX: no wait or ramp runs. Ramps go in steps of about 1/256 of
 * their length, at least 10 ms. Each change of this time is told to the function of
 * roster_on_wake(), except before the start. */
uint64_t roster_next_ms(const struct roster *r);
void roster_tick(struct roster *r, uint64_t now_ms);

enum roster_state roster_state(const struct roster *r, unsigned server);
const char *roster_state_name(enum roster_state s);
const struct roster_check *roster_last_check(const struct roster *r, unsigned server);
/* Whether all servers are out, and are given requests as if the checks had not taken them out. */
bool roster_all_down(const struct roster *r);
enum roster_suspicion roster_suspicion(const struct roster *r, unsigned server);
/* Whether roster_adopt() or roster_restore() (roster_save.h) has carried over what was known of it,
 * so that it needs no first check. */
bool roster_is_known(const struct roster *r, unsigned server);
/* Down by its checks or by live traffic, drained or not. */
bool roster_is_down(const struct roster *r, unsigned server);
/* Whether some results in a row speak against the server's state, but fewer than fall or rise. */
bool roster_changing(const struct roster *r, unsigned server);

/* ---- in a fleet ---- */

/* Applies what a fleet has agreed on: from now on the roster routes by that, and what it sees
 * itself makes exceptions only: a server that is down here, and in service by agreement, is not
 * usable, but keeps its points, so its keys go where a further try would go, and no others move.
 * A server that is out by agreement is not used. Servers that `a` does not list, or
 * has as carried, are decided here, as if alone. May come before roster_start(), and again with the
 * same data after roster_adopt(): that moves nothing. Then pool_set_agreed() is to follow. `a` may
 * be freed afterwards. */
void roster_agree(struct roster *r, const struct agreed_pool *a, uint64_t now_ms);
/* No word from the fleet: the decisions go on from the last agreed ones, by what this proxy sees
 * change. Exceptions stay. Nothing moves by this call. Ends pool_set_agreed(). */
void roster_part(struct roster *r, uint64_t now_ms);
/* Whether it routes by an agreement. */
bool roster_agreed(const struct roster *r);

/* What this proxy says of a server in its fleet. NONE: not checked since the start or the last
 * stall; down without a sign since that another server of the pool can be reached; `check: off`
 * and not down. */
enum roster_vote { ROSTER_VOTE_NONE, ROSTER_VOTE_UP, ROSTER_VOTE_DOWN };

enum roster_vote roster_vote(const struct roster *r, unsigned server);
/* Whether it is out by what the roster routes by: the agreement, or the own decision. */
bool roster_is_out(const struct roster *r, unsigned server);
/* Whether it is left out here alone, or was asked to be drained here and is not yet. */
bool roster_is_excepted(const struct roster *r, unsigned server);
/* Whether all servers of the pool are down here. */
bool roster_blind(const struct roster *r);
/* Blind, though servers may be in service: by an agreement, now or the last one that there was. */
bool roster_is_lost(const struct roster *r);
/* Others of the fleet say that the server is down, or do not any more: while they do, one failed
 * check is enough here. The caller has a check begin when that is new. */
void roster_claim(struct roster *r, unsigned server, bool others_say_down);
/* The loop woke much too late, so this proxy may be what is ill: it has no votes until a check that
 * begins from now on has ended; checks that failed meanwhile, and live failures that come within
 * ROSTER_DOUBT_MS, count for nothing. A look is asked for at all servers. */
void roster_stalled(struct roster *r, uint64_t now_ms);
#define ROSTER_DOUBT_MS 1000
/* An operator has asked here to drain the server: it is left out here at once, until this is taken
 * back, which is due when an agreement has it, or when another request for the server was made. */
void roster_ask(struct roster *r, unsigned server, bool drained_here, uint64_t now_ms);
/* Notes when the last request for a server was made, by the wall clock: after roster_drain(),
 * roster_enable() and roster_failback() of a proxy that is alone and has a fleet. */
void roster_asked(struct roster *r, unsigned server, uint64_t made_ms);
/* news: a vote has changed, or an exception begun or ended; claim: a server is newly said to be
 * down. Must not call back in. NULL: nobody is told. */
typedef void roster_news_fn(void *arg, bool claim);
void roster_on_news(struct roster *r, roster_news_fn *news, void *arg);
/* look: a check of the server is to begin at once (checker_look()). Must not call back in. */
typedef void roster_look_fn(void *arg, unsigned server);
void roster_on_look(struct roster *r, roster_look_fn *look, void *arg);
/* What it routes by; changes with the next call. */
const struct standings *roster_standings(const struct roster *r);
