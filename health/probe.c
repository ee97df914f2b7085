/* A probe's way, each arrow a callback of libuv:
 *
 *   probe_start -> on_connect -.-> passed (tcp without send, expect and PROXY head)
 *        |                     `-> on_written -> passed (tcp without expect)
 *        |                     `-> on_read ... -> passed or failed by the answer
 *        `-> on_timer: the deadline, or an error that connect gave at once
 *
 * finish() ends each of them: it closes both handles, then tells; on_close frees. */
#include "health/probe.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/mem.h"
#include "http/parser.h"
#include "net/conn.h"
#include "net/proxy_protocol.h"

#define HEAD_MAX 16384u
/* Of all that comes: interim answers could go on for ever. */
#define ANSWER_MAX 65536u
#define READ_STEP 4096u

struct probe {
    union {
        uv_tcp_t tcp;
        uv_pipe_t pipe; /* to a unix address */
        uv_stream_t stream;
    };
    uv_timer_t timer;
    uv_connect_t connect;
    uv_write_t write;
    const struct config_health *health;
    uint64_t timeout_ms;
    struct probe_callbacks callbacks;
    uint64_t began_ms;
    int start_error; /* what connect said at once, told by the timer */
    bool late;       /* the deadline is over, see grant_delay() */
    bool closing;
    unsigned open; /* handles that are not closed yet */
    char *request; /* all that is sent, a PROXY head in front */
    size_t request_len;
    struct buffer in;
    size_t taken; /* bytes of the answer so far, interim ones included */
    struct parser parser;
    struct head head;
    char reason[PROBE_REASON_MAX];
};

static void on_close(uv_handle_t *h)
{
    struct probe *p = h->data;
    assert(p->open > 0);
    if (--p->open > 0)
        return;
    struct probe_callbacks cb = p->callbacks;
    buffer_release(&p->in);
    free(p->request);
    free(p);
    cb.on_closed(cb.arg);
}

static void begin_close(struct probe *p)
{
    assert(!p->closing);
    p->closing = true;
    uv_close((uv_handle_t *)&p->stream, on_close);
    uv_close((uv_handle_t *)&p->timer, on_close);
}

__attribute__((format(printf, 3, 4))) static void
finish(struct probe *p, enum probe_outcome outcome, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(p->reason, sizeof p->reason, format, args);
    va_end(args);
    begin_close(p);
    p->callbacks.on_done(p->callbacks.arg, outcome, p->reason);
}

static unsigned long long passed_ms(const struct probe *p)
{
    return uv_now(p->timer.loop) - p->began_ms;
}

static void fail_uv(struct probe *p, int err)
{
    finish(p, conn_error_is_local(err) ? PROBE_NOT_DONE : PROBE_FAIL, "%s", uv_strerror(err));
}

/* ---- the answer ---- */

static bool status_expected(const struct config_health *h, unsigned status)
{
    for (size_t i = 0; i < h->nexpect_status; i++)
        if (status >= h->expect_status[i].from && status <= h->expect_status[i].to)
            return true;
    return false;
}

/* "200-399, 404"; cut where it does not fit. */
static void format_expected(const struct config_health *h, char *out, size_t size)
{
    size_t n = 0;
    out[0] = 0;
    for (size_t i = 0; i < h->nexpect_status && n < size; i++) {
        const struct config_range *r = &h->expect_status[i];
        const char *comma = i ? ", " : "";
        int k = r->from == r->to ? snprintf(out + n, size - n, "%s%u", comma, r->from)
                                 : snprintf(out + n, size - n, "%s%u-%u", comma, r->from, r->to);
        n += (size_t)k;
    }
}

static void judge_status(struct probe *p)
{
    unsigned status = p->head.status;
    char expected[80];
    if (status_expected(p->health, status)) {
        finish(p, PROBE_PASS, "%u in %llu ms", status, passed_ms(p));
        return;
    }
    format_expected(p->health, expected, sizeof expected);
    finish(p, PROBE_FAIL, "status %u, expected %s", status, expected);
}

/* 101 is no interim answer: what follows it is not HTTP any more. */
static bool is_interim(unsigned status)
{
    return status < 200 && status != 101;
}

static void judge_http(struct probe *p)
{
    for (;;) {
        switch (parser_execute(&p->parser, &p->head, buffer_head(&p->in), buffer_len(&p->in))) {
        case PARSE_MORE:
            return;
        case PARSE_ERROR:
            finish(p, PROBE_FAIL, "broken answer: %s", p->parser.reason);
            return;
        case PARSE_DONE:
            break;
        }
        if (!is_interim(p->head.status)) {
            judge_status(p);
            return;
        }
        buffer_consume(&p->in, p->head.size);
        if (buffer_len(&p->in) == 0)
            buffer_clear(&p->in);
        parser_init_answer(&p->parser, &p->head, HEAD_MAX);
        if (buffer_len(&p->in) == 0)
            return;
    }
}

static void judge_tcp(struct probe *p)
{
    size_t want = strlen(p->health->expect), have = buffer_len(&p->in);
    size_t n = have < want ? have : want;
    if (n > 0 && memcmp(buffer_head(&p->in), p->health->expect, n) != 0)
        finish(p, PROBE_FAIL, "answer does not begin with the expected text");
    else if (n == want)
        finish(p, PROBE_PASS, "expected answer in %llu ms", passed_ms(p));
}

static void judge_end(struct probe *p)
{
    if (p->health->check == CHECK_HTTP)
        finish(p, PROBE_FAIL, "closed before a whole head");
    else
        finish(p, PROBE_FAIL, "closed before the expected answer");
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct probe *p = h->data;
    size_t room = ANSWER_MAX - p->taken;
    *buf = uv_buf_init(NULL, 0); /* libuv then reports UV_ENOBUFS */
    if (room > READ_STEP)
        room = READ_STEP;
    if (room > 0 && buffer_reserve(&p->in, room))
        *buf = uv_buf_init(p->in.data + p->in.end, (unsigned)room);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct probe *p = s->data;
    if (p->closing || n == 0)
        return;
    if (n == UV_EOF) {
        judge_end(p);
        return;
    }
    if (n < 0 && p->taken == ANSWER_MAX) {
        finish(p, PROBE_FAIL, "no final answer in %u bytes", ANSWER_MAX);
        return;
    }
    if (n < 0) {
        fail_uv(p, (int)n);
        return;
    }
    p->in.end += (size_t)n;
    p->taken += (size_t)n;
    if (p->health->check == CHECK_HTTP)
        judge_http(p);
    else
        judge_tcp(p);
}

/* ---- the way there ---- */

static bool wants_answer(const struct probe *p)
{
    return p->health->check == CHECK_HTTP || p->health->expect != NULL;
}

static void on_written(uv_write_t *w, int status)
{
    struct probe *p = w->data;
    if (p->closing)
        return;
    if (status < 0)
        fail_uv(p, status);
    else if (!wants_answer(p))
        finish(p, PROBE_PASS, "%s in %llu ms", p->health->send ? "sent" : "connected",
               passed_ms(p));
}

static void on_connect(uv_connect_t *c, int status)
{
    struct probe *p = c->data;
    if (p->closing)
        return;
    if (status < 0) {
        fail_uv(p, status);
        return;
    }
    if (p->request_len == 0 && !wants_answer(p)) {
        finish(p, PROBE_PASS, "connected in %llu ms", passed_ms(p));
        return;
    }
    int err = 0;
    if (wants_answer(p))
        err = uv_read_start(&p->stream, on_alloc, on_read);
    if (err == 0 && p->request_len > 0) {
        uv_buf_t out = uv_buf_init(p->request, (unsigned)p->request_len);
        err = uv_write(&p->write, &p->stream, &out, 1, on_written);
    }
    if (err < 0)
        fail_uv(p, err);
}

static void on_timer(uv_timer_t *t);

/* Timers run before sockets in a turn of the loop. If something else has kept the loop busy, the
 * answer may lie there, or the server may have waited for us: so the time by which this comes late
 * is given back, and at least one look at the sockets taken. */
static void grant_delay(struct probe *p)
{
    uint64_t late = passed_ms(p) - p->timeout_ms;
    uint64_t extra = late < p->timeout_ms ? late : p->timeout_ms;
    p->late = true;
    int err = uv_timer_start(&p->timer, on_timer, extra + 1, 0);
    assert(err == 0);
    (void)err;
}

static void on_timer(uv_timer_t *t)
{
    struct probe *p = t->data;
    if (p->start_error < 0)
        fail_uv(p, p->start_error);
    else if (!p->late)
        grant_delay(p);
    else
        finish(p, PROBE_FAIL, "timed out after %llu ms", (unsigned long long)p->timeout_ms);
}

static char *http_request(const struct config_health *h, const struct server *s)
{
    static const char format[] = "GET %s HTTP/1.1\r\nHost: %s\r\n"
                                 "User-Agent: ringproxy/" RINGPROXY_VERSION "\r\n"
                                 "Connection: close\r\n\r\n";
    const char *host = h->host ? h->host : server_host(s);
    size_t size = sizeof format + strlen(h->path) + strlen(host);
    char *text = mem_zalloc(size);
    snprintf(text, size, format, h->path, host);
    return text;
}

/* The PROXY head says that the connection is the proxy's own. It goes out with what follows it, as
 * its specification asks. */
static void compose(struct probe *p, const struct probe_plan *plan)
{
    const struct config_health *h = plan->health;
    char *text = h->check == CHECK_HTTP ? http_request(h, plan->server) : NULL;
    const char *rest = text ? text : h->send ? h->send : "";
    size_t n = strlen(rest);
    p->request = mem_zalloc(PROXY_HEAD_WRITE_MAX + n);
    if (plan->head != SEND_HEAD_OFF)
        p->request_len = proxy_protocol_write_local((unsigned)plan->head, p->request);
    memcpy(p->request + p->request_len, rest, n);
    p->request_len += n;
    free(text);
}

/* The inits only fill in what is given; the socket is made by connecting. */
static void begin_connect(struct probe *p, uv_loop_t *loop, const struct addr *to)
{
    int err;
    if (addr_is_unix(to)) {
        err = uv_pipe_init(loop, &p->pipe, 0);
        assert(err == 0);
        uv_pipe_connect(&p->connect, &p->pipe, to->un.sun_path, on_connect);
    } else {
        err = uv_tcp_init(loop, &p->tcp);
        assert(err == 0);
        p->start_error = uv_tcp_connect(&p->connect, &p->tcp, &to->sa, on_connect);
    }
    (void)err;
}

struct probe *probe_start(uv_loop_t *loop, const struct probe_plan *plan, const struct addr *to,
                          const struct probe_callbacks *callbacks)
{
    assert(plan->health->check != CHECK_OFF);
    struct probe *p = mem_zalloc(sizeof *p);
    p->health = plan->health;
    p->timeout_ms = plan->timeout_ms;
    p->callbacks = *callbacks;
    compose(p, plan);
    parser_init_answer(&p->parser, &p->head, HEAD_MAX);
    uv_update_time(loop);
    p->began_ms = uv_now(loop);
    p->open = 2;
    int err = uv_timer_init(loop, &p->timer); /* only fills in what is given */
    assert(err == 0);
    begin_connect(p, loop, to);
    p->stream.data = p->timer.data = p->connect.data = p->write.data = p;
    err = uv_timer_start(&p->timer, on_timer, p->start_error < 0 ? 0 : p->timeout_ms, 0);
    assert(err == 0);
    (void)err;
    return p;
}

void probe_cancel(struct probe *p)
{
    begin_close(p);
}
