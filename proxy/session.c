/* An HTTP/1 session. What the client sends comes in by `session_conn_ops`; answers, the proxy's own
 * and those of servers, go out by the operations of `session_front`. Everything that ends the
 * connection goes through finish(), which closes or lingers, or through session_close(). */
#include "proxy/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "http/answer.h"
#include "http/rewrite.h"
#include "proxy/exchange.h"
#include "proxy/tunnel.h"

#define JOIN_MAX 4096 /* a piece of a body up to this size is copied behind its head */

static const struct front_ops session_front;

static struct session *of(struct conn *c)
{
    return container_of(c, struct session, client.conn);
}

static struct session *of_client(struct client *c)
{
    return container_of(c, struct session, client);
}

static struct session *of_front(struct front *f)
{
    return container_of(f, struct session, front);
}

static struct worker *worker_of(const struct session *s)
{
    return client_worker(&s->client);
}

static void move(struct session *s, enum session_state to)
{
    static const uint8_t allowed[] = {
        [SESSION_IDLE] =
            1 << SESSION_HEAD | 1 << SESSION_EXCHANGE | 1 << SESSION_LINGER | 1 << SESSION_CLOSED,
        [SESSION_HEAD] = 1 << SESSION_EXCHANGE | 1 << SESSION_LINGER | 1 << SESSION_CLOSED,
        [SESSION_EXCHANGE] =
            1 << SESSION_IDLE | 1 << SESSION_TUNNEL | 1 << SESSION_LINGER | 1 << SESSION_CLOSED,
        [SESSION_TUNNEL] = 1 << SESSION_LINGER | 1 << SESSION_CLOSED,
        [SESSION_LINGER] = 1 << SESSION_LINGER | 1 << SESSION_CLOSED, /* see on_refuse() */
        [SESSION_CLOSED] = 0,
    };
    assert(allowed[s->state] & 1 << to);
    s->state = (uint8_t)to;
}

/* ---- ends of the connection ---- */

static void free_tunnel(struct session *s)
{
    struct tunnel *t = s->tunnel;
    s->tunnel = NULL;
    tunnel_end(t);
    lease_end(&t->lease, false);
    free(t);
}

/* Frees what belongs to the state that the session has left. */
static void drop(struct session *s, enum session_state left)
{
    if (left == SESSION_HEAD)
        free(s->reader);
    else if (left == SESSION_EXCHANGE && s->exchange)
        exchange_abandon(s->exchange, END_CLIENT_LEFT);
    else if (left == SESSION_TUNNEL && s->tunnel)
        free_tunnel(s);
    s->exchange = NULL;
}

/* Closes at once, and drops what is under way. */
static void session_close(struct session *s)
{
    enum session_state left = s->state;
    if (left == SESSION_CLOSED)
        return;
    move(s, SESSION_CLOSED);
    /* An answer that ends with its connection must not look whole when it is cut (RFC 9112 8). */
    if (conn_queued(&s->client.conn) || (left == SESSION_EXCHANGE && s->down == BODY_CLOSE))
        conn_break(&s->client.conn);
    drop(s, left);
    client_end(&s->client);
}

/* The last answer is handed over: a FIN follows it, and the client gets time to read both. */
static void linger(struct session *s)
{
    struct conn *c = &s->client.conn;
    move(s, SESSION_LINGER);
    client_untie(&s->client);
    conn_clear_pause(c, PAUSE_PEER | PAUSE_INPUT);
    if (conn_shutdown(c) < 0) {
        session_close(s);
        return;
    }
    deadline_arm(conn_queued(c) ? &s->client.wl->clocks->idle : &worker_of(s)->linger,
                 &s->client.deadline);
    if (conn_start(c) < 0 || (c->eof && conn_queued(c) == 0))
        session_close(s);
}

/* The connection has served its last request. It is closed at once only if no unread byte can make
 * the kernel reset it. dirty: the client may still be sending. Bytes that it has sent already are
 * kept by the conn, or are being delivered just now. */
static void finish(struct session *s, bool dirty)
{
    struct conn *c = &s->client.conn;
    dirty = dirty || conn_pending(c) || c->delivering;
    if (!dirty && conn_queued(c) == 0)
        session_close(s);
    else
        linger(s);
}

/* ---- the proxy's own answers ---- */

/* False: no memory, or the client is gone. */
static bool write_own_answer(struct session *s, int status, bool close, bool was_head)
{
    struct buffer *out = &worker_of(s)->scratch;
    buffer_clear(out);
    bool ok = answer_write(out, status, close, was_head, worker_date(worker_of(s)));
    uv_buf_t buf = uv_buf_init(buffer_head(out), (unsigned)buffer_len(out));
    ok = ok && conn_write(&s->client.conn, &buf, 1, NULL) == 0;
    buffer_clear(out);
    return ok;
}

/* Ends the connection with an answer to bytes that did not become a request. */
static void refuse(struct session *s, enum end_reason reason, int status)
{
    const struct request_record r = {
        .reason = reason, .status = (uint16_t)status, .answered = true};
    deadline_cancel(&s->client.deadline);
    record_end(s->client.wl, &r);
    if (write_own_answer(s, status, true, false))
        linger(s);
    else
        session_close(s);
}

/* ---- between two requests ---- */

/* Takes up what the client has sent already. If nothing has come, and nothing can come (end of
 * stream) or is waited for (the worker leaves), the connection ends. A client that ends without
 * having been told so by its last answer may send another request. */
static void next_request(struct session *s)
{
    struct conn *c = &s->client.conn;
    conn_continue(c);
    if (s->state == SESSION_IDLE && (c->eof || client_leaves(&s->client)) && !c->delivering &&
        conn_pending(c) == 0)
        finish(s, false);
}

/* The request is answered. keep: another one may follow. dirty: as of finish(). */
static void answered(struct session *s, bool keep, bool dirty)
{
    s->served = true;
    if (!keep) {
        finish(s, dirty);
        return;
    }
    move(s, SESSION_IDLE);
    client_renew(&s->client); /* an idle client holds no older generation */
    deadline_arm(&s->client.wl->clocks->idle, &s->client.deadline);
    conn_resume(&s->client.conn,
                PAUSE_PEER); /* before the next request, which may pause it again */
    if (s->state == SESSION_IDLE)
        next_request(s);
}

/* ---- heads in ---- */

/* The head is not complete. It gets a reader of its own, as the worker's serves all sessions. The
 * deadline is armed at the first byte and not again, so a head can't drip in for ever. */
static void wait_for_head(struct session *s, const struct head_reader *so_far)
{
    if (s->state == SESSION_HEAD)
        return;
    s->reader = malloc(sizeof *s->reader);
    if (s->reader == NULL) {
        refuse(s, END_NO_MEMORY, 503);
        return;
    }
    *s->reader = *so_far;
    move(s, SESSION_HEAD);
    deadline_arm(&s->client.wl->clocks->request, &s->client.deadline);
}

static void free_reader(struct session *s)
{
    if (s->state == SESSION_HEAD)
        free(s->reader);
    s->reader = NULL;
}

/* The client has ended its side inside a head. Answers to earlier requests may still be on their
 * way, so this does not just close. */
static void give_up_head(struct session *s)
{
    free_reader(s);
    finish(s, false);
}

/* The request can never be whole: all that came was taken, and the client has ended its side. */
static bool is_cut(const struct session *s, bool all_taken)
{
    return s->state == SESSION_EXCHANGE && all_taken && s->client.conn.eof &&
           exchange_lacks_request(s->exchange);
}

/* The head is complete and stands at data. Returns how many of the bytes were taken. A reader of
 * the session's own is freed last, as the head and the parser lie in it. */
static size_t begin_exchange(struct session *s, const struct head *h, char *data, size_t len)
{
    struct client *c = &s->client;
    deadline_cancel(&c->deadline);
    client_renew(c);
    struct exchange *x = exchange_new(&s->front, &c->conn, c);
    if (x == NULL) {
        free_reader(s);
        refuse(s, END_NO_MEMORY, 503);
        return len;
    }
    struct head_reader *own = s->state == SESSION_HEAD ? s->reader : NULL;
    s->exchange = x;
    s->method = h->method;
    s->minor = h->minor;
    s->keep_alive = h->keep_alive;
    s->upgrade = h->upgrade;
    s->close = false;
    s->down = BODY_NONE;
    move(s, SESSION_EXCHANGE);
    size_t size = h->size; /* h may be in `own` */
    size_t used = size + exchange_start(x, h, data, data + size, len - size);
    if (own)
        free(own);
    /* Where nothing came behind the head a server may still answer that alone. */
    if (used > size && is_cut(s, used == len))
        session_close(s);
    return s->state == SESSION_CLOSED ? len : used;
}

static size_t read_body(struct session *s, char *data, size_t len)
{
    size_t used = exchange_on_body(s->exchange, data, len);
    if (is_cut(s, used == len))
        session_close(s);
    return used;
}

static size_t read_head(struct session *s, char *data, size_t len)
{
    struct head_reader *r = s->state == SESSION_HEAD ? s->reader : worker_of(s)->reader;
    if (s->state == SESSION_IDLE)
        parser_init_request(&r->parser, &r->head, s->client.wl->config->max_header_size);
    switch (parser_execute(&r->parser, &r->head, data, len)) {
    case PARSE_MORE:
        if (s->client.conn.eof)
            give_up_head(s);
        else
            wait_for_head(s, r);
        return s->state == SESSION_HEAD ? 0 : len;
    case PARSE_ERROR:;
        int status = r->parser.status;
        free_reader(s);
        refuse(s, END_REFUSED, status);
        return len;
    case PARSE_DONE:
        break;
    }
    return begin_exchange(s, &r->head, data, len);
}

/* ---- what the client's connection reports ---- */

static size_t on_read(struct conn *c, char *data, size_t len)
{
    struct session *s = of(c);
    switch ((enum session_state)s->state) {
    case SESSION_IDLE:
        if (conn_queued(c) > CONN_HIGH_MARK)
            return 0; /* it asks for more and does not read its answers: on_drain() goes on */
        return read_head(s, data, len);
    case SESSION_HEAD:
        return read_head(s, data, len);
    case SESSION_EXCHANGE:
        return read_body(s, data, len);
    case SESSION_LINGER:
        s->heard_end = len >= 4 && memcmp(data + len - 4, "\r\n\r\n", 4) == 0;
        break;
    case SESSION_TUNNEL: /* the conn's operations are the tunnel's then */
    case SESSION_CLOSED:
        break;
    }
    return len;
}

static void on_eof(struct conn *c)
{
    struct session *s = of(c);
    assert(s->state != SESSION_TUNNEL && s->state != SESSION_CLOSED);
    if (s->state == SESSION_EXCHANGE && (exchange_has_request(s->exchange) || conn_pending(c))) {
        exchange_on_client_end(s->exchange); /* it may still read its answer (RFC 9112 9.6) */
        return;
    }
    if (s->state == SESSION_IDLE)
        next_request(s);
    else if (s->state == SESSION_HEAD)
        give_up_head(s);
    else if (s->state == SESSION_LINGER && conn_queued(c))
        return; /* it may still read the answer that waits */
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
    if (s->state == SESSION_LINGER && c->eof && conn_queued(c) == 0)
        session_close(s);
    else if (s->state == SESSION_LINGER)
        deadline_arm(conn_queued(c) ? &s->client.wl->clocks->idle : &worker_of(s)->linger,
                     &s->client.deadline);
    else if (s->state == SESSION_IDLE)
        next_request(s);
    else if (s->state == SESSION_EXCHANGE)
        exchange_on_drain(s->exchange);
}

static void on_readable(struct conn *c)
{
    struct session *s = of(c);
    assert(s->state == SESSION_EXCHANGE);
    exchange_on_readable(s->exchange);
}

static const struct conn_ops session_conn_ops = {
    .on_read = on_read,
    .on_eof = on_eof,
    .on_error = on_error,
    .on_drain = on_drain,
    .on_readable = on_readable,
};

/* ---- answers out: as the front of an exchange ---- */

/* What a write to the client means to the exchange. */
static enum front_result sent(struct session *s, bool ok)
{
    if (!ok)
        return FRONT_GONE;
    return conn_queued(&s->client.conn) > CONN_HIGH_MARK ? FRONT_FULL : FRONT_OK;
}

static uv_buf_t buf_of(struct buffer *b)
{
    return uv_buf_init(buffer_head(b), (unsigned)buffer_len(b));
}

/* 1xx go to HTTP/1.1 clients alone: HTTP/1.0 has none (RFC 9110 15.2). */
static enum front_result pass_interim(struct front *f, const struct head *h, const char *base,
                                      const struct rewrite_cookie *cookie)
{
    struct session *s = of_front(f);
    struct buffer *out = &worker_of(s)->scratch;
    const struct rewrite_answer r = {.upgrade = h->status == 101,
                                     .no_via = !s->client.wl->config->via,
                                     .body = BODY_NONE,
                                     .cookie = cookie};
    if (s->minor == 0)
        return FRONT_OK;
    buffer_clear(out);
    bool ok = rewrite_answer(out, h, base, &r);
    uv_buf_t head = buf_of(out);
    ok = ok && conn_write(&s->client.conn, &head, 1, NULL) == 0;
    buffer_clear(out);
    return sent(s, ok);
}

/* Writes a piece of the body. head: the answer's head stands in the worker's scratch buffer, and
 * goes out in front of the piece, in one write. */
static enum front_result write_piece(struct session *s, bool head, const struct front_piece *p)
{
    char line[BODY_CHUNK_LINE];
    struct buffer *scratch = &worker_of(s)->scratch;
    uv_buf_t bufs[6], payload = uv_buf_init(p->data, (unsigned)p->len);
    unsigned n = head ? 1 : 0;
    bool ok = true;
    bufs[0] = buf_of(scratch);
    if (s->down == BODY_CHUNKED) {
        ok = body_put_chunk(p->framing, bufs, &n, line, payload, p->last, scratch);
        if (head) /* composing the last chunk may have moved the buffer */
            bufs[0].base = buffer_head(scratch);
    } else if (head && p->len <= JOIN_MAX && buffer_append(scratch, p->data, p->len)) {
        bufs[0] = buf_of(scratch); /* one buffer is cheaper for the kernel than two */
    } else if (p->len) {
        bufs[n++] = payload;
    }
    s->client.conn.last_write = p->last && s->close && exchange_has_request(s->exchange);
    ok = ok && conn_write(&s->client.conn, bufs, n, NULL) == 0;
    buffer_clear(scratch);
    return sent(s, ok);
}

/* How the body ends for the client: as it does for the server if that is by length, else by chunks,
 * or for HTTP/1.0, which has no chunks, with the connection. */
static enum body_kind client_framing(const struct session *s, enum body_kind from)
{
    if (from == BODY_NONE || from == BODY_LENGTH)
        return from;
    return s->minor == 1 ? BODY_CHUNKED : BODY_CLOSE;
}

static enum front_result pass_answer(struct front *f, const struct front_answer *a,
                                     const struct front_piece *p)
{
    struct session *s = of_front(f);
    struct worker *w = worker_of(s);
    assert(s->state == SESSION_EXCHANGE && s->down == BODY_NONE);
    s->down = (uint8_t)client_framing(s, a->body);
    s->close =
        !s->keep_alive || s->down == BODY_CLOSE || !a->request_is_done || client_ends(&s->client);
    const struct rewrite_answer r = {.close = s->close,
                                     .keep_alive_10 = s->minor == 0 && !s->close,
                                     .no_via = !s->client.wl->config->via,
                                     .date = worker_date(w),
                                     .body = s->down,
                                     .cookie = a->cookie};
    buffer_clear(&w->scratch);
    if (!rewrite_answer(&w->scratch, a->head, a->base, &r))
        return FRONT_GONE;
    return write_piece(s, true, p);
}

static enum front_result pass_body(struct front *f, const struct front_piece *p)
{
    return write_piece(of_front(f), false, p);
}

static void pause_client(struct front *f)
{
    conn_pause(&of_front(f)->client.conn, PAUSE_PEER);
}

static void resume_client(struct front *f)
{
    struct session *s = of_front(f);
    conn_resume(&s->client.conn, PAUSE_PEER);
    if (s->state == SESSION_EXCHANGE)
        conn_continue(&s->client.conn);
}

static bool client_is_paused(struct front *f)
{
    return conn_is_paused(&of_front(f)->client.conn, PAUSE_PEER);
}

/* Starts to watch the client. */
static void watch(struct session *s)
{
    if (conn_start(&s->client.conn) < 0)
        session_close(s);
}

static void on_owes(struct front *f, enum front_owes what)
{
    struct session *s = of_front(f);
    struct client *c = &s->client;
    if (!c->conn.started && !c->conn.delivering) { /* it is not answered and gone at once, then */
        deadline_cancel(&c->deadline);
        watch(s);
    }
    if (s->state != SESSION_EXCHANGE)
        return;
    if (what == FRONT_OWES_BODY)
        deadline_arm(&c->wl->clocks->request, &c->deadline);
    else if (what == FRONT_OWES_READING)
        deadline_arm(&c->wl->clocks->idle, &c->deadline);
    else
        deadline_cancel(&c->deadline);
}

/* ---- ends of exchanges ---- */

static void on_tunnel_end(struct tunnel *t, enum tunnel_end why)
{
    struct session *s = of_client(t->client);
    assert(s->state == SESSION_TUNNEL && s->tunnel == t && why != TUNNEL_REFUSED);
    if (why != TUNNEL_DONE) {
        session_close(s);
        return;
    }
    free_tunnel(s);
    finish(s, false);
}

static const struct tunnel_ops session_tunnel_ops = {.on_end = on_tunnel_end};

static void open_tunnel(struct session *s, struct lease *lease)
{
    struct tunnel *t = malloc(sizeof *t);
    if (t == NULL) {
        lease_end(lease, false);
        session_close(s);
        return;
    }
    tunnel_init(t, &session_tunnel_ops, &s->client);
    lease_hand_over(&t->lease, lease, NULL);
    s->tunnel = t;
    client_untie(&s->client);
    move(s, SESSION_TUNNEL);
    tunnel_start(t);
}

static void answer_for_proxy(struct session *s, const struct front_end *e)
{
    bool dirty = !e->request_is_done;
    bool keep =
        !dirty && s->keep_alive && s->minor == 1 && !client_ends(&s->client) && !s->client.conn.eof;
    if (write_own_answer(s, e->record->status, !keep, s->method == METHOD_HEAD))
        answered(s, keep, dirty);
    else
        session_close(s);
}

static void on_end(struct front *f, const struct front_end *e)
{
    struct session *s = of_front(f);
    assert(s->state == SESSION_EXCHANGE);
    s->exchange = NULL;
    if (e->own_answer) {
        answer_for_proxy(s, e);
    } else if (e->record->reason == END_ANSWERED) {
        s->down = BODY_NONE; /* the answer is whole: session_close() need not reset */
        answered(s, !s->close && e->request_is_done, !e->request_is_done);
    } else if (e->record->reason == END_UPGRADED) {
        open_tunnel(s, e->lease);
    } else {
        session_close(s);
    }
}

static const struct front_ops session_front = {
    .interim = pass_interim,
    .answer = pass_answer,
    .body = pass_body,
    .pause = pause_client,
    .resume = resume_client,
    .is_paused = client_is_paused,
    .owes = on_owes,
    .end = on_end,
};

/* ---- as a client ---- */

static void on_stop(struct client *c)
{
    struct session *s = of_client(c);
    struct conn *conn = &c->conn;
    if (s->state != SESSION_IDLE)
        return;
    /* A request that has come, and of which the loop has not told yet, is answered. */
    if (s->served && conn->started && !conn->eof && conn_pending(conn) == 0 && !conn->paused)
        conn_read_now(conn);
    if (s->state != SESSION_IDLE)
        return;
    if (s->served)
        next_request(s);
    else /* a new connection: its first request may be on its way */
        deadline_arm(&worker_of(s)->grace, &c->deadline);
}

static void on_close(struct client *c)
{
    session_close(of_client(c));
}

static void on_request_deadline(struct client *c)
{
    struct session *s = of_client(c);
    assert(s->state == SESSION_HEAD || s->state == SESSION_EXCHANGE);
    if (s->state == SESSION_HEAD) {
        free_reader(s);
        refuse(s, END_SLOW, 408);
    } else {
        exchange_body_too_slow(s->exchange);
    }
}

static void on_idle_deadline(struct client *c)
{
    session_close(of_client(c)); /* the client is silent, or does not read its answers */
}

static size_t unsent(const struct client *c)
{
    return conn_unsent(&c->conn);
}

/* A session at rest is IDLE, and its deadline is the idle one (or was armed to let a stop wait, and
 * then the client ends). */
static bool rests(struct client *c)
{
    return of_client(c)->state == SESSION_IDLE;
}

static const struct client_ops session_client_ops = {
    .stop = on_stop,
    .rests = rests,
    .close = on_close,
    .on_request_deadline = on_request_deadline,
    .on_idle_deadline = on_idle_deadline,
    .unsent = unsent,
};

void session_on_watch_deadline(struct deadline *d)
{
    watch(container_of(d, struct session, client.deadline));
}

static void on_init(struct client *c)
{
    struct session *s = of_client(c);
    s->front.ops = &session_front;
    s->exchange = NULL;
    s->state = SESSION_IDLE;
    s->served = s->heard_end = false;
}

/* One connection too many: a fixed 503. What has come of the request is read first: if that is all
 * of it, closing at once can't reset the answer. Otherwise the session lingers so that the client
 * can read the answer, unless descriptors are short. */
static void on_refuse(struct client *c, bool may_linger)
{
    static char answer[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                           "Connection: close\r\n\r\n";
    const struct request_record r = {.reason = END_OVERFLOW, .status = 503, .answered = true};
    struct session *s = of_client(c);
    uv_buf_t buf = uv_buf_init(answer, sizeof answer - 1);
    record_end(c->wl, &r);
    s->state = SESSION_LINGER; /* what the client sends is thrown away */
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

/* The request has come whole, and no other will follow on this connection. */
static bool is_last(const struct session *s)
{
    return s->state == SESSION_EXCHANGE && !s->keep_alive && !s->upgrade &&
           exchange_has_request(s->exchange);
}

/* Reads by hand first. Most clients have sent their request by now, and one that brings a single
 * request may be answered before it would ever be registered with epoll. */
static void on_begin(struct client *c)
{
    struct session *s = of_client(c);
    struct worker *w = worker_of(s);
    deadline_arm(client_leaves(c) ? &w->grace : &c->wl->clocks->idle, &c->deadline);
    if (c->conn.delivering)
        return;
    conn_read_now(&c->conn);
    if (s->state == SESSION_CLOSED || c->conn.started)
        return;
    if (is_last(s))
        deadline_arm(&w->watch, &c->deadline);
    else
        watch(s);
}

const struct client_mode session_mode = {
    .size = sizeof(struct session),
    .use = DESCRIPTORS_CLIENT,
    .descriptors = 1,
    .conn_ops = &session_conn_ops,
    .ops = &session_client_ops,
    .init = on_init,
    .begin = on_begin,
    .refuse = on_refuse,
};
