/* A worker: one thread with one uv_loop, and its share of the traffic.
 *
 * What for: control starts workers, mails them, and waits for their end. The struct is in ground.h.
 * Invariants: what belongs to a worker is used by its thread alone, except what a snapshot shares
 * (pool/) and the two mailboxes.
 * Ownership: a worker owns its listeners, clients, upstreams and free lists, and holds a reference
 * to the snapshot of each of its generations.
 * Threads: worker_init(), worker_start(), worker_join() and worker_deinit() are control's;
 * worker_post() is for any thread; the rest runs on the worker's own. */
#pragma once
#include "base/error.h"
#include "proxy/ground.h"

struct worker_update;
struct worker_call;

/* What control mails to a worker. An object comes with a reference. */
enum worker_message {
    WORKER_SERVER_DOWN,    /* object: struct server; requests that wait for it go on elsewhere */
    WORKER_SERVER_MOVED,   /* object: struct server; idle connections to its old address close */
    WORKER_OWNERS_CHANGED, /* object: struct pool_totals of a pool with close_moved: always */
    WORKER_GENERATION,     /* object: struct worker_update; new requests begin under it */
    WORKER_ACTIVE,         /* object: struct worker_call; accepts from its sockets */
    WORKER_STANDBY, /* hear of nobody who connects, finish what is open as at WORKER_STOP, but
                       go on; a moment later accept what is queued, leave the sockets silent
                       and answer by CONTROL_SILENT */
    WORKER_CUT,     /* what is open since before WORKER_STANDBY closes now */
    WORKER_RETIRE,  /* accept what is queued, stop to listen, finish what is open; an idle
                       client may send one more request, whose answer is its last */
    WORKER_STOP,    /* the same, and close what is idle; may follow WORKER_RETIRE */
    WORKER_ABORT,   /* close everything now */
};

/* The object of WORKER_GENERATION, for one worker: a snapshot, and the sockets that are new to the
 * worker. fds[s->nlisteners]: sockets that listen, which are duplicated and stay the caller's; -1:
 * the worker has a socket of this number (snapshot_listener.socket) already. A worker goes on with
 * its listeners whose sockets the snapshot still names, begins to accept from those in fds, and
 * ends the others: it accepts what is queued, closes the socket, and their clients end as when the
 * worker stops. Makes a reference to the snapshot. fds NULL: the worker stands by. Returns NULL:
 * the error says why. */
struct worker_update *worker_update_new(struct snapshot *s, const int *fds, struct error *e);
/* Frees it with what the worker did not take over, as a message_release_fn (net/mailbox.h). */
void worker_update_release(void *update);

/* The object of WORKER_ACTIVE, for a worker that stands by: all sockets that it is to accept from.
 * Its current snapshot must be as of the last WORKER_GENERATION mailed. */
struct worker_call *worker_call_new(void);
/* One of them, which listens, for that listener of the snapshot: it is duplicated, and stays the
 * caller's. False: the error says why. */
bool worker_call_add(struct worker_call *c, size_t listener, int fd, struct error *e);
/* Frees it with what the worker did not take over, as a message_release_fn (net/mailbox.h). */
void worker_call_release(void *call);

/* Sets the worker up to accept from fds[s->nlisteners], sockets that listen, one for each listener;
 * they are duplicated, and stay the caller's. Of the sockets that share a port the first one that
 * bind_sockets() gave has to listen first (net/bind.h). fds NULL: it stands by. False: the error
 * says why, and there is nothing to undo. */
bool worker_init(struct worker *w, unsigned index, struct snapshot *s, struct mailbox *control,
                 const int *fds, struct error *e);
/* After worker_init() and before worker_start(): the worker accepts from one more socket for that
 * listener of its snapshot. It is duplicated, and stays the caller's. */
bool worker_accept_also(struct worker *w, size_t listener, int fd, struct error *e);
/* Runs the thread. False: the error says why; worker_deinit() is then due. */
bool worker_start(struct worker *w, struct error *e);
/* Mails a message. The reference to the object becomes the worker's, which calls release(object)
 * when it is done. NULL: there is no reference to give back. */
void worker_post(struct worker *w, enum worker_message kind, void *object,
                 message_release_fn *release);
/* Waits for the thread of a started worker. */
void worker_join(struct worker *w);
/* Frees what is left, after worker_join() or instead of worker_start(). */
void worker_deinit(struct worker *w);
