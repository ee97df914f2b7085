#include "proxy/listener.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/bind.h"
#include "proxy/client.h"
#include "proxy/descriptors.h"

static struct listener *of(struct acceptor *a)
{
    return container_of(a, struct listening, acceptor)->listener;
}

static void on_accept(struct acceptor *a, int fd, const struct addr *peer)
{
    client_accept(of(a), fd, peer);
}

/* Connections wait in the kernel's queue meanwhile, and clients notice nothing but the delay. */
static void on_error(struct acceptor *a, int uv_error)
{
    struct log_line line;
    if (!log_begin(&line, LOG_WARN, "accept failed"))
        return;
    log_str(&line, "listener", of(a)->now->config->name);
    log_str(&line, "reason", uv_strerror(uv_error));
    log_end(&line);
}

static bool is_full(struct acceptor *a)
{
    return !client_has_room(of(a)->now);
}

static const struct acceptor_ops acceptor_ops = {on_accept, on_error, is_full};

static void on_stopped(struct acceptor *a)
{
    struct listening *s = container_of(a, struct listening, acceptor);
    listener_unref(s->listener);
    free(s);
}

bool listener_start(struct listener *l, int fd, struct error *e)
{
    struct listening *s = mem_zalloc(sizeof *s);
    int r = acceptor_start(&s->acceptor, &l->worker->net, &acceptor_ops, fd);
    if (r < 0) {
        error_set(e, -r, "poll: %s", uv_strerror(r));
        free(s);
        return false;
    }
    l->refs++; /* until on_stopped() */
    s->listener = l;
    s->next = l->sockets;
    l->sockets = s;
    descriptors_add_others(1);
    return true;
}

typedef void stop_fn(struct acceptor *a, unsigned most, void (*on_stopped)(struct acceptor *a));

static void stop_all(struct listener *l, stop_fn *stop)
{
    struct listening *s = l->sockets;
    l->sockets = NULL;
    /* Closing a socket resets the connections in its queue, so they are accepted first; bounded, as
     * a flood could go on. */
    for (struct listening *next; s; s = next) {
        next = s->next;
        stop(&s->acceptor, BIND_BACKLOG + 1, on_stopped);
        descriptors_add_others(-1);
    }
}

void listener_stop(struct listener *l)
{
    stop_all(l, acceptor_stop);
}

void listener_deafen(struct listener *l)
{
    for (struct listening *s = l->sockets; s; s = s->next)
        acceptor_deafen(&s->acceptor);
}

void listener_silence(struct listener *l)
{
    stop_all(l, acceptor_silence);
}
