/* Life and end of an exchange, its clocks, its attempts on servers, and what the connection tells.
 * The ways up and down are in exchange_request.c and exchange_answer.c. */
#include <stddef.h>
#include <stdlib.h>

#include "http/rewrite.h"
#include "proxy/client.h"
#include "proxy/exchange_parts.h"

#define MAX_SPARE 64          /* exchanges kept for reuse */
#define MAX_KEPT_BUFFER 16384 /* a larger buffer is given back after use */

static const struct upstream_user_ops exchange_user_ops;

static struct exchange *of(struct upstream_user *user)
{
    return container_of(user, struct exchange, lease.user);
}

/* ---- life ---- */

struct exchange *exchange_new(struct front *f, struct conn *conn, struct client *c)
{
    struct worker *w = client_worker(c);
    struct exchange *x = w->spare;
    if (x) {
        w->spare = x->next_spare;
        w->nspare--;
    } else {
        x = malloc(sizeof *x);
        if (x == NULL)
            return NULL;
        x->out = x->kept = (struct buffer){0};
    }
    memset(x, 0, offsetof(struct exchange, out));
    x->front = f;
    x->conn = conn;
    x->wl = c->wl;
    generation_ref(x->wl->generation);
    lease_init(&x->lease, c, x->wl->pool, &exchange_user_ops);
    deadline_init(&x->deadline);
    return x;
}

void exchange_trim(struct buffer *b)
{
    buffer_clear(b);
    if (b->cap > MAX_KEPT_BUFFER)
        buffer_release(b);
}

static void release(struct exchange *x)
{
    buffer_release(&x->out);
    buffer_release(&x->kept);
    free(x);
}

static void exchange_free(struct exchange *x)
{
    struct worker *w = exchange_worker(x);
    assert(exchange_is_over(x) && x->depth == 0);
    assert(x->attempt == ATTEMPT_NONE && x->lease.member == NULL);
    deadline_cancel(&x->deadline);
    body_deinit(&x->request_body);
    body_deinit(&x->answer_body);
    generation_unref(x->wl->generation);
    if (w->nspare >= MAX_SPARE) {
        release(x);
        return;
    }
    exchange_trim(&x->out);
    exchange_trim(&x->kept);
    x->next_spare = w->spare;
    w->spare = x;
    w->nspare++;
}

void exchange_free_spares(struct worker *w)
{
    while (w->spare) {
        struct exchange *x = w->spare;
        w->spare = x->next_spare;
        release(x);
    }
    w->nspare = 0;
}

/* ---- the end ---- */

static void end_relays(struct exchange *x)
{
    relay_end(&x->request_body.relay);
    relay_end(&x->answer_body.relay);
}

/* This attempt is over: what its connection said counts no more. */
static void forget_attempt(struct exchange *x)
{
    end_relays(x);
    x->heard = false;
    x->interim = 0;
    if (x->attempt != ATTEMPT_NONE)
        exchange_move_attempt(x, ATTEMPT_NONE);
}

/* The connection goes back (keep) or is closed, the server is given back. */
void exchange_end_attempt(struct exchange *x, bool keep)
{
    end_relays(x); /* first, as they use the connection */
    lease_end(&x->lease, keep);
    forget_attempt(x);
}

/* Nothing more is done with it; exchange_settle() frees it. Again: nothing. */
void exchange_end(struct exchange *x, enum end_reason why)
{
    assert(x->depth > 0 && why != END_OPEN);
    if (exchange_is_over(x))
        return;
    x->record.reason = why;
    if (why != END_UPGRADED && x->lease.member) /* behind an Upgrade the connection goes on */
        exchange_end_attempt(x, false);
}

/* With an answer of the proxy's own. */
void exchange_end_by_proxy(struct exchange *x, enum end_reason why, int status)
{
    assert(!exchange_is_over(x) && x->answer == ANSWER_WAIT);
    exchange_move_answer(x, ANSWER_DONE);
    x->own_answer = true;
    x->record.status = (uint16_t)status;
    x->record.answered = true;
    exchange_end(x, why);
}

/* No try is left. */
static void give_up(struct exchange *x)
{
    switch ((enum end_reason)x->last_failure) {
    case END_FAILED:
        exchange_end_by_proxy(x, END_FAILED, 502);
        break;
    case END_TIMED_OUT:
        exchange_end_by_proxy(x, END_TIMED_OUT, 504);
        break;
    default:
        exchange_end_by_proxy(x, END_NO_SERVER, 503);
        break;
    }
}

/* The one exit of every exchange. */
static void reap(struct exchange *x)
{
    struct front *f = x->front;
    bool upgraded = x->record.reason == END_UPGRADED;
    const struct front_end e = {.record = &x->record,
                                .own_answer = x->own_answer,
                                .request_is_done = x->request == REQUEST_DONE,
                                .lease = upgraded ? &x->lease : NULL};
    record_end(x->wl, &x->record);
    if (upgraded)
        end_relays(x); /* the connection is not theirs any more */
    x->front = NULL;
    if (f)
        f->ops->end(f, &e); /* which may begin another exchange */
    if (upgraded)
        exchange_end_attempt(x, false); /* what is left of it, if the front has gone */
    exchange_free(x);
}

/* ---- deadlines ---- */

/* Bytes of the request wait for the server to take more. */
static bool is_held_up(const struct exchange *x)
{
    return x->attempt >= ATTEMPT_SENT &&
           (conn_queued(exchange_server_conn(x)) || relay_held(&x->request_body.relay));
}

/* The server's time begins. */
static void arm_response(struct exchange *x)
{
    x->unsent = is_held_up(x) ? conn_unsent(exchange_server_conn(x)) : 0;
    deadline_arm(&x->lease.wp->response, &x->deadline);
}

/* Whether the server has taken some of the request from the kernel, which tells of room only when
 * much of it is free. Where that was not counted when its time began, it gets the benefit once. */
static bool still_takes(struct exchange *x)
{
    size_t before = x->unsent;
    x->unsent = x->attempt >= ATTEMPT_SENT ? conn_unsent(exchange_server_conn(x)) : 0;
    return x->unsent && (before == 0 || x->unsent < before);
}

static enum front_owes owed(const struct exchange *x)
{
    if (x->request == REQUEST_BODY && x->attempt == ATTEMPT_SENT && !exchange_front_is_paused(x))
        return FRONT_OWES_BODY;
    if (x->lease.upstream && conn_is_paused(exchange_server_conn(x), PAUSE_PEER))
        return FRONT_OWES_READING;
    return FRONT_OWES_NOTHING;
}

static void watch_front(struct exchange *x)
{
    enum front_owes now = owed(x);
    bool paid = (now == FRONT_OWES_BODY && x->moved & MOVED_REQUEST) ||
                (now == FRONT_OWES_READING && x->moved & MOVED_CLIENT);
    if (now == x->owes && !paid)
        return;
    x->owes = (uint8_t)now;
    x->front->ops->owes(x->front, now);
}

/* The wait for the final head is the server's only while it has what it needs to answer: not while
 * the client's body is still to come. Once armed it stands, over all tries. Behind the head it is
 * the gap in the answer that counts, whatever the request does. */
static void watch_server(struct exchange *x)
{
    if (x->answer == ANSWER_BODY) {
        if (x->moved & MOVED_ANSWER)
            deadline_arm(&x->lease.wp->response, &x->deadline);
    } else if (x->owes == FRONT_OWES_BODY) {
        deadline_cancel(&x->deadline);
    } else if (!deadline_armed(&x->deadline) || x->moved & MOVED_SERVER) {
        arm_response(x);
    }
}

/* ---- events ---- */

/* Sets the clocks by what the states say. The front may give the exchange up within this. */
static void watch(struct exchange *x)
{
    assert(x->attempt != ATTEMPT_NONE && x->attempt != ATTEMPT_READY);
    assert(x->request != REQUEST_HEAD && x->answer != ANSWER_DONE);
    watch_front(x);
    if (!exchange_is_over(x))
        watch_server(x);
    x->moved = 0;
}

void exchange_settle(struct exchange *x)
{
    assert(x->depth > 0);
    if (x->depth == 1 && !exchange_is_over(x))
        watch(x);
    if (--x->depth == 0 && exchange_is_over(x))
        reap(x);
}

/* ---- attempts ---- */

/* A connection is there: the head is made ready. */
static void make_ready(struct exchange *x)
{
    exchange_move_attempt(x, ATTEMPT_READY);
    if (x->conn) {
        relay_init(&x->request_body.relay, exchange_worker(x), x->conn, exchange_server_conn(x));
        relay_init(&x->answer_body.relay, exchange_worker(x), exchange_server_conn(x), x->conn);
    }
    parser_init_answer(&x->parser, &x->head, UPSTREAM_HEAD_MAX);
    x->out.end = x->out_fixed;
    const char *host = server_host(lease_server(&x->lease));
    bool ok = !x->needs_host ||
              (buffer_append(&x->out, "Host: ", 6) && buffer_append(&x->out, host, strlen(host)) &&
               buffer_append(&x->out, "\r\n", 2));
    if (!ok || !buffer_append(&x->out, "\r\n", 2))
        exchange_end_by_proxy(x, END_NO_MEMORY, 503);
}

/* Takes an idle connection to the lent server, or connects. It is READY then, or in CONNECT; or
 * that failed, and what follows from it is done. */
static void begin_attempt(struct exchange *x, bool fresh)
{
    bool sure = !method_idempotent(x->method);
    if (!fresh && lease_take_idle(&x->lease, sure)) {
        make_ready(x);
        return;
    }
    int uv_error = lease_connect(&x->lease);
    if (uv_error == 0)
        exchange_move_attempt(x, ATTEMPT_CONNECT);
    else if (conn_error_is_local(uv_error))
        exchange_end_by_proxy(x, END_NO_MEMORY, 503);
    else
        exchange_attempt_failed(x, END_FAILED); /* there is no way to it */
}

/* Lends the next server and begins an attempt on it. */
void exchange_pick(struct exchange *x)
{
    if (lease_next(&x->lease) == POOL_OK)
        begin_attempt(x, false);
    else
        give_up(x);
}

/* A READY attempt sends what there is: the head, what is kept of the body, and what waits at the
 * front, which the attempt before may have paused. */
static void send_all(struct exchange *x)
{
    if (x->attempt == ATTEMPT_READY &&
        (exchange_has_body_to_come(x) || exchange_front_is_paused(x)))
        exchange_resume_front(x);
    if (x->attempt == ATTEMPT_READY)
        exchange_flush(x);
}

/* Starts again elsewhere. */
static void try_next(struct exchange *x)
{
    assert(exchange_may_resend(x));
    exchange_end_attempt(x, false);
    exchange_pick(x);
    send_all(x);
}

/* The server of this try is to blame for its failure. */
void exchange_attempt_failed(struct exchange *x, enum end_reason why)
{
    x->last_failure = (uint8_t)why;
    lease_blame(&x->lease);
    if (x->answer != ANSWER_WAIT) /* a part is passed on: no false end (RFC 9112 8) */
        exchange_end(x, END_CUT);
    else if (exchange_may_resend(x) && lease_retry(&x->lease))
        try_next(x);
    else
        give_up(x);
}

/* A kept connection was closed by the server before it saw, or answered, this request: not a try.
 * The request goes once more to the same server on a fresh connection. */
static void go_fresh(struct exchange *x)
{
    if (!exchange_may_resend(x)) {
        exchange_end_by_proxy(x, END_FAILED, 502);
        return;
    }
    end_relays(x);
    lease_end_connection(&x->lease, false);
    forget_attempt(x);
    begin_attempt(x, true);
}

void exchange_broken(struct exchange *x, int uv_error)
{
    bool stale = x->attempt >= ATTEMPT_READY && x->lease.upstream->reused && !x->heard &&
                 x->answer == ANSWER_WAIT;
    if (conn_error_is_local(uv_error))
        exchange_end(x, END_NO_MEMORY);
    else if (stale)
        go_fresh(x);
    else
        exchange_attempt_failed(x, uv_error == UV_ETIMEDOUT ? END_TIMED_OUT : END_FAILED);
}

/* ---- what the connection tells ---- */

static void on_connected(struct upstream_user *user)
{
    struct exchange *x = of(user);
    exchange_enter(x);
    make_ready(x);
    send_all(x);
    exchange_settle(x);
}

/* What was queued could not be written, and the server may have answered before that. */
static bool may_have_answered(const struct exchange *x, int uv_error)
{
    return x->attempt == ATTEMPT_SENT && exchange_server_conn(x)->write_failed &&
           (uv_error == UV_EPIPE || uv_error == UV_ECONNRESET);
}

static void on_broken(struct upstream_user *user, int uv_error)
{
    struct exchange *x = of(user);
    exchange_enter(x);
    if (may_have_answered(x, uv_error))
        exchange_go_deaf(x, uv_error); /* reading will tell */
    else
        exchange_broken(x, uv_error);
    exchange_settle(x);
}

static size_t on_bytes(struct upstream_user *user, char *data, size_t len)
{
    struct exchange *x = of(user);
    exchange_enter(x);
    size_t used = exchange_is_over(x)
                      ? 0
                      : exchange_take_answer(x, data, len); /* behind a 101 it is the tunnel's */
    exchange_settle(x);
    return used;
}

static void on_eof(struct upstream_user *user)
{
    struct exchange *x = of(user);
    exchange_enter(x);
    exchange_server_eof(x);
    exchange_settle(x);
}

static void on_drain(struct upstream_user *user)
{
    struct exchange *x = of(user);
    exchange_enter(x);
    if (!exchange_is_deaf(x))
        exchange_server_drained(x);
    exchange_settle(x);
}

static void on_readable(struct upstream_user *user)
{
    struct exchange *x = of(user);
    exchange_enter(x);
    exchange_pass_bulk_down(x);
    exchange_settle(x);
}

/* What waits for a server that was found down goes on elsewhere; this uses up no retry. */
static void on_server_down(struct upstream_user *user)
{
    struct exchange *x = of(user);
    exchange_enter(x);
    if (exchange_may_resend(x)) {
        x->last_failure = END_FAILED;
        try_next(x);
    }
    exchange_settle(x);
}

static const struct upstream_user_ops exchange_user_ops = {
    .on_connected = on_connected,
    .on_broken = on_broken,
    .on_bytes = on_bytes,
    .on_eof = on_eof,
    .on_drain = on_drain,
    .on_readable = on_readable,
    .on_server_down = on_server_down,
};

void exchange_on_response_deadline(struct deadline *d)
{
    struct exchange *x = container_of(d, struct exchange, deadline);
    exchange_enter(x);
    /* It is the client that does not read, or the server does take the request, slowly. */
    bool waits = x->answer == ANSWER_BODY ? conn_is_paused(exchange_server_conn(x), PAUSE_PEER)
                                          : still_takes(x);
    if (waits) {
        deadline_arm(&x->lease.wp->response, d);
    } else {
        lease_blame(&x->lease);
        if (x->answer == ANSWER_WAIT)
            exchange_end_by_proxy(x, END_TIMED_OUT, 504);
        else
            exchange_end(x, END_STALLED);
    }
    exchange_settle(x);
}
