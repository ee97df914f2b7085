/* The way down: interim answers, the final head and its body are passed on to the front.
 *
 *   on_bytes -> exchange_take_answer -> read_answer_head -> pass_interim, switch_protocols
 *                            |                          '-> begin_answer -> piece_passed
 *                            '-> pass_body -> piece_passed -> answer_done
 *   on_readable -> exchange_pass_bulk_down -> body_turn -> answer_done
 */
#include "proxy/exchange_parts.h"

/* 1xx of one attempt. Each gives the server more time, so there must be an end to them. */
#define MAX_INTERIM 1000

/* The front has the whole answer. The connection may serve again only if not a byte of this request
 * or answer is left on it. leftover: bytes came behind the answer. */
static void answer_done(struct exchange *x, bool leftover)
{
    assert(x->answer == ANSWER_BODY && x->attempt >= ATTEMPT_SENT);
    bool sent = x->request == REQUEST_DONE && x->attempt == ATTEMPT_SENT;
    bool on_its_way = conn_queued(exchange_server_conn(x)) || relay_held(&x->request_body.relay);
    exchange_move_answer(x, ANSWER_DONE);
    x->record.answered = true;
    exchange_end_attempt(x, x->answer_keep && sent && !leftover && !on_its_way);
    exchange_end(x, END_ANSWERED);
}

/* The front was given a piece of the answer, and r is what it said. */
static void passed(struct exchange *x, enum front_result r)
{
    if (r == FRONT_GONE)
        exchange_end(x, END_CLIENT_LEFT);
    else if (r == FRONT_FULL)
        conn_pause(exchange_server_conn(x), PAUSE_PEER);
    x->moved |= MOVED_CLIENT;
}

/* Goes on after a piece of the body. Returns how many of the bytes belonged to the answer. */
static size_t piece_passed(struct exchange *x, enum front_result r, struct body_piece piece,
                           size_t len)
{
    passed(x, r);
    if (exchange_is_over(x))
        return len;
    if (piece.result == FRAMING_DONE) {
        answer_done(x, piece.used < len);
        return piece.used;
    }
    x->moved |= MOVED_ANSWER;
    if (x->conn)
        body_consider_bulk(&x->answer_body);
    return piece.used;
}

static struct front_piece front_piece(const struct exchange *x, char *data, struct body_piece piece)
{
    return (struct front_piece){data, piece.payload, piece.result == FRAMING_DONE,
                                &x->answer_body.framing};
}

static size_t pass_body(struct exchange *x, char *data, size_t len)
{
    assert(x->answer == ANSWER_BODY);
    struct body_piece piece = body_decode(&x->answer_body, data, len);
    if (piece.result == FRAMING_ERROR) {
        exchange_attempt_failed(x, END_FAILED, BLAME_NOBODY);
        return len;
    }
    x->record.sent += piece.used;
    const struct front_piece p = front_piece(x, data, piece);
    return piece_passed(x, x->front->ops->body(x->front, &p), piece, len);
}

/* Passes a 1xx on, but no second 100: each attempt may bring one. The server has said that it is
 * about the request, so its time begins anew. Too many of them are nobody's fault and would come
 * from the next server, too: no other try. Returns how many bytes the 1xx had. */
static size_t pass_interim(struct exchange *x, const char *base)
{
    assert(x->answer == ANSWER_WAIT);
    size_t size = x->head.size;
    bool go_ahead = x->head.status == 100;
    if (++x->interim > MAX_INTERIM) {
        exchange_end_by_proxy(x, END_FAILED, 502);
        return size;
    }
    x->moved |= MOVED_ANSWER;
    if (!go_ahead || !x->continued)
        passed(x, x->front->ops->interim(x->front, &x->head, base, NULL));
    if (exchange_is_over(x))
        return size;
    x->record.sent += size;
    x->continued |= go_ahead;
    if (go_ahead && x->request == REQUEST_EXPECT)
        exchange_move_request(x, REQUEST_BODY);
    parser_init_answer(&x->parser, &x->head, UPSTREAM_HEAD_MAX);
    return size;
}

/* 101: from now on the connection speaks another protocol. The exchange is over, and the front
 * takes the lease over for a tunnel. */
static size_t switch_protocols(struct exchange *x, const char *base)
{
    assert(x->upgrade && x->request == REQUEST_DONE);
    size_t size = x->head.size;
    struct rewrite_cookie room;
    const struct rewrite_cookie *cookie =
        x->issued ? exchange_cookie(x, &x->head, base, &room) : NULL;
    lease_answered(&x->lease);
    passed(x, x->front->ops->interim(x->front, &x->head, base, cookie));
    if (exchange_is_over(x))
        return size;
    exchange_move_answer(x, ANSWER_DONE);
    x->record.status = 101;
    x->record.sent += size;
    x->record.answered = true;
    exchange_end(x, END_UPGRADED);
    return size;
}

static bool status_is_failure(const struct exchange *x, unsigned status)
{
    const struct config_passive *p = &x->lease.wp->pool->config->passive;
    return config_in_ranges(p->statuses, p->nstatuses, status);
}

static bool status_is_retried(const struct exchange *x, unsigned status)
{
    const struct config_pool *p = x->lease.wp->pool->config;
    return config_in_ranges(p->retry_statuses, p->nretry_statuses, status);
}

/* Counts what the status says of the server. True: the answer is a failed try, by `retry_statuses`,
 * and was let go, as another server has taken its place: the last one stands. */
static bool goes_on_elsewhere(struct exchange *x, unsigned status)
{
    bool failure = status_is_failure(x, status), retried = status_is_retried(x, status);
    if (failure)
        lease_blame(&x->lease, BLAME_STATUS);
    else if (retried)
        server_succeeded(lease_server(&x->lease));
    if (retried && exchange_leave(x))
        return true;
    if (!failure)
        lease_answered(&x->lease);
    return false;
}

/* Whether the client has ended its side: it may be gone, which only a write would tell. */
static bool client_has_ended(const struct exchange *x)
{
    return x->conn && x->conn->eof;
}

/* The final head has come; its texts stand at base. What has come of the body is decoded before the
 * head is passed on: broken framing can then still be answered by another try. */
static size_t begin_answer(struct exchange *x, char *base, size_t len)
{
    const struct head *h = &x->head;
    size_t size = h->size;
    enum body_kind kind = framing_of_answer(h, x->method == METHOD_HEAD);
    body_init(&x->answer_body, kind, h->content_length, UPSTREAM_HEAD_MAX);
    struct body_piece piece = body_decode(&x->answer_body, base + size, len - size);
    if (piece.result == FRAMING_ERROR) {
        framing_deinit(&x->answer_body.framing);
        exchange_attempt_failed(x, END_FAILED, BLAME_NOBODY);
        return len;
    }
    if (goes_on_elsewhere(x, h->status))
        return len;
    exchange_move_answer(x, ANSWER_BODY);
    x->gaps = h->event_stream && !client_has_ended(x) ? &x->wl->clocks->events : &x->lease.wp->body;
    x->answer_keep = h->keep_alive && kind != BODY_CLOSE;
    x->record.status = h->status;
    x->record.first_byte_ms = uv_now(&exchange_worker(x)->loop);
    if (h->has_idle) /* from the head on: nobody knows when the server has written the last byte */
        upstream_expires(x->lease.upstream, x->record.first_byte_ms, h->idle_ms);
    x->record.sent += size + piece.used;
    struct rewrite_cookie room;
    const struct front_answer a = {h, base, kind, x->request == REQUEST_DONE,
                                   x->issued ? exchange_cookie(x, h, base, &room) : NULL};
    const struct front_piece p = front_piece(x, base + size, piece);
    return size + piece_passed(x, x->front->ops->answer(x->front, &a, &p), piece, len - size);
}

static size_t read_answer_head(struct exchange *x, char *data, size_t len)
{
    x->heard = true;
    switch (parser_execute(&x->parser, &x->head, data, len)) {
    case PARSE_MORE:
        return 0;
    case PARSE_ERROR:
        exchange_attempt_failed(x, END_FAILED, BLAME_MALFORMED);
        return len;
    case PARSE_DONE:
        break;
    }
    unsigned status = x->head.status;
    if (x->head.identity)
        lease_tie(&x->lease);
    if (status == 101) {
        if (x->upgrade && x->head.upgrade && x->request == REQUEST_DONE)
            return switch_protocols(x, data);
        /* nobody asked for it, or it names no protocol */
        exchange_attempt_failed(x, END_FAILED, BLAME_MALFORMED);
        return len;
    }
    return status < 200 ? pass_interim(x, data) : begin_answer(x, data, len);
}

size_t exchange_take_answer(struct exchange *x, char *data, size_t len)
{
    if (x->attempt <
        ATTEMPT_SENT) { /* bytes before the request was sent: they can't be its answer */
        exchange_broken(x, UV_ECONNRESET);
        return len;
    }
    if (conn_is_paused(exchange_server_conn(x), PAUSE_PEER))
        return 0;
    return x->answer == ANSWER_WAIT ? read_answer_head(x, data, len) : pass_body(x, data, len);
}

/* Behind an answer that ends as bulk unread bytes may follow, which nobody would notice: so the
 * connection is kept only if a look at the socket shows none (conn_alive()). */
void exchange_pass_bulk_down(struct exchange *x)
{
    size_t n;
    int uv_error;
    assert(x->conn && x->answer == ANSWER_BODY);
    enum relay_result result = body_turn(&x->answer_body, &n, &uv_error);
    x->record.sent += n;
    x->moved |= MOVED_CLIENT | (n ? MOVED_ANSWER : 0);
    if (result == RELAY_SINK)
        exchange_end(x, END_CLIENT_LEFT);
    else if (result == RELAY_SOURCE)
        exchange_broken(x, uv_error == UV_EOF ? UV_ECONNRESET : uv_error);
    else if (body_is_handed_over(&x->answer_body))
        answer_done(x, !conn_alive(exchange_server_conn(x)));
}

void exchange_server_eof(struct exchange *x)
{
    struct conn *up = exchange_server_conn(x);
    bool waits = conn_pending(up) && conn_is_paused(up, PAUSE_PEER);
    if (waits)
        return; /* bytes of the answer wait for the client: go_on_with_answer() comes back here */
    if (x->answer == ANSWER_BODY && x->answer_body.framing.kind == BODY_CLOSE &&
        x->attempt != ATTEMPT_RESET) {
        const struct front_piece p = {.last = true, .framing = &x->answer_body.framing};
        passed(x, x->front->ops->body(x->front, &p));
        if (!exchange_is_over(x))
            answer_done(x, false);
    } else {
        exchange_broken(x, x->attempt == ATTEMPT_RESET ? UV_ECONNRESET : UV_EOF);
    }
}

/* The front has room: what the pipe holds goes next. A front without a conn has no pipe. */
static enum relay_rest answer_drained(struct exchange *x)
{
    int uv_error;
    if (x->conn)
        return relay_drained(&x->answer_body.relay, &uv_error);
    conn_clear_pause(exchange_server_conn(x), PAUSE_PEER);
    return RELAY_REST_NONE;
}

static void go_on_with_answer(struct exchange *x)
{
    assert(!conn_is_paused(exchange_server_conn(x), PAUSE_PEER));
    struct conn *up = exchange_server_conn(x);
    if (x->answer_body.relay.bulk)
        exchange_pass_bulk_down(x);
    else if (x->answer == ANSWER_BODY && body_is_handed_over(&x->answer_body))
        answer_done(x, !conn_alive(up));
    else
        conn_continue(up);
    if (exchange_is_over(x) || up->closing) /* closing: another attempt has begun meanwhile */
        return;
    if (up->eof && !conn_is_paused(up, PAUSE_PEER)) /* the answer's last bytes were taken by now */
        exchange_server_eof(x);
    else
        conn_resume(up, 0);
}

void exchange_on_drain(struct exchange *x)
{
    exchange_enter(x);
    if (!exchange_is_over(x) && x->lease.upstream &&
        conn_is_paused(exchange_server_conn(x), PAUSE_PEER)) {
        x->moved |= MOVED_CLIENT;
        switch (answer_drained(x)) {
        case RELAY_REST_NONE:
            go_on_with_answer(x);
            break;
        case RELAY_REST_SAME:
            break;
        case RELAY_REST_LOST:
            exchange_end(x, END_CLIENT_LEFT);
            break;
        }
    }
    exchange_settle(x);
}

void exchange_on_client_end(struct exchange *x)
{
    exchange_enter(x);
    if (x->answer == ANSWER_BODY && x->gaps == &x->wl->clocks->events) {
        x->gaps = &x->lease.wp->body;
        deadline_arm(x->gaps, &x->deadline);
    }
    exchange_settle(x);
}
