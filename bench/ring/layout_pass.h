/* The timed passes of a layout: LAYOUT_PASSES(prefix) makes them from prefix_hash() and
 * prefix_find(). With a pointer to find() each lookup would cost an indirect call that no proxy
 * makes, and that takes as long as a short lookup.
 *
 * Files that define a layout use the macro after its functions. */
#pragma once
#include "bench/ring/layout.h"

#define LAYOUT_PASSES(prefix)                                                               \
    static uint64_t prefix##_find_pass(const void *built, const struct layout_keys *k)      \
    {                                                                                       \
        uint64_t sum = 0;                                                                   \
        for (size_t i = 0; i < k->n; i++)                                                   \
            sum += prefix##_find(built, k->hash[i]);                                        \
        return sum;                                                                         \
    }                                                                                       \
    /* the odd factor spreads what little of the slot differs over all of the hash */       \
    static uint64_t prefix##_chained_pass(const void *built, const struct layout_keys *k)   \
    {                                                                                       \
        uint64_t slot = 0, sum = 0;                                                         \
        for (size_t i = 0; i < k->n; i++) {                                                 \
            slot = prefix##_find(built, k->hash[i] + slot * 0x9e3779b97f4a7c15);            \
            sum += slot;                                                                    \
        }                                                                                   \
        return sum;                                                                         \
    }                                                                                       \
    static uint64_t prefix##_hash_find_pass(const void *built, const struct layout_keys *k) \
    {                                                                                       \
        uint64_t sum = 0;                                                                   \
        for (size_t i = 0; i < k->n; i++) {                                                 \
            struct str key = {k->text + i * LAYOUT_KEY_LEN, LAYOUT_KEY_LEN};                \
            sum += prefix##_find(built, prefix##_hash(key));                                \
        }                                                                                   \
        return sum;                                                                         \
    }

/* The initialisers of those members of `struct layout` that follow from the prefix. */
#define LAYOUT_FUNCTIONS(prefix)                                                                  \
    .hash = prefix##_hash, .build = prefix##_build, .free = prefix##_free, .find = prefix##_find, \
    .memory = prefix##_memory, .find_pass = prefix##_find_pass,                                   \
    .chained_pass = prefix##_chained_pass, .hash_find_pass = prefix##_hash_find_pass
