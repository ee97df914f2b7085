/* Who is live by the reader's clock, and whose view counts. */
#include "cluster/peers.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/unit.h"

#define TTL 3000

static struct view *view_with(const char *id, const char *role, bool ready)
{
    char text[512];
    struct error e;
    int n = snprintf(text, sizeof text,
                     "{\"v\":1,\"id\":\"%s\",\"epoch\":0,\"by\":\"\",\"seq\":0,\"role\":\"%s\","
                     "\"listen\":\"always\",\"accepting\":true,\"priority\":100,\"preempt\":true,"
                     "\"ready\":%s,\"pools\":{}}",
                     id, role, ready ? "true" : "false");
    struct view *v = view_decode((struct str){text, (size_t)n}, &e);
    ck_assert_msg(v != NULL, "%s", e.text);
    return v;
}

static enum peer_life life(const struct peers *p, const char *node, uint64_t now_ms)
{
    return peer_life(peers_find(p, node), now_ms, TTL);
}

START_TEST(a_node_lives_while_its_count_grows)
{
    struct peers *p = peers_new();
    ck_assert(peers_beat(p, "a", "1", 5, 1, 1000));
    ck_assert_int_eq(life(p, "a", 1000 + TTL), PEER_LIVE);
    ck_assert_int_eq(life(p, "a", 1001 + TTL), PEER_SILENT);
    ck_assert(peers_beat(p, "a", "1", 5, 1, 3000)); /* the same beat, read again */
    ck_assert_int_eq(life(p, "a", 1001 + TTL), PEER_SILENT);
    ck_assert(peers_beat(p, "a", "1", 4, 1, 3500)); /* one that was under way for long */
    ck_assert_int_eq(life(p, "a", 1001 + TTL), PEER_SILENT);
    ck_assert_int_eq(life(p, "a", 1000 + 10 * TTL), PEER_SILENT);
    ck_assert_int_eq(life(p, "a", 1001 + 10 * TTL), PEER_GONE);
    ck_assert(peers_beat(p, "a", "1", 6, 1, 90000));
    ck_assert_int_eq(life(p, "a", 90000), PEER_LIVE);
    peers_free(p);
}
END_TEST

START_TEST(a_node_that_was_restarted_counts_once)
{
    struct peers *p = peers_new();
    ck_assert(peers_beat(p, "a", "1", 500, 1, 1000));
    peers_view(p, "a", view_with("1", "follower", true), 1000);
    ck_assert_ptr_nonnull(peers_find(p, "a")->view);
    ck_assert(peers_beat(p, "a", "2", 1, 2, 20000));
    ck_assert_uint_eq(peers_count(p), 1);
    ck_assert_int_eq(life(p, "a", 20000), PEER_LIVE);
    ck_assert_ptr_null(peers_find(p, "a")->view); /* that was the other's */
    peers_view(p, "a", view_with("2", "alone", false), 20000);
    ck_assert_ptr_nonnull(peers_find(p, "a")->view);
    peers_free(p);
}
END_TEST

START_TEST(a_view_that_comes_with_an_old_beat_is_old)
{
    struct peers *p = peers_new();
    ck_assert(peers_beat(p, "a", "1", 5, 3, 1000));
    peers_view(p, "a", view_with("1", "follower", true), 1000);
    ck_assert(peers_beat(p, "a", "1", 4, 4, 1100));
    peers_view(p, "a", view_with("1", "alone", true), 1100);
    ck_assert_int_eq(peers_find(p, "a")->view->role, VIEW_FOLLOWER);
    ck_assert(peers_beat(p, "a", "1", 6, 5, 1200));
    peers_view(p, "a", view_with("1", "keeper", true), 1200);
    ck_assert_int_eq(peers_find(p, "a")->view->role, VIEW_KEEPER);
    peers_free(p);
}
END_TEST

START_TEST(a_view_that_was_refused_takes_the_place_of_the_last)
{
    struct peers *p = peers_new();
    ck_assert(peers_beat(p, "a", "1", 5, 3, 1000));
    peers_view(p, "a", view_with("1", "follower", true), 1000);
    peers_view(p, "a", NULL, 1000);
    ck_assert_ptr_null(peers_find(p, "a")->view);
    peers_view(p, "b", view_with("1", "follower", true), 1000); /* without a beat */
    ck_assert_ptr_null(peers_find(p, "b"));
    peers_free(p);
}
END_TEST

START_TEST(fitness_lasts_while_ready_and_following)
{
    struct peers *p = peers_new();
    static const struct {
        const char *id, *role;
        bool ready, fit;
        uint64_t since_ms;
    } steps[] = {
        {"1", "alone", true, false, 0},     {"1", "follower", false, false, 0},
        {"1", "follower", true, true, 200}, {"1", "follower", true, true, 200},
        {"1", "keeper", true, false, 0},    {"1", "follower", true, true, 500},
        {"2", "follower", true, true, 600},
    };
    for (unsigned i = 0; i < sizeof steps / sizeof *steps; i++) {
        ck_assert(peers_beat(p, "a", steps[i].id, i + 1, i + 1, 100 * i));
        peers_view(p, "a", view_with(steps[i].id, steps[i].role, steps[i].ready), 100 * i);
        const struct peer *a = peers_find(p, "a");
        ck_assert_msg(a->fit == steps[i].fit, "step %u", i);
        ck_assert_msg(!a->fit || a->fit_ms == steps[i].since_ms, "step %u: %u", i,
                      (unsigned)a->fit_ms);
    }
    peers_free(p);
}
END_TEST

START_TEST(what_is_no_beat_is_refused)
{
    struct peers *p = peers_new();
    static const struct {
        const char *node, *instance;
        uint64_t n, c;
    } bad[] = {
        {"", "1", 1, 1},
        {"a b", "1", 1, 1},
        {"a/b", "1", 1, 1},
        {"a\x1b[1m", "1", 1, 1},
        {"a\xff", "1", 1, 1},
        {"\xc3", "1", 1, 1},
        {"\xed\xa0\x80", "1", 1, 1},
        {"\xf4\x90\x80\x80", "1", 1, 1},
        {"\xe0\x80\xaf", "1", 1, 1},
        {"a", "", 1, 1},
        {"a", "A", 1, 1},
        {"a", "0123456789abcdef0123456789abcdef0", 1, 1},
        {"a", "1", NUMBER_MAX + 1, 1},
        {"a", "1", 1, NUMBER_MAX + 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!peers_beat(p, bad[i].node, bad[i].instance, bad[i].n, bad[i].c, 0),
                      "case %zu", i);
    ck_assert_uint_eq(peers_count(p), 0);
    ck_assert(
        peers_beat(p, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "0f", NUMBER_MAX, NUMBER_MAX, 0));
    peers_free(p);
}
END_TEST

START_TEST(nodes_are_bounded_and_forgotten)
{
    struct peers *p = peers_new();
    char node[16];
    peers_begin(p);
    for (unsigned i = 0; i < PEERS_MAX; i++) {
        snprintf(node, sizeof node, "n%u", i * 7919 % PEERS_MAX);
        ck_assert(peers_beat(p, node, "1", 1, 1, 1000));
    }
    ck_assert(!peers_beat(p, "one more", "1", 1, 1, 1000));
    ck_assert(!peers_beat(p, "more", "1", 1, 1, 1000));
    peers_end(p, 1000, TTL);
    ck_assert_uint_eq(peers_count(p), PEERS_MAX);
    for (size_t i = 1; i < PEERS_MAX; i++)
        ck_assert_int_lt(strcmp(peers_at(p, i - 1)->node, peers_at(p, i)->node), 0);
    peers_begin(p); /* Redis has lost them all but one, which does not beat any more */
    ck_assert(peers_beat(p, "n7", "1", 1, 1, 1000 + 10 * TTL));
    peers_end(p, 1000 + 10 * TTL, TTL);
    ck_assert_uint_eq(peers_count(p), PEERS_MAX);
    peers_begin(p);
    ck_assert(peers_beat(p, "n7", "1", 1, 1, 1001 + 10 * TTL));
    peers_end(p, 1001 + 10 * TTL, TTL);
    ck_assert_uint_eq(peers_count(p), 1);
    ck_assert_int_eq(life(p, "n7", 1001 + 10 * TTL), PEER_GONE);
    peers_free(p);
}
END_TEST

START_TEST(a_count_that_somebody_else_set_is_forgotten)
{
    struct peers *p = peers_new();
    peers_begin(p);
    ck_assert(peers_beat(p, "a", "1", NUMBER_MAX, 1, 1000));
    peers_end(p, 1000, TTL);
    for (uint64_t n = 5; n < 9; n++) { /* what it says itself */
        peers_begin(p);
        ck_assert(peers_beat(p, "a", "1", n, 1, 1000 + n));
        peers_end(p, 1000 + n, TTL);
    }
    uint64_t then = 1001 + 10 * TTL;
    ck_assert(peers_beat(p, "a", "1", 8, 1, then)); /* it may be what is left of one that died */
    ck_assert_int_eq(life(p, "a", then), PEER_GONE);
    ck_assert(peers_beat(p, "a", "1", 9, 1, then));
    peers_view(p, "a", view_with("1", "follower", true), then);
    ck_assert_int_eq(life(p, "a", then), PEER_LIVE);
    ck_assert_ptr_nonnull(peers_find(p, "a")->view);
    ck_assert(peers_beat(p, "a", "1", 10, 1, then + TTL));
    ck_assert_int_eq(life(p, "a", then + TTL), PEER_LIVE);
    peers_free(p);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("peers");
    TCase *t = tcase_create("peers");
    tcase_add_test(t, a_node_lives_while_its_count_grows);
    tcase_add_test(t, a_node_that_was_restarted_counts_once);
    tcase_add_test(t, a_view_that_comes_with_an_old_beat_is_old);
    tcase_add_test(t, a_view_that_was_refused_takes_the_place_of_the_last);
    tcase_add_test(t, fitness_lasts_while_ready_and_following);
    tcase_add_test(t, what_is_no_beat_is_refused);
    tcase_add_test(t, nodes_are_bounded_and_forgotten);
    tcase_add_test(t, a_count_that_somebody_else_set_is_forgotten);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
