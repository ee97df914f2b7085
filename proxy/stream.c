#include "proxy/stream.h"

#include <assert.h>

#include "proxy/key.h"
#include "proxy/upstream.h"

static struct stream *of(struct conn *c)
{
    return container_of(c, struct stream, client.conn);
}

static struct stream *of_client(struct client *c)
{
    return container_of(c, struct stream, client);
}

static struct stream *of_lease(struct lease *l)
{
    return container_of(l, struct stream, lease);
}

static struct stream *of_tunnel(struct tunnel *t)
{
    return container_of(t, struct stream, tunnel);
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

/* What was not handed over whole must not look whole. */
static void stream_close(struct stream *s)
{
    if (s->state == STREAM_CLOSED)
        return;
    move(s, STREAM_CLOSED);
    if (conn_queued(&s->client.conn))
        conn_break(&s->client.conn);
    if (s->lease.upstream && conn_queued(&s->lease.upstream->conn))
        conn_break(&s->lease.upstream->conn);
    tunnel_end(&s->tunnel);
    lease_end(&s->lease, false);
    client_end(&s->client);
}

/* ---- tries ---- */

static void try_failed(struct stream *s);

/* The first try's connection gets the descriptor that came with the client. */
static void hand_over_descriptor(struct client *c)
{
    if (c->descriptors > 1)
        descriptors_give(1);
    c->descriptors = 1;
}

/* Lends the next server and begins to connect to it. */
static void try_next(struct stream *s)
{
    if (lease_next(&s->lease) != POOL_OK) {
        stream_close(s);
        return;
    }
    hand_over_descriptor(&s->client);
    int r = upstream_connect(&s->lease);
    if (r < 0 && conn_error_is_local(r))
        stream_close(s);
    else if (r < 0)
        try_failed(s); /* there is no way to it */
}

/* By its server's fault; not a byte has passed. */
static void try_failed(struct stream *s)
{
    lease_failed(&s->lease);
    lease_end(&s->lease, false);
    if (lease_retry(&s->lease))
        try_next(s);
    else
        stream_close(s);
}

static void back_to_connect(struct stream *s)
{
    tunnel_end(&s->tunnel);
    tunnel_init(&s->tunnel, s->tunnel.ops, &s->client, &s->lease); /* nobody was told of an end */
    deadline_cancel(&s->client.deadline);
    s->client.conn.paused &= (uint8_t)~PAUSE_PEER; /* it was this server that was full */
    move(s, STREAM_CONNECT);
}

/* What the key is made of is known, or will not be. */
static void route(struct stream *s)
{
    struct key_source from = {.peer = client_source(&s->client)};
    if (s->sni.result == SNI_NAME)
        from.sni = sni_name(&s->sni);
    deadline_cancel(&s->client.deadline);
    lease_set_key(&s->lease, s->client.wl, &from);
    move(s, STREAM_CONNECT);
    try_next(s);
}

/* ---- the server's side ---- */

/* Reads what the client may have sent meanwhile, and watches it from now on. */
static void start_client(struct stream *s)
{
    struct conn *c = &s->client.conn;
    conn_read_now(c);
    if (s->state != STREAM_CLOSED && !c->eof && conn_start(c) < 0)
        tunnel_cut(&s->tunnel);
}

static void on_broken(struct lease *l, int uv_error);

/* At once, as the server may be waiting for it before it speaks. */
static int send_head(struct stream *s)
{
    struct client *c = &s->client;
    uv_buf_t head = uv_buf_init(c->send_head, c->send_head_len);
    return conn_write(&s->lease.upstream->conn, &head, 1, NULL);
}

static void on_connected(struct lease *l)
{
    struct stream *s = of_lease(l);
    if (lease_moved(l)) { /* while connecting */
        lease_end(l, false);
        try_next(s);
        return;
    }
    int r = send_head(s);
    if (r < 0) {
        on_broken(l, r);
        return;
    }
    move(s, STREAM_TUNNEL);
    tunnel_start(&s->tunnel);
    if (s->state == STREAM_TUNNEL && !s->client.conn.started && !s->client.conn.eof)
        start_client(s);
}

static void on_broken(struct lease *l, int uv_error)
{
    struct stream *s = of_lease(l);
    bool our_want = conn_error_is_local(uv_error);
    if (s->state == STREAM_CONNECT && our_want) {
        stream_close(s);
    } else if (s->state == STREAM_CONNECT) {
        try_failed(s);
    } else if (tunnel_untouched(&s->tunnel) && !our_want) {
        back_to_connect(s);
        try_failed(s);
    } else {
        tunnel_server_broken(&s->tunnel, uv_error);
    }
}

static size_t on_server_bytes(struct lease *l, char *data, size_t len)
{
    struct stream *s = of_lease(l);
    assert(s->state == STREAM_TUNNEL); /* a connection is read from when it is made */
    return tunnel_from_server(&s->tunnel, data, len);
}

static void on_server_eof(struct lease *l)
{
    tunnel_server_eof(&of_lease(l)->tunnel);
}

static void on_server_drain(struct lease *l)
{
    tunnel_server_drained(&of_lease(l)->tunnel);
}

static void on_server_readable(struct lease *l)
{
    tunnel_server_readable(&of_lease(l)->tunnel);
}

static void on_server_down(struct lease *l)
{
    struct stream *s = of_lease(l);
    if (s->state == STREAM_CONNECT) { /* uses up no retry */
        lease_end(l, false);
        try_next(s);
    } else if (l->wp->pool->config->close_moved != CLOSE_MOVED_NEVER) {
        tunnel_cut(&s->tunnel);
    }
}

static const struct lease_ops stream_lease_ops = {
    .on_connected = on_connected,
    .on_broken = on_broken,
    .on_bytes = on_server_bytes,
    .on_eof = on_server_eof,
    .on_drain = on_server_drain,
    .on_readable = on_server_readable,
    .on_server_down = on_server_down,
};

/* ---- the tunnel ---- */

static void on_done(struct tunnel *t)
{
    struct stream *s = of_tunnel(t);
    if (t->sent)
        server_succeeded(s->lease.server);
    stream_close(s);
}

static void on_cut(struct tunnel *t)
{
    stream_close(of_tunnel(t));
}

static void on_refused(struct tunnel *t)
{
    struct stream *s = of_tunnel(t);
    back_to_connect(s);
    try_failed(s);
}

static const struct tunnel_ops stream_tunnel_ops = {on_done, on_cut, on_refused};

/* ---- the client's side ---- */

/* data[0, len) is all that has come. */
static void peek(struct stream *s, const char *data, size_t len)
{
    size_t most = s->client.wl->config->max_header_size;
    if (sni_read(&s->sni, data, len < most ? len : most) != SNI_MORE || len >= most)
        route(s);
}

/* The client's first bytes decide where it goes. */
static void begin_peek(struct stream *s)
{
    struct conn *c = &s->client.conn;
    deadline_arm(&s->client.wl->request, &s->client.deadline);
    if (c->delivering)
        return;
    conn_read_now(c);
    if (!c->closing && !c->started && !c->eof && conn_start(c) < 0)
        stream_close(s);
}

static size_t on_read(struct conn *c, char *data, size_t len)
{
    struct stream *s = of(c);
    switch (s->state) {
    case STREAM_PEEK:
        peek(s, data, len);
        return 0;
    case STREAM_CONNECT:
        return 0; /* kept until there is somebody to take it */
    case STREAM_TUNNEL:
        return tunnel_from_client(&s->tunnel, data, len);
    case STREAM_CLOSED:
        break;
    }
    return len;
}

static void on_eof(struct conn *c)
{
    struct stream *s = of(c);
    if (s->state == STREAM_TUNNEL)
        tunnel_client_eof(&s->tunnel);
    else if (s->state == STREAM_PEEK)
        route(s);
}

static void on_error(struct conn *c, int uv_error)
{
    struct stream *s = of(c);
    if (s->state == STREAM_TUNNEL)
        tunnel_cut(&s->tunnel);
    else
        stream_close(s);
}

static void on_drain(struct conn *c)
{
    struct stream *s = of(c);
    if (s->state == STREAM_TUNNEL)
        tunnel_client_drained(&s->tunnel);
}

static void on_readable(struct conn *c)
{
    tunnel_client_readable(&of(c)->tunnel);
}

static const struct conn_ops stream_ops = {on_read, on_eof, on_error, on_drain, on_readable};

/* ---- as a client ---- */

static void on_init(struct client *c)
{
    struct stream *s = of_client(c);
    s->state = STREAM_PEEK;
    sni_init(&s->sni);
    lease_init(&s->lease, c->wl->pool, &stream_lease_ops);
    tunnel_init(&s->tunnel, &stream_tunnel_ops, c, &s->lease);
}

static void on_begin(struct client *c)
{
    struct stream *s = of_client(c);
    const struct config_listener *l = c->wl->config;
    struct key_source from = {.peer = client_source(c)};
    cell_add(&c->wl->cell->requests, 1);
    if (key_wants_sni(l->keys, l->nkeys, &from))
        begin_peek(s);
    else
        route(s);
}

static void on_refuse(struct client *c, bool may_linger)
{
    stream_close(of_client(c));
}

/* What is open may go on for as long as the worker may. */
static void on_stop(struct client *c)
{
}

static void on_close(struct client *c)
{
    struct stream *s = of_client(c);
    if (s->state == STREAM_TUNNEL)
        tunnel_cut(&s->tunnel);
    else
        stream_close(s);
}

static void on_request_deadline(struct client *c)
{
    route(of_client(c)); /* it said too little in time */
}

static void on_idle_deadline(struct client *c)
{
    stream_close(of_client(c));
}

const struct client_mode stream_mode = {
    .size = sizeof(struct stream),
    .use = DESCRIPTORS_STREAM,
    .descriptors = 2,
    .conn_ops = &stream_ops,
    .init = on_init,
    .begin = on_begin,
    .refuse = on_refuse,
    .stop = on_stop,
    .close = on_close,
    .on_request_deadline = on_request_deadline,
    .on_idle_deadline = on_idle_deadline,
};
