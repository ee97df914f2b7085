/* A count of references to a heap object that threads share.
 *
 * What for: x_ref() and x_unref() of such objects are one line each.
 * Invariants: a reference is made from a reference, so the count never rises from zero. Who gives
 * the last one back frees the object, on whatever thread that is.
 * Ownership: embedded in the object. Threads: all functions but ref_init() from any. */
#pragma once
#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>

struct ref {
    _Atomic unsigned count;
};

/* The object has one reference, the caller's. */
static inline void ref_init(struct ref *r)
{
    atomic_init(&r->count, 1);
}

/* Relaxed: the caller has a reference, so the object is whole and stays so; a second thread learns
 * of it through a mailbox or another atomic, which brings the order with it. */
static inline void ref_get(struct ref *r)
{
    unsigned before = atomic_fetch_add_explicit(&r->count, 1, memory_order_relaxed);
    assert(before > 0);
    (void)before;
}

/* True: that was the last reference. Release: what this thread did with the object is done before
 * the count falls. Acquire: whoever frees it sees all of that. */
static inline bool ref_put(struct ref *r)
{
    unsigned before = atomic_fetch_sub_explicit(&r->count, 1, memory_order_acq_rel);
    assert(before > 0);
    return before == 1;
}
