#include "proxy/tunnel.h"

#include "proxy/relay.h"
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

/* Something has moved. */
static void moved(struct tunnel *t)
{
    deadline_arm(&t->client->wl->idle, &t->client->deadline);
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
    list_push_back(&t->lease->wp->tunnels, &t->link);
    conn_keep_alive(&c->conn);
    conn_keep_alive(server_conn(t));
    moved(t);
    conn_continue(&c->conn);          /* what came before */
    if (goes_on(c, t) && c->conn.eof) /* it half-closed before there was a tunnel */
        tunnel_client_eof(t);
}

void tunnel_end(struct tunnel *t)
{
    list_remove(&t->link);
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

/* Writes a piece to the other side. False: it is broken. */
static bool pass(struct tunnel *t, struct conn *from, struct conn *to, char *data, size_t len,
                 bool *none_sent)
{
    uv_buf_t buf = uv_buf_init(data, (unsigned)len);
    if (relay_write(from, to, &buf, 1, none_sent) < 0)
        return false;
    moved(t);
    return true;
}

size_t tunnel_from_client(struct tunnel *t, char *data, size_t len)
{
    struct conn *from = client_conn(t);
    bool none_sent;
    if (from->paused & PAUSE_PEER)
        return 0;
    if (pass(t, from, server_conn(t), data, len, &none_sent)) {
        t->sent = true;
    } else if (none_sent && tunnel_untouched(t) && t->ops->on_refused) {
        t->ops->on_refused(t);
        return 0; /* they wait for another server */
    } else {
        tunnel_cut(t);
    }
    return len;
}

size_t tunnel_from_server(struct tunnel *t, char *data, size_t len)
{
    struct conn *from = server_conn(t);
    if (from->paused & PAUSE_PEER)
        return 0;
    if (!t->received)
        server_succeeded(t->lease->server);
    t->received = true;
    if (!pass(t, from, client_conn(t), data, len, NULL))
        tunnel_cut(t);
    return len;
}

/* Over once both ends have ended and all that was kept for them is out. */
static void maybe_done(struct tunnel *t)
{
    if (t->fin_to_client && t->fin_to_server && conn_queued(client_conn(t)) == 0 &&
        conn_queued(server_conn(t)) == 0)
        t->ops->on_done(t);
}

/* One side has ended: the other learns it, once what was kept for it is out. */
static void ended(struct tunnel *t, struct conn *from, struct conn *to, bool *told)
{
    if (*told || conn_pending(from))
        return;
    *told = true;
    if (conn_shutdown(to) < 0) {
        tunnel_cut(t);
        return;
    }
    moved(t);
    maybe_done(t);
}

void tunnel_client_eof(struct tunnel *t)
{
    ended(t, client_conn(t), server_conn(t), &t->fin_to_server);
}

void tunnel_server_eof(struct tunnel *t)
{
    ended(t, server_conn(t), client_conn(t), &t->fin_to_client);
}

/* The sink of `source` has drained. */
static void drained(struct tunnel *t, struct conn *source)
{
    const struct client *c = t->client;
    relay_drained(source);
    if (goes_on(c, t) && c->conn.eof)
        tunnel_client_eof(t);
    if (goes_on(c, t) && server_conn(t)->eof)
        tunnel_server_eof(t);
    if (goes_on(c, t))
        maybe_done(t);
}

void tunnel_client_drained(struct tunnel *t)
{
    drained(t, server_conn(t));
}

void tunnel_server_drained(struct tunnel *t)
{
    drained(t, client_conn(t));
}
