/* One stream of a loop: reading under named pause reasons, writing that tries first, closing in one
 * place.
 *
 * What for: all streams behave alike, whatever carries their bytes. conn.c decides when to read,
 * keep, queue and tell; a transport below it (transport.h) moves the bytes: a socket, memory in
 * tests.
 * Invariants: a conn reads while its mask of pause reasons is empty; reading is stopped lazily,
 * when bytes beyond the mark really come. Bytes the owner did not take are kept, in order, and
 * offered again with the next ones or by conn_continue(). An idle conn holds no buffer: bytes are
 * read into one buffer that the whole loop shares. After conn_close() no callback but on_closed
 * comes, not even that of connecting.
 * Ownership: embedded in its owner, whose memory goes in on_closed or later.
 * Threads: one loop. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/addr.h"
#include "base/buffer.h"
#include "net/deadline.h"

/* Measured for 1 MiB answers: reads of 64 KiB take 2.5 times the CPU of reads of 32 KiB, as they
 * fall in step with the kernel's largest segments. */
#define NET_READ_SIZE (32 * 1024)
/* Of memory that queued output takes, as many small pieces take much more than their bytes. */
#define CONN_HIGH_MARK (64 * 1024) /* above it whoever produces the output is to pause */
#define CONN_LOW_MARK (16 * 1024)  /* at it or below, whoever produces it may go on */
#define CONN_BUFS_MAX 8            /* in one conn_write() */

struct transport;

/* What the conns of one loop share. */
struct net {
    uv_loop_t *loop;
    const struct transport *transport; /* of the conns made from now on; sockets, unless replaced */
    char *read_buffer;                 /* NET_READ_SIZE */
    struct deadline_clock clock;
    unsigned nconns;      /* that are not closed yet */
    bool closing;         /* net_close() was called */
    struct list closed;   /* conns that had nothing to wait for: on_closed is due */
    uv_prepare_t prepare; /* where on_closed is called for them: before the loop waits ... */
    uv_check_t check; /* ... and after its callbacks; there the clock learns of time away, too */
};

void net_init(struct net *n, uv_loop_t *loop);
/* No conn may be made any more. Its handles close as soon as the last conn has closed; the loop is
 * to run until then before net_deinit(). */
void net_close(struct net *n);
void net_deinit(struct net *n);

/* Why a conn does not read. */
enum conn_pause {
    PAUSE_PEER = 1,  /* the conn that its bytes go to has too much queued */
    PAUSE_INPUT = 2, /* the owner takes nothing now, and enough is kept */
};

struct conn;

struct conn_ops {
    /* Takes what it can of data[0, len) and returns how many bytes that is; 0: nothing more now.
     * The owner may overwrite the bytes that it takes. Called again while the owner takes some and
     * some are left. */
    size_t (*on_read)(struct conn *c, char *data, size_t len);
    /* The peer will send no more. Bytes that were kept may still be there (conn_pending()). */
    void (*on_eof)(struct conn *c);
    /* Connecting failed, or reading, or a queued write; uv_error < 0. The owner is to close. */
    void (*on_error)(struct conn *c, int uv_error);
    /* Queued output fell to CONN_LOW_MARK or below. */
    void (*on_drain)(struct conn *c);
    /* In bulk: there is something to take by conn_splice_from(). NULL: it is never in bulk. */
    void (*on_readable)(struct conn *c);
    /* The stream is there; conn_start() begins to read. NULL in the ops of accepted conns. */
    void (*on_connected)(struct conn *c);
};

struct conn {
    /* The transport's room. libuv's handle stands in it, so that a connection is one allocation. */
    union {
        uv_tcp_t tcp;   /* of a socket, once registered */
        uv_pipe_t pipe; /* to a unix address; an accepted one is a uv_tcp_t all the same */
        struct {
            struct list closed; /* net.closed */
            int fd;
        } late; /* of a socket before it is registered */
        struct {
            struct list link;
            void *state;
        } other; /* of any other transport */
    };
    struct net *net;
    const struct transport *transport;
    const struct conn_ops *ops;
    void (*on_closed)(struct conn *c);
    struct buffer in;   /* bytes read that the owner has not taken */
    uint32_t in_limit;  /* of them, at which reading pauses; more than the owner may ever need at
                           once (CONN_HIGH_MARK unless the owner sets it) */
    uint32_t queued;    /* see conn_queued() */
    uint8_t paused;     /* enum conn_pause, or'ed */
    uint8_t full_reads; /* the last reads in a row that filled the whole buffer; stops at 255 */
    bool registered;    /* the socket's: libuv knows it */
    bool bulk, started, reading, eof, closing, delivering, write_failed;
    bool last_write; /* set by the owner: it closes right after the next write unless something is
                        queued then, so the FIN may travel with the bytes */
};

/* What a transport needs in order to connect; accepted conns have none. */
struct conn_room {
    uv_connect_t request;
};

/* With an accepted, non-blocking descriptor, which it owns from now on. Always to be closed by
 * conn_close(), as after conn_connect(). */
void conn_accept(struct conn *c, struct net *n, const struct conn_ops *ops, int fd);
/* A new stream that connects, of TCP with TCP_NODELAY set. The outcome comes as on_connected or
 * on_error, never from within this call. room: the transport's as long as the conn exists, so that
 * connecting allocates nothing. < 0: a uv error, neither comes; the owner still closes. */
int conn_connect(struct conn *c, struct net *n, const struct conn_ops *ops, const struct addr *to,
                 struct conn_room *room);
/* A new stream that connects, for an owner that knows when to look: neither on_connected comes nor
 * anything else until the owner calls conn_write(), conn_read_now() or conn_start(), and an error
 * of connecting is told by these. It is meant for one short exchange: TCP_NODELAY is not set. < 0:
 * a uv error; the owner still closes. */
int conn_open(struct conn *c, struct net *n, const struct conn_ops *ops, const struct addr *to);
/* Whether the net's transport has a way for that. */
bool conn_can_open(const struct net *n);
/* Registers with the loop and starts to read. < 0: a uv error. */
int conn_start(struct conn *c);
/* With nothing kept, and not paused: reads once what has come already. Before conn_start() that
 * does not register with the loop; after it, it is for an owner that can't wait for the loop. */
void conn_read_now(struct conn *c);
/* Whether the stream is open and nothing has come to be read; the kernel is asked. */
bool conn_alive(struct conn *c);

void conn_pause(struct conn *c, enum conn_pause why);
/* Takes the reason (or several, or'ed) away and leaves it to a later conn_resume() or
 * conn_continue() that reading starts again. */
void conn_clear_pause(struct conn *c, enum conn_pause why);
/* Resumes if no reason is left; bytes kept are not offered by this, see conn_continue(). */
void conn_resume(struct conn *c, enum conn_pause why);
/* Offers the bytes kept once more. */
void conn_continue(struct conn *c);

/* Whether it is paused for this reason, or for one of these. */
static inline bool conn_is_paused(const struct conn *c, enum conn_pause why)
{
    return c->paused & (uint8_t)why;
}

/* Bytes that were read and that the owner has not taken. */
static inline size_t conn_pending(const struct conn *c)
{
    return buffer_len(&c->in);
}

/* Writes the buffers: at once as far as the transport takes them; the rest is copied and queued.
 * 0: done or queued. < 0: it failed, now or before, and nothing more will be written; no callback
 * comes for that. *none_sent (may be NULL) is true if it failed and not one byte of these buffers
 * went out. */
int conn_write(struct conn *c, const uv_buf_t *bufs, unsigned n, bool *none_sent);

/* Whether bulk is possible: the transport may have no way for it. */
bool conn_can_splice(const struct conn *c);
/* Bulk: bytes that go on through a pipe without coming into the process. While it is on,
 * on_readable comes in place of on_read; nothing may be kept then. */
void conn_set_bulk(struct conn *c, bool on);
/* Moves up to `most` bytes, the stream's next ones, into a pipe that has room. Returns how many, or
 * UV_EAGAIN: none has come; UV_EOF: the peer has ended, and on_eof does not come; else the error.
 */
ssize_t conn_splice_from(struct conn *c, int pipe, size_t most);
/* Moves up to `most` bytes out of a pipe into the stream; nothing may be queued. Returns how many,
 * or UV_EAGAIN: the stream takes none now; else the error. */
ssize_t conn_splice_to(struct conn *c, int pipe, size_t most);
/* As conn_write(), without trying to write at once: for bytes of a bulk that fills the stream. */
int conn_queue(struct conn *c, char *data, size_t len);

/* The memory that is taken by output which waits for the peer; 0: nothing waits. */
static inline size_t conn_queued(const struct conn *c)
{
    return c->queued;
}

/* The bytes that the kernel holds because the peer has not taken them yet (unix: with what they
 * cost). */
size_t conn_unsent(const struct conn *c);
/* The error of a conn that does not read: a reset, say, of which no callback tells then. 0: none.
 */
int conn_unread_error(struct conn *c);

/* The two ends of an open stream; of a unix socket addresses of that family. False: they can't be
 * told. */
bool conn_addresses(const struct conn *c, struct addr *peer, struct addr *local);

/* Whether the error is a lack of descriptors, ports or memory on this host: no fault of a peer. */
static inline bool conn_error_is_local(int uv_error)
{
    return uv_error == UV_EMFILE || uv_error == UV_ENFILE || uv_error == UV_ENOMEM ||
           uv_error == UV_ENOBUFS || uv_error == UV_EADDRNOTAVAIL;
}

/* Whether it comes from a peer that was there and has reset the connection. */
static inline bool conn_error_is_reset(int uv_error)
{
    return uv_error == UV_ECONNRESET || uv_error == UV_EPIPE;
}

/* FIN once all that is queued is out. < 0: a uv error; the owner is to close. */
int conn_shutdown(struct conn *c);
/* For a stream that may last: a peer that is gone without a word is noticed in the end. */
void conn_keep_alive(struct conn *c);
/* From now on conn_close() resets the connection, so that the peer does not take what it has got
 * for everything. */
void conn_break(struct conn *c);
/* Closes; what is queued is lost. A second call does nothing. on_closed is the last callback. */
void conn_close(struct conn *c, void (*on_closed)(struct conn *c));
