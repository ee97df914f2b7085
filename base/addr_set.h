/* A small set of addresses, in the order of addr_cmp().
 *
 * What for: what a name stands for. Whoever asks for the same name gets the same set, in whatever
 * order the answers come.
 * Invariants: sorted, without duplicates; of more than ADDR_SET_MAX the first ones stay.
 * Ownership: a plain value. Threads: none. Pure. */
#pragma once
#include <stdbool.h>

#include "base/addr.h"

#define ADDR_SET_MAX 16

struct addr_set {
    unsigned n;
    struct addr items[ADDR_SET_MAX];
};

void addr_set_add(struct addr_set *s, const struct addr *a);
/* Its index; s->n: it is not in there. */
unsigned addr_set_find(const struct addr_set *s, const struct addr *a);
bool addr_set_eq(const struct addr_set *a, const struct addr_set *b);
