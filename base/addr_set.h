/* A small set of addresses, in the order of addr_cmp().
 *
 * What for: the addresses that a host name resolves to. Name servers rotate the order of their
 * answers; a sorted set makes all proxies see the same list.
 * Invariants: sorted, without duplicates. Of more than ADDR_SET_MAX addresses the set keeps the
 * first ADDR_SET_MAX in that order, whatever the order of insertion.
 * Ownership: a plain value. Threads: no shared state. Pure. */
#pragma once
#include <stdbool.h>

#include "base/addr.h"

#define ADDR_SET_MAX 16

struct addr_set {
    unsigned n;
    struct addr items[ADDR_SET_MAX];
};

/* Adds a copy of *a, unless the set holds it already or is full of smaller ones. */
void addr_set_add(struct addr_set *s, const struct addr *a);
/* The index of the address in items; s->n if the set does not hold it. */
unsigned addr_set_find(const struct addr_set *s, const struct addr *a);
bool addr_set_eq(const struct addr_set *a, const struct addr_set *b);
