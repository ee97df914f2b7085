/* The number of a publication of the fleet.
 *
 * What for: readers take a newer version alone, so that nothing old comes back.
 * Invariants: epoch first, then the instance that published, then its count; numbers compare as
 * numbers, below 2^53. An instance never uses a count twice, so one version has one content even
 * if a Redis that lost its data gives out an epoch again. {0} is older than any. */
#pragma once
#include <stdint.h>

#define INSTANCE_SIZE 33 /* 32 hexadecimal digits of 128 random bits, a NUL */
#define NUMBER_MAX ((UINT64_C(1) << 53) - 1)

struct version {
    uint64_t epoch;
    char by[INSTANCE_SIZE];
    uint64_t seq;
};

/* < 0: a is older; 0: the same; > 0: a is newer. */
int version_compare(const struct version *a, const struct version *b);
