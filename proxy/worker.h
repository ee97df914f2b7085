/* A worker: one thread, one uv_loop, and everything of the traffic that is its own.
 *
 * What for: control starts workers, mails them, and waits for their end. The struct is in ground.h.
 * Invariants: what is reached from a worker is used by its thread alone, except what a snapshot
 * shares (pool/) and the two mailboxes.
 * Ownership: worker -> listeners, clients, upstreams, free lists; a reference to the snapshot of
 * each of its generations.
 * Threads: worker_init/start/join on the control thread, worker_post() from any, the rest its own.
 */
#pragma once
#include "base/error.h"
#include "proxy/ground.h"

/* What control says to a worker; objects come with a reference. */
enum worker_message {
    WORKER_SERVER_DOWN,    /* object: struct server; its waiting requests go on elsewhere */
    WORKER_SERVER_MOVED,   /* object: struct server; its kept connections go to another address */
    WORKER_OWNERS_CHANGED, /* object: struct pool_totals of a pool with close_moved: always */
    WORKER_GENERATION,     /* object: struct snapshot; new requests begin under it */
    WORKER_STOP,           /* accept what is queued, stop listening, finish what is open */
    WORKER_ABORT,          /* close everything now */
};

/* Sets the worker up and takes over fds[nlisteners] (bound, one a listener). False: the error says
 * why; fds are then still the caller's. */
bool worker_init(struct worker *w, unsigned index, struct snapshot *s, struct mailbox *control,
                 const int *fds, struct error *e);
/* Starts to listen and runs the thread. False: the error says why (worker_deinit() is then due). */
bool worker_start(struct worker *w, struct error *e);
/* The object comes with a reference that is the worker's, who calls release with it (or NULL). */
void worker_post(struct worker *w, enum worker_message kind, void *object,
                 message_release_fn *release);
/* Waits for the thread of a started worker. */
void worker_join(struct worker *w);
/* Frees what is left; after worker_join() or without worker_start(). */
void worker_deinit(struct worker *w);
