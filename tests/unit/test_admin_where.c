#include "app/admin_where.h"

#include <stdio.h>
#include <unistd.h>

#include "tests/lib/unit.h"

#define POOLS "pools: [{name: p, backends: [{name: b, address: '127.0.0.1:1'}]}]\n"
#define LISTENERS "listeners: [{name: l, listen: '127.0.0.1:2', pool: p}]\n"

static void clear(void)
{
    unsetenv("RINGPROXY_ADMIN");
    unsetenv("RINGPROXY_ADMIN_TOKEN");
}

static struct config *parse(const char *admin)
{
    char text[512];
    struct config_errors errors = {0};
    snprintf(text, sizeof text, "%s" LISTENERS POOLS, admin);
    struct config *c = config_parse("f.yaml", text, strlen(text), &errors);
    ck_assert_msg(c != NULL, "%s", errors.count ? errors.lines[0] : "?");
    config_errors_free(&errors);
    return c;
}

static const struct {
    const char *url, *host, *port, *authority, *prefix; /* host NULL: refused */
} urls[] = {
    {"http://127.0.0.1:9900", "127.0.0.1", "9900", "127.0.0.1:9900", ""},
    {"HTTP://proxy.example:1/", "proxy.example", "1", "proxy.example:1", ""},
    {"http://proxy", "proxy", "80", "proxy:80", ""},
    {"proxy", "proxy", "9900", "proxy:9900", ""},
    {"proxy:9901", "proxy", "9901", "proxy:9901", ""},
    {"http://[::1]:9900", "::1", "9900", "[::1]:9900", ""},
    {"[::1]", "::1", "9900", "[::1]:9900", ""},
    {"[fe80::1%lo]:9900", "fe80::1%lo", "9900", "[fe80::1]:9900", ""},
    {"http://gate/proxies/1//", "gate", "80", "gate:80", "/proxies/1"},
    {"https://proxy", NULL, NULL, NULL, NULL},
    {"unix:/run/admin", NULL, NULL, NULL, NULL},
    {"", NULL, NULL, NULL, NULL},
    {"http://", NULL, NULL, NULL, NULL},
    {"http://:9900", NULL, NULL, NULL, NULL},
    {"http://proxy:", NULL, NULL, NULL, NULL},
    {"http://proxy:0", NULL, NULL, NULL, NULL},
    {"http://proxy:65536", NULL, NULL, NULL, NULL},
    {"http://proxy:123456", NULL, NULL, NULL, NULL},
    {"http://proxy:9x", NULL, NULL, NULL, NULL},
    {"http://::1:9900", NULL, NULL, NULL, NULL},
    {"http://[::1", NULL, NULL, NULL, NULL},
    {"http://[::1]9900", NULL, NULL, NULL, NULL},
    {"http://[]:9900", NULL, NULL, NULL, NULL},
    {"http://user@proxy:9900", NULL, NULL, NULL, NULL},
    {"http://proxy:9900/?a", NULL, NULL, NULL, NULL},
    {"http://proxy:9900/#a", NULL, NULL, NULL, NULL},
    {"http://proxy:9900/a b", NULL, NULL, NULL, NULL},
    {"http://proxy:9900/\r\nX: y", NULL, NULL, NULL, NULL},
    {"http://pr\xc3\xb6xy:9900", NULL, NULL, NULL, NULL},
};

START_TEST(a_url_is_taken_apart)
{
    struct admin_where w;
    struct error e = {0};
    const struct admin_hints h = {.url = urls[_i].url};
    clear();
    bool ok = admin_where_init(&w, &h, &e);
    ck_assert_msg(ok == (urls[_i].host != NULL), "%s", urls[_i].url);
    if (ok) {
        ck_assert_str_eq(w.host, urls[_i].host);
        ck_assert_str_eq(w.port, urls[_i].port);
        ck_assert_str_eq(w.authority, urls[_i].authority);
        ck_assert_str_eq(w.prefix, urls[_i].prefix);
        ck_assert_ptr_null(w.token);
    } else {
        ck_assert_msg(strstr(e.text, "not the URL of an admin interface") != NULL, "%s", e.text);
    }
    admin_where_deinit(&w);
}
END_TEST

static void expect(const struct admin_hints *h, const char *authority, const char *token)
{
    struct admin_where w;
    struct error e = {0};
    ck_assert_msg(admin_where_init(&w, h, &e), "%s", e.text);
    ck_assert_str_eq(w.authority, authority);
    ck_assert_str_eq(w.token ? w.token : "", token);
    admin_where_deinit(&w);
}

START_TEST(what_is_said_first_counts)
{
    struct config *c = parse("admin: {listen: '127.0.0.1:9001'}\n");
    struct admin_hints h = {0};
    clear();
    expect(&h, "127.0.0.1:9900", "");
    h.config = c;
    expect(&h, "127.0.0.1:9001", "");
    setenv("RINGPROXY_ADMIN", "", 1); /* as if it were not set */
    expect(&h, "127.0.0.1:9001", "");
    setenv("RINGPROXY_ADMIN", "http://env:1", 1);
    expect(&h, "env:1", "");
    h.url = "http://arg:2";
    expect(&h, "arg:2", "");
    clear();
    config_unref(c);
}
END_TEST

START_TEST(a_wildcard_is_reached_by_loopback)
{
    static const char *const cases[][2] = {{"0.0.0.0:9001", "127.0.0.1:9001"},
                                           {"[::]:9001", "[::1]:9001"},
                                           {"127.0.0.2:9001", "127.0.0.2:9001"}};
    clear();
    for (size_t i = 0; i < 3; i++) {
        struct config *c = parse("admin: {listen: '127.0.0.1:9001'}\n");
        ck_assert_int_eq(addr_parse(str_of(cases[i][0]), &c->admin_listen), ADDR_OK);
        expect(&(struct admin_hints){.config = c}, cases[i][1], "");
        config_unref(c);
    }
}
END_TEST

START_TEST(a_file_without_an_interface_names_none)
{
    struct config *c = parse("");
    struct admin_where w;
    struct error e;
    clear();
    ck_assert(!admin_where_init(&w, &(struct admin_hints){.config = c}, &e));
    ck_assert_str_eq(e.text, "f.yaml has no admin.listen, so its proxy cannot be asked");
    expect(&(struct admin_hints){.url = "a:1", .config = c}, "a:1", "");
    config_unref(c);
}
END_TEST

START_TEST(tokens_come_from_file_environment_or_configuration)
{
    char folder[] = "/tmp/test_admin_where.XXXXXX", path[64], config[256];
    struct admin_where w;
    struct error e;
    clear();
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/token", folder);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs("of-file\n", f);
    ck_assert_int_eq(fclose(f), 0);
    snprintf(config, sizeof config, "admin: {listen: '127.0.0.1:9001', token_file: %s}\n", path);
    struct config *c = parse(config);
    free(c->admin_token);
    c->admin_token = strdup("of-config");
    struct admin_hints h = {.config = c};
    expect(&h, "127.0.0.1:9001", "of-config");
    setenv("RINGPROXY_ADMIN_TOKEN", "of-environment", 1);
    expect(&h, "127.0.0.1:9001", "of-environment");
    h.token_file = path;
    expect(&h, "127.0.0.1:9001", "of-file");
    ck_assert_int_eq(unlink(path), 0);
    ck_assert(!admin_where_init(&w, &h, &e));
    h.token_file = NULL;
    setenv("RINGPROXY_ADMIN_TOKEN", "a\r\nX: y", 1); /* would begin another field */
    ck_assert(!admin_where_init(&w, &h, &e));
    clear();
    config_unref(c);
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("admin_where");
    TCase *t = tcase_create("admin_where");
    tcase_add_loop_test(t, a_url_is_taken_apart, 0, (int)(sizeof urls / sizeof *urls));
    tcase_add_test(t, what_is_said_first_counts);
    tcase_add_test(t, a_wildcard_is_reached_by_loopback);
    tcase_add_test(t, a_file_without_an_interface_names_none);
    tcase_add_test(t, tokens_come_from_file_environment_or_configuration);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
