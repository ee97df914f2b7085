/* Who gets a request: against ring_find(), against pools without the servers in question, against
 * failover_owners(), and with threads. */
#include "pool/pool.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "ring/hash.h"
#include "tests/lib/unit.h"

#define KEYS 4000
#define NONE SERVER_NONE

/* ---- pools by hand ---- */

static void name_servers(struct config_server *servers, size_t n, char kind)
{
    for (size_t i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof(name), "%c%03zu", kind, i);
        servers[i] = (struct config_server){
            .name = mem_strdup(name), .address_text = mem_strdup("-"), .weight = 1};
    }
}

static struct config_pool *config_of(size_t nbackends, size_t nstandbys)
{
    static char name[] = "pool";
    struct config_pool *c = mem_zalloc(sizeof(*c));
    c->name = name;
    c->vnodes = 64;
    c->when_down = WHEN_DOWN_NEXT;
    c->passive.failures = 5;
    c->backends = mem_zalloc_array(nbackends, sizeof(*c->backends));
    c->nbackends = nbackends;
    c->standbys = mem_zalloc_array(nstandbys, sizeof(*c->standbys));
    c->nstandbys = nstandbys;
    name_servers(c->backends, nbackends, 'b');
    name_servers(c->standbys, nstandbys, 's');
    return c;
}

static void drop_server(struct config_server *s)
{
    free(s->name);
    free(s->address_text);
    free(s->for_backends);
}

static void drop_config(struct config_pool *c)
{
    for (size_t i = 0; i < c->nbackends; i++)
        drop_server(&c->backends[i]);
    for (size_t i = 0; i < c->nstandbys; i++)
        drop_server(&c->standbys[i]);
    free(c->backends);
    free(c->standbys);
    free(c);
}

static void set_for(struct config_pool *c, size_t standby, uint16_t backend)
{
    struct config_server *s = &c->standbys[standby];
    s->for_backends = mem_grow(s->for_backends, s->nfor + 1, sizeof(*s->for_backends));
    s->for_backends[s->nfor++] = backend;
}

/* Takes the backend out of the file. */
static void remove_backend(struct config_pool *c, size_t i)
{
    drop_server(&c->backends[i]);
    c->nbackends--;
    memmove(&c->backends[i], &c->backends[i + 1], (c->nbackends - i) * sizeof(*c->backends));
}

struct bed {
    struct config_pool *config;
    struct pool *pool;
    struct pool_view view;
};

static void bed_open(struct bed *b, struct config_pool *config)
{
    struct error e;
    *b = (struct bed){.config = config};
    b->pool = pool_new(config, 2, NULL, &e);
    if (b->pool == NULL)
        ck_abort_msg("%s", e.text);
}

static void bed_close(struct bed *b)
{
    for (unsigned id = 0; id < b->pool->nservers; id++)
        ck_assert_uint_eq(atomic_load(&b->pool->members[id].server->active), 0);
    ck_assert_uint_eq(atomic_load(&b->pool->totals->active), 0);
    pool_view_deinit(&b->view);
    pool_free(b->pool);
    drop_config(b->config);
}

static uint64_t hash_of(unsigned i)
{
    return hash_key((struct str){(const char *)&i, sizeof(i)});
}

/* Lends for a key; the id, or NONE with *outcome. */
static uint16_t lend_after(struct bed *b, uint64_t hash, const uint16_t *tried, unsigned ntried,
                           enum pool_outcome *outcome)
{
    struct pool_request r = {.hash = hash, .tried = tried, .ntried = ntried};
    const struct pool_member *s = NULL;
    enum pool_outcome got = pool_acquire(b->pool, &b->view, &r, &s);
    if (outcome)
        *outcome = got;
    ck_assert_int_eq(got == POOL_OK, s != NULL);
    return s ? s->id : NONE;
}

static void give_back(struct bed *b, uint16_t id)
{
    pool_release(b->pool, b->pool->members[id].server);
}

/* Lends and gives back at once. */
static uint16_t route_after(struct bed *b, uint64_t hash, const uint16_t *tried, unsigned ntried,
                            enum pool_outcome *outcome)
{
    uint16_t id = lend_after(b, hash, tried, ntried, outcome);
    if (id != NONE)
        give_back(b, id);
    return id;
}

static uint16_t route(struct bed *b, uint64_t hash)
{
    return route_after(b, hash, NULL, 0, NULL);
}

static const char *name_of(const struct bed *b, uint16_t id)
{
    return id == NONE ? "-" : b->pool->members[id].server->name;
}

/* Publishes what follows from who is out, as the roster does. */
static void publish_out(struct bed *b, const uint16_t *ids, size_t n)
{
    struct pool *p = b->pool;
    bool *out = mem_zalloc_array(p->nservers, sizeof(*out));
    uint16_t *owner = mem_zalloc_array(p->nbackends, sizeof(*owner));
    struct pool_owner *owners = mem_zalloc_array(p->nbackends, sizeof(*owners));
    for (size_t i = 0; i < n; i++)
        out[ids[i]] = true;
    for (unsigned id = 0; id < p->nservers; id++)
        atomic_store(&p->members[id].server->usable, !out[id]);
    failover_owners(p->failover, out, owner);
    for (unsigned slot = 0; slot < p->nbackends; slot++)
        owners[slot] = (struct pool_owner){owner[slot], NONE, 0};
    pool_publish(p, owners);
    free(out);
    free(owner);
    free(owners);
}

static void publish_ramp(struct bed *b, unsigned slot, uint16_t from, uint32_t share)
{
    struct pool *p = b->pool;
    struct pool_owner *owners = mem_zalloc_array(p->nbackends, sizeof(*owners));
    for (unsigned i = 0; i < p->nbackends; i++)
        owners[i] = pool_owner_of(p, i);
    owners[slot] = (struct pool_owner){(uint16_t)slot, from, share};
    pool_publish(p, owners);
    free(owners);
}

/* ---- first tries ---- */

START_TEST(everyone_up_is_the_ring)
{
    struct bed b;
    bed_open(&b, config_of(10, 2));
    for (unsigned i = 0; i < KEYS; i++) {
        unsigned slot = ring_find(b.pool->ring, hash_of(i));
        ck_assert_uint_eq(route(&b, hash_of(i)), slot);
        ck_assert_uint_eq(pool_find(b.pool, hash_of(i)), slot);
        ck_assert_uint_eq(pool_home(b.pool, hash_of(i)), slot);
    }
    bed_close(&b);
}
END_TEST

START_TEST(a_dead_backend_routes_as_if_it_were_not_in_the_file)
{
    struct bed whole, rest;
    struct config_pool *c = config_of(9, 0);
    bed_open(&whole, config_of(9, 0));
    remove_backend(c, 7);
    remove_backend(c, 2);
    bed_open(&rest, c);
    publish_out(&whole, (uint16_t[]){2, 7}, 2);
    ck_assert_uint_eq(atomic_load(&whole.pool->live_slots), 7);
    for (unsigned i = 0; i < KEYS; i++) {
        uint16_t want = route(&rest, hash_of(i));
        ck_assert_str_eq(name_of(&whole, route(&whole, hash_of(i))), name_of(&rest, want));
        ck_assert_str_eq(name_of(&whole, pool_find(whole.pool, hash_of(i))), name_of(&rest, want));
    }
    bed_close(&whole);
    bed_close(&rest);
}
END_TEST

START_TEST(a_promoted_standby_takes_all_of_the_keys_and_no_others)
{
    struct bed b;
    bed_open(&b, config_of(5, 2));
    publish_out(&b, (uint16_t[]){3}, 1);
    uint16_t standby = pool_owner_of(b.pool, 3).owner;
    ck_assert(standby == 5 || standby == 6);
    for (unsigned i = 0; i < KEYS; i++) {
        uint16_t home = pool_home(b.pool, hash_of(i));
        ck_assert_uint_eq(route(&b, hash_of(i)), home == 3 ? standby : home);
    }
    bed_close(&b);
}
END_TEST

START_TEST(with_fail_the_keys_of_a_dead_backend_are_refused)
{
    struct bed b;
    struct config_pool *c = config_of(4, 0);
    c->when_down = WHEN_DOWN_FAIL;
    bed_open(&b, c);
    publish_out(&b, (uint16_t[]){1}, 1);
    for (unsigned i = 0; i < KEYS; i++) {
        enum pool_outcome outcome;
        uint16_t home = pool_home(b.pool, hash_of(i)), want = home == 1 ? NONE : home;
        ck_assert_uint_eq(route_after(&b, hash_of(i), NULL, 0, &outcome), want);
        ck_assert_int_eq(outcome, home == 1 ? POOL_NONE_LIVE : POOL_OK);
        ck_assert_uint_eq(pool_find(b.pool, hash_of(i)), want);
        /* neither at a further try */
        uint16_t tried[] = {home};
        route_after(&b, hash_of(i), tried, 1, &outcome);
        ck_assert_int_eq(outcome, POOL_NONE_LIVE);
    }
    bed_close(&b);
}
END_TEST

START_TEST(with_nobody_left_everything_is_refused)
{
    for (int fail = 0; fail < 2; fail++) {
        struct bed b;
        struct config_pool *c = config_of(3, 1);
        c->when_down = fail ? WHEN_DOWN_FAIL : WHEN_DOWN_NEXT;
        bed_open(&b, c);
        publish_out(&b, (uint16_t[]){0, 1, 2, 3}, 4);
        struct pool_request keyless = {.keyless = true};
        const struct pool_member *s;
        enum pool_outcome outcome;
        ck_assert_int_eq(pool_acquire(b.pool, &b.view, &keyless, &s), POOL_NONE_LIVE);
        ck_assert_uint_eq(route_after(&b, hash_of(1), NULL, 0, &outcome), NONE);
        ck_assert_int_eq(outcome, POOL_NONE_LIVE);
        ck_assert_uint_eq(pool_find(b.pool, hash_of(1)), NONE);
        publish_out(&b, NULL, 0);
        ck_assert_uint_eq(route(&b, hash_of(1)), pool_home(b.pool, hash_of(1)));
        bed_close(&b);
    }
}
END_TEST

START_TEST(a_ramp_splits_keys_at_its_exact_share)
{
    struct bed b;
    bed_open(&b, config_of(3, 1));
    const uint32_t shares[] = {0, 1, 4096, 65535, 65536};
    for (unsigned n = 0; n < 5; n++) {
        publish_ramp(&b, 1, 3, shares[n]);
        struct pool_owner o = pool_owner_of(b.pool, 1);
        ck_assert(o.owner == 1 && o.from == 3 && o.share == shares[n]);
        for (unsigned i = 0; i < KEYS; i++) {
            uint64_t hash = hash_of(i) & ~UINT64_C(0xffff);
            uint16_t home = pool_home(b.pool, hash);
            const unsigned lows[] = {0, 1, 4095, 4096, 65534, 65535, i};
            for (unsigned k = 0; k < 7; k++) {
                uint16_t want = home != 1 ? home : lows[k] < shares[n] ? 1 : 3;
                ck_assert_uint_eq(route(&b, hash | lows[k]), want);
                ck_assert_uint_eq(pool_find(b.pool, hash | lows[k]), want);
            }
        }
    }
    bed_close(&b);
}
END_TEST

/* In an old generation owners stand still while servers come and go. */
START_TEST(a_server_that_is_not_usable_gets_nothing_whatever_was_published)
{
    struct bed b;
    struct config_pool *c = config_of(4, 2);
    set_for(c, 0, 1); /* s000 is for b001 */
    set_for(c, 1, 2); /* s001 is for b002 */
    bed_open(&b, c);
    const struct pool_member *members = b.pool->members;
    for (unsigned round = 0; round < 4; round++) {
        atomic_store(&members[1].server->usable, round == 0);
        atomic_store(&members[4].server->usable, round < 2);
        atomic_store(&members[3].server->usable, round < 3);
        for (unsigned i = 0; i < KEYS; i++) {
            uint16_t home = pool_home(b.pool, hash_of(i)), id = route(&b, hash_of(i));
            ck_assert(id != NONE && atomic_load(&members[id].server->usable));
            if (home == 1 && round > 0 && round < 2)
                ck_assert_uint_eq(id, 4);
            if (home == 0 || home == 2)
                ck_assert_uint_eq(id, home);
        }
    }
    bed_close(&b);
}
END_TEST

START_TEST(standbys_are_found_without_a_publish)
{
    struct bed b;
    struct config_pool *c = config_of(4, 2);
    set_for(c, 0, 1);
    set_for(c, 1, 1);
    c->when_down = WHEN_DOWN_FAIL;
    bed_open(&b, c);
    uint64_t hash = hash_of(0);
    for (unsigned i = 1; pool_home(b.pool, hash) != 1; i++)
        hash = hash_of(i);
    atomic_store(&b.pool->members[1].server->usable, false);
    uint16_t first = route(&b, hash);
    ck_assert(first == 4 || first == 5);
    atomic_store(&b.pool->members[first].server->usable, false);
    ck_assert_uint_eq(route(&b, hash), first == 4 ? 5 : 4);
    atomic_store(&b.pool->members[first == 4 ? 5 : 4].server->usable, false);
    ck_assert_uint_eq(route(&b, hash), NONE);
    bed_close(&b);
}
END_TEST

/* ---- further tries ---- */

static bool has_an_owner(const void *arg, unsigned slot)
{
    return ((const uint16_t *)arg)[slot] != NONE;
}

/* The owner by promotion if `tried` were out as well. */
static uint16_t expected_after(const struct bed *b, uint64_t hash, const bool *was_out,
                               const uint16_t *tried, unsigned ntried)
{
    bool out[64];
    uint16_t owner[32];
    memcpy(out, was_out, b->pool->nservers * sizeof(*out));
    for (unsigned i = 0; i < ntried; i++)
        out[tried[i]] = true;
    failover_owners(b->pool->failover, out, owner);
    unsigned slot = ring_find(b->pool->ring, hash);
    if (owner[slot] == NONE && b->config->when_down == WHEN_DOWN_NEXT)
        slot = ring_walk(b->pool->ring, hash, has_an_owner, owner);
    return slot == RING_NONE ? NONE : owner[slot];
}

static void check_retries(struct bed *b, const bool *out)
{
    for (unsigned i = 0; i < 300; i++) {
        uint16_t tried[15];
        for (unsigned n = 0; n <= 15; n++) {
            enum pool_outcome outcome;
            uint16_t id = route_after(b, hash_of(i), tried, n, &outcome);
            ck_assert_uint_eq(id, expected_after(b, hash_of(i), out, tried, n));
            for (unsigned k = 0; k < n; k++)
                ck_assert_uint_ne(id, tried[k]);
            if (id == NONE)
                ck_assert_int_eq(outcome, POOL_NONE_LIVE);
            if (id == NONE || n == 15)
                break;
            tried[n] = id;
        }
    }
}

/* Whether by its own point, or as the next owner for one that is out: with one standby for three,
 * it is at another slot if one more is out. */
START_TEST(who_is_left_out_is_as_if_it_had_been_tried)
{
    for (uint16_t left = 2; left < 5; left++) {
        struct bed b;
        const uint16_t out[] = {1, 5}, tried[] = {left};
        unsigned moved = 0;
        bed_open(&b, config_of(6, 1));
        publish_out(&b, out, 2);
        uint16_t agreed[KEYS], next[KEYS];
        for (unsigned i = 0; i < KEYS; i++) {
            agreed[i] = route(&b, hash_of(i));
            next[i] = route_after(&b, hash_of(i), tried, 1, NULL);
        }
        atomic_store(&b.pool->members[left].server->usable, false);
        for (unsigned i = 0; i < KEYS; i++) {
            bool moves = agreed[i] == left;
            moved += moves;
            ck_assert_uint_eq(route(&b, hash_of(i)), moves ? next[i] : agreed[i]);
            ck_assert_uint_eq(pool_find_here(b.pool, &b.view, hash_of(i)), route(&b, hash_of(i)));
            ck_assert_uint_eq(pool_find(b.pool, hash_of(i)), agreed[i]);
        }
        ck_assert_uint_gt(moved, 0);
        bed_close(&b);
    }
}
END_TEST

START_TEST(further_tries_follow_promotion_and_never_repeat)
{
    for (int fail = 0; fail < 2; fail++) {
        struct bed b;
        struct config_pool *c = config_of(8, 4);
        c->when_down = fail ? WHEN_DOWN_FAIL : WHEN_DOWN_NEXT;
        set_for(c, 0, 2);
        set_for(c, 1, 2);
        set_for(c, 1, 5);
        bed_open(&b, c);
        const uint16_t outages[][4] = {{NONE}, {3, NONE}, {2, 9, NONE}, {0, 1, 10, NONE}};
        for (unsigned n = 0; n < 4; n++) {
            bool out[12] = {false};
            size_t count = 0;
            for (; outages[n][count] != NONE; count++)
                out[outages[n][count]] = true;
            publish_out(&b, outages[n], count);
            check_retries(&b, out);
        }
        bed_close(&b);
    }
}
END_TEST

START_TEST(the_second_try_goes_to_the_backends_own_standby)
{
    struct bed b;
    struct config_pool *c = config_of(3, 2);
    set_for(c, 0, 1);
    set_for(c, 1, 1);
    bed_open(&b, c);
    for (unsigned i = 0; i < KEYS; i++) {
        uint16_t tried[] = {1, NONE}, swapped[2];
        if (pool_home(b.pool, hash_of(i)) != 1)
            continue;
        tried[1] = route_after(&b, hash_of(i), tried, 1, NULL);
        ck_assert(tried[1] == 3 || tried[1] == 4);
        swapped[0] = tried[1];
        swapped[1] = 1;
        ck_assert_uint_eq(route_after(&b, hash_of(i), tried, 2, NULL), tried[1] == 3 ? 4 : 3);
        ck_assert_uint_eq(route_after(&b, hash_of(i), swapped, 2, NULL), tried[1] == 3 ? 4 : 3);
    }
    bed_close(&b);
}
END_TEST

START_TEST(a_held_backend_is_out_for_further_tries_too)
{
    struct bed b;
    bed_open(&b, config_of(2, 2));
    publish_out(&b, (uint16_t[]){0}, 1);
    uint16_t first = pool_owner_of(b.pool, 0).owner;
    atomic_store(&b.pool->members[0].server->usable, true); /* up again, but it has to wait */
    for (unsigned i = 0; i < KEYS; i++)
        if (pool_home(b.pool, hash_of(i)) == 0) {
            ck_assert_uint_eq(route(&b, hash_of(i)), first);
            ck_assert_uint_eq(route_after(&b, hash_of(i), &first, 1, NULL), first == 2 ? 3 : 2);
        }
    bed_close(&b);
}
END_TEST

START_TEST(what_was_worked_out_for_tries_ends_with_the_next_publish)
{
    struct bed b;
    bed_open(&b, config_of(2, 1));
    uint16_t tried[] = {0};
    uint64_t hash = hash_of(0);
    for (unsigned i = 1; pool_home(b.pool, hash) != 0; i++)
        hash = hash_of(i);
    for (unsigned round = 0; round < 3; round++) {
        publish_out(&b, NULL, 0);
        ck_assert_uint_eq(route_after(&b, hash, tried, 1, NULL), 2);
        publish_out(&b, (uint16_t[]){2}, 1);
        ck_assert_uint_eq(route_after(&b, hash, tried, 1, NULL), 1);
    }
    bed_close(&b);
}
END_TEST

START_TEST(a_ramp_goes_on_for_further_tries_that_walk_into_it)
{
    struct bed b;
    bed_open(&b, config_of(2, 1));
    publish_ramp(&b, 1, 2, 32768);
    for (unsigned i = 0; i < KEYS; i++) {
        uint64_t hash = hash_of(i);
        uint16_t home = pool_home(b.pool, hash), mine = (hash & 0xffff) < 32768 ? 1 : 2;
        uint16_t other = mine == 1 ? 2 : 1, zero[] = {0}, one[] = {mine}, both[] = {1, 2};
        /* b000 was tried: its standby by promotion serves b001 as well for the while */
        uint16_t want = home == 0 ? 2 : mine;
        ck_assert_uint_eq(route_after(&b, hash, zero, 1, NULL), want);
        want = home == 0 ? 0 : other;
        ck_assert_uint_eq(route_after(&b, hash, one, 1, NULL), want);
        ck_assert_uint_eq(route_after(&b, hash, both, 2, NULL), 0);
    }
    bed_close(&b);
}
END_TEST

/* ---- limits ---- */

START_TEST(a_full_backend_passes_on_to_the_nearest_point_of_another)
{
    struct bed b, rest;
    struct config_pool *c = config_of(6, 2), *without = config_of(6, 0);
    c->backends[4].max_connections = 3;
    bed_open(&b, c);
    remove_backend(without, 4);
    bed_open(&rest, without);
    uint64_t hash = hash_of(0);
    for (unsigned i = 1; pool_home(b.pool, hash) != 4; i++)
        hash = hash_of(i);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_uint_eq(lend_after(&b, hash, NULL, 0, NULL), 4);
    for (unsigned i = 0; i < KEYS; i++) {
        uint16_t home = pool_home(b.pool, hash_of(i)), id = route(&b, hash_of(i));
        if (home != 4)
            ck_assert_uint_eq(id, home);
        else
            ck_assert_str_eq(name_of(&b, id), name_of(&rest, route(&rest, hash_of(i))));
    }
    give_back(&b, 4);
    ck_assert_uint_eq(route(&b, hash), 4);
    give_back(&b, 4);
    give_back(&b, 4);
    bed_close(&b);
    bed_close(&rest);
}
END_TEST

/* Fills every server through one key; returns how many were lent. */
static unsigned fill(struct bed *b, uint64_t hash, uint16_t *ids, unsigned max,
                     enum pool_outcome *outcome)
{
    unsigned n = 0;
    for (; n < max; n++) {
        ids[n] = lend_after(b, hash, NULL, 0, outcome);
        if (ids[n] == NONE)
            break;
    }
    return n;
}

START_TEST(everyone_full_is_told_from_nobody_live)
{
    struct bed b;
    struct config_pool *c = config_of(70, 0); /* more than one word of slots */
    for (unsigned i = 0; i < 70; i++)
        c->backends[i].max_connections = 2;
    bed_open(&b, c);
    publish_out(&b, (uint16_t[]){5, 6, 7, 8, 69}, 5);
    uint16_t ids[256];
    enum pool_outcome outcome;
    ck_assert_uint_eq(fill(&b, hash_of(0), ids, 256, &outcome), 2 * 65);
    ck_assert_int_eq(outcome, POOL_FULL);
    for (unsigned id = 0; id < 70; id++)
        ck_assert_uint_eq(atomic_load(&b.pool->members[id].server->active),
                          (id < 5 || id > 8) && id != 69 ? 2 : 0);
    for (unsigned i = 0; i < 2 * 65; i++)
        give_back(&b, ids[i]);
    bed_close(&b);
}
END_TEST

START_TEST(idle_standbys_never_take_what_is_over_a_limit)
{
    for (int fail = 0; fail < 2; fail++) {
        struct bed b;
        struct config_pool *c = config_of(5, 3);
        c->when_down = fail ? WHEN_DOWN_FAIL : WHEN_DOWN_NEXT;
        for (unsigned i = 0; i < 5; i++)
            c->backends[i].max_connections = 2;
        bed_open(&b, c);
        uint16_t ids[64], home = pool_home(b.pool, hash_of(0));
        enum pool_outcome outcome;
        unsigned n = fill(&b, hash_of(0), ids, 64, &outcome);
        ck_assert_int_eq(outcome, POOL_FULL);
        ck_assert_uint_eq(n, fail ? 2 : 10);
        for (unsigned i = 0; i < n; i++) {
            ck_assert_uint_lt(ids[i], 5);
            if (i < 2)
                ck_assert_uint_eq(ids[i], home);
        }
        struct pool_request keyless = {.keyless = true};
        const struct pool_member *s;
        if (!fail)
            ck_assert_int_eq(pool_acquire(b.pool, &b.view, &keyless, &s), POOL_FULL);
        for (unsigned i = 0; i < n; i++)
            give_back(&b, ids[i]);
        bed_close(&b);
    }
}
END_TEST

/* b000 was tried, so its standby would be promoted; but a key that is here only because its own
 * backend is full is not for it. */
START_TEST(a_full_backend_passes_on_at_further_tries_to_no_idle_standby)
{
    struct bed b;
    struct config_pool *c = config_of(3, 1);
    c->backends[1].max_connections = 1;
    bed_open(&b, c);
    uint64_t hash = hash_of(0);
    for (unsigned i = 1; pool_home(b.pool, hash) != 1; i++)
        hash = hash_of(i);
    ck_assert_uint_eq(lend_after(&b, hash, NULL, 0, NULL), 1);
    for (unsigned i = 0; i < KEYS; i++) {
        uint16_t tried[] = {0}, home = pool_home(b.pool, hash_of(i));
        uint16_t want = home == 0 ? 3 : 2;
        ck_assert_uint_eq(route_after(&b, hash_of(i), tried, 1, NULL), want);
    }
    give_back(&b, 1);
    bed_close(&b);
}
END_TEST

START_TEST(a_promoted_standby_has_its_own_limit)
{
    struct bed b;
    struct config_pool *c = config_of(1, 1);
    c->standbys[0].max_connections = 2;
    bed_open(&b, c);
    publish_out(&b, (uint16_t[]){0}, 1);
    uint16_t ids[8];
    enum pool_outcome outcome;
    ck_assert_uint_eq(fill(&b, hash_of(0), ids, 8, &outcome), 2);
    ck_assert_int_eq(outcome, POOL_FULL);
    give_back(&b, ids[0]);
    give_back(&b, ids[1]);
    bed_close(&b);
}
END_TEST

/* Few keys, so that without the bound one server would have most of the load. The cap is that of
 * docs/configuration.md, "pools[].ring", in exact arithmetic: `load` in hundredths. */
static void check_bounded_load(unsigned load, const uint32_t *weights, uint16_t dead)
{
    struct bed b;
    struct config_pool *c = config_of(6, 1);
    c->max_load = load / 100.0;
    unsigned all = 0, moved = 0;
    for (unsigned i = 0; i < 6; i++) {
        c->backends[i].weight = weights[i];
        all += weights[i];
    }
    set_for(c, 0, 3);
    bed_open(&b, c);
    if (dead != NONE) {
        publish_out(&b, &dead, 1);
        all -= dead == 3 ? 0 : weights[dead];
    }
    ck_assert_uint_eq(atomic_load(&b.pool->live_weight), all);
    static uint16_t ids[KEYS];
    for (unsigned i = 0; i < KEYS; i++) {
        uint64_t hash = hash_of(i % 7);
        uint16_t wanted = pool_find(b.pool, hash);
        uint64_t weight = weights[wanted == 6 ? 3 : wanted];
        uint64_t cap = (load * (uint64_t)(i + 1) * weight + 100u * all - 1) / (100u * all);
        bool fits = atomic_load(&b.pool->members[wanted].server->active) + 1 <= cap;
        ids[i] = lend_after(&b, hash, NULL, 0, NULL);
        ck_assert_uint_ne(ids[i], NONE);
        ck_assert_uint_eq(ids[i] == wanted, fits);
        moved += !fits;
        weight = weights[ids[i] == 6 ? 3 : ids[i]];
        cap = (load * (uint64_t)(i + 1) * weight + 100u * all - 1) / (100u * all);
        ck_assert_uint_le(atomic_load(&b.pool->members[ids[i]].server->active), cap);
        ck_assert_uint_eq(atomic_load(&b.pool->totals->active), i + 1);
        if (dead != 3)
            ck_assert_uint_ne(ids[i], 6);
    }
    ck_assert_uint_gt(moved, 0);
    for (unsigned i = 0; i < KEYS; i++)
        give_back(&b, ids[i]);
    bed_close(&b);
}

START_TEST(bounded_loads_keep_everyone_under_the_cap_and_all_others_at_home)
{
    const uint32_t even[] = {1, 1, 1, 1, 1, 1}, uneven[] = {1, 2, 7, 3, 256, 1};
    const unsigned loads[] = {101, 110, 125, 150};
    for (unsigned i = 0; i < 4; i++) {
        check_bounded_load(loads[i], even, NONE);
        check_bounded_load(loads[i], uneven, NONE);
        check_bounded_load(loads[i], even, 2);
        check_bounded_load(loads[i], uneven, 3);
    }
}
END_TEST

/* ---- keyless ---- */

static uint16_t next_in_turn(struct bed *b, const uint16_t *tried, unsigned ntried)
{
    struct pool_request r = {.keyless = true, .tried = tried, .ntried = ntried};
    const struct pool_member *s;
    if (pool_acquire(b->pool, &b->view, &r, &s) != POOL_OK)
        return NONE;
    give_back(b, s->id);
    return s->id;
}

START_TEST(keyless_requests_honour_weights_in_every_round)
{
    const uint32_t weights[][5] = {
        {1, 1, 1, 1, 1}, {5, 1, 1, 1, 1}, {1, 2, 3, 4, 256}, {7, 7, 2, 2, 9}};
    for (unsigned n = 0; n < 4; n++) {
        struct bed b;
        struct config_pool *c = config_of(5, 1);
        unsigned round = 0;
        for (unsigned i = 0; i < 5; i++)
            round += c->backends[i].weight = weights[n][i];
        bed_open(&b, c);
        for (unsigned k = 0; k < 3; k++) {
            unsigned count[6] = {0};
            for (unsigned i = 0; i < round; i++)
                count[next_in_turn(&b, NULL, 0)]++;
            for (unsigned i = 0; i < 5; i++)
                ck_assert_uint_eq(count[i], weights[n][i]);
        }
        bed_close(&b);
    }
}
END_TEST

START_TEST(keyless_requests_come_to_nobody_many_times_in_a_row)
{
    struct bed b;
    struct config_pool *c = config_of(2, 0);
    c->backends[0].weight = c->backends[1].weight = 100;
    bed_open(&b, c);
    unsigned in_a_row = 0;
    uint16_t last = NONE;
    for (unsigned i = 0; i < 400; i++) {
        uint16_t id = next_in_turn(&b, NULL, 0);
        in_a_row = id == last ? in_a_row + 1 : 1;
        ck_assert_uint_le(in_a_row, 3);
        last = id;
    }
    bed_close(&b);
}
END_TEST

START_TEST(a_single_backend_gets_every_keyless_request)
{
    struct bed b;
    bed_open(&b, config_of(1, 0));
    for (unsigned i = 0; i < 10; i++)
        ck_assert_uint_eq(next_in_turn(&b, NULL, 0), 0);
    bed_close(&b);
}
END_TEST

START_TEST(keyless_requests_pass_over_the_dead_and_the_tried)
{
    for (int fail = 0; fail < 2; fail++) {
        struct bed b;
        struct config_pool *c = config_of(4, 1);
        c->when_down = fail ? WHEN_DOWN_FAIL : WHEN_DOWN_NEXT;
        c->backends[0].weight = 256; /* its turns are not the others' loss */
        set_for(c, 0, 1);
        bed_open(&b, c);
        publish_out(&b, (uint16_t[]){0, 1}, 2); /* s000 (4) stands in for b001 */
        unsigned count[5] = {0};
        for (unsigned i = 0; i < 4 * 259; i++)
            count[next_in_turn(&b, NULL, 0)]++;
        ck_assert(count[0] == 0 && count[1] == 0);
        ck_assert(count[2] > 0 && count[3] > 0 && count[4] > 0);
        const uint16_t tried[] = {4, 2, 3};
        for (unsigned i = 0; i < 100; i++) {
            ck_assert_uint_ne(next_in_turn(&b, tried, 1), 4);
            ck_assert_uint_eq(next_in_turn(&b, tried, 2), 3);
            ck_assert_uint_eq(next_in_turn(&b, tried, 3), NONE);
        }
        bed_close(&b);
    }
}
END_TEST

START_TEST(keyless_requests_pass_over_the_full)
{
    struct bed b;
    struct config_pool *c = config_of(3, 1);
    for (unsigned i = 0; i < 3; i++)
        c->backends[i].max_connections = i + 1;
    bed_open(&b, c);
    struct pool_request r = {.keyless = true};
    const struct pool_member *s;
    for (unsigned i = 0; i < 6; i++)
        ck_assert_int_eq(pool_acquire(b.pool, &b.view, &r, &s), POOL_OK);
    ck_assert_int_eq(pool_acquire(b.pool, &b.view, &r, &s), POOL_FULL);
    for (uint16_t id = 0; id < 3; id++)
        for (unsigned i = 0; i <= id; i++)
            give_back(&b, id);
    bed_close(&b);
}
END_TEST

static uint16_t out_of_turn(struct bed *b, uint16_t preferred)
{
    struct pool_request r = {.keyless = true, .preferred = &b->pool->members[preferred]};
    const struct pool_member *s;
    ck_assert_int_eq(pool_acquire(b->pool, &b->view, &r, &s), POOL_OK);
    give_back(b, s->id);
    return s->id;
}

START_TEST(keyless_requests_may_prefer_a_server_that_serves)
{
    struct bed b;
    bed_open(&b, config_of(3, 1));
    uint16_t s = 3;
    for (unsigned i = 0; i < 9; i++) {
        ck_assert_uint_eq(out_of_turn(&b, 1), 1);
        ck_assert_uint_ne(out_of_turn(&b, s), s); /* it is idle */
    }
    publish_ramp(&b, 1, s, 16384);
    ck_assert_uint_eq(out_of_turn(&b, 1), 1);
    ck_assert_uint_eq(out_of_turn(&b, s), s);
    publish_ramp(&b, 1, s, 0);
    ck_assert_uint_ne(out_of_turn(&b, 1), 1);
    ck_assert_uint_eq(out_of_turn(&b, s), s);
    atomic_store(&b.pool->members[2].server->usable, false);
    ck_assert_uint_ne(out_of_turn(&b, 2), 2);
    bed_close(&b);
}
END_TEST

START_TEST(keyless_requests_take_part_in_a_ramp)
{
    struct bed b;
    bed_open(&b, config_of(2, 1));
    publish_ramp(&b, 1, 2, 16384);
    unsigned count[3] = {0};
    for (unsigned i = 0; i < 8000; i++)
        count[next_in_turn(&b, NULL, 0)]++;
    ck_assert_uint_eq(count[0], 4000);
    ck_assert(count[1] > 950 && count[1] < 1050);
    bed_close(&b);
}
END_TEST

/* ---- threads ---- */

#define THREADS 4
#define ROUNDS 8000

struct crew {
    struct bed *bed;
    unsigned number;
    bool keyless;
    _Atomic uint32_t *held; /* per server, by those who hold it */
    _Atomic unsigned *too_many, *lent, *refused;
};

static void hold_one(struct crew *c, struct pool_view *v, unsigned i)
{
    struct pool *p = c->bed->pool;
    struct pool_request r = {.keyless = c->keyless, .hash = hash_of(i * THREADS + c->number)};
    const struct pool_member *s[3];
    unsigned n = 0;
    for (; n < 3; n++) {
        if (pool_acquire(p, v, &r, &s[n]) != POOL_OK) {
            atomic_fetch_add(c->refused, 1);
            break;
        }
        if (atomic_fetch_add(&c->held[s[n]->id], 1) + 1 > s[n]->max_connections)
            atomic_fetch_add(c->too_many, 1);
    }
    atomic_fetch_add(c->lent, n);
    while (n-- > 0) {
        atomic_fetch_sub(&c->held[s[n]->id], 1);
        pool_release(p, s[n]->server);
    }
}

static void *crew_run(void *arg)
{
    struct crew *c = arg;
    struct pool_view v = {0};
    for (unsigned i = 0; i < ROUNDS; i++)
        hold_one(c, &v, i);
    pool_view_deinit(&v);
    return NULL;
}

START_TEST(threads_together_never_pass_a_limit)
{
    struct bed b;
    struct config_pool *c = config_of(3, 0);
    for (unsigned i = 0; i < 3; i++)
        c->backends[i].max_connections = 2;
    c->max_load = 2;
    bed_open(&b, c);
    _Atomic uint32_t held[3] = {0};
    _Atomic unsigned too_many = 0, lent = 0, refused = 0;
    pthread_t threads[THREADS];
    struct crew crew[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        crew[i] = (struct crew){&b, i, i == 0, held, &too_many, &lent, &refused};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, crew_run, &crew[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(atomic_load(&too_many), 0);
    ck_assert_uint_ge(atomic_load(&lent), ROUNDS);
    bed_close(&b);
}
END_TEST

struct reader {
    struct bed *bed;
    _Atomic bool *stop;
    unsigned wrong, routes;
};

/* Others' keys never move; those of b001 are with it or with its standby, at further tries with
 * the other one or, between the two, with b000. */
static void read_once(struct reader *r, struct pool_view *v, unsigned i)
{
    struct pool *p = r->bed->pool;
    uint64_t hash = hash_of(i);
    uint16_t home = pool_home(p, hash), tried;
    struct pool_request q = {.hash = hash};
    const struct pool_member *s;
    r->routes++;
    if (pool_acquire(p, v, &q, &s) != POOL_OK) {
        r->wrong++;
        return;
    }
    r->wrong += home == 1 ? s->id != 1 && s->id != 2 && s->id != 0 : s->id != home;
    pool_release(p, s->server);
    tried = s->id;
    q.tried = &tried;
    q.ntried = 1;
    if (pool_acquire(p, v, &q, &s) != POOL_OK)
        return;
    r->wrong += s->id == tried;
    pool_release(p, s->server);
}

static void *reader_run(void *arg)
{
    struct reader *r = arg;
    struct pool_view v = {0};
    for (unsigned i = 0; r->routes < KEYS || !atomic_load(r->stop); i++)
        read_once(r, &v, i % KEYS);
    pool_view_deinit(&v);
    return NULL;
}

START_TEST(failover_under_traffic_moves_only_the_failed_backends_keys)
{
    struct bed b;
    bed_open(&b, config_of(2, 1));
    _Atomic bool stop = false;
    pthread_t threads[2];
    struct reader readers[2];
    for (unsigned i = 0; i < 2; i++) {
        readers[i] = (struct reader){&b, &stop, 0, 0};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, reader_run, &readers[i]), 0);
    }
    for (unsigned i = 0; i < 6000; i++)
        publish_out(&b, (uint16_t[]){1}, i % 2);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_uint_eq(readers[i].wrong, 0);
    }
    ck_assert_uint_eq(atomic_load(&b.pool->version), 6000);
    bed_close(&b);
}
END_TEST

/* ---- servers, life ---- */

START_TEST(failures_in_a_row_are_told_once)
{
    struct server s = {0};
    struct pool_member m = {.server = &s, .passive_failures = 3};
    ck_assert_int_eq(pool_member_failed(&m, false), SERVER_ROW_GOES_ON);
    ck_assert_int_eq(pool_member_failed(&m, false), SERVER_ROW_GOES_ON);
    server_succeeded(&s);
    ck_assert_int_eq(pool_member_failed(&m, false), SERVER_ROW_GOES_ON);
    ck_assert_int_eq(pool_member_failed(&m, false), SERVER_ROW_GOES_ON);
    ck_assert_int_eq(pool_member_failed(&m, false), SERVER_ROW_DOWN);
    for (unsigned i = 0; i < 10; i++)
        ck_assert_int_eq(pool_member_failed(&m, false), SERVER_ROW_GOES_ON);
    server_succeeded(&s);
    m.passive_failures = 0;
    for (unsigned i = 0; i < 10; i++)
        ck_assert_int_eq(pool_member_failed(&m, false), SERVER_ROW_GOES_ON);
}
END_TEST

START_TEST(counters_of_all_workers_add_up)
{
    struct bed b;
    bed_open(&b, config_of(2, 0));
    struct server *s = b.pool->members[1].server;
    cell_add(&server_cell(s, 0)->requests, 3);
    cell_add(&server_cell(s, 1)->requests, 4);
    cell_add(&server_cell(s, 1)->errors, 1);
    ck_assert_uint_eq(server_requests(s), 7);
    ck_assert_uint_eq(server_errors(s), 1);
    ck_assert_uint_eq(server_requests(b.pool->members[0].server), 0);
    bed_close(&b);
}
END_TEST

START_TEST(a_ring_that_is_too_large_is_an_error)
{
    struct config_pool *c = config_of(5, 0);
    struct error e = {0};
    c->vnodes = 4096;
    for (unsigned i = 0; i < 5; i++)
        c->backends[i].weight = 256;
    ck_assert_ptr_null(pool_new(c, 1, NULL, &e));
    ck_assert_uint_gt(strlen(e.text), 0);
    pool_free(NULL);
    drop_config(c);
}
END_TEST

static Suite *pool_suite(void)
{
    Suite *s = suite_create("pool");
    TCase *t = tcase_create("pool");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, everyone_up_is_the_ring);
    tcase_add_test(t, a_dead_backend_routes_as_if_it_were_not_in_the_file);
    tcase_add_test(t, a_promoted_standby_takes_all_of_the_keys_and_no_others);
    tcase_add_test(t, with_fail_the_keys_of_a_dead_backend_are_refused);
    tcase_add_test(t, with_nobody_left_everything_is_refused);
    tcase_add_test(t, a_ramp_splits_keys_at_its_exact_share);
    tcase_add_test(t, a_server_that_is_not_usable_gets_nothing_whatever_was_published);
    tcase_add_test(t, standbys_are_found_without_a_publish);
    tcase_add_test(t, who_is_left_out_is_as_if_it_had_been_tried);
    tcase_add_test(t, further_tries_follow_promotion_and_never_repeat);
    tcase_add_test(t, the_second_try_goes_to_the_backends_own_standby);
    tcase_add_test(t, a_held_backend_is_out_for_further_tries_too);
    tcase_add_test(t, what_was_worked_out_for_tries_ends_with_the_next_publish);
    tcase_add_test(t, a_ramp_goes_on_for_further_tries_that_walk_into_it);
    tcase_add_test(t, a_full_backend_passes_on_to_the_nearest_point_of_another);
    tcase_add_test(t, everyone_full_is_told_from_nobody_live);
    tcase_add_test(t, idle_standbys_never_take_what_is_over_a_limit);
    tcase_add_test(t, a_full_backend_passes_on_at_further_tries_to_no_idle_standby);
    tcase_add_test(t, a_promoted_standby_has_its_own_limit);
    tcase_add_test(t, bounded_loads_keep_everyone_under_the_cap_and_all_others_at_home);
    tcase_add_test(t, keyless_requests_honour_weights_in_every_round);
    tcase_add_test(t, keyless_requests_come_to_nobody_many_times_in_a_row);
    tcase_add_test(t, a_single_backend_gets_every_keyless_request);
    tcase_add_test(t, keyless_requests_pass_over_the_dead_and_the_tried);
    tcase_add_test(t, keyless_requests_pass_over_the_full);
    tcase_add_test(t, keyless_requests_may_prefer_a_server_that_serves);
    tcase_add_test(t, keyless_requests_take_part_in_a_ramp);
    tcase_add_test(t, threads_together_never_pass_a_limit);
    tcase_add_test(t, failover_under_traffic_moves_only_the_failed_backends_keys);
    tcase_add_test(t, failures_in_a_row_are_told_once);
    tcase_add_test(t, counters_of_all_workers_add_up);
    tcase_add_test(t, a_ring_that_is_too_large_is_an_error);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(pool_suite);
}
