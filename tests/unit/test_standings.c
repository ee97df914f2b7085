/* Standings by themselves: what a fleet's keeper decides with, and what carries its decisions. */
#include "pool/standings.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/pool_line.h"
#include "tests/lib/unit.h"

struct side {
    struct file *file;
    struct pool *pool;
    struct standings *st;
};

static void open_side(struct side *s, const char *line)
{
    struct error e;
    s->file = read_file(line);
    s->pool = pool_new(&s->file->pool, 1, NULL, &e);
    ck_assert_msg(s->pool != NULL, "%s", e.text);
    s->st = standings_new(s->pool);
}

static void close_side(const struct side *s)
{
    standings_free(s->st);
    pool_free(s->pool);
    free(s->file);
}

/* As a keeper: a copy that steps coarsely. */
static void become_keeper(struct side *s)
{
    struct standings *copy = standings_copy(s->st);
    standings_free(s->st);
    s->st = copy;
}

static unsigned id_of(const struct side *s, const char *name)
{
    const struct pool_member *m = pool_find_name(s->pool, name);
    ck_assert_ptr_nonnull(m);
    return m->id;
}

static void advance(const struct side *s, uint64_t to_ms)
{
    while (standings_next_ms(s->st) <= to_ms)
        standings_settle(s->st, standings_next_ms(s->st));
    standings_settle(s->st, to_ms);
}

static void down(const struct side *s, const char *name, uint64_t now_ms)
{
    standings_down(s->st, id_of(s, name), now_ms);
    standings_settle(s->st, now_ms);
}

static void rise(const struct side *s, const char *name, uint64_t now_ms)
{
    standings_rise(s->st, id_of(s, name), now_ms);
    standings_settle(s->st, now_ms);
}

/* One of the servers as it goes into a publication. */
static struct agreed_server entry(const struct side *s, const char *name, uint64_t now_ms)
{
    struct agreed_pool a;
    standings_export(s->st, &a, now_ms);
    struct agreed_server found = a.servers[id_of(s, name)];
    ck_assert_str_eq(found.name, name);
    standings_export_free(&a);
    return found;
}

static void check_phase(const struct side *s, const char *name, enum agreed_phase phase,
                        uint64_t now_ms)
{
    ck_assert_int_eq(entry(s, name, now_ms).phase, phase);
}

/* ---- waits ---- */

START_TEST(a_return_waits_and_a_relapse_doubles_that)
{
    struct side s;
    open_side(&s, "b1 b2 ; after=5000 max=15000");
    uint64_t now_ms = 1000, delays[] = {5000, 10000, 15000, 15000};
    for (unsigned i = 0; i < 4; i++) {
        down(&s, "b1", now_ms);
        check_phase(&s, "b1", AGREED_DOWN, now_ms);
        rise(&s, "b1", now_ms += 100);
        ck_assert_uint_eq(entry(&s, "b1", now_ms).left_ms, delays[i]);
        advance(&s, now_ms + delays[i] - 1);
        ck_assert(standings_is_out(s.st, id_of(&s, "b1")));
        advance(&s, now_ms += delays[i]);
        check_phase(&s, "b1", AGREED_UP, now_ms);
        ck_assert(entry(&s, "b1", now_ms + 7).returned);
        ck_assert_uint_eq(entry(&s, "b1", now_ms + 7).back_ms, 7);
        now_ms += 1000;
    }
    down(&s, "b1", now_ms += 15001); /* it lasted */
    ck_assert_uint_eq(entry(&s, "b1", now_ms).delay_ms, 5000);
    close_side(&s);
}
END_TEST

START_TEST(a_wait_ends_when_nobody_else_can_serve)
{
    struct side s;
    open_side(&s, "b1 b2 ; after=5000");
    down(&s, "b1", 0);
    rise(&s, "b1", 10);
    check_phase(&s, "b1", AGREED_WAIT, 10);
    down(&s, "b2", 20);
    check_phase(&s, "b1", AGREED_UP, 20);
    close_side(&s);
}
END_TEST

START_TEST(manual_holds_until_an_operator_comes)
{
    struct side s;
    open_side(&s, "b1 b2 | s1 ; after=100 manual");
    down(&s, "b1", 0);
    rise(&s, "b1", 10);
    advance(&s, 200);
    check_phase(&s, "b1", AGREED_HELD, 200);
    ck_assert_uint_eq(standings_next_ms(s.st), UINT64_MAX);
    standings_enable(s.st, id_of(&s, "b1"), 5, 300);
    standings_settle(s.st, 300);
    check_phase(&s, "b1", AGREED_UP, 300);
    close_side(&s);
}
END_TEST

/* ---- operators ---- */

START_TEST(of_two_requests_the_one_made_later_counts)
{
    struct side s;
    open_side(&s, "b1 b2");
    unsigned b1 = id_of(&s, "b1");
    standings_enable(s.st, b1, 200, 0);
    standings_drain(s.st, b1, 100, 1); /* arrives later, and was made before */
    ck_assert(!standings_is_drained(s.st, b1));
    standings_drain(s.st, b1, 201, 2);
    ck_assert(standings_is_drained(s.st, b1) && standings_is_out(s.st, b1));
    ck_assert(standings_failback(s.st, b1, 150, 3));
    ck_assert(standings_is_drained(s.st, b1));
    standings_down(s.st, b1, 4);
    ck_assert(!standings_failback(s.st, b1, 300, 5));
    ck_assert(standings_is_drained(s.st, b1));
    ck_assert_uint_eq(entry(&s, "b1", 5).asked_ms, 201);
    close_side(&s);
}
END_TEST

/* ---- ramps ---- */

START_TEST(a_keeper_steps_a_ramp_by_a_quarter_of_a_second)
{
    struct side s;
    open_side(&s, "b1 b2 | s1 ; ramp=4000");
    become_keeper(&s);
    down(&s, "b1", 0);
    rise(&s, "b1", 10);
    struct agreed_server e = entry(&s, "b1", 10);
    ck_assert_int_eq(e.phase, AGREED_RAMP);
    ck_assert_str_eq(e.from, "s1");
    ck_assert_uint_eq(e.share, 0);
    ck_assert_uint_eq(standings_next_ms(s.st), 260);
    standings_settle(s.st, 200); /* whatever else happens meanwhile */
    ck_assert_uint_eq(entry(&s, "b1", 200).share, 0);
    unsigned steps = 0;
    for (; standings_next_ms(s.st) != UINT64_MAX; steps++) {
        standings_settle(s.st, standings_next_ms(s.st));
        ck_assert(steps >= 15 || entry(&s, "b1", 0).share == (steps + 1) * 4096);
    }
    ck_assert_uint_eq(steps, 16);
    check_phase(&s, "b1", AGREED_UP, 0);
    close_side(&s);
}
END_TEST

START_TEST(a_failback_brings_all_keys_at_once)
{
    struct side s;
    open_side(&s, "b1 b2 | s1 ; ramp=4000 after=100");
    become_keeper(&s);
    down(&s, "b1", 0);
    rise(&s, "b1", 10);
    ck_assert(standings_failback(s.st, id_of(&s, "b1"), 1, 20));
    standings_settle(s.st, 20);
    check_phase(&s, "b1", AGREED_UP, 20);
    close_side(&s);
}
END_TEST

START_TEST(what_is_back_for_others_comes_without_wait_or_ramp)
{
    struct side s;
    open_side(&s, "b1 b2 | s1 ; ramp=4000 after=100");
    become_keeper(&s);
    down(&s, "b1", 0);
    standings_put_back(s.st, id_of(&s, "b1"), 10);
    standings_settle(s.st, 10);
    check_phase(&s, "b1", AGREED_UP, 10);
    standings_drain(s.st, id_of(&s, "b2"), 1, 11);
    standings_put_back(s.st, id_of(&s, "b2"), 12);
    standings_settle(s.st, 12);
    ck_assert(standings_is_out(s.st, id_of(&s, "b2")));
    close_side(&s);
}
END_TEST

START_TEST(one_server_is_taken_over_from_other_standings)
{
    struct side s;
    open_side(&s, "b1 b2 | s1 ; ramp=4000 after=100");
    struct standings *other = standings_copy(s.st);
    down(&s, "b1", 0);
    rise(&s, "b1", 10);
    advance(&s, 200); /* in a ramp */
    ck_assert(!standings_same(s.st, other));
    standings_take(other, id_of(&s, "b1"), s.st);
    ck_assert(standings_same(s.st, other));
    standings_free(other);
    close_side(&s);
}
END_TEST

/* ---- from process to process ---- */

static void happen(const struct side *s, struct random *r, uint64_t now_ms)
{
    unsigned id = below(r, s->pool->nservers);
    switch (below(r, 8)) {
    case 0:
        standings_drain(s->st, id, now_ms, now_ms);
        break;
    case 1:
    case 2:
        standings_enable(s->st, id, now_ms, now_ms);
        break;
    case 3:
        standings_failback(s->st, id, now_ms, now_ms);
        break;
    case 4:
    case 5:
        standings_down(s->st, id, now_ms);
        break;
    default:
        if (standings_phase(s->st, id) == STANDINGS_DOWN)
            standings_rise(s->st, id, now_ms);
    }
}

static void check_same_exports(const struct side *a, const struct side *b, uint64_t at_a,
                               uint64_t at_b)
{
    struct agreed_pool x, y;
    standings_export(a->st, &x, at_a);
    standings_export(b->st, &y, at_b);
    ck_assert_uint_eq(x.nservers, y.nservers);
    for (size_t i = 0; i < x.nservers; i++) {
        const struct agreed_server *p = &x.servers[i], *q = &y.servers[i];
        ck_assert_int_eq(p->phase, q->phase);
        ck_assert(p->drained == q->drained && p->returned == q->returned);
        ck_assert(p->phase != AGREED_RAMP || (!strcmp(p->from, q->from) && p->share == q->share));
        ck_assert_uint_eq(p->delay_ms, q->delay_ms);
        ck_assert_uint_eq(p->back_ms, q->back_ms);
        ck_assert_uint_eq(p->left_ms, q->left_ms);
        ck_assert_uint_eq(p->asked_ms, q->asked_ms);
    }
    standings_export_free(&x);
    standings_export_free(&y);
}

START_TEST(what_is_adopted_is_what_was_exported)
{
    struct random r = {(uint64_t)_i + 1};
    for (unsigned k = 0; k < 30; k++) {
        struct side a, b;
        char line[256];
        random_line(&r, line, sizeof line);
        open_side(&a, line);
        open_side(&b, line);
        become_keeper(&a);
        uint64_t now_ms = 1000, ahead_ms = below(&r, 1000000);
        for (unsigned i = 0; i < 40; i++) {
            happen(&a, &r, now_ms);
            advance(&a, now_ms += below(&r, 900));
            struct agreed_pool out;
            standings_export(a.st, &out, now_ms);
            standings_adopt(b.st, &out, now_ms + ahead_ms);
            ck_assert(standings_same(a.st, b.st));
            check_same_exports(&a, &b, now_ms, now_ms + ahead_ms);
            /* the same once more, later: nothing begins again */
            standings_adopt(b.st, &out, now_ms + ahead_ms + 70);
            ck_assert(standings_same(a.st, b.st));
            struct agreed_pool again;
            standings_export(b.st, &again, now_ms + ahead_ms + 70);
            for (size_t n = 0; n < out.nservers; n++) {
                uint64_t left_ms = out.servers[n].left_ms;
                ck_assert_uint_eq(again.servers[n].left_ms, left_ms > 70 ? left_ms - 70 : 0);
                if (again.servers[n].returned)
                    ck_assert_uint_eq(again.servers[n].back_ms, out.servers[n].back_ms + 70);
            }
            standings_export_free(&again);
            standings_export_free(&out);
            ck_assert_uint_eq(standings_next_ms(b.st), UINT64_MAX); /* nothing moves by itself */
        }
        close_side(&a);
        close_side(&b);
    }
}
END_TEST

START_TEST(no_data_breaks_anything)
{
    struct random r = {(uint64_t)_i + 1};
    static const char *const names[] = {"s0", "s1", "s2", "s3", "s4", "nobody", ""};
    for (unsigned k = 0; k < 200; k++) {
        struct side a;
        char line[256];
        random_line(&r, line, sizeof line);
        open_side(&a, line);
        for (unsigned round = 0; round < 6; round++) {
            struct agreed_server servers[8];
            unsigned n = below(&r, 9);
            for (unsigned i = 0; i < n; i++) {
                uint64_t big = UINT64_C(1) << below(&r, 54);
                servers[i] = (struct agreed_server){
                    .name = names[below(&r, 7)],
                    .phase = (enum agreed_phase)below(&r, 5),
                    .drained = below(&r, 3) == 0,
                    .returned = below(&r, 2),
                    .from = below(&r, 3) ? names[below(&r, 7)] : NULL,
                    .share = below(&r, 2) ? below(&r, 65537) : UINT32_MAX,
                    .delay_ms = below(&r, 2) ? big : 0,
                    .back_ms = below(&r, 2) ? big : 0,
                    .left_ms = below(&r, 2) ? big : 0,
                    .asked_ms = below(&r, 2) ? big : 0,
                };
            }
            const struct agreed_pool data = {.servers = servers, .nservers = n};
            standings_adopt(a.st, &data, 100 * round);
            struct standings *keeper = standings_copy(a.st);
            for (unsigned i = 0; i < 10; i++) {
                struct side c = {a.file, a.pool, keeper};
                happen(&c, &r, 100 * round + i);
                standings_settle(keeper, 100 * round + 200 * i);
            }
            standings_free(keeper);
        }
        close_side(&a);
    }
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("standings");
    TCase *t = tcase_create("standings");
    tcase_add_test(t, a_return_waits_and_a_relapse_doubles_that);
    tcase_add_test(t, a_wait_ends_when_nobody_else_can_serve);
    tcase_add_test(t, manual_holds_until_an_operator_comes);
    tcase_add_test(t, of_two_requests_the_one_made_later_counts);
    tcase_add_test(t, a_keeper_steps_a_ramp_by_a_quarter_of_a_second);
    tcase_add_test(t, a_failback_brings_all_keys_at_once);
    tcase_add_test(t, what_is_back_for_others_comes_without_wait_or_ramp);
    tcase_add_test(t, one_server_is_taken_over_from_other_standings);
    tcase_add_loop_test(t, what_is_adopted_is_what_was_exported, 0, 8);
    tcase_add_loop_test(t, no_data_breaks_anything, 0, 8);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
