/* The old side of an upgrade: starts the program that is installed now, and hands over to it.
 *
 *         ask            no reload is under way        the new one says "ready"
 *   IDLE -----> HOLDING ------------------> STARTING ----------------------------> DONE
 *    ^             ^                          | it ends, or says nothing in time: killed
 *    |             '--- it failed ------------+
 *    '-----------------------------------> FAILING, until it is gone
 *
 * STOPPED: this process stops; a new one that is not ready is ended.
 *
 * What for: the sockets listen throughout, so nobody is refused. As long as the new process has not
 * said that it serves, this one does, and whatever fails leaves it as it was. The line between both
 * (HANDOVER_LINE) carries two words: "ready\n" to this process, when the new one serves, and "go\n"
 * to the new one, when it is the service's main process.
 * Invariants: one at a time. All who ask are answered.
 * Ownership: upgrade_new() to upgrade_close(). Threads: control. */
#pragma once
#include <uv.h>

#include "admin/hooks.h"
#include "app/handover.h"

#define UPGRADE_WAIT_MS 30000 /* for the new process, besides its first checks */

struct upgrade_ops {
    /* upgrade_start() is due as soon as nothing that this process has can change. */
    void (*hold)(void *arg);
    /* Adds what is to be handed over, which must stay open until on_ready() or on_failed(). */
    bool (*collect)(void *arg, struct handover_draft *d, struct error *e);
    /* The new process serves: no other may begin here, what is open is to be finished. */
    void (*on_ready)(void *arg, int pid);
    /* This process goes on as before hold(). */
    void (*on_failed)(void *arg);
};

struct upgrade;

/* NULL: *uv_error says why. */
struct upgrade *upgrade_new(uv_loop_t *loop, const struct upgrade_ops *ops, void *arg,
                            int *uv_error);
/* As admin_hooks.upgrade. timeout_ms: how long the new process may take. done NULL: a signal asks,
 * and nobody waits. */
void upgrade_ask(struct upgrade *u, uint64_t timeout_ms, admin_done_fn *done, void *done_arg);
/* After hold(). */
void upgrade_start(struct upgrade *u);
/* This process stops. A new one that is not ready is ended; who waits is answered. No function of
 * ops is called any more. */
void upgrade_stop(struct upgrade *u);
/* After upgrade_stop(), or in DONE. The memory is freed with the last handle, and that waits for
 * the end of a new process that upgrade_stop() has ended. */
void upgrade_close(struct upgrade *u);
