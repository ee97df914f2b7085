#include <inttypes.h>
#include <stdio.h>

#include "base/boot_clock.h"
#include "cluster/lock.h"
#include "cluster/version.h"
#include "tests/lib/unit.h"

#define TTL 3000
#define LEASE 2700 /* TTL - TTL/10 */

static struct random_store bytes;

static struct lock fresh(void)
{
    struct lock l;
    lock_init(&l, "web1/4711", TTL);
    return l;
}

static void begin(struct lock *l, uint64_t now_ms)
{
    struct error e;
    ck_assert(lock_begin(l, &bytes, now_ms, &e));
}

/* Held since `start`, under this epoch. */
static struct lock held_lock(uint64_t start, uint64_t epoch)
{
    struct lock l = fresh();
    begin(&l, start);
    ck_assert(lock_granted(&l, epoch, start));
    return l;
}

START_TEST(a_value_says_token_ttl_and_who)
{
    struct lock l = fresh();
    struct lock_holder h;
    begin(&l, 0);
    ck_assert(lock_holder_parse(&h, str_of(l.value)));
    ck_assert_uint_eq(h.ttl_ms, TTL);
    ck_assert(str_eq(h.who, STR("web1/4711")));
    ck_assert(str_eq(h.node, STR("web1")));
    ck_assert(str_eq(h.instance, STR("4711")));
    ck_assert_uint_eq(h.token.n, LOCK_TOKEN_LEN);
}
END_TEST

START_TEST(the_longest_value_fits)
{
    char who[LOCK_WHO_MAX + 1];
    struct lock l;
    struct lock_holder h;
    memset(who, 'x', LOCK_WHO_MAX);
    who[LOCK_WHO_MAX] = '\0';
    lock_init(&l, who, LOCK_TTL_MAX_MS);
    begin(&l, 0);
    ck_assert_uint_eq(strlen(l.value), LOCK_VALUE_SIZE - 1);
    ck_assert(lock_holder_parse(&h, str_of(l.value)));
    ck_assert_uint_eq(h.ttl_ms, LOCK_TTL_MAX_MS);
    ck_assert(str_eq(h.node, str_of(who)));
    ck_assert_uint_eq(h.instance.n, 0);
}
END_TEST

START_TEST(each_attempt_has_a_value_of_its_own)
{
    struct lock l = fresh();
    char first[LOCK_VALUE_SIZE];
    begin(&l, 0);
    ck_assert_str_eq(l.previous, "");
    memcpy(first, l.value, sizeof first);
    begin(&l, 1);
    ck_assert_str_ne(l.value, first);
}
END_TEST

START_TEST(an_attempt_may_replace_the_one_whose_answer_never_came)
{
    struct lock l = fresh();
    char first[LOCK_VALUE_SIZE];
    begin(&l, 0);
    memcpy(first, l.value, sizeof first);
    begin(&l, 1);
    ck_assert_str_eq(l.previous, first);
}
END_TEST

START_TEST(a_refused_attempt_is_not_to_be_replaced)
{
    struct lock l = fresh();
    begin(&l, 0);
    lock_refused(&l);
    ck_assert(!lock_believes(&l, 0));
    begin(&l, 1);
    ck_assert_str_eq(l.previous, "");
}
END_TEST

START_TEST(what_was_held_may_be_replaced_after_it_was_lost)
{
    struct lock l = held_lock(0, 5);
    char first[LOCK_VALUE_SIZE];
    memcpy(first, l.value, sizeof first);
    ck_assert(lock_lost(&l, 5));
    begin(&l, 1);
    ck_assert_str_eq(l.previous, first);
}
END_TEST

START_TEST(it_is_believed_from_the_start_of_the_request_for_nine_tenths)
{
    struct lock l = fresh();
    begin(&l, 1000);
    ck_assert(!lock_believes(&l, 1000));
    ck_assert(lock_granted(&l, 7, 1400)); /* the answer took 400 ms, which count */
    ck_assert(lock_believes(&l, 1000 + LEASE - 1));
    ck_assert(!lock_believes(&l, 1000 + LEASE));
    ck_assert_uint_eq(lock_left_ms(&l, 1400), LEASE - 400);
    ck_assert_uint_eq(lock_left_ms(&l, 1000000), 0);
}
END_TEST

START_TEST(a_grant_that_comes_too_late_is_none)
{
    struct lock l = fresh();
    char value[LOCK_VALUE_SIZE];
    begin(&l, 1000);
    memcpy(value, l.value, sizeof value);
    ck_assert(!lock_granted(&l, 7, 1000 + LEASE));
    ck_assert(!lock_believes(&l, 1000));
    begin(&l, 5000);
    ck_assert_str_eq(l.previous, value);
    ck_assert_uint_eq(lock_floor(&l, 0, 0), 7); /* the epoch was given out all the same */
}
END_TEST

START_TEST(a_renewal_counts_from_its_start)
{
    struct lock l = held_lock(0, 7);
    lock_renewed(&l, 7, 1000);
    ck_assert_uint_eq(lock_left_ms(&l, 2000), 1000 + LEASE - 2000);
}
END_TEST

START_TEST(an_older_renewal_takes_nothing_away)
{
    struct lock l = held_lock(0, 7);
    lock_renewed(&l, 7, 2000);
    lock_renewed(&l, 7, 1000);
    ck_assert_uint_eq(lock_left_ms(&l, 2000), LEASE);
}
END_TEST

START_TEST(answers_for_an_earlier_lock_change_nothing)
{
    struct lock l = held_lock(0, 7);
    ck_assert(lock_lost(&l, 7));
    begin(&l, 3000);
    ck_assert(lock_granted(&l, 8, 3000));
    ck_assert(!lock_lost(&l, 7));
    lock_renewed(&l, 7, 5000);
    ck_assert_uint_eq(lock_left_ms(&l, 3000), LEASE);
}
END_TEST

START_TEST(what_is_lost_is_not_renewed)
{
    struct lock l = held_lock(0, 7);
    ck_assert(lock_lost(&l, 7));
    ck_assert(!lock_lost(&l, 7));
    lock_renewed(&l, 7, 10);
    ck_assert(!lock_believes(&l, 11));
}
END_TEST

START_TEST(what_is_released_is_not_believed)
{
    struct lock l = held_lock(0, 7);
    lock_released(&l);
    ck_assert(!lock_believes(&l, 1));
}
END_TEST

START_TEST(a_new_attempt_ends_the_old_belief)
{
    struct lock l = held_lock(0, 7);
    begin(&l, 1);
    ck_assert(!lock_believes(&l, 1));
}
END_TEST

/* Redis may be anyone: what it gives out is taken only if it can be right. */
START_TEST(epochs_that_do_not_grow_are_refused)
{
    static const uint64_t bad[] = {0, 6, 7, NUMBER_MAX + 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct lock l = held_lock(0, 7);
        begin(&l, 10);
        ck_assert(!lock_granted(&l, bad[i], 11));
        ck_assert(!lock_believes(&l, 11));
        ck_assert_uint_eq(l.epoch, 7);
    }
}
END_TEST

START_TEST(the_floor_is_the_highest_of_all)
{
    struct lock l = held_lock(0, 7);
    ck_assert_uint_eq(lock_floor(&l, 3, 5), 7);
    ck_assert_uint_eq(lock_floor(&l, 9, 5), 9);
    ck_assert_uint_eq(lock_floor(&l, 3, 11), 11);
    ck_assert_uint_lt(lock_floor(&l, UINT64_MAX, 0), NUMBER_MAX);
}
END_TEST

START_TEST(the_shortest_ttl_keeps_a_tenth_back)
{
    struct lock l;
    lock_init(&l, "a/1", LOCK_TTL_MIN_MS);
    begin(&l, 0);
    ck_assert(lock_granted(&l, 1, 0));
    ck_assert_uint_eq(lock_left_ms(&l, 0), 450);
}
END_TEST

#define TOKEN "0123456789abcdef0123456789abcdef"

START_TEST(values_of_another_form_are_no_holders)
{
    static const char *const bad[] = {
        "",
        " ",
        TOKEN,
        TOKEN " ",
        TOKEN " 3000",
        TOKEN " 3000 ",
        TOKEN " 0 a/1",
        TOKEN " 03000 a/1",
        TOKEN " -1 a/1",
        TOKEN " 86400001 a/1",
        TOKEN " 999999999 a/1",
        TOKEN " 3000  a/1",
        TOKEN " 3000 a/1 ",
        TOKEN " 3000 a b",
        TOKEN " 3000 a\nb",
        TOKEN " 3000 a\x1b[2J",
        "0123456789ABCDEF0123456789ABCDEF 3000 a/1",
        "0123456789abcdef0123456789abcde 3000 a/1",
        "locked by hand",
    };
    struct lock_holder h;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!lock_holder_parse(&h, str_of(bad[i])), "%s", bad[i]);
    ck_assert(!lock_holder_parse(&h, (struct str){NULL, 0}));
    ck_assert(!lock_holder_parse(&h, STR("0123456789abcdef0123456789abcde\0 3000 a/1")));
    ck_assert(lock_holder_parse(&h, STR(TOKEN " 3000 a/b/1")));
    ck_assert(str_eq(h.node, STR("a/b")));
}
END_TEST

START_TEST(a_holder_that_is_too_long_is_none)
{
    char value[LOCK_VALUE_SIZE + 200];
    struct lock_holder h;
    int n = snprintf(value, sizeof value, TOKEN " 3000 ");
    memset(value + n, 'x', sizeof value - (size_t)n);
    ck_assert(!lock_holder_parse(&h, (struct str){value, (size_t)n + LOCK_WHO_MAX + 1}));
    ck_assert(lock_holder_parse(&h, (struct str){value, (size_t)n + LOCK_WHO_MAX}));
}
END_TEST

START_TEST(the_boot_clock_counts_milliseconds)
{
    uint64_t before = boot_clock_ms();
    struct timespec left = {.tv_nsec = 20000000};
    while (nanosleep(&left, &left) != 0)
        ;
    ck_assert_uint_ge(boot_clock_ms() - before, 19);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("lock");
    TCase *t = tcase_create("lock");
    tcase_add_test(t, a_value_says_token_ttl_and_who);
    tcase_add_test(t, the_longest_value_fits);
    tcase_add_test(t, each_attempt_has_a_value_of_its_own);
    tcase_add_test(t, an_attempt_may_replace_the_one_whose_answer_never_came);
    tcase_add_test(t, a_refused_attempt_is_not_to_be_replaced);
    tcase_add_test(t, what_was_held_may_be_replaced_after_it_was_lost);
    tcase_add_test(t, it_is_believed_from_the_start_of_the_request_for_nine_tenths);
    tcase_add_test(t, a_grant_that_comes_too_late_is_none);
    tcase_add_test(t, a_renewal_counts_from_its_start);
    tcase_add_test(t, an_older_renewal_takes_nothing_away);
    tcase_add_test(t, answers_for_an_earlier_lock_change_nothing);
    tcase_add_test(t, what_is_lost_is_not_renewed);
    tcase_add_test(t, what_is_released_is_not_believed);
    tcase_add_test(t, a_new_attempt_ends_the_old_belief);
    tcase_add_test(t, epochs_that_do_not_grow_are_refused);
    tcase_add_test(t, the_floor_is_the_highest_of_all);
    tcase_add_test(t, the_shortest_ttl_keeps_a_tenth_back);
    tcase_add_test(t, values_of_another_form_are_no_holders);
    tcase_add_test(t, a_holder_that_is_too_long_is_none);
    tcase_add_test(t, the_boot_clock_counts_milliseconds);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
