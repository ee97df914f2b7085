/* When the checker probes whom, and what it makes of it: real sockets and time, one loop. Upper
 * bounds on time are left out, as machines are slow; what must not be early is exact. */
#include <stdio.h>
#include <string.h>

#include "health/checker.h"
#include "tests/lib/fake_backend.h"
#include "tests/lib/unit.h"

#define N 4
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define BAD "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
/* A timer may be up to a ms early by another clock's rounding. */
#define CLOCK_MS 2

/* b1, b2, b3 and the standby s1, each with a fake behind it. */
struct world {
    uv_loop_t loop;
    uv_timer_t heartbeat; /* a turn of the loop may end in a long wait for sockets else */
    struct fake fakes[N];
    struct config_server servers[N];
    struct config_range range;
    struct config_pool config;
    struct pool *pool;
    struct roster *roster;
    struct checker *checker;
    bool first_done, closed, close_at_first;
    unsigned failbacks;
    unsigned accepted_at_down; /* by the server that went down last */
};

static void on_notice(void *arg, const struct roster_notice *n)
{
    struct world *w = arg;
    w->failbacks += n->event == ROSTER_FAILBACK;
    if (n->event == ROSTER_SERVER_DOWN)
        w->accepted_at_down = w->fakes[n->server->id].accepted;
}

static void on_closed(void *arg)
{
    struct world *w = arg;
    ck_assert(!w->closed);
    w->closed = true;
}

static void on_first(void *arg)
{
    struct world *w = arg;
    ck_assert(!w->first_done);
    w->first_done = true;
    if (w->close_at_first)
        checker_close(w->checker, on_closed, w);
}

static void on_heartbeat(uv_timer_t *t)
{
}

static void world_init(struct world *w)
{
    static const char *const names[N] = {"b1", "b2", "b3", "s1"};
    memset(w, 0, sizeof *w);
    ck_assert_int_eq(uv_loop_init(&w->loop), 0);
    ck_assert_int_eq(uv_timer_init(&w->loop, &w->heartbeat), 0);
    ck_assert_int_eq(uv_timer_start(&w->heartbeat, on_heartbeat, 10, 10), 0);
    w->range = (struct config_range){200, 399};
    for (int i = 0; i < N; i++) {
        fake_open(&w->fakes[i], &w->loop, FAKE_ANSWER, OK);
        w->servers[i] = (struct config_server){.name = (char *)(uintptr_t)names[i],
                                               .address = w->fakes[i].address,
                                               .address_text = w->fakes[i].address_text,
                                               .weight = 1};
    }
    w->config = (struct config_pool){
        .name = (char *)(uintptr_t) "p",
        .vnodes = 8,
        .health = {.check = CHECK_HTTP,
                   .path = (char *)(uintptr_t) "/",
                   .expect_status = &w->range,
                   .nexpect_status = 1,
                   .interval_ms = 80,
                   .timeout_ms = 20000,
                   .fall = 2,
                   .rise = 2},
        .passive = {.failures = 5},
        .failback = {.max_after_ms = 300000},
        .backends = w->servers,
        .nbackends = N - 1,
        .standbys = &w->servers[N - 1],
        .nstandbys = 1,
    };
}

static void world_open(struct world *w)
{
    struct error e;
    w->pool = pool_new(&w->config, 1, &e);
    ck_assert(w->pool != NULL);
    w->roster = roster_new(w->pool, on_notice, w);
    w->checker = checker_new(&w->loop, w->pool, w->roster);
}

static void turn(struct world *w)
{
    ck_assert(uv_run(&w->loop, UV_RUN_ONCE) != 0);
}

static void world_first(struct world *w)
{
    checker_first(w->checker, on_first, w);
    ck_assert(!w->first_done);
    while (!w->first_done)
        turn(w);
}

static void world_run(struct world *w)
{
    world_first(w);
    roster_start(w->roster, uv_now(&w->loop));
    checker_run(w->checker);
}

static void world_close(struct world *w)
{
    if (!w->close_at_first)
        checker_close(w->checker, on_closed, w);
    while (!w->closed)
        turn(w);
    uv_close((uv_handle_t *)&w->heartbeat, NULL);
    roster_free(w->roster);
    pool_free(w->pool);
    for (int i = 0; i < N; i++)
        fake_close(&w->fakes[i]);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&w->loop), 0);
}

static void until_state(struct world *w, unsigned server, enum roster_state state)
{
    while (roster_state(w->roster, server) != state)
        turn(w);
}

static void until_accepted(struct world *w, unsigned server, unsigned n)
{
    while (w->fakes[server].accepted < n)
        turn(w);
}

START_TEST(the_first_checks_decide_how_servers_start)
{
    struct world w;
    world_init(&w);
    w.fakes[1].text = BAD;
    w.fakes[3].kind = FAKE_RESET;
    world_open(&w);
    world_run(&w);
    ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_UP);
    ck_assert_int_eq(roster_state(w.roster, 1), ROSTER_DOWN);
    ck_assert_int_eq(roster_state(w.roster, 2), ROSTER_UP);
    ck_assert_int_eq(roster_state(w.roster, 3), ROSTER_DOWN);
    ck_assert_str_eq(roster_last_check(w.roster, 1)->reason, "status 503, expected 200-399");
    for (unsigned i = 0; i < N; i++)
        ck_assert(roster_last_check(w.roster, i)->done);
    world_close(&w);
}
END_TEST

START_TEST(checks_send_the_head_that_the_pool_sends)
{
    static const char head[] = "PROXY UNKNOWN\r\nGET / HTTP/1.1\r\n";
    struct world w;
    world_init(&w);
    w.config.send_head = SEND_HEAD_V1;
    world_open(&w);
    world_run(&w);
    for (unsigned i = 0; i < N; i++)
        ck_assert_int_eq(strncmp(w.fakes[i].received, head, sizeof head - 1), 0);
    world_close(&w);
}
END_TEST

START_TEST(the_first_checks_run_at_the_same_time)
{
    /* Each of them hangs: one after the other would take four timeouts. */
    struct world w;
    world_init(&w);
    w.config.health.timeout_ms = 1000;
    for (int i = 0; i < N; i++)
        w.fakes[i].kind = FAKE_HANG;
    world_open(&w);
    uint64_t began = uv_hrtime() / 1000000;
    checker_first(w.checker, on_first, &w);
    for (unsigned i = 0; i < N; i++)
        until_accepted(&w, i, 1);
    ck_assert(!w.first_done);
    while (!w.first_done)
        turn(&w);
    uint64_t took = uv_hrtime() / 1000000 - began;
    ck_assert_uint_ge(took + CLOCK_MS, 1000);
    for (unsigned i = 0; i < N; i++) {
        ck_assert(!roster_last_check(w.roster, i)->ok);
        ck_assert_uint_eq(w.fakes[i].accepted, 1);
    }
    world_close(&w);
}
END_TEST

START_TEST(a_server_goes_down_and_comes_back_by_its_checks)
{
    struct world w;
    world_init(&w);
    world_open(&w);
    world_run(&w);
    w.fakes[0].text = BAD;
    until_state(&w, 0, ROSTER_DOWN);
    ck_assert_uint_eq(pool_owner_of(w.pool, 0).owner, 3);
    ck_assert_int_eq(roster_state(w.roster, 3), ROSTER_PROMOTED);
    w.fakes[0].text = OK;
    until_state(&w, 0, ROSTER_UP);
    ck_assert_uint_eq(pool_owner_of(w.pool, 0).owner, 0);
    for (unsigned i = 1; i < N; i++)
        ck_assert(roster_last_check(w.roster, i)->ok);
    world_close(&w);
}
END_TEST

START_TEST(checks_are_an_interval_apart_and_spread_over_it)
{
    struct world w;
    world_init(&w);
    world_open(&w);
    world_run(&w);
    uint64_t began = uv_hrtime() / 1000000, interval = w.config.health.interval_ms;
    for (unsigned i = 0; i < N; i++)
        until_accepted(&w, i, 5);
    for (unsigned i = 0; i < N; i++) {
        const uint64_t *at = w.fakes[i].accepted_ms;
        ck_assert_uint_ge(at[1] + CLOCK_MS, began + interval * (i + 1) / N);
        /* Accepted late is not begun late: only the sum over several can't be too short. */
        ck_assert_uint_ge(at[4] + CLOCK_MS, began + interval * (i + 1) / N + 3 * interval);
    }
    ck_assert_uint_le(w.fakes[0].accepted_ms[1], w.fakes[3].accepted_ms[1]);
    world_close(&w);
}
END_TEST

START_TEST(while_a_server_is_changing_its_next_check_comes_sooner)
{
    /* Nine failures in a row are eight quarters of the interval; the others meanwhile go on with
     * whole ones. */
    struct world w;
    world_init(&w);
    w.config.health.interval_ms = 400;
    w.config.health.fall = 9;
    world_open(&w);
    world_run(&w);
    w.fakes[0].text = BAD;
    uint64_t began = uv_hrtime() / 1000000;
    until_state(&w, 0, ROSTER_DOWN);
    const uint64_t *at = w.fakes[0].accepted_ms;
    ck_assert_uint_eq(w.accepted_at_down, 10);
    ck_assert_uint_ge(at[9] + CLOCK_MS, began + 400 / N + 8 * 100);
    ck_assert_uint_lt(w.fakes[1].accepted, 8);
    world_close(&w);
}
END_TEST

START_TEST(a_hanging_server_is_down_after_fall_timeouts)
{
    struct world w;
    world_init(&w);
    w.config.health.timeout_ms = 1000;
    w.config.health.fall = 1;
    world_open(&w);
    world_run(&w);
    w.fakes[2].kind = FAKE_HANG;
    until_state(&w, 2, ROSTER_DOWN);
    ck_assert_str_eq(roster_last_check(w.roster, 2)->reason, "timed out after 1000 ms");
    /* No second check began while the first was on, though the interval was over. */
    ck_assert_uint_eq(w.accepted_at_down, 2);
    world_close(&w);
}
END_TEST

START_TEST(the_wait_and_the_ramp_end_by_the_checkers_clock)
{
    struct world w;
    world_init(&w);
    w.config.failback.after_ms = 60;
    w.config.failback.ramp_ms = 60;
    w.config.health.interval_ms = 40;
    world_open(&w);
    world_run(&w);
    w.fakes[0].text = BAD;
    until_state(&w, 0, ROSTER_DOWN);
    w.fakes[0].text = OK;
    until_state(&w, 0, ROSTER_RETURNING);
    uint64_t began = uv_now(&w.loop);
    while (w.failbacks == 0)
        turn(&w);
    ck_assert_uint_ge(uv_now(&w.loop) - began, 120);
    ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_UP);
    world_close(&w);
}
END_TEST

START_TEST(without_checks_only_time_is_kept)
{
    struct world w;
    world_init(&w);
    w.config.health.check = CHECK_OFF;
    world_open(&w);
    world_run(&w);
    uint64_t began = uv_now(&w.loop);
    roster_passive_down(w.roster, 0, began);
    checker_rearm(w.checker);
    ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_DOWN);
    until_state(&w, 0, ROSTER_UP);
    ck_assert_uint_ge(uv_now(&w.loop) - began, 80);
    for (unsigned i = 0; i < N; i++) {
        ck_assert_uint_eq(w.fakes[i].accepted, 0);
        ck_assert(!roster_last_check(w.roster, i)->done);
    }
    world_close(&w);
}
END_TEST

/* At any time: before, during and after the first checks, and while periodic ones are on. */
START_TEST(closing_works_at_any_time)
{
    struct world w;
    world_init(&w);
    w.fakes[1].kind = FAKE_HANG;
    w.config.health.timeout_ms = 100;
    w.config.health.interval_ms = 5;
    if (_i == 5 || _i == 7)
        w.config.health.check = CHECK_OFF;
    world_open(&w);
    if (_i == 1 || _i == 5)
        checker_first(w.checker, on_first, &w);
    w.close_at_first = _i >= 6;
    if (_i == 2 || _i >= 6)
        world_first(&w);
    if (_i == 3 || _i == 4)
        world_run(&w);
    if (_i == 4)
        until_accepted(&w, 1, 2);
    world_close(&w);
    ck_assert_int_eq(w.first_done, _i >= 2 && _i != 5);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("checker");
    TCase *t = tcase_create("checker");
    tcase_set_timeout(t, 100);
    tcase_add_test(t, the_first_checks_decide_how_servers_start);
    tcase_add_test(t, checks_send_the_head_that_the_pool_sends);
    tcase_add_test(t, the_first_checks_run_at_the_same_time);
    tcase_add_test(t, a_server_goes_down_and_comes_back_by_its_checks);
    tcase_add_test(t, checks_are_an_interval_apart_and_spread_over_it);
    tcase_add_test(t, while_a_server_is_changing_its_next_check_comes_sooner);
    tcase_add_test(t, a_hanging_server_is_down_after_fall_timeouts);
    tcase_add_test(t, the_wait_and_the_ramp_end_by_the_checkers_clock);
    tcase_add_test(t, without_checks_only_time_is_kept);
    tcase_add_loop_test(t, closing_works_at_any_time, 0, 8);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
