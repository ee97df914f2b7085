#include "net/deadline.h"

#include "tests/lib/unit.h"

#define MOST 8

struct item {
    struct deadline deadline;
    struct deadline_queue *again; /* armed there when it expires */
    struct item *cancels;
    unsigned times;
};

static struct item *order[MOST];
static unsigned norder;

static void on_expired(struct deadline *d)
{
    struct item *i = container_of(d, struct item, deadline);
    ck_assert(!deadline_armed(d));
    i->times++;
    if (norder < MOST)
        order[norder++] = i;
    if (i->cancels)
        deadline_cancel(&i->cancels->deadline);
    if (i->again)
        deadline_arm(i->again, d);
}

struct fixture {
    uv_loop_t loop;
    struct deadline_clock clock;
    struct deadline_queue shorter, longer;
    struct item items[3];
};

static void start(struct fixture *f)
{
    *f = (struct fixture){0};
    norder = 0;
    ck_assert_int_eq(uv_loop_init(&f->loop), 0);
    deadline_clock_init(&f->clock, &f->loop);
    deadline_queue_init(&f->longer, &f->clock, 40, on_expired);
    deadline_queue_init(&f->shorter, &f->clock, 10, on_expired);
    for (unsigned i = 0; i < 3; i++)
        deadline_init(&f->items[i].deadline);
}

/* Turns the loop until nothing is armed: its timer is all that it waits for. */
static void finish(struct fixture *f)
{
    uv_run(&f->loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(f->clock.timer_due_ms, UINT64_MAX);
    deadline_queue_deinit(&f->shorter);
    deadline_queue_deinit(&f->longer);
    deadline_clock_close(&f->clock, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&f->loop), 0);
}

START_TEST(they_expire_once_in_order_of_time_over_all_queues)
{
    struct fixture f;
    start(&f);
    uint64_t begin = uv_now(&f.loop);
    deadline_arm(&f.longer, &f.items[0].deadline);
    deadline_arm(&f.shorter, &f.items[1].deadline);
    deadline_arm(&f.shorter, &f.items[2].deadline);
    ck_assert_uint_eq(f.clock.timer_due_ms, begin + 10);
    finish(&f);
    ck_assert_uint_eq(norder, 3);
    ck_assert_ptr_eq(order[0], &f.items[1]);
    ck_assert_ptr_eq(order[1], &f.items[2]);
    ck_assert_ptr_eq(order[2], &f.items[0]);
}
END_TEST

START_TEST(none_expires_early)
{
    struct fixture f;
    start(&f);
    uint64_t begin = uv_now(&f.loop);
    deadline_arm(&f.longer, &f.items[0].deadline);
    while (f.items[0].times == 0)
        uv_run(&f.loop, UV_RUN_ONCE);
    ck_assert_uint_ge(uv_now(&f.loop), begin + 40);
    finish(&f);
}
END_TEST

START_TEST(cancelled_ones_do_not_expire)
{
    struct fixture f;
    start(&f);
    deadline_arm(&f.shorter, &f.items[0].deadline);
    deadline_arm(&f.shorter, &f.items[1].deadline);
    deadline_cancel(&f.items[0].deadline);
    deadline_cancel(&f.items[0].deadline); /* again: nothing */
    finish(&f);
    ck_assert_uint_eq(f.items[0].times, 0);
    ck_assert_uint_eq(f.items[1].times, 1);
}
END_TEST

START_TEST(arming_again_moves_it_to_the_new_time)
{
    struct fixture f;
    start(&f);
    deadline_arm(&f.shorter, &f.items[0].deadline);
    deadline_arm(&f.shorter, &f.items[1].deadline);
    deadline_arm(&f.longer, &f.items[0].deadline);
    finish(&f);
    ck_assert_uint_eq(norder, 2);
    ck_assert_ptr_eq(order[0], &f.items[1]);
    ck_assert_ptr_eq(order[1], &f.items[0]);
}
END_TEST

START_TEST(callbacks_may_cancel_the_next_and_arm_themselves)
{
    struct fixture f;
    start(&f);
    f.items[0].cancels = &f.items[1];
    f.items[0].again = &f.longer;
    deadline_arm(&f.shorter, &f.items[0].deadline);
    deadline_arm(&f.shorter, &f.items[1].deadline);
    while (f.items[0].times == 0)
        uv_run(&f.loop, UV_RUN_ONCE);
    f.items[0].again = NULL;
    ck_assert(deadline_armed(&f.items[0].deadline));
    finish(&f);
    ck_assert_uint_eq(f.items[0].times, 2);
    ck_assert_uint_eq(f.items[1].times, 0);
}
END_TEST

START_TEST(a_sooner_one_hastens_the_timer)
{
    struct fixture f;
    start(&f);
    deadline_arm(&f.longer, &f.items[0].deadline);
    uint64_t late = f.clock.timer_due_ms;
    deadline_arm(&f.shorter, &f.items[1].deadline);
    ck_assert_uint_lt(f.clock.timer_due_ms, late);
    deadline_cancel(&f.items[1].deadline); /* the timer fires for nothing, then for the other */
    finish(&f);
    ck_assert_uint_eq(f.items[0].times, 1);
    ck_assert_uint_eq(f.items[1].times, 0);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("deadline");
    TCase *c = tcase_create("deadline");
    tcase_add_test(c, they_expire_once_in_order_of_time_over_all_queues);
    tcase_add_test(c, none_expires_early);
    tcase_add_test(c, cancelled_ones_do_not_expire);
    tcase_add_test(c, arming_again_moves_it_to_the_new_time);
    tcase_add_test(c, callbacks_may_cancel_the_next_and_arm_themselves);
    tcase_add_test(c, a_sooner_one_hastens_the_timer);
    suite_add_tcase(s, c);
    return s;
}

int main(void)
{
    return unit_main(build);
}
