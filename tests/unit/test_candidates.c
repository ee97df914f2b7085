/* Sequences of lookups and checks, and the address that is in use after each. */
#include "health/candidates.h"

#include <stdio.h>

#include "tests/lib/unit.h"

/* The addresses of letters: "a c d" is 10.0.0.1, 10.0.0.3, 10.0.0.4. */
static struct addr_set set_of(const char *letters)
{
    struct addr_set s = {0};
    for (; *letters; letters++) {
        struct addr a;
        char text[ADDR_TEXT_MAX];
        if (*letters == ' ')
            continue;
        snprintf(text, sizeof text, "10.0.0.%d:80", *letters - 'a' + 1);
        ck_assert_int_eq(addr_parse(str_of(text), &a), ADDR_OK);
        addr_set_add(&s, &a);
    }
    return s;
}

static char current(const struct candidates *c)
{
    const struct addr *a = candidates_current(c);
    return a ? (char)('a' + (ntohl(a->v4.sin_addr.s_addr) & 255) - 1) : '-';
}

static bool answer(struct candidates *c, const char *letters)
{
    struct addr_set s = set_of(letters);
    return candidates_update(c, &s);
}

/* One check. examined: the candidates that it must examine. well: those that pass. then: the
 * address that must be in use afterwards. */
static void check(struct candidates *c, bool down, const char *examined, const char *well,
                  char then)
{
    struct candidates_span span = candidates_begin(c, down);
    struct addr_set expected = set_of(examined), answering = set_of(well);
    unsigned passed = CANDIDATE_NONE;
    ck_assert_uint_eq(span.to - span.from, expected.n);
    for (unsigned i = span.to; i-- > span.from;) {
        ck_assert(addr_eq(&c->set.items[i], &expected.items[i - span.from]));
        if (addr_set_find(&answering, &c->set.items[i]) < answering.n)
            passed = i;
    }
    candidates_end(c, passed);
    ck_assert_int_eq(current(c), then);
}

START_TEST(at_first_the_first_that_answers_is_used)
{
    static const struct {
        const char *addresses, *well;
        char used;
    } cases[] = {{"a", "a", 'a'},       {"a", "", 'a'},      {"b a c", "a b c", 'a'},
                 {"a b c", "c b", 'b'}, {"a b c", "c", 'c'}, {"c b", "", 'b'}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct candidates c;
        candidates_init(&c);
        ck_assert_int_eq(current(&c), '-');
        ck_assert(answer(&c, cases[i].addresses));
        ck_assert_int_eq(current(&c), '-');
        check(&c, false, cases[i].addresses, cases[i].well, cases[i].used);
    }
}
END_TEST

START_TEST(one_failed_check_moves_nothing)
{
    struct candidates c;
    candidates_init(&c);
    answer(&c, "a b");
    check(&c, false, "a b", "a b", 'a');
    check(&c, false, "a", "b", 'a');
    check(&c, false, "a", "a b", 'a');
}
END_TEST

START_TEST(a_server_that_is_down_moves_to_what_answers)
{
    struct candidates c;
    candidates_init(&c);
    answer(&c, "a b c");
    check(&c, false, "a b c", "a b c", 'a');
    check(&c, true, "a b c", "", 'a'); /* nobody: it stays */
    check(&c, true, "a b c", "c", 'c');
    check(&c, true, "a b c", "b c", 'b');
    check(&c, false, "b", "b", 'b');
}
END_TEST

/* This makes two proxies agree again of which one started later, or has seen `a` fail. */
START_TEST(behind_a_lookup_an_earlier_one_that_answers_again_is_used)
{
    struct candidates c;
    candidates_init(&c);
    answer(&c, "a b c");
    check(&c, false, "a b c", "c", 'c');
    check(&c, false, "c", "a b c", 'c'); /* nobody looks */
    ck_assert(!answer(&c, "c b a"));
    check(&c, false, "a b c", "c", 'c');
    check(&c, false, "c", "a c", 'c'); /* once a lookup */
    ck_assert(!answer(&c, "a b c"));
    check(&c, false, "a b c", "b c", 'b');
    ck_assert(!answer(&c, "a b c"));
    check(&c, false, "a b", "a b", 'a');
    ck_assert(!answer(&c, "a b c"));
    check(&c, false, "a", "a", 'a');
}
END_TEST

START_TEST(others_may_come_and_go_around_the_one_in_use)
{
    struct candidates c;
    candidates_init(&c);
    answer(&c, "b");
    check(&c, false, "b", "b", 'b');
    ck_assert(answer(&c, "b c"));
    ck_assert_int_eq(current(&c), 'b');
    check(&c, false, "b", "b c", 'b');
    ck_assert(answer(&c, "a b d"));
    ck_assert_int_eq(current(&c), 'b');
    check(&c, false, "a b", "b", 'b');
    ck_assert(answer(&c, "b"));
    check(&c, false, "b", "", 'b');
}
END_TEST

START_TEST(when_the_one_in_use_is_gone_another_is_looked_for)
{
    struct candidates c;
    candidates_init(&c);
    answer(&c, "b");
    check(&c, false, "b", "b", 'b');
    ck_assert(answer(&c, "a c d"));
    ck_assert_int_eq(current(&c), '-');
    check(&c, false, "a c d", "c d", 'c');
    ck_assert(answer(&c, "d"));
    check(&c, false, "d", "", 'd'); /* nobody answers: the name says so nevertheless */
}
END_TEST

START_TEST(without_checks_the_first_is_used)
{
    struct candidates c;
    candidates_init(&c);
    answer(&c, "c b");
    candidates_take_first(&c);
    ck_assert_int_eq(current(&c), 'b');
    answer(&c, "a b");
    candidates_take_first(&c);
    ck_assert_int_eq(current(&c), 'a');
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("candidates");
    TCase *t = tcase_create("candidates");
    tcase_add_test(t, at_first_the_first_that_answers_is_used);
    tcase_add_test(t, one_failed_check_moves_nothing);
    tcase_add_test(t, a_server_that_is_down_moves_to_what_answers);
    tcase_add_test(t, behind_a_lookup_an_earlier_one_that_answers_again_is_used);
    tcase_add_test(t, others_may_come_and_go_around_the_one_in_use);
    tcase_add_test(t, when_the_one_in_use_is_gone_another_is_looked_for);
    tcase_add_test(t, without_checks_the_first_is_used);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
