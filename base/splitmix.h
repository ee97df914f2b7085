/* splitmix64, a generator of pseudo-random numbers (Steele, Lea and Flood 2014).
 *
 * What for: even spread and the same numbers in each run, for loads, samples and tests. Whoever
 * knows one number knows the next one: it is not for secrets.
 * Units: the state is 64 bits, any value is a seed; the period is 2^64.
 * Errors: none. Ownership: the state is the caller's. Threads: a state for each. */
#pragma once
#include <stdint.h>

static inline uint64_t splitmix_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/* From 0 to below 1, in steps of 2^-53. */
static inline double splitmix_unit(uint64_t *state)
{
    return (double)(splitmix_next(state) >> 11) * 0x1p-53;
}
