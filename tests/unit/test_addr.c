#include <stdio.h>

#include "base/addr.h"
#include "tests/lib/unit.h"

static const struct {
    const char *text;
    enum addr_result result;
    const char *canonical, *ip;
    bool loopback;
} addrs[] = {
    {"127.0.0.1:80", ADDR_OK, "127.0.0.1:80", "127.0.0.1", true},
    {"127.255.0.9:1", ADDR_OK, "127.255.0.9:1", "127.255.0.9", true},
    {"0.0.0.0:65535", ADDR_OK, "0.0.0.0:65535", "0.0.0.0", false},
    {"10.1.2.3:08080", ADDR_OK, "10.1.2.3:8080", "10.1.2.3", false},
    {"[::1]:80", ADDR_OK, "[::1]:80", "::1", true},
    {"[0:0::0:1]:80", ADDR_OK, "[::1]:80", "::1", true},
    {"[::]:80", ADDR_OK, "[::]:80", "::", false},
    {"[2001:DB8:0:0::5]:443", ADDR_OK, "[2001:db8::5]:443", "2001:db8::5", false},
    {"[::ffff:127.0.0.2]:80", ADDR_OK, "127.0.0.2:80", "127.0.0.2", true},
    {"[::ffff:10.0.0.2]:80", ADDR_OK, "10.0.0.2:80", "10.0.0.2", false},
    {"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe]:65535", ADDR_OK,
     "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe]:65535", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe",
     false},
    {"localhost:80", ADDR_NAME},
    {"b-1.example.org:80", ADDR_NAME},
    {"1.2.3.4.example:80", ADDR_NAME},
    {"unix:/run/x", ADDR_OK, "unix:/run/x", "", true},
    {"unix:x:80", ADDR_OK, "unix:x:80", "", true},
    {"unix:a b", ADDR_OK, "unix:a b", "", true},
    {"unix:", ADDR_BAD},
    {"unix", ADDR_BAD},
    {"", ADDR_BAD},
    {":", ADDR_BAD},
    {":80", ADDR_BAD},
    {"80", ADDR_BAD},
    {"127.0.0.1", ADDR_BAD},
    {"127.0.0.1:", ADDR_BAD},
    {"127.0.0.1:0", ADDR_BAD},
    {"127.0.0.1:65536", ADDR_BAD},
    {"127.0.0.1:000080", ADDR_BAD},
    {"127.0.0.1:-1", ADDR_BAD},
    {"127.0.0.1:+80", ADDR_BAD},
    {"127.0.0.1: 80", ADDR_BAD},
    {"127.0.0.1:8x", ADDR_BAD},
    {"127.0.0:80", ADDR_BAD},
    {"127.1:80", ADDR_BAD},
    {"256.0.0.1:80", ADDR_BAD},
    {"1.2.3.4.5:80", ADDR_BAD},
    {"::1:80", ADDR_BAD},
    {"[::1]80", ADDR_BAD},
    {"[]:80", ADDR_BAD},
    {"[127.0.0.1]:80", ADDR_BAD},
    {"[localhost]:80", ADDR_BAD},
    {"[::1:80", ADDR_BAD},
    {"::1]:80", ADDR_BAD},
    {"[fe80::1%lo]:80", ADDR_OK, "[fe80::1%lo]:80", "fe80::1", false},
    {"[FE80:0::1%lo]:80", ADDR_OK, "[fe80::1%lo]:80", "fe80::1", false},
    {"[fe80::1%1]:80", ADDR_OK, "[fe80::1%lo]:80", "fe80::1", false}, /* lo is always the first */
    {"[fe80::1]:80", ADDR_OK, "[fe80::1]:80", "fe80::1", false},
    {"[fe80::1%none]:80", ADDR_NO_INTERFACE},
    {"[fe80::1%]:80", ADDR_NO_INTERFACE},
    {"[fe80::1%0]:80", ADDR_NO_INTERFACE},
    {"[fe80::1%999999999]:80", ADDR_NO_INTERFACE},
    {"[fe80::1%1x]:80", ADDR_NO_INTERFACE},
    {"[fe80::1%4294967297]:80", ADDR_NO_INTERFACE},
    {"[fe80::1%lo%lo]:80", ADDR_NO_INTERFACE},
    {"[fe80::1%a-name-that-is-too-long-for-an-interface]:80", ADDR_NO_INTERFACE},
    {"[::1%lo]:80", ADDR_NOT_LOCAL},
    {"[2001:db8::1%none]:80", ADDR_NOT_LOCAL},
    {"[localhost%lo]:80", ADDR_BAD},
    {"[%lo]:80", ADDR_BAD},
    {"fe80::1%lo:80", ADDR_BAD},
    {"127.0.0.1%lo:80", ADDR_BAD},
    {"a b:80", ADDR_BAD},
    {"http://x:80", ADDR_BAD},
};

START_TEST(addresses_are_literals_with_a_port)
{
    struct addr a;
    char text[ADDR_TEXT_MAX];
    ck_assert_msg(addr_parse(str_of(addrs[_i].text), &a) == addrs[_i].result, "%s", addrs[_i].text);
    if (addrs[_i].result != ADDR_OK)
        return;
    ck_assert_int_eq(addr_format(&a, text), (int)strlen(addrs[_i].canonical));
    ck_assert_str_eq(text, addrs[_i].canonical);
    ck_assert_int_eq(addr_format_ip(&a, text), (int)strlen(addrs[_i].ip));
    ck_assert_str_eq(text, addrs[_i].ip);
    ck_assert(addr_is_loopback(&a) == addrs[_i].loopback);
    bool path = strncmp(addrs[_i].text, "unix:", 5) == 0;
    ck_assert(addr_is_unix(&a) == path);
    ck_assert_uint_eq(addr_port(&a), path ? 0 : atoi(strrchr(addrs[_i].canonical, ':') + 1));
}
END_TEST

START_TEST(addresses_are_ordered_by_family_bytes_and_port)
{
    static const char *const texts[] = {
        "9.0.0.1:80",       "10.0.0.1:80", "127.0.0.1:80", "127.0.0.1:443", "127.0.0.2:80",
        "200.0.0.1:1",      "[::1]:80",    "[::1]:443",    "[::ffff:1]:80", "[2001:db8::1]:80",
        "[2001:db8::a]:80", "unix:/a",     "unix:/a/b",    "unix:/b"};
    const int n = sizeof texts / sizeof *texts;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++) {
            struct addr a, b;
            ck_assert_int_eq(addr_parse(str_of(texts[i]), &a), ADDR_OK);
            ck_assert_int_eq(addr_parse(str_of(texts[k]), &b), ADDR_OK);
            int c = addr_cmp(&a, &b);
            ck_assert_msg((c > 0) - (c < 0) == (i > k) - (i < k), "%s %s", texts[i], texts[k]);
            ck_assert(addr_eq(&a, &b) == (i == k));
        }
}
END_TEST

START_TEST(a_link_local_address_is_one_of_each_interface)
{
    struct addr a, b, global;
    char text[ADDR_TEXT_MAX];
    ck_assert_int_eq(addr_parse(str_of("[fe80::1%lo]:80"), &a), ADDR_OK);
    ck_assert_int_eq(addr_parse(str_of("[fe80::1]:80"), &b), ADDR_OK);
    ck_assert_int_eq(addr_parse(str_of("[2001:db8::1]:80"), &global), ADDR_OK);
    ck_assert(!addr_lacks_scope(&a) && addr_lacks_scope(&b) && !addr_lacks_scope(&global));
    ck_assert(!addr_eq(&a, &b));
    b.v6.sin6_scope_id = 77777777; /* an interface that is gone has its number */
    ck_assert(!addr_eq(&a, &b));
    ck_assert_int_eq(addr_format(&b, text), (int)strlen("[fe80::1%77777777]:80"));
    ck_assert_str_eq(text, "[fe80::1%77777777]:80");
}
END_TEST

START_TEST(a_name_leaves_its_port_and_no_address)
{
    struct addr a;
    ck_assert_int_eq(addr_parse(str_of("cache-1.example:9001"), &a), ADDR_NAME);
    ck_assert_uint_eq(a.len, 0);
    ck_assert_uint_eq(addr_port(&a), 9001);
    ck_assert(!addr_is_unix(&a));
    ck_assert(str_eq(addr_host("cache-1.example:9001"), str_of("cache-1.example")));
}
END_TEST

/* What the kernel would cut, or take for a longer name than was meant, is refused here. */
START_TEST(a_unix_path_has_the_kernels_length_at_most)
{
    char text[5 + 109] = "unix:/", formatted[ADDR_TEXT_MAX];
    struct addr a;
    memset(text + 6, 'a', 107);
    ck_assert_int_eq(addr_parse((struct str){text, 5 + 107}, &a), ADDR_OK);
    ck_assert_uint_eq(a.len, sizeof a.un);
    ck_assert_uint_eq(strlen(a.un.sun_path), 107);
    ck_assert_int_eq(addr_format(&a, formatted), 5 + 107);
    ck_assert_int_eq(memcmp(formatted, text, 5 + 107), 0);
    ck_assert_int_eq(addr_parse((struct str){text, 5 + 108}, &a), ADDR_LONG);
    ck_assert_int_eq(addr_parse((struct str){"unix:a\0b", 8}, &a), ADDR_BAD);
}
END_TEST

/* accept() says no more of a client on a unix socket than its family. */
START_TEST(a_client_on_a_unix_socket_has_no_ip)
{
    struct addr peer = {.un.sun_family = AF_UNIX, .len = sizeof peer.un.sun_family};
    char text[ADDR_IP_MAX] = "x";
    ck_assert_int_eq(addr_format_ip(&peer, text), 0);
    ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(an_ip_alone_is_parsed)
{
    static const struct {
        const char *text, *ip;
    } good[] = {
        {"1.2.3.4", "1.2.3.4"},
        {"::1", "::1"},
        {"0:0::0:1", "::1"},
        {"2001:DB8::A", "2001:db8::a"},
        {"::ffff:1.2.3.4", "1.2.3.4"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    };
    static const char *const bad[] = {"",     "1.2.3",     "1.2.3.4:80", "[::1]",   "::1%lo",
                                      "name", "1.2.3.256", "1.2.3.4.5",  " ::1",    "::1 ",
                                      ":",    "unix:",     "unix:/x",    "1.2.3.04"};
    struct addr a;
    char text[ADDR_IP_MAX];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        ck_assert_msg(addr_parse_ip(str_of(good[i].text), &a), "%s", good[i].text);
        addr_format_ip(&a, text);
        ck_assert_str_eq(text, good[i].ip);
        ck_assert_uint_eq(addr_port(&a), 0);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(!addr_parse_ip(str_of(bad[i]), &a), "%s", bad[i]);
        ck_assert_uint_eq(a.len, 0);
    }
    ck_assert(!addr_parse_ip((struct str){"::1\0", 4}, &a));
}
END_TEST

START_TEST(only_the_slice_is_read)
{
    struct addr a;
    ck_assert_int_eq(addr_parse((struct str){"127.0.0.1:8099", 12}, &a), ADDR_OK);
    ck_assert_uint_eq(addr_port(&a), 80);
    ck_assert_int_eq(addr_parse((struct str){NULL, 0}, &a), ADDR_BAD);
    ck_assert_int_eq(addr_parse((struct str){"127.0.0.1\0x:80", 14}, &a), ADDR_BAD);
    ck_assert_int_eq(addr_parse((struct str){"a\0b:80", 6}, &a), ADDR_BAD);
}
END_TEST

START_TEST(very_long_hosts_are_refused)
{
    char text[600];
    struct addr a;
    memset(text, 'a', sizeof text);
    memcpy(text + 590, ":80", 4);
    ck_assert_int_eq(addr_parse(str_of(text), &a), ADDR_BAD);
    ck_assert_int_eq(addr_parse(str_of(text + 590 - 255), &a), ADDR_NAME);
    ck_assert_int_eq(addr_parse(str_of(text + 590 - 256), &a), ADDR_BAD);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("addr");
    TCase *t = tcase_create("addr");
    tcase_add_loop_test(t, addresses_are_literals_with_a_port, 0,
                        (int)(sizeof addrs / sizeof *addrs));
    tcase_add_test(t, addresses_are_ordered_by_family_bytes_and_port);
    tcase_add_test(t, a_link_local_address_is_one_of_each_interface);
    tcase_add_test(t, a_name_leaves_its_port_and_no_address);
    tcase_add_test(t, a_unix_path_has_the_kernels_length_at_most);
    tcase_add_test(t, a_client_on_a_unix_socket_has_no_ip);
    tcase_add_test(t, an_ip_alone_is_parsed);
    tcase_add_test(t, only_the_slice_is_read);
    tcase_add_test(t, very_long_hosts_are_refused);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
