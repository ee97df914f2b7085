/* The course of a probe; each arrow is a callback:
 *
 *   probe_start -> on_connected -.-> passed (tcp without send, expect and PROXY head)
 *        |                       |-> all is written -> passed (tcp without expect)
 *        |                       `-> on_read ... -> passed or failed by the answer
 *        `-> on_timer: the deadline, or an error that connecting gave at once
 *
 * Each of them ends in finish(), which closes the conn and the timer and then reports the result.
 * closed_one() frees the probe when both are closed. */
#include "health/probe.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/parser.h"
#include "net/proxy_protocol.h"

#define HEAD_MAX 16384u
/* The most that is read in all, as interim answers could go on for ever. */
#define ANSWER_MAX 65536u

struct probe {
    struct conn conn;
    struct conn_room room;
    uv_timer_t timer;
    const struct config_health *health;
    uint64_t timeout_ms;
    struct probe_callbacks callbacks;
    uint64_t began_ms;
    int start_error; /* the error that conn_connect() gave, which the timer reports */
    bool late;       /* the deadline is over, see grant_delay() */
    bool closing;
    unsigned open; /* how many of conn and timer are not closed yet */
    char *request; /* all that is sent, beginning with the PROXY head */
    size_t request_len;
    size_t taken; /* bytes of interim answers so far */
    struct parser parser;
    struct head head;
    char reason[PROBE_REASON_MAX];
};

static struct probe *of(struct conn *c)
{
    return container_of(c, struct probe, conn);
}

static void closed_one(struct probe *p)
{
    assert(p->open > 0);
    if (--p->open > 0)
        return;
    struct probe_callbacks cb = p->callbacks;
    free(p->request);
    free(p);
    cb.on_closed(cb.arg);
}

static void on_conn_closed(struct conn *c)
{
    closed_one(of(c));
}

static void on_timer_closed(uv_handle_t *h)
{
    closed_one(h->data);
}

static void begin_close(struct probe *p)
{
    assert(!p->closing);
    p->closing = true;
    conn_close(&p->conn, on_conn_closed);
    uv_close((uv_handle_t *)&p->timer, on_timer_closed);
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

/* 101 counts as a final answer: what follows it is not HTTP any more. */
static bool is_interim(unsigned status)
{
    return status < 200 && status != 101;
}

/* Returns how many bytes were an interim answer, complete now; else 0. */
static size_t judge_http(struct probe *p, char *data, size_t len)
{
    switch (parser_execute(&p->parser, &p->head, data, len)) {
    case PARSE_MORE:
        return 0;
    case PARSE_ERROR:
        finish(p, PROBE_FAIL, "broken answer: %s", p->parser.reason);
        return 0;
    case PARSE_DONE:
        break;
    }
    size_t size = p->head.size;
    if (is_interim(p->head.status))
        parser_init_answer(&p->parser, &p->head, HEAD_MAX);
    else
        judge_status(p);
    return size;
}

static void judge_tcp(struct probe *p, const char *data, size_t len)
{
    size_t want = strlen(p->health->expect);
    size_t n = len < want ? len : want;
    if (memcmp(data, p->health->expect, n) != 0)
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

/* Bytes that do not decide the probe yet are not taken: the conn keeps them, and offers them again
 * with the next ones. */
static size_t on_read(struct conn *c, char *data, size_t len)
{
    struct probe *p = of(c);
    size_t used = 0, room = ANSWER_MAX - p->taken, n = len < room ? len : room;
    if (n && p->health->check == CHECK_HTTP)
        used = judge_http(p, data, n);
    else if (n)
        judge_tcp(p, data, n);
    p->taken += used;
    if (!p->closing && used == 0 && n < len)
        finish(p, PROBE_FAIL, "no final answer in %u bytes", ANSWER_MAX);
    return used;
}

static void on_eof(struct conn *c)
{
    judge_end(of(c));
}

static void on_error(struct conn *c, int uv_error)
{
    fail_uv(of(c), uv_error);
}

/* ---- connecting and sending ---- */

static bool wants_answer(const struct probe *p)
{
    return p->health->check == CHECK_HTTP || p->health->expect != NULL;
}

/* If no answer is expected, the probe passes when all is written. */
static void maybe_sent(struct probe *p)
{
    if (wants_answer(p) || conn_queued(&p->conn))
        return;
    finish(p, PROBE_PASS, "%s in %llu ms", p->health->send ? "sent" : "connected", passed_ms(p));
}

static void on_drain(struct conn *c)
{
    maybe_sent(of(c));
}

static void on_connected(struct conn *c)
{
    struct probe *p = of(c);
    int err = wants_answer(p) ? conn_start(c) : 0;
    if (err == 0 && p->request_len > 0) {
        uv_buf_t out = uv_buf_init(p->request, (unsigned)p->request_len);
        err = conn_write(c, &out, 1, NULL);
    }
    if (err < 0)
        fail_uv(p, err);
    else
        maybe_sent(p);
}

static const struct conn_ops probe_ops = {
    .on_read = on_read,
    .on_eof = on_eof,
    .on_error = on_error,
    .on_drain = on_drain,
    .on_connected = on_connected,
};

static void on_timer(uv_timer_t *t);

/* Timers run before sockets in a turn of the loop. If something else has kept the loop busy, the
 * answer may have come already, or the server may have waited for this proxy. So the probe gets the
 * time by which the timer came late, at least 1 ms, in which the loop polls the sockets once. */
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

/* The PROXY head says that the connection is the proxy's own. It goes out in one write with what
 * follows it, as its specification asks. */
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

struct probe *probe_start(struct net *net, const struct probe_plan *plan, const struct addr *to,
                          const struct probe_callbacks *callbacks)
{
    assert(plan->health->check != CHECK_OFF);
    struct probe *p = mem_zalloc(sizeof *p);
    p->health = plan->health;
    p->timeout_ms = plan->timeout_ms;
    p->callbacks = *callbacks;
    compose(p, plan);
    parser_init_answer(&p->parser, &p->head, HEAD_MAX);
    uv_update_time(net->loop);
    p->began_ms = uv_now(net->loop);
    p->open = 2;
    int err = uv_timer_init(net->loop, &p->timer); /* it has no way to fail */
    assert(err == 0);
    p->timer.data = p;
    p->start_error = conn_connect(&p->conn, net, &probe_ops, to, &p->room);
    p->conn.in_limit = ANSWER_MAX + 1; /* so that an answer that is too long is seen */
    err = uv_timer_start(&p->timer, on_timer, p->start_error < 0 ? 0 : p->timeout_ms, 0);
    assert(err == 0);
    (void)err;
    return p;
}

void probe_cancel(struct probe *p)
{
    begin_close(p);
}
