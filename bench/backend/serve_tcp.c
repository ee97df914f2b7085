#include "bench/backend/serve_tcp.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/acceptor.h"

#define MAX_CONNECTIONS 20000
#define BLOCK \
    (128 * 1024)         /* of a source, a multiple of 256; half as much costs 1.2 times the CPU */
#define BLOCKS_A_TURN 16 /* of a source, before other connections have their turn */

struct tcp_conn {
    struct conn conn;
    struct serve_tcp *server;
    struct list link;
    bool begun; /* source: it sends */
    bool ended; /* the peer has ended its side */
};

struct serve_tcp {
    struct net *net;
    enum serve_tcp_mode mode;
    struct acceptor acceptor;
    bool listening, accept_failing;
    struct addr address;
    struct list conns;
    unsigned connections;
    char block[BLOCK]; /* what a source sends */
};

/* --- connections --- */

static void on_conn_closed(struct conn *conn)
{
    struct tcp_conn *c = container_of(conn, struct tcp_conn, conn);
    c->server->connections--;
    free(c);
}

static void tcp_close(struct tcp_conn *c)
{
    list_remove(&c->link);
    conn_close(&c->conn, on_conn_closed);
}

static void on_error(struct conn *conn, int uv_error)
{
    tcp_close(container_of(conn, struct tcp_conn, conn));
}

/* --- echo --- */

/* What the peer does not take now waits in the conn, and nothing more is read until it is out. */
static size_t echo(struct conn *conn, char *data, size_t len)
{
    uv_buf_t b = uv_buf_init(data, (unsigned)len);
    if (conn_write(conn, &b, 1, NULL) < 0)
        tcp_close(container_of(conn, struct tcp_conn, conn));
    else if (conn_queued(conn) > 0)
        conn_pause(conn, PAUSE_PEER);
    return len;
}

static void on_echoed(struct conn *conn)
{
    struct tcp_conn *c = container_of(conn, struct tcp_conn, conn);
    if (!c->ended)
        conn_resume(conn, PAUSE_PEER);
    else if (conn_queued(conn) == 0)
        tcp_close(c);
}

/* Closing sends our end behind what was sent back. */
static void on_echo_end(struct conn *conn)
{
    struct tcp_conn *c = container_of(conn, struct tcp_conn, conn);
    c->ended = true;
    on_echoed(conn);
}

/* --- sink --- */

static size_t swallow(struct conn *conn, char *data, size_t len)
{
    return len;
}

static void on_nothing_queued(struct conn *conn)
{
}

/* --- source --- */

/* Fills the socket; the conn tells when there is room again. A peer that reads as fast as this
 * writes must not keep others waiting: the last block is queued, which ends this turn. */
static void pour(struct conn *conn)
{
    struct tcp_conn *c = container_of(conn, struct tcp_conn, conn);
    uv_buf_t b = uv_buf_init(c->server->block, BLOCK);
    int r = 0;
    for (int i = 1; i < BLOCKS_A_TURN && r == 0 && conn_queued(conn) == 0; i++)
        r = conn_write(conn, &b, 1, NULL);
    if (r == 0 && conn_queued(conn) == 0)
        r = conn_queue(conn, b.base, b.len);
    if (r < 0)
        tcp_close(c);
}

static size_t on_source_read(struct conn *conn, char *data, size_t len)
{
    struct tcp_conn *c = container_of(conn, struct tcp_conn, conn);
    if (!c->begun) {
        c->begun = true;
        pour(conn);
    }
    return len;
}

static void on_source_end(struct conn *conn)
{
    struct tcp_conn *c = container_of(conn, struct tcp_conn, conn);
    if (!c->begun)
        tcp_close(c);
}

/* --- accept --- */

static const struct conn_ops modes[] = {
    [SERVE_ECHO] = {.on_read = echo,
                    .on_eof = on_echo_end,
                    .on_error = on_error,
                    .on_drain = on_echoed},
    [SERVE_SINK] = {.on_read = swallow,
                    .on_eof = on_echo_end,
                    .on_error = on_error,
                    .on_drain = on_nothing_queued},
    [SERVE_SOURCE] = {.on_read = on_source_read,
                      .on_eof = on_source_end,
                      .on_error = on_error,
                      .on_drain = pour},
};

static void on_accept_error(struct acceptor *a, int uv_error)
{
    struct serve_tcp *v = container_of(a, struct serve_tcp, acceptor);
    if (!v->accept_failing)
        log_event(LOG_WARN, "accept failed", uv_strerror(uv_error));
    v->accept_failing = true;
}

static void on_accept(struct acceptor *a, int fd, const struct addr *peer)
{
    struct serve_tcp *v = container_of(a, struct serve_tcp, acceptor);
    if (v->connections == MAX_CONNECTIONS) {
        close(fd);
        return;
    }
    struct tcp_conn *c = mem_zalloc(sizeof *c); /* their number is bounded */
    v->accept_failing = false;
    v->connections++;
    c->server = v;
    conn_accept(&c->conn, v->net, &modes[v->mode], fd);
    list_push_back(&v->conns, &c->link);
    if (conn_start(&c->conn) < 0)
        tcp_close(c);
}

/* --- life --- */

struct serve_tcp *serve_tcp_new(struct net *n, enum serve_tcp_mode mode)
{
    struct serve_tcp *v = mem_zalloc(sizeof *v);
    v->net = n;
    v->mode = mode;
    list_init(&v->conns);
    for (size_t i = 0; i < BLOCK; i++)
        v->block[i] = (char)(i % 256);
    return v;
}

void serve_tcp_free(struct serve_tcp *v)
{
    assert(v->connections == 0);
    free(v);
}

bool serve_tcp_listen(struct serve_tcp *v, const struct addr *a, struct error *e)
{
    static const struct acceptor_ops ops = {on_accept, on_accept_error};
    v->listening = acceptor_listen(&v->acceptor, v->net, &ops, a, &v->address, e);
    return v->listening;
}

const struct addr *serve_tcp_address(const struct serve_tcp *v)
{
    return &v->address;
}

void serve_tcp_close(struct serve_tcp *v)
{
    if (v->listening)
        acceptor_stop(&v->acceptor, 0, NULL);
    list_foreach_safe(it, next, &v->conns) tcp_close(container_of(it, struct tcp_conn, link));
}
