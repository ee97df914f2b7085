/* The roster, driven by tables of events with their times, then by random ones. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "pool/roster.h"
#include "ring/hash.h"
#include "tests/lib/unit.h"

#define MAX_SERVERS 16
#define VNODES 16

/* ---- a pool by hand ---- */

struct world {
    struct config_pool config;
    struct config_server backends[MAX_SERVERS], standbys[MAX_SERVERS];
    uint16_t for_backends[MAX_SERVERS][MAX_SERVERS];
    char names[2 * MAX_SERVERS + 1][4]; /* the last one stays empty: the pool's */
    char reason[80];                    /* of the last notice that had one */
    struct pool *pool;
    struct roster *roster;
    uint64_t now_ms;
    /* what was told since the last look, as text and as numbers */
    char told[1024];
    struct roster_notice notices[64];
    unsigned nnotices;
    uint64_t told_version; /* of the owners, by ROSTER_OWNERS */
    uint64_t wake_ms;      /* when the roster said that it wants to be woken */
    /* the owners that the notices alone tell of */
    uint16_t by_notices[MAX_SERVERS];
};

static void name_server(struct world *w, struct config_server *s, unsigned at, char kind,
                        unsigned n)
{
    w->names[at][0] = kind;
    w->names[at][1] = (char)('0' + n);
    s->name = w->names[at];
    s->address_text = w->names[at];
    s->address = (struct addr){.v4 = {.sin_family = AF_INET}, .len = sizeof s->address.v4};
    s->weight = 1;
}

/* Backends b1, b2, ... and standbys s1, s2, ... (at most 9 each, so that they are sorted). */
static void world_init(struct world *w, unsigned nbackends, unsigned nstandbys)
{
    memset(w, 0, sizeof *w);
    w->config = (struct config_pool){
        .name = w->names[2 * MAX_SERVERS],
        .vnodes = VNODES,
        .health =
            {.check = CHECK_TCP, .interval_ms = 2000, .timeout_ms = 500, .fall = 1, .rise = 1},
        .passive = {.failures = 5},
        .when_down = WHEN_DOWN_NEXT,
        .failback = {.max_after_ms = 300000},
        .backends = w->backends,
        .nbackends = nbackends,
        .standbys = w->standbys,
        .nstandbys = nstandbys,
    };
    for (unsigned i = 0; i < nbackends; i++)
        name_server(w, &w->backends[i], i, 'b', i + 1);
    for (unsigned i = 0; i < nstandbys; i++)
        name_server(w, &w->standbys[i], nbackends + i, 's', i + 1);
}

static void add_for(struct world *w, unsigned standby, unsigned backend)
{
    struct config_server *s = &w->standbys[standby];
    s->for_backends = w->for_backends[standby];
    s->for_backends[s->nfor++] = (uint16_t)backend;
}

static unsigned nservers(const struct world *w)
{
    return (unsigned)(w->config.nbackends + w->config.nstandbys);
}

static unsigned id_of(const struct world *w, const char *name)
{
    for (unsigned i = 0; i < nservers(w); i++)
        if (strcmp(w->names[i], name) == 0)
            return i;
    ck_abort_msg("no server %s", name);
    return 0;
}

static const char *name_of(const struct world *w, unsigned id)
{
    return id == SERVER_NONE ? "-" : w->names[id];
}

static void replay(struct world *w, const struct roster_notice *n)
{
    if (n->event == ROSTER_ALL_DOWN) /* tells of all slots at once */
        for (unsigned b = 0; b < w->config.nbackends; b++)
            w->by_notices[b] = pool_owner_of(w->pool, b).owner;
    if (n->member == NULL)
        return;
    unsigned id = n->member->id;
    if (n->event == ROSTER_PROMOTION)
        w->by_notices[id] = n->by->id;
    else if (n->event == ROSTER_NEXT)
        w->by_notices[id] = SERVER_NONE;
    else if (n->event == ROSTER_FAILBACK || n->event == ROSTER_RAMP)
        w->by_notices[id] = (uint16_t)id;
}

static void on_notice(void *arg, const struct roster_notice *n)
{
    static const char *const words[] = {
        [ROSTER_SERVER_UP] = "up",        [ROSTER_SERVER_DOWN] = "down",
        [ROSTER_PROMOTION] = "promotion", [ROSTER_TAKEOVER_ENDED] = "ended",
        [ROSTER_NEXT] = "next",           [ROSTER_RAMP] = "ramp",
        [ROSTER_FAILBACK] = "failback",   [ROSTER_HELD] = "held",
        [ROSTER_DRAINED] = "drained",     [ROSTER_ENABLED] = "enabled",
        [ROSTER_ALL_DOWN] = "all down",   [ROSTER_ALL_DOWN_ENDED] = "all down ended",
        [ROSTER_SUSPECTED] = "suspected", [ROSTER_SPARED] = "spared",
    };
    struct world *w = arg;
    size_t at = strlen(w->told);
    if (n->event == ROSTER_OWNERS) {
        w->told_version = atomic_load(&w->pool->version);
        return;
    }
    if (n->reason)
        snprintf(w->reason, sizeof w->reason, "%s", n->reason);
    ck_assert(n->pool == w->pool);
    bool about_failures = n->event == ROSTER_SUSPECTED || n->event == ROSTER_SPARED;
    ck_assert((n->event == ROSTER_SERVER_DOWN || about_failures) == (n->reason != NULL));
    ck_assert(about_failures == (n->count > 0));
    at += (size_t)snprintf(w->told + at, sizeof w->told - at, "%s%s%s%s", at ? ", " : "",
                           words[n->event], n->member ? " " : "",
                           n->member ? n->member->server->name : "");
    if (n->by)
        at += (size_t)snprintf(w->told + at, sizeof w->told - at, " by %s", n->by->server->name);
    if (n->event == ROSTER_HELD)
        snprintf(w->told + at, sizeof w->told - at, " %u", (unsigned)n->wait_ms);
    if (about_failures)
        snprintf(w->told + at, sizeof w->told - at, "%s %u", n->ok ? " passed" : "", n->count);
    if (w->nnotices < sizeof w->notices / sizeof *w->notices)
        w->notices[w->nnotices++] = *n;
    replay(w, n);
}

static void on_wake(void *arg, uint64_t at_ms)
{
    struct world *w = arg;
    ck_assert_uint_ne(at_ms, w->wake_ms); /* it is told when it changes */
    w->wake_ms = at_ms;
}

/* After the configuration is filled in. */
static void world_open(struct world *w)
{
    struct error e;
    w->pool = pool_new(&w->config, 1, NULL, &e);
    ck_assert_msg(w->pool != NULL, "%s", e.text);
    w->roster = roster_new(w->pool, on_notice, w);
    w->wake_ms = UINT64_MAX;
    roster_on_wake(w->roster, on_wake, w);
    for (unsigned b = 0; b < w->config.nbackends; b++)
        w->by_notices[b] = (uint16_t)b;
}

static void world_close(struct world *w)
{
    roster_free(w->roster);
    pool_free(w->pool);
}

/* The next generation of the same file: nothing has changed, so nothing is told. */
static void world_reload(struct world *w)
{
    struct error e;
    struct pool *pool = w->pool;
    struct roster *roster = w->roster;
    ck_assert_uint_eq(w->nnotices, 0);
    w->pool = pool_new(&w->config, 1, pool, &e);
    ck_assert_msg(w->pool != NULL, "%s", e.text);
    w->roster = roster_new(w->pool, on_notice, w);
    w->wake_ms = UINT64_MAX;
    roster_on_wake(w->roster, on_wake, w);
    roster_adopt(w->roster, roster, w->now_ms);
    ck_assert_msg(w->nnotices == 0, "told %s", w->told);
    bool ramps = false;
    for (unsigned i = 0; i < w->pool->nservers; i++)
        ck_assert_int_eq(roster_state(w->roster, i), roster_state(roster, i));
    for (unsigned b = 0; b < w->pool->nbackends; b++) {
        struct pool_owner was = pool_owner_of(pool, b), is = pool_owner_of(w->pool, b);
        ck_assert_uint_eq(is.owner, was.owner);
        ck_assert_uint_eq(is.from, was.from);
        ck_assert_uint_ge(is.share, was.share);
        ramps |= is.from != SERVER_NONE; /* such an event is a step */
    }
    if (!ramps)
        ck_assert_uint_eq(roster_next_ms(w->roster), roster_next_ms(roster));
    roster_free(roster);
    pool_free(pool);
}

/* Lets time pass as the checker does: a tick whenever one is due. */
static void advance(struct world *w, uint64_t to_ms)
{
    ck_assert(to_ms >= w->now_ms);
    while (roster_next_ms(w->roster) <= to_ms) {
        uint64_t at = roster_next_ms(w->roster);
        ck_assert_msg(at > w->now_ms || w->now_ms == 0, "a tick that is due again at once");
        w->now_ms = at;
        roster_tick(w->roster, at);
    }
    w->now_ms = to_ms;
}

static void format_owners(const struct world *w, char *out, size_t size)
{
    size_t at = 0;
    for (unsigned b = 0; b < w->config.nbackends; b++) {
        struct pool_owner o = pool_owner_of(w->pool, b);
        at += (size_t)snprintf(out + at, size - at, "%s%s", b ? " " : "", name_of(w, o.owner));
        if (o.from != SERVER_NONE)
            at += (size_t)snprintf(out + at, size - at, "<%s:%u", name_of(w, o.from), o.share);
    }
}

static void format_states(const struct world *w, char *out, size_t size)
{
    size_t at = 0;
    for (unsigned i = 0; i < nservers(w); i++)
        at += (size_t)snprintf(out + at, size - at, "%s%s", i ? " " : "",
                               roster_state_name(roster_state(w->roster, i)));
}

/* ---- tables ---- */

enum act {
    END,
    DOWN1,
    FIRST_OK,
    START,
    FAIL,
    PASS,
    PASSIVE,
    SUSPECT,      /* a check is asked for */
    UNSUSPECT,    /* none is */
    VERDICT_FAIL, /* what that check has said */
    VERDICT_PASS,
    RESOLVED,
    DRAIN,
    ENABLE,
    BACK,
    BACK_409,
    WAIT
};

/* What is NULL is not looked at. */
struct step {
    uint64_t at_ms;
    enum act act;
    const char *server;
    const char *told, *owners, *states;
};

static void act(struct world *w, const struct step *s)
{
    unsigned id = s->server ? id_of(w, s->server) : 0;
    switch (s->act) {
    case DOWN1:
        roster_first(w->roster, id, false, "refused", s->at_ms, s->at_ms);
        break;
    case FIRST_OK:
        roster_first(w->roster, id, true, "fine", s->at_ms, s->at_ms);
        break;
    case START:
        roster_start(w->roster, s->at_ms);
        break;
    case FAIL:
    case PASS:
        roster_check(w->roster, id, s->act == PASS, "checked", s->at_ms, s->at_ms);
        break;
    case PASSIVE:
        roster_passive_down(w->roster, id, s->at_ms);
        break;
    case SUSPECT:
    case UNSUSPECT:
        ck_assert_int_eq(roster_suspect(w->roster, id), s->act == SUSPECT);
        break;
    case VERDICT_FAIL:
    case VERDICT_PASS:
        roster_verdict(w->roster, id, s->act == VERDICT_PASS, "checked", s->at_ms, s->at_ms);
        break;
    case RESOLVED:
        roster_resolved(w->roster, id, s->at_ms);
        break;
    case DRAIN:
        roster_drain(w->roster, id, s->at_ms);
        break;
    case ENABLE:
        roster_enable(w->roster, id, s->at_ms);
        break;
    case BACK:
    case BACK_409:
        ck_assert_int_eq(roster_failback(w->roster, id, s->at_ms), s->act == BACK);
        break;
    case WAIT:
    case END:
        break;
    }
}

static void run_steps(struct world *w, const struct step *steps)
{
    for (const struct step *s = steps; s->act != END; s++) {
        char owners[256], states[256];
        int n = (int)(s - steps);
        advance(w, s->at_ms);
        act(w, s);
        if (s->act != DOWN1 && s->act != FIRST_OK)
            ck_assert_uint_eq(w->wake_ms, roster_next_ms(w->roster));
        format_owners(w, owners, sizeof owners);
        format_states(w, states, sizeof states);
        if (s->act == START) /* from here on each change is told */
            w->told_version = atomic_load(&w->pool->version);
        ck_assert_uint_eq(w->told_version, s->act == DOWN1 || s->act == FIRST_OK
                                               ? 0
                                               : atomic_load(&w->pool->version));
        if (s->told)
            ck_assert_msg(!strcmp(w->told, s->told), "step %d: told %s, not %s", n, w->told,
                          s->told);
        if (s->owners)
            ck_assert_msg(!strcmp(owners, s->owners), "step %d: owners %s, not %s", n, owners,
                          s->owners);
        if (s->states)
            ck_assert_msg(!strcmp(states, s->states), "step %d: states %s, not %s", n, states,
                          s->states);
        w->told[0] = 0;
        w->nnotices = 0;
    }
}

static void play(struct world *w, const struct step *steps)
{
    world_open(w);
    run_steps(w, steps);
    world_close(w);
}

#define STARTED                          \
    {                                    \
        0, START, NULL, NULL, NULL, NULL \
    }

/* ---- down and up ---- */

START_TEST(a_standby_is_promoted_and_idle_again)
{
    struct world w;
    world_init(&w, 3, 1);
    play(&w, (const struct step[]){
                 {0, START, NULL, "", "b1 b2 b3", "up up up standby"},
                 {10, FAIL, "b2", "down b2, promotion b2 by s1", "b1 s1 b3", "up down up promoted"},
                 {20, FAIL, "b2", "", "b1 s1 b3", NULL},
                 {30, PASS, "b2", "up b2, failback b2 by s1", "b1 b2 b3", "up up up standby"},
                 {40, PASS, "b2", "", "b1 b2 b3", NULL},
                 {50, FAIL, "s1", "down s1", "b1 b2 b3", "up up up down"},
                 {60, FAIL, "b1", "down b1, next b1", "- b2 b3", "down up up down"},
                 {70, PASS, "s1", "up s1, promotion b1 by s1", "s1 b2 b3", "down up up promoted"},
                 {80, FAIL, "s1", "down s1, ended b1 by s1, next b1", "- b2 b3", NULL},
                 {90, PASS, "b1", "up b1, failback b1", "b1 b2 b3", "up up up down"},
                 {0},
             });
}
END_TEST

START_TEST(fall_and_rise_checks_in_a_row_are_needed)
{
    struct world w;
    world_init(&w, 2, 0);
    w.config.health.fall = 3;
    w.config.health.rise = 2;
    world_open(&w);
    roster_start(w.roster, 0);
    ck_assert(!roster_changing(w.roster, 0));
    ck_assert(roster_check(w.roster, 0, false, "a", 1, 1));
    ck_assert(roster_check(w.roster, 0, false, "b", 2, 2));
    ck_assert(!roster_check(w.roster, 0, true, "c", 3, 3));
    ck_assert(roster_check(w.roster, 0, false, "d", 4, 4));
    ck_assert(roster_check(w.roster, 0, false, "e", 5, 5));
    ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_UP);
    ck_assert(!roster_check(w.roster, 0, false, "f", 6, 6));
    ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_DOWN);
    ck_assert(!atomic_load(&w.pool->members[0].server->usable));
    ck_assert(roster_check(w.roster, 0, true, "g", 7, 7));
    ck_assert(!roster_check(w.roster, 0, false, "h", 8, 8));
    ck_assert(roster_check(w.roster, 0, true, "i", 9, 9));
    ck_assert(!roster_check(w.roster, 0, true, "j", 10, 10));
    ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_UP);
    ck_assert(atomic_load(&w.pool->members[0].server->usable));
    const struct roster_check *last = roster_last_check(w.roster, 0);
    ck_assert(last->done && last->ok && last->at_ms == 10);
    ck_assert_str_eq(last->reason, "j");
    ck_assert(!roster_last_check(w.roster, 1)->done);
    world_close(&w);
}
END_TEST

START_TEST(a_server_starts_as_its_first_check_says)
{
    struct world w;
    world_init(&w, 3, 1);
    w.config.failback.after_ms = 5000;
    world_open(&w);
    run_steps(
        &w, (const struct step[]){
                {1, FIRST_OK, "b1", "", NULL, NULL},
                {2, DOWN1, "b2", "", NULL, NULL},
                {3, FIRST_OK, "b3", "", NULL, NULL},
                {3, FIRST_OK, "s1", "", NULL, NULL},
                {4, START, NULL, "down b2, promotion b2 by s1", "b1 s1 b3", "up down up promoted"},
                /* and does not wait for its return */
                {10, PASS, "b2", "up b2, failback b2 by s1", "b1 b2 b3", "up up up standby"},
                /* but the next time it does, as a relapse */
                {20, FAIL, "b2", NULL, "b1 s1 b3", NULL},
                {30, PASS, "b2", "up b2, held b2 10000", "b1 s1 b3", NULL},
                {0},
            });
    ck_assert_uint_eq(atomic_load(&w.pool->totals->failovers), 2);
    world_close(&w);
}
END_TEST

START_TEST(all_down_at_the_start_then_one_by_one)
{
    struct world w;
    world_init(&w, 2, 1);
    w.config.failback.after_ms = 5000;
    play(&w, (const struct step[]){
                 {1, DOWN1, "b1", NULL, NULL, NULL},
                 {1, DOWN1, "b2", NULL, NULL, NULL},
                 {1, DOWN1, "s1", NULL, NULL, NULL},
                 {2, START, NULL, "down b1, down b2, down s1, next b1, next b2", "- -",
                  "down down down"},
                 {3, PASS, "b2", "up b2, failback b2", "- b2", "down up down"},
                 {4, PASS, "s1", "up s1, promotion b1 by s1", "s1 b2", "down up promoted"},
                 {5, PASS, "b1", "up b1, failback b1 by s1", "b1 b2", "up up standby"},
                 {0},
             });
}
END_TEST

/* ---- the wait before a return ---- */

START_TEST(a_backend_waits_before_it_returns_and_longer_after_a_relapse)
{
    struct world w;
    world_init(&w, 2, 1);
    w.config.failback.after_ms = 5000;
    w.config.failback.max_after_ms = 18000;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "b1", NULL, "s1 b2", "down up promoted"},
                 {200, PASS, "b1", "up b1, held b1 5000", "s1 b2", "returning up promoted"},
                 {5199, WAIT, NULL, "", "s1 b2", NULL},
                 {5200, WAIT, NULL, "failback b1 by s1", "b1 b2", "up up standby"},
                 /* down again within max_after of its return: doubled */
                 {23200, FAIL, "b1", NULL, "s1 b2", NULL},
                 {23300, PASS, "b1", "up b1, held b1 10000", NULL, NULL},
                 /* down while it waits is no relapse, but the wait begins again */
                 {30000, FAIL, "b1", "down b1", "s1 b2", "down up promoted"},
                 {31000, PASS, "b1", "up b1, held b1 10000", NULL, NULL},
                 {41000, WAIT, NULL, "failback b1 by s1", "b1 b2", NULL},
                 /* up to max_after */
                 {42000, FAIL, "b1", NULL, "s1 b2", NULL},
                 {42001, PASS, "b1", "up b1, held b1 18000", NULL, NULL},
                 {60001, WAIT, NULL, NULL, "b1 b2", NULL},
                 {60002, FAIL, "b1", NULL, NULL, NULL},
                 {60003, PASS, "b1", "up b1, held b1 18000", NULL, NULL},
                 {78003, WAIT, NULL, NULL, "b1 b2", NULL},
                 /* later than max_after it is none */
                 {96004, FAIL, "b1", NULL, NULL, NULL},
                 {96005, PASS, "b1", "up b1, held b1 5000", NULL, NULL},
                 {0},
             });
}
END_TEST

START_TEST(a_standby_waits_before_it_returns_too)
{
    struct world w;
    world_init(&w, 2, 1);
    w.config.failback.after_ms = 5000;
    world_open(&w);
    run_steps(&w, (const struct step[]){
                      STARTED,
                      {100, FAIL, "s1", "down s1", "b1 b2", NULL},
                      {200, PASS, "s1", "up s1, held s1 5000", "b1 b2", "up up returning"},
                      {300, FAIL, "b1", "down b1, next b1", "- b2", "down up returning"},
                      {0},
                  });
    ck_assert(!atomic_load(&w.pool->members[2].server->usable));
    run_steps(&w, (const struct step[]){
                      {5199, WAIT, NULL, "", "- b2", NULL},
                      {5200, WAIT, NULL, "promotion b1 by s1", "s1 b2", "down up promoted"},
                      {6000, FAIL, "s1", "down s1, ended b1 by s1, next b1", "- b2", NULL},
                      {6100, PASS, "s1", "up s1, held s1 10000", "- b2", NULL},
                      {0},
                  });
    world_close(&w);
}
END_TEST

START_TEST(a_wait_outlasts_its_standby_while_another_server_can_serve)
{
    static const enum act outs[] = {FAIL, PASSIVE, DRAIN};
    struct world w;
    world_init(&w, 3, 2);
    add_for(&w, 0, 0);
    w.config.failback.after_ms = 5000;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "b1", NULL, "s1 b2 b3", NULL},
                 {200, PASS, "b1", "up b1, held b1 5000", "s1 b2 b3", NULL},
                 {300, outs[_i], "s1", NULL, "s2 b2 b3", NULL},
                 {5199, WAIT, NULL, "", "s2 b2 b3", NULL},
                 {5200, WAIT, NULL, NULL, "b1 b2 b3", NULL},
                 {0},
             });
}
END_TEST

START_TEST(a_wait_ends_when_its_standby_goes_out_and_nobody_else_may_serve)
{
    static const enum act outs[] = {FAIL, PASSIVE, DRAIN};
    struct world w;
    world_init(&w, 3, 1);
    w.config.failback.after_ms = 5000;
    w.config.when_down = WHEN_DOWN_FAIL;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "b1", NULL, "s1 b2 b3", NULL},
                 {200, PASS, "b1", "up b1, held b1 5000", "s1 b2 b3", NULL},
                 {300, outs[_i], "s1", NULL, "b1 b2 b3", NULL},
                 {0},
             });
}
END_TEST

START_TEST(a_wait_ends_when_nobody_else_serves)
{
    struct world w;
    world_init(&w, 2, 0);
    w.config.failback.after_ms = 5000;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "b1", "down b1, next b1", "- b2", NULL},
                 {200, PASS, "b1", "up b1, held b1 5000", "- b2", "returning up"},
                 {300, FAIL, "b2", "down b2, failback b1, next b2", "b1 -", "up down"},
                 {400, FAIL, "b1", "down b1, next b1", "- -", "down down"},
                 {500, PASS, "b2", "up b2, failback b2", "- b2", "down up"},
                 {0},
             });
}
END_TEST

START_TEST(without_next_owners_a_backend_without_a_standby_does_not_wait)
{
    struct world w;
    world_init(&w, 3, 1);
    w.config.failback.after_ms = 5000;
    w.config.when_down = WHEN_DOWN_FAIL;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "s1", NULL, "b1 b2 b3", NULL},
                 {200, FAIL, "b1", "down b1, next b1", "- b2 b3", NULL},
                 {300, PASS, "b1", "up b1, failback b1", "b1 b2 b3", "up up up down"},
                 /* nor does a standby that alone could serve */
                 {400, FAIL, "b2", NULL, "b1 - b3", NULL},
                 {500, PASS, "s1", "up s1, promotion b2 by s1", "b1 s1 b3", "up down up promoted"},
                 {600, PASS, "b2", "up b2, held b2 5000", "b1 s1 b3", NULL},
                 {0},
             });
}
END_TEST

START_TEST(a_standby_that_frees_another_does_not_wait_either)
{
    /* s1 is for b1 and b2, s2 for one of them alone and waits. When both fail, s1 gets the one that
     * it prefers: in one of the two cases that is the one s2 could have, and s2 is needed though
     * the backend it is for is served. */
    struct world w;
    world_init(&w, 3, 2);
    add_for(&w, 0, 0);
    add_for(&w, 0, 1);
    add_for(&w, 1, (unsigned)_i);
    w.config.failback.after_ms = 5000;
    w.config.when_down = WHEN_DOWN_FAIL;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "s2", NULL, "b1 b2 b3", NULL},
                 {200, FAIL, "b1", NULL, "s1 b2 b3", NULL},
                 {300, PASS, "s2", "up s2, held s2 5000", "s1 b2 b3", NULL},
                 {400, FAIL, "b2", NULL, _i ? "s1 s2 b3" : "s2 s1 b3",
                  "down down up promoted promoted"},
                 {0},
             });
}
END_TEST

START_TEST(a_standby_that_is_not_needed_waits)
{
    /* Both standbys wait and could serve b1: only the one that the rule prefers is called. */
    struct world w;
    world_init(&w, 2, 2);
    add_for(&w, 0, 0);
    w.config.failback.after_ms = 5000;
    w.config.when_down = WHEN_DOWN_FAIL;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "s1", NULL, NULL, NULL},
                 {100, FAIL, "s2", NULL, NULL, NULL},
                 {200, PASS, "s1", "up s1, held s1 5000", NULL, NULL},
                 {200, PASS, "s2", "up s2, held s2 5000", NULL, NULL},
                 {300, FAIL, "b1", "down b1, promotion b1 by s1", "s1 b2",
                  "down up promoted returning"},
                 {5200, WAIT, NULL, "", "s1 b2", "down up promoted standby"},
                 {0},
             });
}
END_TEST

/* ---- when_all_down: try ---- */

static void world_try(struct world *w, unsigned nbackends, unsigned nstandbys)
{
    world_init(w, nbackends, nstandbys);
    w->config.when_all_down = WHEN_ALL_DOWN_TRY;
}

START_TEST(when_all_are_down_all_are_tried)
{
    struct world w;
    world_try(&w, 3, 1);
    w.config.failback.after_ms = 5000;
    w.config.when_down = _i ? WHEN_DOWN_FAIL : WHEN_DOWN_NEXT;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "b1", "down b1, promotion b1 by s1", "s1 b2 b3", NULL},
                 {200, FAIL, "s1", "down s1, ended b1 by s1, next b1", "- b2 b3", NULL},
                 {300, FAIL, "b2", "down b2, next b2", "- - b3", "down down up down"},
                 {400, FAIL, "b3", "down b3, all down", "b1 b2 b3", "down down down down"},
                 {500, FAIL, "b1", "", "b1 b2 b3", "down down down down"},
                 {510, PASSIVE, "b1", "", "b1 b2 b3", "down down down down"},
                 {600, PASS, "b2", "up b2, all down ended, next b1, next b3", "- b2 -",
                  "down up down down"},
                 {700, FAIL, "b2", "down b2, all down", "b1 b2 b3", NULL},
                 {800, PASS, "s1", NULL, NULL, "down down down promoted"},
                 {0},
             });
}
END_TEST

START_TEST(without_when_all_down_nobody_is_tried)
{
    struct world w;
    world_init(&w, 2, 1);
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "b1", NULL, "s1 b2", NULL},
                 {200, FAIL, "s1", NULL, "- b2", NULL},
                 {300, FAIL, "b2", "down b2, next b2", "- -", "down down down"},
                 {0},
             });
}
END_TEST

START_TEST(a_pool_can_begin_with_all_down)
{
    struct world w;
    world_try(&w, 2, 0);
    play(&w, (const struct step[]){
                 {0, DOWN1, "b1", NULL, NULL, NULL},
                 {0, DOWN1, "b2", NULL, NULL, NULL},
                 {0, START, NULL, "down b1, down b2, all down", "b1 b2", "down down"},
                 {100, PASS, "b1", "up b1, all down ended, next b2", "b1 -", "up down"},
                 {0},
             });
}
END_TEST

START_TEST(the_only_backend_keeps_its_keys)
{
    struct world w;
    world_try(&w, 1, 0);
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "b1", "down b1, all down", "b1", "down"},
                 {200, PASS, "b1", "up b1, all down ended", "b1", "up"},
                 {300, DRAIN, "b1", "drained b1, next b1", "-", "draining"},
                 {400, FAIL, "b1", "down b1", "-", "draining"}, /* the operator's word stands */
                 {500, ENABLE, "b1", "enabled b1, all down", "b1", "down"},
                 {0},
             });
}
END_TEST

START_TEST(a_drained_server_is_not_tried)
{
    struct world w;
    world_try(&w, 2, 1);
    add_for(&w, 0, 0);
    w.config.failback.ramp_ms = 1000;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, DRAIN, "b1", "drained b1, promotion b1 by s1", "s1 b2", NULL},
                 {200, FAIL, "b2", "down b2, next b2", "s1 -", NULL},
                 {300, FAIL, "s1", "down s1, all down", "s1 b2", "draining down down"},
                 {400, ENABLE, "b1", "enabled b1, all down ended, failback b1 by s1, next b2",
                  "b1 -", "up down down"},
                 {0},
             });
}
END_TEST

START_TEST(keys_go_home_at_once_when_all_are_down)
{
    struct world w;
    world_try(&w, 2, 1);
    add_for(&w, 0, 0);
    w.config.failback.ramp_ms = 1000;
    w.config.failback.after_ms = 200;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "b1", NULL, "s1 b2", NULL},
                 {200, FAIL, "b2", NULL, "s1 -", NULL},
                 {300, FAIL, "s1", "down s1, all down", "b1 b2", "down down down"},
                 /* The first that comes back does not wait, as nobody else serves; the next one
                  * does. */
                 {400, PASS, "b1", "up b1, all down ended, next b2", "b1 -", "up down down"},
                 {500, PASS, "b2", "up b2, held b2 200", "b1 -", "up returning down"},
                 {699, WAIT, NULL, "", "b1 -", NULL},
                 {700, WAIT, NULL, "failback b2", "b1 b2", "up up down"},
                 {0},
             });
}
END_TEST

START_TEST(who_returns_while_all_are_down_is_used_for_further_tries_at_once)
{
    static const uint16_t tried[] = {0};
    struct world w;
    struct pool_view v = {0};
    const struct pool_member *m;
    const struct pool_request again = {.tried = tried, .ntried = 1};
    world_try(&w, 1, 1);
    w.config.when_all_down = _i ? WHEN_ALL_DOWN_TRY : WHEN_ALL_DOWN_REFUSE;
    world_open(&w);
    roster_start(w.roster, 1);
    roster_check(w.roster, 1, false, "x", 2, 2);
    ck_assert_int_eq(pool_acquire(w.pool, &v, &again, &m), POOL_NONE_LIVE);
    roster_check(w.roster, _i ? 0 : 1, _i == 0, "x", 3, 3); /* b1 goes down too, or s1 returns */
    ck_assert_int_eq(pool_acquire(w.pool, &v, &again, &m), POOL_OK);
    ck_assert_uint_eq(m->id, 1);
    pool_release(w.pool, m->server);
    pool_view_deinit(&v);
    world_close(&w);
}
END_TEST

START_TEST(a_server_without_an_address_is_not_tried)
{
    struct world w;
    world_try(&w, 2, 0);
    w.backends[0].address = (struct addr){0}; /* by name */
    play(&w, (const struct step[]){
                 {0, DOWN1, "b1", NULL, NULL, NULL},
                 {0, START, NULL, "down b1, next b1", "- b2", NULL},
                 {100, FAIL, "b2", "down b2, all down", "- b2", "down down"},
                 {0},
             });
}
END_TEST

START_TEST(each_time_that_all_are_down_is_counted)
{
    struct world w;
    world_try(&w, 1, 0);
    world_open(&w);
    roster_start(w.roster, 1);
    for (unsigned i = 1; i <= 3; i++) {
        roster_check(w.roster, 0, false, "x", 2 * i, 2 * i);
        ck_assert(roster_all_down(w.roster));
        w.nnotices = 0;
        world_reload(&w); /* is not once more */
        ck_assert(roster_all_down(w.roster));
        ck_assert_uint_eq(atomic_load(&w.pool->totals->all_down), i);
        roster_check(w.roster, 0, true, "x", 2 * i + 1, 2 * i + 1);
        ck_assert(!roster_all_down(w.roster));
    }
    ck_assert_uint_eq(atomic_load(&w.pool->totals->failovers), 0);
    world_close(&w);
}
END_TEST

/* ---- manual ---- */

START_TEST(manual_holds_until_an_operator_gives_the_points_back)
{
    struct world w;
    world_init(&w, 2, 1);
    w.config.failback.after_ms = 5000;
    w.config.failback.manual = true;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "b1", NULL, "s1 b2", NULL},
                 {150, BACK_409, "b1", "", "s1 b2", "down up promoted"},
                 {200, PASS, "b1", "up b1, held b1 5000", "s1 b2", "returning up promoted"},
                 {5200, WAIT, NULL, "held b1 0", "s1 b2", "returning up promoted"},
                 {999999, WAIT, NULL, "", "s1 b2", "returning up promoted"},
                 {999999, BACK, "b1", "failback b1 by s1", "b1 b2", "up up standby"},
                 {999999, BACK, "b1", "", "b1 b2", "up up standby"},
                 {0},
             });
}
END_TEST

START_TEST(manual_holds_even_if_down_at_the_first_check)
{
    struct world w;
    world_init(&w, 2, 1);
    w.config.failback.after_ms = 5000;
    w.config.failback.manual = true;
    play(&w, (const struct step[]){
                 {0, DOWN1, "b1", NULL, NULL, NULL},
                 {0, START, NULL, NULL, "s1 b2", NULL},
                 {200, PASS, "b1", "up b1, held b1 0", "s1 b2", "returning up promoted"},
                 {300, FAIL, "s1", "down s1, failback b1 by s1", "b1 b2", "up up down"},
                 {0},
             });
}
END_TEST

START_TEST(manual_without_a_standby_returns_by_itself)
{
    struct world w;
    world_init(&w, 2, 0);
    w.config.failback.after_ms = 5000;
    w.config.failback.manual = true;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "b1", NULL, "- b2", NULL},
                 {200, PASS, "b1", "up b1, held b1 5000", "- b2", "returning up"},
                 {5200, WAIT, NULL, "failback b1", "b1 b2", "up up"},
                 {0},
             });
}
END_TEST

START_TEST(manual_ends_when_the_standby_serves_another)
{
    /* s1 prefers one of the two; the other is held when it takes that. */
    struct world w;
    world_init(&w, 3, 1);
    const char *liked = "b1", *other = "b2";
    if (hash_pair(STR("b2"), STR("s1")) > hash_pair(STR("b1"), STR("s1")))
        liked = "b2", other = "b1";
    bool first = other[1] == '1';
    w.config.failback.manual = true;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, other, NULL, first ? "s1 b2 b3" : "b1 s1 b3", NULL},
                 {200, PASS, other, NULL, first ? "s1 b2 b3" : "b1 s1 b3", NULL},
                 {300, FAIL, liked, NULL, first ? "b1 s1 b3" : "s1 b2 b3",
                  first ? "up down up promoted" : "down up up promoted"},
                 {0},
             });
}
END_TEST

START_TEST(manual_goes_on_with_another_standby_while_the_first_is_in_service)
{
    /* s2 serves b1; then s1, which is for b1 alone, comes back and takes over by the rule: b1 is
     * still held. When s1 itself goes out, b1 returns though s2 could serve it. */
    struct world w;
    world_init(&w, 2, 2);
    add_for(&w, 0, 0);
    w.config.failback.manual = true;
    play(&w,
         (const struct step[]){
             STARTED,
             {100, FAIL, "s1", NULL, NULL, NULL},
             {200, FAIL, "b1", NULL, "s2 b2", NULL},
             {300, PASS, "b1", "up b1, held b1 0", "s2 b2", NULL},
             {400, PASS, "s1", "up s1, ended b1 by s2, promotion b1 by s1", "s1 b2",
              "returning up promoted standby"},
             {500, DRAIN, "s1", "drained s1, failback b1 by s1", "b1 b2", "up up draining standby"},
             {0},
         });
}
END_TEST

/* ---- operators ---- */

START_TEST(a_drained_server_is_out_until_enabled)
{
    struct world w;
    world_init(&w, 2, 1);
    w.config.failback.after_ms = 5000;
    w.config.failback.manual = true;
    world_open(&w);
    run_steps(&w, (const struct step[]){
                      STARTED,
                      {100, DRAIN, "b1", "drained b1, promotion b1 by s1", "s1 b2",
                       "draining up promoted"},
                      {110, DRAIN, "b1", "", "s1 b2", NULL},
                      {120, PASS, "b1", "", "s1 b2", NULL},
                      {0},
                  });
    ck_assert(!atomic_load(&w.pool->members[0].server->usable));
    run_steps(
        &w, (const struct step[]){
                {200, ENABLE, "b1", "enabled b1, failback b1 by s1", "b1 b2", "up up standby"},
                {210, ENABLE, "b1", "", "b1 b2", NULL},
                {300, DRAIN, "s1", "drained s1", "b1 b2", "up up draining"},
                {310, FAIL, "b1", "down b1, next b1", "- b2", "down up draining"},
                {320, ENABLE, "s1", "enabled s1, promotion b1 by s1", "s1 b2", "down up promoted"},
                {0},
            });
    world_close(&w);
}
END_TEST

START_TEST(drained_and_down_at_once)
{
    struct world w;
    world_init(&w, 2, 1);
    w.config.failback.after_ms = 5000;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, DRAIN, "b1", NULL, "s1 b2", NULL},
                 {200, FAIL, "b1", "down b1", "s1 b2", "draining up promoted"},
                 {210, BACK_409, "b1", "", "s1 b2", "draining up promoted"},
                 /* enabled while down: the checks decide, and it waits as usual */
                 {220, ENABLE, "b1", "enabled b1", "s1 b2", "down up promoted"},
                 {230, PASS, "b1", "up b1, held b1 5000", "s1 b2", "returning up promoted"},
                 /* drained while it waits: the end of the wait does not put it back */
                 {300, DRAIN, "b1", "drained b1", "s1 b2", "draining up promoted"},
                 {9000, WAIT, NULL, "", "s1 b2", "draining up promoted"},
                 {9001, ENABLE, "b1", "enabled b1, failback b1 by s1", "b1 b2", "up up standby"},
                 /* up again while drained: no wait is left when it is enabled */
                 {9100, DRAIN, "b1", NULL, NULL, NULL},
                 {9200, FAIL, "b1", NULL, NULL, NULL},
                 {9300, PASS, "b1", "up b1", "s1 b2", "draining up promoted"},
                 {9400, ENABLE, "b1", "enabled b1, failback b1 by s1", "b1 b2", "up up standby"},
                 {0},
             });
}
END_TEST

START_TEST(enable_and_failback_end_a_wait)
{
    struct world w;
    world_init(&w, 2, 1);
    w.config.failback.after_ms = 5000;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "b1", NULL, "s1 b2", NULL},
                 {200, PASS, "b1", NULL, "s1 b2", NULL},
                 {300, ENABLE, "b1", "enabled b1, failback b1 by s1", "b1 b2", NULL},
                 {400, FAIL, "b1", NULL, "s1 b2", NULL},
                 {500, PASS, "b1", "up b1, held b1 10000", "s1 b2", NULL},
                 {600, BACK, "b1", "failback b1 by s1", "b1 b2", "up up standby"},
                 {700, FAIL, "s1", NULL, NULL, NULL},
                 {800, BACK_409, "s1", "", NULL, NULL},
                 {900, PASS, "s1", "up s1, held s1 5000", NULL, "up up returning"},
                 {950, BACK, "s1", "", NULL, "up up standby"},
                 {0},
             });
}
END_TEST

START_TEST(failback_puts_a_drained_server_back)
{
    struct world w;
    world_init(&w, 2, 1);
    w.config.failback.ramp_ms = 1000;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, DRAIN, "b1", NULL, "s1 b2", NULL},
                 {200, BACK, "b1", "enabled b1, failback b1 by s1", "b1 b2", "up up standby"},
                 {0},
             });
}
END_TEST

/* ---- live traffic ---- */

START_TEST(live_traffic_takes_a_server_down_and_checks_bring_it_back)
{
    struct world w;
    world_init(&w, 2, 1);
    w.config.health.rise = 2;
    world_open(&w);
    atomic_store(&w.pool->members[0].server->failures, 5);
    run_steps(&w, (const struct step[]){
                      STARTED,
                      {100, PASSIVE, "b1", "down b1, promotion b1 by s1", "s1 b2", NULL},
                      {110, PASSIVE, "b1", "", "s1 b2", NULL},
                      {200, PASS, "b1", "", "s1 b2", "down up promoted"},
                      {300, FAIL, "b1", "", "s1 b2", NULL},
                      {400, PASS, "b1", "", "s1 b2", NULL},
                      {500, PASS, "b1", "up b1, failback b1 by s1", "b1 b2", NULL},
                      {0},
                  });
    ck_assert_uint_eq(atomic_load(&w.pool->members[0].server->failures), 0);
    world_close(&w);
}
END_TEST

START_TEST(without_checks_live_failures_end_after_one_interval)
{
    struct world w;
    world_init(&w, 2, 1);
    w.config.health.check = CHECK_OFF;
    w.config.failback.after_ms = 500;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, PASSIVE, "b1", "down b1, promotion b1 by s1", "s1 b2", NULL},
                 {2099, WAIT, NULL, "", "s1 b2", "down up promoted"},
                 {2100, WAIT, NULL, "up b1, held b1 500", "s1 b2", "returning up promoted"},
                 {2600, WAIT, NULL, "failback b1 by s1", "b1 b2", "up up standby"},
                 {2700, PASSIVE, "b1", "down b1, promotion b1 by s1", "s1 b2", NULL},
                 {4700, WAIT, NULL, "up b1, held b1 1000", "s1 b2", NULL},
                 {0},
             });
}
END_TEST

START_TEST(without_checks_and_address_a_server_is_down_until_it_has_one)
{
    struct world w;
    world_init(&w, 2, 1);
    w.config.health.check = CHECK_OFF;
    w.config.failback.after_ms = 500;
    play(&w, (const struct step[]){
                 {1, DOWN1, "b1", "", NULL, NULL},
                 {2, START, NULL, "down b1, promotion b1 by s1", "s1 b2", "down up promoted"},
                 {9000, WAIT, NULL, "", "s1 b2", "down up promoted"},
                 {9001, FAIL, "b1", "", "s1 b2", NULL}, /* looked up in vain */
                 {9002, PASSIVE, "b1", "", "s1 b2", NULL},
                 {15000, WAIT, NULL, "", "s1 b2", "down up promoted"},
                 {15001, RESOLVED, "b1", "up b1, failback b1 by s1", "b1 b2", "up up standby"},
                 {15002, RESOLVED, "b1", "", "b1 b2", NULL},
                 /* from then on it is a server like any other: this is a relapse */
                 {16000, PASSIVE, "b1", "down b1, promotion b1 by s1", "s1 b2", NULL},
                 {16001, RESOLVED, "b1", "", "s1 b2", "down up promoted"},
                 {18000, WAIT, NULL, "up b1, held b1 1000", "s1 b2", NULL},
                 {0},
             });
}
END_TEST

START_TEST(with_checks_an_address_alone_brings_nothing_up)
{
    struct world w;
    world_init(&w, 2, 1);
    play(&w, (const struct step[]){
                 {1, DOWN1, "b1", "", NULL, NULL},
                 {2, START, NULL, "down b1, promotion b1 by s1", "s1 b2", "down up promoted"},
                 {3, RESOLVED, "b1", "", "s1 b2", "down up promoted"},
                 {4, RESOLVED, "b2", "", "s1 b2", NULL},
                 {5, PASS, "b1", "up b1, failback b1 by s1", "b1 b2", NULL},
                 {0},
             });
}
END_TEST

START_TEST(the_reason_says_what_took_it_down)
{
    struct world w;
    world_init(&w, 2, 0);
    world_open(&w);
    roster_start(w.roster, 0);
    roster_passive_down(w.roster, 1, 5);
    ck_assert_str_eq(w.reason, "5 failures of live traffic in a row");
    roster_check(w.roster, 0, false, "connection refused", 6, 6);
    ck_assert_str_eq(w.reason, "connection refused");
    world_close(&w);
}
END_TEST

/* ---- suspicion ---- */

/* Three backends with a check that looks at answers, and takes a server down by three failures. */
static void suspicious_world(struct world *w, unsigned nbackends, unsigned nstandbys)
{
    world_init(w, nbackends, nstandbys);
    w->config.health.check = CHECK_HTTP;
    w->config.health.fall = 3;
}

START_TEST(one_failed_check_of_a_suspect_server_takes_it_down)
{
    struct world w;
    suspicious_world(&w, 3, 0);
    world_open(&w);
    atomic_store(&w.pool->members[0].server->failures, UINT64_C(5) << 32);
    suspicions_note(&w.pool->members[0].server->suspicions, BLAME_MALFORMED, 90);
    run_steps(&w,
              (const struct step[]){
                  STARTED,
                  {100, SUSPECT, "b1", "", "b1 b2 b3", NULL},
                  {101, VERDICT_FAIL, "b1", "suspected b1 1, down b1, next b1", "- b2 b3", NULL},
                  {102, UNSUSPECT, "b1", "", "- b2 b3", NULL},
                  {0},
              });
    ck_assert_str_eq(w.reason, "checked, asked for by live traffic (malformed)");
    ck_assert_int_eq(roster_suspicion(w.roster, 0), ROSTER_CONFIRMED);
    ck_assert_uint_eq(atomic_load(&w.pool->members[0].server->suspicions.failed), 1);
    world_close(&w);
}
END_TEST

START_TEST(a_passed_check_of_a_suspect_server_starts_the_count_again)
{
    struct world w;
    suspicious_world(&w, 2, 0);
    world_open(&w);
    struct server *s = w.pool->members[0].server;
    atomic_store(&s->failures, UINT64_C(5) << 32);
    run_steps(&w, (const struct step[]){
                      STARTED,
                      {100, SUSPECT, "b1", "", "b1 b2", NULL},
                      {101, VERDICT_PASS, "b1", "suspected b1 passed 1", "b1 b2", "up up"},
                      /* the next failed checks are like any others */
                      {102, FAIL, "b1", "", "b1 b2", "up up"},
                      {103, VERDICT_FAIL, "b1", "", "b1 b2", "up up"},
                      {0},
                  });
    ck_assert_uint_eq(atomic_load(&s->failures), 0);
    ck_assert_uint_eq(atomic_load(&s->suspicions.passed), 1);
    ck_assert_int_eq(roster_suspicion(w.roster, 0), ROSTER_CLEARED);
    world_close(&w);
}
END_TEST

START_TEST(a_check_from_before_the_suspicion_may_confirm_it_but_does_not_clear_it)
{
    struct world w;
    suspicious_world(&w, 2, 0);
    play(&w, (const struct step[]){
                 STARTED,
                 {100, SUSPECT, "b1", "", "b1 b2", NULL},
                 {101, PASS, "b1", "", "b1 b2", NULL},
                 {102, SUSPECT, "b1", "", "b1 b2", NULL},
                 {103, FAIL, "b1", "suspected b1 1, down b1, next b1", "- b2", "down up"},
                 {0},
             });
}
END_TEST

START_TEST(without_a_check_that_looks_at_answers_none_is_asked_for)
{
    static const enum config_check checks[] = {CHECK_TCP, CHECK_OFF};
    struct world w;
    world_init(&w, 2, 0);
    w.config.health.check = checks[_i];
    play(&w, (const struct step[]){
                 STARTED,
                 {100, UNSUSPECT, "b1", "", "b1 b2", NULL},
                 {0},
             });
}
END_TEST

START_TEST(live_traffic_never_takes_the_last_server_out)
{
    struct world w;
    suspicious_world(&w, 2, 1);
    world_open(&w);
    struct server *s = w.pool->members[1].server;
    atomic_store(&s->failures, 5);
    run_steps(&w, (const struct step[]){
                      STARTED,
                      {100, PASSIVE, "b1", "down b1, promotion b1 by s1", "s1 b2", NULL},
                      {110, DRAIN, "s1", NULL, "- b2", NULL},
                      {120, PASSIVE, "b2", "spared b2 1", "- b2", "down up draining"},
                      {130, SUSPECT, "b2", "", "- b2", NULL},
                      {140, VERDICT_FAIL, "b2", "suspected b2 1", "- b2", "down up draining"},
                      {150, FAIL, "b2", "", "- b2", NULL},
                      /* three checks in a row do */
                      {160, FAIL, "b2", "down b2, next b2", "- -", "down down draining"},
                      {0},
                  });
    ck_assert_uint_eq(atomic_load(&s->failures), 0); /* so that it is told again */
    world_close(&w);
}
END_TEST

START_TEST(a_server_that_waits_is_another_server)
{
    struct world w;
    world_init(&w, 2, 0);
    w.config.failback.after_ms = 5000;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, PASSIVE, "b1", "down b1, next b1", "- b2", NULL},
                 {110, PASSIVE, "b2", "spared b2 1", "- b2", NULL},
                 {200, PASS, "b1", "up b1, held b1 5000", "- b2", NULL},
                 {210, PASSIVE, "b2", "down b2, failback b1, next b2", "b1 -", "up down"},
                 {0},
             });
}
END_TEST

START_TEST(what_traffic_can_cause_is_told_now_and_then)
{
    struct world w;
    suspicious_world(&w, 2, 0);
    play(&w, (const struct step[]){
                 STARTED,
                 {100, SUSPECT, "b1", "", NULL, NULL},
                 {100, VERDICT_PASS, "b1", "suspected b1 passed 1", NULL, NULL},
                 {200, SUSPECT, "b1", "", NULL, NULL},
                 {200, VERDICT_PASS, "b1", "", NULL, NULL},
                 {10099, SUSPECT, "b1", "", NULL, NULL},
                 {10099, VERDICT_PASS, "b1", "", NULL, NULL},
                 {10100, SUSPECT, "b1", "", NULL, NULL},
                 {10100, VERDICT_PASS, "b1", "suspected b1 passed 3", NULL, NULL},
                 {10101, SUSPECT, "b2", "", NULL, NULL},
                 {10101, VERDICT_PASS, "b2", "suspected b2 passed 1", NULL, NULL},
                 /* that one goes down is always told */
                 {10102, SUSPECT, "b1", "", NULL, NULL},
                 {10102, VERDICT_FAIL, "b1", "suspected b1 1, down b1, next b1", "- b2", NULL},
                 {10103, PASSIVE, "b2", "spared b2 1", NULL, NULL},
                 {10104, PASSIVE, "b2", "", NULL, NULL},
                 {20103, PASSIVE, "b2", "spared b2 2", "- b2", NULL},
                 {0},
             });
}
END_TEST

/* ---- ramps ---- */

START_TEST(a_ramp_brings_the_keys_back_step_by_step)
{
    struct world w;
    world_init(&w, 2, 1);
    w.config.failback.ramp_ms = 65536;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "b1", NULL, "s1 b2", NULL},
                 {1000, PASS, "b1", "up b1, ramp b1 by s1", "b1<s1:0 b2", "returning up promoted"},
                 {1255, WAIT, NULL, "", "b1<s1:0 b2", NULL},
                 {1256, WAIT, NULL, "", "b1<s1:256 b2", NULL},
                 {33768, WAIT, NULL, "", "b1<s1:32768 b2", "returning up promoted"},
                 {66535, WAIT, NULL, "", "b1<s1:65280 b2", NULL},
                 {66536, WAIT, NULL, "failback b1 by s1", "b1 b2", "up up standby"},
                 {0},
             });
}
END_TEST

START_TEST(a_short_ramp_steps_every_10_ms)
{
    struct world w;
    world_init(&w, 2, 1);
    w.config.failback.ramp_ms = 25;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "b1", NULL, "s1 b2", NULL},
                 {100, PASS, "b1", NULL, "b1<s1:0 b2", NULL},
                 {109, WAIT, NULL, "", "b1<s1:0 b2", NULL},
                 {110, WAIT, NULL, "", "b1<s1:26214 b2", NULL},
                 {124, WAIT, NULL, "", "b1<s1:52428 b2", NULL},
                 {125, WAIT, NULL, "failback b1 by s1", "b1 b2", "up up standby"},
                 {0},
             });
}
END_TEST

START_TEST(only_a_promoted_standby_hands_back_in_a_ramp)
{
    struct world w;
    world_init(&w, 2, 0);
    w.config.failback.ramp_ms = 1000;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "b1", NULL, "- b2", NULL},
                 {200, PASS, "b1", "up b1, failback b1", "b1 b2", "up up"},
                 {0},
             });
}
END_TEST

START_TEST(a_ramp_follows_the_wait_the_hold_and_a_drain)
{
    struct world w;
    world_init(&w, 2, 1);
    w.config.failback.ramp_ms = 1000;
    w.config.failback.after_ms = 500;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "b1", NULL, "s1 b2", NULL},
                 {100, PASS, "b1", NULL, "s1 b2", NULL},
                 {600, WAIT, NULL, "ramp b1 by s1", "b1<s1:0 b2", NULL},
                 {1600, WAIT, NULL, "failback b1 by s1", "b1 b2", NULL},
                 {2000, DRAIN, "b1", NULL, "s1 b2", NULL},
                 {2100, ENABLE, "b1", "enabled b1, ramp b1 by s1", "b1<s1:0 b2",
                  "returning up promoted"},
                 {2600, ENABLE, "b1", "", "b1<s1:32768 b2", NULL},
                 {3100, WAIT, NULL, "failback b1 by s1", "b1 b2", NULL},
                 {0},
             });
}
END_TEST

START_TEST(the_rest_of_a_ramp_returns_at_once_if_the_standby_goes_out)
{
    static const enum act outs[] = {FAIL, PASSIVE, DRAIN};
    struct world w;
    world_init(&w, 2, 2);
    add_for(&w, 0, 0);
    w.config.failback.ramp_ms = 1000;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "b1", NULL, "s1 b2", NULL},
                 {100, PASS, "b1", NULL, "b1<s1:0 b2", NULL},
                 {500, outs[_i], "s1", NULL, "b1 b2", NULL},
                 {0},
             });
}
END_TEST

START_TEST(the_rest_of_a_ramp_returns_at_once_if_the_standby_is_needed_elsewhere)
{
    struct world w;
    world_init(&w, 2, 1);
    w.config.failback.ramp_ms = 1000;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "b1", NULL, "s1 b2", NULL},
                 {100, PASS, "b1", NULL, "b1<s1:0 b2", NULL},
                 {500, FAIL, "b2", "down b2, failback b1 by s1, promotion b2 by s1", "b1 s1",
                  "up down promoted"},
                 {2000, WAIT, NULL, "", "b1 s1", NULL},
                 {0},
             });
}
END_TEST

START_TEST(no_ramp_from_a_standby_that_is_needed_elsewhere)
{
    /* b1 and b2 are down, s1 serves one of them: when that returns, the other gets s1 at once. */
    struct world w;
    world_init(&w, 3, 1);
    const char *liked =
        hash_pair(STR("b2"), STR("s1")) > hash_pair(STR("b1"), STR("s1")) ? "b2" : "b1";
    bool first = liked[1] == '1';
    w.config.failback.ramp_ms = 1000;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "b1", NULL, NULL, NULL},
                 {100, FAIL, "b2", NULL, first ? "s1 - b3" : "- s1 b3", NULL},
                 {500, PASS, liked,
                  first ? "up b1, failback b1 by s1, promotion b2 by s1"
                        : "up b2, failback b2 by s1, promotion b1 by s1",
                  first ? "b1 s1 b3" : "s1 b2 b3", NULL},
                 {0},
             });
}
END_TEST

START_TEST(a_ramp_is_forgotten_if_the_backend_goes_out_again)
{
    static const enum act outs[] = {FAIL, PASSIVE, DRAIN};
    struct world w;
    world_init(&w, 2, 1);
    w.config.failback.ramp_ms = 1000;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "b1", NULL, "s1 b2", NULL},
                 {100, PASS, "b1", NULL, "b1<s1:0 b2", NULL},
                 {600, outs[_i], "b1", NULL, "s1 b2",
                  outs[_i] == DRAIN ? "draining up promoted" : "down up promoted"},
                 {3000, outs[_i] == DRAIN ? ENABLE : PASS, "b1", NULL, "b1<s1:0 b2",
                  "returning up promoted"},
                 {4000, WAIT, NULL, "failback b1 by s1", "b1 b2", "up up standby"},
                 {0},
             });
}
END_TEST

START_TEST(an_operator_skips_the_ramp)
{
    struct world w;
    world_init(&w, 2, 1);
    w.config.failback.ramp_ms = 1000;
    w.config.failback.manual = true;
    play(&w, (const struct step[]){
                 STARTED,
                 {100, FAIL, "b1", NULL, "s1 b2", NULL},
                 {200, PASS, "b1", "up b1, held b1 0", "s1 b2", NULL},
                 {300, BACK, "b1", "failback b1 by s1", "b1 b2", "up up standby"},
                 {400, FAIL, "b1", NULL, "s1 b2", NULL},
                 {500, PASS, "b1", NULL, "s1 b2", NULL},
                 {600, ENABLE, "b1", "enabled b1, ramp b1 by s1", "b1<s1:0 b2", NULL},
                 {700, BACK, "b1", "failback b1 by s1", "b1 b2", "up up standby"},
                 /* this once, not the next time */
                 {800, DRAIN, "b1", NULL, "s1 b2", NULL},
                 {900, ENABLE, "b1", "enabled b1, ramp b1 by s1", "b1<s1:0 b2", NULL},
                 {0},
             });
}
END_TEST

/* ---- what moved ---- */

/* The share that a server serves now, by count over the whole ring. */
static double share_of_slot(const struct world *w, unsigned slot)
{
    uint16_t own[MAX_SERVERS];
    uint64_t shares[MAX_SERVERS];
    for (unsigned b = 0; b < w->config.nbackends; b++)
        own[b] = (uint16_t)b;
    ring_shares(w->pool->ring, own, shares, w->config.nbackends);
    return (double)shares[slot] / (double)RING_SPACE;
}

static double told_moved(const struct world *w, enum roster_event event)
{
    for (unsigned i = 0; i < w->nnotices; i++)
        if (w->notices[i].event == event)
            return w->notices[i].moved;
    ck_abort_msg("not told");
    return 0;
}

START_TEST(a_failover_moves_exactly_the_share_of_the_failed_backend)
{
    struct world w;
    world_init(&w, 4, 1);
    w.config.failback.ramp_ms = 1000;
    world_open(&w);
    roster_start(w.roster, 0);
    double whole = share_of_slot(&w, 0);
    roster_check(w.roster, 0, false, "x", 10, 10);
    ck_assert_double_eq(told_moved(&w, ROSTER_SERVER_DOWN), -1);
    ck_assert_double_eq(told_moved(&w, ROSTER_PROMOTION), whole);
    w.nnotices = 0;
    roster_check(w.roster, 0, true, "x", 20, 20);
    ck_assert_double_eq(told_moved(&w, ROSTER_RAMP), whole);
    w.nnotices = 0;
    /* half of it is back when it fails again */
    roster_tick(w.roster, 520);
    roster_check(w.roster, 0, false, "x", 530, 530);
    ck_assert_double_eq(told_moved(&w, ROSTER_PROMOTION), whole / 2);
    roster_check(w.roster, 0, true, "x", 600, 600);
    w.nnotices = 0;
    roster_tick(w.roster, 1500);
    roster_tick(w.roster, 1600);
    ck_assert_double_eq(told_moved(&w, ROSTER_FAILBACK), whole);
    world_close(&w);
}
END_TEST

/* Who serves each of many keys now. */
#define SAMPLES 4096
static void sample(const struct world *w, uint16_t *who)
{
    for (uint64_t i = 0; i < SAMPLES; i++)
        who[i] = pool_find(w->pool, hash_key((struct str){(const char *)&i, sizeof i}));
}

START_TEST(the_share_told_is_the_share_of_keys_that_move)
{
    static uint16_t before[SAMPLES], after[SAMPLES];
    static const struct {
        unsigned server;
        bool ok;
        enum roster_event event;
    } steps[] = {
        {0, false, ROSTER_NEXT}, {1, false, ROSTER_NEXT},      {0, true, ROSTER_FAILBACK},
        {2, false, ROSTER_NEXT}, {3, false, ROSTER_PROMOTION}, {4, false, ROSTER_NEXT},
        {0, false, ROSTER_NEXT}, {2, true, ROSTER_FAILBACK},
    };
    struct world w;
    world_init(&w, 4, 1);
    add_for(&w, 0, 3);
    w.config.when_down = _i ? WHEN_DOWN_FAIL : WHEN_DOWN_NEXT;
    world_open(&w);
    roster_start(w.roster, 0);
    for (unsigned s = 0; s < sizeof steps / sizeof *steps; s++) {
        sample(&w, before);
        w.nnotices = 0;
        roster_check(w.roster, steps[s].server, steps[s].ok, "x", s, s);
        sample(&w, after);
        unsigned moved = 0;
        for (unsigned i = 0; i < SAMPLES; i++)
            moved += before[i] != after[i];
        double told = told_moved(&w, steps[s].event);
        ck_assert_double_eq_tol(told, (double)moved / SAMPLES, 0.04);
        ck_assert((moved == SAMPLES) == (told > 0.9999));
        if (_i)
            ck_assert_double_eq(told,
                                share_of_slot(&w, steps[s].server == 4 ? 3 : steps[s].server));
    }
    world_close(&w);
}
END_TEST

static double ring_share(const struct world *w, const uint16_t *before, const uint16_t *after)
{
    return (double)ring_moved(w->pool->ring, before, after) / (double)RING_SPACE;
}

START_TEST(of_several_changes_in_one_event_each_tells_its_own_share)
{
    struct world w;
    world_init(&w, 4, 1);
    world_open(&w);
    roster_start(w.roster, 0);
    unsigned liked = hash_pair(STR("b2"), STR("s1")) > hash_pair(STR("b1"), STR("s1"));
    unsigned other = !liked;
    uint16_t s1 = 4;
    uint16_t both[] = {s1, s1, 2, 3}, one[] = {s1, s1, 2, 3}, none[] = {0, 1, 2, 3};
    uint16_t back[] = {0, 1, 2, 3};
    /* other: its own -> s1; then s1 -> liked, and other has nobody */
    one[other] = RING_NONE;
    roster_check(w.roster, other, false, "x", 1, 1);
    w.nnotices = 0;
    roster_check(w.roster, liked, false, "x", 2, 2);
    none[other] = s1;
    ck_assert_double_eq(told_moved(&w, ROSTER_PROMOTION), ring_share(&w, none, both));
    ck_assert_double_eq(told_moved(&w, ROSTER_NEXT), ring_share(&w, both, one));
    /* liked comes back, s1 goes to other */
    w.nnotices = 0;
    roster_check(w.roster, liked, true, "x", 3, 3);
    none[other] = RING_NONE;
    back[other] = s1;
    ck_assert_double_eq(told_moved(&w, ROSTER_FAILBACK), ring_share(&w, one, none));
    ck_assert_double_eq(told_moved(&w, ROSTER_PROMOTION), ring_share(&w, none, back));
    world_close(&w);
}
END_TEST

START_TEST(every_promotion_and_every_walk_on_counts_as_a_failover)
{
    struct world w;
    world_init(&w, 3, 1);
    w.config.when_down = _i ? WHEN_DOWN_FAIL : WHEN_DOWN_NEXT;
    world_open(&w);
    roster_start(w.roster, 0);
    roster_check(w.roster, 0, false, "x", 1, 1);
    ck_assert_uint_eq(atomic_load(&w.pool->totals->failovers), 1);
    roster_check(w.roster, 3, false, "x", 2, 2);
    ck_assert_uint_eq(atomic_load(&w.pool->totals->failovers), _i ? 1 : 2);
    roster_check(w.roster, 3, true, "x", 3, 3);
    ck_assert_uint_eq(atomic_load(&w.pool->totals->failovers), _i ? 2 : 3);
    roster_check(w.roster, 0, true, "x", 4, 4);
    ck_assert_uint_eq(atomic_load(&w.pool->totals->failovers), _i ? 2 : 3);
    world_close(&w);
}
END_TEST

/* ---- anything at any time ---- */

struct random {
    uint64_t state;
};

static unsigned below(struct random *r, unsigned n)
{
    r->state = r->state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((r->state >> 33) % n);
}

static void random_world(struct world *w, struct random *r)
{
    static const uint64_t afters[] = {0, 700, 5000}, ramps[] = {0, 30, 4000};
    world_init(w, 1 + below(r, 6), below(r, 5));
    for (unsigned s = 0; s < w->config.nstandbys; s++)
        for (unsigned b = 0; b < w->config.nbackends && s % 2; b++)
            if (below(r, 2))
                add_for(w, s, b);
    w->config.when_down = below(r, 2) ? WHEN_DOWN_FAIL : WHEN_DOWN_NEXT;
    w->config.failback = (struct config_failback){.manual = below(r, 3) == 0,
                                                  .after_ms = afters[below(r, 3)],
                                                  .max_after_ms = 8000,
                                                  .ramp_ms = ramps[below(r, 3)]};
    w->config.when_all_down = below(r, 2) ? WHEN_ALL_DOWN_TRY : WHEN_ALL_DOWN_REFUSE;
    static const enum config_check checks[] = {CHECK_OFF, CHECK_TCP, CHECK_HTTP, CHECK_HTTP};
    w->config.health.check = checks[below(r, 4)];
    w->config.health.fall = 1 + below(r, 2);
    w->config.health.rise = 1 + below(r, 2);
    world_open(w);
}

/* Out, by what everybody can see: the states and, to tell a ramp from a wait, the owners. */
static bool seen_out(const struct world *w, unsigned id)
{
    enum roster_state s = roster_state(w->roster, id);
    if (roster_all_down(w->roster))
        return s == ROSTER_DRAINING;
    if (s == ROSTER_RETURNING)
        return id >= w->config.nbackends || pool_owner_of(w->pool, id).owner != id;
    return s == ROSTER_DOWN || s == ROSTER_DRAINING;
}

#define KEYS 128 /* looked at after every event */

struct seen {
    bool out[MAX_SERVERS];
    struct pool_owner owners[MAX_SERVERS];
    uint16_t who[KEYS];
    uint64_t waits_since[MAX_SERVERS]; /* 0: does not wait */
};

static uint64_t sample_hash(unsigned i)
{
    return hash_key((struct str){(const char *)&i, sizeof i});
}

static void look(const struct world *w, struct seen *s)
{
    for (unsigned i = 0; i < nservers(w); i++)
        s->out[i] = seen_out(w, i);
    for (unsigned b = 0; b < w->config.nbackends; b++)
        s->owners[b] = pool_owner_of(w->pool, b);
    for (unsigned i = 0; i < KEYS; i++)
        s->who[i] = pool_find(w->pool, sample_hash(i));
}

static void check_owners(const struct world *w, const struct seen *s)
{
    uint16_t expected[MAX_SERVERS];
    bool busy[MAX_SERVERS] = {false};
    failover_owners(w->pool->failover, s->out, expected);
    for (unsigned b = 0; b < w->config.nbackends; b++) {
        ck_assert_uint_eq(s->owners[b].owner, expected[b]);
        ck_assert_uint_eq(w->by_notices[b], expected[b]);
        unsigned both[] = {s->owners[b].owner, s->owners[b].from};
        for (unsigned k = 0; k < 2; k++) {
            if (both[k] == SERVER_NONE)
                continue;
            ck_assert(!s->out[both[k]] && !busy[both[k]]);
            busy[both[k]] = true;
        }
        if (s->owners[b].from != SERVER_NONE)
            ck_assert(s->owners[b].owner == b && s->owners[b].share < 65536);
    }
}

static void check_usable(const struct world *w, const struct seen *s)
{
    for (unsigned i = 0; i < nservers(w); i++) {
        enum roster_state st = roster_state(w->roster, i);
        bool usable = atomic_load(&w->pool->members[i].server->usable);
        if (roster_all_down(w->roster)) {
            ck_assert_int_eq(usable, !s->out[i]);
            continue;
        }
        ck_assert_int_eq(usable, i < w->config.nbackends
                                     ? st != ROSTER_DOWN && st != ROSTER_DRAINING
                                     : !s->out[i]);
    }
}

/* All are tried only while none is in service and one is down that no operator took out. A server
 * whose name is not resolved is never tried; in these worlds there are none. */
static void check_all_down(const struct world *w)
{
    bool any_in = false, any_down = false;
    for (unsigned i = 0; i < nservers(w); i++) {
        enum roster_state st = roster_state(w->roster, i);
        any_in |= st != ROSTER_DOWN && st != ROSTER_DRAINING;
        any_down |= st == ROSTER_DOWN;
    }
    ck_assert_int_eq(roster_all_down(w->roster),
                     w->config.when_all_down == WHEN_ALL_DOWN_TRY && !any_in && any_down);
}

/* A backend waits only while another server can serve its keys, and never longer than max_after. */
static void check_waits(const struct world *w, struct seen *s)
{
    bool anyone = false;
    for (unsigned b = 0; b < w->config.nbackends; b++)
        anyone |= s->owners[b].owner != SERVER_NONE;
    anyone &= w->config.when_down == WHEN_DOWN_NEXT;
    for (unsigned i = 0; i < nservers(w); i++) {
        bool backend = i < w->config.nbackends;
        if (roster_state(w->roster, i) != ROSTER_RETURNING || !s->out[i]) {
            s->waits_since[i] = 0;
            continue;
        }
        if (s->waits_since[i] == 0)
            s->waits_since[i] = w->now_ms;
        if (backend)
            ck_assert(anyone || s->owners[i].owner != SERVER_NONE);
        if (!backend || !w->config.failback.manual || s->owners[i].owner == SERVER_NONE)
            ck_assert(w->now_ms - s->waits_since[i] <= 8000);
    }
}

/* Who serves a key is who the owners say, and somebody in service. */
static bool key_is_served_right(const struct world *w, const struct seen *s, unsigned i)
{
    uint64_t hash = sample_hash(i);
    struct pool_owner o = s->owners[pool_home(w->pool, hash)];
    if (s->who[i] != SERVER_NONE && s->out[s->who[i]])
        return false;
    if (o.owner == SERVER_NONE)
        return w->config.when_down == WHEN_DOWN_NEXT || s->who[i] == SERVER_NONE;
    return s->who[i] == (o.from != SERVER_NONE && (hash & 0xffff) >= o.share ? o.from : o.owner);
}

/* A key that was at home in service, or came home in a ramp, stays there. */
static bool key_stays_home(const struct world *w, const struct seen *old, const struct seen *new,
                           unsigned i)
{
    unsigned home = pool_home(w->pool, sample_hash(i));
    return old->who[i] != home || new->out[home] || new->who[i] == home;
}

static void check_keys(const struct world *w, const struct seen *old, const struct seen *new)
{
    bool right = true, stays = true, grows = true;
    for (unsigned i = 0; i < KEYS; i++) {
        right &= key_is_served_right(w, new, i);
        stays &= key_stays_home(w, old, new, i);
    }
    for (unsigned b = 0; b < w->config.nbackends; b++)
        grows &= old->owners[b].from == SERVER_NONE || old->owners[b].from != new->owners[b].from ||
                 old->owners[b].share <= new->owners[b].share;
    ck_assert(right && stays && grows);
}

static unsigned left(const struct world *w)
{
    unsigned n = 0;
    for (unsigned i = 0; i < nservers(w); i++)
        n += roster_state(w->roster, i) != ROSTER_DOWN &&
             roster_state(w->roster, i) != ROSTER_DRAINING;
    return n;
}

/* Nothing that traffic does leaves nobody. */
static void live_failures(struct world *w, unsigned id)
{
    unsigned before = left(w);
    roster_passive_down(w->roster, id, w->now_ms);
    ck_assert(before == 0 || left(w) > 0);
}

static void random_event(struct world *w, struct random *r)
{
    unsigned id = below(r, nservers(w)), what = below(r, 16);
    bool checks = w->config.health.check != CHECK_OFF;
    if (what < 9 && checks)
        roster_check(w->roster, id, what < 5, "x", w->now_ms, w->now_ms);
    else if (what < 11)
        live_failures(w, id);
    else if (what == 11 && roster_suspect(w->roster, id))
        roster_verdict(w->roster, id, below(r, 2), "x", w->now_ms, w->now_ms);
    else if (what == 12)
        roster_drain(w->roster, id, w->now_ms);
    else if (what < 15)
        roster_enable(w->roster, id, w->now_ms);
    else
        ck_assert_int_eq(roster_failback(w->roster, id, w->now_ms),
                         roster_state(w->roster, id) != ROSTER_DOWN &&
                             roster_state(w->roster, id) != ROSTER_DRAINING);
}

static void check_all(struct world *w, struct seen *old)
{
    struct seen new = *old;
    look(w, &new);
    check_all_down(w);
    check_owners(w, &new);
    check_usable(w, &new);
    check_waits(w, &new);
    check_keys(w, old, &new);
    ck_assert_uint_eq(w->wake_ms, roster_next_ms(w->roster));
    *old = new;
    w->told[0] = 0;
    w->nnotices = 0;
}

static void random_ticks(struct world *w, struct random *r, struct seen *s)
{
    uint64_t to = w->now_ms + below(r, below(r, 8) ? 300 : 6000);
    while (roster_next_ms(w->roster) <= to) {
        ck_assert(roster_next_ms(w->roster) > w->now_ms);
        w->now_ms = roster_next_ms(w->roster);
        roster_tick(w->roster, w->now_ms);
        check_all(w, s);
    }
    w->now_ms = to;
}

START_TEST(whatever_happens_the_invariants_hold)
{
    struct random r = {(uint64_t)_i + 1};
    struct world w;
    random_world(&w, &r);
    w.now_ms = 1;
    for (unsigned i = 0; i < nservers(&w) && w.config.health.check != CHECK_OFF; i++)
        roster_first(w.roster, i, below(&r, 4) != 0, "x", 1, 1);
    roster_start(w.roster, 1);
    struct seen s;
    memset(&s, 0, sizeof s);
    look(&w, &s);
    for (int i = 0; i < 200; i++) {
        random_event(&w, &r);
        check_all(&w, &s);
        random_ticks(&w, &r, &s);
        if (below(&r, 4) == 0) {
            world_reload(&w);
            check_all(&w, &s);
        }
    }
    world_close(&w);
}
END_TEST

START_TEST(once_all_is_well_every_key_is_home)
{
    struct random r = {(uint64_t)_i + 1000};
    struct world w;
    random_world(&w, &r);
    w.now_ms = 1;
    roster_start(w.roster, 1);
    for (int i = 0; i < 100; i++) {
        random_event(&w, &r);
        advance(&w, w.now_ms + below(&r, 100));
    }
    for (unsigned id = 0; id < nservers(&w); id++) {
        roster_enable(w.roster, id, w.now_ms);
        if (w.config.health.check != CHECK_OFF)
            for (unsigned k = 0; k < w.config.health.rise; k++)
                roster_check(w.roster, id, true, "x", w.now_ms, w.now_ms);
    }
    advance(&w, w.now_ms + 30000);
    for (unsigned id = 0; id < nservers(&w); id++) {
        ck_assert(roster_failback(w.roster, id, w.now_ms) || w.config.failback.manual);
        enum roster_state st = roster_state(w.roster, id);
        ck_assert_int_eq(st, id < w.config.nbackends ? ROSTER_UP : st);
    }
    for (unsigned b = 0; b < w.config.nbackends; b++) {
        ck_assert_uint_eq(pool_owner_of(w.pool, b).owner, b);
        ck_assert_uint_eq(pool_owner_of(w.pool, b).from, SERVER_NONE);
    }
    ck_assert(roster_next_ms(w.roster) == UINT64_MAX);
    world_close(&w);
}
END_TEST

static void add_waits(TCase *t)
{
    tcase_add_test(t, a_backend_waits_before_it_returns_and_longer_after_a_relapse);
    tcase_add_test(t, a_standby_waits_before_it_returns_too);
    tcase_add_loop_test(t, a_wait_outlasts_its_standby_while_another_server_can_serve, 0, 3);
    tcase_add_loop_test(t, a_wait_ends_when_its_standby_goes_out_and_nobody_else_may_serve, 0, 3);
    tcase_add_test(t, a_wait_ends_when_nobody_else_serves);
    tcase_add_test(t, without_next_owners_a_backend_without_a_standby_does_not_wait);
    tcase_add_loop_test(t, a_standby_that_frees_another_does_not_wait_either, 0, 2);
    tcase_add_test(t, a_standby_that_is_not_needed_waits);
    tcase_add_loop_test(t, when_all_are_down_all_are_tried, 0, 2);
    tcase_add_test(t, without_when_all_down_nobody_is_tried);
    tcase_add_test(t, a_pool_can_begin_with_all_down);
    tcase_add_test(t, the_only_backend_keeps_its_keys);
    tcase_add_test(t, a_drained_server_is_not_tried);
    tcase_add_test(t, keys_go_home_at_once_when_all_are_down);
    tcase_add_loop_test(t, who_returns_while_all_are_down_is_used_for_further_tries_at_once, 0, 2);
    tcase_add_test(t, a_server_without_an_address_is_not_tried);
    tcase_add_test(t, each_time_that_all_are_down_is_counted);
    tcase_add_test(t, manual_holds_until_an_operator_gives_the_points_back);
    tcase_add_test(t, manual_holds_even_if_down_at_the_first_check);
    tcase_add_test(t, manual_without_a_standby_returns_by_itself);
    tcase_add_test(t, manual_ends_when_the_standby_serves_another);
    tcase_add_test(t, manual_goes_on_with_another_standby_while_the_first_is_in_service);
}

static void add_ramps(TCase *t)
{
    tcase_add_test(t, a_ramp_brings_the_keys_back_step_by_step);
    tcase_add_test(t, a_short_ramp_steps_every_10_ms);
    tcase_add_test(t, only_a_promoted_standby_hands_back_in_a_ramp);
    tcase_add_test(t, a_ramp_follows_the_wait_the_hold_and_a_drain);
    tcase_add_loop_test(t, the_rest_of_a_ramp_returns_at_once_if_the_standby_goes_out, 0, 3);
    tcase_add_test(t, the_rest_of_a_ramp_returns_at_once_if_the_standby_is_needed_elsewhere);
    tcase_add_test(t, no_ramp_from_a_standby_that_is_needed_elsewhere);
    tcase_add_loop_test(t, a_ramp_is_forgotten_if_the_backend_goes_out_again, 0, 3);
    tcase_add_test(t, an_operator_skips_the_ramp);
}

static Suite *suite(void)
{
    Suite *s = suite_create("roster");
    TCase *t = tcase_create("roster");
    tcase_set_timeout(t, 100);
    tcase_add_test(t, a_standby_is_promoted_and_idle_again);
    tcase_add_test(t, fall_and_rise_checks_in_a_row_are_needed);
    tcase_add_test(t, a_server_starts_as_its_first_check_says);
    tcase_add_test(t, all_down_at_the_start_then_one_by_one);
    add_waits(t);
    tcase_add_test(t, a_drained_server_is_out_until_enabled);
    tcase_add_test(t, drained_and_down_at_once);
    tcase_add_test(t, enable_and_failback_end_a_wait);
    tcase_add_test(t, failback_puts_a_drained_server_back);
    tcase_add_test(t, live_traffic_takes_a_server_down_and_checks_bring_it_back);
    tcase_add_test(t, without_checks_live_failures_end_after_one_interval);
    tcase_add_test(t, without_checks_and_address_a_server_is_down_until_it_has_one);
    tcase_add_test(t, with_checks_an_address_alone_brings_nothing_up);
    tcase_add_test(t, the_reason_says_what_took_it_down);
    tcase_add_test(t, one_failed_check_of_a_suspect_server_takes_it_down);
    tcase_add_test(t, a_passed_check_of_a_suspect_server_starts_the_count_again);
    tcase_add_test(t, a_check_from_before_the_suspicion_may_confirm_it_but_does_not_clear_it);
    tcase_add_loop_test(t, without_a_check_that_looks_at_answers_none_is_asked_for, 0, 2);
    tcase_add_test(t, live_traffic_never_takes_the_last_server_out);
    tcase_add_test(t, a_server_that_waits_is_another_server);
    tcase_add_test(t, what_traffic_can_cause_is_told_now_and_then);
    add_ramps(t);
    tcase_add_test(t, a_failover_moves_exactly_the_share_of_the_failed_backend);
    tcase_add_loop_test(t, the_share_told_is_the_share_of_keys_that_move, 0, 2);
    tcase_add_test(t, of_several_changes_in_one_event_each_tells_its_own_share);
    tcase_add_loop_test(t, every_promotion_and_every_walk_on_counts_as_a_failover, 0, 2);
    tcase_add_loop_test(t, whatever_happens_the_invariants_hold, 0, 80);
    tcase_add_loop_test(t, once_all_is_well_every_key_is_home, 0, 60);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
