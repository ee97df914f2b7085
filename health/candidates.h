/* Which of the addresses of a name is used.
 *
 * What for: several addresses of one name are candidates; used is the first of them, in the order
 * of addr_cmp(), that answers its check, so that all proxies which ask the same name choose alike.
 * When is looked for it:
 *
 *   no address is in use, or the one in use is      all candidates are checked
 *   no longer among them; the server is down
 *   a lookup was answered since the last check      those before the one in use, and that one
 *   else                                            the one in use alone
 *
 * So one failed check moves nothing: `fall` of them take the server down, and then the next check
 * may find another address. Back to an earlier one it goes once that answers at a check behind a
 * lookup. If none answers, the one in use stays, or it is the first.
 * Ownership: a plain value. Threads: none. Pure. */
#pragma once
#include "base/addr_set.h"

#define CANDIDATE_NONE UINT32_MAX

struct candidates {
    struct addr_set set;
    unsigned current; /* index, or CANDIDATE_NONE */
    bool news;        /* a lookup was answered since the last check */
};

struct candidates_span {
    unsigned from, to; /* [from, to) are to be checked */
};

void candidates_init(struct candidates *c);
/* A lookup has answered with at least one address. True: the set is another one now. */
bool candidates_update(struct candidates *c, const struct addr_set *answer);
/* What the check that begins now should look at. */
struct candidates_span candidates_begin(struct candidates *c, bool down);
/* That check is over; passed: the first index at which it passed, or CANDIDATE_NONE. The set must
 * be the same as when it began. */
void candidates_end(struct candidates *c, unsigned passed);
/* The same where nothing is checked: the first one is used. */
void candidates_take_first(struct candidates *c);

static inline const struct addr *candidates_current(const struct candidates *c)
{
    return c->current == CANDIDATE_NONE ? NULL : &c->set.items[c->current];
}
