/* One connection to a server: connecting, lent, or idle.
 *
 * What for: it connects, says by a PROXY head for whom if the pool wants that, and waits for the
 * next request when one is over. What the other bytes mean is its user's business.
 *
 *   upstream_connect          connected             upstream_give_back(keep)
 *   ----------------> CONNECTING ----> BUSY ---------------------------------> IDLE
 *                         |              | ^                                    |
 *                         |              | '------- upstream_take_idle ---------'
 *                         '--------------+---------------> CLOSED <-------------'
 *
 * Invariants: it has a user exactly while it is CONNECTING or BUSY, and is then in `busy` of its
 * server's cell; in `idle` while it is IDLE. An idle one is read from, so that a server's close, or
 * a byte that nobody asked for, is seen at once and meets no request if that can be helped. A
 * connection is not used again if it has carried a PROXY head, which says whose it is, or if its
 * server has got another address or left the configuration since: then it finishes what it carries.
 * Ownership: the worker's; freed in the last close callback. It holds a reference to its server.
 * Threads: one worker. */
#pragma once
#include "net/conn.h"
#include "proxy/ground.h"

/* The largest head of an answer: so much input is kept at most. */
#define UPSTREAM_HEAD_MAX (64 * 1024)

enum upstream_state { UPSTREAM_CONNECTING, UPSTREAM_BUSY, UPSTREAM_IDLE, UPSTREAM_CLOSED };

struct upstream_user;

/* What a connection tells its user, who may give it back in any of them. */
struct upstream_user_ops {
    void (*on_connected)(struct upstream_user *user);
    /* It could not be made, or it broke: a uv error. */
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
    struct upstream_user *user; /* NULL: idle or closing */
    struct list link;           /* in the server's cell: busy or idle */
    struct list all;            /* worker's upstreams */
    struct deadline deadline;   /* connect, later idle */
    uint32_t generation;        /* of the server's address; an older one is not used again */
    bool reused;                /* it was lent before */
    bool counted;               /* among the descriptors in use */
    uint8_t head_len;           /* of the PROXY head; 0: it carries none */
    char head[];                /* PROXY_HEAD_WRITE_MAX bytes if its pool has send_head */
};

/* For whom a connection is made, as the PROXY head tells it. */
struct upstream_origin {
    struct addr source, destination;
};

/* Begins to connect to a server of the pool; the outcome comes as on_connected or on_broken, never
 * from within this call. origin is read at once, and only if the pool sends a PROXY head. NULL:
 * *uv_error says why (no memory, no descriptor, no way). */
struct upstream *upstream_connect(struct worker_pool *wp, struct server *server,
                                  const struct upstream_origin *origin, struct upstream_user *user,
                                  int *uv_error);
/* Lends an idle connection to the server. NULL: there is none. `sure`: it must have been seen alive
 * just now (for a request that can't be sent twice). */
struct upstream *upstream_take_idle(struct worker_pool *wp, struct server *server, bool sure,
                                    struct upstream_user *user);
/* Another user takes it over as it is. */
void upstream_hand_over(struct upstream *u, struct upstream_user *user);
/* The user is done with it. keep: the connection is clean (not a byte beyond the answer, nothing
 * left to send) and may serve again; else it is closed. */
void upstream_give_back(struct upstream *u, bool keep);
/* Closes all idle connections to a server. */
void upstream_close_idle(struct server_cell *cell);
/* Tells the users of all connections to a server that it was marked down. */
void upstream_server_down(struct server_cell *cell);

void upstream_on_idle_deadline(struct deadline *d);
void upstream_on_connect_deadline(struct deadline *d);
