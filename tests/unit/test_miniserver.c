#include "net/miniserver.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/talk.h"
#include "tests/lib/unit.h"

#define BIG (3 * 1024 * 1024)

/* A server whose handler says what it got, and misbehaves on some paths. */
struct fixture {
    uv_loop_t loop;
    struct miniserver *server;
    unsigned handled;
    bool close_in_handler, closed;
    char *big;
    struct miniserver_answer shape; /* of /shaped */
};

static void on_closed(void *arg)
{
    ((struct fixture *)arg)->closed = true;
}

static bool tell(struct miniserver_answer *a, const char *name, struct str s)
{
    return buffer_append(a->text, name, strlen(name)) && buffer_append(a->text, s.p, s.n) &&
           buffer_append(a->text, "\n", 1);
}

/* The answer that the test wants, without its buffers. */
static void take_shape(struct miniserver_answer *a, const struct miniserver_answer *shape)
{
    struct miniserver_answer made = *shape;
    made.status = shape->status ? shape->status : a->status;
    made.type = a->type;
    made.text = a->text;
    made.fields = a->fields;
    *a = made;
}

static bool handle(void *arg, const struct miniserver_request *q, struct miniserver_answer *a)
{
    struct fixture *f = arg;
    f->handled++;
    struct str field;
    if (f->close_in_handler)
        miniserver_close(f->server, on_closed, f);
    if (str_eq(q->path, STR("/fail")))
        return false;
    if (str_eq(q->path, STR("/big")))
        a->body = (struct str){f->big, BIG};
    if (str_eq(q->path, STR("/delay")))
        a->delay_ms = 30;
    if (str_eq(q->path, STR("/never")))
        a->delay_ms = MINISERVER_NEVER;
    if (str_eq(q->path, STR("/shaped")))
        take_shape(a, &f->shape);
    if (str_eq(q->path, STR("/urgent")))
        a->urgent = true;
    if (str_eq(q->path, STR("/none")))
        a->status = 204;
    if (str_eq(q->path, STR("/bye")))
        a->close = true;
    if (miniserver_header(q, "X-Echo", &field) && !miniserver_field(a, "X-Echoed", field))
        return false;
    return tell(a, "path=", q->path) && tell(a, "query=", q->query) && tell(a, "body=", q->body);
}

static void start_with(struct fixture *f, struct miniserver_options o)
{
    *f = (struct fixture){0};
    f->big = malloc(BIG);
    ck_assert_ptr_nonnull(f->big);
    for (size_t i = 0; i < BIG; i++)
        f->big[i] = (char)('a' + i % 26);
    ck_assert_int_eq(uv_loop_init(&f->loop), 0);
    o.handle = handle;
    o.arg = f;
    f->server = miniserver_new(&f->loop, &o);
    struct addr a = {.v4 = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}},
                     .len = sizeof a.v4};
    struct error e;
    ck_assert_msg(miniserver_listen(f->server, &a, &e), "%s", e.text);
    ck_assert_uint_ne(addr_port(miniserver_address(f->server)), 0);
}

static void start(struct fixture *f)
{
    start_with(f, (struct miniserver_options){0});
}

static void finish(struct fixture *f)
{
    if (!uv_loop_alive(&f->loop) || f->close_in_handler)
        ck_assert(f->close_in_handler);
    else
        miniserver_close(f->server, on_closed, f);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    ck_assert(f->closed);
    ck_assert_int_eq(uv_loop_close(&f->loop), 0);
    free(f->big);
}

static void open_to(struct fixture *f, struct talk *t)
{
    talk_open(t, &f->loop, miniserver_address(f->server));
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
             MINISERVER_MAX_BODY);
    talk_say(&t, head);
    talk_send(&t, f.big, MINISERVER_MAX_BODY);
    talk_wait_bytes(&t, MINISERVER_MAX_BODY);
    ck_assert(talk_has(&t, "HTTP/1.1 200 OK"));
    const char *body = strstr(t.got.data, "body=");
    ck_assert_ptr_nonnull(body);
    talk_wait_bytes(&t, (size_t)(body + 5 - t.got.data) + MINISERVER_MAX_BODY + 1);
    body = strstr(t.got.data, "body=") + 5;
    ck_assert_int_eq(memcmp(body, f.big, MINISERVER_MAX_BODY), 0);
    talk_close(&t);

    open_to(&f, &t);
    snprintf(head, sizeof head, "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
             MINISERVER_MAX_BODY + 1);
    talk_say(&t, head);
    talk_send(&t, f.big, MINISERVER_MAX_BODY + 1); /* must not turn the answer into a reset */
    talk_wait_text(&t, "HTTP/1.1 413 ", 1);
    shutdown(t.fd, SHUT_WR);
    talk_wait_end(&t);
    ck_assert(!t.reset);
    ck_assert_uint_eq(f.handled, 1);
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
    talk_send(&t, f.big, MINISERVER_MAX_HEAD);
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
    start_with(&f, (struct miniserver_options){.idle_timeout_ms = 50});
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
    start_with(&f, (struct miniserver_options){.max_connections = 2});
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
    miniserver_close(f.server, on_closed, &f);
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
    struct miniserver_options o = {.handle = handle, .arg = &f};
    struct miniserver *second = miniserver_new(&f.loop, &o);
    struct error e;
    ck_assert(!miniserver_listen(second, miniserver_address(f.server), &e));
    ck_assert_int_eq(e.code, EADDRINUSE);
    ck_assert_ptr_nonnull(strstr(e.text, "address already in use"));
    miniserver_close(second, NULL, NULL);
    finish(&f);
}
END_TEST

/* Takes the chunks of an answer off: its payload. Everything about them must be right. */
static struct buffer dechunked(const char *p, const char *end, size_t chunk_size, bool exact)
{
    struct buffer body = {0};
    size_t n;
    do {
        char *behind;
        n = strtoul(p, &behind, 16);
        ck_assert_int_eq(memcmp(behind, "\r\n", 2), 0);
        ck_assert_uint_le(n, chunk_size);
        p = behind + 2;
        ck_assert(n + 2 <= (size_t)(end - p));
        ck_assert(!exact || n == 0 || n == chunk_size || memcmp(p + n, "\r\n0\r\n", 5) == 0);
        ck_assert(buffer_append(&body, p, n));
        ck_assert_int_eq(memcmp(p + n, "\r\n", 2), 0);
        p += n + 2;
    } while (n);
    ck_assert_ptr_eq(p, end);
    return body;
}

static const char *after_head(const struct talk *t)
{
    const char *p = t->got.data ? strstr(t->got.data, "\r\n\r\n") : NULL;
    ck_assert_ptr_nonnull(p);
    return p + 4;
}

START_TEST(a_body_may_go_in_chunks)
{
    static const size_t sizes[] = {1, 5, 4096, 65536, 100000, BIG + 1};
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
        struct fixture f;
        struct talk t;
        size_t chunk = sizes[i / 2];
        start(&f);
        f.shape = (struct miniserver_answer){.body = {f.big, chunk < 4096 ? 1000 * chunk : BIG},
                                             .chunk_size = chunk,
                                             .lasting = i % 2};
        ask(&f, &t, "GET /shaped HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        ck_assert(talk_has(&t, "\r\nTransfer-Encoding: chunked\r\n"));
        ck_assert(!talk_has(&t, "Content-Length"));
        struct buffer body = dechunked(after_head(&t), t.got.data + t.got.end, chunk, true);
        ck_assert_uint_eq(body.end, f.shape.body.n);
        ck_assert_int_eq(memcmp(body.data, f.big, body.end), 0);
        buffer_release(&body);
        talk_close(&t);
        finish(&f);
    }
}
END_TEST

START_TEST(an_empty_body_in_chunks_is_the_last_chunk)
{
    struct fixture f;
    struct talk t;
    start(&f);
    f.shape = (struct miniserver_answer){.body = STR(""), .chunk_size = 10, .drip_ms = 1000};
    ask(&f, &t, "GET /shaped HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    ck_assert_str_eq(after_head(&t), "0\r\n\r\n");
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(who_cannot_have_chunks_gets_none)
{
    static const struct {
        const char *request;
        int status;
        bool length, body;
    } cases[] = {
        {"GET /shaped HTTP/1.0\r\n\r\n", 200, true, true},
        {"HEAD /shaped HTTP/1.0\r\n\r\n", 200, true, false},
        {"HEAD /shaped HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200, false, false},
        {"GET /shaped HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 204, false, false},
        {"GET /shaped HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 304, true, false},
    };
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        struct talk t;
        size_t n = i / 2;
        start(&f);
        f.shape = (struct miniserver_answer){.status = cases[n].status,
                                             .body = STR("12345678"),
                                             .chunk_size = 3,
                                             .drip_ms = i % 2 ? 5 : 0};
        ask(&f, &t, cases[n].request);
        ck_assert_msg(talk_has(&t, "\r\nContent-Length: 8\r\n") == cases[n].length, "case %zu", n);
        ck_assert_msg(talk_has(&t, "Transfer-Encoding") ==
                          (!cases[n].length && cases[n].status == 200),
                      "case %zu", n);
        ck_assert_str_eq(after_head(&t), cases[n].body ? "12345678" : "");
        talk_close(&t);
        finish(&f);
    }
}
END_TEST

/* A body that is not copied, after short ones and before others, held back or not. */
START_TEST(a_lasting_body_keeps_its_place_among_pipelined_answers)
{
    enum { N = 4 };
    for (unsigned delay = 0; delay < 10; delay += 5) {
        struct fixture f;
        struct talk t;
        start(&f);
        f.shape = (struct miniserver_answer){
            .body = {f.big, BIG}, .lasting = true, .delay_ms = delay, .counted = true};
        open_to(&f, &t);
        for (int i = 0; i < N; i++)
            talk_say(&t,
                     "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /shaped HTTP/1.1\r\nHost: x\r\n\r\n");
        talk_say(&t, "GET /bye HTTP/1.1\r\nHost: x\r\n\r\n");
        for (int i = 0; i < 50; i++) /* nothing is read here */
            uv_run(&f.loop, UV_RUN_NOWAIT);
        ck_assert_uint_lt(f.handled, 2 * N);
        talk_wait_end(&t);
        const char *p = t.got.data;
        for (int i = 0; i < N; i++) {
            p = strstr(p, "path=/1\nquery=\nbody=\n") + strlen("path=/1\nquery=\nbody=\n");
            ck_assert_int_eq(strncmp(p, "HTTP/1.1 200 OK\r\n", 17), 0);
            p = strstr(p, "\r\n\r\n") + 4;
            ck_assert_uint_ge((size_t)(t.got.data + t.got.end - p), BIG);
            ck_assert_int_eq(memcmp(p, f.big, BIG), 0);
            p += BIG;
        }
        ck_assert_ptr_nonnull(strstr(p, "path=/bye\n"));
        ck_assert_uint_eq(miniserver_counts(f.server)->answered, N);
        talk_close(&t);
        finish(&f);
    }
}
END_TEST

/* Receives a slow body to its end, and sees that no byte comes early. */
static void watch_drip(struct talk *t, uint64_t began, size_t total, uint64_t drip_ms)
{
    talk_wait_text(t, "\r\n\r\n", 1);
    size_t head = (size_t)(after_head(t) - t->got.data);
    unsigned arrivals = 0;
    size_t last = t->got.end;
    uint64_t until = uv_hrtime() + TALK_PATIENCE_NS;
    while (buffer_len(&t->got) < head + total) {
        ck_assert(!t->ended && uv_hrtime() < until);
        talk_turn(t);
        uint64_t passed_ms = (uv_hrtime() - began) / 1000000;
        size_t got = buffer_len(&t->got) - head;
        ck_assert_uint_le(got < total ? got : total, total * (passed_ms + 1) / drip_ms);
        arrivals += buffer_len(&t->got) > last;
        last = buffer_len(&t->got);
    }
    ck_assert_uint_ge(uv_hrtime() - began, drip_ms * 1000000);
    ck_assert_uint_ge(arrivals, 2);
}

START_TEST(a_slow_body_is_spread_and_holds_nobody_else)
{
    struct fixture f;
    struct talk t, other;
    start(&f);
    open_to(&f, &t);
    open_to(&f, &other);
    f.shape = (struct miniserver_answer){.body = {f.big, 1000}, .drip_ms = 200, .counted = true};
    uint64_t began = uv_hrtime();
    talk_say(&t, "GET /shaped HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_wait_text(&t, "\r\nContent-Length: 1000\r\n", 1);
    talk_say(&other, "GET /other HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_wait_text(&other, "path=/other\n", 1);
    ck_assert_uint_eq(miniserver_counts(f.server)->answered, 0);
    watch_drip(&t, began, 1000, 200);
    ck_assert_int_eq(memcmp(after_head(&t), f.big, 1000), 0);
    ck_assert_uint_eq(miniserver_counts(f.server)->answered, 1);
    talk_wait_text(&t, "path=/2\n", 1);
    talk_close(&t);
    talk_close(&other);
    finish(&f);
}
END_TEST

START_TEST(a_slow_body_may_be_late_large_chunked_and_read_late)
{
    struct fixture f;
    struct talk t;
    start(&f);
    open_to(&f, &t);
    f.shape = (struct miniserver_answer){
        .body = {f.big, BIG}, .delay_ms = 20, .drip_ms = 50, .chunk_size = 70000, .counted = true};
    uint64_t began = uv_hrtime();
    talk_say(&t, "GET /shaped HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    while (uv_hrtime() - began < 70000000) { /* nothing is read here */
        uv_run(&f.loop, UV_RUN_NOWAIT);
        ck_assert_uint_eq(miniserver_counts(f.server)->answered, 0);
    }
    talk_wait_end(&t);
    struct buffer body = dechunked(after_head(&t), t.got.data + t.got.end, 70000, false);
    ck_assert_uint_eq(body.end, BIG);
    ck_assert_int_eq(memcmp(body.data, f.big, BIG), 0);
    ck_assert_uint_eq(miniserver_counts(f.server)->answered, 1);
    buffer_release(&body);
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(a_half_closed_client_gets_a_slow_body_to_its_end)
{
    struct fixture f;
    struct talk t;
    start(&f);
    open_to(&f, &t);
    f.shape = (struct miniserver_answer){.body = {f.big, 500}, .drip_ms = 50};
    talk_say(&t, "GET /shaped HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_wait_text(&t, "\r\n\r\n", 1);
    shutdown(t.fd, SHUT_WR);
    talk_wait_end(&t);
    ck_assert(!t.reset);
    ck_assert_uint_eq((size_t)(t.got.data + t.got.end - after_head(&t)), 500);
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(delays_of_any_length_end_in_their_order)
{
    enum { N = 64 };
    struct fixture f;
    struct talk t[N];
    uint64_t began[N];
    start(&f);
    for (unsigned i = 0; i < N; i++) {
        unsigned ms = i * 37 % N + 1; /* each once */
        f.shape = (struct miniserver_answer){.body = STR("done"), .delay_ms = 4 * ms};
        open_to(&f, &t[ms - 1]);
        began[ms - 1] = uv_hrtime();
        talk_say(&t[ms - 1], "GET /shaped HTTP/1.1\r\nHost: x\r\n\r\n");
        while (f.handled <= i)
            uv_run(&f.loop, UV_RUN_NOWAIT);
    }
    for (unsigned i = 0; i < N; i++) {
        talk_wait_text(&t[i], "done", 1);
        ck_assert_uint_ge(uv_hrtime() - began[i], UINT64_C(4000000) * (i + 1));
        talk_close(&t[i]);
    }
    finish(&f);
}
END_TEST

START_TEST(a_client_that_leaves_while_it_waits_is_forgotten)
{
    struct fixture f;
    struct talk t[3];
    static const char *const paths[] = {"/never", "/delay", "/shaped"};
    start(&f);
    f.shape =
        (struct miniserver_answer){.body = {f.big, BIG}, .drip_ms = 86400000, .counted = true};
    for (int i = 0; i < 3; i++) {
        char request[64];
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", paths[i]);
        open_to(&f, &t[i]);
        talk_say(&t[i], request);
        while (f.handled <= (unsigned)i)
            uv_run(&f.loop, UV_RUN_NOWAIT);
    }
    ck_assert_uint_eq(miniserver_counts(f.server)->connections, 3);
    for (int i = 0; i < 3; i++)
        talk_close(&t[i]);
    uint64_t until = uv_hrtime() + TALK_PATIENCE_NS;
    while (miniserver_counts(f.server)->connections && uv_hrtime() < until)
        uv_run(&f.loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(miniserver_counts(f.server)->connections, 0);
    ck_assert_uint_eq(miniserver_counts(f.server)->accepted, 3);
    ck_assert_uint_eq(miniserver_counts(f.server)->answered, 0);
    finish(&f);
}
END_TEST

START_TEST(counted_answers_are_those_that_went_out)
{
    struct fixture f;
    struct talk t;
    start(&f);
    f.shape = (struct miniserver_answer){.body = STR("yes"), .counted = true};
    open_to(&f, &t);
    talk_say(&t, "GET /shaped HTTP/1.1\r\nHost: x\r\n\r\nGET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
                 "GET /shaped HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_wait_text(&t, "yes", 2);
    ck_assert_uint_eq(miniserver_counts(f.server)->answered, 2);
    ck_assert_uint_eq(miniserver_counts(f.server)->errors, 0);
    f.shape.status = 500;
    f.shape.delay_ms = 10;
    talk_say(&t, "GET /shaped HTTP/1.1\r\nHost: x\r\n\r\n");
    while (f.handled < 4)
        talk_turn(&t);
    ck_assert_uint_eq(miniserver_counts(f.server)->answered, 2);
    talk_wait_text(&t, "yes", 3);
    ck_assert_uint_eq(miniserver_counts(f.server)->answered, 3);
    ck_assert_uint_eq(miniserver_counts(f.server)->errors, 1);
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(a_stall_holds_everything_until_it_ends)
{
    struct fixture f;
    struct talk early, t, bad, urgent;
    start(&f);
    f.shape = (struct miniserver_answer){.body = {f.big, BIG}, .lasting = true, .delay_ms = 1};
    open_to(&f, &early);
    open_to(&f, &t);
    open_to(&f, &bad);
    open_to(&f, &urgent);
    talk_say(&early, "GET /shaped HTTP/1.1\r\nHost: x\r\n\r\n"); /* is held when the stall begins */
    while (f.handled < 1)
        uv_run(&f.loop, UV_RUN_NOWAIT);
    uint64_t began = uv_hrtime();
    miniserver_stall(f.server, 150);
    talk_say(&t, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /delay HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_say(&bad, "nonsense\r\n\r\n");
    talk_say(&urgent, "GET /urgent HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_wait_text(&urgent, "path=/urgent\n", 1);
    ck_assert_uint_gt(miniserver_stalled(f.server), 0);
    while (early.got.end == 0 || t.got.end == 0 || bad.got.end == 0) {
        talk_turn(&early);
        talk_turn(&t);
        talk_turn(&bad);
        ck_assert(uv_hrtime() - began >= 150000000 ||
                  (early.got.end == 0 && t.got.end == 0 && bad.got.end == 0));
    }
    ck_assert_uint_eq(miniserver_stalled(f.server), 0);
    talk_wait_bytes(&early, BIG);
    talk_wait_text(&t, "path=/delay\n", 1);
    talk_wait_text(&bad, "HTTP/1.1 400 ", 1);
    talk_close(&early);
    talk_close(&t);
    talk_close(&bad);
    talk_close(&urgent);
    finish(&f);
}
END_TEST

START_TEST(a_stall_may_be_ended)
{
    struct fixture f;
    struct talk t;
    start(&f);
    open_to(&f, &t);
    miniserver_stall(f.server, UINT64_MAX);
    talk_say(&t, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n");
    while (f.handled < 1)
        uv_run(&f.loop, UV_RUN_NOWAIT);
    talk_turn(&t);
    ck_assert_uint_eq(t.got.end, 0);
    miniserver_stall(f.server, 0);
    talk_wait_text(&t, "path=/1\n", 1);
    ck_assert_uint_eq(miniserver_stalled(f.server), 0);
    talk_close(&t);
    finish(&f);
}
END_TEST

/* What drips when the stall begins does not go on in it either. */
START_TEST(a_stall_interrupts_a_slow_body)
{
    struct fixture f;
    struct talk t;
    start(&f);
    open_to(&f, &t);
    f.shape = (struct miniserver_answer){.body = {f.big, BIG}, .drip_ms = 50};
    talk_say(&t, "GET /shaped HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_wait_text(&t, "\r\n\r\n", 1);
    miniserver_stall(f.server, 86400000);
    uint64_t began = uv_hrtime();
    while (uv_hrtime() - began < 60000000) /* what was written before arrives; then it is over */
        talk_turn(&t);
    size_t before = t.got.end;
    ck_assert_uint_lt(before, BIG);
    for (int i = 0; i < 100; i++)
        talk_turn(&t);
    ck_assert_uint_eq(t.got.end, before);
    miniserver_stall(f.server, 0);
    talk_wait_bytes(&t, (size_t)(after_head(&t) - t.got.data) + BIG);
    ck_assert_int_eq(memcmp(after_head(&t), f.big, BIG), 0);
    talk_close(&t);
    finish(&f);
}
END_TEST

/* An answer is held back while one before it is stuck on its way to a client that reads nothing. */
START_TEST(a_close_does_not_wait_for_what_is_held_behind_a_stuck_answer)
{
    struct fixture f;
    struct talk t;
    struct buffer all = {0};
    start(&f);
    open_to(&f, &t);
    int small = 4096;
    ck_assert_int_eq(setsockopt(t.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    f.shape = (struct miniserver_answer){.body = {f.big, 60000}, .delay_ms = 1};
    static const char pair[] =
        "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /shaped HTTP/1.1\r\nHost: x\r\n\r\n";
    for (int i = 0; i < 500; i++)
        ck_assert(buffer_append(&all, pair, sizeof pair - 1));
    talk_send(&t, all.data, all.end);
    unsigned handled = 0;
    for (uint64_t since = uv_hrtime(); uv_hrtime() - since < 200000000;) {
        uv_run(&f.loop, UV_RUN_NOWAIT);
        if (f.handled > handled)
            since = uv_hrtime();
        handled = f.handled;
    }
    ck_assert_uint_lt(handled, 1000); /* stuck */
    finish(&f);                       /* runs the loop to its end */
    buffer_release(&all);
    talk_close(&t);
}
END_TEST

START_TEST(query_parameters_are_found_and_decoded)
{
    static const struct {
        const char *query, *name;
        enum miniserver_query result;
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
        enum miniserver_query r = miniserver_query(str_of(cases[i].query), cases[i].name, &value);
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
    Suite *suite = suite_create("miniserver");
    TCase *t = tcase_create("miniserver");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_request_is_answered_and_the_connection_kept);
    tcase_add_test(t, pipelined_requests_are_answered_in_order);
    tcase_add_test(t, bytes_may_come_one_by_one);
    tcase_add_test(t, a_body_of_exactly_the_limit_is_read_and_a_longer_one_refused);
    tcase_add_test(t, chunks_beyond_the_limit_are_refused);
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
    tcase_add_test(t, a_handler_may_close_the_server);
    tcase_add_test(t, a_port_in_use_is_an_error);
    tcase_add_test(t, a_body_may_go_in_chunks);
    tcase_add_test(t, an_empty_body_in_chunks_is_the_last_chunk);
    tcase_add_test(t, who_cannot_have_chunks_gets_none);
    tcase_add_test(t, a_lasting_body_keeps_its_place_among_pipelined_answers);
    tcase_add_test(t, a_slow_body_is_spread_and_holds_nobody_else);
    tcase_add_test(t, a_slow_body_may_be_late_large_chunked_and_read_late);
    tcase_add_test(t, a_half_closed_client_gets_a_slow_body_to_its_end);
    tcase_add_test(t, delays_of_any_length_end_in_their_order);
    tcase_add_test(t, a_client_that_leaves_while_it_waits_is_forgotten);
    tcase_add_test(t, counted_answers_are_those_that_went_out);
    tcase_add_test(t, a_stall_holds_everything_until_it_ends);
    tcase_add_test(t, a_stall_may_be_ended);
    tcase_add_test(t, a_stall_interrupts_a_slow_body);
    tcase_add_test(t, a_close_does_not_wait_for_what_is_held_behind_a_stuck_answer);
    tcase_add_test(t, query_parameters_are_found_and_decoded);
    suite_add_tcase(suite, t);
    return suite;
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    return unit_main(build);
}
