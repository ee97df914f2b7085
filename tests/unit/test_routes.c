/* Routes: what each condition matches, and that of many routes the first that matches is found,
 * which is what trying them one after the other finds.
 *
 * ROUTES_BENCH=1 prints what a look-up among 1 to 4,096 routes costs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/mem.h"
#include "base/splitmix.h"
#include "pool/routes.h"
#include "tests/lib/unit.h"

static struct route_query query(const char *host, const char *path, const char *method)
{
    return (struct route_query){str_of(host), str_of(path), str_of(method)};
}

static char get[] = "GET", head[] = "HEAD", post[] = "POST", put[] = "PUT", purge[] = "PURGE";

/* ---- single conditions ---- */

static const struct match {
    const char *route; /* HOST and path, either may be missing */
    const char *host, *path;
    bool matches;
} matches[] = {
    {"example.com", "example.com", "/", true},
    {"example.com", "EXAMPLE.Com", "/", true},
    {"example.com", "example.com:8080", "/", true},
    {"example.com", "example.com.", "/", true},
    {"example.com", "Example.com.:80", "/", true},
    {"example.com", "example.com..", "/", false},
    {"example.com", "www.example.com", "/", false},
    {"example.com", "xexample.com", "/", false},
    {"example.com", "example.co", "/", false},
    {"example.com", "", "/", false},
    {"example.com", ".", "/", false},
    {"example.com", ".example.com", "/", false},
    {"*.example.com", "www.example.com", "/", true},
    {"*.example.com", "WWW.Example.COM.:1", "/", true},
    {"*.example.com", "a.b.c.example.com", "/", true},
    {"*.example.com", "example.com", "/", false},
    {"*.example.com", ".example.com", "/", false},
    {"*.example.com", "wwwexample.com", "/", false},
    {"*.example.com", "www.example.com.evil.org", "/", false},
    {"*.com", "example.com", "/", true},
    {"[::1]", "[::1]:8080", "/", true},
    {"[::1]", "[::1]", "/", true},
    {"[::1]", "[::2]", "/", false},
    {"[fe80::1]", "[FE80::1]", "/", true},
    {"127.0.0.1", "127.0.0.1:80", "/", true},
    {"/v1", "h", "/v1", true},
    {"/v1", "h", "/v1/", true},
    {"/v1", "h", "/v1/x", true},
    {"/v1", "h", "/v1//", true},
    {"/v1", "h", "/v1beta", false},
    {"/v1", "h", "/v", false},
    {"/v1", "h", "/V1", false},
    {"/v1", "h", "/x/v1", false},
    {"/v1", "h", "//v1", false},
    {"/v1", "h", "/v1%2Fx", false},
    {"/v1", "h", "/%761", false},
    {"/v1", "h", "*", false},
    {"/v1", "", "/v1", true},
    {"/v1/", "h", "/v1", false},
    {"/v1/", "h", "/v1/", true},
    {"/v1/", "h", "/v1/x", true},
    {"/", "h", "/", true},
    {"/", "h", "/x/y", true},
    {"/", "h", "*", false},
    {"=/v1", "h", "/v1", true},
    {"=/v1", "h", "/v1/", false},
    {"=/v1", "h", "/v1/x", false},
    {"=/v1", "h", "/v", false},
    {"=/", "h", "/", true},
    {"=/", "h", "/x", false},
    {"/a%2Fb", "h", "/a%2Fb/c", true},
    {"/a%2Fb", "h", "/a%2fb/c", false},
    {"/a%2Fb", "h", "/a/b/c", false},
    {"/a/b", "h", "/a/b/c/d", true},
    {"/a/b", "h", "/a", false},
    {"/a//b", "h", "/a//b/c", true},
    {"/a//b", "h", "/a/b", false},
    {"example.com/v1", "example.com", "/v1/x", true},
    {"example.com/v1", "example.com", "/v2", false},
    {"example.com/v1", "example.org", "/v1", false},
    {"*.example.com=/v1", "a.example.com:1", "/v1", true},
    {"", "", "*", true},
};

/* Splits "HOST=/PATH". The texts are the caller's. */
static struct config_route route_of(const char *text)
{
    struct config_route r = {0};
    const char *path = strchr(text, '/');
    if (path && path > text && path[-1] == '=') {
        r.path_exact = true;
        path--;
    }
    size_t n = path ? (size_t)(path - text) : strlen(text);
    r.host = n ? mem_strndup(text, n) : NULL;
    r.path = path ? mem_strdup(path + r.path_exact) : NULL;
    return r;
}

/* `others` routes that do not match, before and behind it, have the route looked up by hash. */
static void check_match(const struct match *m, size_t others)
{
    struct config_route *all = mem_zalloc_array(2 * others + 1, sizeof *all);
    struct config_listener l = {.routes = all, .nroutes = 2 * others + 1};
    for (size_t i = 0; i <= 2 * others; i++) {
        char text[80];
        const char *slash = strchr(m->route, '/');
        int n = slash ? (int)(slash - m->route - (slash > m->route && slash[-1] == '='))
                      : (int)strlen(m->route);
        snprintf(text, sizeof text, "%.*s/other/%zu", n, m->route, i);
        all[i] = route_of(i == others ? m->route : text);
    }
    struct routes *r = routes_new(&l);
    struct route_query q = query(m->host, m->path, "GET");
    ck_assert_msg(routes_find(r, &q) == (m->matches ? others : ROUTE_NONE) ||
                      (r == NULL && m->matches),
                  "%s: %s %s", m->route, m->host, m->path);
    routes_free(r);
    for (size_t i = 0; i <= 2 * others; i++) {
        free(all[i].host);
        free(all[i].path);
    }
    free(all);
}

START_TEST(each_condition_matches_what_it_says)
{
    check_match(&matches[_i], 0);
    check_match(&matches[_i], 3);
    check_match(&matches[_i], 20);
}
END_TEST

START_TEST(methods_are_case_sensitive)
{
    char *get_head[] = {get, head}, *other[] = {purge}, a[] = "/a", ab[] = "/a/b";
    struct config_route all[] = {{.methods = get_head, .nmethods = 2, .path = a},
                                 {.methods = other, .nmethods = 1, .path = a},
                                 {.path = ab}};
    struct config_listener l = {.routes = all, .nroutes = 3};
    struct routes *r = routes_new(&l);
    static const struct {
        const char *path, *method;
        size_t route;
    } cases[] = {{"/a", "GET", 0},           {"/a", "HEAD", 0},        {"/a", "PURGE", 1},
                 {"/a", "get", ROUTE_NONE},  {"/a", "GE", ROUTE_NONE}, {"/a", "GETS", ROUTE_NONE},
                 {"/a", "POST", ROUTE_NONE}, {"/a/b", "POST", 2},      {"/a/b", "GET", 0},
                 {"/a/b/c", "PURGE", 1},     {"/b", "GET", ROUTE_NONE}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct route_query q = query("h", cases[i].path, cases[i].method);
        ck_assert_uint_eq(routes_find(r, &q), cases[i].route);
    }
    routes_free(r);
}
END_TEST

START_TEST(one_route_without_conditions_needs_no_matcher)
{
    struct config_route one = {0};
    struct config_listener l = {.routes = &one, .nroutes = 1};
    struct route_query q = query("", "*", "OPTIONS");
    ck_assert_ptr_null(routes_new(&l));
    ck_assert_uint_eq(routes_find(NULL, &q), 0);
    routes_free(NULL);
}
END_TEST

/* ---- against the naive matcher ---- */

/* Deliberately by other means than the code: it compares whole segments and labels. */
static bool naive_host(const char *pattern, const char *host)
{
    char name[300];
    if (pattern == NULL)
        return true;
    snprintf(name, sizeof name, "%s", host);
    name[strcspn(name, ":")] = 0;
    size_t n = strlen(name);
    if (n && name[n - 1] == '.')
        name[--n] = 0;
    if (pattern[0] != '*')
        return strcasecmp(pattern, name) == 0;
    for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.'))
        if (dot > name && strcasecmp(dot + 1, pattern + 2) == 0)
            return true;
    return false;
}

static bool naive_path(const struct config_route *r, const char *path)
{
    if (r->path == NULL)
        return true;
    if (r->path_exact)
        return strcmp(r->path, path) == 0;
    const char *p = r->path;
    for (;;) { /* segment by segment */
        size_t a = strcspn(p, "/"), b = strcspn(path, "/");
        if (a == 0 && p[0] == 0)
            return true; /* the pattern ended in '/': anything may follow */
        if (a != b || memcmp(p, path, a) != 0)
            return false;
        if (p[a] == 0)
            return true;
        if (path[b] == 0)
            return false;
        p += a + 1;
        path += b + 1;
    }
}

static size_t naive(const struct config_listener *l, const char *host, const char *path,
                    const char *method)
{
    for (size_t i = 0; i < l->nroutes; i++) {
        const struct config_route *r = &l->routes[i];
        bool takes = r->nmethods == 0;
        for (size_t m = 0; m < r->nmethods; m++)
            takes = takes || strcmp(r->methods[m], method) == 0;
        if (takes && naive_host(r->host, host) && naive_path(r, path))
            return i;
    }
    return ROUTE_NONE;
}

static const char *pick(uint64_t *seed, const char *const *from, size_t n)
{
    return from[splitmix_next(seed) % n];
}

#define PICK(seed, from) pick((seed), (from), sizeof(from) / sizeof *(from))

/* Few labels, so that hosts and ends of hosts meet. */
static void random_host(uint64_t *seed, char out[64], bool pattern)
{
    static const char *const labels[] = {"a", "b", "cc", "d-1"};
    int n = 0;
    if (pattern && splitmix_next(seed) % 3 == 0)
        n = sprintf(out, "*.");
    for (unsigned more = (unsigned)(splitmix_next(seed) % 4), i = 0; i <= more; i++)
        n += sprintf(out + n, "%s%s", i ? "." : "", PICK(seed, labels));
    if (pattern)
        return;
    static const char *const ends[] = {"", "", ".", ":80", ".:80"};
    sprintf(out + n, "%s", PICK(seed, ends));
    if (splitmix_next(seed) % 4 == 0)
        for (char *c = out; *c; c++)
            *c = (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
    if (splitmix_next(seed) % 40 == 0)
        memmove(out + 1, out, strlen(out) + 1), out[0] = '.';
}

static void random_path(uint64_t *seed, char out[64])
{
    static const char *const segments[] = {"a", "b", "ab", "", "a%2Fb"};
    int n = 0;
    out[0] = 0;
    for (unsigned more = (unsigned)(splitmix_next(seed) % 4), i = 0; i <= more; i++)
        n += sprintf(out + n, "/%s", PICK(seed, segments));
}

static struct config_listener random_routes(uint64_t *seed, size_t n)
{
    static char *methods[] = {get, post, put};
    struct config_listener l = {.routes = mem_zalloc_array(n, sizeof *l.routes), .nroutes = n};
    bool hosts = splitmix_next(seed) % 4, paths = splitmix_next(seed) % 4;
    for (size_t i = 0; i < n; i++) {
        struct config_route *r = &l.routes[i];
        char text[64];
        random_host(seed, text, true);
        if (hosts && splitmix_next(seed) % 8)
            r->host = mem_strdup(text);
        random_path(seed, text);
        if (paths && splitmix_next(seed) % 8)
            r->path = mem_strdup(text);
        r->path_exact = r->path && splitmix_next(seed) % 3 == 0;
        if (splitmix_next(seed) % 2) {
            r->methods = methods + splitmix_next(seed) % 3;
            r->nmethods = r->methods == methods ? 2 : 1;
        }
    }
    return l;
}

static void free_random(struct config_listener *l)
{
    for (size_t i = 0; i < l->nroutes; i++) {
        free(l->routes[i].host);
        free(l->routes[i].path);
    }
    free(l->routes);
}

START_TEST(of_many_routes_the_first_that_matches_is_found)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "DELETE"};
    uint64_t seed = (uint64_t)_i + 1;
    unsigned found = 0, none = 0;
    for (unsigned round = 0; round < 60; round++) {
        struct config_listener l =
            random_routes(&seed, 1 + splitmix_next(&seed) % (round < 40 ? 40 : 400));
        struct routes *r = routes_new(&l);
        for (unsigned i = 0; i < 300; i++) {
            char host[72], path[64];
            random_host(&seed, host, false);
            random_path(&seed, path);
            const char *method = PICK(&seed, methods);
            struct route_query q = query(host, splitmix_next(&seed) % 50 ? path : "*", method);
            size_t expected = naive(&l, host, q.path.p, method), got = routes_find(r, &q);
            ck_assert_msg(got == expected, "seed %d: %s %s %s: %zd, expected %zd", _i, method, host,
                          q.path.p, (ssize_t)got, (ssize_t)expected);
            found += got != ROUTE_NONE;
            none += got == ROUTE_NONE;
        }
        routes_free(r);
        free_random(&l);
    }
    ck_assert(found > 1000 && none > 1000);
}
END_TEST

/* ---- cost ---- */

#define ASKED 8192

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* kind 0: a host each; 1: one host, a path each; 2: an end of hosts each; 3: 32 hosts, many paths
 */
static void measure(unsigned kind, size_t n)
{
    static const char *const names[] = {"a host each", "a path each", "*.host each",
                                        "32 hosts x paths"};
    struct config_listener l = {.routes = mem_zalloc_array(n, sizeof *l.routes), .nroutes = n};
    char(*hosts)[160] = mem_zalloc_array(n, 160), (*paths)[160] = mem_zalloc_array(n, 160);
    for (size_t i = 0; i < n; i++) {
        char text[128];
        snprintf(text, sizeof text, "%stenant-%zu.example.com", kind == 2 ? "*." : "",
                 kind == 1   ? 0
                 : kind == 3 ? i % 32
                             : i);
        l.routes[i].host = mem_strdup(text);
        snprintf(hosts[i], 160, "%s%s", kind == 2 ? "www" : "", text + (kind == 2));
        snprintf(text, sizeof text, "/api/service-%zu", i);
        l.routes[i].path = kind == 1 || kind == 3 ? mem_strdup(text) : NULL;
        snprintf(paths[i], 160, "%s/items/42", text);
    }
    struct routes *r = routes_new(&l);
    uint64_t best = UINT64_MAX, seed = 1;
    unsigned wrong = 0;
    /* In a row, as a request is in the cache when it is matched; its routes may not be. */
    struct asked {
        char host[80], path[80];
        size_t route;
    } *asked = mem_zalloc_array(ASKED, sizeof *asked);
    for (size_t i = 0; i < ASKED; i++) {
        size_t at = asked[i].route = splitmix_next(&seed) % n;
        memcpy(asked[i].host, hosts[at], 79);
        memcpy(asked[i].path, paths[at], 79);
    }
    for (unsigned pass = 0; pass < 60; pass++) {
        uint64_t begin = now_ns();
        for (unsigned i = 0; i < ASKED; i++) {
            struct route_query q = query(asked[i].host, asked[i].path, "GET");
            wrong += routes_find(r, &q) != asked[i].route; /* an assertion is a system call */
        }
        uint64_t took = now_ns() - begin;
        best = took < best ? took : best;
    }
    free(asked);
    ck_assert_uint_eq(wrong, 0);
    printf("%-18s %5zu routes: %6.1f ns\n", names[kind], n, (double)best / ASKED);
    routes_free(r);
    free_random(&l);
    free(hosts);
    free(paths);
}

START_TEST(cost)
{
    static const size_t sizes[] = {1, 10, 100, 1000, 4096};
    for (unsigned kind = 0; kind < 4; kind++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            measure(kind, sizes[i]);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("routes");
    TCase *t = tcase_create("routes");
    tcase_add_loop_test(t, each_condition_matches_what_it_says, 0,
                        sizeof matches / sizeof *matches);
    tcase_add_test(t, methods_are_case_sensitive);
    tcase_add_test(t, one_route_without_conditions_needs_no_matcher);
    tcase_add_loop_test(t, of_many_routes_the_first_that_matches_is_found, 0, 8);
    if (getenv("ROUTES_BENCH")) {
        tcase_set_timeout(t, 0);
        tcase_add_test(t, cost);
    }
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
