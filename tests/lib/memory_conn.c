#include "tests/lib/memory_conn.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

#define GROW_STEP (8 * 1024) /* room offered behind bytes that are kept already */
#define FD_BASE 1000000      /* no descriptor of the process: closing one by mistake fails */
#define MAX_ACCEPTS 256

/* A write that was not taken at once; its bytes stand in the wire's queue. */
struct chunk {
    struct list link;
    size_t left;
};

static struct memory {
    memory_connect_fn *on_connect;
    struct list wires;  /* in the order of their turns */
    struct list closed; /* struct conn, on_closed is due */
    struct memory_wire *accepts[MAX_ACCEPTS];
    unsigned naccepts;
    uint64_t now_ms;
    uv_timer_t *timer; /* the deadline clock's, while it runs */
    uv_timer_cb on_timer;
    uint64_t timer_due_ms;
} memory;

/* ---- time ---- */

uint64_t uv_now(const uv_loop_t *loop)
{
    return memory.now_ms;
}

int uv_timer_start(uv_timer_t *handle, uv_timer_cb cb, uint64_t timeout, uint64_t repeat)
{
    assert(repeat == 0 && (memory.timer == NULL || memory.timer == handle));
    if (uv_is_closing((uv_handle_t *)handle))
        return UV_EINVAL;
    memory.timer = handle;
    memory.on_timer = cb;
    memory.timer_due_ms = memory.now_ms + timeout;
    return 0;
}

uint64_t memory_now(void)
{
    return memory.now_ms;
}

void memory_advance(uint64_t ms)
{
    memory.now_ms += ms;
    while (memory.timer && memory.timer_due_ms <= memory.now_ms) {
        uv_timer_t *timer = memory.timer;
        memory.timer = NULL;
        if (!uv_is_closing((uv_handle_t *)timer))
            memory.on_timer(timer);
    }
}

/* ---- wires ---- */

static struct memory_wire *of(const struct conn *c)
{
    return c->tcp.data;
}

void memory_init(memory_connect_fn *on_connect)
{
    uint64_t now_ms = memory.now_ms;
    memory = (struct memory){.on_connect = on_connect, .now_ms = now_ms};
    list_init(&memory.wires);
    list_init(&memory.closed);
}

void memory_wire_init(struct memory_wire *w, const struct memory_ops *ops)
{
    *w = (struct memory_wire){.ops = ops, .room = MEMORY_ROOM_MAX, .connected = 1};
    list_init(&w->chunks);
    list_init(&w->link);
}

static void drop_queue(struct memory_wire *w)
{
    list_foreach_safe(it, nxt, &w->chunks) free(container_of(it, struct chunk, link));
    list_init(&w->chunks);
    buffer_release(&w->queue);
}

void memory_wire_deinit(struct memory_wire *w)
{
    assert(w->conn == NULL);
    drop_queue(w);
    buffer_release(&w->in);
}

int memory_wire_accept(struct memory_wire *w)
{
    assert(memory.naccepts < MAX_ACCEPTS);
    memory.accepts[memory.naccepts] = w;
    return FD_BASE + (int)memory.naccepts++;
}

static void append(struct buffer *b, const char *data, size_t n)
{
    bool ok = buffer_append(b, data, n);
    assert(ok);
    (void)ok;
}

void memory_send(struct memory_wire *w, const char *data, size_t n)
{
    if (w->state != MEMORY_CLOSED && !w->fin && !w->dead)
        append(&w->in, data, n);
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

void net_init(struct net *n, uv_loop_t *loop)
{
    n->loop = loop;
    n->read_buffer = mem_zalloc(NET_READ_SIZE);
    deadline_clock_init(&n->clock, loop);
    list_init(&n->closed);
}

void net_close(struct net *n)
{
    assert(list_empty(&memory.closed));
    deadline_clock_close(&n->clock, NULL);
}

void net_deinit(struct net *n)
{
    free(n->read_buffer);
    n->read_buffer = NULL;
}

static void init(struct conn *c, struct net *n, const struct conn_ops *ops, struct memory_wire *w)
{
    c->net = n;
    c->ops = ops;
    c->on_closed = NULL;
    c->in = (struct buffer){0};
    c->fd = -1;
    c->in_limit = CONN_HIGH_MARK;
    c->paused = c->full_reads = 0;
    c->bulk = false;
    c->registered = c->started = c->reading = false;
    c->eof = c->closing = c->delivering = c->write_failed = c->last_write = false;
    c->queued = 0;
    c->tcp.data = w;
    if (w == NULL)
        return;
    assert(w->state == MEMORY_NEW);
    w->conn = c;
    w->state = MEMORY_OPEN;
    list_push_back(&memory.wires, &w->link);
}

void conn_accept(struct conn *c, struct net *n, const struct conn_ops *ops, int fd)
{
    assert(fd >= FD_BASE && fd < FD_BASE + (int)memory.naccepts);
    init(c, n, ops, memory.accepts[fd - FD_BASE]);
    c->fd = fd;
}

int conn_connect(struct conn *c, struct net *n, const struct conn_ops *ops, const struct addr *to)
{
    int uv_error = 0;
    struct memory_wire *w = memory.on_connect(c, to, &uv_error);
    assert((w == NULL) == (uv_error < 0));
    init(c, n, ops, w);
    c->registered = true;
    if (w == NULL)
        return uv_error;
    w->state = MEMORY_CONNECTING;
    w->connecting = true;
    return 0;
}

static void enroll(struct conn *c)
{
    c->registered = true;
    c->fd = -1;
}

static void read_on(struct conn *c)
{
    if (c->started && !c->closing && !c->eof)
        c->reading = true;
}

int conn_start(struct conn *c)
{
    assert(of(c)->state == MEMORY_OPEN && !c->closing);
    enroll(c);
    c->started = true;
    if (!c->paused)
        read_on(c);
    return 0;
}

bool conn_alive(struct conn *c)
{
    const struct memory_wire *w = of(c);
    return buffer_len(&w->in) == 0 && !w->fin && !w->dead;
}

/* The peer has at once what was given away. */
size_t conn_unsent(const struct conn *c)
{
    return 0;
}

int conn_unread_error(struct conn *c)
{
    return c->reading || c->closing || !of(c)->dead ? 0 : UV_ECONNRESET;
}

/* ---- reading ---- */

void conn_pause(struct conn *c, enum conn_pause why)
{
    c->paused |= (uint8_t)why;
}

void conn_clear_pause(struct conn *c, enum conn_pause why)
{
    c->paused &= (uint8_t)~why;
}

void conn_resume(struct conn *c, enum conn_pause why)
{
    conn_clear_pause(c, why);
    if (!c->paused)
        read_on(c);
}

static size_t deliver(struct conn *c, char *data, size_t len)
{
    size_t taken = 0, n = 1;
    c->delivering = true;
    while (n > 0 && taken < len && !c->closing) {
        n = c->ops->on_read(c, data + taken, len - taken);
        assert(n <= len - taken);
        taken += n;
    }
    c->delivering = false;
    return taken;
}

static void deliver_kept(struct conn *c)
{
    size_t n = deliver(c, buffer_head(&c->in), buffer_len(&c->in));
    if (c->closing)
        return;
    buffer_consume(&c->in, n);
    if (buffer_len(&c->in) == 0)
        buffer_release(&c->in);
}

static void limit_input(struct conn *c)
{
    if (buffer_len(&c->in) >= c->in_limit)
        conn_pause(c, PAUSE_INPUT);
    else if (c->paused & PAUSE_INPUT)
        conn_resume(c, PAUSE_INPUT);
}

void conn_continue(struct conn *c)
{
    if (c->delivering || c->closing)
        return;
    if (buffer_len(&c->in))
        deliver_kept(c);
    if (!c->closing)
        limit_input(c);
}

/* The next n bytes of the wire. */
static void take(struct memory_wire *w, char *to, size_t n)
{
    memcpy(to, buffer_head(&w->in), n);
    buffer_consume(&w->in, n);
    w->ops->on_taken(w, to, n);
}

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void read_bytes(struct conn *c)
{
    struct memory_wire *w = of(c);
    size_t n = w->piece ? min(w->piece, buffer_len(&w->in)) : buffer_len(&w->in);
    if (buffer_len(&c->in)) {
        bool ok = buffer_reserve(&c->in, GROW_STEP);
        assert(ok);
        (void)ok;
        n = min(n, c->in.cap - c->in.end);
        take(w, c->in.data + c->in.end, n);
        c->in.end += n;
        c->full_reads = 0;
        deliver_kept(c);
    } else { /* in a block of their very size, so that a look past their end is seen */
        n = min(n, NET_READ_SIZE);
        char *data = mem_zalloc(n);
        take(w, data, n);
        c->full_reads = w->full ? c->full_reads + (c->full_reads < UINT8_MAX) : 0;
        size_t taken = deliver(c, data, n);
        if (!c->closing && taken < n)
            append(&c->in, data + taken, n - taken);
        free(data);
    }
    if (!c->closing && buffer_len(&c->in))
        limit_input(c);
}

/* 0: in order; else the error. */
static int take_end(struct conn *c)
{
    struct memory_wire *w = of(c);
    int error = w->fin ? 0 : w->error;
    c->reading = false;
    c->eof = error == 0;
    if (error < 0)
        w->error = 0;
    w->ops->on_taken_end(w, error < 0 || !w->fin);
    return error;
}

static void read_end(struct conn *c)
{
    int error = take_end(c);
    if (error < 0)
        c->ops->on_error(c, error);
    else
        c->ops->on_eof(c);
}

static bool readable(const struct memory_wire *w)
{
    return buffer_len(&w->in) || w->fin || w->dead;
}

void conn_read_now(struct conn *c)
{
    struct memory_wire *w = of(c);
    assert(!c->registered);
    if (buffer_len(&w->in))
        read_bytes(c);
    else if (readable(w))
        read_end(c);
}

/* ---- writing ---- */

static void give(struct memory_wire *w, const uv_buf_t *bufs, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (bufs[i].len)
            w->ops->on_given(w, bufs[i].base, bufs[i].len);
}

/* How much the window takes of `total`, or a uv error. */
static int64_t try_write(struct memory_wire *w, size_t total)
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
    size_t n = total < w->room ? total : w->room;
    if (w->room != MEMORY_ROOM_MAX)
        w->room -= n;
    return (int64_t)n;
}

/* Copies what is left after `skip` bytes of the buffers behind the queue. */
static void queue(struct conn *c, const uv_buf_t *bufs, unsigned n, size_t skip)
{
    struct memory_wire *w = of(c);
    struct chunk *chunk = mem_zalloc(sizeof *chunk);
    for (unsigned i = 0; i < n; i++) {
        size_t off = skip < bufs[i].len ? skip : bufs[i].len;
        if (off < bufs[i].len)
            append(&w->queue, bufs[i].base + off, bufs[i].len - off);
        chunk->left += bufs[i].len - off;
        skip -= off;
    }
    c->queued += chunk->left;
    list_push_back(&w->chunks, &chunk->link);
}

int conn_write(struct conn *c, const uv_buf_t *bufs, unsigned n, bool *none_sent)
{
    struct memory_wire *w = of(c);
    size_t total = 0;
    for (unsigned i = 0; i < n; i++)
        total += bufs[i].len;
    if (none_sent)
        *none_sent = false;
    if (c->write_failed || c->closing)
        return UV_EPIPE;
    if (total == 0)
        return 0;
    assert(n <= 8 && w->state == MEMORY_OPEN);
    int64_t done = conn_queued(c) ? 0 : try_write(w, total);
    if (done < 0) {
        c->write_failed = true;
        if (none_sent)
            *none_sent = true;
        return (int)done;
    }
    give(w, bufs, n);
    if ((size_t)done == total)
        return 0;
    enroll(c);
    queue(c, bufs, n, (size_t)done);
    return 0;
}

/* ---- bulk ---- */

/* As of a real pipe, which stands between the two. */

void conn_set_bulk(struct conn *c, bool on)
{
    assert(!on || buffer_len(&c->in) == 0);
    c->bulk = on;
    c->full_reads = 0;
}

ssize_t conn_splice_from(struct conn *c, int pipe, size_t most)
{
    struct memory_wire *w = of(c);
    size_t n = min(w->piece ? min(w->piece, most) : most, buffer_len(&w->in));
    if (n == 0 && !readable(w))
        return UV_EAGAIN;
    if (n == 0) {
        int error = take_end(c);
        return error ? error : UV_EOF;
    }
    char *data = mem_zalloc(n);
    ssize_t written = write(pipe, buffer_head(&w->in), n);
    assert(written > 0);
    take(w, data, (size_t)written);
    free(data);
    return written;
}

ssize_t conn_splice_to(struct conn *c, int pipe, size_t most)
{
    struct memory_wire *w = of(c);
    assert(conn_queued(c) == 0);
    if (c->write_failed || c->closing)
        return UV_EPIPE;
    int64_t n = try_write(w, most);
    c->write_failed = n < 0;
    if (n <= 0)
        return n < 0 ? (ssize_t)n : UV_EAGAIN;
    char *data = mem_zalloc((size_t)n);
    ssize_t got = read(pipe, data, (size_t)n); /* a pipe gives at once what it has */
    assert(got == n);
    uv_buf_t buf = uv_buf_init(data, (unsigned)n);
    give(w, &buf, 1);
    free(data);
    return got;
}

int conn_queue(struct conn *c, char *data, size_t len)
{
    uv_buf_t buf = uv_buf_init(data, (unsigned)len);
    if (c->write_failed || c->closing)
        return UV_EPIPE;
    enroll(c);
    give(of(c), &buf, 1);
    queue(c, &buf, 1, 0);
    return 0;
}

/* What the peer sees once all that was queued is out. */
static void maybe_fin(struct memory_wire *w)
{
    if (!w->shut || w->shut_done || buffer_len(&w->queue))
        return;
    w->shut_done = true;
    if (!w->dead)
        w->ops->on_fin(w);
}

int conn_shutdown(struct conn *c)
{
    struct memory_wire *w = of(c);
    w->shut = true;
    if (!c->registered)
        maybe_fin(w);
    return 0;
}

/* The queue's first chunk, as far as it goes. */
static void write_queued(struct memory_wire *w)
{
    struct conn *c = w->conn;
    struct chunk *chunk = container_of(w->chunks.next, struct chunk, link);
    int64_t n = try_write(w, chunk->left);
    size_t gone = n < 0 ? chunk->left : (size_t)n;
    buffer_consume(&w->queue, gone);
    c->queued -= gone;
    chunk->left -= gone;
    if (chunk->left)
        return;
    list_remove(&chunk->link);
    free(chunk);
    if (n < 0) {
        w->stuck = c->write_failed = true;
        c->ops->on_error(c, (int)n);
    } else if (conn_queued(c) <= CONN_LOW_MARK) {
        c->ops->on_drain(c);
    }
}

/* ---- closing ---- */

void conn_keep_alive(struct conn *c)
{
}

void conn_break(struct conn *c)
{
    if (of(c))
        of(c)->broken = true;
}

void conn_close(struct conn *c, void (*on_closed)(struct conn *c))
{
    struct memory_wire *w = of(c);
    if (c->closing)
        return;
    c->closing = true;
    c->reading = false;
    c->on_closed = on_closed;
    c->fd = -1;
    list_push_back(&memory.closed, &c->closed);
    if (w == NULL)
        return;
    size_t lost = buffer_len(&w->queue);
    bool reset = w->broken || buffer_len(&w->in) > 0;
    list_remove(&w->link);
    w->state = MEMORY_CLOSED;
    w->ops->on_closed(w, reset, lost);
}

/* The last callback of one that closed. Returns false if there is none. */
static bool reap(void)
{
    if (list_empty(&memory.closed))
        return false;
    struct conn *c = container_of(memory.closed.next, struct conn, closed);
    struct memory_wire *w = of(c);
    list_remove(&c->closed);
    if (w) {
        w->conn = NULL;
        drop_queue(w);
    }
    buffer_release(&c->in);
    c->on_closed(c);
    return true;
}

/* ---- events ---- */

static void finish_connect(struct memory_wire *w)
{
    struct conn *c = w->conn;
    w->connecting = false;
    if (w->connected < 0) {
        c->ops->on_error(c, w->connected);
        return;
    }
    w->state = MEMORY_OPEN;
    c->ops->on_connected(c);
}

static bool may_write(const struct memory_wire *w)
{
    return !list_empty(&w->chunks) && !w->stuck && (w->room || w->dead || w->fail_write);
}

static bool may_fin(const struct memory_wire *w)
{
    return w->shut && !w->shut_done && buffer_len(&w->queue) == 0;
}

static bool has_event(const struct memory_wire *w)
{
    if (w->state == MEMORY_CONNECTING)
        return w->connecting && w->connected <= 0;
    return (w->conn->reading && readable(w)) || may_write(w) || may_fin(w);
}

static void step(struct memory_wire *w)
{
    struct conn *c = w->conn;
    if (w->state == MEMORY_CONNECTING)
        finish_connect(w);
    else if (c->reading && readable(w) && c->paused)
        c->reading = false; /* unwanted bytes have come: only now is it stopped */
    else if (c->reading && readable(w) && c->bulk)
        c->ops->on_readable(c);
    else if (c->reading && buffer_len(&w->in))
        read_bytes(c);
    else if (c->reading && readable(w))
        read_end(c);
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
