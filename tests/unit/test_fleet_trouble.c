/* Members of a fleet, where first thoughts go wrong: who has just come, claims of those that cannot
 * be heard any more, servers that the keeper does not know, and very long states. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cluster/state.h"
#include "tests/lib/fleet_world.h"
#include "tests/lib/unit.h"

#define LINE "b1 b2 b3 | s1 ; after=5000 max=40000"
#define MORE "b1 b2 b3 b4 | s1 ; after=5000 max=40000"
#define SLOW "b1 b2 b3 | s1 ; after=20000 max=40000"

static struct world w;

static struct member *at(unsigned i)
{
    return &w.members[i];
}

static struct member *follower(void)
{
    struct member *k = keeper_of(&w);
    ck_assert_ptr_nonnull(k);
    return at(k->at == 0 ? 1 : 0);
}

static void settle(void)
{
    run(&w, 2 * TTL_MS);
    ck_assert_ptr_nonnull(keeper_of(&w));
    ck_assert(together(&w));
    forget_told(&w);
}

/* The entry of the last publication; its texts are gone. */
static bool stored_server(const char *server, struct agreed_server *out)
{
    struct error e;
    struct state *s = state_decode(str_of(w.body), &e);
    ck_assert_msg(s != NULL, "%s", e.text);
    const struct agreed_pool *p = state_pool(s, "pool");
    const struct agreed_server *found = p ? state_server(p, server) : NULL;
    if (found)
        *out = *found;
    state_free(s);
    return found != NULL;
}

static bool is_alone(struct member *m)
{
    return fleet_role(m->fleet) == FLEET_ALONE;
}

/* While the store was gone three have taken b1 out, and wait. One that has just started reads the
 * old state and gets the lock first: what it publishes is what the others route by, else b1 comes
 * back before its delay is over. */
START_TEST(one_that_has_just_come_asks_the_others_before_it_publishes)
{
    world_prepare(&w, 4, SLOW);
    for (unsigned i = 0; i < 3; i++)
        member_start(at(i));
    settle();
    fake_redis_stop(&w.redis);
    run(&w, 2 * TTL_MS);
    for (unsigned i = 0; i < 3; i++)
        ck_assert(is_alone(at(i)));
    reachable(&w, "b1", false);
    run(&w, 4 * CHECK_MS);
    reachable(&w, "b1", true);
    run(&w, 3 * CHECK_MS);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(is_out(at(i), "b1"));
        at(i)->path.cut_us = w.sim.now_us + 1000 * SIM_MS;
    }
    fake_redis_start(&w.redis);
    member_start(at(3));
    unsigned stored = w.nstored;
    run(&w, 900);
    ck_assert_ptr_eq(keeper_of(&w), at(3));
    for (unsigned i = 0; i < 3000 && w.nstored == stored; i++) {
        run(&w, 1);
        for (unsigned k = 0; k < 3; k++)
            ck_assert(is_out(at(k), "b1"));
    }
    ck_assert_uint_gt(w.nstored, stored);
    for (unsigned i = 0; i < 5000; i++) {
        run(&w, 1);
        for (unsigned k = 0; k < 3; k++)
            ck_assert_msg(is_out(at(k), "b1"), "back after %u ms: %s", i, w.body);
    }
    world_deinit(&w);
}
END_TEST

/* As long as another says down, one failed check is enough; but not for ever when nobody can be
 * heard any more. */
START_TEST(claims_end_when_the_store_is_gone)
{
    world_init(&w, 3, LINE);
    settle();
    reachable_for(at(1), "b1", false);
    traffic_fails(at(1), "b1");
    run(&w, 1000);
    fake_redis_stop(&w.redis);
    run(&w, 3 * TTL_MS);
    ck_assert(is_alone(at(0)));
    ck_assert_int_eq(roster_vote(at(0)->roster, id_of(at(0), "b1")), ROSTER_VOTE_UP);
    reachable_for(at(0), "b1", false);
    run(&w, CHECK_MS); /* one check of three */
    reachable_for(at(0), "b1", true);
    ck_assert_int_eq(roster_vote(at(0)->roster, id_of(at(0), "b1")), ROSTER_VOTE_UP);
    ck_assert(!is_out(at(0), "b1"));
    world_deinit(&w);
}
END_TEST

/* b4 is down when the keeper's configuration loses it; who still has it decides alone when it is
 * back. */
START_TEST(a_server_that_the_keeper_does_not_know_comes_back)
{
    world_init(&w, 2, MORE);
    settle();
    struct member *k = keeper_of(&w), *m = follower();
    reachable(&w, "b4", false);
    run(&w, 4 * CHECK_MS);
    ck_assert(is_out(m, "b4"));
    member_reload(k, LINE);
    run(&w, 1000);
    ck_assert(is_out(m, "b4"));
    reachable_for(m, "b4", true);
    run(&w, 30000);
    ck_assert(!is_out(m, "b4"));
    world_deinit(&w);
}
END_TEST

START_TEST(the_wait_of_a_server_that_the_keeper_does_not_know_gets_shorter)
{
    struct agreed_server first = {0}, second = {0};
    struct asked a;
    world_init(&w, 2, "b1 b2 b3 b4 | s1 ; after=20000 max=40000");
    settle();
    struct member *k = keeper_of(&w);
    reachable(&w, "b4", false);
    run(&w, 4 * CHECK_MS);
    reachable(&w, "b4", true);
    run(&w, 4 * CHECK_MS);
    ck_assert(stored_server("b4", &first) && first.phase == AGREED_WAIT);
    member_reload(k, SLOW);
    run(&w, 5000);
    ask(k, "b1", FLEET_DRAIN, &a); /* anything that is published */
    run(&w, 200);
    ck_assert(stored_server("b4", &second) && second.phase == AGREED_WAIT);
    ck_assert_msg(second.left_ms + 4000 < first.left_ms, "%lu, then %lu",
                  (unsigned long)first.left_ms, (unsigned long)second.left_ms);
    ck_assert(is_out(follower(), "b4"));
    run(&w, 15500); /* it ends where b4 is known, although nothing else happens */
    ck_assert(!is_out(follower(), "b4"));
    world_deinit(&w);
}
END_TEST

static void ignore(void *arg, const bool *yes)
{
}

/* Nothing that lies in the store holds the control loop up. */
START_TEST(a_state_with_all_servers_that_may_be_takes_no_time)
{
    world_init(&w, 2, LINE);
    settle();
    size_t size = STATE_MAX_BYTES, n = 0, pools = 0;
    char *text = calloc(size + 1, 1);
    n += (size_t)snprintf(text, size, "{\"v\":1,\"pools\":{");
    while (pools < 4) {
        n += (size_t)snprintf(text + n, size - n, "%s\"p%zu\":{\"digest\":\"0\",\"up\":[\"x\"",
                              pools ? "," : "", pools);
        pools++;
        for (unsigned i = 0; i < 8000; i++)
            n += (size_t)snprintf(text + n, size - n, ",\"%x\"", i);
        n += (size_t)snprintf(text + n, size - n, "]}");
    }
    snprintf(text + n, size - n, "}}");
    struct sim_process evil = {.sim = &w.sim, .name = "evil", .pace = 1};
    struct fake_path path = {0};
    sim_process_start(&evil);
    struct fake_store *store = fake_store_new(&w.redis, &path, &evil, 500, 1000);
    run(&w, 500);
    struct version v = w.last;
    v.seq++;
    v.by[0] = 'f';
    struct store *s = fake_store_store(store);
    clock_t begin = clock();
    s->ops->restore(s, &(struct store_publish){NULL, v, str_of(text)}, ignore, NULL);
    run(&w, 3 * TTL_MS);
    ck_assert_int_eq(version_compare(&w.last, &v), 1); /* it was read, and goes on */
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    ck_assert_msg(seconds < 5, "%.1f s", seconds);
    fake_store_free(store);
    sim_process_kill(&evil);
    free(text);
    world_deinit(&w);
}
END_TEST

/* ---- active and standby ---- */

static void pair(void)
{
    world_prepare(&w, 2, LINE);
    for (unsigned i = 0; i < 2; i++) {
        at(i)->config.listen_active = true;
        member_start(at(i));
    }
    settle();
}

/* The one with the traffic decides, as if alone. */
START_TEST(a_standby_has_no_vote)
{
    pair();
    struct member *k = keeper_of(&w), *m = follower();
    reachable_for(k, "b1", false);
    traffic_fails(k, "b1");
    run(&w, 300);
    ck_assert(is_out(k, "b1") && is_out(m, "b1"));
    reachable_for(k, "b1", true);
    reachable_for(m, "b2", false);
    run(&w, 5 * CHECK_MS);
    ck_assert(!is_out(k, "b2") && !is_out(m, "b2"));
    world_deinit(&w);
}
END_TEST

/* The one that had the role counts no more, although it fell silent a short while ago. */
START_TEST(a_new_active_one_decides_at_once)
{
    pair();
    struct member *m = follower();
    member_kill(keeper_of(&w));
    run(&w, TTL_MS + 500);
    ck_assert_ptr_eq(keeper_of(&w), m);
    reachable_for(m, "b1", false);
    traffic_fails(m, "b1");
    run(&w, 300);
    ck_assert(is_out(m, "b1"));
    world_deinit(&w);
}
END_TEST

/* preempt: false: a working one keeps the role, although the store was gone or has lost it. */
START_TEST(the_active_one_keeps_the_role_when_the_store_was_gone)
{
    for (unsigned wiped = 0; wiped < 2; wiped++) {
        world_prepare(&w, 2, LINE);
        for (unsigned i = 0; i < 2; i++)
            at(i)->config.listen_active = true;
        at(0)->config.priority = 50;
        at(1)->config.preempt = false;
        member_start(at(0));
        run(&w, 2 * TTL_MS);
        ck_assert_ptr_eq(keeper_of(&w), at(0));
        fleet_accepting(at(0)->fleet, true);
        member_start(at(1));
        settle();
        ck_assert_ptr_eq(keeper_of(&w), at(0));
        if (wiped) {
            fake_redis_wipe(&w.redis);
        } else {
            fake_redis_stop(&w.redis);
            run(&w, 2 * TTL_MS);
            fake_redis_start(&w.redis);
        }
        run(&w, 4 * TTL_MS);
        ck_assert_msg(keeper_of(&w) == at(0), "wiped %u", wiped);
        world_deinit(&w);
    }
}
END_TEST

/* ---- without checks ---- */

/* Whoever's live traffic fails decides, and the end of that brings the server back. */
START_TEST(without_checks_any_claim_decides)
{
    world_init(&w, 3, "b1 b2 b3 | s1 ; off passive=3 after=5000 max=40000");
    settle();
    for (unsigned i = 0; i < 3; i++)
        sim_timer_stop(&at(i)->check);
    traffic_fails(at(1), "b1");
    run(&w, 300);
    for (unsigned i = 0; i < 3; i++)
        ck_assert(is_out(at(i), "b1"));
    for (unsigned ms = 0; ms < CHECK_MS + 6000; ms += 10) {
        run(&w, 10);
        for (unsigned i = 0; i < 3; i++)
            roster_tick(at(i)->roster, sim_mono_ms(&at(i)->process));
    }
    for (unsigned i = 0; i < 3; i++)
        ck_assert(!is_out(at(i), "b1"));
    world_deinit(&w);
}
END_TEST

/* A case each: CK_RUN_CASE=wait runs one. */
static void add(Suite *s, const char *name, const TTest *test)
{
    TCase *t = tcase_create(name);
    tcase_set_timeout(t, 300);
    tcase_add_test(t, test);
    suite_add_tcase(s, t);
}

static Suite *suite(void)
{
    Suite *s = suite_create("fleet_trouble");
    add(s, "come", one_that_has_just_come_asks_the_others_before_it_publishes);
    add(s, "claims", claims_end_when_the_store_is_gone);
    add(s, "unknown", a_server_that_the_keeper_does_not_know_comes_back);
    add(s, "wait", the_wait_of_a_server_that_the_keeper_does_not_know_gets_shorter);
    add(s, "long", a_state_with_all_servers_that_may_be_takes_no_time);
    add(s, "standby", a_standby_has_no_vote);
    add(s, "active", a_new_active_one_decides_at_once);
    add(s, "off", without_checks_any_claim_decides);
    add(s, "keeps", the_active_one_keeps_the_role_when_the_store_was_gone);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
