/* This proxy as a member of a fleet: the fleet, its store in Redis, their time, and their way to
 * what this proxy has.
 *
 *   member_open -> member_pools -> member_start, member_checked ...> on_joined
 *               member_leave ...> done                member_close ...> on_closed
 *
 * What for: cluster/ knows neither checkers nor the log nor the loop's clock, and control is to
 * know no Redis. Where the configuration has no `cluster` there is no member: every function but
 * member_open() takes NULL and does nothing, or answers as if alone.
 * Invariants: nothing here waits for Redis, and nothing is called back from within member_open().
 * Ownership: member_open() to on_closed; the net, the lookups and what ops stand for must live
 * until then, the pools until the next member_pools() or member_close(). Threads: control. */
#pragma once
#include "cluster/fleet.h"
#include "cluster/redis.h"
#include "net/conn.h"
#include "net/lookup.h"
#include "pool/snapshot.h"

struct member;

struct member_ops {
    /* Once: listeners may open, see fleet_ops.joined. */
    void (*joined)(void *arg);
    /* A check of this server is to begin at once. */
    void (*look)(void *arg, size_t pool, unsigned server);
    /* `listen: active`: what to do with the listeners. */
    void (*wish)(void *arg, enum fleet_wish w);
    /* Whether this proxy could serve, its role aside. */
    bool (*is_ready)(void *arg);
    void *arg;
};

struct member_options {
    struct net *net;
    struct lookups *lookups;
    struct config *config; /* with a `cluster`; a reference is taken */
    bool listen_active;    /* what is in force of `listen`, whatever the configuration says */
    const char *resume;    /* what member_save() of the process before wrote; NULL: a new member */
    struct member_ops ops;
};

/* NULL: there are no random bytes for a name, and *e says why. */
struct member *member_open(const struct member_options *o, struct error *e);
/* The generation in service has changed, or is the first one: after service_start(). */
void member_pools(struct member *m, const struct snapshot *s);
/* Settings that a reload may change while the member stays. False: those that can't have changed;
 * the member is to leave, and another one is to be opened. */
bool member_configure(struct member *m, const struct config *c);
/* Begins to speak to Redis, beside the first checks. */
void member_start(struct member *m);
/* The first checks are over and the rosters started: on_joined follows, perhaps within this call.
 */
void member_checked(struct member *m);
/* Before an event of a check or of live traffic is given to a roster, see fleet_awake(). */
void member_awake(struct member *m);
/* `listen: active`: whether connections are accepted now. */
void member_accepting(struct member *m, bool accepting);
/* A clean stop: gives back what others wait for, and the rosters go on as if alone. done comes
 * once, perhaps within this call. */
void member_leave(struct member *m, void (*done)(void *arg), void *arg);
/* Before member_close(): another process goes on as this member. The rosters hear of no fleet any
 * more, and go on by what was agreed last: that is what the last requests here are told to follow
 * from. */
void member_hand_over(struct member *m);
/* The rosters of its pools hear of no fleet any more. on_closed comes later, or, if m is NULL,
 * never.
 */
void member_close(struct member *m, void (*on_closed)(void *arg), void *arg);

/* See fleet_save() and fleet_freeze(). */
char *member_save(const struct member *m);
void member_freeze(struct member *m, bool frozen);

/* NULL: no member. */
struct fleet *member_fleet(const struct member *m);
const struct redis_counts *member_redis_counts(const struct member *m);
