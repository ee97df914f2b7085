/* What a roster has to do with a fleet of proxies: agreements come in, votes and exceptions go out.
 * What was agreed changes how servers stand; what this proxy sees stays its own, and makes
 * exceptions (witness.h). */
#include <assert.h>

#include "pool/roster_internal.h"

static struct seen *seen(const struct roster *r, unsigned server)
{
    assert(server < r->nservers);
    return &r->witness->seen[server];
}

/* ---- agreements ---- */

#define RETURN_APART_MS 1000 /* two returns of a server are at least so far apart */

/* Whether the server came back in an agreement, though no agreement that was seen here had it out.
 * Differences are signed, as times on the clocks of others come with the delays of messages. */
static bool came_back(const struct standing *was, const struct standing *is)
{
    return was->listed && is->returned && !standing_is_out(is) &&
           (!was->returned || (int64_t)(is->returned_ms - was->returned_ms) > RETURN_APART_MS);
}

/* What an agreement brings back ends an exception (witness.h). The first one after this proxy was
 * alone brings back nothing: the exceptions made meanwhile last as long as they have to. */
static void note_returns(struct roster *r, const struct standings *was)
{
    for (unsigned i = 0; i < r->nservers; i++)
        if (!r->agreed)
            seen(r, i)->was_out = false;
        else if (came_back(&was->servers[i], &r->standings->servers[i]))
            seen(r, i)->was_out = true;
}

/* An agreement had it out, and this one does not decide about it any more: if it is up here, it
 * returns, as no verdict will change that it could follow. */
static void release_unlisted(struct roster *r, const struct standings *was, uint64_t now_ms)
{
    for (unsigned i = 0; i < r->nservers; i++) {
        const struct standing *is = &r->standings->servers[i];
        if (was->servers[i].listed && !is->listed && is->phase == STANDINGS_DOWN &&
            seen(r, i)->verdict.up)
            standings_rise(r->standings, i, now_ms);
    }
}

/* How one server stands has changed. What is not usable here is no news when it goes out. */
static void tell_change(struct roster *r, unsigned id, const struct standing *was)
{
    const struct standing *is = &r->standings->servers[id];
    const struct seen *v = seen(r, id);
    bool used = v->verdict.up && !roster_is_excepted(r, id);
    if (is->drained != was->drained)
        roster_push(r, is->drained ? ROSTER_DRAINED : ROSTER_ENABLED, id);
    if (is->phase == STANDINGS_DOWN && was->phase != STANDINGS_DOWN && used)
        roster_push(r, ROSTER_SERVER_DOWN, id)->reason = "agreed by the fleet";
    if (is->phase != STANDINGS_DOWN && was->phase == STANDINGS_DOWN && v->verdict.up)
        roster_push(r, ROSTER_SERVER_UP, id)->reason = "agreed by the fleet";
}

void roster_agree(struct roster *r, const struct agreed_pool *a, uint64_t now_ms)
{
    struct standings *was = standings_copy(r->standings);
    standings_adopt(r->standings, a, now_ms);
    note_returns(r, was);
    release_unlisted(r, was, now_ms);
    if (r->started && (!r->agreed || !standings_same(was, r->standings)))
        roster_push(r, ROSTER_AGREED, SERVER_NONE);
    for (unsigned i = 0; i < r->nservers && r->started; i++)
        tell_change(r, i, &was->servers[i]);
    standings_free(was);
    r->agreed = r->fleet = true;
    if (r->started)
        roster_settle(r, now_ms);
}

void roster_part(struct roster *r, uint64_t now_ms)
{
    if (!r->agreed)
        return;
    pool_set_agreed(r->pool, 0, 0);
    atomic_store_explicit(&r->pool->by_agreement, false, memory_order_release);
    standings_part(r->standings, now_ms);
    r->agreed = false;
    if (!r->started)
        return;
    roster_push(r, ROSTER_PARTED, SERVER_NONE);
    roster_flush(r);
    roster_rearm(r);
}

bool roster_agreed(const struct roster *r)
{
    return r->agreed;
}

/* ---- what this proxy sees ---- */

enum roster_vote roster_vote(const struct roster *r, unsigned server)
{
    assert(server < r->nservers);
    return witness_vote(r->witness, server);
}

bool roster_blind(const struct roster *r)
{
    return witness_blind(r->witness);
}

bool roster_is_lost(const struct roster *r)
{
    return r->fleet && witness_blind(r->witness);
}

bool roster_is_out(const struct roster *r, unsigned server)
{
    return standings_is_out(r->standings, server);
}

bool roster_is_excepted(const struct roster *r, unsigned server)
{
    const struct seen *v = seen(r, server);
    return v->excepted || (v->drained && !standings_is_out(r->standings, server));
}

void roster_claim(struct roster *r, unsigned server, bool others_say_down)
{
    seen(r, server)->claimed = others_say_down;
}

void roster_stalled(struct roster *r, uint64_t now_ms)
{
    witness_stall(r->witness, now_ms);
    if (!r->started)
        return;
    for (unsigned i = 0; i < r->nservers && r->look; i++)
        r->look(r->look_arg, i);
    roster_tell_news(r);
}

/* ---- operators ---- */

void roster_ask(struct roster *r, unsigned server, bool drained_here, uint64_t now_ms)
{
    struct seen *v = seen(r, server);
    assert(r->started);
    if (v->drained == drained_here)
        return;
    v->drained = drained_here;
    roster_settle(r, now_ms);
}

void roster_asked(struct roster *r, unsigned server, uint64_t made_ms)
{
    struct standing *d = &r->standings->servers[server];
    assert(server < r->nservers);
    if (made_ms > d->asked_ms)
        d->asked_ms = made_ms;
}

/* ---- news ---- */

void roster_on_news(struct roster *r, roster_news_fn *news, void *arg)
{
    r->news = news;
    r->news_arg = arg;
}

void roster_on_look(struct roster *r, roster_look_fn *look, void *arg)
{
    r->look = look;
    r->look_arg = arg;
}

void roster_tell_news(struct roster *r)
{
    bool any = r->news_due, claim = false;
    r->news_due = false;
    if (r->news == NULL)
        return;
    r->unproved = 0;
    for (unsigned i = 0; i < r->nservers; i++) {
        struct seen *v = seen(r, i);
        enum roster_vote vote = witness_vote(r->witness, i);
        any |= vote != v->voted;
        claim |= vote != v->voted && vote == ROSTER_VOTE_DOWN;
        r->unproved += !v->verdict.up && vote == ROSTER_VOTE_NONE;
        v->voted = vote;
    }
    if (any)
        r->news(r->news_arg, claim);
}

const struct standings *roster_standings(const struct roster *r)
{
    return r->standings;
}
