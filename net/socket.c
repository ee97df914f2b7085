#include "net/socket.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* tcp, pipe and stream begin at the same place: the start of the conn's room. */
static struct conn *of_handle(void *handle)
{
    return container_of((uv_tcp_t *)handle, struct conn, tcp);
}

static uv_stream_t *stream_of(struct conn *c)
{
    assert(c->registered);
    return (uv_stream_t *)&c->tcp;
}

/* -1: it never got a socket, or it was closed. */
static int fd_of(const struct conn *c)
{
    uv_os_fd_t fd;
    if (!c->registered)
        return c->late.fd;
    return uv_fileno((const uv_handle_t *)&c->tcp, &fd) < 0 ? -1 : fd;
}

/* ---- opening ---- */

static void init_handle(struct conn *c, bool is_unix)
{
    int r = is_unix ? uv_pipe_init(c->net->loop, &c->pipe, 0) : uv_tcp_init(c->net->loop, &c->tcp);
    assert(r == 0); /* neither makes a socket, so nothing can fail */
    (void)r;
    c->registered = true;
}

static void socket_accept(struct conn *c, int fd)
{
    c->registered = false;
    c->late.fd = fd;
}

static void on_connected(uv_connect_t *request, int status)
{
    struct conn *c = of_handle(request->handle);
    if (!c->closing) /* libuv tells of each request, also when its handle closes */
        conn_on_connected(c, status);
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

static int socket_connect(struct conn *c, const struct addr *to, struct conn_room *room)
{
    init_handle(c, addr_is_unix(to));
    return addr_is_unix(to) ? connect_unix(c, to->un.sun_path, &room->request)
                            : connect_tcp(c, to, &room->request);
}

/* The ACK that ends the handshake waits for the first bytes, which carry it along. */
static int socket_open(struct conn *c, const struct addr *to)
{
    bool is_unix = addr_is_unix(to);
    int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    c->late.fd = fd;
    if (fd < 0)
        return -errno;
    if (!is_unix)
        setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &(int){0}, sizeof(int)); /* or it does not */
    return connect(fd, &to->sa, to->len) < 0 && errno != EINPROGRESS ? -errno : 0;
}

/* Hands the socket to libuv. < 0: a uv error, the socket is closed. */
static int enroll(struct conn *c)
{
    if (c->registered)
        return 0;
    int fd = c->late.fd; /* the handle takes its place */
    init_handle(c, false);
    int r = uv_tcp_open(&c->tcp, fd);
    if (r < 0)
        close(fd);
    return r;
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    /* Without room libuv calls on_read() all the same, and has read nothing. */
    *buf = conn_read_room(of_handle(handle));
}

/* libuv, and splice() too, call it an end when a reset came right behind bytes that were just read.
 */
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
    struct conn *c = of_handle(stream);
    if (nread > 0)
        conn_on_bytes(c, buf->base, (size_t)nread, (size_t)nread == buf->len);
    else if (nread == UV_EOF)
        conn_on_end(c, pending_error(c));
    else if (nread == UV_ENOBUFS)
        conn_on_readable(c);
    else if (nread < 0)
        conn_on_end(c, (int)nread);
}

static int socket_read_start(struct conn *c)
{
    return uv_read_start(stream_of(c), on_alloc, on_read);
}

static void socket_read_stop(struct conn *c)
{
    uv_read_stop(stream_of(c));
}

static void socket_read_now(struct conn *c)
{
    uv_buf_t room = conn_read_room(c);
    ssize_t n = recv(fd_of(c), room.base, room.len, MSG_DONTWAIT);
    if (n > 0)
        conn_on_bytes(c, room.base, (size_t)n, (size_t)n == room.len);
    else if (n == 0)
        conn_on_end(c, 0);
    else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        conn_on_end(c, -errno);
}

/* ---- writing ---- */

static ssize_t send_several(int fd, const uv_buf_t *bufs, unsigned n, int flags)
{
    struct iovec iov[CONN_BUFS_MAX]; /* uv_buf_t has its layout on Unix, but not its constness */
    for (unsigned i = 0; i < n; i++)
        iov[i] = (struct iovec){bufs[i].base, bufs[i].len};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = n};
    return sendmsg(fd, &m, flags);
}

/* By hand, as uv_try_write() takes some hundred instructions for what is one system call. Behind
 * queued output nothing may be sent yet. The last bytes before a close are sent with MSG_MORE, so
 * that the FIN travels with them. */
static ssize_t socket_write(struct conn *c, const uv_buf_t *bufs, unsigned n)
{
    int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (c->last_write && !c->registered ? MSG_MORE : 0);
    if (c->queued)
        return UV_EAGAIN;
    int fd = fd_of(c);
    ssize_t r = n == 1 ? send(fd, bufs->base, bufs->len, flags) : send_several(fd, bufs, n, flags);
    if (r >= 0)
        return r;
    return errno == EINTR ? UV_EAGAIN : -errno;
}

static void on_written(uv_write_t *request, int status)
{
    conn_on_written(of_handle(request->handle), container_of(request, struct conn_output, request),
                    status);
}

static int socket_queue(struct conn *c, struct conn_output *out)
{
    uv_buf_t buf = uv_buf_init(out->data, out->len);
    int r = enroll(c);
    return r < 0 ? r : uv_write(&out->request, stream_of(c), &buf, 1, on_written);
}

static ssize_t socket_splice_from(struct conn *c, int pipe, size_t most)
{
    ssize_t n = splice(fd_of(c), NULL, pipe, NULL, most, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (n > 0)
        return n;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? UV_EAGAIN : -errno;
    char byte;
    if (recv(fd_of(c), &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
        return UV_EAGAIN; /* it stops before urgent data, read() gets past it */
    int error = pending_error(c);
    return error ? error : UV_EOF;
}

static ssize_t socket_splice_to(struct conn *c, int pipe, size_t most)
{
    ssize_t n = splice(pipe, NULL, fd_of(c), NULL, most, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EINTR ? UV_EAGAIN : -errno;
}

/* UV_ENOTCONN: the peer has reset it, which reading tells. */
static void on_shutdown(uv_shutdown_t *request, int status)
{
    struct conn *c = of_handle(request->handle);
    free(request);
    if (status < 0 && status != UV_ENOTCONN && !c->closing)
        conn_on_error(c, status);
}

static int socket_shutdown(struct conn *c)
{
    if (!c->registered)
        return shutdown(c->late.fd, SHUT_WR) < 0 && errno != ENOTCONN ? -errno : 0;
    uv_shutdown_t *request = malloc(sizeof *request);
    if (request == NULL)
        return UV_ENOMEM;
    int r = uv_shutdown(request, stream_of(c), on_shutdown);
    if (r < 0)
        free(request);
    return r == UV_ENOTCONN ? 0 : r;
}

/* ---- the kernel's view ---- */

static bool socket_alive(struct conn *c)
{
    char byte;
    ssize_t n = recv(fd_of(c), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

static bool socket_addresses(const struct conn *c, struct addr *peer, struct addr *local)
{
    int fd = fd_of(c);
    peer->len = local->len = ADDR_LEN_MAX;
    return getpeername(fd, &peer->sa, &peer->len) == 0 &&
           getsockname(fd, &local->sa, &local->len) == 0;
}

static size_t socket_unsent(const struct conn *c)
{
    int n = 0;
    return ioctl(fd_of(c), SIOCOUTQ, &n) < 0 || n < 0 ? 0 : (size_t)n;
}

/* For options that every socket has. */
static void set_option(struct conn *c, int option, const void *value, socklen_t len)
{
    int fd = fd_of(c);
    int r = fd < 0 ? 0 : setsockopt(fd, SOL_SOCKET, option, value, len);
    assert(r == 0);
    (void)r;
}

static void socket_keep_alive(struct conn *c)
{
    set_option(c, SO_KEEPALIVE, &(int){1}, sizeof(int));
}

static void socket_break_on_close(struct conn *c)
{
    set_option(c, SO_LINGER, &(struct linger){.l_onoff = 1, .l_linger = 0}, sizeof(struct linger));
}

/* ---- closing ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    conn_on_closed(of_handle(handle));
}

static void socket_close(struct conn *c)
{
    if (c->registered) {
        uv_close((uv_handle_t *)&c->tcp, on_handle_closed);
        return;
    }
    if (c->late.fd >= 0)
        close(c->late.fd);
    c->late.fd = -1;
    conn_closes_soon(c);
}

const struct transport socket_transport = {
    .accept = socket_accept,
    .connect = socket_connect,
    .open = socket_open,
    .start = enroll,
    .read_start = socket_read_start,
    .read_stop = socket_read_stop,
    .read_now = socket_read_now,
    .write = socket_write,
    .queue = socket_queue,
    .splice_from = socket_splice_from,
    .splice_to = socket_splice_to,
    .shutdown = socket_shutdown,
    .alive = socket_alive,
    .unsent = socket_unsent,
    .addresses = socket_addresses,
    .pending_error = pending_error,
    .keep_alive = socket_keep_alive,
    .break_on_close = socket_break_on_close,
    .close = socket_close,
};
