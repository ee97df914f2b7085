#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "tests/lib/unit.h"

START_TEST(an_error_keeps_its_code_and_text)
{
    struct error e;
    error_set(&e, 5, "%s of %d", "three", 4);
    ck_assert_int_eq(e.code, 5);
    ck_assert_str_eq(e.text, "three of 4");
}
END_TEST

START_TEST(an_errno_is_put_in_words)
{
    struct error e;
    error_errno(&e, EADDRINUSE, "bind %s", "0.0.0.0:8080");
    ck_assert_int_eq(e.code, EADDRINUSE);
    ck_assert_str_eq(e.text, "bind 0.0.0.0:8080: Address already in use");
}
END_TEST

START_TEST(prefixes_go_in_front)
{
    struct error e;
    error_errno(&e, ENOENT, "open");
    error_prefix(&e, "file %d", 1);
    error_prefix(&e, "listener %s", "web");
    ck_assert_int_eq(e.code, ENOENT);
    ck_assert_str_eq(e.text, "listener web: file 1: open: No such file or directory");
}
END_TEST

START_TEST(what_does_not_fit_is_cut)
{
    struct error e;
    char longer[2000];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = 0;
    error_set(&e, 1, "%s", longer);
    ck_assert_uint_eq(strlen(e.text), sizeof e.text - 1);
    error_errno(&e, ENOENT, "%s", longer);
    ck_assert_uint_eq(strlen(e.text), sizeof e.text - 1);
    error_prefix(&e, "front");
    ck_assert_uint_eq(strlen(e.text), sizeof e.text - 1);
    ck_assert(strncmp(e.text, "front: xxx", 10) == 0);
    error_prefix(&e, "%s", longer);
    ck_assert_uint_eq(strlen(e.text), sizeof e.text - 1);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("error");
    TCase *t = tcase_create("error");
    tcase_add_test(t, an_error_keeps_its_code_and_text);
    tcase_add_test(t, an_errno_is_put_in_words);
    tcase_add_test(t, prefixes_go_in_front);
    tcase_add_test(t, what_does_not_fit_is_cut);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
