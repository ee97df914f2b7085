#include "health/candidates.h"

#include <assert.h>

void candidates_init(struct candidates *c)
{
    *c = (struct candidates){.current = CANDIDATE_NONE};
}

bool candidates_update(struct candidates *c, const struct addr_set *answer)
{
    assert(answer->n > 0);
    c->news = true;
    if (addr_set_eq(&c->set, answer))
        return false;
    const struct addr *current = candidates_current(c);
    unsigned kept = current ? addr_set_find(answer, current) : answer->n;
    c->current = kept < answer->n ? kept : CANDIDATE_NONE;
    c->set = *answer;
    return true;
}

struct candidates_span candidates_begin(struct candidates *c, bool down)
{
    bool news = c->news;
    c->news = false;
    if (c->current == CANDIDATE_NONE || down)
        return (struct candidates_span){0, c->set.n};
    return (struct candidates_span){news ? 0 : c->current, c->current + 1};
}

void candidates_end(struct candidates *c, unsigned passed)
{
    assert(passed == CANDIDATE_NONE || passed < c->set.n);
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
