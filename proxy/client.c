#include "proxy/client.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "net/proxy_protocol.h"
#include "proxy/tunnel.h"

static struct client *of_deadline(struct deadline *d)
{
    return container_of(d, struct client, deadline);
}

static void on_closed(struct conn *conn)
{
    struct client *c = container_of(conn, struct client, conn);
    struct worker *w = c->wl->worker;
    list_remove(&c->all);
    descriptors_give(c->descriptors);
    free(c);
    worker_maybe_done(w);
}

void client_end(struct client *c)
{
    deadline_cancel(&c->deadline);
    cell_add(&c->wl->cell->connections, (uint64_t)-1);
    atomic_fetch_sub_explicit(&c->wl->shared->stats->connections, 1, memory_order_relaxed);
    conn_close(&c->conn, on_closed);
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

static void refuse_head(struct client *c, const char *why)
{
    log_refused(c->wl, why);
    c->wl->mode->close(c);
}

void client_on_request_deadline(struct deadline *d)
{
    struct client *c = of_deadline(d);
    if (c->in_head)
        refuse_head(c, "the PROXY head came too slowly");
    else
        c->wl->mode->on_request_deadline(c);
}

/* The proxy has moved nothing, but the kernel may have: of a few MiB that a slow reader has coming
 * it tells us for the first time when a third is gone. So a peer is idle if it has taken nothing
 * since the last look either. */
static bool still_takes(struct client *c)
{
    bool looked = c->deadline.due_ms == c->look_due_ms; /* and nothing has moved since */
    size_t before = c->unsent;
    c->unsent = c->tunnel ? tunnel_unsent(c->tunnel) : conn_unsent(&c->conn);
    return c->unsent && (!looked || c->unsent < before);
}

void client_on_idle_deadline(struct deadline *d)
{
    struct client *c = of_deadline(d);
    if (!still_takes(c)) {
        c->wl->mode->on_idle_deadline(c);
        return;
    }
    deadline_arm(&c->wl->idle, d);
    c->look_due_ms = d->due_ms;
}

void client_on_close_deadline(struct deadline *d)
{
    struct client *c = of_deadline(d);
    c->wl->mode->close(c);
}

static void set_source(struct client *c, const struct addr *a)
{
    char text[ADDR_IP_MAX];
    int n = addr_format_ip(a, text);
    assert((size_t)n < sizeof c->source);
    memcpy(c->source, text, (size_t)n + 1);
    c->source_len = (uint8_t)n;
}

/* What its servers are told of it. */
static void write_head(struct client *c, const struct addr *from, const struct addr *to)
{
    enum config_send_head version = c->wl->pool->pool->config->send_head;
    if (version != SEND_HEAD_OFF)
        c->send_head_len = (uint8_t)proxy_protocol_write((unsigned)version, from, to, c->send_head);
}

static struct client *client_new(struct worker_listener *wl, int fd, const struct addr *peer)
{
    size_t room = wl->pool->pool->config->send_head ? PROXY_HEAD_WRITE_MAX : 0;
    struct addr local = {.len = ADDR_LEN_MAX};
    if (room && getsockname(fd, &local.sa, &local.len) < 0)
        return NULL;
    struct client *c = malloc(wl->mode->size + room);
    if (c == NULL)
        return NULL;
    c->send_head = (char *)c + wl->mode->size;
    c->send_head_len = 0;
    conn_accept(&c->conn, &wl->worker->net, wl->mode->conn_ops, fd);
    if (wl->config->max_header_size >= c->conn.in_limit)
        c->conn.in_limit = wl->config->max_header_size + 1; /* the byte too many must be seen */
    c->wl = wl;
    deadline_init(&c->deadline);
    c->tunnel = NULL;
    set_source(c, peer);
    write_head(c, peer, &local);
    c->descriptors = 0;
    c->look_due_ms = 0;
    c->in_head = c->has_begun = false;
    list_push_back(&wl->worker->clients, &c->all);
    wl->mode->init(c);
    return c;
}

/* ---- the PROXY head ---- */

static void head_done(struct client *c, const struct proxy_head *head)
{
    if (head->has_addresses) {
        set_source(c, &head->source);
        write_head(c, &head->source, &head->destination);
    }
    deadline_cancel(&c->deadline);
    c->in_head = false;
    c->conn.ops = c->wl->mode->conn_ops;
    c->wl->mode->begin(c);
}

static size_t on_head_read(struct conn *conn, char *data, size_t len)
{
    struct client *c = container_of(conn, struct client, conn);
    struct proxy_head head;
    switch (proxy_protocol_read(data, len, &head)) {
    case PROXY_HEAD_MORE: /* offered again with what follows */
        if (!c->has_begun)
            deadline_arm(&c->wl->request, &c->deadline);
        c->has_begun = true;
        return 0;
    case PROXY_HEAD_DONE:
        head_done(c, &head);
        return head.size;
    case PROXY_HEAD_BAD:
        break;
    }
    refuse_head(c, head.reason);
    return len;
}

static void on_head_eof(struct conn *conn)
{
    struct client *c = container_of(conn, struct client, conn);
    c->wl->mode->close(c);
}

static void on_head_error(struct conn *conn, int uv_error)
{
    on_head_eof(conn);
}

static const struct conn_ops head_ops = {
    .on_read = on_head_read, .on_eof = on_head_eof, .on_error = on_head_error};

/* The head is read before anything else, whatever the mode. */
static void begin_head(struct client *c)
{
    struct worker *w = c->wl->worker;
    c->in_head = true;
    c->conn.ops = &head_ops;
    deadline_arm(w->stopping ? &w->grace : &c->wl->idle, &c->deadline);
    conn_read_now(&c->conn);
    if (!c->conn.closing && !c->conn.started && conn_start(&c->conn) < 0)
        c->wl->mode->close(c);
}

void client_stop(struct client *c)
{
    if (!c->in_head)
        c->wl->mode->stop(c);
    else if (!c->has_begun)
        deadline_arm(&c->wl->worker->grace, &c->deadline);
}

void client_accept(struct worker_listener *wl, int fd, const struct addr *peer)
{
    struct client *c = client_new(wl, fd, peer);
    if (c == NULL) {
        close(fd);
        return;
    }
    bool room = descriptors_take(wl->mode->use, wl->mode->descriptors);
    c->descriptors = room ? wl->mode->descriptors : 0;
    cell_add(&wl->cell->connections, 1);
    cell_add(&wl->cell->accepted, 1);
    uint32_t before =
        atomic_fetch_add_explicit(&wl->shared->stats->connections, 1, memory_order_relaxed);
    if (before < wl->config->max_connections && room) {
        if (wl->config->accept_head)
            begin_head(c);
        else
            wl->mode->begin(c);
    } else {
        log_refused(wl, room ? "max_connections" : "out of descriptors");
        wl->mode->refuse(c, room);
    }
}
