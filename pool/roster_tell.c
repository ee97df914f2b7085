/* Notices: what has moved from the words that were published to the new ones.
 *
 * The notices of one event are in the order in which one change makes room for the next, and each
 * has its own share of the key space: r->before holds the owners as far as they have been told. */
#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "pool/roster_internal.h"

/* How many exact shares of one event may each need a pass over the whole ring. When thousands of
 * servers change at once, the others are told without a share, so as not to stall the control
 * thread. */
#define RING_PASSES 32

/* ---- notices ---- */

/* NULL: no server. */
static const struct pool_member *member_of(const struct roster *r, unsigned id)
{
    return id < r->nservers ? &r->pool->members[id] : NULL;
}

struct roster_notice *roster_push(struct roster *r, enum roster_event event, unsigned server)
{
    assert(!r->flushing); /* a notice's receiver must not call back */
    if (r->nnotices == r->cap_notices) {
        r->cap_notices = r->cap_notices ? 2 * r->cap_notices : 16;
        r->notices = mem_grow(r->notices, r->cap_notices, sizeof *r->notices);
    }
    struct roster_notice *n = &r->notices[r->nnotices++];
    *n = (struct roster_notice){
        .event = event, .pool = r->pool, .member = member_of(r, server), .moved = -1};
    return n;
}

void roster_flush(struct roster *r)
{
    r->flushing = true;
    for (size_t i = 0; i < r->nnotices; i++)
        r->notify(r->notify_arg, &r->notices[i]);
    r->flushing = false;
    r->nnotices = 0;
}

bool roster_speaks(struct quiet *q, uint64_t now_ms, unsigned *count)
{
    *count = ++q->untold;
    if (q->told && now_ms - q->told_ms < ROSTER_QUIET_MS)
        return false;
    *q = (struct quiet){.told_ms = now_ms, .told = true};
    return true;
}

enum blame roster_tell_suspicion(struct roster *r, unsigned server, bool ok, bool falls,
                                 uint64_t now_ms)
{
    struct seen *v = &r->witness->seen[server];
    enum blame blame;
    uint64_t at_ms;
    unsigned count;
    if (!suspicions_last(&r->pool->members[server].server->suspicions, &blame, &at_ms))
        blame = BLAME_FIRST_SUSPECT; /* only a test brings a suspicion without a try */
    bool due = roster_speaks(&v->suspected, now_ms, &count);
    if (!due && !falls)
        return blame;
    struct roster_notice *n = roster_push(r, ROSTER_SUSPECTED, server);
    n->reason = v->last.reason;
    n->blame = blame;
    n->ok = ok;
    n->count = count;
    return blame;
}

/* ---- shares ---- */

/* An owner in the form that ring_moved() takes. Keys of a slot without an owner go on to the next
 * slot's; with `when_down: fail` they are refused, which counts as an owner of its own. */
static uint16_t moved_id(const struct roster *r, unsigned owner)
{
    if (owner == SERVER_NONE && r->config->when_down == WHEN_DOWN_FAIL)
        return (uint16_t)r->nservers;
    return owner == SERVER_NONE ? RING_NONE : (uint16_t)owner;
}

/* The share of the key space that changes its server when slot b goes from one owner to the other
 * and all other slots stay as in r->before. If no slot is without an owner, that is the slot's own
 * share; else keys of other slots may move too, and it takes a pass over the ring. */
static double moved_whole(struct roster *r, unsigned b, unsigned from, unsigned to)
{
    uint16_t id_from = moved_id(r, from), id_to = moved_id(r, to);
    if (id_from == id_to)
        return 0;
    bool walks = id_from == RING_NONE || id_to == RING_NONE;
    for (unsigned i = 0; i < r->nbackends && !walks; i++)
        walks = i != b && r->before[i] == RING_NONE;
    if (!walks)
        return (double)r->pool->shared_ring->positions[b] / (double)RING_SPACE;
    if (r->passes == 0)
        return -1;
    r->passes--;
    uint16_t kept = r->before[b];
    memcpy(r->after, r->before, r->nbackends * sizeof *r->after);
    r->before[b] = id_from;
    r->after[b] = id_to;
    uint64_t n = ring_moved(r->pool->ring, r->before, r->after);
    r->before[b] = kept;
    return (double)n / (double)RING_SPACE;
}

/* The same from a word that may be in a ramp. The lower 16 bits of a hash decide on which side of
 * the ramp a key is, the upper 48 where it lies on the ring; they are independent, so the shares of
 * both sides add up. */
static double moved(struct roster *r, unsigned b, struct pool_owner old, unsigned to)
{
    double home = moved_whole(r, b, old.owner, to);
    if (old.from == SERVER_NONE || home < 0)
        return home;
    double rest = moved_whole(r, b, old.from, to);
    double share = (double)old.share / SHARE_ALL;
    return rest < 0 ? -1 : share * home + (1 - share) * rest;
}

/* ---- telling ---- */

unsigned roster_holder(struct pool_owner w, unsigned nbackends)
{
    if (w.from != SERVER_NONE)
        return w.from;
    return w.owner != SERVER_NONE && w.owner >= nbackends ? w.owner : SERVER_NONE;
}

static unsigned holder_of(const struct roster *r, struct pool_owner w)
{
    return roster_holder(w, r->nbackends);
}

/* NULL: slot b had no holder, or one of which no more is known. */
static const struct pool_member *holder_member(const struct roster *r, unsigned b, unsigned holder)
{
    if (holder == SERVER_GONE)
        return r->gone ? r->gone[b] : NULL;
    return member_of(r, holder);
}

static void tell_held(struct roster *r, uint64_t now_ms)
{
    for (unsigned i = 0; i < r->nservers; i++) {
        struct standing *d = &r->standings->servers[i];
        if (!d->tell_held || d->drained)
            continue;
        assert(standing_is_waiting(d));
        roster_push(r, ROSTER_HELD, i)->wait_ms =
            d->phase == STANDINGS_HELD ? 0 : d->until_ms - now_ms;
        d->tell_held = false;
    }
}

static void tell_ended(struct roster *r, unsigned b)
{
    unsigned holder = holder_of(r, r->words[b]), owner = r->standings->words[b].owner;
    if (holder != SERVER_NONE && owner != b && owner != holder)
        roster_push(r, ROSTER_TAKEOVER_ENDED, b)->by = holder_member(r, b, holder);
}

static void tell_home(struct roster *r, unsigned b)
{
    struct pool_owner old = r->words[b], new = r->standings->words[b];
    struct slot *s = &r->standings->slots[b];
    bool was_ramp = old.from != SERVER_NONE, is_ramp = new.from != SERVER_NONE;
    if (new.owner != b || (old.owner == b && was_ramp == is_ramp))
        return;
    struct roster_notice *n = roster_push(r, is_ramp ? ROSTER_RAMP : ROSTER_FAILBACK, b);
    n->by = holder_member(r, b, holder_of(r, is_ramp ? new : old));
    n->moved = was_ramp ? s->ramp_moved : moved(r, b, old, b);
    if (is_ramp) {
        n->wait_ms = r->config->failback.ramp_ms;
        s->ramp_moved = n->moved;
    }
    r->before[b] = (uint16_t)b;
}

static void tell_promotion(struct roster *r, unsigned b)
{
    struct pool_owner old = r->words[b], new = r->standings->words[b];
    if (!is_standby(r->standings, new.owner) || new.owner == old.owner)
        return;
    struct roster_notice *n = roster_push(r, ROSTER_PROMOTION, b);
    n->by = member_of(r, new.owner);
    n->moved = moved(r, b, old, new.owner);
    r->before[b] = new.owner;
    atomic_fetch_add_explicit(&r->pool->totals->failovers, 1, memory_order_relaxed);
}

static void tell_next(struct roster *r, unsigned b)
{
    struct pool_owner old = r->words[b], new = r->standings->words[b];
    if (new.owner != SERVER_NONE || old.owner == SERVER_NONE)
        return;
    struct roster_notice *n = roster_push(r, ROSTER_NEXT, b);
    n->moved = moved(r, b, old, SERVER_NONE);
    r->before[b] = moved_id(r, SERVER_NONE);
    if (r->config->when_down == WHEN_DOWN_NEXT)
        atomic_fetch_add_explicit(&r->pool->totals->failovers, 1, memory_order_relaxed);
}

static void tell_owners(struct roster *r)
{
    static void (*const steps[])(struct roster *, unsigned) = {tell_ended, tell_home,
                                                               tell_promotion, tell_next};
    for (unsigned b = 0; b < r->nbackends; b++)
        r->before[b] = moved_id(r, r->words[b].owner);
    r->passes = RING_PASSES;
    size_t first = r->nnotices;
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++)
        for (unsigned b = 0; b < r->nbackends; b++)
            steps[s](r, b);
    /* Keys that had no server before have not moved. */
    for (size_t i = first; i < r->nnotices; i++)
        if (!r->standings->slots[r->notices[i].member->id].served)
            r->notices[i].moved = -1;
}

/* True: the pool begins to try its servers although all are down. One notice then tells what has
 * become of all slots: no backend has failed back. */
static bool tell_all_down(struct roster *r)
{
    bool was = r->all_down, is = r->standings->decision.all_down;
    r->all_down = is;
    if (was != is)
        roster_push(r, is ? ROSTER_ALL_DOWN : ROSTER_ALL_DOWN_ENDED, SERVER_NONE);
    if (is && !was)
        atomic_fetch_add_explicit(&r->pool->totals->all_down, 1, memory_order_relaxed);
    return is && !was;
}

/* Why the server is left out here, or is not any more. */
static const char *exception_reason(const struct roster *r, unsigned id, bool begins)
{
    const struct seen *v = &r->witness->seen[id];
    if (begins && v->drained)
        return "a drain was asked for here";
    if (begins)
        return v->last.done && !v->last.ok ? v->last.reason : "failures of live traffic";
    if (r->out[id])
        return "out by agreement";
    return v->verdict.up ? "in service again" : "no other server is left";
}

static void tell_exceptions(struct roster *r)
{
    for (unsigned i = 0; i < r->nservers; i++) {
        struct seen *v = &r->witness->seen[i];
        bool excepted = roster_is_excepted(r, i);
        if (excepted == v->told)
            continue;
        v->told = excepted;
        r->news_due = true;
        struct roster_notice *n =
            roster_push(r, excepted ? ROSTER_EXCEPTION : ROSTER_EXCEPTION_ENDED, i);
        n->reason = exception_reason(r, i, excepted);
        n->ok = v->verdict.up;
    }
}

void roster_tell(struct roster *r, bool changed, uint64_t now_ms)
{
    tell_held(r, now_ms);
    bool begins = tell_all_down(r);
    if (changed && !begins)
        tell_owners(r);
    tell_exceptions(r);
    if (changed && r->live)
        roster_push(r, ROSTER_OWNERS, SERVER_NONE);
}
