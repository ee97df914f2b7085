/* Deadlines of a loop that was away, on made-up time. */
#include "net/deadline.h"

#include <stdlib.h>

#include "tests/lib/made_up_time.h"
#include "tests/lib/unit.h"

#define SHORT 1000
#define LONG 4000
#define GRACE 50 /* how late a loop may be without having been away */

struct item {
    struct deadline deadline;
    unsigned times;
    uint64_t at_ms; /* when it expired last */
};

struct fixture {
    uv_loop_t loop;
    struct deadline_clock clock;
    struct deadline_queue shorter, longer;
    struct item items[4];
};

static void on_expired(struct deadline *d)
{
    struct item *i = container_of(d, struct item, deadline);
    i->times++;
    i->at_ms = time_now();
}

static void start(struct fixture *f)
{
    *f = (struct fixture){0};
    time_reset();
    ck_assert_int_eq(uv_loop_init(&f->loop), 0);
    deadline_clock_init(&f->clock, &f->loop);
    deadline_queue_init(&f->shorter, &f->clock, SHORT, on_expired);
    deadline_queue_init(&f->longer, &f->clock, LONG, on_expired);
    for (unsigned i = 0; i < 4; i++)
        deadline_init(&f->items[i].deadline);
}

static void finish(struct fixture *f)
{
    for (unsigned i = 0; i < 4; i++)
        deadline_cancel(&f->items[i].deadline);
    deadline_queue_deinit(&f->shorter);
    deadline_queue_deinit(&f->longer);
    deadline_clock_close(&f->clock, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&f->loop), 0);
}

/* How long from now until the item expires. */
static uint64_t left(struct item *i)
{
    uint64_t begun = time_now();
    unsigned before = i->times;
    while (i->times == before) {
        ck_assert(deadline_armed(&i->deadline));
        time_advance(1);
    }
    return i->at_ms - begun;
}

START_TEST(a_stop_is_not_counted_wherever_it_begins_and_ends)
{
    static const uint64_t stops[] = {SHORT + GRACE + 1, 2 * SHORT, LONG, 3600000};
    struct fixture f;
    start(&f);
    deadline_arm(&f.longer, &f.items[1].deadline);
    deadline_arm(&f.shorter, &f.items[0].deadline);
    time_stop(stops[_i]);
    time_advance(0);
    ck_assert_uint_eq(f.items[0].times + f.items[1].times, 0);
    uint64_t first = left(&f.items[0]);
    ck_assert_uint_le(first, SHORT);
    if (stops[_i] >=
        2 * SHORT) /* so much of the wait may have been before it began, but not more */
        ck_assert_uint_ge(first, SHORT - GRACE);
    uint64_t second = left(&f.items[1]);
    ck_assert_uint_le(first + second, LONG);
    ck_assert_uint_ge(first + second, LONG - SHORT);
    finish(&f);
}
END_TEST

/* It ends long before the deadline. Only what the stop may have taken of a beat is not known. */
START_TEST(a_stop_within_a_long_wait_is_not_counted)
{
    struct deadline_queue hour;
    struct fixture f;
    start(&f);
    deadline_queue_init(&hour, &f.clock, 3600000, on_expired);
    deadline_arm(&hour, &f.items[0].deadline);
    time_advance(300500);
    time_stop(1800000);
    time_advance(0);
    uint64_t rest = left(&f.items[0]);
    ck_assert_uint_ge(rest, 3600000 - 300500 - 1000);
    ck_assert_uint_le(rest, 3600000 - 300500 + 1000);
    deadline_queue_deinit(&hour);
    finish(&f);
}
END_TEST

/* The callbacks for sockets run with the loop's new time, before the clock knows of the stop. */
START_TEST(what_is_armed_before_the_stop_is_noticed_has_its_own_duration)
{
    struct fixture f;
    start(&f);
    deadline_arm(&f.shorter, &f.items[0].deadline);
    deadline_arm(&f.longer, &f.items[1].deadline);
    time_stop(60000);
    deadline_arm(&f.shorter, &f.items[2].deadline);
    deadline_arm(&f.longer, &f.items[1].deadline);
    time_advance(0);
    uint64_t first = left(&f.items[0]), then = left(&f.items[2]);
    ck_assert_uint_le(first, SHORT);
    ck_assert_uint_le(first + then, SHORT + 1);
    ck_assert_uint_ge(first + then, SHORT);
    uint64_t last = left(&f.items[1]);
    ck_assert_uint_ge(first + then + last, LONG);
    ck_assert_uint_le(first + then + last, LONG + 1);
    finish(&f);
}
END_TEST

/* Bytes that came in time may lie in the sockets. */
START_TEST(nothing_expires_late_before_the_loop_has_polled_again)
{
    static const uint64_t stalls[] = {10, GRACE, GRACE + 1, 5000};
    struct fixture f;
    start(&f);
    deadline_arm(&f.shorter, &f.items[0].deadline);
    time_advance(SHORT - 1);
    time_stop(1 + stalls[_i]);
    time_advance(0); /* the timer fires */
    ck_assert_uint_eq(f.items[0].times, 0);
    deadline_cancel(&f.items[0].deadline); /* what was read is what it waited for */
    time_advance(10 * SHORT);
    ck_assert_uint_eq(f.items[0].times, 0);
    deadline_arm(&f.shorter, &f.items[0].deadline); /* real slowness afterwards */
    ck_assert_uint_eq(left(&f.items[0]), SHORT);
    finish(&f);
}
END_TEST

START_TEST(a_turn_that_takes_long_is_not_counted)
{
    struct fixture f;
    start(&f);
    deadline_arm(&f.longer, &f.items[0].deadline);
    time_advance(SHORT);
    time_stall(7 * LONG);
    time_advance(0);
    ck_assert_uint_eq(f.items[0].times, 0);
    uint64_t rest = left(&f.items[0]);
    ck_assert_uint_le(rest, LONG - SHORT);
    ck_assert_uint_ge(rest, LONG - SHORT - GRACE - 1);
    finish(&f);
}
END_TEST

START_TEST(a_loop_that_is_always_late_expires_deadlines_all_the_same)
{
    static const uint64_t turns[] = {GRACE + 10, 300, 2000, 20000};
    struct fixture f;
    start(&f);
    deadline_arm(&f.longer, &f.items[0].deadline);
    deadline_arm(&f.shorter, &f.items[1].deadline);
    uint64_t most = 20 * (LONG + turns[_i]);
    for (uint64_t t = 0; f.items[0].times == 0; t += turns[_i]) {
        ck_assert_uint_lt(t, most);
        time_stall(turns[_i]);
        time_advance(0);
    }
    ck_assert_uint_eq(f.items[1].times, 1);
    ck_assert_uint_le(f.items[1].at_ms, f.items[0].at_ms);
    finish(&f);
}
END_TEST

/* The loop has nothing to do and no deadline, then something comes. */
START_TEST(a_long_wait_without_deadlines_is_no_absence)
{
    struct fixture f;
    start(&f);
    deadline_arm(&f.shorter, &f.items[0].deadline);
    ck_assert_uint_eq(left(&f.items[0]), SHORT);
    time_stop(1000000);
    deadline_arm(&f.shorter, &f.items[0].deadline);
    time_advance(0);
    ck_assert_uint_eq(f.clock.away_ms, 0);
    ck_assert_uint_eq(left(&f.items[0]), SHORT);
    finish(&f);
}
END_TEST

START_TEST(waiting_for_less_than_the_first_deadline_is_no_absence)
{
    struct fixture f;
    start(&f);
    deadline_arm(&f.longer, &f.items[0].deadline);
    for (unsigned i = 0; i < 5; i++)
        time_advance(LONG / 10);
    time_stop(LONG / 4);
    time_advance(0);
    ck_assert_uint_eq(f.clock.away_ms, 0);
    ck_assert_uint_eq(left(&f.items[0]), LONG / 4);
    finish(&f);
}
END_TEST

START_TEST(stops_one_after_another_are_not_counted)
{
    struct fixture f;
    start(&f);
    deadline_arm(&f.longer, &f.items[0].deadline);
    for (unsigned i = 0; i < 4; i++) {
        time_stop(5 * LONG);
        time_advance(0);
        time_advance(1);
        time_advance(1);
        ck_assert_uint_eq(f.items[0].times, 0);
    }
    ck_assert_uint_ge(left(&f.items[0]), LONG / 2);
    finish(&f);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("deadline_away");
    TCase *c = tcase_create("deadline_away");
    tcase_add_loop_test(c, a_stop_is_not_counted_wherever_it_begins_and_ends, 0, 4);
    tcase_add_test(c, a_stop_within_a_long_wait_is_not_counted);
    tcase_add_test(c, what_is_armed_before_the_stop_is_noticed_has_its_own_duration);
    tcase_add_loop_test(c, nothing_expires_late_before_the_loop_has_polled_again, 0, 4);
    tcase_add_test(c, a_turn_that_takes_long_is_not_counted);
    tcase_add_loop_test(c, a_loop_that_is_always_late_expires_deadlines_all_the_same, 0, 4);
    tcase_add_test(c, a_long_wait_without_deadlines_is_no_absence);
    tcase_add_test(c, waiting_for_less_than_the_first_deadline_is_no_absence);
    tcase_add_test(c, stops_one_after_another_are_not_counted);
    suite_add_tcase(s, c);
    return s;
}

int main(void)
{
    return unit_main(build);
}
