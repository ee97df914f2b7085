#include "net/conn.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "net/socket.h"

/* How much room is offered behind bytes that are kept already. */
#define GROW_STEP (8 * 1024)

/* ---- what the conns of a loop share ---- */

/* Ends the conns that had nothing to wait for when they closed. */
static void reap(struct net *n)
{
    while (!list_empty(&n->closed)) {
        struct conn *c = container_of(n->closed.next, struct conn, late.closed);
        list_remove(&c->late.closed);
        if (list_empty(&n->closed))
            uv_unref((uv_handle_t *)&n->prepare);
        conn_on_closed(c);
    }
}

static void on_prepare(uv_prepare_t *handle)
{
    struct net *n = container_of(handle, struct net, prepare);
    reap(n);
    deadline_clock_before_wait(&n->clock);
}

static void on_check(uv_check_t *handle)
{
    struct net *n = container_of(handle, struct net, check);
    deadline_clock_after_wait(&n->clock);
    reap(n);
}

void net_init(struct net *n, uv_loop_t *loop)
{
    n->loop = loop;
    n->transport = &socket_transport;
    n->read_buffer = mem_zalloc(NET_READ_SIZE);
    deadline_clock_init(&n->clock, loop);
    deadline_clock_after_wait(&n->clock); /* from now on the loop is to come round */
    n->nconns = 0;
    n->closing = false;
    list_init(&n->closed);
    int r = uv_prepare_init(loop, &n->prepare); /* none of these can fail in libuv 1.x */
    assert(r == 0);
    r = uv_check_init(loop, &n->check);
    assert(r == 0);
    r = uv_prepare_start(&n->prepare, on_prepare);
    assert(r == 0);
    r = uv_check_start(&n->check, on_check);
    assert(r == 0);
    (void)r;
    uv_unref((uv_handle_t *)&n->prepare);
    uv_unref((uv_handle_t *)&n->check);
}

static void close_handles(struct net *n)
{
    assert(n->closing && n->nconns == 0 && list_empty(&n->closed));
    deadline_clock_close(&n->clock, NULL);
    uv_close((uv_handle_t *)&n->prepare, NULL);
    uv_close((uv_handle_t *)&n->check, NULL);
}

void net_close(struct net *n)
{
    assert(!n->closing);
    n->closing = true;
    if (n->nconns == 0)
        close_handles(n);
}

void net_deinit(struct net *n)
{
    free(n->read_buffer);
    n->read_buffer = NULL;
}

/* ---- opening ---- */

static void init(struct conn *c, struct net *n, const struct transport *t,
                 const struct conn_ops *ops)
{
    assert(!n->closing);
    n->nconns++;
    c->net = n;
    c->transport = t;
    c->ops = ops;
    c->on_closed = NULL;
    c->in = (struct buffer){0};
    c->in_limit = CONN_HIGH_MARK;
    c->queued = 0;
    c->paused = c->full_reads = 0;
    c->bulk = false;
    c->registered = c->started = c->reading = false;
    c->eof = c->closing = c->delivering = c->write_failed = c->last_write = false;
}

void conn_accept_over(struct conn *c, struct net *n, const struct transport *t,
                      const struct conn_ops *ops, int fd)
{
    init(c, n, t, ops);
    t->accept(c, fd);
}

int conn_connect_over(struct conn *c, struct net *n, const struct transport *t,
                      const struct conn_ops *ops, const struct addr *to, struct conn_room *room)
{
    assert(ops->on_connected);
    init(c, n, t, ops);
    return t->connect(c, to, room);
}

void conn_accept(struct conn *c, struct net *n, const struct conn_ops *ops, int fd)
{
    conn_accept_over(c, n, n->transport, ops, fd);
}

int conn_connect(struct conn *c, struct net *n, const struct conn_ops *ops, const struct addr *to,
                 struct conn_room *room)
{
    return conn_connect_over(c, n, n->transport, ops, to, room);
}

bool conn_can_open(const struct net *n)
{
    return n->transport->open != NULL;
}

int conn_open(struct conn *c, struct net *n, const struct conn_ops *ops, const struct addr *to)
{
    init(c, n, n->transport, ops);
    return c->transport->open(c, to);
}

void conn_on_connected(struct conn *c, int status)
{
    assert(!c->closing && !c->started);
    if (status < 0)
        c->ops->on_error(c, status);
    else
        c->ops->on_connected(c);
}

/* Stopping and starting cost two system calls, so reading is stopped only when it has to be. */
static int read_on(struct conn *c)
{
    if (c->reading || !c->started || c->closing || c->eof)
        return 0;
    int r = c->transport->read_start(c);
    c->reading = r == 0;
    return r;
}

static void read_off(struct conn *c)
{
    if (!c->reading)
        return;
    c->transport->read_stop(c);
    c->reading = false;
}

int conn_start(struct conn *c)
{
    assert(!c->closing);
    int r = c->transport->start(c);
    c->started = true; /* a conn_resume() begins to read from now on */
    return r < 0 || c->paused ? r : read_on(c);
}

/* ---- pausing ---- */

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
    if (c->paused)
        return;
    int r = read_on(c);
    if (r < 0 && !c->closing)
        c->ops->on_error(c, r);
}

/* ---- reading ---- */

/* Offers data[0, len) while the owner takes some. Returns how much was taken. */
static size_t deliver(struct conn *c, char *data, size_t len)
{
    size_t taken = 0;
    assert(!c->delivering);
    c->delivering = true;
    while (taken < len && !c->closing) {
        size_t n = c->ops->on_read(c, data + taken, len - taken);
        assert(n <= len - taken);
        taken += n;
        if (n == 0)
            break;
    }
    c->delivering = false;
    return taken;
}

static void deliver_kept(struct conn *c)
{
    size_t n = deliver(c, buffer_head(&c->in), buffer_len(&c->in));
    if (c->closing)
        return; /* the buffer goes with the conn */
    buffer_consume(&c->in, n);
    if (buffer_len(&c->in) == 0)
        buffer_release(&c->in);
}

/* Enough is kept, and the owner takes none of it: no more for now. Else the owner has caught up. */
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
        return; /* the delivery under way goes on by itself */
    if (buffer_len(&c->in))
        deliver_kept(c);
    if (!c->closing)
        limit_input(c);
}

void conn_read_now(struct conn *c)
{
    assert(!c->eof && !c->closing && !c->paused && !c->bulk && buffer_len(&c->in) == 0);
    c->transport->read_now(c);
}

uv_buf_t conn_read_room(struct conn *c)
{
    assert(!c->closing);
    /* In bulk the bytes do not come into the process: to be told of them is enough. */
    if (c->paused || c->bulk)
        return uv_buf_init(NULL, 0);
    if (buffer_len(&c->in) == 0)
        return uv_buf_init(c->net->read_buffer, NET_READ_SIZE);
    if (!buffer_reserve(&c->in, GROW_STEP))
        return uv_buf_init(NULL, 0);
    return uv_buf_init(c->in.data + c->in.end, (unsigned)(c->in.cap - c->in.end));
}

void conn_on_bytes(struct conn *c, char *data, size_t n, bool full)
{
    assert(!c->closing && n > 0);
    if (buffer_len(&c->in)) {
        assert(data == c->in.data + c->in.end && n <= c->in.cap - c->in.end);
        c->full_reads = 0;
        c->in.end += n;
        deliver_kept(c);
    } else {
        c->full_reads = full ? c->full_reads + (c->full_reads < UINT8_MAX) : 0;
        size_t taken = deliver(c, data, n);
        /* The block is lent: only what the owner leaves costs memory and a copy. */
        if (!c->closing && taken < n && !buffer_append(&c->in, data + taken, n - taken)) {
            c->ops->on_error(c, UV_ENOMEM);
            return;
        }
    }
    if (!c->closing && buffer_len(&c->in))
        limit_input(c);
}

void conn_on_readable(struct conn *c)
{
    assert(!c->closing);
    if (c->paused)
        read_off(c); /* bytes have come although they are not wanted: stop now, not before */
    else if (c->bulk)
        c->ops->on_readable(c);
    else
        conn_on_end(c, UV_ENOMEM);
}

void conn_on_end(struct conn *c, int uv_error)
{
    assert(!c->closing && uv_error <= 0);
    read_off(c);
    c->eof = uv_error == 0;
    if (uv_error < 0)
        c->ops->on_error(c, uv_error);
    else
        c->ops->on_eof(c);
}

void conn_on_error(struct conn *c, int uv_error)
{
    assert(!c->closing && uv_error < 0);
    c->ops->on_error(c, uv_error);
}

/* ---- writing ---- */

/* Copies what is left after `skip` bytes of the buffers and has it queued. */
static int queue(struct conn *c, const uv_buf_t *bufs, unsigned n, size_t skip, size_t left)
{
    size_t size = sizeof(struct conn_output) + left;
    /* The network decides the size, so a failure is the connection's, not the process's. */
    struct conn_output *out = size <= UINT32_MAX - c->queued ? malloc(size) : NULL;
    if (out == NULL)
        return UV_ENOMEM;
    out->size = (uint32_t)size;
    out->len = (uint32_t)left;
    size_t at = 0;
    for (unsigned i = 0; i < n; i++) {
        size_t off = skip < bufs[i].len ? skip : bufs[i].len, len = bufs[i].len - off;
        if (len) /* an empty buffer's base may be NULL */
            memcpy(out->data + at, bufs[i].base + off, len);
        at += len;
        skip -= off;
    }
    assert(at == left);
    int r = c->transport->queue(c, out);
    if (r < 0)
        free(out);
    else
        c->queued += (uint32_t)size;
    return r;
}

int conn_write(struct conn *c, const uv_buf_t *bufs, unsigned n, bool *none_sent)
{
    size_t total = 0;
    assert(n <= CONN_BUFS_MAX);
    for (unsigned i = 0; i < n; i++)
        total += bufs[i].len;
    if (none_sent)
        *none_sent = false;
    if (c->write_failed || c->closing)
        return UV_EPIPE;
    if (total == 0)
        return 0;
    ssize_t r = c->transport->write(c, bufs, n);
    if (r == (ssize_t)total)
        return 0;
    size_t done = r > 0 ? (size_t)r : 0;
    assert(done < total);
    assert(r < 0 || c->transport->queue);
    if (r >= 0 || r == UV_EAGAIN)
        r = queue(c, bufs, n, done, total - done);
    if (r < 0) {
        c->write_failed = true; /* a hole in the output: nothing may follow */
        if (none_sent)
            *none_sent = done == 0;
    }
    return (int)r;
}

int conn_queue(struct conn *c, char *data, size_t len)
{
    uv_buf_t buf = uv_buf_init(data, (unsigned)len);
    if (c->write_failed || c->closing)
        return UV_EPIPE;
    if (c->transport->queue == NULL)
        return conn_write(c, &buf, 1, NULL);
    int r = queue(c, &buf, 1, 0, len);
    c->write_failed = r < 0;
    return r;
}

void conn_holds(struct conn *c, size_t n)
{
    assert(n <= UINT32_MAX - c->queued);
    c->queued += (uint32_t)n;
}

void conn_on_written(struct conn *c, struct conn_output *out, int status)
{
    size_t n = out->size;
    free(out);
    conn_on_released(c, n, status);
}

void conn_on_released(struct conn *c, size_t n, int status)
{
    assert(n <= c->queued);
    c->queued -= (uint32_t)n;
    if (c->closing)
        return;
    if (status < 0) {
        c->write_failed = true;
        c->ops->on_error(c, status);
    } else if (conn_queued(c) <= CONN_LOW_MARK) {
        c->ops->on_drain(c);
    }
}

int conn_shutdown(struct conn *c)
{
    assert(!c->closing);
    return c->transport->shutdown(c);
}

/* ---- bulk ---- */

bool conn_can_splice(const struct conn *c)
{
    return c->transport->splice_from != NULL;
}

void conn_set_bulk(struct conn *c, bool on)
{
    assert(!on || (buffer_len(&c->in) == 0 && conn_can_splice(c)));
    c->bulk = on;
    c->full_reads = 0;
}

ssize_t conn_splice_from(struct conn *c, int pipe, size_t most)
{
    assert(buffer_len(&c->in) == 0 && !c->closing);
    ssize_t n = c->transport->splice_from(c, pipe, most);
    assert(n != 0);
    if (n < 0 && n != UV_EAGAIN) {
        read_off(c);
        c->eof = n == UV_EOF;
    }
    return n;
}

ssize_t conn_splice_to(struct conn *c, int pipe, size_t most)
{
    assert(conn_queued(c) == 0);
    if (c->write_failed || c->closing)
        return UV_EPIPE;
    ssize_t n = c->transport->splice_to(c, pipe, most);
    c->write_failed = n < 0 && n != UV_EAGAIN;
    return n;
}

/* ---- questions and options ---- */

bool conn_alive(struct conn *c)
{
    return c->transport->alive(c);
}

bool conn_addresses(const struct conn *c, struct addr *peer, struct addr *local)
{
    return !c->closing && c->transport->addresses(c, peer, local);
}

size_t conn_unsent(const struct conn *c)
{
    return c->closing ? 0 : c->transport->unsent(c);
}

int conn_unread_error(struct conn *c)
{
    return c->reading || c->closing ? 0 : c->transport->pending_error(c);
}

void conn_keep_alive(struct conn *c)
{
    c->transport->keep_alive(c);
}

void conn_break(struct conn *c)
{
    c->transport->break_on_close(c);
}

/* ---- closing ---- */

void conn_close(struct conn *c, void (*on_closed)(struct conn *c))
{
    assert(on_closed);
    if (c->closing)
        return;
    c->closing = true;
    c->reading = false;
    c->on_closed = on_closed;
    c->transport->close(c);
}

void conn_closes_soon(struct conn *c)
{
    assert(c->closing);
    list_push_back(&c->net->closed, &c->late.closed);
    uv_ref((uv_handle_t *)&c->net->prepare); /* the loop lives until on_closed was called */
}

void conn_on_closed(struct conn *c)
{
    struct net *n = c->net;
    assert(c->closing && !c->delivering && c->queued == 0 && n->nconns > 0);
    buffer_release(&c->in); /* not before: a delivery may have been on the stack */
    if (--n->nconns == 0 && n->closing)
        close_handles(n);
    c->on_closed(c); /* it may free the conn */
}
