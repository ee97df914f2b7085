#include <stdio.h>

#include "base/network.h"
#include "tests/lib/unit.h"

static struct network parse(const char *text)
{
    struct network net;
    ck_assert_msg(network_parse(str_of(text), &net) == NETWORK_OK, "%s", text);
    return net;
}

static bool contains(const struct network *networks, size_t n, const char *ip)
{
    struct addr a = {0};
    if (*ip)
        ck_assert_msg(addr_parse_ip(str_of(ip), &a), "%s", ip);
    else
        a.sa.sa_family = AF_UNIX;
    return networks_contain(networks, n, &a);
}

/* The addresses next to the edges: the last one below, the first and last inside, the first above.
 * NULL: there is none. */
static const struct {
    const char *text, *below, *first, *last, *above;
} edges[] = {
    {"10.0.0.0/8", "9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"},
    {"10.1.2.3/8", "9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"},
    {"192.168.1.128/25", "192.168.1.127", "192.168.1.128", "192.168.1.255", "192.168.2.0"},
    {"192.0.2.7", "192.0.2.6", "192.0.2.7", "192.0.2.7", "192.0.2.8"},
    {"192.0.2.7/32", "192.0.2.6", "192.0.2.7", "192.0.2.7", "192.0.2.8"},
    {"192.0.2.6/31", "192.0.2.5", "192.0.2.6", "192.0.2.7", "192.0.2.8"},
    {"255.255.255.255", "255.255.255.254", "255.255.255.255", "255.255.255.255", NULL},
    {"0.0.0.0/0", NULL, "0.0.0.0", "255.255.255.255", "::"},
    {"128.0.0.0/1", "127.255.255.255", "128.0.0.0", "255.255.255.255", "::"},
    {"::1", "::", "::1", "::1", "::2"},
    {"::1/128", "::", "::1", "::1", "::2"},
    {"2001:db8::/32", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
     "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"},
    {"2001:db8::5/127", "2001:db8::3", "2001:db8::4", "2001:db8::5", "2001:db8::6"},
    {"fe80::/10", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fec0::"},
    {"::/0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""},
    {"::ffff:10.0.0.0/104", "9.255.255.255", "10.0.0.0", "::ffff:10.255.255.255", "11.0.0.0"},
    {"::ffff:192.0.2.7", "192.0.2.6", "192.0.2.7", "::ffff:192.0.2.7", "192.0.2.8"},
    {"10.0.0.0/8", "::a00:0", "::ffff:10.0.0.0", "::ffff:10.255.255.255", "::ffff:11.0.0.0"},
    {"unix", "0.0.0.0", "", "", "::"},
};

START_TEST(a_network_has_exactly_its_addresses)
{
    struct network net = parse(edges[_i].text);
    ck_assert(contains(&net, 1, edges[_i].first) && contains(&net, 1, edges[_i].last));
    ck_assert(!edges[_i].below || !contains(&net, 1, edges[_i].below));
    ck_assert(!edges[_i].above || !contains(&net, 1, edges[_i].above));
}
END_TEST

START_TEST(every_length_takes_that_many_bits)
{
    for (unsigned bits = 0; bits <= 128; bits++) {
        char text[64];
        struct addr a, flipped;
        snprintf(text, sizeof text, "a5a5:a5a5:a5a5:a5a5:a5a5:a5a5:a5a5:a5a5/%u", bits);
        struct network net = parse(text);
        addr_parse_ip(STR("a5a5:a5a5:a5a5:a5a5:a5a5:a5a5:a5a5:a5a5"), &a);
        ck_assert(networks_contain(&net, 1, &a));
        for (unsigned bit = 0; bit < 128; bit++) {
            flipped = a;
            flipped.v6.sin6_addr.s6_addr[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
            ck_assert_int_eq(networks_contain(&net, 1, &flipped), bit >= bits);
        }
    }
}
END_TEST

START_TEST(what_is_no_network_is_refused)
{
    static const struct {
        const char *text;
        enum network_result result;
    } bad[] = {
        {"", NETWORK_BAD},
        {"/", NETWORK_BAD},
        {"/8", NETWORK_BAD},
        {"10.0.0.0/", NETWORK_BAD},
        {"10.0.0.0/x", NETWORK_BAD},
        {"10.0.0.0/-1", NETWORK_BAD},
        {"10.0.0.0/+8", NETWORK_BAD},
        {"10.0.0.0/ 8", NETWORK_BAD},
        {"10.0.0.0/08", NETWORK_BAD},
        {"10.0.0.0/8/8", NETWORK_BAD},
        {"10.0.0.0/8888", NETWORK_BAD},
        {"10.0.0.0/255.0.0.0", NETWORK_BAD},
        {"10.0.0.0/33", NETWORK_LENGTH},
        {"10.0.0.0/128", NETWORK_LENGTH},
        {"::1/129", NETWORK_LENGTH},
        {"::1/999", NETWORK_LENGTH},
        {"::ffff:10.0.0.0/95", NETWORK_BAD},
        {"10.0.0/8", NETWORK_BAD},
        {"10/8", NETWORK_BAD},
        {"10.0.0.256/8", NETWORK_BAD},
        {"010.0.0.0/8", NETWORK_BAD},
        {"10.0.0.1:80", NETWORK_BAD},
        {"[::1]", NETWORK_BAD},
        {"[::1]/128", NETWORK_BAD},
        {":::1", NETWORK_BAD},
        {"fe80::1%eth0", NETWORK_BAD},
        {"localhost", NETWORK_BAD},
        {" 10.0.0.1", NETWORK_BAD},
        {"unix:/run/x", NETWORK_BAD},
        {"UNIX", NETWORK_BAD},
        {"unix:", NETWORK_BAD},
        {"1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111", NETWORK_BAD},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct network net;
        ck_assert_msg(network_parse(str_of(bad[i].text), &net) == bad[i].result, "%s", bad[i].text);
    }
    struct network net;
    ck_assert_int_eq(network_parse((struct str){"10.0.0.1\0/8", 11}, &net), NETWORK_BAD);
}
END_TEST

START_TEST(a_set_is_sorted_and_joined)
{
    struct network set[] = {
        parse("10.2.0.0/16"), parse("unix"),        parse("10.0.0.0/8"),    parse("::1"),
        parse("192.0.2.7"),   parse("10.0.0.0/16"), parse("2001:db8::/32"), parse("192.0.2.7"),
        parse("10.0.0.0/8"),  parse("::/64"),
    };
    size_t n = networks_sort(set, sizeof set / sizeof *set);
    ck_assert_uint_eq(n, 5);
    ck_assert(contains(set, n, "10.0.0.0") && contains(set, n, "10.2.3.4"));
    ck_assert(contains(set, n, "10.255.255.255") && contains(set, n, "192.0.2.7"));
    ck_assert(contains(set, n, "::1") && contains(set, n, "::ffff") && contains(set, n, ""));
    ck_assert(contains(set, n, "2001:db8::9"));
    ck_assert(!contains(set, n, "11.0.0.0") && !contains(set, n, "192.0.2.8"));
    ck_assert(!contains(set, n, "0:0:0:1::") && !contains(set, n, "2001:db9::"));
    ck_assert_uint_eq(networks_sort(set, 0), 0);
    ck_assert(!contains(set, 0, "10.0.0.0"));
}
END_TEST

START_TEST(a_large_set_agrees_with_a_look_at_each)
{
    enum { N = 300 };
    static struct network set[N], sorted[N];
    uint32_t random = 1;
    for (size_t i = 0; i < N; i++) {
        char text[32];
        random = random * 1664525 + 1013904223;
        snprintf(text, sizeof text, "10.%u.%u.%u/%u", random >> 24, random >> 16 & 255,
                 random >> 8 & 255, 20 + random % 13);
        sorted[i] = set[i] = parse(text);
    }
    size_t n = networks_sort(sorted, N);
    ck_assert_uint_lt(n, N);
    for (size_t i = 0; i < 5000; i++) {
        struct addr a = {.v4.sin_family = AF_INET};
        random = random * 1664525 + 1013904223;
        a.v4.sin_addr.s_addr = htonl(10u << 24 | random >> 8);
        bool any = false;
        for (size_t k = 0; k < N && !any; k++)
            any = networks_contain(&set[k], 1, &a);
        ck_assert_int_eq(networks_contain(sorted, n, &a), any);
    }
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("network");
    TCase *t = tcase_create("network");
    tcase_add_loop_test(t, a_network_has_exactly_its_addresses, 0, sizeof edges / sizeof *edges);
    tcase_add_test(t, every_length_takes_that_many_bits);
    tcase_add_test(t, what_is_no_network_is_refused);
    tcase_add_test(t, a_set_is_sorted_and_joined);
    tcase_add_test(t, a_large_set_agrees_with_a_look_at_each);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
