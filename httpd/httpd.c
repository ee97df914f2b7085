#include "httpd/httpd.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/answer.h"
#include "http/framing.h"
#include "http/parser.h"
#include "httpd/reply.h"
#include "net/acceptor.h"

#define LINGER_MS 2000 /* how long a closed connection is read, for its peer to see the answer */
#define CLOSE_GRACE_MS 1000    /* for answers on their way when the server closes */
#define KEEP_BYTES (64 * 1024) /* an idle connection gives a larger buffer back */
#define MAX_TRAILERS 4096

/* A client's connection:
 *
 *              head is complete         body is complete
 *   STATE_HEAD -------------> STATE_BODY -------------> STATE_ASKED
 *     ^   \_____ no body follows, or it is refused _______^   |
 *     |                                       httpd_answer()  |  whole
 *     |                                                       +------------> STATE_SENT
 *     |                                                 fed   v               ^     |
 *     |                                                  STATE_FED -----------'     |
 *     |                                                        httpd_finish()       |
 *     '----------------- the last byte is with the kernel --------------------------+
 *                                                                        `last` is set
 *                            end of stream, or LINGER_MS                            v
 *   STATE_CLOSED <--- of all states ----------------------------------------- STATE_LINGER
 *
 * Bytes that come in another state than STATE_HEAD and STATE_BODY are left with the conn, which
 * stops reading when they are many. */
enum state {
    STATE_HEAD,   /* a head is to come, some of it may be there */
    STATE_BODY,   /* `in` is a head and what has come of its body, decoded */
    STATE_ASKED,  /* the handler has the request, and has not answered it */
    STATE_FED,    /* the head of the answer is written, its body is fed */
    STATE_SENT,   /* all of the answer is written, some of it may wait for the socket */
    STATE_LINGER, /* our side is shut down, what still comes is dropped */
    STATE_CLOSED, /* conn_close() was called */
};

struct client {
    struct conn conn;
    struct httpd *server;
    struct list link;
    struct deadline deadline; /* in the server's idle or linger, or in none */
    enum state state;
    bool last;    /* no request is looked at after this one */
    bool ended;   /* the peer has shut down its side */
    bool chunked; /* STATE_FED: each piece is to be framed */
    size_t left;  /* STATE_FED, HTTPD_SIZED: bytes to come; otherwise 0 */
    bool sized;
    struct buffer in; /* of a request that has a body: see STATE_BODY */
    struct parser parser;
    struct framing framing;
    struct head head;
    struct httpd_request request;
};

struct httpd {
    struct net *net;
    struct httpd_options options;
    struct acceptor acceptor;
    uv_timer_t grace;
    bool listening, closing, accept_failing;
    unsigned handles; /* open ones; the last to close frees the server */
    struct httpd_counts counts;
    struct list clients;
    struct deadline_queue idle, linger;
    struct addr address;
    struct buffer text, fields; /* of the answer being made */
    struct buffer out;          /* the head being written */
    time_t date_at;
    char date[64];
    size_t date_len;
    httpd_closed_fn *on_closed;
    void *closed_arg;
};

/* --- life of the server --- */

static void handle_gone(struct httpd *s)
{
    assert(s->handles > 0);
    if (--s->handles)
        return;
    assert(s->closing && s->counts.connections == 0);
    httpd_closed_fn *on_closed = s->on_closed;
    void *arg = s->closed_arg;
    deadline_queue_deinit(&s->idle);
    deadline_queue_deinit(&s->linger);
    buffer_release(&s->text);
    buffer_release(&s->fields);
    buffer_release(&s->out);
    free(s);
    if (on_closed)
        on_closed(arg);
}

static void on_grace_closed(uv_handle_t *h)
{
    handle_gone(container_of((uv_timer_t *)h, struct httpd, grace));
}

static void on_acceptor_stopped(struct acceptor *a)
{
    handle_gone(container_of(a, struct httpd, acceptor));
}

/* The grace is for the last connections, so its timer goes after them. */
static void close_grace_if_last(struct httpd *s)
{
    if (s->closing && s->counts.connections == 0 && !uv_is_closing((uv_handle_t *)&s->grace))
        uv_close((uv_handle_t *)&s->grace, on_grace_closed);
}

/* --- life of a connection --- */

static void on_conn_closed(struct conn *conn)
{
    struct client *c = container_of(conn, struct client, conn);
    struct httpd *s = c->server;
    struct httpd_request *q = &c->request;
    if (q->ops)
        q->ops->on_end(q, false);
    framing_deinit(&c->framing);
    buffer_release(&c->in);
    free(c);
    s->counts.connections--;
    close_grace_if_last(s);
}

static void client_close(struct client *c)
{
    if (c->state == STATE_CLOSED)
        return;
    c->state = STATE_CLOSED;
    list_remove(&c->link);
    deadline_cancel(&c->deadline);
    conn_close(&c->conn, on_conn_closed);
}

static void on_deadline(struct deadline *d)
{
    client_close(container_of(d, struct client, deadline));
}

/* All is said: tell the peer, then read until it closes too. Closing at once with bytes unread
 * would reset the connection, and a reset can overtake the answer. */
static void linger(struct client *c)
{
    if (c->ended || conn_shutdown(&c->conn) < 0) {
        client_close(c);
        return;
    }
    c->state = STATE_LINGER;
    deadline_arm(&c->server->linger, &c->deadline);
    conn_continue(&c->conn); /* drops what was kept, so that reading goes on */
}

static void next_request(struct client *c)
{
    framing_deinit(&c->framing);
    buffer_clear(&c->in);
    if (c->in.cap > KEEP_BYTES)
        buffer_release(&c->in);
    parser_init_request(&c->parser, &c->head, HTTPD_MAX_HEAD);
    c->request = (struct httpd_request){.head = &c->head};
    c->state = STATE_HEAD;
    deadline_arm(&c->server->idle, &c->deadline);
}

/* --- out --- */

/* STATE_SENT: goes on if no byte of the answer waits any more. */
static void settle(struct client *c)
{
    assert(c->state == STATE_SENT);
    struct httpd_request *q = &c->request;
    const struct httpd_request_ops *ops = q->ops;
    if (conn_queued(&c->conn) > 0)
        return;
    q->ops = NULL;
    if (ops)
        ops->on_end(q, true);
    if (c->state == STATE_CLOSED) /* on_end() has closed the server */
        return;
    if (c->server->closing) {
        client_close(c);
    } else if (c->last) {
        linger(c);
    } else {
        next_request(c);
        conn_continue(&c->conn);
    }
}

/* False: the connection is closed. */
static bool put(struct client *c, const uv_buf_t *bufs, unsigned n)
{
    if (conn_write(&c->conn, bufs, n, NULL) < 0) {
        client_close(c);
        return false;
    }
    return true;
}

static uv_buf_t buf_of(struct str s)
{
    return (uv_buf_t){.base = (char *)(uintptr_t)s.p, .len = s.n};
}

/* A fed body has a deadline only while the client is to take something. */
static void watch_client(struct client *c)
{
    if (conn_queued(&c->conn) > 0)
        deadline_arm(&c->server->idle, &c->deadline);
    else
        deadline_cancel(&c->deadline);
}

/* "Date: ...\r\n", made once a second (RFC 9110 6.6.1 wants it from an origin server). */
static struct str server_date(struct httpd *s)
{
    time_t now = time(NULL);
    struct tm tm;
    if (now != s->date_at && gmtime_r(&now, &tm)) {
        s->date_len = strftime(s->date, sizeof s->date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
        s->date_at = now;
    }
    return (struct str){s->date, s->date_len};
}

static struct str content(const struct buffer *b)
{
    return b && b->data ? (struct str){b->data + b->start, buffer_len(b)} : STR("");
}

static bool put_head(struct client *c, const struct httpd_answer *a, size_t length)
{
    const bool is_old = c->head.minor == 0;
    const struct reply_head head = {
        .status = a->status,
        .date = server_date(c->server),
        .type = a->type ? str_of(a->type) : (struct str){0},
        .fields = content(a->fields),
        .persists = c->last  ? "close"
                    : is_old ? "keep-alive"
                             : NULL,
        .framing = a->content == HTTPD_WHOLE || a->content == HTTPD_SIZED ? REPLY_LENGTH
                   : is_old                                               ? REPLY_CLOSE
                                                                          : REPLY_CHUNKED,
        .length = length,
    };
    buffer_clear(&c->server->out);
    return reply_put_head(&c->server->out, &head);
}

/* STATE_ASKED: out, and what of the body is at hand. */
static void send_answer(struct client *c, struct str body, bool fed)
{
    const uv_buf_t bufs[] = {buf_of(content(&c->server->out)), buf_of(body)};
    c->state = fed ? STATE_FED : STATE_SENT;
    deadline_arm(&c->server->idle, &c->deadline);
    if (!put(c, bufs, body.n ? 2 : 1))
        return;
    if (fed)
        watch_client(c);
    else
        settle(c);
}

static struct client *client_of(struct httpd_request *q)
{
    return container_of(q, struct client, request);
}

void httpd_keep(struct httpd_request *q, const struct httpd_request_ops *ops, void *user)
{
    struct client *c = client_of(q);
    assert((c->state == STATE_ASKED || c->state == STATE_CLOSED) && q->ops == NULL);
    q->ops = ops;
    q->user = user;
    deadline_cancel(&c->deadline);
}

void httpd_answer(struct httpd_request *q, const struct httpd_answer *a)
{
    struct client *c = client_of(q);
    bool whole = a->content == HTTPD_WHOLE;
    if (c->state == STATE_CLOSED)
        return;
    assert(c->state == STATE_ASKED && (whole || q->ops));
    assert(a->content != HTTPD_FRAMED || c->head.minor > 0);
    struct str body = !whole ? (struct str){0} : a->body.p ? a->body : content(a->text);
    bool none = c->head.method == METHOD_HEAD || a->status == 204 || a->status == 304;
    bool by_close = a->content == HTTPD_CHUNKED && c->head.minor == 0;
    q->status = a->status;
    c->last |= a->close || by_close || !c->head.keep_alive;
    if (!put_head(c, a, whole ? body.n : a->length)) {
        httpd_refuse(q, 500);
        return;
    }
    c->chunked = a->content == HTTPD_CHUNKED && !by_close;
    c->sized = a->content == HTTPD_SIZED;
    c->left = c->sized ? a->length : 0;
    send_answer(c, none ? (struct str){0} : body, !whole && !none);
}

void httpd_refuse(struct httpd_request *q, int status)
{
    struct client *c = client_of(q);
    struct httpd *s = c->server;
    if (c->state == STATE_CLOSED)
        return;
    assert(c->state == STATE_ASKED);
    q->status = status;
    c->last = true;
    buffer_clear(&s->out);
    if (answer_write(&s->out, status, true, c->head.method == METHOD_HEAD, (struct str){0}))
        send_answer(c, (struct str){0}, false);
    else
        client_close(c);
}

bool httpd_feed(struct httpd_request *q, struct str bytes)
{
    struct client *c = client_of(q);
    if (c->state != STATE_FED)
        return false;
    assert(!c->sized || bytes.n <= c->left);
    if (bytes.n == 0) /* as a chunk it would be the last one */
        return conn_queued(&c->conn) == 0;
    char line[24];
    int n = snprintf(line, sizeof line, "%zx\r\n", bytes.n);
    const uv_buf_t bufs[] = {buf_of((struct str){line, (size_t)n}), buf_of(bytes),
                             buf_of(STR("\r\n"))};
    if (!put(c, c->chunked ? bufs : bufs + 1, c->chunked ? 3 : 1))
        return false;
    if (c->sized)
        c->left -= bytes.n;
    watch_client(c);
    return conn_queued(&c->conn) == 0;
}

void httpd_finish(struct httpd_request *q)
{
    struct client *c = client_of(q);
    if (c->state != STATE_FED)
        return;
    assert(c->left == 0);
    const uv_buf_t end = buf_of(STR("0\r\n\r\n"));
    if (c->chunked && !put(c, &end, 1))
        return;
    c->state = STATE_SENT;
    deadline_arm(&c->server->idle, &c->deadline);
    settle(c);
}

void httpd_give_up(struct httpd_request *q)
{
    client_close(client_of(q));
}

static void on_drain(struct conn *conn)
{
    struct client *c = container_of(conn, struct client, conn);
    struct httpd_request *q = &c->request;
    if (c->state == STATE_FED) {
        watch_client(c);
        q->ops->on_drain(q);
        if (c->server->closing && conn_queued(conn) == 0)
            client_close(c);
    } else if (c->state == STATE_SENT) {
        settle(c);
    }
}

/* --- in --- */

/* base: the request's head. The handler may close the server. */
static void ask(struct client *c, const char *base, struct str body)
{
    struct httpd *s = c->server;
    struct httpd_request *q = &c->request;
    struct httpd_answer a = {
        .status = 200, .type = "text/plain", .text = &s->text, .fields = &s->fields};
    q->base = base;
    q->path = head_str(base, c->head.path);
    q->query = head_str(base, c->head.query);
    q->body = body;
    c->state = STATE_ASKED;
    buffer_clear(&s->text);
    buffer_clear(&s->fields);
    bool ok = s->options.handle(s->options.arg, q, &a);
    if (c->state != STATE_ASKED || q->ops)
        return;
    if (ok)
        httpd_answer(q, &a);
    else
        httpd_refuse(q, 500);
}

/* Returns how many of len bytes are used up by that: they are all dropped once it lingers. */
static size_t refuse(struct client *c, int status, size_t len)
{
    struct httpd *s = c->server;
    c->state = STATE_ASKED;
    if (s->options.refuse)
        s->options.refuse(s->options.arg, &c->request, status);
    else
        httpd_refuse(&c->request, status);
    return c->state == STATE_LINGER ? len : 0;
}

/* Tells a peer that waits for it to send its body. */
static void say_continue(struct client *c, size_t len)
{
    const uv_buf_t go_on = buf_of(STR("HTTP/1.1 100 Continue\r\n\r\n"));
    if (c->head.expect_continue && c->head.minor > 0 && len == c->head.size)
        put(c, &go_on, 1);
}

/* A request without a body is handled where it was read; the head of others is kept. */
static size_t read_head(struct client *c, const char *data, size_t len)
{
    if (c->parser.taken == 0) /* a request begins */
        deadline_arm(&c->server->idle, &c->deadline);
    switch (parser_execute(&c->parser, &c->head, data, len)) {
    case PARSE_MORE:
        return 0;
    case PARSE_ERROR:
        return refuse(c, c->parser.status, len);
    case PARSE_DONE:
        break;
    }
    size_t size = c->head.size;
    if (c->head.body == BODY_NONE) {
        ask(c, data, (struct str){data + size, 0});
        return size;
    }
    if (c->head.body == BODY_LENGTH && c->head.content_length > HTTPD_MAX_BODY)
        return refuse(c, 413, len);
    if (!buffer_append(&c->in, data, size)) {
        client_close(c);
        return 0;
    }
    framing_init(&c->framing, c->head.body, c->head.content_length, MAX_TRAILERS);
    c->state = STATE_BODY;
    say_continue(c, len);
    return size;
}

static size_t read_body(struct client *c, char *data, size_t len)
{
    size_t size = c->head.size, used = 0, payload = 0;
    enum framing_result r = framing_decode(&c->framing, data, len, &used, &payload);
    if (r == FRAMING_ERROR)
        return refuse(c, framing_status(&c->framing), len);
    assert(payload <= used && used <= len);
    if (buffer_len(&c->in) - size + payload > HTTPD_MAX_BODY)
        return refuse(c, 413, len);
    if (!buffer_append(&c->in, data, payload)) {
        client_close(c);
        return 0;
    }
    if (r == FRAMING_DONE) {
        const char *base = buffer_head(&c->in);
        ask(c, base, (struct str){base + size, buffer_len(&c->in) - size});
    }
    return used;
}

static size_t on_read(struct conn *conn, char *data, size_t len)
{
    struct client *c = container_of(conn, struct client, conn);
    switch (c->state) {
    case STATE_HEAD:
        return read_head(c, data, len);
    case STATE_BODY:
        return read_body(c, data, len);
    case STATE_LINGER:
        return len;
    default:
        return 0;
    }
}

/* One that has begun to get its answer may still read. */
static void on_eof(struct conn *conn)
{
    struct client *c = container_of(conn, struct client, conn);
    c->last = c->ended = true;
    if (c->state != STATE_FED && c->state != STATE_SENT)
        client_close(c);
}

static void on_error(struct conn *conn, int uv_error)
{
    client_close(container_of(conn, struct client, conn));
}

/* --- accept --- */

static const struct conn_ops client_ops = {
    .on_read = on_read, .on_eof = on_eof, .on_error = on_error, .on_drain = on_drain};

static void on_accept_error(struct acceptor *a, int uv_error)
{
    struct httpd *s = container_of(a, struct httpd, acceptor);
    if (!s->accept_failing)
        log_event(LOG_WARN, "accept failed", uv_strerror(uv_error));
    s->accept_failing = true;
}

static void on_accept(struct acceptor *a, int fd, const struct addr *peer)
{
    struct httpd *s = container_of(a, struct httpd, acceptor);
    bool full = s->counts.connections >= s->options.max_connections;
    struct client *c = full ? NULL : calloc(1, sizeof *c);
    if (c == NULL) {
        close(fd);
        if (!full)
            on_accept_error(a, UV_ENOMEM);
        return;
    }
    s->accept_failing = false;
    s->counts.accepted++;
    s->counts.connections++;
    c->server = s;
    conn_accept(&c->conn, s->net, &client_ops, fd);
    list_push_back(&s->clients, &c->link);
    deadline_init(&c->deadline);
    next_request(c);
    if (conn_start(&c->conn) < 0)
        client_close(c);
}

/* --- the interface --- */

struct httpd *httpd_new(struct net *n, const struct httpd_options *o)
{
    struct httpd *s = mem_zalloc(sizeof *s);
    s->net = n;
    s->options = *o;
    if (s->options.max_connections == 0)
        s->options.max_connections = 1024;
    if (s->options.idle_timeout_ms == 0)
        s->options.idle_timeout_ms = 60000;
    list_init(&s->clients);
    deadline_queue_init(&s->idle, &n->clock, s->options.idle_timeout_ms, on_deadline);
    deadline_queue_init(&s->linger, &n->clock, LINGER_MS, on_deadline);
    int r = uv_timer_init(n->loop, &s->grace);
    assert(r == 0); /* it has no way to fail */
    (void)r;
    s->handles = 1;
    return s;
}

bool httpd_listen(struct httpd *s, const struct addr *a, struct error *e)
{
    static const struct acceptor_ops ops = {on_accept, on_accept_error};
    assert(!s->listening && !s->closing);
    s->listening = acceptor_listen(&s->acceptor, s->net, &ops, a, &s->address, e);
    s->handles += s->listening;
    return s->listening;
}

const struct addr *httpd_address(const struct httpd *s)
{
    return &s->address;
}

const struct httpd_counts *httpd_counts(const struct httpd *s)
{
    return &s->counts;
}

static void close_clients(struct httpd *s, bool all)
{
    list_foreach_safe(it, next, &s->clients)
    {
        struct client *c = container_of(it, struct client, link);
        if (all || c->state == STATE_LINGER || conn_queued(&c->conn) == 0)
            client_close(c);
    }
}

static void on_grace_over(uv_timer_t *timer)
{
    close_clients(container_of(timer, struct httpd, grace), true);
}

void httpd_close(struct httpd *s, httpd_closed_fn *on_closed, void *arg)
{
    assert(!s->closing);
    s->closing = true;
    s->on_closed = on_closed;
    s->closed_arg = arg;
    if (s->listening)
        acceptor_stop(&s->acceptor, 0, on_acceptor_stopped);
    close_clients(s, false);
    int r = uv_timer_start(&s->grace, on_grace_over, CLOSE_GRACE_MS, 0);
    assert(r == 0); /* fails only for a handle that is closing */
    (void)r;
    close_grace_if_last(s);
}
