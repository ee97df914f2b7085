/* The events that a roster gets, and its life. roster_internal.h draws what follows from an event.
 */
#include "pool/roster.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "pool/roster_internal.h"

/* ---- life ---- */

struct roster *roster_new(struct pool *p, roster_notify_fn *notify, void *arg)
{
    struct roster *r = mem_zalloc(sizeof *r);
    size_t nb = p->nbackends, n = p->nservers;
    *r = (struct roster){.pool = p, .config = p->config, .notify = notify, .notify_arg = arg};
    r->nbackends = p->nbackends;
    r->nservers = p->nservers;
    r->next_ms = NEVER;
    r->opinions = mem_zalloc_array(n, sizeof *r->opinions);
    r->decision.out = mem_zalloc_array(n, sizeof *r->decision.out);
    r->decision.owner = mem_zalloc_array(nb, sizeof *r->decision.owner);
    r->slots = mem_zalloc_array(nb, sizeof *r->slots);
    r->words = mem_zalloc_array(nb, sizeof *r->words);
    r->fresh = mem_zalloc_array(nb, sizeof *r->fresh);
    r->held = mem_zalloc_array(nb, sizeof *r->held);
    r->trial_out = mem_zalloc_array(n, sizeof *r->trial_out);
    r->trial = mem_zalloc_array(nb, sizeof *r->trial);
    r->busy = mem_zalloc_array(n, sizeof *r->busy);
    r->before = mem_zalloc_array(nb, sizeof *r->before);
    r->after = mem_zalloc_array(nb, sizeof *r->after);
    for (unsigned i = 0; i < n; i++) {
        struct opinion *o = &r->opinions[i];
        o->delay_ms = r->config->failback.after_ms;
        verdict_init(&o->verdict, r->config->health.fall, r->config->health.rise, true);
    }
    for (unsigned b = 0; b < nb; b++) {
        r->slots[b].ramp_from = SERVER_NONE;
        r->words[b] = (struct pool_owner){.owner = (uint16_t)b, .from = SERVER_NONE};
    }
    return r;
}

void roster_free(struct roster *r)
{
    if (r == NULL)
        return;
    free(r->notices);
    free(r->after);
    free(r->before);
    free(r->busy);
    free(r->trial);
    free(r->trial_out);
    free(r->held);
    free(r->fresh);
    free(r->words);
    free(r->slots);
    free(r->decision.owner);
    free(r->decision.out);
    free(r->opinions);
    free(r);
}

static struct opinion *opinion(const struct roster *r, unsigned server)
{
    assert(server < r->nservers);
    return &r->opinions[server];
}

/* Ends each event: all opinions are turned into a new decision, and its consequences are drawn. */
static void settle(struct roster *r, uint64_t now_ms)
{
    roster_decide(r, now_ms);
    roster_apply(r, now_ms);
}

/* ---- events ---- */

void roster_first(struct roster *r, unsigned server, bool ok, const char *reason, uint64_t now_ms)
{
    struct opinion *o = opinion(r, server);
    assert(!r->started && o->phase == UP);
    opinion_record(o, ok, reason, now_ms);
    if (ok) /* up already, as every server begins */
        return;
    opinion_go_down(r, server, o->last.reason, now_ms);
    o->until_ms =
        NEVER; /* with `check: off` its name is not resolved, and time does not change that */
    o->no_wait = true;
}

void roster_resolved(struct roster *r, unsigned server, uint64_t now_ms)
{
    struct opinion *o = opinion(r, server);
    assert(r->started);
    if (r->config->health.check != CHECK_OFF || o->phase != DOWN || o->until_ms != NEVER)
        return;
    opinion_rise(r, server, now_ms);
    settle(r, now_ms);
}

void roster_start(struct roster *r, uint64_t now_ms)
{
    assert(!r->started);
    r->started = true;
    settle(r, now_ms);
}

static void count_check(struct roster *r, unsigned server, bool ok, uint64_t now_ms)
{
    struct opinion *o = opinion(r, server);
    switch (verdict_check(&o->verdict, ok)) {
    case VERDICT_SAME:
        break;
    case VERDICT_DOWN:
        opinion_go_down(r, server, o->last.reason, now_ms);
        settle(r, now_ms);
        break;
    case VERDICT_UP:
        opinion_rise(r, server, now_ms);
        settle(r, now_ms);
        break;
    }
}

bool roster_check(struct roster *r, unsigned server, bool ok, const char *reason, uint64_t now_ms)
{
    struct opinion *o = opinion(r, server);
    assert(r->started);
    if (o->suspicion == ROSTER_PENDING && !ok)
        return roster_verdict(r, server, ok, reason, now_ms);
    opinion_record(o, ok, reason, now_ms);
    count_check(r, server, ok, now_ms);
    return roster_changing(r, server);
}

/* Whether the pool would have nobody without this server. One that waits for its return does count:
 * it returns at once if it is needed. */
static bool is_last(const struct roster *r, unsigned server)
{
    for (unsigned i = 0; i < r->nservers; i++)
        if (i != server && r->opinions[i].phase != DOWN && !r->opinions[i].drained)
            return false;
    return true;
}

/* The last server of a pool stays, and the count starts again. */
static void spare(struct roster *r, unsigned server, uint64_t now_ms)
{
    unsigned count;
    server_succeeded(r->pool->members[server].server);
    if (!roster_speaks(&r->opinions[server].spared, now_ms, &count))
        return;
    struct roster_notice *n = roster_push(r, ROSTER_SPARED, server);
    n->reason = r->passive_reason;
    n->count = count;
    roster_flush(r);
}

void roster_passive_down(struct roster *r, unsigned server, uint64_t now_ms)
{
    assert(r->started);
    if (opinion(r, server)->phase == DOWN)
        return; /* a worker noticed these failures before it heard that the server is down */
    snprintf(r->passive_reason, sizeof r->passive_reason, "%u failures of live traffic in a row",
             r->config->passive.failures);
    if (is_last(r, server)) {
        spare(r, server, now_ms);
        return;
    }
    opinion_go_down(r, server, r->passive_reason, now_ms);
    settle(r, now_ms);
}

bool roster_suspect(struct roster *r, unsigned server)
{
    struct opinion *o = opinion(r, server);
    assert(r->started);
    if (o->phase == DOWN || !config_health_reads_answer(&r->config->health))
        return false;
    o->suspicion = ROSTER_PENDING;
    return true;
}

bool roster_verdict(struct roster *r, unsigned server, bool ok, const char *reason, uint64_t now_ms)
{
    struct opinion *o = opinion(r, server);
    struct server *s = r->pool->members[server].server;
    if (o->suspicion != ROSTER_PENDING)
        return roster_check(r, server, ok, reason, now_ms);
    opinion_record(o, ok, reason, now_ms);
    o->suspicion = ok ? ROSTER_CLEARED : ROSTER_CONFIRMED;
    atomic_fetch_add_explicit(ok ? &s->suspicions.passed : &s->suspicions.failed, 1,
                              memory_order_relaxed);
    bool falls = !ok && !is_last(r, server);
    enum blame blame = roster_tell_suspicion(r, server, ok, falls, now_ms);
    server_succeeded(s); /* the count starts again */
    if (falls) {
        snprintf(r->passive_reason, sizeof r->passive_reason, "%s, asked for by live traffic (%s)",
                 o->last.reason, blame_name(blame));
        opinion_go_down(r, server, r->passive_reason, now_ms);
        settle(r, now_ms);
    } else {
        count_check(r, server, ok, now_ms);
    }
    roster_flush(r);
    return roster_changing(r, server);
}

void roster_drain(struct roster *r, unsigned server, uint64_t now_ms)
{
    struct opinion *o = opinion(r, server);
    assert(r->started);
    if (o->drained)
        return;
    o->drained = true;
    roster_push(r, ROSTER_DRAINED, server);
    settle(r, now_ms);
}

/* Ends a drain, and a wait or hold. */
static void put_back(struct roster *r, unsigned server, uint64_t now_ms)
{
    struct opinion *o = &r->opinions[server];
    if (!o->drained && !opinion_is_waiting(o))
        return;
    roster_push(r, ROSTER_ENABLED, server);
    o->drained = false;
    if (opinion_is_waiting(o))
        opinion_come_back(o, now_ms);
}

void roster_enable(struct roster *r, unsigned server, uint64_t now_ms)
{
    opinion(r, server);
    assert(r->started);
    put_back(r, server, now_ms);
    settle(r, now_ms);
}

bool roster_failback(struct roster *r, unsigned server, uint64_t now_ms)
{
    struct opinion *o = opinion(r, server);
    assert(r->started);
    if (o->phase == DOWN)
        return false;
    if (o->drained)
        put_back(r, server, now_ms);
    else if (opinion_is_waiting(o))
        opinion_come_back(o, now_ms);
    if (server < r->nbackends) { /* a standby has no keys of its own to get back */
        r->slots[server].ramp_from = SERVER_NONE;
        r->slots[server].at_once = true;
    }
    settle(r, now_ms);
    return true;
}

void roster_on_wake(struct roster *r, roster_wake_fn *wake, void *arg)
{
    r->wake = wake;
    r->wake_arg = arg;
}

uint64_t roster_next_ms(const struct roster *r)
{
    return r->next_ms;
}

/* A wait that is over may change the decision; a step of a ramp does not. */
void roster_tick(struct roster *r, uint64_t now_ms)
{
    if (!r->started || now_ms < r->next_ms)
        return;
    bool due = false;
    for (unsigned i = 0; i < r->nservers; i++) {
        struct opinion *o = &r->opinions[i];
        if (o->phase == DOWN && now_ms >= o->until_ms) {
            opinion_rise(r, i, now_ms);
            due = true;
        }
        due |= o->phase == WAITING && !o->drained && now_ms >= o->until_ms;
    }
    if (due)
        settle(r, now_ms);
    else
        roster_apply(r, now_ms); /* a step of a ramp: the decision stays */
}

/* ---- for status and logs ---- */

static bool serves_any(const struct roster *r, unsigned server)
{
    for (unsigned b = 0; b < r->nbackends; b++)
        if (r->words[b].owner == server || r->words[b].from == server)
            return true;
    return false;
}

enum roster_state roster_state(const struct roster *r, unsigned server)
{
    const struct opinion *o = opinion(r, server);
    if (o->drained)
        return ROSTER_DRAINING;
    switch (o->phase) {
    case DOWN:
        return ROSTER_DOWN;
    case WAITING:
    case HELD:
        return ROSTER_RETURNING;
    case UP:
        break;
    }
    if (!is_standby(r, server)) /* a backend in its ramp has only a part of its keys */
        return r->slots[server].ramp_from == SERVER_NONE ? ROSTER_UP : ROSTER_RETURNING;
    return serves_any(r, server) ? ROSTER_PROMOTED : ROSTER_STANDBY;
}

const char *roster_state_name(enum roster_state s)
{
    static const char *const names[] = {
        [ROSTER_UP] = "up",
        [ROSTER_DOWN] = "down",
        [ROSTER_DRAINING] = "draining",
        [ROSTER_RETURNING] = "returning",
        [ROSTER_STANDBY] = "standby",
        [ROSTER_PROMOTED] = "promoted",
    };
    return names[s];
}

const struct roster_check *roster_last_check(const struct roster *r, unsigned server)
{
    return &opinion(r, server)->last;
}

bool roster_all_down(const struct roster *r)
{
    return r->all_down;
}

enum roster_suspicion roster_suspicion(const struct roster *r, unsigned server)
{
    return opinion(r, server)->suspicion;
}

bool roster_is_known(const struct roster *r, unsigned server)
{
    return opinion(r, server)->known;
}

bool roster_is_down(const struct roster *r, unsigned server)
{
    return opinion(r, server)->phase == DOWN;
}

bool roster_changing(const struct roster *r, unsigned server)
{
    return verdict_changing(&opinion(r, server)->verdict);
}
