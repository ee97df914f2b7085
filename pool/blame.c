#include "pool/blame.h"

#include <assert.h>

#define KIND_BITS 3

_Static_assert(BLAME_KINDS <= 1 << KIND_BITS, "a kind fits its bits of the word");

const char *blame_name(enum blame b)
{
    static const char *const names[BLAME_KINDS] = {
        [BLAME_RESET] = "reset",         [BLAME_CLOSED] = "closed", [BLAME_SILENT] = "timeout",
        [BLAME_MALFORMED] = "malformed", [BLAME_STATUS] = "status",
    };
    assert(blame_is_suspect(b) && b < BLAME_KINDS);
    return names[b];
}

/* The kind and the time are one word, so that no reader gets them of two tries. */
void suspicions_note(struct suspicions *s, enum blame b, uint64_t now_ms)
{
    assert(blame_is_suspect(b) && b < BLAME_KINDS);
    atomic_fetch_add_explicit(&s->tries[b], 1, memory_order_relaxed);
    atomic_store_explicit(&s->last, now_ms << KIND_BITS | b, memory_order_relaxed);
}

uint64_t suspicions_tries(const struct suspicions *s)
{
    uint64_t sum = 0;
    for (unsigned b = BLAME_FIRST_SUSPECT; b < BLAME_KINDS; b++)
        sum += atomic_load_explicit(&s->tries[b], memory_order_relaxed);
    return sum;
}

bool suspicions_last(const struct suspicions *s, enum blame *b, uint64_t *at_ms)
{
    uint64_t word = atomic_load_explicit(&s->last, memory_order_relaxed);
    *b = (enum blame)(word & ((1u << KIND_BITS) - 1));
    *at_ms = word >> KIND_BITS;
    return *b != BLAME_NOBODY;
}
