#include "base/units.h"
#include "tests/lib/unit.h"

static const struct {
    const char *text;
    bool ok;
    uint64_t value;
} durations[] = {
    {"250ms", true, 250},
    {"2s", true, 2000},
    {"1m", true, 60000},
    {"24h", true, 86400000},
    {"0s", true, 0},
    {"0ms", true, 0},
    {"007s", true, 7000},
    {"9007199254740992ms", true, UINT64_C(1) << 53},
    {"9007199254740993ms", false, 0},
    {"9007199254740992s", false, 0},
    {"2501999793h", false, 0}, /* just over 2^53 ms */
    {"2501999792h", true, UINT64_C(9007199251200000)},
    {"99999999999999999999999999999s", false, 0},
    {"0", false, 0},
    {"5", false, 0},
    {"", false, 0},
    {"s", false, 0},
    {"-1s", false, 0},
    {"+1s", false, 0},
    {"1.5s", false, 0},
    {"1 s", false, 0},
    {" 1s", false, 0},
    {"1s ", false, 0},
    {"1S", false, 0},
    {"1sec", false, 0},
    {"1d", false, 0},
    {"1m30s", false, 0},
    {"1us", false, 0},
};

START_TEST(durations_are_digits_and_a_unit)
{
    uint64_t ms = 77;
    ck_assert_msg(units_parse_duration(str_of(durations[_i].text), &ms) == durations[_i].ok, "%s",
                  durations[_i].text);
    ck_assert_uint_eq(ms, durations[_i].ok ? durations[_i].value : 77);
}
END_TEST

static const struct {
    const char *text;
    bool ok;
    uint64_t value;
} sizes[] = {
    {"0B", true, 0},
    {"512B", true, 512},
    {"16KiB", true, 16384},
    {"1MiB", true, 1048576},
    {"3GiB", true, UINT64_C(3) << 30},
    {"8388608GiB", true, UINT64_C(1) << 53},
    {"8388609GiB", false, 0},
    {"16", false, 0},
    {"16K", false, 0},
    {"16KB", false, 0},
    {"16kib", false, 0},
    {"KiB", false, 0},
    {"-1B", false, 0},
    {"", false, 0},
};

START_TEST(sizes_are_digits_and_a_binary_unit)
{
    uint64_t bytes = 77;
    ck_assert_msg(units_parse_size(str_of(sizes[_i].text), &bytes) == sizes[_i].ok, "%s",
                  sizes[_i].text);
    ck_assert_uint_eq(bytes, sizes[_i].ok ? sizes[_i].value : 77);
}
END_TEST

START_TEST(bytes_after_the_slice_are_not_read)
{
    uint64_t v;
    ck_assert(units_parse_duration((struct str){"2sX", 2}, &v) && v == 2000);
    ck_assert(!units_parse_duration((struct str){"2s", 1}, &v));
    ck_assert(!units_parse_duration((struct str){NULL, 0}, &v));
    ck_assert(!units_parse_duration((struct str){"2s\0", 3}, &v));
}
END_TEST

START_TEST(percentages_are_shares)
{
    static const struct {
        const char *text;
        double share; /* below 0: none */
    } cases[] = {{"0%", 0},
                 {"10%", 0.1},
                 {"100%", 1},
                 {"0.5%", 0.005},
                 {"33.333333%", 0.33333333},
                 {"100.000001%", -1},
                 {"101%", -1},
                 {"10", -1},
                 {"%", -1},
                 {".5%", -1},
                 {"5.%", -1},
                 {"-1%", -1},
                 {"1e1%", -1},
                 {"10 %", -1},
                 {"10%%", -1},
                 {"", -1},
                 {"0.1234567%", -1},
                 {"1000%", -1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double share = -1;
        bool ok = units_parse_percent(str_of(cases[i].text), &share);
        ck_assert_msg(ok == (cases[i].share >= 0) && share == cases[i].share, "%s", cases[i].text);
    }
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("units");
    TCase *t = tcase_create("units");
    tcase_add_loop_test(t, durations_are_digits_and_a_unit, 0,
                        (int)(sizeof durations / sizeof *durations));
    tcase_add_loop_test(t, sizes_are_digits_and_a_binary_unit, 0,
                        (int)(sizeof sizes / sizeof *sizes));
    tcase_add_test(t, bytes_after_the_slice_are_not_read);
    tcase_add_test(t, percentages_are_shares);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
