#include "httpd/httpd.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/talk.h"
#include "tests/lib/unit.h"

#define BIG (3 * 1024 * 1024)

/* How a body is fed, in pieces from the end of what went before to BIG. */
struct feeding {
    enum httpd_content content;
    size_t piece, fed;
    bool by_hand; /* the test feeds it */
};

/* A server whose handler says what it got, and does something else on some paths. */
struct fixture {
    uv_loop_t loop;
    struct net net;
    uv_timer_t late;
    struct httpd *server;
    unsigned handled, refused, admitted;
    bool close_in_handler, closed;
    char *big;
    struct httpd_request *kept; /* the last one that was */
    unsigned ended, gone;       /* kept requests that ended, the whole answer sent or not */
    struct buffer text;         /* of /delay */
    struct feeding feeding;
    int status; /* of /feed; 0: 200 */
    int refused_with;
};

static void on_closed(void *arg)
{
    struct fixture *f = arg;
    f->closed = true;
    net_close(&f->net);
}

static bool tell(struct buffer *text, const char *name, struct str s)
{
    return buffer_append(text, name, strlen(name)) && buffer_append(text, s.p, s.n) &&
           buffer_append(text, "\n", 1);
}

static bool tell_all(struct buffer *text, const struct httpd_request *q)
{
    return tell(text, "path=", q->path) && tell(text, "query=", q->query) &&
           tell(text, "body=", q->body);
}

/* --- requests that are kept --- */

static void on_end(struct httpd_request *q, bool whole)
{
    struct fixture *f = q->user;
    f->ended += whole;
    f->gone += !whole;
    f->kept = NULL;
}

static void feed(struct fixture *f, struct httpd_request *q)
{
    struct feeding *g = &f->feeding;
    bool more = true;
    while (more && g->fed < BIG) {
        size_t n = BIG - g->fed < g->piece ? BIG - g->fed : g->piece;
        struct str piece = {f->big + g->fed, n};
        g->fed += n;
        more = httpd_feed(q, piece);
    }
    if (g->fed == BIG && more)
        httpd_finish(q);
}

static void on_drain(struct httpd_request *q)
{
    struct fixture *f = q->user;
    if (!f->feeding.by_hand)
        feed(f, q);
}

static const struct httpd_request_ops kept_ops = {on_drain, on_end};

static void keep(struct fixture *f, struct httpd_request *q)
{
    httpd_keep(q, &kept_ops, f);
    f->kept = q;
}

static void on_late(uv_timer_t *timer)
{
    struct fixture *f = container_of(timer, struct fixture, late);
    const struct httpd_answer a = {.status = 200, .text = &f->text};
    httpd_answer(f->kept, &a);
}

static void answer_late(struct fixture *f, struct httpd_request *q)
{
    keep(f, q);
    buffer_clear(&f->text);
    ck_assert(tell_all(&f->text, q));
    uv_update_time(&f->loop);
    uv_timer_start(&f->late, on_late, 30, 0);
}

static void answer_fed(struct fixture *f, struct httpd_request *q)
{
    const struct httpd_answer a = {
        .status = f->status ? f->status : 200, .content = f->feeding.content, .length = BIG};
    keep(f, q);
    f->feeding.fed = 0;
    httpd_answer(q, &a);
    if (f->kept && !f->feeding.by_hand)
        feed(f, q);
}

static bool handle(void *arg, struct httpd_request *q, struct httpd_answer *a)
{
    struct fixture *f = arg;
    f->handled++;
    struct str field;
    if (f->close_in_handler)
        httpd_close(f->server, on_closed, f);
    if (str_eq(q->path, STR("/fail")))
        return false;
    if (str_eq(q->path, STR("/big")))
        a->body = (struct str){f->big, BIG};
    if (str_eq(q->path, STR("/delay")))
        answer_late(f, q);
    if (str_eq(q->path, STR("/never")))
        keep(f, q);
    if (str_eq(q->path, STR("/feed")))
        answer_fed(f, q);
    if (str_eq(q->path, STR("/none")))
        a->status = 204;
    if (str_eq(q->path, STR("/bye")))
        a->close = true;
    if (httpd_header(q, "X-Echo", &field) && !httpd_field(a, "X-Echoed", field))
        return false;
    return tell_all(a->text, q);
}

static void start_with(struct fixture *f, struct httpd_options o)
{
    *f = (struct fixture){0};
    f->big = malloc(BIG);
    ck_assert_ptr_nonnull(f->big);
    for (size_t i = 0; i < BIG; i++)
        f->big[i] = (char)('a' + i % 26);
    ck_assert_int_eq(uv_loop_init(&f->loop), 0);
    ck_assert_int_eq(uv_timer_init(&f->loop, &f->late), 0);
    net_init(&f->net, &f->loop);
    o.handle = handle;
    o.arg = f;
    f->server = httpd_new(&f->net, &o);
    struct addr a = {.v4 = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}},
                     .len = sizeof a.v4};
    struct error e;
    ck_assert_msg(httpd_listen(f->server, &a, &e), "%s", e.text);
    ck_assert_uint_ne(addr_port(httpd_address(f->server)), 0);
}

static void start(struct fixture *f)
{
    start_with(f, (struct httpd_options){0});
}

static void finish(struct fixture *f)
{
    if (!uv_loop_alive(&f->loop) || f->close_in_handler)
        ck_assert(f->close_in_handler);
    else
        httpd_close(f->server, on_closed, f);
    uv_close((uv_handle_t *)&f->late, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    ck_assert(f->closed);
    net_deinit(&f->net);
    ck_assert_int_eq(uv_loop_close(&f->loop), 0);
    buffer_release(&f->text);
    free(f->big);
}

static const char *after_head(const struct talk *t)
{
    const char *p = t->got.data ? strstr(t->got.data, "\r\n\r\n") : NULL;
    ck_assert_ptr_nonnull(p);
    return p + 4;
}

static void open_to(struct fixture *f, struct talk *t)
{
    talk_open(t, &f->loop, httpd_address(f->server));
}

/* One connection, one request, everything that came until the server closed. */
static void ask(struct fixture *f, struct talk *t, const char *request)
{
    open_to(f, t);
    talk_say(t, request);
    talk_wait_end(t);
}

START_TEST(a_request_is_answered_and_the_connection_kept)
{
    struct fixture f;
    struct talk t;
    start(&f);
    open_to(&f, &t);
    talk_say(&t, "GET /a/b?c=d HTTP/1.1\r\nHost: x\r\nX-Echo:  one \r\n\r\n");
    talk_wait_text(&t, "body=\n", 1);
    ck_assert_int_eq(strncmp(t.got.data, "HTTP/1.1 200 OK\r\nDate: ", 23), 0);
    ck_assert(talk_has(&t, "\r\nContent-Type: text/plain\r\n"));
    ck_assert(talk_has(&t, "\r\nContent-Length: 26\r\n"));
    ck_assert(talk_has(&t, "\r\nX-Echoed: one\r\n"));
    ck_assert(talk_has(&t, "\r\n\r\npath=/a/b\nquery=c=d\nbody=\n"));
    ck_assert(!talk_has(&t, "Connection:"));
    talk_say(&t, "GET /second HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_wait_text(&t, "path=/second\n", 1);
    ck_assert(!t.ended);
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(pipelined_requests_are_answered_in_order)
{
    struct fixture f;
    struct talk t;
    struct buffer all = {0};
    char line[64];
    enum { N = 3000 };
    start(&f);
    open_to(&f, &t);
    for (int i = 0; i < N; i++) {
        int n = snprintf(line, sizeof line, "GET /%d HTTP/1.1\r\nHost: x\r\n\r\n", i);
        ck_assert(buffer_append(&all, line, (size_t)n));
    }
    talk_send(&t, all.data, all.end);
    talk_wait_text(&t, "body=\n", N);
    const char *p = t.got.data;
    for (int i = 0; i < N; i++) {
        snprintf(line, sizeof line, "path=/%d\n", i);
        p = strstr(p, "path=");
        ck_assert_ptr_nonnull(p);
        ck_assert_int_eq(strncmp(p, line, strlen(line)), 0);
        p += strlen(line);
    }
    ck_assert_uint_eq(f.handled, N);
    buffer_release(&all);
    talk_close(&t);
    finish(&f);
}
END_TEST

/* Every way of cutting the stream gives the same answers. */
START_TEST(bytes_may_come_one_by_one)
{
    static const char requests[] =
        "POST /l HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
        "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nTrail: er\r\n\r\n"
        "GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for (size_t step = 1; step < sizeof requests; step += step < 8 ? 1 : 13) {
        struct fixture f;
        struct talk t;
        start(&f);
        open_to(&f, &t);
        for (size_t i = 0; i < sizeof requests - 1; i += step) {
            size_t rest = sizeof requests - 1 - i;
            talk_send(&t, requests + i, rest < step ? rest : step);
            talk_turn(&t);
        }
        talk_wait_end(&t);
        ck_assert(talk_has(&t, "path=/l\nquery=\nbody=hello\n"));
        ck_assert(talk_has(&t, "path=/c\nquery=\nbody=abcdefg\n"));
        ck_assert(talk_has(&t, "path=/last\n"));
        ck_assert(talk_has(&t, "\r\nConnection: close\r\n"));
        ck_assert_uint_eq(f.handled, 3);
        ck_assert(!t.reset);
        talk_close(&t);
        finish(&f);
    }
}
END_TEST

START_TEST(a_body_of_exactly_the_limit_is_read_and_a_longer_one_refused)
{
    struct fixture f;
    struct talk t;
    start(&f);
    open_to(&f, &t);
    char head[128];
    snprintf(head, sizeof head, "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
             HTTPD_MAX_BODY);
    talk_say(&t, head);
    talk_send(&t, f.big, HTTPD_MAX_BODY);
    talk_wait_bytes(&t, HTTPD_MAX_BODY);
    ck_assert(talk_has(&t, "HTTP/1.1 200 OK"));
    const char *body = strstr(t.got.data, "body=");
    ck_assert_ptr_nonnull(body);
    talk_wait_bytes(&t, (size_t)(body + 5 - t.got.data) + HTTPD_MAX_BODY + 1);
    body = strstr(t.got.data, "body=") + 5;
    ck_assert_int_eq(memcmp(body, f.big, HTTPD_MAX_BODY), 0);
    talk_close(&t);

    open_to(&f, &t);
    snprintf(head, sizeof head, "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
             HTTPD_MAX_BODY + 1);
    talk_say(&t, head);
    talk_send(&t, f.big, HTTPD_MAX_BODY + 1); /* must not turn the answer into a reset */
    talk_wait_text(&t, "HTTP/1.1 413 ", 1);
    shutdown(t.fd, SHUT_WR);
    talk_wait_end(&t);
    ck_assert(!t.reset);
    ck_assert_uint_eq(f.handled, 1);
    talk_close(&t);
    finish(&f);
}
END_TEST

/* /wide may have twice the usual body, /narrow ten bytes, and /deny none. */
static enum httpd_admission admit(void *arg, struct httpd_request *q, struct httpd_answer *a,
                                  size_t *max_body)
{
    struct fixture *f = arg;
    struct str field;
    f->admitted++;
    ck_assert(q->body.n == 0 && httpd_header(q, "Host", &field) && str_eq(field, STR("x")));
    if (str_eq(q->path, STR("/wide")))
        *max_body = (size_t)2 * HTTPD_MAX_BODY;
    if (str_eq(q->path, STR("/narrow")))
        *max_body = 10;
    if (str_eq(q->path, STR("/memory")))
        return HTTPD_MEMORY;
    if (!str_eq(q->path, STR("/deny")))
        return HTTPD_ADMIT;
    a->status = 403;
    a->body = STR("no, by its query: ");
    return httpd_field(a, "X-Query", q->query) ? HTTPD_DENY : HTTPD_MEMORY;
}

static void start_with_admission(struct fixture *f)
{
    start_with(f, (struct httpd_options){.admit = admit});
}

static void post_bytes(struct fixture *f, struct talk *t, const char *target, size_t n)
{
    char head[128];
    snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
             target, n);
    open_to(f, t);
    talk_say(t, head);
    talk_send(t, f->big, n);
}

START_TEST(each_request_may_have_a_limit_of_its_own)
{
    struct fixture f;
    struct talk t;
    start_with_admission(&f);
    const struct {
        const char *path;
        size_t limit;
    } cases[] = {{"/wide", 2 * HTTPD_MAX_BODY}, {"/narrow", 10}, {"/other", HTTPD_MAX_BODY}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        post_bytes(&f, &t, cases[i].path, cases[i].limit);
        talk_wait_text(&t, "HTTP/1.1 200 ", 1);
        talk_wait_bytes(&t, cases[i].limit);
        talk_close(&t);
        post_bytes(&f, &t, cases[i].path, cases[i].limit + 1);
        talk_wait_text(&t, "HTTP/1.1 413 ", 1);
        talk_close(&t);
    }
    ck_assert_uint_eq(f.handled, 3);
    ck_assert_uint_eq(f.admitted, 6);
    /* chunks */
    open_to(&f, &t);
    talk_say(&t, "POST /narrow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "a\r\n0123456789\r\n1\r\n0\r\n");
    talk_wait_text(&t, "HTTP/1.1 413 ", 1);
    talk_close(&t);
    /* a request without a body is not asked about */
    ask(&f, &t, "GET /deny HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    ck_assert(talk_has(&t, "path=/deny"));
    ck_assert_uint_eq(f.admitted, 7);
    talk_close(&t);
    finish(&f);
}
END_TEST

/* The client gets the answer whole, also if it has sent all of the body by then. */
START_TEST(a_request_that_is_denied_is_answered_unread)
{
    struct fixture f;
    struct talk t;
    start_with_admission(&f);
    post_bytes(&f, &t, "/deny?why", HTTPD_MAX_BODY / 2);
    talk_wait_text(&t, "no, by its query: ", 1);
    ck_assert(talk_has(&t, "HTTP/1.1 403 ") && talk_has(&t, "X-Query: why\r\n"));
    ck_assert(talk_has(&t, "Connection: close\r\n"));
    shutdown(t.fd, SHUT_WR);
    talk_wait_end(&t);
    ck_assert(!t.reset);
    talk_close(&t);
    post_bytes(&f, &t, "/memory", 5);
    talk_wait_text(&t, "HTTP/1.1 500 ", 1);
    talk_close(&t);
    ck_assert_uint_eq(f.handled, 0);
    finish(&f);
}
END_TEST

START_TEST(a_client_that_waits_for_100_and_is_denied_gets_no_100)
{
    struct fixture f;
    struct talk t;
    start_with_admission(&f);
    open_to(&f, &t);
    talk_say(&t,
             "POST /deny HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    talk_wait_text(&t, "no, by its query: ", 1);
    ck_assert(!talk_has(&t, "HTTP/1.1 100"));
    talk_close(&t);
    open_to(&f, &t);
    talk_say(&t, "POST /narrow HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
                 "11\r\n\r\n");
    talk_wait_text(&t, "HTTP/1.1 413 ", 1);
    ck_assert(!talk_has(&t, "HTTP/1.1 100"));
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(chunks_beyond_the_limit_are_refused)
{
    struct fixture f;
    struct talk t;
    start(&f);
    open_to(&f, &t);
    talk_say(&t, "POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 17 && !talk_has(&t, "413"); i++) {
        talk_say(&t, "10000\r\n");
        talk_send(&t, f.big, 0x10000);
        talk_say(&t, "\r\n");
        talk_turn(&t);
    }
    talk_wait_text(&t, "HTTP/1.1 413 ", 1);
    ck_assert_uint_eq(f.handled, 0);
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(broken_requests_are_refused_and_the_connection_closed)
{
    static const struct {
        const char *request, *status;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\nGET /x HTTP/1.1\r\nHost: x\r\n\r\n", "400"}, /* no Host */
        {"GET / HTTP/1.1\r\nHost: x\r\nbad field: 1\r\n\r\n", "400"},
        {"GET / HTTP/2.0\r\nHost: x\r\n\r\n", "505"},
        {"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "405"},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         "400"},
        {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400"},
    };
    struct fixture f;
    struct talk t;
    start(&f);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char expected[32];
        snprintf(expected, sizeof expected, "HTTP/1.1 %s ", cases[i].status);
        open_to(&f, &t);
        talk_say(&t, cases[i].request);
        shutdown(t.fd, SHUT_WR);
        talk_wait_end(&t);
        ck_assert_msg(t.got.end && strncmp(t.got.data, expected, strlen(expected)) == 0,
                      "case %zu: %s", i, t.got.data);
        ck_assert(talk_has(&t, "Connection: close\r\n"));
        ck_assert_ptr_null(strstr(t.got.data + 1, "HTTP/1.1"));
        talk_close(&t);
    }
    ck_assert_uint_eq(f.handled, 0);
    finish(&f);
}
END_TEST

START_TEST(a_head_that_is_too_large_is_refused)
{
    struct fixture f;
    struct talk t;
    start(&f);
    open_to(&f, &t);
    talk_say(&t, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: ");
    talk_send(&t, f.big, HTTPD_MAX_HEAD);
    talk_wait_text(&t, "HTTP/1.1 431 ", 1);
    talk_close(&t);
    ck_assert_uint_eq(f.handled, 0);
    finish(&f);
}
END_TEST

START_TEST(a_failing_handler_gives_500)
{
    struct fixture f;
    struct talk t;
    start(&f);
    open_to(&f, &t);
    talk_say(&t, "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /fail HTTP/1.1\r\nHost: x\r\n\r\n"
                 "GET /b HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_wait_text(&t, "HTTP/1.1 500 ", 1);
    shutdown(t.fd, SHUT_WR);
    talk_wait_end(&t);
    ck_assert(talk_has(&t, "path=/a\n"));
    ck_assert(!talk_has(&t, "path=/b\n"));
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(head_and_204_have_no_body)
{
    struct fixture f;
    struct talk t;
    start(&f);
    ask(&f, &t, "HEAD /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    ck_assert(talk_has(&t, "Content-Length: 3145728\r\n"));
    ck_assert_str_eq(strstr(t.got.data, "\r\n\r\n"), "\r\n\r\n");
    talk_close(&t);
    ask(&f, &t, "GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    ck_assert(talk_has(&t, "HTTP/1.1 204 No Content\r\n"));
    ck_assert(!talk_has(&t, "Content-Length"));
    ck_assert_str_eq(strstr(t.got.data, "\r\n\r\n"), "\r\n\r\n");
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(old_clients_and_handlers_decide_whether_it_is_kept)
{
    struct fixture f;
    struct talk t;
    start(&f);
    ask(&f, &t, "GET /ten HTTP/1.0\r\n\r\n");
    ck_assert(talk_has(&t, "Connection: close\r\n"));
    talk_close(&t);
    ask(&f, &t, "GET /bye HTTP/1.1\r\nHost: x\r\n\r\nGET /more HTTP/1.1\r\nHost: x\r\n\r\n");
    ck_assert(talk_has(&t, "path=/bye\n") && !talk_has(&t, "path=/more\n"));
    ck_assert(talk_has(&t, "Connection: close\r\n"));
    talk_close(&t);
    open_to(&f, &t);
    talk_say(&t, "GET /ten HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    talk_wait_text(&t, "body=\n", 1);
    ck_assert(talk_has(&t, "Connection: keep-alive\r\n"));
    talk_say(&t, "GET /ten HTTP/1.0\r\n\r\n");
    talk_wait_end(&t);
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(a_client_that_waits_for_100_gets_it)
{
    struct fixture f;
    struct talk t;
    start(&f);
    open_to(&f, &t);
    talk_say(&t,
             "POST /e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    talk_wait_text(&t, "HTTP/1.1 100 Continue\r\n\r\n", 1);
    ck_assert_uint_eq(f.handled, 0);
    talk_say(&t, "ok");
    talk_wait_text(&t, "body=ok\n", 1);
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(a_client_that_reads_late_gets_every_byte)
{
    struct fixture f;
    struct talk t;
    enum { N = 5 };
    start(&f);
    open_to(&f, &t);
    for (int i = 0; i < N; i++)
        talk_say(&t, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 50; i++) /* nothing is read here */
        uv_run(&f.loop, UV_RUN_NOWAIT);
    ck_assert_uint_lt(f.handled, N); /* it does not pile up what nobody reads */
    talk_wait_text(&t, "HTTP/1.1 200 OK", 1);
    size_t head = (size_t)(strstr(t.got.data, "\r\n\r\n") + 4 - t.got.data);
    talk_wait_bytes(&t, N * (head + BIG));
    for (size_t i = 0; i < N; i++)
        ck_assert_int_eq(memcmp(t.got.data + i * (head + BIG) + head, f.big, BIG), 0);
    ck_assert_uint_eq(buffer_len(&t.got), N * (head + BIG));
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(a_client_that_only_sends_is_not_read_without_end)
{
    struct fixture f;
    struct talk t;
    start(&f);
    open_to(&f, &t);
    talk_say(&t, "GET /never HTTP/1.1\r\nHost: x\r\n\r\n");
    size_t sent = 0;
    int stuck = 0;
    while (stuck < 200 && sent < 64 * 1024 * 1024) {
        ssize_t n = send(t.fd, f.big, 65536, MSG_DONTWAIT | MSG_NOSIGNAL);
        stuck = n < 0 ? stuck + 1 : 0;
        sent += n < 0 ? 0 : (size_t)n;
        uv_run(&f.loop, UV_RUN_NOWAIT);
    }
    ck_assert_int_eq(stuck, 200);
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(held_answers_come_late_and_in_order)
{
    struct fixture f;
    struct talk t;
    start(&f);
    open_to(&f, &t);
    uint64_t began = uv_hrtime();
    talk_say(&t, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /delay HTTP/1.1\r\nHost: x\r\n\r\n"
                 "GET /3 HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_wait_text(&t, "path=/1\n", 1);
    ck_assert(!talk_has(&t, "path=/delay\n"));
    talk_wait_text(&t, "path=/3\n", 1);
    ck_assert_uint_ge(uv_hrtime() - began, 29000000);
    ck_assert(strstr(t.got.data, "path=/delay") < strstr(t.got.data, "path=/3"));
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(an_answer_that_never_comes_holds_nobody_else)
{
    struct fixture f;
    struct talk t, other;
    start(&f);
    open_to(&f, &t);
    open_to(&f, &other);
    talk_say(&t, "GET /never HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_turn(&t);
    talk_say(&other, "GET /delay HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_wait_text(&other, "path=/delay\n", 1);
    talk_turn(&t);
    ck_assert_uint_eq(t.got.end, 0);
    ck_assert(!t.ended);
    ck_assert_uint_eq(f.handled, 2);
    talk_close(&t);
    talk_close(&other);
    finish(&f);
}
END_TEST

START_TEST(silent_and_slow_clients_are_closed)
{
    struct fixture f;
    struct talk silent, slow;
    start_with(&f, (struct httpd_options){.idle_timeout_ms = 50});
    open_to(&f, &silent);
    open_to(&f, &slow);
    talk_say(&slow, "GET / HTTP/1.1\r\n");
    uint64_t until = uv_hrtime() + TALK_PATIENCE_NS;
    while (!slow.ended && uv_hrtime() < until) { /* trickles until it is cut off */
        talk_say(&slow, "X: y\r\n");
        talk_turn(&slow);
    }
    talk_wait_end(&slow);
    talk_wait_end(&silent);
    ck_assert_uint_eq(f.handled, 0);
    talk_close(&silent);
    talk_close(&slow);
    finish(&f);
}
END_TEST

START_TEST(connections_beyond_the_limit_are_closed)
{
    struct fixture f;
    struct talk t[3];
    start_with(&f, (struct httpd_options){.max_connections = 2});
    for (int i = 0; i < 3; i++) {
        open_to(&f, &t[i]);
        talk_turn(&t[i]);
    }
    talk_wait_end(&t[2]);
    ck_assert(!t[0].ended && !t[1].ended);
    talk_close(&t[0]);
    talk_say(&t[1], "GET /still HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_wait_text(&t[1], "path=/still\n", 1);
    talk_close(&t[2]);
    open_to(&f, &t[2]); /* there is room again */
    talk_say(&t[2], "GET /again HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_wait_text(&t[2], "path=/again\n", 1);
    talk_close(&t[1]);
    talk_close(&t[2]);
    finish(&f);
}
END_TEST

START_TEST(a_close_lets_an_answer_on_its_way_go_out)
{
    struct fixture f;
    struct talk t, idle;
    start(&f);
    open_to(&f, &t);
    open_to(&f, &idle);
    talk_say(&t, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_wait_text(&t, "HTTP/1.1 200 OK", 1);
    httpd_close(f.server, on_closed, &f);
    talk_wait_end(&idle);
    talk_wait_end(&t);
    size_t head = (size_t)(strstr(t.got.data, "\r\n\r\n") + 4 - t.got.data);
    ck_assert_uint_eq(buffer_len(&t.got), head + BIG);
    talk_close(&t);
    talk_close(&idle);
    f.close_in_handler = true; /* finish() need not close it */
    finish(&f);
}
END_TEST

START_TEST(a_close_does_not_wait_for_a_client_that_never_reads)
{
    struct fixture f;
    struct talk t;
    start(&f);
    open_to(&f, &t);
    talk_say(&t, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_wait_text(&t, "HTTP/1.1 200 OK", 1);
    finish(&f); /* runs the loop to its end */
    talk_close(&t);
}
END_TEST

START_TEST(a_close_ends_a_request_that_is_not_complete)
{
    struct fixture f;
    struct talk t;
    start(&f);
    open_to(&f, &t);
    talk_say(&t,
             "POST /e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    talk_wait_text(&t, "HTTP/1.1 100 Continue\r\n\r\n", 1);
    httpd_close(f.server, on_closed, &f);
    talk_say(&t, "ok");
    talk_wait_end(&t);
    ck_assert_uint_eq(f.handled, 0);
    talk_close(&t);
    f.close_in_handler = true; /* finish() need not close it */
    finish(&f);
}
END_TEST

START_TEST(a_handler_may_close_the_server)
{
    struct fixture f;
    struct talk t;
    start(&f);
    f.close_in_handler = true;
    open_to(&f, &t);
    talk_say(&t, "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_wait_end(&t);
    ck_assert_uint_eq(f.handled, 1);
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(a_port_in_use_is_an_error)
{
    struct fixture f;
    start(&f);
    struct httpd_options o = {.handle = handle, .arg = &f};
    struct httpd *second = httpd_new(&f.net, &o);
    struct error e;
    ck_assert(!httpd_listen(second, httpd_address(f.server), &e));
    ck_assert_int_eq(e.code, EADDRINUSE);
    ck_assert_ptr_nonnull(strstr(e.text, "address already in use"));
    httpd_close(second, NULL, NULL);
    finish(&f);
}
END_TEST

/* --- later --- */

static void wait_handled(struct fixture *f, unsigned n)
{
    uint64_t until = uv_hrtime() + TALK_PATIENCE_NS;
    while (f->handled < n && uv_hrtime() < until)
        uv_run(&f->loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(f->handled, n);
}

START_TEST(a_kept_request_is_told_that_its_client_has_gone)
{
    struct fixture f;
    struct talk t;
    start(&f);
    open_to(&f, &t);
    talk_say(&t, "GET /never HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_handled(&f, 1);
    ck_assert_uint_eq(httpd_counts(f.server)->connections, 1);
    talk_close(&t);
    uint64_t until = uv_hrtime() + TALK_PATIENCE_NS;
    while (httpd_counts(f.server)->connections && uv_hrtime() < until)
        uv_run(&f.loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(httpd_counts(f.server)->connections, 0);
    ck_assert_uint_eq(httpd_counts(f.server)->accepted, 1);
    ck_assert(f.gone == 1 && f.ended == 0);
    finish(&f);
}
END_TEST

START_TEST(a_kept_request_ends_with_the_server)
{
    struct fixture f;
    struct talk t;
    start(&f);
    open_to(&f, &t);
    talk_say(&t, "GET /never HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_handled(&f, 1);
    finish(&f);
    ck_assert(f.gone == 1 && f.ended == 0);
    talk_close(&t);
}
END_TEST

START_TEST(a_kept_request_outlasts_the_idle_timeout)
{
    struct fixture f;
    struct talk t;
    start_with(&f, (struct httpd_options){.idle_timeout_ms = 10});
    open_to(&f, &t);
    talk_say(&t, "GET /delay HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_wait_text(&t, "path=/delay\n", 1);
    ck_assert(f.gone == 0 && f.ended == 1);
    talk_wait_end(&t); /* now it is idle */
    talk_close(&t);
    finish(&f);
}
END_TEST

static void refuse_late(void *arg, struct httpd_request *q, int status)
{
    struct fixture *f = arg;
    f->refused++;
    f->refused_with = status;
    keep(f, q);
}

START_TEST(a_request_that_is_refused_may_be_kept)
{
    struct fixture f;
    struct talk t;
    start_with(&f, (struct httpd_options){.refuse = refuse_late});
    open_to(&f, &t);
    talk_say(&t, "nonsense\r\n\r\nmore of it");
    uint64_t until = uv_hrtime() + TALK_PATIENCE_NS;
    while (f.refused == 0 && uv_hrtime() < until)
        uv_run(&f.loop, UV_RUN_NOWAIT);
    for (int i = 0; i < 10; i++)
        talk_turn(&t);
    ck_assert(t.got.end == 0 && !t.ended);
    ck_assert_int_eq(f.refused_with, 400);
    httpd_refuse(f.kept, f.refused_with);
    talk_wait_text(&t, "HTTP/1.1 400 ", 1);
    shutdown(t.fd, SHUT_WR);
    talk_wait_end(&t);
    ck_assert(!t.reset);
    ck_assert(f.refused == 1 && f.handled == 0 && f.ended == 1);
    talk_close(&t);
    finish(&f);
}
END_TEST

/* --- fed --- */

/* Takes the chunks of an answer off: its payload. */
static struct buffer dechunked(const char *p, const char *end, size_t chunk_size)
{
    struct buffer body = {0};
    size_t n;
    do {
        char *behind;
        n = strtoul(p, &behind, 16);
        ck_assert_int_eq(memcmp(behind, "\r\n", 2), 0);
        ck_assert(n == chunk_size || body.end + n == BIG);
        p = behind + 2;
        ck_assert(n + 2 <= (size_t)(end - p));
        ck_assert(buffer_append(&body, p, n));
        ck_assert_int_eq(memcmp(p + n, "\r\n", 2), 0);
        p += n + 2;
    } while (n);
    ck_assert_ptr_eq(p, end);
    return body;
}

static void expect_big(const struct fixture *f, const char *p, size_t n)
{
    ck_assert_uint_eq(n, BIG);
    ck_assert_int_eq(memcmp(p, f->big, BIG), 0);
}

START_TEST(a_body_may_be_fed)
{
    static const struct {
        enum httpd_content content;
        const char *request, *field;
        bool chunks;
    } cases[] = {
        {HTTPD_SIZED, "GET /feed HTTP/1.1\r\nHost: x\r\n\r\n", "\r\nContent-Length: 3145728\r\n",
         false},
        {HTTPD_SIZED, "GET /feed HTTP/1.0\r\n\r\n", "\r\nContent-Length: 3145728\r\n", false},
        {HTTPD_CHUNKED, "GET /feed HTTP/1.1\r\nHost: x\r\n\r\n",
         "\r\nTransfer-Encoding: chunked\r\n", true},
        {HTTPD_CHUNKED, "GET /feed HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
         "\r\nConnection: close\r\n", false},
        {HTTPD_FRAMED, "GET /feed HTTP/1.1\r\nHost: x\r\n\r\n",
         "\r\nTransfer-Encoding: chunked\r\n", false},
    };
    static const size_t pieces[] = {1000, 65536, BIG};
    for (size_t i = 0; i < 3 * sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        struct talk t;
        size_t n = i / 3, piece = pieces[i % 3];
        start(&f);
        f.feeding = (struct feeding){.content = cases[n].content, .piece = piece};
        open_to(&f, &t);
        talk_say(&t, cases[n].request);
        talk_say(&t, "GET /bye HTTP/1.1\r\nHost: x\r\n\r\n");
        talk_wait_end(&t);
        ck_assert_msg(talk_has(&t, cases[n].field), "case %zu", n);
        const char *next = strstr(t.got.data + 1, "HTTP/1.1 200 OK\r\n");
        const char *end = next ? next : t.got.data + t.got.end;
        const char *body = after_head(&t);
        if (cases[n].chunks) {
            struct buffer plain = dechunked(body, end, piece);
            expect_big(&f, plain.data, plain.end);
            buffer_release(&plain);
        } else {
            expect_big(&f, body, (size_t)(end - body));
        }
        /* the connection is kept if both sides know where the body ends */
        bool is_old = strstr(cases[n].request, "HTTP/1.0") != NULL;
        ck_assert_msg((next != NULL) == !is_old, "case %zu", n);
        ck_assert(f.ended == 1 && f.gone == 0);
        talk_close(&t);
        finish(&f);
    }
}
END_TEST

START_TEST(an_answer_without_a_body_is_not_fed)
{
    static const struct {
        const char *method;
        int status;
    } cases[] = {{"HEAD", 200}, {"GET", 204}, {"GET", 304}};
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        struct talk t;
        char request[64];
        start(&f);
        f.status = cases[i / 2].status;
        f.feeding = (struct feeding){.content = i % 2 ? HTTPD_CHUNKED : HTTPD_SIZED, .piece = BIG};
        snprintf(request, sizeof request, "%s /feed HTTP/1.1\r\nHost: x\r\n\r\n",
                 cases[i / 2].method);
        open_to(&f, &t);
        talk_say(&t, request);
        talk_say(&t, "GET /bye HTTP/1.1\r\nHost: x\r\n\r\n");
        talk_wait_end(&t);
        ck_assert_int_eq(strncmp(after_head(&t), "HTTP/1.1 200 OK\r\n", 17), 0);
        ck_assert(f.ended == 1 && f.feeding.fed == 0);
        talk_close(&t);
        finish(&f);
    }
}
END_TEST

START_TEST(a_body_is_not_fed_faster_than_it_is_taken)
{
    struct fixture f;
    struct talk t;
    enum { N = 5 };
    start(&f);
    f.feeding = (struct feeding){.content = HTTPD_SIZED, .piece = 10000};
    open_to(&f, &t);
    for (int i = 0; i < N; i++)
        talk_say(&t, "GET /feed HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 50; i++) /* nothing is read here */
        uv_run(&f.loop, UV_RUN_NOWAIT);
    ck_assert_uint_lt(f.ended, N);
    talk_wait_text(&t, "\r\n\r\n", 1);
    size_t head = (size_t)(after_head(&t) - t.got.data);
    talk_wait_bytes(&t, N * (head + BIG));
    for (size_t i = 0; i < N; i++)
        expect_big(&f, t.got.data + i * (head + BIG) + head, BIG);
    ck_assert_uint_eq(buffer_len(&t.got), N * (head + BIG));
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(a_body_may_pause_longer_than_the_idle_timeout)
{
    struct fixture f;
    struct talk t;
    start_with(&f, (struct httpd_options){.idle_timeout_ms = 20});
    f.feeding = (struct feeding){.content = HTTPD_CHUNKED, .by_hand = true};
    open_to(&f, &t);
    talk_say(&t, "GET /feed HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    wait_handled(&f, 1);
    for (int i = 0; i < 3; i++) {
        ck_assert(httpd_feed(f.kept, STR("abc")));
        ck_assert(httpd_feed(f.kept, STR(""))); /* is no last chunk */
        for (uint64_t since = uv_hrtime(); uv_hrtime() - since < 50000000;)
            talk_turn(&t);
    }
    httpd_finish(f.kept);
    talk_wait_end(&t);
    ck_assert_str_eq(after_head(&t), "3\r\nabc\r\n3\r\nabc\r\n3\r\nabc\r\n0\r\n\r\n");
    ck_assert_uint_eq(f.ended, 1);
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(a_half_closed_client_gets_a_body_to_its_end)
{
    struct fixture f;
    struct talk t;
    start(&f);
    f.feeding = (struct feeding){.content = HTTPD_CHUNKED, .by_hand = true};
    open_to(&f, &t);
    talk_say(&t, "GET /feed HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_handled(&f, 1);
    shutdown(t.fd, SHUT_WR);
    for (int i = 0; i < 10; i++)
        talk_turn(&t);
    ck_assert(httpd_feed(f.kept, STR("late")));
    httpd_finish(f.kept);
    talk_wait_end(&t);
    ck_assert(!t.reset);
    ck_assert_str_eq(after_head(&t), "4\r\nlate\r\n0\r\n\r\n");
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(a_body_that_is_given_up_ends_the_connection)
{
    struct fixture f;
    struct talk t;
    start(&f);
    f.feeding = (struct feeding){.content = HTTPD_SIZED, .by_hand = true};
    open_to(&f, &t);
    talk_say(&t, "GET /feed HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_handled(&f, 1);
    struct httpd_request *q = f.kept;
    ck_assert(httpd_feed(q, STR("a piece")));
    httpd_give_up(q);
    ck_assert_uint_eq(f.gone, 0); /* it is told later */
    ck_assert(!httpd_feed(q, STR("another")));
    httpd_finish(q);
    talk_wait_end(&t);
    ck_assert_str_eq(after_head(&t), "a piece");
    ck_assert(f.gone == 1 && f.ended == 0);
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(query_parameters_are_found_and_decoded)
{
    static const struct {
        const char *query, *name;
        enum httpd_query result;
        const char *value;
    } cases[] = {
        {"a=1&b=2", "b", QUERY_FOUND, "2"},
        {"a=1&a=2", "a", QUERY_FOUND, "1"},
        {"ab=1", "a", QUERY_ABSENT, ""},
        {"a", "a", QUERY_FOUND, ""},
        {"a&b=c", "a", QUERY_FOUND, ""},
        {"x=a=b", "x", QUERY_FOUND, "a=b"},
        {"k=%41%2f+%e2%82%AC", "k", QUERY_FOUND, "A/+\xe2\x82\xac"},
        {"k=%4", "k", QUERY_BAD, NULL},
        {"k=%zz", "k", QUERY_BAD, NULL},
        {"", "k", QUERY_ABSENT, ""},
        {"&&=&k=v&", "k", QUERY_FOUND, "v"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer value = {0};
        enum httpd_query r = httpd_query(str_of(cases[i].query), cases[i].name, &value);
        ck_assert_msg(r == cases[i].result, "case %zu", i);
        if (cases[i].value) {
            struct str got = {value.data, value.end};
            ck_assert_msg(str_eq(got, str_of(cases[i].value)), "case %zu", i);
        }
        buffer_release(&value);
    }
}
END_TEST

static Suite *build(void)
{
    Suite *suite = suite_create("httpd");
    TCase *t = tcase_create("httpd");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_request_is_answered_and_the_connection_kept);
    tcase_add_test(t, pipelined_requests_are_answered_in_order);
    tcase_add_test(t, bytes_may_come_one_by_one);
    tcase_add_test(t, a_body_of_exactly_the_limit_is_read_and_a_longer_one_refused);
    tcase_add_test(t, chunks_beyond_the_limit_are_refused);
    tcase_add_test(t, each_request_may_have_a_limit_of_its_own);
    tcase_add_test(t, a_request_that_is_denied_is_answered_unread);
    tcase_add_test(t, a_client_that_waits_for_100_and_is_denied_gets_no_100);
    tcase_add_test(t, broken_requests_are_refused_and_the_connection_closed);
    tcase_add_test(t, a_head_that_is_too_large_is_refused);
    tcase_add_test(t, a_failing_handler_gives_500);
    tcase_add_test(t, head_and_204_have_no_body);
    tcase_add_test(t, old_clients_and_handlers_decide_whether_it_is_kept);
    tcase_add_test(t, a_client_that_waits_for_100_gets_it);
    tcase_add_test(t, a_client_that_reads_late_gets_every_byte);
    tcase_add_test(t, a_client_that_only_sends_is_not_read_without_end);
    tcase_add_test(t, held_answers_come_late_and_in_order);
    tcase_add_test(t, an_answer_that_never_comes_holds_nobody_else);
    tcase_add_test(t, silent_and_slow_clients_are_closed);
    tcase_add_test(t, connections_beyond_the_limit_are_closed);
    tcase_add_test(t, a_close_lets_an_answer_on_its_way_go_out);
    tcase_add_test(t, a_close_does_not_wait_for_a_client_that_never_reads);
    tcase_add_test(t, a_close_ends_a_request_that_is_not_complete);
    tcase_add_test(t, a_handler_may_close_the_server);
    tcase_add_test(t, a_port_in_use_is_an_error);
    tcase_add_test(t, a_kept_request_is_told_that_its_client_has_gone);
    tcase_add_test(t, a_kept_request_ends_with_the_server);
    tcase_add_test(t, a_kept_request_outlasts_the_idle_timeout);
    tcase_add_test(t, a_request_that_is_refused_may_be_kept);
    tcase_add_test(t, a_body_may_be_fed);
    tcase_add_test(t, an_answer_without_a_body_is_not_fed);
    tcase_add_test(t, a_body_is_not_fed_faster_than_it_is_taken);
    tcase_add_test(t, a_body_may_pause_longer_than_the_idle_timeout);
    tcase_add_test(t, a_half_closed_client_gets_a_body_to_its_end);
    tcase_add_test(t, a_body_that_is_given_up_ends_the_connection);
    tcase_add_test(t, query_parameters_are_found_and_decoded);
    suite_add_tcase(suite, t);
    return suite;
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    return unit_main(build);
}
