#include "proxy/key.h"

#include <stdio.h>

#include "base/network.h"
#include "http/parser.h"
#include "tests/lib/unit.h"

#define PEER STR("192.0.2.7")

static struct config_key_part part(enum config_key_kind kind, const char *name)
{
    char *mutable = (char *)(uintptr_t)name; /* key_extract() does not write it */
    return (struct config_key_part){kind, mutable, name ? strlen(name) : 0};
}

/* Expects this key of `request` for the alternatives; NULL: none. */
static void check_of(struct str peer, const char *request, const struct config_key *keys,
                     size_t nkeys, const char *expected)
{
    struct parser p;
    struct head h;
    struct buffer scratch = {0};
    struct str key;
    parser_init_request(&p, &h, 4096);
    ck_assert_msg(parser_execute(&p, &h, request, strlen(request)) == PARSE_DONE, "%s", request);
    struct key_source from = {.head = &h, .base = request, .peer = peer};
    bool found = key_extract(keys, nkeys, &from, &scratch, &key);
    ck_assert_msg(found == (expected != NULL), "%s", request);
    if (found)
        ck_assert_msg(str_eq(key, str_of(expected)), "\"%.*s\" instead of \"%s\"", (int)key.n,
                      key.p, expected);
    buffer_release(&scratch);
}

static void check(const char *request, const struct config_key *keys, size_t nkeys,
                  const char *expected)
{
    check_of(PEER, request, keys, nkeys, expected);
}

struct one {
    enum config_key_kind kind;
    const char *name, *request, *key;
};

#define GET(target, fields) "GET " target " HTTP/1.1\r\nHost: Shop.Example:8080\r\n" fields "\r\n"

static const struct one table[] = {
    {KEY_HEADER, "X-Key", GET("/", "x-kEY: \t a b \t\r\n"), "a b"},
    {KEY_HEADER, "X-Key", GET("/", "X-Key: first\r\nX-Key: second\r\n"), "first"},
    {KEY_HEADER, "X-Key", GET("/", "X-Key:\r\n"), NULL},
    {KEY_HEADER, "X-Key", GET("/", "X-Key:\r\nX-Key: second\r\n"), NULL},
    {KEY_HEADER, "X-Key", GET("/", "X-Keys: no\r\nX-Ke: no\r\n"), NULL},
    {KEY_COOKIE, "sid", GET("/", "Cookie: a=1; sid=42; b=2\r\n"), "42"},
    {KEY_COOKIE, "sid", GET("/", "Cookie: xsid=1; sidx=2;sid=3\r\n"), "3"},
    {KEY_COOKIE, "sid", GET("/", "Cookie: a=1\r\nCookie: sid=2\r\n"), "2"},
    {KEY_COOKIE, "sid", GET("/", "Cookie: sid=1; sid=2\r\n"), "1"},
    {KEY_COOKIE, "sid", GET("/", "Cookie: sid=; sid=2\r\n"), NULL},
    {KEY_COOKIE, "sid", GET("/", "Cookie: sid\r\n"), NULL},
    {KEY_COOKIE, "sid", GET("/", "Cookie: ;;; ; =; sid=%20=x\r\n"), "%20=x"},
    {KEY_COOKIE, "sid", GET("/", "Cookie: SID=1\r\n"), NULL},
    {KEY_COOKIE, "sid", GET("/", ""), NULL},
    {KEY_ISSUED, "rp", GET("/", "Cookie: a=1; rp=42; rp=43\r\nCookie: rp=44\r\n"), "42"},
    {KEY_ISSUED, "rp", GET("/", "Cookie: rp=\"%00 x\"\r\n"), "\"%00 x\""},
    {KEY_ISSUED, "rp", GET("/", "Cookie: rp=; rp=43\r\n"), NULL},
    {KEY_ISSUED, "rp", GET("/", "Cookie: RP=42\r\nrp: 42\r\n"), NULL},
    {KEY_QUERY, "id", GET("/p?a=1&id=7&id=8", ""), "7"},
    {KEY_QUERY, "id", GET("/p?xid=1&idx=2&id=%41+b", ""), "%41+b"},
    {KEY_QUERY, "id", GET("/p?id=&id=2", ""), NULL},
    {KEY_QUERY, "id", GET("/p?id", ""), NULL},
    {KEY_QUERY, "id", GET("/p?&&=&id=1?2&", ""), "1?2"},
    {KEY_QUERY, "id", GET("/id=1", ""), NULL},
    {KEY_PATH, NULL, GET("/a/%2e/b?c=d", ""), "/a/%2e/b"},
    {KEY_PATH, NULL, "GET http://h/a?b HTTP/1.1\r\nHost: h\r\n\r\n", "/a"},
    {KEY_URI, NULL, GET("/a?c=d", ""), "/a?c=d"},
    {KEY_URI, NULL, GET("/a", ""), "/a"},
    {KEY_URI, NULL, "GET http://h/a?b HTTP/1.1\r\nHost: h\r\n\r\n", "/a?b"},
    {KEY_URI, NULL, "GET http://h?b HTTP/1.1\r\nHost: h\r\n\r\n", "/?b"},
    {KEY_URI, NULL, "GET http://h?b/c?d HTTP/1.1\r\nHost: h\r\n\r\n", "/?b/c?d"},
    {KEY_URI, NULL, "GET http://h:80?b HTTP/1.1\r\nHost: h\r\n\r\n", "/?b"},
    {KEY_URI, NULL, "GET http://h? HTTP/1.1\r\nHost: h\r\n\r\n", "/?"},
    {KEY_URI, NULL, "GET http://h HTTP/1.1\r\nHost: h\r\n\r\n", "/"},
    {KEY_URI, NULL, "GET https://[::1] HTTP/1.1\r\nHost: [::1]:443\r\n\r\n", "/"},
    {KEY_URI, NULL, "GET http://h/ HTTP/1.0\r\n\r\n", "/"},
    {KEY_URI, NULL, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "*"},
    {KEY_URI, NULL, "OPTIONS http://h?b HTTP/1.1\r\nHost: h\r\n\r\n", "/?b"},
    {KEY_URI, NULL, GET("/?b", ""), "/?b"},
    {KEY_URI, NULL, GET("/a?", ""), "/a?"},
    {KEY_URI, NULL, GET("//h?b", ""), "//h?b"},
    {KEY_PATH, NULL, "GET http://h?b HTTP/1.1\r\nHost: h\r\n\r\n", "/"},
    {KEY_PATH, NULL, "GET http://h HTTP/1.1\r\nHost: h\r\n\r\n", "/"},
    {KEY_PATH, NULL, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "*"},
    {KEY_QUERY, "b", "GET http://h?b=1 HTTP/1.1\r\nHost: h\r\n\r\n", "1"},
    {KEY_HOST, NULL, "GET / HTTP/1.1\r\nHost: A.B.\r\n\r\n", "a.b"},
    {KEY_HOST, NULL, "GET / HTTP/1.1\r\nHost: a.b.:80\r\n\r\n", "a.b"},
    {KEY_HOST, NULL, "GET / HTTP/1.1\r\nHost: a.b..\r\n\r\n", "a.b."},
    {KEY_HOST, NULL, "GET / HTTP/1.1\r\nHost: 192.0.2.1.\r\n\r\n", "192.0.2.1"},
    {KEY_HOST, NULL, "GET / HTTP/1.1\r\nHost: .\r\n\r\n", NULL},
    {KEY_HOST, NULL, "GET http://A.:80/ HTTP/1.1\r\nHost: a.\r\n\r\n", "a"},
    {KEY_HOST, NULL, "GET http://A.:80/ HTTP/1.0\r\n\r\n", "a"},
    {KEY_HOST, NULL, "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n", "[::1]"},
    {KEY_HOST, NULL, GET("/", ""), "shop.example"},
    {KEY_HOST, NULL, "GET http://A.B:1/ HTTP/1.1\r\nHost: A.B:1\r\n\r\n", "a.b"},
    {KEY_HOST, NULL, "GET / HTTP/1.1\r\nHost: [2001:DB8::1]:80\r\n\r\n", "[2001:db8::1]"},
    {KEY_HOST, NULL, "GET / HTTP/1.0\r\n\r\n", NULL},
    {KEY_SOURCE_IP, NULL, GET("/", "X-Forwarded-For: 203.0.113.9\r\n"), "192.0.2.7"},
    {KEY_CLIENT_IP, NULL, GET("/", "X-Forwarded-For: 203.0.113.9\r\n"), "192.0.2.7"},
};

START_TEST(each_kind_takes_what_the_contract_says)
{
    const struct one *t = &table[_i];
    struct config_key_part p = part(t->kind, t->name);
    struct config_key key = {&p, 1};
    check(t->request, &key, 1, t->key);
}
END_TEST

START_TEST(first_alternative_present_wins)
{
    struct config_key_part parts[] = {part(KEY_HEADER, "X-A"), part(KEY_COOKIE, "sid"),
                                      part(KEY_SOURCE_IP, NULL)};
    struct config_key keys[] = {{&parts[0], 1}, {&parts[1], 1}, {&parts[2], 1}};
    check(GET("/", "X-A: a\r\nCookie: sid=c\r\n"), keys, 3, "a");
    check(GET("/", "X-A:\r\nCookie: sid=c\r\n"), keys, 3, "c");
    check(GET("/", ""), keys, 3, "192.0.2.7");
    check(GET("/", ""), keys, 2, NULL);
    check(GET("/", "X-A: a\r\n"), keys, 0, NULL);
}
END_TEST

START_TEST(joined_parts_are_one_key_without_separator)
{
    struct config_key_part parts[] = {part(KEY_HOST, NULL), part(KEY_PATH, NULL),
                                      part(KEY_HEADER, "X-A")};
    struct config_key keys[] = {{parts, 3}, {parts, 2}};
    check(GET("/P", "X-A: Ab\r\n"), keys, 2, "shop.example/PAb");
    check(GET("/P", ""), keys, 2, "shop.example/P"); /* absent if a part is */
    check(GET("/P", ""), keys, 1, NULL);
}
END_TEST

START_TEST(a_client_without_an_address_has_no_source_ip)
{
    struct config_key_part ip = part(KEY_SOURCE_IP, NULL), path = part(KEY_PATH, NULL);
    struct config_key_part both[] = {path, ip};
    const struct config_key keys[] = {{&ip, 1}, {both, 2}, {&path, 1}};
    struct str none = {0};
    check_of(none, GET("/p", ""), keys, 3, "/p");
    check_of(none, GET("/p", ""), keys, 2, NULL);
}
END_TEST

/* Behind trusted proxies in 192.0.2.0/24 and 2001:db8::/32. */
static const struct {
    const char *fields, *key;
} forwarded[] = {
    {"", "192.0.2.7"},
    {"X-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9"},
    {"X-Forwarded-For: 203.0.113.9, 192.0.2.8\r\n", "203.0.113.9"},
    {"X-Forwarded-For: 198.51.100.1, 203.0.113.9,192.0.2.8\t, 2001:db8::1\r\n", "203.0.113.9"},
    {"X-Forwarded-For: 198.51.100.1, 203.0.113.9\r\nx-forwarded-for: 192.0.2.8\r\n", "203.0.113.9"},
    {"X-Forwarded-For: 198.51.100.1\r\nA: b\r\nX-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9"},
    {"X-Forwarded-For: 203.0.113.9:4711\r\n", "203.0.113.9"},
    {"X-Forwarded-For: 203.0.113.9:0\r\n", "203.0.113.9"},
    {"X-Forwarded-For: [2001:DB9::0:1]:80\r\n", "2001:db9::1"},
    {"X-Forwarded-For: [2001:db9::1]\r\n", "2001:db9::1"},
    {"X-Forwarded-For: 2001:db9:0::1\r\n", "2001:db9::1"},
    {"X-Forwarded-For: ::ffff:203.0.113.9\r\n", "203.0.113.9"},
    {"X-Forwarded-For: [::ffff:203.0.113.9]:1, ::ffff:192.0.2.8\r\n", "203.0.113.9"},
    {"X-Forwarded-For: , 203.0.113.9 ,, 192.0.2.8 ,\t, \r\nX-Forwarded-For:\r\n", "203.0.113.9"},
    /* all trusted: nobody else is named */
    {"X-Forwarded-For: 192.0.2.9, 192.0.2.8\r\n", "192.0.2.7"},
    /* what stands left of an element that is no address counts as little as that */
    {"X-Forwarded-For: unknown\r\n", "192.0.2.7"},
    {"X-Forwarded-For: 203.0.113.9, unknown\r\n", "192.0.2.7"},
    {"X-Forwarded-For: 203.0.113.9, unknown, 192.0.2.8\r\n", "192.0.2.7"},
    {"X-Forwarded-For: 203.0.113.9, unix:\r\n", "192.0.2.7"},
    {"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: x\r\n", "192.0.2.7"},
    {"X-Forwarded-For: 203.0.113.9:\r\n", "192.0.2.7"},
    {"X-Forwarded-For: 203.0.113.9:x\r\n", "192.0.2.7"},
    {"X-Forwarded-For: 203.0.113.9:123456\r\n", "192.0.2.7"},
    {"X-Forwarded-For: 203.0.113.9 198.51.100.1\r\n", "192.0.2.7"},
    {"X-Forwarded-For: 203.0.113.999\r\n", "192.0.2.7"},
    {"X-Forwarded-For: [203.0.113.9]:80\r\n", "192.0.2.7"},
    {"X-Forwarded-For: [2001:db9::1\r\n", "192.0.2.7"},
    {"X-Forwarded-For: [2001:db9::1]x\r\n", "192.0.2.7"},
    {"X-Forwarded-For: [2001:db9::1]80\r\n", "192.0.2.7"},
    {"X-Forwarded-For: []:80\r\n", "192.0.2.7"},
    {"X-Forwarded-For: [\r\n", "192.0.2.7"},
    {"X-Forwarded-For: :80\r\n", "192.0.2.7"},
    {"X-Forwarded-For: fe80::1%eth0\r\n", "192.0.2.7"},
    {"X-Forwarded-For: \"203.0.113.9\"\r\n", "192.0.2.7"},
    {"X-Forwarded-For: for=203.0.113.9\r\n", "192.0.2.7"},
    /* a client does not get rid of it by its Connection */
    {"X-Forwarded-For: 203.0.113.9\r\nConnection: x-forwarded-for\r\n", "203.0.113.9"},
    {"Forwarded: for=203.0.113.9\r\nX-Real-IP: 203.0.113.9\r\n", "192.0.2.7"},
};

static void check_client_ip(struct str peer, bool is_trusted, const char *fields,
                            const char *expected)
{
    struct network trusted[3];
    struct config_key_part ip = part(KEY_CLIENT_IP, NULL);
    struct config_key_part both[] = {ip, part(KEY_PATH, NULL)};
    const struct config_key single = {&ip, 1}, joined = {both, 2};
    char request[512], with_path[64];
    struct parser p;
    struct head h;
    struct buffer scratch = {0};
    struct str key;
    network_parse(STR("192.0.2.0/24"), &trusted[0]);
    network_parse(STR("2001:db8::/32"), &trusted[1]);
    network_parse(STR("unix"), &trusted[2]);
    snprintf(request, sizeof request, "GET /p HTTP/1.1\r\nHost: h\r\n%s\r\n", fields);
    parser_init_request(&p, &h, 4096);
    ck_assert_msg(parser_execute(&p, &h, request, strlen(request)) == PARSE_DONE, "%s", request);
    size_t n = networks_sort(trusted, 3);
    struct key_source from = {.head = &h,
                              .base = request,
                              .peer = peer,
                              .trusted = trusted,
                              .ntrusted = is_trusted ? n : 0};
    ck_assert_int_eq(key_extract(&single, 1, &from, &scratch, &key), expected != NULL);
    if (expected)
        ck_assert_msg(str_eq(key, str_of(expected)), "%s: %.*s", fields, (int)key.n, key.p);
    snprintf(with_path, sizeof with_path, "%s/p", expected ? expected : "");
    ck_assert_int_eq(key_extract(&joined, 1, &from, &scratch, &key), expected != NULL);
    if (expected)
        ck_assert_msg(str_eq(key, str_of(with_path)), "%s: %.*s", fields, (int)key.n, key.p);
    buffer_release(&scratch);
}

START_TEST(the_client_is_the_last_that_is_not_trusted)
{
    check_client_ip(PEER, true, forwarded[_i].fields, forwarded[_i].key);
    check_client_ip(PEER, false, forwarded[_i].fields, "192.0.2.7");
}
END_TEST

START_TEST(a_trusted_peer_on_a_unix_socket_has_clients)
{
    struct str none = {0};
    check_client_ip(none, true, "X-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9");
    check_client_ip(none, true, "X-Forwarded-For: x\r\n", NULL);
    check_client_ip(none, false, "X-Forwarded-For: 203.0.113.9\r\n", NULL);
}
END_TEST

START_TEST(a_uri_without_a_path_can_be_joined)
{
    struct config_key_part parts[] = {part(KEY_HOST, NULL), part(KEY_URI, NULL)};
    const struct config_key key = {parts, 2};
    check("GET http://H.?b HTTP/1.1\r\nHost: h.\r\n\r\n", &key, 1, "h/?b");
    check("GET http://H HTTP/1.1\r\nHost: h\r\n\r\n", &key, 1, "h/");
    check("GET /?b HTTP/1.1\r\nHost: h\r\n\r\n", &key, 1, "h/?b");
    check("GET /?b HTTP/1.0\r\n\r\n", &key, 1, NULL);
}
END_TEST

START_TEST(an_issued_key_is_hexadecimal)
{
    const uint8_t random[KEY_ISSUED_LEN / 2] = {0x00, 0x01, 0x0f, 0x10, 0xa5, 0xff, [15] = 0x9c};
    char text[KEY_ISSUED_LEN];
    key_issue(random, text);
    ck_assert(memcmp(text, "00010f10a5ff0000000000000000009c", sizeof text) == 0);
}
END_TEST

#define PROTO "X-Forwarded-Proto: "

static const struct {
    const char *fields;
    bool secure;
} protos[] = {
    {"", false},
    {PROTO "https\r\n", true},
    {PROTO "HTTPS\r\n", true},
    {PROTO "wss\r\n", true},
    {PROTO "http\r\n", false},
    {PROTO "httpsx\r\n", false},
    {PROTO "https, http\r\n", true},
    {PROTO "http, https\r\n", false},
    {PROTO "\r\n" PROTO " https \r\n" PROTO "http\r\n", true},
    {PROTO "http\r\n" PROTO "https\r\n", false},
};

START_TEST(https_is_what_trusted_peers_say)
{
    struct network trusted;
    struct parser p;
    struct head h;
    char request[256];
    network_parse(STR("192.0.2.7"), &trusted);
    int n =
        snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", protos[_i].fields);
    parser_init_request(&p, &h, 4096);
    ck_assert(parser_execute(&p, &h, request, (size_t)n) == PARSE_DONE);
    struct key_source from = {.head = &h, .base = request, .trusted = &trusted, .ntrusted = 1};
    ck_assert(key_is_secure(&from) == protos[_i].secure);
    from.ntrusted = 0; /* the peer is not trusted */
    ck_assert(!key_is_secure(&from));
    from.secure = true;
    ck_assert(key_is_secure(&from));
}
END_TEST

START_TEST(without_a_request_the_address_is_left)
{
    struct config_key_part ip = part(KEY_SOURCE_IP, NULL), path = part(KEY_PATH, NULL);
    struct config_key keys[] = {{&path, 1}, {&ip, 1}};
    struct key_source from = {.peer = PEER};
    struct buffer scratch = {0};
    struct str key;
    ck_assert(key_extract(keys, 2, &from, &scratch, &key) && str_eq(key, PEER));
    ck_assert(!key_extract(keys, 1, &from, &scratch, &key));
    from.peer = (struct str){0};
    ck_assert(!key_extract(keys, 2, &from, &scratch, &key));
    buffer_release(&scratch);
}
END_TEST

START_TEST(the_server_name_is_wanted_where_it_decides)
{
    struct config_key_part ip = part(KEY_SOURCE_IP, NULL), sni = part(KEY_SNI, NULL);
    struct config_key_part both[] = {sni, ip};
    const struct config_key keys[] = {{&sni, 1}, {&ip, 1}, {&sni, 1}}, joined = {both, 2};
    struct key_source from = {.peer = PEER}, nobody = {0};
    ck_assert(key_wants_sni(keys, 2, &from));
    ck_assert(!key_wants_sni(keys + 1, 2, &from)); /* what stands before it is present */
    ck_assert(key_wants_sni(keys + 1, 2, &nobody));
    ck_assert(key_wants_sni(&joined, 1, &from));
    ck_assert(!key_wants_sni(&joined, 1, &nobody)); /* its other part is absent in any case */
    ck_assert(!key_wants_sni(keys, 0, &from));
}
END_TEST

START_TEST(the_server_name_is_a_key)
{
    struct config_key_part ip = part(KEY_SOURCE_IP, NULL), sni = part(KEY_SNI, NULL);
    struct config_key_part both[] = {sni, ip};
    const struct config_key keys[] = {{both, 2}, {&sni, 1}, {&ip, 1}};
    struct key_source from = {.peer = PEER, .sni = STR("a.example")};
    struct buffer scratch = {0};
    struct str key;
    ck_assert(key_extract(keys, 3, &from, &scratch, &key));
    ck_assert(str_eq(key, STR("a.example192.0.2.7")));
    ck_assert(key_extract(keys + 1, 2, &from, &scratch, &key) && str_eq(key, STR("a.example")));
    from.sni = (struct str){0};
    ck_assert(key_extract(keys, 3, &from, &scratch, &key) && str_eq(key, PEER));
    ck_assert(!key_extract(keys, 2, &from, &scratch, &key));
    buffer_release(&scratch);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("key");
    TCase *c = tcase_create("key");
    tcase_add_loop_test(c, each_kind_takes_what_the_contract_says, 0, sizeof table / sizeof *table);
    tcase_add_loop_test(c, the_client_is_the_last_that_is_not_trusted, 0,
                        sizeof forwarded / sizeof *forwarded);
    tcase_add_test(c, a_trusted_peer_on_a_unix_socket_has_clients);
    tcase_add_test(c, a_uri_without_a_path_can_be_joined);
    tcase_add_test(c, an_issued_key_is_hexadecimal);
    tcase_add_loop_test(c, https_is_what_trusted_peers_say, 0, sizeof protos / sizeof *protos);
    tcase_add_test(c, first_alternative_present_wins);
    tcase_add_test(c, joined_parts_are_one_key_without_separator);
    tcase_add_test(c, a_client_without_an_address_has_no_source_ip);
    tcase_add_test(c, without_a_request_the_address_is_left);
    tcase_add_test(c, the_server_name_is_wanted_where_it_decides);
    tcase_add_test(c, the_server_name_is_a_key);
    suite_add_tcase(s, c);
    return s;
}

int main(void)
{
    return unit_main(build);
}
