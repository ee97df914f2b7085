/* Keys that the proxy issues, in configuration files: values, errors, and the warning of lists in
 * which a client's key changes. */
#include <string.h>

#include "config/config.h"
#include "tests/lib/unit.h"

#define POOLS "pools: [{name: p, backends: [{name: b1, address: 127.0.0.1:9001}]}]\n"
#define LISTENER(line) \
    "listeners: [{name: web, listen: 127.0.0.1:8080, pool: p,\n" line "\n}]\n" POOLS

static struct config *parse(const char *text)
{
    struct config_errors errors;
    struct config *c = config_parse("t.yaml", text, strlen(text), &errors);
    ck_assert_msg(c != NULL, "%s", errors.count ? errors.lines[0] : text);
    config_errors_free(&errors);
    return c;
}

START_TEST(a_cookie_has_defaults)
{
    struct config *c = parse(LISTENER("key: [header:X-Session, issued:rp]"));
    const struct config_listener *l = &c->listeners[0];
    ck_assert_uint_eq(l->nkeys, 2);
    ck_assert_ptr_eq(l->routes[0].issued, &l->keys[1].parts[0]);
    ck_assert_int_eq(l->routes[0].issued->kind, KEY_ISSUED);
    ck_assert_str_eq(l->routes[0].issued->name, "rp");
    ck_assert_uint_eq(l->issued_cookie.max_age_ms, 0);
    ck_assert_ptr_null(l->issued_cookie.domain);
    ck_assert_str_eq(l->issued_cookie.path, "/");
    ck_assert_int_eq(l->issued_cookie.same_site, SAME_SITE_LAX);
    config_unref(c);
    c = parse(LISTENER("key: [header:X-Session, cookie:rp]"));
    ck_assert_ptr_null(c->listeners[0].routes[0].issued);
    config_unref(c);
}
END_TEST

START_TEST(a_cookie_has_its_attributes)
{
    struct config *c = parse(LISTENER(
        "key: issued:__Secure-rp, issued_cookie: {max_age: 9600h, domain: a-1.Shop.example,\n"
        "path: /a/%20~, same_site: strict}"));
    const struct config_issued_cookie *i = &c->listeners[0].issued_cookie;
    ck_assert_str_eq(c->listeners[0].routes[0].issued->name, "__Secure-rp");
    ck_assert_uint_eq(i->max_age_ms, 34560000000);
    ck_assert_str_eq(i->domain, "a-1.Shop.example");
    ck_assert_str_eq(i->path, "/a/%20~");
    ck_assert_int_eq(i->same_site, SAME_SITE_STRICT);
    config_unref(c);
    c = parse(LISTENER(
        "key: issued:__Host-rp, issued_cookie: {max_age: 1000ms, same_site: none, path: /}"));
    ck_assert_uint_eq(c->listeners[0].issued_cookie.max_age_ms, 1000);
    ck_assert_int_eq(c->listeners[0].issued_cookie.same_site, SAME_SITE_NONE);
    config_unref(c);
}
END_TEST

#define COOKIE(attributes) LISTENER("key: issued:rp, issued_cookie: {" attributes "}")
#define DOMAIN(d)                                        \
    "t.yaml:2:41: listeners[0].issued_cookie.domain: " d \
    " is not a domain, allowed a name such as shop.example"
#define LABEL63 "a23456789012345678901234567890123456789012345678901234567890123"

static const struct {
    const char *text;
    const char *lines[4];
} broken[] = {
    {LISTENER("key: [issued:rp, source_ip]"),
     {"t.yaml:2:7: listeners[0].key[0]: issued:rp is never absent, so no key behind it is used, "
      "allowed last"}},
    {LISTENER("key: [path, issued:a, issued:b]"),
     {"t.yaml:2:13: listeners[0].key[1]: issued:a is never absent, so no key behind it is used, "
      "allowed last"}},
    {LISTENER("key: [path+issued:a, issued:b+host+issued:c]"),
     {"t.yaml:2:7: listeners[0].key[0]: path+issued:a joins issued:a with another key, allowed "
      "alone",
      "t.yaml:2:22: listeners[0].key[1]: issued:b+host+issued:c joins issued:b with another key, "
      "allowed alone"}},
    {LISTENER("key: issued"),
     {"t.yaml:2:6: listeners[0].key: issued has no valid name, allowed issued:NAME"}},
    {LISTENER("key: 'issued:a;b'"),
     {"t.yaml:2:6: listeners[0].key: issued:a;b has no valid name, allowed issued:NAME"}},
    {LISTENER("mode: tcp, key: [source_ip, issued:rp]"),
     {"t.yaml:2:29: listeners[0].key[1]: issued:rp means nothing with mode: tcp, allowed "
      "source_ip, "
      "sni, joined with '+'"}},
    {LISTENER("mode: tcp, key: source_ip, issued_cookie: {path: /}"),
     {"t.yaml:2:43: listeners[0].issued_cookie: means nothing with mode: tcp, allowed with mode: "
      "http"}},
    {LISTENER("key: [cookie:rp], issued_cookie: {path: /}"),
     {"t.yaml:2:34: listeners[0].issued_cookie: means nothing without a key issued:NAME, allowed "
      "with one"}},
    {LISTENER("issued_cookie: {}"),
     {"t.yaml:2:16: listeners[0].issued_cookie: means nothing without a key issued:NAME, allowed "
      "with one"}},
    {LISTENER("key: isued:rp, issued_cookie: {path: /}"), /* not a consequence of it, too */
     {"t.yaml:2:6: listeners[0].key: isued:rp is not a key, allowed header:NAME, cookie:NAME, "
      "query:NAME, path, uri, host, source_ip, client_ip, sni, joined with '+', and issued:NAME"}},
    {LISTENER("key: issued:rp, issued_cookie: lax"),
     {"t.yaml:2:32: listeners[0].issued_cookie: found a single value, allowed a mapping"}},
    {COOKIE("max_age: 999ms"),
     {"t.yaml:2:42: listeners[0].issued_cookie.max_age: 999ms is out of range, allowed 1s to "
      "9600h"}},
    {COOKIE("max_age: 1001ms"),
     {"t.yaml:2:42: listeners[0].issued_cookie.max_age: 1001ms is not in whole seconds, allowed 1s "
      "to 9600h"}},
    {COOKIE("max_age: 9601h"),
     {"t.yaml:2:42: listeners[0].issued_cookie.max_age: 9601h is out of range, allowed 1s to "
      "9600h"}},
    {COOKIE("domain: .shop.example"), {DOMAIN(".shop.example")}},
    {COOKIE("domain: shop..example"), {DOMAIN("shop..example")}},
    {COOKIE("domain: shop.example."), {DOMAIN("shop.example.")}},
    {COOKIE("domain: 192.0.2.1"), {DOMAIN("192.0.2.1")}},
    {COOKIE("domain: '::1'"), {DOMAIN("::1")}},
    {COOKIE("domain: -a.example"), {DOMAIN("-a.example")}},
    {COOKIE("domain: a-.example"), {DOMAIN("a-.example")}},
    {COOKIE("domain: 'a.b;Path=/'"), {DOMAIN("a.b;Path=/")}},
    {COOKIE("domain: a_b.example"), {DOMAIN("a_b.example")}},
    {COOKIE("domain: 4" LABEL63 ".x"), {DOMAIN("\"4a23456789012345678901234567890123456789...\"")}},
    {COOKIE("path: a"),
     {"t.yaml:2:39: listeners[0].issued_cookie.path: a is not a path of cookies, allowed '/' and "
      "visible ASCII characters other than ';'"}},
    {COOKIE("path: '/a;b'"),
     {"t.yaml:2:39: listeners[0].issued_cookie.path: /a;b is not a path of cookies, allowed '/' "
      "and "
      "visible ASCII characters other than ';'"}},
    {COOKIE("path: '/ '"),
     {"t.yaml:2:39: listeners[0].issued_cookie.path: \"/ \" is not a path of cookies, allowed '/' "
      "and visible ASCII characters other than ';'"}},
    {COOKIE("same_site: Lax"),
     {"t.yaml:2:44: listeners[0].issued_cookie.same_site: Lax is unknown, allowed lax, strict, "
      "none"}},
    {LISTENER("key: [path, issued:__Host-rp], issued_cookie: {domain: shop.example}"),
     {"t.yaml:2:13: listeners[0].key[1]: __Host-rp begins with __Host-, allowed if issued_cookie "
      "has no domain and no path other than /"}},
    {LISTENER("key: issued:__host-rp, issued_cookie: {path: /a}"),
     {"t.yaml:2:6: listeners[0].key: __host-rp begins with __Host-, allowed if issued_cookie has "
      "no "
      "domain and no path other than /"}},
};

START_TEST(each_mistake_has_its_message)
{
    struct config_errors errors;
    struct config *c = config_parse("t.yaml", broken[_i].text, strlen(broken[_i].text), &errors);
    ck_assert_msg(c == NULL, "%s", broken[_i].text);
    size_t n = 0;
    while (n < errors.count && broken[_i].lines[n]) {
        ck_assert_str_eq(errors.lines[n], broken[_i].lines[n]);
        n++;
    }
    ck_assert_msg(n == errors.count && broken[_i].lines[n] == NULL, "%s", broken[_i].text);
    config_errors_free(&errors);
}
END_TEST

/* ---- warnings ---- */

#define WARNS(place, later, fallback)                                                             \
    "t.yaml:2:" place ": warning: a client that begins to send " later                            \
    ", after a login say, changes servers and loses what the first one keeps for it, as its key " \
    "was " fallback " before; with issued:NAME alone it stays where it began"

static const struct {
    const char *text, *warning; /* NULL: none */
} lists[] = {
    {LISTENER("key: [header:X-Session, cookie:sid, source_ip]"),
     WARNS("37: listeners[0].key[2]", "header:X-Session or cookie:sid", "source_ip")},
    {LISTENER("key: [cookie:sid, client_ip, source_ip]"),
     WARNS("19: listeners[0].key[1]", "cookie:sid", "client_ip")},
    {LISTENER("key: [path, query:user, host+source_ip]"),
     WARNS("25: listeners[0].key[2]", "query:user", "host+source_ip")},
    {LISTENER("key: [cookie:sid+host, source_ip]"),
     WARNS("24: listeners[0].key[1]", "cookie:sid+host", "source_ip")},
    {LISTENER("key: [header:X-Key, cookie:sid, issued:rp]"),
     WARNS("33: listeners[0].key[2]", "cookie:sid", "issued:rp")},
    {LISTENER("key: [header:X-Session, issued:rp]"), NULL},
    {LISTENER("key: issued:rp"), NULL},
    {LISTENER("key: [source_ip, cookie:sid]"), NULL},
    {LISTENER("key: [cookie:sid, path]"), NULL},
    {LISTENER("key: [path, source_ip]"), NULL},
    {LISTENER("key: cookie:sid"), NULL},
    {LISTENER("key: [sni, source_ip], mode: tcp"), NULL},
    {LISTENER(""), NULL},
};

START_TEST(a_list_in_which_keys_change_is_warned_of)
{
    struct config *c = parse(lists[_i].text);
    ck_assert_msg(c->warnings.count == (lists[_i].warning != NULL), "%s", lists[_i].text);
    if (lists[_i].warning)
        ck_assert_str_eq(c->warnings.lines[0], lists[_i].warning);
    config_unref(c);
}
END_TEST

/* A file with errors has no warnings to be freed, and none among its errors. */
START_TEST(warnings_are_no_errors)
{
    const char *text = LISTENER("key: [cookie:sid, source_ip], max_connections: 0");
    struct config_errors errors;
    ck_assert_ptr_null(config_parse("t.yaml", text, strlen(text), &errors));
    ck_assert_uint_eq(errors.count, 1);
    config_errors_free(&errors);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("issued");
    TCase *t = tcase_create("issued");
    tcase_add_test(t, a_cookie_has_defaults);
    tcase_add_test(t, a_cookie_has_its_attributes);
    tcase_add_loop_test(t, each_mistake_has_its_message, 0, sizeof broken / sizeof *broken);
    tcase_add_loop_test(t, a_list_in_which_keys_change_is_warned_of, 0,
                        sizeof lists / sizeof *lists);
    tcase_add_test(t, warnings_are_no_errors);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
