/* One loan after another, for one request or stream: the server that serves this try, the
 * connection to it, and which servers were tried before.
 *
 *   lease_init, lease_set_key -> lease_next -> lease_take_idle or lease_connect -> lease_end
 *                                   ^                                                  |
 *                                   '-------------- the borrower tries again ----------'
 *
 * What for: what an HTTP exchange and a TCP stream have in common when they need a server. What
 * follows from a failed try is the borrower's decision.
 * Invariants: a server is lent exactly while `member` is not NULL; there is an upstream only while
 * a server is lent. No server is picked twice for one lease. The lease stays under the generation
 * that it began with.
 * Ownership: embedded in its borrower; the upstream is the worker's.
 * Threads: one worker. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/key.h"
#include "proxy/upstream.h"

#define LEASE_MAX_TRIED 15

struct client;

struct lease {
    struct upstream_user user; /* what the upstream reports to; its ops are the borrower's */
    struct client *client;     /* whose request or stream it is */
    struct worker_pool *wp;
    const struct pool_member *member; /* lent by the pool; NULL: none */
    struct upstream *upstream;        /* lent by the worker; NULL: none */
    struct pool_agreed agreed; /* with `epoch_header`: of the fleet's agreement that gives the
                                  server that was picked last; epoch 0: none gives it */
    uint64_t hash;             /* of the key */
    uint16_t owner; /* with `close_moved: always`: who owned the key when that was last asked,
                       limits ignored; as an id in the pool of the lease's generation */
    bool keyless;   /* the request has no key, so `hash` is not set */
    bool identity;  /* the request has credentials that log a connection in: set by the borrower */
    uint8_t ntried, retries_left;
    uint16_t suspects; /* a bit for each of `tried`: its failure counts if another server answers */
    uint16_t tried[LEASE_MAX_TRIED];
};

/* Nothing is lent, and the key is not set yet. The borrower holds the pool's generation. wp: the
 * pool of the listener's first route. */
void lease_init(struct lease *l, struct client *c, struct worker_pool *wp,
                const struct upstream_user_ops *ops);
/* Goes to the pool of another route than the listener's first. Nothing may have been lent. */
void lease_set_route(struct lease *l, const struct config_route *route);
/* Counts a request that takes a route of a listener with a matcher. */
static inline void lease_count_route(struct worker_listener *wl, size_t route)
{
    cell_add(&wl->shared->route_stats[route]->cells[wl->worker->index].requests, 1);
}
/* Finds the key by the route's `key`. Without one the request is keyless, and the caller counts it,
 * unless it calls lease_give_key(). */
void lease_set_key(struct lease *l, struct worker_listener *wl, const struct config_route *route,
                   const struct key_source *from);
/* Gives a keyless request a key. */
void lease_give_key(struct lease *l, struct str key);
/* Lends the server that comes after those tried. None may be lent at the time. */
enum pool_outcome lease_next(struct lease *l);
/* While a server is lent: lends the next one beside it, for a retry of the pool's, which is used
 * up. It becomes the lent one by lease_move(), once the present one was given back by lease_end().
 * NULL: there is none, or no retry is left; nothing has changed then. */
const struct pool_member *lease_reserve(struct lease *l);
void lease_move(struct lease *l, const struct pool_member *reserved);
/* Lends an idle connection to the server, the client's own if one is tied to it. False: there is
 * none. sure: as of upstream_take_idle(). */
bool lease_take_idle(struct lease *l, bool sure);
/* Begins to connect to the server; the borrower's ops get the outcome. < 0: a uv error, as of
 * upstream_connect(). */
int lease_connect(struct lease *l);
/* Gives back the server and the connection, as far as they are lent. keep: as of
 * upstream_give_back(). */
void lease_end(struct lease *l, bool keep);
/* Gives back the connection alone. */
void lease_end_connection(struct lease *l, bool keep);
/* Moves the lease, its history included, to another borrower. `from` is then as after lease_end().
 */
void lease_hand_over(struct lease *to, struct lease *from, const struct upstream_user_ops *ops);
/* This try has failed. Counts an error of the lent server, and a failure of live traffic as far as
 * the server is to blame; tells control if `passive.failures` is reached. If the server is suspect
 * and no check of the pool looks at answers, then the failure counts only with lease_answered(). */
void lease_blame(struct lease *l, enum blame b);
/* For lease_answered() alone. */
void lease_blame_suspects(struct lease *l);
/* Uses up one of the pool's `retries`. False: none is left. */
bool lease_retry(struct lease *l);
/* The setting of the current generation's pool of the same name; of the lease's own, if there is
 * none.
 */
enum config_close_moved lease_close_moved(const struct lease *l);
/* Whether, with `close_moved: always`, the key has got a new owner since this was last asked, and
 * that is not the lent server; a server that is left out here has no keys. The current generation's
 * pool of the same name is asked; if there is none, nobody else has got the key. A lease that
 * limits or a retry have put on another server than the key's owner has not lost its key by that.
 * Without a key: whether the server is out. */
bool lease_lost_key(struct lease *l);

/* The server has asked for an identity, or taken one: the connection serves no other client. */
static inline void lease_tie(struct lease *l)
{
    l->upstream->identity = true;
}

static inline struct server *lease_server(const struct lease *l)
{
    return l->member->server;
}

/* The lent server has answered: its row of failures is over. So those that were suspect before in
 * this lease are to blame, and not the request. */
static inline void lease_answered(struct lease *l)
{
    server_succeeded(lease_server(l));
    if (l->suspects)
        lease_blame_suspects(l);
}

static inline struct server_cell *lease_cell(const struct lease *l)
{
    return worker_cell(l->wp->worker, l->member->server);
}
