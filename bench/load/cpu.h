/* The CPU time that this process has used, in seconds: user and system time of all its threads. */
#pragma once
#include <assert.h>
#include <sys/resource.h>

static inline double cpu_seconds(void)
{
    struct rusage u;
    int r = getrusage(RUSAGE_SELF, &u);
    assert(r == 0);
    (void)r;
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}
