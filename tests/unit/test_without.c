/* Fields of one name that are not passed on: of a head, and of trailers. */
#include <string.h>

#include "http/field.h"
#include "http/framing.h"
#include "http/parser.h"
#include "http/rewrite.h"
#include "tests/lib/unit.h"

START_TEST(names_are_one_in_any_case_and_with_either_dash)
{
    static const struct {
        const char *name, *other;
        bool one;
    } cases[] = {
        {"X-Ring-Epoch", "X-Ring-Epoch", true},
        {"X-Ring-Epoch", "x-ring-EPOCH", true},
        {"X-Ring-Epoch", "X_Ring_Epoch", true},
        {"x_ring-epoch", "X-Ring_Epoch", true},
        {"X-Ring-Epoch", "X-Ring-Epochs", false},
        {"X-Ring-Epoch", "X-Ring-Epoc", false},
        {"X-Ring-Epoch", "X.Ring.Epoch", false},
        {"[", "{", false},
        {"@", "`", false},
        {"", "", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_int_eq(field_may_be(str_of(cases[i].name), str_of(cases[i].other)), cases[i].one);
        ck_assert_int_eq(field_may_be(str_of(cases[i].other), str_of(cases[i].name)), cases[i].one);
    }
}
END_TEST

START_TEST(such_fields_of_a_head_are_left_out)
{
    static const char in[] = "GET / HTTP/1.1\r\nX-Epoch: 1\r\nHost: h\r\nA: b\r\nx_epoch: 2\r\n"
                             "X-Epoch-2: 3\r\n\r\n";
    struct parser p;
    struct head h;
    struct buffer out = {0};
    const struct rewrite_request r = {
        .peer = STR("192.0.2.7"), .proto = STR("http"), .no_via = true, .without = STR("X-Epoch")};
    parser_init_request(&p, &h, 2048);
    ck_assert_int_eq(parser_execute(&p, &h, in, sizeof in - 1), PARSE_DONE);
    ck_assert(rewrite_request(&out, &h, in, &r));
    ck_assert(buffer_append(&out, "", 1));
    ck_assert_str_eq(out.data, "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\nX-Epoch-2: 3\r\n"
                               "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\n"
                               "X-Forwarded-Host: h\r\n");
    buffer_release(&out);
}
END_TEST

START_TEST(such_trailers_are_left_out)
{
    char in[] = "0\r\nX_Epoch: 1\r\nX-Sum: 2\r\nX-Epoch: 3\r\n\r\n";
    struct framing f;
    size_t used, payload;
    const struct head *h;
    const char *base;
    struct buffer out = {0};
    framing_init(&f, BODY_CHUNKED, 0, 1024);
    ck_assert_int_eq(framing_decode(&f, in, sizeof in - 1, &used, &payload), FRAMING_DONE);
    framing_drop_trailers(&f, STR("X-Epoch"));
    ck_assert(framing_trailers(&f, &h, &base));
    ck_assert(rewrite_last_chunk(&out, h, base));
    ck_assert(buffer_append(&out, "", 1));
    ck_assert_str_eq(out.data, "0\r\nX-Sum: 2\r\n\r\n");
    buffer_release(&out);
    framing_deinit(&f);
    framing_init(&f, BODY_CHUNKED, 0, 1024);
    framing_drop_trailers(&f, STR("X-Epoch")); /* there are none */
    framing_deinit(&f);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("without");
    TCase *t = tcase_create("without");
    tcase_add_test(t, names_are_one_in_any_case_and_with_either_dash);
    tcase_add_test(t, such_fields_of_a_head_are_left_out);
    tcase_add_test(t, such_trailers_are_left_out);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
