/* Requests of operators: to the fleet, or carried out here if there is none to be reached. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cluster/fleet_internal.h"

static void answer(struct ask *a, enum fleet_outcome o)
{
    fleet_requested_fn *done = a->done;
    a->done = NULL;
    if (done)
        done(a->arg, o);
}

static void ask_drop(struct ask *a)
{
    free(a->pool);
    free(a->server);
}

static void ask_remove(struct fleet *f, size_t i)
{
    ask_drop(&f->asks[i]);
    f->nasks--;
    memmove(&f->asks[i], &f->asks[i + 1], (f->nasks - i) * sizeof *f->asks);
}

/* The part and the id of what an ask is about; NULL: it is not configured here. */
static struct part *place_of(struct fleet *f, const char *pool, const char *server, unsigned *id)
{
    for (size_t i = 0; i < f->nparts; i++) {
        if (strcmp(f->parts[i].pool->config->name, pool) != 0)
            continue;
        const struct pool_member *m = pool_find_name(f->parts[i].pool, server);
        if (m)
            *id = m->id;
        return m ? &f->parts[i] : NULL;
    }
    return NULL;
}

/* A drain holds here at once, until a publication has it or another request takes it back. */
static void hold_here(struct fleet *f, const char *pool, const char *server)
{
    unsigned id;
    struct part *p = place_of(f, pool, server, &id);
    bool drained = false;
    for (size_t i = 0; i < f->nasks && !f->apart; i++)
        if (strcmp(f->asks[i].server, server) == 0 && strcmp(f->asks[i].pool, pool) == 0)
            drained = f->asks[i].verb == FLEET_DRAIN;
    if (p)
        roster_ask(p->roster, id, drained, f->ops.loop_ms(f->ops.arg));
}

/* False: failback of a server that is down. */
static bool carry_out_here(struct fleet *f, const struct ask *a)
{
    unsigned id;
    uint64_t now = f->ops.loop_ms(f->ops.arg);
    struct part *p = place_of(f, a->pool, a->server, &id);
    if (!p)
        return true;
    if (a->verb == FLEET_DRAIN)
        roster_drain(p->roster, id, now);
    else if (a->verb == FLEET_ENABLE)
        roster_enable(p->roster, id, now);
    else if (!roster_failback(p->roster, id, now))
        return false;
    roster_asked(p->roster, id, a->made_ms);
    return true;
}

/* When it was made: by the wall clock, but later than what this member knows was made before. */
static uint64_t made_now(struct fleet *f, const char *pool, const char *server)
{
    uint64_t made = f->ops.wall_ms(f->ops.arg);
    const struct agreed_pool *p = f->state ? state_pool(f->state, pool) : NULL;
    const struct agreed_server *s = p ? state_server(p, server) : NULL;
    if (s && s->asked_ms >= made)
        made = s->asked_ms + 1;
    if (f->last_made_ms >= made)
        made = f->last_made_ms + 1;
    f->last_made_ms = made < NUMBER_MAX ? made : NUMBER_MAX;
    return f->last_made_ms;
}

/* Of those for one server that nobody waits for any more the last one counts. */
static void forget_older(struct fleet *f, const struct ask *than)
{
    for (size_t i = f->nasks; i-- > 0;)
        if (!f->asks[i].done && strcmp(f->asks[i].server, than->server) == 0 &&
            strcmp(f->asks[i].pool, than->pool) == 0)
            ask_remove(f, i);
}

static void take_up(struct fleet *f, struct ask *a)
{
    if (f->apart) {
        if (!carry_out_here(f, a)) {
            answer(a, FLEET_REFUSED);
            ask_drop(a);
            return;
        }
        answer(a, FLEET_HERE);
    }
    forget_older(f, a);
    a->number = ++f->asked;
    f->asks = mem_grow(f->asks, f->nasks + 1, sizeof *f->asks);
    f->asks[f->nasks++] = *a;
    hold_here(f, a->pool, a->server);
    f->recount = f->wanted = true;
}

void fleet_request(struct fleet *f, unsigned pool, unsigned server, enum fleet_verb verb,
                   fleet_requested_fn *done, void *arg)
{
    if (f->frozen || f->left || f->nasks >= ASKS_MAX || pool >= f->nparts ||
        server >= f->parts[pool].pool->nservers) {
        done(arg, FLEET_BUSY);
        return;
    }
    const struct pool *p = f->parts[pool].pool;
    fleet_enter(f);
    struct ask a = {.pool = mem_strdup(p->config->name),
                    .server = mem_strdup(p->members[server].server->name),
                    .verb = verb,
                    .done = done,
                    .arg = arg,
                    .deadline_ms = f->now_ms + REQUEST_MS};
    a.made_ms = made_now(f, a.pool, a.server);
    take_up(f, &a);
    fleet_finish(f);
}

uint64_t fleet_requests_next(const struct fleet *f)
{
    uint64_t at = NEVER;
    for (size_t i = 0; i < f->nasks; i++)
        if (f->asks[i].done && f->asks[i].deadline_ms < at)
            at = f->asks[i].deadline_ms;
    return at;
}

void fleet_requests_due(struct fleet *f)
{
    for (size_t i = 0; i < f->nasks; i++)
        if (f->now_ms >= f->asks[i].deadline_ms)
            answer(&f->asks[i], FLEET_HERE);
}

void fleet_requests_give_up(struct fleet *f)
{
    for (size_t i = 0; i < f->nasks; i++)
        answer(&f->asks[i], FLEET_HERE);
}

static bool is_down_by_agreement(const struct fleet *f, const struct ask *a)
{
    const struct agreed_pool *p = state_pool(f->state, a->pool);
    const struct agreed_server *s = p ? state_server(p, a->server) : NULL;
    return s && s->phase == AGREED_DOWN;
}

/* The result told is that of the last one; an earlier one's shows in what was agreed. */
static enum fleet_outcome outcome_of(struct fleet *f, const struct ask *a,
                                     const struct state_done *d)
{
    bool last = a->number == d->number;
    if (last && strcmp(d->result, DONE_UNKNOWN) == 0)
        return carry_out_here(f, a) ? FLEET_HERE : FLEET_REFUSED;
    bool refused = last ? strcmp(d->result, DONE_DOWN) == 0
                        : a->verb == FLEET_FAILBACK && is_down_by_agreement(f, a);
    return refused ? FLEET_REFUSED : FLEET_AGREED;
}

/* A publication was applied. */
void fleet_requests_done(struct fleet *f)
{
    const struct state_done *d = state_done_of(f->state, f->instance);
    while (d && f->nasks > 0 && f->asks[0].number <= d->number) {
        struct ask a = f->asks[0];
        f->nasks--;
        memmove(&f->asks[0], &f->asks[1], f->nasks * sizeof *f->asks);
        hold_here(f, a.pool, a.server);
        answer(&a, outcome_of(f, &a, d));
        ask_drop(&a);
    }
}

/* What was drained here while it was alone holds until the fleet has heard of it. */
void fleet_requests_hold(struct fleet *f)
{
    for (size_t i = 0; i < f->nasks; i++)
        hold_here(f, f->asks[i].pool, f->asks[i].server);
}

/* Nobody else will carry them out now; they are sent when there is somebody again. */
void fleet_requests_alone(struct fleet *f)
{
    for (size_t i = 0; i < f->nasks; i++) {
        struct ask *a = &f->asks[i];
        answer(a, carry_out_here(f, a) ? FLEET_HERE : FLEET_REFUSED);
        hold_here(f, a->pool, a->server);
    }
}

/* After a reload. */
void fleet_requests_check(struct fleet *f)
{
    for (size_t i = f->nasks; i-- > 0;) {
        unsigned id;
        struct ask *a = &f->asks[i];
        if (place_of(f, a->pool, a->server, &id)) {
            if (f->checked) /* the rosters have started */
                hold_here(f, a->pool, a->server);
            continue;
        }
        answer(a, FLEET_HERE);
        ask_remove(f, i);
    }
}

/* The rosters go on without a fleet, and nobody else will carry them out. */
void fleet_requests_leave(struct fleet *f)
{
    unsigned id;
    while (f->nasks > 0) {
        struct ask a = f->asks[0];
        struct part *p = f->checked ? place_of(f, a.pool, a.server, &id) : NULL;
        bool refused = p && !carry_out_here(f, &a);
        if (p)
            roster_ask(p->roster, id, false, f->ops.loop_ms(f->ops.arg));
        f->nasks--;
        memmove(&f->asks[0], &f->asks[1], f->nasks * sizeof *f->asks);
        answer(&a, refused ? FLEET_REFUSED : FLEET_HERE);
        ask_drop(&a);
    }
}

void fleet_requests_drop(struct fleet *f)
{
    for (size_t i = 0; i < f->nasks; i++)
        ask_drop(&f->asks[i]);
    free(f->asks);
}
