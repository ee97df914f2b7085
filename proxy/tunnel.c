#include "proxy/tunnel.h"

#include <assert.h>

static const struct conn_ops client_conn_ops;
static const struct client_ops client_ops;
static const struct upstream_user_ops server_ops;

static struct conn *client_conn(const struct tunnel *t)
{
    return &t->client->conn;
}

static struct conn *server_conn(const struct tunnel *t)
{
    return &t->lease.upstream->conn;
}

/* Bytes have moved: the deadline begins anew. */
static void not_idle(struct tunnel *t)
{
    deadline_arm(&t->client->wl->clocks->tunnel, &t->client->deadline);
}

/* ---- events: the owner hears of the end when the outermost one is over ---- */

static void enter(struct tunnel *t)
{
    assert(t->client->tunnel == t && t->lease.upstream);
    t->depth++;
}

static bool goes_on(const struct tunnel *t)
{
    return t->end == TUNNEL_GOES_ON;
}

static void end(struct tunnel *t, enum tunnel_end why)
{
    assert(t->depth > 0 && why != TUNNEL_GOES_ON);
    if (!goes_on(t))
        return;
    t->end = (uint8_t)why;
    if (why != TUNNEL_CUT)
        return;
    conn_break(client_conn(t));
    conn_break(server_conn(t));
}

static void leave(struct tunnel *t)
{
    assert(t->depth > 0);
    if (--t->depth == 0 && !goes_on(t))
        t->ops->on_end(t, (enum tunnel_end)t->end);
}

/* ---- life ---- */

void tunnel_init(struct tunnel *t, const struct tunnel_ops *ops, struct client *client)
{
    t->ops = ops;
    t->client = client;
    t->depth = 0;
    t->end = TUNNEL_GOES_ON;
    t->sent = t->received = t->fin_to_server = t->fin_to_client = t->server_gone = false;
    list_init(&t->link);
}

static void client_eof(struct tunnel *t);

void tunnel_start(struct tunnel *t)
{
    struct client *c = t->client;
    struct worker_pool *wp = t->lease.wp;
    struct pool_line *line = wp->line;
    assert(c->tunnel == NULL && t->lease.upstream && goes_on(t));
    c->tunnel = t;
    c->conn.ops = &client_conn_ops;
    c->ops = &client_ops;
    t->lease.user.ops = &server_ops;
    list_push_back(&line->tunnels, &t->link);
    if (!deadline_armed(&line->probe))
        deadline_arm(&line->probes, &line->probe);
    relay_init(&t->to_server, wp->worker, &c->conn, server_conn(t));
    relay_init(&t->to_client, wp->worker, server_conn(t), &c->conn);
    conn_keep_alive(&c->conn);
    conn_keep_alive(server_conn(t));
    not_idle(t);
    enter(t);
    if (lease_lost_key(&t->lease)) /* meanwhile, so tunnel_recheck() did not see this tunnel */
        end(t, TUNNEL_CUT);
    else
        conn_continue(&c->conn); /* what came before the tunnel began */
    if (c->conn.eof)             /* it half-closed before there was a tunnel */
        client_eof(t);
    if (goes_on(t))
        conn_continue(server_conn(t));
    leave(t);
}

void tunnel_end(struct tunnel *t)
{
    struct client *c = t->client;
    if (c->tunnel != t)
        return;
    assert(t->depth == 0);
    list_remove(&t->link);
    relay_end(&t->to_server);
    relay_end(&t->to_client);
    c->tunnel = NULL;
    c->conn.ops = c->wl->mode->conn_ops;
    c->ops = c->wl->mode->ops;
}

void tunnel_cut(struct tunnel *t)
{
    enter(t);
    end(t, TUNNEL_CUT);
    leave(t);
}

void tunnel_recheck_one(struct tunnel *t)
{
    if (lease_lost_key(&t->lease))
        tunnel_cut(t);
}

void tunnel_recheck(struct pool_line *line)
{
    list_foreach_safe(it, nxt, &line->tunnels)
        tunnel_recheck_one(container_of(it, struct tunnel, link));
}

/* ---- a server that breaks ---- */

/* Whether the client's kernel has all bytes of the server, and its end. */
static bool is_heard(const struct tunnel *t)
{
    const struct conn *c = client_conn(t);
    return t->fin_to_client && conn_queued(c) == 0 && conn_unsent(c) == 0;
}

/* The server has ended in order and takes no more. The client should learn that by a reset, as its
 * bytes are lost. But a reset would destroy what is on its way to the client, so that goes first.
 */
static void give_up_server(struct tunnel *t)
{
    struct conn *c = client_conn(t);
    if (is_heard(t)) {
        end(t, TUNNEL_CUT);
        return;
    }
    t->server_gone = true;
    relay_end(&t->to_server);
    if (conn_is_paused(c, PAUSE_PEER)) {
        conn_clear_pause(c, PAUSE_PEER);
        conn_continue(c);
        if (goes_on(t))
            conn_resume(c, PAUSE_PEER);
    }
    if (goes_on(t) && c->eof)
        client_eof(t);
}

/* The error is counted, but is no failure that takes the server down: what the client sent may have
 * been the cause (docs/tcp.md, Tries). */
static void server_broken(struct tunnel *t, int uv_error)
{
    if (server_conn(t)->eof) {
        give_up_server(t);
        return;
    }
    if (!conn_error_is_local(uv_error))
        cell_add(&lease_cell(&t->lease)->errors, 1);
    end(t, TUNNEL_CUT);
}

/* One of the two connections broke. */
static void broken(struct tunnel *t, const struct conn *c, int uv_error)
{
    if (c == server_conn(t))
        server_broken(t, uv_error);
    else
        end(t, TUNNEL_CUT);
}

/* Asks the kernel for errors of connections that are not read from: no callback tells of those. */
static void probe(struct tunnel *t)
{
    struct conn *c = client_conn(t);
    int uv_error = conn_unread_error(c);
    if (uv_error == 0) {
        c = server_conn(t);
        uv_error = conn_unread_error(c);
    }
    if (uv_error == UV_EPIPE && c == server_conn(t))
        give_up_server(t); /* it had ended in order before, behind bytes that are still unread */
    else if (uv_error < 0)
        broken(t, c, uv_error);
    else if (t->server_gone && is_heard(t))
        end(t, TUNNEL_CUT);
}

void tunnel_on_probe_deadline(struct deadline *d)
{
    struct pool_line *line = container_of(d, struct pool_line, probe);
    line->refs++; /* its last tunnel may end in here, and its last generation with it */
    list_foreach_safe(it, nxt, &line->tunnels)
    {
        struct tunnel *t = container_of(it, struct tunnel, link);
        enter(t);
        probe(t);
        leave(t);
    }
    if (!list_empty(&line->tunnels))
        deadline_arm(&line->probes, d);
    pool_line_unref(line);
}

/* ---- bytes ---- */

/* Writes a piece to the sink of r. < 0: the sink is broken. */
static int pass(struct tunnel *t, struct relay *r, char *data, size_t len, bool *none_sent)
{
    uv_buf_t buf = uv_buf_init(data, (unsigned)len);
    int uv_error = relay_write(r, &buf, 1, none_sent);
    if (uv_error < 0)
        return uv_error;
    if (relay_pays(r))
        relay_begin(r, UINT64_MAX);
    not_idle(t);
    return 0;
}

/* Returns how many of the bytes were taken. */
static size_t from_client(struct tunnel *t, char *data, size_t len)
{
    bool none_sent;
    if (!goes_on(t) || conn_is_paused(client_conn(t), PAUSE_PEER))
        return 0;
    if (t->server_gone)
        return len;
    int uv_error = pass(t, &t->to_server, data, len, &none_sent);
    if (uv_error == 0) {
        t->sent = true;
    } else if (none_sent && !t->sent && !t->received && t->ops->takes_refused) {
        end(t, TUNNEL_REFUSED);
        return 0; /* the conn keeps them for another server */
    } else {
        server_broken(t, uv_error);
    }
    return len;
}

static size_t from_server(struct tunnel *t, char *data, size_t len)
{
    if (!goes_on(t) || conn_is_paused(server_conn(t), PAUSE_PEER))
        return 0;
    if (!t->received)
        lease_answered(&t->lease);
    t->received = true;
    if (pass(t, &t->to_client, data, len, NULL) < 0)
        end(t, TUNNEL_CUT);
    return len;
}

/* The tunnel is done once both sides have ended and the kernel has all that was queued for them. */
static void maybe_done(struct tunnel *t)
{
    if (t->fin_to_client && t->fin_to_server && conn_queued(client_conn(t)) == 0 &&
        (t->server_gone || conn_queued(server_conn(t)) == 0))
        end(t, TUNNEL_DONE);
}

/* The source has ended. The sink is told by a FIN, but not before the bytes that are kept for it.
 */
static void ended(struct tunnel *t, struct relay *r, bool *told)
{
    if (!goes_on(t) || *told || conn_pending(r->source) || relay_held(r))
        return;
    *told = true;
    bool gone = r == &t->to_server && t->server_gone;
    if (!gone && conn_shutdown(r->sink) < 0) {
        end(t, TUNNEL_CUT);
        return;
    }
    not_idle(t);
    maybe_done(t);
}

static void client_eof(struct tunnel *t)
{
    ended(t, &t->to_server, &t->fin_to_server);
}

static void server_eof(struct tunnel *t)
{
    ended(t, &t->to_client, &t->fin_to_client);
}

/* Moves what the source of r has as bulk. */
static void turn(struct tunnel *t, struct relay *r)
{
    size_t n;
    int uv_error;
    if (!goes_on(t))
        return;
    enum relay_result result = relay_turn(r, &n, &uv_error);
    if (n)
        not_idle(t);
    if (result == RELAY_SINK)
        broken(t, r->sink, uv_error);
    else if (result == RELAY_SOURCE && uv_error != UV_EOF)
        broken(t, r->source, uv_error);
    else if (result == RELAY_SOURCE && r == &t->to_server)
        client_eof(t);
    else if (result == RELAY_SOURCE)
        server_eof(t);
}

/* The sink has drained. First it gets what the pipe and the source's conn have kept, then the
 * source is read from again. */
static void go_on(struct tunnel *t, struct relay *r)
{
    int uv_error;
    switch (relay_drained(r, &uv_error)) {
    case RELAY_REST_LOST:
        broken(t, r->sink, uv_error);
        return;
    case RELAY_REST_SAME:
        return;
    case RELAY_REST_NONE:
        break;
    }
    if (r->bulk)
        turn(t, r); /* mostly more has come, and then the conn need not be registered for it */
    else
        conn_continue(r->source);
    if (goes_on(t) && !conn_is_paused(r->source, PAUSE_PEER))
        conn_resume(r->source, PAUSE_PEER);
}

/* An end of stream that came while its bytes waited is passed on now. */
static void drained(struct tunnel *t, struct relay *r)
{
    if (!goes_on(t))
        return;
    not_idle(t);
    go_on(t, r);
    if (goes_on(t) && client_conn(t)->eof)
        client_eof(t);
    if (goes_on(t) && server_conn(t)->eof)
        server_eof(t);
    if (goes_on(t))
        maybe_done(t);
}

/* ---- what the client's connection reports ---- */

static struct tunnel *of_conn(struct conn *c)
{
    return container_of(c, struct client, conn)->tunnel;
}

static size_t on_client_read(struct conn *c, char *data, size_t len)
{
    struct tunnel *t = of_conn(c);
    enter(t);
    size_t taken = from_client(t, data, len);
    leave(t);
    return taken;
}

static void on_client_eof(struct conn *c)
{
    struct tunnel *t = of_conn(c);
    enter(t);
    client_eof(t);
    leave(t);
}

static void on_client_error(struct conn *c, int uv_error)
{
    tunnel_cut(of_conn(c));
}

static void on_client_drain(struct conn *c)
{
    struct tunnel *t = of_conn(c);
    enter(t);
    drained(t, &t->to_client);
    leave(t);
}

static void on_client_readable(struct conn *c)
{
    struct tunnel *t = of_conn(c);
    enter(t);
    turn(t, &t->to_server);
    leave(t);
}

static const struct conn_ops client_conn_ops = {
    .on_read = on_client_read,
    .on_eof = on_client_eof,
    .on_error = on_client_error,
    .on_drain = on_client_drain,
    .on_readable = on_client_readable,
};

/* ---- what the server's connection reports ---- */

static struct tunnel *of_user(struct upstream_user *user)
{
    return container_of(user, struct tunnel, lease.user);
}

static void on_server_broken(struct upstream_user *user, int uv_error)
{
    struct tunnel *t = of_user(user);
    bool untouched = !t->sent && !t->received;
    enter(t);
    if (untouched && t->ops->takes_refused && !conn_error_is_local(uv_error))
        end(t, TUNNEL_REFUSED);
    else
        server_broken(t, uv_error);
    leave(t);
}

static size_t on_server_bytes(struct upstream_user *user, char *data, size_t len)
{
    struct tunnel *t = of_user(user);
    enter(t);
    size_t taken = from_server(t, data, len);
    leave(t);
    return taken;
}

static void on_server_eof(struct upstream_user *user)
{
    struct tunnel *t = of_user(user);
    enter(t);
    server_eof(t);
    leave(t);
}

static void on_server_drain(struct upstream_user *user)
{
    struct tunnel *t = of_user(user);
    enter(t);
    drained(t, &t->to_server);
    leave(t);
}

static void on_server_readable(struct upstream_user *user)
{
    struct tunnel *t = of_user(user);
    enter(t);
    turn(t, &t->to_client);
    leave(t);
}

static void on_server_down(struct upstream_user *user)
{
    struct tunnel *t = of_user(user);
    if (lease_close_moved(&t->lease) != CLOSE_MOVED_NEVER)
        tunnel_cut(t);
}

static const struct upstream_user_ops server_ops = {
    .on_broken = on_server_broken,
    .on_bytes = on_server_bytes,
    .on_eof = on_server_eof,
    .on_drain = on_server_drain,
    .on_readable = on_server_readable,
    .on_server_down = on_server_down,
};

/* ---- as a client ---- */

/* What is open may go on until `shutdown_timeout`, when the worker closes everything. */
static void on_stop(struct client *c)
{
}

static void on_close(struct client *c)
{
    tunnel_cut(c->tunnel);
}

/* That deadline runs for a request, and a tunnel has none. */
static void on_request_deadline(struct client *c)
{
    assert(!"a tunnel has no request to wait for");
}

static void on_idle_deadline(struct client *c)
{
    struct tunnel *t = c->tunnel;
    enter(t);
    end(t, TUNNEL_IDLE);
    leave(t);
}

/* Either side may be the one that still takes something. */
static size_t unsent(const struct client *c)
{
    return conn_unsent(&c->conn) + conn_unsent(server_conn(c->tunnel));
}

static const struct client_ops client_ops = {
    .stop = on_stop,
    .close = on_close,
    .on_request_deadline = on_request_deadline,
    .on_idle_deadline = on_idle_deadline,
    .unsent = unsent,
};
