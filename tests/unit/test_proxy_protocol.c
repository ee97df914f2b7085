/* Each head is read in the form of all its prefixes, each a fresh copy of exactly these bytes:
 * every prefix but the whole head must be incomplete. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "net/proxy_protocol.h"
#include "tests/lib/unit.h"

#define IN(literal) (literal), sizeof(literal) - 1

/* A mark in an input: the byte after it is the first wrong one. */
#define BAD "\x1a"

#define SIG "\r\n\r\n\0\r\nQUIT\n"

static enum proxy_head_result read_copy(const char *in, size_t n, struct proxy_head *head)
{
    char *copy = malloc(n ? n : 1);
    ck_assert_ptr_nonnull(copy);
    if (n)
        memcpy(copy, in, n);
    enum proxy_head_result r = proxy_protocol_read(n ? copy : NULL, n, head);
    free(copy);
    return r;
}

/* The final result for in[0, n), and after how many bytes it is known; further bytes must not
 * change it. */
static enum proxy_head_result settle(const char *in, size_t n, struct proxy_head *head,
                                     size_t *after)
{
    struct proxy_head later;
    enum proxy_head_result r = PROXY_HEAD_MORE;
    for (*after = 0; *after <= n; ++*after) {
        r = read_copy(in, *after, head);
        if (r != PROXY_HEAD_MORE)
            break;
    }
    for (size_t i = *after + 1; i <= n; i++) {
        ck_assert_int_eq(read_copy(in, i, &later), r);
        ck_assert_msg(r != PROXY_HEAD_BAD || later.reason == head->reason, "%s, then %s",
                      head->reason, later.reason);
        ck_assert_int_eq(memcmp(&later, head, sizeof later), 0);
    }
    return r;
}

/* Expects a head that is valid at its last byte, whatever follows it. NULL: it has no addresses. */
static void check_good(const char *in, size_t n, const char *source, const char *destination)
{
    struct proxy_head head;
    char more[PROXY_HEAD_MAX + 16], text[ADDR_TEXT_MAX];
    size_t after;
    memcpy(more, in, n);
    memcpy(more + n, "\0\r\nPROXY ", 9);
    enum proxy_head_result r = settle(more, n + 9, &head, &after);
    ck_assert_msg(r == PROXY_HEAD_DONE, "%s: %s", in, head.reason ? head.reason : "more");
    ck_assert_msg(after == n && head.size == n, "%s: done after %zu of %zu", in, after, n);
    ck_assert(head.has_addresses == (source != NULL));
    if (source) {
        addr_format(&head.source, text);
        ck_assert_str_eq(text, source);
        addr_format(&head.destination, text);
        ck_assert_str_eq(text, destination);
    }
}

/* Expects a marked input to be refused at the byte after the mark. */
static void check_refusal(const char *marked, size_t n)
{
    struct proxy_head head;
    char in[1024];
    size_t len = 0, bad = 0, after;
    ck_assert_uint_lt(n, sizeof in);
    for (size_t i = 0; i < n; i++) {
        if (marked[i] == BAD[0])
            bad = len + 1;
        else
            in[len++] = marked[i];
    }
    ck_assert_uint_gt(bad, 0);
    in[len] = 0;
    ck_assert_msg(settle(in, len, &head, &after) == PROXY_HEAD_BAD, "not refused: %s", in);
    ck_assert_msg(after == bad, "refused at %zu, not %zu: %s: %s", after, bad, in, head.reason);
    ck_assert_ptr_nonnull(head.reason);
}

struct good {
    const char *in;
    size_t n;
    const char *source, *destination;
};

struct refused {
    const char *in;
    size_t n;
};

/* ---- version 1 ---- */

static const struct good good_lines[] = {
    /* recorded from HAProxy 2.6.12, send-proxy: IPv4, IPv6, [::] with v4v6, a Unix socket */
    {IN("PROXY TCP4 127.0.0.1 127.0.0.1 32858 35917\r\n"), "127.0.0.1:32858", "127.0.0.1:35917"},
    {IN("PROXY TCP6 ::1 ::1 56170 57831\r\n"), "[::1]:56170", "[::1]:57831"},
    {IN("PROXY TCP6 ::ffff:127.0.0.1 ::ffff:127.0.0.1 37820 41253\r\n"), "127.0.0.1:37820",
     "127.0.0.1:41253"},
    {IN("PROXY UNKNOWN\r\n"), NULL, NULL},
    /* the specification's longest */
    {IN("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), "255.255.255.255:65535",
     "255.255.255.255:65535"},
    {IN("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
     "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
     "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
    {IN("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
     NULL, NULL},
    {IN("PROXY TCP4 0.0.0.0 192.168.0.11 0 443\r\n"), "0.0.0.0:0", "192.168.0.11:443"},
    {IN("PROXY TCP4 1.20.100.0 9.99.199.249 1 65535\r\n"), "1.20.100.0:1", "9.99.199.249:65535"},
    {IN("PROXY TCP6 :: 1:2:3:4:5:6:7:8 10 9\r\n"), "[::]:10", "[1:2:3:4:5:6:7:8]:9"},
    {IN("PROXY TCP6 aB::Cd 0001:0::00:f 1 2\r\n"), "[ab::cd]:1", "[1::f]:2"},
    {IN("PROXY TCP6 1:2:3:4:5:6:7:: ::2:3:4:5:6:7:8 1 2\r\n"), "[1:2:3:4:5:6:7:0]:1",
     "[0:2:3:4:5:6:7:8]:2"},
    {IN("PROXY TCP6 1:2:3:4:5:6:7.8.9.0 64:ff9b::192.0.2.33 1 2\r\n"), "[1:2:3:4:5:6:708:900]:1",
     "[64:ff9b::c000:221]:2"},
    {IN("PROXY UNKNOWN \r\n"), NULL, NULL},
    {IN("PROXY UNKNOWN TCP4 1.2.3.4 \0\xff\t 99999\r\n"), NULL, NULL},
};

START_TEST(a_line_gives_its_addresses)
{
    const struct good *g = &good_lines[_i];
    check_good(g->in, g->n, g->source, g->destination);
}
END_TEST

static const struct refused bad_lines[] = {
    {IN(BAD "GET / HTTP/1.1\r\n\r\n")},
    {IN(BAD "\x16\x03\x01\x02")},
    {IN(BAD "\0")},
    {IN(BAD " PROXY TCP4")},
    {IN(BAD "\nPROXY")},
    {IN(BAD "proxy TCP4 1.2.3.4")},
    {IN("P" BAD "OST / HTTP/1.1\r\n")},
    {IN("PROXY" BAD "\r\n")},
    {IN("PROXY" BAD "\tTCP4 ")},
    {IN("PROXY " BAD " TCP4 ")},
    {IN("PROXY " BAD "\r\n")},
    {IN("PROXY U" BAD "DP4 ")},
    {IN("PROXY TCP" BAD "5 ")},
    {IN("PROXY TCP" BAD " ")},
    {IN("PROXY TCP4" BAD "6 ")},
    {IN("PROXY TCP4" BAD "\r\n")},
    {IN("PROXY TCP4 " BAD " 1.2.3.4")},
    {IN("PROXY TCP4 " BAD "\r\n")},
    {IN("PROXY TCP4 " BAD "::1 ")},
    {IN("PROXY TCP4 " BAD "-1.2.3.4")},
    {IN("PROXY TCP4 1" BAD " ")},
    {IN("PROXY TCP4 1." BAD ".2")},
    {IN("PROXY TCP4 1.2.3" BAD " 1.2.3.4 ")},
    {IN("PROXY TCP4 1.2.3." BAD " ")},
    {IN("PROXY TCP4 1.2.3.4" BAD ".5")},
    {IN("PROXY TCP4 1.2.3.4" BAD "\t1.2.3.4")},
    {IN("PROXY TCP4 1.2.3.4 " BAD " 1.2.3.4")},
    {IN("PROXY TCP4 1.2.3.4" BAD "\0")},
    {IN("PROXY TCP4 25" BAD "6.0.0.1 ")},
    {IN("PROXY TCP4 0" BAD "1.0.0.1 ")},
    {IN("PROXY TCP4 1.0.0.0" BAD "0 ")},
    {IN("PROXY TCP4 1.2.3.4 5.6.7.8 " BAD "\r\n")},
    {IN("PROXY TCP4 1.2.3.4 5.6.7.8 " BAD " 1 2\r\n")},
    {IN("PROXY TCP4 1.2.3.4 5.6.7.8 " BAD "-1 2\r\n")},
    {IN("PROXY TCP4 1.2.3.4 5.6.7.8 " BAD "+1 2\r\n")},
    {IN("PROXY TCP4 1.2.3.4 5.6.7.8 0" BAD "1 2\r\n")},
    {IN("PROXY TCP4 1.2.3.4 5.6.7.8 0" BAD "x1 2\r\n")},
    {IN("PROXY TCP4 1.2.3.4 5.6.7.8 6553" BAD "6 2\r\n")},
    {IN("PROXY TCP4 1.2.3.4 5.6.7.8 10000" BAD "0 2\r\n")},
    {IN("PROXY TCP4 1.2.3.4 5.6.7.8 1" BAD "\r\n")},
    {IN("PROXY TCP4 1.2.3.4 5.6.7.8 1 " BAD "\r\n")},
    {IN("PROXY TCP4 1.2.3.4 5.6.7.8 1 " BAD " 2\r\n")},
    {IN("PROXY TCP4 1.2.3.4 5.6.7.8 1 2" BAD " \r\n")},
    {IN("PROXY TCP4 1.2.3.4 5.6.7.8 1 2" BAD "\n")},
    {IN("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r" BAD "\r\n")},
    {IN("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r" BAD "X")},
    {IN("PROXY TCP4 1.2.3.4 5.6.7.8 1 2" BAD ".\r\n")},
    {IN("PROXY TCP6 " BAD " ")},
    {IN("PROXY TCP6 1" BAD " ")},
    {IN("PROXY TCP6 1" BAD ".2.3.4 ")},
    {IN("PROXY TCP6 :" BAD "1::2 ")},
    {IN("PROXY TCP6 ::" BAD ":1 ")},
    {IN("PROXY TCP6 1::2:" BAD ":3 ")},
    {IN("PROXY TCP6 1234" BAD "5:: ")},
    {IN("PROXY TCP6 0000" BAD "0:: ")},
    {IN("PROXY TCP6 1:2:3:4:5:6:7:8" BAD ":9 ")},
    {IN("PROXY TCP6 1:2:3:4:5:6:7::" BAD "8 ")},
    {IN("PROXY TCP6 1:2:3:4:5:6:7" BAD " ")},
    {IN("PROXY TCP6 1:2:3:4:5:6:7:" BAD " ")},
    {IN("PROXY TCP6 1:" BAD " ")},
    {IN("PROXY TCP6 :" BAD " ")},
    {IN("PROXY TCP6 ::1" BAD "%lo ")},
    {IN("PROXY TCP6 " BAD "[::1] ")},
    {IN("PROXY TCP6 ::fff" BAD "g ")},
    {IN("PROXY TCP6 ::ffff:256" BAD ".0.0.1 ")},
    {IN("PROXY TCP6 ::ffff:01" BAD ".0.0.1 ")},
    {IN("PROXY TCP6 ::ffff:1.0.0" BAD ":1 ")},
    {IN("PROXY TCP6 ::ffff:1.0.0.1" BAD ":1 ")},
    {IN("PROXY TCP6 ::ffff:1.0.0.1" BAD ".1 ")},
    {IN("PROXY TCP6 ::ffff:1.0.0.25" BAD "6 ")},
    {IN("PROXY TCP6 ::" BAD ".0.0.1 ")},
    {IN("PROXY UNKNOWN" BAD "\n")},
    {IN("PROXY UNKNOWN" BAD "4 ")},
    {IN("PROXY UNKNOWN\r" BAD " \r\n")},
    {IN("PROXY UNKNOWN a" BAD "\nGET / HTTP/1.1\r\n\r\n")},
    {IN("PROXY UNKNOWN a\r" BAD "b\r\n")},
    {IN("PROXY UNKNOWN a\r" BAD "\r\n")},
};

START_TEST(a_line_is_refused_at_its_first_wrong_byte)
{
    check_refusal(bad_lines[_i].in, bad_lines[_i].n);
}
END_TEST

/* Section 2.1: 107 bytes with the CRLF. */
START_TEST(a_line_has_107_bytes_at_most)
{
    struct proxy_head head;
    for (size_t n = 104; n <= 110; n++) {
        char line[128] = "PROXY UNKNOWN ";
        size_t begin = strlen(line), after;
        memset(line + begin, 'x', n - 2 - begin);
        memcpy(line + n - 2, "\r\n", 2);
        if (n <= 107) {
            check_good(line, n, NULL, NULL);
            continue;
        }
        ck_assert_int_eq(settle(line, n, &head, &after), PROXY_HEAD_BAD);
        ck_assert_uint_eq(after, 106); /* a CR could be the only right one there */
    }
    static const char v6[] = "PROXY TCP6 0000:0000:0000:0000:0000:ffff:100.100.100.100 "
                             "0000:0000:0000:0000:0000:ffff:1.2.3.4 ";
    for (int digits = 1; digits <= 5; digits++) {
        char line[128];
        size_t after, n = (size_t)snprintf(line, sizeof line, "%s%.*s 1\r\n", v6, digits, "12345");
        enum proxy_head_result r = settle(line, n, &head, &after);
        ck_assert_int_eq(r, n <= 107 ? PROXY_HEAD_DONE : PROXY_HEAD_BAD);
        ck_assert_uint_eq(after, n <= 107 ? n : 106);
    }
}
END_TEST

/* True if the text is the beginning of some IPv6 address. */
static bool v6_can_go_on(const char *begin)
{
    static const char *const joints[] = {
        "", "0", ":0", "::", ":", ".0.0.0", "0.0.0", ".0.0", "0.0", ".0", "0:0:0:0:0:0:0.0.0.0"};
    for (size_t j = 0; j < sizeof joints / sizeof *joints; j++) {
        char text[128];
        struct in6_addr unused;
        snprintf(text, sizeof text, "%s%s", begin, joints[j]);
        for (int more = 0; more < 9; more++) {
            if (inet_pton(AF_INET6, text, &unused) == 1)
                return true;
            strcat(text, ":0");
        }
    }
    return false;
}

/* Compares the reader with inet_pton(): it gives the same addresses, and refuses a text at the
 * first byte with which it cannot become an address. */
static void compare_v6(const char *text)
{
    struct proxy_head head;
    struct in6_addr expected;
    char line[128];
    size_t after, n = (size_t)snprintf(line, sizeof line, "PROXY TCP6 %s :: 1 2\r\n", text);
    enum proxy_head_result r = settle(line, n, &head, &after);
    bool good = inet_pton(AF_INET6, text, &expected) == 1;
    ck_assert_msg((r == PROXY_HEAD_DONE) == good, "%s", text);
    if (good) {
        ck_assert_int_eq(memcmp(&head.source.v6.sin6_addr, &expected, sizeof expected), 0);
        return;
    }
    char begin[128];
    snprintf(begin, sizeof begin, "%.*s", (int)(after - strlen("PROXY TCP6 ")), line + 11);
    bool at_space = begin[strlen(begin) - 1] == ' ';
    ck_assert_msg(at_space || !v6_can_go_on(begin), "refused too early: %s", begin);
    begin[strlen(begin) - 1] = 0;
    ck_assert_msg(begin[0] == 0 || v6_can_go_on(begin), "refused too late: %s", begin);
}

START_TEST(ipv6_is_read_as_the_c_library_reads_it)
{
    static const char *const tokens[] = {"0",  "1",       "a", "ff",  "FFFF",   "12345", ":",
                                         ":",  "::",      ".", "255", "256",    "01",    ".1",
                                         ":1", "::ffff:", "g", ":2:", "1.2.3.4"};
    uint32_t seed = 1;
    for (int i = 0; i < 4000; i++) {
        char text[80] = "";
        int n = 1 + (int)(seed >> 16) % 12;
        for (int t = 0; t < n && strlen(text) < 38; t++) {
            seed = seed * 1103515245u + 12345u;
            strcat(text, tokens[(seed >> 16) % (sizeof tokens / sizeof *tokens)]);
        }
        compare_v6(text);
    }
    char many[64] = "";
    for (int groups = 1; groups <= 9; groups++) { /* "::" at each place */
        strcat(many, groups > 1 ? ":1" : "1");
        compare_v6(many);
        for (size_t at = 0; at <= strlen(many); at++) {
            char text[80];
            snprintf(text, sizeof text, "%.*s:%s", (int)at, many, many + at);
            compare_v6(text);
            snprintf(text, sizeof text, "%.*s::%s", (int)at, many, many + at);
            compare_v6(text);
            snprintf(text, sizeof text, "%.*s::%s:1.2.3.4", (int)at, many, many + at);
            compare_v6(text);
        }
    }
}
END_TEST

/* ---- version 2 ---- */

#define V4_BLOCK "\x7f\x00\x00\x01\xc0\xa8\x00\x0b\xdc\x04\x01\xbb"
#define V6_BLOCK                                   \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"   \
    "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x00\x00\x02" \
    "\x00\x00\xff\xff"
#define TWELVE "\0\0\0\0\0\0\0\0\0\0\0\0"
#define UNIX_BLOCK                                                                             \
    TWELVE TWELVE TWELVE TWELVE TWELVE TWELVE TWELVE TWELVE TWELVE TWELVE TWELVE TWELVE TWELVE \
        TWELVE TWELVE TWELVE TWELVE TWELVE

static const struct good good_binary[] = {
    /* recorded from HAProxy 2.6.12, send-proxy-v2: IPv4, IPv6, [::] with v4v6, Unix, a check */
    {IN(SIG "\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01\x80\x76\x8c\x4d"), "127.0.0.1:32886",
     "127.0.0.1:35917"},
    {IN(SIG "\x21\x21\x00\x24\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
            "\xdb\x72\xe1\xe7"),
     "[::1]:56178", "[::1]:57831"},
    {IN(SIG "\x21\x21\x00\x24\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\x00\x00\x01"
            "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\x00\x00\x01\x93\xc8\xa1\x25"),
     "127.0.0.1:37832", "127.0.0.1:41253"},
    {IN(SIG "\x20\x00\x00\x00"), NULL, NULL},
    /* the same with proxy-v2-options crc32c,unique-id */
    {IN(SIG "\x21\x11\x00\x28\x7f\x00\x00\x01\x7f\x00\x00\x01\x80\x98\x8c\x4d"
            "\x03\x00\x04\xd0\xaa\x47\x93\x05\x00\x12"
            "id-127.0.0.1-32920"),
     "127.0.0.1:32920", "127.0.0.1:35917"},
    {IN(SIG "\x21\x21\x00\x3a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
            "\xdb\x78\xe1\xe7\x03\x00\x04\xa2\x83\x64\xbc\x05\x00\x0c"
            "id-::1-56184"),
     "[::1]:56184", "[::1]:57831"},
    {IN(SIG "\x20\x00\x00\x13\x03\x00\x04\x2e\x9d\x0c\xee\x05\x00\x09"
            "id-unix-4"),
     NULL, NULL},
    {IN(SIG "\x20\x00\x00\x07\x03\x00\x04\xa9\xb8\x7e\x8f"), NULL, NULL},
    /* each kind */
    {IN(SIG "\x21\x12\x00\x0c" V4_BLOCK), "127.0.0.1:56324", "192.168.0.11:443"},
    {IN(SIG "\x21\x21\x00\x24" V6_BLOCK), "[2001:db8::1]:0", "10.0.0.2:65535"},
    {IN(SIG "\x21\x22\x00\x24" V6_BLOCK), "[2001:db8::1]:0", "10.0.0.2:65535"},
    {IN(SIG "\x21\x31\x00\xd8" UNIX_BLOCK), NULL, NULL},
    {IN(SIG "\x21\x32\x00\xdb" UNIX_BLOCK "\x04\x00\x00"), NULL, NULL},
    {IN(SIG "\x21\x00\x00\x00"), NULL, NULL},
    /* nothing says what these bytes are */
    {IN(SIG "\x21\x00\x00\x01\xff"), NULL, NULL},
    {IN(SIG "\x21\x01\x00\x05\x03\x00\x04\xff\xff"), NULL, NULL},
    {IN(SIG "\x21\x02\x00\x00"), NULL, NULL},
    {IN(SIG "\x21\x10\x00\x02\x03\x00"), NULL, NULL},
    {IN(SIG "\x21\x20\x00\x00"), NULL, NULL},
    {IN(SIG "\x21\x30\x00\x04\xff\xff\xff\xff"), NULL, NULL},
    {IN(SIG "\x20\x11\x00\x0c" V4_BLOCK), NULL, NULL},
    {IN(SIG "\x20\x11\x00\x01\xff"), NULL, NULL},
    {IN(SIG "\x20\xff\x00\x03\xff\xff\xff"), NULL, NULL},
    /* TLVs: empty, several, one that fills the rest */
    {IN(SIG "\x21\x11\x00\x0f" V4_BLOCK "\x04\x00\x00"), "127.0.0.1:56324", "192.168.0.11:443"},
    {IN(SIG "\x21\x11\x00\x1b" V4_BLOCK "\x01\x00\x02h2\x04\x00\x00\xf8\x00\x04\xff\xff\xff\xff"),
     "127.0.0.1:56324", "192.168.0.11:443"},
    {IN(SIG "\x21\x11\x00\x10" V4_BLOCK "\xee\x00\x01\x00"), "127.0.0.1:56324", "192.168.0.11:443"},
};

START_TEST(a_binary_head_gives_its_addresses)
{
    const struct good *g = &good_binary[_i];
    check_good(g->in, g->n, g->source, g->destination);
}
END_TEST

static const struct refused bad_binary[] = {
    {IN("\r" BAD "\r\n")},
    {IN("\r\n" BAD "\n")},
    {IN("\r\n" BAD "GET / HTTP/1.1\r\n")},
    {IN("\r\n\r\n\0\r\nQUIT" BAD "\r")},
    {IN("\r\n\r\n" BAD "\r\n\0QUIT\n")},
    {IN(SIG BAD "\x00\x11\x00\x0c" V4_BLOCK)},
    {IN(SIG BAD "\x11\x11\x00\x0c" V4_BLOCK)},
    {IN(SIG BAD "\x22\x11\x00\x0c" V4_BLOCK)},
    {IN(SIG BAD "\x2f\x11\x00\x0c" V4_BLOCK)},
    {IN(SIG BAD "\x31\x11\x00\x0c" V4_BLOCK)},
    {IN(SIG "\x21" BAD "\x13\x00\x0c" V4_BLOCK)},
    {IN(SIG "\x21" BAD "\x41\x00\x0c" V4_BLOCK)},
    {IN(SIG "\x21" BAD "\x03\x00\x00")},
    {IN(SIG "\x21" BAD "\xf0\x00\x00")},
    {IN(SIG "\x21\x11\x00" BAD "\x0b" V4_BLOCK)},
    {IN(SIG "\x21\x11\x00" BAD "\x00")},
    {IN(SIG "\x21\x21\x00" BAD "\x23" V6_BLOCK)},
    {IN(SIG "\x21\x31\x00" BAD "\xd7" UNIX_BLOCK)},
    {IN(SIG "\x21\x11\x00" BAD "\x0d" V4_BLOCK "\x04")}, /* no TLV is that short */
    {IN(SIG "\x21\x22\x00" BAD "\x26" V6_BLOCK "\x04\x00")},
    {IN(SIG "\x21\x11\x00\x0f" V4_BLOCK "\x04\x00" BAD "\x01")},
    {IN(SIG "\x21\x11\x00\x0f" V4_BLOCK "\x04" BAD "\x01\x00")},
    {IN(SIG "\x21\x11\x00\x12" V4_BLOCK "\x04\x00" BAD "\x01x\x04\x00")},
    {IN(SIG "\x21\x11\x00\x12" V4_BLOCK "\x04\x00\x00\x04\x00" BAD "\x01")},
    {IN(SIG "\x21\x11\x00\x13" V4_BLOCK "\x03\x00" BAD "\x03\x00\x00\x00\x00")},
    {IN(SIG "\x21\x11\x00\x13" V4_BLOCK "\x03" BAD "\x01\x04\x00\x00\x00\x00")},
    {IN(SIG "\x21\x11\x00\x12" V4_BLOCK BAD "\x03\x00\x03\x00\x00\x00")},
    {IN(SIG "\x21\x11\x00\x14" V4_BLOCK BAD "\x03\x00\x04\x00\x00\x00\x00\x04")},
    {IN(SIG "\x21\x11\x00\x13" V4_BLOCK "\x03\x00\x04\x00\x00\x00" BAD "\x00")},
    {IN(SIG "\x21\x11\x00\x1d" V4_BLOCK "\x03\x00\x04\x00\x00\x00\x00" BAD "\x03\x00\x04")},
};

START_TEST(a_binary_head_is_refused_at_its_first_wrong_byte)
{
    check_refusal(bad_binary[_i].in, bad_binary[_i].n);
}
END_TEST

START_TEST(a_binary_head_is_bounded)
{
    static char in[PROXY_HEAD_MAX + 1] = SIG "\x21\x11";
    static const char *const kinds[] = {"\x21\x11", "\x21\x31", "\x20\x55", "\x21\x01"};
    const size_t addresses[] = {12, 216, 0, 0};
    struct proxy_head head;
    for (size_t i = 0; i < 4; i++) {
        size_t room = PROXY_HEAD_MAX - 16, tlv = room - addresses[i] - 3, after;
        memset(in, 0, sizeof in);
        memcpy(in, SIG, 12);
        memcpy(in + 12, kinds[i], 2);
        in[14] = (char)(room >> 8);
        in[15] = (char)room;
        in[16 + addresses[i]] = 4;
        in[17 + addresses[i]] = (char)(tlv >> 8);
        in[18 + addresses[i]] = (char)tlv;
        ck_assert_int_eq(settle(in, PROXY_HEAD_MAX, &head, &after), PROXY_HEAD_DONE);
        ck_assert_uint_eq(head.size, PROXY_HEAD_MAX);
        ck_assert_uint_eq(after, PROXY_HEAD_MAX);
        in[15] = (char)(room + 1);
        ck_assert_int_eq(settle(in, 32, &head, &after), PROXY_HEAD_BAD);
        ck_assert_uint_eq(after, 16);
        in[14] = (char)((room >> 8) + 1);
        in[15] = 0;
        ck_assert_int_eq(settle(in, 32, &head, &after), PROXY_HEAD_BAD);
        ck_assert_uint_eq(after, 15);
    }
}
END_TEST

/* Section 2.2.3, with checksums computed by HAProxy. (Some bits are exempt: a changed command or
 * kind can make the rest of the head irrelevant, and a changed type of the TLV makes it no
 * checksum.) */
START_TEST(a_checksum_finds_each_changed_bit)
{
    struct proxy_head head;
    unsigned tried = 0;
    for (size_t i = 0; i < sizeof good_binary / sizeof *good_binary; i++) {
        const struct good *g = &good_binary[i];
        const char *tlv = memmem(g->in, g->n, "\x03\x00\x04", 3);
        char in[256];
        if (g->source == NULL || tlv == NULL)
            continue;
        for (size_t bit = 14 * 8; bit < g->n * 8; bit++) {
            if (g->in + bit / 8 == tlv)
                continue;
            memcpy(in, g->in, g->n);
            in[bit / 8] = (char)(in[bit / 8] ^ 1 << bit % 8);
            ck_assert_msg(read_copy(in, g->n, &head) != PROXY_HEAD_DONE, "bit %zu", bit);
            tried++;
        }
    }
    ck_assert_uint_eq(tried, (56 - 14 + 74 - 14 - 2) * 8);
}
END_TEST

/* ---- writing ---- */

static struct addr addr_of(const char *text, unsigned port)
{
    struct addr a = {.len = sizeof a.v6};
    if (text[0] == '/') {
        a.sa.sa_family = AF_UNIX;
    } else if (inet_pton(AF_INET, text, &a.v4.sin_addr) == 1) {
        a.len = sizeof a.v4;
        a.v4.sin_family = AF_INET;
        a.v4.sin_port = htons((uint16_t)port);
    } else {
        ck_assert_int_eq(inet_pton(AF_INET6, text, &a.v6.sin6_addr), 1);
        a.v6.sin6_family = AF_INET6;
        a.v6.sin6_port = htons((uint16_t)port);
    }
    return a;
}

#define MAPPED(rest) "\0\0\0\0\0\0\0\0\0\0\xff\xff" rest

static const struct {
    const char *source;
    unsigned source_port;
    const char *destination;
    unsigned destination_port;
    const char *line;
    const char *binary;
    size_t n;
} written[] = {
    {"192.168.0.1", 56324, "192.168.0.11", 443, "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
     IN("\x21\x11\x00\x0c\xc0\xa8\x00\x01\xc0\xa8\x00\x0b\xdc\x04\x01\xbb")},
    {"255.255.255.255", 65535, "255.255.255.255", 65535,
     "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
     IN("\x21\x11\x00\x0c\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")},
    {"2001:db8::1", 1, "::", 0, "PROXY TCP6 2001:db8::1 :: 1 0\r\n",
     IN("\x21\x21\x00\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0")},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535, "fffe:dcba:9876:5432:1fed:cba9:8765:4321",
     65535,
     "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
     "fffe:dcba:9876:5432:1fed:cba9:8765:4321 65535 65535\r\n",
     IN("\x21\x21\x00\x24\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
        "\xff\xfe\xdc\xba\x98\x76\x54\x32\x1f\xed\xcb\xa9\x87\x65\x43\x21\xff\xff\xff\xff")},
    /* a client with IPv4 on [::]:443 is one with IPv4 */
    {"::ffff:10.0.0.1", 1, "::ffff:10.0.0.2", 2, "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
     IN("\x21\x11\x00\x0c\x0a\0\0\x01\x0a\0\0\x02\0\x01\0\x02")},
    {"10.0.0.1", 1, "::ffff:10.0.0.2", 2, "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
     IN("\x21\x11\x00\x0c\x0a\0\0\x01\x0a\0\0\x02\0\x01\0\x02")},
    {"10.0.0.1", 1, "::1", 2, "PROXY TCP6 ::ffff:a00:1 ::1 1 2\r\n",
     IN("\x21\x21\x00\x24" MAPPED(
         "\x0a\0\0\x01") "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x01\0\x02")},
    {"::1", 1, "0.0.255.255", 2, "PROXY TCP6 ::1 ::ffff:0:ffff 1 2\r\n",
     IN("\x21\x21\x00\x24\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01" MAPPED(
         "\0\0\xff\xff") "\0\x01\0\x02")},
    {"::1.2.3.4", 1, "::1:0", 2, "PROXY TCP6 ::102:304 ::1:0 1 2\r\n",
     IN("\x21\x21\x00\x24\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02\x03\x04"
        "\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x01\0\x02")},
    {"/run/a", 0, "/run/a", 0, "PROXY UNKNOWN\r\n", IN("\x20\x00\x00\x00")},
    {"/run/a", 0, "127.0.0.1", 1, "PROXY UNKNOWN\r\n", IN("\x20\x00\x00\x00")},
    {"::1", 1, "/run/a", 0, "PROXY UNKNOWN\r\n", IN("\x20\x00\x00\x00")},
};

/* True for the same address, IPv4 or IPv4-mapped. */
static void same_address(const struct addr *a, const struct addr *b)
{
    char text[2][ADDR_TEXT_MAX];
    addr_format(a, text[0]);
    addr_format(b, text[1]);
    ck_assert_str_eq(text[0], text[1]);
}

static void check_reads_back(const char *out, size_t n, const struct addr *source,
                             const struct addr *destination)
{
    struct proxy_head head;
    size_t after;
    ck_assert_int_eq(settle(out, n, &head, &after), PROXY_HEAD_DONE);
    ck_assert_uint_eq(head.size, n);
    bool inet = source->sa.sa_family != AF_UNIX && destination->sa.sa_family != AF_UNIX;
    ck_assert(head.has_addresses == inet);
    if (inet) {
        same_address(&head.source, source);
        same_address(&head.destination, destination);
    }
}

START_TEST(what_is_written_has_the_right_family_and_reads_back)
{
    struct addr source = addr_of(written[_i].source, written[_i].source_port);
    struct addr destination = addr_of(written[_i].destination, written[_i].destination_port);
    char *out = malloc(PROXY_HEAD_WRITE_MAX); /* of this very size, so that a write past it shows */
    ck_assert_ptr_nonnull(out);
    size_t n = proxy_protocol_write(1, &source, &destination, out);
    ck_assert_msg(n == strlen(written[_i].line) && memcmp(out, written[_i].line, n) == 0, "%.*s",
                  (int)n, out);
    check_reads_back(out, n, &source, &destination);
    n = proxy_protocol_write(2, &source, &destination, out);
    ck_assert_uint_eq(n, 12 + written[_i].n);
    ck_assert_int_eq(memcmp(out, SIG, 12), 0);
    ck_assert_int_eq(memcmp(out + 12, written[_i].binary, written[_i].n), 0);
    check_reads_back(out, n, &source, &destination);
    free(out);
}
END_TEST

START_TEST(a_check_is_nobodys)
{
    char out[PROXY_HEAD_WRITE_MAX];
    size_t n = proxy_protocol_write_local(1, out);
    ck_assert(n == 15 && memcmp(out, "PROXY UNKNOWN\r\n", n) == 0);
    check_good(out, n, NULL, NULL);
    n = proxy_protocol_write_local(2, out);
    ck_assert(n == 16 && memcmp(out, SIG "\x20\x00\x00\x00", n) == 0);
    check_good(out, n, NULL, NULL);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

static Suite *suite(void)
{
    Suite *s = suite_create("proxy_protocol");
    TCase *t = tcase_create("proxy_protocol");
    tcase_set_timeout(t, 100);
    tcase_add_loop_test(t, a_line_gives_its_addresses, 0, COUNT(good_lines));
    tcase_add_loop_test(t, a_line_is_refused_at_its_first_wrong_byte, 0, COUNT(bad_lines));
    tcase_add_test(t, a_line_has_107_bytes_at_most);
    tcase_add_test(t, ipv6_is_read_as_the_c_library_reads_it);
    tcase_add_loop_test(t, a_binary_head_gives_its_addresses, 0, COUNT(good_binary));
    tcase_add_loop_test(t, a_binary_head_is_refused_at_its_first_wrong_byte, 0, COUNT(bad_binary));
    tcase_add_test(t, a_binary_head_is_bounded);
    tcase_add_test(t, a_checksum_finds_each_changed_bit);
    tcase_add_loop_test(t, what_is_written_has_the_right_family_and_reads_back, 0, COUNT(written));
    tcase_add_test(t, a_check_is_nobodys);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
