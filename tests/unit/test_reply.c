#include "httpd/reply.h"

#include <stdio.h>

#include "tests/lib/unit.h"

static void expect_head(const struct reply_head *h, const char *text)
{
    struct buffer out = {0};
    ck_assert(buffer_append(&out, "before", 6));
    ck_assert(reply_put_head(&out, h));
    ck_assert(buffer_append(&out, "", 1));
    ck_assert_str_eq(buffer_head(&out) + 6, text);
    buffer_release(&out);
}

START_TEST(a_head_has_what_it_is_given)
{
    struct reply_head h = {.status = 200, .length = 0};
    expect_head(&h, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    h = (struct reply_head){
        .status = 503,
        .date = STR("Date: today\r\n"),
        .type = STR("text/html"),
        .fields = STR("A: b\r\nC: d\r\n"),
        .persists = "close",
        .length = SIZE_MAX,
    };
    char text[256];
    snprintf(text, sizeof text,
             "HTTP/1.1 503 Service Unavailable\r\nDate: today\r\nContent-Type: text/html\r\n"
             "Content-Length: %zu\r\nConnection: close\r\nA: b\r\nC: d\r\n\r\n",
             SIZE_MAX);
    expect_head(&h, text);
    h = (struct reply_head){
        .status = 299, .framing = REPLY_CHUNKED, .length = 7, .persists = "keep-alive"};
    expect_head(&h, "HTTP/1.1 299 Unknown\r\nTransfer-Encoding: chunked\r\n"
                    "Connection: keep-alive\r\n\r\n");
    h = (struct reply_head){.status = 200, .framing = REPLY_CLOSE, .persists = "close"};
    expect_head(&h, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    h = (struct reply_head){.status = 204, .length = 7};
    expect_head(&h, "HTTP/1.1 204 No Content\r\n\r\n");
    h = (struct reply_head){.status = 304, .length = 1234567};
    expect_head(&h, "HTTP/1.1 304 Not Modified\r\nContent-Length: 1234567\r\n\r\n");
}
END_TEST

static Suite *build(void)
{
    Suite *suite = suite_create("reply");
    TCase *t = tcase_create("reply");
    tcase_add_test(t, a_head_has_what_it_is_given);
    suite_add_tcase(suite, t);
    return suite;
}

int main(void)
{
    return unit_main(build);
}
