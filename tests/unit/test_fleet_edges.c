/* Members of a fleet at the edges: what is told how often, and what is announced when. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/fleet_world.h"
#include "tests/lib/unit.h"

#define LINE "b1 b2 b3 | s1 ; after=5000 max=40000"

static struct world w;

static struct member *at(unsigned i)
{
    return &w.members[i];
}

static void cut(struct member *m, uint64_t ms)
{
    m->path.cut_us = w.sim.now_us + ms * SIM_MS;
}

static bool is_active(struct member *m)
{
    return fleet_is_active(m->fleet);
}

static bool is_standby(struct member *m)
{
    return !fleet_is_active(m->fleet);
}

/* ---- active and standby ---- */

static void pair(void)
{
    world_prepare(&w, 2, LINE);
    for (unsigned i = 0; i < 2; i++) {
        at(i)->config.listen_active = true;
        member_start(at(i));
    }
    run(&w, 2 * TTL_MS);
    ck_assert(is_active(at(0)));
    ck_assert(!is_active(at(1)));
    fleet_accepting(at(0)->fleet, true);
    run(&w, 500);
}

static unsigned announced(const struct member *m)
{
    unsigned n = 0;
    for (unsigned i = 0; i < m->nwishes; i++)
        n += m->wishes[i] == FLEET_ANNOUNCE;
    return n;
}

/* The one that was cut off has accepted all the time, and its address was announced by both. */
static void announces_after_a_cut_of(uint64_t ms)
{
    pair();
    cut(at(0), ms);
    ck_assert(run_until(&w, TTL_MS + 500, is_active, at(1)));
    fleet_accepting(at(1)->fleet, true);
    run(&w, ms);
    ck_assert(run_until(&w, 2 * TTL_MS, is_standby, at(0)));
    ck_assert_uint_eq(announced(at(1)), 0);
    run(&w, 700); /* on_standby takes its time */
    ck_assert_uint_eq(announced(at(1)), 0);
    fleet_accepting(at(0)->fleet, false);
    run(&w, 500);
    ck_assert_uint_eq(announced(at(1)), 1);
    run(&w, 20 * TTL_MS);
    ck_assert_uint_eq(announced(at(1)), 1);
    world_deinit(&w);
}

START_TEST(who_was_cut_off_from_the_store_is_followed_by_an_announcement)
{
    announces_after_a_cut_of(3 * TTL_MS);
}
END_TEST

START_TEST(also_after_it_was_forgotten)
{
    announces_after_a_cut_of(15 * TTL_MS);
}
END_TEST

/* kill -9 has left the address where it was, until the next start takes it off. */
START_TEST(who_was_killed_is_followed_by_one_when_it_starts_again)
{
    pair();
    member_kill(at(0));
    ck_assert(run_until(&w, TTL_MS + 500, is_active, at(1)));
    fleet_accepting(at(1)->fleet, true);
    run(&w, 3 * TTL_MS);
    ck_assert_uint_eq(announced(at(1)), 0);
    member_start(at(0));
    run(&w, 2000);
    ck_assert_uint_eq(announced(at(1)), 1);
    world_deinit(&w);
}
END_TEST

/* As another member of the fleet: its role was not given back, nor can it be for a moment. */
START_TEST(who_comes_back_by_a_reload_knows_that_it_accepts)
{
    pair();
    member_leave(at(0));
    ck_assert(run_until(&w, TTL_MS, is_active, at(1)));
    fleet_accepting(at(1)->fleet, true);
    at(0)->accepts = true;
    member_start(at(0));
    ck_assert(is_active(at(0)));
    ck_assert(run_until(&w, TTL_MS, is_standby, at(0)));
    ck_assert_uint_eq(at(0)->nwishes, 1);
    ck_assert_int_eq(at(0)->wishes[0], FLEET_STANDBY);
    world_deinit(&w);
}
END_TEST

/* ---- what is told ---- */

/* Whether the last word of the two is this one. */
static bool last_word(const struct member *m, const char *word, const char *other)
{
    const char *a = NULL, *b = NULL;
    for (const char *at = m->told; (at = strstr(at, word)) != NULL; at++)
        a = at == m->told || at[-1] == ' ' ? at : a;
    for (const char *at = m->told; (at = strstr(at, other)) != NULL; at++)
        b = at == m->told || at[-1] == ' ' ? at : b;
    return a && (!b || a > b);
}

START_TEST(a_store_that_comes_and_goes_is_not_told_each_time)
{
    world_init(&w, 2, LINE);
    run(&w, 2 * TTL_MS);
    forget_told(&w);
    for (unsigned i = 0; i < 100; i++) {
        fake_redis_stop(&w.redis);
        run(&w, 100);
        fake_redis_start(&w.redis);
        run(&w, 200);
    }
    unsigned n = times_told(at(0), "reached") + times_told(at(0), "unreached");
    ck_assert_uint_ge(n, 2);
    ck_assert_uint_le(n, 20); /* in 30 s */
    /* what counts at last is told, be it late */
    run(&w, 12000);
    ck_assert(last_word(at(0), "reached", "unreached"));
    fake_redis_stop(&w.redis);
    run(&w, 12000);
    ck_assert(last_word(at(0), "unreached", "reached"));
    world_deinit(&w);
}
END_TEST

/* Each of the two is the member's next instance, again and again. */
START_TEST(two_processes_with_one_node_do_not_fill_the_logs)
{
    world_prepare(&w, 3, LINE);
    at(1)->config.node = at(0)->node;
    for (unsigned i = 0; i < 3; i++)
        member_start(at(i));
    run(&w, 3 * TTL_MS);
    forget_told(&w);
    run(&w, 60000);
    ck_assert_uint_le(times_told(at(2), "new"), 7);
    ck_assert_uint_le(times_told(at(0), "twice"), 1);
    world_deinit(&w);
}
END_TEST

/* The keeper forgets it a moment before the others would. */
START_TEST(all_tell_who_is_gone)
{
    world_init(&w, 4, LINE);
    run(&w, 2 * TTL_MS);
    forget_told(&w);
    struct member *k = keeper_of(&w), *dead = at(k->at == 3 ? 2 : 3);
    member_kill(dead);
    run(&w, 13 * TTL_MS);
    for (unsigned i = 0; i < 4; i++)
        if (at(i) != dead)
            ck_assert_msg(times_told(at(i), "gone") == 1, "e%u: %s", i, at(i)->told);
    world_deinit(&w);
}
END_TEST

/* ---- exceptions ---- */

/* With `when_down: fail` nobody else ever serves its keys, so waiting for its delay helps nobody.
 */
static void an_exception_ends(const char *line, const char *server, uint64_t within_ms, bool ends)
{
    world_init(&w, 3, line);
    run(&w, 2 * TTL_MS);
    struct member *m = at(2);
    reachable_for(m, server, false);
    traffic_fails(m, server);
    run(&w, 1000);
    ck_assert(is_excepted(m, server));
    ck_assert(!is_out(m, server));
    reachable_for(m, server, true);
    run(&w, within_ms);
    ck_assert_int_eq(is_excepted(m, server), !ends);
    world_deinit(&w);
}

START_TEST(an_exception_ends_early_where_nobody_else_may_serve)
{
    an_exception_ends("b1 b2 b3 ; fail after=20000 max=40000", "b1", 3 * CHECK_MS, true);
    an_exception_ends("b1 b2 b3 | s1:b2 ; fail after=20000 max=40000", "b1", 3 * CHECK_MS, true);
    an_exception_ends("b1 b2 b3 | s1 ; fail after=20000 max=40000", "b1", 3 * CHECK_MS, false);
    an_exception_ends("b1 b2 b3 | s1:b2 ; fail after=20000 max=40000", "b2", 3 * CHECK_MS, false);
    an_exception_ends("b1 b2 b3 ; after=20000 max=40000", "b1", 3 * CHECK_MS, false);
}
END_TEST

/* ---- requests ---- */

static void leave_by_a_reload(struct member *m)
{
    roster_part(m->roster, sim_mono_ms(&m->process));
    fleet_pools(m->fleet, NULL, 0);
}

/* What an operator has asked for, and the fleet has not carried out, is this proxy's own now. */
static void leaves_with(enum fleet_verb verb, bool drained)
{
    struct asked a;
    world_init(&w, 3, LINE);
    run(&w, 2 * TTL_MS);
    struct member *m = at(keeper_of(&w)->at == 0 ? 1 : 0);
    uint64_t now = sim_mono_ms(&m->process);
    unsigned b1 = id_of(m, "b1");
    if (!drained) {
        ask(m, "b1", FLEET_DRAIN, &a);
        run(&w, 500);
        ck_assert(is_out(m, "b1"));
    }
    cut(m, TTL_MS);
    ask(m, "b1", verb, &a);
    leave_by_a_reload(m);
    ck_assert(a.done);
    ck_assert_int_eq(a.outcome, FLEET_HERE);
    ck_assert_int_eq(roster_state(m->roster, b1) == ROSTER_DRAINING, drained);
    roster_enable(m->roster, b1, now);
    ck_assert_int_ne(roster_state(m->roster, b1), ROSTER_DRAINING);
    ck_assert(!is_excepted(m, "b1"));
    world_deinit(&w);
}

START_TEST(requests_that_wait_are_carried_out_here_when_the_member_leaves)
{
    leaves_with(FLEET_DRAIN, true);
    leaves_with(FLEET_ENABLE, false);
}
END_TEST

/* A case each: CK_RUN_CASE=gone runs one. */
static void add(Suite *s, const char *name, const TTest *test)
{
    TCase *t = tcase_create(name);
    tcase_set_timeout(t, 300);
    tcase_add_test(t, test);
    suite_add_tcase(s, t);
}

static Suite *suite(void)
{
    Suite *s = suite_create("fleet_edges");
    add(s, "cut", who_was_cut_off_from_the_store_is_followed_by_an_announcement);
    add(s, "forgotten", also_after_it_was_forgotten);
    add(s, "killed", who_was_killed_is_followed_by_one_when_it_starts_again);
    add(s, "accepts", who_comes_back_by_a_reload_knows_that_it_accepts);
    add(s, "flaps", a_store_that_comes_and_goes_is_not_told_each_time);
    add(s, "twice", two_processes_with_one_node_do_not_fill_the_logs);
    add(s, "early", an_exception_ends_early_where_nobody_else_may_serve);
    add(s, "leaves", requests_that_wait_are_carried_out_here_when_the_member_leaves);
    add(s, "gone", all_tell_who_is_gone);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
