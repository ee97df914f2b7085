/* What a conn stands on: the operations of a transport, and what a transport tells its conn.
 *
 *      session, upstream, probe ...           owner
 *          |   conn_write() ...    ^  on_read ...   (struct conn_ops)
 *          v                       |
 *      conn.c                                 policy: delivering, keeping, pausing, marks, bulk,
 *          |   write() ...         ^          limits, what is told after a close
 *          v                       |  conn_on_bytes() ...
 *      socket.c, a test's memory, TLS ...     transport: how bytes come and go
 *
 * What for: conn.c decides, a transport moves bytes. A transport is one constant table; conn.c
 * calls it, and it calls the conn_on_*() functions below.
 * Invariants: a transport calls conn_on_*() from its loop's callbacks, and from read_now(), never
 * from within another operation. After close() it calls conn_on_written() for all that it still
 * holds, then conn_on_closed(), nothing else. Bytes that write() or splice_to() counts have left
 * the process, or conn_holds() was told of them: the owner may close as soon as nothing waits.
 * Errors are libuv's, < 0.
 * Ownership: the room in struct conn is the transport's; a conn_output is the transport's from
 * queue() to conn_on_written().
 * Threads: the conn's loop.
 *
 * A layer such as TLS is a transport whose room points to a state of its own with a second conn in
 * it, made by conn_connect_over() or conn_accept_over() on the transport below. Its operations turn
 * plain bytes into bytes for that conn (conn_write(), conn_pause() ...), whose conn_ops turn what
 * comes into conn_on_bytes(). It calls conn_on_connected() after the handshake and has no splice.
 * If it still has bytes when read_start() is called, it tells them from the loop later.
 * tests/unit/test_transport.c has a small one. */
#pragma once
#include "net/conn.h"

/* Output that a transport did not take at once. */
struct conn_output {
    union { /* the transport's room */
        uv_write_t request;
        struct {
            struct list link;
            size_t done;
        } other;
    };
    uint32_t size; /* of all this */
    uint32_t len;  /* of data */
    char data[];
};

struct transport {
    /* Takes over an accepted descriptor. */
    void (*accept)(struct conn *c, int fd);
    /* conn_on_connected() follows, unless it returns < 0. Either way close() is called once. */
    int (*connect)(struct conn *c, const struct addr *to, struct conn_room *room);
    /* Begins to connect and tells nothing by itself until start() or queue(). close() is called
     * once, also if it returns < 0. NULL: there is no such way. */
    int (*open)(struct conn *c, const struct addr *to);
    /* From now on the loop tells of it; may have been done before. Not called for one that
     * connects before conn_on_connected(). */
    int (*start)(struct conn *c);
    /* Whether what comes is read and told. */
    int (*read_start)(struct conn *c);
    void (*read_stop)(struct conn *c);
    /* One read of what is there, told at once; before start() and after it. */
    void (*read_now)(struct conn *c);
    /* How many bytes were taken, or an error; UV_EAGAIN: none, also if output is queued. At most
     * CONN_BUFS_MAX buffers. */
    ssize_t (*write)(struct conn *c, const uv_buf_t *bufs, unsigned n);
    /* Keeps the output until it can be written; conn_on_written() follows, unless it returns < 0.
     * NULL: write() takes all or fails. */
    int (*queue)(struct conn *c, struct conn_output *out);
    /* As conn_splice_from() and conn_splice_to(). NULL, both: there is no such way. */
    ssize_t (*splice_from)(struct conn *c, int pipe, size_t most);
    ssize_t (*splice_to)(struct conn *c, int pipe, size_t most);
    /* As conn_shutdown(); an error that comes later is told by conn_on_error(). */
    int (*shutdown)(struct conn *c);
    bool (*alive)(struct conn *c);
    size_t (*unsent)(const struct conn *c);
    /* An error that has come and that was not told; 0: none. */
    int (*pending_error)(struct conn *c);
    /* As conn_addresses(). */
    bool (*addresses)(const struct conn *c, struct addr *peer, struct addr *local);
    void (*keep_alive)(struct conn *c);
    /* close() is to reset the connection. */
    void (*break_on_close)(struct conn *c);
    void (*close)(struct conn *c);
};

/* As conn_accept() and conn_connect(), on another transport than the net's. */
void conn_accept_over(struct conn *c, struct net *n, const struct transport *t,
                      const struct conn_ops *ops, int fd);
int conn_connect_over(struct conn *c, struct net *n, const struct transport *t,
                      const struct conn_ops *ops, const struct addr *to, struct conn_room *room);

/* ---- what a transport tells ---- */

void conn_on_connected(struct conn *c, int status);
/* Where the next bytes are to be read to; of length 0: nowhere, then conn_on_readable() is called
 * if there are any, or the end. */
uv_buf_t conn_read_room(struct conn *c);
/* Bytes were read into the room, or, if nothing is kept, into a block of the transport's that lasts
 * until this returns. full: the read filled all the room there was, so there is probably more. */
void conn_on_bytes(struct conn *c, char *data, size_t n, bool full);
/* Something can be read, but there was no room to read it to. */
void conn_on_readable(struct conn *c);
/* Nothing more will be read. 0: the peer has ended in order. */
void conn_on_end(struct conn *c, int uv_error);
void conn_on_written(struct conn *c, struct conn_output *out, int status);
/* From within write(): so many bytes of memory hold output that it counts as taken. */
void conn_holds(struct conn *c, size_t n);
/* ... and no longer do. */
void conn_on_released(struct conn *c, size_t n, int status);
void conn_on_error(struct conn *c, int uv_error);
void conn_on_closed(struct conn *c);
/* For a close() that has nothing to wait for: conn_on_closed() is called by the loop. The room's
 * `closed` is in use until then. */
void conn_closes_soon(struct conn *c);
