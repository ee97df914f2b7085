/* A check of several addresses reports the first one in order that passes, and takes no longer than
 * a check of one address. */
#include "health/check.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/lib/fake_backend.h"
#include "tests/lib/unit.h"

#define SLOW_MS 20000
#define N 3
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define BAD "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"

struct result {
    bool done, closed;
    enum probe_outcome outcome;
    unsigned which;
    char reason[PROBE_REASON_MAX];
};

static void on_done(void *arg, enum probe_outcome outcome, unsigned which, const char *reason)
{
    struct result *r = arg;
    ck_assert(!r->done && !r->closed);
    r->done = true;
    r->outcome = outcome;
    r->which = which;
    snprintf(r->reason, sizeof r->reason, "%s", reason);
}

static void on_closed(void *arg)
{
    struct result *r = arg;
    ck_assert(!r->closed);
    r->closed = true;
}

struct world {
    uv_loop_t loop;
    struct net net;
    struct fake fakes[N];
    struct addr addrs[N];
    struct config_range range;
    struct config_health health;
    struct server server;
    struct result result;
    struct check *check;
    struct deadline_queue ticks;
};

/* One server for each letter. b: answers wrongly, h: hangs, o: passes, r: refuses connections. */
static void world_init(struct world *w, const char *kinds, uint64_t timeout_ms)
{
    memset(w, 0, sizeof *w);
    ck_assert_int_eq(uv_loop_init(&w->loop), 0);
    net_init(&w->net, &w->loop);
    probe_ticks_init(&w->ticks, &w->net, 2);
    for (int i = 0; i < N; i++) {
        enum fake_kind kind = kinds[i] == 'h'   ? FAKE_HANG
                              : kinds[i] == 'r' ? FAKE_REFUSE
                                                : FAKE_ANSWER;
        fake_open(&w->fakes[i], &w->loop, kind, kinds[i] == 'o' ? OK : BAD);
        w->addrs[i] = w->fakes[i].address;
    }
    w->range = (struct config_range){200, 399};
    w->health = (struct config_health){.check = CHECK_HTTP,
                                       .path = (char *)(uintptr_t) "/",
                                       .expect_status = &w->range,
                                       .nexpect_status = 1,
                                       .timeout_ms = timeout_ms};
    w->server = (struct server){.name = (char *)(uintptr_t) "b1",
                                .address_text = (char *)(uintptr_t) "b1.example:80"};
}

static void begin(struct world *w)
{
    const struct probe_plan plan = {&w->health, &w->server, w->health.timeout_ms, SEND_HEAD_OFF,
                                    &w->ticks};
    const struct check_callbacks cb = {on_done, on_closed, &w->result};
    w->check = check_start(&w->net, &plan, w->addrs, N, &cb);
    ck_assert(!w->result.done);
}

static void world_end(struct world *w)
{
    while (!w->result.closed)
        uv_run(&w->loop, UV_RUN_ONCE);
    for (int i = 0; i < N; i++)
        fake_close(&w->fakes[i]);
    deadline_queue_deinit(&w->ticks);
    net_close(&w->net);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    net_deinit(&w->net);
    ck_assert_int_eq(uv_loop_close(&w->loop), 0);
}

static const struct {
    const char *kinds;
    enum probe_outcome outcome;
    unsigned which;
    const char *reason;
    uint64_t timeout_ms;
} cases[] = {
    {"ooo", PROBE_PASS, 0, "200 in ", SLOW_MS},
    {"boo", PROBE_PASS, 1, "200 in ", SLOW_MS},
    {"rbo", PROBE_PASS, 2, "200 in ", SLOW_MS},
    {"ohh", PROBE_PASS, 0, "200 in ", SLOW_MS}, /* those behind it are not waited for */
    {"roh", PROBE_PASS, 1, "200 in ", SLOW_MS},
    {"hoo", PROBE_PASS, 1, "200 in ", 150}, /* one before it is, for its time */
    {"hho", PROBE_PASS, 2, "200 in ", 150},
    {"bbr", PROBE_FAIL, 2, "connection refused", SLOW_MS},
    {"rrb", PROBE_FAIL, 2, "status 503, expected 200-399", SLOW_MS},
    {"hhh", PROBE_FAIL, 2, "timed out after 150 ms", 150},
};

START_TEST(the_first_in_order_that_passes_decides)
{
    struct world w;
    world_init(&w, cases[_i].kinds, cases[_i].timeout_ms);
    begin(&w);
    world_end(&w);
    ck_assert(w.result.done);
    ck_assert_msg(w.result.outcome == cases[_i].outcome && w.result.which == cases[_i].which &&
                      strncmp(w.result.reason, cases[_i].reason, strlen(cases[_i].reason)) == 0,
                  "%s: %d at %u: %s", cases[_i].kinds, (int)w.result.outcome, w.result.which,
                  w.result.reason);
}
END_TEST

START_TEST(all_are_asked_at_the_same_time)
{
    struct world w;
    world_init(&w, "hhh", SLOW_MS);
    begin(&w);
    while (w.fakes[0].accepted + w.fakes[1].accepted + w.fakes[2].accepted < N)
        uv_run(&w.loop, UV_RUN_ONCE);
    check_cancel(w.check);
    world_end(&w);
    ck_assert(!w.result.done);
}
END_TEST

/* _i: the number of iterations of the loop before the check is cancelled. */
START_TEST(after_a_cancel_only_the_close_is_told)
{
    struct world w;
    world_init(&w, "brh", SLOW_MS);
    begin(&w);
    for (int i = 0; i < _i; i++)
        uv_run(&w.loop, UV_RUN_NOWAIT);
    ck_assert(!w.result.done);
    check_cancel(w.check);
    world_end(&w);
    ck_assert(!w.result.done);
}
END_TEST

/* The result is told, and the rest of the answer does not come. */
START_TEST(a_check_can_be_cancelled_after_its_result)
{
    static const char endless[] = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    struct world w;
    world_init(&w, "ohh", SLOW_MS);
    w.fakes[0].text = endless;
    begin(&w);
    while (!w.result.done)
        uv_run(&w.loop, UV_RUN_ONCE);
    ck_assert_int_eq(w.result.outcome, PROBE_PASS);
    for (int i = 0; i < 20; i++)
        uv_run(&w.loop, UV_RUN_NOWAIT);
    ck_assert(!w.result.closed);
    check_cancel(w.check);
    check_cancel(w.check);
    world_end(&w);
    ck_assert_uint_eq(w.fakes[0].resets, 0);
}
END_TEST

START_TEST(what_could_not_be_asked_is_no_failure)
{
    struct world w;
    struct rlimit old, none;
    world_init(&w, "ooo", SLOW_MS);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = (struct rlimit){0, old.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    begin(&w);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    world_end(&w);
    ck_assert_int_eq(w.result.outcome, PROBE_NOT_DONE);
    ck_assert_str_eq(w.result.reason, "too many open files");
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("check");
    TCase *t = tcase_create("check");
    tcase_set_timeout(t, 100);
    tcase_add_loop_test(t, the_first_in_order_that_passes_decides, 0, sizeof cases / sizeof *cases);
    tcase_add_test(t, all_are_asked_at_the_same_time);
    tcase_add_loop_test(t, after_a_cancel_only_the_close_is_told, 0, 6);
    tcase_add_test(t, a_check_can_be_cancelled_after_its_result);
    tcase_add_test(t, what_could_not_be_asked_is_no_failure);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
