/* One loan after another: the server that serves this try, the connection to it, and who was tried
 * before.
 *
 * What for: what an HTTP exchange and a TCP stream have in common when they look for a server. What
 * becomes of a try that failed is for the borrower to say.
 * Invariants: `server` is lent exactly while it is not NULL; an upstream is there only with it. No
 * server is picked twice for one lease.
 * Ownership: embedded in its borrower; the upstream is the worker's. Threads: one worker. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/key.h"
#include "proxy/worker.h"

#define LEASE_MAX_TRIED 15

struct lease;

/* What the lent connection tells its borrower, who may end the lease in any of them. */
struct lease_ops {
    void (*on_connected)(struct lease *l);
    /* The connection could not be made, or it broke: a uv error. */
    void (*on_broken)(struct lease *l, int uv_error);
    /* As of struct conn_ops. */
    size_t (*on_bytes)(struct lease *l, char *data, size_t len);
    void (*on_eof)(struct lease *l);
    void (*on_drain)(struct lease *l);
    void (*on_readable)(struct lease *l);
    /* Its server was marked down. */
    void (*on_server_down)(struct lease *l);
};

struct lease {
    const struct lease_ops *ops;
    struct worker_pool *wp;
    struct server *server;            /* lent by the pool */
    const struct pool_member *member; /* the lent server's */
    struct upstream *upstream;        /* lent by the worker */
    uint64_t hash;                    /* of the key */
    uint16_t owner;                   /* close_moved: always: whose the key was, limits ignored */
    bool keyless;
    uint8_t ntried, retries_left;
    uint16_t tried[LEASE_MAX_TRIED];
};

/* Nothing is lent. The key is still to be set. */
void lease_init(struct lease *l, struct worker_pool *wp, const struct lease_ops *ops);
/* By the keys of the listener; counts it there if none is present. */
void lease_set_key(struct lease *l, struct worker_listener *wl, const struct key_source *from);
/* Lends the server whose turn it is after those tried; there must be none. */
enum pool_outcome lease_next(struct lease *l);
/* Gives back what is lent, if anything. keep: the connection may serve again. */
void lease_end(struct lease *l, bool keep);
/* The same, but the server stays lent: its connection was not to blame. */
void lease_end_connection(struct lease *l, bool keep);
/* This try failed by its server's fault: counts it, and tells control if it was one too many. */
void lease_failed(struct lease *l);
/* Uses up a retry. False: none is left. */
bool lease_retry(struct lease *l);
/* With close_moved: always: the key went to another server than the lent one since the last look (a
 * lease that limits or a retry have put elsewhere has not moved); without a key: the server is out.
 */
bool lease_moved(struct lease *l);

static inline struct server_cell *lease_cell(const struct lease *l)
{
    return server_cell(l->server, l->wp->worker->index);
}
