/* The decision: which servers are out.
 *
 * A server is out while it is down, drained or still waits. A wait ends with its time, and before
 * that when it has lost its reason. That depends on which servers would serve the keys meanwhile,
 * and those depend on the waits. So the owners are computed, waits are ended by them, and both are
 * repeated until no further wait ends. How servers stand is read here, not changed: that is done by
 * standings_draw(). The waits of servers that stand as agreed end by an agreement alone. */
#include <string.h>

#include "pool/standings_internal.h"

/* Whether the server waits, and this decision has not ended its wait so far. */
static bool still_waits(const struct standings *st, unsigned id)
{
    return st->decision.out[id] && standing_is_waiting(&st->servers[id]) &&
           !standing_is_agreed(st, id);
}

static bool anyone_owns(const struct standings *st)
{
    for (unsigned b = 0; b < st->nbackends; b++)
        if (st->decision.owner[b] != SERVER_NONE)
            return true;
    return false;
}

/* Whether keys of a slot without an owner have a server: the owner of the next slot that has one.
 */
static bool next_owners_serve(const struct standings *st)
{
    return st->config->when_down == WHEN_DOWN_NEXT && anyone_owns(st);
}

/* Whether the wait, or hold, of a backend has lost its reason. */
static bool wait_over(const struct standings *st, unsigned b, bool next_serve, uint64_t now_ms)
{
    unsigned holder = st->words[b].owner;   /* the server that has its points now ... */
    unsigned cover = st->decision.owner[b]; /* ... and the one that would have them */
    if (cover == SERVER_NONE && !next_serve)
        return true;
    if (!st->held[b])
        return now_ms >= st->servers[b].until_ms &&
               (!st->config->failback.manual || cover == SERVER_NONE);
    /* A hold keeps keys from moving. If they have to move anyway, they move home. */
    return holder == SERVER_GONE ||
           (is_standby(st, holder) && (st->decision.out[holder] || cover == SERVER_NONE));
}

/* Ends waits of backends. True: a wait has ended, so the owners have to be computed again. */
static bool release_backends(struct standings *st, uint64_t now_ms)
{
    bool any = false, next_serve = next_owners_serve(st);
    for (unsigned b = 0; b < st->nbackends; b++) {
        if (!still_waits(st, b))
            continue;
        if (wait_over(st, b, next_serve, now_ms)) {
            st->decision.out[b] = false;
            any = true;
        } else if (now_ms >= st->servers[b].until_ms) {
            st->held[b] = true;
        }
    }
    return any;
}

static unsigned unowned(const struct standings *st, const uint16_t *owners)
{
    unsigned n = 0;
    for (unsigned b = 0; b < st->nbackends; b++)
        n += owners[b] == SERVER_NONE;
    return n;
}

/* Computes st->trial: the owners if the waiting standby `one` were back, or, for SERVER_NONE, if
 * all waiting standbys were. */
static void try_standbys(struct standings *st, unsigned one)
{
    memcpy(st->trial_out, st->decision.out, st->nservers * sizeof *st->trial_out);
    for (unsigned s = st->nbackends; s < st->nservers; s++)
        if (still_waits(st, s) && (one == SERVER_NONE || s == one))
            st->trial_out[s] = false;
    failover_owners(st->pool->failover, st->trial_out, st->trial);
}

/* Keys without a server end the wait of standbys that could help: of those that the promotion rule
 * would choose for these backends, else of one that sets another standby free for them. */
static bool release_needed_standbys(struct standings *st)
{
    bool any = false;
    try_standbys(st, SERVER_NONE);
    for (unsigned b = 0; b < st->nbackends; b++) {
        unsigned s = st->trial[b];
        if (st->decision.owner[b] != SERVER_NONE || !is_standby(st, s) || !still_waits(st, s))
            continue;
        st->decision.out[s] = false;
        any = true;
    }
    if (any || unowned(st, st->trial) == unowned(st, st->decision.owner))
        return any;
    for (unsigned s = st->nbackends; s < st->nservers; s++) {
        if (!still_waits(st, s))
            continue;
        try_standbys(st, s);
        if (unowned(st, st->trial) < unowned(st, st->decision.owner)) {
            st->decision.out[s] = false;
            return true;
        }
    }
    return false;
}

/* Ends waits of standbys. True: a wait has ended, so the owners have to be computed again. */
static bool release_standbys(struct standings *st, uint64_t now_ms)
{
    bool any = false, waiting = false;
    for (unsigned s = st->nbackends; s < st->nservers; s++) {
        if (!still_waits(st, s))
            continue;
        if (now_ms >= st->servers[s].until_ms) {
            st->decision.out[s] = false;
            any = true;
        } else {
            waiting = true;
        }
    }
    if (any)
        return true;
    if (!waiting || unowned(st, st->decision.owner) == 0 || next_owners_serve(st))
        return false;
    return release_needed_standbys(st);
}

/* A server that checks or live traffic took down. Not one that an operator drained, nor one that
 * has no address to be tried at. */
static bool may_try(const struct standings *st, unsigned id)
{
    return !st->servers[id].drained && is_resolved(st->pool->members[id].server);
}

/* With `when_all_down: try`: if no server is in service, the checks have lost their meaning, and
 * all servers that they took out count as in service. None waits by its own clock then: its wait
 * has ended, as no other could serve its keys. */
static void try_all(struct standings *st)
{
    bool any = false;
    st->decision.all_down = false;
    if (st->config->when_all_down != WHEN_ALL_DOWN_TRY)
        return;
    for (unsigned i = 0; i < st->nservers; i++) {
        if (!st->decision.out[i])
            return;
        any |= may_try(st, i);
    }
    if (!any)
        return;
    for (unsigned i = 0; i < st->nservers; i++)
        st->decision.out[i] = !may_try(st, i);
    failover_owners(st->pool->failover, st->decision.out, st->decision.owner);
    st->decision.all_down = true;
}

void standings_decide(struct standings *st, uint64_t now_ms)
{
    for (unsigned i = 0; i < st->nservers; i++)
        st->decision.out[i] = standing_is_out(&st->servers[i]);
    for (unsigned b = 0; b < st->nbackends; b++)
        st->held[b] = st->servers[b].phase == STANDINGS_HELD;
    do
        failover_owners(st->pool->failover, st->decision.out, st->decision.owner);
    while (release_backends(st, now_ms) || release_standbys(st, now_ms));
    try_all(st);
}

bool standings_want(struct standings *st, unsigned id)
{
    if (st->decision.all_down)
        return true;
    if (next_owners_serve(st))
        return false;
    if (id < st->nbackends)
        return st->decision.owner[id] == SERVER_NONE;
    memcpy(st->trial_out, st->decision.out, st->nservers * sizeof *st->trial_out);
    st->trial_out[id] = false;
    failover_owners(st->pool->failover, st->trial_out, st->trial);
    return unowned(st, st->trial) < unowned(st, st->decision.owner);
}
