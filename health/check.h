/* One check of one server, at one address or at several at a time.
 *
 * What for: check_start() probes all the addresses at once and says which is the first of them, in
 * the order given, that passes; so several take no longer than one.
 * Invariants: on_done comes exactly once, never from within check_start(), unless check_cancel() is
 * called before it; on_closed comes exactly once, last, with the memory gone.
 * Ownership: the check owns itself; the pointer is good until on_done or check_cancel(). The
 * configuration and the server must outlive on_closed. Threads: the loop's. */
#pragma once
#include "health/probe.h"

struct check_callbacks {
    /* which: the address that passed, if one did. The reason is its own, or that of the last one;
     * good until it returns. */
    void (*on_done)(void *arg, enum probe_outcome outcome, unsigned which, const char *reason);
    void (*on_closed)(void *arg);
    void *arg;
};

struct check;

/* to[n] is read at once, n is at least 1. */
struct check *check_start(struct net *net, const struct probe_plan *plan, const struct addr *to,
                          unsigned n, const struct check_callbacks *callbacks);
void check_cancel(struct check *c);
