/* Bytes of a Redis, as replies, within bounds. */
#include "cluster/resp.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/unit.h"

static struct resp *reader;

static void set_up(void)
{
    reader = resp_new();
    ck_assert(reader);
}

static void tear_down(void)
{
    resp_free(reader);
}

static void feed(const char *text)
{
    ck_assert(resp_feed(reader, text, strlen(text)));
}

static struct redis_reply *next(void)
{
    struct redis_reply *reply = NULL;
    ck_assert_int_eq(resp_next(reader, &reply), RESP_REPLY);
    return reply;
}

static void check_more(void)
{
    struct redis_reply *reply;
    ck_assert_int_eq(resp_next(reader, &reply), RESP_MORE);
}

static void check_bad(const char *why)
{
    struct redis_reply *reply;
    ck_assert_int_eq(resp_next(reader, &reply), RESP_BAD);
    ck_assert_str_eq(resp_error(reader), why);
}

/* One reply as text: "[1 'a' nil]". */
static size_t print(const struct redis_reply *r, char *out, size_t size)
{
    size_t n = 0;
    switch (r->type) {
    case REPLY_NIL:
        return (size_t)snprintf(out, size, "nil");
    case REPLY_INTEGER:
        return (size_t)snprintf(out, size, "%lld", (long long)r->integer);
    case REPLY_TEXT:
        return (size_t)snprintf(out, size, "'%s'", r->text.p);
    case REPLY_STATUS:
        return (size_t)snprintf(out, size, "+%s", r->text.p);
    case REPLY_ERROR:
        return (size_t)snprintf(out, size, "-%s", r->text.p);
    case REPLY_ARRAY:
        break;
    }
    n += (size_t)snprintf(out, size, "[");
    for (size_t i = 0; i < r->n; i++) {
        n += (size_t)snprintf(out + n, size - n, "%s", i ? " " : "");
        n += print(r->elements[i], out + n, size - n);
    }
    return n + (size_t)snprintf(out + n, size - n, "]");
}

START_TEST(a_reply_is_what_was_sent_however_it_is_cut)
{
    static const char bytes[] =
        "*6\r\n:-7\r\n$3\r\na\r\n\r\n*2\r\n+OK\r\n-ERR\r\n$-1\r\n*-1\r\n*0\r\n";
    for (size_t step = 1; step < sizeof bytes; step++) {
        char text[128];
        struct redis_reply *reply = NULL;
        for (size_t at = 0; at < sizeof bytes - 1; at += step) {
            size_t n = sizeof bytes - 1 - at < step ? sizeof bytes - 1 - at : step;
            ck_assert(reply == NULL);
            ck_assert(resp_feed(reader, bytes + at, n));
            ck_assert_int_ne(resp_next(reader, &reply), RESP_BAD);
        }
        ck_assert(reply);
        print(reply, text, sizeof text);
        ck_assert_str_eq(text, "[-7 'a\r\n' [+OK -ERR] nil nil []]");
        resp_reply_free(reply);
    }
    check_more();
}
END_TEST

START_TEST(a_command_is_read_as_it_was_written)
{
    const char *words[] = {"EVAL", "", "a\r\nb\0c"};
    size_t len, lens[] = {4, 0, 6};
    char *bytes = resp_format(words, lens, 3, &len);
    ck_assert(bytes && resp_feed(reader, bytes, len));
    resp_format_free(bytes);
    struct redis_reply *r = next();
    ck_assert_uint_eq(r->n, 3);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(r->elements[i]->text.n, lens[i]);
        ck_assert_mem_eq(r->elements[i]->text.p, words[i], lens[i]);
    }
    resp_reply_free(r);
}
END_TEST

START_TEST(an_array_has_a_limit)
{
    feed("*4096\r\n");
    for (unsigned i = 0; i < REPLY_ELEMENTS_MAX; i++)
        feed("+\r\n");
    resp_reply_free(next());
    feed("*4097\r\n");
    check_bad("an array of too many elements");
}
END_TEST

START_TEST(all_elements_of_a_reply_together_have_a_limit)
{
    feed("*5\r\n"); /* which counts, too, as the arrays within do */
    for (unsigned k = 0; k < 4; k++) {
        feed("*4094\r\n");
        for (unsigned i = 0; i < 4094; i++)
            feed(":1\r\n");
    }
    check_more();
    feed("*5\r\n:1\r\n:2\r\n");
    check_more();
    feed(":3\r\n");
    check_bad("a reply of too many elements");
}
END_TEST

START_TEST(levels_have_a_limit)
{
    struct redis_reply *reply;
    feed("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n");
    resp_reply_free(next());
    for (unsigned i = 0; i < 100; i++)
        feed("*1\r\n");
    feed(":1\r\n");
    ck_assert_int_eq(resp_next(reader, &reply), RESP_BAD); /* hiredis says it in its words */
}
END_TEST

START_TEST(all_bytes_of_a_reply_together_have_a_limit)
{
    size_t n = 4u << 20;
    char *piece = malloc(n);
    ck_assert(piece);
    memset(piece, 'x', n);
    feed("*9\r\n");
    for (unsigned i = 0; i < 7; i++) {
        feed("$4194304\r\n");
        ck_assert(resp_feed(reader, piece, n));
        feed("\r\n");
        check_more();
    }
    feed("$4194304\r\n");
    ck_assert(resp_feed(reader, piece, n));
    feed("\r\n");
    free(piece);
    check_bad("a reply of too many bytes");
}
END_TEST

START_TEST(what_waits_for_its_end_has_a_limit)
{
    size_t n = RESP_UNPARSED_MAX;
    char *piece = malloc(n);
    ck_assert(piece);
    memset(piece, 'x', n);
    feed("$9000000\r\n");
    ck_assert(resp_feed(reader, piece, n - 9));
    check_more();
    ck_assert(resp_feed(reader, piece, 1));
    check_bad("a reply of too many bytes");
    tear_down();
    set_up();
    feed("-");
    ck_assert(resp_feed(reader, piece, RESP_LINE_MAX));
    check_more();
    ck_assert(resp_feed(reader, piece, 1));
    check_bad("a reply of too many bytes");
    free(piece);
}
END_TEST

static Suite *build(void)
{
    Suite *suite = suite_create("resp");
    TCase *tc = tcase_create("resp");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, a_reply_is_what_was_sent_however_it_is_cut);
    tcase_add_test(tc, a_command_is_read_as_it_was_written);
    tcase_add_test(tc, an_array_has_a_limit);
    tcase_add_test(tc, all_elements_of_a_reply_together_have_a_limit);
    tcase_add_test(tc, levels_have_a_limit);
    tcase_add_test(tc, all_bytes_of_a_reply_together_have_a_limit);
    tcase_add_test(tc, what_waits_for_its_end_has_a_limit);
    suite_add_tcase(suite, tc);
    return suite;
}

int main(void)
{
    return unit_main(build);
}
