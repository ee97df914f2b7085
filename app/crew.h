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
    bool silent;                    /* the workers stand by */
    unsigned nsilenced;             /* that have answered crew_silence() */
};

struct crew *crew_new(unsigned size);
/* Before crew_start(): workers stand by until crew_listen(). */
void crew_stand_by(struct crew *c);
/* All sockets of the configuration listen: workers that stand by accept from them. s is the
 * snapshot that they were told of last. False: the error says why, and nothing has changed. */
bool crew_listen(struct crew *c, const struct snapshot *s, const struct sockets *sockets,
                 struct error *e);
/* Workers accept what is queued and stand by; each mails CONTROL_SILENT when it has. */
void crew_silence(struct crew *c);
/* To be called for each of these. True: it was the last. */
bool crew_silenced(struct crew *c);
/* The sockets listen, or the workers stand by. False: the error says why; workers that have started
 * (nstarted) run, and have to be stopped. */
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
