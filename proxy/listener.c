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

static void log_accept(const struct worker_listener *wl, int error)
{
    struct log_line l;
    if (!log_begin(&l, LOG_WARN, "accept failed"))
        return;
    log_str(&l, "listener", wl->config->name);
    log_str(&l, "reason", uv_strerror(-error));
    log_end(&l);
}

/* Takes up to `most` connections. Returns 0, or the errno that ended it early. */
static int accept_some(struct worker_listener *wl, unsigned most)
{
    for (unsigned i = 0; i < most; i++) {
        struct addr peer;
        peer.len = ADDR_LEN_MAX;
        int fd = accept4(wl->fd, &peer.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            client_accept(wl, fd, &peer);
        else if (!passing(errno))
            return errno;
    }
    return 0;
}

static void on_backoff(struct deadline *d)
{
    listener_resume(container_of(d, struct worker_listener, backoff));
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct worker_listener *wl = container_of(poll, struct worker_listener, poll);
    int error = status < 0 ? -status : accept_some(wl, ACCEPT_BATCH);
    if (error == 0 || error == EAGAIN || error == EWOULDBLOCK)
        return;
    /* Out of descriptors or memory: the connections wait in the kernel's queue. */
    log_accept(wl, error);
    uv_poll_stop(poll);
    deadline_arm(&wl->backoffs, &wl->backoff);
}

void listener_resume(struct worker_listener *wl)
{
    int r = uv_poll_start(&wl->poll, UV_READABLE, on_poll);
    if (r < 0)
        log_accept(wl, -r);
}

bool listener_start(struct worker_listener *wl, int fd, struct error *e)
{
    if (!bind_listen(fd, wl->worker->index == 0, BACKLOG, e)) {
        close(fd);
        return false;
    }
    int r = uv_poll_init(&wl->worker->loop, &wl->poll, fd);
    if (r < 0) {
        close(fd);
        error_set(e, -r, "poll: %s", uv_strerror(r));
        return false;
    }
    wl->fd = fd;
    wl->listening = true;
    deadline_init(&wl->backoff);
    deadline_queue_init(&wl->backoffs, &wl->worker->net.clock, BACKOFF_MS, on_backoff);
    r = uv_poll_start(&wl->poll, UV_READABLE, on_poll);
    if (r < 0)
        error_set(e, -r, "poll: %s", uv_strerror(r));
    return r == 0;
}

void listener_stop(struct worker_listener *wl)
{
    if (!wl->listening)
        return;
    wl->listening = false;
    deadline_cancel(&wl->backoff);
    uv_close((uv_handle_t *)&wl->poll, NULL); /* from here on libuv does not use the socket */
    /* Closing it resets what is queued: that is taken first, though not what a flood adds. */
    int error = accept_some(wl, BACKLOG + 1);
    if (error != 0 && error != EAGAIN && error != EWOULDBLOCK)
        log_accept(wl, error);
    close(wl->fd);
}
