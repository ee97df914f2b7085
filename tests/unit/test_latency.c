#include "bench/load/latency.h"

#include "tests/lib/unit.h"

static struct latency h;

static void setup(void)
{
    latency_init(&h);
}

static void teardown(void)
{
    latency_deinit(&h);
}

START_TEST(buckets_ascend_and_are_a_thousandth_wide)
{
    uint64_t before = 0;
    for (unsigned i = 1; i < LATENCY_BUCKETS; i++) {
        uint64_t top = latency_bucket_top(i);
        ck_assert_uint_gt(top, before);
        if (i >= 2048) /* width / lowest value */
            ck_assert_double_le((double)(top - before) / (double)(before + 1), 1.0 / 1024 + 1e-9);
        else
            ck_assert_uint_eq(top, i);
        before = top;
    }
}
END_TEST

/* Each value is told as the top of the bucket it is in: at most a thousandth more. */
START_TEST(a_value_is_told_within_three_digits)
{
    uint64_t v = 1;
    for (; v < UINT64_C(1) << 44; v = v + v / 20 + 1) {
        latency_record(&h, v);
        latency_record(&h, (UINT64_C(1) << 44) - 1); /* so that max does not cut it */
        uint64_t told = latency_quantile(&h, 0.5);
        ck_assert_uint_ge(told, v);
        ck_assert_double_le((double)told, (double)v * (1 + 1.0 / 1024));
        latency_deinit(&h);
        latency_init(&h);
    }
}
END_TEST

START_TEST(quantiles_of_a_known_row)
{
    for (uint64_t i = 1; i <= 1000; i++)
        latency_record(&h, i);
    ck_assert_uint_eq(latency_quantile(&h, 0), 1);
    ck_assert_uint_eq(latency_quantile(&h, 0.5), 500);
    ck_assert_uint_eq(latency_quantile(&h, 0.9), 900);
    ck_assert_uint_eq(latency_quantile(&h, 0.999), 999);
    ck_assert_uint_eq(latency_quantile(&h, 1), 1000);
    ck_assert_uint_eq(h.min, 1);
    ck_assert_uint_eq(h.max, 1000);
    ck_assert_double_eq(h.sum, 500500);
}
END_TEST

START_TEST(empty_is_zero)
{
    ck_assert_uint_eq(latency_quantile(&h, 0.5), 0);
    ck_assert_uint_eq(h.count, 0);
}
END_TEST

START_TEST(what_is_too_long_counts_as_the_longest)
{
    latency_record(&h, UINT64_MAX);
    ck_assert_uint_eq(h.max, UINT64_MAX);
    ck_assert_uint_eq(h.counts[LATENCY_BUCKETS - 1], 1);
}
END_TEST

START_TEST(added_up_is_as_if_recorded_in_one)
{
    struct latency a, b;
    latency_init(&a);
    latency_init(&b);
    for (uint64_t i = 1; i < 100000; i += 7) {
        latency_record(i % 2 ? &a : &b, i * i);
        latency_record(&h, i * i);
    }
    latency_add(&a, &b);
    ck_assert_uint_eq(a.count, h.count);
    ck_assert_uint_eq(a.min, h.min);
    ck_assert_uint_eq(a.max, h.max);
    for (double q = 0; q <= 1; q += 0.01)
        ck_assert_uint_eq(latency_quantile(&a, q), latency_quantile(&h, q));
    latency_deinit(&a);
    latency_deinit(&b);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("latency");
    TCase *t = tcase_create("latency");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, buckets_ascend_and_are_a_thousandth_wide);
    tcase_add_test(t, a_value_is_told_within_three_digits);
    tcase_add_test(t, quantiles_of_a_known_row);
    tcase_add_test(t, empty_is_zero);
    tcase_add_test(t, what_is_too_long_counts_as_the_longest);
    tcase_add_test(t, added_up_is_as_if_recorded_in_one);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
