#include "tests/lib/sim_scenarios.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETTLE (WORLD_SILENT + WORLD_MAX_AFTER + 8 * WORLD_TTL) /* until all is quiet again */

/* ---- deeds ---- */

static enum reach some_trouble(struct world *w)
{
    return sim_chance(&w->sim, .5) ? REACH_REFUSED : REACH_HANGS;
}

static enum server_name some_server(struct world *w)
{
    static const enum server_name names[] = {B1, B2, B3, B4, S1, S2};
    return names[sim_below(&w->sim, 6)];
}

static struct world_member *some_member(struct world *w)
{
    return &w->members[sim_below(&w->sim, w->nmembers)];
}

static unsigned living(const struct world *w)
{
    unsigned n = 0;
    for (unsigned i = 0; i < w->nmembers; i++)
        n += w->members[i].process.alive;
    return n;
}

static void start(struct world *w, const struct deed *d)
{
    if (!d->m->process.alive)
        member_start(d->m);
}

static void kill_it(struct world *w, const struct deed *d)
{
    member_kill(d->m);
}

static void leave(struct world *w, const struct deed *d)
{
    member_leave(d->m);
}

static void ask(struct world *w, const struct deed *d)
{
    member_ask(d->m, d->s, (enum fleet_verb)d->x);
}

static void set_server(struct world *w, const struct deed *d)
{
    w->servers[d->s] = (enum reach)d->x;
    sim_say(&w->sim, "%s: %d", server_name(d->s), d->x);
}

static void set_path(struct world *w, const struct deed *d)
{
    d->m->to[d->s] = (enum reach)d->x;
    sim_say(&w->sim, "path of %s to %s: %d", d->m->machine, server_name(d->s), d->x);
}

static void set_net(struct world *w, const struct deed *d)
{
    d->m->all[0] = (enum reach)d->x;
    sim_say(&w->sim, "all paths of %s: %d", d->m->machine, d->x);
}

static void redis_down(struct world *w, const struct deed *d)
{
    sim_say(&w->sim, "Redis is down");
    if (d->x) {
        world_data_lost(w);
        fake_redis_wipe(&w->redis);
    }
    fake_redis_stop(&w->redis);
}

static void redis_up(struct world *w, const struct deed *d)
{
    sim_say(&w->sim, "Redis is up");
    fake_redis_start(&w->redis);
}

static void cut(struct world *w, const struct deed *d)
{
    uint64_t until = w->sim.now_us + (uint64_t)(d->y * SIM_MS);
    if (d->m->path.cut_us < until)
        d->m->path.cut_us = until;
    sim_say(&w->sim, "%s is cut off for %.0f ms", d->m->machine, d->y);
}

static void slow_down(struct world *w, const struct deed *d)
{
    d->m->path.slow_ms = d->y;
}

static void mark(struct world *w, const struct deed *d)
{
    world_mark(w);
}

static void nobody_falls(struct world *w, const struct deed *d)
{
    world_watch(w)->nobody_falls = true;
}

/* ---- random faults ---- */

enum fault {
    CRASH,
    STOP,
    CUT,
    SLOW,
    REDIS,
    WIPE,
    FAILOVER,
    JUMP,
    SERVER,
    PATH,
    NET,
    ASK,
    RELOAD,
    UPGRADE
};

struct faults {
    double from_ms, to_ms, mean_ms;
    const enum fault *kinds;
    unsigned n;
};

/* How long a fault lasts: it is over when they all are. */
static double lasts(struct world *w, const struct faults *f, double low, double high)
{
    double left = f->to_ms - world_ms(w), d = sim_between(&w->sim, low, high);
    return d < left ? d : left > 1 ? left : 1;
}

static void heal_later(struct world *w, double in_ms, deed_fn *fn, struct world_member *m,
                       enum server_name s)
{
    world_at(w, world_ms(w) + in_ms, (struct deed){.fn = fn, .m = m, .s = s});
}

static void crash(struct world *w, const struct faults *f, struct world_member *m)
{
    if (!m->process.alive || living(w) < 2)
        return;
    if (sim_chance(&w->sim, .3))
        member_leave(m);
    else
        member_kill(m);
    heal_later(w, lasts(w, f, 400, 9000), start, m, B1);
}

static void fail_over(struct world *w, const struct faults *f)
{
    double lag = sim_between(&w->sim, 0, 2500);
    sim_say(&w->sim, "Redis goes back by %.0f ms", lag);
    world_data_lost(w);
    fake_redis_jump(&w->redis, -(int64_t)sim_below(&w->sim, 3000));
    fake_redis_set_back(&w->redis, lag);
    fake_redis_stop(&w->redis);
    heal_later(w, lasts(w, f, 200, 2000), redis_up, NULL, B1);
}

static void fault_of_redis(struct world *w, const struct faults *f, enum fault kind)
{
    if (kind == JUMP) {
        int64_t by = 10 + sim_below(&w->sim, 89990);
        fake_redis_jump(&w->redis, sim_chance(&w->sim, .5) ? by : -by);
        sim_say(&w->sim, "Redis's clock jumps");
        world_watch(w)->excuse_us = w->sim.now_us + 3 * WORLD_TTL * SIM_MS;
    }
    if (!w->redis.up)
        return;
    if (kind == REDIS) {
        sim_say(&w->sim, "Redis is down");
        fake_redis_stop(&w->redis);
        heal_later(w, lasts(w, f, 100, 9000), redis_up, NULL, B1);
    } else if (kind == WIPE && world_is_whole(w)) {
        sim_say(&w->sim, "Redis loses its data");
        world_data_lost(w);
        fake_redis_wipe(&w->redis);
    } else if (kind == FAILOVER && world_is_whole(w)) {
        fail_over(w, f);
    }
}

static void fault_of_network(struct world *w, const struct faults *f, enum fault kind,
                             struct world_member *m, enum server_name s)
{
    struct deed d = {.m = m, .s = s, .x = (int)some_trouble(w)};
    if (kind == CUT) {
        d.y = lasts(w, f, 50, 9000);
        cut(w, &d);
    } else if (kind == SLOW) {
        m->path.slow_ms = 900;
        heal_later(w, lasts(w, f, 500, 6000), slow_down, m, s);
    } else if (kind == SERVER) {
        set_server(w, &d);
        heal_later(w, lasts(w, f, 300, 12000), set_server, m, s);
    } else if (kind == PATH) {
        set_path(w, &d);
        heal_later(w, lasts(w, f, 300, 12000), set_path, m, s);
    } else {
        d.x = REACH_HANGS;
        set_net(w, &d);
        heal_later(w, lasts(w, f, 300, 8000), set_net, m, s);
    }
}

static void one_fault(struct world *w, const struct faults *f)
{
    enum fault kind = f->kinds[sim_below(&w->sim, f->n)];
    struct world_member *m = some_member(w);
    enum server_name s = some_server(w);
    if (kind == CRASH)
        crash(w, f, m);
    else if (kind == STOP)
        member_stop(m, lasts(w, f, 50, 9000));
    else if (kind == REDIS || kind == WIPE || kind == FAILOVER || kind == JUMP)
        fault_of_redis(w, f, kind);
    else if (kind == ASK)
        member_ask(m, s, (enum fleet_verb)sim_below(&w->sim, 3));
    else if (kind == RELOAD)
        member_reload(m, (enum world_file)sim_below(&w->sim, FILE_KINDS));
    else if (kind == UPGRADE)
        member_upgrade(m);
    else
        fault_of_network(w, f, kind, m, s);
}

static struct faults plan; /* of the world that runs */

static void next_fault(struct world *w, const struct deed *d)
{
    if (world_ms(w) >= plan.to_ms)
        return;
    one_fault(w, &plan);
    world_at(w, world_ms(w) + sim_gap(&w->sim, plan.mean_ms), *d);
}

static void heal_all(struct world *w, const struct deed *d)
{
    for (unsigned i = 0; i < w->nmembers; i++) {
        struct world_member *m = &w->members[i];
        start(w, &(struct deed){.m = m});
        m->path.slow_ms = 0;
        m->all[0] = REACH_OK;
        memset(m->to, 0, sizeof m->to);
    }
    memset(w->servers, 0, sizeof w->servers);
    fake_redis_start(&w->redis);
    if (d->x && sim_chance(&w->sim, .5))
        set_server(w, &(struct deed){.s = some_server(w), .x = (int)some_trouble(w)});
    sim_say(&w->sim, "all is well again");
}

#define KINDS(...)                     \
    (const enum fault[]){__VA_ARGS__}, \
        sizeof((const enum fault[]){__VA_ARGS__}) / sizeof(enum fault)

/* one_stays: at the end a server may be down for good. */
static void faults(struct world *w, double from_ms, double to_ms, double mean_ms, bool one_stays,
                   const enum fault *kinds, unsigned n)
{
    static enum fault copy[32];
    memcpy(copy, kinds, n * sizeof *kinds);
    plan = (struct faults){from_ms, to_ms, mean_ms, copy, n};
    world_at(w, from_ms, (struct deed){.fn = next_fault});
    world_at(w, to_ms + .5, (struct deed){.fn = heal_all, .x = one_stays});
}

static void run_and_settle(struct world *w, double until_ms)
{
    world_run(w, until_ms + SETTLE);
    world_final(w);
}

/* ---- scenarios ---- */

/* Everything at once. */
static void chaos(struct world *w, uint64_t seed)
{
    world_init(w, seed, 2 + sim_below(&(struct sim){.random = seed}, 3));
    w->ghosts = seed % 5 == 4;
    if (seed % 2)
        w->members[0].priority = 120;
    faults(w, 6000, 66000, 1500, true,
           KINDS(CRASH, STOP, CUT, SLOW, REDIS, WIPE, FAILOVER, JUMP, SERVER, SERVER, PATH, NET,
                 ASK, ASK));
    run_and_settle(w, 66000);
}

/* The same, and configurations change. */
static void changes(struct world *w, uint64_t seed)
{
    world_init(w, seed, 2 + (unsigned)(seed % 3));
    faults(w, 6000, 66000, 1200, true,
           KINDS(CRASH, STOP, CUT, REDIS, WIPE, SERVER, PATH, ASK, ASK, RELOAD, RELOAD, RELOAD,
                 UPGRADE, UPGRADE));
    run_and_settle(w, 66000);
}

/* All but a Redis that forgets, or whose clock jumps: two holders at no time. */
static void lock(struct world *w, uint64_t seed)
{
    world_init(w, seed, 3);
    if (seed % 4 == 3)
        w->members[0].priority = 120;
    faults(w, 4000, 54000, 700, true, KINDS(CRASH, STOP, CUT, SLOW, SLOW, REDIS, SERVER));
    run_and_settle(w, 54000);
}

static void trouble_of_keeper(struct world *w, const struct deed *d)
{
    struct world_member *k = world_keeper(w);
    for (unsigned i = 0; i < w->nmembers; i++) {
        struct world_member *m = &w->members[i];
        m->path.slow_back_ms = m == k && sim_chance(&w->sim, .5) ? 450 : 0;
    }
    if (k && member_runs(k) && sim_chance(&w->sim, .6)) {
        cut(w, &(struct deed){.m = k, .y = sim_between(&w->sim, 3300, 6000)});
        if (sim_chance(&w->sim, .3)) { /* its release arrives when the cut is over */
            member_leave(k);
            heal_later(w, 500, start, k, B1);
        }
    }
    if (world_ms(w) < 90000)
        world_at(w, world_ms(w) + sim_between(&w->sim, 2500, 6000), *d);
}

/* Slow answers, and holders cut off just then: two never hold the lock. */
static void lease(struct world *w, uint64_t seed)
{
    world_init(w, seed, 3);
    world_at(w, 8000, (struct deed){.fn = trouble_of_keeper});
    world_run(w, 92000);
}

static void flip_path(struct world *w, const struct deed *d)
{
    if (world_ms(w) >= 60000)
        return;
    enum server_name s = some_server(w);
    d->m->to[s] = d->m->to[s] != REACH_OK ? REACH_OK : some_trouble(w);
    world_at(w, world_ms(w) + sim_gap(&w->sim, 600), *d);
}

/* One of three sees this and that down, wrongly, again and again; keepers die: the fleet does not
 * follow it. */
static void sick(struct world *w, uint64_t seed)
{
    world_init(w, seed, 3);
    world_at(w, 8000, (struct deed){.fn = flip_path, .m = some_member(w)});
    world_at(w, 8000, (struct deed){.fn = nobody_falls});
    world_watch(w)->if_most_are_well = true;
    faults(w, 9000, 60000, 6000, false, KINDS(CRASH, STOP, CUT, REDIS));
    world_run(w, 60000);
}

static void flip_server(struct world *w, const struct deed *d)
{
    if (world_ms(w) >= 110000)
        return;
    bool fails = w->servers[d->s] == REACH_OK;
    set_server(w, &(struct deed){.s = d->s, .x = (int)(fails ? some_trouble(w) : REACH_OK)});
    world_at(w, world_ms(w) + sim_between(&w->sim, 1500, fails ? 6000 : 5000), *d);
}

/* Servers come and go, members restart: each return waits as long as the relapses ask for. */
static void flapping(struct world *w, uint64_t seed)
{
    world_init(w, seed, 3);
    enum server_name a = some_server(w), b = some_server(w);
    world_at(w, 8000 + sim_between(&w->sim, 0, 3000), (struct deed){.fn = flip_server, .s = a});
    if (a != b)
        world_at(w, 8000 + sim_between(&w->sim, 0, 3000), (struct deed){.fn = flip_server, .s = b});
    world_watch(w)->returns = true;
    faults(w, 9000, 100000, 9000, false, KINDS(CRASH));
    world_run(w, 110000);
}

/* Redis gone for long, and found; one member can't reach one server all the while; one server died
 * before. Nobody sees anything change: no key moves. */
static void redisgone(struct world *w, uint64_t seed)
{
    static const double lengths[] = {1500, 8000, 20000};
    world_init(w, seed, 2 + (unsigned)(seed % 2));
    double length = lengths[sim_below(&w->sim, 3)];
    struct deed path = {.s = sim_chance(&w->sim, .5) ? B3 : B4, .x = (int)some_trouble(w)};
    unsigned broken = (unsigned)sim_chance(&w->sim, .7) + (unsigned)sim_chance(&w->sim, .3);
    for (unsigned i = 0; i < broken; i++) { /* two of three: it is out, though one can reach it */
        path.m = &w->members[i];
        set_path(w, &path);
    }
    world_at(w, 5000, (struct deed){.fn = set_server, .s = B1, .x = REACH_REFUSED});
    world_at(
        w, 9000,
        (struct deed){.fn = ask, .m = &w->members[w->nmembers - 1], .s = B2, .x = FLEET_DRAIN});
    world_at(w, 24000, (struct deed){.fn = mark});
    world_at(w, 25000, (struct deed){.fn = redis_down, .x = sim_chance(&w->sim, 1. / 3)});
    world_at(w, 25000 + length, (struct deed){.fn = redis_up});
    world_run(w, 25000 + length + 25000);
    world_final(w);
}

static void forget_mark(struct world *w, const struct deed *d)
{
    world_mark(w);
    if (d->m)
        world_mark_not(w, d->m);
}

static void may_move(struct world *w, const struct deed *d)
{
    world_watch(w)->nobody_moves = false;
}

/* One member cut off, or Redis gone; meanwhile a server dies and another returns. As fast as alone,
 * and when Redis is back nothing moves again. */
static void apart(struct world *w, uint64_t seed)
{
    world_init(w, seed, 3);
    enum server_name dead = (enum server_name)sim_below(&w->sim, 4);
    enum server_name back = (enum server_name)((dead + 1 + sim_below(&w->sim, 3)) % 4);
    double length = sim_chance(&w->sim, .5) ? 9000 : 25000, end = 14000 + length;
    bool all = sim_chance(&w->sim, .5);
    struct world_member *fresh = all && sim_chance(&w->sim, .4) ? some_member(w) : NULL;
    world_at(w, 6000, (struct deed){.fn = set_server, .s = back, .x = REACH_REFUSED});
    if (all)
        world_at(w, 14000, (struct deed){.fn = redis_down});
    else
        world_at(w, 14000, (struct deed){.fn = cut, .m = some_member(w), .y = length});
    world_at(w, 18000, (struct deed){.fn = set_server, .s = dead, .x = (int)some_trouble(w)});
    if (length > 20000)
        world_at(w, 18500, (struct deed){.fn = set_server, .s = back, .x = REACH_OK});
    if (all)
        world_at(w, end - 200, (struct deed){.fn = forget_mark, .m = fresh});
    if (fresh) { /* it knows nothing of what has happened meanwhile */
        static const double when[] = {-60, 0, 20};
        world_at(w, end - 600, (struct deed){.fn = kill_it, .m = fresh});
        world_at(w, end + when[sim_below(&w->sim, 3)], (struct deed){.fn = start, .m = fresh});
    }
    world_at(w, end, (struct deed){.fn = redis_up});
    world_at(w, end + 4 * WORLD_TTL, (struct deed){.fn = may_move});
    run_and_settle(w, end);
}

/* One member cut off for a while, nothing else: it is back, and no key has moved. */
static void cutoff(struct world *w, uint64_t seed)
{
    world_init(w, seed, 3);
    world_at(w, 10000, (struct deed){.fn = mark});
    world_at(w, 12000,
             (struct deed){
                 .fn = cut, .m = &w->members[seed % 3], .y = sim_between(&w->sim, 500, 12000)});
    world_run(w, 24000 + 3 * WORLD_TTL);
    world_final(w);
}

static void kill_keeper(struct world *w, const struct deed *d)
{
    struct world_member *k = world_keeper(w);
    if (!k)
        return;
    member_kill(k);
    heal_later(w, 4000, start, k, B1);
}

static void all_alike(struct world *w, const struct deed *d)
{
    const struct routes *first = NULL;
    for (unsigned i = 0; i < w->nmembers; i++) {
        struct world_member *m = &w->members[i];
        if (!member_runs(m) || !m->listening || member_is_alone(m))
            continue;
        const struct routes *r = member_routes(m);
        if (first && memcmp(first->here, r->here, sizeof r->here) != 0)
            world_fail(w, "L1 under agree: all %s routes otherwise", m->machine);
        first = r;
    }
    if (world_ms(w) < 60000)
        world_at(w, world_ms(w) + 50, *d);
}

/* agree: all. A path breaks for good, keepers die: soon nobody makes an exception. */
static void everyone(struct world *w, uint64_t seed)
{
    world_init(w, seed, 3);
    w->agree = AGREE_ALL;
    world_at(
        w, 12000,
        (struct deed){
            .fn = set_path, .m = some_member(w), .s = some_server(w), .x = (int)some_trouble(w)});
    world_at(w, 12000 + sim_between(&w->sim, 0, 3000), (struct deed){.fn = kill_keeper});
    world_at(w, 12000 + WORLD_FALL * WORLD_INTERVAL + 2 * WORLD_TIMEOUT + 3 * WORLD_TTL,
             (struct deed){.fn = all_alike});
    world_run(w, 60000);
}

/* Two of three reach no server any more; the third does: its keys stay, and what it sees return
 * does. */
static void blind(struct world *w, uint64_t seed)
{
    world_init(w, seed, 3);
    unsigned sees = sim_below(&w->sim, 3);
    world_at(w, 5000, (struct deed){.fn = set_server, .s = B4, .x = REACH_REFUSED});
    world_at(w, 25000, (struct deed){.fn = set_server, .s = B4, .x = REACH_OK});
    world_at(w, 12000, (struct deed){.fn = nobody_falls});
    for (unsigned i = 0; i < 3; i++)
        if (i != sees)
            world_at(w, 12500 + sim_between(&w->sim, 0, 3000),
                     (struct deed){.fn = set_net, .m = &w->members[i], .x = (int)some_trouble(w)});
    world_run(w, 45000);
    if (!w->violation[0] && member_has_out(&w->members[sees], B4))
        world_fail(w, "L1 blind members keep a server out");
}

/* One member is cut off and asked to enable; another is asked to drain later: the request made last
 * counts. */
static void requests(struct world *w, uint64_t seed)
{
    static const enum fleet_verb pairs[][2] = {
        {FLEET_ENABLE, FLEET_DRAIN}, {FLEET_FAILBACK, FLEET_DRAIN}, {FLEET_DRAIN, FLEET_ENABLE}};
    world_init(w, seed, 3);
    unsigned a = sim_below(&w->sim, 3), b = (a + 1 + sim_below(&w->sim, 2)) % 3;
    const enum fleet_verb *verbs = pairs[sim_below(&w->sim, 3)];
    world_at(w, 10000,
             (struct deed){.fn = cut, .m = &w->members[a], .y = sim_between(&w->sim, 7000, 12000)});
    world_at(w, 12000, (struct deed){.fn = ask, .m = &w->members[a], .s = B2, .x = verbs[0]});
    world_at(w, 16000, (struct deed){.fn = ask, .m = &w->members[b], .s = B2, .x = verbs[1]});
    world_run(w, 40000);
    world_final(w);
    for (unsigned i = 0; i < 3 && !w->violation[0]; i++)
        if (member_has_drained(&w->members[i], B2) != (verbs[1] == FLEET_DRAIN))
            world_fail(w, "I5 %s does not have it as asked last", w->members[i].machine);
}

static void lose_data(struct world *w, const struct deed *d)
{
    if (world_ms(w) > 60000)
        return;
    if (world_is_whole(w)) {
        world_data_lost(w);
        if (sim_chance(&w->sim, .5))
            fake_redis_wipe(&w->redis);
        else
            fake_redis_set_back(&w->redis, sim_between(&w->sim, 0, 9000));
        static const int64_t back[] = {0, 0, 2000, 30000};
        fake_redis_jump(&w->redis, -back[sim_below(&w->sim, 4)]);
        sim_say(&w->sim, "Redis loses data");
    }
    struct world_member *m = some_member(w);
    if (sim_chance(&w->sim, .6) && living(w) == w->nmembers) {
        member_kill(m);
        heal_later(w, sim_between(&w->sim, 1, 300), start, m, B1);
    }
    world_at(w, world_ms(w) + sim_between(&w->sim, 2000, 9000), *d);
}

/* Drains, Redis emptied or set back again and again, members restarting at that very moment. */
static void dataloss(struct world *w, uint64_t seed)
{
    world_init(w, seed, 3);
    world_at(w, 6000, (struct deed){.fn = ask, .m = &w->members[0], .s = B2, .x = FLEET_DRAIN});
    world_at(w, 8000, (struct deed){.fn = ask, .m = &w->members[1], .s = B3, .x = FLEET_DRAIN});
    world_at(w, 14000, (struct deed){.fn = mark});
    world_at(w, 15000, (struct deed){.fn = lose_data});
    world_run(w, 60000 + 4 * WORLD_TTL);
    world_final(w);
}

/* Members restarted one after another while one of them can't reach one server. */
static void rolling(struct world *w, uint64_t seed)
{
    world_init(w, seed, 2 + (unsigned)(seed % 2));
    set_path(w, &(struct deed){.m = &w->members[0], .s = B3, .x = (int)some_trouble(w)});
    world_at(w, 12000, (struct deed){.fn = nobody_falls});
    for (unsigned i = 0; i < w->nmembers; i++) {
        struct world_member *m = &w->members[i];
        double at = 13000 + i * 9000;
        world_at(w, at, (struct deed){.fn = leave, .m = m});
        world_at(w, at + sim_between(&w->sim, 400, 7000), (struct deed){.fn = start, .m = m});
    }
    world_run(w, 13000 + w->nmembers * 9000 + 2 * WORLD_TTL);
}

static void stop_some(struct world *w, const struct deed *d)
{
    if (world_ms(w) >= 60000)
        return;
    unsigned n = 1 + sim_below(&w->sim, w->nmembers), first = sim_below(&w->sim, w->nmembers);
    for (unsigned i = 0; i < n; i++)
        member_stop(&w->members[(first + i) % w->nmembers], sim_between(&w->sim, 500, 9000));
    world_at(w, world_ms(w) + sim_between(&w->sim, 6000, 14000), *d);
}

/* Members are stopped and go on, nothing else: no server looks down for it. */
static void stalls(struct world *w, uint64_t seed)
{
    world_init(w, seed, 3);
    world_at(w, 9000, (struct deed){.fn = nobody_falls});
    world_at(w, 10000, (struct deed){.fn = stop_some});
    world_run(w, 75000);
    world_final(w);
}

static unsigned solo_returns;
static bool solo_used;

static void fail_traffic(struct world *w, const struct deed *d)
{
    if (d->m->process.alive && member_runs(d->m) && d->m->used[B1])
        member_traffic_fails(d->m, B1);
    world_at(w, world_ms(w) + 300, *d);
}

static void count_returns(struct world *w, const struct deed *d)
{
    bool used = d->m->process.alive && (member_routes(d->m), d->m->used[B1]);
    solo_returns += used && !solo_used;
    solo_used = used;
    world_at(w, world_ms(w) + 25, *d);
}

/* One member has traffic to a server that fails live traffic and passes checks: damped as if
 * alone. */
static void solo(struct world *w, uint64_t seed)
{
    world_init(w, seed, 3);
    solo_returns = 0;
    solo_used = false;
    world_at(w, 8000, (struct deed){.fn = fail_traffic, .m = &w->members[0]});
    world_at(w, 8000, (struct deed){.fn = count_returns, .m = &w->members[0]});
    world_run(w, 70000);
    if (solo_returns > 7)
        world_fail(w, "I6 a member flaps on an exception, %u returns in 62 s", solo_returns);
}

static void load(struct world *w, const struct deed *d)
{
    if (d->m->process.alive)
        member_reload(d->m, (enum world_file)d->x);
}

static void load_all(struct world *w, const struct deed *d)
{
    struct world_member *k = world_keeper(w);
    struct world_member *m = k ? k : d->m;
    member_reload(m, (enum world_file)d->x);
}

/* Another backend comes to one member after the other, the keeper too, while servers come and go;
 * then all have the same configuration, and know the same of it. */
static void differing(struct world *w, uint64_t seed)
{
    world_init(w, seed, 3);
    faults(w, 6000, 40000, 2500, false, KINDS(SERVER, SERVER, PATH, ASK));
    world_at(w, 12000 + sim_between(&w->sim, 0, 3000),
             (struct deed){.fn = load_all, .m = &w->members[0], .x = FILE_MORE});
    for (unsigned i = 0; i < 3; i++)
        world_at(w, 20000 + sim_between(&w->sim, 0, 16000),
                 (struct deed){.fn = load, .m = &w->members[i], .x = FILE_MORE});
    world_at(w, 25000, (struct deed){.fn = set_server, .s = B5, .x = REACH_REFUSED});
    run_and_settle(w, 40000);
}

/* The same file loaded again, at the keeper too, and upgrades, moves no key. */
static void reloads(struct world *w, uint64_t seed)
{
    world_init(w, seed, 3);
    world_at(w, 4000, (struct deed){.fn = set_server, .s = B1, .x = REACH_REFUSED});
    world_at(w, 6000, (struct deed){.fn = ask, .m = &w->members[0], .s = B2, .x = FLEET_DRAIN});
    set_path(w, &(struct deed){.m = &w->members[1], .s = B4, .x = REACH_HANGS});
    world_at(w, 14000, (struct deed){.fn = mark});
    for (unsigned i = 0; i < 12; i++)
        world_at(w, 15000 + i * 1500,
                 (struct deed){.fn = i % 2 ? load : load_all, .m = some_member(w)});
    world_run(w, 40000);
    world_final(w);
}

/* ---- how long they differ ---- */

/* What happens to one server, and how long two members may route one key to different servers then:
 * with H the timeout of a check, T lock_ttl, d the slowest message, and g one hop without its hint,
 * 0.4 T + C. */
enum event { REFUSES, HANGS, IS_DRAINED, RETURNS };

static const struct bound {
    enum event event;
    bool idle;   /* two of three have no traffic */
    bool mute;   /* every hint is lost */
    bool killed; /* the keeper dies in that moment */
    double limit_ms;
} bounds[] = {
#define D (60. + 20. / 3)
#define G (1.2 * WORLD_SYNC + WORLD_DEADLINE)
    {REFUSES, false, false, false, 2 * WORLD_TIMEOUT + 8 * D},
    {HANGS, false, false, false, 2 * WORLD_TIMEOUT + 8 * D},
    {REFUSES, true, false, false, 2 * WORLD_TIMEOUT + 8 * D},
    {HANGS, true, false, false, 2 * WORLD_TIMEOUT + 8 * D},
    {IS_DRAINED, false, false, false, 8 * D},
    {RETURNS, false, false, false, 4 * D},
    {REFUSES, false, true, false, 2 * WORLD_TIMEOUT + 3 * G},
    {HANGS, true, true, false, 2 * WORLD_TIMEOUT + 3 * G},
    {IS_DRAINED, false, true, false, 2 * G},
    {RETURNS, false, true, false, G + 4 * D},
    {REFUSES, false, false, true, 2 * WORLD_TIMEOUT + 1.2 * WORLD_TTL + 3 * G},
    {HANGS, false, false, true, 2 * WORLD_TIMEOUT + 1.2 * WORLD_TTL + 3 * G},
    {IS_DRAINED, false, false, true, 1.2 * WORLD_TTL + 2 * G},
};

#define BOUNDS (sizeof bounds / sizeof *bounds)

static const struct bound *measured; /* of the world that runs */
static double differ_since[WORLD_KEYS];

static void measure(struct world *w, const struct deed *d)
{
    double now = world_ms(w);
    const struct routes *all[WORLD_MEMBERS];
    unsigned n = 0;
    for (unsigned i = 0; i < w->nmembers; i++)
        if (member_runs(&w->members[i]) && w->members[i].listening)
            all[n++] = member_routes(&w->members[i]);
    for (unsigned k = 0; k < WORLD_KEYS; k++) {
        bool same = true;
        for (unsigned i = 1; i < n; i++)
            same &= all[i]->here[k] == all[0]->here[k];
        if (same)
            differ_since[k] = now;
        else if (now - differ_since[k] > measured->limit_ms)
            world_fail(w, "X two members differ about a key for more than %.0f ms",
                       measured->limit_ms);
    }
    world_at(w, now + 2, *d);
}

static void strike(struct world *w, const struct deed *d)
{
    struct world_member *k = world_keeper(w), *other = some_member(w);
    for (unsigned i = 0; i < WORLD_KEYS; i++)
        differ_since[i] = world_ms(w);
    measure(w, &(struct deed){.fn = measure});
    if (measured->killed && k)
        member_kill(k);
    while (!other->process.alive)
        other = some_member(w);
    if (measured->event == IS_DRAINED)
        member_ask(other, d->s, FLEET_DRAIN);
    else
        set_server(w, &(struct deed){.s = d->s,
                                     .x = measured->event == RETURNS   ? REACH_OK
                                          : measured->event == REFUSES ? REACH_REFUSED
                                                                       : REACH_HANGS});
}

/* Two members send one key to different servers for a short time at most. */
static void differ(struct world *w, uint64_t seed)
{
    world_init(w, seed, 3);
    measured = &bounds[seed % BOUNDS];
    for (unsigned i = 0; i < 3; i++) {
        w->members[i].path.lost_hints = measured->mute ? 1.1 : 0;
        w->members[i].traffic = i == 0 || !measured->idle;
    }
    enum server_name s = (enum server_name)sim_below(&w->sim, 4);
    double at = 12000 + sim_between(&w->sim, 0, 4000);
    if (measured->event == RETURNS) {
        world_at(w, 12000, (struct deed){.fn = set_server, .s = s, .x = REACH_REFUSED});
        at += 8000;
    }
    world_at(w, at, (struct deed){.fn = strike, .s = s});
    world_run(w, at + (measured->event == RETURNS ? 25000 : 16000));
}

/* ---- active and standby, modes, rubbish ---- */

static bool is_served(const struct world *w)
{
    for (unsigned i = 0; i < w->nmembers; i++)
        if (w->members[i].process.alive && w->members[i].listening)
            return true;
    return false;
}

static void hand_round(struct world *w, const struct deed *d)
{
    if (!is_served(w))
        world_fail(w, "L1 nobody is active while the role is handed over");
    if (world_ms(w) < d->y)
        world_at(w, world_ms(w) + 1, *d);
}

/* The keeper alone accepts: one is active, it stays so without Redis, and a handover leaves no
 * gap. */
static void standby(struct world *w, uint64_t seed)
{
    world_init(w, seed, 2 + (unsigned)(seed % 2));
    w->listen_active = true;
    if (seed % 3)
        w->members[w->nmembers - 1].priority = 120;
    world_at(w, 12000, (struct deed){.fn = hand_round, .y = 19990}); /* preempted within that */
    faults(w, 20000, 60000, 3000, true,
           KINDS(CRASH, CRASH, STOP, CUT, REDIS, WIPE, SERVER, NET, UPGRADE));
    run_and_settle(w, 60000);
}

/* Bytes that are no state and no view: cut off, of another version, or none at all. */
static struct str rubbish(struct world *w, struct str real, char *buffer, size_t size)
{
    unsigned how = sim_below(&w->sim, 4);
    size_t n = real.n < size ? real.n : size;
    if (how == 0 && n > 2) {
        memcpy(buffer, real.p, n);
        return (struct str){buffer, 1 + sim_below(&w->sim, (unsigned)n - 1)};
    }
    if (how == 1)
        return STR("{\"v\":2,\"pools\":{}}");
    if (how == 2)
        return STR("{\"v\":1,\"pools\":{\"pool\":{\"servers\":{\"b1\":{\"phase\":\"asleep\"}}}}}");
    for (n = 0; n < 40; n++)
        buffer[n] = (char)sim_below(&w->sim, 256);
    return (struct str){buffer, n};
}

static void intrude(struct world *w, const struct deed *d)
{
    static const char *const nodes[] = {"m1", "m2", "m3", "stranger"};
    char buffer[4096];
    struct fake_data *data = &w->redis.data;
    struct version v = data->version;
    v.epoch += sim_below(&w->sim, 3);
    v.seq += 1;
    memset(v.by, 'f', INSTANCE_SIZE - 1);
    const char *node = nodes[sim_below(&w->sim, 4)];
    switch (sim_below(&w->sim, 4)) {
    case 0:
        sim_say(&w->sim, "an intruder writes a state");
        world_forget_drains(w);
        fake_redis_write_state(&w->redis, &v, rubbish(w, STR("{\"v\":1}"), buffer, sizeof buffer));
        break;
    case 1:
        sim_say(&w->sim, "an intruder writes a view of %s", node);
        fake_redis_write_view(&w->redis, node, v.by, sim_below(&w->sim, 1u << 30),
                              rubbish(w, STR("{\"v\":1,\"id\":\"ff\"}"), buffer, sizeof buffer));
        break;
    case 2:
        sim_say(&w->sim, "an intruder writes a lock");
        fake_redis_write_lock(&w->redis, "mine", 4000);
        break;
    default:
        snprintf(data->next, sizeof data->next, "nobody");
        data->next_until_ms = INT64_MAX;
    }
    world_watch(w)->excuse_us = w->sim.now_us + 3 * WORLD_TTL * SIM_MS;
    if (world_ms(w) < d->y)
        world_at(w, world_ms(w) + sim_gap(&w->sim, 2500), *d);
}

static void write_a_state(struct world *w, const struct deed *d)
{
    struct version v = w->redis.data.version;
    v.seq++;
    fake_redis_write_state(&w->redis, &v, STR("rubbish"));
}

/* Somebody writes rubbish into Redis: it is refused, and when that is over all is well. */
static void hostile(struct world *w, uint64_t seed)
{
    world_init(w, seed, 3);
    if (seed % 4 == 1) { /* who starts can't read it, and nothing happens that is to be published */
        world_at(w, 20000, (struct deed){.fn = write_a_state});
        world_at(w, 21000, (struct deed){.fn = kill_it, .m = &w->members[seed % 3]});
        world_at(w, 22000, (struct deed){.fn = start, .m = &w->members[seed % 3]});
        world_run(w, 45000);
        world_final(w);
        return;
    }
    world_at(w, 8000, (struct deed){.fn = intrude, .y = 50000});
    faults(w, 6000, 50000, 4000, true, KINDS(CRASH, CUT, SERVER, SERVER, PATH, ASK));
    run_and_settle(w, 50000);
}

static unsigned actives;

static void who_is_active(struct world *w, const struct deed *d)
{
    unsigned now = 0;
    for (unsigned i = 0; i < w->nmembers; i++)
        now |= (unsigned)w->members[i].listening << i;
    if (d->x == 0)
        actives = now;
    else if (now != actives)
        world_fail(w, "L1 the role moves while there is no Redis");
    if (now == 0 || (now & (now - 1)) != 0)
        world_fail(w, "L1 not one is active");
    if (world_ms(w) < d->y)
        world_at(w, world_ms(w) + 20, (struct deed){.fn = who_is_active, .x = 1, .y = d->y});
}

/* Without Redis the active one stays active, and a standby a standby; a start changes nothing. */
static void without(struct world *w, uint64_t seed)
{
    world_init(w, seed, 3);
    w->listen_active = true;
    struct world_member *m = some_member(w);
    world_at(w, 13000, (struct deed){.fn = who_is_active, .y = 40000});
    world_at(w, 14000, (struct deed){.fn = redis_down, .x = seed % 3 == 2});
    world_at(w, 20000, (struct deed){.fn = set_server, .s = B1, .x = (int)some_trouble(w)});
    world_at(w, 40000, (struct deed){.fn = redis_up});
    if (seed % 2) {
        world_at(w, 40010, (struct deed){.fn = kill_it, .m = m});
        world_at(w, 41000, (struct deed){.fn = start, .m = m});
    }
    world_run(w, 40000 + 6 * WORLD_TTL);
    world_final(w);
}

/* Without checks each member knows by its own traffic. */
static void unchecked(struct world *w, uint64_t seed)
{
    world_init(w, seed, 3);
    w->unchecked = true;
    faults(w, 6000, 50000, 1500, false, KINDS(CRASH, STOP, CUT, REDIS, WIPE, SERVER, PATH, ASK));
    run_and_settle(w, 50000);
}

static void held(struct world *w, const struct deed *d)
{
    for (unsigned i = 0; i < w->nmembers; i++) {
        struct world_member *m = &w->members[i];
        if (member_runs(m) && m->joined && m->version.epoch > 0 &&
            member_has_out(m, d->s) != (d->x != 0))
            world_fail(w, "I6 %s has %s %s an operator has asked for it", m->machine,
                       server_name(d->s), d->x ? "back before" : "out though");
    }
    if (world_ms(w) < d->y)
        world_at(w, world_ms(w) + 25, *d);
}

/* failback.mode manual: what came back waits for an operator, whatever becomes of members and
 * Redis. */
static void manual(struct world *w, uint64_t seed)
{
    world_init(w, seed, 3);
    w->manual = true;
    w->fails = seed % 2;
    world_at(w, 6000, (struct deed){.fn = set_server, .s = B3, .x = REACH_REFUSED});
    world_at(w, 9000, (struct deed){.fn = set_server, .s = B3, .x = REACH_OK});
    world_at(w, 14000, (struct deed){.fn = held, .s = B3, .x = true, .y = 60000});
    faults(w, 14000, 48000, 3000, false, KINDS(CRASH, STOP, CUT, REDIS, WIPE, FAILOVER, UPGRADE));
    world_at(w, 61000,
             (struct deed){.fn = ask,
                           .m = &w->members[seed % 3],
                           .s = B3,
                           .x = seed % 2 ? FLEET_ENABLE : FLEET_FAILBACK});
    world_at(w, 70000, (struct deed){.fn = held, .s = B3, .x = false, .y = 72000});
    world_run(w, 72000);
    world_final(w);
}

const struct sim_scenario sim_scenarios[] = {
    {"chaos", chaos, 5},         {"changes", changes, 4},     {"lock", lock, 2},
    {"lease", lease, 2},         {"sick", sick, 2},           {"flapping", flapping, 2},
    {"redisgone", redisgone, 4}, {"apart", apart, 3},         {"cutoff", cutoff, 3},
    {"everyone", everyone, 2},   {"blind", blind, 2},         {"requests", requests, 3},
    {"dataloss", dataloss, 2},   {"rolling", rolling, 2},     {"stalls", stalls, 2},
    {"solo", solo, 1},           {"differing", differing, 2}, {"reloads", reloads, 2},
    {"differ", differ, BOUNDS},  {"standby", standby, 3},     {"unchecked", unchecked, 2},
    {"manual", manual, 2},       {"without", without, 3},     {"hostile", hostile, 2},
};

const unsigned sim_nscenarios = sizeof sim_scenarios / sizeof *sim_scenarios;

const struct sim_scenario *sim_scenario(const char *name, size_t len)
{
    for (unsigned i = 0; i < sim_nscenarios; i++)
        if (strncmp(sim_scenarios[i].name, name, len) == 0 && sim_scenarios[i].name[len] == 0)
            return &sim_scenarios[i];
    return NULL;
}
