/* A transport without sockets: streams between the code under test and peers that a test plays.
 *
 * What for: sessions, upstreams and conn.c itself run unchanged while the test decides, byte by
 * byte, what comes, what is taken, what breaks and when: set `net.transport` to &memory_transport
 * right after net_init().
 * Invariants: nothing happens by itself. Callbacks come from memory_run() alone, never from what
 * the test does to a wire in between. What a wire does is what Linux and libuv do: bytes that came
 * before a reset are still read, after a FIN the end is read and not the reset, an error is told
 * once (to the write or to the read that comes first), a close loses what is queued and resets if
 * something is unread.
 * Ownership: a wire is the test's memory and outlives its conn. Threads: one. */
#pragma once
#include "net/transport.h"

extern const struct transport memory_transport;
/* The same without splice. */
extern const struct transport memory_transport_plain;

struct memory_wire;

/* What a peer sees. Called in the middle of conn.h's functions: look, do not touch. */
struct memory_ops {
    /* The code under test has read these bytes. */
    void (*on_taken)(struct memory_wire *w, const char *data, size_t n);
    /* It has read the end: in order, or (error) as a failure. */
    void (*on_taken_end)(struct memory_wire *w, bool error);
    /* It has handed over these bytes; they are sent, or queued behind a full window. */
    void (*on_given)(struct memory_wire *w, const char *data, size_t n);
    /* It has ended its side in order; all that it gave is out. */
    void (*on_fin)(struct memory_wire *w);
    /* It has closed. reset: the peer sees a reset; lost: bytes that were queued and go nowhere. */
    void (*on_closed)(struct memory_wire *w, bool reset, size_t lost);
};

enum memory_state { MEMORY_NEW, MEMORY_CONNECTING, MEMORY_OPEN, MEMORY_CLOSED };

#define MEMORY_ROOM_MAX SIZE_MAX /* a window that never fills */

struct memory_wire {
    const struct memory_ops *ops;
    enum memory_state state;
    struct conn *conn; /* until it has closed */
    struct list link;  /* of all that have a conn */
    int connected;     /* the outcome of connecting: 1: not yet */
    bool told;         /* ... was told */
    bool enrolled;     /* it waits for events, as a registered socket does */
    bool reading;
    struct buffer in; /* from the peer, not read yet */
    size_t piece;     /* at most so much in one read; 0: no limit */
    bool full;        /* each read counts as one that filled the buffer */
    bool fin, dead;   /* from the peer: its end, a reset */
    int error;        /* of the reset, not told yet; < 0 */
    int fail_write;   /* the next write fails with it; < 0 */
    size_t room;      /* what the peer's window still takes */
    size_t unsent;    /* what conn_unsent() tells: of the bytes in the window, those not taken */
    struct list outs; /* struct conn_output, behind a full window */
    bool stuck;       /* a queued write has failed: the rest is never tried */
    bool shut, shut_done, broken;
};

/* Asked for each connect: a wire set up by memory_wire_init() with `connected` set, or NULL and
 * *uv_error, which conn_connect() then returns. */
typedef struct memory_wire *memory_connect_fn(struct conn *c, const struct addr *to, int *uv_error);

void memory_init(memory_connect_fn *on_connect);
/* An accepted connection to come: the descriptor for conn_accept(). */
int memory_wire_accept(struct memory_wire *w);
void memory_wire_init(struct memory_wire *w, const struct memory_ops *ops);
/* Frees what it has. Its conn must have closed. */
void memory_wire_deinit(struct memory_wire *w);
/* NULL: connecting failed at once. */
struct memory_wire *memory_wire_of(const struct conn *c);
/* Bytes that were given and wait for the window. */
size_t memory_queued(const struct memory_wire *w);

/* The peer's acts. On a wire that is closed: nothing. */
void memory_send(struct memory_wire *w, const char *data, size_t n);
void memory_fin(struct memory_wire *w);
void memory_reset(struct memory_wire *w);
void memory_connected(struct memory_wire *w, int status); /* 0, or a uv error */

/* Lets all happen that can: connects, reads, writes, closes. */
void memory_run(void);
