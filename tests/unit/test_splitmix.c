#include "base/splitmix.h"
#include "tests/lib/unit.h"

/* The numbers of the authors' own program, seed 1234567. */
START_TEST(it_is_splitmix64)
{
    static const uint64_t numbers[] = {6457827717110365317u, 3203168211198807973u,
                                       9817491932198370423u, 4593380528125082431u,
                                       16408922859458223821u};
    uint64_t state = 1234567;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        ck_assert_uint_eq(splitmix_next(&state), numbers[i]);
}
END_TEST

START_TEST(units_are_spread_from_0_to_below_1)
{
    enum { N = 100000, PARTS = 10 };
    unsigned count[PARTS] = {0};
    uint64_t state = 1;
    for (int i = 0; i < N; i++) {
        double unit = splitmix_unit(&state);
        ck_assert(unit >= 0 && unit < 1);
        count[(int)(unit * PARTS)]++;
    }
    /* a count scatters by 95: five times that is met once in two million */
    for (int i = 0; i < PARTS; i++)
        ck_assert_uint_le(count[i] > N / PARTS ? count[i] - N / PARTS : N / PARTS - count[i], 475);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("splitmix");
    TCase *t = tcase_create("splitmix");
    tcase_add_test(t, it_is_splitmix64);
    tcase_add_test(t, units_are_spread_from_0_to_below_1);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
