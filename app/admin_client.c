#include "app/admin_client.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/framing.h"
#include "http/parser.h"

#define HEAD_MAX 16384
#define TRAILERS_MAX 4096
#define STEP 65536

struct exchange {
    const struct admin_where *where;
    int fd;
    uint64_t timeout_ms, until_ns;
    struct buffer in; /* what was received and not taken yet */
    struct error *e;
};

/* --- time --- */

/* True: the socket is ready, or has failed. False: the time is over, which *e says. */
static bool wait_for(struct exchange *x, short events)
{
    for (;;) {
        uint64_t now = clock_now_ns();
        uint64_t left_ms = now < x->until_ns ? (x->until_ns - now) / 1000000 + 1 : 0;
        struct pollfd p = {.fd = x->fd, .events = events};
        int r = left_ms ? poll(&p, 1, left_ms > 60000 ? 60000 : (int)left_ms) : 0;
        if (r > 0)
            return true;
        if (r < 0 && errno != EINTR) {
            error_errno(x->e, errno, "poll");
            return false;
        }
        if (left_ms == 0) {
            error_set(x->e, ETIMEDOUT, "no answer from %s within %gs", x->where->authority,
                      (double)x->timeout_ms / 1000);
            return false;
        }
    }
}

/* --- connecting --- */

/* 0, or errno. -1: the time is over. */
static int connect_to(struct exchange *x, const struct addrinfo *to)
{
    int failure = 0;
    socklen_t n = sizeof failure;
    x->fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (x->fd < 0)
        return errno;
    if (connect(x->fd, to->ai_addr, to->ai_addrlen) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return errno;
    if (!wait_for(x, POLLOUT))
        return -1;
    return getsockopt(x->fd, SOL_SOCKET, SO_ERROR, &failure, &n) == 0 ? failure : errno;
}

/* Tries one address after the other. */
static bool connect_any(struct exchange *x)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *all;
    int r = getaddrinfo(x->where->host, x->where->port, &hints, &all);
    if (r != 0) {
        error_set(x->e, 0, "%s: %s", x->where->host, gai_strerror(r));
        return false;
    }
    int failure = ENOENT;
    for (const struct addrinfo *one = all; one && failure > 0; one = one->ai_next) {
        if (x->fd >= 0)
            close(x->fd);
        failure = connect_to(x, one);
    }
    freeaddrinfo(all);
    if (failure > 0)
        error_errno(x->e, failure, "%s", x->where->authority);
    return failure == 0;
}

/* --- sending --- */

static bool append(struct buffer *b, const char *text)
{
    return buffer_append(b, text, strlen(text));
}

static bool compose(const struct exchange *x, const struct admin_request *q, struct buffer *out)
{
    const struct admin_where *w = x->where;
    char length[64] = "";
    if (q->body.n)
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", q->body.n);
    bool ok =
        append(out, q->method) && append(out, " ") && append(out, w->prefix) &&
        append(out, q->target) && append(out, " HTTP/1.1\r\nHost: ") && append(out, w->authority) &&
        append(out, "\r\nUser-Agent: ringproxy/" RINGPROXY_VERSION "\r\nConnection: close\r\n") &&
        append(out, length);
    if (w->token)
        ok = ok && append(out, "Authorization: Bearer ") && append(out, w->token) &&
             append(out, "\r\n");
    ok = ok && append(out, "\r\n") && buffer_append(out, q->body.p, q->body.n);
    if (!ok)
        error_set(x->e, ENOMEM, "out of memory");
    return ok;
}

/* A proxy that does not want all of it answers before and closes: so what can't be sent is no
 * failure, but the missing answer may be. */
static bool send_all(struct exchange *x, struct str s)
{
    while (s.n) {
        ssize_t n = send(x->fd, s.p, s.n, MSG_NOSIGNAL);
        if (n >= 0) {
            s.p += n;
            s.n -= (size_t)n;
        } else if (errno == EAGAIN) {
            if (!wait_for(x, POLLOUT))
                return false;
        } else if (errno != EINTR) {
            return true;
        }
    }
    return true;
}

/* --- receiving --- */

enum received { RECEIVED, RECEIVED_END, RECEIVED_FAILURE };

static enum received receive(struct exchange *x)
{
    for (;;) {
        if (!buffer_reserve(&x->in, STEP)) {
            error_set(x->e, ENOMEM, "out of memory");
            return RECEIVED_FAILURE;
        }
        ssize_t n = recv(x->fd, x->in.data + x->in.end, STEP, 0);
        if (n > 0)
            x->in.end += (size_t)n;
        if (n >= 0)
            return n > 0 ? RECEIVED : RECEIVED_END;
        if (errno == EAGAIN) {
            if (!wait_for(x, POLLIN))
                return RECEIVED_FAILURE;
        } else if (errno != EINTR) {
            error_errno(x->e, errno, "%s", x->where->authority);
            return RECEIVED_FAILURE;
        }
    }
}

static bool no_answer(struct exchange *x, const char *why)
{
    error_set(x->e, 0, "%s gave no answer of HTTP: %s", x->where->authority, why);
    return false;
}

/* Up to the final head, which is consumed. */
static bool receive_head(struct exchange *x, struct head *h)
{
    struct parser p;
    parser_init_answer(&p, h, HEAD_MAX);
    for (;;) {
        enum parse_result r = parser_execute(&p, h, buffer_head(&x->in), buffer_len(&x->in));
        if (r == PARSE_ERROR)
            return no_answer(x, p.reason);
        if (r == PARSE_DONE) {
            buffer_consume(&x->in, h->size);
            if (h->status >= 200)
                return true;
            parser_init_answer(&p, h, HEAD_MAX);
            continue;
        }
        switch (receive(x)) {
        case RECEIVED:
            break;
        case RECEIVED_END:
            return no_answer(x, "the connection was closed");
        case RECEIVED_FAILURE:
            return false;
        }
    }
}

/* Moves what has come of the body to *body. */
static enum framing_result take_body(struct exchange *x, struct framing *f, struct buffer *body)
{
    size_t used = 0, payload = 0;
    char *data = buffer_head(&x->in);
    enum framing_result r = framing_decode(f, data, buffer_len(&x->in), &used, &payload);
    if (r == FRAMING_ERROR) {
        no_answer(x, "its chunks are malformed");
    } else if (payload > ADMIN_ANSWER_MAX - buffer_len(body) ||
               !buffer_append(body, data, payload)) {
        error_set(x->e, ENOMEM, "the answer is too large");
        r = FRAMING_ERROR;
    }
    buffer_consume(&x->in, used);
    return r;
}

static bool receive_body(struct exchange *x, enum body_kind kind, uint64_t length,
                         struct buffer *body)
{
    struct framing f;
    enum framing_result r;
    enum received got = RECEIVED;
    framing_init(&f, kind, length, TRAILERS_MAX);
    while ((r = take_body(x, &f, body)) == FRAMING_MORE && got == RECEIVED)
        got = receive(x);
    framing_deinit(&f);
    if (r == FRAMING_MORE && got == RECEIVED_END && kind != BODY_CLOSE)
        no_answer(x, "the connection was closed in the midst of it");
    return r == FRAMING_DONE || (r == FRAMING_MORE && got == RECEIVED_END && kind == BODY_CLOSE);
}

bool admin_ask(const struct admin_where *w, const struct admin_request *q, uint64_t timeout_ms,
               struct admin_answer *a, struct error *e)
{
    struct exchange x = {.where = w,
                         .fd = -1,
                         .timeout_ms = timeout_ms,
                         .until_ns = clock_now_ns() + timeout_ms * 1000000,
                         .e = e};
    struct buffer out = {0};
    struct head h;
    *a = (struct admin_answer){0};
    bool ok = compose(&x, q, &out) && connect_any(&x) &&
              send_all(&x, (struct str){out.data, out.end}) && receive_head(&x, &h);
    if (ok) {
        a->status = h.status;
        enum body_kind kind = framing_of_answer(&h, strcmp(q->method, "HEAD") == 0);
        ok = receive_body(&x, kind, h.content_length, &a->body);
    }
    if (x.fd >= 0)
        close(x.fd);
    buffer_release(&out);
    buffer_release(&x.in);
    if (!ok)
        admin_answer_deinit(a);
    return ok;
}

void admin_answer_deinit(struct admin_answer *a)
{
    buffer_release(&a->body);
    a->status = 0;
}
