#include "proxy/stream.h"

#include <assert.h>

#include "proxy/key.h"

static const struct upstream_user_ops stream_user_ops;

static struct stream *of(struct conn *c)
{
    return container_of(c, struct stream, client.conn);
}

static struct stream *of_client(struct client *c)
{
    return container_of(c, struct stream, client);
}

static struct stream *of_user(struct upstream_user *user)
{
    return container_of(user, struct stream, tunnel.lease.user);
}

static struct lease *lease_of(struct stream *s)
{
    return &s->tunnel.lease;
}

static void move(struct stream *s, enum stream_state to)
{
    static const uint8_t allowed[] = {
        [STREAM_PEEK] = 1 << STREAM_CONNECT | 1 << STREAM_CLOSED,
        [STREAM_CONNECT] = 1 << STREAM_TUNNEL | 1 << STREAM_CLOSED,
        [STREAM_TUNNEL] = 1 << STREAM_CONNECT | 1 << STREAM_CLOSED,
        [STREAM_CLOSED] = 0,
    };
    assert(allowed[s->state] & 1 << to);
    s->state = to;
}

/* A side that did not get all bytes is reset, so that what it got does not look whole. */
static void stream_close(struct stream *s)
{
    struct lease *l = lease_of(s);
    if (s->state == STREAM_CLOSED)
        return;
    move(s, STREAM_CLOSED);
    if (conn_queued(&s->client.conn))
        conn_break(&s->client.conn);
    if (l->upstream && conn_queued(&l->upstream->conn))
        conn_break(&l->upstream->conn);
    tunnel_end(&s->tunnel);
    lease_end(l, false);
    client_end(&s->client);
}

/* ---- tries ---- */

static void try_failed(struct stream *s, enum blame b);

/* Two descriptors were counted for the client, so that a stream that is admitted can connect. The
 * second one is given back here, as the connection to the server counts its own. */
static void hand_over_descriptor(struct client *c)
{
    if (c->descriptors > 1)
        descriptors_give(1);
    c->descriptors = 1;
}

/* Lends the next server and begins to connect to it. */
static void try_next(struct stream *s)
{
    assert(s->state == STREAM_CONNECT);
    if (lease_next(lease_of(s)) != POOL_OK) {
        stream_close(s);
        return;
    }
    hand_over_descriptor(&s->client);
    int uv_error = lease_connect(lease_of(s));
    if (uv_error < 0 && conn_error_is_local(uv_error))
        stream_close(s);
    else if (uv_error < 0)
        try_failed(s, BLAME_UNREACHABLE); /* such as no route to its address */
}

/* Not a byte has passed. */
static void try_failed(struct stream *s, enum blame b)
{
    lease_blame(lease_of(s), b);
    lease_end(lease_of(s), false);
    if (lease_retry(lease_of(s)))
        try_next(s);
    else
        stream_close(s);
}

/* Goes to the server of the key, in the pool of the first route that matches. If the server name
 * did not come, routes with a name do not match, and the next key of the list counts. */
static void route(struct stream *s)
{
    struct worker_listener *wl = s->client.wl;
    struct key_source from = {.peer = client_source(&s->client)};
    if (s->sni.result == SNI_NAME)
        from.sni = sni_name(&s->sni);
    deadline_cancel(&s->client.deadline);
    size_t i = routes_find(wl->routes, &(struct route_query){.host = from.sni});
    if (i == ROUTE_NONE) {
        stream_close(s);
        return;
    }
    const struct config_route *found = &wl->config->routes[i];
    if (wl->routes)
        lease_count_route(wl, i);
    lease_set_route(lease_of(s), found);
    lease_set_key(lease_of(s), wl, found, &from);
    if (lease_of(s)->keyless)
        cell_add(&wl->cell->keyless, 1);
    if (s->state != STREAM_CONNECT)
        move(s, STREAM_CONNECT);
    try_next(s);
}

/* ---- in CONNECT: what the server's connection reports ---- */

/* Reads what the client may have sent meanwhile, and registers its conn with the loop. */
static void start_client(struct stream *s)
{
    struct conn *c = &s->client.conn;
    conn_read_now(c);
    if (s->state == STREAM_TUNNEL && !c->eof && conn_start(c) < 0)
        tunnel_cut(&s->tunnel);
}

/* Its key has moved while it connected. If a new generation has moved it, the stream begins again
 * under that: as no byte has passed, it is like one that was accepted now. */
static void follow_key(struct stream *s)
{
    struct client *c = &s->client;
    const struct worker_listener *was = c->wl;
    lease_end(lease_of(s), false);
    client_renew(c);
    if (c->wl == was) {
        try_next(s);
        return;
    }
    lease_init(lease_of(s), c, c->wl->pool, &stream_user_ops);
    route(s);
}

static void on_connected(struct upstream_user *user)
{
    struct stream *s = of_user(user);
    if (lease_lost_key(lease_of(s))) {
        follow_key(s);
        return;
    }
    move(s, STREAM_TUNNEL);
    tunnel_start(&s->tunnel);
    if (s->state == STREAM_TUNNEL && !s->client.conn.started && !s->client.conn.eof)
        start_client(s);
}

static void on_broken(struct upstream_user *user, int uv_error)
{
    struct stream *s = of_user(user);
    assert(s->state == STREAM_CONNECT);
    if (conn_error_is_local(uv_error))
        stream_close(s);
    else
        try_failed(s, conn_error_is_reset(uv_error) ? BLAME_RESET : BLAME_UNREACHABLE);
}

/* The next server is tried, which uses up no retry. */
static void on_server_down(struct upstream_user *user)
{
    struct stream *s = of_user(user);
    assert(s->state == STREAM_CONNECT);
    lease_end(lease_of(s), false);
    try_next(s);
}

/* Nothing else can happen in CONNECT: a connection is read from when it is made, and then its
 * operations are the tunnel's. */
static const struct upstream_user_ops stream_user_ops = {
    .on_connected = on_connected,
    .on_broken = on_broken,
    .on_server_down = on_server_down,
};

/* ---- the tunnel ---- */

/* The server has closed the connection before a byte passed: another server is tried. */
static void back_to_connect(struct stream *s)
{
    tunnel_end(&s->tunnel);
    tunnel_init(&s->tunnel, s->tunnel.ops,
                &s->client); /* it can be started again: the client has seen nothing of this */
    lease_of(s)->user.ops = &stream_user_ops;
    deadline_cancel(&s->client.deadline);
    conn_clear_pause(&s->client.conn, PAUSE_PEER); /* the pause was for this server's queue */
    move(s, STREAM_CONNECT);
    try_failed(s, BLAME_RESET);
}

static void on_tunnel_end(struct tunnel *t, enum tunnel_end why)
{
    struct stream *s = container_of(t, struct stream, tunnel);
    assert(s->state == STREAM_TUNNEL);
    if (why == TUNNEL_REFUSED) {
        back_to_connect(s);
        return;
    }
    if (why == TUNNEL_DONE && t->sent)
        lease_answered(&t->lease);
    stream_close(s);
}

static const struct tunnel_ops stream_tunnel_ops = {.on_end = on_tunnel_end, .takes_refused = true};

/* ---- what the client's connection reports, until there is a tunnel ---- */

/* Looks for a server name in data[0, len), which is all that has come. */
static void peek(struct stream *s, const char *data, size_t len)
{
    size_t most = s->client.wl->config->max_header_size;
    if (sni_read(&s->sni, data, len < most ? len : most) != SNI_MORE || len >= most)
        route(s);
}

/* Waits for the client's first bytes, which decide where the stream goes. */
static void begin_peek(struct stream *s)
{
    struct conn *c = &s->client.conn;
    deadline_arm(&s->client.wl->clocks->request, &s->client.deadline);
    if (c->delivering)
        return;
    conn_read_now(c);
    if (!c->closing && !c->started && !c->eof && conn_start(c) < 0)
        stream_close(s);
}

/* Nothing is taken: the conn keeps what comes until there is a tunnel. */
static size_t on_read(struct conn *c, char *data, size_t len)
{
    struct stream *s = of(c);
    if (s->state == STREAM_PEEK)
        peek(s, data, len);
    return 0;
}

static void on_eof(struct conn *c)
{
    struct stream *s = of(c);
    if (s->state == STREAM_PEEK)
        route(s);
}

static void on_error(struct conn *c, int uv_error)
{
    stream_close(of(c));
}

/* Nothing is written to a client before there is a tunnel. */
static void on_drain(struct conn *c)
{
}

static const struct conn_ops stream_conn_ops = {
    .on_read = on_read, .on_eof = on_eof, .on_error = on_error, .on_drain = on_drain};

/* ---- as a client ---- */

static void on_init(struct client *c)
{
    struct stream *s = of_client(c);
    s->state = STREAM_PEEK;
    sni_init(&s->sni);
    tunnel_init(&s->tunnel, &stream_tunnel_ops, c);
    lease_init(lease_of(s), c, c->wl->pool, &stream_user_ops);
}

static void on_begin(struct client *c)
{
    struct stream *s = of_client(c);
    const struct config_listener *l = c->wl->config;
    struct key_source from = {.peer = client_source(c)};
    cell_add(&c->wl->cell->requests, 1);
    /* A condition in tcp is a name: with a matcher, the route depends on it. */
    if (c->wl->routes || key_wants_sni(l->routes->keys, l->routes->nkeys, &from))
        begin_peek(s);
    else
        route(s);
}

static void on_refuse(struct client *c, bool may_linger)
{
    stream_close(of_client(c));
}

/* What is open may go on until `shutdown_timeout`, when the worker closes everything. */
static void on_stop(struct client *c)
{
}

static void on_close(struct client *c)
{
    stream_close(of_client(c));
}

static void on_request_deadline(struct client *c)
{
    route(of_client(c)); /* no server name in time: the stream goes on without one */
}

static void on_idle_deadline(struct client *c)
{
    stream_close(of_client(c));
}

static size_t unsent(const struct client *c)
{
    return conn_unsent(&c->conn);
}

static const struct client_ops stream_client_ops = {
    .stop = on_stop,
    .close = on_close,
    .on_request_deadline = on_request_deadline,
    .on_idle_deadline = on_idle_deadline,
    .unsent = unsent,
};

const struct client_mode stream_mode = {
    .size = sizeof(struct stream),
    .use = DESCRIPTORS_STREAM,
    .descriptors = 2,
    .conn_ops = &stream_conn_ops,
    .ops = &stream_client_ops,
    .init = on_init,
    .begin = on_begin,
    .refuse = on_refuse,
};
