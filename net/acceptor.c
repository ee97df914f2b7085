#include "net/acceptor.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "net/bind.h"

#define BACKLOG 511 /* the kernel cuts it to net.core.somaxconn */

/* Whether accept() failed for this one connection only, so that the next may be tried at once. */
static bool is_passing(int error)
{
    return error == EINTR || error == ECONNABORTED || error == EPROTO || error == EPERM;
}

/* The socket stays readable, so the loop comes back here in its next turn. */
static bool waits(struct acceptor *a)
{
    if (a->has_waited || a->ops->is_full == NULL || !a->ops->is_full(a))
        return false;
    a->has_waited = true;
    return true;
}

/* Accepts up to `most` connections. False: it ended with an error, and on_error was called. */
static bool accept_some(struct acceptor *a, unsigned most)
{
    for (unsigned i = 0; i < most && a->fd >= 0; i++) {
        if (waits(a))
            return true;
        struct addr peer;
        peer.len = ADDR_LEN_MAX;
        int fd = accept4(a->fd, &peer.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            a->ops->on_accept(a, fd, &peer);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            break;
        } else if (errno == EINVAL) { /* another thread, which shares the socket, has silenced it */
            return false;
        } else if (!is_passing(errno)) {
            a->ops->on_error(a, -errno);
            return false;
        }
    }
    a->has_waited = false;
    return true;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct acceptor *a = container_of(poll, struct acceptor, poll);
    if (status < 0)
        a->ops->on_error(a, status);
    else if (accept_some(a, ACCEPTOR_BATCH))
        return;
    if (a->fd < 0) /* on_error() has stopped it */
        return;
    /* The connections wait in the kernel's queue, so the socket stays readable: without a pause the
     * loop would spin. */
    uv_poll_stop(poll);
    deadline_arm(&a->backoffs, &a->backoff);
}

static void poll_on(struct acceptor *a)
{
    int r = uv_poll_start(&a->poll, UV_READABLE, on_poll);
    assert(r == 0); /* it only notes what to wait for */
    (void)r;
}

static void on_backoff(struct deadline *d)
{
    poll_on(container_of(d, struct acceptor, backoff));
}

int acceptor_start(struct acceptor *a, struct net *n, const struct acceptor_ops *ops, int fd)
{
    int r = uv_poll_init(n->loop, &a->poll, fd);
    if (r < 0) {
        close(fd);
        return r;
    }
    a->ops = ops;
    a->fd = fd;
    a->has_waited = false;
    deadline_init(&a->backoff);
    deadline_queue_init(&a->backoffs, &n->clock, ACCEPTOR_BACKOFF_MS, on_backoff);
    poll_on(a);
    return 0;
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct acceptor *a = container_of((uv_poll_t *)handle, struct acceptor, poll);
    if (a->on_stopped)
        a->on_stopped(a);
}

static void stop(struct acceptor *a, unsigned most, bool silence,
                 void (*on_stopped)(struct acceptor *a))
{
    assert(a->fd >= 0 && !uv_is_closing((uv_handle_t *)&a->poll));
    a->on_stopped = on_stopped;
    deadline_cancel(&a->backoff);
    deadline_queue_deinit(&a->backoffs);
    uv_close((uv_handle_t *)&a->poll, on_poll_closed); /* libuv does not use the socket any more */
    a->has_waited = true;                              /* there is no other turn */
    accept_some(a, most);
    if (silence)
        bind_silence(a->fd);
    close(a->fd);
    a->fd = -1;
}

void acceptor_stop(struct acceptor *a, unsigned most, void (*on_stopped)(struct acceptor *a))
{
    stop(a, most, false, on_stopped);
}

void acceptor_deafen(struct acceptor *a)
{
    bind_deafen(a->fd);
}

void acceptor_silence(struct acceptor *a, unsigned most, void (*on_stopped)(struct acceptor *a))
{
    stop(a, most, true, on_stopped);
}

/* bind_sockets() lets further sockets of the same user share the port, for the workers of a proxy.
 * Here that would be another process, which got a part of the connections. */
static bool listen_alone(int fd)
{
    return setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){0}, sizeof(int)) == 0 &&
           listen(fd, BACKLOG) == 0;
}

static int open_listener(const struct addr *at, struct addr *bound, struct error *e)
{
    int fd;
    struct bind_claim claim;
    if (!bind_sockets(at, &fd, 1, &claim, e))
        return -1;
    bool ok = listen_alone(fd);
    if (!ok)
        error_errno(e, errno, "listen");
    bound->len = ADDR_LEN_MAX;
    if (ok && getsockname(fd, &bound->sa, &bound->len) < 0) {
        error_errno(e, errno, "getsockname");
        ok = false;
    }
    if (ok)
        return fd;
    close(fd);
    return -1;
}

bool acceptor_listen_on(struct acceptor *a, struct net *n, const struct acceptor_ops *ops, int fd,
                        struct addr *bound, struct error *e)
{
    bound->len = ADDR_LEN_MAX;
    if (getsockname(fd, &bound->sa, &bound->len) < 0) {
        error_errno(e, errno, "getsockname");
    } else if (bind_listen(fd, true, BACKLOG, e)) {
        int r = acceptor_start(a, n, ops, fd);
        if (r < 0)
            error_set(e, -r, "poll: %s", uv_strerror(r));
        return r == 0;
    }
    close(fd);
    return false;
}

bool acceptor_listen(struct acceptor *a, struct net *n, const struct acceptor_ops *ops,
                     const struct addr *at, struct addr *bound, struct error *e)
{
    assert(!addr_is_unix(at)); /* such a socket has a file, which would have to be removed */
    char text[ADDR_TEXT_MAX];
    addr_format(at, text);
    int fd = open_listener(at, bound, e);
    int r = fd < 0 ? -e->code : acceptor_start(a, n, ops, fd);
    if (r < 0)
        error_set(e, -r, "listen %s: %s", text, uv_strerror(r));
    return r == 0;
}
