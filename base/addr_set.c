#include "base/addr_set.h"

void addr_set_add(struct addr_set *s, const struct addr *a)
{
    unsigned at = 0; /* linear searches: a set has at most ADDR_SET_MAX addresses */
    while (at < s->n && addr_cmp(&s->items[at], a) < 0)
        at++;
    if (at == ADDR_SET_MAX || (at < s->n && addr_eq(&s->items[at], a)))
        return;
    /* a full set drops its greatest address, so that the order of insertion does not matter */
    unsigned last = s->n < ADDR_SET_MAX ? s->n++ : ADDR_SET_MAX - 1;
    memmove(&s->items[at + 1], &s->items[at], (last - at) * sizeof s->items[at]);
    s->items[at] = *a;
}

unsigned addr_set_find(const struct addr_set *s, const struct addr *a)
{
    unsigned at = 0;
    while (at < s->n && !addr_eq(&s->items[at], a))
        at++;
    return at;
}

bool addr_set_eq(const struct addr_set *a, const struct addr_set *b)
{
    bool same = a->n == b->n;
    for (unsigned i = 0; same && i < a->n; i++)
        same = addr_eq(&a->items[i], &b->items[i]);
    return same;
}
