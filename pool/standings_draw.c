/* From a decision to the words of slots: waits end, ramps begin and go on. No code in here asks how
 * a server stands to know whether it is out. */
#include <assert.h>
#include <string.h>

#include "pool/standings_internal.h"

#define RAMP_STEPS 256

/* A server that waited and is not out any more has come back. A backend that is still out after its
 * delay, because the mode is manual, is held. */
static void follow(struct standings *st, uint64_t now_ms)
{
    for (unsigned i = 0; i < st->nservers; i++) {
        struct standing *d = &st->servers[i];
        if (!standing_is_waiting(d) || standing_is_agreed(st, i))
            continue;
        if (!st->decision.out[i]) {
            standing_come_back(d, now_ms);
        } else if (d->phase == STANDINGS_WAITING && now_ms >= d->until_ms && !is_standby(st, i)) {
            d->phase = STANDINGS_HELD;
            d->tell_held = true;
        }
    }
}

/* ---- ramps ---- */

static void start_ramp(struct slot *s, unsigned from, uint64_t now_ms)
{
    s->ramp_from = (uint16_t)from;
    s->ramp_share = 0;
    s->ramp_start_ms = s->ramp_step_ms = now_ms;
    s->ramp_moved = -1; /* computed when the ramp is told of */
}

static uint64_t step_length(const struct standings *st)
{
    uint64_t step = st->config->failback.ramp_ms / RAMP_STEPS;
    return step > st->step_ms ? step : st->step_ms;
}

/* Takes one step of a ramp. False: the ramp is over. Alone, each event is a step. */
static bool step_ramp(const struct standings *st, struct slot *s, uint64_t now_ms)
{
    uint64_t ramp_ms = st->config->failback.ramp_ms;
    uint64_t passed = now_ms - s->ramp_start_ms;
    if (st->coarse && now_ms - s->ramp_step_ms < step_length(st))
        return true;
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
static bool may_hand_back(const struct standings *st, unsigned s)
{
    return is_standby(st, s) && !st->decision.out[s] && !st->decision.all_down && !st->busy[s];
}

/* ---- words ---- */

/* The new word of slot b, with the next step of its ramp, or the first one of a new ramp. A ramp
 * that was agreed begins, and goes on, by agreements alone. */
static struct pool_owner word_of(struct standings *st, unsigned b, uint64_t now_ms)
{
    struct slot *s = &st->slots[b];
    struct pool_owner w = {.owner = st->decision.owner[b], .from = SERVER_NONE};
    bool home = w.owner == b, agreed = standing_is_agreed(st, b);
    if (home && s->ramp_from == SERVER_NONE && st->config->failback.ramp_ms > 0 && !s->at_once &&
        !agreed && may_hand_back(st, st->words[b].owner))
        start_ramp(s, st->words[b].owner, now_ms);
    s->at_once = false;
    if (s->ramp_from == SERVER_NONE)
        return w;
    if (!home || !may_hand_back(st, s->ramp_from) || (!agreed && !step_ramp(st, s, now_ms))) {
        s->ramp_from = SERVER_NONE;
        return w;
    }
    w.from = s->ramp_from;
    w.share = s->ramp_share;
    return w;
}

void standings_draw(struct standings *st, uint64_t now_ms)
{
    follow(st, now_ms);
    memset(st->busy, 0, st->nservers * sizeof *st->busy);
    for (unsigned b = 0; b < st->nbackends; b++)
        if (st->decision.owner[b] != SERVER_NONE)
            st->busy[st->decision.owner[b]] = true;
    for (unsigned b = 0; b < st->nbackends; b++)
        st->words[b] = word_of(st, b, now_ms);
}

/* ---- when there is more to do ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t ramp_next_ms(const struct standings *st, const struct slot *s)
{
    /* Lengths are compared, as a ramp that was restored may have begun before this clock did. */
    uint64_t next = s->ramp_step_ms - s->ramp_start_ms + step_length(st);
    uint64_t end = st->config->failback.ramp_ms;
    return s->ramp_start_ms + (st->coarse ? next : earlier(next, end));
}

uint64_t standings_next_ms(const struct standings *st)
{
    uint64_t at = NEVER;
    for (unsigned i = 0; i < st->nservers; i++) {
        const struct standing *d = &st->servers[i];
        if (d->phase == STANDINGS_WAITING && !d->drained && !standing_is_agreed(st, i))
            at = earlier(at, d->until_ms);
    }
    for (unsigned b = 0; b < st->nbackends; b++)
        if (st->slots[b].ramp_from != SERVER_NONE && !standing_is_agreed(st, b))
            at = earlier(at, ramp_next_ms(st, &st->slots[b]));
    return at;
}
