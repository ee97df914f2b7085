/* Standings as plain data, and back. A ramp is that of one backend: it is on while its server is up
 * and `from` is named. Whether that standby may hand keys back follows from who is out, as always,
 * so that all who adopt the same data have the same words. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pool/standings_internal.h"

/* ---- to data ---- */

static enum agreed_phase phase_of(const struct standings *st, unsigned id)
{
    switch (st->servers[id].phase) {
    case STANDINGS_DOWN:
        return AGREED_DOWN;
    case STANDINGS_WAITING:
        return AGREED_WAIT;
    case STANDINGS_HELD:
        return AGREED_HELD;
    case STANDINGS_UP:
        break;
    }
    bool ramp = id < st->nbackends && st->slots[id].ramp_from != SERVER_NONE;
    return ramp ? AGREED_RAMP : AGREED_UP;
}

static uint64_t left(uint64_t at_ms, uint64_t now_ms)
{
    return at_ms > now_ms ? at_ms - now_ms : 0;
}

static void export_server(const struct standings *st, unsigned id, struct agreed_server *a,
                          uint64_t now_ms)
{
    const struct standing *d = &st->servers[id];
    *a = (struct agreed_server){.name = st->pool->members[id].server->name,
                                .phase = phase_of(st, id),
                                .drained = d->drained,
                                .returned = d->returned,
                                .delay_ms = d->delay_ms,
                                .back_ms = d->returned ? now_ms - d->returned_ms : 0,
                                .asked_ms = d->asked_ms};
    if (a->phase == AGREED_WAIT)
        a->left_ms = left(d->until_ms, now_ms);
    if (a->phase != AGREED_RAMP)
        return;
    a->from = st->pool->members[st->slots[id].ramp_from].server->name;
    a->share = st->slots[id].ramp_share;
}

void standings_export(const struct standings *st, struct agreed_pool *out, uint64_t now_ms)
{
    *out = (struct agreed_pool){.name = st->config->name, .nservers = st->nservers};
    out->servers = mem_zalloc_array(st->nservers, sizeof *out->servers);
    for (unsigned i = 0; i < st->nservers; i++)
        export_server(st, i, &out->servers[i], now_ms);
}

void standings_export_free(struct agreed_pool *a)
{
    free(a->servers);
    a->servers = NULL;
    a->nservers = 0;
}

/* ---- from data ---- */

/* Of a standby there is no hold. */
static enum standings_phase phase_now(const struct agreed_server *a, bool standby)
{
    switch (a->phase) {
    case AGREED_DOWN:
        return STANDINGS_DOWN;
    case AGREED_HELD:
        return standby ? STANDINGS_WAITING : STANDINGS_HELD;
    case AGREED_WAIT:
        return STANDINGS_WAITING;
    case AGREED_UP:
    case AGREED_RAMP:
        break;
    }
    return STANDINGS_UP;
}

/* Whether the data says nothing new of this server's times, but is the same once more. */
static bool same_times(const struct standing *d, const struct agreed_server *a, bool standby)
{
    return d->listed && d->phase == phase_now(a, standby) && d->returned == a->returned &&
           d->given_back_ms == a->back_ms && d->given_left_ms == a->left_ms;
}

/* No wait is longer than the configuration allows, whatever the data says. */
static uint64_t bounded(const struct standings *st, uint64_t ms)
{
    const struct config_failback *f = &st->config->failback;
    uint64_t longest = f->max_after_ms > f->after_ms ? f->max_after_ms : f->after_ms;
    return ms < longest ? ms : longest;
}

static void adopt_times(const struct standings *st, struct standing *d,
                        const struct agreed_server *a, uint64_t now_ms)
{
    d->returned = a->returned;
    d->returned_ms = a->returned ? now_ms - a->back_ms : 0;
    d->until_ms = now_ms + bounded(st, a->left_ms);
    d->given_back_ms = a->back_ms;
    d->given_left_ms = a->left_ms;
}

static void adopt_ramp(struct standings *st, unsigned b, const struct agreed_server *a,
                       uint64_t now_ms)
{
    struct slot *s = &st->slots[b];
    const struct pool_member *from =
        a->phase == AGREED_RAMP && a->from ? pool_find_name(st->pool, a->from) : NULL;
    s->at_once = false;
    if (from == NULL || !from->standby) {
        s->ramp_from = SERVER_NONE;
        return;
    }
    if (s->ramp_from != from->id)
        s->ramp_moved = -1;
    s->ramp_from = from->id;
    s->ramp_share = a->share < SHARE_ALL ? a->share : SHARE_ALL;
    s->ramp_step_ms = now_ms;
    s->ramp_start_ms = now_ms - s->ramp_share * st->config->failback.ramp_ms / SHARE_ALL;
}

static void adopt_server(struct standings *st, unsigned id, const struct agreed_server *a,
                         uint64_t now_ms)
{
    struct standing *d = &st->servers[id];
    bool standby = is_standby(st, id);
    enum standings_phase was = d->phase;
    if (!same_times(d, a, standby))
        adopt_times(st, d, a, now_ms);
    d->phase = phase_now(a, standby);
    d->drained = a->drained;
    d->delay_ms = a->delay_ms ? bounded(st, a->delay_ms) : st->config->failback.after_ms;
    d->asked_ms = a->asked_ms;
    d->no_wait = false;
    d->listed = true;
    bool waits = d->phase == STANDINGS_WAITING || d->phase == STANDINGS_HELD;
    d->tell_held = waits && (d->tell_held || was != d->phase);
    if (!standby)
        adopt_ramp(st, id, a, now_ms);
}

/* Of a server that nobody decides about: what operators said last still counts. */
static void adopt_drain(struct standing *d, const struct agreed_server *a)
{
    if (a->asked_ms <= d->asked_ms)
        return;
    d->asked_ms = a->asked_ms;
    d->drained = a->drained;
}

void standings_adopt(struct standings *st, const struct agreed_pool *a, uint64_t now_ms)
{
    st->follows = true;
    bool *listed = mem_zalloc_array(st->nservers, sizeof *listed);
    for (size_t i = 0; i < a->nservers; i++) {
        const struct pool_member *m = pool_find_name(st->pool, a->servers[i].name);
        if (m == NULL)
            continue;
        if (a->servers[i].carried) {
            adopt_drain(&st->servers[m->id], &a->servers[i]);
            continue;
        }
        adopt_server(st, m->id, &a->servers[i], now_ms);
        listed[m->id] = true;
    }
    for (unsigned i = 0; i < st->nservers; i++)
        st->servers[i].listed = listed[i];
    free(listed);
    standings_settle(st, now_ms);
}

void standings_part(struct standings *st, uint64_t now_ms)
{
    for (unsigned b = 0; b < st->nbackends; b++) {
        struct slot *s = &st->slots[b];
        if (s->ramp_from == SERVER_NONE || !standing_is_agreed(st, b))
            continue;
        s->ramp_step_ms = now_ms;
        s->ramp_start_ms = now_ms - s->ramp_share * st->config->failback.ramp_ms / SHARE_ALL;
    }
    st->follows = false;
}

/* ---- comparing ---- */

static bool same_ramp(const struct slot *a, const struct slot *b)
{
    return a->ramp_from == b->ramp_from &&
           (a->ramp_from == SERVER_NONE || a->ramp_share == b->ramp_share);
}

bool standings_same(const struct standings *a, const struct standings *b)
{
    for (unsigned i = 0; i < a->nservers; i++)
        if (a->servers[i].phase != b->servers[i].phase ||
            a->servers[i].drained != b->servers[i].drained)
            return false;
    for (unsigned i = 0; i < a->nbackends; i++)
        if (!same_ramp(&a->slots[i], &b->slots[i]))
            return false;
    return true;
}
