/* One check of one server, at one or several addresses in parallel.
 *
 * What for: check_start() probes all addresses at the same time and reports the first one, in the
 * order given, that passes. So a check of several addresses takes no longer than one of a single
 * address.
 * Invariants: on_done is called exactly once and never from within check_start(); after
 * check_cancel() it is not called. on_closed is called exactly once, as the last callback, after
 * the memory of the check was freed.
 * Ownership: the check frees itself; the pointer is valid until on_done or check_cancel(). The
 * configuration and the server must outlive on_closed.
 * Threads: the loop's. */
#pragma once
#include "health/probe.h"

struct check_callbacks {
    /* PROBE_PASS: address number `which` passed. Otherwise none did, and `which` is the address
     * that decided the outcome. reason: of that address; valid until the callback returns. */
    void (*on_done)(void *arg, enum probe_outcome outcome, unsigned which, const char *reason);
    void (*on_closed)(void *arg);
    void *arg;
};

struct check;

/* Begins a check of the addresses to[n], n at least 1. All arguments are copied. */
struct check *check_start(struct net *net, const struct probe_plan *plan, const struct addr *to,
                          unsigned n, const struct check_callbacks *callbacks);
/* Ends a check whose on_done was not called yet: closes its connections; only on_closed follows. */
void check_cancel(struct check *c);
