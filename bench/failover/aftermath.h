/* What failures of servers did to those who asked: figures from a load's result and from what was
 * done to which server when.
 *
 * Words: a key's *home* is the server that answered it before the first fault. A *fault* is one
 * server from when it was hurt until it was well again. A request is *disturbed* if it failed, was
 * answered with 500 or more, or took longer than `slow_ns`; that befalls it when it fails or has
 * waited for `slow_ns`, whichever is first, and is laid to the fault that began last before.
 * Invariants: pure; the same input gives the same figures. Every key should have been answered
 * before the first fault, else its first answer is taken for its home's.
 * Ownership: none but the caller's. Threads: none. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/load/load.h"

#define AFTERMATH_NONE UINT64_MAX

struct aftermath_fault {
    /* given: times since the start of the load */
    const char *server;
    uint64_t from_ns, to_ns; /* to_ns AFTERMATH_NONE: it was not well again */
    unsigned event;          /* equal: hurt by one event, they share what was disturbed */
    /* found */
    uint64_t keys;         /* whose home it is */
    uint64_t takeover_ns;  /* from the fault to the first answer for one of them by another server;
                              0: all were answered elsewhere already; NONE: that never was */
    uint64_t recovery_ns;  /* from the fault to the end of the last disturbed request; NONE: none */
    uint64_t failed, slow; /* disturbed requests; one that failed slowly is among the failed */
    uint64_t home_ns;      /* from the fault's end until the last of its keys was answered at home
                              again; 0: none was away; NONE: some stayed away, see `away` */
    uint64_t away;         /* keys that were not home when the next fault of this server began, or
                              at the end of the run */
};

struct aftermath {
    uint64_t failed;     /* requests: no answer, or one of 500 and more */
    uint64_t slow;       /* answered, slower than slow_ns */
    uint64_t before;     /* disturbed before the first fault */
    uint64_t slowest_ns; /* longest wait, for an answer or for nothing */
    /* of all faults the worst; NONE: none has it. home_ns counts the last fault of each server */
    uint64_t takeover_ns, recovery_ns, home_ns;
    uint64_t minimum; /* keys whose home was at fault */
    uint64_t moved;   /* keys answered by another server than their home, from the first fault on */
    uint64_t foreign; /* of these: while their own home had had no fault yet */
    uint64_t not_home; /* keys whose last answer was not their home's */
    uint64_t early;    /* moves before the first fault: the load had not settled */
    bool cut;          /* more happened than the result keeps: times and keys are lower bounds */
};

/* Faults are in the order of from_ns; with none all is before the first one. nkeys: of the load. */
void aftermath_examine(struct aftermath *a, const struct load_result *r, uint32_t nkeys,
                       uint64_t slow_ns, struct aftermath_fault *faults, size_t nfaults);
