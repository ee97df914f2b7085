#include "bench/serve_tcp.h"

#include <assert.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"

#define BACKLOG 511
#define MAX_CONNECTIONS 20000
#define BLOCK \
    (256 * 1024) /* measured for bulk: 64 KiB cost 1.5 times the CPU, 512 KiB little less */

/* Reading and `writing` exclude each other in an echo: what waits to be sent back is all there is
 * of a connection, and the peer notices that we do not read on. */
struct tcp_conn {
    uv_tcp_t tcp;
    uv_write_t write;
    struct serve_tcp *server;
    struct list link;
    struct buffer rest; /* echo: read, not sent back yet */
    bool writing;
};

struct serve_tcp {
    uv_loop_t *loop;
    enum serve_tcp_mode mode;
    uv_tcp_t listener;
    bool has_listener, accept_failing;
    struct addr address;
    struct list conns;
    unsigned connections;
    char block[BLOCK]; /* read into; of a source: what it sends */
    char swallowed[BLOCK];
};

/* --- connections --- */

static void on_conn_closed(uv_handle_t *h)
{
    struct tcp_conn *c = container_of((uv_tcp_t *)h, struct tcp_conn, tcp);
    c->server->connections--;
    buffer_release(&c->rest);
    free(c);
}

static void conn_close(struct tcp_conn *c)
{
    if (uv_is_closing((uv_handle_t *)&c->tcp))
        return;
    list_remove(&c->link);
    uv_close((uv_handle_t *)&c->tcp, on_conn_closed);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *b)
{
    struct tcp_conn *c = container_of((uv_tcp_t *)h, struct tcp_conn, tcp);
    *b = uv_buf_init(c->server->mode == SERVE_SOURCE ? c->server->swallowed : c->server->block,
                     BLOCK);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b);

/* --- echo --- */

static void on_echoed(uv_write_t *req, int status)
{
    struct tcp_conn *c = container_of(req, struct tcp_conn, write);
    buffer_clear(&c->rest);
    c->writing = false;
    if (status < 0 || uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) < 0)
        conn_close(c);
}

/* The peer does not take it all now: keeps the rest for when it does, and reads no more until then.
 */
static bool echo_later(struct tcp_conn *c, const char *p, size_t n)
{
    uv_stream_t *stream = (uv_stream_t *)&c->tcp;
    if (!buffer_append(&c->rest, p, n) || uv_read_stop(stream) < 0)
        return false;
    uv_buf_t b = uv_buf_init(buffer_head(&c->rest), (unsigned)n);
    c->writing = uv_write(&c->write, stream, &b, 1, on_echoed) == 0;
    return c->writing;
}

static void echo(struct tcp_conn *c, char *p, size_t n)
{
    assert(!c->writing);
    uv_buf_t b = uv_buf_init(p, (unsigned)n);
    int sent = uv_try_write((uv_stream_t *)&c->tcp, &b, 1);
    if (sent == UV_EAGAIN)
        sent = 0;
    if (sent < 0 || ((size_t)sent < n && !echo_later(c, p + sent, n - (size_t)sent)))
        conn_close(c);
}

/* --- source --- */

static void pour(struct tcp_conn *c);

static void on_poured(uv_write_t *req, int status)
{
    struct tcp_conn *c = container_of(req, struct tcp_conn, write);
    c->writing = false;
    if (status < 0)
        conn_close(c);
    else
        pour(c);
}

/* One block; the next when the loop comes round, so that other connections have their turn. */
static void pour(struct tcp_conn *c)
{
    uv_buf_t b = uv_buf_init(c->server->block, BLOCK);
    c->writing = uv_write(&c->write, (uv_stream_t *)&c->tcp, &b, 1, on_poured) == 0;
    if (!c->writing)
        conn_close(c);
}

/* --- reading --- */

/* The end of the stream: what was read of an echo has been sent back, so closing sends our end
 * behind it. A source that has begun goes on: its peer may still read. */
static void on_end(struct tcp_conn *c, ssize_t n)
{
    if (n != UV_EOF || c->server->mode != SERVE_SOURCE || !c->writing)
        conn_close(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
    struct tcp_conn *c = container_of((uv_tcp_t *)stream, struct tcp_conn, tcp);
    if (n < 0)
        on_end(c, n);
    else if (n > 0 && c->server->mode == SERVE_ECHO)
        echo(c, b->base, (size_t)n);
    else if (n > 0 && c->server->mode == SERVE_SOURCE && !c->writing)
        pour(c);
}

/* --- accept --- */

static void accept_failed(struct serve_tcp *v, const char *why)
{
    if (!v->accept_failing)
        log_event(LOG_WARN, "accept failed", why);
    v->accept_failing = true;
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct serve_tcp *v = listener->data;
    if (status < 0) {
        accept_failed(v, uv_strerror(status));
        return;
    }
    struct tcp_conn *c = mem_zalloc(sizeof *c); /* their number is bounded */
    c->server = v;
    int rc = uv_tcp_init(v->loop, &c->tcp);
    assert(rc == 0); /* it has no way to fail without a socket to make */
    list_push_back(&v->conns, &c->link);
    v->connections++;
    rc = uv_accept(listener, (uv_stream_t *)&c->tcp);
    if (rc == 0)
        rc = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    v->accept_failing = v->accept_failing && rc < 0;
    if (rc < 0)
        accept_failed(v, uv_strerror(rc));
    if (rc < 0 || v->connections > MAX_CONNECTIONS)
        conn_close(c);
}

/* --- life --- */

struct serve_tcp *serve_tcp_new(uv_loop_t *loop, enum serve_tcp_mode mode)
{
    struct serve_tcp *v = mem_zalloc(sizeof *v);
    v->loop = loop;
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
    char text[ADDR_TEXT_MAX];
    addr_format(a, text);
    int len = sizeof v->address.v6, rc = uv_tcp_init(v->loop, &v->listener);
    v->has_listener = rc == 0;
    v->listener.data = v;
    if (rc == 0)
        rc = uv_tcp_bind(&v->listener, &a->sa, 0);
    if (rc == 0)
        rc = uv_tcp_nodelay(&v->listener, 1); /* accepted ones inherit it */
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&v->listener, BACKLOG, on_connection);
    if (rc == 0)
        rc = uv_tcp_getsockname(&v->listener, &v->address.sa, &len);
    v->address.len = (socklen_t)len;
    if (rc < 0)
        error_set(e, -rc, "listen %s: %s", text, uv_strerror(rc));
    return rc == 0;
}

const struct addr *serve_tcp_address(const struct serve_tcp *v)
{
    return &v->address;
}

void serve_tcp_close(struct serve_tcp *v)
{
    if (v->has_listener)
        uv_close((uv_handle_t *)&v->listener, NULL);
    list_foreach_safe(it, next, &v->conns) conn_close(container_of(it, struct tcp_conn, link));
}
