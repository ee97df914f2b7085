/* The life and the end of an exchange, its clocks, its attempts on servers, and what the connection
 * to a server reports. The way up is in exchange_request.c, the way down in exchange_answer.c. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/rewrite.h"
#include "proxy/client.h"
#include "proxy/exchange_parts.h"

#define SPARE_LEAST 64        /* exchanges kept for reuse however few were in use */
#define MAX_KEPT_BUFFER 16384 /* a larger buffer is given back after use */

static const struct upstream_user_ops exchange_user_ops;

static struct exchange *of(struct upstream_user *user)
{
    return container_of(user, struct exchange, lease.user);
}

/* ---- life ---- */

/* In three parts, each so small that the compiler needs no loop for it. */
static void zero(struct exchange *x)
{
    size_t from = offsetof(struct exchange, request);
    memset((char *)x + from, 0, offsetof(struct exchange, request_body) - from);
    x->request_body = (struct body){0};
    x->answer_body = (struct body){0};
}

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
    need_take(&w->exchanges);
    zero(x);
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

/* Whether so many are spare, for now, that `n` of them are too many: there are as many as were in
 * use at once lately, and some. */
static bool has_spare(const struct worker *w, unsigned n)
{
    return w->nspare >= SPARE_LEAST + n &&
           w->nspare + w->exchanges.now >= need_mark(&w->exchanges) + n;
}

static void drop_spare(struct worker *w)
{
    struct exchange *x = w->spare;
    w->spare = x->next_spare;
    w->nspare--;
    release(x);
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
    need_give(&w->exchanges);
    need_turn(&w->exchanges, uv_now(&w->loop));
    if (has_spare(w, 0)) {
        release(x);
        if (has_spare(w, 1)) /* so that those of a burst go, too */
            drop_spare(w);
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
    while (w->spare)
        drop_spare(w);
}

/* ---- the end ---- */

static void end_relays(struct exchange *x)
{
    relay_end(&x->request_body.relay);
    relay_end(&x->answer_body.relay);
}

/* The attempt is over, and its relays are: what its connection brought counts no more. */
static void forget_attempt(struct exchange *x)
{
    x->heard = false;
    x->interim = 0;
    x->unsent = 0;
    if (x->attempt != ATTEMPT_NONE)
        exchange_move_attempt(x, ATTEMPT_NONE);
}

void exchange_end_attempt(struct exchange *x, bool keep)
{
    end_relays(x); /* first, as the relays use the connection */
    lease_end(&x->lease, keep);
    forget_attempt(x);
}

/* One failure often brings the next, such as a write that breaks because its peer has gone. The
 * first one is the cause, so its reason stands. */
void exchange_end(struct exchange *x, enum end_reason why)
{
    assert(x->depth > 0 && why != END_OPEN);
    if (exchange_is_over(x))
        return;
    x->record.reason = why;
    if (why != END_UPGRADED && x->lease.member) /* after an Upgrade the tunnel takes it over */
        exchange_end_attempt(x, false);
}

void exchange_end_by_proxy(struct exchange *x, enum end_reason why, int status)
{
    assert(!exchange_is_over(x) && x->answer == ANSWER_WAIT);
    exchange_move_answer(x, ANSWER_DONE);
    x->own_answer = true;
    x->record.status = (uint16_t)status;
    x->record.answered = true;
    exchange_end(x, why);
}

/* No try is left. The last failure decides what the client is told; without one there was no server
 * to try. */
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

/* The one exit of every exchange. The request is counted before the front hears of its end, as the
 * front may begin the next request within `end`. */
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
        end_relays(x); /* the connection is the tunnel's from now on */
    x->front = NULL;
    if (f)
        f->ops->end(f, &e); /* may begin another exchange: this one is not on the free list yet */
    if (upgraded)
        exchange_end_attempt(x, false); /* if there was no front to take the lease over */
    exchange_free(x);
}

/* ---- deadlines ---- */

/* Whether bytes of the request wait because the server reads too slowly. */
static bool is_held_up(const struct exchange *x)
{
    return x->attempt >= ATTEMPT_SENT &&
           (conn_queued(exchange_server_conn(x)) || relay_held(&x->request_body.relay));
}

/* The server's time begins. What the kernel holds is asked for only if the server is slow to read:
 * that costs a system call, which most requests are spared. */
static void arm_response(struct exchange *x)
{
    x->unsent = is_held_up(x) ? conn_unsent(exchange_server_conn(x)) : 0;
    deadline_arm(&x->lease.wp->response, &x->deadline);
}

/* Whether the server has read some of the request since its time began, though no drain was told:
 * the kernel tells of room only when much of its buffer is free. If the bytes were not counted when
 * the time began, the server gets the benefit of the doubt, once. Who has taken the last of them is
 * a slow reader, too: its time to answer begins only now. */
static bool still_takes(struct exchange *x)
{
    size_t before = x->unsent;
    if (x->attempt < ATTEMPT_SENT)
        return false;
    x->unsent = conn_unsent(exchange_server_conn(x));
    return before ? x->unsent < before : x->unsent > 0;
}

static bool owes_body(const struct exchange *x)
{
    return x->request == REQUEST_BODY && x->attempt == ATTEMPT_SENT && !exchange_front_is_paused(x);
}

/* What the exchange waits for from the client. A client that owes both mostly reads an early answer
 * before it goes on with its body, if it does: it owes what was moved last. */
static enum front_owes owed(const struct exchange *x)
{
    bool body = owes_body(x);
    if (!conn_is_paused(exchange_server_conn(x), PAUSE_PEER))
        return body ? FRONT_OWES_BODY : FRONT_OWES_NOTHING;
    bool still_reads =
        x->owes == FRONT_OWES_READING && !(x->moved & (MOVED_REQUEST | MOVED_SERVER));
    return !body || x->moved & MOVED_CLIENT || still_reads ? FRONT_OWES_READING : FRONT_OWES_BODY;
}

/* Tells the front what its client owes now, if that has changed or a part of it has been paid: both
 * begin the client's time anew. */
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

/* Before the final head the server's time runs only while the server has what it needs to answer,
 * so not while the client owes its body. Once armed, this deadline stands over all tries; a 1xx
 * begins it anew. After the final head it bounds each gap in the answer, whatever the request does.
 */
static void watch_server(struct exchange *x)
{
    if (x->answer == ANSWER_BODY) {
        if (x->moved & MOVED_ANSWER)
            deadline_arm(x->gaps, &x->deadline);
    } else if (owes_body(x)) {
        deadline_cancel(&x->deadline);
    } else if (!deadline_armed(&x->deadline) || x->moved & (MOVED_SERVER | MOVED_ANSWER)) {
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

/* EPOCH.SEQ of the agreement by which the request goes to this server. */
static bool put_epoch(struct exchange *x)
{
    char value[48];
    const struct pool_agreed *a = &x->lease.agreed;
    const char *name = x->lease.wp->pool->config->epoch_header;
    int n = snprintf(value, sizeof value, ": %" PRIu64 ".%" PRIu64 "\r\n", a->epoch, a->seq);
    return buffer_append(&x->out, name, strlen(name)) && buffer_append(&x->out, value, (size_t)n);
}

/* There is a connection: the head is completed with what differs from try to try, and the parser
 * and the relays begin anew. */
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
    if (x->lease.agreed.epoch)
        ok = ok && put_epoch(x);
    if (!ok || !buffer_append(&x->out, "\r\n", 2))
        exchange_end_by_proxy(x, END_NO_MEMORY, 503);
}

/* Takes an idle connection to the lent server (the attempt is READY then), or connects (CONNECT).
 * If both fail, the next try has begun, or the exchange is over. A request that can't be sent twice
 * gets an idle connection only if a look at the socket shows that it is still open. */
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
        exchange_attempt_failed(x, END_FAILED, BLAME_UNREACHABLE); /* such as no route to it */
}

void exchange_pick(struct exchange *x)
{
    if (lease_next(&x->lease) == POOL_OK)
        begin_attempt(x, false);
    else
        give_up(x);
}

/* A READY attempt sends what there is: the head, what is kept of the body, and what waits at the
 * front. The front may still be paused by the attempt before, so it is resumed first: then what it
 * offers goes out in one write with the head. */
static void send_all(struct exchange *x)
{
    if (x->attempt == ATTEMPT_READY &&
        (exchange_has_body_to_come(x) || exchange_front_is_paused(x)))
        exchange_resume_front(x);
    if (x->attempt == ATTEMPT_READY)
        exchange_flush(x);
}

/* Leaves this server and tries the next one. */
static void try_next(struct exchange *x)
{
    assert(exchange_may_resend(x));
    exchange_end_attempt(x, false);
    exchange_pick(x);
    send_all(x);
}

bool exchange_leave(struct exchange *x)
{
    const struct pool_member *next = exchange_may_resend(x) ? lease_reserve(&x->lease) : NULL;
    if (next == NULL)
        return false;
    x->last_failure = END_FAILED;
    framing_deinit(&x->answer_body.framing);
    exchange_end_attempt(x, false);
    lease_move(&x->lease, next);
    begin_attempt(x, false);
    send_all(x);
    return true;
}

void exchange_attempt_failed(struct exchange *x, enum end_reason why, enum blame b)
{
    x->last_failure = (uint8_t)why;
    lease_blame(&x->lease, x->answer == ANSWER_WAIT ? b : BLAME_NOBODY);
    if (x->answer !=
        ANSWER_WAIT) /* the front has a part of it, which must not look whole (RFC 9112 8) */
        exchange_end(x, END_CUT);
    else if (exchange_may_resend(x) && lease_retry(&x->lease))
        try_next(x);
    else
        give_up(x);
}

/* The server has closed a kept connection before a byte of this answer: that happens when a request
 * and an idle timeout cross, and says nothing about the server. So it is not counted as a try, and
 * the request goes once more to the same server, on a fresh connection. */
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

/* A reset while it connects comes from a server that has accepted, and then thought otherwise. */
static enum blame blame_of(const struct exchange *x, int uv_error)
{
    if (uv_error == UV_EOF)
        return BLAME_CLOSED;
    bool was_reached = x->attempt > ATTEMPT_CONNECT || conn_error_is_reset(uv_error);
    return was_reached ? BLAME_RESET : BLAME_UNREACHABLE;
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
        exchange_attempt_failed(x, uv_error == UV_ETIMEDOUT ? END_TIMED_OUT : END_FAILED,
                                blame_of(x, uv_error));
}

/* ---- what the connection reports ---- */

static void on_connected(struct upstream_user *user)
{
    struct exchange *x = of(user);
    exchange_enter(x);
    make_ready(x);
    send_all(x);
    exchange_settle(x);
}

/* A server may answer early, then close without having read the whole request (a 413, say). The
 * failed write is noticed before the answer is read: so after a failed write reading decides. */
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
        exchange_go_deaf(x, uv_error); /* reading will tell whether there is an answer */
    else
        exchange_broken(x, uv_error);
    exchange_settle(x);
}

static size_t on_bytes(struct upstream_user *user, char *data, size_t len)
{
    struct exchange *x = of(user);
    exchange_enter(x);
    size_t used =
        exchange_is_over(x)
            ? 0
            : exchange_take_answer(x, data, len); /* after a 101 the bytes are the tunnel's */
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

/* The server was found down. A request that waits for its answer goes on elsewhere at once, which
 * uses up no retry: the request did not fail, it only waited at the wrong place. */
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

/* Who is to blame if no answer comes in time. The time stands over all tries: a server that is
 * connected to only after others have used it up is not. */
static enum blame blame_of_silence(const struct exchange *x)
{
    if (x->attempt > ATTEMPT_CONNECT)
        return BLAME_SILENT;
    return x->lease.ntried == 1 ? BLAME_UNREACHABLE : BLAME_NOBODY;
}

void exchange_on_response_deadline(struct deadline *d)
{
    struct exchange *x = container_of(d, struct exchange, deadline);
    exchange_enter(x);
    /* Not the server's fault: the client does not read, or the server does read, only slowly. */
    bool waits = conn_is_paused(exchange_server_conn(x), PAUSE_PEER) ||
                 (x->answer == ANSWER_WAIT && still_takes(x));
    if (waits) {
        deadline_arm(x->answer == ANSWER_BODY ? x->gaps : &x->lease.wp->response, d);
    } else if (x->answer == ANSWER_WAIT) {
        lease_blame(&x->lease, blame_of_silence(x));
        exchange_end_by_proxy(x, END_TIMED_OUT, 504);
    } else {
        lease_blame(&x->lease, BLAME_NOBODY);
        exchange_end(x, END_STALLED);
    }
    exchange_settle(x);
}
