/* Accepting connections: the work that all listening sockets of a loop have in common.
 *
 * What for: connections are taken in batches, so that other handles of the loop get their turn.
 * When accept() fails for lack of descriptors or memory, connections wait in the kernel's queue and
 * accept() is tried again after ACCEPTOR_BACKOFF_MS.
 * Invariants: on_accept gets each connection once. After acceptor_stop() returned, no callback but
 * on_stopped comes.
 * Ownership: embedded in its owner, whose memory must stand until on_stopped. The acceptor owns the
 * listening socket; on_accept gets the connection's descriptor for its own.
 * Threads: one loop. */
#pragma once
#include <stdbool.h>
#include <uv.h>

#include "base/addr.h"
#include "base/error.h"
#include "net/conn.h"
#include "net/deadline.h"

#define ACCEPTOR_BATCH 64 /* connections taken before others get their turn */
#define ACCEPTOR_BACKOFF_MS 100

struct acceptor;

struct acceptor_ops {
    /* A connection, its descriptor non-blocking and closed on exec. May call acceptor_stop(). */
    void (*on_accept)(struct acceptor *a, int fd, const struct addr *peer);
    /* accept() failed, uv_error < 0, for a reason that will last: worth a line in the log. */
    void (*on_error)(struct acceptor *a, int uv_error);
};

struct acceptor {
    uv_poll_t poll;
    const struct acceptor_ops *ops;
    void (*on_stopped)(struct acceptor *a);
    struct deadline_queue backoffs; /* of this one alone */
    struct deadline backoff;
    int fd; /* -1: stopped */
};

/* fd: bound and listening, of any family; it is closed if this fails. A socket that is shared
 * between loops is duplicated by the caller. < 0: a uv error, there is nothing to stop. */
int acceptor_start(struct acceptor *a, struct net *n, const struct acceptor_ops *ops, int fd);
/* Once after a successful start. Takes up to `most` connections that the kernel has queued, as
 * closing the socket resets them, then closes. on_stopped may be NULL. */
void acceptor_stop(struct acceptor *a, unsigned most, void (*on_stopped)(struct acceptor *a));

/* Listens on one TCP address and starts. Port 0 takes a free one; *bound is the address it really
 * has. False: the text is "listen ADDR: why", there is nothing to stop. */
bool acceptor_listen(struct acceptor *a, struct net *n, const struct acceptor_ops *ops,
                     const struct addr *at, struct addr *bound, struct error *e);
