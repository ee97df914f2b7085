/* What failures of servers did to requests: figures from the result of a load and from a list of
 * faults.
 *
 * Words: a *fault* is the time of one server from the event that hurt it to the event that made it
 * well again. The *home* of a key is the server that answered the key before the first fault. A
 * request is *disturbed* if it failed, was answered with a status of 500 or more, or took longer
 * than `slow_ns`. It counts as disturbed from the moment when it failed or had waited for
 * `slow_ns`, whichever came first, and it belongs to the last fault that began before that moment.
 * Invariants: pure; the same input gives the same figures. Every key should have been answered
 * before the first fault; if one was not, the server of its first answer is its home.
 * Ownership: none but the caller's. Threads: none. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/load/load.h"

#define AFTERMATH_NONE UINT64_MAX

struct aftermath_fault {
    /* input; times since the start of the load */
    const char *server;
    uint64_t from_ns, to_ns; /* to_ns AFTERMATH_NONE: the server stayed hurt */
    unsigned event; /* faults of one event have the same number and share the disturbed requests */
    /* output */
    uint64_t keys;         /* number of keys whose home is this server */
    uint64_t takeover_ns;  /* from the fault to the first answer for one of these keys by another
                              server; 0: all of them were answered elsewhere before; NONE: no other
                              server answered one */
    uint64_t recovery_ns;  /* from the fault to the end of the last disturbed request; NONE: no
                              request was disturbed */
    uint64_t failed, slow; /* disturbed requests; a request that failed slowly counts as failed */
    uint64_t home_ns;      /* from the end of the fault until the last of the keys was answered by
                              its home again; 0: no key was away; NONE: some stayed away */
    uint64_t away;         /* keys that were away from home when the next fault of this server
                              began, or at the end of the run */
};

struct aftermath {
    uint64_t failed;     /* requests without an answer, or with a status of 500 or more */
    uint64_t slow;       /* requests that were answered, but later than slow_ns */
    uint64_t before;     /* requests that were disturbed before the first fault */
    uint64_t slowest_ns; /* the longest that a request waited, whether it was answered or failed */
    /* The worst of all faults; NONE: no fault has such a time. For home_ns only the last fault of
     * each server counts. */
    uint64_t takeover_ns, recovery_ns, home_ns;
    uint64_t minimum;  /* keys whose home had a fault */
    uint64_t moved;    /* keys that another server than their home answered after the first fault */
    uint64_t foreign;  /* those among them that moved before their home had a fault */
    uint64_t not_home; /* keys that another server than their home answered last */
    uint64_t early;    /* moves before the first fault: the load had not settled */
    bool cut;          /* the result does not hold all events: times and keys are lower bounds */
};

/* faults: in the order of from_ns; without faults every request counts as before the first one.
 * nkeys: the number of keys of the load. */
void aftermath_examine(struct aftermath *a, const struct load_result *r, uint32_t nkeys,
                       uint64_t slow_ns, struct aftermath_fault *faults, size_t nfaults);
