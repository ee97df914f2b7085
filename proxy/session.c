#include "proxy/session.h"

#include <string.h>

#include "http/answer.h"
#include "proxy/exchange.h"

static struct session *of(struct conn *c)
{
    return container_of(c, struct session, client.conn);
}

static struct session *of_client(struct client *c)
{
    return container_of(c, struct session, client);
}

static void drop_exchange(struct session *s)
{
    struct exchange *x = s->exchange;
    s->exchange = NULL;
    exchange_abandon(x);
}

void session_close(struct session *s)
{
    if (s->state == SESSION_CLOSED)
        return;
    s->state = SESSION_CLOSED;
    deadline_cancel(&s->watch);
    /* An answer that ends with its connection must not look whole (RFC 9112 8). */
    if (conn_queued(&s->client.conn) || (s->exchange && exchange_ends_by_close(s->exchange)))
        conn_break(&s->client.conn);
    if (s->exchange)
        drop_exchange(s);
    client_end(&s->client);
}

/* The last answer is handed over: FIN after it, then wait for the client to have read it. */
static void linger(struct session *s)
{
    s->state = SESSION_LINGER;
    s->client.conn.paused = 0;
    deadline_cancel(&s->watch);
    if (conn_shutdown(&s->client.conn) < 0) {
        session_close(s);
        return;
    }
    deadline_arm(conn_queued(&s->client.conn) ? &s->client.wl->idle : &s->client.wl->worker->linger,
                 &s->client.deadline);
    if (conn_start(&s->client.conn) < 0 ||
        (s->client.conn.eof && conn_queued(&s->client.conn) == 0))
        session_close(s);
}

/* The connection has served its last request. dirty: the client may still be sending; what it has
 * sent already shows in bytes that were kept, or in a delivery under way. */
static void finish(struct session *s, bool dirty)
{
    dirty = dirty || conn_pending(&s->client.conn) || s->client.conn.delivering;
    if (!dirty && conn_queued(&s->client.conn) == 0)
        session_close(s);
    else
        linger(s);
}

/* Answers for the proxy itself where there is no exchange, and ends the connection. */
static void refuse(struct session *s, int status)
{
    struct buffer *out = &s->client.wl->worker->scratch;
    deadline_cancel(&s->client.deadline);
    cell_add(&s->client.wl->cell->codes[status], 1);
    buffer_clear(out);
    if (!answer_write(out, status, true, false, worker_date(s->client.wl->worker))) {
        session_close(s);
        return;
    }
    uv_buf_t buf = uv_buf_init(buffer_head(out), (unsigned)buffer_len(out));
    int r = conn_write(&s->client.conn, &buf, 1, NULL);
    buffer_clear(out);
    if (r < 0)
        session_close(s);
    else
        linger(s);
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

/* The client ends inside a head: answers to what came before may still be on their way. */
static void give_up_head(struct session *s)
{
    drop_exchange(s);
    finish(s, false);
}

/* The head goes on in a later read: from the first byte on, the deadline stands. */
static size_t wait_for_head(struct session *s, bool first)
{
    if (s->client.conn.eof)
        give_up_head(s);
    else if (first)
        deadline_arm(&s->client.wl->request, &s->client.deadline);
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
    deadline_cancel(&s->client.deadline);
    s->state = SESSION_EXCHANGE;
    exchange_start(x, data);
    /* What is there of the body goes out in one write with the head. */
    if (s->exchange == x && used < len && x->request == REQUEST_BODY)
        used += exchange_on_body(x, data + used, len - used);
    if (s->exchange == x)
        exchange_flush(x);
    return s->state == SESSION_CLOSED ? len : used;
}

/* Between requests: takes up what the client has sent already. If nothing is there and nothing can
 * come, or is to come as the worker stops, that was all. */
static void next_request(struct session *s)
{
    conn_continue(&s->client.conn);
    if (s->state == SESSION_IDLE && (s->client.conn.eof || s->client.wl->worker->stopping) &&
        !s->client.conn.delivering && conn_pending(&s->client.conn) == 0)
        finish(s, false);
}

static size_t on_read(struct conn *c, char *data, size_t len)
{
    struct session *s = of(c);
    switch ((enum session_state)s->state) {
    case SESSION_IDLE:
        if (conn_queued(c) > CONN_HIGH_MARK)
            return 0; /* it asks for more without reading what it has got: on_drain() goes on */
        return read_head(s, data, len);
    case SESSION_HEAD:
        return read_head(s, data, len);
    case SESSION_EXCHANGE:
        return s->exchange->request == REQUEST_BODY ? exchange_on_body(s->exchange, data, len) : 0;
    case SESSION_TUNNEL:
        return tunnel_from_client(&s->exchange->tunnel, data, len);
    case SESSION_LINGER:
        s->heard_end = len >= 4 && memcmp(data + len - 4, "\r\n\r\n", 4) == 0;
        break;
    case SESSION_CLOSED:
        break;
    }
    return len;
}

static void on_eof(struct conn *c)
{
    struct session *s = of(c);
    if (s->state == SESSION_TUNNEL)
        tunnel_client_eof(&s->exchange->tunnel);
    else if (s->state == SESSION_EXCHANGE &&
             (s->exchange->request == REQUEST_DONE || conn_pending(c)))
        return; /* half-closed: it may still read its answer (RFC 9112 9.6) */
    else if (s->state == SESSION_IDLE)
        next_request(s);
    else if (s->state == SESSION_HEAD)
        give_up_head(s);
    else if (s->state == SESSION_LINGER && conn_queued(&s->client.conn))
        return; /* it still reads */
    else
        session_close(s);
}

static void on_error(struct conn *c, int uv_error)
{
    struct session *s = of(c);
    if (s->client.tunnel)
        tunnel_cut(s->client.tunnel);
    else
        session_close(s);
}

static void on_drain(struct conn *c)
{
    struct session *s = of(c);
    if (s->state == SESSION_LINGER && s->client.conn.eof && conn_queued(&s->client.conn) == 0)
        session_close(s);
    else if (s->state == SESSION_LINGER)
        deadline_arm(conn_queued(c) ? &s->client.wl->idle : &s->client.wl->worker->linger,
                     &s->client.deadline);
    else if (s->state == SESSION_IDLE)
        next_request(s);
    else if (s->exchange)
        exchange_on_client_drain(s->exchange);
}

static void on_readable(struct conn *c)
{
    struct session *s = of(c);
    if (s->state == SESSION_TUNNEL)
        tunnel_client_readable(&s->exchange->tunnel);
    else
        exchange_on_client_readable(s->exchange);
}

static const struct conn_ops session_ops = {on_read, on_eof, on_error, on_drain, on_readable};

void session_answered(struct session *s, bool keep, bool dirty)
{
    s->exchange = NULL;
    s->served = true;
    if (!keep) {
        finish(s, dirty);
        return;
    }
    s->state = SESSION_IDLE;
    deadline_arm(&s->client.wl->idle, &s->client.deadline);
    conn_resume(&s->client.conn, PAUSE_PEER); /* first, as the next request may pause it again */
    next_request(s);
}

static void on_stop(struct client *c)
{
    struct session *s = of_client(c);
    if (s->state != SESSION_IDLE)
        return;
    if (s->served)
        next_request(s);
    else /* its first request may be on its way */
        deadline_arm(&c->wl->worker->grace, &c->deadline);
}

static void on_close(struct client *c)
{
    session_close(of_client(c));
}

static void on_request_deadline(struct client *c)
{
    struct session *s = of_client(c);
    if (s->state == SESSION_HEAD) {
        drop_exchange(s);
        refuse(s, 408);
    } else {
        exchange_body_too_slow(s->exchange);
    }
}

static void on_idle_deadline(struct client *c)
{
    session_close(of_client(c)); /* silent, or it does not read what it is sent */
}

/* Starts to watch the client. */
static void watch(struct session *s)
{
    if (conn_start(&s->client.conn) < 0)
        session_close(s);
}

void session_on_watch_deadline(struct deadline *d)
{
    watch(container_of(d, struct session, watch));
}

static void on_init(struct client *c)
{
    struct session *s = of_client(c);
    s->exchange = NULL;
    deadline_init(&s->watch);
    s->state = SESSION_IDLE;
    s->served = s->heard_end = false;
}

/* One connection too many: a fixed 503. Where the whole request has come already it is read, so
 * that closing at once does not reset the answer; else the client is given the time to read it, as
 * long as descriptors are not what is short. */
static void on_refuse(struct client *c, bool may_linger)
{
    static char answer[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                           "Connection: close\r\n\r\n";
    struct session *s = of_client(c);
    uv_buf_t buf = uv_buf_init(answer, sizeof answer - 1);
    cell_add(&c->wl->cell->codes[503], 1);
    s->state = SESSION_LINGER; /* what it has sent is thrown away */
    if (!conn_alive(&c->conn))
        conn_read_now(&c->conn);
    if (s->state == SESSION_CLOSED)
        return;
    c->conn.last_write = s->heard_end || !may_linger;
    if (conn_write(&c->conn, &buf, 1, NULL) < 0 || c->conn.last_write)
        session_close(s);
    else
        linger(s);
}

static void on_begin(struct client *c)
{
    struct session *s = of_client(c);
    struct worker *w = c->wl->worker;
    deadline_arm(w->stopping ? &w->grace : &c->wl->idle, &c->deadline);
    if (c->conn.delivering)
        return;
    conn_read_now(&c->conn);
    if (s->state == SESSION_CLOSED || c->conn.started)
        return;
    if (s->exchange && exchange_is_last(s->exchange))
        deadline_arm(&w->watch, &s->watch);
    else
        watch(s);
}

const struct client_mode session_mode = {
    .size = sizeof(struct session),
    .use = DESCRIPTORS_CLIENT,
    .descriptors = 1,
    .conn_ops = &session_ops,
    .init = on_init,
    .begin = on_begin,
    .refuse = on_refuse,
    .stop = on_stop,
    .close = on_close,
    .on_request_deadline = on_request_deadline,
    .on_idle_deadline = on_idle_deadline,
};
