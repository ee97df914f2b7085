/* What is promised of a fleet, looked at from outside, every 20 ms and at each publication. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cluster/state.h"
#include "ring/hash.h"
#include "tests/lib/sim_fleet.h"

#define NEVER_YET UINT64_MAX
#define CONTENTS 4096

struct content { /* I3 */
    struct version version;
    uint64_t hash;
};

/* What publications have said of a server. */
struct story {
    bool out, came_back;
    double out_ms, back_ms, delay_ms;
};

/* A drain that an operator was told of. */
struct drain {
    bool asked, holds;
    struct version version;
    double last_ask_ms; /* < 0: none */
    bool unclear;       /* two requests so close that nobody can say which was last */
};

struct eyes {
    struct world *world;
    struct world_watch watch;
    struct world_counts counts;
    struct content contents[CONTENTS];
    unsigned ncontents;
    struct story stories[WORLD_SERVERS];
    struct drain drains[WORLD_SERVERS];
    uint64_t settled_epoch; /* of a keeper that had followed nobody: its first publication */
    struct {
        bool marked;
        struct routes routes;
    } marks[WORLD_MEMBERS];
};

struct world_watch *world_watch(struct world *w)
{
    return &w->eyes->watch;
}

struct world_counts world_counts(const struct world *w)
{
    return w->eyes->counts;
}

#define VERSION_FORMAT "%llu.%.2s.%llu"
#define VERSION_ARGS(v) (unsigned long long)(v)->epoch, (v)->by, (unsigned long long)(v)->seq

/* ---- publications ---- */

static void check_content(struct eyes *e, const struct version *v, struct str body)
{
    uint64_t hash = hash_key(body);
    for (unsigned i = 0; i < e->ncontents; i++)
        if (version_compare(&e->contents[i].version, v) == 0) {
            if (e->contents[i].hash != hash)
                world_fail(e->world, "I3 two contents of " VERSION_FORMAT, VERSION_ARGS(v));
            return;
        }
    if (e->ncontents < CONTENTS)
        e->contents[e->ncontents++] = (struct content){*v, hash};
}

static const struct agreed_server *entry_of(const struct state *s, enum server_name n)
{
    const struct agreed_pool *p = state_pool(s, "pool");
    return p ? state_server(p, server_name(n)) : NULL;
}

/* Nobody who knows of the drain could have restored it in time. */
static void forget_drains(struct eyes *e, const struct version *v, const struct state *s)
{
    struct world *w = e->world;
    for (unsigned n = 0; n < WORLD_SERVERS; n++) {
        struct drain *d = &e->drains[n];
        const struct agreed_server *a = entry_of(s, (enum server_name)n);
        if (!d->holds || (a && a->drained) || version_compare(v, &d->version) <= 0)
            continue;
        bool known = false;
        for (unsigned i = 0; i < w->nmembers; i++) {
            const struct world_member *m = &w->members[i];
            known |= version_compare(&m->version, &d->version) >= 0 && m->process.alive &&
                     w->sim.now_us - m->ok_since_us >= 2 * WORLD_SYNC * SIM_MS;
        }
        if (!known)
            d->holds = false;
    }
}

/* The first publication of a keeper that was alone says what the others route by already. */
static bool is_a_beginning(struct eyes *e, const struct version *v)
{
    bool first = v->epoch != e->settled_epoch;
    e->settled_epoch = v->epoch;
    return first;
}

/* A member that is alone with a Redis that was gone before decides alone. */
static bool most_are_well(const struct world *w)
{
    unsigned n = 0;
    for (unsigned i = 0; i < w->nmembers; i++) {
        const struct world_member *m = &w->members[i];
        n += member_runs(m) && w->sim.now_us - m->ok_since_us >= WORLD_TTL * SIM_MS;
    }
    return 2 * n > w->nmembers;
}

static void watch_server(struct eyes *e, unsigned n, const struct agreed_server *a, bool beginning)
{
    struct world *w = e->world;
    struct story *t = &e->stories[n];
    double now = world_ms(w);
    bool out = a && (a->phase == AGREED_DOWN || a->phase == AGREED_WAIT || a->phase == AGREED_HELD);
    if (out && !t->out) {
        bool relapse = t->came_back && now - t->back_ms <= WORLD_MAX_AFTER * .9;
        double twice = 2 * t->delay_ms < WORLD_MAX_AFTER ? 2 * t->delay_ms : WORLD_MAX_AFTER;
        *t = (struct story){.out = true, .out_ms = now, .delay_ms = relapse ? twice : WORLD_AFTER};
        e->counts.outs++;
        if (e->watch.nobody_falls && (!e->watch.if_most_are_well || most_are_well(w)))
            world_fail(w, "I10 %s was taken out, which most can reach",
                       server_name((enum server_name)n));
    } else if (!out && t->out) {
        e->counts.returns++;
        if (e->watch.returns && !beginning && now - t->out_ms < t->delay_ms * .98 - 50)
            world_fail(w, "I6 %s is back after %.0f of %.0f ms", server_name((enum server_name)n),
                       now - t->out_ms, t->delay_ms);
        t->out = false;
        t->came_back = true;
        t->back_ms = now;
    }
}

static void on_stored(void *arg, const struct version *v, struct str body, bool restored)
{
    struct eyes *e = arg;
    struct world *w = e->world;
    sim_say(&w->sim, "stored%s " VERSION_FORMAT " %.*s", restored ? " again" : "", VERSION_ARGS(v),
            (int)body.n, body.p);
    check_content(e, v, body);
    if (restored) {
        e->counts.restores++;
        return;
    }
    e->counts.publications++;
    if (v->epoch < w->redis.data.granted)
        world_fail(w, "I2 stale publication stored " VERSION_FORMAT " after epoch %llu",
                   VERSION_ARGS(v), (unsigned long long)w->redis.data.granted);
    struct error error;
    struct state *s = state_decode(body, &error);
    if (s == NULL) {
        world_fail(w, "a publication can't be read: %s", error.text);
        return;
    }
    forget_drains(e, v, s);
    bool beginning = is_a_beginning(e, v);
    for (unsigned n = 0; n < WORLD_SERVERS; n++)
        watch_server(e, n, entry_of(s, (enum server_name)n), beginning);
    state_free(s);
}

static void on_offer(void *arg)
{
    struct eyes *e = arg;
    uint64_t until = e->world->sim.now_us + (WORLD_TTL + 2 * WORLD_DEADLINE) * SIM_MS;
    if (e->watch.excuse_us < until)
        e->watch.excuse_us = until;
}

struct eyes *eyes_new(struct world *w)
{
    struct eyes *e = mem_zalloc(sizeof *e);
    e->world = w;
    w->redis.on_stored = on_stored;
    w->redis.on_offer = on_offer;
    w->redis.arg = e;
    for (unsigned n = 0; n < WORLD_SERVERS; n++)
        e->drains[n].last_ask_ms = -1e9;
    return e;
}

void eyes_free(struct eyes *e)
{
    free(e);
}

/* ---- requests ---- */

void eyes_asked(struct eyes *e, const struct world_member *m, enum server_name s,
                enum fleet_verb verb)
{
    struct drain *d = &e->drains[s];
    double now = world_ms(e->world);
    if (now - d->last_ask_ms < 2.4 * WORLD_SYNC + 2 * WORLD_DEADLINE)
        d->unclear = true;
    d->last_ask_ms = now;
    d->asked = verb == FLEET_DRAIN;
    if (verb != FLEET_DRAIN)
        d->holds = false;
}

void eyes_answered(struct eyes *e, const struct world_member *m, enum server_name s,
                   enum fleet_verb verb, enum fleet_outcome o)
{
    struct drain *d = &e->drains[s];
    if (o != FLEET_AGREED)
        return;
    if (verb != FLEET_DRAIN) {
        d->holds = false;
    } else if (d->asked && !d->unclear) {
        d->holds = true;
        d->asked = false;
        d->version = member_version(m);
    }
}

void world_data_lost(struct world *w)
{
    for (unsigned n = 0; n < WORLD_SERVERS; n++) {
        struct drain *d = &w->eyes->drains[n];
        for (unsigned i = 0; i < w->nmembers; i++) {
            const struct world_member *m = &w->members[i];
            if (m->process.alive && version_compare(&m->version, &d->version) < 0)
                d->holds = false;
        }
    }
    w->eyes->watch.excuse_us = w->sim.now_us + 3 * WORLD_TTL * SIM_MS;
}

void world_forget_drains(struct world *w)
{
    for (unsigned n = 0; n < WORLD_SERVERS; n++)
        w->eyes->drains[n].holds = w->eyes->drains[n].asked = false;
}

/* ---- a look at all members ---- */

static void check_version(struct eyes *e, struct world_member *m)
{
    struct version now = member_version(m);
    if (version_compare(&now, &m->version) < 0)
        world_fail(e->world, "I1 %s goes back from " VERSION_FORMAT " to " VERSION_FORMAT,
                   m->machine, VERSION_ARGS(&m->version), VERSION_ARGS(&now));
    m->version = now;
}

static void check_drains(struct eyes *e, struct world_member *m)
{
    for (unsigned n = 0; n < WORLD_SERVERS; n++) {
        struct drain *d = &e->drains[n];
        if (d->holds && m->checked && m->watches[n].present &&
            version_compare(&m->version, &d->version) >= 0 &&
            !member_has_drained(m, (enum server_name)n))
            world_fail(e->world, "I5 %s has forgotten the drain of %s, " VERSION_FORMAT, m->machine,
                       server_name((enum server_name)n), VERSION_ARGS(&m->version));
    }
}

/* Whether it knows a server that it could use in place of this one. */
static bool has_another(struct world_member *m, unsigned n)
{
    for (unsigned x = 0; x < WORLD_SERVERS; x++)
        if (x != n && m->watches[x].present && !member_has_out(m, (enum server_name)x) &&
            !roster_is_down(m->roster, m->watches[x].id))
            return true;
    return false;
}

/* Nobody goes on sending to a server that it can't reach, longer than it takes to notice. */
static void check_dark(struct eyes *e, struct world_member *m)
{
    struct sim *s = &e->world->sim;
    for (unsigned n = 0; n < WORLD_SERVERS; n++) {
        struct watch *c = &m->watches[n];
        bool dark = c->present && m->used[n] && m->traffic && m->listening &&
                    member_reach(m, (enum server_name)n) != REACH_OK && has_another(m, n) &&
                    s->now_us - m->resumed_us >= 2 * WORLD_TIMEOUT * SIM_MS;
        if (!dark)
            c->dark_since_us = 0;
        else if (c->dark_since_us == 0)
            c->dark_since_us = s->now_us;
        else if (s->now_us - c->dark_since_us > (2 * WORLD_TIMEOUT + 200) * SIM_MS)
            world_fail(e->world, "L1 %s goes on sending to %s, which it can't reach", m->machine,
                       server_name((enum server_name)n));
    }
}

static bool is_excepted(const struct world_member *m, unsigned n)
{
    return n < NOBODY && m->watches[n].present && roster_is_excepted(m->roster, m->watches[n].id);
}

static void check_routes(struct eyes *e, struct world_member *m)
{
    const struct routes *r = member_routes(m);
    for (unsigned i = 0; i < WORLD_KEYS; i++) {
        unsigned agreed = r->agreed[i], here = r->here[i];
        if (here < NOBODY && member_has_out(m, (enum server_name)here))
            world_fail(e->world, "I7 a key of %s goes to %s, which is out", m->machine,
                       server_name((enum server_name)here));
        if (!member_is_alone(m) && agreed != here && !is_excepted(m, agreed))
            world_fail(e->world, "I9 an exception of %s moved a foreign key from %s to %s",
                       m->machine, server_name((enum server_name)agreed),
                       server_name((enum server_name)here));
    }
}

/* Members with the same version of the same configuration. */
static void check_alike(struct eyes *e)
{
    struct world *w = e->world;
    for (unsigned i = 0; i < w->nmembers; i++)
        for (unsigned k = i + 1; k < w->nmembers; k++) {
            struct world_member *a = &w->members[i], *b = &w->members[k];
            if (!member_runs(a) || !member_runs(b) || a->file != b->file || !a->checked ||
                !b->checked || member_is_alone(a) || member_is_alone(b) ||
                version_compare(&a->version, &b->version) != 0)
                continue;
            const struct routes *ra = member_routes(a), *rb = member_routes(b);
            for (unsigned n = 0; n < WORLD_KEYS; n++)
                if (ra->agreed[n] != rb->agreed[n]) {
                    world_fail(w, "I4 %s and %s route by " VERSION_FORMAT " to %s and %s",
                               a->machine, b->machine, VERSION_ARGS(&a->version),
                               server_name((enum server_name)ra->agreed[n]),
                               server_name((enum server_name)rb->agreed[n]));
                    return;
                }
        }
}

static void check_holders(struct eyes *e)
{
    struct world *w = e->world;
    unsigned n = 0;
    for (unsigned i = 0; i < w->nmembers; i++)
        n += member_runs(&w->members[i]) && member_believes(&w->members[i]);
    if (n > 1 && w->sim.now_us > e->watch.excuse_us)
        world_fail(w, "I8 %u members hold the lock", n);
}

static void check_moves(struct eyes *e, struct world_member *m)
{
    struct world *w = e->world;
    double age = sim_mono(&m->process) - m->began_ms;
    if (age < 2 * WORLD_SYNC + WORLD_DEADLINE && w->sim.now_us < e->watch.excuse_us)
        return; /* it started while the store had no state, or an old one */
    const struct routes *was = &e->marks[m->number].routes, *is = member_routes(m);
    for (unsigned i = 0; e->marks[m->number].marked && i < WORLD_KEYS; i++)
        if (was->here[i] != is->here[i]) {
            world_fail(w, "I10 at %s a key has moved from %s to %s", m->machine,
                       server_name((enum server_name)was->here[i]),
                       server_name((enum server_name)is->here[i]));
            return;
        }
}

void world_mark(struct world *w)
{
    for (unsigned i = 0; i < w->nmembers; i++) {
        struct world_member *m = &w->members[i];
        w->eyes->marks[i].marked = member_runs(m) && m->listening;
        if (w->eyes->marks[i].marked)
            w->eyes->marks[i].routes = *member_routes(m);
    }
    w->eyes->watch.nobody_moves = true;
}

void world_mark_not(struct world *w, const struct world_member *m)
{
    w->eyes->marks[m->number].marked = false;
}

/* Since when nothing was wrong with a member. */
static void note_health(struct world *w, struct world_member *m)
{
    if (!member_runs(m) || !fake_path_passes(&m->path, &w->redis) || m->path.slow_ms > 0)
        m->ok_since_us = w->sim.now_us;
}

void eyes_look(struct eyes *e)
{
    struct world *w = e->world;
    e->counts.samples++;
    for (unsigned i = 0; i < w->nmembers; i++) {
        struct world_member *m = &w->members[i];
        note_health(w, m);
        if (!member_runs(m))
            continue;
        check_version(e, m);
        if (!m->checked)
            continue;
        check_drains(e, m);
        if (!m->joined)
            continue;
        check_routes(e, m);
        check_dark(e, m);
        if (e->watch.nobody_moves)
            check_moves(e, m);
    }
    check_alike(e);
    check_holders(e);
}

/* ---- at the end ---- */

static void check_end_of_member(struct world *w, struct world_member *m, const struct version *top)
{
    struct version v = member_version(m);
    if (version_compare(&v, top) != 0)
        world_fail(w, "L1 %s is not on the last version", m->machine);
    if (member_is_alone(m))
        world_fail(w, "L1 %s is still alone", m->machine);
    if (!m->joined)
        world_fail(w, "L1 %s does not serve", m->machine);
    if (w->listen_active && m->listening != (m == world_keeper(w)))
        world_fail(w, "L1 %s is not the keeper and active, or is and is not", m->machine);
}

/* All members that know a server see it alike: it must be in or out by that. */
static void check_end_of_server(struct world *w, unsigned n)
{
    unsigned reach = 0, know = 0, out = 0;
    for (unsigned i = 0; i < w->nmembers; i++) {
        struct world_member *m = &w->members[i];
        if (!m->process.alive || !m->watches[n].present)
            continue;
        know++;
        reach += member_reach(m, (enum server_name)n) == REACH_OK;
        out += member_has_out(m, (enum server_name)n);
        if (w->eyes->drains[n].holds && !member_has_drained(m, (enum server_name)n))
            world_fail(w, "I5 the drain of %s is lost at the end",
                       server_name((enum server_name)n));
        if (member_has_drained(m, (enum server_name)n))
            return;
    }
    if (reach == know && out > 0 && !w->manual)
        world_fail(w, "L1 all can reach %s, and it is out", server_name((enum server_name)n));
    if (know > 0 && reach == 0 && out < know)
        world_fail(w, "L1 nobody can reach %s, and it is in service",
                   server_name((enum server_name)n));
}

void world_final(struct world *w)
{
    struct world_member *keeper = world_keeper(w);
    if (w->violation[0])
        return;
    if (keeper == NULL) {
        world_fail(w, "L1 not one keeper");
        return;
    }
    struct version top = {0};
    uint32_t best = 0;
    for (unsigned i = 0; i < w->nmembers; i++) {
        struct world_member *m = &w->members[i];
        if (!m->process.alive)
            continue;
        struct version v = member_version(m);
        if (version_compare(&v, &top) > 0)
            top = v;
        best = m->priority > best ? m->priority : best;
    }
    if (keeper->priority != best)
        world_fail(w, "L1 the preferred member is not the keeper, but %s", keeper->machine);
    for (unsigned i = 0; i < w->nmembers; i++)
        if (w->members[i].process.alive)
            check_end_of_member(w, &w->members[i], &top);
    for (unsigned n = 0; n < WORLD_SERVERS; n++)
        check_end_of_server(w, n);
}
