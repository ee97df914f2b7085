/* Which idle connections a worker keeps: connections over memory, on made-up time. The test is
 * their user, and says nothing on them. */
#include "proxy/upstream.h"

#include <string.h>
#include <sys/resource.h>

#include "proxy/descriptors.h"
#include "tests/fuzz/world.h"
#include "tests/lib/one_client.h"
#include "tests/lib/unit.h"

#define MANY 150
#define IDLE_S 60

#define CONFIGURATION(more)                                    \
    "listeners: [{name: web, listen: 127.0.0.1:1, pool: p}]\n" \
    "pools:\n"                                                 \
    "  - name: p\n"                                            \
    "    backends:\n"                                          \
    "      - {name: b1, address: 127.0.0.1:1}\n"               \
    "      - {name: b2, address: 127.0.0.1:2}\n"               \
    "      - {name: b3, address: 127.0.0.1:3}\n"               \
    "      - {name: b4, address: 127.0.0.1:4}\n" more

/* ---- a user ---- */

static unsigned connects, breaks;

static void on_connected(struct upstream_user *user)
{
    connects++;
}

static void on_broken(struct upstream_user *user, int uv_error)
{
    breaks++;
}

static const struct upstream_user_ops ops = {.on_connected = on_connected, .on_broken = on_broken};
static struct upstream_user user = {&ops};
static struct upstream *in_use[MANY];
static unsigned nin_use;

static struct worker_pool *pool(void)
{
    return &world.worker.current->pools[0];
}

static struct server *server(unsigned i)
{
    return pool()->pool->members[i].server;
}

static unsigned idle(unsigned i)
{
    return (unsigned)server_idle(server(i));
}

static struct upstream *take(unsigned i)
{
    int uv_error = 0;
    struct upstream *u = upstream_take_idle(pool(), server(i), false, &user);
    if (u == NULL)
        u = upstream_connect(pool(), server(i), NULL, &user, &uv_error);
    ck_assert_ptr_nonnull(u);
    memory_run();
    in_use[nin_use++] = u;
    return u;
}

static void take_several(unsigned i, unsigned n)
{
    while (n--)
        take(i);
}

static void give_back_all(void)
{
    while (nin_use)
        upstream_give_back(in_use[--nin_use], true, NULL);
    memory_run();
}

static void burst(unsigned i, unsigned n)
{
    take_several(i, n);
    give_back_all();
}

static void pass(uint64_t ms)
{
    time_advance(ms);
    memory_run();
}

static void begin(const char *configuration)
{
    connects = breaks = nin_use = 0;
    one_client_begin(configuration);
}

static void end(void)
{
    give_back_all();
    ck_assert_uint_eq(breaks, 0);
    one_client_end();
}

/* ---- the mark ---- */

START_TEST(as_many_are_kept_as_were_in_use_at_once)
{
    begin(CONFIGURATION(""));
    burst(0, MANY);
    ck_assert_uint_eq(idle(0), MANY);
    for (unsigned i = 0; i < 100; i++) {
        burst(0, MANY);
        pass(500);
    }
    ck_assert_uint_eq(idle(0), MANY);
    ck_assert_uint_eq(connects, MANY);
    end();
}
END_TEST

START_TEST(what_a_burst_left_goes_after_some_seconds_a_few_at_a_time)
{
    unsigned before = MANY, after_ms = 0;
    begin(CONFIGURATION(""));
    burst(0, MANY);
    for (unsigned ms = 0; ms < 20000; ms += 250) {
        burst(0, 10);
        pass(250);
        ck_assert_uint_le(idle(0), before);
        ck_assert_uint_le(before - idle(0), 40);
        if (before == MANY && idle(0) < MANY)
            after_ms = ms;
        before = idle(0);
    }
    ck_assert_uint_ge(after_ms, 4500);
    ck_assert_uint_le(after_ms, 10000);
    ck_assert_uint_eq(idle(0), 10);
    ck_assert_uint_eq(connects, MANY); /* what is left are those that were used */
    end();
}
END_TEST

START_TEST(connections_that_are_lent_for_long_do_not_keep_others)
{
    begin(CONFIGURATION(""));
    burst(0, 100);
    take_several(0, 60); /* tunnels, say */
    for (unsigned i = 0; i < 60; i++)
        pass(250);
    ck_assert_uint_eq(idle(0), 0);
    end();
}
END_TEST

START_TEST(in_quiet_times_two_are_kept_for_their_idle_timeout)
{
    begin(CONFIGURATION(""));
    burst(0, MANY);
    burst(1, 1);
    for (unsigned ms = 0; ms < IDLE_S * 1000 - 500; ms += 250)
        pass(250);
    ck_assert_uint_eq(idle(0), 2);
    ck_assert_uint_eq(idle(1), 1);
    ck_assert(deadline_armed(&world.worker.sweep));
    pass(750);
    pass(250);
    ck_assert_uint_eq(idle(0) + idle(1), 0);
    ck_assert(!deadline_armed(&world.worker.sweep)); /* nothing wakes the worker any more */
    end();
}
END_TEST

START_TEST(no_more_than_max_idle_connections_are_kept)
{
    begin(CONFIGURATION("    max_idle_connections: 5\n"));
    burst(0, 20);
    ck_assert_uint_eq(idle(0), 5);
    burst(1, 20);
    ck_assert_uint_eq(idle(0) + idle(1), 10);
    end();
}
END_TEST

START_TEST(a_reset_clears_away_what_is_not_kept_unless_a_request_is_still_on_its_way)
{
    struct memory_wire *kept, *above, *unread, *dirty;
    begin(CONFIGURATION("    max_idle_connections: 1\n"));
    kept = memory_wire_of(&take(0)->conn);
    above = memory_wire_of(&take(0)->conn);
    unread = memory_wire_of(&take(0)->conn);
    dirty = memory_wire_of(&take(0)->conn);
    unread->unsent = 1;
    for (unsigned i = 0; i < nin_use; i++)
        upstream_give_back(in_use[i], i < 3, NULL);
    nin_use = 0;
    memory_run();
    ck_assert_int_eq(kept->state, MEMORY_OPEN);
    ck_assert(above->state == MEMORY_CLOSED && above->broken);
    ck_assert(unread->state == MEMORY_CLOSED && !unread->broken);
    ck_assert(dirty->state == MEMORY_CLOSED && !dirty->broken);
    pass(IDLE_S * 1000);
    ck_assert(kept->state == MEMORY_CLOSED && kept->broken);
    end();
}
END_TEST

/* ---- servers that say how long they wait ---- */

START_TEST(one_that_its_server_is_about_to_close_is_not_lent)
{
    begin(CONFIGURATION(""));
    struct upstream *u = take(0);
    upstream_expires(u, time_now(), 4000);
    give_back_all();
    pass(3999);
    ck_assert_ptr_eq(take(0), u);
    upstream_expires(u, time_now() - 3999, 4000); /* the head came long before the end */
    give_back_all();
    ck_assert_uint_eq(idle(0), 1);
    time_advance(1); /* before any sweep */
    ck_assert_ptr_null(upstream_take_idle(pool(), server(0), false, &user));
    ck_assert_uint_eq(idle(0), 0);
    take(0);
    give_back_all();
    pass(30000);
    ck_assert_uint_eq(idle(0), 1); /* it stands for one loan */
    end();
}
END_TEST

START_TEST(those_are_closed_at_about_the_time)
{
    begin(CONFIGURATION(""));
    take_several(0, 2);
    upstream_expires(in_use[0], time_now(), 4000);
    upstream_expires(in_use[1], time_now(), 0);
    give_back_all();
    ck_assert_uint_eq(idle(0), 1);
    pass(3900);
    ck_assert_uint_eq(idle(0), 1);
    pass(500);
    ck_assert_uint_eq(idle(0), 0);
    end();
}
END_TEST

/* ---- descriptors ---- */

/* Returns how many descriptors there are for traffic, about n. */
static unsigned limit_descriptors(unsigned n)
{
    unsigned room = 0;
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = n + n / 7 + 10;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    descriptors_init();
    while (descriptors_take(DESCRIPTORS_BACKEND, 1))
        room++;
    descriptors_give(room);
    return room;
}

START_TEST(an_idle_connection_gives_way_to_one_that_is_needed)
{
    begin(CONFIGURATION(""));
    unsigned room = limit_descriptors(80), some = room * 5 / 8;
    ck_assert_uint_ge(room, 60);
    burst(0, some);
    ck_assert_uint_eq(idle(0), some);
    take_several(1, some); /* together they would be more than there are */
    ck_assert_uint_lt(idle(0), some);
    ck_assert(descriptors_take(DESCRIPTORS_BACKEND, room / 8)); /* for workers with none idle */
    descriptors_give(room / 8);
    give_back_all();
    end();
}
END_TEST

START_TEST(who_has_more_than_it_needs_gives_way_first)
{
    begin(CONFIGURATION(""));
    unsigned room = limit_descriptors(400), others = 0;
    burst(0, 100);
    for (unsigned i = 0; i < 44 && idle(0) >= 90; i++) {
        burst(0, 1); /* all that b1 needs by now; b2 needs all that it has */
        burst(1, 90);
        pass(250);
    }
    unsigned before = idle(0);
    ck_assert_uint_gt(before, 20);
    ck_assert_uint_lt(before, 90);
    for (; !descriptors_scarce(); others++)
        ck_assert(descriptors_take(DESCRIPTORS_BACKEND, 1));
    take_several(2, 5);
    ck_assert_uint_eq(idle(1), 90);
    ck_assert_uint_eq(idle(0), before - 5);
    descriptors_give(others);
    ck_assert_uint_gt(room, 250);
    end();
}
END_TEST

START_TEST(while_descriptors_are_scarce_a_worker_keeps_its_share)
{
    begin(CONFIGURATION(""));
    unsigned room = limit_descriptors(80), share = descriptors_idle_share(1);
    burst(0, room / 2);
    ck_assert(descriptors_take(DESCRIPTORS_BACKEND, room / 2)); /* the other workers */
    ck_assert(descriptors_scarce());
    for (unsigned i = 0; i < 8; i++)
        pass(250);
    ck_assert(!descriptors_scarce() || idle(0) <= share);
    ck_assert(descriptors_take(DESCRIPTORS_BACKEND, room / 4));
    for (unsigned i = 0; i < 8; i++)
        pass(250);
    ck_assert_uint_eq(idle(0), share);
    burst(1, 1); /* it is shared between servers: the last used stays */
    ck_assert_uint_eq(idle(0), share - 1);
    ck_assert_uint_eq(idle(1), 1);
    descriptors_give(room / 2 + room / 4);
    end();
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("upstream_idle");
    TCase *c = tcase_create("upstream_idle");
    tcase_add_test(c, as_many_are_kept_as_were_in_use_at_once);
    tcase_add_test(c, what_a_burst_left_goes_after_some_seconds_a_few_at_a_time);
    tcase_add_test(c, connections_that_are_lent_for_long_do_not_keep_others);
    tcase_add_test(c, in_quiet_times_two_are_kept_for_their_idle_timeout);
    tcase_add_test(c, no_more_than_max_idle_connections_are_kept);
    tcase_add_test(c, a_reset_clears_away_what_is_not_kept_unless_a_request_is_still_on_its_way);
    tcase_add_test(c, one_that_its_server_is_about_to_close_is_not_lent);
    tcase_add_test(c, those_are_closed_at_about_the_time);
    tcase_add_test(c, an_idle_connection_gives_way_to_one_that_is_needed);
    tcase_add_test(c, who_has_more_than_it_needs_gives_way_first);
    tcase_add_test(c, while_descriptors_are_scarce_a_worker_keeps_its_share);
    suite_add_tcase(s, c);
    return s;
}

int main(void)
{
    return unit_main(build);
}
