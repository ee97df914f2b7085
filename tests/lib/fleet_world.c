#include "tests/lib/fleet_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* ---- operations of a member ---- */

static uint64_t mono_ms(void *arg)
{
    struct member *m = arg;
    return sim_mono_ms(&m->process);
}

static uint64_t wall_ms(void *arg)
{
    struct member *m = arg;
    return sim_wall_ms(&m->process);
}

static void on_tick(void *arg)
{
    struct member *m = arg;
    fleet_tick(m->fleet);
}

static void on_wake(void *arg, uint64_t in_ms)
{
    struct member *m = arg;
    sim_timer_start(&m->tick, &m->process, (double)in_ms, on_tick, m);
}

static void check_one(struct member *m, unsigned id)
{
    uint64_t now = mono_ms(m);
    fleet_awake(m->fleet);
    roster_check(m->roster, id, m->reach[id], m->reach[id] ? "ok" : "refused", now, now);
}

static void check_all(void *arg)
{
    struct member *m = arg;
    for (unsigned id = 0; id < m->pool->nservers; id++)
        check_one(m, id);
    roster_tick(m->roster, mono_ms(m));
    sim_timer_start(&m->check, &m->process, CHECK_MS, check_all, m);
}

struct look {
    struct member *m;
    unsigned id;
};

static void look_now(void *arg)
{
    struct look *l = arg;
    if (l->id < l->m->pool->nservers)
        check_one(l->m, l->id);
}

static void look_soon(struct member *m, unsigned id)
{
    struct look *l = mem_zalloc(sizeof *l);
    *l = (struct look){m, id};
    m->looks++;
    m->looked[id] = true;
    sim_send(&m->process, m->world->sim.now_us + 1 * SIM_MS, look_now, l, NULL);
}

static void on_look(void *arg, unsigned pool, unsigned server)
{
    look_soon(arg, server);
}

static void on_roster_look(void *arg, unsigned server)
{
    look_soon(arg, server);
}

static void on_news(void *arg, bool claim)
{
    struct member *m = arg;
    if (m->fleet)
        fleet_news(m->fleet, claim);
}

static void on_notice(void *arg, const struct roster_notice *n)
{
}

static void on_tell(void *arg, const struct fleet_notice *n)
{
    static const char *const words[] = {
        "alone",   "follower", "keeper",  "lost",      "released", "offered", "published",
        "applied", "restored", "reached", "unreached", "refused",  "twice",   "differs",
        "agrees",  "new",      "silent",  "gone",      "stalled",  "active",  "standby"};
    struct member *m = arg;
    size_t at = strlen(m->told);
    char text[256];
    snprintf(text, sizeof text, "%s%s%s%s%s", words[n->event], n->server ? ":" : "",
             n->server ? n->server : "", n->what ? ":" : "", n->what ? n->what : "");
    if (at + strlen(text) + 2 < sizeof m->told)
        snprintf(m->told + at, sizeof m->told - at, "%s ", text);
    sim_say(&m->world->sim, "%s: %s node=%s seq=%lu reason=%s votes=%u/%u/%u %s", m->node, text,
            n->node ? n->node : "-", (unsigned long)n->version.seq, n->reason ? n->reason : "-",
            n->votes ? n->votes->down : 0, n->votes ? n->votes->up : 0,
            n->votes ? n->votes->voters : 0, n->votes ? n->votes->accuse : "");
}

static bool on_ready(void *arg)
{
    struct member *m = arg;
    return m->ready;
}

static void on_wish(void *arg, enum fleet_wish w)
{
    struct member *m = arg;
    ck_assert_uint_lt(m->nwishes, 16);
    m->wishes[m->nwishes++] = w;
}

static void on_joined(void *arg)
{
    struct member *m = arg;
    m->joined++;
}

/* ---- life ---- */

static void make_pool(struct member *m, const char *line)
{
    struct error e;
    m->file = read_file(line);
    m->file->pool.health.fall = 3;
    m->file->pool.health.rise = 2;
    m->file->pool.health.interval_ms = CHECK_MS;
    m->pool = pool_new(&m->file->pool, 1, m->old_pool, &e);
    ck_assert_ptr_nonnull(m->pool);
    m->roster = roster_new(m->pool, on_notice, m);
    roster_on_news(m->roster, on_news, m);
    roster_on_look(m->roster, on_roster_look, m);
}

static void first_checks(void *arg)
{
    struct member *m = arg;
    uint64_t now = mono_ms(m);
    for (unsigned id = 0; id < m->pool->nservers; id++)
        roster_first(m->roster, id, m->reach[id], m->reach[id] ? "ok" : "refused", now, now);
    roster_start(m->roster, now);
    fleet_checked(m->fleet);
    sim_timer_start(&m->check, &m->process, CHECK_MS, check_all, m);
}

void member_start(struct member *m)
{
    static const struct fleet_ops ops = {.boot_ms = mono_ms,
                                         .wall_ms = wall_ms,
                                         .loop_ms = mono_ms,
                                         .wake = on_wake,
                                         .look = on_look,
                                         .tell = on_tell,
                                         .is_ready = on_ready,
                                         .wish = on_wish,
                                         .joined = on_joined};
    struct fleet_ops own = ops;
    struct error e;
    own.arg = m;
    m->joined = m->nwishes = 0;
    sim_process_start(&m->process);
    make_pool(m, m->world->line);
    m->store = fake_store_new(&m->world->redis, &m->path, &m->process, TTL_MS / 6, TTL_MS / 3);
    struct fleet_options o = {.config = &m->config,
                              .store = fake_store_store(m->store),
                              .ops = &own,
                              .random = &m->random,
                              .resume = m->resume};
    m->fleet = fleet_new(&o, &e);
    ck_assert_ptr_nonnull(m->fleet);
    if (m->accepts)
        fleet_accepting(m->fleet, true);
    free(m->resume);
    m->resume = NULL;
    fleet_pools(m->fleet, &(struct fleet_pool){m->roster, m->pool}, 1);
    fleet_start(m->fleet);
    sim_timer_start(&m->first, &m->process, 2, first_checks, m);
    m->started = true;
}

static void drop_pool(struct roster *r, struct pool *p, struct file *f)
{
    roster_free(r);
    pool_free(p);
    free(f);
}

void member_kill(struct member *m)
{
    sim_timer_stop(&m->tick);
    sim_timer_stop(&m->check);
    sim_timer_stop(&m->first);
    sim_process_kill(&m->process);
    fake_store_free(m->store);
    fleet_free(m->fleet);
    drop_pool(m->roster, m->pool, m->file);
    m->fleet = NULL;
    m->started = false;
}

static void on_left(void *arg)
{
    *(bool *)arg = true;
}

void member_leave(struct member *m)
{
    bool left = false;
    sim_timer_stop(&m->check);
    fleet_leave(m->fleet, on_left, &left);
    for (unsigned i = 0; i < 1000 && !left; i++)
        run(m->world, 1);
    ck_assert(left);
    member_kill(m);
}

void member_reload(struct member *m, const char *line)
{
    m->old_file = m->file;
    m->old_pool = m->pool;
    m->old_roster = m->roster;
    make_pool(m, line ? line : m->world->line);
    for (unsigned id = 0; id < m->pool->nservers; id++)
        m->reach[id] = true;
    roster_adopt(m->roster, m->old_roster, mono_ms(m));
    fleet_pools(m->fleet, &(struct fleet_pool){m->roster, m->pool}, 1);
    drop_pool(m->old_roster, m->old_pool, m->old_file);
    m->old_file = NULL;
    m->old_pool = NULL;
    m->old_roster = NULL;
}

static void on_stored(void *arg, const struct version *v, struct str body, bool restored)
{
    struct world *w = arg;
    w->nstored++;
    w->last = *v;
    free(w->body);
    w->body = mem_strndup(body.p, body.n);
    sim_say(&w->sim, "stored %lu %.4s %lu%s: %s", (unsigned long)v->epoch, v->by,
            (unsigned long)v->seq, restored ? " again" : "", w->body);
}

static void fill_random(struct random_store *r, unsigned seed)
{
    for (unsigned i = 0; i < sizeof r->bytes; i++)
        r->bytes[i] = (uint8_t)(i * 7 + seed * 31 + (i >> 4) * 13 + 1);
    r->left = sizeof r->bytes;
}

void world_prepare(struct world *w, unsigned n, const char *line)
{
    memset(w, 0, sizeof *w);
    sim_init(&w->sim, 7);
    fake_redis_init(&w->redis, &w->sim);
    w->redis.on_stored = on_stored;
    w->redis.arg = w;
    w->line = line;
    w->nmembers = n;
    for (unsigned i = 0; i < n; i++) {
        static char fleet[] = "edge";
        struct member *m = &w->members[i];
        m->world = w;
        m->at = i;
        m->ready = true;
        snprintf(m->node, sizeof m->node, "e%u", i);
        m->process = (struct sim_process){
            .sim = &w->sim, .name = m->node, .pace = 1, .offset_ms = 5000 + 1000 * i};
        m->config = (struct config_cluster){.name = fleet,
                                            .node = m->node,
                                            .lock_ttl_ms = TTL_MS,
                                            .priority = 100,
                                            .preempt = true};
        fill_random(&m->random, i);
        for (unsigned id = 0; id < MAX_SERVERS; id++)
            m->reach[id] = true;
    }
}

void world_init(struct world *w, unsigned n, const char *line)
{
    world_prepare(w, n, line);
    for (unsigned i = 0; i < n; i++)
        member_start(&w->members[i]);
}

void world_deinit(struct world *w)
{
    for (unsigned i = 0; i < w->nmembers; i++) {
        if (w->members[i].started)
            member_kill(&w->members[i]);
        free(w->members[i].resume);
    }
    sim_deinit(&w->sim);
    fake_redis_deinit(&w->redis);
    free(w->body);
}

void run(struct world *w, uint64_t ms)
{
    sim_run(&w->sim, w->sim.now_us + ms * SIM_MS, NULL, NULL);
}

bool run_until(struct world *w, uint64_t ms, bool (*is)(struct member *m), struct member *m)
{
    for (uint64_t i = 0; i < ms && !is(m); i++)
        run(w, 1);
    return is(m);
}

/* ---- what tests do and see ---- */

unsigned id_of(const struct member *m, const char *server)
{
    const struct pool_member *p = pool_find_name(m->pool, server);
    ck_assert_ptr_nonnull(p);
    return p->id;
}

void reachable_for(struct member *m, const char *server, bool yes)
{
    m->reach[id_of(m, server)] = yes;
}

void reachable(struct world *w, const char *server, bool yes)
{
    for (unsigned i = 0; i < w->nmembers; i++)
        if (w->members[i].started)
            reachable_for(&w->members[i], server, yes);
}

void traffic_fails(struct member *m, const char *server)
{
    fleet_awake(m->fleet);
    roster_passive_down(m->roster, id_of(m, server), mono_ms(m));
}

bool is_out(const struct member *m, const char *server)
{
    return roster_is_out(m->roster, id_of(m, server));
}

bool is_excepted(const struct member *m, const char *server)
{
    return roster_is_excepted(m->roster, id_of(m, server));
}

struct member *keeper_of(struct world *w)
{
    struct member *found = NULL;
    for (unsigned i = 0; i < w->nmembers; i++) {
        struct member *m = &w->members[i];
        if (!m->started || fleet_role(m->fleet) != FLEET_KEEPER)
            continue;
        if (found)
            return NULL;
        found = m;
    }
    return found;
}

unsigned times_told(const struct member *m, const char *word)
{
    char padded[64], all[sizeof m->told + 2];
    unsigned n = 0;
    snprintf(padded, sizeof padded, " %s ", word);
    snprintf(all, sizeof all, " %s", m->told);
    for (const char *at = all; (at = strstr(at, padded)) != NULL; at++)
        n++;
    return n;
}

bool told(const struct member *m, const char *word)
{
    return times_told(m, word) > 0;
}

void forget_told(struct world *w)
{
    for (unsigned i = 0; i < w->nmembers; i++)
        w->members[i].told[0] = 0;
}

static void on_asked(void *arg, enum fleet_outcome o)
{
    struct asked *a = arg;
    ck_assert(!a->done);
    a->done = true;
    a->outcome = o;
    a->at_ms = a->world->sim.now_us / SIM_MS;
}

void ask(struct member *m, const char *server, enum fleet_verb verb, struct asked *a)
{
    *a = (struct asked){.world = m->world};
    fleet_request(m->fleet, 0, id_of(m, server), verb, on_asked, a);
}

bool together(struct world *w)
{
    uint64_t epoch = 0, seq = 0;
    for (unsigned i = 0; i < w->nmembers; i++) {
        uint64_t e, s;
        if (!w->members[i].started)
            continue;
        if (!fleet_version(w->members[i].fleet, &e, &s) || (epoch && (e != epoch || s != seq)))
            return false;
        epoch = e;
        seq = s;
    }
    return epoch > 0;
}
