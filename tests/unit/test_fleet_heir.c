/* Members that come after another one: a process whose `resume` can't be used, and one that finds
 * the store a moment after its first question. */
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

static void settle(void)
{
    run(&w, 2 * TTL_MS);
    ck_assert_ptr_nonnull(keeper_of(&w));
    ck_assert(together(&w));
    forget_told(&w);
}

/* What fleet_save() wrote, of a member that had another name for its fleet. */
static void leave_to_another(struct member *m)
{
    m->resume = fleet_save(m->fleet);
    char *name = strstr(m->resume, "\"name\":\"");
    ck_assert_ptr_nonnull(name);
    name[strlen("\"name\":\"")] ^= 1;
    member_kill(m);
    member_start(m);
}

/* At first the lock is that of the process before. */
static struct member *replaced_active(const char *node)
{
    world_prepare(&w, 2, LINE);
    for (unsigned i = 0; i < 2; i++) {
        at(i)->config.listen_active = true;
        at(i)->config.preempt = false;
        member_start(at(i));
    }
    settle();
    struct member *k = keeper_of(&w);
    if (node)
        k->config.node = (char *)(uintptr_t)node;
    leave_to_another(k);
    fleet_accepting(k->fleet, true); /* the sockets of the process before listen */
    return k;
}

static bool is_keeper(struct member *m)
{
    return fleet_role(m->fleet) == FLEET_KEEPER;
}

START_TEST(who_goes_on_to_accept_is_active_until_another_one_has_the_lock)
{
    for (unsigned i = 0; i < 2; i++) {
        struct member *k = replaced_active(i ? "other" : NULL), *o = at(k->at == 0 ? 1 : 0);
        run(&w, TTL_MS / 2);
        ck_assert(fleet_is_active(k->fleet) && !fleet_is_active(o->fleet));
        ck_assert_uint_eq(k->nwishes, 0);
        k->path.cut_us = w.sim.now_us + 3 * TTL_MS * 1000; /* else it were first to take the lock */
        ck_assert(run_until(&w, 2 * TTL_MS, is_keeper, o));
        ck_assert(fleet_is_active(k->fleet));
        run(&w, 3 * TTL_MS);
        ck_assert(!fleet_is_active(k->fleet) && fleet_is_active(o->fleet));
        ck_assert_uint_eq(k->nwishes, 1);
        ck_assert_int_eq(k->wishes[0], FLEET_STANDBY);
        world_deinit(&w);
    }
}
END_TEST

START_TEST(a_lock_of_another_lock_ttl_is_not_gone_on_with)
{
    world_init(&w, 1, LINE);
    settle();
    struct member *k = at(0);
    uint64_t epoch = fleet_epoch(k->fleet);
    char before[INSTANCE_SIZE];
    strcpy(before, fleet_instance(k->fleet));
    k->resume = fleet_save(k->fleet);
    k->config.lock_ttl_ms = 4 * TTL_MS;
    member_kill(k);
    member_start(k);
    ck_assert_str_eq(fleet_instance(k->fleet), before);
    ck_assert_int_ne(fleet_role(k->fleet), FLEET_KEEPER);
    run(&w, TTL_MS + TTL_MS / 2);
    ck_assert_int_eq(fleet_role(k->fleet), FLEET_KEEPER);
    ck_assert_uint_gt(fleet_epoch(k->fleet), epoch);
    world_deinit(&w);
}
END_TEST

START_TEST(the_store_is_asked_as_soon_as_it_is_reached)
{
    world_prepare(&w, 3, LINE);
    for (unsigned i = 0; i < 2; i++)
        member_start(at(i));
    settle();
    member_start(at(2));
    run(&w, 60);
    ck_assert_uint_eq(at(2)->joined, 1);
    ck_assert_int_eq(fleet_role(at(2)->fleet), FLEET_FOLLOWER);
    world_deinit(&w);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("fleet_heir");
    TCase *t = tcase_create("heir");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, who_goes_on_to_accept_is_active_until_another_one_has_the_lock);
    tcase_add_test(t, a_lock_of_another_lock_ttl_is_not_gone_on_with);
    tcase_add_test(t, the_store_is_asked_as_soon_as_it_is_reached);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
