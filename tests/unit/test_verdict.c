#include "pool/verdict.h"
#include "tests/lib/unit.h"

/* Results are written '+' and '-'; after each the expected verdict is 'U' or 'D', in lower case
 * while it is changing. */
static const struct {
    unsigned fall, rise;
    bool up;
    const char *results, *expected;
} cases[] = {
    {3, 2, true, "++--+---", "UUuuUuuD"}, {3, 2, true, "---++-", "uuDdUu"},
    {3, 2, false, "+-++", "dDdU"},        {1, 1, true, "-+-+", "DUDU"},
    {1, 3, true, "--++-+++", "DDddDddU"}, {2, 1, false, "-+-+--", "DUuUuD"},
};

START_TEST(fall_and_rise_in_a_row_turn_the_verdict)
{
    struct verdict v;
    verdict_init(&v, cases[_i].fall, cases[_i].rise, cases[_i].up);
    for (const char *r = cases[_i].results, *e = cases[_i].expected; *r; r++, e++) {
        bool was = v.up;
        enum verdict_change c = verdict_check(&v, *r == '+');
        ck_assert_int_eq(v.up, *e == 'U' || *e == 'u');
        ck_assert_int_eq(verdict_changing(&v), *e == 'u' || *e == 'd');
        ck_assert_int_eq(c, was == v.up ? VERDICT_SAME : v.up ? VERDICT_UP : VERDICT_DOWN);
    }
}
END_TEST

START_TEST(a_forced_verdict_counts_from_the_start)
{
    struct verdict v;
    verdict_init(&v, 3, 2, true);
    verdict_check(&v, false);
    verdict_check(&v, false);
    verdict_force(&v, false);
    ck_assert(!v.up && !verdict_changing(&v));
    ck_assert_int_eq(verdict_check(&v, true), VERDICT_SAME);
    ck_assert_int_eq(verdict_check(&v, true), VERDICT_UP);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("verdict");
    TCase *t = tcase_create("verdict");
    tcase_add_loop_test(t, fall_and_rise_in_a_row_turn_the_verdict, 0,
                        sizeof cases / sizeof *cases);
    tcase_add_test(t, a_forced_verdict_counts_from_the_start);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
