/* The life of a server: it accepts connections, which are in client.c, and closes them. */
#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "httpd/client.h"

#define LINGER_MS 2000      /* how long a client may take to read the last answer and close */
#define CLOSE_GRACE_MS 1000 /* how long answers may still go out when the server closes */

/* --- life of the server --- */

static void handle_gone(struct httpd *s)
{
    assert(s->handles > 0);
    if (--s->handles)
        return;
    assert(s->closing && s->counts.connections == 0);
    httpd_closed_fn *on_closed = s->on_closed;
    void *arg = s->closed_arg;
    deadline_queue_deinit(&s->idle);
    deadline_queue_deinit(&s->linger);
    buffer_release(&s->text);
    buffer_release(&s->fields);
    buffer_release(&s->out);
    free(s);
    if (on_closed)
        on_closed(arg);
}

static void on_grace_closed(uv_handle_t *h)
{
    handle_gone(container_of((uv_timer_t *)h, struct httpd, grace));
}

static void on_acceptor_stopped(struct acceptor *a)
{
    handle_gone(container_of(a, struct httpd, acceptor));
}

/* The timer is for the last connections, so it is closed after them. */
static void close_grace_if_last(struct httpd *s)
{
    if (s->closing && s->counts.connections == 0 && !uv_is_closing((uv_handle_t *)&s->grace))
        uv_close((uv_handle_t *)&s->grace, on_grace_closed);
}

void httpd_client_gone(struct httpd *s)
{
    s->counts.connections--;
    close_grace_if_last(s);
}

static void on_deadline(struct deadline *d)
{
    httpd_client_close(container_of(d, struct client, deadline));
}

/* --- accept --- */

/* One line in the log for a row of failures: accept() is tried again ten times a second. */
static void on_accept_error(struct acceptor *a, int uv_error)
{
    struct httpd *s = container_of(a, struct httpd, acceptor);
    if (!s->accept_failing)
        log_event(LOG_WARN, "accept failed", uv_strerror(uv_error));
    s->accept_failing = true;
}

static void on_accept(struct acceptor *a, int fd, const struct addr *peer)
{
    struct httpd *s = container_of(a, struct httpd, acceptor);
    if (s->counts.connections >= s->options.max_connections)
        close(fd); /* an answer would take a connection */
    else if (httpd_client_open(s, fd))
        s->accept_failing = false;
    else
        on_accept_error(a, UV_ENOMEM);
}

/* --- the interface --- */

/* A server that never listens has a handle, too, the timer: it must be closed all the same. */
struct httpd *httpd_new(struct net *n, const struct httpd_options *o)
{
    struct httpd *s = mem_zalloc(sizeof *s);
    s->net = n;
    s->options = *o;
    if (s->options.max_connections == 0)
        s->options.max_connections = 1024;
    if (s->options.idle_timeout_ms == 0)
        s->options.idle_timeout_ms = 60000;
    list_init(&s->clients);
    deadline_queue_init(&s->idle, &n->clock, s->options.idle_timeout_ms, on_deadline);
    deadline_queue_init(&s->linger, &n->clock, LINGER_MS, on_deadline);
    int r = uv_timer_init(n->loop, &s->grace);
    assert(r == 0); /* it has no way to fail */
    (void)r;
    s->handles = 1;
    return s;
}

static const struct acceptor_ops acceptor_ops = {on_accept, on_accept_error};

bool httpd_listen(struct httpd *s, const struct addr *a, struct error *e)
{
    assert(!s->listening && !s->closing);
    s->listening = acceptor_listen(&s->acceptor, s->net, &acceptor_ops, a, &s->address, e);
    s->handles += s->listening;
    return s->listening;
}

bool httpd_listen_on(struct httpd *s, int fd, struct error *e)
{
    assert(!s->listening && !s->closing);
    s->listening = acceptor_listen_on(&s->acceptor, s->net, &acceptor_ops, fd, &s->address, e);
    s->handles += s->listening;
    return s->listening;
}

const struct addr *httpd_address(const struct httpd *s)
{
    return &s->address;
}

int httpd_socket(const struct httpd *s)
{
    return s->acceptor.fd;
}

const struct httpd_counts *httpd_counts(const struct httpd *s)
{
    return &s->counts;
}

/* Connections whose answer is on its way stay, unless all are to be closed. */
static void close_clients(struct httpd *s, bool all)
{
    list_foreach_safe(it, next, &s->clients)
    {
        struct client *c = container_of(it, struct client, link);
        bool answering = c->state == STATE_FED || c->state == STATE_SENT;
        if (all || !answering || conn_queued(&c->conn) == 0)
            httpd_client_close(c);
    }
}

static void on_grace_over(uv_timer_t *timer)
{
    close_clients(container_of(timer, struct httpd, grace), true);
}

void httpd_close(struct httpd *s, httpd_closed_fn *on_closed, void *arg)
{
    assert(!s->closing);
    s->closing = true;
    s->on_closed = on_closed;
    s->closed_arg = arg;
    if (s->listening)
        acceptor_stop(&s->acceptor, 0, on_acceptor_stopped);
    close_clients(s, false);
    int r = uv_timer_start(&s->grace, on_grace_over, CLOSE_GRACE_MS, 0);
    assert(r == 0); /* fails only for a handle that is closing */
    (void)r;
    close_grace_if_last(s);
}
