/* The time that passes, that of a suspended host included: CLOCK_BOOTTIME, which no one sets.
 *
 * What for: leases. Whoever lent something to this host goes on counting while it sleeps.
 * Units: milliseconds since the boot, rounded down; differences mean something.
 * Errors: none, the clock is always there. Threads: any; the clock is the same for all of them. */
#pragma once
#include <assert.h>
#include <stdint.h>
#include <time.h>

static inline uint64_t boot_clock_ms(void)
{
    struct timespec t;
    int r = clock_gettime(CLOCK_BOOTTIME, &t);
    assert(r == 0);
    (void)r;
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
