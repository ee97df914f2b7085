/* One client connection of either mode: accepted, counted, and where it comes from.
 *
 * What for: what an HTTP session and a TCP stream have in common. Each begins with a struct client,
 * and each mode is a table of functions on one.
 * Invariants: it counts among the connections of its listener from client_accept() to client_end().
 * Where a PROXY head is required, the mode begins with what is behind it: within the delivery of
 * the bytes that end the head, or before any if there is none. Its generation changes only in
 * client_renew(), between two requests.
 * Ownership: the worker's; freed in the last close callback. Threads: one worker. */
#pragma once
#include "net/conn.h"
#include "proxy/descriptors.h"
#include "proxy/ground.h"

struct client;
struct tunnel;

/* What can happen to a client from outside its connection. A tunnel installs its own while it
 * lasts. */
struct client_ops {
    /* The worker stops: no more than what is under way. */
    void (*stop)(struct client *c);
    /* At once; again: nothing. */
    void (*close)(struct client *c);
    void (*on_request_deadline)(struct client *c);
    void (*on_idle_deadline)(struct client *c);
    /* Bytes that the kernel holds for whoever is to take them before it counts as idle. */
    size_t (*unsent)(const struct client *c);
};

struct client_mode {
    size_t size; /* of the struct that begins with a client */
    /* What is taken for each. */
    enum descriptors_use use;
    uint8_t descriptors;
    const struct conn_ops *conn_ops;
    const struct client_ops *ops;
    /* The rest of that struct; nothing else happens yet. */
    void (*init)(struct client *c);
    /* It may come in: reads, connects, whatever is to be done. While the conn delivers (behind a
     * PROXY head) what is there is offered by itself, and it is started by whoever reads. */
    void (*begin)(struct client *c);
    /* It is one too many. may_linger: for want of something else than descriptors. */
    void (*refuse)(struct client *c, bool may_linger);
};

struct client {
    struct conn conn;
    const struct client_ops *ops;
    struct worker_listener *wl; /* of its generation, to which it holds a reference */
    struct tunnel *tunnel;      /* while there is one */
    struct client_given *given; /* the addresses that a PROXY head gave; NULL: the socket's hold */
    struct list all;            /* worker's clients */
    struct deadline deadline;   /* in one of the queues of the listener or the worker */
    uint32_t
        extended_ms;     /* when the idle deadline is due that was extended last (its lower bits) */
    uint32_t unsent;     /* bytes that were unsent then */
    uint8_t descriptors; /* counted for it (descriptors.h) */
    bool in_head;        /* its PROXY head is still to come, the mode has not begun */
    bool has_begun;      /* a part of that head has come */
    uint8_t source_len;
    char source[40]; /* its address, canonical text (39 bytes at most); empty: a unix socket's */
};

/* Takes over an accepted, non-blocking socket. */
void client_accept(struct listener *l, int fd, const struct addr *peer);
/* Between two requests: from now on it is under the listener's current generation. No deadline of
 * it may be armed. */
void client_renew(struct client *c);
/* The worker stops. */
void client_stop(struct client *c);
/* For the mode: counts it out and closes the connection, which frees it later. Once. */
void client_end(struct client *c);
/* Where it comes from and where it was accepted, as its PROXY head or else its socket says. False:
 * neither can be told. */
bool client_addresses(const struct client *c, struct addr *source, struct addr *destination);

/* Queues of the listener and the worker expire here. */
void client_on_request_deadline(struct deadline *d);
void client_on_idle_deadline(struct deadline *d);
void client_on_close_deadline(struct deadline *d);

static inline struct worker *client_worker(const struct client *c)
{
    return c->wl->worker;
}

static inline struct str client_source(const struct client *c)
{
    return (struct str){c->source, c->source_len};
}
