#include "bench/backend/pace.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/talk.h"
#include "tests/lib/unit.h"

#define BIG (3 * 1024 * 1024)

/* A server whose handler says what it got, and misbehaves on some paths. */
struct fixture {
    uv_loop_t loop;
    struct net net;
    struct httpd *server;
    struct pace *pace;
    unsigned handled;
    bool closed;
    char *big;
    struct pace_answer shape; /* of /shaped */
    struct buffer text[1000]; /* of the other answers, to be kept until the end */
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

static bool handle(void *arg, struct httpd_request *q, struct httpd_answer *a)
{
    struct fixture *f = arg;
    struct buffer *text = &f->text[f->handled++ % 1000];
    struct pace_answer made = {0};
    buffer_clear(text);
    ck_assert(tell(text, "path=", q->path) && tell(text, "query=", q->query) &&
              tell(text, "body=", q->body));
    if (str_eq(q->path, STR("/urgent"))) {
        a->body = (struct str){text->data, text->end};
        return true;
    }
    if (str_eq(q->path, STR("/bye"))) {
        a->body = (struct str){text->data, text->end};
        a->close = true;
        return true;
    }
    if (str_eq(q->path, STR("/shaped")))
        made = f->shape;
    if (str_eq(q->path, STR("/delay")))
        made.delay_ms = 30;
    if (str_eq(q->path, STR("/never")))
        made.delay_ms = PACE_NEVER;
    if (made.body.p == NULL)
        made.body = (struct str){text->data, text->end};
    if (made.status == 0)
        made.status = 200;
    return pace_answer(f->pace, q, &made);
}

static void refuse(void *arg, struct httpd_request *q, int status)
{
    struct fixture *f = arg;
    ck_assert(pace_refuse(f->pace, q, status));
}

static void start(struct fixture *f)
{
    *f = (struct fixture){0};
    f->big = malloc(BIG);
    ck_assert_ptr_nonnull(f->big);
    for (size_t i = 0; i < BIG; i++)
        f->big[i] = (char)('a' + i % 26);
    ck_assert_int_eq(uv_loop_init(&f->loop), 0);
    net_init(&f->net, &f->loop);
    f->pace = pace_new(&f->loop);
    const struct httpd_options o = {.handle = handle, .refuse = refuse, .arg = f};
    f->server = httpd_new(&f->net, &o);
    struct addr a = {.v4 = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}},
                     .len = sizeof a.v4};
    struct error e;
    ck_assert_msg(httpd_listen(f->server, &a, &e), "%s", e.text);
}

static void finish(struct fixture *f)
{
    httpd_close(f->server, on_closed, f);
    pace_close(f->pace);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    ck_assert(f->closed);
    net_deinit(&f->net);
    ck_assert_int_eq(uv_loop_close(&f->loop), 0);
    pace_free(f->pace);
    for (int i = 0; i < 1000; i++)
        buffer_release(&f->text[i]);
    free(f->big);
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

START_TEST(without_memory_for_its_head_a_fed_answer_is_500)
{
    struct fixture f;
    struct talk t;
    start(&f);
    struct buffer endless = {.data = f.big, .end = SIZE_MAX / 2, .cap = SIZE_MAX / 2};
    f.shape = (struct pace_answer){.body = {f.big, BIG}, .fields = &endless, .counted = true};
    ask(&f, &t, "GET /shaped HTTP/1.1\r\nHost: x\r\n\r\n");
    ck_assert_ptr_nonnull(strstr(t.got.data, "HTTP/1.1 500"));
    ck_assert_uint_eq(pace_counts(f.pace)->errors, 1);
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
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct fixture f;
        struct talk t;
        size_t chunk = sizes[i];
        start(&f);
        f.shape = (struct pace_answer){.body = {f.big, chunk < 4096 ? 1000 * chunk : BIG},
                                       .chunk_size = chunk};
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
    f.shape = (struct pace_answer){.body = STR(""), .chunk_size = 10, .drip_ms = 1000};
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
        f.shape = (struct pace_answer){.status = cases[n].status,
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

/* A large body, after short ones and before others, held back or not. */
START_TEST(a_large_body_keeps_its_place_among_pipelined_answers)
{
    enum { N = 4 };
    for (unsigned delay = 0; delay < 10; delay += 5) {
        struct fixture f;
        struct talk t;
        start(&f);
        f.shape = (struct pace_answer){.body = {f.big, BIG}, .delay_ms = delay, .counted = true};
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
        ck_assert_uint_eq(pace_counts(f.pace)->answered, N);
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
    f.shape = (struct pace_answer){.body = {f.big, 1000}, .drip_ms = 200, .counted = true};
    uint64_t began = uv_hrtime();
    talk_say(&t, "GET /shaped HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_wait_text(&t, "\r\nContent-Length: 1000\r\n", 1);
    talk_say(&other, "GET /other HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_wait_text(&other, "path=/other\n", 1);
    ck_assert_uint_eq(pace_counts(f.pace)->answered, 0);
    watch_drip(&t, began, 1000, 200);
    ck_assert_int_eq(memcmp(after_head(&t), f.big, 1000), 0);
    ck_assert_uint_eq(pace_counts(f.pace)->answered, 1);
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
    f.shape = (struct pace_answer){
        .body = {f.big, BIG}, .delay_ms = 20, .drip_ms = 50, .chunk_size = 70000, .counted = true};
    uint64_t began = uv_hrtime();
    talk_say(&t, "GET /shaped HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    while (uv_hrtime() - began < 70000000) { /* nothing is read here */
        uv_run(&f.loop, UV_RUN_NOWAIT);
        ck_assert_uint_eq(pace_counts(f.pace)->answered, 0);
    }
    talk_wait_end(&t);
    struct buffer body = dechunked(after_head(&t), t.got.data + t.got.end, 70000, false);
    ck_assert_uint_eq(body.end, BIG);
    ck_assert_int_eq(memcmp(body.data, f.big, BIG), 0);
    ck_assert_uint_eq(pace_counts(f.pace)->answered, 1);
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
    f.shape = (struct pace_answer){.body = {f.big, 500}, .drip_ms = 50};
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
        f.shape = (struct pace_answer){.body = STR("done"), .delay_ms = 4 * ms};
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
    f.shape = (struct pace_answer){.body = {f.big, BIG}, .drip_ms = 86400000, .counted = true};
    for (int i = 0; i < 3; i++) {
        char request[64];
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", paths[i]);
        open_to(&f, &t[i]);
        talk_say(&t[i], request);
        while (f.handled <= (unsigned)i)
            uv_run(&f.loop, UV_RUN_NOWAIT);
    }
    ck_assert_uint_eq(httpd_counts(f.server)->connections, 3);
    for (int i = 0; i < 3; i++)
        talk_close(&t[i]);
    uint64_t until = uv_hrtime() + TALK_PATIENCE_NS;
    while (httpd_counts(f.server)->connections && uv_hrtime() < until)
        uv_run(&f.loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(httpd_counts(f.server)->connections, 0);
    ck_assert_uint_eq(httpd_counts(f.server)->accepted, 3);
    ck_assert_uint_eq(pace_counts(f.pace)->answered, 0);
    finish(&f);
}
END_TEST

START_TEST(counted_answers_are_those_that_went_out)
{
    struct fixture f;
    struct talk t;
    start(&f);
    f.shape = (struct pace_answer){.body = STR("yes"), .counted = true};
    open_to(&f, &t);
    talk_say(&t, "GET /shaped HTTP/1.1\r\nHost: x\r\n\r\nGET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
                 "GET /shaped HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_wait_text(&t, "yes", 2);
    ck_assert_uint_eq(pace_counts(f.pace)->answered, 2);
    ck_assert_uint_eq(pace_counts(f.pace)->errors, 0);
    f.shape.status = 500;
    f.shape.delay_ms = 10;
    talk_say(&t, "GET /shaped HTTP/1.1\r\nHost: x\r\n\r\n");
    while (f.handled < 4)
        talk_turn(&t);
    ck_assert_uint_eq(pace_counts(f.pace)->answered, 2);
    talk_wait_text(&t, "yes", 3);
    ck_assert_uint_eq(pace_counts(f.pace)->answered, 3);
    ck_assert_uint_eq(pace_counts(f.pace)->errors, 1);
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(a_stall_holds_everything_until_it_ends)
{
    struct fixture f;
    struct talk early, t, bad, urgent;
    start(&f);
    f.shape = (struct pace_answer){.body = {f.big, BIG}, .delay_ms = 1};
    open_to(&f, &early);
    open_to(&f, &t);
    open_to(&f, &bad);
    open_to(&f, &urgent);
    talk_say(&early, "GET /shaped HTTP/1.1\r\nHost: x\r\n\r\n"); /* is held when the stall begins */
    while (f.handled < 1)
        uv_run(&f.loop, UV_RUN_NOWAIT);
    uint64_t began = uv_hrtime();
    pace_stall(f.pace, 150);
    talk_say(&t, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /delay HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_say(&bad, "nonsense\r\n\r\n");
    talk_say(&urgent, "GET /urgent HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_wait_text(&urgent, "path=/urgent\n", 1);
    ck_assert_uint_gt(pace_stalled(f.pace), 0);
    while (early.got.end == 0 || t.got.end == 0 || bad.got.end == 0) {
        talk_turn(&early);
        talk_turn(&t);
        talk_turn(&bad);
        ck_assert(uv_hrtime() - began >= 150000000 ||
                  (early.got.end == 0 && t.got.end == 0 && bad.got.end == 0));
    }
    ck_assert_uint_eq(pace_stalled(f.pace), 0);
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
    pace_stall(f.pace, UINT64_MAX);
    talk_say(&t, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n");
    while (f.handled < 1)
        uv_run(&f.loop, UV_RUN_NOWAIT);
    talk_turn(&t);
    ck_assert_uint_eq(t.got.end, 0);
    pace_stall(f.pace, 0);
    talk_wait_text(&t, "path=/1\n", 1);
    ck_assert_uint_eq(pace_stalled(f.pace), 0);
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
    f.shape = (struct pace_answer){.body = {f.big, BIG}, .drip_ms = 50};
    talk_say(&t, "GET /shaped HTTP/1.1\r\nHost: x\r\n\r\n");
    talk_wait_text(&t, "\r\n\r\n", 1);
    pace_stall(f.pace, 86400000);
    uint64_t began = uv_hrtime();
    while (uv_hrtime() - began < 60000000) /* what was written before arrives; then it is over */
        talk_turn(&t);
    size_t before = t.got.end;
    ck_assert_uint_lt(before, BIG);
    for (int i = 0; i < 100; i++)
        talk_turn(&t);
    ck_assert_uint_eq(t.got.end, before);
    pace_stall(f.pace, 0);
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
    f.shape = (struct pace_answer){.body = {f.big, 60000}, .delay_ms = 1};
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

static Suite *build(void)
{
    Suite *suite = suite_create("pace");
    TCase *t = tcase_create("pace");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_client_that_only_sends_is_not_read_without_end);
    tcase_add_test(t, without_memory_for_its_head_a_fed_answer_is_500);
    tcase_add_test(t, held_answers_come_late_and_in_order);
    tcase_add_test(t, an_answer_that_never_comes_holds_nobody_else);
    tcase_add_test(t, a_body_may_go_in_chunks);
    tcase_add_test(t, an_empty_body_in_chunks_is_the_last_chunk);
    tcase_add_test(t, who_cannot_have_chunks_gets_none);
    tcase_add_test(t, a_large_body_keeps_its_place_among_pipelined_answers);
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
    suite_add_tcase(suite, t);
    return suite;
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    return unit_main(build);
}
