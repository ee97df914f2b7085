/* Where the members of a fleet meet: what they store for each other, as calls that are atomic each.
 *
 * What for: fleet.c says what a member does, and knows no Redis; store_redis.c carries the calls
 * out as scripts there, and the tests' store in memory does so without one.
 * Invariants: `done` of a call comes once, never within the call, and not after the store was
 * closed. It comes with NULL if the outcome is unknown: the call may have been carried out, may
 * be later, or never. Calls are carried out in their order as long as no outcome is unknown.
 * Ownership: what a request points to need live no longer than the call, what an answer points to
 * no longer than `done`. Threads: the control loop. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "cluster/version.h"

enum hint {
    HINT_STATE, /* a publication was stored */
    HINT_CLAIM, /* a view newly says that a server is down */
    HINT_VIEW,  /* a view says other news */
    HINT_LOCK,  /* the lock is free, or offered */
};

/* A member says that it lives, what it sees if that has changed, and renews its lock if it has one;
 * it hears what there is. */
struct store_sync {
    const char *node;
    const char *instance;
    uint64_t n;           /* grows with each sync of this instance */
    struct str view;      /* len 0: as in the last sync that was answered */
    bool tells;           /* the view is news: others get the hint */
    enum hint kind;       /* HINT_CLAIM or HINT_VIEW */
    uint64_t known_c;     /* the highest c heard of; 0: all views are wanted */
    const char *lock;     /* the value of the lock that it believes to have; NULL: none */
    uint64_t epoch;       /* of that lock */
    struct version known; /* the body is wanted if the stored version is newer */
};

struct store_beat {
    const char *node, *instance;
    uint64_t n; /* of its last sync */
    uint64_t c; /* the number of the last change of its view */
};

struct store_view {
    const char *node;
    struct str text; /* not checked yet, see view.h */
};

struct store_synced {
    struct str holder; /* the lock's value; len 0: it is free */
    uint64_t left_ms;  /* of the lock; NUMBER_MAX: it has no expiry */
    struct str next;   /* the instance that the lock is offered to; len 0: none */
    bool renewed;
    struct version version;         /* what is stored; {0}: nothing */
    struct str body;                /* of that version if it is newer than `known`; else len 0 */
    uint64_t highest_c;             /* the field '#' of the beats */
    const struct store_beat *beats; /* the own one last; another instance of the own node, as it
                                       was before this sync, is one of the others */
    size_t nbeats;
    const struct store_view *views; /* whose c is above known_c */
    size_t nviews;
};

struct store_acquire {
    const char *lock;     /* the value to store: TOKEN T NODE/INSTANCE */
    const char *previous; /* of an own attempt whose outcome is unknown; NULL: none */
    uint64_t floor;       /* the new epoch is above it */
    const char *instance;
};

struct store_acquired {
    bool granted;
    uint64_t epoch;    /* if granted */
    struct str holder; /* if not: the lock's value; len 0: it is offered to another instance */
    uint64_t left_ms;
    struct version version; /* what is stored */
};

struct store_publish {
    const char *lock; /* NULL: a restore, which needs none */
    struct version version;
    struct str body;
};

typedef void store_synced_fn(void *arg, const struct store_synced *answer);
typedef void store_acquired_fn(void *arg, const struct store_acquired *answer);
/* *yes: it was carried out. NULL: unknown. */
typedef void store_done_fn(void *arg, const bool *yes);

struct store;

struct store_ops {
    void (*sync)(struct store *s, const struct store_sync *r, store_synced_fn *done, void *arg);
    void (*acquire)(struct store *s, const struct store_acquire *r, store_acquired_fn *done,
                    void *arg);
    /* Stores if the lock and its epoch are still that, and the version is newer than the stored. */
    void (*publish)(struct store *s, const struct store_publish *r, store_done_fn *done, void *arg);
    /* Stores if the version is newer than the stored one; r->lock is NULL. */
    void (*restore)(struct store *s, const struct store_publish *r, store_done_fn *done, void *arg);
    void (*offer)(struct store *s, const char *lock, const char *to_instance, store_done_fn *done,
                  void *arg);
    void (*release)(struct store *s, const char *lock, store_done_fn *done, void *arg);
    /* Removes beats and views of these nodes. */
    void (*forget)(struct store *s, const char *lock, const char *const *nodes, size_t n,
                   store_done_fn *done, void *arg);
};

/* What a store tells by itself. */
struct store_events {
    /* instance: who has caused it; own hints are not told. */
    void (*on_hint)(void *arg, enum hint kind, const char *instance);
    /* The store can be reached, or can no more; why: for the log. Told once a change. */
    void (*on_reach)(void *arg, bool reachable, const char *why);
    /* An answer or value that no such store should give was refused. */
    void (*on_refused)(void *arg, const char *what);
    void *arg;
};

struct store {
    const struct store_ops *ops;
    const struct store_events *events; /* set by its user before the first call */
};
