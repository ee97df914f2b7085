/* Chooses the address of a server whose host name has several. docs/configuration.md, Names.
 *
 * What for: the addresses of a name are candidates. The first one that passes its check, in the
 * order of addr_cmp(), is used; so all proxies that resolve the same name choose the same address.
 * Which candidates the next check examines:
 *
 *   situation                                       candidates to check
 *   no address is in use (at the start, or the      all
 *   one in use is no longer among the candidates)
 *   the server is down                              all
 *   a lookup was answered since the last check      those up to the one in use, included
 *   otherwise                                       the one in use
 *
 * Therefore a single failed check changes no address: `fall` failed checks take the server down,
 * and only then the next check can choose another one. The server returns to an earlier candidate
 * when that passes in the check after a lookup. If no candidate passes, the one in use stays in
 * use; if there is none, the first one is used.
 * Invariants: current is below set.n, or CANDIDATE_NONE.
 * Ownership: a plain value.
 * Threads: no shared state. Pure. */
#pragma once
#include "base/addr_set.h"

#define CANDIDATE_NONE UINT32_MAX

struct candidates {
    struct addr_set set;
    unsigned current; /* index of the address in use, or CANDIDATE_NONE */
    bool new_answer;  /* a lookup was answered since the last check */
};

/* The candidates from index `from` up to, but not including, index `to`. */
struct candidates_span {
    unsigned from, to;
};

void candidates_init(struct candidates *c);
/* Records the answer of a lookup, at least one address. The address in use stays in use if it is in
 * the answer. True: the set of candidates has changed. */
bool candidates_update(struct candidates *c, const struct addr_set *answer);
/* Returns the candidates that the check that begins now has to examine. down: the
 * server is down. */
struct candidates_span candidates_begin(struct candidates *c, bool down);
/* Records the result of that check. passed: the first candidate that passed, or CANDIDATE_NONE. The
 * set must be the same as when the check began. */
void candidates_end(struct candidates *c, unsigned passed);
/* Uses the first candidate, as with `check: off`. There must be one. */
void candidates_take_first(struct candidates *c);

/* The address in use; NULL if there is none. Valid until the next change of *c. */
static inline const struct addr *candidates_current(const struct candidates *c)
{
    return c->current == CANDIDATE_NONE ? NULL : &c->set.items[c->current];
}
