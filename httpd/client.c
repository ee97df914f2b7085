/* One connection of a server: it reads requests, calls the handler and writes answers. client.h
 * draws the states. A handler may close the connection, or the whole server, within any call that
 * it gets: so after each such call the state is looked at again. */
#include "httpd/client.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "http/answer.h"
#include "httpd/reply.h"

#define KEEP_BYTES (64 * 1024) /* a larger buffer is freed between two requests */
#define MAX_TRAILERS 4096

/* --- life of a connection --- */

/* Only now a handler learns that its answer was not whole: so on_end never comes while the handler
 * is in httpd_feed() or httpd_answer(). */
static void on_conn_closed(struct conn *conn)
{
    struct client *c = container_of(conn, struct client, conn);
    struct httpd *s = c->server;
    struct httpd_request *q = &c->request;
    assert(c->state == STATE_CLOSED);
    if (q->ops)
        q->ops->on_end(q, false);
    framing_deinit(&c->framing);
    buffer_release(&c->in);
    free(c);
    httpd_client_gone(s);
}

void httpd_client_close(struct client *c)
{
    if (c->state == STATE_CLOSED)
        return;
    c->state = STATE_CLOSED;
    list_remove(&c->link);
    deadline_cancel(&c->deadline);
    conn_close(&c->conn, on_conn_closed);
}

/* The last answer is written: a FIN follows it, then the client is read until it closes, too. To
 * close while bytes are unread would reset the connection, and a reset can overtake the answer. */
static void linger(struct client *c)
{
    assert(c->last && conn_queued(&c->conn) == 0);
    if (c->ended || conn_shutdown(&c->conn) < 0) {
        httpd_client_close(c);
        return;
    }
    c->state = STATE_LINGER;
    deadline_arm(&c->server->linger, &c->deadline);
    conn_continue(&c->conn); /* on_read() drops what was kept, so that reading goes on */
}

/* The deadline begins anew at the first byte: until then it is the idle timeout of keep-alive. */
static void next_request(struct client *c)
{
    assert(!c->last && c->request.ops == NULL);
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

/* In STATE_SENT: goes on if the kernel has all of the answer. */
static void settle(struct client *c)
{
    assert(c->state == STATE_SENT);
    struct httpd_request *q = &c->request;
    const struct httpd_request_ops *ops = q->ops;
    if (conn_queued(&c->conn) > 0)
        return;
    q->ops = NULL; /* so that on_end() is not called again, whatever it does */
    if (ops)
        ops->on_end(q, true);
    if (c->state == STATE_CLOSED) /* on_end() has closed the server */
        return;
    if (c->server->closing) {
        httpd_client_close(c);
    } else if (c->last) {
        linger(c);
    } else {
        next_request(c);
        conn_continue(&c->conn); /* the next request may have come already */
    }
}

/* False: the connection is closed. */
static bool put(struct client *c, const uv_buf_t *bufs, unsigned n)
{
    if (conn_write(&c->conn, bufs, n, NULL) < 0) {
        httpd_client_close(c);
        return false;
    }
    return true;
}

static uv_buf_t buf_of(struct str s)
{
    return (uv_buf_t){.base = (char *)(uintptr_t)s.p, .len = s.n};
}

/* While a body is fed, the deadline runs only while bytes wait for the client. */
static void watch_client(struct client *c)
{
    if (conn_queued(&c->conn) > 0)
        deadline_arm(&c->server->idle, &c->deadline);
    else
        deadline_cancel(&c->deadline);
}

/* "Date: ...\r\n", which an origin server must send (RFC 9110 6.6.1), made once a second. */
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
    buffer_clear(&c->server->out); /* one for all connections, as a head is written at once */
    return reply_put_head(&c->server->out, &head);
}

/* In STATE_ASKED: writes the head, which stands in `out`, and the body as far as it is given. */
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

/* No deadline while the handler has the request: it may take as long as it likes. */
void httpd_keep(struct httpd_request *q, const struct httpd_request_ops *ops, void *user)
{
    struct client *c = client_of(q);
    assert((c->state == STATE_ASKED || c->state == STATE_CLOSED) && q->ops == NULL);
    q->ops = ops;
    q->user = user;
    deadline_cancel(&c->deadline);
}

/* Does nothing if the client has gone: a handler that kept the request may not have heard of it
 * yet. */
bool httpd_answer(struct httpd_request *q, const struct httpd_answer *a)
{
    struct client *c = client_of(q);
    bool whole = a->content == HTTPD_WHOLE;
    if (c->state == STATE_CLOSED)
        return false;
    assert(c->state == STATE_ASKED && (whole || q->ops));
    assert(a->content != HTTPD_FRAMED || c->head.minor > 0);
    struct str body = !whole ? (struct str){0} : a->body.p ? a->body : content(a->text);
    bool none = c->head.method == METHOD_HEAD || a->status == 204 || a->status == 304;
    /* HTTP/1.0 has no chunks: the end of the connection ends the body. */
    bool by_close = a->content == HTTPD_CHUNKED && c->head.minor == 0;
    q->status = a->status;
    c->last |= a->close || by_close || !c->head.keep_alive;
    if (!put_head(c, a, whole ? body.n : a->length)) {
        httpd_refuse(q, 500);
        return false;
    }
    c->content = by_close ? HTTPD_FRAMED : a->content;
    c->left = a->length;
    bool fed = !whole && !none; /* else this may be the state of the next request already: */
    send_answer(c, none ? (struct str){0} : body, fed);
    return fed && c->state == STATE_FED;
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
        httpd_client_close(c);
}

bool httpd_feed(struct httpd_request *q, struct str bytes)
{
    struct client *c = client_of(q);
    if (c->state != STATE_FED)
        return false;
    assert(c->content != HTTPD_SIZED || bytes.n <= c->left);
    if (bytes.n == 0) /* an empty chunk would end the body */
        return conn_queued(&c->conn) == 0;
    char line[24];
    int n = snprintf(line, sizeof line, "%zx\r\n", bytes.n);
    const uv_buf_t bufs[] = {buf_of((struct str){line, (size_t)n}), buf_of(bytes),
                             buf_of(STR("\r\n"))};
    bool chunked = c->content == HTTPD_CHUNKED;
    if (!put(c, chunked ? bufs : bufs + 1, chunked ? 3 : 1))
        return false;
    c->left -= c->content == HTTPD_SIZED ? bytes.n : 0;
    watch_client(c);
    return conn_queued(&c->conn) == 0;
}

void httpd_finish(struct httpd_request *q)
{
    struct client *c = client_of(q);
    if (c->state != STATE_FED)
        return;
    assert(c->content != HTTPD_SIZED || c->left == 0);
    const uv_buf_t end = buf_of(STR("0\r\n\r\n"));
    if (c->content == HTTPD_CHUNKED && !put(c, &end, 1))
        return;
    c->state = STATE_SENT;
    deadline_arm(&c->server->idle, &c->deadline);
    settle(c);
}

void httpd_give_up(struct httpd_request *q)
{
    httpd_client_close(client_of(q));
}

/* A closing server waits for fed bodies only while bytes are queued, as the handler may feed for
 * ever. */
static void on_drain(struct conn *conn)
{
    struct client *c = container_of(conn, struct client, conn);
    struct httpd_request *q = &c->request;
    if (c->state == STATE_FED) {
        watch_client(c);
        q->ops->on_drain(q);
        if (c->server->closing && conn_queued(conn) == 0)
            httpd_client_close(c);
    } else if (c->state == STATE_SENT) {
        settle(c);
    }
}

/* --- in --- */

/* Shows the request to a function of the handler's, with an answer for it to fill in. base: the
 * bytes of the request's head. */
static struct httpd_answer show(struct client *c, const char *base, struct str body)
{
    struct httpd *s = c->server;
    struct httpd_request *q = &c->request;
    q->base = base;
    q->path = head_str(base, c->head.path);
    q->query = head_str(base, c->head.query);
    q->body = body;
    buffer_clear(&s->text);
    buffer_clear(&s->fields);
    return (struct httpd_answer){
        .status = 200, .type = "text/plain", .text = &s->text, .fields = &s->fields};
}

/* Calls the handler, which may close the server. */
static void ask(struct client *c, const char *base, struct str body)
{
    struct httpd *s = c->server;
    struct httpd_request *q = &c->request;
    struct httpd_answer a = show(c, base, body);
    c->state = STATE_ASKED;
    bool ok = s->options.handle(s->options.arg, q, &a);
    if (c->state != STATE_ASKED || q->ops)
        return;
    if (ok)
        httpd_answer(q, &a);
    else
        httpd_refuse(q, 500);
}

/* Refuses what was read. Returns how many of the len bytes are taken: all of them if the connection
 * lingers now, as it then drops what comes. */
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

/* Whether the body is to be read. If not, the request is answered, or the connection is closed. */
static bool admit(struct client *c, const char *base)
{
    struct httpd *s = c->server;
    c->max_body = HTTPD_MAX_BODY;
    if (s->options.admit == NULL)
        return true;
    struct httpd_answer a = show(c, base, (struct str){0});
    enum httpd_admission r = s->options.admit(s->options.arg, &c->request, &a, &c->max_body);
    assert(c->request.ops == NULL && a.content == HTTPD_WHOLE);
    if (r == HTTPD_ADMIT)
        return true;
    c->state = STATE_ASKED;
    c->last = true; /* what comes now is the body */
    if (r == HTTPD_DENY)
        httpd_answer(&c->request, &a);
    else
        httpd_refuse(&c->request, 500);
    return false;
}

/* A client may wait for this before it sends its body. */
static void say_continue(struct client *c, size_t len)
{
    const uv_buf_t go_on = buf_of(STR("HTTP/1.1 100 Continue\r\n\r\n"));
    if (c->head.expect_continue && c->head.minor > 0 && len == c->head.size)
        put(c, &go_on, 1);
}

/* A request without a body is handled in the buffer where it was read. The head of another one is
 * copied, as it has to stand until the body is complete. */
static size_t read_head(struct client *c, const char *data, size_t len)
{
    if (c->parser.taken == 0) /* the first byte of a request */
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
    if (!admit(c, data))
        return c->state == STATE_LINGER ? len : 0;
    if (c->head.body == BODY_LENGTH && c->head.content_length > c->max_body)
        return refuse(c, 413, len); /* before the body is sent, if the client waits for a 100 */
    if (!buffer_append(&c->in, data, size)) {
        httpd_client_close(c);
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
    if (buffer_len(&c->in) - size + payload > c->max_body)
        return refuse(c, 413, len);
    if (!buffer_append(&c->in, data, payload)) {
        httpd_client_close(c);
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

/* A client that has begun to get its answer may still read the rest. */
static void on_eof(struct conn *conn)
{
    struct client *c = container_of(conn, struct client, conn);
    c->last = c->ended = true;
    if (c->state != STATE_FED && c->state != STATE_SENT)
        httpd_client_close(c);
}

static void on_error(struct conn *conn, int uv_error)
{
    httpd_client_close(container_of(conn, struct client, conn));
}

static const struct conn_ops client_ops = {
    .on_read = on_read, .on_eof = on_eof, .on_error = on_error, .on_drain = on_drain};

/* Unlike the proxy's clients these are registered with the loop at once: connections that bring one
 * request need not be cheap here. */
bool httpd_client_open(struct httpd *s, int fd)
{
    struct client *c = calloc(1, sizeof *c);
    if (c == NULL) {
        close(fd);
        return false;
    }
    s->counts.accepted++;
    s->counts.connections++;
    c->server = s;
    conn_accept(&c->conn, s->net, &client_ops, fd);
    list_push_back(&s->clients, &c->link);
    deadline_init(&c->deadline);
    next_request(c);
    if (conn_start(&c->conn) < 0)
        httpd_client_close(c);
    return true;
}
