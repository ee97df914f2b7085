#include <stdio.h>
#include <string.h>

#include "http/parser.h"
#include "http/rewrite.h"
#include "tests/lib/unit.h"

#define FORWARDED "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\n"
#define FORWARDED_H FORWARDED "X-Forwarded-Host: h\r\n"
#define VIA "Via: 1.1 ringproxy\r\n"
#define GET "GET / HTTP/1.1\r\nHost: h\r\n"
#define POST "POST / HTTP/1.1\r\nHost: h\r\n"

/* Expects `out` to be `expected`, and a composed request to be one that the parser accepts. */
static void check_text(struct buffer *out, const char *expected, const char *in)
{
    ck_assert(buffer_append(out, "", 1));
    ck_assert_msg(strcmp(out->data, expected) == 0, "\"%s\" instead of \"%s\", from \"%s\"",
                  out->data, expected, in);
    buffer_release(out);
}

/* Expects the request `in` to become `expected`; both are given without the blank line. */
static void check_rewritten(const char *in, const struct rewrite_request *r, const char *expected)
{
    struct parser p;
    struct head h, again;
    struct buffer out = {0};
    char head[2048];
    int n = snprintf(head, sizeof(head), "%s\r\n", in);
    parser_init_request(&p, &h, 2048);
    ck_assert_msg(parser_execute(&p, &h, head, (size_t)n) == PARSE_DONE, "%s: %s", in, p.reason);
    ck_assert(rewrite_request(&out, &h, head, r));
    size_t end = out.end;
    if (!h.has_host)
        ck_assert(buffer_append(&out, "Host: x\r\n", 9));
    ck_assert(buffer_append(&out, "\r\n", 2));
    parser_init_request(&p, &again, 4096);
    ck_assert_msg(parser_execute(&p, &again, out.data, out.end) == PARSE_DONE, "%s", out.data);
    ck_assert_int_eq(again.body, h.body);
    ck_assert_uint_eq(again.content_length, h.content_length);
    ck_assert_int_eq(again.upgrade, r->upgrade);
    out.end = end;
    check_text(&out, expected, in);
}

static void check_request_of(struct str peer, const char *in, bool upgrade, const char *expected)
{
    struct rewrite_request r = {.peer = peer, .proto = STR("http"), .upgrade = upgrade};
    check_rewritten(in, &r, expected);
}

static void check_request(const char *in, bool upgrade, const char *expected)
{
    check_request_of(STR("192.0.2.7"), in, upgrade, expected);
}

struct request_case {
    const char *in, *out;
};

#define CHECK_REQUESTS(cases)                                        \
    for (size_t i_ = 0; i_ < sizeof(cases) / sizeof(*(cases)); i_++) \
    check_request((cases)[i_].in, false, (cases)[i_].out)

START_TEST(requests_go_out_as_1_1_with_our_lines)
{
    static const struct request_case cases[] = {
        {GET, GET FORWARDED_H VIA},
        {GET "A:b\r\nB: \t c \r\nC:\r\nD:\td\r\n",
         GET "A: b\r\nB: c\r\nC: \r\nD: d\r\n" FORWARDED_H VIA},
        {"GET /a?b HTTP/1.0\r\nHost: h\r\n", "GET /a?b HTTP/1.1\r\nHost: h\r\n" FORWARDED_H VIA},
        {"GET /a HTTP/1.0\r\n", "GET /a HTTP/1.1\r\n" FORWARDED VIA},
        {"X-Y /a HTTP/1.1\r\nhost:  H:80\r\n",
         "X-Y /a HTTP/1.1\r\nhost: H:80\r\n" FORWARDED "X-Forwarded-Host: H:80\r\n" VIA},
        {GET "Via: 1.0 a\r\nVia: 1.1 b\r\n", GET "Via: 1.0 a\r\nVia: 1.1 b\r\n" FORWARDED_H VIA},
        {GET "Cookie: a\r\nCookie: b\r\n", GET "Cookie: a\r\nCookie: b\r\n" FORWARDED_H VIA},
    };
    CHECK_REQUESTS(cases);
}
END_TEST

/* RFC 9112 3.2.1, 3.2.2, 3.2.4. */
START_TEST(absolute_targets_become_origin_form)
{
    static const struct request_case cases[] = {
        {"GET http://h/a?b=/c HTTP/1.1\r\nHost: h\r\n",
         "GET /a?b=/c HTTP/1.1\r\nHost: h\r\n" FORWARDED_H VIA},
        {"GET http://h HTTP/1.1\r\nHost: h\r\n", GET FORWARDED_H VIA},
        {"GET http://h? HTTP/1.1\r\nHost: h\r\n", "GET /? HTTP/1.1\r\nHost: h\r\n" FORWARDED_H VIA},
        {"GET http://h?q HTTP/1.1\r\nHost: h\r\n",
         "GET /?q HTTP/1.1\r\nHost: h\r\n" FORWARDED_H VIA},
        {"GET http://h:80/a HTTP/1.1\r\nHost: h\r\n",
         "GET /a HTTP/1.1\r\nHost: h\r\n" FORWARDED_H VIA},
        {"OPTIONS http://h:80 HTTP/1.1\r\nHost: h\r\n",
         "OPTIONS * HTTP/1.1\r\nHost: h\r\n" FORWARDED_H VIA},
        {"OPTIONS http://h:80/ HTTP/1.1\r\nHost: h\r\n",
         "OPTIONS / HTTP/1.1\r\nHost: h\r\n" FORWARDED_H VIA},
        {"OPTIONS http://h:80? HTTP/1.1\r\nHost: h\r\n",
         "OPTIONS /? HTTP/1.1\r\nHost: h\r\n" FORWARDED_H VIA},
        {"GET https://h/? HTTP/1.1\r\nHost: h\r\n",
         "GET /? HTTP/1.1\r\nHost: h\r\n" FORWARDED_H VIA},
        {"GET http://h/ HTTP/1.0\r\n", "GET / HTTP/1.1\r\nHost: h\r\n" FORWARDED_H VIA},
        {"OPTIONS http://h HTTP/1.1\r\nHost: h\r\n",
         "OPTIONS * HTTP/1.1\r\nHost: h\r\n" FORWARDED_H VIA},
        {"OPTIONS http://h/ HTTP/1.1\r\nHost: h\r\n",
         "OPTIONS / HTTP/1.1\r\nHost: h\r\n" FORWARDED_H VIA},
        {"OPTIONS http://h? HTTP/1.1\r\nHost: h\r\n",
         "OPTIONS /? HTTP/1.1\r\nHost: h\r\n" FORWARDED_H VIA},
        {"OPTIONS * HTTP/1.1\r\nHost: h\r\n", "OPTIONS * HTTP/1.1\r\nHost: h\r\n" FORWARDED_H VIA},
    };
    CHECK_REQUESTS(cases);
}
END_TEST

/* RFC 9110 7.6.1. */
START_TEST(hop_by_hop_fields_end_here)
{
    static const struct request_case cases[] = {
        {GET "Connection: close\r\n", GET FORWARDED_H VIA},
        {GET "Connection: keep-alive, X, y\r\nx: 1\r\nX: 2\r\nXX: 3\r\nY: 4\r\n",
         GET "XX: 3\r\n" FORWARDED_H VIA},
        {GET "Keep-Alive: 5\r\nProxy-Connection: close\r\nTE: gzip\r\nUpgrade: websocket\r\n",
         GET FORWARDED_H VIA},
        {GET "HTTP2-Settings: AAA\r\n", GET FORWARDED_H VIA},
        {GET "Connection: Host\r\n", GET FORWARDED_H VIA},
        {GET "Trailer: A\r\nProxy-Authorization: x\r\n",
         GET "Trailer: A\r\nProxy-Authorization: x\r\n" FORWARDED_H VIA},
        {GET "Connection: upgrade\r\nUpgrade: websocket\r\n", GET FORWARDED_H VIA},
    };
    CHECK_REQUESTS(cases);
}
END_TEST

START_TEST(forwarded_for_is_joined_and_the_rest_replaced)
{
    static const struct request_case cases[] = {
        {GET "X-Forwarded-For: 1.1.1.1\r\n",
         GET "X-Forwarded-For: 1.1.1.1, 192.0.2.7\r\nX-Forwarded-Proto: http\r\n"
             "X-Forwarded-Host: h\r\n" VIA},
        {GET "x-forwarded-for: a, b\r\nA: b\r\nX-FORWARDED-FOR:c\r\n",
         GET "A: b\r\nX-Forwarded-For: a, b, c, 192.0.2.7\r\nX-Forwarded-Proto: http\r\n"
             "X-Forwarded-Host: h\r\n" VIA},
        {GET "X-Forwarded-For:\r\n", GET FORWARDED_H VIA},
        {GET "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: x\r\nX-Forwarded-Host: evil\r\n",
         GET FORWARDED_H VIA},
        {"GET / HTTP/1.0\r\nX-Forwarded-Host: evil\r\n", "GET / HTTP/1.1\r\n" FORWARDED VIA},
        {GET "Connection: X-Forwarded-For, X-Forwarded-Proto\r\nX-Forwarded-For: a\r\n"
             "X-Forwarded-Proto: https\r\n",
         GET "X-Forwarded-For: a, 192.0.2.7\r\nX-Forwarded-Proto: http\r\n"
             "X-Forwarded-Host: h\r\n" VIA},
    };
    CHECK_REQUESTS(cases);
}
END_TEST

/* RFC 9112 6.1, 6.2, RFC 9110 8.6, 10.1.1. */
/* A value that the client sends is never the last one, where a backend looks for its address. */
START_TEST(a_peer_without_an_address_is_unix)
{
    struct str none = {0};
    check_request_of(none, GET, false,
                     GET "X-Forwarded-For: unix:\r\nX-Forwarded-Proto: http\r\n"
                         "X-Forwarded-Host: h\r\n" VIA);
    check_request_of(none, GET "X-Forwarded-For: 192.0.2.1\r\n", false,
                     GET "X-Forwarded-For: 192.0.2.1, unix:\r\nX-Forwarded-Proto: http\r\n"
                         "X-Forwarded-Host: h\r\n" VIA);
}
END_TEST

START_TEST(request_bodies_keep_their_kind_of_framing)
{
    static const struct request_case cases[] = {
        {POST "Content-Length: 0\r\n", POST FORWARDED_H VIA "Content-Length: 0\r\n"},
        {POST "Content-Length: 0042\r\n", POST FORWARDED_H VIA "Content-Length: 42\r\n"},
        {POST "Content-Length: 9223372036854775807\r\n",
         POST FORWARDED_H VIA "Content-Length: 9223372036854775807\r\n"},
        {POST "transfer-encoding: Chunked\r\n",
         POST FORWARDED_H VIA "Transfer-Encoding: chunked\r\n"},
        {POST, POST FORWARDED_H VIA},
        {POST "Connection: content-length\r\nContent-Length: 7\r\n",
         POST FORWARDED_H VIA "Content-Length: 7\r\n"},
        {POST "Content-Length: 1\r\nExpect: 100-continue\r\n",
         POST "Expect: 100-continue\r\n" FORWARDED_H VIA "Content-Length: 1\r\n"},
        {"POST / HTTP/1.0\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-continue\r\n",
         POST FORWARDED_H VIA "Content-Length: 1\r\n"},
    };
    CHECK_REQUESTS(cases);
}
END_TEST

/* RFC 9110 7.8. */
START_TEST(an_upgrade_is_passed_on_when_asked_for)
{
#define ASKS "Connection: Upgrade, HTTP2-Settings\r\n"
#define SAYS "Connection: Upgrade\r\n"
    static const struct request_case cases[] = {
        {GET "Connection: Upgrade, x\r\nX: 1\r\nUpgrade: websocket\r\nupgrade:  tcp \r\n",
         GET FORWARDED_H VIA SAYS "Upgrade: websocket\r\nupgrade: tcp\r\n"},
        {GET ASKS "Upgrade: h2c\r\nHTTP2-Settings: AAA\r\nupgrade:  websocket \r\n",
         GET FORWARDED_H VIA SAYS "upgrade: websocket\r\n"},
        {GET ASKS "HTTP2-Settings: AAA\r\nUpgrade: h2c,websocket , HTTP/2.0,,tcp\r\n",
         GET FORWARDED_H VIA SAYS "Upgrade: websocket, tcp\r\n"},
        {GET ASKS "Upgrade: TLS/1.0, x/1\r\nTE: trailers\r\n",
         GET FORWARDED_H VIA "Connection: Upgrade, TE\r\nUpgrade: x/1\r\nTE: trailers\r\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        check_request(cases[i].in, true, cases[i].out);
}
END_TEST

/* RFC 9110 10.1.4. */
START_TEST(trailers_are_asked_for_anew)
{
#define TE "Connection: TE\r\nTE: trailers\r\n"
    static const struct request_case cases[] = {
        {GET TE, GET FORWARDED_H VIA TE},
        {GET "TE: trailers\r\n", GET FORWARDED_H VIA TE},
        {GET "te: gzip;q=0.5,\ttrailers\r\nTE: x\r\nConnection: close, te\r\n",
         GET FORWARDED_H VIA TE},
        {GET "TE: gzip\r\nConnection: TE\r\n", GET FORWARDED_H VIA},
        {"GET / HTTP/1.0\r\nHost: h\r\n" TE, GET FORWARDED_H VIA},
        {POST TE "Content-Length: 2\r\n", POST FORWARDED_H VIA TE "Content-Length: 2\r\n"},
    };
    CHECK_REQUESTS(cases);
}
END_TEST

START_TEST(what_a_trusted_proxy_says_is_kept)
{
#define FOR "X-Forwarded-For: 192.0.2.7\r\n"
    static const struct request_case cases[] = {
        {GET, GET FORWARDED_H VIA},
        {GET "X-Forwarded-Proto: https\r\nA: b\r\n",
         GET "A: b\r\n" FOR "X-Forwarded-Proto: https\r\nX-Forwarded-Host: h\r\n" VIA},
        {GET "x-forwarded-host:  a:1, b\r\n", GET FORWARDED "x-forwarded-host: a:1, b\r\n" VIA},
        {GET "X-Forwarded-Host: a\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\n"
             "X-Forwarded-Host: b\r\n",
         GET "X-Forwarded-For: 1.1.1.1, 192.0.2.7\r\nX-Forwarded-Proto: https\r\n"
             "X-Forwarded-Host: a\r\nX-Forwarded-Host: b\r\n" VIA},
        {GET "X-Forwarded-Proto:\r\nX-Forwarded-Host: \t\r\n", GET FORWARDED_H VIA},
        {GET "Connection: X-Forwarded-Proto, x-forwarded-for, x-forwarded-host\r\n"
             "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a\r\n",
         GET "X-Forwarded-For: 1.1.1.1, 192.0.2.7\r\nX-Forwarded-Proto: https\r\n"
             "X-Forwarded-Host: a\r\n" VIA},
        {"GET / HTTP/1.0\r\nX-Forwarded-Host: a\r\n",
         "GET / HTTP/1.1\r\n" FORWARDED "X-Forwarded-Host: a\r\n" VIA},
    };
    struct rewrite_request r = {.peer = STR("192.0.2.7"), .proto = STR("http"), .trusted = true};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        check_rewritten(cases[i].in, &r, cases[i].out);
}
END_TEST

/* That of others is not ours to take out. */
START_TEST(our_via_can_be_left_out)
{
    struct rewrite_request r = {.peer = STR("192.0.2.7"), .proto = STR("http"), .no_via = true};
    check_rewritten(GET, &r, GET FORWARDED_H);
    check_rewritten(GET "Via: 1.1 a\r\n", &r, GET "Via: 1.1 a\r\n" FORWARDED_H);
}
END_TEST

static void check_answer(const char *in, struct rewrite_answer r, const char *expected)
{
    struct parser p;
    struct head h, again;
    struct buffer out = {0};
    char head[2048];
    int n = snprintf(head, sizeof(head), "%s\r\n", in);
    parser_init_answer(&p, &h, 2048);
    ck_assert_msg(parser_execute(&p, &h, head, (size_t)n) == PARSE_DONE, "%s: %s", in, p.reason);
    ck_assert(rewrite_answer(&out, &h, head, &r));
    parser_init_answer(&p, &again, 4096);
    ck_assert_msg(parser_execute(&p, &again, out.data, out.end) == PARSE_DONE, "%s", out.data);
    ck_assert_uint_eq(again.size, out.end);
    ck_assert_int_eq(again.keep_alive, !r.close);
    check_text(&out, expected, in);
}

#define OK "HTTP/1.1 200 OK\r\n"

START_TEST(answers_go_out_as_1_1)
{
    struct rewrite_answer plain = {.body = BODY_CLOSE};
    check_answer(OK, plain, OK VIA "\r\n");
    check_answer("HTTP/1.0 200 OK\r\n", plain, OK VIA "\r\n");
    check_answer("HTTP/1.1 200\r\n", plain, "HTTP/1.1 200 \r\n" VIA "\r\n");
    check_answer("HTTP/1.1 404 \xc3\xa9 x\r\n", plain, "HTTP/1.1 404 \xc3\xa9 x\r\n" VIA "\r\n");
    check_answer(OK "A:b\r\nSet-Cookie: 1\r\nSet-Cookie: 2\r\n", plain,
                 OK "A: b\r\nSet-Cookie: 1\r\nSet-Cookie: 2\r\n" VIA "\r\n");
    check_answer(OK "Connection: close, X\r\nX: 1\r\nKeep-Alive: 1\r\nUpgrade: y\r\nTrailer: A\r\n",
                 plain, OK "Trailer: A\r\n" VIA "\r\n");
    check_answer(OK "Via: 1.1 a\r\n", plain, OK "Via: 1.1 a\r\n" VIA "\r\n");
}
END_TEST

START_TEST(answers_can_have_no_via_of_ours)
{
    struct rewrite_answer r = {.body = BODY_CLOSE, .no_via = true};
    check_answer(OK, r, OK "\r\n");
    check_answer(OK "Via: 1.1 a\r\n", r, OK "Via: 1.1 a\r\n\r\n");
    check_answer("HTTP/1.1 103 E\r\n", r, "HTTP/1.1 103 E\r\n\r\n");
}
END_TEST

/* RFC 6265 4.1; RFC 9111 7.3: that an answer sets a cookie does not keep it out of caches. */
START_TEST(a_cookie_is_set_and_kept_from_shared_caches)
{
#define COOKIE "Set-Cookie: rp=0a1b; Path=/; HttpOnly; SameSite=Lax\r\n"
#define PRIVATE "Cache-Control: private\r\n"
    const struct rewrite_cookie all = {.name = STR("__Host-rp"),
                                       .value = STR("0a1b"),
                                       .path = STR("/a"),
                                       .same_site = STR("None"),
                                       .domain = STR("shop.example"),
                                       .max_age_s = 2592000,
                                       .secure = true},
                                few = {.name = STR("rp"),
                                       .value = STR("0a1b"),
                                       .path = STR("/"),
                                       .same_site = STR("Lax")};
    struct rewrite_answer r = {.body = BODY_CLOSE, .no_via = true, .cookie = &few};
    check_answer(OK, r, OK COOKIE PRIVATE "\r\n");
    check_answer(OK "Set-Cookie: sid=1\r\nCache-Control: public\r\n", r,
                 OK "Set-Cookie: sid=1\r\nCache-Control: public\r\n" COOKIE PRIVATE "\r\n");
    check_answer("HTTP/1.1 304 N\r\n", r, "HTTP/1.1 304 N\r\n" COOKIE PRIVATE "\r\n");
    r.cookie = &all;
    check_answer(OK, r,
                 OK "Set-Cookie: __Host-rp=0a1b; Path=/a; Domain=shop.example; Max-Age=2592000; "
                    "HttpOnly; SameSite=None; Secure\r\n" PRIVATE "\r\n");
    r.cookie = &few;
    r.upgrade = true;
    check_answer("HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: x\r\n", r,
                 "HTTP/1.1 101 S\r\n" COOKIE "Connection: Upgrade\r\nUpgrade: x\r\n\r\n");
}
END_TEST

/* The room for an answer is reserved beforehand. */
START_TEST(a_cookie_may_be_long)
{
    char name[4096], expected[4096 + 128];
    memset(name, 'n', sizeof name);
    const struct rewrite_cookie c = {.name = {name, sizeof name},
                                     .value = STR("0a1b"),
                                     .path = STR("/"),
                                     .same_site = STR("Lax")};
    const char in[] = OK "\r\n";
    struct rewrite_answer r = {.body = BODY_NONE, .no_via = true, .cookie = &c};
    struct parser p;
    struct head h;
    struct buffer out = {0};
    parser_init_answer(&p, &h, 64);
    ck_assert(parser_execute(&p, &h, in, sizeof in - 1) == PARSE_DONE);
    ck_assert(rewrite_answer(&out, &h, in, &r));
    snprintf(expected, sizeof expected,
             OK "Set-Cookie: %.*s=0a1b; Path=/; HttpOnly; SameSite=Lax\r\n" PRIVATE "\r\n",
             (int)sizeof name, name);
    check_text(&out, expected, in);
}
END_TEST

START_TEST(a_set_cookie_names_its_cookie)
{
    static const struct {
        const char *fields;
        bool sets;
    } cases[] = {
        {"Set-Cookie: rp=1\r\n", true},
        {"SET-COOKIE:  rp = ; Max-Age=0\r\n", true},
        {"Set-Cookie: a=1\r\nset-cookie: rp=1\r\n", true},
        {"Set-Cookie: RP=1\r\n", false},
        {"Set-Cookie: rpx=1\r\n", false},
        {"Set-Cookie: a=rp=1\r\n", false},
        {"Set-Cookie: rp\r\n", false},
        {"Set-Cookie: a; rp=1\r\n", false},
        {"Set-Cookie:\r\n", false},
        {"Set-Cookie2: rp=1\r\n", false},
        {"Cookie: rp=1\r\n", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct parser p;
        struct head h;
        char in[256];
        int n = snprintf(in, sizeof in, OK "%s\r\n", cases[i].fields);
        parser_init_answer(&p, &h, 256);
        ck_assert(parser_execute(&p, &h, in, (size_t)n) == PARSE_DONE);
        ck_assert_msg(head_sets_cookie(&h, in, STR("rp")) == cases[i].sets, "%s", in);
    }
}
END_TEST

/* RFC 9110 7.8, 15.5.22: an answer that demands an Upgrade says which; others say nothing. */
START_TEST(a_426_says_which_protocol)
{
#define DEMAND "HTTP/1.1 426 U\r\n"
#define LENGTH_0 "Content-Length: 0\r\n"
    struct rewrite_answer r = {.body = BODY_NONE};
    check_answer(DEMAND LENGTH_0 "Upgrade: h2c, websocket\r\nConnection: Upgrade\r\n", r,
                 DEMAND VIA LENGTH_0 "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    check_answer(DEMAND LENGTH_0 "Upgrade: websocket\r\nConnection: Upgrade\r\n", r,
                 DEMAND VIA LENGTH_0 "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    check_answer(DEMAND LENGTH_0 "Upgrade: h2c\r\nConnection: Upgrade\r\n", r,
                 DEMAND VIA LENGTH_0 "\r\n");
    check_answer(OK LENGTH_0 "Upgrade: websocket\r\nConnection: Upgrade\r\n", r,
                 OK VIA LENGTH_0 "\r\n");
    r.close = true;
    check_answer(DEMAND LENGTH_0 "Upgrade: websocket\r\nConnection: Upgrade\r\n", r,
                 DEMAND VIA LENGTH_0
                 "Connection: Upgrade\r\nUpgrade: websocket\r\nConnection: close\r\n\r\n");
}
END_TEST

/* RFC 9110 8.6, RFC 9112 6.1. */
START_TEST(answers_have_the_framing_for_the_client)
{
    struct rewrite_answer none = {.body = BODY_NONE}, length = {.body = BODY_LENGTH},
                          chunked = {.body = BODY_CHUNKED}, close = {.body = BODY_CLOSE};
#define LENGTH "Content-Length: 5\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"
    check_answer(OK "content-length: 0005\r\n", length, OK VIA LENGTH "\r\n");
    check_answer(OK LENGTH, none, OK VIA LENGTH "\r\n"); /* HEAD */
    check_answer(OK "Content-Length: 0\r\n", none, OK VIA "Content-Length: 0\r\n\r\n");
    check_answer(OK, none, OK VIA "\r\n");
    check_answer(OK CHUNKED, chunked, OK VIA CHUNKED "\r\n");
    check_answer(OK, chunked, OK VIA CHUNKED "\r\n"); /* until close before, chunked now */
    check_answer(OK LENGTH, chunked, OK VIA CHUNKED "\r\n");
    check_answer(OK CHUNKED, close, OK VIA "\r\n"); /* for a client of HTTP/1.0 */
    check_answer(OK LENGTH, close, OK VIA "\r\n");
    check_answer("HTTP/1.1 304 N\r\n" LENGTH, none, "HTTP/1.1 304 N\r\n" VIA LENGTH "\r\n");
    check_answer("HTTP/1.1 204 N\r\n" LENGTH, none, "HTTP/1.1 204 N\r\n" VIA "\r\n");
    check_answer("HTTP/1.1 204 N\r\n" CHUNKED, none, "HTTP/1.1 204 N\r\n" VIA "\r\n");
    check_answer("HTTP/1.1 100 C\r\n" LENGTH, none, "HTTP/1.1 100 C\r\n" VIA "\r\n");
    check_answer("HTTP/1.1 103 E\r\n" CHUNKED, chunked, "HTTP/1.1 103 E\r\n" VIA "\r\n");
}
END_TEST

START_TEST(answers_say_what_becomes_of_the_connection)
{
    check_answer(OK "Connection: keep-alive\r\n", (struct rewrite_answer){.close = true},
                 OK VIA "Connection: close\r\n\r\n");
    check_answer(OK "Connection: close\r\n", (struct rewrite_answer){.keep_alive_10 = true},
                 OK VIA "Connection: keep-alive\r\n\r\n");
    check_answer("HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\nA: b\r\n",
                 (struct rewrite_answer){.upgrade = true},
                 "HTTP/1.1 101 S\r\nA: b\r\n" VIA
                 "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
}
END_TEST

START_TEST(the_last_chunk_carries_the_trailers)
{
    static const char in[] = "A:b\r\nC: d e\r\nE:\r\n\r\n";
    struct buffer out = {0};
    struct parser p;
    struct head h;
    ck_assert(rewrite_last_chunk(&out, NULL, NULL));
    check_text(&out, "0\r\n\r\n", "nothing");
    parser_init_trailers(&p, &h, 100);
    ck_assert_int_eq(parser_execute(&p, &h, in, sizeof(in) - 1), PARSE_DONE);
    ck_assert(rewrite_last_chunk(&out, &h, in));
    check_text(&out, "0\r\nA: b\r\nC: d e\r\nE: \r\n\r\n", in);
}
END_TEST

/* The greatest result that a head can have: fields without a space after the colon, a long Host
 * that is repeated, many X-Forwarded-For, everything at its largest. put() asserts that there is
 * room. */
START_TEST(the_room_reserved_is_enough)
{
    for (int fields = 0; fields < HEAD_MAX_FIELDS; fields++)
        for (int kind = 0; kind < 5; kind++) {
            static const char *const lines[] = {
                "a:\r\n", "X-Forwarded-For:b\r\n", "Upgrade:\r\n", "Upgrade:a\r\n",
                "Upgrade:a,b,c,d,e,f,g,h,i,j,k,h2\r\nTE:trailers\r\n"};
            char in[8192];
            struct parser p;
            struct head h;
            struct buffer out = {0};
            size_t n = (size_t)sprintf(in, "P / HTTP/1.1\r\nhost:%0*d\r\n", fields * 8 + 1, 0);
            for (int i = 1; i < (kind == 4 ? fields / 2 : fields); i++)
                n += (size_t)sprintf(in + n, "%s", lines[kind]);
            n += (size_t)sprintf(in + n, "\r\n");
            parser_init_request(&p, &h, sizeof(in));
            ck_assert_int_eq(parser_execute(&p, &h, in, n), PARSE_DONE);
            h.has_length = true;
            h.content_length = INT64_MAX;
            struct rewrite_request r = {
                .peer = STR("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
                .proto = STR("https"),
                .upgrade = true,
            };
            ck_assert(rewrite_request(&out, &h, in, &r));
            buffer_release(&out);
            struct rewrite_answer a = {.upgrade = true, .body = BODY_LENGTH};
            h.status = 599;
            ck_assert(rewrite_answer(&out, &h, in, &a));
            buffer_release(&out);
        }
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("rewrite");
    TCase *t = tcase_create("rewrite");
    tcase_add_test(t, requests_go_out_as_1_1_with_our_lines);
    tcase_add_test(t, absolute_targets_become_origin_form);
    tcase_add_test(t, hop_by_hop_fields_end_here);
    tcase_add_test(t, forwarded_for_is_joined_and_the_rest_replaced);
    tcase_add_test(t, a_peer_without_an_address_is_unix);
    tcase_add_test(t, request_bodies_keep_their_kind_of_framing);
    tcase_add_test(t, an_upgrade_is_passed_on_when_asked_for);
    tcase_add_test(t, trailers_are_asked_for_anew);
    tcase_add_test(t, what_a_trusted_proxy_says_is_kept);
    tcase_add_test(t, our_via_can_be_left_out);
    tcase_add_test(t, answers_can_have_no_via_of_ours);
    tcase_add_test(t, a_426_says_which_protocol);
    tcase_add_test(t, a_cookie_is_set_and_kept_from_shared_caches);
    tcase_add_test(t, a_cookie_may_be_long);
    tcase_add_test(t, a_set_cookie_names_its_cookie);
    tcase_add_test(t, answers_go_out_as_1_1);
    tcase_add_test(t, answers_have_the_framing_for_the_client);
    tcase_add_test(t, answers_say_what_becomes_of_the_connection);
    tcase_add_test(t, the_last_chunk_carries_the_trailers);
    tcase_add_test(t, the_room_reserved_is_enough);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
