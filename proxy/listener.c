#include "proxy/listener.h"

#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "net/bind.h"
#include "proxy/client.h"

#define BACKLOG 4096   /* the kernel cuts it to net.core.somaxconn */
#define BACKOFF_MS 100 /* without descriptors or memory: until accept is tried again */

#define ACCEPT_BATCH 64 /* connections taken before others get their turn */

/* Whether accept() failed for this one connection only. */
static bool passing(int error)
{
    return error == EINTR || error == ECONNABORTED || error == EPROTO || error == EPERM;
}

static void log_accept(const struct listener *l, int error)
{
    struct log_line line;
    if (!log_begin(&line, LOG_WARN, "accept failed"))
        return;
    log_str(&line, "listener", l->now->config->name);
    log_str(&line, "reason", uv_strerror(-error));
    log_end(&line);
}

/* Takes up to `most` connections. Returns 0, or the errno that ended it early. */
static int accept_some(struct listener *l, unsigned most)
{
    for (unsigned i = 0; i < most; i++) {
        struct addr peer;
        peer.len = ADDR_LEN_MAX;
        int fd = accept4(l->fd, &peer.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            client_accept(l, fd, &peer);
        else if (!passing(errno))
            return errno;
    }
    return 0;
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void poll_on(struct listener *l)
{
    int r = uv_poll_start(&l->poll, UV_READABLE, on_poll);
    if (r < 0)
        log_accept(l, -r);
}

static void on_backoff(struct deadline *d)
{
    poll_on(container_of(d, struct listener, backoff));
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct listener *l = container_of(poll, struct listener, poll);
    int error = status < 0 ? -status : accept_some(l, ACCEPT_BATCH);
    if (error == 0 || error == EAGAIN || error == EWOULDBLOCK)
        return;
    /* Out of descriptors or memory: the connections wait in the kernel's queue. */
    log_accept(l, error);
    uv_poll_stop(poll);
    deadline_arm(&l->backoffs, &l->backoff);
}

bool listener_start(struct listener *l, int fd, struct error *e)
{
    if (!bind_listen(fd, l->worker->index == 0, BACKLOG, e)) {
        close(fd);
        return false;
    }
    int r = uv_poll_init(&l->worker->loop, &l->poll, fd);
    if (r < 0) {
        close(fd);
        error_set(e, -r, "poll: %s", uv_strerror(r));
        return false;
    }
    l->fd = fd;
    l->listening = true;
    deadline_init(&l->backoff);
    deadline_queue_init(&l->backoffs, &l->worker->net.clock, BACKOFF_MS, on_backoff);
    r = uv_poll_start(&l->poll, UV_READABLE, on_poll);
    if (r < 0)
        error_set(e, -r, "poll: %s", uv_strerror(r));
    return r == 0;
}

void listener_stop(struct listener *l)
{
    if (!l->listening)
        return;
    l->listening = false;
    deadline_cancel(&l->backoff);
    uv_close((uv_handle_t *)&l->poll, NULL); /* from here on libuv does not use the socket */
    /* Closing it resets what is queued: that is taken first, though not what a flood adds. */
    int error = accept_some(l, BACKLOG + 1);
    if (error != 0 && error != EAGAIN && error != EWOULDBLOCK)
        log_accept(l, error);
    close(l->fd);
}
