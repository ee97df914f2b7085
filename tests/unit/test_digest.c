/* What changes the digest of a pool, and what does not. */
#include "pool/digest.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/unit.h"

#define B1 "{name: b1, address: 127.0.0.1:9001}"
#define B2 "{name: b2, address: 127.0.0.1:9002}"
#define S1 "{name: s1, address: 127.0.0.1:9003}"
#define S1_FOR(list) "{name: s1, address: 127.0.0.1:9003, for: [" list "]}"
#define PLAIN "backends: [" B1 "," B2 "], standbys: [" S1 "]"

static void digest(const char *pool, char out[DIGEST_SIZE])
{
    char text[2048];
    struct config_errors errors;
    int n = snprintf(text, sizeof text,
                     "listeners: [{name: web, listen: 127.0.0.1:8080, pool: p}]\n"
                     "pools: [{name: p, %s}]\n",
                     pool);
    struct config *c = config_parse("t.yaml", text, (size_t)n, &errors);
    ck_assert_msg(c != NULL, "%s", errors.count ? errors.lines[0] : text);
    digest_of(&c->pools[0], out);
    config_errors_free(&errors);
    config_unref(c);
}

START_TEST(the_digest_is_of_what_decides_who_serves_a_key)
{
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        {PLAIN, PLAIN, true},
        {PLAIN, "standbys: [" S1 "], backends: [" B2 "," B1 "]", true},
        {PLAIN, PLAIN ", when_down: next", true},
        {PLAIN, PLAIN ", ring: {vnodes: 512}", true},
        {PLAIN,
         "backends: [{name: b1, address: 10.0.0.1:80, weight: 1}," B2 "], standbys: [" S1 "]",
         true},
        {PLAIN, PLAIN ", health: {interval: 9s}, failback: {after: 9s}, retries: 0", true},
        {PLAIN, PLAIN ", when_down: fail", false},
        {PLAIN, PLAIN ", ring: {vnodes: 160}", false},
        {PLAIN, "backends: [" B1 "," B2 "]", false},
        {PLAIN, "backends: [" B1 "], standbys: [" S1 "]", false},
        {PLAIN, "backends: [" B1 "," B2 "," S1 "]", false},
        {PLAIN,
         "backends: [{name: b1, address: 127.0.0.1:9001, weight: 2}," B2 "], standbys: [" S1 "]",
         false},
        {PLAIN, "backends: [{name: b3, address: 127.0.0.1:9001}," B2 "], standbys: [" S1 "]",
         false},
        {PLAIN, "backends: [" B1 "," B2 "], standbys: [" S1_FOR("b1") "]", false},
        {"backends: [" B1 "," B2 "], standbys: [" S1_FOR("b1") "]",
         "backends: [" B1 "," B2 "], standbys: [" S1_FOR("b2") "]", false},
        {"backends: [" B1 "," B2 "], standbys: [" S1_FOR("b1, b2") "]",
         "backends: [" B2 "," B1 "], standbys: [" S1_FOR("b2, b1") "]", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char a[DIGEST_SIZE], b[DIGEST_SIZE];
        digest(cases[i].a, a);
        digest(cases[i].b, b);
        ck_assert_uint_eq(strlen(a), 32);
        ck_assert_msg((strcmp(a, b) == 0) == cases[i].same, "%s | %s", cases[i].a, cases[i].b);
    }
}
END_TEST

/* Members of two versions must agree about it. */
START_TEST(digests_never_change)
{
    char d[DIGEST_SIZE];
    digest("backends: [" B1 "," B2 "], standbys: [" S1_FOR("b2") "]", d);
    ck_assert_str_eq(d, "0e1657ee5daf58cbedd0090a6dd0b672");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("digest");
    TCase *t = tcase_create("digest");
    tcase_add_test(t, the_digest_is_of_what_decides_who_serves_a_key);
    tcase_add_test(t, digests_never_change);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
