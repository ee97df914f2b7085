/* The way up: the head is composed once, and the body is passed on to the server.
 *
 *   front -> exchange_take_body -> body_decode -> pass_up -> send_body -> send_up -> conn_write
 *                                                    |           '-> keep_sent, for another try
 *                                          head, if READY
 *   front -> exchange_on_readable -> body_turn                       bulk, once no try is possible
 */
#include "http/rewrite.h"
#include "proxy/client.h"
#include "proxy/exchange_parts.h"
#include "proxy/key.h"

static uv_buf_t buf_of(struct buffer *b)
{
    return uv_buf_init(buffer_head(b), (unsigned)buffer_len(b));
}

/* ---- the head ---- */

/* The first route that matches; NULL: none does. Most listeners have one, without conditions. */
static const struct config_route *find_route(struct exchange *x, const struct head *h,
                                             const char *base)
{
    const struct config_route *routes = x->wl->config->routes;
    if (x->wl->routes == NULL)
        return routes;
    const struct route_query q = {head_str(base, h->host), head_str(base, h->path),
                                  head_str(base, h->method_text)};
    size_t i = routes_find(x->wl->routes, &q);
    if (i == ROUTE_NONE)
        return NULL;
    lease_count_route(x->wl, i);
    lease_set_route(&x->lease, &routes[i]);
    return &routes[i];
}

/* The field that tells the server of the fleet's decision: what a client says in it is not passed
 * on, as a server would believe it. n 0: none. */
static struct str epoch_header(const struct exchange *x)
{
    const char *name = x->lease.wp->pool->config->epoch_header;
    return name ? str_of(name) : (struct str){0};
}

/* Composes the head up to what differs from try to try, and finds the key. False: no memory. */
static bool compose(struct exchange *x, const struct config_route *route, const struct head *h,
                    const char *base)
{
    const struct client *c = x->lease.client;
    const struct config_listener *l = x->wl->config;
    struct str peer = client_source(c);
    struct key_source from = {.head = h,
                              .base = base,
                              .peer = peer,
                              .trusted = l->trusted_proxies,
                              .ntrusted = c->trusted ? l->ntrusted_proxies : 0};
    const struct rewrite_request r = {.peer = peer,
                                      .proto = STR("http"),
                                      .upgrade = h->upgrade,
                                      .trusted = c->trusted,
                                      .no_via = !l->via,
                                      .without = epoch_header(x)};
    x->issued = route->issued;
    lease_set_key(&x->lease, x->wl, route, &from);
    if (x->lease.keyless)
        exchange_without_key(x, &from);
    buffer_clear(&x->out);
    if (!rewrite_request(&x->out, h, base, &r))
        return false;
    x->out_fixed = x->out.end;
    return true;
}

/* Notes all that is needed of the head later, as the front does not keep it. */
static void take_head(struct exchange *x, const struct head *h)
{
    assert(x->request == REQUEST_HEAD && x->attempt == ATTEMPT_NONE);
    x->record.started_ms = uv_now(&exchange_worker(x)->loop);
    x->record.received = h->size;
    x->method = h->method;
    x->upgrade = h->upgrade;
    x->lease.identity = h->identity;
    x->needs_host = h->host.len == 0 && !h->has_host;
    body_init(&x->request_body, h->body, h->content_length, x->wl->config->max_header_size);
    if (h->body == BODY_NONE)
        exchange_move_request(x, REQUEST_DONE);
    else
        exchange_move_request(x, h->expect_continue ? REQUEST_EXPECT : REQUEST_BODY);
    cell_add(&x->wl->cell->requests, 1);
}

size_t exchange_start(struct exchange *x, const struct head *h, const char *base, char *data,
                      size_t len)
{
    size_t used = 0;
    const struct config_route *route;
    exchange_enter(x);
    take_head(x, h);
    if (h->limited && h->max_forwards == 0) /* may not be passed on (RFC 9110 7.6.2) */
        exchange_end_by_proxy(x, END_REFUSED, x->method == METHOD_OPTIONS ? 200 : 501);
    else if ((route = find_route(x, h, base)) == NULL)
        exchange_end_by_proxy(x, END_NO_ROUTE, 404);
    else if (!compose(x, route, h, base))
        exchange_end_by_proxy(x, END_NO_MEMORY, 503);
    else
        exchange_pick(x);
    if (x->attempt == ATTEMPT_READY && len) /* in one write with the head */
        used = exchange_take_body(x, data, len);
    if (x->attempt == ATTEMPT_READY)
        exchange_flush(x);
    exchange_settle(x);
    return used;
}

/* From now on the request can't be sent again, so what is kept of its body is of no use. */
static void lose_replay(struct exchange *x)
{
    exchange_move_replay(x, REPLAY_LOST);
    exchange_trim(&x->kept);
}

/* Bytes of the request may have reached the server, which may have acted on them. */
static void note_sent(struct exchange *x)
{
    if (x->replay != REPLAY_FRESH)
        return;
    if (method_idempotent(x->method))
        exchange_move_replay(x, REPLAY_KEPT);
    else
        lose_replay(x);
}

/* Keeps these body bytes for another try. Without memory there is no other try: the request must
 * not go out again with a hole in it. */
static void keep_bytes(struct exchange *x, const uv_buf_t *bufs, unsigned n)
{
    for (unsigned i = 0; i < n && x->replay != REPLAY_LOST; i++)
        if (!buffer_append(&x->kept, bufs[i].base, bufs[i].len))
            lose_replay(x);
}

/* Keeps body bytes that were sent, while another try is possible and all of them fit. */
static void keep_sent(struct exchange *x, const uv_buf_t *bufs, unsigned n)
{
    size_t total = buffer_len(&x->kept);
    if (x->replay == REPLAY_LOST)
        return;
    for (unsigned i = 0; i < n; i++)
        total += bufs[i].len;
    if (total > EXCHANGE_REPLAY_MAX || x->answer != ANSWER_WAIT)
        lose_replay(x);
    else
        keep_bytes(x, bufs, n);
}

void exchange_go_deaf(struct exchange *x, int uv_error)
{
    /* EPIPE: the server had ended its side in order before. After a reset reading shows an end of
     * stream as well, but an answer that lasts to that end is cut, not whole. */
    exchange_move_attempt(x, uv_error == UV_EPIPE ? ATTEMPT_DEAF : ATTEMPT_RESET);
    relay_end(&x->request_body.relay);
    exchange_pause_front(x);
}

enum send_result {
    SEND_OK,    /* also if the write failed in the middle: reading tells what became of it */
    SEND_NONE,  /* broken before the first byte of the request: the server has seen none of it */
    SEND_LOCAL, /* no memory */
};

/* Writes to the server. If the attempt is READY the head is among the buffers. */
static enum send_result send_up(struct exchange *x, const uv_buf_t *bufs, unsigned n)
{
    bool none_sent, head = x->attempt == ATTEMPT_READY;
    int uv_error = conn_write(exchange_server_conn(x), bufs, n, &none_sent);
    if (uv_error < 0 && conn_error_is_local(uv_error))
        return SEND_LOCAL;
    if (uv_error < 0 && head && none_sent)
        return SEND_NONE;
    note_sent(x);
    if (uv_error < 0) {
        exchange_go_deaf(x, uv_error);
        return SEND_OK;
    }
    if (head)
        exchange_move_attempt(x, ATTEMPT_SENT);
    if (conn_queued(exchange_server_conn(x)) > CONN_HIGH_MARK)
        exchange_pause_front(x);
    return SEND_OK;
}

void exchange_flush(struct exchange *x)
{
    assert(x->attempt == ATTEMPT_READY);
    uv_buf_t bufs[2] = {buf_of(&x->out), buf_of(&x->kept)};
    switch (send_up(x, bufs, bufs[1].len ? 2 : 1)) {
    case SEND_OK:
        break;
    case SEND_NONE:
        exchange_broken(x, UV_EPIPE);
        break;
    case SEND_LOCAL:
        exchange_end(x, END_NO_MEMORY);
        break;
    }
}

/* Sends bufs[0, n), of which those from `body` on are the body's. */
static void send_body(struct exchange *x, const uv_buf_t *bufs, unsigned n, unsigned body)
{
    if (n == body) /* the bytes were framing alone: a READY head waits for payload */
        return;
    switch (send_up(x, bufs, n)) {
    case SEND_OK:
        keep_sent(x, bufs + body, n - body);
        /* Not with an Upgrade: a tunnel may follow, and its bytes must not overtake the body's. */
        if (x->attempt == ATTEMPT_SENT && !exchange_may_resend(x) && !x->upgrade && x->conn)
            body_consider_bulk(&x->request_body);
        break;
    case SEND_NONE: /* the front has handed these bytes over and will not offer them again */
        keep_bytes(x, bufs + body, n - body);
        if (exchange_may_resend(x))
            exchange_broken(x, UV_EPIPE);
        else
            exchange_end_by_proxy(x, END_NO_MEMORY, 503);
        break;
    case SEND_LOCAL:
        exchange_end(x, END_NO_MEMORY);
        break;
    }
}

/* The framing of the client's body is broken. */
static void refuse_body(struct exchange *x)
{
    assert(exchange_has_body_to_come(x));
    if (x->answer == ANSWER_WAIT)
        exchange_end_by_proxy(x, END_REFUSED, framing_status(&x->request_body.framing));
    else
        exchange_end(x, END_REFUSED);
}

/* Sends a piece of the body; a READY attempt sends the head, and what is kept, in front of it. */
static void pass_up(struct exchange *x, uv_buf_t payload, bool last)
{
    char line[BODY_CHUNK_LINE];
    uv_buf_t bufs[6] = {buf_of(&x->out), buf_of(&x->kept)};
    unsigned body = x->attempt == ATTEMPT_READY ? 2 : 0, n = body;
    struct buffer *scratch = &exchange_worker(x)->scratch;
    const struct framing *f = &x->request_body.framing;
    bool ok = true;
    buffer_clear(scratch);
    if (last && f->trailers && epoch_header(x).n)
        framing_drop_trailers(&x->request_body.framing, epoch_header(x));
    if (f->kind == BODY_CHUNKED)
        ok = body_put_chunk(f, bufs, &n, line, payload, last, scratch);
    else if (payload.len)
        bufs[n++] = payload;
    if (ok)
        send_body(x, bufs, n, body);
    else
        exchange_end(x, END_NO_MEMORY);
    buffer_clear(scratch);
}

size_t exchange_take_body(struct exchange *x, char *data, size_t len)
{
    bool sending = x->attempt == ATTEMPT_READY || x->attempt == ATTEMPT_SENT;
    if (exchange_is_over(x) || !sending || !exchange_has_body_to_come(x) ||
        exchange_front_is_paused(x))
        return 0;
    struct body_piece p = body_decode(&x->request_body, data, len);
    if (p.result == FRAMING_ERROR) {
        refuse_body(x);
        return len;
    }
    x->record.received += p.used;
    if (p.payload || p.result == FRAMING_DONE) /* framing alone gives the client no more time */
        x->moved |= MOVED_REQUEST;
    if (p.result == FRAMING_DONE)
        exchange_move_request(x, REQUEST_DONE);
    else if (x->request == REQUEST_EXPECT)
        exchange_move_request(x, REQUEST_BODY); /* the client has not waited for the 100 */
    pass_up(x, uv_buf_init(data, (unsigned)p.payload), p.result == FRAMING_DONE);
    return p.used;
}

size_t exchange_on_body(struct exchange *x, char *data, size_t len)
{
    exchange_enter(x);
    size_t used = exchange_take_body(x, data, len);
    exchange_settle(x);
    return used;
}

/* Moves what the client's conn has of the body. The request counts as whole once its last byte was
 * taken from the client, even if bytes wait in the pipe: the pipe is like the server's queue. */
static void pass_bulk_up(struct exchange *x)
{
    size_t n;
    int uv_error;
    assert(x->conn && x->request == REQUEST_BODY && x->attempt == ATTEMPT_SENT);
    enum relay_result result = body_turn(&x->request_body, &n, &uv_error);
    x->record.received += n;
    x->moved |= n ? MOVED_REQUEST : 0;
    if (result == RELAY_SOURCE || (result == RELAY_SINK && conn_error_is_local(uv_error))) {
        exchange_end(x, END_CLIENT_LEFT); /* the request can never be whole */
        return;
    }
    if (result == RELAY_SINK)
        exchange_go_deaf(x, uv_error);
    if (x->request_body.framing.left == 0)
        exchange_move_request(x, REQUEST_DONE);
}

void exchange_on_readable(struct exchange *x)
{
    exchange_enter(x);
    if (!exchange_is_over(x))
        pass_bulk_up(x);
    exchange_settle(x);
}

void exchange_body_too_slow(struct exchange *x)
{
    assert(x->request == REQUEST_BODY && x->depth == 0);
    exchange_enter(x);
    if (x->answer == ANSWER_WAIT)
        exchange_end_by_proxy(x, END_SLOW, 408);
    else
        exchange_end(x, END_SLOW);
    exchange_settle(x);
}

void exchange_abandon(struct exchange *x, enum end_reason why)
{
    exchange_enter(x);
    x->front = NULL;
    exchange_end(x, why);
    exchange_settle(x);
}

/* The server's queue has drained: what the pipe holds goes next. A front without a conn has no
 * pipe, and is resumed by the caller if it was paused. */
static enum relay_rest request_drained(struct exchange *x, int *uv_error)
{
    if (x->conn)
        return relay_drained(&x->request_body.relay, uv_error);
    return exchange_front_is_paused(x) ? RELAY_REST_NONE : RELAY_REST_SAME;
}

static void go_on_with_request(struct exchange *x)
{
    if (exchange_has_body_to_come(x))
        x->moved |= MOVED_SERVER;
    if (x->request_body.relay.bulk)
        pass_bulk_up(x); /* mostly more has come, and then the conn need not be registered for it */
    if (exchange_is_over(x) || exchange_is_deaf(x) ||
        (x->conn && conn_is_paused(x->conn, PAUSE_PEER)))
        return;
    exchange_resume_front(x); /* even when all is sent, so that a client that goes is noticed */
}

void exchange_server_drained(struct exchange *x)
{
    assert(x->attempt >= ATTEMPT_CONNECT && !exchange_is_deaf(x));
    int uv_error;
    switch (request_drained(x, &uv_error)) {
    case RELAY_REST_NONE:
        go_on_with_request(x);
        break;
    case RELAY_REST_SAME:
        if (relay_held(&x->request_body.relay))
            x->moved |= MOVED_SERVER;
        break;
    case RELAY_REST_LOST:
        if (conn_error_is_local(uv_error))
            exchange_end(x, END_NO_MEMORY);
        else
            exchange_go_deaf(x, uv_error);
        break;
    }
}
