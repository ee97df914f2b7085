#include "proxy/upstream.h"

#include <assert.h>
#include <stdlib.h>

#include "proxy/descriptors.h"

static struct upstream *of(struct conn *c)
{
    return container_of(c, struct upstream, conn);
}

static struct server_cell *cell_of(const struct upstream *u)
{
    return server_cell(u->server, u->wp->worker->index);
}

/* Whether its server is elsewhere by now. */
static bool is_old(const struct upstream *u)
{
    return u->generation != server_generation(u->server);
}

/* Out of the server's list that it is in. */
static void leave_list(struct upstream *u)
{
    list_remove(&u->link);
    deadline_cancel(&u->deadline);
    if (u->state == UPSTREAM_IDLE)
        cell_of(u)->nidle--;
}

static size_t on_read(struct conn *c, char *data, size_t len)
{
    struct upstream *u = of(c);
    if (u->lease)
        return u->lease->ops->on_bytes(u->lease, data, len);
    upstream_close(u); /* an answer that nobody asked for */
    return len;
}

static void on_eof(struct conn *c)
{
    struct upstream *u = of(c);
    if (u->lease)
        u->lease->ops->on_eof(u->lease);
    else
        upstream_close(u);
}

static void connecting_is_over(struct upstream *u)
{
    deadline_cancel(&u->deadline);
    u->state = UPSTREAM_BUSY;
}

static void on_connected(struct conn *c)
{
    struct upstream *u = of(c);
    connecting_is_over(u);
    int r = conn_start(c);
    if (r < 0)
        u->lease->ops->on_broken(u->lease, r);
    else
        u->lease->ops->on_connected(u->lease);
}

static void on_error(struct conn *c, int uv_error)
{
    struct upstream *u = of(c);
    if (u->state == UPSTREAM_CONNECTING)
        connecting_is_over(u);
    if (u->lease)
        u->lease->ops->on_broken(u->lease, uv_error);
    else
        upstream_close(u);
}

static void on_drain(struct conn *c)
{
    struct upstream *u = of(c);
    if (u->lease)
        u->lease->ops->on_drain(u->lease);
}

static void on_readable(struct conn *c)
{
    struct upstream *u = of(c);
    assert(u->lease); /* bulk ends with what it was begun for */
    u->lease->ops->on_readable(u->lease);
}

static const struct conn_ops upstream_ops = {on_read,  on_eof,      on_error,
                                             on_drain, on_readable, on_connected};

static void on_closed(struct conn *c)
{
    struct upstream *u = of(c);
    struct worker *w = u->wp->worker;
    list_remove(&u->all);
    if (u->counted)
        descriptors_give(1);
    server_unref(u->server);
    free(u);
    worker_maybe_done(w);
}

/* Closes the kept connection that was unused for longest, of any one server: libuv closes the
 * socket at once, so that its descriptor is the caller's. */
static bool inherit_descriptor(struct worker *w)
{
    for (size_t p = 0; p < w->npools; p++) {
        for (unsigned i = 0; i < w->pools[p].pool->nservers; i++) {
            struct list *idle = &server_cell(w->pools[p].pool->members[i].server, w->index)->idle;
            if (list_empty(idle))
                continue;
            struct upstream *u = container_of(idle->prev, struct upstream, link);
            u->counted = false;
            upstream_close(u);
            return true;
        }
    }
    return false;
}

/* In the server's busy list, without a lease yet. NULL: no memory. */
static struct upstream *upstream_new(struct worker_pool *wp, struct server *server,
                                     uint32_t generation)
{
    struct upstream *u = malloc(sizeof *u);
    if (u == NULL)
        return NULL;
    u->wp = wp;
    u->server = server_ref(server);
    u->generation = generation;
    u->lease = NULL;
    u->state = UPSTREAM_CONNECTING;
    u->reused = false;
    u->counted = true;
    deadline_init(&u->deadline);
    list_push_back(&wp->worker->upstreams, &u->all);
    list_push_back(&cell_of(u)->busy, &u->link);
    return u;
}

int upstream_connect(struct lease *l)
{
    struct worker *w = l->wp->worker;
    assert(l->server && l->upstream == NULL);
    struct addr to;
    uint32_t generation;
    if (!server_address(l->server, &to, &generation))
        return UV_EAI_NONAME;
    if (!descriptors_take(DESCRIPTORS_BACKEND, 1) && !inherit_descriptor(w))
        return UV_EMFILE;
    struct upstream *u = upstream_new(l->wp, l->server, generation);
    if (u == NULL) {
        descriptors_give(1);
        return UV_ENOMEM;
    }
    int r = conn_connect(&u->conn, &w->net, &upstream_ops, &to);
    u->conn.in_limit = UPSTREAM_HEAD_MAX + 1;
    if (r < 0) {
        upstream_close(u);
        return r;
    }
    u->lease = l;
    l->upstream = u;
    deadline_arm(&u->wp->connect, &u->deadline);
    return 0;
}

bool upstream_take_idle(struct lease *l, bool sure)
{
    struct server_cell *cell = lease_cell(l);
    assert(l->upstream == NULL);
    while (!list_empty(&cell->idle)) {
        struct upstream *u = container_of(cell->idle.next, struct upstream, link);
        if (is_old(u) || (sure && !conn_alive(&u->conn))) {
            upstream_close(u);
            continue;
        }
        leave_list(u);
        list_push_back(&cell->busy, &u->link);
        u->state = UPSTREAM_BUSY;
        u->lease = l;
        u->reused = true;
        l->upstream = u;
        return true;
    }
    return false;
}

void upstream_give_back(struct upstream *u, bool keep)
{
    struct server_cell *cell = cell_of(u);
    struct worker *w = u->wp->worker;
    const struct config_pool *config = u->wp->pool->config;
    bool fits = cell->nidle < config->max_idle_connections;
    u->lease = NULL;
    keep = keep && config->send_head == SEND_HEAD_OFF; /* its head says whose it is */
    if (!keep || !fits || w->stopping || is_old(u) || u->conn.eof || u->conn.closing ||
        !atomic_load_explicit(&u->server->usable, memory_order_relaxed)) {
        upstream_close(u);
        return;
    }
    list_remove(&u->link);
    list_push_front(&cell->idle, &u->link);
    u->state = UPSTREAM_IDLE;
    cell->nidle++;
    deadline_arm(&u->wp->idle, &u->deadline);
    conn_resume(&u->conn, PAUSE_PEER);
}

void upstream_close(struct upstream *u)
{
    if (u->state == UPSTREAM_CLOSED)
        return;
    leave_list(u);
    u->state = UPSTREAM_CLOSED;
    u->lease = NULL;
    conn_close(&u->conn, on_closed);
}

void upstream_on_idle_deadline(struct deadline *d)
{
    upstream_close(container_of(d, struct upstream, deadline));
}

void upstream_on_connect_deadline(struct deadline *d)
{
    struct upstream *u = container_of(d, struct upstream, deadline);
    u->lease->ops->on_broken(u->lease, UV_ETIMEDOUT);
}

void upstream_close_idle(struct server_cell *cell)
{
    while (!list_empty(&cell->idle))
        upstream_close(container_of(cell->idle.next, struct upstream, link));
}
