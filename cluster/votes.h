/* From what the members of a fleet see to what is to be decided.
 *
 * Voters of a server are the nodes that list it and are live, have traffic (`listen: always`, or
 * they hold the role; all if none of them does), and are not blind (all if all are); and nodes with
 * `listen: always` that went silent a short while ago: these count, but have no vote. So a decision
 * takes more than half of all who could have one, and neither a tie nor one sick observer moves a
 * key.
 * Without checks (`check: off`) who sees nothing is no voter: any claim decides.
 * Invariants: pure; the outcome depends on the arguments alone. Ownership: keeps nothing. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/peers.h"
#include "cluster/view.h"
#include "config/config.h"
#include "pool/agreed.h"

/* Who counts, and when. */
struct electorate {
    const struct peers *peers;
    const char *node;       /* the reader, whose row in `peers` is not looked at */
    const struct view *own; /* what the reader sees now; sorted, its pools named */
    uint64_t now_ms, ttl_ms;
};

/* What is voted on: the servers of a pool as the reader has it configured. */
struct ballot {
    const struct config_pool *config;
    const char *digest;               /* digest_of(config) */
    const struct agreed_pool *agreed; /* as last published and decoded; NULL: not yet */
};

struct tally {
    unsigned down, up; /* votes */
    unsigned voters;   /* with or without a vote */
};

enum votes_outcome { VOTES_UNCHANGED, VOTES_OUT, VOTES_IN };

/* out[backends, then standbys of the ballot]: who sees the server down. */
void votes_count(const struct electorate *e, const struct ballot *b, struct tally *out);
/* The rule `agree` of the pool. VOTES_IN: the server has returned, waits and holds may follow. */
enum votes_outcome votes_rule(const struct config_pool *config, struct tally t);

/* out[]: who of those live, the reader included, routes by the server being out (`down`) or in
 * service (`up`): what a keeper that was alone begins with. */
void votes_routes(const struct electorate *e, const struct ballot *b, struct tally *out);
/* VOTES_UNCHANGED: neither has more than half; as last agreed. */
enum votes_outcome votes_merge(struct tally t);

/* out[]: how many other live members say that the server is down. */
void votes_claims(const struct electorate *e, const struct ballot *b, unsigned *out);

/* Who is to take a lock that is free: how many live nodes come before this one. First those that
 * listen as the active one alone; then those that are ready; of the first kind the one that accepts
 * already, so that the role stays where it is when the store has lost the lock (who preempts gets
 * it afterwards, in order); the higher priority; the name. A standby that was cut off itself leaves
 * VOTES_ABSENT places for the one that was active: half a lock_ttl, in which that one reconnects.
 */
#define VOTES_ABSENT 15
unsigned votes_rank(const struct electorate *e);

/* To whom the reader, which is the keeper, should hand the role over: a live follower that has been
 * ready for 2 lock_ttl, routes by `last`, is blind in no more pools, and is of higher priority with
 * `preempt`, or alone of both would accept traffic by the role. unfit: the reader has been blind or
 * not ready for 2 lock_ttl; then to any that is less blind, or ready where the reader is not. NULL:
 * nobody. The doubled patience (struct state_node) is the caller's. */
const struct peer *votes_better(const struct electorate *e, const struct version *last, bool unfit);
