#include "tests/lib/memory_transport.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "tests/lib/alloc_fault.h"

#define FD_BASE 1000000 /* no descriptor of the process: closing one by mistake fails */
#define MAX_ACCEPTS 256

static struct memory {
    memory_connect_fn *on_connect;
    struct list wires;  /* in the order of their turns */
    struct list closed; /* struct conn, on_closed is due */
    struct memory_wire *accepts[MAX_ACCEPTS];
    unsigned naccepts;
} memory;

/* The peers' own allocations do not count. */
#define TELL(w, call, ...)                \
    do {                                  \
        alloc_fault_hold();               \
        (w)->ops->call((w), __VA_ARGS__); \
        alloc_fault_release();            \
    } while (0)

/* ---- wires ---- */

struct memory_wire *memory_wire_of(const struct conn *c)
{
    return c->other.state;
}

void memory_init(memory_connect_fn *on_connect)
{
    memory = (struct memory){.on_connect = on_connect};
    list_init(&memory.wires);
    list_init(&memory.closed);
}

void memory_wire_init(struct memory_wire *w, const struct memory_ops *ops)
{
    *w = (struct memory_wire){.ops = ops, .room = MEMORY_ROOM_MAX, .connected = 1};
    list_init(&w->outs);
    list_init(&w->link);
}

void memory_wire_deinit(struct memory_wire *w)
{
    assert(w->conn == NULL && list_empty(&w->outs));
    buffer_release(&w->in);
}

int memory_wire_accept(struct memory_wire *w)
{
    assert(memory.naccepts < MAX_ACCEPTS);
    memory.accepts[memory.naccepts] = w;
    return FD_BASE + (int)memory.naccepts++;
}

size_t memory_queued(const struct memory_wire *w)
{
    size_t n = 0;
    list_foreach(it, &w->outs)
    {
        const struct conn_output *out = container_of(it, struct conn_output, other.link);
        n += out->len - out->other.done;
    }
    return n;
}

void memory_send(struct memory_wire *w, const char *data, size_t n)
{
    if (w->state == MEMORY_CLOSED || w->fin || w->dead)
        return;
    alloc_fault_hold();
    bool ok = buffer_append(&w->in, data, n);
    alloc_fault_release();
    assert(ok);
    (void)ok;
}

void memory_fin(struct memory_wire *w)
{
    w->fin = w->fin || !w->dead;
}

void memory_reset(struct memory_wire *w)
{
    if (w->dead)
        return;
    w->dead = true;
    w->error = w->fin ? UV_EPIPE : UV_ECONNRESET;
}

void memory_connected(struct memory_wire *w, int status)
{
    if (w->state == MEMORY_CONNECTING && w->connected > 0)
        w->connected = status;
}

/* ---- opening ---- */

static void attach(struct conn *c, struct memory_wire *w, enum memory_state state)
{
    c->other.state = w;
    list_init(&c->other.link);
    if (w == NULL)
        return;
    assert(w->state == MEMORY_NEW);
    w->conn = c;
    w->state = state;
    list_push_back(&memory.wires, &w->link);
}

static void memory_accept(struct conn *c, int fd)
{
    assert(fd >= FD_BASE && fd < FD_BASE + (int)memory.naccepts);
    attach(c, memory.accepts[fd - FD_BASE], MEMORY_OPEN);
}

static int memory_connect(struct conn *c, const struct addr *to, struct conn_room *room)
{
    int uv_error = 0;
    alloc_fault_hold();
    struct memory_wire *w = memory.on_connect(c, to, &uv_error);
    alloc_fault_release();
    assert((w == NULL) == (uv_error < 0));
    attach(c, w, MEMORY_CONNECTING);
    if (w)
        w->enrolled = true;
    return uv_error;
}

static int memory_start(struct conn *c)
{
    struct memory_wire *w = memory_wire_of(c);
    assert(w->state == MEMORY_OPEN);
    w->enrolled = true;
    return 0;
}

/* ---- reading ---- */

static int memory_read_start(struct conn *c)
{
    memory_wire_of(c)->reading = true;
    return 0;
}

static void memory_read_stop(struct conn *c)
{
    memory_wire_of(c)->reading = false;
}

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The next n bytes of the wire. */
static void take(struct memory_wire *w, char *to, size_t n)
{
    memcpy(to, buffer_head(&w->in), n);
    buffer_consume(&w->in, n);
    TELL(w, on_taken, to, n);
}

/* 0: in order; else the error. */
static int take_end(struct memory_wire *w)
{
    int error = w->fin ? 0 : w->error;
    if (error < 0)
        w->error = 0;
    TELL(w, on_taken_end, error < 0 || !w->fin);
    return error;
}

static bool readable(const struct memory_wire *w)
{
    return buffer_len(&w->in) || w->fin || w->dead;
}

static void read_bytes(struct memory_wire *w, uv_buf_t room)
{
    struct conn *c = w->conn;
    size_t n = min(w->piece ? min(w->piece, room.len) : room.len, buffer_len(&w->in));
    if (conn_pending(c)) {
        take(w, room.base, n);
        conn_on_bytes(c, room.base, n, false);
    } else { /* in a block of their very size, so that a look past their end is seen */
        char *data = mem_zalloc(n);
        take(w, data, n);
        conn_on_bytes(c, data, n, w->full);
        free(data);
    }
}

static void read_something(struct memory_wire *w)
{
    uv_buf_t room = conn_read_room(w->conn);
    if (room.len == 0)
        conn_on_readable(w->conn);
    else if (buffer_len(&w->in))
        read_bytes(w, room);
    else
        conn_on_end(w->conn, take_end(w));
}

static void memory_read_now(struct conn *c)
{
    struct memory_wire *w = memory_wire_of(c);
    if (readable(w))
        read_something(w);
}

/* ---- writing ---- */

/* How much the window takes of `total`, or a uv error. */
static ssize_t fill_window(struct memory_wire *w, size_t total)
{
    int error = w->fail_write;
    w->fail_write = 0;
    if (error < 0)
        return error;
    if (w->dead) {
        error = w->error ? w->error : UV_EPIPE;
        w->error = 0;
        return error;
    }
    if (w->shut_done)
        return UV_EPIPE;
    size_t n = min(total, w->room);
    if (w->room != MEMORY_ROOM_MAX)
        w->room -= n;
    return (ssize_t)n;
}

static ssize_t memory_write(struct conn *c, const uv_buf_t *bufs, unsigned n)
{
    struct memory_wire *w = memory_wire_of(c);
    size_t total = 0;
    assert(w->state == MEMORY_OPEN);
    if (!list_empty(&w->outs))
        return UV_EAGAIN;
    for (unsigned i = 0; i < n; i++)
        total += bufs[i].len;
    ssize_t taken = fill_window(w, total);
    size_t left = taken > 0 ? (size_t)taken : 0;
    for (unsigned i = 0; i < n && left; i++) {
        size_t part = min(bufs[i].len, left);
        if (part)
            TELL(w, on_given, bufs[i].base, part);
        left -= part;
    }
    return taken;
}

static int memory_queue(struct conn *c, struct conn_output *out)
{
    struct memory_wire *w = memory_wire_of(c);
    w->enrolled = true;
    out->other.done = 0;
    TELL(w, on_given, out->data, out->len);
    list_push_back(&w->outs, &out->other.link);
    return 0;
}

/* The first output that waits, as far as it goes. */
static void write_queued(struct memory_wire *w)
{
    struct conn_output *out = container_of(w->outs.next, struct conn_output, other.link);
    ssize_t n = fill_window(w, out->len - out->other.done);
    out->other.done += n > 0 ? (size_t)n : 0;
    if (n >= 0 && out->other.done < out->len)
        return;
    list_remove(&out->other.link);
    w->stuck = n < 0;
    conn_on_written(w->conn, out, n < 0 ? (int)n : 0);
}

/* What the peer sees once all that was queued is out. */
static void maybe_fin(struct memory_wire *w)
{
    if (!w->shut || w->shut_done || !list_empty(&w->outs))
        return;
    w->shut_done = true;
    if (w->dead)
        return;
    alloc_fault_hold();
    w->ops->on_fin(w);
    alloc_fault_release();
}

static int memory_shutdown(struct conn *c)
{
    struct memory_wire *w = memory_wire_of(c);
    w->shut = true;
    if (!w->enrolled)
        maybe_fin(w);
    return 0;
}

/* ---- bulk: through a real pipe, which stands between the two ---- */

static ssize_t memory_splice_from(struct conn *c, int pipe, size_t most)
{
    struct memory_wire *w = memory_wire_of(c);
    size_t n = min(w->piece ? min(w->piece, most) : most, buffer_len(&w->in));
    if (n == 0 && !readable(w))
        return UV_EAGAIN;
    if (n == 0) {
        int error = take_end(w);
        return error ? error : UV_EOF;
    }
    ssize_t written = write(pipe, buffer_head(&w->in), n);
    assert(written > 0);
    char *data = mem_zalloc((size_t)written);
    take(w, data, (size_t)written);
    free(data);
    return written;
}

static ssize_t memory_splice_to(struct conn *c, int pipe, size_t most)
{
    struct memory_wire *w = memory_wire_of(c);
    assert(list_empty(&w->outs));
    ssize_t n = fill_window(w, most);
    if (n <= 0)
        return n < 0 ? n : UV_EAGAIN;
    char *data = mem_zalloc((size_t)n);
    ssize_t got = read(pipe, data, (size_t)n); /* a pipe gives at once what it has */
    assert(got == n);
    TELL(w, on_given, data, (size_t)got);
    free(data);
    return got;
}

/* ---- questions and options ---- */

static bool memory_alive(struct conn *c)
{
    return !readable(memory_wire_of(c));
}

/* Nobody is anywhere in particular. */
static bool memory_addresses(const struct conn *c, struct addr *peer, struct addr *local)
{
    return false;
}

static size_t memory_unsent(const struct conn *c)
{
    struct memory_wire *w = memory_wire_of(c);
    return w ? w->unsent : 0;
}

static int memory_pending_error(struct conn *c)
{
    return memory_wire_of(c)->dead ? UV_ECONNRESET : 0;
}

static void memory_keep_alive(struct conn *c)
{
}

static void memory_break_on_close(struct conn *c)
{
    if (memory_wire_of(c))
        memory_wire_of(c)->broken = true;
}

/* ---- closing ---- */

static void memory_close(struct conn *c)
{
    struct memory_wire *w = memory_wire_of(c);
    list_push_back(&memory.closed, &c->other.link);
    if (w == NULL)
        return;
    size_t lost = memory_queued(w);
    bool reset = w->broken || buffer_len(&w->in) > 0;
    list_remove(&w->link);
    w->state = MEMORY_CLOSED;
    w->reading = false;
    TELL(w, on_closed, reset, lost);
}

/* The last callbacks of one that closed. Returns false if there is none. */
static bool reap(void)
{
    if (list_empty(&memory.closed))
        return false;
    struct conn *c = container_of(memory.closed.next, struct conn, other.link);
    struct memory_wire *w = memory_wire_of(c);
    list_remove(&c->other.link);
    while (w && !list_empty(&w->outs)) {
        struct conn_output *out = container_of(w->outs.next, struct conn_output, other.link);
        list_remove(&out->other.link);
        conn_on_written(c, out, UV_ECANCELED);
    }
    if (w)
        w->conn = NULL;
    conn_on_closed(c);
    return true;
}

/* ---- events ---- */

static void finish_connect(struct memory_wire *w)
{
    w->told = true;
    if (w->connected == 0)
        w->state = MEMORY_OPEN;
    conn_on_connected(w->conn, w->connected);
}

static bool may_write(const struct memory_wire *w)
{
    return !list_empty(&w->outs) && !w->stuck && (w->room || w->dead || w->fail_write);
}

static bool may_fin(const struct memory_wire *w)
{
    return w->shut && !w->shut_done && list_empty(&w->outs);
}

static bool has_event(const struct memory_wire *w)
{
    if (w->state == MEMORY_CONNECTING)
        return !w->told && w->connected <= 0;
    return (w->reading && readable(w)) || may_write(w) || may_fin(w);
}

static void step(struct memory_wire *w)
{
    if (w->state == MEMORY_CONNECTING)
        finish_connect(w);
    else if (w->reading && readable(w))
        read_something(w);
    else if (may_write(w))
        write_queued(w);
    else
        maybe_fin(w);
}

/* The first wire in turn that has an event; it goes to the end of the row. */
static bool turn(void)
{
    list_foreach(it, &memory.wires)
    {
        struct memory_wire *w = container_of(it, struct memory_wire, link);
        if (!has_event(w))
            continue;
        list_remove(&w->link);
        list_push_back(&memory.wires, &w->link);
        step(w);
        return true;
    }
    return false;
}

void memory_run(void)
{
    while (turn() || reap())
        ;
}

const struct transport memory_transport = {
    .accept = memory_accept,
    .connect = memory_connect,
    .start = memory_start,
    .read_start = memory_read_start,
    .read_stop = memory_read_stop,
    .read_now = memory_read_now,
    .write = memory_write,
    .queue = memory_queue,
    .splice_from = memory_splice_from,
    .splice_to = memory_splice_to,
    .shutdown = memory_shutdown,
    .alive = memory_alive,
    .unsent = memory_unsent,
    .addresses = memory_addresses,
    .pending_error = memory_pending_error,
    .keep_alive = memory_keep_alive,
    .break_on_close = memory_break_on_close,
    .close = memory_close,
};

const struct transport memory_transport_plain = {
    .accept = memory_accept,
    .connect = memory_connect,
    .start = memory_start,
    .read_start = memory_read_start,
    .read_stop = memory_read_stop,
    .read_now = memory_read_now,
    .write = memory_write,
    .queue = memory_queue,
    .shutdown = memory_shutdown,
    .alive = memory_alive,
    .unsent = memory_unsent,
    .addresses = memory_addresses,
    .pending_error = memory_pending_error,
    .keep_alive = memory_keep_alive,
    .break_on_close = memory_break_on_close,
    .close = memory_close,
};
