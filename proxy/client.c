#include "proxy/client.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "proxy/descriptors.h"

static struct client *of_deadline(struct deadline *d)
{
    return container_of(d, struct client, deadline);
}

static void on_closed(struct conn *conn)
{
    struct client *c = container_of(conn, struct client, conn);
    struct worker *w = c->wl->worker;
    list_remove(&c->all);
    if (c->counted)
        descriptors_give();
    free(c);
    worker_maybe_done(w);
}

void client_end(struct client *c)
{
    deadline_cancel(&c->deadline);
    cell_add(&c->wl->cell->connections, (uint64_t)-1);
    atomic_fetch_sub_explicit(&c->wl->shared->connections, 1, memory_order_relaxed);
    conn_close(&c->conn, on_closed);
}

void client_on_request_deadline(struct deadline *d)
{
    struct client *c = of_deadline(d);
    c->wl->mode->on_request_deadline(c);
}

void client_on_idle_deadline(struct deadline *d)
{
    struct client *c = of_deadline(d);
    c->wl->mode->on_idle_deadline(c);
}

void client_on_close_deadline(struct deadline *d)
{
    struct client *c = of_deadline(d);
    c->wl->mode->close(c);
}

static struct client *client_new(struct worker_listener *wl, int fd, const struct addr *peer)
{
    char text[ADDR_IP_MAX];
    struct client *c = malloc(wl->mode->size);
    if (c == NULL)
        return NULL;
    conn_accept(&c->conn, &wl->worker->net, wl->mode->conn_ops, fd);
    if (wl->config->max_header_size >= c->conn.in_limit)
        c->conn.in_limit = wl->config->max_header_size + 1; /* the byte too many must be seen */
    c->wl = wl;
    deadline_init(&c->deadline);
    c->tunnel = NULL;
    int n = addr_format_ip(peer, text);
    assert((size_t)n < sizeof c->source);
    memcpy(c->source, text, (size_t)n + 1);
    c->source_len = (uint8_t)n;
    c->counted = false;
    list_push_back(&wl->worker->clients, &c->all);
    wl->mode->init(c);
    return c;
}

/* At most one line a second and listener says that clients are refused. */
static void log_refused(struct worker_listener *wl, const char *why)
{
    struct log_line l;
    uint64_t now = uv_now(&wl->worker->loop);
    wl->refused++;
    if (wl->refused_logged_ms && now - wl->refused_logged_ms < 1000)
        return;
    if (log_begin(&l, LOG_WARN, "connections refused")) {
        log_str(&l, "listener", wl->config->name);
        log_str(&l, "reason", why);
        log_u64(&l, "count", wl->refused);
        log_end(&l);
    }
    wl->refused = 0;
    wl->refused_logged_ms = now;
}

void client_accept(struct worker_listener *wl, int fd, const struct addr *peer)
{
    struct client *c = client_new(wl, fd, peer);
    if (c == NULL) {
        close(fd);
        return;
    }
    bool room = c->counted = descriptors_take_client();
    cell_add(&wl->cell->connections, 1);
    cell_add(&wl->cell->accepted, 1);
    uint32_t before = atomic_fetch_add_explicit(&wl->shared->connections, 1, memory_order_relaxed);
    if (before < wl->config->max_connections && room) {
        wl->mode->begin(c);
    } else {
        log_refused(wl, room ? "max_connections" : "out of descriptors");
        wl->mode->refuse(c, room);
    }
}
