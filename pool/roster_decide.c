/* The decision: which servers are out, by the opinions of this process alone.
 *
 * A server is out while it is down, drained or still waits. A wait ends with its time, and before
 * that when it has lost its reason. That depends on which servers would serve the keys meanwhile,
 * and those depend on the waits. So the owners are computed, waits are ended by them, and both are
 * repeated until no further wait ends. Opinions are read here, not changed: that is done by
 * roster_apply(). */
#include <assert.h>
#include <string.h>

#include "pool/roster_internal.h"

/* Whether the server waits, and this decision has not ended its wait so far. */
static bool still_waits(const struct roster *r, unsigned id)
{
    return r->decision.out[id] && opinion_is_waiting(&r->opinions[id]);
}

static bool anyone_owns(const struct roster *r)
{
    for (unsigned b = 0; b < r->nbackends; b++)
        if (r->decision.owner[b] != SERVER_NONE)
            return true;
    return false;
}

/* Whether keys of a slot without an owner have a server: the owner of the next slot that has one.
 */
static bool next_owners_serve(const struct roster *r)
{
    return r->config->when_down == WHEN_DOWN_NEXT && anyone_owns(r);
}

/* Whether the wait, or hold, of a backend has lost its reason. */
static bool wait_over(const struct roster *r, unsigned b, bool next_serve, uint64_t now_ms)
{
    unsigned holder = r->words[b].owner;   /* the server that has its points now ... */
    unsigned cover = r->decision.owner[b]; /* ... and the one that would have them */
    if (cover == SERVER_NONE && !next_serve)
        return true;
    if (!r->held[b])
        return now_ms >= r->opinions[b].until_ms &&
               (!r->config->failback.manual || cover == SERVER_NONE);
    /* A hold keeps keys from moving. If they have to move anyway, they move home. */
    return holder == SERVER_GONE ||
           (is_standby(r, holder) && (r->decision.out[holder] || cover == SERVER_NONE));
}

/* Ends waits of backends. True: a wait has ended, so the owners have to be computed again. */
static bool release_backends(struct roster *r, uint64_t now_ms)
{
    bool any = false, next_serve = next_owners_serve(r);
    for (unsigned b = 0; b < r->nbackends; b++) {
        if (!still_waits(r, b))
            continue;
        if (wait_over(r, b, next_serve, now_ms)) {
            r->decision.out[b] = false;
            any = true;
        } else if (now_ms >= r->opinions[b].until_ms) {
            r->held[b] = true;
        }
    }
    return any;
}

static unsigned unowned(const struct roster *r, const uint16_t *owners)
{
    unsigned n = 0;
    for (unsigned b = 0; b < r->nbackends; b++)
        n += owners[b] == SERVER_NONE;
    return n;
}

/* Computes r->trial: the owners if the waiting standby `one` were back, or, for SERVER_NONE, if all
 * waiting standbys were. */
static void try_standbys(struct roster *r, unsigned one)
{
    memcpy(r->trial_out, r->decision.out, r->nservers * sizeof *r->trial_out);
    for (unsigned s = r->nbackends; s < r->nservers; s++)
        if (still_waits(r, s) && (one == SERVER_NONE || s == one))
            r->trial_out[s] = false;
    failover_owners(r->pool->failover, r->trial_out, r->trial);
}

/* Keys without a server end the wait of standbys that could help: of those that the promotion rule
 * would choose for these backends, else of one that sets another standby free for them. */
static bool release_needed_standbys(struct roster *r)
{
    bool any = false;
    try_standbys(r, SERVER_NONE);
    for (unsigned b = 0; b < r->nbackends; b++) {
        unsigned s = r->trial[b];
        if (r->decision.owner[b] != SERVER_NONE || !is_standby(r, s) || !still_waits(r, s))
            continue;
        r->decision.out[s] = false;
        any = true;
    }
    if (any || unowned(r, r->trial) == unowned(r, r->decision.owner))
        return any;
    for (unsigned s = r->nbackends; s < r->nservers; s++) {
        if (!still_waits(r, s))
            continue;
        try_standbys(r, s);
        if (unowned(r, r->trial) < unowned(r, r->decision.owner)) {
            r->decision.out[s] = false;
            return true;
        }
    }
    return false;
}

/* Ends waits of standbys. True: a wait has ended, so the owners have to be computed again. */
static bool release_standbys(struct roster *r, uint64_t now_ms)
{
    bool any = false, waiting = false;
    for (unsigned s = r->nbackends; s < r->nservers; s++) {
        if (!still_waits(r, s))
            continue;
        if (now_ms >= r->opinions[s].until_ms) {
            r->decision.out[s] = false;
            any = true;
        } else {
            waiting = true;
        }
    }
    if (any)
        return true;
    if (!waiting || unowned(r, r->decision.owner) == 0 || next_owners_serve(r))
        return false;
    return release_needed_standbys(r);
}

/* A server that checks or live traffic took down. Not one that an operator drained, nor one that
 * has no address to be tried at. */
static bool may_try(const struct roster *r, unsigned id)
{
    return !r->opinions[id].drained && is_resolved(r->pool->members[id].server);
}

/* With `when_all_down: try`: if no server is in service, the checks have lost their meaning, and
 * all servers that they took out count as in service. No server waits then: its wait has ended, as
 * no other could serve its keys. */
static void try_all(struct roster *r)
{
    bool any = false;
    r->decision.all_down = false;
    if (r->config->when_all_down != WHEN_ALL_DOWN_TRY)
        return;
    for (unsigned i = 0; i < r->nservers; i++) {
        if (!r->decision.out[i])
            return;
        any |= may_try(r, i);
    }
    if (!any)
        return;
    for (unsigned i = 0; i < r->nservers; i++) {
        assert(!may_try(r, i) || r->opinions[i].phase == DOWN);
        r->decision.out[i] = !may_try(r, i);
    }
    failover_owners(r->pool->failover, r->decision.out, r->decision.owner);
    r->decision.all_down = true;
}

void roster_decide(struct roster *r, uint64_t now_ms)
{
    for (unsigned i = 0; i < r->nservers; i++)
        r->decision.out[i] = opinion_is_out(&r->opinions[i]);
    for (unsigned b = 0; b < r->nbackends; b++)
        r->held[b] = r->opinions[b].phase == HELD;
    do
        failover_owners(r->pool->failover, r->decision.out, r->decision.owner);
    while (release_backends(r, now_ms) || release_standbys(r, now_ms));
    try_all(r);
}
