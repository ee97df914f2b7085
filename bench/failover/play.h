/* Plays a scenario: starts the servers and the proxy, runs the load, carries out the events, stops
 * everything and computes the figures.
 *
 * Threads: the main one; the load has its own. */
#pragma once
#include "bench/failover/findings.h"
#include "bench/failover/wait.h"

struct play_options {
    struct wait *wait;
    const struct proxy *proxy;
    const char *program;
    bool keep;     /* leave the folder behind and print its path on stderr */
    bool progress; /* print a line of progress on stderr */
};

/* *f is initialised and belongs to the caller, also on a failure. False: the scenario was not
 * played to its end, and the error says why; if a process may be the reason, the end of its output
 * has been printed on stderr. */
bool play(const struct play_options *o, const struct scenario *s, struct finding *f,
          struct error *e);
