#include "proxy/session.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "http/answer.h"
#include "proxy/exchange.h"
#include "proxy/tunnel.h"

static struct session *of(struct conn *c)
{
    return container_of(c, struct session, conn);
}

static struct session *of_deadline(struct deadline *d)
{
    return container_of(d, struct session, deadline);
}

static void on_closed(struct conn *c)
{
    struct session *s = of(c);
    struct worker *w = s->wl->worker;
    list_remove(&s->all);
    free(s);
    worker_maybe_done(w);
}

static void count_closed(struct session *s)
{
    cell_add(&s->wl->cell->connections, (uint64_t)-1);
    atomic_fetch_sub_explicit(&s->wl->shared->connections, 1, memory_order_relaxed);
}

void session_close(struct session *s)
{
    if (s->state == SESSION_CLOSED)
        return;
    s->state = SESSION_CLOSED;
    deadline_cancel(&s->deadline);
    if (s->exchange) {
        struct exchange *x = s->exchange;
        s->exchange = NULL;
        exchange_abandon(x);
    }
    count_closed(s);
    conn_close(&s->conn, on_closed);
}

/* The last answer is handed over: FIN after it, then wait for the client to have read it. */
static void linger(struct session *s)
{
    s->state = SESSION_LINGER;
    s->conn.paused = 0;
    if (conn_shutdown(&s->conn) < 0) {
        session_close(s);
        return;
    }
    deadline_arm(conn_queued(&s->conn) ? &s->wl->idle : &s->wl->worker->linger, &s->deadline);
    if (conn_start(&s->conn) < 0 || (s->conn.eof && conn_queued(&s->conn) == 0))
        session_close(s);
}

static void finish(struct session *s, bool dirty)
{
    if (!dirty && conn_queued(&s->conn) == 0)
        session_close(s);
    else
        linger(s);
}

/* Answers for the proxy itself where there is no exchange, and ends the connection. */
static void refuse(struct session *s, int status)
{
    struct buffer *out = &s->wl->worker->scratch;
    deadline_cancel(&s->deadline);
    cell_add(&s->wl->cell->codes[status], 1);
    buffer_clear(out);
    if (!answer_write(out, status, true, false)) {
        session_close(s);
        return;
    }
    uv_buf_t buf = uv_buf_init(buffer_head(out), (unsigned)buffer_len(out));
    int r = conn_write(&s->conn, &buf, 1, NULL);
    buffer_clear(out);
    if (r < 0)
        session_close(s);
    else
        linger(s);
}

static void drop_exchange(struct session *s)
{
    struct exchange *x = s->exchange;
    s->exchange = NULL;
    exchange_abandon(x);
}

/* The first byte of a request is there. */
static bool begin_head(struct session *s)
{
    s->exchange = exchange_new(s);
    if (s->exchange == NULL)
        return false;
    s->state = SESSION_HEAD;
    return true;
}

/* The head goes on in a later read: from the first byte on, the deadline stands. */
static size_t wait_for_head(struct session *s, bool first)
{
    if (s->conn.eof)
        session_close(s);
    else if (first)
        deadline_arm(&s->wl->request, &s->deadline);
    return 0;
}

static size_t read_head(struct session *s, char *data, size_t len)
{
    bool first = s->state == SESSION_IDLE;
    if (first && !begin_head(s)) {
        refuse(s, 503);
        return len;
    }
    struct exchange *x = s->exchange;
    switch (parser_execute(&x->parser, &x->head, data, len)) {
    case PARSE_MORE:
        return wait_for_head(s, first);
    case PARSE_ERROR:;
        int status = x->parser.status;
        drop_exchange(s);
        refuse(s, status);
        return len;
    case PARSE_DONE:
        break;
    }
    size_t used = x->head.size;
    deadline_cancel(&s->deadline);
    s->state = SESSION_EXCHANGE;
    exchange_start(x, data);
    /* What is there of the body goes out in one write with the head. */
    if (s->exchange == x && used < len && x->request == REQUEST_BODY)
        used += exchange_on_body(x, data + used, len - used);
    if (s->exchange == x)
        exchange_flush(x);
    return s->state == SESSION_CLOSED ? len : used;
}

static size_t on_read(struct conn *c, char *data, size_t len)
{
    struct session *s = of(c);
    switch ((enum session_state)s->state) {
    case SESSION_IDLE:
    case SESSION_HEAD:
        return read_head(s, data, len);
    case SESSION_EXCHANGE:
        return s->exchange->request == REQUEST_BODY ? exchange_on_body(s->exchange, data, len) : 0;
    case SESSION_TUNNEL:
        return tunnel_from_client(s->exchange, data, len);
    case SESSION_LINGER:
    case SESSION_CLOSED:
        break;
    }
    return len;
}

static void on_eof(struct conn *c)
{
    struct session *s = of(c);
    if (s->state == SESSION_TUNNEL)
        tunnel_client_eof(s->exchange);
    else if (s->state == SESSION_EXCHANGE && s->exchange->request == REQUEST_DONE)
        return; /* half-closed: it may still read its answer (RFC 9112 9.6) */
    else if (s->state == SESSION_LINGER && conn_queued(&s->conn))
        return; /* it still reads */
    else
        session_close(s);
}

static void on_error(struct conn *c, int uv_error)
{
    session_close(of(c));
}

static void on_drain(struct conn *c)
{
    struct session *s = of(c);
    if (s->state == SESSION_LINGER && s->conn.eof && conn_queued(&s->conn) == 0)
        session_close(s);
    else if (s->state == SESSION_LINGER)
        deadline_arm(&s->wl->worker->linger, &s->deadline);
    else if (s->exchange)
        exchange_on_client_drain(s->exchange);
}

static const struct conn_ops session_ops = {on_read, on_eof, on_error, on_drain};

void session_answered(struct session *s, bool keep, bool dirty)
{
    s->exchange = NULL;
    s->served = true;
    if (!keep) {
        finish(s, dirty);
        return;
    }
    s->state = SESSION_IDLE;
    deadline_arm(&s->wl->idle, &s->deadline);
    s->conn.paused &= (uint8_t)~PAUSE_PEER;
    conn_continue(&s->conn);
    if (s->state == SESSION_IDLE && s->conn.eof && !s->conn.delivering)
        finish(s, false);
    else if (s->state == SESSION_IDLE)
        conn_resume(&s->conn, PAUSE_PEER);
}

void session_stop(struct session *s)
{
    if (s->state != SESSION_IDLE)
        return;
    if (s->served)
        session_close(s);
    else /* its first request may be on its way */
        deadline_arm(&s->wl->worker->grace, &s->deadline);
}

void session_on_request_deadline(struct deadline *d)
{
    struct session *s = of_deadline(d);
    if (s->state == SESSION_HEAD) {
        drop_exchange(s);
        refuse(s, 408);
    } else {
        exchange_body_too_slow(s->exchange);
    }
}

void session_on_idle_deadline(struct deadline *d)
{
    session_close(of_deadline(d)); /* silent, or it does not read what it is sent */
}

void session_on_linger_deadline(struct deadline *d)
{
    session_close(of_deadline(d));
}

/* Starts to watch the client. */
static void watch(struct session *s)
{
    if (conn_start(&s->conn) < 0)
        session_close(s);
}

void session_on_watch_deadline(struct deadline *d)
{
    watch(of_deadline(d));
}

static struct session *session_new(struct worker_listener *wl, int fd, const struct addr *peer)
{
    char text[ADDR_TEXT_MAX];
    struct session *s = malloc(sizeof *s);
    if (s == NULL)
        return NULL;
    conn_accept(&s->conn, &wl->worker->net, &session_ops, fd);
    s->wl = wl;
    s->exchange = NULL;
    deadline_init(&s->deadline);
    s->state = SESSION_IDLE;
    s->served = false;
    int n = addr_format_ip(peer, text);
    assert((size_t)n < sizeof s->peer);
    memcpy(s->peer, text, (size_t)n + 1);
    s->peer_len = (uint8_t)n;
    list_push_back(&wl->worker->sessions, &s->all);
    return s;
}

void session_accept(struct worker_listener *wl, int fd, const struct addr *peer)
{
    struct session *s = session_new(wl, fd, peer);
    if (s == NULL) {
        close(fd);
        return;
    }
    cell_add(&wl->cell->connections, 1);
    cell_add(&wl->cell->accepted, 1);
    uint32_t before = atomic_fetch_add_explicit(&wl->shared->connections, 1, memory_order_relaxed);
    if (before >= wl->config->max_connections) {
        refuse(s, 503);
        return;
    }
    deadline_arm(wl->worker->stopping ? &wl->worker->grace : &wl->idle, &s->deadline);
    conn_read_now(&s->conn);
    if (s->state == SESSION_CLOSED || s->conn.started)
        return;
    if (s->exchange && exchange_is_last(s->exchange) && !deadline_armed(&s->deadline))
        deadline_arm(&wl->worker->watch, &s->deadline);
    else
        watch(s);
}
