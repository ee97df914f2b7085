#include "proxy/upstream_parts.h"

#include <assert.h>
#include <stdlib.h>

#include "net/proxy_protocol.h"
#include "proxy/descriptors.h"

static struct upstream *of(struct conn *c)
{
    return container_of(c, struct upstream, conn);
}

/* Whether the server has moved since the connection was made. */
static bool is_old(const struct upstream *u)
{
    return u->generation != server_generation(u->server);
}

/* Whether its server is about to close it for having been idle. */
static bool has_expired(const struct upstream *u)
{
    return u->expires_ms != UINT64_MAX && u->expires_ms <= uv_now(&u->worker->loop);
}

static void leave_client(struct upstream *u)
{
    u->worker->ntied--;
    *u->tied_at = u->next_tied;
    if (u->next_tied)
        u->next_tied->tied_at = u->tied_at;
}

/* Takes the connection out of the list that it is in: `busy` or `idle` of its server's cell, or the
 * worker's `tied` and its client's. */
static void leave_list(struct upstream *u)
{
    list_remove(&u->link);
    deadline_cancel(&u->deadline);
    if (u->state == UPSTREAM_IDLE)
        upstream_count_idle(u->worker, u->cell, -1);
    else if (u->state == UPSTREAM_TIED)
        leave_client(u);
    else
        need_give(&u->cell->need);
}

/* The same of one that is BUSY: no deadline is armed for it. */
static void leave_busy(struct upstream *u)
{
    list_remove(&u->link);
    need_give(&u->cell->need);
}

static void enter_busy(struct upstream *u)
{
    list_push_back(&u->cell->busy, &u->link);
    need_take(&u->cell->need);
}

static void on_closed(struct conn *c)
{
    struct upstream *u = of(c);
    struct worker *w = u->worker;
    list_remove(&u->all);
    server_unref(u->server);
    free(u);
    worker_maybe_done(w);
}

static void upstream_close(struct upstream *u)
{
    assert(u->state != UPSTREAM_CLOSED);
    leave_list(u);
    u->state = UPSTREAM_CLOSED;
    u->user = NULL;
    conn_close(&u->conn, on_closed); /* the descriptor is closed at once */
    if (u->counted)
        descriptors_give(1);
}

/* The same, of a connection on which all is said. A reset, as then nothing of the connection stays:
 * after a FIN the socket of whoever closes first waits in the kernel for a minute (TIME_WAIT), and
 * has a port, and there may be thousands. A reset loses nothing here unless the server has not got
 * all of a request that it has answered early. */
static void part(struct upstream *u)
{
    if (conn_unsent(&u->conn) == 0)
        conn_break(&u->conn);
    upstream_close(u);
}

void upstream_dismiss(struct upstream *u)
{
    assert(u->state == UPSTREAM_IDLE);
    part(u);
}

/* ---- what the connection reports ---- */

/* The user decides what follows; it gives the connection back. Without a user nothing is lost. */
static void broken(struct upstream *u, int uv_error)
{
    if (u->user)
        u->user->ops->on_broken(u->user, uv_error);
    else
        upstream_close(u);
}

/* The PROXY head goes out at once: in some protocols the server speaks first, once it has the head.
 */
static int send_head(struct upstream *u)
{
    uv_buf_t head = uv_buf_init(u->head, u->head_len);
    return u->head_len ? conn_write(&u->conn, &head, 1, NULL) : 0;
}

static void on_connected(struct conn *c)
{
    struct upstream *u = of(c);
    assert(u->state == UPSTREAM_CONNECTING && u->user);
    deadline_cancel(&u->deadline);
    u->state = UPSTREAM_BUSY;
    int uv_error = conn_start(c);
    if (uv_error == 0)
        uv_error = send_head(u);
    if (uv_error < 0)
        broken(u, uv_error);
    else
        u->user->ops->on_connected(u->user);
}

static size_t on_read(struct conn *c, char *data, size_t len)
{
    struct upstream *u = of(c);
    if (u->user)
        return u->user->ops->on_bytes(u->user, data, len);
    /* Bytes that nobody asked for: the next answer could not be told from them. */
    upstream_close(u);
    return len;
}

static void on_eof(struct conn *c)
{
    struct upstream *u = of(c);
    if (u->user)
        u->user->ops->on_eof(u->user);
    else
        upstream_close(u);
}

static void on_error(struct conn *c, int uv_error)
{
    broken(of(c), uv_error);
}

static void on_drain(struct conn *c)
{
    struct upstream *u = of(c);
    if (u->user)
        u->user->ops->on_drain(u->user);
}

static void on_readable(struct conn *c)
{
    struct upstream *u = of(c);
    assert(u->user); /* bulk ends with the body or tunnel that it was begun for */
    u->user->ops->on_readable(u->user);
}

static const struct conn_ops upstream_ops = {
    .on_connected = on_connected,
    .on_read = on_read,
    .on_eof = on_eof,
    .on_error = on_error,
    .on_drain = on_drain,
    .on_readable = on_readable,
};

/* ---- making one ---- */

/* The tied connection that was unused for longest; its client has to log in again. */
static bool inherit_tied(struct worker *w)
{
    if (list_empty(&w->tied))
        return false;
    struct upstream *u = container_of(w->tied.prev, struct upstream, link);
    u->counted = false;
    part(u);
    return true;
}

bool upstream_make_way(struct worker *w, unsigned n)
{
    if (w->nidle + w->ntied < n)
        return false;
    while (n--) {
        bool gone = upstream_give_way(w, 1) || inherit_tied(w);
        assert(gone);
        (void)gone;
    }
    return true;
}

/* While descriptors are scarce, one of an idle connection is taken over before another one is used
 * up: what is left is for workers that have none idle. Tied ones come last. */
static bool take_descriptor(struct worker *w)
{
    return (descriptors_scarce() && upstream_give_way(w, 1)) ||
           descriptors_take(DESCRIPTORS_BACKEND, 1) || inherit_tied(w);
}

/* The PROXY head names the client, or without an origin says that the connection is the proxy's. */
static void compose_head(struct upstream *u, enum config_send_head version,
                         const struct upstream_origin *origin)
{
    size_t n = 0;
    if (version != SEND_HEAD_OFF)
        n = origin ? proxy_protocol_write((unsigned)version, &origin->source, &origin->destination,
                                          u->head)
                   : proxy_protocol_write_local((unsigned)version, u->head);
    u->head_len = (uint8_t)n;
}

/* A new one in the `busy` list of its server. NULL: no memory. */
static struct upstream *upstream_new(struct worker_pool *wp, struct server *server,
                                     const struct upstream_origin *origin)
{
    enum config_send_head version = wp->pool->config->send_head;
    struct upstream *u = malloc(sizeof *u + (version ? PROXY_HEAD_WRITE_MAX : 0));
    if (u == NULL)
        return NULL;
    u->worker = wp->worker;
    u->server = server_ref(server);
    u->cell = worker_cell(u->worker, server);
    u->cell->home = wp->line;
    u->user = NULL;
    u->state = UPSTREAM_CONNECTING;
    u->reused = u->identity = false;
    u->counted = true;
    u->expires_ms = UINT64_MAX;
    deadline_init(&u->deadline);
    list_push_back(&u->worker->upstreams, &u->all);
    enter_busy(u);
    compose_head(u, version, origin);
    return u;
}

struct upstream *upstream_connect(struct worker_pool *wp, struct server *server,
                                  const struct upstream_origin *origin, struct upstream_user *user,
                                  int *uv_error)
{
    struct addr to;
    uint32_t generation;
    *uv_error = UV_EAI_NONAME;
    if (!server_address(server, &to, &generation))
        return NULL;
    *uv_error = UV_EMFILE;
    if (!take_descriptor(wp->worker))
        return NULL;
    *uv_error = UV_ENOMEM;
    struct upstream *u = upstream_new(wp, server, origin);
    if (u == NULL) {
        descriptors_give(1);
        return NULL;
    }
    u->generation = generation;
    *uv_error = conn_connect(&u->conn, &wp->worker->net, &upstream_ops, &to, &u->room);
    u->conn.in_limit = UPSTREAM_HEAD_MAX + 1; /* so that a head that is too long is seen */
    if (*uv_error < 0) {
        upstream_close(u);
        return NULL;
    }
    u->user = user;
    deadline_arm(&wp->connect, &u->deadline);
    return u;
}

/* ---- lending ---- */

/* Closes a kept connection that may not be lent again. sure: the kernel is asked, too. */
static bool close_spent(struct upstream *u, bool sure)
{
    if (is_old(u) || has_expired(u))
        part(u);
    else if (sure && !conn_alive(&u->conn))
        upstream_close(u);
    return u->state == UPSTREAM_CLOSED;
}

static void lend(struct upstream *u, struct upstream_user *user)
{
    leave_list(u);
    enter_busy(u);
    u->state = UPSTREAM_BUSY;
    u->user = user;
    u->reused = true;
    u->expires_ms = UINT64_MAX;
}

struct upstream *upstream_take_idle(struct worker_pool *wp, struct server *server, bool sure,
                                    struct upstream_user *user)
{
    struct server_cell *cell = worker_cell(wp->worker, server);
    if (wp->pool->config->send_head != SEND_HEAD_OFF) /* idle ones are of before, without a head */
        return NULL;
    while (!list_empty(&cell->idle)) {
        struct upstream *u = container_of(cell->idle.next, struct upstream, link);
        assert(u->state == UPSTREAM_IDLE && u->user == NULL);
        if (close_spent(u, sure))
            continue;
        lend(u, user);
        return u;
    }
    return NULL;
}

/* Whether the server learns whose connection this is, if the pool tells it. One that was made
 * before the pool began to send PROXY heads has not said so. */
static bool names_client(const struct upstream *u, const struct worker_pool *wp)
{
    return u->head_len > 0 || wp->pool->config->send_head == SEND_HEAD_OFF;
}

struct upstream *upstream_take_tied(const struct worker_pool *wp, struct upstream **tied,
                                    const struct server *server, bool sure,
                                    struct upstream_user *user)
{
    struct upstream *u = *tied;
    while (u && u->server != server)
        u = u->next_tied;
    if (u == NULL)
        return NULL;
    assert(u->state == UPSTREAM_TIED && u->identity && u->user == NULL);
    if (!names_client(u, wp))
        part(u);
    if (u->state == UPSTREAM_CLOSED || close_spent(u, sure))
        return NULL;
    lend(u, user);
    return u;
}

void upstream_hand_over(struct upstream *u, struct upstream_user *user)
{
    assert(u->user && u->state != UPSTREAM_CLOSED);
    u->user = user;
}

/* The pool whose limits hold while the connection is idle. NULL: it may not be kept. */
static struct worker_pool *place_of(const struct upstream *u)
{
    struct server_cell *cell = u->cell;
    const struct pool_line *line = cell->home;
    struct worker_pool *wp = line->now; /* of the current generation, not the loan's */
    bool sound = !u->conn.eof && !is_old(u) && !has_expired(u);
    bool usable = atomic_load_explicit(&u->server->usable, memory_order_relaxed);
    if (wp == NULL || !sound || !usable || server_gone(u->server) || u->worker->stopping)
        return NULL;
    bool fits = u->head_len == 0 && upstream_idle_of(cell) < wp->pool->config->max_idle_connections;
    return u->identity || fits ? wp : NULL;
}

/* It becomes the first of the client's connections. There is at most one to each server, and there
 * are few in all. */
static void tie(struct upstream *u, struct upstream **tied)
{
    unsigned n = 1;
    for (struct upstream *it = *tied, *next; it; it = next) {
        next = it->next_tied;
        if (it->server == u->server || ++n > UPSTREAM_TIES_MAX)
            part(it);
    }
    u->next_tied = *tied;
    u->tied_at = tied;
    if (u->next_tied)
        u->next_tied->tied_at = &u->next_tied;
    *tied = u;
    list_push_front(&u->worker->tied, &u->link);
    u->worker->ntied++;
    u->state = UPSTREAM_TIED;
}

static void make_idle(struct upstream *u)
{
    /* In front, so that it is lent first: the one used last is the most likely to be open still. */
    list_push_front(&u->cell->idle, &u->link);
    u->state = UPSTREAM_IDLE;
    upstream_count_idle(u->worker, u->cell, 1);
}

/* A pause that the user left must not hold the connection: an idle one has to be read from, so that
 * its end is noticed. */
void upstream_give_back(struct upstream *u, bool keep, struct upstream **tied)
{
    struct worker_pool *wp = keep ? place_of(u) : NULL;
    assert(u->user);
    u->user = NULL;
    if (wp == NULL) {
        if (keep)
            part(u);
        else
            upstream_close(u);
        return;
    }
    assert(u->state == UPSTREAM_BUSY);
    if (!u->identity)
        upstream_make_room(u->worker);
    leave_busy(u);
    if (u->identity)
        tie(u, tied);
    else
        make_idle(u);
    deadline_arm(&wp->line->idle, &u->deadline);
    conn_resume(&u->conn, PAUSE_PEER);
}

/* ---- deadlines and news of a server ---- */

void upstream_on_idle_deadline(struct deadline *d)
{
    part(container_of(d, struct upstream, deadline));
}

void upstream_on_connect_deadline(struct deadline *d)
{
    broken(container_of(d, struct upstream, deadline), UV_ETIMEDOUT);
}

void upstream_close_idle(struct server_cell *cell)
{
    while (!list_empty(&cell->idle))
        upstream_dismiss(container_of(cell->idle.next, struct upstream, link));
    upstream_delist(cell);
}

void upstream_close_ties(struct upstream **tied)
{
    while (*tied)
        part(*tied);
}

void upstream_close_tied(struct worker *w, const struct server *server)
{
    list_foreach_safe(it, nxt, &w->tied)
    {
        struct upstream *u = container_of(it, struct upstream, link);
        if (server == NULL || u->server == server)
            part(u);
    }
}

void upstream_close_gone(struct upstream **tied)
{
    for (struct upstream *u = *tied, *next; u; u = next) {
        next = u->next_tied;
        if (server_gone(u->server))
            part(u);
    }
}

/* A user may give its connection back within the call, which takes it out of this list. */
void upstream_server_down(struct server_cell *cell)
{
    list_foreach_safe(it, nxt, &cell->busy)
    {
        struct upstream *u = container_of(it, struct upstream, link);
        u->user->ops->on_server_down(u->user);
    }
}
