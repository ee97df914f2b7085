#include "tests/lib/sim_fleet.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/splitmix.h"
#include "cluster/fleet_internal.h"
#include "pool/roster_save.h"
#include "ring/hash.h"

#define LOOK_APART_MS 100 /* as health/checker.c has it */
#define TRAFFIC_MS 10
#define STALL_MS (WORLD_SYNC * 4 / 3) /* a stop that nobody takes for a turn of the loop */
#define LATE_MS 300                   /* what a process has to end a clean stop */

/* ---- configurations ---- */

static char server_names[WORLD_SERVERS][3] = {"b1", "b2", "b3", "b4", "b5", "s1", "s2"};

const char *server_name(enum server_name s)
{
    return s < NOBODY ? server_names[s] : "nobody";
}

struct file {
    struct config_pool pool;
    struct config_server backends[5], standbys[2];
    uint16_t for_backends[2];
};

static void fill_server(struct config_server *s, enum server_name n)
{
    *s = (struct config_server){
        .name = server_names[n],
        .address_text = server_names[n],
        .address = {.v4 = {.sin_family = AF_INET}, .len = sizeof s->address.v4},
        .weight = 1};
}

static void fill_file(struct file *f, const struct world *w, enum world_file file)
{
    static char name[] = "pool";
    f->pool = (struct config_pool){
        .name = name,
        .vnodes = 40,
        .health = {.check = w->unchecked ? CHECK_OFF : CHECK_TCP,
                   .interval_ms = WORLD_INTERVAL,
                   .timeout_ms = WORLD_TIMEOUT,
                   .fall = WORLD_FALL,
                   .rise = WORLD_RISE},
        .passive = {.failures = 5},
        .when_down = w->fails ? WHEN_DOWN_FAIL : WHEN_DOWN_NEXT,
        .failback = {.manual = w->manual,
                     .after_ms = WORLD_AFTER,
                     .max_after_ms = WORLD_MAX_AFTER,
                     .ramp_ms = WORLD_RAMP},
        .agree = w->agree,
        .backends = f->backends,
        .nbackends = file == FILE_MORE ? 5 : 4,
        .standbys = f->standbys,
        .nstandbys = 2,
    };
    for (unsigned i = 0; i < f->pool.nbackends; i++)
        fill_server(&f->backends[i], (enum server_name)i);
    fill_server(&f->standbys[0], S1);
    fill_server(&f->standbys[1], S2);
    if (file == FILE_WEIGHTS)
        f->backends[0].weight = 2;
    f->for_backends[0] = B1;
    f->for_backends[1] = B2;
    f->standbys[0].for_backends = f->for_backends;
    f->standbys[0].nfor = 2;
}

static const struct config_pool *config_of(struct world *w, enum world_file file)
{
    if (w->files == NULL) {
        w->files = mem_zalloc_array(FILE_KINDS, sizeof *w->files);
        for (unsigned i = 0; i < FILE_KINDS; i++)
            fill_file(&w->files[i], w, (enum world_file)i);
    }
    return &w->files[file].pool;
}

static enum server_name name_of(const struct pool *p, uint16_t id)
{
    if (id == SERVER_NONE)
        return NOBODY;
    const char *name = p->members[id].server->name;
    return (enum server_name)(name[0] == 's' ? S1 + (name[1] - '1') : B1 + (name[1] - '1'));
}

/* ---- random bytes that are the same for each seed ---- */

static struct sim *dice; /* the world's that runs */

/* In place of base/random.c. */
bool random_take(struct random_store *s, void *out, size_t n, struct error *e)
{
    (void)s;
    (void)e;
    uint8_t *p = out;
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(splitmix_next(&dice->random) >> 24);
    return true;
}

/* ---- the world ---- */

double world_ms(const struct world *w)
{
    return (double)w->sim.now_us / SIM_MS;
}

void world_fail(struct world *w, const char *format, ...)
{
    if (w->violation[0])
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(w->violation, sizeof w->violation, format, args);
    va_end(args);
    sim_say(&w->sim, "VIOLATION %s", w->violation);
}

static bool has_failed(void *arg)
{
    return ((struct world *)arg)->violation[0] != 0;
}

void world_run(struct world *w, double until_ms)
{
    if (!has_failed(w))
        sim_run(&w->sim, (uint64_t)(until_ms * SIM_MS), has_failed, w);
}

static void on_deed(void *arg)
{
    struct deed *d = arg;
    d->fn(d->world, d);
}

void world_at(struct world *w, double at_ms, struct deed d)
{
    struct deed *copy = mem_zalloc(sizeof *copy);
    *copy = d;
    copy->world = w;
    sim_post(&w->sim, (uint64_t)(at_ms * SIM_MS), on_deed, copy, NULL);
}

enum reach member_reach(const struct world_member *m, enum server_name s)
{
    if (m->all[0] != REACH_OK)
        return m->all[0];
    return m->to[s] != REACH_OK ? m->to[s] : m->world->servers[s];
}

bool member_runs(const struct world_member *m)
{
    return sim_process_runs(&m->process);
}

/* ---- checks ---- */

static void begin_check(void *arg);

/* Whatever comes to a roster comes after a look at the clock. */
static void awake(struct world_member *m)
{
    fleet_awake(m->fleet);
}

static void start_serving(struct world_member *m)
{
    roster_start(m->roster, sim_mono_ms(&m->process));
    m->checked = true;
    for (unsigned s = 0; s < WORLD_SERVERS && !m->world->unchecked; s++)
        if (m->watches[s].present)
            sim_timer_start(&m->watches[s].timer, &m->process,
                            sim_between(&m->world->sim, 0, WORLD_INTERVAL), begin_check,
                            &m->watches[s]);
    fleet_checked(m->fleet);
}

static void first_check_ended(struct world_member *m)
{
    if (--m->nfirst == 0)
        start_serving(m);
}

static void end_check(void *arg)
{
    struct watch *c = arg;
    struct world_member *m = c->member;
    awake(m);
    double now = sim_mono(&m->process);
    /* what ran out while the process was stopped ran out */
    bool ok = c->result == REACH_OK && now - c->began_ms < WORLD_TIMEOUT, changing = false;
    const char *reason = ok ? "200" : c->result == REACH_REFUSED ? "refused" : "timeout";
    c->checking = false;
    if (c->first) {
        c->first = false;
        roster_first(m->roster, c->id, ok, reason, (uint64_t)c->began_ms, (uint64_t)now);
        first_check_ended(m);
        return;
    } else {
        changing = roster_check(m->roster, c->id, ok, reason, (uint64_t)c->began_ms, (uint64_t)now);
    }
    if (c->checking)
        return; /* a look has begun one */
    double pause = changing ? WORLD_INTERVAL / 4 : WORLD_INTERVAL, left = c->began_ms + pause - now;
    sim_timer_start(&c->timer, &m->process, left > 0 ? left : 0, begin_check, c);
}

static void begin_check(void *arg)
{
    struct watch *c = arg;
    struct world_member *m = c->member;
    c->checking = true;
    c->began_ms = sim_mono(&m->process);
    c->result = member_reach(m, c->server);
    double takes = c->result == REACH_OK ? 2 : c->result == REACH_REFUSED ? 1 : WORLD_TIMEOUT;
    sim_timer_start(&c->timer, &m->process, takes, end_check, c);
}

static struct watch *watch_of(struct world_member *m, unsigned id)
{
    for (unsigned i = 0; i < WORLD_SERVERS; i++)
        if (m->watches[i].present && m->watches[i].id == id)
            return &m->watches[i];
    assert(0);
    return NULL;
}

static void look_soon(void *arg)
{
    struct watch *c = arg;
    if (c->present && !c->checking)
        begin_check(c);
}

static void look(void *arg, unsigned server)
{
    struct world_member *m = arg;
    struct watch *c = watch_of(m, server);
    double since = sim_mono(&m->process) - c->began_ms;
    if (!m->checked || m->world->unchecked || since < LOOK_APART_MS)
        return;
    if (!c->checking)
        sim_timer_start(&c->timer, &m->process, 0, look_soon, c);
}

/* ---- live traffic ---- */

static void requests_add(struct server *s, uint64_t n)
{
    atomic_fetch_add_explicit(&s->cells[0].requests, n, memory_order_relaxed);
}

static void send_request(struct world_member *m, struct watch *c)
{
    struct server *s = m->pool->members[c->id].server;
    requests_add(s, 1);
    if (c->bad_since_ms < 0 || c->in_flight == 128)
        return;
    atomic_fetch_add_explicit(&s->active, 1, memory_order_relaxed);
    c->sent_ms[(c->oldest + c->in_flight++) % 128] = sim_mono(&m->process);
}

/* Requests that get no answer end after the timeout, as errors. */
static void end_requests(struct world_member *m, struct watch *c, double after_ms)
{
    struct server *s = m->pool->members[c->id].server;
    double now = sim_mono(&m->process);
    while (c->in_flight > 0 && now - c->sent_ms[c->oldest] >= after_ms) {
        c->oldest = (c->oldest + 1) % 128;
        c->in_flight--;
        atomic_fetch_sub_explicit(&s->active, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&s->cells[0].errors, 1, memory_order_relaxed);
    }
}

static void end_all_requests(struct world_member *m)
{
    for (unsigned s = 0; s < WORLD_SERVERS; s++)
        if (m->watches[s].present)
            end_requests(m, &m->watches[s], -1e9);
}

static void traffic_to(struct world_member *m, struct watch *c)
{
    double now = sim_mono(&m->process);
    enum reach r = member_reach(m, c->server);
    bool used = m->traffic && m->listening && m->used[c->server];
    if (r != REACH_OK)
        end_requests(m, c, r == REACH_REFUSED ? 0 : WORLD_TIMEOUT);
    if (!used || r == REACH_OK) {
        if (r == REACH_OK)
            end_requests(m, c, 0);
        c->bad_since_ms = -1;
        if (used)
            send_request(m, c);
        return;
    }
    if (c->bad_since_ms < 0)
        c->bad_since_ms = now;
    send_request(m, c);
    if (now - c->bad_since_ms >= (r == REACH_REFUSED ? TRAFFIC_MS : WORLD_TIMEOUT) &&
        !roster_is_down(m->roster, c->id)) {
        c->bad_since_ms = now;
        roster_passive_down(m->roster, c->id, (uint64_t)now);
    }
}

static void on_traffic(void *arg)
{
    struct world_member *m = arg;
    sim_timer_start(&m->traffic_timer, &m->process, TRAFFIC_MS, on_traffic, m);
    awake(m);
    if (m->traffic && m->listening)
        member_routes(m);
    for (unsigned s = 0; s < WORLD_SERVERS; s++)
        if (m->watches[s].present)
            traffic_to(m, &m->watches[s]);
}

void member_traffic_fails(struct world_member *m, enum server_name s)
{
    awake(m);
    struct watch *c = &m->watches[s];
    if (!roster_is_down(m->roster, c->id))
        roster_passive_down(m->roster, c->id, sim_mono_ms(&m->process));
}

/* ---- where keys go ---- */

static const uint64_t *keys(void)
{
    static uint64_t hashes[WORLD_KEYS];
    for (unsigned i = 0; hashes[WORLD_KEYS - 1] == 0 && i < WORLD_KEYS; i++) {
        char key[16];
        int n = snprintf(key, sizeof key, "key%u", i);
        hashes[i] = hash_key((struct str){key, (size_t)n});
    }
    return hashes;
}

const struct routes *member_routes(struct world_member *m)
{
    uint64_t version = atomic_load(&m->pool->version);
    unsigned usable = 0;
    for (unsigned i = 0; i < m->pool->nservers; i++)
        usable |= (unsigned)atomic_load(&m->pool->members[i].server->usable) << i;
    if (m->routes_valid && m->routes_version == version && m->routes_usable == usable)
        return &m->routes;
    m->routes_valid = true;
    m->routes_version = version;
    m->routes_usable = usable;
    memset(m->used, 0, sizeof m->used);
    for (unsigned i = 0; i < WORLD_KEYS; i++) {
        uint64_t hash = keys()[i];
        uint16_t agreed = pool_find(m->pool, hash), here = pool_find_here(m->pool, &m->view, hash);
        m->routes.agreed[i] = (uint8_t)name_of(m->pool, agreed);
        m->routes.here[i] = (uint8_t)name_of(m->pool, here);
        if (here != SERVER_NONE)
            m->used[m->routes.here[i]] = true;
    }
    return &m->routes;
}

/* ---- the program around a fleet ---- */

static uint64_t mono_ms(void *arg)
{
    return sim_mono_ms(&((struct world_member *)arg)->process);
}

static uint64_t wall_ms(void *arg)
{
    return sim_wall_ms(&((struct world_member *)arg)->process);
}

static void on_wake(void *arg)
{
    fleet_tick(((struct world_member *)arg)->fleet);
}

static void wake(void *arg, uint64_t in_ms)
{
    struct world_member *m = arg;
    sim_timer_start(&m->wake, &m->process, (double)in_ms, on_wake, m);
}

static void on_look(void *arg, unsigned pool, unsigned server)
{
    assert(pool == 0);
    look(arg, server);
}

static void tell(void *arg, const struct fleet_notice *n)
{
    static const char *const events[] = {
        [FLEET_BECOMES_ALONE] = "is alone",   [FLEET_BECOMES_FOLLOWER] = "follows",
        [FLEET_BECOMES_KEEPER] = "is keeper", [FLEET_LOCK_LOST] = "lost the lock",
        [FLEET_RELEASED] = "released",        [FLEET_OFFERED] = "offers",
        [FLEET_PUBLISHED] = "published",      [FLEET_APPLIED] = "applied",
        [FLEET_RESTORED] = "restored",        [FLEET_REFUSED_VALUE] = "refused",
        [FLEET_STALLED] = "stalled",          [FLEET_NODE_TWICE] = "node twice",
        [FLEET_MEMBER_GONE] = "forgets",
    };
    struct world_member *m = arg;
    const char *event = n->event < sizeof events / sizeof *events ? events[n->event] : NULL;
    if (event == NULL)
        return;
    char votes[64] = "";
    if (n->votes)
        snprintf(votes, sizeof votes, "by %u down %u up of %u", n->votes->down, n->votes->up,
                 n->votes->voters);
    sim_say(&m->world->sim, "%s %s %llu.%.2s.%llu %s %s %s %s %s %llu", m->machine, event,
            (unsigned long long)n->version.epoch, n->version.by, (unsigned long long)n->version.seq,
            n->node ? n->node : "", n->server ? n->server : "", n->what ? n->what : "", votes,
            n->reason ? n->reason : "", (unsigned long long)n->ms);
}

static void joined(void *arg)
{
    struct world_member *m = arg;
    m->joined = true;
    m->listening = m->active;
    sim_say(&m->world->sim, "%s has joined", m->machine);
}

static void on_accepting(void *arg)
{
    struct world_member *m = *(struct world_member **)arg;
    fleet_accepting(m->fleet, m->listening);
}

/* It carries out what its fleet wishes a moment later. */
static void wish(void *arg, enum fleet_wish w)
{
    static const char *const words[] = {"goes standby", "goes active", "announces"};
    struct world_member *m = arg;
    sim_say(&m->world->sim, "%s %s", m->machine, words[w]);
    m->active = w != FLEET_STANDBY;
    m->listening = m->joined && m->active;
    struct world_member **event = mem_zalloc(sizeof(struct world_member *));
    *event = m;
    sim_send(&m->process, m->world->sim.now_us + SIM_MS, on_accepting, event, NULL);
}

/* ---- the program around a roster ---- */

static void on_roster_tick(void *arg)
{
    struct world_member *m = arg;
    awake(m);
    roster_tick(m->roster, sim_mono_ms(&m->process));
}

static void roster_wake(void *arg, uint64_t at_ms)
{
    struct world_member *m = arg;
    if (at_ms == UINT64_MAX)
        sim_timer_stop(&m->tick);
    else
        sim_timer_start(&m->tick, &m->process, (double)at_ms - sim_mono(&m->process),
                        on_roster_tick, m);
}

static void on_news(void *arg, bool claim)
{
    struct world_member *m = arg;
    if (m->fleet)
        fleet_news(m->fleet, claim);
}

static void on_notice(void *arg, const struct roster_notice *n)
{
    static const char *const events[] = {
        [ROSTER_SERVER_UP] = "sees up",    [ROSTER_SERVER_DOWN] = "sees down",
        [ROSTER_EXCEPTION] = "leaves out", [ROSTER_EXCEPTION_ENDED] = "uses again",
        [ROSTER_HELD] = "holds",           [ROSTER_FAILBACK] = "gives back",
        [ROSTER_SPARED] = "spares",
    };
    struct world_member *m = arg;
    if (n->event < sizeof events / sizeof *events && events[n->event] && n->member)
        sim_say(&m->world->sim, "%s %s %s %s", m->machine, events[n->event],
                n->member->server->name, n->reason ? n->reason : "");
}

/* ---- generations ---- */

static void hook_up(struct world_member *m)
{
    roster_on_wake(m->roster, roster_wake, m);
    roster_on_news(m->roster, on_news, m);
    roster_on_look(m->roster, look, m);
}

static void open_pool(struct world_member *m, const struct pool *old)
{
    struct error e;
    m->pool = pool_new(config_of(m->world, m->file), 1, old, &e);
    assert(m->pool);
    m->roster = roster_new(m->pool, on_notice, m);
    m->view = (struct pool_view){0};
    m->routes_valid = false;
}

/* Which servers there are, and by what ids. */
static void set_watches(struct world_member *m)
{
    for (unsigned s = 0; s < WORLD_SERVERS; s++) {
        struct watch *c = &m->watches[s];
        const struct pool_member *x = pool_find_name(m->pool, server_names[s]);
        bool was = c->present;
        c->present = x != NULL;
        if (!x) {
            sim_timer_stop(&c->timer);
            c->checking = false;
            continue;
        }
        c->id = x->id;
        if (was)
            continue;
        *c = (struct watch){.member = m,
                            .server = (enum server_name)s,
                            .id = x->id,
                            .present = true,
                            .first = true,
                            .began_ms = -1e9,
                            .bad_since_ms = -1};
    }
}

static void tell_pools(struct world_member *m)
{
    struct fleet_pool p = {.roster = m->roster, .pool = m->pool};
    fleet_pools(m->fleet, &p, 1);
}

void member_reload(struct world_member *m, enum world_file file)
{
    if (!member_runs(m) || !m->checked)
        return;
    sim_say(&m->world->sim, "%s loads file %d", m->machine, (int)file);
    awake(m);
    struct pool *old = m->pool;
    struct roster *before = m->roster;
    end_all_requests(m);
    pool_view_deinit(&m->view);
    m->file = file;
    open_pool(m, old);
    set_watches(m);
    uint64_t now = sim_mono_ms(&m->process);
    for (unsigned s = 0; s < WORLD_SERVERS; s++) {
        struct watch *c = &m->watches[s];
        if (!c->present || !c->first || m->world->unchecked)
            continue;
        bool ok = member_reach(m, c->server) == REACH_OK;
        roster_first(m->roster, c->id, ok, ok ? "200" : "refused", now, now);
        c->first = false;
        sim_timer_start(&c->timer, &m->process, WORLD_INTERVAL, begin_check, c);
    }
    hook_up(m);
    roster_adopt(m->roster, before, now);
    tell_pools(m);
    roster_free(before);
    pool_free(old);
}

/* ---- lives ---- */

static struct fleet *open_fleet(struct world_member *m, struct error *e)
{
    static char name[] = "fleet";
    struct config_cluster cluster = {.name = name,
                                     .node = m->node,
                                     .lock_ttl_ms = WORLD_TTL,
                                     .priority = m->priority,
                                     .preempt = true,
                                     .listen_active = m->world->listen_active};
    struct fleet_ops ops = {.boot_ms = mono_ms,
                            .wall_ms = wall_ms,
                            .loop_ms = mono_ms,
                            .wake = wake,
                            .look = on_look,
                            .tell = tell,
                            .joined = joined,
                            .wish = wish,
                            .arg = m};
    return fleet_new(&(struct fleet_options){.config = &cluster,
                                             .store = fake_store_store(m->store),
                                             .ops = &ops,
                                             .random = &m->random,
                                             .resume = m->saved},
                     e);
}

/* What the process before has seen, after an upgrade. */
static void restore(struct world_member *m)
{
    struct error e;
    bool ok = m->saved_roster == NULL ||
              roster_restore(m->roster, m->saved_roster, sim_mono_ms(&m->process), &e);
    assert(ok);
    (void)ok;
    json_decref(m->saved_roster);
    m->saved_roster = NULL;
}

static void begin_first_checks(struct world_member *m)
{
    m->nfirst = 0;
    for (unsigned s = 0; s < WORLD_SERVERS; s++) {
        struct watch *c = &m->watches[s];
        c->first = c->present && !m->world->unchecked && !roster_is_known(m->roster, c->id);
        m->nfirst += c->first;
        if (c->first)
            begin_check(c);
    }
    if (m->nfirst == 0)
        start_serving(m);
}

void member_start(struct world_member *m)
{
    struct world *w = m->world;
    struct error e;
    sim_process_start(&m->process);
    snprintf(m->node, sizeof m->node, "%s", m->machine);
    if (w->ghosts && m->process.life > 1)
        snprintf(m->node, sizeof m->node, "%s-%u", m->machine, m->process.life);
    m->checked = m->joined = m->listening = false;
    m->version = (struct version){0};
    memset(m->watches, 0, sizeof m->watches);
    m->began_ms = sim_mono(&m->process);
    m->ok_since_us = w->sim.now_us;
    open_pool(m, NULL);
    m->store = fake_store_new(&w->redis, &m->path, &m->process, WORLD_DEADLINE, WORLD_SYNC);
    m->fleet = open_fleet(m, &e);
    assert(m->fleet);
    m->active = fleet_is_active(m->fleet); /* an upgrade changes nothing about it */
    free(m->saved);
    m->saved = NULL;
    sim_say(&w->sim, "%s starts as %.4s", m->machine, fleet_instance(m->fleet));
    tell_pools(m);
    hook_up(m);
    set_watches(m);
    restore(m);
    fleet_start(m->fleet);
    begin_first_checks(m);
    sim_timer_start(&m->traffic_timer, &m->process, TRAFFIC_MS, on_traffic, m);
}

static void gone(struct world_member *m)
{
    sim_timer_stop(&m->tick);
    sim_timer_stop(&m->wake);
    sim_timer_stop(&m->traffic_timer);
    end_all_requests(m);
    for (unsigned s = 0; s < WORLD_SERVERS; s++)
        sim_timer_stop(&m->watches[s].timer);
    sim_process_kill(&m->process);
    fake_store_free(m->store);
    fleet_free(m->fleet);
    roster_free(m->roster);
    pool_view_deinit(&m->view);
    pool_free(m->pool);
    m->store = NULL;
    m->fleet = NULL;
    m->roster = NULL;
    m->pool = NULL;
}

void member_kill(struct world_member *m)
{
    if (!m->process.alive)
        return;
    sim_say(&m->world->sim, "%s dies", m->machine);
    gone(m);
}

static void on_left(void *arg)
{
    (void)arg; /* it ends when the time for that is over, see member_leave() */
}

static void end_of_stop(void *arg)
{
    gone(*(struct world_member **)arg);
}

void member_leave(struct world_member *m)
{
    if (!member_runs(m) || !m->joined) {
        member_kill(m);
        return;
    }
    sim_say(&m->world->sim, "%s stops", m->machine);
    m->listening = false; /* its clients have gone */
    fleet_leave(m->fleet, on_left, m);
    struct world_member **arg = mem_zalloc(sizeof(struct world_member *));
    *arg = m;
    sim_send(&m->process, m->world->sim.now_us + sim_below(&m->world->sim, LATE_MS) * SIM_MS,
             end_of_stop, arg, NULL);
}

static void on_resumed(void *arg)
{
    struct world_member *m = arg;
    m->resumed_us = m->world->sim.now_us;
    if (!m->listening || !m->traffic || m->resumed_us - m->stopped_us < STALL_MS * SIM_MS)
        return;
    for (unsigned s = 0; s < WORLD_SERVERS; s++)
        if (m->watches[s].present && m->used[s])
            member_traffic_fails(m, (enum server_name)s); /* what was in flight ran out */
}

void member_stop(struct world_member *m, double ms)
{
    if (!m->process.alive)
        return;
    sim_say(&m->world->sim, "%s is stopped for %.0f ms", m->machine, ms);
    if (member_runs(m))
        m->stopped_us = m->world->sim.now_us;
    sim_process_stop(&m->process, m->world->sim.now_us + (uint64_t)(ms * SIM_MS));
}

void member_upgrade(struct world_member *m)
{
    if (!member_runs(m) || !m->joined)
        return;
    sim_say(&m->world->sim, "%s is upgraded", m->machine);
    awake(m);
    m->saved = fleet_save(m->fleet);
    m->saved_roster = roster_save(m->roster, sim_mono_ms(&m->process));
    fleet_freeze(m->fleet, true);
    gone(m);
    member_start(m);
}

/* ---- operators ---- */

struct asked {
    struct world_member *m;
    unsigned life;
    enum server_name s;
    enum fleet_verb verb;
};

static void on_requested(void *arg, enum fleet_outcome o)
{
    static const char *const words[] = {"agreed", "here", "refused", "crowded"};
    struct asked *a = arg;
    sim_say(&a->m->world->sim, "%s has an answer about %s: %s", a->m->machine, server_name(a->s),
            words[o]);
    eyes_answered(a->m->world->eyes, a->m, a->s, a->verb, o);
}

void member_ask(struct world_member *m, enum server_name s, enum fleet_verb verb)
{
    static const char *const words[] = {"drain", "enable", "failback"};
    if (!member_runs(m) || !m->checked || !m->watches[s].present)
        return;
    awake(m);
    sim_say(&m->world->sim, "%s is asked to %s %s", m->machine, words[verb], server_name(s));
    eyes_asked(m->world->eyes, m, s, verb);
    struct asked *a = mem_zalloc(sizeof *a);
    *a = (struct asked){.m = m, .life = m->process.life, .s = s, .verb = verb};
    /* freed with the world: the fleet may end without an answer */
    sim_post(&m->world->sim, (UINT64_C(1) << 33) - 1, NULL, a, NULL);
    fleet_request(m->fleet, 0, m->watches[s].id, verb, on_requested, a);
}

/* ---- what can be seen of a member ---- */

bool member_is_alone(const struct world_member *m)
{
    return m->fleet->apart;
}

bool member_believes(const struct world_member *m)
{
    return fleet_role(m->fleet) == FLEET_KEEPER &&
           lock_believes(&m->fleet->lock, sim_mono_ms(&m->process));
}

struct version member_version(const struct world_member *m)
{
    return m->fleet->unapplied ? (struct version){0} : m->fleet->version;
}

bool member_has_out(const struct world_member *m, enum server_name s)
{
    return roster_is_out(m->roster, m->watches[s].id);
}

bool member_has_drained(const struct world_member *m, enum server_name s)
{
    return standings_is_drained(roster_standings(m->roster), m->watches[s].id);
}

struct world_member *world_keeper(struct world *w)
{
    struct world_member *found = NULL;
    for (unsigned i = 0; i < w->nmembers; i++) {
        struct world_member *m = &w->members[i];
        if (!m->process.alive || !member_believes(m))
            continue;
        if (found)
            return NULL;
        found = m;
    }
    return found;
}

bool world_is_whole(const struct world *w)
{
    for (unsigned i = 0; i < w->nmembers; i++) {
        const struct world_member *m = &w->members[i];
        if (m->process.alive && m->fleet->version.epoch > 0 &&
            version_compare(&m->fleet->version, &w->redis.data.version) >= 0)
            return true;
    }
    return false;
}

/* ---- its beginning and end ---- */

static void on_start(struct world *w, const struct deed *d)
{
    (void)w;
    member_start(d->m);
}

static void on_look_around(struct world *w, const struct deed *d)
{
    eyes_look(w->eyes);
    world_at(w, world_ms(w) + 20, *d);
}

void world_init(struct world *w, uint64_t seed, unsigned nmembers)
{
    *w = (struct world){.nmembers = nmembers, .bugs = w->bugs};
    sim_init(&w->sim, seed);
    w->sim.tells = getenv("FLEET_SIM_TELL") != NULL;
    dice = &w->sim;
    fake_redis_init(&w->redis, &w->sim);
    w->redis.offer_ms = 2 * WORLD_DEADLINE;
    w->redis.bugs = w->bugs;
    w->eyes = eyes_new(w);
    for (unsigned i = 0; i < nmembers; i++) {
        struct world_member *m = &w->members[i];
        *m = (struct world_member){.world = w, .number = i, .traffic = true, .priority = 100};
        snprintf(m->machine, sizeof m->machine, "m%u", i + 1);
        m->path.lost_hints = .02;
        m->process = (struct sim_process){.sim = &w->sim,
                                          .name = m->machine,
                                          .pace = sim_between(&w->sim, .995, 1.005),
                                          .offset_ms = sim_between(&w->sim, 1e6, 2e6),
                                          .wall_ms = 1000000 + (int)sim_below(&w->sim, 1000) - 500,
                                          .on_wake = on_resumed,
                                          .arg = m};
        world_at(w, 10 + sim_between(&w->sim, 0, 800), (struct deed){.fn = on_start, .m = m});
    }
    world_at(w, 100, (struct deed){.fn = on_look_around});
}

void world_deinit(struct world *w)
{
    for (unsigned i = 0; i < w->nmembers; i++)
        if (w->members[i].process.alive)
            gone(&w->members[i]);
    sim_deinit(&w->sim);
    fake_redis_deinit(&w->redis);
    eyes_free(w->eyes);
    free(w->files);
}
