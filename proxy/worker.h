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

/* What control mails to a worker. An object comes with a reference. */
enum worker_message {
    WORKER_SERVER_DOWN,    /* object: struct server; requests that wait for it go on elsewhere */
    WORKER_SERVER_MOVED,   /* object: struct server; idle connections to its old address close */
    WORKER_OWNERS_CHANGED, /* object: struct pool_totals of a pool with close_moved: always */
    WORKER_GENERATION,     /* object: struct snapshot; new requests begin under it */
    WORKER_STOP,           /* accept what is queued, stop to listen, finish what is open */
    WORKER_ABORT,          /* close everything now */
};

/* Sets the worker up to listen on fds[s->nlisteners], bound sockets, one for each listener; they
 * are duplicated, and stay the caller's. False: the error says why, and there is nothing to undo.
 */
bool worker_init(struct worker *w, unsigned index, struct snapshot *s, struct mailbox *control,
                 const int *fds, struct error *e);
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
