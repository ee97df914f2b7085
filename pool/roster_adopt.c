/* From the roster of one generation to that of the next: servers that stay keep what is believed of
 * them, and slots keep the servers that have their keys.
 *
 * A server stays if it is the same object (pool_new()); then its opinion is carried over, whatever
 * its id and its role are now. A slot stays if there was a backend of that name; then its word is
 * carried over, so that roster_tell() sees what the new generation changes, and a ramp goes on. */
#include <assert.h>

#include "pool/roster_internal.h"

static uint64_t longest_delay(const struct config_failback *f)
{
    return f->max_after_ms > f->after_ms ? f->max_after_ms : f->after_ms;
}

/* A delay that was not doubled becomes that of the new configuration. One that was doubled stays,
 * up to the new bound. */
static uint64_t adopt_delay(const struct roster *r, const struct roster *old, uint64_t delay_ms)
{
    if (delay_ms == old->config->failback.after_ms)
        return r->config->failback.after_ms;
    uint64_t longest = longest_delay(&r->config->failback);
    return delay_ms < longest ? delay_ms : longest;
}

/* When a DOWN ends. With checks only they end it. Without checks time does, but not for a server
 * whose name is not resolved. */
static uint64_t down_until(const struct roster *r, const struct roster *old,
                           const struct opinion *was, const struct server *s, uint64_t now_ms)
{
    if (r->config->health.check != CHECK_OFF)
        return NEVER;
    if (old->config->health.check == CHECK_OFF)
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
static void adopt_row(const struct roster *r, struct opinion *o, const struct roster *old,
                      struct server *s)
{
    bool scripted = config_health_reads_answer(&r->config->health);
    if (r->config->passive.failures != old->config->passive.failures ||
        scripted != config_health_reads_answer(&old->config->health))
        server_succeeded(s);
    if (o->suspicion == ROSTER_PENDING && (!scripted || r->config->passive.failures == 0))
        o->suspicion = ROSTER_UNSUSPECTED; /* no check is made that could answer it */
}

static void adopt_opinion(struct roster *r, unsigned id, const struct roster *old,
                          const struct opinion *was, uint64_t now_ms)
{
    struct opinion *o = &r->opinions[id];
    struct server *s = r->pool->members[id].server;
    *o = *was;
    verdict_init(&o->verdict, r->config->health.fall, r->config->health.rise, was->verdict.up);
    verdict_take_over(&o->verdict, &was->verdict);
    o->delay_ms = adopt_delay(r, old, was->delay_ms);
    /* A standby is never held, and no server is without `manual`. As a wait, whose time is over,
     * the hold then ends. */
    if (o->phase == HELD && (is_standby(r, id) || !r->config->failback.manual))
        o->phase = WAITING;
    if (o->phase == DOWN)
        o->until_ms = down_until(r, old, was, s, now_ms);
    else if (o->phase == WAITING)
        o->until_ms = wait_until(r, was->until_ms, now_ms);
    adopt_row(r, o, old, s);
}

/* The owner that slot old_b had, as an id of the new generation, whose slot b it is. */
static uint16_t adopt_owner(const struct roster *r, unsigned b, const struct roster *old,
                            unsigned old_b, uint16_t owner)
{
    if (owner == SERVER_NONE || owner == SERVER_GONE)
        return owner;
    if (owner == old_b)
        return (uint16_t)b;
    const struct pool_member *m = pool_find_server(r->pool, old->pool->members[owner].server);
    return m && m->standby ? m->id : SERVER_GONE;
}

static void adopt_slot(struct roster *r, unsigned b, const struct roster *old, unsigned old_b)
{
    struct slot *s = &r->slots[b];
    const struct pool_owner *was = &old->words[old_b];
    *s = old->slots[old_b];
    s->ramp_from = adopt_owner(r, b, old, old_b, s->ramp_from);
    if (r->pool->ring != old->pool->ring)
        s->ramp_moved = -1; /* the share was of another ring */
    r->words[b].owner = adopt_owner(r, b, old, old_b, was->owner);
    r->words[b].from = adopt_owner(r, b, old, old_b, was->from);
    r->words[b].share = was->share;
}

void roster_adopt(struct roster *r, const struct roster *old, uint64_t now_ms)
{
    assert(!r->started && old->started && !old->flushing);
    for (unsigned id = 0; id < r->nservers; id++) {
        const struct pool_member *was = pool_find_server(old->pool, r->pool->members[id].server);
        if (was)
            adopt_opinion(r, id, old, &old->opinions[was->id], now_ms);
    }
    for (unsigned b = 0; b < r->nbackends; b++) {
        const struct pool_member *was = pool_find_name(old->pool, r->pool->members[b].server->name);
        if (was && !was->standby)
            adopt_slot(r, b, old, was->id);
    }
    r->all_down = old->all_down;
    r->live = true;
    roster_start(r, now_ms);
}
