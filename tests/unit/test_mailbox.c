#include "net/mailbox.h"

#include <stdatomic.h>

#include "tests/lib/unit.h"

#define POSTERS 4
#define EACH 2000

struct box {
    struct mailbox mailbox;
    unsigned next[POSTERS]; /* the number expected from each */
    unsigned delivered, close_at;
    bool out_of_order;
    _Atomic int refs; /* of messages that were posted and not released */
};

static void release(void *object)
{
    struct box *b = object;
    atomic_fetch_sub(&b->refs, 1);
}

static void post(struct box *b, int kind, unsigned from)
{
    atomic_fetch_add(&b->refs, 1);
    mailbox_post(&b->mailbox, kind, from, b, release);
}

static void on_message(struct mailbox *m, struct message *msg)
{
    struct box *b = container_of(m, struct box, mailbox);
    unsigned *next = &b->next[msg->from];
    b->out_of_order = b->out_of_order || msg->object != b || (unsigned)msg->kind != *next;
    (*next)++;
    message_free(msg);
    if (++b->delivered == b->close_at)
        mailbox_close(m);
}

static void start(struct box *b, uv_loop_t *loop, unsigned close_at)
{
    *b = (struct box){.close_at = close_at};
    ck_assert_int_eq(uv_loop_init(loop), 0);
    ck_assert_int_eq(mailbox_init(&b->mailbox, loop, on_message), 0);
}

static void finish(struct box *b, uv_loop_t *loop)
{
    mailbox_deinit(&b->mailbox);
    ck_assert_int_eq(uv_loop_close(loop), 0);
    ck_assert(!b->out_of_order);
    ck_assert_int_eq(atomic_load(&b->refs), 0);
}

struct poster {
    struct box *box;
    unsigned index;
    uv_thread_t thread;
};

static void post_all(void *arg)
{
    struct poster *p = arg;
    for (int i = 0; i < EACH; i++)
        post(p->box, i, p->index);
}

static void run_posters(struct box *b, uv_loop_t *loop)
{
    struct poster posters[POSTERS];
    for (unsigned i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){b, i, 0};
        ck_assert_int_eq(uv_thread_create(&posters[i].thread, post_all, &posters[i]), 0);
    }
    uv_run(loop, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < POSTERS; i++)
        ck_assert_int_eq(uv_thread_join(&posters[i].thread), 0);
}

START_TEST(all_is_delivered_once_and_in_order_of_each_thread)
{
    struct box b;
    uv_loop_t loop;
    start(&b, &loop, POSTERS * EACH);
    run_posters(&b, &loop);
    finish(&b, &loop);
    ck_assert_uint_eq(b.delivered, POSTERS * EACH);
    for (unsigned i = 0; i < POSTERS; i++)
        ck_assert_uint_eq(b.next[i], EACH);
}
END_TEST

START_TEST(nothing_is_delivered_after_close_and_nothing_leaks)
{
    struct box b;
    uv_loop_t loop;
    start(&b, &loop, EACH); /* while the threads go on posting */
    run_posters(&b, &loop);
    finish(&b, &loop);
    ck_assert_uint_eq(b.delivered, EACH);
}
END_TEST

START_TEST(messages_before_the_loop_runs_wait_for_it)
{
    struct box b;
    uv_loop_t loop;
    start(&b, &loop, 3);
    for (int i = 0; i < 3; i++)
        post(&b, i, 0);
    ck_assert_uint_eq(b.delivered, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    finish(&b, &loop);
    ck_assert_uint_eq(b.delivered, 3);
}
END_TEST

/* Delivered: the receiver's; waiting when the mailbox closes: at its end; later: at once. */
START_TEST(what_is_not_delivered_is_released)
{
    struct box b;
    uv_loop_t loop;
    start(&b, &loop, 2);
    for (int i = 0; i < 5; i++)
        post(&b, i, 0);
    ck_assert_int_eq(atomic_load(&b.refs), 5);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(b.delivered, 2);
    ck_assert_int_eq(atomic_load(&b.refs), 3);
    post(&b, 5, 0);
    ck_assert_int_eq(atomic_load(&b.refs), 3);
    mailbox_post(&b.mailbox, 6, 0, &b, NULL); /* only named */
    finish(&b, &loop);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("mailbox");
    TCase *c = tcase_create("mailbox");
    tcase_add_test(c, all_is_delivered_once_and_in_order_of_each_thread);
    tcase_add_test(c, nothing_is_delivered_after_close_and_nothing_leaks);
    tcase_add_test(c, messages_before_the_loop_runs_wait_for_it);
    tcase_add_test(c, what_is_not_delivered_is_released);
    suite_add_tcase(s, c);
    return s;
}

int main(void)
{
    return unit_main(build);
}
