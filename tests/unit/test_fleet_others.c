/* Members of a fleet: other configurations, other processes, broken data, active and standby. */
#include <stdlib.h>
#include <string.h>

#include "cluster/state.h"
#include "tests/lib/fleet_world.h"
#include "tests/lib/unit.h"

#define LINE "b1 b2 b3 | s1 ; after=5000 max=40000"
#define MORE "b1 b2 b3 b4 | s1 ; after=5000 max=40000"

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

static void settled(unsigned n)
{
    world_init(&w, n, LINE);
    settle();
}

static struct state *stored(void)
{
    struct error e;
    struct state *s = state_decode(str_of(w.body), &e);
    ck_assert_msg(s != NULL, "%s", e.text);
    return s;
}

static bool stored_lists(const char *server)
{
    struct state *s = stored();
    const struct agreed_pool *p = state_pool(s, "pool");
    bool listed = p && state_server(p, server);
    state_free(s);
    return listed;
}

/* ---- broken data ---- */

/* Somebody who may write to the store. */
struct evil {
    struct sim_process process;
    struct fake_path path;
    struct fake_store *store;
};

static void evil_init(struct evil *e)
{
    *e = (struct evil){.process = {.sim = &w.sim, .name = "evil", .pace = 1}};
    sim_process_start(&e->process);
    e->store = fake_store_new(&w.redis, &e->path, &e->process, 500, 1000);
    run(&w, 500);
    ck_assert(fake_store_is_up(e->store));
}

static void evil_deinit(struct evil *e)
{
    fake_store_free(e->store);
    sim_process_kill(&e->process);
}

static void ignore(void *arg, const bool *yes)
{
}

static void ignore_sync(void *arg, const struct store_synced *a)
{
}

static void put_state(struct evil *e, const struct version *v, const char *body)
{
    struct store *s = fake_store_store(e->store);
    s->ops->restore(s, &(struct store_publish){NULL, *v, str_of(body)}, ignore, NULL);
    run(&w, 100);
}

static void put_view(struct evil *e, const char *node, const char *view)
{
    struct store *s = fake_store_store(e->store);
    struct store_sync r = {.node = node,
                           .instance = "00000000000000000000000000000e1f",
                           .n = 1,
                           .view = str_of(view),
                           .tells = true,
                           .kind = HINT_CLAIM};
    s->ops->sync(s, &r, ignore_sync, NULL);
    run(&w, 100);
}

START_TEST(a_broken_state_is_refused_once_and_replaced)
{
    settled(3);
    struct version bad = w.last;
    bad.seq += 5;
    struct evil e;
    evil_init(&e);
    put_state(&e, &bad, "{\"v\":1,\"pools\":{\"pool\":7}}");
    run(&w, 4 * TTL_MS);
    unsigned refused = 0;
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_le(times_told(at(i), "refused:state"), 1);
        refused += times_told(at(i), "refused:state");
    }
    ck_assert_uint_ge(refused, 1);
    struct asked a;
    ask(at(0), "b1", FLEET_DRAIN, &a);
    run(&w, 2 * TTL_MS);
    for (unsigned i = 0; i < 3; i++)
        ck_assert(is_out(at(i), "b1"));
    evil_deinit(&e);
    world_deinit(&w);
}
END_TEST

START_TEST(a_broken_view_is_no_vote)
{
    settled(3);
    struct evil e;
    evil_init(&e);
    put_view(&e, "evil", "{\"v\":1,");
    put_view(&e, "e\n2", "{}");
    run(&w, TTL_MS);
    ck_assert(told(at(0), "refused:view"));
    reachable(&w, "b1", false);
    traffic_fails(at(0), "b1");
    run(&w, 300);
    ck_assert(is_out(at(1), "b1"));
    evil_deinit(&e);
    world_deinit(&w);
}
END_TEST

/* ---- other configurations ---- */

START_TEST(another_configuration_is_told_and_the_servers_of_both_are_agreed)
{
    settled(2);
    struct member *m = follower(), *k = keeper_of(&w);
    member_reload(m, MORE);
    run(&w, TTL_MS);
    ck_assert_uint_eq(times_told(k, "differs"), 1);
    ck_assert_uint_eq(times_told(m, "differs"), 1);
    struct asked a;
    ask(m, "b1", FLEET_DRAIN, &a);
    run(&w, 200);
    ck_assert_int_eq(a.outcome, FLEET_AGREED);
    ck_assert(is_out(k, "b1") && is_out(m, "b1"));
    ask(m, "b4", FLEET_DRAIN, &a); /* the keeper has none */
    run(&w, 200);
    ck_assert(a.done);
    ck_assert_int_eq(a.outcome, FLEET_HERE);
    ck_assert(is_out(m, "b4"));
    member_reload(k, MORE);
    run(&w, TTL_MS);
    ck_assert(told(k, "agrees"));
    ck_assert(stored_lists("b4"));
    world_deinit(&w);
}
END_TEST

START_TEST(a_keeper_carries_along_what_it_does_not_know)
{
    world_init(&w, 2, MORE);
    settle();
    struct asked a;
    ask(at(0), "b4", FLEET_DRAIN, &a);
    run(&w, 200);
    struct member *k = keeper_of(&w), *m = follower();
    member_reload(k, LINE);
    run(&w, 200);
    ask(at(0), "b1", FLEET_DRAIN, &a);
    run(&w, 200);
    ck_assert(stored_lists("b4"));
    ck_assert(is_out(m, "b4"));
    member_reload(m, LINE);
    run(&w, 9 * TTL_MS);
    ck_assert(stored_lists("b4"));
    run(&w, 3 * TTL_MS);
    ck_assert(!stored_lists("b4"));
    world_deinit(&w);
}
END_TEST

START_TEST(a_keeper_that_reloads_moves_nothing)
{
    settled(2);
    reachable(&w, "b1", false);
    traffic_fails(at(0), "b1");
    run(&w, 1000);
    struct member *k = keeper_of(&w);
    ck_assert(is_out(k, "b1"));
    forget_told(&w);
    member_reload(k, NULL);
    reachable(&w, "b1", false);
    ck_assert(is_out(k, "b1"));
    run(&w, TTL_MS);
    ck_assert(is_out(k, "b1"));
    ck_assert_ptr_eq(keeper_of(&w), k);
    ck_assert(strstr(k->told, ":b") == NULL);
    world_deinit(&w);
}
END_TEST

/* What the keeper has decided goes on: waits end. */
START_TEST(a_server_returns_after_the_keeper_has_reloaded)
{
    settled(2);
    reachable(&w, "b1", false);
    traffic_fails(at(0), "b1");
    run(&w, 1000);
    member_reload(keeper_of(&w), NULL); /* which reaches it again */
    reachable(&w, "b1", true);
    run(&w, 4000);
    ck_assert(is_out(at(0), "b1") && is_out(at(1), "b1"));
    run(&w, 4000);
    ck_assert(!is_out(at(0), "b1") && !is_out(at(1), "b1"));
    world_deinit(&w);
}
END_TEST

/* A member that stops is a voter without a vote for a while, not none. */
START_TEST(a_member_without_pools_says_nothing)
{
    settled(3);
    struct member *k = keeper_of(&w);
    for (unsigned i = 0; i < 3; i++)
        if (at(i) != k) {
            fleet_pools(at(i)->fleet, NULL, 0);
            member_leave(at(i));
        }
    unsigned stored_before = w.nstored;
    reachable(&w, "b1", false);
    run(&w, 5 * CHECK_MS);
    ck_assert(!is_out(k, "b1"));
    ck_assert_uint_eq(w.nstored, stored_before);
    fleet_pools(k->fleet, NULL, 0);
    run(&w, TTL_MS);
    ck_assert_uint_eq(w.nstored, stored_before);
    world_deinit(&w);
}
END_TEST

START_TEST(new_members_and_silent_ones_are_told_and_forgotten)
{
    settled(3);
    struct member *m = follower(), *k = keeper_of(&w);
    member_kill(m);
    run(&w, 2 * TTL_MS);
    ck_assert_uint_eq(times_told(k, "silent"), 1);
    ck_assert_uint_eq(w.redis.data.nnodes, 3);
    run(&w, 10 * TTL_MS);
    ck_assert_uint_eq(times_told(k, "gone"), 1);
    ck_assert_uint_eq(w.redis.data.nnodes, 2);
    member_start(m);
    run(&w, TTL_MS);
    ck_assert_uint_eq(times_told(k, "new"), 1);
    world_deinit(&w);
}
END_TEST

START_TEST(two_processes_with_one_node_are_told)
{
    world_prepare(&w, 2, LINE);
    at(1)->config.node = at(0)->node;
    member_start(at(0));
    member_start(at(1));
    run(&w, 4 * TTL_MS);
    ck_assert(told(at(0), "twice") || told(at(1), "twice"));
    ck_assert_uint_le(times_told(at(0), "twice"), 1);
    world_deinit(&w);
}
END_TEST

/* ---- another process in its place ---- */

START_TEST(another_process_goes_on_as_the_same_keeper)
{
    struct asked a;
    settled(3);
    struct member *k = keeper_of(&w);
    ask(k, "b1", FLEET_DRAIN, &a);
    run(&w, 200);
    char instance[INSTANCE_SIZE];
    strcpy(instance, fleet_instance(k->fleet));
    uint64_t epoch = w.last.epoch, seq = w.last.seq;
    k->resume = fleet_save(k->fleet);
    fleet_freeze(k->fleet, true);
    unsigned stored_before = w.nstored;
    run(&w, 100);
    member_kill(k);
    member_start(k);
    ck_assert_str_eq(fleet_instance(k->fleet), instance);
    ck_assert_int_eq(fleet_role(k->fleet), FLEET_KEEPER);
    run(&w, TTL_MS);
    ck_assert_ptr_eq(keeper_of(&w), k);
    ck_assert_uint_eq(k->joined, 1);
    ck_assert(is_out(k, "b1"));
    ck_assert_uint_eq(w.last.epoch, epoch);
    ck_assert_uint_ge(w.last.seq, seq);
    ck_assert_uint_le(w.nstored, stored_before + 1);
    ask(at(0), "b2", FLEET_DRAIN, &a);
    run(&w, 200);
    ck_assert_int_eq(a.outcome, FLEET_AGREED);
    world_deinit(&w);
}
END_TEST

START_TEST(a_frozen_keeper_keeps_its_lock_and_publishes_nothing)
{
    struct asked a;
    settled(2);
    struct member *k = keeper_of(&w);
    free(fleet_save(k->fleet));
    fleet_freeze(k->fleet, true);
    unsigned n = w.nstored;
    uint64_t seq = w.last.seq;
    ask(k, "b1", FLEET_DRAIN, &a);
    ck_assert_int_eq(a.outcome, FLEET_BUSY);
    ask(follower(), "b1", FLEET_DRAIN, &a);
    run(&w, 3 * TTL_MS);
    ck_assert_uint_eq(w.nstored, n);
    ck_assert_ptr_eq(keeper_of(&w), k);
    fleet_freeze(k->fleet, false); /* the other process has failed */
    run(&w, TTL_MS);
    ck_assert(is_out(at(0), "b1") && is_out(at(1), "b1"));
    ck_assert_uint_gt(w.last.seq, seq + 1000000);
    world_deinit(&w);
}
END_TEST

START_TEST(what_is_no_document_is_a_new_instance)
{
    static const char *const texts[] = {"", "{}", "[1]", "{\"v\":1,\"name\":\"edge\"}"};
    for (unsigned i = 0; i < 4; i++) {
        world_prepare(&w, 1, LINE);
        at(0)->resume = strdup(texts[i]);
        member_start(at(0));
        ck_assert_uint_eq(strlen(fleet_instance(at(0)->fleet)), 32);
        run(&w, 2 * TTL_MS);
        ck_assert(together(&w));
        world_deinit(&w);
    }
}
END_TEST

/* ---- active and standby ---- */

static void pair(unsigned high, unsigned low)
{
    world_prepare(&w, 2, LINE);
    at(0)->config.priority = high;
    at(1)->config.priority = low;
    for (unsigned i = 0; i < 2; i++) {
        at(i)->config.listen_active = true;
        member_start(at(i));
    }
}

START_TEST(one_is_active)
{
    pair(100, 50);
    settle();
    struct member *k = keeper_of(&w);
    ck_assert_ptr_eq(k, at(0));
    ck_assert(fleet_is_active(at(0)->fleet));
    ck_assert(!fleet_is_active(at(1)->fleet));
    ck_assert_uint_eq(at(0)->nwishes, 1);
    ck_assert_int_eq(at(0)->wishes[0], FLEET_ACTIVE);
    ck_assert_uint_eq(at(1)->nwishes, 0);
    world_deinit(&w);
}
END_TEST

START_TEST(the_active_one_stays_so_without_a_store)
{
    pair(100, 50);
    settle();
    fake_redis_stop(&w.redis);
    run(&w, 5 * TTL_MS);
    ck_assert(fleet_is_active(at(0)->fleet));
    ck_assert(!fleet_is_active(at(1)->fleet));
    fake_redis_start(&w.redis);
    run(&w, 3 * TTL_MS);
    ck_assert(fleet_is_active(at(0)->fleet) != fleet_is_active(at(1)->fleet));
    world_deinit(&w);
}
END_TEST

START_TEST(active_after_a_start_without_a_store)
{
    world_prepare(&w, 1, LINE);
    at(0)->config.listen_active = true;
    fake_redis_stop(&w.redis);
    member_start(at(0));
    run(&w, 2 * TTL_MS - 100);
    ck_assert(!fleet_is_active(at(0)->fleet));
    run(&w, 400);
    ck_assert(fleet_is_active(at(0)->fleet));
    world_deinit(&w);
}
END_TEST

static bool is_active(struct member *m)
{
    return fleet_is_active(m->fleet);
}

START_TEST(the_preferred_one_gets_the_role_back)
{
    pair(100, 50);
    settle();
    fleet_accepting(at(0)->fleet, true);
    member_kill(at(0));
    ck_assert(run_until(&w, TTL_MS + 250, is_active, at(1)));
    fleet_accepting(at(1)->fleet, true);
    run(&w, TTL_MS);
    member_start(at(0));
    run(&w, TTL_MS);
    ck_assert(!is_active(at(0)));
    ck_assert(run_until(&w, 3 * TTL_MS, is_active, at(0)));
    ck_assert(is_active(at(1))); /* the new one first */
    run(&w, 400);
    ck_assert(!is_active(at(1)));
    ck_assert_int_eq(at(0)->wishes[at(0)->nwishes - 1], FLEET_ACTIVE);
    fleet_accepting(at(1)->fleet, false);
    run(&w, 1500);
    ck_assert_int_eq(at(0)->wishes[at(0)->nwishes - 1], FLEET_ANNOUNCE);
    ck_assert(together(&w));
    world_deinit(&w);
}
END_TEST

/* Doubled each time that it was lost early. */
START_TEST(a_flapping_one_waits_longer)
{
    pair(100, 50);
    settle();
    uint64_t waits[3];
    for (unsigned i = 0; i < 3; i++) {
        member_kill(at(0));
        ck_assert(run_until(&w, TTL_MS + 250, is_active, at(1)));
        run(&w, TTL_MS);
        member_start(at(0));
        uint64_t from = w.sim.now_us;
        ck_assert(run_until(&w, 20 * TTL_MS, is_active, at(0)));
        waits[i] = (w.sim.now_us - from) / SIM_MS;
        run(&w, 2 * TTL_MS);
    }
    ck_assert_uint_gt(waits[1], waits[0] + TTL_MS);
    ck_assert_uint_gt(waits[2], waits[1] + 2 * TTL_MS);
    world_deinit(&w);
}
END_TEST

START_TEST(one_that_is_not_ready_hands_over)
{
    pair(100, 50);
    settle();
    at(0)->ready = false;
    ck_assert(run_until(&w, 4 * TTL_MS, is_active, at(1)));
    run(&w, 400);
    ck_assert(!is_active(at(0)));
    run(&w, 10 * TTL_MS);
    ck_assert(is_active(at(1)));
    world_deinit(&w);
}
END_TEST

/* ---- what is shown ---- */

START_TEST(the_status_knows_all)
{
    settled(3);
    struct member *k = keeper_of(&w);
    reachable_for(follower(), "b1", false);
    traffic_fails(follower(), "b1");
    run(&w, 1000);
    struct fleet_status s;
    fleet_status(k->fleet, &s);
    ck_assert_str_eq(s.name, "edge");
    ck_assert_uint_eq(s.nmembers, 3);
    ck_assert_uint_eq(s.nlive, 3);
    ck_assert_int_eq(s.role, FLEET_KEEPER);
    ck_assert_str_eq(s.keeper, k->node);
    ck_assert(s.reached && s.agreed && !s.settling);
    const struct fleet_status_member *m = &s.members[follower()->at];
    ck_assert_str_eq(m->node, follower()->node);
    ck_assert_str_eq(m->role, "follower");
    ck_assert_uint_eq(m->nexcept, 1);
    ck_assert_str_eq(m->except[0].server, "b1");
    ck_assert_uint_eq(m->seq, s.version.seq);
    fleet_status_deinit(&s);
    struct fleet_votes v;
    ck_assert(fleet_votes(k->fleet, 0, id_of(k, "b1"), &v));
    ck_assert_uint_eq(v.down, 1);
    ck_assert_uint_eq(v.voters, 3);
    ck_assert(!fleet_votes(follower()->fleet, 0, 0, &v));
    world_deinit(&w);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("fleet_others");
    TCase *t = tcase_create("others");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, a_broken_state_is_refused_once_and_replaced);
    tcase_add_test(t, a_broken_view_is_no_vote);
    tcase_add_test(t, another_configuration_is_told_and_the_servers_of_both_are_agreed);
    tcase_add_test(t, a_keeper_carries_along_what_it_does_not_know);
    tcase_add_test(t, a_keeper_that_reloads_moves_nothing);
    tcase_add_test(t, a_server_returns_after_the_keeper_has_reloaded);
    tcase_add_test(t, a_member_without_pools_says_nothing);
    tcase_add_test(t, new_members_and_silent_ones_are_told_and_forgotten);
    tcase_add_test(t, two_processes_with_one_node_are_told);
    tcase_add_test(t, another_process_goes_on_as_the_same_keeper);
    tcase_add_test(t, a_frozen_keeper_keeps_its_lock_and_publishes_nothing);
    tcase_add_test(t, what_is_no_document_is_a_new_instance);
    tcase_add_test(t, one_is_active);
    tcase_add_test(t, the_active_one_stays_so_without_a_store);
    tcase_add_test(t, active_after_a_start_without_a_store);
    tcase_add_test(t, the_preferred_one_gets_the_role_back);
    tcase_add_test(t, a_flapping_one_waits_longer);
    tcase_add_test(t, one_that_is_not_ready_hands_over);
    tcase_add_test(t, the_status_knows_all);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
