/* The course of a probe:
 *
 *   probe_start -> SEND -> LOOK -> WAIT     something is sent: the answer, or that all is written
 *        |                                  decides, in any of these steps
 *        |-> WAIT                           nothing is sent: being connected decides, or the answer
 *        `-> FAILED                         connecting gave an error at once
 *
 *   tell() -> the rest of the answer, or a greeting (LEAVE) -> begin_close()
 *
 * Most servers answer within a few milliseconds, and to have the loop tell of each step costs more
 * than the step. So in SEND and LOOK the probe lets a tick pass, acts, and takes up the loop's help
 * (conn_start()) only if that came too early. Ticks are the same for all probes, so that one waking
 * of the loop serves several.
 *
 * The result is told as soon as it is certain. Then the answer is read to its end, and its end is
 * awaited, since a connection that is closed with bytes unread is reset, which servers log as an
 * error: of http by its framing, of tcp to the end of the connection, which is half closed for
 * that. Behind a check that reads no answer a tick is waited for a server that greets. */
#include "health/probe.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/framing.h"
#include "http/parser.h"
#include "net/proxy_protocol.h"

#define HEAD_MAX 16384u
/* The most that is read in all, as answers could go on for ever. */
#define ANSWER_MAX 65536u
/* With a shorter timeout no time is spent on ticks. */
#define LEAST_TICKS 10
/* Ticks of at least this are those of a pool with many checks, see checker.c. */
#define SHARED_TICK_MS 8
#define MAX_LOOKS 4
/* Where there are none: how long a greeting is waited for. */
#define GREETING_MS 4
/* Room for a host of the configuration, or an address with another port. */
#define HOST_MAX 512u

enum step {
    STEP_FAILED, /* start_error is to be told */
    STEP_SEND,   /* the connection should be there next tick: then to send */
    STEP_LOOK,   /* the answer should be there next tick: then to read */
    STEP_WAIT,   /* the loop tells of the connection; the timer is the deadline */
    STEP_LEAVE,  /* told, and no answer is read: next tick to close */
};

struct probe {
    struct conn conn;
    struct conn_room room;
    uv_timer_t timer;
    const struct config_health *health;
    uint64_t timeout_ms;
    struct deadline_queue *ticks; /* NULL: the timeout is too short for them */
    struct deadline tick;
    struct probe_callbacks callbacks;
    uint64_t began_ms;
    enum step step;
    int start_error; /* the error that connecting gave at once */
    unsigned looks;  /* for the answer, so far */
    bool late;       /* the deadline is over, see grant_delay() */
    bool told;       /* on_done was called */
    bool closing;
    unsigned open; /* how many of conn and timer are not closed yet */
    char *request; /* all that is sent, beginning with the PROXY head */
    size_t request_len;
    size_t taken; /* bytes of the answer so far, those that the conn keeps aside */
    struct parser parser;
    struct head head;
    struct framing rest; /* once the result was told: where the answer ends */
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
    framing_deinit(&p->rest);
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
    if (p->closing)
        return;
    p->closing = true;
    deadline_cancel(&p->tick);
    conn_close(&p->conn, on_conn_closed);
    uv_close((uv_handle_t *)&p->timer, on_timer_closed);
}

/* Reports the result; the owner may cancel the probe in it. */
__attribute__((format(printf, 3, 4))) static void tell(struct probe *p, enum probe_outcome outcome,
                                                       const char *format, ...)
{
    va_list args;
    assert(!p->told && !p->closing);
    p->told = true;
    va_start(args, format);
    vsnprintf(p->reason, sizeof p->reason, format, args);
    va_end(args);
    p->callbacks.on_done(p->callbacks.arg, outcome, p->reason);
}

static unsigned long long passed_ms(const struct probe *p)
{
    return uv_now(p->timer.loop) - p->began_ms;
}

static void fail_uv(struct probe *p, int err)
{
    if (!p->told)
        tell(p, conn_error_is_local(err) ? PROBE_NOT_DONE : PROBE_FAIL, "%s", uv_strerror(err));
    begin_close(p);
}

/* ---- time ---- */

static void on_timer(uv_timer_t *t);

static void start_timer(struct probe *p, uint64_t ms)
{
    int err = uv_timer_start(&p->timer, on_timer, ms, 0);
    assert(err == 0); /* it fails for a closing handle alone */
    (void)err;
}

static void await_tick(struct probe *p, enum step step)
{
    p->step = step;
    if (p->ticks)
        deadline_arm(p->ticks, &p->tick);
    else
        start_timer(p, GREETING_MS);
}

static void await_deadline(struct probe *p)
{
    uint64_t passed = passed_ms(p);
    p->step = STEP_WAIT;
    start_timer(p, passed < p->timeout_ms ? p->timeout_ms - passed : 0);
}

/* ---- the end of the answer ---- */

/* From here on on_read() only looks for the end. tcp has no framing: the server is told that it may
 * close. */
static void read_rest(struct probe *p)
{
    bool http = p->health->check == CHECK_HTTP;
    enum body_kind kind = http ? framing_of_answer(&p->head, p->health->head) : BODY_CLOSE;
    if (p->closing)
        return;
    framing_init(&p->rest, kind, p->head.content_length, HEAD_MAX);
    if (kind == BODY_NONE || (!http && conn_shutdown(&p->conn) < 0))
        begin_close(p);
}

/* Without a waking of its own for it: a server that greets does so at once. */
static void leave(struct probe *p)
{
    if (p->closing)
        return;
    framing_init(&p->rest, BODY_CLOSE, 0, 0);
    await_tick(p, STEP_LEAVE);
}

static size_t take_rest(struct probe *p, char *data, size_t len)
{
    size_t used, payload;
    enum framing_result result = framing_decode(&p->rest, data, len, &used, &payload);
    p->taken += used;
    if (result != FRAMING_MORE || p->taken >= ANSWER_MAX)
        begin_close(p);
    return used;
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
        tell(p, PROBE_PASS, "%u in %llu ms", status, passed_ms(p));
        return;
    }
    format_expected(p->health, expected, sizeof expected);
    tell(p, PROBE_FAIL, "status %u, expected %s", status, expected);
}

static void fail(struct probe *p, const char *reason)
{
    tell(p, PROBE_FAIL, "%s", reason);
    begin_close(p);
}

/* 101 counts as a final answer: what follows it is not HTTP any more. */
static bool is_interim(unsigned status)
{
    return status < 200 && status != 101;
}

/* Returns how many bytes were a head, complete now; else 0. */
static size_t judge_http(struct probe *p, char *data, size_t len)
{
    switch (parser_execute(&p->parser, &p->head, data, len)) {
    case PARSE_MORE:
        return 0;
    case PARSE_ERROR:
        tell(p, PROBE_FAIL, "broken answer: %s", p->parser.reason);
        begin_close(p);
        return 0;
    case PARSE_DONE:
        break;
    }
    size_t size = p->head.size;
    if (is_interim(p->head.status)) {
        parser_init_answer(&p->parser, &p->head, HEAD_MAX);
    } else {
        judge_status(p);
        read_rest(p);
    }
    return size;
}

/* Returns how many bytes have decided it; 0: more are needed. */
static size_t judge_tcp(struct probe *p, const char *data, size_t len)
{
    size_t want = p->health->expect_len;
    size_t n = len < want ? len : want;
    if (memcmp(data, p->health->expect, n) != 0)
        tell(p, PROBE_FAIL, "answer does not begin with the expected text");
    else if (n == want)
        tell(p, PROBE_PASS, "expected answer in %llu ms", passed_ms(p));
    else
        return 0;
    read_rest(p);
    return n;
}

/* Bytes that do not decide the probe yet are not taken: the conn keeps them, and offers them again
 * with the next ones. */
static size_t on_read(struct conn *c, char *data, size_t len)
{
    struct probe *p = of(c);
    if (p->told)
        return take_rest(p, data, len);
    size_t used = 0, room = ANSWER_MAX - p->taken, n = len < room ? len : room;
    if (n && p->health->check == CHECK_HTTP)
        used = judge_http(p, data, n);
    else if (n)
        used = judge_tcp(p, data, n);
    p->taken += used;
    if (!p->told && used == 0 && n < len) {
        tell(p, PROBE_FAIL, "no final answer in %u bytes", ANSWER_MAX);
        begin_close(p);
    }
    return used;
}

static void on_eof(struct conn *c)
{
    struct probe *p = of(c);
    if (p->told)
        begin_close(p);
    else
        fail(p, p->health->check == CHECK_HTTP ? "closed before a whole head"
                                               : "closed before the expected answer");
}

static void on_error(struct conn *c, int uv_error)
{
    fail_uv(of(c), uv_error);
}

/* ---- connecting and sending ---- */

/* If no answer is expected, the probe passes when all is written. */
static void pass_unread(struct probe *p)
{
    tell(p, PROBE_PASS, "%s in %llu ms", p->health->send ? "sent" : "connected", passed_ms(p));
    leave(p);
}

static void maybe_sent(struct probe *p)
{
    if (!config_health_reads_answer(p->health) && conn_queued(&p->conn) == 0)
        pass_unread(p);
}

static void on_drain(struct conn *c)
{
    maybe_sent(of(c));
}

static int send_request(struct probe *p)
{
    uv_buf_t out = uv_buf_init(p->request, (unsigned)p->request_len);
    return p->request_len ? conn_write(&p->conn, &out, 1, NULL) : 0;
}

/* Whoever does not read does not begin to: the bytes are left to leave(). */
static int start_reading(struct probe *p)
{
    return config_health_reads_answer(p->health) ? conn_start(&p->conn) : 0;
}

static void on_connected(struct conn *c)
{
    struct probe *p = of(c);
    int err = start_reading(p);
    if (err == 0)
        err = send_request(p);
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

/* What the connection does not take at once waits for it, with the loop's help. */
static int send_now(struct probe *p)
{
    int err = send_request(p);
    if (err < 0)
        return err;
    if (conn_queued(&p->conn)) {
        await_deadline(p);
        return start_reading(p);
    }
    await_tick(p, STEP_LOOK);
    return 0;
}

/* One more look costs less than the loop's help if the waking for it is shared. */
static bool may_look_again(struct probe *p)
{
    p->looks++;
    return p->looks < MAX_LOOKS && p->ticks->duration_ms >= SHARED_TICK_MS &&
           conn_pending(&p->conn) == 0;
}

static void look_now(struct probe *p)
{
    if (!config_health_reads_answer(p->health)) {
        pass_unread(p);
        return;
    }
    conn_read_now(&p->conn);
    if (p->closing)
        return;
    if (may_look_again(p)) {
        await_tick(p, STEP_LOOK);
        return;
    }
    await_deadline(p);
    int err = conn_start(&p->conn);
    if (err < 0)
        fail_uv(p, err);
}

/* Timers run before sockets in a turn of the loop. If something else has kept the loop busy, the
 * answer may have come already, or the server may have waited for this proxy. So the probe gets the
 * time by which the timer came late, at least 1 ms, in which the loop polls the sockets once. */
static void grant_delay(struct probe *p)
{
    uint64_t late = passed_ms(p) - p->timeout_ms;
    uint64_t extra = late < p->timeout_ms ? late : p->timeout_ms;
    p->late = true;
    start_timer(p, extra + 1);
}

static void on_deadline(struct probe *p)
{
    if (p->told) {
        begin_close(p);
    } else if (!p->late) {
        grant_delay(p);
    } else {
        tell(p, PROBE_FAIL, "timed out after %llu ms", (unsigned long long)p->timeout_ms);
        begin_close(p);
    }
}

static void act(struct probe *p)
{
    int err;
    switch (p->step) {
    case STEP_FAILED:
        fail_uv(p, p->start_error);
        break;
    case STEP_SEND:
        err = send_now(p);
        if (err < 0)
            fail_uv(p, err);
        break;
    case STEP_LOOK:
        look_now(p);
        break;
    case STEP_WAIT:
        on_deadline(p);
        break;
    case STEP_LEAVE:
        conn_read_now(&p->conn);
        begin_close(p);
        break;
    }
}

static void on_timer(uv_timer_t *t)
{
    act(t->data);
}

static void on_tick(struct deadline *d)
{
    act(container_of(d, struct probe, tick));
}

void probe_ticks_init(struct deadline_queue *ticks, struct net *net, uint64_t tick_ms)
{
    deadline_queue_init(ticks, &net->clock, tick_ms, on_tick);
}

/* The Host field: who is asked, with the port that is asked. */
static void format_host(const struct config_health *h, const struct server *s, char *out,
                        size_t size)
{
    const char *host = h->host ? h->host : server_host(s);
    struct str name = addr_host(s->address_text);
    if (h->host || h->port == 0)
        snprintf(out, size, "%s", host);
    else
        snprintf(out, size, "%.*s:%u", (int)name.n, name.p, h->port);
}

static char *http_request(const struct config_health *h, const struct server *s)
{
    static const char format[] = "%s %s HTTP/1.1\r\nHost: %s\r\n"
                                 "User-Agent: ringproxy/" RINGPROXY_VERSION "\r\n"
                                 "Connection: close\r\n\r\n";
    char host[HOST_MAX];
    format_host(h, s, host, sizeof host);
    size_t size = sizeof format + strlen(h->path) + strlen(host);
    char *text = mem_zalloc(size);
    snprintf(text, size, format, h->head ? "HEAD" : "GET", h->path, host);
    return text;
}

/* The PROXY head says that the connection is the proxy's own. It goes out in one write with what
 * follows it, as its specification asks. */
static void compose(struct probe *p, const struct probe_plan *plan)
{
    const struct config_health *h = plan->health;
    char *text = h->check == CHECK_HTTP ? http_request(h, plan->server) : NULL;
    const char *rest = text ? text : h->send ? h->send : "";
    size_t n = text ? strlen(text) : h->send_len;
    p->request = mem_zalloc(PROXY_HEAD_WRITE_MAX + n);
    if (plan->head != SEND_HEAD_OFF)
        p->request_len = proxy_protocol_write_local((unsigned)plan->head, p->request);
    memcpy(p->request + p->request_len, rest, n);
    p->request_len += n;
    free(text);
}

/* To connect within this host takes no time, so what is sent can follow at once. */
static int open_now(struct probe *p, struct net *net, const struct addr *to)
{
    int err = conn_open(&p->conn, net, &probe_ops, to);
    if (err < 0)
        return err;
    if (addr_is_loopback(to))
        return send_now(p);
    await_tick(p, STEP_SEND);
    return 0;
}

static int connect_waiting(struct probe *p, struct net *net, const struct addr *to)
{
    await_deadline(p);
    return conn_connect(&p->conn, net, &probe_ops, to, &p->room);
}

/* By ticks if there is something to send, or else with the loop's help. */
static void begin_connect(struct probe *p, struct net *net, const struct addr *to)
{
    bool ticked = p->ticks && p->request_len && conn_can_open(net);
    p->start_error = ticked ? open_now(p, net, to) : connect_waiting(p, net, to);
    p->conn.in_limit = ANSWER_MAX + 1; /* so that an answer that is too long is seen */
    if (p->start_error < 0) {
        p->step = STEP_FAILED;
        start_timer(p, 0);
    }
}

struct probe *probe_start(struct net *net, const struct probe_plan *plan, const struct addr *to,
                          const struct probe_callbacks *callbacks)
{
    assert(plan->health->check != CHECK_OFF);
    struct probe *p = mem_zalloc(sizeof *p);
    struct addr asked = *to;
    if (plan->health->port)
        addr_set_port(&asked, (uint16_t)plan->health->port);
    p->health = plan->health;
    p->timeout_ms = plan->timeout_ms;
    if (p->timeout_ms >= LEAST_TICKS * plan->ticks->duration_ms)
        p->ticks = plan->ticks;
    deadline_init(&p->tick);
    p->callbacks = *callbacks;
    compose(p, plan);
    parser_init_answer(&p->parser, &p->head, HEAD_MAX);
    uv_update_time(net->loop);
    p->began_ms = uv_now(net->loop);
    p->open = 2;
    int err = uv_timer_init(net->loop, &p->timer); /* it has no way to fail */
    assert(err == 0);
    (void)err;
    p->timer.data = p;
    begin_connect(p, net, &asked);
    return p;
}

void probe_cancel(struct probe *p)
{
    begin_close(p);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_bytes(const char *a, size_t a_len, const char *b, size_t b_len)
{
    return (a == NULL) == (b == NULL) && a_len == b_len && (a_len == 0 || !memcmp(a, b, a_len));
}

static bool same_ranges(const struct config_range *a, size_t na, const struct config_range *b,
                        size_t nb)
{
    for (size_t i = 0; i < na && na == nb; i++)
        if (a[i].from != b[i].from || a[i].to != b[i].to)
            return false;
    return na == nb;
}

bool probe_same(const struct config_pool *a, const struct config_pool *b)
{
    const struct config_health *h = &a->health, *k = &b->health;
    return a->send_head == b->send_head && h->check == k->check && h->port == k->port &&
           h->timeout_ms == k->timeout_ms && h->head == k->head && same_text(h->path, k->path) &&
           same_text(h->host, k->host) &&
           same_ranges(h->expect_status, h->nexpect_status, k->expect_status, k->nexpect_status) &&
           same_bytes(h->send, h->send_len, k->send, k->send_len) &&
           same_bytes(h->expect, h->expect_len, k->expect, k->expect_len);
}
