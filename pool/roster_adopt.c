/* From the roster of one generation to that of the next: servers that stay keep how they stand, and
 * what was seen of them, and slots keep the servers that have their keys.
 *
 * A server stays if it is the same object (pool_new()); then both are carried over, whatever its
 * id and its role are now. What was agreed of a server stays with its name. A slot stays if there
 * was a backend of that name; then its word is carried over, so that roster_tell() sees what the
 * new generation changes, and a ramp goes on. */
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "pool/roster_internal.h"

static uint64_t longest_delay(const struct config_failback *f)
{
    return f->max_after_ms > f->after_ms ? f->max_after_ms : f->after_ms;
}

/* A delay that was not doubled becomes that of the new configuration. One that was doubled stays,
 * up to the new bound. */
static uint64_t adopt_delay(const struct roster *r, const struct past *p, uint64_t delay_ms)
{
    if (delay_ms == p->after_ms)
        return r->config->failback.after_ms;
    uint64_t longest = longest_delay(&r->config->failback);
    return delay_ms < longest ? delay_ms : longest;
}

/* When a DOWN ends. With checks only they end it. Without checks time does, but not for a server
 * whose name is not resolved. */
static uint64_t down_until(const struct roster *r, const struct past *p, const struct seen *was,
                           const struct server *s, uint64_t now_ms)
{
    if (r->config->health.check != CHECK_OFF)
        return NEVER;
    if (!p->checked)
        return was->until_ms;
    return is_resolved(s) ? now_ms + r->config->health.interval_ms : NEVER;
}

/* A wait goes on as it is, unless the new configuration allows no wait as long as that. */
static uint64_t wait_until(const struct roster *r, uint64_t until_ms, uint64_t now_ms)
{
    uint64_t latest = now_ms + longest_delay(&r->config->failback);
    return until_ms < latest ? until_ms : latest;
}

/* server_failed() reports the failure that reaches the threshold. A count that is above a new,
 * lower threshold already would never reach it. And what a failure counts depends on the check. */
static void adopt_row(const struct roster *r, struct seen *v, const struct past *p,
                      struct server *s)
{
    bool scripted = config_health_reads_answer(&r->config->health);
    if (r->config->passive.failures != p->passive_failures || scripted != p->reads_answer)
        server_succeeded(s);
    if (v->suspicion == ROSTER_PENDING && (!scripted || r->config->passive.failures == 0))
        v->suspicion = ROSTER_UNSUSPECTED; /* no check is made that could answer it */
}

/* How the server stands. A standby is never held, and no server is without `manual`. As a wait,
 * whose time is over, the hold then ends. */
static void adopt_standing(struct roster *r, unsigned id, const struct past *p,
                           const struct standing *was, uint64_t now_ms)
{
    struct standing *d = &r->standings->servers[id];
    *d = *was;
    d->delay_ms = adopt_delay(r, p, was->delay_ms);
    if (d->phase == STANDINGS_HELD && (is_standby(r->standings, id) || !r->config->failback.manual))
        d->phase = STANDINGS_WAITING;
    if (d->phase == STANDINGS_WAITING)
        d->until_ms = wait_until(r, was->until_ms, now_ms);
}

/* What was seen of the server. */
static void adopt_seen(struct roster *r, unsigned id, const struct past *p, const struct seen *was,
                       uint64_t now_ms)
{
    struct seen *v = &r->witness->seen[id];
    struct server *s = r->pool->members[id].server;
    *v = *was;
    v->known = true;
    v->claimed = false; /* whoever hears of claims tells of them again */
    verdict_init(&v->verdict, r->config->health.fall, r->config->health.rise, was->verdict.up);
    verdict_take_over(&v->verdict, &was->verdict);
    v->exception.delay_ms = adopt_delay(r, p, was->exception.delay_ms);
    if (!v->verdict.up)
        v->until_ms = down_until(r, p, was, s, now_ms);
    adopt_row(r, v, p, s);
}

/* What was seen last of any server. A server that is none any more proves sight as well. */
static void adopt_witness(struct roster *r, const struct witness *was, const uint16_t *ids)
{
    struct witness *w = r->witness;
    if (was == NULL)
        return;
    w->sees = was->sees;
    w->sees_other = was->sees_other;
    w->sight = was->sees && was->sight != SERVER_NONE ? ids[was->sight] : SERVER_NONE;
    w->sight_ms = was->sight_ms;
    w->other_sight_ms = was->other_sight_ms;
    w->stalled = was->stalled;
    w->stalled_ms = was->stalled_ms;
}

/* Of each server of then its id now, whatever its role is; SERVER_NONE: it does not stay. free()
 * it.
 */
static uint16_t *ids_now(const struct roster *r, const struct past *p)
{
    uint16_t *ids = mem_zalloc_array(p->nservers, sizeof *ids);
    for (unsigned id = 0; id < p->nservers; id++) {
        const struct past_server *s = &p->servers[id];
        ids[id] = s->stays ? s->now->id : SERVER_NONE;
    }
    return ids;
}

/* The owner that slot was_b had, as an id of the new generation, whose slot b it is. */
static uint16_t owner_now(const struct roster *r, const uint16_t *ids, unsigned b, unsigned was_b,
                          uint16_t owner)
{
    if (owner == SERVER_NONE)
        return SERVER_NONE;
    if (owner == was_b)
        return (uint16_t)b;
    return is_standby(r->standings, ids[owner]) ? ids[owner] : SERVER_GONE;
}

static void adopt_slot(struct roster *r, unsigned b, const struct past *p, const uint16_t *ids,
                       unsigned was_b)
{
    struct slot *s = &r->standings->slots[b];
    struct pool_owner *w = &r->words[b];
    *s = p->slots[was_b];
    *w = p->words[was_b];
    if (!p->same_ring)
        s->ramp_moved = -1; /* the share was of another ring */
    unsigned holder = roster_holder(*w, p->nbackends);
    w->owner = owner_now(r, ids, b, was_b, w->owner);
    w->from = owner_now(r, ids, b, was_b, w->from);
    s->ramp_from = w->from;
    r->standings->words[b] = *w;
    if (r->gone && roster_holder(*w, r->nbackends) == SERVER_GONE)
        r->gone[b] = p->servers[holder].member;
}

/* The slot of a backend that is none any more: whoever stood in for it is told to be free. */
static void end_slot(struct roster *r, const struct past *p, const uint16_t *ids, unsigned was_b)
{
    unsigned holder = roster_holder(p->words[was_b], p->nbackends);
    if (holder == SERVER_NONE || p->servers[was_b].member == NULL)
        return;
    struct roster_notice *n = roster_push(r, ROSTER_TAKEOVER_ENDED, SERVER_NONE);
    n->member = p->servers[was_b].member;
    n->by = ids[holder] == SERVER_NONE ? p->servers[holder].member : &r->pool->members[ids[holder]];
}

void roster_take_over(struct roster *r, const struct past *p, uint64_t now_ms)
{
    assert(!r->started);
    uint16_t *ids = ids_now(r, p);
    r->agreed = r->standings->follows = p->agreed;
    r->fleet = p->fleet;
    for (unsigned id = 0; id < p->nservers; id++) {
        const struct pool_member *now = p->servers[id].now;
        bool agreed = p->agreed && p->standings[id].listed; /* that goes by names */
        if (now && (p->servers[id].stays || agreed))
            adopt_standing(r, now->id, p, &p->standings[id], now_ms);
        if (now && p->servers[id].stays)
            adopt_seen(r, now->id, p, &p->seen[id], now_ms);
    }
    adopt_witness(r, p->witness, ids);
    for (unsigned b = 0; b < p->nbackends; b++) {
        const struct pool_member *m = p->servers[b].now;
        if (m && !m->standby)
            adopt_slot(r, m->id, p, ids, b);
        else
            end_slot(r, p, ids, b);
    }
    r->all_down = p->all_down;
    r->live = true;
    free(ids);
}

static struct past past_of(const struct roster *r, const struct roster *old)
{
    const struct config_pool *c = old->config;
    struct past p = {
        .nbackends = old->nbackends,
        .nservers = old->nservers,
        .servers = mem_zalloc_array(old->nservers, sizeof *p.servers),
        .standings = old->standings->servers,
        .seen = old->witness->seen,
        .slots = old->standings->slots,
        .words = old->words,
        .witness = old->witness,
        .agreed = old->agreed,
        .fleet = old->fleet,
        .all_down = old->all_down,
        .same_ring = r->pool->ring == old->pool->ring,
        .checked = c->health.check != CHECK_OFF,
        .reads_answer = config_health_reads_answer(&c->health),
        .passive_failures = c->passive.failures,
        .after_ms = c->failback.after_ms,
    };
    for (unsigned id = 0; id < old->nservers; id++)
        p.servers[id].member = &old->pool->members[id];
    for (unsigned id = 0; id < r->nservers; id++) {
        const struct pool_member *was = pool_before(r->pool, id, old->pool);
        if (was == NULL)
            continue;
        p.servers[was->id].now = &r->pool->members[id];
        p.servers[was->id].stays = pool_stays(r->pool, id, old->pool);
    }
    return p;
}

void roster_adopt(struct roster *r, const struct roster *old, uint64_t now_ms)
{
    assert(old->started && !old->flushing);
    struct past p = past_of(r, old);
    r->gone = mem_zalloc_array(r->nbackends, sizeof *r->gone);
    roster_take_over(r, &p, now_ms);
    roster_start(r, now_ms);
    free(r->gone);
    r->gone = NULL;
    free(p.servers);
}
