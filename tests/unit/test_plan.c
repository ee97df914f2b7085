/* Plans of two configurations, switches of generations and outages: tables, and the routing itself
 * as the reference. */
#include "plan/plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/splitmix.h"
#include "plan/document.h"
#include "plan/outages.h"
#include "tests/lib/unit.h"

#define WEB "listeners: [{name: web, listen: '127.0.0.1:80', pool: p, key: 'header:X-Id'}]\n"
#define ONE "pools:\n- {name: p, backends: ["
#define B1 "{name: b1, address: '127.0.0.1:1'}"
#define B2 ", {name: b2, address: '127.0.0.1:2'}"
#define B3 ", {name: b3, address: '127.0.0.1:3'}"
#define THREE WEB ONE B1 B2 B3 "]}\n"

static struct config *parse(const char *text)
{
    struct config_errors errors;
    struct config *c = config_parse("test.yaml", text, strlen(text), &errors);
    for (size_t i = 0; i < errors.count; i++)
        fprintf(stderr, "%s\n", errors.lines[i]);
    config_errors_free(&errors);
    ck_assert_ptr_nonnull(c);
    return c;
}

struct both {
    struct config *before, *after;
    struct plan *plan;
};

static struct both compare(const char *before, const char *after)
{
    struct error e;
    struct both b = {parse(before), parse(after), NULL};
    b.plan = plan_new(&(struct plan_side){b.before, NULL}, &(struct plan_side){b.after, NULL}, &e);
    ck_assert_ptr_nonnull(b.plan);
    return b;
}

static void done(struct both *b)
{
    plan_free(b->plan);
    config_unref(b->before);
    config_unref(b->after);
}

/* ---- what counts as a change ---- */

#define LISTENER(more) "listeners: [{name: web, listen: '127.0.0.1:80', pool: p" more "}]\n"
#define POOL ONE B1 B2 B3 "]}\n"

static const struct {
    const char *before, *after;
    enum plan_change change;
    const char *says; /* a part of a text of `why` or `notes`; NULL: there is none */
} cases[] = {
    {THREE, THREE, PLAN_SAME, NULL},
    {THREE, WEB ONE B1 B2 "]}\n", PLAN_MOVED, NULL},
    {WEB ONE B1 B2 "]}\n", THREE, PLAN_MOVED, NULL},
    {THREE, WEB ONE B1 B2 ", {name: b4, address: '127.0.0.1:3'}]}\n", PLAN_MOVED, NULL},
    {THREE, WEB ONE B1 B2 ", {name: b3, address: '127.0.0.1:3', weight: 2}]}\n", PLAN_MOVED, NULL},
    {THREE, WEB ONE B1 B2 B3 "], ring: {vnodes: 511}}\n", PLAN_MOVED, NULL},
    {THREE, WEB "pools:\n- {name: p, retries: 0, backends: [" B1 B3 B2 "]}\n", PLAN_SAME, NULL},
    {LISTENER("") POOL, LISTENER(", key: path") POOL, PLAN_ALL_KEYS, "was [], is [path]"},
    {LISTENER(", key: 'cookie:a'") POOL, LISTENER(", key: 'cookie:A'") POOL, PLAN_ALL_KEYS,
     "was [cookie:a], is [cookie:A]"},
    {LISTENER(", key: 'header:a'") POOL, LISTENER(", key: 'header:A'") POOL, PLAN_SAME, NULL},
    {LISTENER(", key: [path, host]") POOL, LISTENER(", key: [host, path]") POOL, PLAN_ALL_KEYS,
     "was [path, host], is [host, path]"},
    {LISTENER(", key: host+path") POOL, LISTENER(", key: [host, path]") POOL, PLAN_ALL_KEYS,
     "was [host+path], is [host, path]"},
    {LISTENER(", key: source_ip") POOL, LISTENER(", mode: tcp, key: source_ip") POOL, PLAN_ALL_KEYS,
     "mode of listener web"},
    {LISTENER(", key: source_ip") POOL, LISTENER(", key: source_ip, proxy_protocol: accept") POOL,
     PLAN_ALL_KEYS, "proxy_protocol of listener web"},
    {LISTENER(", key: path") POOL, LISTENER(", key: path, proxy_protocol: accept") POOL, PLAN_SAME,
     NULL},
    {LISTENER(", key: client_ip, trusted_proxies: [10.0.0.0/8]") POOL,
     LISTENER(", key: client_ip, trusted_proxies: [10.0.0.0/9]") POOL, PLAN_SAME,
     "trusted_proxies of listener web"},
    {THREE, WEB ONE B1 B2 B3 "], standbys: [{name: s, address: '127.0.0.1:9', for: [b1]}]}\n",
     PLAN_SAME, "standby s is added, for b1"},
    {WEB ONE B1 B2 B3 "], standbys: [{name: s, address: '127.0.0.1:9', for: [b1]}]}\n",
     WEB ONE B1 B2 B3 "], standbys: [{name: s, address: '127.0.0.1:9'}]}\n", PLAN_SAME,
     "standby s was for b1, is for any backend"},
    {WEB ONE B1 B2 B3 "], standbys: [{name: s, address: '127.0.0.1:9'}]}\n", THREE, PLAN_SAME,
     "standby s is removed"},
    {THREE, WEB ONE B1 B2 "], standbys: [{name: b3, address: '127.0.0.1:3'}]}\n", PLAN_MOVED,
     "b3 was a backend, is a standby"},
};

START_TEST(each_change_is_told_for_what_it_is)
{
    struct both b = compare(cases[_i].before, cases[_i].after);
    ck_assert_uint_eq(b.plan->npools, 1);
    const struct plan_pool *p = &b.plan->pools[0];
    ck_assert_int_eq(p->change, cases[_i].change);
    ck_assert_uint_eq(p->moved > 0, p->change != PLAN_SAME);
    ck_assert(p->change != PLAN_ALL_KEYS || (p->moved == RING_SPACE && p->ring.nmoves == 0));
    ck_assert_uint_eq(p->change == PLAN_ALL_KEYS, p->why.n > 0);
    ck_assert_ptr_eq(plan_most(b.plan), p);
    ck_assert_uint_eq(p->naddresses, 0);
    size_t texts = p->why.n + p->notes.n;
    ck_assert_uint_eq(texts, cases[_i].says != NULL);
    if (texts)
        ck_assert_ptr_nonnull(strstr((p->why.n ? p->why : p->notes).text[0], cases[_i].says));
    done(&b);
}
END_TEST

START_TEST(another_address_is_told_apart_and_moves_nothing)
{
    struct both b = compare(THREE, WEB ONE "{name: b1, address: '127.0.0.1:7'}" B2 B3 "]}\n");
    const struct plan_pool *p = &b.plan->pools[0];
    ck_assert_int_eq(p->change, PLAN_SAME);
    ck_assert_uint_eq(p->naddresses, 1);
    ck_assert_str_eq(p->addresses[0].name, "b1");
    ck_assert_str_eq(p->addresses[0].before, "127.0.0.1:1");
    ck_assert_str_eq(p->addresses[0].after, "127.0.0.1:7");
    done(&b);
}
END_TEST

START_TEST(a_plan_has_the_backends_of_both_sides_by_name)
{
    struct both b = compare(THREE, WEB ONE "{name: b0, address: '127.0.0.1:1', weight: 3}" B3
                                           ", {name: b2, address: '127.0.0.1:2', weight: 2}]}\n");
    const struct plan_pool *p = &b.plan->pools[0];
    static const struct {
        const char *name;
        uint32_t before, after;
    } expected[] = {{"b0", 0, 3}, {"b1", 1, 0}, {"b2", 1, 2}, {"b3", 1, 1}};
    ck_assert_uint_eq(p->nservers, 4);
    uint64_t before = 0, after = 0;
    double relative = 0;
    for (size_t i = 0; i < 4; i++) {
        ck_assert_str_eq(p->servers[i].name, expected[i].name);
        ck_assert_uint_eq(p->servers[i].weight_before, expected[i].before);
        ck_assert_uint_eq(p->servers[i].weight_after, expected[i].after);
        ck_assert_uint_eq(p->ring.before[i] > 0, expected[i].before > 0);
        ck_assert_uint_eq(p->ring.after[i] > 0, expected[i].after > 0);
        before += p->ring.before[i];
        after += p->ring.after[i];
        relative += plan_relative(p, i, true) * expected[i].after / 6;
        ck_assert(plan_relative(p, i, true) <= plan_relative(p, p->fullest, true));
    }
    ck_assert_uint_eq(before, RING_SPACE);
    ck_assert_uint_eq(after, RING_SPACE);
    ck_assert(fabs(relative - 1) < 1e-9);
    ck_assert_uint_eq(p->moved, p->ring.moved);
    done(&b);
}
END_TEST

/* ---- pools and routes ---- */

#define PQ "pools:\n- {name: p, backends: [" B1 B2 "]}\n- {name: q, backends: [" B1 B2 B3 "]}\n"

START_TEST(pools_that_come_and_go_do_not_count_as_moved)
{
    struct both b = compare(WEB "pools:\n- {name: old, backends: [" B1
                                "]}\n- {name: p, backends: [" B1 B2 "]}\n",
                            WEB PQ);
    ck_assert_uint_eq(b.plan->npools, 3);
    static const char *const names[] = {"p", "q", "old"};
    static const enum plan_change changes[] = {PLAN_SAME, PLAN_ADDED, PLAN_REMOVED};
    for (size_t i = 0; i < 3; i++) {
        ck_assert_str_eq(b.plan->pools[i].name, names[i]);
        ck_assert_int_eq(b.plan->pools[i].change, changes[i]);
        ck_assert_uint_eq(b.plan->pools[i].moved, 0);
    }
    ck_assert_ptr_eq(plan_most(b.plan), &b.plan->pools[0]);
    done(&b);
    b = compare("listeners: [{name: l, listen: '127.0.0.1:1', pool: x}]\n"
                "pools: [{name: x, backends: [" B1 "]}]\n",
                THREE);
    ck_assert_ptr_null(plan_most(b.plan));
    done(&b);
}
END_TEST

START_TEST(a_listener_that_goes_to_another_pool_is_told)
{
    struct both b = compare(WEB PQ, "listeners: [{name: www, listen: '127.0.0.1:80', pool: q, key: "
                                    "'header:X-Id'}, {name: new, listen: '127.0.0.1:81', pool: p, "
                                    "key: path}]\n" PQ);
    ck_assert_uint_eq(b.plan->nroutes, 2);
    const struct plan_route *r = b.plan->routes; /* known by its address */
    ck_assert_str_eq(r[0].listener, "www");
    ck_assert_str_eq(r[0].from_pool, "p");
    ck_assert_str_eq(r[0].to_pool, "q");
    ck_assert_str_eq(r[1].listener, "new");
    ck_assert_ptr_null(r[1].from_pool);
    ck_assert_str_eq(r[1].to_pool, "p");
    for (size_t i = 0; i < b.plan->npools; i++)
        ck_assert_int_eq(b.plan->pools[i].change, PLAN_SAME);
    done(&b);
    b = compare("listeners: [{name: a, listen: '127.0.0.1:1', pool: p}, "
                "{name: b, listen: '127.0.0.1:2', pool: q}]\n" PQ,
                "listeners: [{name: a, listen: '127.0.0.1:1', pool: p}]\n" PQ);
    ck_assert_uint_eq(b.plan->nroutes, 1);
    ck_assert_str_eq(b.plan->routes[0].listener, "b");
    ck_assert_ptr_null(b.plan->routes[0].to_pool);
    done(&b);
}
END_TEST

static char *copy(const char *text)
{
    return text ? mem_strdup(text) : NULL;
}

/* Gives the only listener these routes in place of its own. */
static void set_routes(struct config *c, const struct config_route *routes, size_t n)
{
    struct config_listener *l = &c->listeners[0];
    free(l->routes);
    l->routes = mem_zalloc_array(n, sizeof *l->routes);
    l->nroutes = n;
    for (size_t i = 0; i < n; i++) {
        struct config_route *r = &l->routes[i];
        *r = routes[i];
        r->host = copy(r->host);
        r->path = copy(r->path);
        r->keys = l->keys;
        r->nkeys = l->nkeys;
        r->methods = mem_zalloc_array(r->nmethods, sizeof *r->methods);
        for (size_t k = 0; k < r->nmethods; k++)
            r->methods[k] = copy(routes[i].methods[k]);
    }
}

START_TEST(routes_are_known_by_their_conditions)
{
    static char host[] = "a.example", v1[] = "/v1", x[] = "/x", get[] = "GET", head[] = "HEAD";
    const struct config_route was[] = {
        {.host = host, .pool = 0},
        {.path = v1, .methods = (char *[]){get, head}, .nmethods = 2, .pool = 1},
        {.pool = 0}};
    const struct config_route is[] = {
        {.path = v1, .methods = (char *[]){head, get}, .nmethods = 2, .pool = 0},
        {.host = host, .pool = 0},
        {.host = host, .pool = 1}, /* never matches */
        {.path = x, .path_exact = true, .pool = 1}};
    struct error e;
    struct both b = {parse(LISTENER(", key: path") PQ), parse(LISTENER(", key: host") PQ), NULL};
    set_routes(b.before, was, 3);
    set_routes(b.after, is, 4);
    b.plan = plan_new(&(struct plan_side){b.before, NULL}, &(struct plan_side){b.after, NULL}, &e);
    ck_assert_ptr_nonnull(b.plan);
    const struct plan_route expected[] = {{"web", (char[]){"path /v1 methods HEAD,GET"}, "q", "p"},
                                          {"web", (char[]){"path =/x"}, NULL, "q"},
                                          {"web", (char[]){""}, "p", NULL}};
    ck_assert_uint_eq(b.plan->nroutes, 3);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_str_eq(b.plan->routes[i].route, expected[i].route);
        ck_assert_pstr_eq(b.plan->routes[i].from_pool, expected[i].from_pool);
        ck_assert_pstr_eq(b.plan->routes[i].to_pool, expected[i].to_pool);
    }
    ck_assert(plan_route_concerns(&b.plan->routes[0], &b.plan->pools[1]));
    ck_assert(!plan_route_concerns(&b.plan->routes[2], &b.plan->pools[1]));
    ck_assert_uint_eq(b.plan->notes.n, 1); /* another order */
    ck_assert_uint_eq(b.plan->pools[0].why.n, 1);
    ck_assert_str_eq(b.plan->pools[0].why.text[0],
                     "key of listener web, route host a.example: was [path], is [host]");
    ck_assert_int_eq(b.plan->pools[1].change, PLAN_SAME);
    done(&b);
}
END_TEST

/* ---- the figures are those of the routing ---- */

static uint64_t random_state = 11;

#define SAMPLES 100000

/* Whether `hits` of SAMPLES fit a share: within 6 standard deviations and one. */
static void check_sample(size_t hits, uint64_t positions)
{
    double share = (double)positions / (double)RING_SPACE;
    double deviation = sqrt(SAMPLES * share * (1 - share));
    ck_assert(fabs((double)hits - SAMPLES * share) <= 6 * deviation + 1);
}

static struct pool *pool_of(const struct config *c, const struct pool *old)
{
    struct error e;
    struct pool *p = pool_new(&c->pools[0], 1, old, &e);
    ck_assert_ptr_nonnull(p);
    return p;
}

static const char *server_of(const struct pool *p, uint64_t hash)
{
    uint16_t id = pool_find(p, hash);
    return id == SERVER_NONE ? "-" : p->members[id].server->name;
}

static size_t count_moved(const struct pool *a, const struct pool *b)
{
    size_t moved = 0;
    for (int i = 0; i < SAMPLES; i++) {
        uint64_t hash = splitmix_next(&random_state);
        moved += strcmp(server_of(a, hash), server_of(b, hash)) != 0;
    }
    return moved;
}

static void take_out(struct pool *p, const char *const *names, size_t n)
{
    bool out[16] = {false};
    uint16_t ids[16];
    struct pool_owner owners[16];
    for (size_t i = 0; i < n; i++)
        out[pool_find_name(p, names[i])->id] = true;
    failover_owners(p->failover, out, ids);
    for (unsigned i = 0; i < p->nbackends; i++)
        owners[i] = (struct pool_owner){ids[i], SERVER_NONE, 0};
    pool_publish(p, owners);
}

#define STANDBY "], standbys: [{name: s, address: '127.0.0.1:9', for: [b1]}]"

static const struct {
    const char *before, *after;
    const char *out_before[2], *out_after[2];
    bool none;
} switches[] = {
    {THREE, THREE, {NULL}, {NULL}, true},
    {THREE, THREE, {"b2"}, {"b2"}, true},
    {THREE, THREE, {NULL}, {"b2"}, false},
    {THREE, WEB ONE B1 B2 "]}\n", {NULL}, {NULL}, false},
    /* the one that goes was out already, and so its keys are where they will be */
    {THREE, WEB ONE B1 B2 "]}\n", {"b3"}, {NULL}, true},
    {WEB ONE B1 B2 B3 STANDBY "}\n", WEB ONE B1 B2 B3 STANDBY "}\n", {"b1"}, {"b1"}, true},
    {WEB ONE B1 B2 B3 STANDBY "}\n", THREE, {"b1"}, {"b1"}, false},
    {WEB ONE B1 B2 B3 "], when_down: fail}\n", THREE, {"b1"}, {"b1"}, false},
    {WEB ONE B1 B2 B3 "], when_down: fail}\n",
     WEB ONE B1 B2 B3 "], when_down: fail}\n",
     {"b1"},
     {"b2"},
     false},
    {WEB ONE B1 "]}\n", WEB ONE B1 "]}\n", {"b1"}, {NULL}, false},
    /* a backend becomes a standby and stands in for another */
    {THREE,
     WEB ONE B1 B2 "], standbys: [{name: b3, address: '127.0.0.1:3'}]}\n",
     {NULL},
     {"b1"},
     false},
};

static size_t count_names(const char *const *names)
{
    size_t n = 0;
    while (n < 2 && names[n])
        n++;
    return n;
}

START_TEST(a_switch_moves_what_routing_before_and_after_says)
{
    struct config *before = parse(switches[_i].before), *after = parse(switches[_i].after);
    struct pool *a = pool_of(before, NULL), *b = pool_of(after, a);
    take_out(a, switches[_i].out_before, count_names(switches[_i].out_before));
    take_out(b, switches[_i].out_after, count_names(switches[_i].out_after));
    struct plan_moved m = plan_switch(a, b), back = plan_switch(b, a);
    ck_assert_uint_eq(m.moved == 0, switches[_i].none);
    ck_assert_uint_le(m.least, m.moved);
    ck_assert_uint_eq(back.moved, m.moved);
    check_sample(count_moved(a, b), m.moved);
    pool_free(b);
    pool_free(a);
    config_unref(before);
    config_unref(after);
}
END_TEST

START_TEST(a_plan_from_pools_in_service_is_the_same_as_from_files)
{
    struct error e;
    struct both b = compare(THREE, WEB ONE B1 B2 "]}\n");
    struct pool *x = pool_of(b.before, NULL), *y = pool_of(b.after, x);
    struct plan *live =
        plan_new(&(struct plan_side){b.before, &x}, &(struct plan_side){b.after, &y}, &e);
    ck_assert_ptr_nonnull(live);
    json_t *one = document_plan(live, NULL), *other = document_plan(b.plan, NULL);
    ck_assert(one && json_equal(one, other));
    json_decref(one);
    json_decref(other);
    check_sample(count_moved(x, y), live->pools[0].moved);
    plan_free(live);
    pool_free(y);
    pool_free(x);
    done(&b);
}
END_TEST

/* ---- outages ---- */

#define SIX                                               \
    "{name: b1, address: '127.0.0.1:1', weight: 3}" B2 B3 \
    ", {name: b4, address: '127.0.0.1:4'}, {name: b5, address: '127.0.0.1:5', weight: 2}"
#define SPARE                                                        \
    "standbys: [{name: s1, address: '127.0.0.1:8', for: [b1, b3]}, " \
    "{name: s2, address: '127.0.0.1:9'}]"

static const char *const outage_pools[] = {
    WEB ONE SIX "], ring: {vnodes: 50}}\n",
    WEB ONE SIX "], ring: {vnodes: 50}, when_down: fail}\n",
    WEB ONE SIX "], ring: {vnodes: 20}, " SPARE "}\n",
    WEB ONE SIX "], ring: {vnodes: 20}, when_down: fail, " SPARE "}\n",
    WEB ONE B1 "]}\n",
    WEB ONE B1 "], when_all_down: try}\n",
    WEB ONE B1 B2 "], when_all_down: try}\n",
    WEB ONE B1 "], when_all_down: try, standbys: [{name: s1, address: '127.0.0.1:8'}]}\n",
    WEB ONE B1 B2 "], when_down: fail}\n",
};

/* The shares by a pass over the whole ring, and what nobody serves. */
static uint64_t plain_shares(const struct config_pool *c, const struct outage *o, uint64_t *shares)
{
    struct error e;
    bool out[16] = {false};
    uint16_t owner[16];
    size_t n = c->nbackends + c->nstandbys, all = 0;
    struct failover *f = failover_new(c);
    struct shared_ring *r = shared_ring_new(c, &e);
    uint64_t refused = RING_SPACE;
    for (unsigned i = 0; i < o->nout; i++)
        out[o->out[i]] = true;
    for (size_t i = 0; i < n; i++)
        all += out[i];
    if (all == n && c->when_all_down == WHEN_ALL_DOWN_TRY)
        memset(out, 0, sizeof out);
    failover_owners(f, out, owner);
    for (size_t i = 0; i < c->nbackends; i++)
        if (owner[i] == SERVER_NONE)
            owner[i] = c->when_down == WHEN_DOWN_FAIL ? (uint16_t)n : RING_NONE;
    ring_shares(r->ring, owner, shares, n + 1);
    for (size_t i = 0; i < n; i++)
        refused -= shares[i];
    shared_ring_unref(r);
    failover_free(f);
    return refused;
}

static void check_case(struct outages *o, const struct config_pool *c, const struct outage *one)
{
    uint64_t shares[17], found[17];
    struct outage_gain gains[17];
    uint64_t refused = plain_shares(c, one, shares), moved = 0, normal[17];
    size_t n = c->nbackends + c->nstandbys, gaining = 0;
    ck_assert_uint_eq(one->refused, refused);
    outages_shares(o, one, found);
    ck_assert_mem_eq(found, shares, n * sizeof *shares);
    outages_shares(o, NULL, normal);
    for (size_t i = 0; i < n; i++) {
        moved += normal[i] > shares[i] ? normal[i] - shares[i] : 0;
        gaining += shares[i] > normal[i];
    }
    ck_assert_uint_eq(one->moved, moved);
    ck_assert_uint_eq(outages_gains(o, one, gains), gaining);
    for (size_t i = 0; i < gaining; i++) {
        ck_assert_uint_eq(gains[i].share, shares[gains[i].id]);
        ck_assert_uint_eq(gains[i].gained, shares[gains[i].id] - normal[gains[i].id]);
        ck_assert(i == 0 || gains[i - 1].gained >= gains[i].gained);
    }
    if (one->fullest == SERVER_NONE) {
        ck_assert_uint_eq(refused, RING_SPACE);
        return;
    }
    ck_assert_uint_eq(one->fullest_share, shares[one->fullest]);
    /* no backend has more for its weight; standbys have somebody else's */
    uint64_t weights = 0;
    for (size_t i = 0; i < c->nbackends; i++)
        weights += c->backends[i].weight;
    for (size_t i = 0; i < c->nbackends; i++)
        ck_assert((double)shares[i] / (double)RING_SPACE * (double)weights /
                      c->backends[i].weight <=
                  one->relative + 1e-9);
}

START_TEST(each_outage_is_what_a_pass_over_the_ring_finds)
{
    struct error e;
    struct config *c = parse(outage_pools[_i]);
    const struct config_pool *p = &c->pools[0];
    struct outages *o = outages_new(p, &e);
    ck_assert_ptr_nonnull(o);
    for (unsigned most = 1; most <= 2; most++) {
        size_t n, servers = p->nbackends + p->nstandbys;
        ck_assert(outages_run(o, most, &e));
        const struct outage *found = outages_cases(o, &n);
        ck_assert_uint_eq(n, most == 1 ? servers : servers * (servers + 1) / 2);
        for (size_t i = 0; i < n; i++) {
            check_case(o, p, &found[i]);
            ck_assert(i == 0 || found[i - 1].refused > found[i].refused ||
                      (found[i - 1].refused == found[i].refused &&
                       found[i - 1].relative >= found[i].relative));
        }
    }
    outages_free(o);
    config_unref(c);
}
END_TEST

START_TEST(a_standby_counts_with_the_weight_of_its_backend)
{
    struct error e;
    struct config *c = parse(outage_pools[7]);
    struct outages *o = outages_new(&c->pools[0], &e);
    size_t n;
    ck_assert(outages_run(o, 1, &e));
    const struct outage *found = outages_cases(o, &n);
    ck_assert_uint_eq(n, 2);
    for (size_t i = 0; i < n; i++) {
        ck_assert(found[i].relative == 1);
        ck_assert_str_eq(outages_name(o, found[i].fullest), found[i].out[0] ? "b1" : "s1");
    }
    outages_free(o);
    config_unref(c);
}
END_TEST

START_TEST(too_many_cases_are_refused_with_the_bound)
{
    struct error e;
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    fputs(WEB ONE, f);
    for (int i = 0; i < 4000; i++)
        fprintf(f, "%s{name: n%04d, address: '127.0.0.1:1'}", i ? ", " : "", i);
    fputs("], ring: {vnodes: 1000}}\n", f);
    fclose(f);
    struct config *c = parse(text);
    struct outages *o = outages_new(&c->pools[0], &e);
    ck_assert(!outages_run(o, 2, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "8002000 cases of 2000 points"));
    ck_assert(outages_run(o, 1, &e));
    outages_free(o);
    config_unref(c);
    free(text);
}
END_TEST

/* ---- words ---- */

START_TEST(percentages_are_exact_at_their_ends)
{
    char text[PLAN_PERCENT];
    ck_assert_str_eq(plan_percent(0, text), "0%");
    ck_assert_str_eq(plan_percent(1, text), "<0.0001%");
    ck_assert_str_eq(plan_percent(RING_SPACE / 4, text), "25.0000%");
    ck_assert_str_eq(plan_percent(RING_SPACE - 1, text), ">99.9999%");
    ck_assert_str_eq(plan_percent(RING_SPACE, text), "100%");
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static Suite *suite(void)
{
    Suite *s = suite_create("plan");
    TCase *t = tcase_create("plan");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, each_change_is_told_for_what_it_is, 0, COUNT(cases));
    tcase_add_test(t, another_address_is_told_apart_and_moves_nothing);
    tcase_add_test(t, a_plan_has_the_backends_of_both_sides_by_name);
    tcase_add_test(t, pools_that_come_and_go_do_not_count_as_moved);
    tcase_add_test(t, a_listener_that_goes_to_another_pool_is_told);
    tcase_add_test(t, routes_are_known_by_their_conditions);
    tcase_add_loop_test(t, a_switch_moves_what_routing_before_and_after_says, 0, COUNT(switches));
    tcase_add_test(t, a_plan_from_pools_in_service_is_the_same_as_from_files);
    tcase_add_loop_test(t, each_outage_is_what_a_pass_over_the_ring_finds, 0, COUNT(outage_pools));
    tcase_add_test(t, a_standby_counts_with_the_weight_of_its_backend);
    tcase_add_test(t, too_many_cases_are_refused_with_the_bound);
    tcase_add_test(t, percentages_are_exact_at_their_ends);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
