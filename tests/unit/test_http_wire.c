#include "bench/load/http_wire.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "tests/lib/unit.h"

static struct http_wire_options plain(void)
{
    return (struct http_wire_options){.method = STR("GET"),
                                      .target = STR("/"),
                                      .host = STR("h"),
                                      .backend_from = "header:X-Backend"};
}

static struct wire *make(const struct http_wire_options *o)
{
    struct error e;
    struct wire *w = http_wire_new(o, &e);
    ck_assert_msg(w != NULL, "%s", e.text);
    return w;
}

/* ---- requests ---- */

START_TEST(requests_have_the_key_in_its_place)
{
    static const struct {
        const char *target, *key_in, *expected;
    } cases[] = {
        {"/", NULL, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"},
        {"/", "header:X-Key", "GET / HTTP/1.1\r\nHost: h\r\nX-Key: k1\r\n\r\n"},
        {"/", "cookie:sid", "GET / HTTP/1.1\r\nHost: h\r\nCookie: sid=k1\r\n\r\n"},
        {"/a", "query:q", "GET /a?q=k1 HTTP/1.1\r\nHost: h\r\n\r\n"},
        {"/a?b=c", "query:q", "GET /a?b=c&q=k1 HTTP/1.1\r\nHost: h\r\n\r\n"},
        {"/", "path", "GET /k1 HTTP/1.1\r\nHost: h\r\n\r\n"},
        {"/a?b=c", "path", "GET /a/k1?b=c HTTP/1.1\r\nHost: h\r\n\r\n"},
        {"/a/", "path", "GET /a/k1 HTTP/1.1\r\nHost: h\r\n\r\n"},
    };
    struct http_wire_options o = plain();
    struct buffer out = {0};
    o.target = str_of(cases[_i].target);
    o.key_in = cases[_i].key_in;
    struct wire *w = make(&o);
    ck_assert(w->put(w, o.key_in ? STR("k1") : (struct str){0}, &out));
    ck_assert(str_eq((struct str){out.data, out.end}, str_of(cases[_i].expected)));
    buffer_release(&out);
    http_wire_free(w);
}
END_TEST

START_TEST(a_request_with_all_that_there_is)
{
    struct http_wire_options o = plain();
    struct buffer out = {0};
    o.method = STR("PUT");
    o.fields = STR("A: 1\r\nB: 2\r\n");
    o.body = STR("hello");
    o.has_body = o.close = true;
    struct wire *w = make(&o);
    ck_assert(w->put(w, (struct str){0}, &out));
    ck_assert(str_eq((struct str){out.data, out.end},
                     STR("PUT / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\nConnection: close\r\n"
                         "Content-Length: 5\r\n\r\nhello")));
    buffer_release(&out);
    http_wire_free(w);
}
END_TEST

START_TEST(a_place_that_is_none_is_refused)
{
    static const char *const key_in[] = {"header", "header:", "header:a b", "body", "path:x", "x"};
    struct error e;
    struct http_wire_options o = plain();
    o.key_in = key_in[_i];
    ck_assert_ptr_null(http_wire_new(&o, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "allowed"));
    o = plain();
    o.backend_from = _i % 2 ? "query:x" : "path";
    ck_assert_ptr_null(http_wire_new(&o, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "--backend-from"));
}
END_TEST

/* ---- answers ---- */

#define HEAD "HTTP/1.1 200 OK\r\nX-Backend: b7\r\n"

static const struct answer_case {
    const char *bytes;
    const char *from;
    bool head;               /* the request was HEAD */
    enum wire_result result; /* of the whole; WIRE_MORE: ends with the connection */
    unsigned status;
    bool keep;
    const char *backend;
} answers[] = {
    {HEAD "Content-Length: 3\r\n\r\nabc", NULL, false, WIRE_DONE, 200, true, "b7"},
    {HEAD "Content-Length: 0\r\n\r\n", NULL, false, WIRE_DONE, 200, true, "b7"},
    {HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: t\r\n\r\n", NULL,
     false, WIRE_DONE, 200, true, "b7"},
    {HEAD "Content-Length: 3\r\nConnection: close\r\n\r\nabc", NULL, false, WIRE_DONE, 200, false,
     "b7"},
    {HEAD "\r\nto the end", NULL, false, WIRE_MORE, 200, false, "b7"},
    {HEAD "Content-Length: 1000\r\n\r\n", NULL, true, WIRE_DONE, 200, true, "b7"},
    {"HTTP/1.1 204 No Content\r\n\r\n", NULL, false, WIRE_DONE, 204, true, ""},
    {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", NULL, false, WIRE_DONE, 503,
     true, ""},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX-Backend: no\r\n\r\n" HEAD
     "Content-Length: 1\r\n\r\n1",
     NULL, false, WIRE_DONE, 200, true, "b7"},
    {HEAD "Content-Length: 9\r\n\r\nname more", "body", false, WIRE_DONE, 200, true, "name"},
    {HEAD "Content-Length: 7\r\n\r\nb1.....", "body", false, WIRE_DONE, 200, true, "b1"},
    {HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\nba\r\n3\r\nck1\r\n0\r\n\r\n", "body", false,
     WIRE_DONE, 200, true, "back1"},
    {"HTTP/1.1 200 OK\r\nX-Backend: b\xff\t7\r\nContent-Length: 0\r\n\r\n", NULL, false, WIRE_DONE,
     200, true, "b??7"},
    {HEAD "Content-Length: 3\r\n\r\nabc", "none", false, WIRE_DONE, 200, true, ""},
    {"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", NULL, false, WIRE_BAD, 0, false, ""},
    {"HTTP/1.1 101 Switching Protocols\r\n\r\n", NULL, false, WIRE_BAD, 0, false, ""},
    {"SSH-2.0-OpenSSH\r\n", NULL, false, WIRE_BAD, 0, false, ""},
    {HEAD "Transfer-Encoding: chunked\r\n\r\nz\r\n", NULL, false, WIRE_BAD, 0, false, ""},
};

#define NANSWERS (sizeof answers / sizeof *answers)

/* Feeds the bytes as they come, `step` at a time; what is not taken is offered again. */
static enum wire_result feed(const struct wire *w, struct wire_reader *r, const char *bytes,
                             size_t step, struct wire_answer *a)
{
    size_t n = strlen(bytes), start = 0, have = 0;
    char *data = malloc(n + 1);
    enum wire_result result = WIRE_MORE;
    memcpy(data, bytes, n);
    while (result == WIRE_MORE && have < n) {
        have = have + step < n ? have + step : n;
        size_t used = 1;
        while (result == WIRE_MORE && used && start < have) {
            result = w->take(w, r, data + start, have - start, &used, a);
            ck_assert_uint_le(used, have - start);
            start += used;
        }
    }
    if (result == WIRE_DONE)
        ck_assert_uint_eq(start, n);
    free(data);
    return result;
}

START_TEST(answers_are_read_whatever_the_pieces)
{
    const struct answer_case *c = &answers[_i];
    struct http_wire_options o = plain();
    o.method = c->head ? STR("HEAD") : STR("GET");
    if (c->from)
        o.backend_from = c->from;
    struct wire *w = make(&o);
    for (size_t step = 1; step <= strlen(c->bytes); step++) {
        struct wire_reader *r = mem_zalloc(w->reader_size);
        struct wire_answer a = {0};
        enum wire_result result = feed(w, r, c->bytes, step, &a);
        ck_assert_int_eq(result, c->result);
        if (result == WIRE_MORE)
            ck_assert(w->take_end(w, r, &a));
        if (result != WIRE_BAD) {
            ck_assert_uint_eq(a.status, c->status);
            ck_assert_int_eq(a.keep, c->keep);
            ck_assert_msg(str_eq(a.backend, str_of(c->backend)), "%.*s", (int)a.backend.n,
                          a.backend.p);
        }
        w->reset(w, r);
        free(r);
    }
    http_wire_free(w);
}
END_TEST

START_TEST(an_answer_cut_short_is_none)
{
    static const char *const cut[] = {"", "HTTP/1.1 200", HEAD, HEAD "Content-Length: 3\r\n\r\nab",
                                      HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"};
    struct http_wire_options o = plain();
    struct wire *w = make(&o);
    struct wire_reader *r = mem_zalloc(w->reader_size);
    struct wire_answer a;
    ck_assert_int_eq(feed(w, r, cut[_i], 1, &a), WIRE_MORE);
    ck_assert(!w->take_end(w, r, &a));
    w->reset(w, r);
    free(r);
    http_wire_free(w);
}
END_TEST

START_TEST(a_long_name_is_cut)
{
    char bytes[400];
    struct http_wire_options o = plain();
    o.backend_from = _i ? "body" : "header:X-Backend";
    snprintf(bytes, sizeof bytes,
             "HTTP/1.1 200 OK\r\nX-Backend: %0100d\r\nContent-Length: 100\r\n\r\n%0100d", 7, 7);
    struct wire *w = make(&o);
    struct wire_reader *r = mem_zalloc(w->reader_size);
    struct wire_answer a;
    ck_assert_int_eq(feed(w, r, bytes, 13, &a), WIRE_DONE);
    ck_assert_uint_eq(a.backend.n, 63);
    w->reset(w, r);
    free(r);
    http_wire_free(w);
}
END_TEST

START_TEST(keys_that_would_break_a_request_are_refused)
{
    static const struct {
        const char *key_in, *dist;
        bool ok;
    } cases[] = {{"header:K", "a?b#c&d;e", true}, {"query:k", "a;b?c", true},
                 {"query:k", "a&b", false},       {"path", "a&b;c", true},
                 {"path", "a?b", false},          {"path", "a#b", false},
                 {"cookie:c", "a;b", false},      {"cookie:c", "a?b&c", true}};
    struct http_wire_options o = plain();
    struct error e;
    uint32_t offset[] = {0, (uint32_t)strlen(cases[_i].dist)};
    char text[32];
    strcpy(text, cases[_i].dist);
    const struct keys k = {.n = 1, .text = text, .offset = offset};
    o.key_in = cases[_i].key_in;
    struct wire *w = make(&o);
    ck_assert_int_eq(http_wire_check_keys(w, &k, &e), cases[_i].ok);
    http_wire_free(w);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("http_wire");
    TCase *t = tcase_create("http_wire");
    tcase_add_loop_test(t, requests_have_the_key_in_its_place, 0, 8);
    tcase_add_test(t, a_request_with_all_that_there_is);
    tcase_add_loop_test(t, a_place_that_is_none_is_refused, 0, 6);
    tcase_add_loop_test(t, answers_are_read_whatever_the_pieces, 0, NANSWERS);
    tcase_add_loop_test(t, an_answer_cut_short_is_none, 0, 5);
    tcase_add_loop_test(t, a_long_name_is_cut, 0, 2);
    tcase_add_loop_test(t, keys_that_would_break_a_request_are_refused, 0, 8);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
