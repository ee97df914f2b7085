#include "pool/witness.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "pool/standings_internal.h"

/* ---- life ---- */

struct witness *witness_new(const struct pool *p)
{
    struct witness *w = mem_zalloc(sizeof *w);
    const struct config_pool *c = p->config;
    w->pool = p;
    w->config = c;
    w->nservers = p->nservers;
    w->seen = mem_zalloc_array(w->nservers, sizeof *w->seen);
    for (unsigned i = 0; i < w->nservers; i++) {
        verdict_init(&w->seen[i].verdict, c->health.fall, c->health.rise, true);
        w->seen[i].exception.delay_ms = c->failback.after_ms;
        w->seen[i].until_ms = NEVER;
    }
    return w;
}

void witness_free(struct witness *w)
{
    if (w == NULL)
        return;
    free(w->seen);
    free(w);
}

/* ---- sight ---- */

static void note_sight(struct witness *w, unsigned id, uint64_t at_ms)
{
    if (w->sees && w->sight == id) {
        w->sight_ms = at_ms > w->sight_ms ? at_ms : w->sight_ms;
        return;
    }
    if (!w->sees || at_ms >= w->sight_ms) {
        w->sees_other = w->sees;
        w->other_sight_ms = w->sight_ms;
        w->sees = true;
        w->sight = id;
        w->sight_ms = at_ms;
    } else if (!w->sees_other || at_ms > w->other_sight_ms) {
        w->sees_other = true;
        w->other_sight_ms = at_ms;
    }
}

/* In an order in which a try that is under way never counts as one that has worked: what is added
 * is read first. */
uint64_t witness_tries(const struct witness *w, unsigned id)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < w->nservers; i++) {
        const struct server *s = w->pool->members[i].server;
        if (i == id)
            continue;
        n += server_requests(s);
        n -= server_errors(s);
        n -= atomic_load_explicit(&s->active, memory_order_relaxed);
    }
    return n;
}

static bool has_sight(const struct witness *w, unsigned id)
{
    const struct seen *v = &w->seen[id];
    bool sees = w->sees && w->sight != id ? w->sees : w->sees_other;
    uint64_t at_ms = w->sees && w->sight != id ? w->sight_ms : w->other_sight_ms;
    if (w->nservers == 1 || (sees && at_ms >= v->down_ms))
        return true;
    return w->config->health.check == CHECK_OFF &&
           (int64_t)(witness_tries(w, id) - v->tries_then) > 0;
}

enum roster_vote witness_vote(const struct witness *w, unsigned id)
{
    const struct seen *v = &w->seen[id];
    bool checked = w->config->health.check != CHECK_OFF;
    if (checked && !v->fresh)
        return ROSTER_VOTE_NONE;
    if (v->verdict.up)
        return checked ? ROSTER_VOTE_UP : ROSTER_VOTE_NONE;
    return has_sight(w, id) ? ROSTER_VOTE_DOWN : ROSTER_VOTE_NONE;
}

bool witness_blind(const struct witness *w)
{
    for (unsigned i = 0; i < w->nservers; i++)
        if (w->seen[i].verdict.up)
            return false;
    return true;
}

/* ---- verdicts ---- */

void witness_note(struct witness *w, unsigned id, bool ok, const char *reason, uint64_t began_ms,
                  uint64_t now_ms)
{
    struct seen *v = &w->seen[id];
    v->last.done = true;
    v->last.ok = ok;
    v->last.at_ms = now_ms;
    snprintf(v->last.reason, sizeof v->last.reason, "%s", reason ? reason : "");
    v->fresh |= !witness_doubts_check(w, began_ms);
    if (ok)
        note_sight(w, id, began_ms);
}

enum verdict_change witness_check(struct witness *w, unsigned id, bool ok, uint64_t now_ms)
{
    struct seen *v = &w->seen[id];
    enum verdict_change change = verdict_check(&v->verdict, ok);
    if (change == VERDICT_SAME && !ok && v->verdict.up && v->claimed)
        change = VERDICT_DOWN; /* others say so, too */
    if (change == VERDICT_DOWN)
        witness_down(w, id, now_ms, now_ms);
    else if (change == VERDICT_UP)
        witness_up(w, id, now_ms);
    return change;
}

void witness_down(struct witness *w, unsigned id, uint64_t began_ms, uint64_t now_ms)
{
    struct seen *v = &w->seen[id];
    struct exception *x = &v->exception;
    const struct config_health *h = &w->config->health;
    verdict_force(&v->verdict, false); /* even if live traffic took it down */
    if (v->suspicion == ROSTER_PENDING)
        v->suspicion = ROSTER_UNSUSPECTED;
    v->until_ms = h->check == CHECK_OFF ? now_ms + h->interval_ms : NEVER;
    v->down_ms = began_ms;
    if (h->check == CHECK_OFF)
        v->tries_then = witness_tries(w, id);
    if (!x->on)
        x->delay_ms =
            standings_delay(&w->config->failback, x->ended, now_ms - x->ended_ms, x->delay_ms);
    *x = (struct exception){.on = true, .until_ms = NEVER, .delay_ms = x->delay_ms};
}

void witness_up(struct witness *w, unsigned id, uint64_t now_ms)
{
    struct seen *v = &w->seen[id];
    verdict_force(&v->verdict, true);
    v->until_ms = NEVER;
    v->exception.until_ms = now_ms + v->exception.delay_ms;
}

/* ---- doubt ---- */

bool witness_doubts_check(const struct witness *w, uint64_t began_ms)
{
    return w->stalled && began_ms < w->stalled_ms;
}

bool witness_doubts_traffic(const struct witness *w, uint64_t now_ms)
{
    return w->stalled && now_ms - w->stalled_ms < ROSTER_DOUBT_MS;
}

void witness_stall(struct witness *w, uint64_t now_ms)
{
    w->stalled = true;
    w->stalled_ms = now_ms;
    for (unsigned i = 0; i < w->nservers; i++)
        w->seen[i].fresh = false;
}

/* ---- exceptions ---- */

static void end_exception(struct exception *x, bool lasted, uint64_t now_ms)
{
    x->on = false;
    x->ended = lasted;
    x->ended_ms = now_ms;
}

/* By time, or because what is agreed has changed: out now, or brought back. */
static void end_due(struct seen *v, bool out, bool agreed, uint64_t now_ms)
{
    struct exception *x = &v->exception;
    bool back = v->was_out && !out;
    v->was_out = out;
    if (!x->on || !v->verdict.up)
        return;
    if (now_ms >= x->until_ms)
        end_exception(x, true, now_ms);
    else if (back || (out && agreed))
        end_exception(x, false, now_ms);
}

/* Whether any server is left that is used: in service, not left out here. */
static bool any_used(const struct witness *w, const bool *out)
{
    for (unsigned i = 0; i < w->nservers; i++)
        if (!out[i] && !w->seen[i].excepted && !w->seen[i].drained)
            return true;
    return false;
}

bool witness_end_delay(struct witness *w, unsigned id, uint64_t now_ms)
{
    struct seen *v = &w->seen[id];
    if (!v->excepted || !v->verdict.up)
        return false;
    end_exception(&v->exception, true, now_ms);
    v->excepted = false;
    return true;
}

/* Nobody else can serve. */
static void end_delays(struct witness *w, uint64_t now_ms)
{
    for (unsigned i = 0; i < w->nservers; i++)
        witness_end_delay(w, i, now_ms);
}

void witness_settle(struct witness *w, const struct witness_context *c, uint64_t now_ms)
{
    for (unsigned i = 0; i < w->nservers; i++) {
        struct seen *v = &w->seen[i];
        end_due(v, c->out[i], c->agreed[i], now_ms);
        v->excepted = c->fleet && v->exception.on && !c->out[i];
    }
    if (!c->fleet || any_used(w, c->out))
        return;
    end_delays(w, now_ms);
    if (any_used(w, c->out))
        return;
    for (unsigned i = 0; i < w->nservers; i++)
        w->seen[i].excepted = false;
}

uint64_t witness_next_ms(const struct witness *w)
{
    uint64_t at = NEVER;
    for (unsigned i = 0; i < w->nservers; i++) {
        const struct seen *v = &w->seen[i];
        uint64_t until =
            v->verdict.up ? (v->excepted ? v->exception.until_ms : NEVER) : v->until_ms;
        at = until < at ? until : at;
    }
    return at;
}
