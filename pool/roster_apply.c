/* From a decision to what every thread sees: waits end, ramps begin and go on, words are published,
 * and then notices tell of it. No code in here asks an opinion which servers are out. */
#include <assert.h>
#include <string.h>

#include "pool/roster_internal.h"

#define RAMP_STEPS 256
#define RAMP_STEP_MIN_MS 10

/* ---- opinions follow ---- */

/* A server that waited and is not out any more has come back. A backend that is still out after its
 * delay, because the mode is manual, is held. */
static void follow(struct roster *r, uint64_t now_ms)
{
    for (unsigned i = 0; i < r->nservers; i++) {
        struct opinion *o = &r->opinions[i];
        if (!opinion_is_waiting(o))
            continue;
        if (!r->decision.out[i])
            opinion_come_back(o, now_ms);
        else if (o->phase == WAITING && now_ms >= o->until_ms && !is_standby(r, i))
            opinion_hold(o);
    }
}

/* ---- ramps and words ---- */

static void start_ramp(struct slot *s, unsigned from, uint64_t now_ms)
{
    s->ramp_from = (uint16_t)from;
    s->ramp_share = 0;
    s->ramp_start_ms = s->ramp_step_ms = now_ms;
    s->ramp_moved = -1; /* computed when the ramp is told of */
}

/* Takes one step of a ramp. False: the ramp is over. */
static bool step_ramp(struct slot *s, uint64_t ramp_ms, uint64_t now_ms)
{
    uint64_t passed = now_ms - s->ramp_start_ms;
    if (passed >= ramp_ms)
        return false;
    uint32_t share = (uint32_t)(passed * SHARE_ALL / ramp_ms);
    if (share > s->ramp_share)
        s->ramp_share = share;
    s->ramp_step_ms = now_ms;
    return true;
}

/* A standby hands keys back gradually only while it is in service, and owns no other slot. One that
 * is down like all others hands them back at once. */
static bool may_hand_back(const struct roster *r, unsigned s)
{
    return is_standby(r, s) && !r->decision.out[s] && !r->decision.all_down && !r->busy[s];
}

/* The new word of slot b, with the next step of its ramp, or the first one of a new ramp. */
static struct pool_owner word_of(struct roster *r, unsigned b, uint64_t now_ms)
{
    struct slot *s = &r->slots[b];
    struct pool_owner w = {.owner = r->decision.owner[b], .from = SERVER_NONE};
    uint64_t ramp_ms = r->config->failback.ramp_ms;
    bool home = w.owner == b;
    if (home && s->ramp_from == SERVER_NONE && ramp_ms > 0 && !s->at_once &&
        may_hand_back(r, r->words[b].owner))
        start_ramp(s, r->words[b].owner, now_ms);
    s->at_once = false;
    if (s->ramp_from == SERVER_NONE)
        return w;
    if (!home || !may_hand_back(r, s->ramp_from) || !step_ramp(s, ramp_ms, now_ms)) {
        s->ramp_from = SERVER_NONE;
        return w;
    }
    w.from = s->ramp_from;
    w.share = s->ramp_share;
    return w;
}

static bool same_word(struct pool_owner a, struct pool_owner b)
{
    return a.owner == b.owner && a.from == b.from && a.share == b.share;
}

static bool make_words(struct roster *r, uint64_t now_ms)
{
    bool changed = false;
    memset(r->busy, 0, r->nservers * sizeof *r->busy);
    for (unsigned b = 0; b < r->nbackends; b++)
        if (r->decision.owner[b] != SERVER_NONE)
            r->busy[r->decision.owner[b]] = true;
    for (unsigned b = 0; b < r->nbackends; b++) {
        r->fresh[b] = word_of(r, b, now_ms);
        changed |= !same_word(r->fresh[b], r->words[b]);
    }
    return changed;
}

/* ---- publishing ---- */

/* A waiting backend owns no slot, so no first try comes to it, and whatif() counts it as out for
 * that. A standby in service owns no slot either, so `usable` must tell a waiting one apart. True:
 * what whatif() says may change, though no owner does. */
static bool set_usable(struct roster *r, unsigned id)
{
    const struct opinion *o = &r->opinions[id];
    bool usable = is_standby(r, id) || r->decision.all_down ? !r->decision.out[id]
                                                            : o->phase != DOWN && !o->drained;
    bool before = atomic_exchange_explicit(&r->pool->members[id].server->usable, usable,
                                           memory_order_relaxed);
    return is_standby(r, id) && before != usable;
}

static void keep_words(struct roster *r)
{
    struct pool_owner *old = r->words;
    r->words = r->fresh;
    r->fresh = old;
    for (unsigned b = 0; b < r->nbackends; b++)
        r->slots[b].served = true;
}

/* ---- when the next tick is due ---- */

static uint64_t opinion_next_ms(const struct opinion *o)
{
    return o->phase == DOWN || (o->phase == WAITING && !o->drained) ? o->until_ms : NEVER;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t ramp_next_ms(const struct slot *s, uint64_t ramp_ms)
{
    if (s->ramp_from == SERVER_NONE)
        return NEVER;
    /* Lengths are compared, as a ramp that was restored may have begun before this clock did. */
    uint64_t step = ramp_ms / RAMP_STEPS;
    uint64_t next =
        s->ramp_step_ms - s->ramp_start_ms + (step > RAMP_STEP_MIN_MS ? step : RAMP_STEP_MIN_MS);
    return s->ramp_start_ms + earlier(next, ramp_ms);
}

static uint64_t next_ms(const struct roster *r)
{
    uint64_t at = NEVER;
    for (unsigned i = 0; i < r->nservers; i++)
        at = earlier(at, opinion_next_ms(&r->opinions[i]));
    for (unsigned b = 0; b < r->nbackends; b++)
        at = earlier(at, ramp_next_ms(&r->slots[b], r->config->failback.ramp_ms));
    return at;
}

/* The wake function is called last, when the roster is consistent. The first call publishes even
 * what has not changed, as nothing was published before. */
void roster_apply(struct roster *r, uint64_t now_ms)
{
    assert(!r->flushing);
    follow(r, now_ms);
    bool changed = make_words(r, now_ms);
    changed |= r->decision.all_down != r->all_down;
    for (unsigned i = 0; i < r->nservers; i++)
        changed |= set_usable(r, i);
    if (changed || atomic_load_explicit(&r->pool->version, memory_order_relaxed) == 0)
        pool_publish(r->pool, r->fresh);
    roster_tell(r, changed, now_ms);
    keep_words(r);
    r->live = true;
    uint64_t before_ms = r->next_ms;
    r->next_ms = next_ms(r);
    roster_flush(r);
    if (r->wake && r->next_ms != before_ms)
        r->wake(r->wake_arg, r->next_ms);
}
