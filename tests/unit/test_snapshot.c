/* Generations of the configuration: what each has of its own, and what passes from one to the next.
 */
#include "pool/snapshot.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "ring/hash.h"
#include "tests/lib/unit.h"

#define WORKERS 3

static void ignore_notice(void *arg, const struct roster_notice *n)
{
}

static struct config *parse(const char *text)
{
    struct config_errors errors = {0};
    struct config *config = config_parse("test.yaml", text, strlen(text), &errors);
    if (config == NULL)
        ck_abort_msg("%s", errors.lines[0]);
    config_errors_free(&errors);
    return config;
}

/* The next generation after `old`, which may be NULL and stays the caller's. */
static struct snapshot *next(const struct snapshot *old, const char *text)
{
    struct error e;
    struct config *config = parse(text);
    uint64_t generation = old ? old->generation + 1 : 1;
    struct snapshot *s = snapshot_new(config, old, generation, WORKERS, ignore_notice, NULL, &e);
    config_unref(config); /* the snapshot has its own reference */
    if (s == NULL)
        ck_abort_msg("%s", e.text);
    return s;
}

static void drop(struct snapshot *s)
{
    snapshot_retire(s);
    snapshot_unref(s);
}

static const struct pool_member *member(const struct snapshot *s, const char *pool,
                                        const char *name)
{
    size_t i = snapshot_find_pool(s, pool);
    ck_assert_uint_lt(i, s->npools);
    return pool_find_name(s->pools[i], name);
}

static struct server *server(const struct snapshot *s, const char *pool, const char *name)
{
    const struct pool_member *m = member(s, pool, name);
    ck_assert_ptr_nonnull(m);
    return m->server;
}

/* ---- one generation ---- */

static const char two_pools[] =
    "listeners:\n"
    "  - {name: one, listen: 127.0.0.1:8001, pool: second}\n"
    "  - {name: two, listen: 127.0.0.1:8002, pool: first}\n"
    "pools:\n"
    "  - {name: first, backends: [{name: b1, address: 127.0.0.1:9001}]}\n"
    "  - {name: second, backends: [{name: b2, address: 127.0.0.1:9002}]}\n";

START_TEST(a_snapshot_joins_each_listener_with_its_pool)
{
    struct error e;
    struct config *config = parse(two_pools);
    struct snapshot *s = snapshot_new(config, NULL, 7, WORKERS, ignore_notice, NULL, &e);
    config_unref(config); /* the snapshot has its own reference */
    ck_assert_ptr_nonnull(s);
    ck_assert(s->generation == 7 && s->nworkers == 3 && s->npools == 2 && s->nlisteners == 2);
    ck_assert_str_eq(s->pools[s->listeners[0].config->routes[0].pool]->members[0].server->name,
                     "b2");
    ck_assert_str_eq(s->pools[s->listeners[1].config->routes[0].pool]->members[0].server->name,
                     "b1");
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_ptr_nonnull(s->rosters[i]);
        ck_assert_ptr_eq(s->listeners[i].config, &s->config->listeners[i]);
        for (unsigned w = 0; w < 3; w++) {
            ck_assert_uint_eq((uintptr_t)&s->listeners[i].stats->cells[w] % 64, 0);
            cell_add(&s->listeners[i].stats->cells[w].codes[599], 1);
        }
    }
    drop(s);
    snapshot_unref(NULL);
}
END_TEST

START_TEST(a_snapshot_says_which_pool_can_not_be_built)
{
    struct error e = {0};
    struct config *config = parse(two_pools);
    struct snapshot *old = next(NULL, two_pools);
    config->pools[1].vnodes = RING_MAX_POINTS + 1;
    for (int i = 0; i < 2; i++) {
        ck_assert_ptr_null(
            snapshot_new(config, i ? old : NULL, 2, WORKERS, ignore_notice, NULL, &e));
        ck_assert_ptr_eq(strstr(e.text, "pool second: "), e.text);
    }
    config_unref(config);
    drop(old);
}
END_TEST

/* ---- from one to the next ---- */

#define CONFIG(pool)                                         \
    "listeners:\n"                                           \
    "  - {name: web, listen: 127.0.0.1:8001, pool: cache}\n" \
    "pools:\n"                                               \
    "  - {name: cache, " pool "}\n"

#define B1 "{name: b1, address: 127.0.0.1:9001}"
#define B2 "{name: b2, address: 127.0.0.1:9002}"
#define B3 "{name: b3, address: 127.0.0.1:9003}"

static const char before[] = CONFIG("backends: [" B1 ", " B2 "], standbys: [" B3 "]");

START_TEST(what_a_file_may_change_about_a_server_is_its_members)
{
    struct snapshot *a = next(NULL, before);
    struct snapshot *b = next(
        a, CONFIG("passive: {failures: 9}, backends: [{name: b0, address: 127.0.0.1:9000}, "
                  "{name: b2, address: 127.0.0.1:9002, weight: 7, max_connections: 5}, " B3 "]"));
    const struct pool_member *was = member(a, "cache", "b2"), *is = member(b, "cache", "b2");
    ck_assert_ptr_eq(was->server, is->server);
    ck_assert(was->id == 1 && was->weight == 1 && was->max_connections == 0);
    ck_assert(is->id == 1 && is->weight == 7 && is->max_connections == 5);
    ck_assert_uint_eq(is->passive_failures, 9);
    /* a standby is a backend now, and b1 is gone */
    ck_assert_ptr_eq(server(a, "cache", "b3"), server(b, "cache", "b3"));
    ck_assert(member(a, "cache", "b3")->standby && !member(b, "cache", "b3")->standby);
    ck_assert_ptr_null(member(b, "cache", "b1"));
    ck_assert_ptr_null(pool_find_server(b->pools[0], server(a, "cache", "b1")));
    ck_assert_ptr_eq(pool_find_server(b->pools[0], was->server), is);
    drop(a);
    drop(b);
}
END_TEST

START_TEST(a_server_that_stays_goes_on_as_it_was)
{
    struct snapshot *a = next(NULL, before);
    struct server *s = server(a, "cache", "b2");
    struct pool_view view = {0};
    struct pool_request r = {.hash = 0};
    const struct pool_member *lent;
    while (pool_home(a->pools[0], r.hash) != 1)
        r.hash = hash_key((struct str){(const char *)&r.hash, sizeof r.hash});
    ck_assert_int_eq(pool_acquire(a->pools[0], &view, &r, &lent), POOL_OK);
    cell_add(&server_cell(s, 1)->requests, 3);
    ck_assert_int_eq(pool_member_failed(lent, false), SERVER_ROW_GOES_ON);
    struct list idle;
    list_push_back(&server_cell(s, 2)->idle, &idle);
    atomic_store(&s->usable, false);

    struct snapshot *b = next(a, CONFIG("backends: [" B2 ", " B3 "]"));
    ck_assert_ptr_eq(server(b, "cache", "b2"), s);
    ck_assert_uint_eq(atomic_load(&s->active), 1);
    ck_assert_uint_eq(atomic_load(&s->failures), 1);
    ck_assert(!atomic_load(&s->usable));
    ck_assert_uint_eq(server_requests(s), 3);
    ck_assert_ptr_eq(server_cell(s, 2)->idle.next, &idle);
    list_remove(&idle);
    /* the request ends where it began, after its generation was superseded */
    snapshot_ref(a);
    drop(a);
    pool_release(a->pools[0], lent->server);
    snapshot_unref(a);
    ck_assert_uint_eq(atomic_load(&s->active), 0);
    pool_view_deinit(&view);
    drop(b);
}
END_TEST

START_TEST(another_address_name_or_pool_is_another_server)
{
    static const struct {
        const char *text, *pool, *name;
    } cases[] = {
        {CONFIG("backends: [{name: b1, address: 127.0.0.1:9009}]"), "cache", "b1"},
        {CONFIG("backends: [{name: b9, address: 127.0.0.1:9001}]"), "cache", "b9"},
        {"listeners: [{name: web, listen: 127.0.0.1:8001, pool: other}]\n"
         "pools: [{name: other, backends: [" B1 "]}]\n",
         "other", "b1"},
    };
    struct snapshot *a = next(NULL, before);
    struct server *s = server(a, "cache", "b1");
    atomic_store(&s->failures, 4);
    struct snapshot *b = next(a, cases[_i].text);
    struct server *other = server(b, cases[_i].pool, cases[_i].name);
    ck_assert_ptr_ne(other, s);
    ck_assert_uint_eq(atomic_load(&other->failures), 0);
    ck_assert(atomic_load(&other->usable));
    ck_assert(pool_find_server(b->pools[0], s) == NULL);
    drop(a);
    drop(b);
}
END_TEST

/* AddressSanitizer says if it is freed too early, or never. */
START_TEST(a_server_that_is_gone_lives_until_its_last_reference)
{
    struct snapshot *a = next(NULL, before);
    struct server *s = server_ref(server(a, "cache", "b1")); /* as mail has it */
    struct snapshot *b = next(a, CONFIG("backends: [" B2 "]"));
    drop(a);
    ck_assert_str_eq(s->name, "b1");
    ck_assert_str_eq(s->pool, "cache");
    struct snapshot *c = next(b, before);
    ck_assert_ptr_ne(server(c, "cache", "b1"), s); /* it comes back as another */
    server_unref(s);
    drop(b);
    drop(c);
}
END_TEST

START_TEST(totals_and_figures_of_the_same_name_go_on)
{
    struct snapshot *a = next(NULL, before);
    atomic_store(&a->pools[0]->totals->failovers, 3);
    atomic_store(&a->listeners[0].stats->connections, 2);
    cell_add(&a->listeners[0].stats->cells[1].codes[200], 5);
    struct snapshot *b = next(a, "listeners:\n"
                                 "  - {name: new, listen: 127.0.0.1:8002, pool: cache}\n"
                                 "  - {name: web, listen: 127.0.0.1:8003, pool: other}\n"
                                 "pools:\n"
                                 "  - {name: other, backends: [" B1 "]}\n"
                                 "  - {name: cache, backends: [" B3 "]}\n");
    ck_assert_ptr_eq(b->pools[1]->totals, a->pools[0]->totals);
    ck_assert_ptr_ne(b->pools[0]->totals, a->pools[0]->totals);
    ck_assert_ptr_eq(b->listeners[1].stats, a->listeners[0].stats);
    ck_assert_ptr_ne(b->listeners[0].stats, a->listeners[0].stats);
    drop(a);
    ck_assert_uint_eq(atomic_load(&b->pools[1]->totals->failovers), 3);
    ck_assert_uint_eq(atomic_load(&b->listeners[1].stats->cells[1].codes[200]), 5);
    ck_assert_uint_eq(atomic_load(&b->listeners[1].stats->connections), 2);
    atomic_store(&b->listeners[1].stats->connections, 0);
    drop(b);
}
END_TEST

#define ROUTED(routes)                                                         \
    "listeners: [{name: one, listen: 127.0.0.1:8001, routes: [" routes "]}]\n" \
    "pools: [{name: p, backends: [{name: b1, address: 127.0.0.1:9001}]},\n"    \
    "        {name: q, proxy_protocol: v1, backends: [{name: b1, address: 127.0.0.1:1}]}]\n"

static struct route_cell *routed(const struct snapshot *s, size_t route)
{
    return &s->listeners[0].route_stats[route]->cells[WORKERS - 1];
}

START_TEST(a_route_keeps_its_figures_wherever_it_stands)
{
    struct snapshot *a =
        next(NULL, ROUTED("{host: a, pool: p}, {path: /b, methods: [GET], pool: p}, {pool: p}"));
    ck_assert(a->listeners[0].routes && !a->listeners[0].tells_servers);
    for (size_t i = 0; i < 3; i++)
        cell_add(&routed(a, i)->requests, i + 1);
    struct snapshot *b = next(a, ROUTED("{host: x, pool: p}, {path: /b, methods: [GET], pool: p}, "
                                        "{host: a, pool: q}, {path: =/b, pool: p}, {pool: p}"));
    ck_assert(b->listeners[0].tells_servers);
    ck_assert_ptr_eq(routed(b, 1), routed(a, 1));
    ck_assert_ptr_eq(routed(b, 4), routed(a, 2));
    drop(a);
    static const uint64_t expected[] = {0, 2, 0, 0, 3};
    for (size_t i = 0; i < 5; i++)
        ck_assert_uint_eq(atomic_load(&routed(b, i)->requests), expected[i]);
    struct snapshot *c = next(b, ROUTED("{pool: p}")); /* nothing to choose, nothing to count */
    ck_assert(c->listeners[0].routes == NULL && c->listeners[0].route_stats == NULL);
    drop(b);
    struct snapshot *d = next(c, ROUTED("{host: a, pool: p}"));
    ck_assert_uint_eq(atomic_load(&routed(d, 0)->requests), 0);
    drop(c);
    drop(d);
}
END_TEST

START_TEST(a_ring_that_has_not_changed_is_not_built_again)
{
    static const struct {
        bool same;
        const char *text;
    } cases[] = {
        {true, CONFIG("backends: [" B2 ", " B1 "], standbys: [" B3 "]")},
        {true, CONFIG("backends: [{name: b1, address: 127.0.0.1:9}, " B2 "]")},
        {false, CONFIG("backends: [" B1 ", " B3 "]")},
        {false, CONFIG("backends: [" B1 ", " B2 ", " B3 "]")},
        {false, CONFIG("backends: [" B1 ", {name: b2, address: 127.0.0.1:9002, weight: 2}]")},
        {false, CONFIG("ring: {vnodes: 7}, backends: [" B1 ", " B2 "]")},
    };
    struct snapshot *a = next(NULL, before), *b = next(a, cases[_i].text);
    ck_assert_int_eq(a->pools[0]->ring == b->pools[0]->ring, cases[_i].same);
    drop(a);
    ck_assert_uint_gt(ring_points(b->pools[0]->ring), 0);
    drop(b);
}
END_TEST

START_TEST(rosters_start_or_take_over_from_the_pool_of_the_same_name)
{
    struct snapshot *a = next(NULL, two_pools);
    snapshot_start(a, NULL, 0);
    for (unsigned i = 0; i < 2; i++)
        roster_drain(a->rosters[i], 0, 10);
    struct snapshot *b =
        next(a, "listeners: [{name: one, listen: 127.0.0.1:8001, pool: second}]\n"
                "pools:\n"
                "  - {name: second, backends: [{name: b2, address: 127.0.0.1:9002}]}\n"
                "  - {name: third, backends: [{name: b1, address: 127.0.0.1:9001}]}\n");
    snapshot_start(b, a, 20);
    drop(a);
    ck_assert_int_eq(roster_state(b->rosters[0], 0), ROSTER_DRAINING);
    ck_assert_int_eq(roster_state(b->rosters[1], 0), ROSTER_UP);
    drop(b);
}
END_TEST

/* Every generation has a server that comes, one that goes and one that moves. */
static struct snapshot *replace(struct snapshot *s, unsigned i)
{
    char text[512];
    snprintf(text, sizeof text,
             CONFIG("ring: {vnodes: %u}, backends: [" B1
                    ", {name: c%u, address: 127.0.0.1:9}, {name: m, "
                    "address: 127.0.0.1:%u}]"),
             8 + i % 3, i % 7, 1 + i % 5);
    struct snapshot *after = next(s, text);
    snapshot_start(after, s, i);
    if (i % 11 == 0)
        roster_drain(after->rosters[0], member(after, "cache", "b1")->id, i);
    drop(s);
    return after;
}

/* AddressSanitizer counts no memory, but finds what nobody points at any more. */
START_TEST(a_thousand_generations_leave_memory_where_it_was)
{
    struct snapshot *s = next(NULL, before);
    struct server *b1 = server(s, "cache", "b1");
    snapshot_start(s, NULL, 0);
    for (unsigned i = 0; i < 100; i++)
        s = replace(s, i);
    size_t settled = mallinfo2().uordblks;
    for (unsigned i = 100; i < 1100; i++) {
        s = replace(s, i);
        ck_assert_ptr_eq(server(s, "cache", "b1"), b1);
    }
    ck_assert_int_eq(roster_state(s->rosters[0], member(s, "cache", "b1")->id), ROSTER_DRAINING);
    ck_assert(!atomic_load(&b1->usable));
    ck_assert_uint_eq(s->generation, 1101);
    ck_assert_uint_lt(mallinfo2().uordblks, settled + 16384);
    drop(s);
}
END_TEST

#define LISTENERS(lines)            \
    "listeners:\n" lines "pools:\n" \
    "  - {name: p, backends: [" B1 "]}\n"

START_TEST(listeners_of_one_address_have_the_same_socket)
{
    struct snapshot *a = next(NULL, LISTENERS("  - {name: x, listen: 127.0.0.1:1, pool: p}\n"
                                              "  - {name: y, listen: 127.0.0.1:2, pool: p}\n"));
    struct snapshot *refused = next(a, LISTENERS("  - {name: z, listen: 127.0.0.1:3, pool: p}\n"));
    struct snapshot *b =
        next(a, LISTENERS("  - {name: x, listen: 127.0.0.1:3, pool: p}\n"
                          "  - {name: w, listen: 127.0.0.1:2, pool: p, mode: tcp}\n"));
    uint64_t x = a->listeners[0].socket, y = a->listeners[1].socket;
    ck_assert_uint_ne(x, y);
    ck_assert_uint_eq(b->listeners[1].socket, y);
    ck_assert(b->listeners[0].socket != x && b->listeners[0].socket != y);
    ck_assert_uint_ne(b->listeners[0].socket, refused->listeners[0].socket);
    drop(a);
    drop(refused);
    drop(b);
}
END_TEST

START_TEST(servers_are_gone_once_a_generation_without_them_starts)
{
    struct snapshot *a = next(NULL, before);
    snapshot_start(a, NULL, 1);
    struct server *stays = server(a, "cache", "b1"), *leaves = server(a, "cache", "b2");
    struct snapshot *refused = next(a, CONFIG("backends: [" B2 "]"));
    struct snapshot *b = next(a, CONFIG("backends: [" B1 "]"));
    ck_assert(!server_gone(stays) && !server_gone(leaves));
    drop(refused);
    snapshot_start(b, a, 2);
    ck_assert(!server_gone(stays) && server_gone(leaves));
    struct snapshot *c = next(b, before); /* it comes again as another one */
    snapshot_start(c, b, 3);
    ck_assert(server(c, "cache", "b2") != leaves && !server_gone(server(c, "cache", "b2")));
    drop(a);
    drop(b);
    drop(c);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("snapshot");
    TCase *t = tcase_create("snapshot");
    tcase_set_timeout(t, 100);
    tcase_add_test(t, a_snapshot_joins_each_listener_with_its_pool);
    tcase_add_test(t, a_snapshot_says_which_pool_can_not_be_built);
    tcase_add_test(t, what_a_file_may_change_about_a_server_is_its_members);
    tcase_add_test(t, a_server_that_stays_goes_on_as_it_was);
    tcase_add_loop_test(t, another_address_name_or_pool_is_another_server, 0, 3);
    tcase_add_test(t, a_server_that_is_gone_lives_until_its_last_reference);
    tcase_add_test(t, totals_and_figures_of_the_same_name_go_on);
    tcase_add_loop_test(t, a_ring_that_has_not_changed_is_not_built_again, 0, 6);
    tcase_add_test(t, a_route_keeps_its_figures_wherever_it_stands);
    tcase_add_test(t, rosters_start_or_take_over_from_the_pool_of_the_same_name);
    tcase_add_test(t, listeners_of_one_address_have_the_same_socket);
    tcase_add_test(t, servers_are_gone_once_a_generation_without_them_starts);
    tcase_add_test(t, a_thousand_generations_leave_memory_where_it_was);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
