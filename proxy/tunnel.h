/* A tunnel: bytes both ways between a client and a server until both sides have ended. It carries
 * an Upgrade that was answered 101, or a TCP stream.
 *
 *   READY --- tunnel_start ---> OPEN --- on_end(why) ---> tunnel_end ---> READY
 *
 * What for: while the tunnel is open, it alone hears what happens to either connection, because it
 * has installed its own operations on both, and on the client. tunnel_end() puts the client's back.
 * Invariants: a FIN of one side is passed on as a FIN, and the other way goes on (half-close); a
 * reset is passed on as a reset. The listener's `tunnel` deadline runs while nothing moves. The
 * server stays lent all the time. The tunnel is in its pool's list (struct pool_line) exactly while
 * it is open, whatever its generation is. on_end comes once, as the last call of an event, so the
 * owner may free the tunnel in it. Ownership: a session or a stream owns it, and ends its lease.
 * Threads: one worker. */
#pragma once
#include "proxy/client.h"
#include "proxy/lease.h"
#include "proxy/relay.h"

struct tunnel;

enum tunnel_end {
    TUNNEL_GOES_ON,
    TUNNEL_DONE,    /* both ways have ended in order, and the kernel has all bytes */
    TUNNEL_CUT,     /* it broke or may not go on: both connections will be reset */
    TUNNEL_IDLE,    /* nothing has moved for too long */
    TUNNEL_REFUSED, /* not one byte has passed either way, and those that the client has sent are
                       still kept: another server may be tried */
};

struct tunnel_ops {
    void (*on_end)(struct tunnel *t, enum tunnel_end why);
    bool takes_refused; /* the owner handles TUNNEL_REFUSED; else that is TUNNEL_CUT */
};

struct tunnel {
    const struct tunnel_ops *ops;
    struct client *client;
    struct lease lease;
    struct list link; /* worker_pool.tunnels */
    struct relay to_server, to_client;
    uint8_t depth;       /* how many events are open, one within the other */
    uint8_t end;         /* enum tunnel_end: what the owner is told when the last one is over */
    bool sent, received; /* a byte to the server, a byte from it */
    bool fin_to_server, fin_to_client; /* that side was told of the other's end */
    bool server_gone; /* the server has ended in order and takes no more: what the client sends is
                         dropped; once the client has got all of the server's bytes, it is cut */
};

/* Not started. The owner sets up the lease. */
void tunnel_init(struct tunnel *t, const struct tunnel_ops *ops, struct client *client);
/* Takes both connections over, and passes on what the client has sent already. */
void tunnel_start(struct tunnel *t);
/* Puts the client's operations back and lets go of both connections; the lease stays. Does nothing
 * if the tunnel is not open. */
void tunnel_end(struct tunnel *t);
/* Ends an open tunnel at once, with TUNNEL_CUT. */
void tunnel_cut(struct tunnel *t);
/* The owners of the pool have changed: cuts the tunnels whose keys are now served elsewhere. */
void tunnel_recheck(struct pool_line *line);
/* The same for one open tunnel. */
void tunnel_recheck_one(struct tunnel *t);
/* Runs once a second while a pool has tunnels. Cuts those with a connection that was reset while
 * nobody read from it, and those with `server_gone` whose client has got all. */
void tunnel_on_probe_deadline(struct deadline *d);
