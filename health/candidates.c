#include "health/candidates.h"

#include <assert.h>

void candidates_init(struct candidates *c)
{
    *c = (struct candidates){.current = CANDIDATE_NONE};
}

bool candidates_update(struct candidates *c, const struct addr_set *answer)
{
    assert(answer->n > 0);
    /* Also for an unchanged set: after each lookup the earlier candidates get another chance, so
     * that proxies which saw different failures agree again. */
    c->new_answer = true;
    if (addr_set_eq(&c->set, answer))
        return false;
    /* the address in use may have another index in the new set */
    const struct addr *current = candidates_current(c);
    unsigned kept = current ? addr_set_find(answer, current) : answer->n;
    /* If it is gone, the next check examines all candidates. */
    c->current = kept < answer->n ? kept : CANDIDATE_NONE;
    c->set = *answer;
    return true;
}

struct candidates_span candidates_begin(struct candidates *c, bool down)
{
    bool new_answer = c->new_answer;
    c->new_answer = false;
    /* A server that is up stays at its address, so that a single failed check changes
     * no address. */
    if (c->current == CANDIDATE_NONE || down)
        return (struct candidates_span){0, c->set.n};
    return (struct candidates_span){new_answer ? 0 : c->current, c->current + 1};
}

void candidates_end(struct candidates *c, unsigned passed)
{
    assert(passed == CANDIDATE_NONE || passed < c->set.n);
    /* With no candidate that passes there must still be an address to show and to check next. */
    if (passed != CANDIDATE_NONE)
        c->current = passed;
    else if (c->current == CANDIDATE_NONE)
        candidates_take_first(c);
}

void candidates_take_first(struct candidates *c)
{
    assert(c->set.n > 0);
    c->current = 0;
}
