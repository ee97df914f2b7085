#include "proxy/tunnel.h"

#include "proxy/relay.h"
#include "proxy/session.h"

static void moved(struct exchange *x)
{
    deadline_arm(&x->session->client.wl->idle, &x->session->client.deadline);
}

void tunnel_start(struct exchange *x)
{
    struct session *s = x->session;
    s->state = SESSION_TUNNEL;
    deadline_cancel(&x->deadline);
    moved(x);
    conn_continue(&s->client.conn); /* what it sent behind its request */
    if (s->exchange == x &&
        s->client.conn.eof) /* it half-closed while the upgrade was on its way */
        tunnel_client_eof(x);
}

/* Both ways are the same: bytes go on as they are, or both ends are closed. */
static size_t pass(struct exchange *x, struct conn *from, struct conn *to, char *data, size_t len)
{
    if (from->paused & PAUSE_PEER)
        return 0;
    uv_buf_t buf = uv_buf_init(data, (unsigned)len);
    if (relay_write(from, to, &buf, 1, NULL) < 0)
        session_close(x->session);
    else
        moved(x);
    return len;
}

size_t tunnel_from_client(struct exchange *x, char *data, size_t len)
{
    return pass(x, &x->session->client.conn, &x->lease.upstream->conn, data, len);
}

size_t tunnel_from_upstream(struct exchange *x, char *data, size_t len)
{
    return pass(x, &x->lease.upstream->conn, &x->session->client.conn, data, len);
}

/* Over once both ends have ended and all that was kept for them is out. */
static void maybe_done(struct exchange *x)
{
    if (x->fin_to_client && x->fin_to_upstream && conn_queued(&x->session->client.conn) == 0 &&
        conn_queued(&x->lease.upstream->conn) == 0)
        exchange_tunnel_done(x);
}

/* One side has ended: the other learns it, once what was kept for it is out. */
static void ended(struct exchange *x, struct conn *from, struct conn *to, bool *told)
{
    if (*told || conn_pending(from))
        return;
    *told = true;
    if (conn_shutdown(to) < 0) {
        session_close(x->session);
        return;
    }
    moved(x);
    maybe_done(x);
}

void tunnel_client_eof(struct exchange *x)
{
    ended(x, &x->session->client.conn, &x->lease.upstream->conn, &x->fin_to_upstream);
}

void tunnel_upstream_eof(struct exchange *x)
{
    ended(x, &x->lease.upstream->conn, &x->session->client.conn, &x->fin_to_client);
}

void tunnel_drained(struct exchange *x, struct conn *source)
{
    struct session *s = x->session;
    relay_drained(source);
    if (s->exchange != x)
        return;
    if (s->client.conn.eof)
        tunnel_client_eof(x);
    if (s->exchange == x && x->lease.upstream->conn.eof)
        tunnel_upstream_eof(x);
    if (s->exchange == x)
        maybe_done(x);
}
