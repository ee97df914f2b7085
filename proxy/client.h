/* One client connection of either mode: accepted, counted, and with its client's address.
 *
 *   client_accept ---> PROXY head, if the listener requires one ---> mode->begin ---> client_end
 *        |                  | malformed, too slow                                        ^
 *        '-- too many ------+------------------------------------------------------------'
 *
 * What for: what an HTTP session and a TCP stream have in common. Each of these structs begins with
 * a struct client, and each mode is a table of functions on it.
 * Invariants: it counts among the connections of its listener from client_accept() to client_end().
 * If a PROXY head is required, the mode begins while the conn delivers the bytes that end the head;
 * otherwise before any byte was read. The generation changes in client_renew() alone, between two
 * requests. A client ends (client_ends()) when its worker stops or stands by, its listener is gone
 * or has another mode: its next answer is its last. An idle one waits for that, as its request may
 * be on its way, up to its idle deadline or until its worker leaves (client_leaves()). Its deadline
 * is armed in a queue of its own generation's listener, or of the worker. Ownership: the worker's;
 * freed in the conn's last close callback. Threads: one worker. */
#pragma once
#include "net/conn.h"
#include "proxy/descriptors.h"
#include "proxy/ground.h"

struct client;
struct tunnel;

/* What can happen to a client, apart from its connection's callbacks. A tunnel installs its own
 * table while it is open. */
struct client_ops {
    /* The worker leaves: what is under way is finished, nothing new begins. */
    void (*stop)(struct client *c);
    /* Nothing is under way, and if a deadline is armed it is the listener's `idle` one: the client
     * may be renewed. NULL: it never may. */
    bool (*rests)(struct client *c);
    /* Closes at once. A second call does nothing. */
    void (*close)(struct client *c);
    /* The client was too slow to send a request, or its body. */
    void (*on_request_deadline)(struct client *c);
    /* Nothing has moved for too long: `idle`, or `tunnel` while a tunnel is open. */
    void (*on_idle_deadline)(struct client *c);
    /* Bytes that the kernel holds because a peer has not taken them yet. While peers take some of
     * them, the client is not idle. */
    size_t (*unsent)(const struct client *c);
};

struct client_mode {
    size_t size; /* of the struct that begins with a client */
    /* The descriptors that are taken for each client, and from which share (descriptors.h). */
    enum descriptors_use use;
    uint8_t descriptors;
    const struct conn_ops *conn_ops;
    const struct client_ops *ops;
    /* Fills in the rest of that struct, and does nothing else. */
    void (*init)(struct client *c);
    /* The client is admitted: the mode begins to read or to connect. If the conn delivers just now
     * (a PROXY head came first), it goes on to offer bytes, and is started already or will be by
     * client.c. */
    void (*begin)(struct client *c);
    /* The client is one too many. may_linger: descriptors are not what is short. */
    void (*refuse)(struct client *c, bool may_linger);
};

struct client {
    struct conn conn;
    const struct client_ops *ops;
    struct worker_listener *wl; /* in a generation to which the client holds a reference */
    struct tunnel *tunnel;      /* the open one; NULL: none */
    struct client_given *given; /* the client's addresses, if a PROXY head gave them or servers are
                                   told of them; NULL: the socket knows them */
    struct upstream *tied;      /* connections to servers that carry this client's identity and are
                                   idle, the last used first (upstream.h) */
    struct list all;            /* worker's clients */
    struct deadline deadline;   /* in a queue of the listener or the worker */
    uint32_t extended_ms; /* lower bits of the time to which the idle deadline was last extended */
    uint32_t unsent;      /* ops->unsent() at that time */
    uint8_t descriptors;  /* how many are counted for this client */
    bool trusted;         /* one of the listener's `trusted_proxies` */
    bool in_head;         /* the PROXY head is not complete, and the mode has not begun */
    bool has_begun;       /* a part of that head has come */
    uint8_t source_len;
    char source[40]; /* IP address as canonical text, 39 bytes at most; empty: a unix socket */
};

/* Takes over an accepted, non-blocking socket, and admits the client or refuses it. */
void client_accept(struct listener *l, int fd, const struct addr *peer);
/* Whether client_accept() would admit a client now. */
bool client_has_room(const struct worker_listener *wl);
/* For client_renew() alone. */
void client_take_up(struct client *c);
/* Between two requests: moves the client to the listener's current generation, unless the client
 * ends. If its deadline is armed, it is the `idle` one: that goes on, or begins anew if the
 * listener's timeouts have changed. */
static inline void client_renew(struct client *c)
{
    if (c->wl != c->wl->listener->now)
        client_take_up(c);
}
/* There is a new generation: the client takes it up if it rests and does not end. */
void client_catch_up(struct client *c);
/* Tells the client that its worker leaves. */
void client_stop(struct client *c);
/* The client asks for nothing more: the connections that are tied to it are closed. */
void client_untie(struct client *c);
/* For the mode, once: counts the client out and closes the connection, which frees it later. */
void client_end(struct client *c);
/* The client's address and the one it connected to, by its PROXY head, else by its socket. False:
 * they are not known. */
bool client_addresses(const struct client *c, struct addr *source, struct addr *destination);

/* The deadlines of the listener's queues, and of the worker's `linger` and `grace`, expire here. */
void client_on_request_deadline(struct deadline *d);
void client_on_idle_deadline(struct deadline *d);
void client_on_close_deadline(struct deadline *d);

static inline struct worker *client_worker(const struct client *c)
{
    return c->wl->worker;
}

/* The one question that tells a client whether its next answer is the last. */
static inline bool client_ends(const struct client *c)
{
    return c->wl->listener->takes != c->wl->mode;
}

/* Whether not even a request that may be on its way is waited for. */
static inline bool client_leaves(const struct client *c)
{
    return client_worker(c)->leaving || client_worker(c)->silent;
}

static inline struct str client_source(const struct client *c)
{
    return (struct str){c->source, c->source_len};
}
