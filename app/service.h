/* What one generation of the configuration has on the control loop: its snapshot, and a checker for
 * each pool.
 *
 *   service_new --> service_open --> service_first ...> on_done --> service_start(old)
 *              |               |                      |                          |
 *              v               '----------------------+--------------------------+--> service_close
 *        service_free
 *
 * What for: a start and a reload do the same with it, and several may exist at a time: one in
 * service, one whose new servers are being checked, and any number that close.
 * Invariants: from service_start() on, the rosters and checkers of this one decide, and those of
 * the one before take no event any more.
 * Ownership: holds the reference to the snapshot that it was given. It is freed by service_close(),
 * when the last handle of its checkers is closed.
 * Threads: service_new() and service_free() are for any thread, the rest is control's. */
#pragma once
#include "app/disposal.h"
#include "health/checker.h"
#include "pool/snapshot.h"

struct service {
    struct snapshot *snapshot;
    struct checker **checkers; /* one for each pool */
    struct disposal *disposal; /* for the snapshot and its rosters */
    size_t nchecked;           /* pools whose first checks are done */
    size_t nclosed;            /* checkers that are closed */
    checker_fn *on_done;
    void *done_arg;
};

/* Takes over the reference to the snapshot; d must outlive it. */
struct service *service_new(struct snapshot *s, struct disposal *d);
/* Of one that was not opened. NULL is fine. */
void service_free(struct service *s);
/* net and names must outlive it. */
void service_open(struct service *s, struct net *net, const struct checker_names *names);
/* Makes the first checks of all pools; of a pool that `old` has, or of a snapshot that has no
 * `old` (NULL), see checker_first(). on_done comes once, never within this call. */
void service_first(struct service *s, const struct service *old, checker_fn *on_done, void *arg);
/* After the first checks: the rosters start, or take over from those of `old`, and so do the
 * checkers. service_close(old) must follow before the loop turns. */
void service_start(struct service *s, struct service *old, uint64_t now_ms);
/* Nothing of it decides any more, and on_done does not come. */
void service_close(struct service *s);
