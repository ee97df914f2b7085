/* The control thread: starts everything in order, handles signals, stops everything in order.
 *
 *   admin opens -> first checks of all servers -> listeners open -> running
 *   -> (SIGTERM, SIGINT) readyz 503, workers finish what is open -> gone
 *   -> (SIGUSR2) a new process serves -> workers finish what is open -> gone
 *
 * With `cluster.listen: active` the listeners open and close with the role (app/role.h), which may
 * change as often as it likes while the process runs.
 *
 * A process that takes over from another one opens its admin interface with its listeners.
 *
 * What for: it is the one place that wires proxy, health and admin together.
 * Invariants: workers hear that a server went down after the new owners were published, so requests
 * that they send elsewhere go to the right server.
 * Ownership: everything that it starts.
 * Threads: it is the main thread, and runs the control loop. */
#pragma once
#include "app/inherited.h"
#include "app/role.h"
#include "app/takeover.h"
#include "config/config.h"
#include "net/lookup.h"

struct control_hooks {
    /* Called when the listeners are open. May be NULL. */
    void (*on_ready)(void *arg);
    void *arg;
    /* Called at the start if `cluster.listen` is active: whoever is to say so tells the role when
     * this process is to accept traffic. It stands as long as the loop. May be NULL: it stands by.
     */
    void (*on_role)(void *arg, struct role *role, uv_loop_t *loop);
    /* Looks names up, see net/lookup.h. NULL: the system does. */
    lookup_ask_fn *ask;
    /* Sockets that this process was given; what no listener has is closed. The caller's. NULL:
     * none. */
    struct inherited *inherited;
    /* The process that this one takes over from. The caller's. NULL: none. */
    struct takeover *takeover;
    /* Whether this process was started in a way in which a new one can be. */
    bool can_upgrade;
};

/* Runs until a signal stops it; takes a reference to the config. Returns the exit status: APP_OK
 * after a clean stop, APP_FAILED after a failure, which was logged. hooks may be NULL. */
int control_run(struct config *config, const struct control_hooks *hooks);
