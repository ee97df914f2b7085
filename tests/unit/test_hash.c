/* The values of the hash functions are frozen: they were computed with another implementation
 * (Python's xxhash) and decide where keys live. */
#include <stdint.h>
#include <string.h>

#include "ring/hash.h"
#include "tests/lib/unit.h"

static const struct {
    const char *bytes;
    uint64_t hash;
} frozen[] = {
    {"", 0x2d06800538d394c2},
    {"a", 0xe6c632b61e964e1f},
    {"b1", 0x07ebb745a9af4972},
    {"b2", 0x87f944956994b2bc},
    {"b3", 0xd3f1a4a43f5a9a9e},
    {"key-0", 0x819f6b51706f0178},
    {"key-1", 0x2d29f1336b0229f9},
    {"user:42", 0x9fc1e605fa7174aa},
    {"\xc3\xa9", 0xf7940a006cf10cb3},
    {"/index.html", 0xaa8f18ab73b5f828},
    {"0123456789abcdef0", 0xc92e2385daf36034},
};

START_TEST(keys_and_names_have_their_frozen_values)
{
    for (size_t i = 0; i < sizeof frozen / sizeof frozen[0]; i++) {
        ck_assert_uint_eq(hash_key(str_of(frozen[i].bytes)), frozen[i].hash);
        ck_assert_uint_eq(hash_name(str_of(frozen[i].bytes)), frozen[i].hash);
    }
}
END_TEST

START_TEST(long_keys_have_their_frozen_values)
{
    char x[300];
    memset(x, 'x', sizeof x);
    ck_assert_uint_eq(hash_key((struct str){x, 200}), 0x50ef124fb1e4de53);
    ck_assert_uint_eq(hash_key((struct str){x, 300}), 0xa5d1b4607dc83554);
}
END_TEST

START_TEST(a_slice_ends_where_it_says_and_may_be_nothing)
{
    ck_assert_uint_eq(hash_key((struct str){"b1 and more", 2}), 0x07ebb745a9af4972);
    ck_assert_uint_eq(hash_key((struct str){NULL, 0}), 0x2d06800538d394c2);
    ck_assert_uint_ne(hash_key((struct str){"a\0b", 3}), hash_key((struct str){"a\0c", 3}));
}
END_TEST

START_TEST(points_have_their_frozen_values)
{
    static const struct {
        uint64_t seed, j, hash;
    } points[] = {
        {0, 0, 0xc77b3abb6f87acd9},
        {0, 1, 0x2fbc593564db792e},
        {0, 255, 0x0d00568a2225a3e5},
        {0, 4194303, 0x24601cb557c1b182},
        {0x07ebb745a9af4972, 0, 0x0b91e090cffd7d1e},
        {0x07ebb745a9af4972, 1, 0x38840dbf8cf785cf},
        {0x07ebb745a9af4972, 4194303, 0x94f7bad86211b0ff},
        {0x07ebb745a9af4972, 1099511627776, 0x4f23461171efed01},
        {UINT64_MAX, 0, 0x278ee7fde0ba32cc},
        {UINT64_MAX, 255, 0xded06b7ecfff5fdf},
    };
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++)
        ck_assert_uint_eq(hash_point(points[i].seed, points[i].j), points[i].hash);
}
END_TEST

START_TEST(a_pair_is_ordered_and_frozen)
{
    ck_assert_uint_eq(hash_pair(STR("b1"), STR("s1")), 0x1be72427fa6bb1b8);
    ck_assert_uint_eq(hash_pair(STR("b2"), STR("s1")), 0x82188907d0331656);
    ck_assert_uint_eq(hash_pair(STR("s1"), STR("b1")), 0xe3048f04f1d6561a);
}
END_TEST

static Suite *hash_suite(void)
{
    Suite *s = suite_create("hash");
    TCase *t = tcase_create("frozen");
    tcase_add_test(t, keys_and_names_have_their_frozen_values);
    tcase_add_test(t, long_keys_have_their_frozen_values);
    tcase_add_test(t, a_slice_ends_where_it_says_and_may_be_nothing);
    tcase_add_test(t, points_have_their_frozen_values);
    tcase_add_test(t, a_pair_is_ordered_and_frozen);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(hash_suite);
}
