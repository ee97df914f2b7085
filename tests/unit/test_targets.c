#include <errno.h>
#include <string.h>

#include "bench/load/targets.h"
#include "tests/lib/unit.h"

/* Succeeds at the address number `good`; each failure has a text and a code. */
struct attempts {
    const struct targets *targets;
    unsigned n, good;
    int code;
};

static bool attempt(void *arg, const struct addr *to, struct error *e)
{
    struct attempts *a = arg;
    char text[ADDR_TEXT_MAX];
    ck_assert(addr_eq(to, &a->targets->at[a->n])); /* in their order */
    addr_format(to, text);
    if (a->n++ == a->good)
        return true;
    error_set(e, a->code, "connect %s: no", text);
    return false;
}

static struct targets three(void)
{
    static const char *const texts[] = {"[::1]:80", "127.0.0.1:80", "10.0.0.1:80"};
    struct targets t = {.n = 3};
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(addr_parse(str_of(texts[i]), &t.at[i]), ADDR_OK);
    return t;
}

START_TEST(addresses_are_tried_until_one_is_reached)
{
    struct targets t = three();
    struct attempts a = {.targets = &t, .good = (unsigned)_i, .code = ECONNREFUSED};
    struct error e;
    ck_assert(targets_try(&t, attempt, &a, &e));
    ck_assert_uint_eq(a.n, (unsigned)_i + 1);
}
END_TEST

START_TEST(the_error_names_each_address)
{
    struct targets t = three();
    struct attempts a = {.targets = &t, .good = 9, .code = ECONNREFUSED};
    struct error e;
    ck_assert(!targets_try(&t, attempt, &a, &e));
    ck_assert_str_eq(e.text, "connect [::1]:80: no; connect 127.0.0.1:80: no; "
                             "connect 10.0.0.1:80: no");
    ck_assert_int_eq(e.code, ECONNREFUSED);
    t.n = 1;
    a.n = 0;
    ck_assert(!targets_try(&t, attempt, &a, &e));
    ck_assert_str_eq(e.text, "connect [::1]:80: no");
}
END_TEST

START_TEST(what_the_machine_lacks_ends_the_tries)
{
    static const int codes[] = {EMFILE, ENFILE};
    struct targets t = three();
    struct attempts a = {.targets = &t, .good = 9, .code = codes[_i]};
    struct error e;
    ck_assert(!targets_try(&t, attempt, &a, &e));
    ck_assert_uint_eq(a.n, 1);
}
END_TEST

START_TEST(an_address_is_taken_as_it_is)
{
    struct targets t;
    struct error e;
    ck_assert(targets_resolve("127.0.0.1:80", &t, &e) && t.n == 1);
    ck_assert(targets_resolve("[fe80::1%lo]:80", &t, &e) && t.n == 1);
    ck_assert_uint_ne(t.at[0].v6.sin6_scope_id, 0);
}
END_TEST

START_TEST(a_name_has_its_addresses_with_the_port)
{
    struct targets t;
    struct error e;
    ck_assert(targets_resolve("localhost:8099", &t, &e));
    ck_assert(t.n >= 1 && t.n <= TARGETS_MAX);
    for (unsigned i = 0; i < t.n; i++) {
        ck_assert(addr_is_loopback(&t.at[i]) && addr_port(&t.at[i]) == 8099);
        for (unsigned k = 0; k < i; k++)
            ck_assert(!addr_eq(&t.at[i], &t.at[k]));
    }
}
END_TEST

static const struct {
    const char *text, *says;
} wrong[] = {
    {"127.0.0.1", "127.0.0.1 is no address, allowed are HOST:PORT and [V6]:PORT"},
    {"[::1]", "[::1] is no address, allowed are HOST:PORT and [V6]:PORT"},
    {"[fe80::1%none]:1", "[fe80::1%none]:1 names no interface of this host behind '%'"},
    {"[::1%lo]:1",
     "[::1%lo]:1 names an interface, which only a link-local address (fe80::/10) has"},
};

START_TEST(what_is_no_target_is_named)
{
    struct targets t;
    struct error e;
    ck_assert(!targets_resolve(wrong[_i].text, &t, &e));
    ck_assert_str_eq(e.text, wrong[_i].says);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("targets");
    TCase *t = tcase_create("targets");
    tcase_add_loop_test(t, addresses_are_tried_until_one_is_reached, 0, 3);
    tcase_add_test(t, the_error_names_each_address);
    tcase_add_loop_test(t, what_the_machine_lacks_ends_the_tries, 0, 2);
    tcase_add_test(t, an_address_is_taken_as_it_is);
    tcase_add_test(t, a_name_has_its_addresses_with_the_port);
    tcase_add_loop_test(t, what_is_no_target_is_named, 0, (int)(sizeof wrong / sizeof *wrong));
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
