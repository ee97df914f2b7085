/* One check of one server, at one or several addresses in parallel.
 *
 * What for: check_start() probes all addresses at the same time and reports the first one, in the
 * order given, that passes. So a check of several addresses takes no longer than one of a single
 * address.
 * Invariants: on_done is called exactly once and never from within check_start(); after
 * check_cancel() it is not called. on_closed is called exactly once, as the last callback, after
 * the memory of the check was freed.
 * Ownership: the check frees itself; the pointer is valid until on_closed. The configuration and
 * the server must outlive that. Threads: the loop's. */
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
/* From now on the callbacks get `arg`. What the check was started with must live on all the same.
 */
void check_hand_over(struct check *c, void *arg);
/* Closes the connections of a check: before on_done, then only on_closed follows; or after it, when
 * only the rest of answers is still read. */
void check_cancel(struct check *c);
