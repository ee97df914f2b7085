#include "net/miniserver.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/heap.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/answer.h"
#include "http/framing.h"
#include "http/parser.h"
#include "net/reply.h"

#define BACKLOG 511
#define TICK_MS 500
#define LINGER_MS 2000 /* how long a closed connection is read, for its peer to see the answer */
#define CLOSE_GRACE_MS 1000 /* for answers on their way when the server closes */
#define READ_SIZE 4096
#define IN_MARK (64 * 1024)    /* more waiting requests than this stop the reading */
#define OUT_MARK (64 * 1024)   /* more answers than this are written before the next request */
#define KEEP_BYTES (64 * 1024) /* an idle connection gives larger buffers back */
#define MAX_TRAILERS 4096
#define COPY_MAX (8 * 1024) /* a lasting body up to this is cheaper copied than gathered */
#define NS_A_MS 1000000

/* One client. Its states, and who leaves them:
 *
 *             head complete            body complete, answered
 *   CONN_HEAD --read_head()--> CONN_BODY --read_body()--> CONN_HEAD, or
 *       \______ refused ___________/ \________________--> CONN_LAST if no more may follow
 *   CONN_LAST --conn_flush(), all written--> CONN_LINGER --end, or LINGER_MS--> CONN_CLOSED
 *
 * `writing`, `holding` and `open` stand beside the state: while one of them is set no further
 * request is looked at, so `out` does not move under a write.
 *
 * An answer is `open` from conn_answer() until its last byte is on its way: its head and, if short,
 * its body are in out, or in held while it is held back; what else there is of the body follows in
 * pieces (conn_put_body()), or goes to the socket from where it stands (`in_place`). */
enum conn_state {
    CONN_HEAD,   /* in begins with a head, maybe not all of it */
    CONN_BODY,   /* in begins with `head`, then body_len decoded bytes, then what is not decoded */
    CONN_LAST,   /* nothing more is answered */
    CONN_LINGER, /* our side is shut down */
    CONN_CLOSED, /* uv_close() was called */
};

struct conn {
    uv_tcp_t tcp;
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct miniserver *server;
    struct list link;  /* in the server's active, lingering or never; in none while in waiting */
    uint64_t since_ms; /* active, lingering: in the list since */
    struct heap_node wait; /* in the server's waiting, by the time when it goes on */
    struct buffer in, out;
    struct buffer held; /* the answer that is held back */
    struct buffer kept; /* a body that the handler did not promise to keep */
    struct reply_body body;
    enum conn_state state;
    bool writing, holding, paused;
    bool ended; /* the peer has shut down its side */
    bool open, in_place;
    bool urgent, counted, error; /* the open answer is ... */
    size_t direct;               /* bytes of a body in place that are to be written behind out */
    uint32_t whole_counted, whole_errors; /* of the answers in out that are whole */
    size_t body_len;
    struct parser parser;
    struct framing framing;
    struct head head;
};

struct miniserver {
    uv_loop_t *loop;
    struct miniserver_options options;
    uv_tcp_t listener;
    uv_timer_t tick, wait;
    bool has_listener, closing, accept_failing;
    bool accept_pending; /* libuv waits for the uv_accept() that memory was missing for */
    unsigned handles;    /* open ones; the last to close frees the server */
    struct miniserver_counts counts;
    struct list active;        /* by since_ms */
    struct list lingering;     /* by since_ms */
    struct list never;         /* whose answer is not sent at all */
    struct heap waiting;       /* whose answer, or the next piece of it, is due some time */
    uint64_t stalled_until_ns; /* 0: it is not */
    struct addr address;
    struct buffer text, fields; /* of the answer being made */
    time_t date_at;
    char date[64];
    size_t date_len;
    miniserver_closed_fn *on_closed;
    void *closed_arg;
};

static void conn_go_on(struct conn *c);

/* --- life of the server --- */

static void server_handle_gone(struct miniserver *s)
{
    assert(s->handles > 0);
    if (--s->handles)
        return;
    assert(s->closing && s->counts.connections == 0);
    miniserver_closed_fn *on_closed = s->on_closed;
    void *arg = s->closed_arg;
    buffer_release(&s->text);
    buffer_release(&s->fields);
    free(s);
    if (on_closed)
        on_closed(arg);
}

static void on_server_handle_closed(uv_handle_t *h)
{
    server_handle_gone(h->data);
}

/* The tick bounds the grace of the last connections, so it goes after them. */
static void server_close_tick_if_last(struct miniserver *s)
{
    if (s->closing && s->counts.connections == 0 && !uv_is_closing((uv_handle_t *)&s->tick))
        uv_close((uv_handle_t *)&s->tick, on_server_handle_closed);
}

/* --- life of a connection --- */

static void conn_enter(struct conn *c, struct list *list)
{
    list_remove(&c->link);
    c->since_ms = uv_now(c->server->loop);
    list_push_back(list, &c->link);
}

static void on_conn_closed(uv_handle_t *h)
{
    struct conn *c = container_of((uv_tcp_t *)h, struct conn, tcp);
    struct miniserver *s = c->server;
    framing_deinit(&c->framing);
    buffer_release(&c->in);
    buffer_release(&c->out);
    buffer_release(&c->held);
    buffer_release(&c->kept);
    free(c);
    s->counts.connections--;
    server_close_tick_if_last(s);
    server_handle_gone(s);
}

static void conn_close(struct conn *c)
{
    if (c->state == CONN_CLOSED)
        return;
    c->state = CONN_CLOSED;
    list_remove(&c->link);
    heap_remove(&c->server->waiting, &c->wait);
    uv_close((uv_handle_t *)&c->tcp, on_conn_closed);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *b);
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b);

static void on_shutdown(uv_shutdown_t *req, int status)
{
    struct conn *c = container_of(req, struct conn, shutdown);
    if (status < 0)
        conn_close(c);
}

/* All is said: tell the peer, then read until it closes too. Closing at once with bytes unread
 * would reset the connection, and a reset can overtake the answer. */
static void conn_linger(struct conn *c)
{
    assert(c->state == CONN_LAST && !c->writing);
    if (c->ended) {
        conn_close(c);
        return;
    }
    c->state = CONN_LINGER;
    conn_enter(c, &c->server->lingering);
    buffer_release(&c->in);
    uv_stream_t *stream = (uv_stream_t *)&c->tcp;
    if ((c->paused && uv_read_start(stream, on_alloc, on_read) < 0) ||
        uv_shutdown(&c->shutdown, stream, on_shutdown) < 0)
        conn_close(c);
}

/* --- waiting --- */

static void on_wait(uv_timer_t *timer);

static bool server_is_stalled(struct miniserver *s)
{
    if (s->stalled_until_ns && s->stalled_until_ns <= uv_hrtime())
        s->stalled_until_ns = 0;
    return s->stalled_until_ns != 0;
}

/* When the next connection goes on. */
static uint64_t server_wake_ns(const struct miniserver *s)
{
    uint64_t first = heap_first(&s->waiting)->key;
    return first > s->stalled_until_ns ? first : s->stalled_until_ns;
}

/* The loop's clock may be behind, and the timer early then: on_wait() looks at the real time. */
static void server_arm(struct miniserver *s)
{
    if (heap_first(&s->waiting) == NULL || s->closing)
        return;
    uint64_t now = uv_hrtime(), wake = server_wake_ns(s);
    uint64_t ms = wake > now ? (wake - now + NS_A_MS - 1) / NS_A_MS : 0;
    int rc = uv_timer_start(&s->wait, on_wait, ms, 0);
    assert(rc == 0); /* fails only for a handle that is closing */
    (void)rc;
}

/* No request is looked at and nothing of the open answer goes out until then. */
static void conn_wait(struct conn *c, uint64_t until_ns)
{
    struct miniserver *s = c->server;
    c->holding = true;
    list_remove(&c->link);
    if (until_ns == UINT64_MAX) {
        list_push_back(&s->never, &c->link);
        return;
    }
    heap_push(&s->waiting, &c->wait, until_ns);
    if (heap_first(&s->waiting) == &c->wait)
        server_arm(s);
}

static struct conn *server_pop_waiting(struct miniserver *s)
{
    struct conn *c = container_of(heap_first(&s->waiting), struct conn, wait);
    heap_remove(&s->waiting, &c->wait);
    c->holding = false;
    conn_enter(c, &s->active);
    return c;
}

static void on_wait(uv_timer_t *timer)
{
    struct miniserver *s = timer->data;
    uint64_t now = uv_hrtime();
    while (heap_first(&s->waiting) && !s->closing && server_wake_ns(s) <= now)
        conn_go_on(server_pop_waiting(s));
    server_arm(s);
}

/* Takes what is in out from `from` on back, to be sent later. */
static void conn_hold(struct conn *c, size_t from, uint64_t delay_ms)
{
    size_t n = buffer_len(&c->out) - from;
    if (!buffer_append(&c->held, buffer_head(&c->out) + from, n)) {
        conn_close(c);
        return;
    }
    c->out.end -= n;
    uint64_t now = uv_hrtime();
    conn_wait(c, delay_ms > (UINT64_MAX - now) / NS_A_MS ? UINT64_MAX : now + delay_ms * NS_A_MS);
}

static void conn_take_held(struct conn *c)
{
    if (buffer_len(&c->held) == 0)
        return;
    assert(buffer_len(&c->out) == 0);
    struct buffer sent = c->out;
    c->out = c->held;
    c->held = sent;
}

/* --- out --- */

/* The last byte of the open answer is in out, or went to the socket. */
static void conn_answer_whole(struct conn *c)
{
    c->open = false;
    c->whole_counted += c->counted;
    c->whole_errors += c->counted && c->error;
}

/* Puts what may go out now of the open answer's body; afterwards the answer is whole, or there is
 * something to write, or the connection waits or is closed. */
static void conn_put_body(struct conn *c)
{
    struct reply_body *b = &c->body;
    if (!c->open)
        return;
    if (!reply_ended(b) && !c->urgent && server_is_stalled(c->server))
        conn_wait(c, 0);
    else if (c->in_place)
        c->direct = b->left;
    else if (!reply_put_body(&c->out, b, b->drip_ms ? uv_hrtime() : 0, OUT_MARK))
        conn_close(c);
    else if (reply_ended(b))
        conn_answer_whole(c);
    else if (b->drip_ms)
        conn_wait(c, reply_due_ns(b));
}

/* What is to be written, in how many pieces. */
static unsigned conn_output(struct conn *c, uv_buf_t bufs[2])
{
    unsigned n = 0;
    if (buffer_len(&c->out))
        bufs[n++] = uv_buf_init(buffer_head(&c->out), (unsigned)buffer_len(&c->out));
    if (c->direct)
        bufs[n++] = (uv_buf_t){.base = (char *)(uintptr_t)c->body.p, .len = c->direct};
    return n;
}

/* n bytes of it were. */
static void conn_sent(struct conn *c, size_t n)
{
    size_t from_out = n < buffer_len(&c->out) ? n : buffer_len(&c->out);
    buffer_consume(&c->out, from_out);
    n -= from_out;
    assert(n <= c->direct);
    c->direct -= n;
    if (n) {
        c->body.p += n;
        c->body.left -= n;
    }
}

/* All of it was. */
static void conn_all_sent(struct conn *c)
{
    if (c->open && c->in_place && c->body.left == 0)
        conn_answer_whole(c);
    c->server->counts.answered += c->whole_counted;
    c->server->counts.errors += c->whole_errors;
    c->whole_counted = c->whole_errors = 0;
}

static void on_written(uv_write_t *req, int status)
{
    struct conn *c = container_of(req, struct conn, write);
    c->writing = false;
    if (status < 0) {
        conn_close(c);
        return;
    }
    conn_sent(c, buffer_len(&c->out) + c->direct);
    conn_all_sent(c);
    if (c->server->closing)
        conn_close(c);
    else
        conn_go_on(c);
}

/* Writes what there is, at once as far as that goes; afterwards either `writing` is set, or nothing
 * is left to write, or the connection is closed. */
static void conn_flush(struct conn *c)
{
    uv_buf_t bufs[2];
    uv_stream_t *stream = (uv_stream_t *)&c->tcp;
    int sent = uv_try_write(stream, bufs, conn_output(c, bufs));
    if (sent < 0 && sent != UV_EAGAIN) {
        conn_close(c);
        return;
    }
    if (sent > 0)
        conn_sent(c, (size_t)sent);
    unsigned n = conn_output(c, bufs);
    if (n == 0)
        conn_all_sent(c);
    else if (uv_write(&c->write, stream, bufs, n, on_written) < 0)
        conn_close(c);
    else
        c->writing = true;
}

/* "Date: ...\r\n", made once a second (RFC 9110 6.6.1 wants it from an origin server). */
static struct str server_date(struct miniserver *s)
{
    time_t now = time(NULL);
    struct tm tm;
    if (now != s->date_at && gmtime_r(&now, &tm)) {
        s->date_len = strftime(s->date, sizeof s->date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
        s->date_at = now;
    }
    return (struct str){s->date, s->date_len};
}

static bool put_head(struct conn *c, const struct miniserver_answer *a, size_t length, bool keep)
{
    const struct reply_head head = {
        .status = a->status,
        .date = server_date(c->server),
        .type = a->type ? str_of(a->type) : (struct str){0},
        .fields = {buffer_head(a->fields), buffer_len(a->fields)},
        .persists = !keep                ? "close"
                    : c->head.minor == 0 ? "keep-alive"
                                         : NULL,
        .chunked = a->chunk_size > 0,
        .length = length,
    };
    return reply_put_head(&c->out, &head);
}

static struct str body_of(const struct miniserver_answer *a)
{
    if (a->body.p)
        return a->body;
    return a->text->data ? (struct str){buffer_head(a->text), buffer_len(a->text)} : STR("");
}

/* Puts the head, and opens the body or puts that too. */
static bool put_answer(struct conn *c, struct miniserver_answer *a, bool keep)
{
    struct str body = body_of(a);
    if (c->head.minor == 0 || a->status == 204 || a->status == 304)
        a->chunk_size = 0;
    if (!put_head(c, a, body.n, keep))
        return false;
    c->body = reply_body((struct str){0}, 0, 0);
    c->in_place = false;
    if (c->head.method == METHOD_HEAD || a->status == 204 || a->status == 304)
        return true;
    bool in_pieces = a->chunk_size || a->drip_ms;
    c->in_place = a->lasting && !in_pieces && body.n > COPY_MAX;
    if (!in_pieces && !c->in_place)
        return buffer_append(&c->out, body.p, body.n);
    if (!a->lasting) {
        buffer_clear(&c->kept);
        if (!buffer_append(&c->kept, body.p, body.n))
            return false;
        body.p = c->kept.data;
    }
    c->body = reply_body(body, a->chunk_size, a->drip_ms);
    return true;
}

/* The answer of a request that is not for the handler, or that it could not answer; the last. */
static void conn_refuse(struct conn *c, int status)
{
    size_t from = buffer_len(&c->out);
    framing_deinit(&c->framing);
    c->state = CONN_LAST;
    if (!answer_write(&c->out, status, true, c->head.method == METHOD_HEAD, (struct str){0}))
        conn_close(c);
    else if (server_is_stalled(c->server))
        conn_hold(c, from, 0);
}

/* --- in --- */

/* The request is complete: in begins with its head, then its body. */
static void conn_answer(struct conn *c)
{
    struct miniserver *s = c->server;
    const char *base = buffer_head(&c->in);
    const struct miniserver_request q = {
        .head = &c->head,
        .base = base,
        .path = head_str(base, c->head.path),
        .query = head_str(base, c->head.query),
        .body = {base + c->head.size, c->body_len},
    };
    buffer_clear(&s->text);
    buffer_clear(&s->fields);
    struct miniserver_answer a = {
        .status = 200, .type = "text/plain", .text = &s->text, .fields = &s->fields};
    size_t from = buffer_len(&c->out);
    bool answered = s->options.handle(s->options.arg, &q, &a);
    if (c->state == CONN_CLOSED) /* the handler closed the server */
        return;
    bool keep = c->head.keep_alive && !a.close;
    if (!answered || !put_answer(c, &a, keep)) {
        c->out.end = c->out.start + from;
        conn_refuse(c, 500);
        return;
    }
    c->state = keep ? CONN_HEAD : CONN_LAST;
    c->open = true;
    c->urgent = a.urgent;
    c->counted = a.counted;
    c->error = a.status >= 400;
    conn_enter(c, &s->active);
    if (a.delay_ms || (!a.urgent && server_is_stalled(s)))
        conn_hold(c, from, a.delay_ms);
    else
        conn_put_body(c);
}

static void conn_next_head(struct conn *c)
{
    parser_init_request(&c->parser, &c->head, MINISERVER_MAX_HEAD);
    c->body_len = 0;
}

/* Whether a peer that waits for it is to be told to send its body. */
static bool wants_continue(const struct conn *c)
{
    return c->head.expect_continue && c->head.minor > 0 && c->head.body != BODY_NONE &&
           buffer_len(&c->in) == c->head.size;
}

/* These two return false when more bytes are needed. */
static bool read_head(struct conn *c)
{
    if (buffer_len(&c->in) == 0)
        return false;
    switch (parser_execute(&c->parser, &c->head, buffer_head(&c->in), buffer_len(&c->in))) {
    case PARSE_MORE:
        return false;
    case PARSE_ERROR:
        conn_refuse(c, c->parser.status);
        return true;
    case PARSE_DONE:
        break;
    }
    if (c->head.body == BODY_LENGTH && c->head.content_length > MINISERVER_MAX_BODY) {
        conn_refuse(c, 413);
        return true;
    }
    framing_init(&c->framing, c->head.body, c->head.content_length, MAX_TRAILERS);
    c->state = CONN_BODY;
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (wants_continue(c) && !buffer_append(&c->out, go_on, sizeof go_on - 1))
        conn_close(c);
    return true;
}

static bool read_body(struct conn *c)
{
    size_t decoded = c->head.size + c->body_len;
    char *data = buffer_head(&c->in) + decoded;
    size_t len = buffer_len(&c->in) - decoded, used = 0, payload = 0;
    enum framing_result r = framing_decode(&c->framing, data, len, &used, &payload);
    if (r == FRAMING_ERROR) {
        conn_refuse(c, framing_status(&c->framing));
        return true;
    }
    assert(payload <= used && used <= len);
    /* Closes the gap that the framing leaves: the body stays in one piece. */
    if (used > payload) {
        memmove(data + payload, data + used, len - used);
        c->in.end -= used - payload;
    }
    c->body_len += payload;
    if (c->body_len > MINISERVER_MAX_BODY) {
        conn_refuse(c, 413);
        return true;
    }
    if (r == FRAMING_MORE)
        return false;
    framing_deinit(&c->framing);
    conn_answer(c);
    if (c->state == CONN_CLOSED)
        return true;
    buffer_consume(&c->in, c->head.size + c->body_len);
    conn_next_head(c);
    return true;
}

/* Answers the requests that are complete, as long as their answers find room. */
static void conn_requests(struct conn *c)
{
    bool more = true;
    while (more && !c->holding && !c->open && buffer_len(&c->out) < OUT_MARK) {
        if (c->state == CONN_HEAD)
            more = read_head(c);
        else if (c->state == CONN_BODY)
            more = read_body(c);
        else
            return;
    }
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *b)
{
    struct conn *c = container_of((uv_tcp_t *)h, struct conn, tcp);
    size_t room = c->in.cap - c->in.end;
    if (room < READ_SIZE / 2 && !buffer_reserve(&c->in, READ_SIZE)) {
        *b = uv_buf_init(NULL, 0); /* libuv reports UV_ENOBUFS */
        return;
    }
    *b = uv_buf_init(c->in.data + c->in.end, (unsigned)(c->in.cap - c->in.end));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
    struct conn *c = container_of((uv_tcp_t *)stream, struct conn, tcp);
    bool answering = c->writing || (c->open && c->body.begun_ns);
    if (n == UV_EOF && answering) { /* half closed: it may still read */
        c->state = CONN_LAST;
        c->ended = true;
        return;
    }
    if (n < 0) {
        conn_close(c);
        return;
    }
    if (c->state == CONN_LINGER)
        return; /* dropped: in stays empty */
    if (buffer_len(&c->in) == 0 && !c->holding)
        conn_enter(c, &c->server->active); /* a request begins */
    c->in.end += (size_t)n;
    conn_go_on(c);
}

/* Reading is stopped only for a peer that goes on sending while its answers wait. */
static void conn_pause_or_resume(struct conn *c)
{
    bool waiting = c->writing || c->holding || c->state == CONN_LAST;
    bool pause = waiting && buffer_len(&c->in) > IN_MARK;
    if (pause == c->paused)
        return;
    c->paused = pause;
    if (pause)
        uv_read_stop((uv_stream_t *)&c->tcp);
    else if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) < 0)
        conn_close(c);
}

/* Does all that can be done now; called whenever something changed. */
static void conn_go_on(struct conn *c)
{
    while (!c->writing && c->state != CONN_CLOSED) {
        if (!c->holding) {
            conn_take_held(c);
            conn_put_body(c);
        }
        conn_requests(c);
        if (c->state == CONN_CLOSED || (buffer_len(&c->out) == 0 && c->direct == 0))
            break;
        conn_flush(c);
    }
    if (c->state == CONN_CLOSED)
        return;
    conn_pause_or_resume(c);
    if (c->writing || c->holding)
        return;
    assert(!c->open);
    if (c->out.cap > KEEP_BYTES)
        buffer_release(&c->out);
    if (c->kept.cap > KEEP_BYTES)
        buffer_release(&c->kept);
    if (buffer_len(&c->in) == 0 && c->in.cap > KEEP_BYTES)
        buffer_release(&c->in);
    if (c->state == CONN_LAST)
        conn_linger(c);
}

/* --- accept --- */

static struct conn *conn_new(struct miniserver *s)
{
    struct conn *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->server = s;
    list_init(&c->link);
    framing_init(&c->framing, BODY_NONE, 0, MAX_TRAILERS);
    conn_next_head(c);
    if (uv_tcp_init(s->loop, &c->tcp) < 0) {
        free(c);
        return NULL;
    }
    s->handles++;
    s->counts.connections++;
    return c;
}

static void accept_failed(struct miniserver *s, const char *why)
{
    if (!s->accept_failing)
        log_event(LOG_WARN, "accept failed", why);
    s->accept_failing = true;
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct miniserver *s = listener->data;
    if (status < 0) {
        accept_failed(s, uv_strerror(status));
        return;
    }
    struct conn *c = conn_new(s);
    s->accept_pending = c == NULL;
    if (c == NULL) {
        accept_failed(s, "out of memory");
        return;
    }
    uv_stream_t *stream = (uv_stream_t *)&c->tcp;
    if (uv_accept(listener, stream) < 0 || s->counts.connections > s->options.max_connections ||
        uv_tcp_nodelay(&c->tcp, 1) < 0 || uv_read_start(stream, on_alloc, on_read) < 0) {
        conn_close(c);
        return;
    }
    s->accept_failing = false;
    s->counts.accepted++;
    conn_enter(c, &s->active);
}

static void expire(struct list *list, uint64_t now, uint64_t timeout_ms)
{
    while (!list_empty(list)) {
        struct conn *c = container_of(list->next, struct conn, link);
        if (now - c->since_ms < timeout_ms)
            return;
        conn_close(c);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct miniserver *s = timer->data;
    uint64_t now = uv_now(s->loop);
    expire(&s->active, now, s->options.idle_timeout_ms);
    expire(&s->lingering, now, LINGER_MS);
    if (s->accept_pending)
        on_connection((uv_stream_t *)&s->listener, 0);
}

/* --- the interface --- */

static void timer_open(struct miniserver *s, uv_timer_t *timer)
{
    int rc = uv_timer_init(s->loop, timer);
    assert(rc == 0); /* it has no way to fail */
    (void)rc;
    timer->data = s;
    s->handles++;
}

struct miniserver *miniserver_new(uv_loop_t *loop, const struct miniserver_options *o)
{
    struct miniserver *s = mem_zalloc(sizeof *s);
    s->loop = loop;
    s->options = *o;
    if (s->options.max_connections == 0)
        s->options.max_connections = 1024;
    if (s->options.idle_timeout_ms == 0)
        s->options.idle_timeout_ms = 60000;
    list_init(&s->active);
    list_init(&s->lingering);
    list_init(&s->never);
    timer_open(s, &s->tick);
    timer_open(s, &s->wait);
    return s;
}

bool miniserver_listen(struct miniserver *s, const struct addr *a, struct error *e)
{
    assert(!s->has_listener && !s->closing);
    char text[ADDR_TEXT_MAX];
    addr_format(a, text);
    int rc = uv_tcp_init(s->loop, &s->listener);
    if (rc < 0)
        goto fail;
    s->listener.data = s;
    s->has_listener = true;
    s->handles++;
    rc = uv_tcp_bind(&s->listener, &a->sa, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&s->listener, BACKLOG, on_connection);
    int len = sizeof s->address.v6;
    if (rc == 0)
        rc = uv_tcp_getsockname(&s->listener, &s->address.sa, &len);
    if (rc == 0)
        rc = uv_timer_start(&s->tick, on_tick, TICK_MS, TICK_MS);
    s->address.len = (socklen_t)len;
    if (rc == 0)
        return true;
fail:
    error_set(e, -rc, "listen %s: %s", text, uv_strerror(rc));
    return false;
}

const struct addr *miniserver_address(const struct miniserver *s)
{
    return &s->address;
}

const struct miniserver_counts *miniserver_counts(const struct miniserver *s)
{
    return &s->counts;
}

void miniserver_stall(struct miniserver *s, uint64_t ms)
{
    uint64_t now = uv_hrtime();
    s->stalled_until_ns = ms > (UINT64_MAX - now) / NS_A_MS ? UINT64_MAX : now + ms * NS_A_MS;
    if (ms == 0)
        s->stalled_until_ns = 0;
    server_arm(s);
}

uint64_t miniserver_stalled(const struct miniserver *s)
{
    uint64_t now = uv_hrtime(), until = s->stalled_until_ns;
    return until > now ? (until - now + NS_A_MS - 1) / NS_A_MS : 0;
}

static void on_grace_over(uv_timer_t *timer)
{
    struct miniserver *s = timer->data;
    expire(&s->active, uv_now(s->loop), 0);
    expire(&s->lingering, uv_now(s->loop), 0);
}

static void close_list(struct list *list)
{
    list_foreach_safe(it, next, list)
    {
        struct conn *c = container_of(it, struct conn, link);
        if (!c->writing)
            conn_close(c);
    }
}

void miniserver_close(struct miniserver *s, miniserver_closed_fn *on_closed, void *arg)
{
    assert(!s->closing);
    s->closing = true;
    s->on_closed = on_closed;
    s->closed_arg = arg;
    if (s->has_listener)
        uv_close((uv_handle_t *)&s->listener, on_server_handle_closed);
    uv_close((uv_handle_t *)&s->wait, on_server_handle_closed);
    while (heap_first(&s->waiting)) /* active ones are closed, or have the grace to write */
        server_pop_waiting(s);
    list_foreach_safe(it, next, &s->never)
        conn_enter(container_of(it, struct conn, link), &s->active);
    close_list(&s->lingering);
    close_list(&s->active);
    int rc = uv_timer_start(&s->tick, on_grace_over, CLOSE_GRACE_MS, 0);
    assert(rc == 0); /* fails only for a handle that is closing */
    (void)rc;
    server_close_tick_if_last(s);
}
