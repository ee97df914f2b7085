/* One check against backends of all manners, over real sockets on loopback. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "health/probe.h"
#include "tests/lib/fake_backend.h"
#include "tests/lib/unit.h"

#define SLOW_MS 20000 /* for what must come in time, even on a slow machine under sanitizers */

struct result {
    bool done, closed;
    enum probe_outcome outcome;
    char reason[160];
    uint64_t began_ms, done_ms;
};

static uint64_t clock_ms(void)
{
    return uv_hrtime() / 1000000;
}

static void on_done(void *arg, enum probe_outcome outcome, const char *reason)
{
    struct result *r = arg;
    ck_assert(!r->done && !r->closed);
    r->done = true;
    r->done_ms = clock_ms();
    r->outcome = outcome;
    snprintf(r->reason, sizeof r->reason, "%s", reason);
}

static void on_closed(void *arg)
{
    struct result *r = arg;
    ck_assert(!r->closed);
    r->closed = true;
}

static struct config_range ranges[] = {{200, 399}, {418, 418}};

static struct config_health http_health(void)
{
    return (struct config_health){.check = CHECK_HTTP,
                                  .path = (char *)(uintptr_t) "/healthz",
                                  .expect_status = ranges,
                                  .nexpect_status = 1,
                                  .timeout_ms = SLOW_MS};
}

static struct config_health tcp_health(const char *send, const char *expect)
{
    return (struct config_health){.check = CHECK_TCP,
                                  .send = (char *)(uintptr_t)send,
                                  .expect = (char *)(uintptr_t)expect,
                                  .send_len = send ? strlen(send) : 0,
                                  .expect_len = expect ? strlen(expect) : 0,
                                  .timeout_ms = SLOW_MS};
}

static struct deadline_queue ticks; /* of the loop of a test */

static struct probe *start_with_head(struct net *net, const struct config_health *h,
                                     enum config_send_head head, const struct fake *f,
                                     struct server *s, struct result *r)
{
    struct probe_callbacks cb = {.on_done = on_done, .on_closed = on_closed, .arg = r};
    memset(r, 0, sizeof *r);
    memset(s, 0, sizeof *s);
    s->name = (char *)(uintptr_t) "b1";
    s->address = f->address;
    s->address_text = (char *)(uintptr_t)f->address_text;
    r->began_ms = clock_ms();
    const struct probe_plan plan = {h, s, h->timeout_ms, head, &ticks};
    struct probe *p = probe_start(net, &plan, &f->address, &cb);
    ck_assert(!r->done && !r->closed);
    return p;
}

static struct probe *start(struct net *net, const struct config_health *h, const struct fake *f,
                           struct server *s, struct result *r)
{
    return start_with_head(net, h, SEND_HEAD_OFF, f, s, r);
}

static void run_until(uv_loop_t *loop, const bool *condition)
{
    while (!*condition)
        ck_assert(uv_run(loop, UV_RUN_ONCE) != 0 || *condition);
}

static void begin(uv_loop_t *loop, struct net *net)
{
    ck_assert_int_eq(uv_loop_init(loop), 0);
    net_init(net, loop);
    probe_ticks_init(&ticks, net, 2);
}

static void end_loop(uv_loop_t *loop, struct net *net)
{
    deadline_queue_deinit(&ticks);
    net_close(net);
    uv_run(loop, UV_RUN_DEFAULT);
    net_deinit(net);
    ck_assert_int_eq(uv_loop_close(loop), 0);
}

static void end(uv_loop_t *loop, struct net *net, struct fake *f)
{
    fake_close(f);
    end_loop(loop, net);
    ck_assert_uint_eq(f->open, 0);
}

/* One check of one fake; what came out. The fake keeps what it received. */
static struct result check(const struct config_health *h, enum fake_kind kind, const char *text,
                           struct fake *f, void (*on_answered)(void))
{
    uv_loop_t loop;
    struct net net;
    struct result r;
    struct server s;
    begin(&loop, &net);
    fake_open(f, &loop, kind, text);
    f->on_answered = on_answered;
    start(&net, h, f, &s, &r);
    run_until(&loop, &r.closed);
    ck_assert(r.done);
    end(&loop, &net, f);
    return r;
}

/* ---- http ---- */

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static const struct {
    const char *name;
    enum fake_kind kind;
    const char *text;
    enum probe_outcome outcome;
    const char *reason; /* how it begins */
} http_cases[] = {
    {"200", FAKE_ANSWER, OK, PROBE_PASS, "200 in "},
    {"closes", FAKE_ANSWER_CLOSE, OK, PROBE_PASS, "200 in "},
    {"before the request", FAKE_GREET, OK, PROBE_PASS, "200 in "},
    {"1.0", FAKE_ANSWER_CLOSE, "HTTP/1.0 302 Found\r\nLocation: /\r\n\r\n", PROBE_PASS, "302 in "},
    {"drip", FAKE_DRIP, "HTTP/1.1 204 \r\n\r\n", PROBE_PASS, "204 in "},
    {"interim", FAKE_ANSWER,
     "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK, PROBE_PASS,
     "200 in "},
    {"500", FAKE_ANSWER, "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", PROBE_FAIL,
     "status 500, expected 200-399"},
    {"500 after interim", FAKE_ANSWER,
     "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", PROBE_FAIL,
     "status 500, expected 200-399"},
    {"199", FAKE_ANSWER_CLOSE, "HTTP/1.1 199 Odd\r\n\r\n", PROBE_FAIL,
     "closed before a whole head"},
    {"101", FAKE_ANSWER, "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
     PROBE_FAIL, "status 101, expected"},
    {"400", FAKE_ANSWER, "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", PROBE_FAIL,
     "status 400, expected 200-399"},
    {"garbage", FAKE_ANSWER, "SSH-2.0-OpenSSH_9.2\r\n", PROBE_FAIL, "broken answer: "},
    {"zeros and lines", FAKE_ANSWER, "\n\n\n\x01\x02", PROBE_FAIL, "broken answer: "},
    {"cut", FAKE_ANSWER_CLOSE, "HTTP/1.1 200 OK\r\nContent-Le", PROBE_FAIL,
     "closed before a whole head"},
    {"nothing", FAKE_ANSWER_CLOSE, "", PROBE_FAIL, "closed before a whole head"},
    {"reset", FAKE_RESET, "", PROBE_FAIL, "connection reset by peer"},
    {"refused", FAKE_REFUSE, "", PROBE_FAIL, "connection refused"},
};

START_TEST(an_http_check_goes_by_the_final_status)
{
    struct fake f;
    struct config_health h = http_health();
    struct result r = check(&h, http_cases[_i].kind, http_cases[_i].text, &f, NULL);
    ck_assert_msg(r.outcome == http_cases[_i].outcome, "%s: %s", http_cases[_i].name, r.reason);
    size_t n = strlen(http_cases[_i].reason);
    ck_assert_msg(strncmp(r.reason, http_cases[_i].reason, n) == 0, "%s: %s", http_cases[_i].name,
                  r.reason);
}
END_TEST

START_TEST(an_http_check_sends_exactly_this)
{
    struct fake f;
    struct config_health h = http_health();
    char expected[300];
    if (_i)
        h.host = (char *)(uintptr_t) "health.example";
    check(&h, FAKE_ANSWER, OK, &f, NULL);
    snprintf(expected, sizeof expected,
             "GET /healthz HTTP/1.1\r\nHost: %s\r\nUser-Agent: ringproxy/" RINGPROXY_VERSION
             "\r\nConnection: close\r\n\r\n",
             _i ? "health.example" : f.address_text);
    ck_assert_str_eq(f.received, expected);
}
END_TEST

START_TEST(several_ranges_are_expected)
{
    struct fake f;
    struct config_health h = http_health();
    h.nexpect_status = 2;
    struct result r =
        check(&h, FAKE_ANSWER, "HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n", &f, NULL);
    ck_assert_int_eq(r.outcome, PROBE_PASS);
    r = check(&h, FAKE_ANSWER, "HTTP/1.1 419 Other\r\nContent-Length: 0\r\n\r\n", &f, NULL);
    ck_assert_int_eq(r.outcome, PROBE_FAIL);
    ck_assert_str_eq(r.reason, "status 419, expected 200-399, 418");
}
END_TEST

START_TEST(what_is_read_is_bounded)
{
    static char text[100000];
    struct fake f;
    struct config_health h = http_health();
    /* one head without an end ... */
    size_t n = (size_t)snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nX: ");
    memset(text + n, 'a', sizeof text - 1 - n);
    struct result r = check(&h, FAKE_GREET, text, &f, NULL);
    ck_assert_int_eq(r.outcome, PROBE_FAIL);
    ck_assert_msg(strncmp(r.reason, "broken answer: ", 15) == 0, "%s", r.reason);
    /* ... and interim answers without an end */
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    for (n = 0; n + sizeof interim < sizeof text; n += sizeof interim - 1)
        memcpy(text + n, interim, sizeof interim);
    r = check(&h, FAKE_GREET, text, &f, NULL);
    ck_assert_int_eq(r.outcome, PROBE_FAIL);
    ck_assert_str_eq(r.reason, "no final answer in 65536 bytes");
}
END_TEST

/* ---- the end of an answer ---- */

#define BODY_MAX 40000 /* more than is read at once, and small enough for a socket's buffer */

static void append(char *text, const char *more)
{
    strcat(text, more);
}

static void append_body(char *text, size_t n)
{
    size_t len = strlen(text);
    memset(text + len, 'x', n);
    text[len + n] = 0;
}

/* Answers with a body, whose end the framing tells or, for FAKE_ANSWER_CLOSE, the server. */
static const struct {
    enum fake_kind kind;
    const char *head;
    size_t body;
    const char *end;
} whole_cases[] = {
    {FAKE_ANSWER, "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", 10000, ""},
    {FAKE_ANSWER, "HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n", 40000, ""},
    {FAKE_ANSWER, "HTTP/1.1 503 No\r\nContent-Length: 40000\r\n\r\n", 40000, ""},
    {FAKE_ANSWER, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9c40\r\n", 40000,
     "\r\n0\r\nX: 1\r\n\r\n"},
    {FAKE_ANSWER_CLOSE, "HTTP/1.0 200 OK\r\n\r\n", 40000, ""},
    {FAKE_ANSWER, "HTTP/1.1 204 OK\r\n\r\n", 0, ""},
    {FAKE_ANSWER, "HTTP/1.1 304 OK\r\nContent-Length: 7\r\n\r\n", 0, ""},
    {FAKE_ANSWER, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nbad\n", 0, ""},
};

START_TEST(an_answer_is_read_to_its_end)
{
    static char text[BODY_MAX + 200];
    struct fake f;
    struct config_health h = http_health();
    text[0] = 0;
    append(text, whole_cases[_i].head);
    append_body(text, whole_cases[_i].body);
    append(text, whole_cases[_i].end);
    uint64_t began = clock_ms();
    struct result r = check(&h, whole_cases[_i].kind, text, &f, NULL);
    bool bad = strstr(text, " 503 ") != NULL;
    ck_assert_int_eq(r.outcome, bad ? PROBE_FAIL : PROBE_PASS);
    ck_assert_uint_eq(f.resets, 0);
    ck_assert_uint_lt(clock_ms() - began, SLOW_MS); /* it did not wait for the timeout */
}
END_TEST

START_TEST(an_answer_to_head_has_no_body)
{
    struct fake f;
    struct config_health h = http_health();
    h.head = true;
    uint64_t began = clock_ms();
    struct result r =
        check(&h, FAKE_ANSWER, "HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n", &f, NULL);
    ck_assert_int_eq(r.outcome, PROBE_PASS);
    ck_assert_int_eq(strncmp(f.received, "HEAD /healthz HTTP/1.1\r\n", 24), 0);
    ck_assert_uint_lt(clock_ms() - began, SLOW_MS);
    h.expect_status = &ranges[1];
    r = check(&h, FAKE_ANSWER, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &f, NULL);
    ck_assert_int_eq(r.outcome, PROBE_FAIL);
}
END_TEST

/* The status decides at once; the rest may take until the deadline. */
START_TEST(a_body_without_an_end_does_not_hold_up_the_result)
{
    static const char *const texts[] = {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nxx",
                                        "HTTP/1.1 200 OK\r\n\r\n"};
    uv_loop_t loop;
    struct net net;
    struct fake f;
    struct result r;
    struct server s;
    struct config_health h = http_health();
    begin(&loop, &net);
    fake_open(&f, &loop, FAKE_ANSWER, texts[_i % 2]);
    h.timeout_ms = _i < 2 ? SLOW_MS : 200;
    struct probe *p = start(&net, &h, &f, &s, &r);
    run_until(&loop, &r.done);
    ck_assert_int_eq(r.outcome, PROBE_PASS);
    ck_assert(!r.closed);
    if (_i < 2)
        probe_cancel(p);
    run_until(&loop, &r.closed);
    if (_i >= 2)
        ck_assert_uint_ge(clock_ms() - r.began_ms + 1, 200);
    end(&loop, &net, &f);
    ck_assert_uint_eq(f.resets, 0);
}
END_TEST

START_TEST(a_body_is_not_read_for_ever)
{
    static char text[200000];
    struct fake f;
    struct config_health h = http_health();
    text[0] = 0;
    append(text, "HTTP/1.1 200 OK\r\n\r\n");
    append_body(text, sizeof text - 200);
    uint64_t began = clock_ms();
    struct result r = check(&h, FAKE_ANSWER, text, &f, NULL);
    ck_assert_int_eq(r.outcome, PROBE_PASS);
    ck_assert_uint_lt(clock_ms() - began, SLOW_MS);
}
END_TEST

/* A server that greets is not reset by a check that only connects, or only sends. */
START_TEST(a_greeting_is_taken)
{
    struct fake f;
    struct config_health h = tcp_health(_i ? "QUIT\r\n" : NULL, NULL);
    struct result r = check(&h, FAKE_GREET, "220 mail.example\r\n", &f, NULL);
    ck_assert_int_eq(r.outcome, PROBE_PASS);
    ck_assert_uint_eq(f.resets, 0);
}
END_TEST

START_TEST(another_port_is_asked)
{
    uv_loop_t loop;
    struct net net;
    struct fake f, away;
    struct result r;
    struct server s = {.name = (char *)(uintptr_t) "b1"};
    struct config_health h = http_health();
    struct probe_callbacks cb = {.on_done = on_done, .on_closed = on_closed, .arg = &r};
    char expected[100];
    memset(&r, 0, sizeof r);
    begin(&loop, &net);
    fake_open(&f, &loop, FAKE_ANSWER, OK);
    fake_open(&away, &loop, FAKE_REFUSE, "");
    s.address = away.address;
    s.address_text = (char *)(uintptr_t) "b1.example:80";
    h.port = addr_port(&f.address);
    const struct probe_plan plan = {&h, &s, h.timeout_ms, SEND_HEAD_OFF, &ticks};
    probe_start(&net, &plan, &away.address, &cb);
    run_until(&loop, &r.closed);
    ck_assert_msg(r.outcome == PROBE_PASS, "%s", r.reason);
    snprintf(expected, sizeof expected, "\r\nHost: b1.example:%u\r\n", h.port);
    ck_assert_ptr_nonnull(strstr(f.received, expected));
    fake_close(&away);
    end(&loop, &net, &f);
}
END_TEST

/* ---- tcp ---- */

static const struct {
    const char *name, *send, *expect;
    enum fake_kind kind;
    const char *text;
    enum probe_outcome outcome;
    const char *reason;
} tcp_cases[] = {
    {"connects", NULL, NULL, FAKE_HANG, "", PROBE_PASS, "connected in "},
    {"refused", NULL, NULL, FAKE_REFUSE, "", PROBE_FAIL, "connection refused"},
    {"answers", "PING\r\n", "+PONG", FAKE_ANSWER, "+PONG\r\n", PROBE_PASS, "expected answer in "},
    {"exactly", "PING\r\n", "+PONG", FAKE_ANSWER_CLOSE, "+PONG", PROBE_PASS, "expected answer in "},
    {"drips", "PING\r\n", "+PONG", FAKE_DRIP, "+PONG", PROBE_PASS, "expected answer in "},
    {"greets", NULL, "220 ", FAKE_GREET, "220 mail\r\n", PROBE_PASS, "expected answer in "},
    {"only sends", "QUIT\r\n", NULL, FAKE_HANG, "", PROBE_PASS, "sent in "},
    {"another answer", "PING\r\n", "+PONG", FAKE_ANSWER, "-ERR no", PROBE_FAIL,
     "answer does not begin with the expected text"},
    {"later only", "PING\r\n", "+PONG", FAKE_ANSWER, " +PONG", PROBE_FAIL,
     "answer does not begin with the expected text"},
    {"wrong at once", "PING\r\n", "+PONG", FAKE_DRIP, "+X", PROBE_FAIL,
     "answer does not begin with the expected text"},
    {"too short", "PING\r\n", "+PONG", FAKE_ANSWER_CLOSE, "+PON", PROBE_FAIL,
     "closed before the expected answer"},
    {"reset", "PING\r\n", "+PONG", FAKE_RESET, "", PROBE_FAIL, "connection reset by peer"},
};

START_TEST(a_tcp_check_goes_by_how_the_answer_begins)
{
    struct fake f;
    struct config_health h = tcp_health(tcp_cases[_i].send, tcp_cases[_i].expect);
    struct result r = check(&h, tcp_cases[_i].kind, tcp_cases[_i].text, &f, NULL);
    ck_assert_msg(r.outcome == tcp_cases[_i].outcome, "%s: %s", tcp_cases[_i].name, r.reason);
    size_t n = strlen(tcp_cases[_i].reason);
    ck_assert_msg(strncmp(r.reason, tcp_cases[_i].reason, n) == 0, "%s: %s", tcp_cases[_i].name,
                  r.reason);
    if (tcp_cases[_i].kind == FAKE_ANSWER)
        ck_assert_str_eq(f.received, tcp_cases[_i].send);
}
END_TEST

START_TEST(a_tcp_check_takes_any_bytes)
{
    struct fake f;
    struct config_health h = tcp_health("", "a");
    static const char send[] = {0, 'a', 0, (char)0xff};
    h.send = (char *)(uintptr_t)send;
    h.send_len = sizeof send;
    struct result r = check(&h, FAKE_ANSWER, "a\xfe", &f, NULL);
    ck_assert_int_eq(r.outcome, PROBE_PASS);
    ck_assert_uint_eq(f.received_len, sizeof send);
    ck_assert_int_eq(memcmp(f.received, send, sizeof send), 0);
    h.expect = (char *)(uintptr_t) "a\0b"; /* the fake's answer ends where a text does */
    h.expect_len = 3;
    r = check(&h, FAKE_ANSWER_CLOSE, "a", &f, NULL);
    ck_assert_str_eq(r.reason, "closed before the expected answer");
    r = check(&h, FAKE_ANSWER, "ab", &f, NULL);
    ck_assert_str_eq(r.reason, "answer does not begin with the expected text");
}
END_TEST

/* ---- PROXY heads ---- */

#define V1_HEAD "PROXY UNKNOWN\r\n"
#define V2_HEAD "\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"

static const struct {
    enum config_send_head head;
    enum config_check check;
    const char *send, *expect, *answer;
    const char *reason; /* how it begins */
} head_cases[] = {
    {SEND_HEAD_V1, CHECK_TCP, NULL, NULL, "", "connected in "},
    {SEND_HEAD_V2, CHECK_TCP, NULL, NULL, "", "connected in "},
    {SEND_HEAD_V1, CHECK_TCP, "QUIT\r\n", NULL, "", "sent in "},
    {SEND_HEAD_V2, CHECK_TCP, "PING\r\n", "+PONG", "+PONG\r\n", "expected answer in "},
    {SEND_HEAD_V2, CHECK_TCP, NULL, "220 ", "220 mail\r\n", "expected answer in "},
    {SEND_HEAD_V1, CHECK_HTTP, NULL, NULL, OK, "200 in "},
    {SEND_HEAD_V2, CHECK_HTTP, NULL, NULL, OK, "200 in "},
};

/* Until all that it sent has come, and its end. */
static void take_all(uv_loop_t *loop, struct fake *f, const struct result *r)
{
    run_until(loop, &r->closed);
    while (f->accepted == 0 || f->open > 0)
        uv_run(loop, UV_RUN_ONCE);
}

START_TEST(a_check_sends_a_head_of_its_own_first)
{
    uv_loop_t loop;
    struct net net;
    struct fake f;
    struct result r;
    struct server s;
    struct config_health h = http_health();
    char expected[300];
    bool v2 = head_cases[_i].head == SEND_HEAD_V2;
    size_t n = v2 ? sizeof V2_HEAD - 1 : sizeof V1_HEAD - 1;
    if (head_cases[_i].check == CHECK_TCP)
        h = tcp_health(head_cases[_i].send, head_cases[_i].expect);
    begin(&loop, &net);
    fake_open(&f, &loop, FAKE_ANSWER, head_cases[_i].answer);
    start_with_head(&net, &h, head_cases[_i].head, &f, &s, &r);
    take_all(&loop, &f, &r);
    ck_assert_msg(r.outcome == PROBE_PASS, "%s", r.reason);
    ck_assert_int_eq(strncmp(r.reason, head_cases[_i].reason, strlen(head_cases[_i].reason)), 0);
    memcpy(expected, v2 ? V2_HEAD : V1_HEAD, n);
    int rest = snprintf(expected + n, sizeof expected - n, "%s",
                        head_cases[_i].send ? head_cases[_i].send : "");
    if (h.check == CHECK_HTTP)
        rest =
            snprintf(expected + n, sizeof expected - n,
                     "GET /healthz HTTP/1.1\r\nHost: %s\r\nUser-Agent: ringproxy/" RINGPROXY_VERSION
                     "\r\nConnection: close\r\n\r\n",
                     f.address_text);
    ck_assert_uint_eq(f.received_len, n + (size_t)rest);
    ck_assert_int_eq(memcmp(f.received, expected, f.received_len), 0);
    end(&loop, &net, &f);
}
END_TEST

/* ---- unix ---- */

static struct result check_unix(const struct config_health *h, enum fake_kind kind,
                                const char *text, struct fake *f)
{
    uv_loop_t loop;
    struct net net;
    struct result r;
    struct server s;
    char address[64];
    snprintf(address, sizeof address, "unix:/tmp/test_probe.%d", (int)getpid());
    begin(&loop, &net);
    fake_open_unix(f, &loop, kind, text, address);
    start(&net, h, f, &s, &r);
    run_until(&loop, &r.closed);
    ck_assert(r.done);
    end(&loop, &net, f);
    return r;
}

START_TEST(a_unix_address_is_checked_as_any_other)
{
    struct fake f;
    struct config_health http = http_health(), tcp = tcp_health("PING\r\n", "+PONG");
    struct result r = check_unix(&http, FAKE_ANSWER, OK, &f);
    ck_assert_msg(r.outcome == PROBE_PASS && strncmp(r.reason, "200 in ", 7) == 0, "%s", r.reason);
    ck_assert_ptr_nonnull(strstr(f.received, "\r\nHost: localhost\r\n"));
    r = check_unix(&tcp, FAKE_DRIP, "+PONG\r\n", &f);
    ck_assert_msg(r.outcome == PROBE_PASS, "%s", r.reason);
    r = check_unix(&tcp, FAKE_REFUSE, "", &f);
    ck_assert_int_eq(r.outcome, PROBE_FAIL);
    ck_assert_str_eq(r.reason, "connection refused");
    tcp.timeout_ms = 100;
    r = check_unix(&tcp, FAKE_HANG, "", &f);
    ck_assert_int_eq(r.outcome, PROBE_FAIL);
    ck_assert_str_eq(r.reason, "timed out after 100 ms");
}
END_TEST

START_TEST(a_unix_address_that_is_not_there_fails)
{
    uv_loop_t loop;
    struct net net;
    struct result r;
    struct server s;
    struct fake f = {.address_text = "unix:/nonexistent/s"};
    struct config_health h = tcp_health(NULL, NULL);
    ck_assert_int_eq(addr_parse(str_of(f.address_text), &f.address), ADDR_OK);
    begin(&loop, &net);
    start(&net, &h, &f, &s, &r);
    run_until(&loop, &r.closed);
    ck_assert_int_eq(r.outcome, PROBE_FAIL);
    ck_assert_str_eq(r.reason, "no such file or directory");
    end_loop(&loop, &net);
}
END_TEST

/* ---- deadlines, cancelling, and this host's own troubles ---- */

static const struct {
    enum fake_kind kind;
    const char *text;
} slow_cases[] = {
    {FAKE_HANG, ""},
    {FAKE_ANSWER, "HTTP/1.1 200 OK\r\n"},
    {FAKE_ANSWER, "HTTP/1.1 100 Continue\r\n\r\n"},
    {FAKE_DRIP,
     "HTTP/1.1 200 OK\r\nX-Padding: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"},
};

START_TEST(one_deadline_holds_over_all_of_it)
{
    struct fake f;
    struct config_health h = http_health();
    h.timeout_ms = 100;
    struct result r = check(&h, slow_cases[_i].kind, slow_cases[_i].text, &f, NULL);
    ck_assert_int_eq(r.outcome, PROBE_FAIL);
    ck_assert_str_eq(r.reason, "timed out after 100 ms");
    ck_assert_uint_ge(r.done_ms - r.began_ms + 1, 100);
    ck_assert_uint_lt(r.done_ms - r.began_ms, 100 + SLOW_MS);
}
END_TEST

static void busy(uint64_t ms)
{
    uint64_t until = clock_ms() + ms;
    while (clock_ms() < until)
        ;
}

static void keep_the_loop_busy(void)
{
    busy(300);
}

START_TEST(an_answer_in_time_counts_though_the_loop_was_late)
{
    struct fake f;
    struct config_health h = http_health();
    h.timeout_ms = 250;
    struct result r = check(&h, FAKE_GREET, OK, &f, keep_the_loop_busy);
    ck_assert_msg(r.outcome == PROBE_PASS, "%s", r.reason);
}
END_TEST

START_TEST(time_in_which_the_loop_was_kept_busy_is_given_back)
{
    /* Late by 300 ms before it could even see that it is connected; the answer takes 20 more. */
    uv_loop_t loop;
    struct net net;
    struct fake f;
    struct result r;
    struct server s;
    struct config_health h = tcp_health("?", "!");
    h.timeout_ms = 300;
    begin(&loop, &net);
    fake_open(&f, &loop, FAKE_DRIP, "!");
    start(&net, &h, &f, &s, &r);
    busy(600);
    run_until(&loop, &r.closed);
    ck_assert_msg(r.outcome == PROBE_PASS, "%s", r.reason);
    end(&loop, &net, &f);
}
END_TEST

/* Cancelled after so many turns of the loop: while it connects, writes, reads, drips. */
START_TEST(after_a_cancel_only_the_close_is_told)
{
    uv_loop_t loop;
    struct net net;
    struct fake f;
    struct result r;
    struct server s;
    struct config_health h = http_health();
    begin(&loop, &net);
    fake_open(&f, &loop, FAKE_DRIP, "HTTP/1.1 200 OK\r\n\r\n");
    struct probe *p = start(&net, &h, &f, &s, &r);
    for (int i = 0; i < _i && !r.done; i++)
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert(!r.done);
    probe_cancel(p);
    run_until(&loop, &r.closed);
    ck_assert(!r.done);
    end(&loop, &net, &f);
}
END_TEST

START_TEST(no_descriptors_here_says_nothing_about_the_server)
{
    uv_loop_t loop;
    struct net net;
    struct fake f;
    struct result r;
    struct server s;
    struct config_health h = http_health();
    struct rlimit old, none;
    begin(&loop, &net);
    fake_open(&f, &loop, FAKE_ANSWER, OK);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = (struct rlimit){0, old.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    start(&net, &h, &f, &s, &r);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    run_until(&loop, &r.closed);
    ck_assert_int_eq(r.outcome, PROBE_NOT_DONE);
    ck_assert_str_eq(r.reason, "too many open files");
    end(&loop, &net, &f);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("probe");
    TCase *t = tcase_create("probe");
    tcase_set_timeout(t, 100);
    tcase_add_loop_test(t, an_http_check_goes_by_the_final_status, 0,
                        sizeof http_cases / sizeof *http_cases);
    tcase_add_loop_test(t, an_http_check_sends_exactly_this, 0, 2);
    tcase_add_test(t, several_ranges_are_expected);
    tcase_add_test(t, what_is_read_is_bounded);
    tcase_add_loop_test(t, an_answer_is_read_to_its_end, 0,
                        sizeof whole_cases / sizeof *whole_cases);
    tcase_add_test(t, an_answer_to_head_has_no_body);
    tcase_add_loop_test(t, a_body_without_an_end_does_not_hold_up_the_result, 0, 4);
    tcase_add_test(t, a_body_is_not_read_for_ever);
    tcase_add_loop_test(t, a_greeting_is_taken, 0, 2);
    tcase_add_test(t, another_port_is_asked);
    tcase_add_test(t, a_tcp_check_takes_any_bytes);
    tcase_add_loop_test(t, a_tcp_check_goes_by_how_the_answer_begins, 0,
                        sizeof tcp_cases / sizeof *tcp_cases);
    tcase_add_loop_test(t, a_check_sends_a_head_of_its_own_first, 0,
                        sizeof head_cases / sizeof *head_cases);
    tcase_add_test(t, a_unix_address_is_checked_as_any_other);
    tcase_add_test(t, a_unix_address_that_is_not_there_fails);
    tcase_add_loop_test(t, one_deadline_holds_over_all_of_it, 0,
                        sizeof slow_cases / sizeof *slow_cases);
    tcase_add_test(t, an_answer_in_time_counts_though_the_loop_was_late);
    tcase_add_test(t, time_in_which_the_loop_was_kept_busy_is_given_back);
    tcase_add_loop_test(t, after_a_cancel_only_the_close_is_told, 0, 9);
    tcase_add_test(t, no_descriptors_here_says_nothing_about_the_server);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
