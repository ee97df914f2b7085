#include "pool/totals.h"

#include <stdlib.h>

#include "pool/server.h"

/* On cache lines of their own: `active` changes with every request of a pool with a max_load. */
struct pool_totals *pool_totals_new(void)
{
    struct pool_totals *t = server_zalloc_lines(1, sizeof *t);
    ref_init(&t->ref);
    return t;
}

struct pool_totals *pool_totals_ref(struct pool_totals *t)
{
    ref_get(&t->ref);
    return t;
}

void pool_totals_unref(struct pool_totals *t)
{
    if (t == NULL || !ref_put(&t->ref))
        return;
    assert(atomic_load_explicit(&t->active, memory_order_relaxed) == 0);
    free(t);
}

void pool_totals_release(void *totals)
{
    pool_totals_unref(totals);
}
