#include "proxy/tunnel.h"

#include "proxy/upstream.h"

static struct conn *client_conn(const struct tunnel *t)
{
    return &t->client->conn;
}

static struct conn *server_conn(const struct tunnel *t)
{
    return &t->lease->upstream->conn;
}

/* Whatever the tunnel was told may have been its end, and its memory gone. */
static bool goes_on(const struct client *c, const struct tunnel *t)
{
    return c->tunnel == t;
}

/* Something has passed. */
static void not_idle(struct tunnel *t)
{
    deadline_arm(&t->client->wl->idle, &t->client->deadline);
}

size_t tunnel_unsent(const struct tunnel *t)
{
    return conn_unsent(client_conn(t)) + conn_unsent(server_conn(t));
}

void tunnel_init(struct tunnel *t, const struct tunnel_ops *ops, struct client *client,
                 struct lease *lease)
{
    *t = (struct tunnel){.ops = ops, .client = client, .lease = lease};
    list_init(&t->link);
}

void tunnel_start(struct tunnel *t)
{
    struct client *c = t->client;
    c->tunnel = t;
    struct worker_pool *wp = t->lease->wp;
    list_push_back(&wp->tunnels, &t->link);
    if (!deadline_armed(&wp->look))
        deadline_arm(&wp->looks, &wp->look);
    relay_init(&t->to_server, wp->worker, &c->conn, server_conn(t));
    relay_init(&t->to_client, wp->worker, server_conn(t), &c->conn);
    conn_keep_alive(&c->conn);
    conn_keep_alive(server_conn(t));
    not_idle(t);
    conn_continue(&c->conn);          /* what came before */
    if (goes_on(c, t) && c->conn.eof) /* it half-closed before there was a tunnel */
        tunnel_client_eof(t);
}

void tunnel_end(struct tunnel *t)
{
    if (t->client->tunnel != t)
        return;
    list_remove(&t->link);
    relay_end(&t->to_server);
    relay_end(&t->to_client);
    t->client->tunnel = NULL;
}

void tunnel_cut(struct tunnel *t)
{
    conn_break(client_conn(t));
    conn_break(server_conn(t));
    t->ops->on_cut(t);
}

void tunnel_recheck(struct worker_pool *wp)
{
    list_foreach_safe(it, nxt, &wp->tunnels)
    {
        struct tunnel *t = container_of(it, struct tunnel, link);
        if (lease_moved(t->lease))
            tunnel_cut(t);
    }
}

/* The client's kernel has all that the server said, and its end. */
static bool is_heard(const struct tunnel *t)
{
    const struct conn *c = client_conn(t);
    return t->fin_to_client && conn_queued(c) == 0 && conn_unsent(c) == 0;
}

/* The server has said all that it had to say. The client is to get that before it is told that
 * nobody listens to it, which resets what is on its way. */
static void give_up_server(struct tunnel *t)
{
    struct client *c = t->client;
    if (is_heard(t)) {
        tunnel_cut(t);
        return;
    }
    t->server_gone = true;
    relay_end(&t->to_server);
    if (c->conn.paused & PAUSE_PEER) {
        c->conn.paused &= (uint8_t)~PAUSE_PEER;
        conn_continue(&c->conn);
        if (goes_on(c, t))
            conn_resume(&c->conn, PAUSE_PEER);
    }
    if (goes_on(c, t) && c->conn.eof)
        tunnel_client_eof(t);
}

/* What it was sent may have been the cause: it is counted, and not taken down for it. */
void tunnel_server_broken(struct tunnel *t, int uv_error)
{
    if (server_conn(t)->eof) {
        give_up_server(t);
        return;
    }
    if (!conn_error_is_local(uv_error))
        cell_add(&lease_cell(t->lease)->errors, 1);
    tunnel_cut(t);
}

/* One of its ends. */
static void broken(struct tunnel *t, const struct conn *c, int uv_error)
{
    if (c == server_conn(t))
        tunnel_server_broken(t, uv_error);
    else
        tunnel_cut(t);
}

void tunnel_on_look_deadline(struct deadline *d)
{
    struct worker_pool *wp = container_of(d, struct worker_pool, look);
    list_foreach_safe(it, nxt, &wp->tunnels)
    {
        struct tunnel *t = container_of(it, struct tunnel, link);
        struct conn *c = client_conn(t);
        int uv_error = conn_unread_error(c);
        if (uv_error == 0) {
            c = server_conn(t);
            uv_error = conn_unread_error(c);
        }
        if (uv_error == UV_EPIPE && c == server_conn(t))
            give_up_server(t); /* its end had come before the reset, behind what is unread */
        else if (uv_error < 0)
            broken(t, c, uv_error);
        else if (t->server_gone && is_heard(t))
            tunnel_cut(t);
    }
    if (!list_empty(&wp->tunnels))
        deadline_arm(&wp->looks, d);
}

/* Writes a piece to the other side. < 0: that is broken. */
static int pass(struct tunnel *t, struct relay *r, char *data, size_t len, bool *none_sent)
{
    uv_buf_t buf = uv_buf_init(data, (unsigned)len);
    int uv_error = relay_write(r->source, r->sink, &buf, 1, none_sent);
    if (uv_error < 0)
        return uv_error;
    if (relay_pays(r))
        relay_begin(r, UINT64_MAX);
    not_idle(t);
    return 0;
}

size_t tunnel_from_client(struct tunnel *t, char *data, size_t len)
{
    bool none_sent;
    if (client_conn(t)->paused & PAUSE_PEER)
        return 0;
    if (t->server_gone)
        return len;
    int uv_error = pass(t, &t->to_server, data, len, &none_sent);
    if (uv_error == 0) {
        t->sent = true;
    } else if (none_sent && tunnel_untouched(t) && t->ops->on_refused) {
        t->ops->on_refused(t);
        return 0; /* they wait for another server */
    } else {
        tunnel_server_broken(t, uv_error);
    }
    return len;
}

size_t tunnel_from_server(struct tunnel *t, char *data, size_t len)
{
    if (server_conn(t)->paused & PAUSE_PEER)
        return 0;
    if (!t->received)
        server_succeeded(t->lease->server);
    t->received = true;
    if (pass(t, &t->to_client, data, len, NULL) < 0)
        tunnel_cut(t);
    return len;
}

/* Over once both ends have ended and all that was kept for them is out. */
static void maybe_done(struct tunnel *t)
{
    if (t->fin_to_client && t->fin_to_server && conn_queued(client_conn(t)) == 0 &&
        (t->server_gone || conn_queued(server_conn(t)) == 0))
        t->ops->on_done(t);
}

/* The source has ended: the sink learns it, once what was kept for it is out. */
static void ended(struct tunnel *t, struct relay *r, bool *told)
{
    if (*told || conn_pending(r->source) || relay_held(r))
        return;
    *told = true;
    bool gone = r == &t->to_server && t->server_gone;
    if (!gone && conn_shutdown(r->sink) < 0) {
        tunnel_cut(t);
        return;
    }
    not_idle(t);
    maybe_done(t);
}

void tunnel_client_eof(struct tunnel *t)
{
    ended(t, &t->to_server, &t->fin_to_server);
}

void tunnel_server_eof(struct tunnel *t)
{
    ended(t, &t->to_client, &t->fin_to_client);
}

/* Moves what it can as bulk. */
static void turn(struct tunnel *t, struct relay *r)
{
    size_t n;
    int uv_error;
    enum relay_result result = relay_turn(r, &n, &uv_error);
    if (n)
        not_idle(t);
    if (result == RELAY_SINK)
        broken(t, r->sink, uv_error);
    else if (result == RELAY_SOURCE && uv_error != UV_EOF)
        broken(t, r->source, uv_error);
    else if (result == RELAY_SOURCE && r == &t->to_server)
        tunnel_client_eof(t);
    else if (result == RELAY_SOURCE)
        tunnel_server_eof(t);
}

void tunnel_client_readable(struct tunnel *t)
{
    turn(t, &t->to_server);
}

void tunnel_server_readable(struct tunnel *t)
{
    turn(t, &t->to_client);
}

/* The sink has drained: the source goes on, first with what the pipe and it have kept. */
static void resume(struct tunnel *t, struct relay *r)
{
    const struct client *c = t->client;
    int state = relay_drained(r);
    if (state < 0)
        broken(t, r->sink, state);
    if (state <= 0)
        return;
    if (r->bulk)
        turn(t, r); /* mostly there is more, and then it need not be watched at all */
    else
        conn_continue(r->source);
    if (goes_on(c, t) && !(r->source->paused & PAUSE_PEER))
        conn_resume(r->source, PAUSE_PEER);
}

static void drained(struct tunnel *t, struct relay *r)
{
    const struct client *c = t->client;
    not_idle(t);
    resume(t, r);
    if (goes_on(c, t) && c->conn.eof)
        tunnel_client_eof(t);
    if (goes_on(c, t) && server_conn(t)->eof)
        tunnel_server_eof(t);
    if (goes_on(c, t))
        maybe_done(t);
}

void tunnel_client_drained(struct tunnel *t)
{
    drained(t, &t->to_client);
}

void tunnel_server_drained(struct tunnel *t)
{
    drained(t, &t->to_server);
}
