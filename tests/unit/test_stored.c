#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/report/stored.h"
#include "tests/lib/unit.h"

static char path[] = "/tmp/test_result.XXXXXX";

static const char http[] =
    "{'ringbench': '0.1.0', 'kind': 'http', 'target': 'http://x/', 'options': {}, 'seconds': 1.5,"
    " 'cpu_seconds': 0, 'sent': 9, 'answered': 8, 'failed': 1, 'bytes_in': 1, 'bytes_out': 1,"
    " 'requests_per_second': 5.3, 'requests_per_cpu_second': null, 'errors': {'reset': 1},"
    " 'statuses': {'200': 4, '399': 1, '400': 1, '503': 2}, 'latency_us': {'p50': 1},"
    " 'histogram': [[1, 3], [2.5, 5]], 'backends': [], 'balance': null, 'keys': {'moved': 0},"
    " 'moves': [], 'timeline': {'interval_s': 0.1}}";

static const char bulk[] =
    "{'ringbench': '0.1.0', 'kind': 'tcp', 'target': 'x:1', 'options': {'mode': 'bulk'},"
    " 'seconds': 1, 'cpu_seconds': 1, 'failed': 0, 'bytes_in': 1, 'bytes_out': 1, 'errors': {},"
    " 'mib_per_second': 1, 'mib_per_cpu_second': 1, 'timeline': {'interval_s': 0.1}}";

static const char ring[] =
    "{'version': '0.1.0', 'keys': 10, 'rounds': 9, 'rings': [{'layout': 'modulo', 'backends': 3,"
    " 'vnodes': null, 'find_ns': 1.5, 'shares': 'exact', 'share_max': 1, 'moved': 0.5,"
    " 'least': 0.3, 'added_moved': null, 'added_least': null}]}";

/* The file holds the text from now on, ' being ". */
static void write_file(const char *text)
{
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    for (; *text; text++)
        putc(*text == '\'' ? '"' : *text, f);
    ck_assert_int_eq(fclose(f), 0);
}

/* The text with the first `what` in it replaced; static memory. */
static const char *with(const char *text, const char *what, const char *by)
{
    static char out[4096];
    const char *at = strstr(text, what);
    ck_assert_ptr_nonnull(at);
    snprintf(out, sizeof out, "%.*s%s%s", (int)(at - text), text, by, at + strlen(what));
    return out;
}

static json_t *load_good(const char *text)
{
    struct error e = {0};
    write_file(text);
    json_t *r = stored_load(path, &e);
    ck_assert_msg(r != NULL, "%s", e.text);
    return r;
}

/* Refused, with the name of the file and these words. */
static void refuse(const char *text, const char *words)
{
    struct error e = {0};
    write_file(text);
    ck_assert_ptr_null(stored_load(path, &e));
    ck_assert_msg(strncmp(e.text, path, strlen(path)) == 0 && strstr(e.text, words), "%s", e.text);
    ck_assert_ptr_eq(strstr(e.text + 1, path), NULL); /* named once */
}

START_TEST(kinds_are_told_apart)
{
    static const struct {
        const char *from, *to, *kind;
    } table[] = {
        {"'http'", "'http'", "http"},
        {"'http', 'target': 'http://x/', 'options': {}",
         "'tcp', 'target': 'x', 'options': {'mode': 'ping-pong'}", "tcp ping-pong"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        json_t *r = load_good(with(http, table[i].from, table[i].to));
        ck_assert_str_eq(stored_kind(r), table[i].kind);
        ck_assert(!stored_is_bulk(r));
        json_decref(r);
    }
    json_t *r = load_good(bulk);
    ck_assert_str_eq(stored_kind(r), "tcp bulk");
    ck_assert(stored_is_bulk(r) && !stored_is_ring(r));
    json_decref(r);
    r = load_good(ring);
    ck_assert_str_eq(stored_kind(r), "ring");
    ck_assert(stored_is_ring(r) && !stored_is_bulk(r));
    json_decref(r);
}
END_TEST

START_TEST(refused_are_the_answers_from_status_400_on)
{
    json_t *r = load_good(http);
    ck_assert_double_eq_tol(stored_refused(r), 3, 1e-12);
    json_decref(r);
}
END_TEST

START_TEST(results_of_one_kind_can_be_compared)
{
    json_t *a = load_good(http), *b = load_good(bulk);
    struct error e;
    ck_assert(stored_comparable("a", a, "b", a, &e));
    ck_assert(!stored_comparable("a", a, "b", b, &e));
    ck_assert_str_eq(e.text, "b: a result of kind tcp bulk, but a is of kind http");
    json_decref(a);
    json_decref(b);
}
END_TEST

START_TEST(a_run_without_answers_or_keys_is_a_result)
{
    json_decref(load_good(with(http, "{'p50': 1}", "null")));
    json_decref(load_good(with(http, "{'moved': 0}", "{}")));
    json_decref(load_good(with(http, "{'moved': 0}", "null")));
    json_decref(load_good(with(http, "[[1, 3], [2.5, 5]]", "[]")));
}
END_TEST

START_TEST(what_is_not_as_it_must_be_is_named)
{
    refuse("", "not JSON");
    refuse("{", "not JSON");
    refuse("[]", "not a result of ringbench");
    refuse("{'version': 1}", "not a result of ringbench");
    refuse("{'ringbench': 1}", "ringbench: not a string");
    refuse(with(http, "'seconds': 1.5,", ""), "seconds is missing, a number");
    refuse(with(http, "1.5", "-1"), "seconds: not a number of 0 or more");
    refuse(with(http, "'sent': 9", "'sent': 9.5"), "sent: not an integer");
    refuse(with(http, "'kind': 'http'", "'kind': 'ring'"), "kind: neither");
    refuse(with(bulk, "'bulk'", "'storm'"), "kind: neither");
    refuse(with(http, "{'p50': 1}", "{'p50': '1'}"), "latency_us: a value is not a number");
    refuse(with(http, "'200': 4", "'200': -4"), "statuses: a value is not an integer");
    refuse(with(http, "[1, 3]", "[1]"), "histogram[0]: not a pair");
    refuse(with(http, "[1, 3]", "[1, 3, 4]"), "histogram[0]: not a pair");
    refuse(with(http, "[2.5, 5]", "[1, 5]"), "histogram[1]: bounds do not ascend");
    refuse(with(http, "[2.5, 5]", "7"), "histogram[1]: not a pair");
    refuse(with(http, "5]]", "9223372036854775807]]"), "histogram[1]: more answers than");
    refuse(with(http, "0.1}", "0}"), "timeline.interval_s: not a number above 0");
    refuse(with(bulk, "'mib_per_second': 1, ", ""), "mib_per_second is missing");
    refuse(with(ring, "'keys': 10", "'keys': -1"), "keys: not an integer");
    refuse(with(ring, "'backends': 3", "'backends': 3.5"), "rings[0]: backends: not an integer");
    refuse(with(ring, "'moved': 0.5", "'moved': null"), "rings[0]: moved: not a number");
    refuse("{'rings': [], 'keys': 1, 'rounds': 1}", "version is missing");
    refuse("{'rings': {}}", "not a result of ringbench");
}
END_TEST

START_TEST(syntax_errors_have_a_place)
{
    char place[64];
    snprintf(place, sizeof place, "%s:2:", path);
    refuse("{'ringbench': '0.1.0',\n 'kind' 'http'}", place);
}
END_TEST

START_TEST(a_file_that_cannot_be_read_is_an_error)
{
    struct error e;
    ck_assert_ptr_null(stored_load("/nowhere/a.json", &e));
    ck_assert_str_eq(e.text, "/nowhere/a.json: No such file or directory");
    ck_assert_ptr_null(stored_load("/tmp", &e));
    ck_assert_str_eq(e.text, "/tmp: Is a directory");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("stored");
    TCase *t = tcase_create("stored");
    tcase_add_test(t, kinds_are_told_apart);
    tcase_add_test(t, refused_are_the_answers_from_status_400_on);
    tcase_add_test(t, results_of_one_kind_can_be_compared);
    tcase_add_test(t, a_run_without_answers_or_keys_is_a_result);
    tcase_add_test(t, what_is_not_as_it_must_be_is_named);
    tcase_add_test(t, syntax_errors_have_a_place);
    tcase_add_test(t, a_file_that_cannot_be_read_is_an_error);
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
