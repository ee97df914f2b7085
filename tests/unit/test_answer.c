#include <stdio.h>
#include <string.h>

#include "http/answer.h"
#include "http/parser.h"
#include "tests/lib/unit.h"

static const int statuses[] = {400, 401, 403, 404, 405, 408, 409, 413,
                               414, 431, 500, 501, 502, 503, 504, 505};

/* Parses each composed answer again: a strict parser must accept it. */
START_TEST(answers_are_well_formed)
{
    for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++)
        for (int variant = 0; variant < 4; variant++) {
            bool close = variant & 1, head = variant & 2;
            struct buffer b = {0};
            struct parser p;
            struct head h;
            char body[64];
            ck_assert(answer_write(&b, statuses[i], close, head, STR("Date: x\r\n")));
            parser_init_answer(&p, &h, 4096);
            ck_assert_int_eq(parser_execute(&p, &h, b.data, b.end), PARSE_DONE);
            ck_assert_int_eq(h.status, statuses[i]);
            ck_assert(str_eq(head_str(b.data, h.reason), str_of(answer_reason(statuses[i]))));
            ck_assert_int_eq(h.keep_alive, !close);
            ck_assert_int_eq(h.body, BODY_LENGTH);
            int n =
                snprintf(body, sizeof(body), "%d %s\n", statuses[i], answer_reason(statuses[i]));
            ck_assert_uint_eq(h.content_length, (unsigned)n);
            ck_assert_uint_eq(b.end - h.size, head ? 0 : (size_t)n);
            if (!head)
                ck_assert_int_eq(memcmp(b.data + h.size, body, (size_t)n), 0);
            buffer_release(&b);
        }
}
END_TEST

START_TEST(answers_are_appended)
{
    struct buffer b = {0};
    ck_assert(buffer_append(&b, "x", 1));
    ck_assert(answer_write(&b, 502, true, false, (struct str){0}));
    ck_assert(buffer_append(&b, "", 1));
    ck_assert_str_eq(b.data, "xHTTP/1.1 502 Bad Gateway\r\n"
                             "Content-Type: text/plain\r\n"
                             "Content-Length: 16\r\n"
                             "Connection: close\r\n"
                             "\r\n"
                             "502 Bad Gateway\n");
    buffer_release(&b);
}
END_TEST

/* RFC 9110 15.5.6. */
START_TEST(a_405_says_what_is_allowed)
{
    struct buffer b = {0};
    struct parser p;
    struct head h;
    ck_assert(answer_write(&b, 405, true, false, (struct str){0}));
    parser_init_answer(&p, &h, 4096);
    ck_assert_int_eq(parser_execute(&p, &h, b.data, b.end), PARSE_DONE);
    const struct head_field *allow = head_find(&h, b.data, STR("Allow"));
    ck_assert_ptr_nonnull(allow);
    ck_assert_ptr_null(memmem(b.data + allow->value, allow->value_len, "CONNECT", 7));
    buffer_release(&b);
}
END_TEST

START_TEST(reasons_have_names)
{
    for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++)
        ck_assert_str_ne(answer_reason(statuses[i]), "Unknown");
    ck_assert_str_eq(answer_reason(502), "Bad Gateway");
    ck_assert_str_eq(answer_reason(431), "Request Header Fields Too Large");
    ck_assert_str_eq(answer_reason(599), "Unknown");
    ck_assert_str_eq(answer_reason(0), "Unknown");
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("answer");
    TCase *t = tcase_create("answer");
    tcase_add_test(t, answers_are_well_formed);
    tcase_add_test(t, answers_are_appended);
    tcase_add_test(t, a_405_says_what_is_allowed);
    tcase_add_test(t, reasons_have_names);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
