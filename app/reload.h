/* Reloads the configuration: on SIGHUP and when the admin interface asks, all or nothing.
 *
 *               ask                    read                 new servers checked
 *   IDLE ----------------> READING ------------> CHECKING ---------------------> IDLE, and the
 *     ^                       | an error, or        | a socket can't              new one serves
 *     |                       v only a plan         v listen, ...
 *     '-----------------------+---------------------'   refused: the old one serves as before
 *
 * HELD: the proxy starts, or hands over to another process. STOPPED: it stops.
 *
 * What for: requests to reload are put in a row, those of one kind that wait together are answered
 * by one run, and each run goes through the steps above. What is read and built is, in
 * app/prepare.h, on a thread of its own; new sockets are bound and new servers are checked while
 * the old generation serves; the switch is one turn of the loop. Invariants: a caller is answered
 * by a run that began after it asked. Up to the switch, whatever fails leaves the old generation as
 * it was. Runs that nobody waits for (signals) begin RELOAD_PAUSE apart at least. Ownership:
 * reload_new() to reload_close(). What it prepares is its own until the switch. Threads: control.
 */
#pragma once
#include "admin/hooks.h"
#include "app/disposal.h"
#include "app/service.h"
#include "app/sockets.h"

#define RELOAD_PAUSE_MS 250

/* What a reload needs of control. */
struct reload_ops {
    /* What is in service now. */
    struct service *(*current)(void *arg);
    /* Does all of the switch that can fail; the sockets listen already. False: *e says why, and
     * nothing is left of it. */
    bool (*make_ready)(void *arg, struct service *next, struct error *e);
    /* After make_ready(): takes that back. */
    void (*unmake)(void *arg);
    /* After make_ready(): puts it in service, and closes what was before. True: the interface where
     * all who wait have asked goes, at answered(). */
    bool (*switch_over)(void *arg, struct service *next);
    /* After the switch, when those who asked for it are answered. */
    void (*answered)(void *arg);
};

struct reload_options {
    struct net *net; /* of the control loop */
    struct sockets *sockets;
    struct checker_names names;
    struct disposal *disposal; /* for generations that are done with */
    roster_notify_fn *notify;  /* of the rosters; with `arg` */
    const struct reload_ops *ops;
    void *arg;
};

struct reload;

/* HELD. NULL: *uv_error says why. */
struct reload *reload_new(const struct reload_options *o, int *uv_error);
/* The proxy has started, or goes on: what was asked for begins. */
void reload_begin(struct reload *r);
/* No further run begins until reload_begin(). on_held comes when none is under way, perhaps within
 * this call, but not after reload_stop(). */
void reload_hold(struct reload *r, void (*on_held)(void *arg), void *arg);
/* Whether somebody asked for a run that has not begun. */
bool reload_waits(const struct reload *r);
/* As admin_hooks.reload. done NULL: a signal asks, and nobody waits. */
void reload_ask(struct reload *r, const struct admin_reload *what, admin_done_fn *done,
                void *done_arg);
/* The proxy stops: what is under way is given up, all who wait are answered, and reload_ask() only
 * refuses from now on. */
void reload_stop(struct reload *r);
/* After reload_stop(). The memory is freed with its last handle. */
void reload_close(struct reload *r);
/* Runs, without those that only ask for a plan. */
const struct admin_reloads *reload_counts(const struct reload *r);
