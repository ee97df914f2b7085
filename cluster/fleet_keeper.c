/* The keeper: it counts votes, decides, publishes, and hands over. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cluster/fleet_internal.h"

/* ---- changes, told once they are stored ---- */

static void changes_drop(struct fleet *f)
{
    for (size_t i = 0; i < f->nchanges; i++) {
        free(f->changes[i].pool);
        free(f->changes[i].server);
    }
    free(f->changes);
    f->changes = NULL;
    f->nchanges = 0;
}

static const char *what_changes(const struct standings *was, const struct standings *is,
                                unsigned id)
{
    if (standings_is_drained(was, id) != standings_is_drained(is, id))
        return standings_is_drained(is, id) ? "drained" : "enabled";
    enum standings_phase phase = standings_phase(is, id);
    if (phase == standings_phase(was, id))
        return NULL;
    return phase == STANDINGS_DOWN      ? "down"
           : phase == STANDINGS_WAITING ? "waits"
           : phase == STANDINGS_HELD    ? "held"
                                        : "up";
}

static void accuse(char *text, size_t size, const char *node)
{
    size_t n = strlen(text);
    snprintf(text + n, size - n, "%s%s", n > 0 ? "," : "", node);
}

static bool says_down(const struct view *v, const struct part *p, const char *server)
{
    const struct view_pool *vp = view_pool_of(v, p->pool->config->name);
    const struct view_server *s = vp ? view_server_of(vp, server) : NULL;
    return s && s->vote == VIEW_DOWN;
}

static void note_votes(struct fleet *f, const struct part *p, unsigned id, struct change *c)
{
    const struct tally *t = &p->tallies[id];
    c->voted = true;
    c->votes = (struct fleet_votes){.down = t->down,
                                    .up = t->up,
                                    .voters = t->voters,
                                    .down_by_all = p->pool->config->agree == AGREE_ALL};
    if (says_down(&f->own, p, c->server))
        accuse(c->accuse, sizeof c->accuse, f->node);
    for (size_t i = 0; i < peers_count(f->peers); i++) {
        const struct peer *peer = peers_at(f->peers, i);
        if (peer->view && peer_life(peer, f->now_ms, f->ttl_ms) == PEER_LIVE &&
            says_down(peer->view, p, c->server))
            accuse(c->accuse, sizeof c->accuse, peer->node);
    }
}

static void note_changes(struct fleet *f, struct part *p)
{
    const struct standings *was = p->published ? p->published : roster_standings(p->roster);
    for (unsigned id = 0; id < p->pool->nservers; id++) {
        const char *what = what_changes(was, p->work, id);
        if (!what)
            continue;
        f->changes = mem_grow(f->changes, f->nchanges + 1, sizeof *f->changes);
        struct change *c = &f->changes[f->nchanges++];
        *c = (struct change){.pool = mem_strdup(p->pool->config->name),
                             .server = mem_strdup(p->pool->members[id].server->name),
                             .what = what};
        if (p->decided[id])
            note_votes(f, p, id, c);
        p->decided[id] = false;
    }
}

static void tell_changes(struct fleet *f)
{
    struct fleet_notice n = {.event = FLEET_PUBLISHED, .version = f->version};
    if (f->nchanges == 0)
        fleet_tell(f, &n);
    for (size_t i = 0; i < f->nchanges; i++) {
        struct change *c = &f->changes[i];
        n.pool = c->pool;
        n.server = c->server;
        n.what = c->what;
        c->votes.accuse = c->accuse;
        n.votes = c->voted ? &c->votes : NULL;
        fleet_tell(f, &n);
    }
    changes_drop(f);
}

/* ---- its term ---- */

void fleet_keeper_reset(struct fleet *f)
{
    for (size_t i = 0; i < f->nparts; i++) {
        standings_free(f->parts[i].work);
        standings_free(f->parts[i].published);
        f->parts[i].work = f->parts[i].published = NULL;
    }
    changes_drop(f);
    f->refresh_wait_ms = f->deadline_ms;
    f->offered_to[0] = '\0';
    f->has_work = f->published_valid = f->need_body = f->dirty = false;
    f->settle_until_ms = f->publish_at_ms = 0;
    f->publishing = NULL; /* its answer is of no interest any more */
}

void fleet_keeper_drop(struct fleet *f)
{
    changes_drop(f);
    fleet_base_drop(f);
}

/* When the keeper has something to do. */
uint64_t fleet_keeper_next(const struct fleet *f)
{
    if (f->role != FLEET_KEEPER)
        return NEVER;
    uint64_t at = f->lock.end_ms;
    if (f->publishing || f->frozen)
        return at;
    if (f->settle_until_ms > f->now_ms || f->publish_at_ms > f->now_ms) {
        uint64_t then =
            f->settle_until_ms > f->publish_at_ms ? f->settle_until_ms : f->publish_at_ms;
        return then < at ? then : at;
    }
    uint64_t loop = f->ops.loop_ms(f->ops.arg);
    for (size_t i = 0; f->has_work && i < f->nparts; i++) {
        uint64_t next = standings_next_ms(f->parts[i].work);
        uint64_t in = next > loop ? next - loop : 1;
        if (next != UINT64_MAX && f->now_ms + in < at)
            at = f->now_ms + in;
    }
    return at;
}

/* ---- publishing ---- */

static void stored(struct fleet *f, struct call *c)
{
    struct error e = {0};
    f->publications++;
    f->published_valid = true;
    if (version_compare(&c->version, &f->version) <= 0) {
        changes_drop(f);
        return;
    }
    struct state *s = state_decode((struct str){c->text, c->len}, &e);
    if (!s) {
        fleet_tell(f, &(struct fleet_notice){.event = FLEET_REFUSED_VALUE,
                                             .what = "state",
                                             .node = f->node,
                                             .reason = e.text});
        return;
    }
    char *body = c->text;
    c->text = NULL;
    fleet_adopt(f, &c->version, body, c->len, s);
    tell_changes(f);
}

static void on_published(void *arg, const bool *yes)
{
    struct call *c = arg;
    struct fleet *f = c->fleet;
    fleet_enter(f);
    if (f->publishing == c) {
        f->publishing = NULL;
        if (!yes) {
            /* It may be stored or not: the next one has a higher number. */
            f->published_valid = false;
            f->publish_at_ms = f->now_ms + RETRY_MS;
        } else if (*yes) {
            stored(f, c);
        } else {
            fleet_lost(f, "another has published");
        }
    }
    fleet_call_end(c);
    fleet_finish(f);
}

static void refuse_own(struct fleet *f, const char *reason)
{
    if (!f->told_own_state)
        fleet_tell(f, &(struct fleet_notice){.event = FLEET_REFUSED_VALUE,
                                             .what = "state",
                                             .node = f->node,
                                             .reason = reason});
    f->told_own_state = true;
    f->publish_at_ms = f->now_ms + f->sync_ms;
}

static void publish(struct fleet *f)
{
    struct error e = {0};
    size_t len;
    char *text = fleet_assemble(f, &len, &e);
    if (!text) {
        refuse_own(f, e.text);
        return;
    }
    for (size_t i = 0; i < f->nparts; i++) {
        struct part *p = &f->parts[i];
        note_changes(f, p);
        standings_free(p->published);
        p->published = standings_copy(p->work);
    }
    f->dirty = false;
    f->refreshed_ms = f->now_ms;
    struct call *c = f->publishing = fleet_call(f);
    c->version = (struct version){.epoch = f->lock.epoch, .seq = ++f->seq};
    memcpy(c->version.by, f->instance, sizeof c->version.by);
    c->text = text;
    c->len = len;
    struct store_publish r = {f->lock.value, c->version, {text, len}};
    f->store->ops->publish(f->store, &r, on_published, c);
}

/* ---- deciding ---- */

static void count(struct fleet *f, const struct electorate *e, uint64_t loop)
{
    for (size_t i = 0; i < f->nparts; i++) {
        struct part *p = &f->parts[i];
        struct ballot b = fleet_ballot(f, p);
        votes_count(e, &b, p->tallies);
        for (unsigned id = 0; id < p->pool->nservers; id++) {
            enum votes_outcome v = votes_rule(p->pool->config, p->tallies[id]);
            bool down = standings_phase(p->work, id) == STANDINGS_DOWN;
            if (v == VOTES_OUT && !down)
                standings_down(p->work, id, loop);
            else if (v == VOTES_IN && down)
                standings_rise(p->work, id, loop);
            else
                continue;
            p->decided[id] = true;
        }
    }
}

static bool differs(const struct fleet *f)
{
    if (f->dirty || !f->published_valid)
        return true;
    for (size_t i = 0; i < f->nparts; i++)
        if (!f->parts[i].published || !standings_same(f->parts[i].work, f->parts[i].published))
            return true;
    return false;
}

static bool is_waiting(const struct fleet *f)
{
    for (size_t i = 0; i < peers_count(f->peers); i++) {
        const struct peer *p = peers_at(f->peers, i);
        if (p->view && p->view->role == VIEW_ALONE &&
            version_compare(&p->view->version, &f->version) >= 0 &&
            peer_life(p, f->now_ms, f->ttl_ms) == PEER_LIVE)
            return true;
    }
    return false;
}

/* A member that went on alone comes back by a newer publication only, else its keys would go back
 * to an old state and then forward again. One that does not come back is not waited for for ever.
 */
static bool somebody_waits(struct fleet *f)
{
    if (f->now_ms - f->refreshed_ms <= f->refresh_wait_ms)
        return false;
    if (!is_waiting(f)) {
        f->refresh_wait_ms = f->deadline_ms;
        return false;
    }
    uint64_t most = PEERS_SILENT * f->ttl_ms;
    f->refresh_wait_ms = 2 * f->refresh_wait_ms < most ? 2 * f->refresh_wait_ms : most;
    return true;
}

/* Whether this keeper has been blind, or not ready, for so long that another should have the role.
 */
static bool is_unfit(struct fleet *f)
{
    if (f->own.ready && !view_blind(&f->own)) {
        f->unfit_ms = NEVER;
        return false;
    }
    if (f->unfit_ms == NEVER)
        f->unfit_ms = f->now_ms;
    return f->now_ms - f->unfit_ms >= 2 * f->ttl_ms;
}

/* Hands the role to a better one: the store tells it that it may take the lock, which is this one's
 * until then. */
static void hand_over(struct fleet *f)
{
    if (!f->consider)
        return;
    f->consider = false;
    struct electorate e = fleet_electorate(f);
    bool unfit = is_unfit(f);
    const struct peer *p = votes_better(&e, &f->version, unfit);
    if (!p || f->now_ms - f->offered_ms < f->ttl_ms ||
        (!unfit && f->now_ms - p->fit_ms < fleet_patience(f, p->node)))
        return;
    if (f->now_ms - f->offered_ms > PATIENCE_MS || strcmp(p->instance, f->offered_to) != 0)
        fleet_tell(f, &(struct fleet_notice){.event = FLEET_OFFERED,
                                             .node = p->node,
                                             .reason = unfit ? "this one is not fit for it"
                                                             : "the other is preferred"});
    f->offered_ms = f->now_ms;
    memcpy(f->offered_to, p->instance, sizeof f->offered_to);
    f->store->ops->offer(f->store, f->lock.value, p->instance, fleet_ignored, fleet_call(f));
}

void fleet_ignored(void *arg, const bool *yes)
{
    fleet_call_end(arg);
}

/* Each member reads each step of a ramp, so that a large fleet takes larger ones. */
#define RAMP_STEP_OF_MEMBER_MS 20

static bool may_decide(struct fleet *f)
{
    return f->role == FLEET_KEEPER && f->checked && !f->frozen && !f->publishing && !f->need_body &&
           f->now_ms >= f->settle_until_ms && f->now_ms >= f->publish_at_ms;
}

void fleet_decide(struct fleet *f)
{
    if (!may_decide(f))
        return;
    uint64_t loop = f->ops.loop_ms(f->ops.arg);
    if (!f->has_work) {
        bool settled = f->settle_until_ms > 0; /* the others had time to say how they route */
        f->settle_until_ms = 0;
        fleet_begin_work(f, settled);
        f->recount = true;
    }
    if (f->recount) {
        struct electorate e = fleet_electorate(f);
        count(f, &e, loop);
        fleet_carry_out(f, loop);
    }
    if (f->recount || f->ncarried > 0)
        fleet_carry_along(f);
    f->recount = false;
    for (size_t i = 0; i < f->nparts; i++) {
        standings_pace(f->parts[i].work, RAMP_STEP_OF_MEMBER_MS * (1 + peers_count(f->peers)));
        standings_settle(f->parts[i].work, loop);
    }
    f->now_ms = f->ops.boot_ms(f->ops.arg);
    if (!lock_believes(&f->lock, f->now_ms))
        fleet_lost(f, "no answer from Redis in time");
    else if (differs(f) || somebody_waits(f))
        publish(f);
    else
        hand_over(f);
}
