/* One loan after another: the server that serves this try, the connection to it, and which servers
 * were tried before.
 *
 * What for: what an HTTP exchange and a TCP stream have in common when they look for a server. What
 * becomes of a try that failed is for the borrower to say.
 * Invariants: `member` is lent exactly while it is not NULL; an upstream is there only with it. No
 * server is picked twice for one lease. The lease stays under the generation that it began with.
 * Ownership: embedded in its borrower; the upstream is the worker's. Threads: one worker. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/key.h"
#include "proxy/upstream.h"

#define LEASE_MAX_TRIED 15

struct client;

struct lease {
    struct upstream_user user; /* of the upstream; its ops are the borrower's */
    struct client *client;     /* for whom */
    struct worker_pool *wp;
    const struct pool_member *member; /* lent by the pool; NULL: none */
    struct upstream *upstream;        /* lent by the worker; NULL: none */
    uint64_t hash;                    /* of the key */
    uint16_t owner; /* close_moved: always: the owner of the key when it was asked last, limits
                       ignored */
    bool keyless;
    uint8_t ntried, retries_left;
    uint16_t tried[LEASE_MAX_TRIED];
};

/* Nothing is lent. The key is still to be set. The borrower holds the pool's generation. */
void lease_init(struct lease *l, struct client *c, struct worker_pool *wp,
                const struct upstream_user_ops *ops);
/* By the keys of the listener; counts the request there if none of them is present. */
void lease_set_key(struct lease *l, struct worker_listener *wl, const struct key_source *from);
/* Lends the server whose turn it is after those tried; there must be none. */
enum pool_outcome lease_next(struct lease *l);
/* Lends an idle connection to the server. False: there is none. sure: see upstream_take_idle(). */
bool lease_take_idle(struct lease *l, bool sure);
/* Begins to connect to the server; the outcome comes to the borrower's ops. < 0: a uv error, as of
 * upstream_connect(). */
int lease_connect(struct lease *l);
/* Gives back what is lent, if anything. keep: the connection may serve again. */
void lease_end(struct lease *l, bool keep);
/* The same, but the server stays lent: its connection was not to blame. */
void lease_end_connection(struct lease *l, bool keep);
/* All that is lent goes over to another borrower, with its history; `from` is then as if ended. */
void lease_hand_over(struct lease *to, struct lease *from, const struct upstream_user_ops *ops);
/* The server is to blame for this try: counts the failure, and tells control if it was one too
 * many. */
void lease_blame(struct lease *l);
/* Uses up a retry. False: none is left. */
bool lease_retry(struct lease *l);
/* With close_moved: always: the key has got another owner than the lent server since this was last
 * asked (a lease that limits or a retry have put elsewhere has not lost its key by that); without a
 * key: the server is out. */
bool lease_lost_key(struct lease *l);

static inline struct server *lease_server(const struct lease *l)
{
    return l->member->server;
}

static inline struct server_cell *lease_cell(const struct lease *l)
{
    return worker_cell(l->wp->worker, l->member->server);
}
