/* One connection to a backend: connecting, lent to an exchange, or idle.
 *
 * What for: the attempt's wire. It knows its server and whom it is lent to; what the bytes mean is
 * the exchange's business.
 * Invariants: in the server's `busy` list while it has an exchange, in `idle` while it has none and
 * is open; an idle one reads, so that a backend's close (or a byte that nobody asked for) is seen
 * at once and never meets a request if it can be helped. One that goes to where its server was
 * before its name got another address finishes what it carries and is not used again. Ownership:
 * the worker's; freed in the last close callback. Threads: one worker. */
#pragma once
#include "net/conn.h"
#include "proxy/worker.h"

enum upstream_state { UPSTREAM_CONNECTING, UPSTREAM_BUSY, UPSTREAM_IDLE, UPSTREAM_CLOSED };

struct upstream {
    struct conn conn;
    enum upstream_state state;
    struct worker_pool *wp;
    struct server *server;
    struct exchange *exchange; /* NULL: idle or closing */
    struct list link;          /* server's busy or idle */
    struct list all;           /* worker's upstreams */
    struct deadline deadline;  /* connect, later idle */
    uv_connect_t connect;
    uint32_t generation; /* of the server's address; an older one is drained */
    bool reused;         /* it has carried an exchange before this one */
    bool counted;        /* among the descriptors in use */
};

/* Begins to connect for x; the outcome comes as exchange_connected() or exchange_broken(), never
 * from within this call. NULL: no memory or no descriptor; *uv_error says what. */
struct upstream *upstream_connect(struct exchange *x, struct worker_pool *wp, struct server *server,
                                  int *uv_error);
/* An idle connection to the server, lent to x; NULL: there is none. `sure`: it must have been seen
 * alive just now (a request that can't be sent twice). */
struct upstream *upstream_take_idle(struct exchange *x, struct worker_pool *wp,
                                    struct server *server, bool sure);
/* The exchange is done with it. keep: the connection is clean (not a byte beyond the answer,
 * nothing left to send) and may serve again. */
void upstream_give_back(struct upstream *u, bool keep);
/* Closes whatever it is; the exchange, if any, forgets it itself. */
void upstream_close(struct upstream *u);
void upstream_on_idle_deadline(struct deadline *d);
void upstream_on_connect_deadline(struct deadline *d);
/* Closes all idle connections to a server. */
void upstream_close_idle(struct worker_server *ws);
