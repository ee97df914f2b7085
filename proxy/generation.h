/* A worker takes up generations of the configuration, one after another.
 *
 * What for: after generation_take_up() new requests of this thread begin under the new snapshot.
 * Invariants: a request stays under the generation that it began with. Kept connections to servers
 * that the new snapshot has are kept, with the time they have left; those to servers that it does
 * not have are closed. The listeners are the same in each snapshot, in the same order.
 * Ownership: a worker holds a reference to its current generation; struct generation is in
 * ground.h.
 * Threads: the worker's, or control's before the worker runs. */
#pragma once
#include "base/error.h"
#include "proxy/ground.h"

/* What WORKER_GENERATION brings. */
struct worker_update {
    struct snapshot *snapshot; /* a reference */
    int *fds; /* one for each of its listeners: a socket that listens; -1: the worker has it */
};

/* Once for a worker, before its first generation. */
void generation_init(struct worker *w);
/* The worker stops: its listeners end, and no client is behind. */
void generation_stop(struct worker *w);
/* One of the sockets of WORKER_ACTIVE. */
struct worker_socket {
    size_t listener; /* its number in the current snapshot */
    int fd;          /* -1: it was taken over */
};

/* The listeners accept from these sockets, too, which are taken over. */
bool generation_waken(struct worker *w, struct worker_socket *sockets, size_t n, struct error *e);
/* The listeners hear of nobody who connects from now on, and their clients end, as do those of
 * later generations until generation_waken(). */
void generation_deafen(struct worker *w);
/* They accept what is queued, and their sockets become silent. */
void generation_silence(struct worker *w);
/* Keeps a reference of its own to the snapshot, and takes the sockets over: they are -1 afterwards.
 * False: not all listeners could be started, and the error is that of the first; the generation is
 * taken up nevertheless. */
bool generation_take_up(struct worker *w, struct worker_update *u, struct error *e);
