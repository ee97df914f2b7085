#include "proxy/client.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "net/proxy_protocol.h"
#include "proxy/descriptors.h"
#include "proxy/upstream.h"

/* An address of either family. A struct addr has room for the path of a unix socket, which a PROXY
 * head can't give, and which each client would pay for. */
union ip_address {
    struct sockaddr sa;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct client_given {
    union ip_address source, destination;
};

static struct client *of_deadline(struct deadline *d)
{
    return container_of(d, struct client, deadline);
}

static void on_closed(struct conn *conn)
{
    struct client *c = container_of(conn, struct client, conn);
    struct worker *w = client_worker(c);
    assert(c->tied == NULL);
    list_remove(&c->all);
    generation_unref(c->wl->generation);
    free(c->given);
    free(c);
    worker_maybe_done(w);
}

void client_untie(struct client *c)
{
    upstream_close_ties(&c->tied);
}

void client_end(struct client *c)
{
    assert(c->tunnel == NULL);
    client_untie(c);
    deadline_cancel(&c->deadline);
    cell_add(&c->wl->cell->connections, (uint64_t)-1);
    atomic_fetch_sub_explicit(&c->wl->shared->stats->connections, 1, memory_order_relaxed);
    conn_close(&c->conn, on_closed);
    /* The socket is closed by now, and clients that are accepted before on_closed() may have it. */
    descriptors_give(c->descriptors);
}

/* A whole head is kept in the conn while it comes in parts, and the byte too many must be seen. */
static void make_room_for_heads(struct client *c)
{
    uint32_t most = c->wl->config->max_header_size;
    if (most >= c->conn.in_limit)
        c->conn.in_limit = most + 1;
}

/* Nothing is looked at where no proxy is trusted. */
static bool is_trusted(const struct client *c)
{
    const struct config_listener *l = c->wl->config;
    struct addr a;
    if (l->ntrusted_proxies == 0)
        return false;
    if (!addr_parse_ip(client_source(c), &a))
        a.sa.sa_family = AF_UNIX;
    return networks_contain(l->trusted_proxies, l->ntrusted_proxies, &a);
}

/* ---- refusing ---- */

/* At most one line a second and listener says that clients are refused. */
static void log_refused(const struct worker_listener *wl, const char *why)
{
    struct log_line line;
    struct listener *l = wl->listener; /* stands as long as wl, even if it is gone */
    uint64_t now = uv_now(&l->worker->loop);
    l->refused++;
    if (l->refused_logged_ms && now - l->refused_logged_ms < 1000)
        return;
    if (log_begin(&line, LOG_WARN, "connections refused")) {
        log_str(&line, "listener", wl->config->name);
        log_str(&line, "reason", why);
        log_u64(&line, "count", l->refused);
        log_end(&line);
    }
    l->refused = 0;
    l->refused_logged_ms = now;
}

static void refuse_head(struct client *c, const char *why)
{
    log_refused(c->wl, why);
    c->ops->close(c);
}

/* ---- deadlines ---- */

void client_on_request_deadline(struct deadline *d)
{
    struct client *c = of_deadline(d);
    if (c->in_head)
        refuse_head(c, "the PROXY head came too slowly");
    else
        c->ops->on_request_deadline(c);
}

/* The proxy has moved nothing, but the kernel may have: while a slow reader takes some MiB from its
 * buffer, the kernel tells of room for the first time when a third of them is gone. So a peer is
 * idle only if it has taken nothing since the deadline before. At the first deadline there is no
 * figure to compare with, and the deadline is extended once. */
static bool still_takes(struct client *c)
{
    bool asked = (uint32_t)c->deadline.due_ms ==
                 c->extended_ms; /* else the proxy has moved something since */
    uint32_t before = c->unsent;
    size_t now = c->ops->unsent(c);
    c->unsent = now < UINT32_MAX ? (uint32_t)now : UINT32_MAX;
    return asked ? c->unsent < before : c->unsent > 0;
}

void client_on_idle_deadline(struct deadline *d)
{
    struct client *c = of_deadline(d);
    if (!still_takes(c)) {
        c->ops->on_idle_deadline(c);
        return;
    }
    deadline_arm(c->tunnel ? &c->wl->clocks->tunnel : &c->wl->clocks->idle, d);
    c->extended_ms = (uint32_t)d->due_ms;
}

void client_on_close_deadline(struct deadline *d)
{
    struct client *c = of_deadline(d);
    c->ops->close(c);
}

/* ---- the client's address ---- */

static void set_source(struct client *c, const struct addr *a)
{
    char text[ADDR_IP_MAX];
    int n = addr_format_ip(a, text);
    assert((size_t)n < sizeof c->source);
    memcpy(c->source, text, (size_t)n + 1);
    c->source_len = (uint8_t)n;
    c->trusted = is_trusted(c);
}

static void store(union ip_address *to, const struct addr *from)
{
    assert(from->len <= sizeof *to);
    memcpy(to, &from->sa, from->len);
}

static struct addr load(const union ip_address *from)
{
    struct addr a = {.len = from->sa.sa_family == AF_INET ? sizeof from->v4 : sizeof from->v6};
    memcpy(&a.sa, from, a.len);
    return a;
}

/* False: no memory. */
static bool keep_given(struct client *c, const struct addr *source, const struct addr *destination)
{
    if (c->given == NULL)
        c->given = malloc(sizeof *c->given);
    if (c->given == NULL)
        return false;
    store(&c->given->source, source);
    store(&c->given->destination, destination);
    return true;
}

/* A socket that was reset does not know its peer any more, but a request that came before the reset
 * still goes to a server. Without its addresses the server would take it for one of the proxy's
 * own, so they are kept where servers are told. (Without memory the socket is asked.) */
static void keep_own(struct client *c, int fd, const struct addr *peer)
{
    struct addr local = {.len = ADDR_LEN_MAX};
    if (c->wl->shared->tells_servers && !addr_is_unix(peer) &&
        getsockname(fd, &local.sa, &local.len) == 0)
        keep_given(c, peer, &local);
}

/* The same for a client that was accepted when no server was told: only its socket knows now. */
static void keep_own_late(struct client *c)
{
    struct addr peer, local;
    if (c->given == NULL && c->wl->shared->tells_servers && conn_addresses(&c->conn, &peer, &local))
        keep_given(c, &peer, &local);
}

bool client_addresses(const struct client *c, struct addr *source, struct addr *destination)
{
    if (c->given == NULL)
        return conn_addresses(&c->conn, source, destination);
    *source = load(&c->given->source);
    *destination = load(&c->given->destination);
    return true;
}

/* ---- the PROXY head ---- */

static void head_done(struct client *c, const struct proxy_head *head)
{
    if (head->has_addresses && !keep_given(c, &head->source, &head->destination)) {
        refuse_head(c, "out of memory");
        return;
    }
    if (head->has_addresses)
        set_source(c, &head->source);
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
    case PROXY_HEAD_MORE: /* the conn offers these bytes again, with those that follow */
        if (!c->has_begun)
            deadline_arm(&c->wl->clocks->request, &c->deadline);
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
    c->ops->close(c);
}

static void on_head_error(struct conn *conn, int uv_error)
{
    on_head_eof(conn);
}

static const struct conn_ops head_ops = {
    .on_read = on_head_read, .on_eof = on_head_eof, .on_error = on_head_error};

/* Reads the PROXY head before anything else, in either mode. */
static void begin_head(struct client *c)
{
    struct worker *w = client_worker(c);
    c->in_head = true;
    c->conn.ops = &head_ops;
    deadline_arm(client_leaves(c) ? &w->grace : &c->wl->clocks->idle, &c->deadline);
    conn_read_now(&c->conn);
    if (!c->conn.closing && !c->conn.started && conn_start(&c->conn) < 0)
        c->ops->close(c);
}

/* ---- life ---- */

static struct client *client_new(struct listener *l, int fd, const struct addr *peer)
{
    struct worker_listener *wl = l->now;
    struct client *c = malloc(wl->mode->size);
    if (c == NULL)
        return NULL;
    conn_accept(&c->conn, &wl->worker->net, wl->mode->conn_ops, fd);
    c->ops = wl->mode->ops;
    c->wl = wl;
    make_room_for_heads(c);
    generation_ref(wl->generation);
    deadline_init(&c->deadline);
    c->tunnel = NULL;
    c->tied = NULL;
    c->given = NULL;
    set_source(c, peer);
    keep_own(c, fd, peer);
    c->descriptors = 0;
    c->extended_ms = 0;
    c->unsent = 0;
    c->in_head = c->has_begun = false;
    list_push_back(&wl->worker->clients, &c->all);
    wl->mode->init(c);
    return c;
}

/* ---- generations ---- */

/* A listener that was given another name has other figures. */
static void move_count(const struct worker_listener *from, const struct worker_listener *to)
{
    if (from->cell == to->cell)
        return;
    cell_add(&to->cell->connections, 1);
    cell_add(&from->cell->connections, (uint64_t)-1);
    atomic_fetch_add_explicit(&to->shared->stats->connections, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&from->shared->stats->connections, 1, memory_order_relaxed);
}

/* An idle deadline begins anew where the timeouts have changed: queues are in the order in which
 * their deadlines were armed. */
void client_take_up(struct client *c)
{
    struct worker_listener *old = c->wl, *now = old->listener->now;
    if (client_ends(c))
        return;
    assert(now->mode == old->mode && c->tunnel == NULL);
    generation_ref(now->generation);
    move_count(old, now);
    c->wl = now;
    c->trusted = is_trusted(c);
    make_room_for_heads(c);
    keep_own_late(c);
    upstream_close_gone(&c->tied);
    if (deadline_armed(&c->deadline) && now->clocks != old->clocks)
        deadline_arm(&now->clocks->idle, &c->deadline);
    generation_unref(old->generation);
}

static bool rests(struct client *c)
{
    return c->in_head ? !c->has_begun : c->ops->rests && c->ops->rests(c);
}

void client_catch_up(struct client *c)
{
    if (c->conn.closing)
        return;
    if (!client_ends(c) && rests(c))
        client_renew(c);
}

/* A PROXY head of which a part has come is waited for: its own deadline runs already. */
void client_stop(struct client *c)
{
    if (c->conn.closing)
        return;
    if (!c->in_head)
        c->ops->stop(c);
    else if (!c->has_begun)
        deadline_arm(&client_worker(c)->grace, &c->deadline);
}

/* Idle connections to servers are worth less than a client, and count as free in what a client may
 * use up. So do tied ones: else a few clients, each of which has several, would keep others out. */
static bool take_descriptors(struct worker_listener *wl)
{
    struct worker *w = wl->worker;
    unsigned n = wl->mode->descriptors;
    return descriptors_take(wl->mode->use, n) ||
           (descriptors_fit(wl->mode->use, n, w->nidle + w->ntied) && upstream_make_way(w, n));
}

bool client_has_room(const struct worker_listener *wl)
{
    const struct worker *w = wl->worker;
    uint32_t open = atomic_load_explicit(&wl->shared->stats->connections, memory_order_relaxed);
    return open < wl->config->max_connections &&
           descriptors_fit(wl->mode->use, wl->mode->descriptors, w->nidle + w->ntied);
}

/* The count of connections is raised first, then checked, so that two workers can't both take the
 * last place; a client that is refused counts until it is closed. */
void client_accept(struct listener *l, int fd, const struct addr *peer)
{
    struct client *c = client_new(l, fd, peer);
    if (c == NULL) {
        close(fd);
        return;
    }
    struct worker_listener *wl = c->wl;
    bool room = take_descriptors(wl);
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
