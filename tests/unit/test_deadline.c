#include "net/deadline.h"

#include <stdlib.h>

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

/* A queue on the heap with one deadline, whose expiring takes queues away, its own one perhaps. */
struct owner {
    struct deadline_queue queue;
    struct deadline deadline;
    unsigned *expired;
    struct owner **removes;
    unsigned nremoves;
};

static void owner_free(struct owner *o)
{
    deadline_cancel(&o->deadline);
    deadline_queue_deinit(&o->queue);
    memset(o, 0xee, sizeof *o); /* a look at it later is seen without a sanitizer, too */
    free(o);
}

static void on_owner_expired(struct deadline *d)
{
    struct owner *o = container_of(d, struct owner, deadline);
    struct owner **removes = o->removes;
    unsigned n = o->nremoves;
    (*o->expired)++;
    for (unsigned i = 0; i < n; i++) {
        owner_free(removes[i]);
        removes[i] = NULL;
    }
}

static struct owner *owner_new(struct fixture *f, unsigned *expired)
{
    struct owner *o = calloc(1, sizeof *o);
    ck_assert_ptr_nonnull(o);
    deadline_queue_init(&o->queue, &f->clock, 10, on_owner_expired);
    deadline_init(&o->deadline);
    o->expired = expired;
    deadline_arm(&o->queue, &o->deadline);
    return o;
}

/* Of five queues that are all due the third removes these, by number in the order of their turns.
 */
static const struct {
    unsigned removes[5], nremoves, expired;
} removals[] = {
    {{1}, 1, 5},             /* one that had its turn */
    {{3}, 1, 4},             /* the next one */
    {{4}, 1, 4},             /* the last one */
    {{3, 4}, 2, 3},          /* all that follow */
    {{4, 3}, 2, 3},          /* */
    {{2}, 1, 5},             /* itself */
    {{2, 3}, 2, 4},          /* itself and the next one */
    {{3, 2}, 2, 4},          /* */
    {{0, 1, 2, 3, 4}, 5, 3}, /* every one */
};

START_TEST(queues_may_go_away_while_they_expire)
{
    struct fixture f;
    struct owner *owners[5], *removes[5];
    unsigned expired = 0;
    start(&f);
    for (unsigned i = 0; i < 5; i++)
        owners[i] = owner_new(&f, &expired);
    for (unsigned i = 0; i < removals[_i].nremoves; i++)
        removes[i] = owners[removals[_i].removes[i]];
    owners[2]->removes = removes;
    owners[2]->nremoves = removals[_i].nremoves;
    deadline_arm(&f.longer, &f.items[0].deadline);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(expired, removals[_i].expired);
    ck_assert_uint_eq(f.items[0].times, 1); /* the clock goes on */
    for (unsigned i = 0; i < removals[_i].nremoves; i++)
        owners[removals[_i].removes[i]] = NULL;
    for (unsigned i = 0; i < 5; i++)
        if (owners[i])
            owner_free(owners[i]);
    finish(&f);
}
END_TEST

struct adder {
    struct deadline deadline;
    struct fixture *fixture;
    struct owner *added;
    unsigned expired;
};

static void on_adder_expired(struct deadline *d)
{
    struct adder *a = container_of(d, struct adder, deadline);
    a->added = owner_new(a->fixture, &a->expired);
}

START_TEST(queues_may_come_while_others_expire)
{
    struct fixture f;
    struct deadline_queue queue;
    struct adder a = {.fixture = &f};
    start(&f);
    deadline_queue_init(&queue, &f.clock, 5, on_adder_expired);
    deadline_init(&a.deadline);
    deadline_arm(&queue, &a.deadline);
    uint64_t begin = uv_now(&f.loop);
    uv_run(&f.loop, UV_RUN_DEFAULT); /* until nothing is armed */
    ck_assert_uint_eq(a.expired, 1);
    ck_assert_uint_ge(uv_now(&f.loop), begin + 15);
    owner_free(a.added);
    deadline_queue_deinit(&queue);
    finish(&f);
}
END_TEST

START_TEST(a_queue_of_another_duration_counts_from_when_they_were_armed)
{
    static const uint64_t durations[] = {60, 20, 0};
    for (unsigned i = 0; i < 3; i++) {
        struct fixture f;
        start(&f);
        uint64_t from = deadline_now(&f.clock);
        deadline_arm(&f.longer, &f.items[0].deadline);
        deadline_arm(&f.longer, &f.items[1].deadline);
        deadline_queue_set(&f.longer, durations[i]);
        ck_assert_uint_eq(f.items[0].deadline.due_ms, from + durations[i]);
        deadline_arm(&f.longer, &f.items[2].deadline);
        finish(&f);
        ck_assert_uint_eq(norder, 3);
        for (unsigned k = 0; k < 3; k++)
            ck_assert_ptr_eq(order[k], &f.items[k]);
    }
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
    tcase_add_test(c, a_queue_of_another_duration_counts_from_when_they_were_armed);
    tcase_add_loop_test(c, queues_may_go_away_while_they_expire, 0,
                        sizeof removals / sizeof *removals);
    tcase_add_test(c, queues_may_come_while_others_expire);
    suite_add_tcase(s, c);
    return s;
}

int main(void)
{
    return unit_main(build);
}
