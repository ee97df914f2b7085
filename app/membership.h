/* This proxy's part in a fleet: the member that it is, if it is one, and whether it accepts
 * traffic.
 *
 *   membership_new -> membership_begin -> membership_checked ...> joined
 *                  a reload:    membership_leave_before -> (the rosters take over) ->
 * membership_follow a stop:      membership_leave ...> left -> membership_close an upgrade:
 * membership_save, membership_freeze -> membership_hand_over -> membership_close
 *
 * What for: control starts, reloads, stops and hands over; what that means to a fleet stands here.
 * A configuration without a `cluster` makes this a membership in no fleet, and a reload may bring
 * one. Invariants: the rosters in service hear of one member at a time. What a file says of
 * `cluster` is in force after a reload, except `listen`, which is control's.
 * Ownership: membership_new() to membership_close(); what ops stand for must live as long as the
 * loop. Threads: control. */
#pragma once
#include "app/member.h"

struct membership;

struct membership_ops {
    /* Once: listeners may open. */
    void (*joined)(void *arg);
    /* A check of this server of the generation in service is to begin at once. */
    void (*look)(void *arg, size_t pool, unsigned server);
    /* Whether this proxy could serve: the first checks are over, and the process does not stop. */
    bool (*is_ready)(void *arg);
    /* `listen: active`: what the fleet wants of it. epoch: of the lock, if this proxy has it. */
    void (*wish)(void *arg, enum fleet_wish w, uint64_t epoch);
};

struct membership_options {
    struct net *net;
    struct lookups *lookups;
    struct config *config;
    const char *resume; /* of the process before, see membership_save(); NULL: none */
    const struct membership_ops *ops;
    void *arg;
};

/* NULL: *e says why. */
struct membership *membership_new(const struct membership_options *o, struct error *e);
/* Begins to speak to the others. */
void membership_begin(struct membership *m);
/* The first checks are over, and the rosters of s started. `joined` follows, perhaps within this
 * call. resumed: the process goes on as another one, whose state the rosters have, so there is
 * nothing to wait for, and `joined` does not come. */
void membership_checked(struct membership *m, const struct snapshot *s, bool resumed);
/* Before an event is given to a roster, see fleet_awake(). */
void membership_awake(struct membership *m);
/* Before the rosters of a new generation take over: leaves the fleet if that changes. */
void membership_leave_before(struct membership *m, const struct config *next);
/* After they have taken over: goes on with them, or joins the fleet of this configuration. */
void membership_follow(struct membership *m, const struct snapshot *s);
/* `listen: active`: whether clients are accepted now. */
void membership_accepting(struct membership *m, bool accepting);
/* A clean stop. done comes once, after a second or two at most, perhaps within this call. */
void membership_leave(struct membership *m, void (*done)(void *arg), void *arg);
/* For another process: the caller's to free; NULL: there is nothing. */
char *membership_save(const struct membership *m);
void membership_freeze(struct membership *m, bool frozen);
/* The other process goes on as this member. */
void membership_hand_over(struct membership *m);
/* Before the rosters go. *m is freed when its handles are closed. NULL is fine. */
void membership_close(struct membership *m);

/* NULL: no fleet. */
const struct member *membership_member(const struct membership *m);
