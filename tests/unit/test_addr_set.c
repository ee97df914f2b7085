#include "base/addr_set.h"

#include <stdio.h>

#include "tests/lib/unit.h"

static struct addr addr(const char *text)
{
    struct addr a;
    ck_assert_int_eq(addr_parse(str_of(text), &a), ADDR_OK);
    return a;
}

static void check(const struct addr_set *s, const char *const *texts, unsigned n)
{
    char text[ADDR_TEXT_MAX];
    ck_assert_uint_eq(s->n, n);
    for (unsigned i = 0; i < n; i++) {
        addr_format(&s->items[i], text);
        ck_assert_str_eq(text, texts[i]);
    }
}

/* All orders of four, each of them twice over. */
START_TEST(whatever_the_order_of_coming_the_set_is_the_same)
{
    static const char *const sorted[] = {"10.0.0.2:80", "192.0.2.1:80", "[::1]:80",
                                         "[2001:db8::1]:80"};
    for (unsigned order = 0; order < 256; order++) {
        struct addr_set s = {0};
        unsigned seen = 0;
        for (unsigned i = 0; i < 4; i++)
            seen |= 1u << (order >> 2 * i & 3);
        if (seen != 15)
            continue;
        for (unsigned i = 0; i < 8; i++) {
            struct addr a = addr(sorted[order >> 2 * (i % 4) & 3]);
            addr_set_add(&s, &a);
        }
        check(&s, sorted, 4);
    }
}
END_TEST

START_TEST(of_too_many_the_first_in_order_stay)
{
    for (int down = 0; down < 2; down++) {
        struct addr_set s = {0};
        char text[ADDR_TEXT_MAX];
        for (int i = 1; i <= 200; i++) {
            snprintf(text, sizeof text, "10.0.0.%d:80", down ? 201 - i : i);
            struct addr a = addr(text);
            addr_set_add(&s, &a);
        }
        ck_assert_uint_eq(s.n, ADDR_SET_MAX);
        for (unsigned i = 0; i < s.n; i++) {
            snprintf(text, sizeof text, "10.0.0.%u:80", i + 1);
            struct addr a = addr(text);
            ck_assert_uint_eq(addr_set_find(&s, &a), i);
        }
    }
}
END_TEST

START_TEST(sets_are_equal_by_what_is_in_them)
{
    struct addr a = addr("10.0.0.1:80"), b = addr("10.0.0.2:80"), c = addr("10.0.0.1:81");
    struct addr_set s = {0}, t = {0};
    ck_assert(addr_set_eq(&s, &t));
    ck_assert_uint_eq(addr_set_find(&s, &a), 0); /* its n: not in there */
    addr_set_add(&s, &a);
    ck_assert(!addr_set_eq(&s, &t));
    addr_set_add(&t, &c);
    ck_assert(!addr_set_eq(&s, &t));
    ck_assert_uint_eq(addr_set_find(&t, &a), 1);
    addr_set_add(&t, &a);
    addr_set_add(&s, &b);
    ck_assert(!addr_set_eq(&s, &t));
    addr_set_add(&t, &b);
    addr_set_add(&s, &c);
    ck_assert(addr_set_eq(&s, &t));
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("addr_set");
    TCase *t = tcase_create("addr_set");
    tcase_add_test(t, whatever_the_order_of_coming_the_set_is_the_same);
    tcase_add_test(t, of_too_many_the_first_in_order_stay);
    tcase_add_test(t, sets_are_equal_by_what_is_in_them);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
