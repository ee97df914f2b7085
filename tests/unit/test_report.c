#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/report/report.h"
#include "tests/lib/unit.h"

static const char opening[] = "<script type=\"application/json\" id=\"results\">";

static char path[] = "/tmp/test_report.XXXXXX";

/* The page with these results in it; the caller frees it. */
static char *page_of(json_t *const *results, size_t n)
{
    struct error e = {0};
    ck_assert_msg(report_write(path, results, n, &e), "%s", e.text);
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    char *text = calloc(1, 1 << 20);
    ck_assert_ptr_nonnull(text);
    size_t len = fread(text, 1, (1 << 20) - 1, f);
    fclose(f);
    ck_assert_uint_gt(len, 0);
    ck_assert_uint_eq(strlen(text), len); /* no NUL in it */
    return text;
}

/* What a browser takes for the content of the element: all up to the first "</script". */
static json_t *results_in(const char *page)
{
    const char *from = strstr(page, opening);
    ck_assert_ptr_nonnull(from);
    from += strlen(opening);
    const char *to = strstr(from, "</script");
    ck_assert_ptr_nonnull(to);
    json_t *all = json_loadb(from, (size_t)(to - from), 0, NULL);
    ck_assert_ptr_nonnull(all);
    return all;
}

static unsigned occurrences(const char *text, const char *what)
{
    unsigned n = 0;
    for (; (text = strstr(text, what)) != NULL; text++)
        n++;
    return n;
}

/* Nothing that a result holds can be taken for markup, neither keys nor values. */
START_TEST(no_byte_of_a_result_ends_its_element)
{
    static const char *const evil[] = {
        "</script><script>alert(1)</script>",
        "</ScRiPt >",
        "<!--<script>",
        "-->]]>",
        "\\u003c/script>\\",
        "&lt;/script&gt; \" ' `",
        "\xe2\x80\xa8\xe2\x80\xa9 \xc3\xa4 \x01\x1f\x7f",
    };
    json_t *plain = json_pack("{s:s}", "target", "x"), *o = json_object();
    for (size_t i = 0; i < sizeof evil / sizeof evil[0]; i++)
        ck_assert_int_eq(json_object_set_new(o, evil[i], json_string(evil[i])), 0);
    char *without = page_of(&plain, 1), *with = page_of(&o, 1);
    for (const char *const *what = (const char *const[]){"<", ">", "&", NULL}; *what; what++)
        ck_assert_uint_eq(occurrences(with, *what), occurrences(without, *what));
    json_t *back = results_in(with);
    ck_assert(json_equal(json_array_get(back, 0), o));
    ck_assert_uint_eq(json_array_size(back), 1);
    json_decref(back);
    json_decref(plain);
    json_decref(o);
    free(without);
    free(with);
}
END_TEST

START_TEST(results_come_back_as_they_went_in)
{
    json_t *results[REPORT_MAX];
    for (size_t i = 0; i < REPORT_MAX; i++)
        results[i] = json_pack("{s:I, s:f, s:n, s:[f,I], s:b}", "n", (json_int_t)i << 60, "tenth",
                               0.1 * (double)i, "null", "list", 55.103, (json_int_t)-1, "b", 1);
    for (size_t n = 1; n <= REPORT_MAX; n++) {
        char *page = page_of(results, n);
        json_t *back = results_in(page);
        ck_assert_uint_eq(json_array_size(back), n);
        for (size_t i = 0; i < n; i++)
            ck_assert(json_equal(json_array_get(back, i), results[i]));
        json_decref(back);
        free(page);
    }
    for (size_t i = 0; i < REPORT_MAX; i++)
        json_decref(results[i]);
}
END_TEST

START_TEST(a_page_that_could_not_be_written_is_an_error)
{
    json_t *o = json_object();
    struct error e = {0};
    ck_assert(!report_write("/nowhere/at/all.html", &o, 1, &e));
    ck_assert_int_eq(e.code, ENOENT);
    ck_assert_ptr_nonnull(strstr(e.text, "/nowhere/at/all.html: "));
    ck_assert(!report_write("/dev/full", &o, 1, &e));
    ck_assert_int_eq(e.code, ENOSPC);
    json_decref(o);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("report");
    TCase *t = tcase_create("report");
    tcase_add_test(t, no_byte_of_a_result_ends_its_element);
    tcase_add_test(t, results_come_back_as_they_went_in);
    tcase_add_test(t, a_page_that_could_not_be_written_is_an_error);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    int fd = mkstemp(path);
    if (fd < 0) {
        perror(path);
        return EXIT_FAILURE;
    }
    close(fd);
    int code = unit_main(suite);
    unlink(path);
    return code;
}
