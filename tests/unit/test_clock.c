#include <errno.h>
#include <uv.h>

#include "base/clock.h"
#include "tests/lib/unit.h"

START_TEST(it_never_goes_back)
{
    uint64_t last = clock_now_ns();
    for (int i = 0; i < 100000; i++) {
        uint64_t now = clock_now_ns();
        ck_assert_uint_ge(now, last);
        last = now;
    }
}
END_TEST

START_TEST(it_counts_nanoseconds)
{
    struct timespec left = {.tv_nsec = 20000000};
    uint64_t began = clock_now_ns();
    while (nanosleep(&left, &left) != 0)
        ck_assert_int_eq(errno, EINTR);
    ck_assert_uint_ge(clock_now_ns() - began, 20000000);
}
END_TEST

/* Times of both are compared with each other. */
START_TEST(it_is_the_clock_of_libuv)
{
    uint64_t before = clock_now_ns(), between = uv_hrtime(), after = clock_now_ns();
    ck_assert_uint_le(before, between);
    ck_assert_uint_le(between, after);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("clock");
    TCase *t = tcase_create("clock");
    tcase_add_test(t, it_never_goes_back);
    tcase_add_test(t, it_counts_nanoseconds);
    tcase_add_test(t, it_is_the_clock_of_libuv);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
