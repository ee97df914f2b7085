/* A listening socket that accepts connections: of the proxy, of httpd/, of test backends.
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
    /* A connection; fd is non-blocking and closed on exec. The call may stop the acceptor. */
    void (*on_accept)(struct acceptor *a, int fd, const struct addr *peer);
    /* accept() failed for a reason that may last, such as a lack of descriptors. The call may stop
     * the acceptor. */
    void (*on_error)(struct acceptor *a, int uv_error);
    /* Whether the owner would refuse a connection now. Then it waits for one turn of the loop, in
     * which others may leave, and is accepted in any case after that. NULL: never. */
    bool (*is_full)(struct acceptor *a);
};

struct acceptor {
    uv_poll_t poll;
    const struct acceptor_ops *ops;
    void (*on_stopped)(struct acceptor *a);
    struct deadline_queue backoffs; /* holds `backoff` alone */
    struct deadline backoff;        /* armed after an error, until accept() is tried again */
    int fd;                         /* -1: stopped */
    bool has_waited;                /* since the owner was full, a turn of the loop has passed */
};

/* Takes over fd, a socket of any family that listens. To share a socket between loops, the caller
 * duplicates it. < 0: a uv error; fd is closed, and there is nothing to stop. */
int acceptor_start(struct acceptor *a, struct net *n, const struct acceptor_ops *ops, int fd);
/* To be called once after a successful start. Closing the socket resets the connections that the
 * kernel has queued, so up to `most` of them are accepted first. on_stopped may be NULL. */
void acceptor_stop(struct acceptor *a, unsigned most, void (*on_stopped)(struct acceptor *a));

/* The socket does not hear who connects from now on (bind_deafen()). */
void acceptor_deafen(struct acceptor *a);
/* As acceptor_stop(), and the socket, of which others have duplicates, refuses whoever connects
 * from then on (bind_silence()). */
void acceptor_silence(struct acceptor *a, unsigned most, void (*on_stopped)(struct acceptor *a));

/* Takes over fd, a socket that is bound or listens, and starts; *bound is its address. False: the
 * text says why, fd is closed, there is nothing to stop. */
bool acceptor_listen_on(struct acceptor *a, struct net *n, const struct acceptor_ops *ops, int fd,
                        struct addr *bound, struct error *e);
/* Listens on one TCP address and starts. Port 0 takes a free one; *bound is the address it really
 * has. False: the text is "listen ADDR: why", there is nothing to stop. */
bool acceptor_listen(struct acceptor *a, struct net *n, const struct acceptor_ops *ops,
                     const struct addr *at, struct addr *bound, struct error *e);
