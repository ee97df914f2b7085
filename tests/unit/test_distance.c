#include <math.h>

#include "bench/report/distance.h"
#include "tests/lib/unit.h"

static json_t *histogram(const char *text)
{
    json_t *h = json_loads(text, 0, NULL);
    ck_assert(json_is_array(h));
    return h;
}

/* The distance of two histograms; false as distance_of() says it. */
static bool measure(const char *a, const char *b, struct distance *d)
{
    json_t *x = histogram(a), *y = histogram(b);
    bool ok = distance_of(x, y, d);
    json_decref(x);
    json_decref(y);
    return ok;
}

START_TEST(a_distribution_is_no_distance_from_itself)
{
    struct distance d;
    ck_assert(measure("[[1, 5], [2.5, 7], [9, 1]]", "[[1, 50], [2.5, 70], [9, 10]]", &d));
    ck_assert_double_eq_tol(d.largest, 0, 1e-12);
    ck_assert_int_eq(d.count_a, 13);
    ck_assert_int_eq(d.count_b, 130);
}
END_TEST

START_TEST(distributions_without_overlap_are_as_far_apart_as_can_be)
{
    struct distance d;
    ck_assert(measure("[[1, 10], [2, 10]]", "[[3, 5], [4, 5]]", &d));
    ck_assert_double_eq_tol(d.largest, 1, 1e-12);
    ck_assert_double_eq_tol(d.at_us, 2, 1e-12);
    ck_assert_double_eq_tol(d.share_a, 1, 1e-12);
    ck_assert_double_eq_tol(d.share_b, 0, 1e-12);
}
END_TEST

/* By hand: shares at 10, 20, 30, 40 are .2 .5 .5 1 of A and .1 .1 .7 1 of B. */
START_TEST(the_widest_gap_is_found_where_it_is)
{
    struct distance d;
    ck_assert(measure("[[10, 2], [20, 3], [40, 5]]", "[[10, 1], [30, 6], [40, 3]]", &d));
    ck_assert_double_eq_tol(d.largest, 0.4, 1e-12);
    ck_assert_double_eq_tol(d.at_us, 20, 1e-12);
    ck_assert_double_eq_tol(d.share_a, 0.5, 1e-12);
    ck_assert_double_eq_tol(d.share_b, 0.1, 1e-12);
}
END_TEST

START_TEST(a_and_b_may_change_places)
{
    struct distance d, e;
    ck_assert(measure("[[10, 2], [20, 3], [40, 5]]", "[[10, 1], [30, 6]]", &d));
    ck_assert(measure("[[10, 1], [30, 6]]", "[[10, 2], [20, 3], [40, 5]]", &e));
    ck_assert_double_eq_tol(d.largest, e.largest, 1e-12);
    ck_assert_double_eq_tol(d.threshold, e.threshold, 1e-12);
    ck_assert_double_eq_tol(d.share_a, e.share_b, 1e-12);
}
END_TEST

/* Tables have 1.63 * sqrt((n + m) / (n * m)). */
START_TEST(the_threshold_is_that_of_the_tables)
{
    struct distance d;
    ck_assert(measure("[[1, 100]]", "[[1, 400]]", &d));
    ck_assert_double_eq_tol(d.threshold, 1.63 * sqrt(500.0 / 40000.0), 0.001);
}
END_TEST

START_TEST(without_answers_there_is_no_distance)
{
    struct distance d;
    ck_assert(!measure("[]", "[[1, 5]]", &d));
    ck_assert(!measure("[[1, 5]]", "[]", &d));
    ck_assert(!measure("[[1, 0]]", "[[1, 5]]", &d));
    ck_assert(!distance_of(NULL, NULL, &d));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("distance");
    TCase *t = tcase_create("distance");
    tcase_add_test(t, a_distribution_is_no_distance_from_itself);
    tcase_add_test(t, distributions_without_overlap_are_as_far_apart_as_can_be);
    tcase_add_test(t, the_widest_gap_is_found_where_it_is);
    tcase_add_test(t, a_and_b_may_change_places);
    tcase_add_test(t, the_threshold_is_that_of_the_tables);
    tcase_add_test(t, without_answers_there_is_no_distance);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
