/* The worker threads of the process.
 *
 *   crew_new -> crew_start -> crew_post ... -> crew_free
 *                        \--> crew_make_updates -> crew_update, or crew_drop_updates
 *
 * What for: all workers are told the same, and all of them take up a generation, or none.
 * Ownership: crew_new() to crew_free(), which joins the threads: they must have ended, or be about
 * to.
 * Threads: control. */
#pragma once
#include "app/sockets.h"
#include "proxy/worker.h"

struct crew {
    unsigned size, nstarted;
    struct worker *workers;
    struct worker_update **updates; /* by crew_make_updates(); NULL: none are made */
};

struct crew *crew_new(unsigned size);
/* The sockets listen. False: the error says why; workers that have started (nstarted) run, and have
 * to be stopped. */
bool crew_start(struct crew *c, struct snapshot *s, const struct sockets *sockets,
                struct mailbox *control, struct error *e);
/* Mail without an object. */
void crew_post(struct crew *c, enum worker_message kind);
/* Each message has a reference of its own. */
void crew_post_server(struct crew *c, enum worker_message kind, struct server *s);
void crew_post_owners(struct crew *c, struct pool_totals *totals);
/* Makes the mail about a new generation, with the sockets that are fresh. False: the error says
 * why, and nothing is made. */
bool crew_make_updates(struct crew *c, struct snapshot *s, const struct sockets *sockets,
                       struct error *e);
/* Posts it. */
void crew_update(struct crew *c);
/* Gives it up; does nothing if none is made. */
void crew_drop_updates(struct crew *c);
void crew_free(struct crew *c); /* NULL is fine */
