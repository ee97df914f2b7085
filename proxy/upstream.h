/* One connection to a server: connecting, lent, or idle.
 *
 *   upstream_connect          connected             upstream_give_back(keep)
 *   ----------------> CONNECTING ----> BUSY ---------------------------------> IDLE or TIED
 *                         |              | ^                                    |
 *                         |              | '- upstream_take_idle, _take_tied ---'
 *                         '--------------+---------------> CLOSED <-------------'
 *
 * What for: it connects, sends a PROXY head if the pool has `proxy_protocol`, and is kept for the
 * next request when one is over. What the other bytes mean is its user's business.
 * Invariants: it has a user exactly while it is CONNECTING or BUSY; then it is in the list `busy`
 * of its server's cell. While it is IDLE it is in the list `idle` there. An idle connection is read
 * from, so that a server that closes it, or sends a byte that nobody asked for, is noticed at once,
 * in most cases before the connection is lent again. How many are kept: upstream_parts.h.
 * A connection does not serve again after the time at which its server is to close it, or if its
 * server has moved to another address or left the configuration: then it only finishes what it
 * carries. A connection that a server has logged in, or is about to, serves one client alone
 * (`identity`): it is TIED while it is idle, in the worker's list `tied` and the client's, and is
 * never IDLE. One that has carried a PROXY head, which names its client, may be TIED, but not IDLE.
 * Ownership: the worker's; freed in the conn's last close callback. It holds a reference to its
 * server.
 * Threads: one worker. */
#pragma once
#include "net/conn.h"
#include "proxy/ground.h"

/* The largest head of an answer, and so the most input that is kept. */
#define UPSTREAM_HEAD_MAX (64 * 1024)

enum upstream_state {
    UPSTREAM_CONNECTING,
    UPSTREAM_BUSY,
    UPSTREAM_IDLE,
    UPSTREAM_TIED,
    UPSTREAM_CLOSED,
};

/* How many connections a client may have tied to it. Keys may send its requests to several servers
 * by turns, each of which logs it in. */
#define UPSTREAM_TIES_MAX 4

struct upstream_user;

/* What a connection reports to its user. The user may give it back within any of these calls. */
struct upstream_user_ops {
    void (*on_connected)(struct upstream_user *user);
    /* It could not be made, or it broke. */
    void (*on_broken)(struct upstream_user *user, int uv_error);
    /* As of struct conn_ops. */
    size_t (*on_bytes)(struct upstream_user *user, char *data, size_t len);
    void (*on_eof)(struct upstream_user *user);
    void (*on_drain)(struct upstream_user *user);
    void (*on_readable)(struct upstream_user *user);
    /* Its server was marked down. */
    void (*on_server_down)(struct upstream_user *user);
};

struct upstream_user {
    const struct upstream_user_ops *ops;
};

struct upstream {
    struct conn conn;
    struct conn_room room;
    enum upstream_state state;
    struct worker *worker;
    struct server *server;
    struct server_cell *cell;   /* the worker's part of the server */
    struct upstream_user *user; /* NULL: idle or closing */
    struct list link;           /* in the server's cell: busy or idle; or worker's tied */
    struct upstream *next_tied; /* TIED: the client's next one, used longer ago */
    struct upstream **tied_at;  /* TIED: the pointer to this one, the client's or in another one */
    struct list all;            /* worker's upstreams */
    struct deadline deadline;   /* for connecting, later for being idle */
    uint64_t expires_ms; /* on the loop's clock: idle from then on, it is not lent; UINT64_MAX: the
                            answer said nothing about it */
    uint32_t generation; /* server_generation() of the address it connected to */
    bool reused;         /* this is not its first loan */
    bool identity;       /* set by its user: it serves no other client */
    bool counted;        /* it counts among the descriptors in use */
    uint8_t head_len;    /* of the PROXY head; 0: none is sent */
    char head[];         /* PROXY_HEAD_WRITE_MAX bytes if its pool has send_head */
};

/* The client for which a connection is made, as the PROXY head names it. */
struct upstream_origin {
    struct addr source, destination;
};

/* Once for a worker: it has no idle connections. */
void upstream_idle_init(struct worker *w);
/* Begins to connect to a server of the pool. The outcome comes as on_connected or on_broken, never
 * within this call. origin: for the PROXY head, if the pool sends one; NULL: that says the
 * connection is the proxy's own. Returns NULL with *uv_error if there is no memory, no descriptor,
 * no address of the server yet, or no way to it. */
struct upstream *upstream_connect(struct worker_pool *wp, struct server *server,
                                  const struct upstream_origin *origin, struct upstream_user *user,
                                  int *uv_error);
/* Lends an idle connection to the server. NULL: there is none. sure: only one that the kernel says
 * is open right now, for a request that can't be sent twice. */
struct upstream *upstream_take_idle(struct worker_pool *wp, struct server *server, bool sure,
                                    struct upstream_user *user);
/* Lends the connection to the server that is tied to a client. NULL: none is. tied: the client's
 * first one. sure: as above. */
struct upstream *upstream_take_tied(const struct worker_pool *wp, struct upstream **tied,
                                    const struct server *server, bool sure,
                                    struct upstream_user *user);
/* Another user takes the connection over in the state that it is in. */
void upstream_hand_over(struct upstream *u, struct upstream_user *user);
/* The user is done with the connection. keep: it is clean (no byte came behind the answer, none is
 * left to send), so it is kept if it may be; else it is closed. tied: the first of the client's,
 * which it becomes if it has an identity. */
void upstream_give_back(struct upstream *u, bool keep, struct upstream **tied);
/* By the answer that has come, the server keeps the connection only until idle_ms after from_ms (of
 * the loop's clock). Stands until it is lent again. */
static inline void upstream_expires(struct upstream *u, uint64_t from_ms, uint32_t idle_ms)
{
    u->expires_ms = from_ms + idle_ms;
}
/* Closes all idle connections to a server that are tied to no client, and takes its cell out of the
 * worker's list. */
void upstream_close_idle(struct server_cell *cell);
/* Closes n idle connections, those that are needed least. Their sockets are closed at once, and
 * their descriptors, still counted by descriptors_take(), are the caller's. False: there are not so
 * many; none is closed. */
bool upstream_give_way(struct worker *w, unsigned n);
/* The same, but where there are no idle ones left it takes tied ones, the longest unused first. */
bool upstream_make_way(struct worker *w, unsigned n);
/* Closes all connections that are tied to a client, the first of which is *tied. */
void upstream_close_ties(struct upstream **tied);
/* Closes the tied connections of all clients to this server; NULL: to any server. */
void upstream_close_tied(struct worker *w, const struct server *server);
/* Closes those that are tied to a client, the first of which is *tied, and go to servers that are
 * gone. */
void upstream_close_gone(struct upstream **tied);
/* Tells the users of all lent connections to a server that it was marked down. */
void upstream_server_down(struct server_cell *cell);

/* The deadlines of a pool's `idle` and `connect` queues expire here. */
void upstream_on_idle_deadline(struct deadline *d);
void upstream_on_connect_deadline(struct deadline *d);
