/* Each body is decoded as a whole, byte by byte, and in two parts for every place to cut it, each
 * time from a fresh copy of exactly the bytes that have arrived; payload, end and outcome must
 * always be the same. */
#include <stdio.h>
#include <string.h>

#include "http/framing.h"
#include "tests/lib/unit.h"

#define IN(literal) (literal), sizeof(literal) - 1

/* A mark in an input: the byte after it is the first wrong one. */
#define BAD "\x1a"

struct outcome {
    enum framing_result result;
    int status;
    size_t used; /* DONE: bytes of the body; ERROR: bytes that were there */
    size_t payload;
    char data[70000];
    char trailers[1024]; /* "Name: value\n"..., "" without */
};

static void note_trailers(const struct framing *f, struct outcome *o)
{
    const struct head *h;
    const char *base;
    size_t n = 0;
    if (!framing_trailers(f, &h, &base))
        return;
    for (unsigned i = 0; i < h->nfields; i++) {
        if (h->fields[i].hop) /* not passed on */
            continue;
        struct str name = head_name(base, &h->fields[i]), value = head_value(base, &h->fields[i]);
        n += (size_t)snprintf(o->trailers + n, sizeof(o->trailers) - n, "%.*s: %.*s\n", (int)name.n,
                              name.p, (int)value.n, value.p);
    }
}

/* Decodes in[0, n): first `first` bytes, then `more` at a time. */
static void feed(struct outcome *o, enum body_kind kind, uint64_t length, uint32_t max_trailers,
                 const char *in, size_t n, size_t first, size_t more)
{
    struct framing f;
    size_t at = 0;
    memset(o, 0, sizeof(*o));
    framing_init(&f, kind, length, max_trailers);
    for (size_t step = first; at < n && o->result == FRAMING_MORE; step = more) {
        size_t len = step < n - at ? step : n - at, used = 99, payload = 99;
        char *copy = malloc(len);
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, in + at, len);
        o->result = framing_decode(&f, copy, len, &used, &payload);
        ck_assert_uint_le(used, len);
        ck_assert_uint_le(payload, used);
        if (o->result == FRAMING_MORE)
            ck_assert_uint_eq(used, len);
        memcpy(o->data + o->payload, copy, payload);
        o->payload += payload;
        at += o->result == FRAMING_ERROR ? len : used;
        free(copy);
    }
    o->used = at;
    if (o->result == FRAMING_ERROR)
        o->status = framing_status(&f);
    if (o->result == FRAMING_DONE)
        note_trailers(&f, o);
    framing_deinit(&f);
}

static void same(const struct outcome *a, const struct outcome *b, const char *in)
{
    ck_assert_msg(a->result == b->result && a->status == b->status, "%s: %d %d, then %d %d", in,
                  a->result, a->status, b->result, b->status);
    ck_assert_msg(a->payload == b->payload && memcmp(a->data, b->data, a->payload) == 0, "%s", in);
    ck_assert_msg(a->result == FRAMING_ERROR || a->used == b->used, "%s", in);
    ck_assert_str_eq(a->trailers, b->trailers);
}

/* The outcome of a chunked body, checked to be the same for every division into reads. After an
 * error `used` is the number of bytes until it was found. */
static void decode(struct outcome *o, const char *in, size_t n, uint32_t max_trailers)
{
    static struct outcome whole, two;
    feed(&whole, BODY_CHUNKED, 0, max_trailers, in, n, n, 1);
    feed(o, BODY_CHUNKED, 0, max_trailers, in, n, 1, 1);
    same(&whole, o, in);
    for (size_t cut = 1; cut < n; cut++) {
        feed(&two, BODY_CHUNKED, 0, max_trailers, in, n, cut, n);
        same(&whole, &two, in);
    }
}

/* RFC 9112 7.1: the payload, and the byte at which the decoder stops. */
START_TEST(chunks_lose_their_framing)
{
    static const struct {
        const char *in;
        size_t n;
        const char *payload, *trailers;
    } good[] = {
        {IN("0\r\n\r\n"), "", ""},
        {IN("000\r\n\r\n"), "", ""},
        {IN("5\r\nhello\r\n0\r\n\r\n"), "hello", ""},
        {IN("1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n"), "abcdef", ""},
        {IN("a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n"), "01234567890123456789a", ""},
        {IN("0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n"), "hello", ""},
        {IN("4\r\n\r\n\r\n\r\n0\r\n\r\n"), "\r\n\r\n", ""},
        {IN("5;a\r\nhello\r\n0;b=c\r\n\r\n"), "hello", ""},
        {IN("5; a = \"b;\\\"c\" ;d\r\nhello\r\n0\r\n\r\n"), "hello", ""},
        {IN("5;\r\nhello\r\n0\r\n\r\n"), "hello", ""},
        {IN("5;\t\x80\xff\r\nhello\r\n0\r\n\r\n"), "hello", ""},
        {IN("0\r\nA: b\r\n\r\n"), "", "A: b\n"},
        {IN("1\r\nx\r\n0\r\nA: b\r\nX-Sum:\t1 2 \r\nE:\r\n\r\n"), "x", "A: b\nX-Sum: 1 2\nE: \n"},
        {IN("0\r\nVia: 1.1 x\r\n\r\n"), "", "Via: 1.1 x\n"},
    };
    static struct outcome o;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        char more[256];
        decode(&o, good[i].in, good[i].n, 1024);
        ck_assert_msg(o.result == FRAMING_DONE && o.used == good[i].n, "%s", good[i].in);
        ck_assert_msg(o.payload == strlen(good[i].payload) &&
                          memcmp(o.data, good[i].payload, o.payload) == 0,
                      "%s", good[i].in);
        ck_assert_str_eq(o.trailers, good[i].trailers);
        /* what follows stays for the next message */
        memcpy(more, good[i].in, good[i].n);
        memcpy(more + good[i].n, "GET \0", 5);
        decode(&o, more, good[i].n + 5, 1024);
        ck_assert_msg(o.result == FRAMING_DONE && o.used == good[i].n, "%s", good[i].in);
    }
}
END_TEST

static void check_refusal(const char *marked, size_t n, int status, uint32_t max_trailers)
{
    static struct outcome o;
    char in[1024];
    size_t len = 0, bad = 0;
    ck_assert_uint_lt(n, sizeof(in));
    for (size_t i = 0; i < n; i++) {
        if (marked[i] == BAD[0])
            bad = len + 1;
        else
            in[len++] = marked[i];
    }
    in[len] = '\0';
    decode(&o, in, len, max_trailers);
    ck_assert_msg(o.result == FRAMING_ERROR, "not refused: %s", in);
    ck_assert_msg(o.status == status, "%d instead of %d: %s", o.status, status, in);
    ck_assert_msg(bad == 0 || o.used == bad, "refused at %zu, not %zu: %s", o.used, bad, in);
}

/* RFC 9112 7.1, 7.1.1: bodies that another reader could end at a different byte. */
START_TEST(bad_chunks_are_refused_at_the_first_wrong_byte)
{
    static const struct {
        const char *in;
        size_t n;
    } bad[] = {
        {IN(BAD "\r\n")},
        {IN(BAD "\n")},
        {IN(BAD "x\r\n")},
        {IN(BAD "g\r\n")},
        {IN(BAD " 5\r\nhello")},
        {IN(BAD "\t5\r\nhello")},
        {IN(BAD "-1\r\n")},
        {IN(BAD "+5\r\nhello")},
        {IN(BAD ";a\r\n")},
        {IN(BAD "\0")},
        {IN("0" BAD "x5\r\nhello")},
        {IN("5" BAD " \r\nhello")},
        {IN("5" BAD " ;a\r\nhello")},
        {IN("5" BAD "\t\r\nhello")},
        {IN("5" BAD "_0\r\n")},
        {IN("5" BAD ",\r\n")},
        {IN("5" BAD "\nhello")},
        {IN("5\r" BAD "hello")},
        {IN("5\r" BAD "\r\nhello")},
        {IN("5;a" BAD "\nhello")},
        {IN("5;a\r" BAD "b\r\nhello")},
        {IN("5;a" BAD "\0\r\nhello")},
        {IN("5;a" BAD "\x7f\r\nhello")},
        {IN("5;" BAD "\v\r\nhello")},
        {IN("5\r\nhello" BAD "0\r\n")},
        {IN("5\r\nhello" BAD "\n0\r\n")},
        {IN("5\r\nhello\r" BAD "0\r\n")},
        {IN("5\r\nhello" BAD "!\r\n0\r\n\r\n")},
        {IN("5\r\nhello\r\n" BAD "\r\n0\r\n\r\n")},
        {IN("0\r\n\r" BAD "x")},
        {IN("0\r\n\r" BAD "\r")},
        {IN("0\r\n" BAD "\n")},
        {IN("0\r\n" BAD " A: b\r\n\r\n")},
        {IN("0\r\n" BAD ": b\r\n\r\n")},
        {IN("0\r\nA: b" BAD "\n\r\n")},
        {IN("0\r\nA: b\r\n" BAD " c\r\n\r\n")},
        {IN("0\r\nA: b\r\n\r" BAD "x")},
        {IN("0\r\nA" BAD "\r\n\r\n")},
        {IN("0\r\nA: b" BAD "\0\r\n\r\n")},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        check_refusal(bad[i].in, bad[i].n, 400, 1024);
}
END_TEST

/* RFC 9112 7.1: "recipients MUST anticipate potentially large hexadecimal numerals". */
START_TEST(sizes_do_not_overflow)
{
    struct framing f;
    char in[] = "7fffffffffffffff\r\nabc";
    size_t used, payload;
    framing_init(&f, BODY_CHUNKED, 0, 0);
    ck_assert_int_eq(framing_decode(&f, in, sizeof(in) - 1, &used, &payload), FRAMING_MORE);
    ck_assert_uint_eq(payload, 3);
    ck_assert_int_eq(memcmp(in, "abc", 3), 0);
    framing_deinit(&f);
    check_refusal(IN("800000000000000" BAD "0\r\n"), 400, 0);
    check_refusal(IN("ffffffffffffffff\r\n"), 400, 0);
    check_refusal(IN("0000000000000000" BAD "5\r\n"), 400, 0);
    check_refusal(IN("10000000000000000\r\n"), 400, 0);
}
END_TEST

START_TEST(a_size_line_has_256_bytes_at_most)
{
    static struct outcome o;
    for (size_t n = 254; n <= 258; n++) {
        char in[300] = "1;";
        memset(in + 2, 'x', n - 4);
        memcpy(in + n - 2, "\r\na\r\n0\r\n\r\n", 11);
        decode(&o, in, n + 8, 0);
        ck_assert_int_eq(o.result, n <= 256 ? FRAMING_DONE : FRAMING_ERROR);
        if (n > 256)
            ck_assert_uint_eq(o.used, 257);
    }
}
END_TEST

/* Trailers above max_header_size are a 431, from the first byte above it. docs/http.md, Requests
 * that are refused. */
START_TEST(trailers_are_bounded)
{
    static const char in[] = "0\r\nA: b\r\nC: d\r\n\r\n";
    static struct outcome o;
    const size_t all = sizeof(in) - 1, trailers = all - 3;
    for (uint32_t max = 0; max <= trailers + 1; max++) {
        decode(&o, in, all, max);
        ck_assert_int_eq(o.result, max < trailers ? FRAMING_ERROR : FRAMING_DONE);
        if (max < trailers) {
            ck_assert_int_eq(o.status, 431);
            ck_assert_uint_eq(o.used, 3 + max + 1);
        }
    }
    char many[2048] = "0\r\n";
    for (int i = 0; i <= HEAD_MAX_FIELDS; i++)
        strcat(many, "A: b\r\n");
    strcat(many, "\r\n");
    check_refusal(many, 900, 431, 4096);
    decode(&o, "0\r\n\r\n", 5, 0); /* none: nothing to bound */
    ck_assert_int_eq(o.result, FRAMING_DONE);
}
END_TEST

/* RFC 9110 6.5.1. */
START_TEST(fields_that_may_not_be_trailers_are_refused)
{
    static const char *const bad[] = {
        "Transfer-Encoding: chunked",
        "Content-Length: 5",
        "Host: h",
        "Connection: close",
        "Keep-Alive: x",
        "Proxy-Connection: x",
        "TE: trailers",
        "Upgrade: x",
        "HTTP2-Settings: x",
        "Cookie: a=b",
        "Set-Cookie: a=b",
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-Host: h",
        "X-Forwarded-Proto: https",
        "x-forwarded-port: 443",
        "Authorization: x",
        "Proxy-Authorization: x",
        "Proxy-Authenticate: x",
        "Max-Forwards: 1",
        "WWW-Authenticate: x",
        "Forwarded: for=x",
    };
    static struct outcome o;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        char in[128];
        int n = snprintf(in, sizeof(in), "0\r\nA: b\r\n%s\r\n\r\n", bad[i]);
        check_refusal(in, (size_t)n, 400, 1024);
        n = snprintf(in, sizeof(in), "0\r\nA: b\r\nX-%s\r\n\r\n", bad[i]);
        decode(&o, in, (size_t)n, 1024);
        ck_assert_msg(o.result == FRAMING_DONE, "%s", in);
    }
}
END_TEST

/* The same section: they mean nothing behind the body. */
START_TEST(useless_trailers_are_dropped)
{
    static const char *const useless[] = {
        "Content-Type: a/b",
        "content-encoding: gzip",
        "Content-Range: x",
        "RANGE: x",
        "If-Match: x",
        "If-None-Match: x",
        "If-Range: x",
        "If-Modified-Since: x",
        "Cache-Control: x",
        "Pragma: x",
        "Age: 1",
        "Expires: x",
        "Location: /",
        "Retry-After: 1",
        "Vary: *",
        "Date: x",
        "Trailer: x",
        "Expect: 100-continue",
        "Content-Type:",
        "If-Unmodified-Since: x",
    };
    static struct outcome o;
    for (size_t i = 0; i < sizeof(useless) / sizeof(*useless); i++) {
        char in[128];
        int n = snprintf(in, sizeof(in), "2\r\nhi\r\n0\r\nA: b\r\n%s\r\nC: d\r\n\r\n", useless[i]);
        decode(&o, in, (size_t)n, 1024);
        ck_assert_msg(o.result == FRAMING_DONE && o.used == (size_t)n, "%s", in);
        ck_assert_str_eq(o.trailers, "A: b\nC: d\n");
        n = snprintf(in, sizeof(in), "0\r\n%s\r\n\r\n", useless[i]);
        decode(&o, in, (size_t)n, 1024);
        ck_assert_msg(o.result == FRAMING_DONE, "%s", in);
        ck_assert_str_eq(o.trailers, "");
    }
}
END_TEST

/* RFC 9112 6.2: exactly as many bytes as Content-Length says. */
START_TEST(a_length_counts_bytes)
{
    static struct outcome o;
    for (size_t first = 1; first <= 8; first++)
        for (size_t more = 1; more <= 8; more++) {
            feed(&o, BODY_LENGTH, 5, 0, IN("helloGET"), first, more);
            ck_assert_int_eq(o.result, FRAMING_DONE);
            ck_assert_uint_eq(o.used, 5);
            ck_assert_int_eq(memcmp(o.data, "hello", 5), 0);
        }
    feed(&o, BODY_LENGTH, 9, 0, IN("helloGET"), 3, 3);
    ck_assert_int_eq(o.result, FRAMING_MORE);
    ck_assert_uint_eq(o.payload, 8);
    feed(&o, BODY_LENGTH, INT64_MAX, 0, IN("hello"), 3, 3);
    ck_assert_int_eq(o.result, FRAMING_MORE);
}
END_TEST

/* RFC 9112 6.3 rules 1, 7 and 8. */
START_TEST(no_body_is_done_at_once_and_close_never)
{
    struct framing f;
    size_t used = 9, payload = 9;
    char in[] = "abc";
    const struct head *h;
    const char *base;
    framing_init(&f, BODY_NONE, 0, 0);
    ck_assert_int_eq(framing_decode(&f, in, 3, &used, &payload), FRAMING_DONE);
    ck_assert_uint_eq(used + payload, 0);
    ck_assert(!framing_trailers(&f, &h, &base));
    framing_deinit(&f);
    framing_init(&f, BODY_CLOSE, 0, 0);
    ck_assert_int_eq(framing_decode(&f, in, 3, &used, &payload), FRAMING_MORE);
    ck_assert_uint_eq(used, 3);
    ck_assert_uint_eq(payload, 3);
    framing_deinit(&f);
}
END_TEST

START_TEST(done_stays_done)
{
    struct framing f;
    char in[] = "0\r\n\r\n0\r\n\r\n";
    size_t used, payload;
    framing_init(&f, BODY_CHUNKED, 0, 0);
    ck_assert_int_eq(framing_decode(&f, in, 10, &used, &payload), FRAMING_DONE);
    ck_assert_uint_eq(used, 5);
    ck_assert_int_eq(framing_decode(&f, in + 5, 5, &used, &payload), FRAMING_DONE);
    ck_assert_uint_eq(used, 0);
    framing_deinit(&f);
}
END_TEST

/* Chunks of 1 to 3,000 bytes in calls of every size from 1 to 700. */
START_TEST(many_chunks_in_pieces_of_any_size)
{
    static struct outcome o;
    static char in[70000], expected[70000];
    size_t n = 0, total = 0;
    for (size_t size = 1; size <= 3000; size = size * 2 + 1) {
        n += (size_t)snprintf(in + n, sizeof(in) - n, "%zX;x\r\n", size);
        for (size_t i = 0; i < size; i++, total++)
            in[n++] = expected[total] = (char)('a' + total % 26);
        in[n++] = '\r';
        in[n++] = '\n';
    }
    n += (size_t)snprintf(in + n, sizeof(in) - n, "0\r\nA: b\r\n\r\n");
    for (size_t step = 1; step <= 700; step++) {
        feed(&o, BODY_CHUNKED, 0, 64, in, n, step, step);
        ck_assert_int_eq(o.result, FRAMING_DONE);
        ck_assert_uint_eq(o.payload, total);
        ck_assert_int_eq(memcmp(o.data, expected, total), 0);
        ck_assert_str_eq(o.trailers, "A: b\n");
    }
}
END_TEST

/* RFC 9112 6.3. */
START_TEST(an_answers_body_depends_on_status_and_method)
{
    static const struct {
        int status;
        bool head;
        enum body_kind fields, expected;
    } cases[] = {
        {200, false, BODY_LENGTH, BODY_LENGTH}, {200, false, BODY_CHUNKED, BODY_CHUNKED},
        {200, false, BODY_CLOSE, BODY_CLOSE},   {200, false, BODY_NONE, BODY_NONE},
        {200, true, BODY_LENGTH, BODY_NONE},    {200, true, BODY_CHUNKED, BODY_NONE},
        {200, true, BODY_CLOSE, BODY_NONE},     {304, false, BODY_LENGTH, BODY_NONE},
        {304, false, BODY_CHUNKED, BODY_NONE},  {204, false, BODY_CLOSE, BODY_NONE},
        {204, false, BODY_LENGTH, BODY_NONE},   {100, false, BODY_CLOSE, BODY_NONE},
        {101, false, BODY_CLOSE, BODY_NONE},    {199, false, BODY_CHUNKED, BODY_NONE},
        {205, false, BODY_CLOSE, BODY_CLOSE},   {404, false, BODY_LENGTH, BODY_LENGTH},
        {500, true, BODY_CLOSE, BODY_NONE},     {599, false, BODY_CHUNKED, BODY_CHUNKED},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct head h = {.status = (uint16_t)cases[i].status, .body = (uint8_t)cases[i].fields};
        ck_assert_int_eq(framing_of_answer(&h, cases[i].head), cases[i].expected);
    }
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("framing");
    TCase *t = tcase_create("framing");
    tcase_set_timeout(t, 0);
    tcase_add_test(t, chunks_lose_their_framing);
    tcase_add_test(t, bad_chunks_are_refused_at_the_first_wrong_byte);
    tcase_add_test(t, sizes_do_not_overflow);
    tcase_add_test(t, a_size_line_has_256_bytes_at_most);
    tcase_add_test(t, trailers_are_bounded);
    tcase_add_test(t, fields_that_may_not_be_trailers_are_refused);
    tcase_add_test(t, useless_trailers_are_dropped);
    tcase_add_test(t, a_length_counts_bytes);
    tcase_add_test(t, no_body_is_done_at_once_and_close_never);
    tcase_add_test(t, done_stays_done);
    tcase_add_test(t, many_chunks_in_pieces_of_any_size);
    tcase_add_test(t, an_answers_body_depends_on_status_and_method);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
