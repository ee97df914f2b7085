/* Who is to blame for a try that failed, and what is counted of that.
 *
 * What for: a server that can't be reached is at fault. One that resets a request, or answers it
 * with nonsense, may be at fault, or the request may: the next server would do the same. So such a
 * try makes its server suspect, and something else decides: a check that looks at answers, or
 * another server that answers the same request. docs/routing.md, Failures of live traffic.
 * Invariants: the counters only grow; they outlive a reload with their server.
 * Ownership: struct suspicions is a part of struct server.
 * Threads: any may note a try; `passed` and `failed` are the control thread's to raise. All atomics
 * are relaxed, as no other memory is published through them. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum blame {
    BLAME_NOBODY,      /* the answer broke behind its head */
    BLAME_UNREACHABLE, /* connecting was refused, had no way, or took too long */
    /* From here on the server is suspect: */
    BLAME_RESET,     /* it reset the connection before the final head */
    BLAME_CLOSED,    /* it ended the connection before the final head */
    BLAME_MALFORMED, /* its head is none, or may not stand there */
    BLAME_SILENT,    /* no final head within `timeouts.response` */
    BLAME_STATUS,    /* it answered with a status of `passive.statuses` */
    BLAME_KINDS,
};

#define BLAME_FIRST_SUSPECT BLAME_RESET

static inline bool blame_is_suspect(enum blame b)
{
    return b >= BLAME_FIRST_SUSPECT;
}

/* The word of GET /status, the metrics and the log. b must be suspect. */
const char *blame_name(enum blame b);

/* What was counted of one server. */
struct suspicions {
    _Atomic uint64_t tries[BLAME_KINDS]; /* by enum blame; those that are suspect alone */
    _Atomic uint64_t last;               /* packed, see suspicions_last() */
    _Atomic uint64_t passed, failed;     /* checks that suspicions have asked for, by result */
};

/* Notes a suspect try; a relaxed addition and a store, as errors are rare. */
void suspicions_note(struct suspicions *s, enum blame b, uint64_t now_ms);
/* All suspect tries. */
uint64_t suspicions_tries(const struct suspicions *s);
/* What the last suspect try was, and when, on the clock of the loops. False: there was none. */
bool suspicions_last(const struct suspicions *s, enum blame *b, uint64_t *at_ms);
