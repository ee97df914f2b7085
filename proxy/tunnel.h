/* A tunnel: bytes both ways between a client and a server until both ends have ended. Of an Upgrade
 * that was answered 101, or of a TCP stream.
 *
 * Invariants: a FIN of one side is passed on to the other by itself (half-close is kept), a reset
 * as a reset; the listener's idle deadline runs while nothing moves; the server stays lent (active)
 * all the time. In the pool's list of tunnels from tunnel_start() to tunnel_end().
 * Ownership: embedded in its exchange or stream. Threads: one worker. */
#pragma once
#include "proxy/client.h"
#include "proxy/lease.h"
#include "proxy/relay.h"

struct tunnel;

struct tunnel_ops {
    /* Both ways have ended in order and all is out. */
    void (*on_done)(struct tunnel *t);
    /* It is cut: what is closed now, either end of it, is reset. */
    void (*on_cut)(struct tunnel *t);
    /* The server took not one byte of the first ones, and nothing came from it; the client has them
     * still. NULL: the tunnel is cut then. */
    void (*on_refused)(struct tunnel *t);
};

struct tunnel {
    const struct tunnel_ops *ops;
    struct client *client;
    struct lease *lease;
    struct list link; /* worker_pool.tunnels */
    struct relay to_server, to_client;
    bool sent, received; /* a byte to the server, from it */
    bool fin_to_server, fin_to_client;
    bool server_gone; /* it has ended in order, and takes no more: what the client says is dropped
                          until it has heard all, then it is cut */
};

/* Not started: tunnel_end() does nothing. */
void tunnel_init(struct tunnel *t, const struct tunnel_ops *ops, struct client *client,
                 struct lease *lease);
/* The client's and the server's bytes belong to it from now on; takes what the client has sent. */
void tunnel_start(struct tunnel *t);
void tunnel_end(struct tunnel *t);
/* Ends it at once, as it can't go on or may not. */
void tunnel_cut(struct tunnel *t);
/* Its server's connection broke. */
void tunnel_server_broken(struct tunnel *t, int uv_error);
/* The owners of the pool have changed: cuts the tunnels whose keys are now served elsewhere. */
void tunnel_recheck(struct worker_pool *wp);
/* Of a pool: cuts the tunnels that were reset where nobody reads, or whose server takes no more and
 * was heard to the end. */
void tunnel_on_look_deadline(struct deadline *d);
/* Bytes that the kernel holds for either end. */
size_t tunnel_unsent(const struct tunnel *t);

/* What the two conns tell their owner, who passes it on. */
size_t tunnel_from_client(struct tunnel *t, char *data, size_t len);
size_t tunnel_from_server(struct tunnel *t, char *data, size_t len);
void tunnel_client_eof(struct tunnel *t);
void tunnel_server_eof(struct tunnel *t);
void tunnel_client_drained(struct tunnel *t);
void tunnel_server_drained(struct tunnel *t);
void tunnel_client_readable(struct tunnel *t);
void tunnel_server_readable(struct tunnel *t);

/* Not a byte has passed. */
static inline bool tunnel_untouched(const struct tunnel *t)
{
    return !t->sent && !t->received;
}
