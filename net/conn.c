#include "net/conn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

/* How much room is offered behind bytes that are kept already. */
#define GROW_STEP (8 * 1024)

struct out_chunk { /* output that the socket did not take */
    uv_write_t request;
    uint32_t size; /* of all this */
    char data[];
};

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);
static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf);

/* Ends the conns that were closed without ever being registered. */
static void reap(struct net *n)
{
    while (!list_empty(&n->closed)) {
        struct conn *c = container_of(n->closed.next, struct conn, closed);
        list_remove(&c->closed);
        buffer_release(&c->in);
        if (list_empty(&n->closed))
            uv_unref((uv_handle_t *)&n->prepare);
        c->on_closed(c);
    }
}

static void on_prepare(uv_prepare_t *handle)
{
    reap(container_of(handle, struct net, prepare));
}

static void on_check(uv_check_t *handle)
{
    reap(container_of(handle, struct net, check));
}

void net_init(struct net *n, uv_loop_t *loop)
{
    n->loop = loop;
    n->read_buffer = mem_zalloc(NET_READ_SIZE);
    deadline_clock_init(&n->clock, loop);
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

void net_close(struct net *n)
{
    assert(list_empty(&n->closed));
    deadline_clock_close(&n->clock, NULL);
    uv_close((uv_handle_t *)&n->prepare, NULL);
    uv_close((uv_handle_t *)&n->check, NULL);
}

void net_deinit(struct net *n)
{
    free(n->read_buffer);
    n->read_buffer = NULL;
}

static void init(struct conn *c, struct net *n, const struct conn_ops *ops)
{
    c->net = n;
    c->ops = ops;
    c->on_closed = NULL;
    c->in = (struct buffer){0};
    c->fd = -1;
    c->in_limit = CONN_HIGH_MARK;
    c->queued = 0;
    c->paused = c->full_reads = 0;
    c->bulk = false;
    c->registered = c->started = c->reading = false;
    c->eof = c->closing = c->delivering = c->write_failed = c->last_write = false;
}

static void init_handle(struct conn *c)
{
    int r = uv_tcp_init(c->net->loop, &c->tcp);
    assert(r == 0); /* without a family no socket is made, so nothing can fail */
    (void)r;
    c->registered = true;
}

static void init_pipe(struct conn *c)
{
    int r = uv_pipe_init(c->net->loop, &c->pipe, 0);
    assert(r == 0); /* no socket is made by that */
    (void)r;
    c->registered = true;
}

void conn_accept(struct conn *c, struct net *n, const struct conn_ops *ops, int fd)
{
    init(c, n, ops);
    c->fd = fd;
}

static void on_connected(uv_connect_t *request, int status)
{
    struct conn *c = container_of((uv_tcp_t *)request->handle, struct conn, tcp);
    free(request);
    if (c->closing)
        return;
    if (status < 0)
        c->ops->on_error(c, status);
    else
        c->ops->on_connected(c);
}

/* libuv would make the socket too, but tell later that it could not. */
static int connect_unix(struct conn *c, const char *path, uv_connect_t *request)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int r = uv_pipe_open(&c->pipe, fd);
    if (r < 0) {
        close(fd);
        return r;
    }
    uv_pipe_connect(request, &c->pipe, path, on_connected);
    return 0;
}

static int connect_tcp(struct conn *c, const struct addr *to, uv_connect_t *request)
{
    int r = uv_tcp_nodelay(&c->tcp, 1); /* applied when the socket is made */
    return r < 0 ? r : uv_tcp_connect(request, &c->tcp, &to->sa, on_connected);
}

int conn_connect(struct conn *c, struct net *n, const struct conn_ops *ops, const struct addr *to)
{
    assert(ops->on_connected);
    init(c, n, ops);
    if (addr_is_unix(to))
        init_pipe(c);
    else
        init_handle(c);
    uv_connect_t *request = malloc(sizeof *request);
    if (request == NULL)
        return UV_ENOMEM;
    int r =
        addr_is_unix(to) ? connect_unix(c, to->un.sun_path, request) : connect_tcp(c, to, request);
    if (r < 0)
        free(request);
    return r;
}

/* Hands the socket to libuv. < 0: a uv error, the socket is closed. */
static int enroll(struct conn *c)
{
    if (c->registered)
        return 0;
    int fd = c->fd;
    c->fd = -1;
    init_handle(c);
    int r = uv_tcp_open(&c->tcp, fd);
    if (r < 0)
        close(fd);
    return r;
}

static int read_on(struct conn *c)
{
    if (c->reading || !c->started || c->closing || c->eof)
        return 0;
    int r = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    c->reading = r == 0;
    return r;
}

static void read_off(struct conn *c)
{
    if (!c->reading)
        return;
    uv_read_stop((uv_stream_t *)&c->tcp);
    c->reading = false;
}

int conn_start(struct conn *c)
{
    int r = enroll(c);
    c->started = true;
    return r < 0 || c->paused ? r : read_on(c);
}

/* -1: it never got a socket, or it was closed. */
static int fd_of(const struct conn *c)
{
    uv_os_fd_t fd = c->fd;
    return c->registered && uv_fileno((const uv_handle_t *)&c->tcp, &fd) < 0 ? -1 : fd;
}

bool conn_alive(struct conn *c)
{
    char byte;
    ssize_t n = recv(fd_of(c), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

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

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct conn *c = container_of(handle, struct conn, tcp);
    /* Without a buffer libuv calls on_read() all the same, and has read nothing. */
    if (c->paused || c->bulk) {
        *buf = uv_buf_init(NULL, 0);
        return;
    }
    if (buffer_len(&c->in) == 0) {
        *buf = uv_buf_init(c->net->read_buffer, NET_READ_SIZE);
        return;
    }
    if (!buffer_reserve(&c->in, GROW_STEP)) {
        *buf = uv_buf_init(NULL, 0);
        return;
    }
    *buf = uv_buf_init(c->in.data + c->in.end, (unsigned)(c->in.cap - c->in.end));
}

/* Offers data[0, len) while the owner takes some. Returns how much was taken. */
static size_t deliver(struct conn *c, char *data, size_t len)
{
    size_t taken = 0;
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
        return;
    buffer_consume(&c->in, n);
    if (buffer_len(&c->in) == 0)
        buffer_release(&c->in);
}

/* Enough is kept and the owner takes none of it: no more for now. */
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

static void take_bytes(struct conn *c, char *base, size_t n)
{
    if (base != c->net->read_buffer) {
        c->full_reads = 0;
        c->in.end += n;
        deliver_kept(c);
    } else {
        c->full_reads = n < NET_READ_SIZE ? 0 : c->full_reads + (c->full_reads < UINT8_MAX);
        size_t taken = deliver(c, base, n);
        if (!c->closing && taken < n && !buffer_append(&c->in, base + taken, n - taken)) {
            c->ops->on_error(c, UV_ENOMEM);
            return;
        }
    }
    if (!c->closing && buffer_len(&c->in))
        limit_input(c);
}

void conn_read_now(struct conn *c)
{
    assert(!c->registered);
    ssize_t n = recv(c->fd, c->net->read_buffer, NET_READ_SIZE, MSG_DONTWAIT);
    if (n > 0) {
        take_bytes(c, c->net->read_buffer, (size_t)n);
    } else if (n == 0) {
        c->eof = true;
        c->ops->on_eof(c);
    } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        c->ops->on_error(c, -errno);
    }
}

/* libuv, and splice() too, call it an end when a reset came right behind bytes that it has just
 * read. */
static int pending_error(struct conn *c)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(fd_of(c), SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        return 0;
    return -error;
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct conn *c = container_of((uv_tcp_t *)stream, struct conn, tcp);
    if (nread > 0) {
        take_bytes(c, buf->base, (size_t)nread);
    } else if (nread == UV_EOF) {
        int error = pending_error(c);
        c->eof = error == 0;
        read_off(c);
        if (error)
            c->ops->on_error(c, error);
        else
            c->ops->on_eof(c);
    } else if (nread == UV_ENOBUFS && c->paused) {
        read_off(c); /* bytes have come although they are not wanted: stop now, not before */
    } else if (nread == UV_ENOBUFS && c->bulk) {
        c->ops->on_readable(c);
    } else if (nread < 0) {
        read_off(c);
        c->ops->on_error(c, nread == UV_ENOBUFS ? UV_ENOMEM : (int)nread);
    }
}

static void on_written(uv_write_t *request, int status)
{
    struct out_chunk *chunk = container_of(request, struct out_chunk, request);
    struct conn *c = container_of((uv_tcp_t *)request->handle, struct conn, tcp);
    c->queued -= chunk->size;
    free(chunk);
    if (c->closing)
        return;
    if (status < 0) {
        c->write_failed = true;
        c->ops->on_error(c, status);
    } else if (conn_queued(c) <= CONN_LOW_MARK) {
        c->ops->on_drain(c);
    }
}

/* Copies what is left after `skip` bytes of the buffers and queues it. */
static int queue(struct conn *c, const uv_buf_t *bufs, unsigned n, size_t skip, size_t left)
{
    size_t size = sizeof(struct out_chunk) + left;
    struct out_chunk *chunk = size <= UINT32_MAX - c->queued ? malloc(size) : NULL;
    if (chunk == NULL)
        return UV_ENOMEM;
    chunk->size = (uint32_t)size;
    size_t at = 0;
    for (unsigned i = 0; i < n; i++) {
        size_t off = skip < bufs[i].len ? skip : bufs[i].len;
        memcpy(chunk->data + at, bufs[i].base + off, bufs[i].len - off);
        at += bufs[i].len - off;
        skip -= off;
    }
    assert(at == left);
    uv_buf_t all = uv_buf_init(chunk->data, (unsigned)left);
    int r = uv_write(&chunk->request, (uv_stream_t *)&c->tcp, &all, 1, on_written);
    if (r < 0)
        free(chunk);
    else
        c->queued += (uint32_t)size;
    return r;
}

/* As uv_try_write(): how many bytes went out, or a uv error. */
static int try_write(struct conn *c, const uv_buf_t *bufs, unsigned n)
{
    if (c->registered)
        return uv_try_write((uv_stream_t *)&c->tcp, bufs, n);
    int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (c->last_write ? MSG_MORE : 0);
    struct iovec iov[8]; /* uv_buf_t has its layout on Unix, but not its constness */
    assert(n <= 8);
    for (unsigned i = 0; i < n; i++)
        iov[i] = (struct iovec){bufs[i].base, bufs[i].len};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = n};
    ssize_t r = n == 1 ? send(c->fd, bufs->base, bufs->len, flags) : sendmsg(c->fd, &m, flags);
    if (r >= 0)
        return (int)r;
    return errno == EINTR ? UV_EAGAIN : -errno;
}

int conn_write(struct conn *c, const uv_buf_t *bufs, unsigned n, bool *none_sent)
{
    size_t total = 0;
    for (unsigned i = 0; i < n; i++)
        total += bufs[i].len;
    if (none_sent)
        *none_sent = false;
    if (c->write_failed || c->closing)
        return UV_EPIPE;
    if (total == 0)
        return 0;
    int r = try_write(c, bufs, n);
    if (r == (int)total)
        return 0;
    if (r == UV_EAGAIN)
        r = 0;
    size_t done = r > 0 ? (size_t)r : 0;
    if (r >= 0 && !c->registered)
        r = enroll(c);
    if (r >= 0)
        r = queue(c, bufs, n, done, total - done);
    if (r < 0) {
        c->write_failed = true;
        if (none_sent)
            *none_sent = done == 0;
    }
    return r;
}

void conn_set_bulk(struct conn *c, bool on)
{
    assert(!on || buffer_len(&c->in) == 0);
    c->bulk = on;
    c->full_reads = 0;
}

ssize_t conn_splice_from(struct conn *c, int pipe, size_t most)
{
    ssize_t n = splice(fd_of(c), NULL, pipe, NULL, most, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (n > 0)
        return n;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return UV_EAGAIN;
    char byte;
    if (n == 0 && recv(fd_of(c), &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
        return UV_EAGAIN; /* it stops before urgent data, read() gets past it */
    int error = n < 0 ? -errno : pending_error(c);
    read_off(c);
    c->eof = error == 0;
    return error ? error : UV_EOF;
}

ssize_t conn_splice_to(struct conn *c, int pipe, size_t most)
{
    assert(conn_queued(c) == 0);
    if (c->write_failed || c->closing)
        return UV_EPIPE;
    ssize_t n = splice(pipe, NULL, fd_of(c), NULL, most, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (n >= 0)
        return n;
    if (errno == EAGAIN || errno == EINTR)
        return UV_EAGAIN;
    c->write_failed = true;
    return -errno;
}

int conn_queue(struct conn *c, char *data, size_t len)
{
    uv_buf_t buf = uv_buf_init(data, (unsigned)len);
    if (c->write_failed || c->closing)
        return UV_EPIPE;
    int r = enroll(c);
    if (r == 0)
        r = queue(c, &buf, 1, 0, len);
    c->write_failed = r < 0;
    return r;
}

size_t conn_unsent(const struct conn *c)
{
    int n = 0;
    return c->closing || ioctl(fd_of(c), SIOCOUTQ, &n) < 0 || n < 0 ? 0 : (size_t)n;
}

int conn_unread_error(struct conn *c)
{
    return c->reading || c->closing ? 0 : pending_error(c);
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    struct conn *c = container_of((uv_tcp_t *)request->handle, struct conn, tcp);
    free(request);
    if (status < 0 && status != UV_ENOTCONN && !c->closing)
        c->ops->on_error(c, status);
}

int conn_shutdown(struct conn *c)
{
    if (!c->registered)
        return shutdown(c->fd, SHUT_WR) < 0 && errno != ENOTCONN ? -errno : 0;
    uv_shutdown_t *request = malloc(sizeof *request);
    if (request == NULL)
        return UV_ENOMEM;
    int r = uv_shutdown(request, (uv_stream_t *)&c->tcp, on_shutdown);
    if (r < 0)
        free(request);
    return r == UV_ENOTCONN ? 0 : r;
}

/* For options that every socket has. */
static void set_option(struct conn *c, int option, const void *value, socklen_t len)
{
    int fd = fd_of(c);
    int r = fd < 0 ? 0 : setsockopt(fd, SOL_SOCKET, option, value, len);
    assert(r == 0);
    (void)r;
}

void conn_keep_alive(struct conn *c)
{
    set_option(c, SO_KEEPALIVE, &(int){1}, sizeof(int));
}

void conn_break(struct conn *c)
{
    set_option(c, SO_LINGER, &(struct linger){.l_onoff = 1, .l_linger = 0}, sizeof(struct linger));
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct conn *c = container_of(handle, struct conn, tcp);
    buffer_release(&c->in); /* not before: a delivery may have been on the stack */
    c->on_closed(c);
}

void conn_close(struct conn *c, void (*on_closed)(struct conn *c))
{
    if (c->closing)
        return;
    c->closing = true;
    c->reading = false;
    c->on_closed = on_closed;
    if (!c->registered) {
        close(c->fd);
        c->fd = -1;
        list_push_back(&c->net->closed, &c->closed);
        uv_ref((uv_handle_t *)&c->net->prepare); /* the loop lives until on_closed was called */
        return;
    }
    uv_close((uv_handle_t *)&c->tcp, on_handle_closed);
}
