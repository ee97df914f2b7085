/* How one server stands: a phase, and, in any phase, whether the server is drained.
 *
 *            it went down
 *      .------------------------> DOWN <------------+-----------.
 *      |                           |   down no more |           |
 *      |      delay over           v                |           |
 *      UP <--------------------- WAITING -----------'           |
 *        ^                         | delay over, manual, and    |
 *         \                        v a standby has its points   |
 *          `------------------- HELD ---------------------------'
 *             operator; its standby went out
 *
 *   UP       in service; owns its points if it is a backend, all of them unless a ramp is on
 *   DOWN     out, not usable
 *   WAITING  out until until_ms: failback.after, doubled for each relapse
 *   HELD     out until an operator brings it back (mode manual). Backends alone
 *
 * While a server is drained, a wait or hold does not end by itself; enabling the server ends it. */
#include "pool/standings.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pool/standings_internal.h"

/* ---- life ---- */

struct standings *standings_new(const struct pool *p)
{
    struct standings *st = mem_zalloc(sizeof *st);
    size_t nb = p->nbackends, n = p->nservers;
    *st = (struct standings){.pool = p,
                             .config = p->config,
                             .nbackends = p->nbackends,
                             .nservers = p->nservers,
                             .step_ms = RAMP_STEP_MS};
    st->servers = mem_zalloc_array(n, sizeof *st->servers);
    st->decision.out = mem_zalloc_array(n, sizeof *st->decision.out);
    st->decision.owner = mem_zalloc_array(nb, sizeof *st->decision.owner);
    st->slots = mem_zalloc_array(nb, sizeof *st->slots);
    st->words = mem_zalloc_array(nb, sizeof *st->words);
    st->held = mem_zalloc_array(nb, sizeof *st->held);
    st->trial_out = mem_zalloc_array(n, sizeof *st->trial_out);
    st->trial = mem_zalloc_array(nb, sizeof *st->trial);
    st->busy = mem_zalloc_array(n, sizeof *st->busy);
    for (unsigned i = 0; i < n; i++)
        st->servers[i].delay_ms = st->config->failback.after_ms;
    for (unsigned b = 0; b < nb; b++) {
        st->decision.owner[b] = (uint16_t)b;
        st->slots[b].ramp_from = SERVER_NONE;
        st->words[b] = (struct pool_owner){.owner = (uint16_t)b, .from = SERVER_NONE};
    }
    return st;
}

void standings_free(struct standings *st)
{
    if (st == NULL)
        return;
    free(st->busy);
    free(st->trial);
    free(st->trial_out);
    free(st->held);
    free(st->words);
    free(st->slots);
    free(st->decision.owner);
    free(st->decision.out);
    free(st->servers);
    free(st);
}

struct standings *standings_copy(const struct standings *from)
{
    struct standings *st = standings_new(from->pool);
    size_t nb = st->nbackends, n = st->nservers;
    memcpy(st->servers, from->servers, n * sizeof *st->servers);
    memcpy(st->decision.out, from->decision.out, n * sizeof *st->decision.out);
    memcpy(st->decision.owner, from->decision.owner, nb * sizeof *st->decision.owner);
    memcpy(st->slots, from->slots, nb * sizeof *st->slots);
    memcpy(st->words, from->words, nb * sizeof *st->words);
    st->decision.all_down = from->decision.all_down;
    st->step_ms = from->coarse ? from->step_ms : RAMP_STEP_COARSE_MS;
    st->coarse = true;
    return st;
}

void standings_pace(struct standings *st, uint64_t step_ms)
{
    st->step_ms = step_ms > RAMP_STEP_COARSE_MS ? step_ms : RAMP_STEP_COARSE_MS;
}

static struct standing *standing(const struct standings *st, unsigned id)
{
    assert(id < st->nservers);
    return &st->servers[id];
}

/* ---- phases ---- */

static void move(struct standing *d, enum standings_phase to)
{
    static const unsigned allowed[] = {
        [STANDINGS_UP] = 1u << STANDINGS_DOWN,
        [STANDINGS_DOWN] = 1u << STANDINGS_WAITING,
        [STANDINGS_WAITING] = 1u << STANDINGS_DOWN | 1u << STANDINGS_HELD | 1u << STANDINGS_UP,
        [STANDINGS_HELD] = 1u << STANDINGS_DOWN | 1u << STANDINGS_UP,
    };
    assert(allowed[d->phase] & 1u << to);
    d->phase = to;
}

uint64_t standings_delay(const struct config_failback *f, bool returned, uint64_t ago_ms,
                         uint64_t delay_ms)
{
    if (!returned || ago_ms > f->max_after_ms)
        return f->after_ms;
    uint64_t cap = f->max_after_ms > f->after_ms ? f->max_after_ms : f->after_ms;
    return delay_ms > cap / 2 ? cap : 2 * delay_ms;
}

void standings_down(struct standings *st, unsigned id, uint64_t now_ms)
{
    struct standing *d = standing(st, id);
    if (d->phase == STANDINGS_DOWN)
        return;
    if (d->phase == STANDINGS_UP)
        d->delay_ms = standings_delay(&st->config->failback, d->returned, now_ms - d->returned_ms,
                                      d->delay_ms);
    d->returned = false;
    d->tell_held = false;
    move(d, STANDINGS_DOWN);
}

void standings_rise(struct standings *st, unsigned id, uint64_t now_ms)
{
    struct standing *d = standing(st, id);
    d->until_ms = now_ms + (d->no_wait ? 0 : d->delay_ms);
    d->no_wait = false;
    d->tell_held = true;
    move(d, STANDINGS_WAITING);
}

void standing_come_back(struct standing *d, uint64_t now_ms)
{
    move(d, STANDINGS_UP);
    d->tell_held = false;
    d->returned = true;
    d->returned_ms = now_ms;
}

/* ---- operators ---- */

/* False: it was made before another one for the server. */
static bool counts(struct standing *d, uint64_t made_ms)
{
    if (made_ms < d->asked_ms)
        return false;
    d->asked_ms = made_ms;
    return true;
}

void standings_drain(struct standings *st, unsigned id, uint64_t made_ms, uint64_t now_ms)
{
    struct standing *d = standing(st, id);
    (void)now_ms;
    if (counts(d, made_ms))
        d->drained = true;
}

/* Ends a drain, and a wait or hold. */
static void put_back(struct standing *d, uint64_t now_ms)
{
    d->drained = false;
    if (standing_is_waiting(d))
        standing_come_back(d, now_ms);
}

void standings_enable(struct standings *st, unsigned id, uint64_t made_ms, uint64_t now_ms)
{
    struct standing *d = standing(st, id);
    if (counts(d, made_ms))
        put_back(d, now_ms);
}

bool standings_failback(struct standings *st, unsigned id, uint64_t made_ms, uint64_t now_ms)
{
    struct standing *d = standing(st, id);
    if (made_ms >= d->asked_ms && d->phase == STANDINGS_DOWN)
        return false;
    if (!counts(d, made_ms))
        return true;
    put_back(d, now_ms);
    if (id < st->nbackends) { /* a standby has no keys of its own to get back */
        st->slots[id].ramp_from = SERVER_NONE;
        st->slots[id].at_once = true;
    }
    return true;
}

void standings_settle(struct standings *st, uint64_t now_ms)
{
    standings_decide(st, now_ms);
    standings_draw(st, now_ms);
}

/* ---- for a keeper that begins ---- */

void standings_take(struct standings *st, unsigned id, const struct standings *from)
{
    *standing(st, id) = *standing(from, id);
    if (id < st->nbackends) {
        st->slots[id] = from->slots[id];
        st->words[id] = from->words[id];
    }
}

void standings_put_back(struct standings *st, unsigned id, uint64_t now_ms)
{
    struct standing *d = standing(st, id);
    if (d->drained)
        return;
    if (d->phase == STANDINGS_DOWN)
        move(d, STANDINGS_WAITING);
    if (d->phase != STANDINGS_UP)
        standing_come_back(d, now_ms);
    if (id < st->nbackends) {
        st->slots[id].ramp_from = SERVER_NONE;
        st->words[id] = (struct pool_owner){.owner = (uint16_t)id, .from = SERVER_NONE};
    }
}

/* ---- questions ---- */

enum standings_phase standings_phase(const struct standings *st, unsigned id)
{
    return standing(st, id)->phase;
}

bool standings_is_drained(const struct standings *st, unsigned id)
{
    return standing(st, id)->drained;
}

bool standings_is_out(const struct standings *st, unsigned id)
{
    return standing_is_out(standing(st, id));
}
