#include "bench/load/keys.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/lib/unit.h"

#define N 100

static unsigned counts[N];

static void draw(struct keys *k, unsigned n, uint64_t seed)
{
    struct keys_draw d;
    memset(counts, 0, sizeof counts);
    keys_draw_init(&d, seed, 0, 1);
    for (unsigned i = 0; i < n; i++) {
        uint32_t key = keys_next(k, &d);
        if (key >= k->n) /* asserted only then: it is slow */
            ck_abort_msg("key %u of %u", key, k->n);
        counts[key]++;
    }
}

START_TEST(texts_are_numbered)
{
    struct keys k;
    keys_init(&k, 12);
    ck_assert(str_eq(keys_text(&k, 0), STR("key0")));
    ck_assert(str_eq(keys_text(&k, 11), STR("key11")));
    keys_deinit(&k);
}
END_TEST

START_TEST(uniform_keys_come_equally_often)
{
    struct keys k;
    keys_init(&k, N);
    draw(&k, 100000, 1);
    for (unsigned i = 0; i < N; i++) /* 1000 each, standard deviation 31.5 */
        ck_assert(counts[i] > 800 && counts[i] < 1200);
    keys_deinit(&k);
}
END_TEST

START_TEST(sequential_keys_go_round_over_all_threads)
{
    struct keys k;
    struct keys_draw d[3];
    keys_init(&k, 7);
    ck_assert(keys_set_dist(&k, "sequential"));
    for (unsigned i = 0; i < 3; i++)
        keys_draw_init(&d[i], 1, i, 3);
    for (uint32_t i = 0; i < 30; i++)
        ck_assert_uint_eq(keys_next(&k, &d[i % 3]), i % 7);
    keys_deinit(&k);
}
END_TEST

/* The share of rank r is r^-s over the sum of all. */
START_TEST(zipf_keys_come_as_often_as_they_should)
{
    static const char *const dists[] = {"zipf:0.5", "zipf:0.99", "zipf:1", "zipf:1.2", "zipf:3"};
    static const double s[] = {0.5, 0.99, 1, 1.2, 3};
    const unsigned n = 400000;
    struct keys k;
    keys_init(&k, N);
    ck_assert(keys_set_dist(&k, dists[_i]));
    draw(&k, n, 7);
    double sum = 0;
    for (unsigned r = 1; r <= N; r++)
        sum += pow(r, -s[_i]);
    for (unsigned r = 1; r <= N; r++) {
        double expected = n * pow(r, -s[_i]) / sum;
        double tolerance = 6 * sqrt(expected) + 1;
        ck_assert_double_lt(fabs(counts[r - 1] - expected), tolerance);
    }
    keys_deinit(&k);
}
END_TEST

START_TEST(one_key_is_always_the_same)
{
    static const char *const dists[] = {"uniform", "sequential", "zipf:1", "zipf:2.5"};
    struct keys k;
    keys_init(&k, 1);
    ck_assert(keys_set_dist(&k, dists[_i]));
    draw(&k, 100, 3);
    ck_assert_uint_eq(counts[0], 100);
    keys_deinit(&k);
}
END_TEST

START_TEST(the_same_seed_draws_the_same_keys)
{
    struct keys k;
    struct keys_draw a, b, c;
    unsigned same = 0;
    keys_init(&k, 1000000);
    keys_draw_init(&a, 5, 1, 4);
    keys_draw_init(&b, 5, 1, 4);
    keys_draw_init(&c, 5, 2, 4);
    for (unsigned i = 0; i < 1000; i++) {
        uint32_t key = keys_next(&k, &a);
        ck_assert_uint_eq(key, keys_next(&k, &b));
        same += key == keys_next(&k, &c);
    }
    ck_assert_uint_lt(same, 10); /* threads draw others */
    keys_deinit(&k);
}
END_TEST

START_TEST(no_distribution)
{
    static const char *const bad[] = {"",       "zipf",    "zipf:",    "zipf:0",  "zipf:-1",
                                      "zipf:x", "zipf:1x", "zipf:nan", "zipf:11", "Uniform"};
    struct keys k;
    keys_init(&k, 10);
    ck_assert(!keys_set_dist(&k, bad[_i]));
    keys_deinit(&k);
}
END_TEST

static char path[] = "/tmp/test-keys-XXXXXX";

/* What keys_init_file() makes of a file with this text. */
static bool from_file(struct keys *k, const char *text, size_t n, struct error *e)
{
    strcpy(path + sizeof path - 7, "XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, n), (ssize_t)n);
    close(fd);
    bool ok = keys_init_file(k, path, e);
    unlink(path);
    return ok;
}

START_TEST(a_file_has_a_key_a_line)
{
    static const char text[] = "alice\r\n\nbob\n/a%20b?c=d\nlast";
    static const char *const expected[] = {"alice", "bob", "/a%20b?c=d", "last"};
    struct keys k;
    struct error e;
    struct keys_draw d;
    ck_assert(from_file(&k, text, sizeof text - 1, &e));
    ck_assert_uint_eq(k.n, 4);
    keys_draw_init(&d, 1, 0, 1);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(keys_next(&k, &d), i);
        ck_assert(str_eq(keys_text(&k, i), str_of(expected[i])));
    }
    keys_deinit(&k);
}
END_TEST

START_TEST(many_lines_are_all_there)
{
    struct keys k;
    struct error e;
    static char text[200000];
    size_t n = 0;
    for (unsigned i = 0; i < 20000; i++)
        n += (size_t)sprintf(text + n, "k%u\n", i);
    ck_assert(from_file(&k, text, n, &e));
    ck_assert_uint_eq(k.n, 20000);
    ck_assert(str_eq(keys_text(&k, 19999), STR("k19999")));
    keys_deinit(&k);
}
END_TEST

START_TEST(a_bad_file_is_refused_with_its_place)
{
    static const struct {
        const char *text;
        size_t n;
        const char *say;
    } bad[] = {{"good\nbad key\n", 13, "line 2"}, {"a\tb\n", 4, "line 1"}, {"a\0b\n", 4, "line 1"},
               {"\x80\n", 2, "line 1"},           {"\n\n", 2, "no key"},   {"", 0, "no key"}};
    struct keys k;
    struct error e;
    ck_assert(!from_file(&k, bad[_i].text, bad[_i].n, &e));
    ck_assert_msg(strstr(e.text, bad[_i].say) && strstr(e.text, path), "%s", e.text);
}
END_TEST

START_TEST(a_missing_file_is_an_error)
{
    struct keys k;
    struct error e;
    ck_assert(!keys_init_file(&k, "/nonexistent/keys", &e));
    ck_assert_ptr_nonnull(strstr(e.text, "/nonexistent/keys"));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("keys");
    TCase *t = tcase_create("keys");
    tcase_add_test(t, texts_are_numbered);
    tcase_add_test(t, uniform_keys_come_equally_often);
    tcase_add_test(t, sequential_keys_go_round_over_all_threads);
    tcase_add_loop_test(t, zipf_keys_come_as_often_as_they_should, 0, 5);
    tcase_add_loop_test(t, one_key_is_always_the_same, 0, 4);
    tcase_add_test(t, the_same_seed_draws_the_same_keys);
    tcase_add_loop_test(t, no_distribution, 0, 10);
    tcase_add_test(t, a_file_has_a_key_a_line);
    tcase_add_test(t, many_lines_are_all_there);
    tcase_add_loop_test(t, a_bad_file_is_refused_with_its_place, 0, 6);
    tcase_add_test(t, a_missing_file_is_an_error);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
