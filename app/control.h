/* The control thread: starts everything in order, hears signals, stops in order.
 *
 *   admin opens -> first checks of all servers -> listeners open -> running
 *   -> (SIGTERM, SIGINT) readyz 503, workers finish what is open -> gone
 *
 * What for: the one place that wires proxy, health and admin together.
 * Invariants: workers hear of a server that went down after the owners were published, so what they
 * send elsewhere goes to the right place.
 * Ownership: everything it starts. Threads: it is the main thread and runs the control loop. */
#pragma once
#include "config/config.h"
#include "net/lookup.h"

struct control_hooks {
    /* The listeners are open. May be NULL. */
    void (*on_ready)(void *arg);
    void *arg;
    /* How names are looked up, see net/lookup.h. NULL: as the system does. */
    lookup_ask_fn *ask;
};

/* Runs until it is told to stop by a signal; takes a reference to the config. Returns the exit
 * status: 0 after a clean stop, 1 on a failure at run time (logged). hooks may be NULL. */
int control_run(struct config *config, const struct control_hooks *hooks);
