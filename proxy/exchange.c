#include "proxy/exchange.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#include "http/answer.h"
#include "http/rewrite.h"
#include "proxy/key.h"
#include "proxy/session.h"
#include "proxy/tunnel.h"

#define MAX_SPARE 64          /* exchanges kept for reuse */
#define MAX_KEPT_BUFFER 16384 /* a larger buffer is given back after use */
#define MAX_INTERIM 16        /* 1xx answers to one request */
#define JOIN_MAX 4096         /* a body piece as small as that is copied behind its head */

static const struct lease_ops exchange_lease_ops;
static const struct tunnel_ops exchange_tunnel_ops;

static struct exchange *of(struct lease *l)
{
    return container_of(l, struct exchange, lease);
}

static struct worker *worker_of(const struct exchange *x)
{
    return x->lease.wp->worker;
}

static struct conn *server_conn(const struct exchange *x)
{
    return &x->lease.upstream->conn;
}

/* ---- states ---- */

static void move_request(struct exchange *x, enum exchange_request to)
{
    assert(to == x->request + 1 || (x->request == REQUEST_HEAD && to == REQUEST_DONE));
    x->request = to;
}

static void move_answer(struct exchange *x, enum exchange_answer to)
{
    static const uint8_t allowed[] = {
        [ANSWER_WAIT] = 1 << ANSWER_BODY | 1 << ANSWER_TUNNEL | 1 << ANSWER_DONE,
        [ANSWER_BODY] = 1 << ANSWER_DONE,
        [ANSWER_TUNNEL] = 1 << ANSWER_DONE,
        [ANSWER_DONE] = 0,
    };
    assert(allowed[x->answer] & 1 << to);
    x->answer = to;
}

static void move_attempt(struct exchange *x, enum exchange_attempt to)
{
    assert(to == ATTEMPT_NONE || to > x->attempt);
    x->attempt = to;
    assert((x->lease.upstream != NULL) == (to != ATTEMPT_NONE));
}

/* ---- life ---- */

struct exchange *exchange_new(struct session *s)
{
    struct worker *w = s->client.wl->worker;
    struct exchange *x = w->spare;
    if (x) {
        w->spare = x->next_spare;
        w->nspare--;
    } else {
        x = malloc(sizeof *x);
        if (x == NULL)
            return NULL;
        x->out = x->replay = (struct buffer){0};
    }
    memset(x, 0, offsetof(struct exchange, out));
    x->session = s;
    lease_init(&x->lease, s->client.wl->pool, &exchange_lease_ops);
    deadline_init(&x->deadline);
    parser_init_request(&x->parser, &x->head, s->client.wl->config->max_header_size);
    return x;
}

static void trim(struct buffer *b)
{
    buffer_clear(b);
    if (b->cap > MAX_KEPT_BUFFER)
        buffer_release(b);
}

static void exchange_free(struct exchange *x)
{
    struct worker *w = worker_of(x);
    assert(x->attempt == ATTEMPT_NONE && x->lease.server == NULL);
    deadline_cancel(&x->deadline);
    if (x->answer == ANSWER_TUNNEL)
        tunnel_end(&x->tunnel);
    body_deinit(&x->request_body);
    body_deinit(&x->answer_body);
    trim(&x->out);
    trim(&x->replay);
    if (w->nspare >= MAX_SPARE) {
        buffer_release(&x->out);
        buffer_release(&x->replay);
        free(x);
        return;
    }
    x->next_spare = w->spare;
    w->spare = x;
    w->nspare++;
}

void exchange_free_spares(struct worker *w)
{
    while (w->spare) {
        struct exchange *x = w->spare;
        w->spare = x->next_spare;
        buffer_release(&x->out);
        buffer_release(&x->replay);
        free(x);
    }
    w->nspare = 0;
}

/* The connection went back, and the attempt with it. */
static void attempt_ended(struct exchange *x)
{
    x->head_unsent = x->write_dead = x->upstream_reset = x->answer_begun = false;
    x->interim = 0;
    x->session->client.conn.paused &= (uint8_t)~PAUSE_PEER; /* it was this upstream that was full */
    move_attempt(x, ATTEMPT_NONE);
}

/* Ends the attempt: the connection goes back (keep) or is closed, the server is given back. */
static void end_attempt(struct exchange *x, bool keep)
{
    relay_end(&x->request_body.relay);
    relay_end(&x->answer_body.relay);
    lease_end(&x->lease, keep);
    attempt_ended(x);
}

void exchange_abandon(struct exchange *x)
{
    end_attempt(x, false);
    exchange_free(x);
}

/* ---- counting ---- */

static void count_answer(const struct exchange *x, int status)
{
    struct listener_cell *cell = x->session->client.wl->cell;
    cell_add(&cell->codes[status], 1);
    uint64_t now = uv_now(&worker_of(x)->loop);
    histogram_record(&cell->duration, (now - x->started_ms) * 1000);
}

static bool status_is_failure(const struct exchange *x, unsigned status)
{
    const struct config_passive *p = &x->lease.wp->pool->config->passive;
    for (size_t i = 0; i < p->nstatuses; i++)
        if (status >= p->statuses[i].from && status <= p->statuses[i].to)
            return true;
    return false;
}

/* ---- deadlines ---- */

/* Bytes of the request wait for the upstream to take more. */
static bool is_held_up(const struct exchange *x)
{
    return x->attempt == ATTEMPT_SENT &&
           (conn_queued(server_conn(x)) || relay_held(&x->request_body.relay));
}

/* The upstream's time begins. */
static void arm_response(struct exchange *x)
{
    x->unsent = is_held_up(x) ? conn_unsent(server_conn(x)) : 0;
    deadline_arm(&x->lease.wp->response, &x->deadline);
}

/* Whether the upstream has taken some of the request from the kernel, which tells of room only when
 * much of it is free. Where that was not asked when its time began, it gets the benefit once. */
static bool still_takes(struct exchange *x)
{
    size_t before = x->unsent;
    x->unsent = x->attempt == ATTEMPT_SENT ? conn_unsent(server_conn(x)) : 0;
    return x->unsent && (before == 0 || x->unsent < before);
}

/* The wait for the final head is the server's only while it has what it needs to answer: not while
 * the client's body is still to come. Once armed it stands, over all tries. Behind the head it is
 * the gap in the answer that counts, whatever the request does. */
static void watch_answer(struct exchange *x)
{
    if (x->answer != ANSWER_WAIT)
        return;
    bool client_owes = x->request == REQUEST_BODY && x->attempt == ATTEMPT_SENT &&
                       !x->wait_continue && !(x->session->client.conn.paused & PAUSE_PEER);
    if (client_owes)
        deadline_cancel(&x->deadline);
    else if (!deadline_armed(&x->deadline))
        arm_response(x);
}

/* The client is to send its body now, in time, or else to read what fills its connection. */
static void watch_body(struct exchange *x)
{
    struct session *s = x->session;
    bool due = x->request == REQUEST_BODY && x->attempt == ATTEMPT_SENT && !x->wait_continue &&
               !(s->client.conn.paused & PAUSE_PEER);
    if (due)
        deadline_arm(&s->client.wl->request, &s->client.deadline);
    else if (x->lease.upstream && server_conn(x)->paused & PAUSE_PEER)
        deadline_arm(&s->client.wl->idle, &s->client.deadline);
    else
        deadline_cancel(&s->client.deadline);
}

/* ---- giving up ---- */

/* The proxy's own answer ends the exchange. */
static void fail(struct exchange *x, int status)
{
    struct session *s = x->session;
    struct buffer *out = &worker_of(x)->scratch;
    bool dirty = x->request != REQUEST_DONE;
    bool keep =
        !dirty && x->keep_alive && x->minor == 1 && !worker_of(x)->stopping && !s->client.conn.eof;
    end_attempt(x, false);
    move_answer(x, ANSWER_DONE);
    count_answer(x, status);
    buffer_clear(out);
    bool ok = answer_write(out, status, !keep, x->method == METHOD_HEAD, worker_date(worker_of(x)));
    uv_buf_t buf = uv_buf_init(out->data, (unsigned)buffer_len(out));
    ok = ok && conn_write(&s->client.conn, &buf, 1, NULL) == 0;
    buffer_clear(out);
    exchange_free(x);
    s->exchange = NULL;
    if (ok)
        session_answered(s, keep, dirty);
    else
        session_close(s);
}

static int final_status(const struct exchange *x)
{
    switch ((enum exchange_failure)x->last_failure) {
    case FAILURE_BROKEN:
        return 502;
    case FAILURE_TIMEOUT:
        return 504;
    case FAILURE_NONE:
    case FAILURE_LOCAL:
        break;
    }
    return 503;
}

/* CONTRACT "Tries": the one question whether the request may be sent again. */
static bool may_resend(const struct exchange *x)
{
    if (x->answer != ANSWER_WAIT)
        return false;
    return !x->sent || (x->idempotent && !x->replay_lost);
}

/* ---- attempts ---- */

/* A connection is there: the head is made ready. It goes out with exchange_flush(), or together
 * with the first body bytes. False: no memory. */
static bool begin_send(struct exchange *x)
{
    struct conn *client = &x->session->client.conn;
    move_attempt(x, ATTEMPT_SENT);
    relay_init(&x->request_body.relay, worker_of(x), client, server_conn(x));
    relay_init(&x->answer_body.relay, worker_of(x), server_conn(x), client);
    parser_init_answer(&x->parser, &x->head, UPSTREAM_HEAD_MAX);
    x->out.end = x->out_fixed;
    x->head_unsent = true;
    const char *host = server_host(x->lease.server);
    return (!x->needs_host ||
            (buffer_append(&x->out, "Host: ", 6) && buffer_append(&x->out, host, strlen(host)) &&
             buffer_append(&x->out, "\r\n", 2))) &&
           buffer_append(&x->out, "\r\n", 2);
}

static void attempt_failed(struct exchange *x, enum exchange_failure why);

/* Connects, or takes an idle connection to the lent server. False: it failed here and now, what
 * follows is done. */
static bool attempt(struct exchange *x, bool fresh)
{
    int uv_error = UV_ENOMEM;
    bool kept = !fresh && upstream_take_idle(&x->lease, !x->idempotent);
    if (kept && begin_send(x))
        return true;
    if (!kept)
        uv_error = upstream_connect(&x->lease);
    if (uv_error == 0) {
        move_attempt(x, ATTEMPT_CONNECT);
        return true;
    }
    if (conn_error_is_local(uv_error)) {
        x->last_failure = FAILURE_LOCAL;
        fail(x, 503);
    } else {
        attempt_failed(x, FAILURE_BROKEN); /* there is no way to it */
    }
    return false;
}

/* Lends the next server and begins an attempt on it. False: that failed, and the exchange is gone
 * or has gone on elsewhere. */
static bool pick(struct exchange *x)
{
    if (lease_next(&x->lease) != POOL_OK) {
        fail(x, final_status(x));
        return false;
    }
    if (!attempt(x, false))
        return false;
    watch_answer(x);
    return true;
}

static void pass_bulk_up(struct exchange *x);

/* The upstream takes what is there of the body: on a fresh attempt, behind the head, and after it
 * has drained. */
static void go_on_with_body(struct exchange *x)
{
    struct session *s = x->session;
    watch_body(x);
    watch_answer(x);
    if (s->client.conn.paused & PAUSE_PEER)
        return;
    if (x->request_body.relay.bulk)
        pass_bulk_up(x); /* mostly there is more, and then it need not be watched at all */
    if (s->exchange != x || s->client.conn.paused & PAUSE_PEER)
        return;
    conn_resume(&s->client.conn, PAUSE_PEER);
    conn_continue(&s->client.conn);
}

/* Starts again elsewhere; may_resend() was asked. */
static void try_next(struct exchange *x)
{
    deadline_cancel(&x->session->client.deadline);
    end_attempt(x, false);
    if (pick(x) && x->attempt == ATTEMPT_SENT && exchange_flush(x))
        go_on_with_body(x);
}

/* This try failed by its server's fault. */
static void attempt_failed(struct exchange *x, enum exchange_failure why)
{
    x->last_failure = (uint8_t)why;
    lease_failed(&x->lease);
    if (x->answer != ANSWER_WAIT) { /* a part is passed on: no false end (RFC 9112 8) */
        session_close(x->session);
        return;
    }
    if (may_resend(x) && lease_retry(&x->lease))
        try_next(x);
    else
        fail(x, final_status(x));
}

/* A kept connection was closed by the backend before it saw, or answered, this request: not a try.
 * The request goes once more to the same server on a fresh connection. */
static void go_fresh(struct exchange *x)
{
    if (!may_resend(x)) {
        x->last_failure = FAILURE_BROKEN;
        fail(x, 502);
        return;
    }
    lease_end_connection(&x->lease, false);
    attempt_ended(x);
    if (attempt(x, true)) {
        watch_body(x);
        watch_answer(x);
    }
}

static void on_connected(struct lease *l)
{
    struct exchange *x = of(l);
    if (!begin_send(x))
        fail(x, 503);
    else if (exchange_flush(x))
        go_on_with_body(x);
}

static void broken(struct exchange *x, int uv_error)
{
    bool stale = x->attempt == ATTEMPT_SENT && x->lease.upstream->reused && !x->answer_begun &&
                 x->answer == ANSWER_WAIT;
    if (conn_error_is_local(uv_error))
        session_close(x->session);
    else if (stale)
        go_fresh(x);
    else
        attempt_failed(x, uv_error == UV_ETIMEDOUT ? FAILURE_TIMEOUT : FAILURE_BROKEN);
}

static void end_writing(struct exchange *x, int uv_error);

/* What was queued could not be written, and the upstream may have answered before that. */
static bool may_have_answered(const struct exchange *x, int uv_error)
{
    return x->attempt == ATTEMPT_SENT && !x->write_dead && server_conn(x)->write_failed &&
           (uv_error == UV_EPIPE || uv_error == UV_ECONNRESET);
}

static void on_broken(struct lease *l, int uv_error)
{
    struct exchange *x = of(l);
    if (x->answer == ANSWER_TUNNEL)
        tunnel_server_broken(&x->tunnel, uv_error);
    else if (may_have_answered(x, uv_error))
        end_writing(x, uv_error); /* reading will tell */
    else
        broken(x, uv_error);
}

static void on_server_down(struct lease *l)
{
    struct exchange *x = of(l);
    if (x->answer == ANSWER_TUNNEL) {
        if (x->lease.wp->pool->config->close_moved != CLOSE_MOVED_NEVER)
            tunnel_cut(&x->tunnel);
    } else if (x->attempt != ATTEMPT_NONE && may_resend(x)) {
        x->last_failure = FAILURE_BROKEN;
        try_next(x);
    }
}

void exchange_on_response_deadline(struct deadline *d)
{
    struct exchange *x = container_of(d, struct exchange, deadline);
    if (x->answer == ANSWER_BODY && server_conn(x)->paused & PAUSE_PEER) {
        deadline_arm(&x->lease.wp->response, d); /* it is the client that does not read */
        return;
    }
    if (x->answer == ANSWER_WAIT && still_takes(x)) {
        deadline_arm(&x->lease.wp->response, d);
        return;
    }
    if (x->attempt != ATTEMPT_NONE)
        lease_failed(&x->lease);
    if (x->answer == ANSWER_WAIT)
        fail(x, 504);
    else
        session_close(x->session);
}

/* ---- the request ---- */

static bool route(struct exchange *x, const char *base)
{
    struct session *s = x->session;
    struct key_source from = {.head = &x->head, .base = base, .peer = client_source(&s->client)};
    lease_set_key(&x->lease, s->client.wl, &from);
    struct rewrite_request r = {client_source(&s->client), STR("http"), x->head.upgrade};
    struct str proxy_head = client_send_head(&s->client); /* each connection is a new one then */
    buffer_clear(&x->out);
    if (proxy_head.n && !buffer_append(&x->out, proxy_head.p, proxy_head.n))
        return false;
    if (!rewrite_request(&x->out, &x->head, base, &r))
        return false;
    x->out_fixed = x->out.end;
    return true;
}

void exchange_start(struct exchange *x, const char *base)
{
    struct session *s = x->session;
    const struct head *h = &x->head;
    x->started_ms = uv_now(&worker_of(x)->loop);
    x->method = h->method;
    x->minor = h->minor;
    x->idempotent = method_idempotent(h->method);
    x->upgrade = h->upgrade;
    x->keep_alive = h->keep_alive;
    x->needs_host = h->host.len == 0 && !h->has_host;
    body_init(&x->request_body, h->body, h->content_length, s->client.wl->config->max_header_size,
              h->body == BODY_CHUNKED);
    move_request(x, h->body == BODY_NONE ? REQUEST_DONE : REQUEST_BODY);
    x->wait_continue = h->expect_continue && x->request == REQUEST_BODY;
    cell_add(&s->client.wl->cell->requests, 1);
    if (h->limited && h->max_forwards == 0) { /* we are the last to be asked */
        fail(x, h->method == METHOD_OPTIONS ? 200 : 501);
        return;
    }
    if (!route(x, base)) {
        fail(x, 503);
        return;
    }
    if (pick(x) && x->request == REQUEST_BODY)
        watch_body(x);
}

enum send_result {
    SEND_OK,
    SEND_NONE, /* broken before one byte of the request was out */
    SEND_DEAD, /* it takes no more, but it may have answered before that: reading will tell */
    SEND_FAIL, /* our own want of memory */
};

/* The upstream takes no more of the request; what it has answered before that can be read. */
static void end_writing(struct exchange *x, int uv_error)
{
    x->write_dead = true;
    if (uv_error != UV_EPIPE) /* that one: the peer had ended its side in order */
        x->upstream_reset = true;
    relay_end(&x->request_body.relay);
    conn_pause(&x->session->client.conn, PAUSE_PEER);
    watch_body(x);
    watch_answer(x);
}

static enum send_result send_up(struct exchange *x, const uv_buf_t *bufs, unsigned n)
{
    bool none_sent, head = x->head_unsent;
    int r = relay_write(&x->session->client.conn, server_conn(x), bufs, n, &none_sent);
    x->head_unsent = false;
    if (r == 0) {
        x->sent = true;
        return SEND_OK;
    }
    if (conn_error_is_local(r))
        return SEND_FAIL;
    if (head && none_sent)
        return SEND_NONE;
    x->sent = true;
    end_writing(x, r);
    return SEND_DEAD;
}

static uv_buf_t buf_of(struct buffer *b)
{
    return uv_buf_init(buffer_head(b), (unsigned)buffer_len(b));
}

bool exchange_flush(struct exchange *x)
{
    if (!x->head_unsent)
        return true;
    uv_buf_t bufs[2] = {buf_of(&x->out), buf_of(&x->replay)};
    switch (send_up(x, bufs, bufs[1].len ? 2 : 1)) {
    case SEND_OK:
    case SEND_DEAD:
        return true;
    case SEND_NONE:
        broken(x, UV_EPIPE);
        return false;
    case SEND_FAIL:
        break;
    }
    session_close(x->session);
    return false;
}

/* Keeps these body bytes for another try. */
static void keep_bytes(struct exchange *x, const uv_buf_t *bufs, unsigned n)
{
    for (unsigned i = 0; i < n && !x->replay_lost; i++)
        x->replay_lost = !buffer_append(&x->replay, bufs[i].base, bufs[i].len);
    if (x->replay_lost)
        trim(&x->replay);
}

/* What went out of the body is kept while another try is possible and it fits. */
static void keep_sent(struct exchange *x, const uv_buf_t *bufs, unsigned n)
{
    size_t total = buffer_len(&x->replay);
    for (unsigned i = 0; i < n; i++)
        total += bufs[i].len;
    if (!x->idempotent || total > EXCHANGE_REPLAY_MAX || x->answer != ANSWER_WAIT)
        x->replay_lost = true;
    keep_bytes(x, bufs, n);
}

static void refuse_body(struct exchange *x)
{
    if (x->answer == ANSWER_WAIT)
        fail(x, framing_status(&x->request_body.framing));
    else
        session_close(x->session);
}

/* Sends bufs[0, n), of which those from `body` on are the body's. */
static void send_body(struct exchange *x, const uv_buf_t *bufs, unsigned n, unsigned body)
{
    if (n == body) /* framing alone: nothing to pass on yet */
        return;
    switch (send_up(x, bufs, n)) {
    case SEND_OK:
    case SEND_DEAD:
        keep_sent(x, bufs + body, n - body);
        watch_body(x);
        watch_answer(x);
        if (!x->write_dead && !may_resend(x) && !x->upgrade) /* a tunnel may follow: in order */
            body_consider_bulk(&x->request_body);
        return;
    case SEND_NONE:
        keep_bytes(x, bufs + body, n - body);
        broken(x, UV_EPIPE);
        return;
    case SEND_FAIL:
        session_close(x->session);
        return;
    }
}

size_t exchange_on_body(struct exchange *x, char *data, size_t len)
{
    struct session *s = x->session;
    if (x->attempt != ATTEMPT_SENT || s->client.conn.paused & PAUSE_PEER)
        return 0; /* kept until there is somebody to take it */
    struct body_piece p = body_decode(&x->request_body, data, len);
    bool last = p.result == FRAMING_DONE;
    if (p.result == FRAMING_ERROR) {
        refuse_body(x);
        return len;
    }
    if (!last && s->client.conn.eof) { /* cut: this was all that there will ever be */
        session_close(s);
        return len;
    }
    char line[BODY_CHUNK_LINE];
    uv_buf_t bufs[6] = {buf_of(&x->out), buf_of(&x->replay)};
    uv_buf_t piece = uv_buf_init(data, (unsigned)p.payload);
    struct buffer *scratch = &worker_of(x)->scratch;
    unsigned body = x->head_unsent ? 2 : 0, n = body;
    buffer_clear(scratch);
    if (x->request_body.chunked)
        n = body_put_chunk(&x->request_body, bufs, n, line, piece, last, scratch);
    else if (p.payload)
        bufs[n++] = piece;
    if (n < body) {
        session_close(s);
        return len;
    }
    x->wait_continue = false;
    if (last)
        move_request(x, REQUEST_DONE);
    send_body(x, bufs, n, body);
    buffer_clear(scratch);
    return p.used;
}

/* The request is wholly there once its last byte was taken from the client, even if it waits in the
 * pipe: as if it were queued. */
static void pass_bulk_up(struct exchange *x)
{
    size_t n;
    int uv_error;
    enum relay_result result = body_turn(&x->request_body, &n, &uv_error);
    if (result == RELAY_SOURCE || (result == RELAY_SINK && conn_error_is_local(uv_error))) {
        session_close(x->session); /* cut, or its end lost */
        return;
    }
    if (result == RELAY_SINK)
        end_writing(x, uv_error);
    if (x->request_body.framing.left == 0)
        move_request(x, REQUEST_DONE);
    if (n || x->session->client.conn.paused & PAUSE_PEER) {
        watch_body(x);
        watch_answer(x);
    }
}

void exchange_on_client_readable(struct exchange *x)
{
    pass_bulk_up(x);
}

void exchange_body_too_slow(struct exchange *x)
{
    if (x->answer == ANSWER_WAIT)
        fail(x, 408);
    else
        session_close(x->session);
}

static void server_drained(struct exchange *x)
{
    int state = relay_drained(&x->request_body.relay);
    if (state < 0 && conn_error_is_local(state)) {
        session_close(x->session);
    } else if (state < 0) {
        end_writing(x, state);
    } else if (state == 0 && x->answer == ANSWER_WAIT && relay_held(&x->request_body.relay)) {
        arm_response(x); /* it took some */
    } else if (state == 1 && x->request == REQUEST_BODY) {
        go_on_with_body(x);
    } else if (state == 1) { /* all is sent; that the client goes has to be seen */
        conn_resume(&x->session->client.conn, PAUSE_PEER);
    }
}

static void on_server_drain(struct lease *l)
{
    struct exchange *x = of(l);
    if (x->answer == ANSWER_TUNNEL) {
        tunnel_server_drained(&x->tunnel);
        return;
    }
    if (!x->write_dead)
        server_drained(x);
}

/* ---- the answer ---- */

/* The answer is handed over whole. leftover: bytes came behind it. */
static void answer_done(struct exchange *x, bool leftover)
{
    struct session *s = x->session;
    bool sent = x->request == REQUEST_DONE && !x->write_dead;
    bool on_its_way = conn_queued(server_conn(x)) || relay_held(&x->request_body.relay);
    bool keep_up = x->answer_keep && sent && !leftover && !on_its_way;
    bool dirty = x->request != REQUEST_DONE;
    bool keep_client = !x->close_client && !dirty;
    move_answer(x, ANSWER_DONE);
    count_answer(x, x->status);
    end_attempt(x, keep_up);
    exchange_free(x);
    session_answered(s, keep_client, dirty);
}

/* Passes a piece of the answer on, behind `first` (the head, or nothing). Returns false if the
 * client is gone, with the exchange. */
static bool send_down(struct exchange *x, uv_buf_t first, uv_buf_t payload, bool last)
{
    struct session *s = x->session;
    char line[BODY_CHUNK_LINE];
    uv_buf_t bufs[6] = {first};
    struct buffer *scratch = &worker_of(x)->scratch;
    unsigned n = first.len ? 1 : 0;
    bool ok = true;
    if (x->answer_body.chunked) {
        size_t head_at = first.len ? (size_t)(first.base - scratch->data) : 0;
        n = body_put_chunk(&x->answer_body, bufs, n, line, payload, last, scratch);
        ok = n > 0 || (!first.len && !payload.len && !last);
        if (first.len) /* composing the end may have moved it */
            bufs[0].base = scratch->data + head_at;
    } else if (n && payload.len <= JOIN_MAX && buffer_append(scratch, payload.base, payload.len)) {
        bufs[0] = buf_of(scratch); /* one buffer is cheaper for the kernel than two */
    } else if (payload.len) {
        bufs[n++] = payload;
    }
    s->client.conn.last_write = last && x->close_client && x->request == REQUEST_DONE;
    if (!ok || relay_write(server_conn(x), &s->client.conn, bufs, n, NULL) < 0) {
        session_close(s);
        return false;
    }
    if (server_conn(x)->paused & PAUSE_PEER) /* from now on it is the client that owes */
        deadline_arm(&s->client.wl->idle, &s->client.deadline);
    return true;
}

static size_t pass_piece(struct exchange *x, uv_buf_t first, char *data, size_t len,
                         struct body_piece piece)
{
    bool last = piece.result == FRAMING_DONE;
    if (!send_down(x, first, uv_buf_init(data, (unsigned)piece.payload), last))
        return len;
    if (last) {
        answer_done(x, piece.used < len);
        return piece.used;
    }
    deadline_arm(&x->lease.wp->response, &x->deadline); /* the longest gap */
    body_consider_bulk(&x->answer_body);
    return piece.used;
}

static size_t pass_body(struct exchange *x, char *data, size_t len)
{
    struct body_piece piece = body_decode(&x->answer_body, data, len);
    if (piece.result != FRAMING_ERROR)
        return pass_piece(x, uv_buf_init(NULL, 0), data, len, piece);
    attempt_failed(x, FAILURE_BROKEN);
    return len;
}

/* A 1xx: passed on to HTTP/1.1 clients, but no second 100. */
static size_t pass_interim(struct exchange *x, const char *base)
{
    struct session *s = x->session;
    size_t size = x->head.size;
    bool again = x->head.status == 100 && x->continued;
    if (++x->interim > MAX_INTERIM) {
        attempt_failed(x, FAILURE_BROKEN);
        return size;
    }
    if (x->minor == 1 && !again) {
        struct buffer *out = &worker_of(x)->scratch;
        struct rewrite_answer r = {.body = BODY_NONE};
        buffer_clear(out);
        uv_buf_t none = uv_buf_init(NULL, 0);
        if (!rewrite_answer(out, &x->head, base, &r)) {
            session_close(s);
            return size;
        }
        if (!send_down(x, buf_of(out), none, false))
            return size;
        buffer_clear(out);
    }
    if (x->head.status == 100) {
        x->continued = true;
        x->wait_continue = false;
        watch_body(x);
        watch_answer(x);
    }
    parser_init_answer(&x->parser, &x->head, UPSTREAM_HEAD_MAX);
    return size;
}

/* How the body goes to the client: as it came if that can be, else chunked, else to the end. */
static enum body_kind client_framing(const struct exchange *x, enum body_kind from)
{
    if (from == BODY_NONE || from == BODY_LENGTH)
        return from;
    return x->minor == 1 ? BODY_CHUNKED : BODY_CLOSE;
}

static size_t begin_tunnel(struct exchange *x, const char *base)
{
    struct session *s = x->session;
    size_t size = x->head.size;
    struct buffer *out = &worker_of(x)->scratch;
    struct rewrite_answer r = {.upgrade = true, .body = BODY_NONE};
    server_succeeded(x->lease.server);
    x->status = 101;
    buffer_clear(out);
    if (!rewrite_answer(out, &x->head, base, &r)) {
        session_close(s);
        return size;
    }
    if (!send_down(x, buf_of(out), uv_buf_init(NULL, 0), false))
        return size;
    buffer_clear(out);
    count_answer(x, 101);
    move_answer(x, ANSWER_TUNNEL);
    tunnel_init(&x->tunnel, &exchange_tunnel_ops, &s->client, &x->lease);
    s->state = SESSION_TUNNEL;
    deadline_cancel(&x->deadline);
    if (lease_moved(&x->lease)) /* while the upgrade was on its way */
        tunnel_cut(&x->tunnel);
    else
        tunnel_start(&x->tunnel);
    return size;
}

/* The final head is there, at base. */
static size_t begin_answer(struct exchange *x, char *base, size_t len)
{
    const struct head *h = &x->head;
    size_t size = h->size;
    bool was_head = x->method == METHOD_HEAD;
    enum body_kind from = framing_of_answer(h, was_head);
    enum body_kind to = client_framing(x, from);
    body_init(&x->answer_body, from, h->content_length, UPSTREAM_HEAD_MAX, to == BODY_CHUNKED);
    struct body_piece piece = body_decode(&x->answer_body, base + size, len - size);
    if (piece.result == FRAMING_ERROR) { /* seen before anything is passed on */
        body_deinit(&x->answer_body);
        attempt_failed(x, FAILURE_BROKEN);
        return len;
    }
    x->answer_keep = h->keep_alive && from != BODY_CLOSE;
    x->close_client =
        !x->keep_alive || to == BODY_CLOSE || x->request != REQUEST_DONE || worker_of(x)->stopping;
    x->status = h->status;
    struct rewrite_answer r = {.close = x->close_client,
                               .keep_alive_10 = x->minor == 0 && !x->close_client,
                               .date = worker_date(worker_of(x)),
                               .body = (uint8_t)to};
    struct buffer *out = &worker_of(x)->scratch;
    buffer_clear(out);
    if (!rewrite_answer(out, h, base, &r)) {
        session_close(x->session);
        return len;
    }
    if (status_is_failure(x, h->status))
        lease_failed(&x->lease);
    else
        server_succeeded(x->lease.server);
    move_answer(x, ANSWER_BODY);
    size_t used = pass_piece(x, buf_of(out), base + size, len - size, piece);
    buffer_clear(out);
    return size + used;
}

static size_t read_answer_head(struct exchange *x, char *data, size_t len)
{
    x->answer_begun = true;
    switch (parser_execute(&x->parser, &x->head, data, len)) {
    case PARSE_MORE:
        return 0;
    case PARSE_ERROR:
        attempt_failed(x, FAILURE_BROKEN);
        return len;
    case PARSE_DONE:
        break;
    }
    unsigned status = x->head.status;
    if (status == 101) {
        if (x->upgrade && x->head.upgrade && x->request == REQUEST_DONE)
            return begin_tunnel(x, data);
        attempt_failed(x, FAILURE_BROKEN); /* not asked for, or it does not say to what */
        return len;
    }
    return status < 200 ? pass_interim(x, data) : begin_answer(x, data, len);
}

static size_t on_answer(struct lease *l, char *data, size_t len)
{
    struct exchange *x = of(l);
    if (x->attempt != ATTEMPT_SENT || x->head_unsent) { /* an answer before the question */
        broken(x, UV_ECONNRESET);
        return len;
    }
    if (server_conn(x)->paused & PAUSE_PEER)
        return 0;
    switch (x->answer) {
    case ANSWER_WAIT:
        return read_answer_head(x, data, len);
    case ANSWER_BODY:
        return pass_body(x, data, len);
    case ANSWER_TUNNEL:
        return tunnel_from_server(&x->tunnel, data, len);
    case ANSWER_DONE:
        break;
    }
    return len;
}

static void server_eof(struct exchange *x)
{
    if (x->answer == ANSWER_TUNNEL) {
        tunnel_server_eof(&x->tunnel);
    } else if (conn_pending(server_conn(x)) && server_conn(x)->paused & PAUSE_PEER) {
        return; /* bytes of the answer still wait for the client: told again when they are out */
    } else if (x->answer == ANSWER_BODY && x->answer_body.framing.kind == BODY_CLOSE &&
               !x->upstream_reset) {
        if (send_down(x, uv_buf_init(NULL, 0), uv_buf_init(NULL, 0), true))
            answer_done(x, false);
    } else {
        broken(x, UV_ECONNRESET);
    }
}

static void on_server_eof(struct lease *l)
{
    server_eof(of(l));
}

/* What comes behind an answer that ends in bulk is not known until it is looked for. */
static void pass_bulk_down(struct exchange *x)
{
    size_t n;
    int uv_error;
    enum relay_result result = body_turn(&x->answer_body, &n, &uv_error);
    if (n)
        deadline_arm(&x->lease.wp->response, &x->deadline);
    if (server_conn(x)->paused & PAUSE_PEER)
        deadline_arm(&x->session->client.wl->idle, &x->session->client.deadline);
    if (result == RELAY_SINK)
        session_close(x->session);
    else if (result == RELAY_SOURCE)
        broken(x, uv_error == UV_EOF ? UV_ECONNRESET : uv_error);
    else if (body_is_handed_over(&x->answer_body))
        answer_done(x, !conn_alive(server_conn(x)));
}

static void on_server_readable(struct lease *l)
{
    struct exchange *x = of(l);
    if (x->answer == ANSWER_TUNNEL)
        tunnel_server_readable(&x->tunnel);
    else
        pass_bulk_down(x);
}

static const struct lease_ops exchange_lease_ops = {
    .on_connected = on_connected,
    .on_broken = on_broken,
    .on_bytes = on_answer,
    .on_eof = on_server_eof,
    .on_drain = on_server_drain,
    .on_readable = on_server_readable,
    .on_server_down = on_server_down,
};

void exchange_on_client_drain(struct exchange *x)
{
    struct session *s = x->session;
    if (x->lease.upstream == NULL)
        return;
    struct conn *up = server_conn(x);
    if (x->answer == ANSWER_TUNNEL) {
        tunnel_client_drained(&x->tunnel);
        return;
    }
    if (!(up->paused & PAUSE_PEER))
        return;
    int state = relay_drained(&x->answer_body.relay);
    if (state < 0) {
        session_close(s);
        return;
    }
    if (state == 0) { /* it took some */
        deadline_arm(&s->client.wl->idle, &s->client.deadline);
        return;
    }
    watch_body(x);
    if (x->answer_body.relay.bulk)
        pass_bulk_down(x);
    else if (x->answer == ANSWER_BODY && body_is_handed_over(&x->answer_body))
        answer_done(x, !conn_alive(up));
    else
        conn_continue(up);
    /* That may have ended the exchange, or filled the client again. */
    if (s->exchange == x && x->lease.upstream && server_conn(x) == up) {
        if (up->eof && !(up->paused & PAUSE_PEER)) /* all was taken that can be */
            server_eof(x);
        else
            conn_resume(up, 0);
    }
}

/* ---- the tunnel ---- */

static struct exchange *of_tunnel(struct tunnel *t)
{
    return container_of(t, struct exchange, tunnel);
}

static void on_tunnel_done(struct tunnel *t)
{
    struct exchange *x = of_tunnel(t);
    struct session *s = x->session;
    tunnel_end(t);
    move_answer(x, ANSWER_DONE);
    end_attempt(x, false);
    exchange_free(x);
    session_answered(s, false, false);
}

static void on_tunnel_cut(struct tunnel *t)
{
    session_close(of_tunnel(t)->session);
}

static const struct tunnel_ops exchange_tunnel_ops = {.on_done = on_tunnel_done,
                                                      .on_cut = on_tunnel_cut};
