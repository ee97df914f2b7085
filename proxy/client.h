/* One client connection of either mode: accepted, counted, and where it comes from.
 *
 * What for: what an HTTP session and a TCP stream have in common. Each begins with a struct client,
 * and each mode is a table of what it does with one.
 * Invariants: it counts among the connections of its listener from client_accept() to client_end().
 * Where a PROXY head is required, the mode begins with what is behind it: within the delivery of
 * the bytes that end the head, or before any if there is none.
 * Ownership: the worker's; freed in the last close callback. Threads: one worker. */
#pragma once
#include "net/conn.h"
#include "proxy/descriptors.h"
#include "proxy/worker.h"

struct client;

struct client_mode {
    size_t size; /* of the struct that begins with a client */
    /* What is taken for each. */
    enum descriptors_use use;
    uint8_t descriptors;
    const struct conn_ops *conn_ops;
    /* The rest of that struct; nothing else happens yet. */
    void (*init)(struct client *c);
    /* It may come in: reads, connects, whatever is to be done. While the conn delivers (behind a
     * PROXY head) what is there is offered by itself, and it is started by whoever reads. */
    void (*begin)(struct client *c);
    /* It is one too many. may_linger: for want of something else than descriptors. */
    void (*refuse)(struct client *c, bool may_linger);
    /* The worker stops: no more than what is under way. */
    void (*stop)(struct client *c);
    /* At once; again: nothing. */
    void (*close)(struct client *c);
    void (*on_request_deadline)(struct client *c);
    void (*on_idle_deadline)(struct client *c);
};

struct client {
    struct conn conn;
    struct worker_listener *wl;
    struct list all;          /* worker's clients */
    struct deadline deadline; /* in one of the queues of the listener or the worker */
    struct tunnel *tunnel;    /* while there is one */
    uint64_t look_due_ms;     /* of the idle deadline, if it runs on from a look ... */
    size_t unsent;            /* ... which found so much unsent */
    uint8_t descriptors;      /* counted for it (descriptors.h) */
    bool in_head;             /* its PROXY head is still to come, the mode has not begun */
    bool has_begun;           /* a part of that head has come */
    uint8_t source_len;
    uint8_t send_head_len;    /* 0: its pool's servers get none */
    char *send_head;          /* the PROXY head that says whose its connections to servers are */
    char source[ADDR_IP_MAX]; /* its address, canonical text; empty: a unix socket's */
};

/* Takes over an accepted, non-blocking socket. */
void client_accept(struct worker_listener *wl, int fd, const struct addr *peer);
/* The worker stops. */
void client_stop(struct client *c);
/* For the mode: counts it out and closes the connection, which frees it later. Once. */
void client_end(struct client *c);

/* Queues of the listener and the worker expire here. */
void client_on_request_deadline(struct deadline *d);
void client_on_idle_deadline(struct deadline *d);
void client_on_close_deadline(struct deadline *d);

static inline struct str client_send_head(const struct client *c)
{
    return (struct str){c->send_head, c->send_head_len};
}

static inline struct str client_source(const struct client *c)
{
    return (struct str){c->source, c->source_len};
}
