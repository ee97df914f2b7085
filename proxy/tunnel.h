/* A tunnel: bytes both ways between a client and a server until both ends have ended. Of an Upgrade
 * that was answered 101, or of a TCP stream.
 *
 *   READY --- tunnel_start ---> OPEN --- on_end(why) ---> tunnel_end ---> READY
 *
 * What for: while it is open, what happens to either connection comes to the tunnel alone: it has
 * installed its own operations on both, and on the client. tunnel_end() puts the client's back.
 * Invariants: a FIN of one side is passed on to the other by itself (half-close is kept), a reset
 * as a reset; the listener's idle deadline runs while nothing moves; the server stays lent (active)
 * all the time. It is in the pool's list of tunnels exactly while it is open. on_end comes once, as
 * the last thing of an event, so the owner may free the tunnel in it.
 * Ownership: its owner's, a session or a stream, who also ends the lease. Threads: one worker. */
#pragma once
#include "proxy/client.h"
#include "proxy/lease.h"
#include "proxy/relay.h"

struct tunnel;

enum tunnel_end {
    TUNNEL_GOES_ON,
    TUNNEL_DONE,    /* both ways have ended in order and all is out */
    TUNNEL_CUT,     /* it broke or may not go on: whichever end is closed now is reset */
    TUNNEL_IDLE,    /* nothing has moved for too long */
    TUNNEL_REFUSED, /* the server took not one byte, none came from it, and the client has sent none
                       that it does not have still: another server may be tried */
};

struct tunnel_ops {
    void (*on_end)(struct tunnel *t, enum tunnel_end why);
    bool takes_refused; /* else a tunnel that is refused counts as broken */
};

struct tunnel {
    const struct tunnel_ops *ops;
    struct client *client;
    struct lease lease;
    struct list link; /* worker_pool.tunnels */
    struct relay to_server, to_client;
    uint8_t depth;       /* of events that are being handled, one within the other */
    uint8_t end;         /* enum tunnel_end: what the owner is told when they are over */
    bool sent, received; /* a byte to the server, from it */
    bool fin_to_server, fin_to_client;
    bool server_gone; /* it has ended in order, and takes no more: what the client says is dropped
                         until it has heard all, then it is cut */
};

/* Not started; its lease is the owner's to set up. */
void tunnel_init(struct tunnel *t, const struct tunnel_ops *ops, struct client *client);
/* The client's and the server's bytes belong to it from now on; takes what the client has sent. */
void tunnel_start(struct tunnel *t);
/* Gives the client back to its owner's operations; of one that is not open: nothing. The lease
 * stays. */
void tunnel_end(struct tunnel *t);
/* Ends an open one at once, as it can't go on or may not. */
void tunnel_cut(struct tunnel *t);
/* The owners of the pool have changed: cuts the tunnels whose keys are now served elsewhere. */
void tunnel_recheck(struct worker_pool *wp);
/* Once a second while a pool has tunnels: cuts those that were reset where nobody reads, or whose
 * server takes no more and was heard to the end. */
void tunnel_on_probe_deadline(struct deadline *d);
