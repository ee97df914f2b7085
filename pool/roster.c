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
    r->witness = witness_new(p);
    r->standings = standings_new(p);
    r->words = mem_zalloc_array(nb, sizeof *r->words);
    r->out = mem_zalloc_array(n, sizeof *r->out);
    r->listed = mem_zalloc_array(n, sizeof *r->listed);
    r->before = mem_zalloc_array(nb, sizeof *r->before);
    r->after = mem_zalloc_array(nb, sizeof *r->after);
    for (unsigned b = 0; b < nb; b++)
        r->words[b] = r->standings->words[b];
    return r;
}

void roster_free(struct roster *r)
{
    if (r == NULL)
        return;
    free(r->notices);
    free(r->after);
    free(r->before);
    free(r->listed);
    free(r->out);
    free(r->words);
    standings_free(r->standings);
    witness_free(r->witness);
    free(r);
}

static struct seen *seen(const struct roster *r, unsigned server)
{
    assert(server < r->nservers);
    return &r->witness->seen[server];
}

static struct standing *standing(const struct roster *r, unsigned server)
{
    assert(server < r->nservers);
    return &r->standings->servers[server];
}

/* Whether what this proxy sees of the server decides how it stands. */
static bool decides(const struct roster *r, unsigned server)
{
    return !standing_is_agreed(r->standings, server);
}

/* After an agreement, servers may be out that this proxy can reach. It leaves them out, as long as
 * others serve their keys. True: one was needed, so the decision is to be made again. */
static bool rescue(struct roster *r, uint64_t now_ms)
{
    bool any = false;
    for (unsigned i = 0; i < r->nservers && r->fleet; i++) {
        const struct standing *d = standing(r, i);
        if (d->phase != STANDINGS_DOWN || d->drained || !seen(r, i)->verdict.up || !decides(r, i) ||
            !standings_want(r->standings, i))
            continue;
        standings_rise(r->standings, i, now_ms);
        any = true;
    }
    return any;
}

void roster_settle(struct roster *r, uint64_t now_ms)
{
    do
        standings_decide(r->standings, now_ms);
    while (rescue(r, now_ms));
    roster_apply(r, now_ms);
}

/* ---- verdicts ---- */

/* The witness has turned down. In a fleet it matters at once whether the other servers can be
 * reached. reason must live until the notices are told. */
static void fallen(struct roster *r, unsigned server, const char *reason, uint64_t now_ms)
{
    roster_push(r, ROSTER_SERVER_DOWN, server)->reason = reason;
    if (decides(r, server))
        standings_down(r->standings, server, now_ms);
    for (unsigned i = 0; i < r->nservers && r->look; i++)
        if (i != server && seen(r, i)->verdict.up)
            r->look(r->look_arg, i);
}

/* The witness has turned up. */
static void risen(struct roster *r, unsigned server, uint64_t now_ms)
{
    if (decides(r, server) && standing(r, server)->phase == STANDINGS_DOWN)
        standings_rise(r->standings, server, now_ms);
    /* Failures from before it went down must not count against it now. */
    server_succeeded(r->pool->members[server].server);
    roster_push(r, ROSTER_SERVER_UP, server);
}

static void go_down(struct roster *r, unsigned server, const char *reason, uint64_t now_ms)
{
    witness_down(r->witness, server, now_ms, now_ms);
    fallen(r, server, reason, now_ms);
    roster_settle(r, now_ms);
}

static void go_up(struct roster *r, unsigned server, uint64_t now_ms)
{
    witness_up(r->witness, server, now_ms);
    risen(r, server, now_ms);
}

/* ---- events ---- */

void roster_first(struct roster *r, unsigned server, bool ok, const char *reason, uint64_t began_ms,
                  uint64_t now_ms)
{
    struct seen *v = seen(r, server);
    assert(!r->started && v->verdict.up);
    witness_note(r->witness, server, ok, reason, began_ms, now_ms);
    if (ok) /* up already, as every server begins */
        return;
    witness_down(r->witness, server, began_ms, now_ms);
    /* With `check: off` its name is not resolved, and time does not change that. */
    v->until_ms = NEVER;
    fallen(r, server, v->last.reason, now_ms);
    standing(r, server)->no_wait = decides(r, server);
}

void roster_resolved(struct roster *r, unsigned server, uint64_t now_ms)
{
    struct seen *v = seen(r, server);
    assert(r->started);
    if (r->config->health.check != CHECK_OFF || v->verdict.up || v->until_ms != NEVER)
        return;
    go_up(r, server, now_ms);
    roster_settle(r, now_ms);
}

void roster_start(struct roster *r, uint64_t now_ms)
{
    assert(!r->started);
    r->started = true;
    roster_settle(r, now_ms);
}

static void count_check(struct roster *r, unsigned server, bool ok, uint64_t now_ms)
{
    switch (witness_check(r->witness, server, ok, now_ms)) {
    case VERDICT_SAME:
        return;
    case VERDICT_DOWN:
        fallen(r, server, seen(r, server)->last.reason, now_ms);
        break;
    case VERDICT_UP:
        risen(r, server, now_ms);
        break;
    }
    roster_settle(r, now_ms);
}

/* True: the check failed while this proxy stood still, so that says nothing of the server. */
static bool is_void(struct roster *r, unsigned server, bool ok, uint64_t began_ms)
{
    struct seen *v = seen(r, server);
    if (ok || !witness_doubts_check(r->witness, began_ms))
        return false;
    if (v->suspicion == ROSTER_PENDING) {
        v->suspicion = ROSTER_UNSUSPECTED;
        server_succeeded(r->pool->members[server].server);
    }
    return true;
}

bool roster_check(struct roster *r, unsigned server, bool ok, const char *reason, uint64_t began_ms,
                  uint64_t now_ms)
{
    struct seen *v = seen(r, server);
    bool was_fresh = v->fresh;
    assert(r->started);
    if (is_void(r, server, ok, began_ms))
        return roster_changing(r, server);
    if (v->suspicion == ROSTER_PENDING && !ok)
        return roster_verdict(r, server, ok, reason, began_ms, now_ms);
    witness_note(r->witness, server, ok, reason, began_ms, now_ms);
    count_check(r, server, ok, now_ms);
    if (v->fresh != was_fresh || (ok && r->unproved))
        roster_tell_news(r);
    return roster_changing(r, server);
}

/* Whether the pool would have nobody without this server. One that waits for its return does count:
 * it returns at once if it is needed. */
static bool is_last(const struct roster *r, unsigned server)
{
    for (unsigned i = 0; i < r->nservers; i++)
        if (i != server && seen(r, i)->verdict.up && standing(r, i)->phase != STANDINGS_DOWN &&
            !standing(r, i)->drained)
            return false;
    return true;
}

/* The last server of a pool stays, and the count starts again. */
static void spare(struct roster *r, unsigned server, uint64_t now_ms)
{
    unsigned count;
    server_succeeded(r->pool->members[server].server);
    if (!roster_speaks(&seen(r, server)->spared, now_ms, &count))
        return;
    struct roster_notice *n = roster_push(r, ROSTER_SPARED, server);
    n->reason = r->passive_reason;
    n->count = count;
    roster_flush(r);
}

/* True: the failures of live traffic may be this proxy's own, and the count starts again. */
static bool forgives(struct roster *r, unsigned server, uint64_t now_ms)
{
    if (!witness_doubts_traffic(r->witness, now_ms))
        return false;
    server_succeeded(r->pool->members[server].server);
    return true;
}

void roster_passive_down(struct roster *r, unsigned server, uint64_t now_ms)
{
    assert(r->started);
    if (!seen(r, server)->verdict.up || forgives(r, server, now_ms))
        return; /* down: a worker noticed these failures before it heard of that */
    snprintf(r->passive_reason, sizeof r->passive_reason, "%u failures of live traffic in a row",
             r->config->passive.failures);
    if (is_last(r, server))
        spare(r, server, now_ms);
    else
        go_down(r, server, r->passive_reason, now_ms);
}

bool roster_suspect(struct roster *r, unsigned server)
{
    struct seen *v = seen(r, server);
    assert(r->started);
    if (!v->verdict.up || !config_health_reads_answer(&r->config->health))
        return false;
    v->suspicion = ROSTER_PENDING;
    return true;
}

bool roster_verdict(struct roster *r, unsigned server, bool ok, const char *reason,
                    uint64_t began_ms, uint64_t now_ms)
{
    struct seen *v = seen(r, server);
    struct server *s = r->pool->members[server].server;
    if (v->suspicion != ROSTER_PENDING || is_void(r, server, ok, began_ms))
        return roster_check(r, server, ok, reason, began_ms, now_ms);
    witness_note(r->witness, server, ok, reason, began_ms, now_ms);
    v->suspicion = ok ? ROSTER_CLEARED : ROSTER_CONFIRMED;
    atomic_fetch_add_explicit(ok ? &s->suspicions.passed : &s->suspicions.failed, 1,
                              memory_order_relaxed);
    bool falls = !ok && !is_last(r, server);
    enum blame blame = roster_tell_suspicion(r, server, ok, falls, now_ms);
    server_succeeded(s); /* the count starts again */
    if (falls) {
        snprintf(r->passive_reason, sizeof r->passive_reason, "%s, asked for by live traffic (%s)",
                 v->last.reason, blame_name(blame));
        go_down(r, server, r->passive_reason, now_ms);
    } else {
        count_check(r, server, ok, now_ms);
    }
    roster_flush(r);
    roster_tell_news(r);
    return roster_changing(r, server);
}

/* ---- operators ---- */

void roster_drain(struct roster *r, unsigned server, uint64_t now_ms)
{
    const struct standing *d = standing(r, server);
    assert(r->started);
    if (d->drained)
        return;
    standings_drain(r->standings, server, d->asked_ms, now_ms);
    roster_push(r, ROSTER_DRAINED, server);
    roster_settle(r, now_ms);
}

void roster_enable(struct roster *r, unsigned server, uint64_t now_ms)
{
    const struct standing *d = standing(r, server);
    assert(r->started);
    if (d->drained || standing_is_waiting(d)) {
        roster_push(r, ROSTER_ENABLED, server);
        standings_enable(r->standings, server, d->asked_ms, now_ms);
    }
    roster_settle(r, now_ms);
}

bool roster_failback(struct roster *r, unsigned server, uint64_t now_ms)
{
    const struct standing *d = standing(r, server);
    bool drained = d->drained;
    assert(r->started);
    if (!standings_failback(r->standings, server, d->asked_ms, now_ms))
        return false;
    if (drained)
        roster_push(r, ROSTER_ENABLED, server);
    roster_settle(r, now_ms);
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
        const struct seen *v = seen(r, i);
        if (!v->verdict.up && now_ms >= v->until_ms) {
            go_up(r, i, now_ms);
            due = true;
        }
        const struct standing *d = standing(r, i);
        due |=
            d->phase == STANDINGS_WAITING && !d->drained && decides(r, i) && now_ms >= d->until_ms;
    }
    if (due)
        roster_settle(r, now_ms);
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
    const struct standing *d = standing(r, server);
    if (d->drained || seen(r, server)->drained)
        return ROSTER_DRAINING;
    switch (d->phase) {
    case STANDINGS_DOWN:
        return ROSTER_DOWN;
    case STANDINGS_WAITING:
    case STANDINGS_HELD:
        return ROSTER_RETURNING;
    case STANDINGS_UP:
        break;
    }
    if (!is_standby(r->standings, server)) /* a backend in its ramp has only a part of its keys */
        return r->standings->slots[server].ramp_from == SERVER_NONE ? ROSTER_UP : ROSTER_RETURNING;
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
    return &seen(r, server)->last;
}

bool roster_all_down(const struct roster *r)
{
    return r->all_down;
}

enum roster_suspicion roster_suspicion(const struct roster *r, unsigned server)
{
    return seen(r, server)->suspicion;
}

bool roster_is_known(const struct roster *r, unsigned server)
{
    return seen(r, server)->known;
}

bool roster_is_down(const struct roster *r, unsigned server)
{
    return !seen(r, server)->verdict.up;
}

bool roster_changing(const struct roster *r, unsigned server)
{
    return verdict_changing(&seen(r, server)->verdict);
}
