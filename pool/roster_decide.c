/* The decision: who is out, by the opinions of this process alone.
 *
 * Out is what is down, drained or still waits. A wait ends with its time, and before that when it
 * has lost its reason, which depends on who would serve the keys meanwhile: so the owners are
 * worked out, waits end by them, and that is repeated until none ends. Opinions are read, not
 * changed: roster_apply() draws the consequences. */
#include <string.h>

#include "pool/roster_internal.h"

/* It waits, and nothing on the way to this decision has ended that. */
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

/* Nobody serves the keys of a slot without an owner if the next owners may not or are not there. */
static bool next_owners_serve(const struct roster *r)
{
    return r->config->when_down == WHEN_DOWN_NEXT && anyone_owns(r);
}

/* A backend that waits or is held: has that lost its reason? */
static bool wait_over(const struct roster *r, unsigned b, bool next_serve, uint64_t now_ms)
{
    unsigned holder = r->words[b].owner;   /* who has its points now ... */
    unsigned cover = r->decision.owner[b]; /* ... and who would have them */
    if (cover == SERVER_NONE && !next_serve)
        return true;
    if (!r->held[b])
        return now_ms >= r->opinions[b].until_ms &&
               (!r->config->failback.manual || cover == SERVER_NONE);
    /* the keys of a hold have to move anyway: home */
    return holder == SERVER_GONE ||
           (is_standby(r, holder) && (r->decision.out[holder] || cover == SERVER_NONE));
}

/* True if one comes back: then more may have lost their reason to wait, and the owners differ. */
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

/* What failover_owners() would say if the waiting standby `one`, or all of them (SERVER_NONE), were
 * back. */
static void try_standbys(struct roster *r, unsigned one)
{
    memcpy(r->trial_out, r->decision.out, r->nservers * sizeof *r->trial_out);
    for (unsigned s = r->nbackends; s < r->nservers; s++)
        if (still_waits(r, s) && (one == SERVER_NONE || s == one))
            r->trial_out[s] = false;
    failover_owners(r->pool->failover, r->trial_out, r->trial);
}

/* Keys that nobody serves end the wait of the standbys that could serve them: those the promotion
 * rule would choose for these very backends, else one that frees another for them. */
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

void roster_decide(struct roster *r, uint64_t now_ms)
{
    for (unsigned i = 0; i < r->nservers; i++)
        r->decision.out[i] = opinion_is_out(&r->opinions[i]);
    for (unsigned b = 0; b < r->nbackends; b++)
        r->held[b] = r->opinions[b].phase == HELD;
    do
        failover_owners(r->pool->failover, r->decision.out, r->decision.owner);
    while (release_backends(r, now_ms) || release_standbys(r, now_ms));
}
