/* Members of a fleet: how they agree, decide, and lose each other. */
#include <string.h>

#include "cluster/state.h"
#include "tests/lib/fleet_world.h"
#include "tests/lib/unit.h"

#define LINE "b1 b2 b3 b4 | s1 s2 ; after=5000 max=40000"
#define TINY "b1 b2 ; after=5000 max=40000"

static struct world w;

static struct member *at(unsigned i)
{
    return &w.members[i];
}

/* A member that is not the keeper. */
static struct member *follower(void)
{
    struct member *k = keeper_of(&w);
    ck_assert_ptr_nonnull(k);
    return at(k->at == 0 ? 1 : 0);
}

static void settled(unsigned n, const char *line)
{
    world_init(&w, n, line);
    run(&w, 2 * TTL_MS);
    ck_assert_ptr_nonnull(keeper_of(&w));
    ck_assert(together(&w));
    forget_told(&w);
}

static bool all_out(const char *server)
{
    for (unsigned i = 0; i < w.nmembers; i++)
        if (w.members[i].started && !is_out(at(i), server))
            return false;
    return true;
}

static bool all_in(const char *server)
{
    for (unsigned i = 0; i < w.nmembers; i++)
        if (w.members[i].started && is_out(at(i), server))
            return false;
    return true;
}

/* ---- coming together ---- */

START_TEST(the_first_keeper_settles_before_it_publishes)
{
    world_init(&w, 1, LINE);
    run(&w, TTL_MS - 200);
    ck_assert_ptr_nonnull(keeper_of(&w));
    ck_assert_uint_eq(w.nstored, 0);
    ck_assert_uint_eq(at(0)->joined, 1);
    run(&w, 500);
    ck_assert_uint_eq(w.nstored, 1);
    ck_assert(together(&w));
    world_deinit(&w);
}
END_TEST

START_TEST(all_route_by_one_version)
{
    settled(3, LINE);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_uint_eq(at(i)->joined, 1);
    unsigned stored = w.nstored;
    run(&w, 10 * TTL_MS);
    ck_assert_uint_eq(w.nstored, stored); /* nothing happens, nothing is published */
    world_deinit(&w);
}
END_TEST

START_TEST(listeners_open_without_a_store)
{
    world_prepare(&w, 1, LINE);
    fake_redis_stop(&w.redis);
    member_start(at(0));
    run(&w, TTL_MS / 6);
    ck_assert_uint_eq(at(0)->joined, 0);
    run(&w, 20);
    ck_assert_uint_eq(at(0)->joined, 1);
    ck_assert_int_eq(fleet_role(at(0)->fleet), FLEET_ALONE);
    world_deinit(&w);
}
END_TEST

START_TEST(what_is_stored_is_adopted_before_listeners_open)
{
    struct asked a;
    settled(3, LINE);
    ask(follower(), "b2", FLEET_DRAIN, &a);
    run(&w, 200);
    struct member *m = follower();
    member_kill(m);
    run(&w, 100);
    member_start(m);
    for (unsigned i = 0; i < 1000 && m->joined == 0; i++)
        run(&w, 1);
    ck_assert_uint_eq(m->joined, 1);
    ck_assert(roster_agreed(m->roster));
    ck_assert(is_out(m, "b2"));
    world_deinit(&w);
}
END_TEST

/* ---- deciding ---- */

START_TEST(a_dead_server_is_out_within_milliseconds)
{
    settled(3, LINE);
    reachable(&w, "b1", false);
    traffic_fails(at(0), "b1");
    run(&w, 200);
    ck_assert(all_out("b1"));
    ck_assert(told(keeper_of(&w), "published:b1:down"));
    world_deinit(&w);
}
END_TEST

START_TEST(one_sick_observer_moves_nobody)
{
    settled(3, LINE);
    reachable_for(at(1), "b1", false);
    traffic_fails(at(1), "b1");
    run(&w, 5 * CHECK_MS);
    ck_assert(all_in("b1"));
    ck_assert(is_excepted(at(1), "b1"));
    ck_assert(!is_excepted(at(0), "b1"));
    world_deinit(&w);
}
END_TEST

START_TEST(others_look_at_once_when_one_says_down)
{
    settled(3, LINE);
    for (unsigned i = 0; i < 3; i++)
        memset(at(i)->looked, 0, sizeof at(i)->looked);
    reachable_for(at(1), "b1", false);
    traffic_fails(at(1), "b1");
    run(&w, 200);
    ck_assert(at(0)->looked[id_of(at(0), "b1")]);
    ck_assert(at(2)->looked[id_of(at(2), "b1")]);
    world_deinit(&w);
}
END_TEST

START_TEST(agree_all_takes_one_accuser)
{
    world_prepare(&w, 3, LINE);
    for (unsigned i = 0; i < 3; i++)
        member_start(at(i));
    for (unsigned i = 0; i < 3; i++)
        at(i)->file->pool.agree = AGREE_ALL;
    run(&w, 2 * TTL_MS);
    reachable_for(at(1), "b1", false);
    traffic_fails(at(1), "b1");
    run(&w, 300);
    ck_assert(all_out("b1"));
    world_deinit(&w);
}
END_TEST

START_TEST(a_tie_changes_nothing)
{
    settled(2, LINE);
    reachable_for(at(1), "b1", false);
    traffic_fails(at(1), "b1");
    run(&w, 5 * CHECK_MS);
    ck_assert(all_in("b1"));
    world_deinit(&w);
}
END_TEST

START_TEST(a_silent_member_still_counts)
{
    settled(3, LINE);
    struct member *k = keeper_of(&w);
    for (unsigned i = 0; i < 3; i++)
        if (at(i) != k)
            member_kill(at(i));
    run(&w, 2 * TTL_MS);
    reachable(&w, "b1", false);
    run(&w, 5 * CHECK_MS);
    ck_assert(!is_out(k, "b1")); /* 1 of 3 */
    ck_assert(is_excepted(k, "b1"));
    run(&w, 10 * TTL_MS);
    ck_assert(is_out(k, "b1")); /* 1 of 1 */
    world_deinit(&w);
}
END_TEST

START_TEST(lost_hints_make_it_slower_only)
{
    struct asked a;
    settled(3, LINE);
    for (unsigned i = 0; i < 3; i++)
        at(i)->path.lost_hints = 1;
    ask(follower(), "b1", FLEET_DRAIN, &a);
    run(&w, 2300); /* a period of the keeper, one of a follower */
    ck_assert(all_out("b1"));
    ck_assert(together(&w));
    world_deinit(&w);
}
END_TEST

START_TEST(a_server_returns_after_its_delay)
{
    settled(3, LINE);
    reachable(&w, "b1", false);
    traffic_fails(at(0), "b1");
    run(&w, 1000);
    ck_assert(all_out("b1"));
    reachable(&w, "b1", true);
    run(&w, 4000);
    ck_assert(all_out("b1"));
    run(&w, 3500);
    ck_assert(all_in("b1"));
    ck_assert(told(keeper_of(&w), "published:b1:waits"));
    ck_assert(told(keeper_of(&w), "published:b1:up"));
    world_deinit(&w);
}
END_TEST

START_TEST(the_keeper_routes_by_what_is_stored)
{
    settled(3, LINE);
    struct member *k = keeper_of(&w);
    uint64_t n = w.last.seq;
    k->path.slow_back_ms = 400; /* answers take their time */
    reachable(&w, "b1", false);
    unsigned stored = w.nstored;
    traffic_fails(k, "b1");
    for (unsigned i = 0; i < 3000 && w.nstored == stored; i++) {
        run(&w, 1);
        ck_assert(w.nstored != stored || !is_out(k, "b1"));
    }
    ck_assert_uint_gt(w.last.seq, n);
    run(&w, 1000);
    ck_assert(all_out("b1"));
    world_deinit(&w);
}
END_TEST

/* ---- the lock ---- */

START_TEST(another_takes_over_when_the_keeper_dies)
{
    settled(3, LINE);
    struct member *k = keeper_of(&w);
    uint64_t epoch = w.last.epoch;
    member_kill(k);
    run(&w, TTL_MS + 250);
    ck_assert_ptr_nonnull(keeper_of(&w));
    run(&w, 100);
    ck_assert_uint_gt(w.last.epoch, epoch);
    ck_assert(together(&w));
    world_deinit(&w);
}
END_TEST

START_TEST(a_wait_is_not_shortened_by_a_new_keeper)
{
    settled(3, LINE);
    reachable(&w, "b1", false);
    traffic_fails(at(0), "b1");
    run(&w, 1000);
    reachable(&w, "b1", true);
    run(&w, 2 * CHECK_MS + 500);
    ck_assert(told(keeper_of(&w), "published:b1:waits"));
    member_kill(keeper_of(&w));
    run(&w, 4000);
    ck_assert(all_out("b1"));
    run(&w, 5000);
    ck_assert(all_in("b1"));
    world_deinit(&w);
}
END_TEST

START_TEST(a_clean_stop_gives_the_lock_back)
{
    settled(3, LINE);
    member_leave(keeper_of(&w));
    run(&w, 500);
    ck_assert_ptr_nonnull(keeper_of(&w));
    ck_assert(together(&w));
    world_deinit(&w);
}
END_TEST

START_TEST(a_stopped_keeper_looks_at_the_clock_first)
{
    settled(3, LINE);
    struct member *k = keeper_of(&w);
    reachable(&w, "b1", false);
    sim_process_stop(&k->process, w.sim.now_us + 3 * TTL_MS * SIM_MS);
    run(&w, 3 * TTL_MS - 1);
    ck_assert(fleet_role(k->fleet) == FLEET_KEEPER); /* it does not know yet */
    forget_told(&w);
    run(&w, 2);
    ck_assert(told(k, "stalled"));
    ck_assert(told(k, "lost"));
    run(&w, TTL_MS);
    ck_assert_ptr_nonnull(keeper_of(&w));
    ck_assert(keeper_of(&w) != k);
    ck_assert(together(&w));
    world_deinit(&w);
}
END_TEST

START_TEST(a_stall_takes_the_votes_away)
{
    settled(3, LINE);
    struct member *m = follower();
    ck_assert_int_eq(roster_vote(m->roster, 0), ROSTER_VOTE_UP);
    sim_timer_stop(&m->check);
    sim_process_stop(&m->process, w.sim.now_us + TTL_MS * SIM_MS / 2);
    run(&w, TTL_MS / 2);
    fleet_awake(m->fleet);
    ck_assert(told(m, "stalled"));
    ck_assert_int_eq(roster_vote(m->roster, 0), ROSTER_VOTE_NONE);
    world_deinit(&w);
}
END_TEST

START_TEST(a_keeper_without_answers_stops_before_its_lock_ends)
{
    settled(3, LINE);
    struct member *k = keeper_of(&w);
    run(&w, 100);
    k->path.cut_us = w.sim.now_us + 10 * TTL_MS * SIM_MS;
    while (w.redis.data.lock[0] && strstr(w.redis.data.lock, fleet_instance(k->fleet)) &&
           fleet_role(k->fleet) == FLEET_KEEPER)
        run(&w, 1);
    ck_assert(strstr(w.redis.data.lock, fleet_instance(k->fleet)) != NULL);
    ck_assert(fleet_role(k->fleet) != FLEET_KEEPER);
    world_deinit(&w);
}
END_TEST

START_TEST(nothing_older_is_applied)
{
    struct asked a;
    settled(3, LINE);
    ask(at(0), "b1", FLEET_DRAIN, &a);
    run(&w, 2000);
    w.redis.bugs |= FAKE_READER_TAKES_ANY;
    fake_redis_set_back(&w.redis, 3000);
    for (unsigned i = 0; i < 2 * TTL_MS; i++) {
        run(&w, 1);
        ck_assert(all_out("b1"));
    }
    world_deinit(&w);
}
END_TEST

static void third_takes_over(unsigned first, unsigned second)
{
    world_prepare(&w, 3, LINE);
    at(0)->config.priority = first;
    at(1)->config.priority = second;
    at(2)->config.priority = 300;
    member_start(at(2));
    run(&w, TTL_MS);
    member_start(at(0));
    member_start(at(1));
    run(&w, 2 * TTL_MS);
    ck_assert_ptr_eq(keeper_of(&w), at(2));
    member_kill(at(2));
    run(&w, TTL_MS + 250);
    ck_assert_ptr_eq(keeper_of(&w), at(first > second ? 0 : 1));
    world_deinit(&w);
}

START_TEST(the_preferred_one_takes_the_lock_first)
{
    third_takes_over(100, 200);
    third_takes_over(200, 100);
}
END_TEST

/* The number of a publication is never used again, and goes on in the next term. */
START_TEST(numbers_go_on)
{
    settled(1, LINE);
    struct asked a;
    ask(at(0), "b1", FLEET_DRAIN, &a);
    run(&w, 100);
    uint64_t seq = w.last.seq, epoch = w.last.epoch;
    w.redis.data.lock[0] = 0; /* somebody has deleted it */
    run(&w, 4 * TTL_MS);
    ck_assert_uint_gt(w.last.epoch, epoch);
    ck_assert_uint_gt(w.last.seq, seq);
    ck_assert(is_out(at(0), "b1"));
    world_deinit(&w);
}
END_TEST

/* ---- the store is gone, or has lost its data ---- */

static bool is_alone(struct member *m)
{
    return fleet_role(m->fleet) == FLEET_ALONE;
}

START_TEST(alone_goes_on_from_what_was_agreed)
{
    settled(3, LINE);
    reachable_for(at(1), "b1", false); /* a contested server: it stays in */
    traffic_fails(at(1), "b1");
    run(&w, 1000);
    fake_redis_stop(&w.redis);
    ck_assert(run_until(&w, 2 * TTL_MS, is_alone, at(1)));
    run(&w, 1000);
    ck_assert(!is_out(at(1), "b1"));
    ck_assert(is_excepted(at(1), "b1"));
    reachable_for(at(0), "b2", false); /* what is seen to change counts */
    traffic_fails(at(0), "b2");
    ck_assert(is_alone(at(0)));
    ck_assert(is_out(at(0), "b2"));
    ck_assert(!is_out(at(1), "b2"));
    world_deinit(&w);
}
END_TEST

START_TEST(alone_ends_by_a_newer_publication_only)
{
    settled(3, LINE);
    struct member *m = follower();
    unsigned stored = w.nstored;
    m->path.cut_us = w.sim.now_us + 2 * TTL_MS * SIM_MS;
    ck_assert(run_until(&w, 2 * TTL_MS, is_alone, m));
    ck_assert_uint_eq(w.nstored, stored);
    run(&w, 2 * TTL_MS);
    ck_assert(!is_alone(m));
    ck_assert_uint_eq(w.nstored, stored + 1); /* the keeper has published for it */
    ck_assert(together(&w));
    world_deinit(&w);
}
END_TEST

START_TEST(what_the_store_has_lost_is_put_back)
{
    struct asked a;
    settled(3, LINE);
    ask(follower(), "b1", FLEET_DRAIN, &a);
    run(&w, 500);
    struct version before = w.last;
    fake_redis_wipe(&w.redis);
    run(&w, 2 * TTL_MS);
    ck_assert(version_compare(&w.last, &before) > 0);
    ck_assert(all_out("b1"));
    ck_assert(together(&w));
    unsigned restored = 0;
    for (unsigned i = 0; i < 3; i++)
        restored += times_told(at(i), "restored");
    ck_assert_uint_ge(restored, 1);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_ptr_nonnull(w.redis.data.nodes[i].view);
    world_deinit(&w);
}
END_TEST

START_TEST(a_tie_after_the_store_was_gone_is_as_agreed)
{
    settled(2, LINE);
    fake_redis_stop(&w.redis);
    run(&w, 2 * TTL_MS);
    ck_assert(is_alone(at(0)) && is_alone(at(1)));
    struct member *first = at(0); /* the one that will take the lock has seen b1 go down */
    reachable_for(first, "b1", false);
    traffic_fails(first, "b1");
    ck_assert(is_out(first, "b1"));
    fake_redis_start(&w.redis);
    run(&w, 3 * TTL_MS);
    ck_assert(together(&w));
    ck_assert(all_in("b1"));
    world_deinit(&w);
}
END_TEST

START_TEST(what_all_took_out_stays_out)
{
    settled(3, LINE);
    fake_redis_stop(&w.redis);
    run(&w, 2 * TTL_MS);
    reachable(&w, "b1", false);
    run(&w, 4 * CHECK_MS);
    ck_assert(all_out("b1"));
    fake_redis_start(&w.redis);
    for (unsigned i = 0; i < 4 * TTL_MS; i++) {
        run(&w, 1);
        ck_assert(all_out("b1"));
    }
    ck_assert(together(&w));
    world_deinit(&w);
}
END_TEST

/* What most have taken back comes back whole for the others, too, as the keys are there already. */
START_TEST(what_most_took_back_is_back_without_a_ramp)
{
    settled(3, LINE " ramp=4000");
    reachable(&w, "b1", false);
    traffic_fails(at(0), "b1");
    run(&w, 1000);
    ck_assert(all_out("b1"));
    fake_redis_stop(&w.redis);
    run(&w, 2 * TTL_MS);
    reachable_for(at(1), "b1", true);
    reachable_for(at(2), "b1", true);
    run(&w, 12000);
    ck_assert(is_out(at(0), "b1"));
    ck_assert(!is_out(at(1), "b1") && !is_out(at(2), "b1"));
    fake_redis_start(&w.redis);
    for (unsigned i = 0; i < 3 * TTL_MS; i++) {
        run(&w, 1);
        ck_assert(!is_out(at(1), "b1") && !is_out(at(2), "b1"));
        ck_assert(i < 1000 || w.body == NULL || strstr(w.body, "ramp") == NULL);
    }
    ck_assert(together(&w));
    ck_assert(all_in("b1"));
    ck_assert(is_excepted(at(0), "b1"));
    world_deinit(&w);
}
END_TEST

/* It may have been stored or not. */
START_TEST(after_no_answer_the_next_number_is_higher)
{
    settled(3, LINE);
    struct member *k = keeper_of(&w);
    uint64_t seq = w.last.seq;
    unsigned stored = w.nstored;
    reachable(&w, "b1", false);
    traffic_fails(k, "b1");
    k->path.slow_back_ms = 300;
    while (w.nstored == stored)
        sim_run(&w.sim, w.sim.now_us + 100, NULL, NULL);
    k->path.slow_back_ms = 0;
    k->path.cut_us = w.sim.now_us + 400 * SIM_MS; /* its answer is lost */
    run(&w, TTL_MS);
    ck_assert_ptr_eq(keeper_of(&w), k);
    ck_assert_uint_ge(w.nstored, stored + 2);
    ck_assert_uint_gt(w.last.seq, seq + 1);
    ck_assert(together(&w));
    ck_assert(all_out("b1"));
    world_deinit(&w);
}
END_TEST

/* ---- requests ---- */

START_TEST(a_drain_holds_here_at_once_and_everywhere_soon)
{
    struct asked a;
    settled(3, LINE);
    struct member *m = follower();
    unsigned n = w.nstored;
    ask(m, "b1", FLEET_DRAIN, &a);
    ck_assert(is_excepted(m, "b1"));
    ck_assert(!a.done);
    run(&w, 200);
    ck_assert(a.done);
    ck_assert_int_eq(a.outcome, FLEET_AGREED);
    ck_assert(all_out("b1"));
    ck_assert(!is_excepted(m, "b1"));
    ck_assert_uint_eq(times_told(keeper_of(&w), "published:b1:drained"), 1);
    ck_assert_uint_eq(w.nstored, n + 1);
    ask(keeper_of(&w), "b1", FLEET_ENABLE, &a);
    run(&w, 200);
    ck_assert_int_eq(a.outcome, FLEET_AGREED);
    ck_assert(all_in("b1"));
    world_deinit(&w);
}
END_TEST

START_TEST(failback_of_a_server_that_is_down_is_refused)
{
    struct asked a;
    settled(3, LINE);
    reachable(&w, "b1", false);
    run(&w, 5 * CHECK_MS);
    ck_assert(all_out("b1"));
    ask(follower(), "b1", FLEET_FAILBACK, &a);
    run(&w, 200);
    ck_assert(a.done);
    ck_assert_int_eq(a.outcome, FLEET_REFUSED);
    world_deinit(&w);
}
END_TEST

START_TEST(of_two_requests_the_later_made_counts)
{
    struct asked a, b;
    settled(3, LINE);
    struct member *k = keeper_of(&w), *m = follower();
    m->path.cut_us = w.sim.now_us + 400 * SIM_MS;
    ask(m, "b1", FLEET_DRAIN, &a); /* arrives later */
    run(&w, 20);
    ask(k, "b1", FLEET_ENABLE, &b);
    run(&w, 2000);
    ck_assert(a.done && b.done);
    ck_assert(all_in("b1"));
    world_deinit(&w);
}
END_TEST

START_TEST(an_answer_takes_two_seconds_at_most)
{
    struct asked a;
    settled(3, LINE);
    struct member *m = follower();
    m->path.cut_us = w.sim.now_us + 2500 * SIM_MS;
    uint64_t now = w.sim.now_us / SIM_MS;
    ask(m, "b1", FLEET_DRAIN, &a);
    run(&w, 2100);
    ck_assert(a.done);
    ck_assert_int_eq(a.outcome, FLEET_HERE);
    ck_assert_uint_le(a.at_ms, now + 2001);
    ck_assert(is_excepted(m, "b1"));
    run(&w, 2000); /* it is sent nevertheless */
    ck_assert(all_out("b1"));
    world_deinit(&w);
}
END_TEST

START_TEST(requests_while_alone_are_carried_out_here_and_sent_later)
{
    struct asked a;
    settled(3, LINE);
    fake_redis_stop(&w.redis);
    run(&w, 2 * TTL_MS);
    ask(at(1), "b1", FLEET_DRAIN, &a);
    ck_assert(a.done);
    ck_assert_int_eq(a.outcome, FLEET_HERE);
    ck_assert(is_out(at(1), "b1"));
    ck_assert(!is_out(at(0), "b1"));
    fake_redis_start(&w.redis);
    for (unsigned i = 0; i < 3 * TTL_MS; i++) {
        run(&w, 1);
        ck_assert(is_out(at(1), "b1") || is_excepted(at(1), "b1"));
    }
    ck_assert(all_out("b1"));
    world_deinit(&w);
}
END_TEST

START_TEST(a_request_is_carried_out_once)
{
    struct asked a;
    settled(3, LINE);
    struct member *m = follower();
    ask(m, "b1", FLEET_DRAIN, &a);
    run(&w, 200);
    ask(at(2), "b1", FLEET_ENABLE, &a);
    run(&w, 200);
    ck_assert(all_in("b1"));
    member_kill(keeper_of(&w));
    run(&w, 3 * TTL_MS);
    ck_assert(all_in("b1"));
    ck_assert(together(&w));
    world_deinit(&w);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("fleet");
    TCase *t = tcase_create("agreeing");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, the_first_keeper_settles_before_it_publishes);
    tcase_add_test(t, all_route_by_one_version);
    tcase_add_test(t, listeners_open_without_a_store);
    tcase_add_test(t, what_is_stored_is_adopted_before_listeners_open);
    tcase_add_test(t, a_dead_server_is_out_within_milliseconds);
    tcase_add_test(t, one_sick_observer_moves_nobody);
    tcase_add_test(t, others_look_at_once_when_one_says_down);
    tcase_add_test(t, agree_all_takes_one_accuser);
    tcase_add_test(t, a_tie_changes_nothing);
    tcase_add_test(t, a_silent_member_still_counts);
    tcase_add_test(t, lost_hints_make_it_slower_only);
    tcase_add_test(t, a_server_returns_after_its_delay);
    tcase_add_test(t, the_keeper_routes_by_what_is_stored);
    tcase_add_test(t, another_takes_over_when_the_keeper_dies);
    tcase_add_test(t, a_wait_is_not_shortened_by_a_new_keeper);
    tcase_add_test(t, a_clean_stop_gives_the_lock_back);
    tcase_add_test(t, a_stopped_keeper_looks_at_the_clock_first);
    tcase_add_test(t, a_stall_takes_the_votes_away);
    tcase_add_test(t, a_keeper_without_answers_stops_before_its_lock_ends);
    tcase_add_test(t, nothing_older_is_applied);
    tcase_add_test(t, the_preferred_one_takes_the_lock_first);
    tcase_add_test(t, numbers_go_on);
    tcase_add_test(t, alone_goes_on_from_what_was_agreed);
    tcase_add_test(t, alone_ends_by_a_newer_publication_only);
    tcase_add_test(t, what_the_store_has_lost_is_put_back);
    tcase_add_test(t, a_tie_after_the_store_was_gone_is_as_agreed);
    tcase_add_test(t, what_all_took_out_stays_out);
    tcase_add_test(t, what_most_took_back_is_back_without_a_ramp);
    tcase_add_test(t, after_no_answer_the_next_number_is_higher);
    tcase_add_test(t, a_drain_holds_here_at_once_and_everywhere_soon);
    tcase_add_test(t, failback_of_a_server_that_is_down_is_refused);
    tcase_add_test(t, of_two_requests_the_later_made_counts);
    tcase_add_test(t, an_answer_takes_two_seconds_at_most);
    tcase_add_test(t, requests_while_alone_are_carried_out_here_and_sent_later);
    tcase_add_test(t, a_request_is_carried_out_once);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
