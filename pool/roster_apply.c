/* From the standings to what every thread sees: waits end, ramps begin and go on, exceptions begin
 * and end, words are published, and then notices tell of it. */
#include <assert.h>
#include <string.h>

#include "pool/roster_internal.h"

static bool same_word(struct pool_owner a, struct pool_owner b)
{
    return a.owner == b.owner && a.from == b.from && a.share == b.share;
}

static bool new_words(const struct roster *r)
{
    bool changed = r->standings->decision.all_down != r->all_down;
    for (unsigned b = 0; b < r->nbackends && !changed; b++)
        changed = !same_word(r->standings->words[b], r->words[b]);
    return changed;
}

/* ---- exceptions ---- */

static void look_at_standings(struct roster *r)
{
    for (unsigned i = 0; i < r->nservers; i++) {
        r->out[i] = standings_is_out(r->standings, i);
        r->listed[i] = standing_is_agreed(r->standings, i);
    }
}

/* With `when_down: fail` the keys of a server that is left out here have its standby or nobody. */
static bool end_delays(struct roster *r, uint64_t now_ms)
{
    bool any = false;
    for (unsigned i = 0; i < r->nservers && !any; i++)
        any = r->witness->seen[i].excepted && r->witness->seen[i].verdict.up;
    if (!any)
        return false;
    for (unsigned i = 0; i < r->nservers; i++)
        r->out[i] |= roster_is_excepted(r, i);
    any = false;
    failover_owners(r->pool->failover, r->out, r->after);
    for (unsigned b = 0; b < r->nbackends; b++) {
        unsigned owner = r->standings->decision.owner[b];
        if (r->after[b] == SERVER_NONE && owner != SERVER_NONE)
            any |= witness_end_delay(r->witness, owner, now_ms);
    }
    look_at_standings(r);
    return any;
}

static void settle_exceptions(struct roster *r, uint64_t now_ms)
{
    const struct witness_context c = {r->out, r->listed, r->fleet};
    do {
        look_at_standings(r);
        witness_settle(r->witness, &c, now_ms);
    } while (r->fleet && r->config->when_down == WHEN_DOWN_FAIL && end_delays(r, now_ms));
}

/* Whether the owners follow from the agreement alone, so that a server may be told its number. */
static bool by_agreement(const struct roster *r)
{
    bool all = r->agreed && !r->standings->decision.all_down;
    for (unsigned i = 0; i < r->nservers && all; i++)
        all = r->listed[i];
    return all;
}

/* ---- publishing ---- */

/* A waiting backend owns no slot, so no first try comes to it, and whatif() counts it as out for
 * that. A standby in service owns no slot either, so `usable` must tell a waiting one apart. */
static bool is_usable(const struct roster *r, unsigned id)
{
    const struct standings *st = r->standings;
    const struct standing *d = &st->servers[id];
    const struct seen *v = &r->witness->seen[id];
    if (v->excepted || v->drained)
        return false;
    if (is_standby(st, id) || st->decision.all_down)
        return !st->decision.out[id];
    return d->phase != STANDINGS_DOWN && !d->drained;
}

/* True: what whatif() says may change, though no owner does. */
static bool set_usable(struct roster *r, unsigned id)
{
    bool usable = is_usable(r, id);
    bool before = atomic_exchange_explicit(&r->pool->members[id].server->usable, usable,
                                           memory_order_relaxed);
    bool counts = is_standby(r->standings, id) || r->standings->words[id].owner == id;
    return counts && before != usable;
}

static void publish(struct roster *r, bool changed)
{
    bool agreed = by_agreement(r);
    if (!agreed)
        atomic_store_explicit(&r->pool->by_agreement, false, memory_order_relaxed);
    if (changed || atomic_load_explicit(&r->pool->version, memory_order_relaxed) == 0)
        pool_publish(r->pool, r->standings->words);
    if (agreed)
        atomic_store_explicit(&r->pool->by_agreement, true, memory_order_release);
}

static void keep_words(struct roster *r)
{
    memcpy(r->words, r->standings->words, r->nbackends * sizeof *r->words);
    for (unsigned b = 0; b < r->nbackends; b++)
        r->standings->slots[b].served = true;
}

/* ---- when the next tick is due ---- */

static uint64_t next_ms(const struct roster *r)
{
    uint64_t a = standings_next_ms(r->standings), b = witness_next_ms(r->witness);
    return a < b ? a : b;
}

void roster_rearm(struct roster *r)
{
    uint64_t before_ms = r->next_ms;
    r->next_ms = next_ms(r);
    if (r->wake && r->next_ms != before_ms)
        r->wake(r->wake_arg, r->next_ms);
}

/* The wake function is called last, when the roster is consistent. The first call publishes even
 * what has not changed, as nothing was published before. */
void roster_apply(struct roster *r, uint64_t now_ms)
{
    assert(!r->flushing);
    standings_draw(r->standings, now_ms);
    settle_exceptions(r, now_ms);
    bool changed = new_words(r);
    for (unsigned i = 0; i < r->nservers; i++)
        changed |= set_usable(r, i);
    publish(r, changed);
    roster_tell(r, changed, now_ms);
    keep_words(r);
    r->live = true;
    uint64_t before_ms = r->next_ms;
    r->next_ms = next_ms(r);
    roster_flush(r);
    roster_tell_news(r);
    if (r->wake && r->next_ms != before_ms)
        r->wake(r->wake_arg, r->next_ms);
}
