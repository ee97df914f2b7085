/* What is believed of one server: a phase, and, in any phase, whether the server is drained.
 *
 *            fall checks failed, or live traffic failed
 *      .------------------------> DOWN <------------+-----------.
 *      |                           |   rise passed  |           |
 *      |      delay over           v                |           |
 *      UP <--------------------- WAITING -----------'           |
 *        ^                         | delay over, manual, and    |
 *         \                        v a standby has its points   |
 *          `------------------- HELD ---------------------------'
 *             operator; its standby went out
 *
 *   UP       in service; owns its points if it is a backend, all of them unless a ramp is on
 *   DOWN     out, not usable. With `check: off` it ends at until_ms; until_ms is NEVER while checks
 *            decide, or the name is not resolved
 *   WAITING  checks pass; out until until_ms: failback.after, doubled for each relapse
 *   HELD     checks pass; out until an operator brings it back (mode manual). Backends alone
 *
 * While a server is drained, a wait or hold does not end by itself; enabling the server ends it. */
#include <assert.h>
#include <stdio.h>

#include "pool/roster_internal.h"

static void move(struct opinion *o, enum phase to)
{
    static const unsigned allowed[] = {
        [UP] = 1u << DOWN,
        [DOWN] = 1u << WAITING,
        [WAITING] = 1u << DOWN | 1u << HELD | 1u << UP,
        [HELD] = 1u << DOWN | 1u << UP,
    };
    assert(allowed[o->phase] & 1u << to);
    o->phase = to;
}

bool opinion_is_waiting(const struct opinion *o)
{
    return !o->drained && (o->phase == WAITING || o->phase == HELD);
}

bool opinion_is_out(const struct opinion *o)
{
    return o->drained || o->phase != UP;
}

/* The wait before the next return: doubled if the server did not last after the return before. */
static uint64_t next_delay(const struct roster *r, const struct opinion *o, uint64_t now_ms)
{
    const struct config_failback *f = &r->config->failback;
    if (!o->returned || now_ms - o->returned_ms > f->max_after_ms)
        return f->after_ms;
    uint64_t cap = f->max_after_ms > f->after_ms ? f->max_after_ms : f->after_ms;
    return o->delay_ms > cap / 2 ? cap : 2 * o->delay_ms;
}

void opinion_go_down(struct roster *r, unsigned id, const char *reason, uint64_t now_ms)
{
    struct opinion *o = &r->opinions[id];
    const struct config_health *h = &r->config->health;
    if (o->phase == UP)
        o->delay_ms = next_delay(r, o, now_ms);
    o->returned = false;
    o->tell_held = false;
    o->until_ms = h->check == CHECK_OFF ? now_ms + h->interval_ms : NEVER;
    verdict_force(&o->verdict, false); /* even if live traffic took it down */
    if (o->suspicion == ROSTER_PENDING)
        o->suspicion = ROSTER_UNSUSPECTED;
    move(o, DOWN);
    roster_push(r, ROSTER_SERVER_DOWN, id)->reason = reason;
}

void opinion_rise(struct roster *r, unsigned id, uint64_t now_ms)
{
    struct opinion *o = &r->opinions[id];
    o->until_ms = now_ms + (o->no_wait ? 0 : o->delay_ms);
    o->no_wait = false;
    o->tell_held = true;
    verdict_force(&o->verdict, true);
    move(o, WAITING);
    /* Failures from before it went down must not count against it now. */
    server_succeeded(r->pool->members[id].server);
    roster_push(r, ROSTER_SERVER_UP, id);
}

void opinion_hold(struct opinion *o)
{
    move(o, HELD);
    o->tell_held = true;
}

void opinion_come_back(struct opinion *o, uint64_t now_ms)
{
    move(o, UP);
    o->tell_held = false;
    o->returned = true;
    o->returned_ms = now_ms;
}

void opinion_record(struct opinion *o, bool ok, const char *reason, uint64_t now_ms)
{
    o->last.done = true;
    o->last.ok = ok;
    o->last.at_ms = now_ms;
    snprintf(o->last.reason, sizeof o->last.reason, "%s", reason ? reason : "");
}
