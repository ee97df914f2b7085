/* One connection to a backend: connecting, lent, or idle.
 *
 * What for: the wire of a lease. It knows its server and whom it is lent to; what the bytes mean is
 * the borrower's business.
 * Invariants: in the server's `busy` list while it has a lease, in `idle` while it has none and is
 * open; an idle one reads, so that a backend's close (or a byte that nobody asked for) is seen
 * at once and never meets a request if it can be helped. One that goes to where its server was
 * before its name got another address finishes what it carries and is not used again. Ownership:
 * the worker's; freed in the last close callback. Threads: one worker. */
#pragma once
#include "net/conn.h"
#include "proxy/lease.h"

/* The largest head of an answer: so much input is kept at most. */
#define UPSTREAM_HEAD_MAX (64 * 1024)

enum upstream_state { UPSTREAM_CONNECTING, UPSTREAM_BUSY, UPSTREAM_IDLE, UPSTREAM_CLOSED };

struct upstream {
    struct conn conn;
    enum upstream_state state;
    struct worker_pool *wp;
    struct server *server;    /* a reference */
    struct lease *lease;      /* NULL: idle or closing */
    struct list link;         /* server's busy or idle */
    struct list all;          /* worker's upstreams */
    struct deadline deadline; /* connect, later idle */
    uint32_t generation;      /* of the server's address; an older one is drained */
    bool reused;              /* it was lent before */
    bool counted;             /* among the descriptors in use */
};

/* Begins to connect to the lease's server; the outcome comes as on_connected or on_broken, never
 * from within this call. 0: l->upstream is set. < 0: a uv error (no memory, no descriptor, no way).
 */
int upstream_connect(struct lease *l);
/* Lends an idle connection to the lease's server: l->upstream is set. False: there is none. `sure`:
 * it must have been seen alive just now (a request that can't be sent twice). */
bool upstream_take_idle(struct lease *l, bool sure);
/* The borrower is done with it; for lease.c. keep: the connection is clean (not a byte beyond the
 * answer, nothing left to send) and may serve again. */
void upstream_give_back(struct upstream *u, bool keep);
/* Closes whatever it is; the borrower, if any, forgets it itself. */
void upstream_close(struct upstream *u);
void upstream_on_idle_deadline(struct deadline *d);
void upstream_on_connect_deadline(struct deadline *d);
/* Closes all idle connections to a server. */
void upstream_close_idle(struct server_cell *cell);
