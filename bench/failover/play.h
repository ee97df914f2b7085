/* Plays a scenario: starts everything, keeps the load on, lets the events happen, stops everything,
 * and finds out what it did.
 *
 * Threads: the main one; the load has its own. */
#pragma once
#include "bench/failover/findings.h"
#include "bench/failover/wait.h"

struct play_options {
    struct wait *wait;
    const struct proxy *proxy;
    const char *program;
    bool keep;     /* leave the folder behind; its path is said on stderr */
    bool progress; /* a live line on stderr */
};

/* *f is initialised and belongs to the caller, also on a failure. False: the error says why it
 * could not be played to its end; the last words of a process that may be the reason went to
 * stderr. */
bool play(const struct play_options *o, const struct scenario *s, struct finding *f,
          struct error *e);
