#include <sys/resource.h>

#include "base/limit.h"
#include "tests/lib/unit.h"

static struct rlimit limit(void)
{
    struct rlimit l;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
    return l;
}

START_TEST(the_soft_limit_becomes_the_hard_one)
{
    struct rlimit before = limit(), low = {64, before.rlim_max};
    struct error e;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    ck_assert_uint_eq(limit().rlim_cur, 64);
    ck_assert(limit_raise_descriptors(&e));
    ck_assert_uint_eq(limit().rlim_cur, before.rlim_max);
    ck_assert_uint_eq(limit().rlim_max, before.rlim_max);
    ck_assert(limit_raise_descriptors(&e)); /* nothing is left to raise */
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("limit");
    TCase *t = tcase_create("limit");
    tcase_add_test(t, the_soft_limit_becomes_the_hard_one);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
