/* The time that passes: CLOCK_MONOTONIC, which no one sets and which uv_hrtime() reads, too.
 *
 * Units: nanoseconds since some moment before the start of the process, so only differences mean
 * anything; they fit for 584 years.
 * Errors: none, the clock is always there. Threads: any; the clock is the same for all of them. */
#pragma once
#include <assert.h>
#include <stdint.h>
#include <time.h>

static inline uint64_t clock_now_ns(void)
{
    struct timespec t;
    int r = clock_gettime(CLOCK_MONOTONIC, &t);
    assert(r == 0);
    (void)r;
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}
