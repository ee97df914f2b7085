/* Each case is parsed as a whole, byte by byte, and in two parts for every place to cut it, each
 * time from a fresh copy of exactly the bytes that have arrived; the outcome must always be the
 * same. */
#include <stdio.h>
#include <string.h>

#include "http/field.h"
#include "http/parser.h"
#include "tests/lib/unit.h"

enum kind { REQUEST, ANSWER, TRAILERS };

/* A mark in an input: the byte after it is the first wrong one. */
#define BAD "\x1a"

#define IN(literal) (literal), sizeof(literal) - 1

struct outcome {
    enum parse_result result;
    int status;
    size_t at; /* bytes that were there when it came to that */
    struct head head;
};

static void init(enum kind kind, struct parser *p, struct head *h, uint32_t max_size)
{
    if (kind == REQUEST)
        parser_init_request(p, h, max_size);
    else if (kind == ANSWER)
        parser_init_answer(p, h, max_size);
    else
        parser_init_trailers(p, h, max_size);
}

/* Feeds in[0, n) in steps: first `first` bytes, then `more` at a time. */
static struct outcome feed(enum kind kind, const char *in, size_t n, size_t first, size_t more,
                           uint32_t max_size)
{
    struct parser p;
    struct outcome o = {.result = PARSE_MORE};
    init(kind, &p, &o.head, max_size);
    for (size_t len = first; o.result == PARSE_MORE && len <= n; len = len == n         ? n + 1
                                                                       : len + more < n ? len + more
                                                                                        : n) {
        char *copy = malloc(len ? len : 1);
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, in, len);
        o.result = parser_execute(&p, &o.head, copy, len);
        o.at = len;
        free(copy);
    }
    if (o.result == PARSE_ERROR) {
        o.status = p.status;
        ck_assert_int_ge(p.status, 400);
        ck_assert_ptr_nonnull(p.reason);
    }
    return o;
}

static void same(const struct outcome *a, const struct outcome *b, const char *what)
{
    ck_assert_msg(a->result == b->result && a->status == b->status, "%s: %d %d, then %d %d", what,
                  a->result, a->status, b->result, b->status);
    if (a->result != PARSE_DONE)
        return;
    ck_assert_msg(memcmp(&a->head, &b->head, offsetof(struct head, fields)) == 0, "%s", what);
    ck_assert_msg(
        memcmp(a->head.fields, b->head.fields, a->head.nfields * sizeof(a->head.fields[0])) == 0,
        "%s", what);
}

/* The outcome of in[0, n), the same in every way of feeding it. */
static struct outcome parse_sized(enum kind kind, const char *in, size_t n, uint32_t max_size)
{
    struct outcome whole = feed(kind, in, n, n, 1, max_size);
    struct outcome bytes = feed(kind, in, n, 0, 1, max_size);
    same(&whole, &bytes, in);
    for (size_t cut = 1; cut < n; cut++) {
        struct outcome two = feed(kind, in, n, cut, n, max_size);
        same(&whole, &two, in);
    }
    if (whole.result == PARSE_DONE)
        ck_assert_uint_eq(whole.head.size, bytes.at);
    whole.at = bytes.at;
    return whole;
}

static struct outcome parse(enum kind kind, const char *in, size_t n)
{
    return parse_sized(kind, in, n, 65536);
}

struct refusal {
    const char *in;
    size_t n;
    int status;
};

/* Expects that each case is refused with its status and, if the input has the mark, exactly at the
 * byte after it. */
static void check_refusals(enum kind kind, const struct refusal *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct refusal *c = &cases[i];
        char in[4096];
        size_t n = 0, bad = 0;
        ck_assert_uint_lt(c->n, sizeof(in));
        for (size_t k = 0; k < c->n; k++) {
            if (c->in[k] == BAD[0])
                bad = n + 1;
            else
                in[n++] = c->in[k];
        }
        in[n] = '\0';
        struct outcome o = parse(kind, in, n);
        ck_assert_msg(o.result == PARSE_ERROR, "not refused (%d): %s", o.result, in);
        ck_assert_msg(o.status == c->status, "%d instead of %d: %s", o.status, c->status, in);
        ck_assert_msg(bad == 0 || o.at == bad, "refused at %zu, not %zu: %s", o.at, bad, in);
    }
}

#define CHECK_REFUSALS(kind, cases) \
    check_refusals((kind), (cases), sizeof(cases) / sizeof(*(cases)))

static const char *body_text(const struct head *h, char out[32])
{
    static const char *const names[] = {"none", "length", "chunked", "close"};
    if (h->has_length)
        snprintf(out, 32, "%s %llu", names[h->body], (unsigned long long)h->content_length);
    else
        snprintf(out, 32, "%s", names[h->body]);
    return out;
}

#define SLICE(s) (int)(s).len, in + (s).off

/* The facts of a parsed head as text, to be compared with a readable table. */
static void describe(enum kind kind, const struct head *h, const char *in, char *out, size_t size)
{
    char body[32];
    int n = 0;
    if (kind == REQUEST)
        n = snprintf(out, size, "%.*s %d [%.*s] [%.*s] [%.*s]", SLICE(h->method_text), h->method,
                     SLICE(h->path), SLICE(h->query), SLICE(h->host));
    else if (kind == ANSWER)
        n = snprintf(out, size, "%d [%.*s]", h->status, SLICE(h->reason));
    snprintf(out + n, size - (size_t)n, " 1.%d %s %s%s%s", h->minor, h->keep_alive ? "keep" : "end",
             body_text(h, body), h->upgrade ? " upgrade" : "", h->expect_continue ? " expect" : "");
}

struct acceptance {
    const char *in;
    size_t n;
    const char *expected;
};

static void check_acceptances(enum kind kind, const struct acceptance *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct acceptance *c = &cases[i];
        char text[1024];
        struct outcome o = parse(kind, c->in, c->n);
        ck_assert_msg(o.result == PARSE_DONE, "not done (%d %d): %s", o.result, o.status, c->in);
        ck_assert_msg(o.head.size == c->n, "%u bytes of: %s", o.head.size, c->in);
        describe(kind, &o.head, c->in, text, sizeof(text));
        ck_assert_msg(strcmp(text, c->expected) == 0, "\"%s\" instead of \"%s\": %s", text,
                      c->expected, c->in);
    }
}

#define CHECK_ACCEPTANCES(kind, cases) \
    check_acceptances((kind), (cases), sizeof(cases) / sizeof(*(cases)))

#define HOST "Host: h\r\n"
#define GET "GET / HTTP/1.1\r\n" HOST
#define POST "POST / HTTP/1.1\r\n" HOST

/* RFC 9112 3.1, RFC 9110 9.1: a method is any token, and case-sensitive. */
START_TEST(methods_are_tokens)
{
    static const struct acceptance good[] = {
        {IN(GET "\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
        {IN("HEAD / HTTP/1.1\r\n" HOST "\r\n"), "HEAD 2 [/] [] [h] 1.1 keep none"},
        {IN(POST "\r\n"), "POST 3 [/] [] [h] 1.1 keep none"},
        {IN("PUT / HTTP/1.1\r\n" HOST "\r\n"), "PUT 4 [/] [] [h] 1.1 keep none"},
        {IN("DELETE / HTTP/1.1\r\n" HOST "\r\n"), "DELETE 5 [/] [] [h] 1.1 keep none"},
        {IN("OPTIONS / HTTP/1.1\r\n" HOST "\r\n"), "OPTIONS 7 [/] [] [h] 1.1 keep none"},
        {IN("TRACE / HTTP/1.1\r\n" HOST "\r\n"), "TRACE 8 [/] [] [h] 1.1 keep none"},
        {IN("PATCH / HTTP/1.1\r\n" HOST "\r\n"), "PATCH 0 [/] [] [h] 1.1 keep none"},
        {IN("get / HTTP/1.1\r\n" HOST "\r\n"), "get 0 [/] [] [h] 1.1 keep none"},
        {IN("G / HTTP/1.1\r\n" HOST "\r\n"), "G 0 [/] [] [h] 1.1 keep none"},
        {IN("M-SEARCH / HTTP/1.1\r\n" HOST "\r\n"), "M-SEARCH 0 [/] [] [h] 1.1 keep none"},
        {IN("!#$%&'*+-.^_`|~09 / HTTP/1.1\r\n" HOST "\r\n"),
         "!#$%&'*+-.^_`|~09 0 [/] [] [h] 1.1 keep none"},
        {IN("connect / HTTP/1.1\r\n" HOST "\r\n"), "connect 0 [/] [] [h] 1.1 keep none"},
        {IN("CONNECTX / HTTP/1.1\r\n" HOST "\r\n"), "CONNECTX 0 [/] [] [h] 1.1 keep none"},
    };
    static const struct refusal bad[] = {
        {IN(BAD " / HTTP/1.1\r\n"), 400},
        {IN(BAD "\t/ HTTP/1.1\r\n"), 400},
        {IN("GET" BAD "\t/ HTTP/1.1\r\n"), 400},
        {IN("GET" BAD "\r\n"), 400},
        {IN("GE" BAD "\0T / HTTP/1.1\r\n"), 400},
        {IN("GE" BAD ":T / HTTP/1.1\r\n"), 400},
        {IN("GE" BAD "(T / HTTP/1.1\r\n"), 400},
        {IN("G" BAD "\xc3\xa9T / HTTP/1.1\r\n"), 400},
        {IN(BAD "\x16\x03\x01\x02"), 400}, /* a TLS ClientHello */
        {IN(BAD "\x80"), 400},
        {IN("CONNECT" BAD " h:443 HTTP/1.1\r\n" HOST "\r\n"), 405},
        {IN("CONNECT" BAD " / HTTP/1.1\r\n" HOST "\r\n"), 405},
    };
    CHECK_ACCEPTANCES(REQUEST, good);
    CHECK_REFUSALS(REQUEST, bad);
}
END_TEST

/* RFC 9112 2.2: at most one empty line before a request, and it must be CRLF. */
START_TEST(one_empty_line_before_a_request_is_skipped)
{
    static const struct acceptance good[] = {
        {IN("\r\n" GET "\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
    };
    static const struct refusal bad[] = {
        {IN("\r\n" BAD "\r\n" GET "\r\n"), 400},
        {IN(BAD "\n" GET "\r\n"), 400},
        {IN("\r" BAD "G"), 400},
        {IN("\r" BAD "\r\n"), 400},
        {IN("\r\n" BAD " " GET), 400},
    };
    CHECK_ACCEPTANCES(REQUEST, good);
    CHECK_REFUSALS(REQUEST, bad);
}
END_TEST

/* RFC 9112 3.2, RFC 9110 7.1. */
START_TEST(targets_have_the_form_for_their_method)
{
    static const struct acceptance good[] = {
        {IN("GET /a/b?c=d&e HTTP/1.1\r\n" HOST "\r\n"), "GET 1 [/a/b] [c=d&e] [h] 1.1 keep none"},
        {IN("GET /? HTTP/1.1\r\n" HOST "\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
        {IN("GET /?a?b HTTP/1.1\r\n" HOST "\r\n"), "GET 1 [/] [a?b] [h] 1.1 keep none"},
        {IN("GET //x//y HTTP/1.1\r\n" HOST "\r\n"), "GET 1 [//x//y] [] [h] 1.1 keep none"},
        {IN("GET /%zz/../. HTTP/1.1\r\n" HOST "\r\n"), "GET 1 [/%zz/../.] [] [h] 1.1 keep none"},
        {IN("GET /\"<>\\^`{|}[] HTTP/1.1\r\n" HOST "\r\n"),
         "GET 1 [/\"<>\\^`{|}[]] [] [h] 1.1 keep none"},
        {IN("GET /*:@ HTTP/1.1\r\n" HOST "\r\n"), "GET 1 [/*:@] [] [h] 1.1 keep none"},
        {IN("GET http://h/x?y HTTP/1.1\r\n" HOST "\r\n"), "GET 1 [/x] [y] [h] 1.1 keep none"},
        {IN("GET http://h HTTP/1.1\r\n" HOST "\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
        {IN("GET http://h?q HTTP/1.1\r\n" HOST "\r\n"), "GET 1 [/] [q] [h] 1.1 keep none"},
        {IN("GET http://h/?q=/a HTTP/1.1\r\n" HOST "\r\n"), "GET 1 [/] [q=/a] [h] 1.1 keep none"},
        {IN("GET HTTPS://h:8443/ HTTP/1.1\r\nHost: h:8443\r\n\r\n"),
         "GET 1 [/] [] [h:8443] 1.1 keep none"},
        {IN("GET http://[::1]:80/a HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"),
         "GET 1 [/a] [] [[::1]:80] 1.1 keep none"},
        {IN("GET http://h/ HTTP/1.0\r\n\r\n"), "GET 1 [/] [] [h] 1.0 end none"},
        {IN("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), "OPTIONS 7 [*] [] [h] 1.1 keep none"},
        {IN("OPTIONS http://h HTTP/1.1\r\n" HOST "\r\n"), "OPTIONS 7 [/] [] [h] 1.1 keep none"},
    };
    static const struct refusal bad[] = {
        {IN("GET " BAD " HTTP/1.1\r\n"), 400},
        {IN("GET " BAD " / HTTP/1.1\r\n"), 400},
        {IN("GET " BAD "foo HTTP/1.1\r\n"), 400},
        {IN("GET " BAD "?a HTTP/1.1\r\n"), 400},
        {IN("GET " BAD "* HTTP/1.1\r\n"), 400},
        {IN("PRI " BAD "* HTTP/2.0\r\n\r\nSM\r\n\r\n"), 400},
        {IN("OPTIONS *" BAD "a HTTP/1.1\r\n"), 400},
        {IN("OPTIONS *" BAD "/ HTTP/1.1\r\n"), 400},
        {IN("GET ht" BAD "p://h/ HTTP/1.1\r\n"), 400},
        {IN("GET http:" BAD "h/ HTTP/1.1\r\n"), 400},
        {IN("GET http" BAD "x://h/ HTTP/1.1\r\n"), 400},
        {IN("GET " BAD "ftp://h/ HTTP/1.1\r\n"), 400},
        {IN("GET h" BAD " HTTP/1.1\r\n"), 400},
        {IN("GET http:/" BAD " HTTP/1.1\r\n"), 400},
        {IN("GET http://" BAD " HTTP/1.1\r\n"), 400},
        {IN("GET https://" BAD " HTTP/1.1\r\n"), 400},
        {IN("GET http:///a" BAD " HTTP/1.1\r\n"), 400},
        {IN("GET http://:80/" BAD " HTTP/1.1\r\n"), 400},
        {IN("GET http://u@h/" BAD " HTTP/1.1\r\n"), 400},
        {IN("GET http://u:p@h/" BAD " HTTP/1.1\r\n"), 400},
        {IN("GET http://[::1/" BAD " HTTP/1.1\r\n"), 400},
        {IN("GET http://h:x/" BAD " HTTP/1.1\r\n"), 400},
        {IN("GET /a" BAD "#b HTTP/1.1\r\n"), 400},
        {IN("GET /a" BAD "\tb HTTP/1.1\r\n"), 400},
        {IN("GET /a" BAD "\0b HTTP/1.1\r\n"), 400},
        {IN("GET /a" BAD "\x7f HTTP/1.1\r\n"), 400},
        {IN("GET /a" BAD "\x80 HTTP/1.1\r\n"), 400},
        {IN("GET /a" BAD "\xff HTTP/1.1\r\n"), 400},
        {IN("GET /a" BAD "\r\n"), 400}, /* HTTP/0.9 */
        {IN("GET /a" BAD "\n"), 400},
        {IN("GET http://g/ HTTP/1.1\r\nHost: h" BAD "\r\n\r\n"), 400},
        {IN("GET http://h:81/ HTTP/1.1\r\nHost: h" BAD "\r\n\r\n"), 400},
        {IN("GET http://h/ HTTP/1.1\r\n\r" BAD "\n"), 400}, /* Host is needed all the same */
    };
    CHECK_ACCEPTANCES(REQUEST, good);
    CHECK_REFUSALS(REQUEST, bad);
}
END_TEST

/* RFC 9112 2.3, RFC 9110 2.5: case-sensitive, one digit each; a higher minor version is read
 * as 1.1. */
START_TEST(versions_other_than_1_x_are_refused)
{
    static const struct acceptance good[] = {
        {IN("GET / HTTP/1.0\r\n\r\n"), "GET 1 [/] [] [] 1.0 end none"},
        {IN("GET / HTTP/1.2\r\n" HOST "\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
        {IN("GET / HTTP/1.9\r\n" HOST "\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
    };
    static const struct refusal bad[] = {
        {IN("GET / HTTP/2." BAD "0\r\n"), 505},
        {IN("GET / HTTP/0." BAD "9\r\n"), 505},
        {IN("GET / HTTP/3." BAD "0\r\n"), 505},
        {IN("GET / HTTP/9." BAD "1\r\n"), 505},
        {IN("GET / HTTP/2" BAD "\r\n"), 400},
        {IN("GET / HTTP/1" BAD "\r\n"), 400},
        {IN("GET / HTTP/1." BAD "\r\n"), 400},
        {IN("GET / HTTP/1.1" BAD "0\r\n"), 400},
        {IN("GET / HTTP/1" BAD "1.1\r\n"), 400},
        {IN("GET / HTTP/" BAD ".1\r\n"), 400},
        {IN("GET / HTTP" BAD " 1.1\r\n"), 400},
        {IN("GET / HTTP/1" BAD ",1\r\n"), 400},
        {IN("GET / " BAD "http/1.1\r\n"), 400},
        {IN("GET / H" BAD "ttp/1.1\r\n"), 400},
        {IN("GET / " BAD " HTTP/1.1\r\n"), 400},
        {IN("GET / " BAD "\r\n"), 400},
        {IN("GET / " BAD "x"), 400},
        {IN("GET / HTTP/1.1" BAD " \r\n"), 400},
        {IN("GET / HTTP/1.1" BAD "\n"), 400},
        {IN("GET / HTTP/1.1\r" BAD "\r\n"), 400},
        {IN("GET / HTTP/1.1\r" BAD "H"), 400},
        {IN("GET / HTTP/1.1" BAD "\0\r\n"), 400},
    };
    CHECK_ACCEPTANCES(REQUEST, good);
    CHECK_REFUSALS(REQUEST, bad);
}
END_TEST

/* RFC 9112 2.2, 5.1, 5.2: only CRLF ends a line; no folding, no white space before the colon. */
START_TEST(field_lines_are_strict)
{
    static const struct acceptance good[] = {
        {IN(GET "A:b\r\n\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
        {IN(GET "A:\r\n\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
        {IN(GET "A: \t \r\nB:\t\r\n\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
        {IN(GET "A: \t b c\td \t\r\n\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
        {IN(GET "A: \x80\xff\xc3\xa9\r\n\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
        {IN(GET "!#$%&'*+-.^_`|~09azAZ: x\r\n\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
        {IN(GET "A: :\r\nA: ::\r\n\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
        {IN(GET "C: 1\r\nCo: 1\r\nCon: 1\r\nConn: 1\r\nT: 1\r\nU: 1\r\nP: 1\r\n\r\n"),
         "GET 1 [/] [] [h] 1.1 keep none"},
    };
    static const struct refusal bad[] = {
        {IN(GET "A: b" BAD "\n\r\n"), 400},
        {IN(GET "A: b\r" BAD "c\r\n"), 400},
        {IN(GET "A: b\r" BAD "\r\n\r\n"), 400},
        {IN(GET "A: b\r\n" BAD "\n"), 400},
        {IN(GET "A: b\r\n\r" BAD "A: c\r\n"), 400},
        {IN(GET "A: b\r\n\r" BAD "\r\n"), 400},
        {IN(GET "A:" BAD "\n\r\n"), 400},
        {IN(GET "A: " BAD "\n\r\n"), 400},
        {IN(GET "A:\r" BAD "b\r\n\r\n"), 400},
        {IN(GET "A: \r" BAD "\r\n\r\n"), 400},
        {IN(GET "A: \r" BAD " \r\n\r\n"), 400},
        {IN(GET BAD "\n"), 400},
        {IN("GET / HTTP/1.0\r\n" BAD "\n"), 400},
        {IN(GET "\r" BAD "x"), 400},
        {IN(GET "A: b\r\n" BAD " c\r\n\r\n"), 400},
        {IN(GET "A: b\r\n" BAD "\tc\r\n\r\n"), 400},
        {IN(GET "A: b\r\n" BAD " \r\n\r\n"), 400},
        {IN(GET "A:\r\n" BAD " b\r\n\r\n"), 400},
        {IN(GET "A: \r\n" BAD "\tb\r\n\r\n"), 400},
        {IN(GET "A:\r\n" BAD " \r\n\r\n"), 400},
        {IN(GET BAD " A: b\r\n\r\n"), 400},
        {IN(GET BAD "\tA: b\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\n" BAD " " HOST "\r\n"), 400},
        {IN(GET "A" BAD " : b\r\n\r\n"), 400},
        {IN(GET "A" BAD "\t: b\r\n\r\n"), 400},
        {IN(GET "A" BAD " b: c\r\n\r\n"), 400},
        {IN(GET "Content-Length" BAD " : 1\r\n\r\n"), 400},
        {IN(GET "Transfer-Encoding" BAD " : chunked\r\n\r\n"), 400},
        {IN(GET BAD ": b\r\n\r\n"), 400},
        {IN(GET "A" BAD "\r\n\r\n"), 400},
        {IN(GET "A" BAD "\n\r\n"), 400},
        {IN(GET "A" BAD "\0: b\r\n\r\n"), 400},
        {IN(GET "A" BAD "(: b\r\n\r\n"), 400},
        {IN(GET "A" BAD "\": b\r\n\r\n"), 400},
        {IN(GET "A" BAD "@: b\r\n\r\n"), 400},
        {IN(GET "A" BAD "\x80: b\r\n\r\n"), 400},
        {IN(GET "A" BAD "\x7f: b\r\n\r\n"), 400},
        {IN(GET "A: " BAD "\0\r\n\r\n"), 400},
        {IN(GET "A:" BAD "\0\r\n\r\n"), 400},
        {IN(GET "A: " BAD "\x01\r\n\r\n"), 400},
        {IN(GET "A: " BAD "\x7f\r\n\r\n"), 400},
        {IN(GET "A: " BAD "\v\r\n\r\n"), 400},
        {IN(GET "A: b" BAD "\0c\r\n\r\n"), 400},
        {IN(GET "A: b" BAD "\x7f\r\n\r\n"), 400},
        {IN(GET "A: b" BAD "\f\r\n\r\n"), 400},
        {IN(GET "A: b " BAD "\x1b[0m\r\n\r\n"), 400},
        {IN(GET "Content-Length: 1" BAD "\0\r\n\r\n"), 400},
        {IN(GET "Connection: clo" BAD "\x01se\r\n\r\n"), 400},
        {IN(GET "Transfer-Encoding: chunked" BAD "\0\r\n\r\n"), 400},
        {IN(GET "Transfer-Encoding: chunked" BAD "\n\r\n"), 400},
        {IN(GET "Transfer-Encoding:" BAD "\nchunked\r\n\r\n"), 400},
        {IN(GET "Transfer-Encoding:" BAD "\vchunked\r\n\r\n"), 400},
    };
    CHECK_ACCEPTANCES(REQUEST, good);
    CHECK_REFUSALS(REQUEST, bad);
}
END_TEST

/* RFC 9112 3.2, RFC 9110 7.2, RFC 3986 3.2.2. */
START_TEST(host_is_there_once_and_well_formed)
{
    static const struct acceptance good[] = {
        {IN("GET / HTTP/1.1\r\nhOsT:h\r\n\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
        {IN("GET / HTTP/1.0\r\n" HOST "\r\n"), "GET 1 [/] [] [h] 1.0 end none"},
        {IN("GET / HTTP/1.1\r\nHost: example.com:8080 \r\n\r\n"),
         "GET 1 [/] [] [example.com:8080] 1.1 keep none"},
        {IN("GET / HTTP/1.1\r\nHost: h:\r\n\r\n"), "GET 1 [/] [] [h:] 1.1 keep none"},
        {IN("GET / HTTP/1.1\r\nHost: h:65535\r\n\r\n"), "GET 1 [/] [] [h:65535] 1.1 keep none"},
        {IN("GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n"), "GET 1 [/] [] [192.0.2.1] 1.1 keep none"},
        {IN("GET / HTTP/1.1\r\nHost: [2001:db8::1]\r\n\r\n"),
         "GET 1 [/] [] [[2001:db8::1]] 1.1 keep none"},
        {IN("GET / HTTP/1.1\r\nHost: [::ffff:192.0.2.1]:80\r\n\r\n"),
         "GET 1 [/] [] [[::ffff:192.0.2.1]:80] 1.1 keep none"},
        {IN("GET / HTTP/1.1\r\nHost: [v1f.a:b]\r\n\r\n"), "GET 1 [/] [] [[v1f.a:b]] 1.1 keep none"},
        {IN("GET / HTTP/1.1\r\nHost: a_b-c~d.e%41!$&'()*+,;=\r\n\r\n"),
         "GET 1 [/] [] [a_b-c~d.e%41!$&'()*+,;=] 1.1 keep none"},
        {IN("GET http://H/ HTTP/1.1\r\nHost: h\r\n\r\n"), "GET 1 [/] [] [H] 1.1 keep none"},
        {IN("GET http://h:80/ HTTP/1.1\r\nHost:\th\t\r\n\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
        {IN("GET http://h/ HTTP/1.1\r\nHost: H:80\r\n\r\n"), "GET 1 [/] [] [H:80] 1.1 keep none"},
        {IN("GET HTTP://h:?q HTTP/1.1\r\nHost: h:80\r\n\r\n"),
         "GET 1 [/] [q] [h:80] 1.1 keep none"},
        {IN("GET http://h:080/a HTTP/1.1\r\nHost: h:\r\n\r\n"), "GET 1 [/a] [] [h:] 1.1 keep none"},
        {IN("GET https://h:443/ HTTP/1.1\r\nHost: h\r\n\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
        {IN("GET HTTPS://h/ HTTP/1.1\r\nHost: h:443\r\n\r\n"),
         "GET 1 [/] [] [h:443] 1.1 keep none"},
        {IN("GET http://[::A]:80/ HTTP/1.1\r\nHost: [::a]\r\n\r\n"),
         "GET 1 [/] [] [[::a]] 1.1 keep none"},
        {IN("GET http://[::1] HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"),
         "GET 1 [/] [] [[::1]:80] 1.1 keep none"},
        {IN("GET http://h:81/ HTTP/1.1\r\nHost: h:081\r\n\r\n"),
         "GET 1 [/] [] [h:081] 1.1 keep none"},
        {IN("GET http://h:80/ HTTP/1.0\r\nHost: h\r\n\r\n"), "GET 1 [/] [] [h] 1.0 end none"},
    };
    static const struct refusal bad[] = {
        {IN("GET / HTTP/1.1\r\n\r" BAD "\n"), 400},
        {IN("GET / HTTP/1.1\r\nHostx: h\r\n\r" BAD "\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: h\r\nHost: h" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\nhost: g" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.0\r\nHost: h\r\nHost: h" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost:\r\n" BAD "\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost:  \r\n" BAD "A: b\r\n\r\n"), 400},
        {IN("GET / HTTP/1.0\r\nHost:\r\n" BAD "\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: a b" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: a/b" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: a@b" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: a?b" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: a#b" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: a\\b" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: http://a" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: a\"b" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: \xc3\xa9" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: :80" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: h:80:80" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: h:8x" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: h:-1" BAD "\r\n\r\n"), 400},
        {IN("GET http://h:443/ HTTP/1.1\r\nHost: h" BAD "\r\n\r\n"), 400},
        {IN("GET https://h:80/ HTTP/1.1\r\nHost: h" BAD "\r\n\r\n"), 400},
        {IN("GET https://h/ HTTP/1.1\r\nHost: h:80" BAD "\r\n\r\n"), 400},
        {IN("GET http://h:80/ HTTP/1.1\r\nHost: h." BAD "\r\n\r\n"), 400},
        {IN("GET http://h:80/ HTTP/1.1\r\nHost: g" BAD "\r\n\r\n"), 400},
        {IN("GET http://h:8/ HTTP/1.1\r\nHost: h:80" BAD "\r\n\r\n"), 400},
        {IN("GET http://[::1]:80/ HTTP/1.1\r\nHost: [::1]:81" BAD "\r\n\r\n"), 400},
        {IN("GET http://[::1]:80/ HTTP/1.1\r\nHost: ::1" BAD "\r\n\r\n"), 400},
        {IN("GET http://h:80/ HTTP/1.1\r\nHost: h\r\nHost: h" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: h:65536" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: h:99999999999999999999" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: a%4" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: a%zz" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: a%" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: ::1" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: [::1" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: []" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: [1.2.3.4]" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: [::1%25lo]" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: [::1]x" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: [::g]" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: [1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb]" BAD
            "\r\n\r\n"),
         400},
        {IN("GET / HTTP/1.1\r\nHost: [v.x]" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: [v1.]" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: [v1.a b]" BAD "\r\n\r\n"), 400},
        {IN("GET / HTTP/1.1\r\nHost: a, b" BAD "\r\n\r\n"), 400},
    };
    CHECK_ACCEPTANCES(REQUEST, good);
    CHECK_REFUSALS(REQUEST, bad);
}
END_TEST

/* RFC 9112 6.2, 6.3, RFC 9110 8.6. */
START_TEST(content_length_is_one_plain_number)
{
    static const struct acceptance good[] = {
        {IN(POST "Content-Length: 0\r\n\r\n"), "POST 3 [/] [] [h] 1.1 keep none 0"},
        {IN(POST "Content-Length: 5\r\n\r\n"), "POST 3 [/] [] [h] 1.1 keep length 5"},
        {IN(POST "cONTENT-lENGTH:5  \r\n\r\n"), "POST 3 [/] [] [h] 1.1 keep length 5"},
        {IN(POST "Content-Length: 007\r\n\r\n"), "POST 3 [/] [] [h] 1.1 keep length 7"},
        {IN(POST "Content-Length: 9223372036854775807\r\n\r\n"),
         "POST 3 [/] [] [h] 1.1 keep length 9223372036854775807"},
        {IN(GET "Content-Length: 5\r\n\r\n"), "GET 1 [/] [] [h] 1.1 keep length 5"},
        {IN(POST "Content-Length: 5\t\r\n\r\n"), "POST 3 [/] [] [h] 1.1 keep length 5"},
        {IN(POST "Content-Length:\t5\t\r\n\r\n"), "POST 3 [/] [] [h] 1.1 keep length 5"},
        {IN(POST "Content-Length:5\t\t \t\r\nA: b\r\n\r\n"), "POST 3 [/] [] [h] 1.1 keep length 5"},
        {IN(POST "Content-Length: \t 52 \t \r\nA:\tb\t\r\n\r\n"),
         "POST 3 [/] [] [h] 1.1 keep length 52"},
        {IN(POST "Content-Length: 0\t\r\n\r\n"), "POST 3 [/] [] [h] 1.1 keep none 0"},
        {IN(POST "Content-Lengths: x\r\nContent-Lengt: y\r\n\r\n"),
         "POST 3 [/] [] [h] 1.1 keep none"},
    };
    static const struct refusal bad[] = {
        {IN(POST "Content-Length:\r\n" BAD "\r\n"), 400},
        {IN(POST "Content-Length: " BAD "-1\r\n\r\n"), 400},
        {IN(POST "Content-Length: " BAD "+1\r\n\r\n"), 400},
        {IN(POST "Content-Length: 1" BAD ",1\r\n\r\n"), 400},
        {IN(POST "Content-Length: 1" BAD ", 1\r\n\r\n"), 400},
        {IN(POST "Content-Length: 1 " BAD "1\r\n\r\n"), 400},
        {IN(POST "Content-Length: 1" BAD "_000\r\n\r\n"), 400},
        {IN(POST "Content-Length: 0" BAD "x10\r\n\r\n"), 400},
        {IN(POST "Content-Length: 1" BAD ".0\r\n\r\n"), 400},
        {IN(POST "Content-Length: 1" BAD "e3\r\n\r\n"), 400},
        {IN(POST "Content-Length: " BAD "\"1\"\r\n\r\n"), 400},
        {IN(POST "Content-Length: 9223372036854775808" BAD "\r\n\r\n"), 400},
        {IN(POST "Content-Length: 18446744073709551616\r\n\r\n"), 400},
        {IN(POST "Content-Length: 99999999999999999999999999\r\n\r\n"), 400},
        {IN(POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), 400},
        {IN(POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"), 400},
        {IN(POST "Content-Length: 0\r\nA: b\r\ncontent-length: 0\r\n\r\n"), 400},
        {IN(POST "Content-Length: 1\r\n" BAD " 2\r\n\r\n"), 400},
        {IN(POST "Content-Length: 1\t" BAD "1\r\n\r\n"), 400},
        {IN(POST "Content-Length: 1\t\t" BAD ",\t1\r\n\r\n"), 400},
        {IN(POST "Content-Length: 1\t" BAD "\v\r\n\r\n"), 400},
        {IN(POST "Content-Length: 1\t" BAD "\n\r\n"), 400},
        {IN(POST "Content-Length: 1\t\r\n" BAD "\t2\r\n\r\n"), 400},
        {IN(POST "Content-Length:\r\n" BAD "\t1\t\r\n\r\n"), 400},
        {IN(POST "Content-Length: 1\t\r\nContent-Length: 1\t\r\n\r\n"), 400},
        {IN(POST "Content-Length: 1\t\r\nTransfer-Encoding:\tchunked\t" BAD "\r\n\r\n"), 400},
        {IN(POST "Transfer-Encoding:\tchunked\t\r\nContent-Length: 1\t\r\n\r\n"), 400},
        {IN(POST "Content-Length: 9223372036854775808\t" BAD "\r\n\r\n"), 400},
        {IN(POST "Content-Length:\r\n 5\r\n\r\n"), 400},
        {IN(POST "Content-Length: \xb2\r\n\r\n"), 400},
    };
    CHECK_ACCEPTANCES(REQUEST, good);
    CHECK_REFUSALS(REQUEST, bad);
}
END_TEST

/* RFC 9112 6.1, 6.3, 7.1. */
START_TEST(transfer_encoding_is_chunked_alone)
{
    static const struct acceptance good[] = {
        {IN(POST "Transfer-Encoding: chunked\r\n\r\n"), "POST 3 [/] [] [h] 1.1 keep chunked"},
        {IN(POST "transfer-encoding:CHUNKED \t\r\n\r\n"), "POST 3 [/] [] [h] 1.1 keep chunked"},
        {IN(POST "Transfer-Encodings: gzip\r\nTransfer_Encoding: x\r\n\r\n"),
         "POST 3 [/] [] [h] 1.1 keep none"},
        {IN(POST "Content-Length: 5\r\nTransfer-Encoding-X: chunked\r\n\r\n"),
         "POST 3 [/] [] [h] 1.1 keep length 5"},
        {IN(POST "Transfer-Encodings: chunked\r\nContent-Length: 5\r\n\r\n"),
         "POST 3 [/] [] [h] 1.1 keep length 5"},
        {IN("GET / HTTP/1.1\r\n" HOST "TE: trailers\r\n\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
        {IN(POST "Transfer-Encoding:\tchunked\t\t\r\n\r\n"), "POST 3 [/] [] [h] 1.1 keep chunked"},
    };
    static const struct refusal bad[] = {
        {IN(POST "Transfer-Encoding:\tgzip\t,\tchunked\t" BAD "\r\n\r\n"), 501},
        {IN(POST "Transfer-Encoding: gzip" BAD "\r\n\r\n"), 501},
        {IN(POST "Transfer-Encoding: identity" BAD "\r\n\r\n"), 501},
        {IN(POST "Transfer-Encoding: gzip, chunked" BAD "\r\n\r\n"), 501},
        {IN(POST "Transfer-Encoding: gzip;q=1, chunked" BAD "\r\n\r\n"), 501},
        {IN(POST "Transfer-Encoding: xchunked" BAD "\r\n\r\n"), 501},
        {IN(POST "Transfer-Encoding: chunkedx" BAD "\r\n\r\n"), 501},
        {IN(POST "Transfer-Encoding: gzip" BAD "\r\nTransfer-Encoding: chunked\r\n\r\n"), 501},
        {IN(POST "Transfer-Encoding: chunked, gzip" BAD "\r\n\r\n"), 400},
        {IN(POST "Transfer-Encoding: chunked, chunked" BAD "\r\n\r\n"), 400},
        {IN(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked" BAD "\r\n\r\n"), 400},
        {IN(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip" BAD "\r\n\r\n"), 400},
        {IN(POST "Transfer-Encoding: chunked;a=b" BAD "\r\n\r\n"), 400},
        {IN(POST "Transfer-Encoding: chunked," BAD "\r\n\r\n"), 400},
        {IN(POST "Transfer-Encoding: , chunked" BAD "\r\n\r\n"), 400},
        {IN(POST "Transfer-Encoding: \"chunked\"" BAD "\r\n\r\n"), 400},
        {IN(POST "Transfer-Encoding: chunked x" BAD "\r\n\r\n"), 400},
        {IN(POST "Transfer-Encoding: @" BAD "\r\n\r\n"), 400},
        {IN(POST "Transfer-Encoding:\r\n" BAD "\r\n"), 400},
        {IN(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"), 400},
        {IN(POST "Content-Length: 5\r\nTransfer-Encoding: chunked" BAD "\r\n\r\n"), 400},
        {IN(POST "Content-Length: 5\r\nTransfer-Encoding: gzip" BAD "\r\n\r\n"), 400},
        {IN(POST "Content-Length: 0\r\nTransfer-Encoding: chunked" BAD "\r\n\r\n"), 400},
        {IN("POST / HTTP/1.0\r\nTransfer-Encoding: chunked" BAD "\r\n\r\n"), 400},
        {IN("POST / HTTP/1.0\r\nTransfer-Encoding: gzip" BAD "\r\n\r\n"), 400},
        {IN(POST "Transfer-Encoding: chunked\r\n" BAD " , gzip\r\n\r\n"), 400},
    };
    CHECK_ACCEPTANCES(REQUEST, good);
    CHECK_REFUSALS(REQUEST, bad);
}
END_TEST

/* RFC 9112 9.3, RFC 9110 7.6.1, 7.8, 10.1.1. */
START_TEST(connection_says_what_follows)
{
    static const struct acceptance good[] = {
        {IN(GET "Connection: close\r\n\r\n"), "GET 1 [/] [] [h] 1.1 end none"},
        {IN(GET "Connection: Close\r\n\r\n"), "GET 1 [/] [] [h] 1.1 end none"},
        {IN(GET "Connection: a, CLOSE ,b\r\n\r\n"), "GET 1 [/] [] [h] 1.1 end none"},
        {IN(GET "Connection: closed\r\n\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
        {IN(GET "Connection: keep-alive\r\n\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
        {IN(GET "Connection: keep-alive, close\r\n\r\n"), "GET 1 [/] [] [h] 1.1 end none"},
        {IN(GET "Connection: close\r\nConnection: keep-alive\r\n\r\n"),
         "GET 1 [/] [] [h] 1.1 end none"},
        {IN(GET "Connection:\r\n\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
        {IN(GET "Connection: ,, ,\r\n\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
        {IN(GET "Proxy-Connection: close\r\n\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
        {IN("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), "GET 1 [/] [] [] 1.0 keep none"},
        {IN("GET / HTTP/1.0\r\nConnection: Keep-Alive, x\r\n\r\n"),
         "GET 1 [/] [] [] 1.0 keep none"},
        {IN("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n"),
         "GET 1 [/] [] [] 1.0 end none"},
        {IN("GET / HTTP/1.0\r\nConnection: x\r\n\r\n"), "GET 1 [/] [] [] 1.0 end none"},
        {IN("GET / HTTP/1.0\r\nKeep-Alive: timeout=5\r\n\r\n"), "GET 1 [/] [] [] 1.0 end none"},
        {IN(GET "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
         "GET 1 [/] [] [h] 1.1 keep none upgrade"},
        {IN(GET "Upgrade: websocket\r\nConnection: keep-alive, upgrade\r\n\r\n"),
         "GET 1 [/] [] [h] 1.1 keep none upgrade"},
        {IN(GET "Upgrade: websocket\r\n\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
        {IN(GET "Connection: upgrade\r\n\r\n"), "GET 1 [/] [] [h] 1.1 keep none"},
        {IN("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
         "GET 1 [/] [] [] 1.0 end none"},
        {IN(POST "Content-Length: 1\r\nExpect: 100-Continue\r\n\r\n"),
         "POST 3 [/] [] [h] 1.1 keep length 1 expect"},
        {IN(POST "Content-Length: 1\r\nExpect:\t100-continue\t\r\n\r\n"),
         "POST 3 [/] [] [h] 1.1 keep length 1 expect"},
        {IN(GET "Connection:\tx\t,\tclose\t\r\n\r\n"), "GET 1 [/] [] [h] 1.1 end none"},
        {IN(GET "Connection:\tupgrade\t\r\nUpgrade:\twebsocket\t\r\n\r\n"),
         "GET 1 [/] [] [h] 1.1 keep none upgrade"},
        {IN(POST "Expect: 200-ok\r\n\r\n"), "POST 3 [/] [] [h] 1.1 keep none"},
        {IN("POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"), "POST 3 [/] [] [] 1.0 end none"},
    };
    CHECK_ACCEPTANCES(REQUEST, good);
}
END_TEST

/* RFC 9110 7.8: h2c, HTTP and TLS are not what a tunnel may carry. */
START_TEST(an_upgrade_is_to_a_protocol_that_may_follow)
{
    static const struct {
        const char *value;
        bool request, answer;
    } cases[] = {
        {"websocket", true, true},
        {"WebSocket", true, true},
        {"tcp", true, true},
        {"TLSA", true, true},
        {"echo/1.0", true, true},
        {"httpx", true, true},
        {"h", true, true},
        {"hx2", true, true},
        {"a/h2c", true, true},
        {"SPDY/3.1", true, true},
        {"websocket, tcp", true, true},
        {",,\twebsocket\t, ", true, true},
        {"h2c", false, false},
        {"H2C", false, false},
        {"\th2c\t", false, false},
        {"h2", false, false},
        {"h2c-14", false, false},
        {"h3", false, false},
        {"h3-29", false, false},
        {"HTTP/2.0", false, false},
        {"http/2.0", false, false},
        {"HTTP/1.1", false, false},
        {"HTTP/3.0", false, false},
        {"HTTP", false, false},
        {"HTTPS", false, false},
        {"TLS/1.0", false, false},
        {"TLS/1.3", false, false},
        {"tls", false, false},
        {"SSL/3", false, false},
        {"TLS/1.0, HTTP/1.1", false, false},
        {"h2c, websocket", true, false},
        {"websocket,h2c", true, false},
        {"websocket, TLS/1.2", true, false},
        {"", false, false},
        {", ,", false, false},
        {"h2c;q=1", false, false},
        {"\"websocket\"", false, false},
        {"web socket", false, false},
        {"websocket/", false, false},
        {"/13", false, false},
        {"a/b/c", false, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char in[256];
        int n = snprintf(in, sizeof(in), GET "Connection: Upgrade\r\nUpgrade: %s\r\n\r\n",
                         cases[i].value);
        ck_assert_msg(parse(REQUEST, in, (size_t)n).head.upgrade == cases[i].request, "%s", in);
        n = snprintf(in, sizeof(in), "HTTP/1.1 101 S\r\nUpgrade: %s\r\nConnection: Upgrade\r\n\r\n",
                     cases[i].value);
        ck_assert_msg(parse(ANSWER, in, (size_t)n).head.upgrade == cases[i].answer, "%s", in);
    }
    static const char lines[] = GET "Upgrade: h2c\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    ck_assert(parse(REQUEST, IN(lines)).head.upgrade);
}
END_TEST

/* RFC 9110 10.1.4. */
START_TEST(trailers_are_asked_for_by_te)
{
    static const struct {
        const char *version, *lines;
        bool trailers;
    } cases[] = {
        {"1.1", "TE: trailers", true},
        {"1.1", "te:\tTrailers\t", true},
        {"1.1", "TE: trailers\r\nConnection: TE", true},
        {"1.1", "TE: gzip;q=0.5, trailers, deflate", true},
        {"1.1", "TE: gzip\r\nTE:trailers", true},
        {"1.1", "TE: trailers;q=0.5", true},
        {"1.1", "TE: trailers ;q=1", true},
        {"1.1", "TE: gzip", false},
        {"1.1", "TE:", false},
        {"1.1", "TE: ;", false},
        {"1.1", "TE: trailer", false},
        {"1.1", "TE: trailersx", false},
        {"1.1", "TE: x;trailers", false},
        {"1.1", "Trailer: trailers", false},
        {"1.0", "TE: trailers\r\nConnection: TE", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char in[256];
        int n = snprintf(in, sizeof(in), "GET / HTTP/%s\r\nHost: h\r\n%s\r\n\r\n", cases[i].version,
                         cases[i].lines);
        struct outcome o = parse(REQUEST, in, (size_t)n);
        ck_assert_msg(o.result == PARSE_DONE && o.head.te_trailers == cases[i].trailers, "%s", in);
    }
}
END_TEST

/* The names of the fields in order; '-' marks those that are not forwarded. */
static void check_hops(const char *in, const char *expected)
{
    struct outcome o = parse(REQUEST, in, strlen(in));
    char text[512] = "";
    ck_assert_msg(o.result == PARSE_DONE, "%s", in);
    for (unsigned i = 0; i < o.head.nfields; i++) {
        const struct head_field *f = &o.head.fields[i];
        size_t n = strlen(text);
        snprintf(text + n, sizeof(text) - n, "%s%s%.*s", i ? " " : "", f->hop ? "-" : "",
                 (int)f->name_len, in + f->name);
    }
    ck_assert_str_eq(text, expected);
}

/* RFC 9110 7.6.1. */
START_TEST(hop_by_hop_fields_are_marked)
{
    check_hops(GET "A: b\r\nCookie: x\r\n\r\n", "Host A Cookie");
    check_hops(GET "Connection: x\r\nKeep-Alive: x\r\nProxy-Connection: x\r\nTE: x\r\n"
                   "Upgrade: x\r\nTrailer: x\r\n\r\n",
               "Host -Connection -Keep-Alive -Proxy-Connection -TE -Upgrade Trailer");
    check_hops(POST "Transfer-Encoding: chunked\r\nVia: x\r\n\r\n", "Host -Transfer-Encoding Via");
    check_hops(GET "A: 1\r\nConnection: b, a\r\nB: 2\r\nC: 3\r\na: 4\r\n\r\n",
               "Host -A -Connection -B C -a");
    check_hops(GET "A: 1\r\nB: 2\r\nConnection: close\r\nConnection: b\r\n\r\n",
               "Host A -B -Connection -Connection");
    check_hops(GET "Connection: host, close\r\nClose: 1\r\n\r\n", "Host -Connection Close");
    check_hops(GET "Connection: x-forwarded-for, X-Forwarded-Proto, X-Forwarded-Host\r\n"
                   "X-Forwarded-For: a\r\nx-forwarded-proto: b\r\nX-Forwarded-Host: c\r\n\r\n",
               "Host -Connection X-Forwarded-For x-forwarded-proto X-Forwarded-Host");
    check_hops(GET "http2-settings: x\r\nHTTP2-Setting: x\r\nHTTP2-Settingss: x\r\n\r\n",
               "Host -http2-settings HTTP2-Setting HTTP2-Settingss");
    check_hops(GET "Connection: aa\r\nA: 1\r\nAaa: 1\r\n\r\n", "Host -Connection A Aaa");
}
END_TEST

#define ANSWER_OF(fields) "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" fields "\r\n"
#define NEVER UINT32_MAX

START_TEST(keep_alive_of_an_answer_tells_how_long_its_connection_is_used)
{
    static const struct {
        const char *fields;
        uint32_t idle_ms;
    } answers[] = {
        {"", NEVER},
        {"Keep-Alive: timeout=5\r\n", 4000},
        {"kEEP-aLIVE:\tTimeout=5, max=100 \r\n", 4000},
        {"Keep-Alive: max=100,timeout = \"5\"\r\n", 4000},
        {"Keep-Alive: , ,timeout=2,\r\n", 1000},
        {"Keep-Alive: timeout=1\r\n", 500},
        {"Keep-Alive: timeout=0\r\n", 0},
        {"Keep-Alive: timeout=05\r\n", 4000},
        {"Keep-Alive: timeout=5, max=1\r\n", 4000},
        {"Keep-Alive: timeout=5, max=0\r\n", 0},
        {"Keep-Alive: max=0\r\n", 0},
        /* the least */
        {"Keep-Alive: timeout=9, timeout=5, timeout=7\r\n", 4000},
        {"Keep-Alive: timeout=5\r\nA: b\r\nKeep-Alive: timeout=3\r\n", 2000},
        {"Keep-Alive: timeout=3\r\nKeep-Alive: max=7\r\n", 2000},
        {"Connection: Keep-Alive\r\nKeep-Alive: timeout=5\r\n", 4000},
        {"Connection: close\r\nKeep-Alive: timeout=5\r\n", 4000}, /* it is not kept at all */
        /* large ones */
        {"Keep-Alive: timeout=4000000\r\n", 3999999000},
        {"Keep-Alive: timeout=4294967\r\n", NEVER},
        {"Keep-Alive: timeout=4294967295\r\n", NEVER},
        {"Keep-Alive: timeout=4294967296\r\n", NEVER},
        {"Keep-Alive: timeout=18446744073709551616\r\n", NEVER},
        {"Keep-Alive: timeout=99999999999999999999999999999, timeout=4\r\n", 3000},
        {"Keep-Alive: max=99999999999999999999999999999\r\n", NEVER},
        /* what says nothing */
        {"Keep-Alive:\r\n", NEVER},
        {"Keep-Alive: 5\r\n", NEVER},
        {"Keep-Alive: timeout\r\n", NEVER},
        {"Keep-Alive: timeout=\r\n", NEVER},
        {"Keep-Alive: =5\r\n", NEVER},
        {"Keep-Alive: =\r\n", NEVER},
        {"Keep-Alive: timeout=\"\"\r\n", NEVER},
        {"Keep-Alive: timeout=\"\r\n", NEVER},
        {"Keep-Alive: timeout=\"5\r\n", NEVER},
        {"Keep-Alive: timeout==5\r\n", NEVER},
        {"Keep-Alive: timeout=-1\r\n", NEVER},
        {"Keep-Alive: timeout=+5\r\n", NEVER},
        {"Keep-Alive: timeout=5s\r\n", NEVER},
        {"Keep-Alive: timeout=5.5\r\n", NEVER},
        {"Keep-Alive: timeout=0x5\r\n", NEVER},
        {"Keep-Alive: timeouts=5\r\n", NEVER},
        {"Keep-Alive: xtimeout=5\r\n", NEVER},
        {"Keep-Alive: timeout=5;max=0\r\n", NEVER},
        {"Keep-Alives: timeout=5\r\n", NEVER},
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
        char in[256];
        snprintf(in, sizeof(in), ANSWER_OF("%s"), answers[i].fields);
        struct outcome o = parse(ANSWER, in, strlen(in));
        ck_assert_msg(o.result == PARSE_DONE, "%s", in);
        ck_assert_msg(o.head.has_idle == (answers[i].idle_ms != NEVER), "%s", in);
        if (o.head.has_idle)
            ck_assert_msg(o.head.idle_ms == answers[i].idle_ms, "%s: %u", in, o.head.idle_ms);
    }
    static const char request[] = GET "Keep-Alive: timeout=5\r\n\r\n";
    struct outcome o = parse(REQUEST, request, sizeof request - 1);
    ck_assert(o.result == PARSE_DONE && !o.head.has_idle); /* a client does not say it */
}
END_TEST

START_TEST(fields_are_known_in_any_case)
{
    static const struct {
        const char *name;
        enum field_id id;
    } names[] = {
        {"Authorization", FIELD_AUTHORIZATION},
        {"Proxy-Authorization", FIELD_PROXY_AUTHORIZATION},
        {"Proxy-Authenticate", FIELD_PROXY_AUTHENTICATE},
        {"WWW-Authenticate", FIELD_WWW_AUTHENTICATE},
        {"Connection", FIELD_CONNECTION},
        {"Content-Length", FIELD_CONTENT_LENGTH},
        {"HTTP2-Settings", FIELD_HTTP2_SETTINGS},
        {"Cookie", FIELD_COOKIE},
        {"Expect", FIELD_EXPECT},
        {"Keep-Alive", FIELD_KEEP_ALIVE},
        {"Proxy-Connection", FIELD_PROXY_CONNECTION},
        {"TE", FIELD_TE},
        {"Trailer", FIELD_TRAILER},
        {"Transfer-Encoding", FIELD_TRANSFER_ENCODING},
        {"Upgrade", FIELD_UPGRADE},
        {"Via", FIELD_VIA},
        {"X-Forwarded-For", FIELD_X_FORWARDED_FOR},
        {"X-Forwarded-Host", FIELD_X_FORWARDED_HOST},
        {"X-Forwarded-Proto", FIELD_X_FORWARDED_PROTO},
        {"Hosts", FIELD_OTHER},
        {"Hos", FIELD_OTHER},
        {"Accept", FIELD_OTHER},
        {"Cookie2", FIELD_OTHER},
        {"X_Forwarded_For", FIELD_OTHER},
        {"X-Forwarded-Fox", FIELD_OTHER},
        {"Content-Lengtj", FIELD_OTHER},
        {"Transfer_Encoding", FIELD_OTHER},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        for (int variant = 0; variant < 3; variant++) {
            char in[256], name[32];
            snprintf(name, sizeof(name), "%s", names[i].name);
            for (char *c = name; *c; c++)
                if (variant && *c >= (variant == 1 ? 'a' : 'A') && *c <= (variant == 1 ? 'z' : 'Z'))
                    *c ^= 0x20;
            const char *value = names[i].id == FIELD_CONTENT_LENGTH      ? "1"
                                : names[i].id == FIELD_TRANSFER_ENCODING ? "chunked"
                                                                         : "x";
            snprintf(in, sizeof(in), GET "%s: %s\r\n\r\n", name, value);
            struct outcome o = parse(REQUEST, in, strlen(in));
            ck_assert_msg(o.result == PARSE_DONE, "%s", in);
            ck_assert_int_eq(o.head.nfields, 2);
            ck_assert_msg(o.head.fields[1].id == names[i].id, "%s", name);
            const struct head_field *f = head_find(&o.head, in, str_of(names[i].name));
            ck_assert_ptr_eq(f, &o.head.fields[1]);
        }
}
END_TEST

START_TEST(identities_are_found_in_lists)
{
    static const struct {
        const char *value;
        bool named;
    } values[] = {
        {"NTLM", true},
        {"Negotiate", true},
        {"nego2 x", true},
        {"KERBEROS abc=", true},
        {"Negotiate\tx", true},
        {"Basic realm=\"x\", Negotiate", true},
        {"Basic realm=\"x\",NTLM", true},
        {", ,\tNTLM", true},
        {"Digest realm=\"a, b\", nonce=\"c\", ntlm, Basic", true},
        {"Basic realm=\"a\\\"b\", NTLM", true},
        {"Basic realm=\"x, NTLM", true},           /* never closed */
        {"Basic realm=\"x\\\", NTLM, y=\"", true}, /* a reader without escapes */
        {"Basic realm=\"x, NTLM\\", true},
        {"Basic realm=\"x, NTLM\"", false},
        {"Basic realm=\"NTLM\"", false},
        {"Basic realm=NTLM", false},
        {"Basic TlRMTQ==", false},
        {"Bearer NTLM", false},
        {"NTLMv2", false},
        {"x-Negotiate", false},
        {"Basic realm=\"CORP\\\\a\", charset=\"UTF-8\"", false},
        {"", false},
        {",", false},
    };
    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++)
        ck_assert_msg(field_names_identity(str_of(values[i].value)) == values[i].named, "%s",
                      values[i].value);
}
END_TEST

#define STATUS_LINE "HTTP/1.1 200 OK\r\n"

START_TEST(a_head_tells_of_an_identity)
{
    static const struct {
        enum kind kind;
        const char *in;
        bool identity;
    } heads[] = {
        {REQUEST, GET "Authorization: Negotiate x\r\n\r\n", true},
        {REQUEST, GET "A: b\r\nPROXY-authorization:ntlm x\r\n\r\n", true},
        {REQUEST, GET "Authorization: Basic x\r\nAuthorization: NTLM x\r\n\r\n", true},
        {REQUEST, GET "Authorization: Basic x\r\n\r\n", false},
        {REQUEST, GET "WWW-Authenticate: NTLM\r\n\r\n", false},
        {ANSWER, STATUS_LINE "WWW-Authenticate: NTLM\r\n\r\n", true},
        {ANSWER, STATUS_LINE "Proxy-Authenticate: Kerberos\r\n\r\n", true},
        {ANSWER, STATUS_LINE "WWW-Authenticate: NTLM\r\nWWW-Authenticate: Basic\r\n\r\n", true},
        {ANSWER, STATUS_LINE "Authorization: NTLM x\r\n\r\n", false},
    };
    for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++) {
        struct outcome o = parse(heads[i].kind, heads[i].in, strlen(heads[i].in));
        ck_assert_int_eq(o.result, PARSE_DONE);
        ck_assert_msg(o.head.identity == heads[i].identity, "%s", heads[i].in);
    }
}
END_TEST

START_TEST(values_lose_white_space_at_both_ends_only)
{
    static const char in[] = GET "A: \t b \t c\t \r\nB:\r\nC: \t \r\nD:d\r\n\r\n";
    static const char *const values[] = {"h", "b \t c", "", "", "d"};
    struct outcome o = parse(REQUEST, IN(in));
    ck_assert_int_eq(o.result, PARSE_DONE);
    ck_assert_int_eq(o.head.nfields, 5);
    for (unsigned i = 0; i < 5; i++) {
        struct str v = head_value(in, &o.head.fields[i]);
        ck_assert_msg(str_eq(v, str_of(values[i])), "%.*s", (int)v.n, v.p);
    }
    ck_assert_ptr_null(head_find(&o.head, in, STR("E")));
}
END_TEST

/* RFC 9110 5.5, 5.6.2, RFC 9112 3.2: all 256 bytes in each place, against a second copy of the
 * grammar. */
START_TEST(tokens_and_text_are_exact)
{
    for (int c = 0; c < 256; c++) {
        char method[64], target[64], name[64], first[64], middle[64];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool token = alnum || (c && strchr("!#$%&'*+-.^_`|~", c));
        bool visible = c > ' ' && c < 127;
        int n = snprintf(method, sizeof(method), "G?T / HTTP/1.0\r\n\r\n");
        method[1] = (char)c;
        ck_assert_msg((parse(REQUEST, method, (size_t)n).result == PARSE_DONE) == token, "%d", c);
        n = snprintf(target, sizeof(target), "GET /?x HTTP/1.0\r\n\r\n");
        target[5] = (char)c;
        ck_assert_msg((parse(REQUEST, target, (size_t)n).result == PARSE_DONE) ==
                          (visible && c != '#'),
                      "%d", c);
        n = snprintf(name, sizeof(name), "GET / HTTP/1.0\r\nA?b: c\r\n\r\n");
        name[17] = (char)c;
        ck_assert_msg((parse(REQUEST, name, (size_t)n).result == PARSE_DONE) == (token || c == ':'),
                      "%d", c);
        n = snprintf(first, sizeof(first), "GET / HTTP/1.0\r\nA: ?b\r\n\r\n");
        first[19] = (char)c;
        ck_assert_msg((parse(REQUEST, first, (size_t)n).result == PARSE_DONE) ==
                          (visible || c == ' ' || c == '\t' || c >= 128),
                      "%d", c);
        n = snprintf(middle, sizeof(middle), "GET / HTTP/1.0\r\nA: 0123456789?123456789\r\n\r\n");
        middle[29] = (char)c;
        ck_assert_msg((parse(REQUEST, middle, (size_t)n).result == PARSE_DONE) ==
                          (visible || c == ' ' || c == '\t' || c >= 128),
                      "%d", c);
    }
}
END_TEST

#define OK STATUS_LINE

/* RFC 9112 4, 6.3. */
START_TEST(answers_are_read)
{
    static const struct acceptance good[] = {
        {IN(OK "\r\n"), "200 [OK] 1.1 keep close"},
        {IN("HTTP/1.0 200 OK\r\n\r\n"), "200 [OK] 1.0 end close"},
        {IN("HTTP/1.2 200 OK\r\n\r\n"), "200 [OK] 1.1 keep close"}, /* RFC 9110 2.5 */
        {IN("HTTP/1.9 200 OK\r\n\r\n"), "200 [OK] 1.1 keep close"},
        {IN("HTTP/1.1 200 \r\n\r\n"), "200 [] 1.1 keep close"},
        {IN("HTTP/1.1 200\r\n\r\n"), "200 [] 1.1 keep close"},
        {IN("HTTP/1.1 200  two  words \r\n\r\n"), "200 [ two  words ] 1.1 keep close"},
        {IN("HTTP/1.1 404 \xc3\xa9\t!\r\n\r\n"), "404 [\xc3\xa9\t!] 1.1 keep close"},
        {IN("HTTP/1.1 100 Continue\r\n\r\n"), "100 [Continue] 1.1 keep close"},
        {IN("HTTP/1.1 599 X\r\n\r\n"), "599 [X] 1.1 keep close"},
        {IN(OK "Content-Length: 0\r\n\r\n"), "200 [OK] 1.1 keep none 0"},
        {IN(OK "Content-Length: 17\r\n\r\n"), "200 [OK] 1.1 keep length 17"},
        {IN(OK "Content-Length:\t17 \t\r\n\r\n"), "200 [OK] 1.1 keep length 17"},
        {IN(OK "Transfer-Encoding:\tchunked\t\r\n\r\n"), "200 [OK] 1.1 keep chunked"},
        {IN(OK "Transfer-Encoding: chunked\r\n\r\n"), "200 [OK] 1.1 keep chunked"},
        {IN(OK "Connection: close\r\n\r\n"), "200 [OK] 1.1 end close"},
        {IN("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n"),
         "200 [OK] 1.0 keep length 1"},
        {IN("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n"), "200 [OK] 1.0 end length 1"},
        {IN("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"),
         "101 [Switching] 1.1 keep close upgrade"},
        {IN("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
         "304 [Not Modified] 1.1 keep length 9"},
        {IN(OK "Host: a\r\nHost: not a host\r\n\r\n"), "200 [OK] 1.1 keep close"},
        {IN(OK "Set-Cookie: a\r\nSet-Cookie: b\r\n\r\n"), "200 [OK] 1.1 keep close"},
        {IN(OK "A:\r\nB: \r\n\r\n"), "200 [OK] 1.1 keep close"},
        {IN(OK "Expect: 100-continue\r\n\r\n"), "200 [OK] 1.1 keep close expect"},
    };
    CHECK_ACCEPTANCES(ANSWER, good);
}
END_TEST

/* Answers obey the same rules as requests; each refusal is a 502. */
START_TEST(broken_answers_are_502)
{
    static const struct refusal bad[] = {
        {IN(BAD "\r\n" OK "\r\n"), 502},
        {IN(BAD "\n" OK "\r\n"), 502},
        {IN(BAD "<html>"), 502},
        {IN(BAD "\0"), 502},
        {IN(BAD "http/1.1 200 OK\r\n\r\n"), 502},
        {IN("HTTP/" BAD "2.0 200 OK\r\n\r\n"), 502},
        {IN("HTTP/" BAD "0.9 200 OK\r\n\r\n"), 502},
        {IN("HTTP/1." BAD "a 200 OK\r\n\r\n"), 502},
        {IN("HTTP/1." BAD ": 200 OK\r\n\r\n"), 502},
        {IN("HTTP/1." BAD "/ 200 OK\r\n\r\n"), 502},
        {IN("HTTP/1.1" BAD "0 200 OK\r\n\r\n"), 502},
        {IN("HTTP/1.1" BAD "\t200 OK\r\n\r\n"), 502},
        {IN("HTTP/1.1" BAD "\r\n\r\n"), 502},
        {IN("HTTP/1.1 " BAD " 200 OK\r\n\r\n"), 502},
        {IN("HTTP/1.1 " BAD "\r\n\r\n"), 502},
        {IN("HTTP/1.1 " BAD "099 X\r\n\r\n"), 502},
        {IN("HTTP/1.1 " BAD "600 X\r\n\r\n"), 502},
        {IN("HTTP/1.1 " BAD "999 X\r\n\r\n"), 502},
        {IN("HTTP/1.1 " BAD "-20 X\r\n\r\n"), 502},
        {IN("HTTP/1.1 2" BAD "x0 X\r\n\r\n"), 502},
        {IN("HTTP/1.1 20" BAD " OK\r\n\r\n"), 502},
        {IN("HTTP/1.1 20" BAD "\r\n\r\n"), 502},
        {IN("HTTP/1.1 200" BAD "0 OK\r\n\r\n"), 502},
        {IN("HTTP/1.1 200" BAD "OK\r\n\r\n"), 502},
        {IN("HTTP/1.1 200" BAD "\tOK\r\n\r\n"), 502},
        {IN("HTTP/1.1 200" BAD "\n\r\n"), 502},
        {IN("HTTP/1.1 200 OK" BAD "\n\r\n"), 502},
        {IN("HTTP/1.1 200 OK\r" BAD "X"), 502},
        {IN("HTTP/1.1 200\r" BAD "X"), 502},
        {IN("HTTP/1.1 200 O" BAD "\0K\r\n\r\n"), 502},
        {IN("HTTP/1.1 200 O" BAD "\x7fK\r\n\r\n"), 502},
        {IN("HTTP/1.1 200 " BAD "\x1b[0m\r\n\r\n"), 502},
        {IN(OK BAD "\n"), 502},
        {IN(OK "\r" BAD "x"), 502},
        {IN(OK "A: b" BAD "\n\r\n"), 502},
        {IN(OK "A: b\r\n" BAD " c\r\n\r\n"), 502},
        {IN(OK BAD " A: b\r\n\r\n"), 502},
        {IN(OK "A" BAD " : b\r\n\r\n"), 502},
        {IN(OK BAD ": b\r\n\r\n"), 502},
        {IN(OK "A" BAD "\r\n\r\n"), 502},
        {IN(OK "A: " BAD "\0\r\n\r\n"), 502},
        {IN(OK "A: b" BAD "\x01\r\n\r\n"), 502},
        {IN(OK "Content-Length: " BAD "x\r\n\r\n"), 502},
        {IN(OK "Content-Length: " BAD "-1\r\n\r\n"), 502},
        {IN(OK "Content-Length: 1" BAD ", 1\r\n\r\n"), 502},
        {IN(OK "Content-Length:\r\n" BAD "\r\n"), 502},
        {IN(OK "Content-Length: 9223372036854775808" BAD "\r\n\r\n"), 502},
        {IN(OK "Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), 502},
        {IN(OK "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"), 502},
        {IN(OK "Content-Length: 1\r\nTransfer-Encoding: chunked" BAD "\r\n\r\n"), 502},
        {IN(OK "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"), 502},
        {IN(OK "Transfer-Encoding: gzip" BAD "\r\n\r\n"), 502},
        {IN(OK "Transfer-Encoding: gzip, chunked" BAD "\r\n\r\n"), 502},
        {IN(OK "Transfer-Encoding: chunked, chunked" BAD "\r\n\r\n"), 502},
        {IN(OK "Transfer-Encoding:\r\n" BAD "\r\n"), 502},
        {IN("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked" BAD "\r\n\r\n"), 502},
    };
    CHECK_REFUSALS(ANSWER, bad);
}
END_TEST

/* RFC 9112 7.1.2. */
START_TEST(trailers_are_field_lines_and_nothing_else)
{
    static const struct acceptance good[] = {
        {IN("\r\n"), " 1.0 end none"},
        {IN("A: b\r\n\r\n"), " 1.0 end none"},
        {IN("A:\r\nB: c\r\n\r\n"), " 1.0 end none"},
        {IN("Host: not a host\r\nConnection: close\r\n\r\n"), " 1.0 end none"},
    };
    static const struct refusal bad[] = {
        {IN(BAD "\n"), 400},
        {IN(BAD " A: b\r\n\r\n"), 400},
        {IN("\r" BAD "x"), 400},
        {IN("A: b" BAD "\n\r\n"), 400},
        {IN("A: b\r\n" BAD " c\r\n\r\n"), 400},
        {IN("A" BAD "\r\n\r\n"), 400},
        {IN(BAD "\0"), 400},
        {IN("Content-Length: " BAD "x\r\n\r\n"), 400},
        {IN("Content-Length: 5" BAD "\r\n\r\n"), 400},
        {IN("Transfer-Encoding: chunked" BAD "\r\n\r\n"), 400},
        {IN("Transfer-Encoding: gzip" BAD "\r\n\r\n"), 400},
    };
    CHECK_ACCEPTANCES(TRAILERS, good);
    CHECK_REFUSALS(TRAILERS, bad);
}
END_TEST

/* A head above max_header_size is a 414 or a 431, from the first byte above it. docs/http.md,
 * Requests that are refused. */
START_TEST(a_head_may_have_max_size_and_not_a_byte_more)
{
    static const char in[] = GET "A: b\r\nC:\r\n\r\n";
    const size_t n = sizeof(in) - 1, line = 16;
    ck_assert_int_eq(parse_sized(REQUEST, in, n, (uint32_t)n).result, PARSE_DONE);
    for (uint32_t max = 1; max < n; max++) {
        struct outcome o = parse_sized(REQUEST, in, n, max);
        ck_assert_int_eq(o.result, PARSE_ERROR);
        ck_assert_int_eq(o.status, max < line ? 414 : 431);
        ck_assert_uint_eq(o.at, max + 1);
        o = parse_sized(REQUEST, in, max, max);
        ck_assert_int_eq(o.result, PARSE_MORE);
    }
    static const char answer[] = OK "A: b\r\n\r\n";
    for (uint32_t max = 1; max < sizeof(answer) - 1; max++) {
        struct outcome o = parse_sized(ANSWER, IN(answer), max);
        ck_assert_int_eq(o.status, 502);
        ck_assert_uint_eq(o.at, max + 1);
    }
    static const char trailers[] = "A: b\r\n\r\n";
    for (uint32_t max = 1; max < sizeof(trailers) - 1; max++)
        ck_assert_int_eq(parse_sized(TRAILERS, IN(trailers), max).status, 431);
}
END_TEST

/* A wrong byte within the limit is a 400, even if the head is too large because of bytes after it.
 */
START_TEST(the_first_failing_byte_decides)
{
    ck_assert_int_eq(parse_sized(REQUEST, IN(GET "A: b\nc: d\r\n\r\n"), 30).status, 400);
    ck_assert_int_eq(parse_sized(REQUEST, IN(GET "A: b\nc: d\r\n\r\n"), 29).status, 431);
    ck_assert_int_eq(parse_sized(REQUEST, IN("GET /\1 HTTP/1.1\r\n"), 6).status, 400);
    ck_assert_int_eq(parse_sized(REQUEST, IN("GET /\1 HTTP/1.1\r\n"), 5).status, 414);
    ck_assert_int_eq(parse_sized(REQUEST, IN(GET "A:\r\n b: c\r\n\r\n"), 30).status, 400);
    ck_assert_int_eq(parse_sized(REQUEST, IN(GET "A:\r\n b: c\r\n\r\n"), 29).status, 431);
    ck_assert_int_eq(parse(REQUEST, IN(POST "Transfer-Encoding: x\r\nA b: c\r\n\r\n")).status, 501);
    ck_assert_int_eq(parse(REQUEST, IN(POST "A b: c\r\nTransfer-Encoding: x\r\n\r\n")).status, 400);
    ck_assert_int_eq(parse(REQUEST, IN("CONNECT h:1 HTTP/2.0\r\n")).status, 405);
    ck_assert_int_eq(parse(REQUEST, IN("GET / HTTP/2.0\r\nA b: c\r\n")).status, 505);
}
END_TEST

START_TEST(too_many_fields_are_431)
{
    for (int count = HEAD_MAX_FIELDS - 1; count <= HEAD_MAX_FIELDS + 1; count++) {
        char in[2048] = "GET / HTTP/1.0\r\n";
        for (int i = 0; i < count; i++)
            strcat(in, "A: b\r\n");
        strcat(in, "\r\n");
        struct outcome o = parse(REQUEST, in, strlen(in));
        if (count <= HEAD_MAX_FIELDS) {
            ck_assert_int_eq(o.result, PARSE_DONE);
            ck_assert_int_eq(o.head.nfields, count);
        } else {
            ck_assert_int_eq(o.status, 431);
            ck_assert_uint_eq(o.at, 16 + HEAD_MAX_FIELDS * 6 + 2);
        }
    }
}
END_TEST

/* As a whole or in pieces, the space in a name is refused before the field counts as one too many.
 */
START_TEST(a_folded_line_behind_the_last_field_is_400)
{
    char in[2048] = "GET / HTTP/1.0\r\n";
    for (int i = 0; i < HEAD_MAX_FIELDS; i++)
        strcat(in, "A: b\r\n");
    strcat(in, " c: d\r\n\r\n");
    struct outcome o = parse(REQUEST, in, strlen(in));
    ck_assert_int_eq(o.status, 400);
    ck_assert_uint_eq(o.at, 16 + HEAD_MAX_FIELDS * 6 + 1);
}
END_TEST

/* Marking the fields that Connection names costs options times fields, so the options are limited.
 */
START_TEST(too_many_connection_options_are_431)
{
    char in[1024] = GET "Connection: a";
    for (int i = 1; i < 64; i++)
        strcat(in, ",a");
    size_t n = strlen(in);
    strcat(in, "\r\n\r\n");
    ck_assert_int_eq(parse(REQUEST, in, n + 4).result, PARSE_DONE);
    strcpy(in + n, ",a\r\n\r\n");
    ck_assert_int_eq(parse(REQUEST, in, n + 6).status, 431);
}
END_TEST

START_TEST(what_follows_the_head_is_left_alone)
{
    static const char in[] = GET "\r\nGET \0 this is not read";
    struct outcome o = feed(REQUEST, IN(in), sizeof(in) - 1, 1, 4096);
    ck_assert_int_eq(o.result, PARSE_DONE);
    ck_assert_uint_eq(o.head.size, sizeof(GET "\r\n") - 1);
    o = feed(REQUEST, IN(in), sizeof(in) - 1, 1, sizeof(GET "\r\n") - 1);
    ck_assert_int_eq(o.result, PARSE_DONE); /* and does not count */
}
END_TEST

/* A name of 64 KiB does not fit into name_len; a value may be longer. */
START_TEST(long_names_are_refused_and_long_values_taken)
{
    const size_t long_one = 70000;
    char *in = malloc(2 * long_one);
    ck_assert_ptr_nonnull(in);
    size_t n = (size_t)sprintf(in, GET "A: ");
    memset(in + n, 'x', long_one);
    strcpy(in + n + long_one, "\r\n\r\n");
    struct outcome o = feed(REQUEST, in, n + long_one + 4, 40000, 40000, 1 << 20);
    ck_assert_int_eq(o.result, PARSE_DONE);
    ck_assert_uint_eq(o.head.fields[1].value_len, long_one);
    memset(in + n - 3, 'x', long_one);
    strcpy(in + n - 3 + long_one, ": b\r\n\r\n");
    ck_assert_int_eq(feed(REQUEST, in, n + long_one + 4, 40000, 40000, 1 << 20).status, 431);
    ck_assert_int_eq(feed(REQUEST, in, n + long_one + 4, n + long_one + 4, 1, 1 << 20).status, 431);
    free(in);
}
END_TEST

/* A large head, one byte at a time: a parser that starts again at each call would take 10^10 steps,
 * more than the time limit of the test allows. */
static void drip(enum kind kind, const char *before, char c, const char *after)
{
    const size_t count = 200000, n = strlen(before), m = strlen(after);
    char *in = malloc(n + count + m + 1);
    ck_assert_ptr_nonnull(in);
    memcpy(in, before, n);
    memset(in + n, c, count);
    memcpy(in + n + count, after, m + 1);
    struct parser p;
    struct head h;
    init(kind, &p, &h, 1 << 20);
    for (size_t len = 1; len < n + count; len++)
        ck_assert_int_eq(parser_execute(&p, &h, in, len), PARSE_MORE);
    free(in);
}

START_TEST(a_drip_costs_each_byte_once)
{
    drip(REQUEST, "", 'G', "");
    drip(REQUEST, "GET /", 'a', "");
    drip(REQUEST, "GET http://", 'a', "");
    drip(REQUEST, GET, 'a', "");
    drip(REQUEST, GET "A:", ' ', "");
    drip(REQUEST, GET "A:b", ' ', "");
    drip(REQUEST, GET "A: ", 'b', "");
    drip(ANSWER, "HTTP/1.1 200 ", 'b', "");
}
END_TEST

/* RFC 9110 9.2.2. */
START_TEST(methods_that_may_be_repeated)
{
    static const bool idempotent[] = {
        [METHOD_GET] = true,    [METHOD_HEAD] = true,    [METHOD_PUT] = true,
        [METHOD_DELETE] = true, [METHOD_OPTIONS] = true, [METHOD_TRACE] = true,
    };
    for (int m = METHOD_OTHER; m <= METHOD_TRACE; m++)
        ck_assert_int_eq(method_idempotent((enum method)m), idempotent[m]);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("parser");
    TCase *t = tcase_create("parser");
    tcase_set_timeout(t, 0);
    tcase_add_test(t, methods_are_tokens);
    tcase_add_test(t, one_empty_line_before_a_request_is_skipped);
    tcase_add_test(t, targets_have_the_form_for_their_method);
    tcase_add_test(t, versions_other_than_1_x_are_refused);
    tcase_add_test(t, field_lines_are_strict);
    tcase_add_test(t, host_is_there_once_and_well_formed);
    tcase_add_test(t, content_length_is_one_plain_number);
    tcase_add_test(t, transfer_encoding_is_chunked_alone);
    tcase_add_test(t, connection_says_what_follows);
    tcase_add_test(t, an_upgrade_is_to_a_protocol_that_may_follow);
    tcase_add_test(t, trailers_are_asked_for_by_te);
    tcase_add_test(t, hop_by_hop_fields_are_marked);
    tcase_add_test(t, keep_alive_of_an_answer_tells_how_long_its_connection_is_used);
    tcase_add_test(t, fields_are_known_in_any_case);
    tcase_add_test(t, values_lose_white_space_at_both_ends_only);
    tcase_add_test(t, tokens_and_text_are_exact);
    tcase_add_test(t, answers_are_read);
    tcase_add_test(t, broken_answers_are_502);
    tcase_add_test(t, identities_are_found_in_lists);
    tcase_add_test(t, a_head_tells_of_an_identity);
    tcase_add_test(t, trailers_are_field_lines_and_nothing_else);
    tcase_add_test(t, a_head_may_have_max_size_and_not_a_byte_more);
    tcase_add_test(t, the_first_failing_byte_decides);
    tcase_add_test(t, too_many_fields_are_431);
    tcase_add_test(t, a_folded_line_behind_the_last_field_is_400);
    tcase_add_test(t, too_many_connection_options_are_431);
    tcase_add_test(t, what_follows_the_head_is_left_alone);
    tcase_add_test(t, long_names_are_refused_and_long_values_taken);
    tcase_add_test(t, a_drip_costs_each_byte_once);
    tcase_add_test(t, methods_that_may_be_repeated);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
