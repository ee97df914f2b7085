/* Random bytes of the kernel, in stock.
 *
 * What for: values that nobody else has chosen or can foresee, such as issued keys. One system call
 * brings as many as some hundred of them take.
 * Invariants: a byte is given out once. The call never waits, not even while the kernel has not
 * gathered enough randomness yet after a boot: it fails then.
 * Ownership: the store is the caller's; {0} is an empty one. Threads: the owner's. After a fork() a
 * store may be used on one side alone, as both would give out the same bytes. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define RANDOM_STOCK 4096

struct random_store {
    size_t left; /* bytes at the end that were not given out */
    uint8_t bytes[RANDOM_STOCK];
};

/* Gives out n bytes, n <= RANDOM_STOCK. False: the kernel has none; the error says why. */
bool random_take(struct random_store *s, void *out, size_t n, struct error *e);
