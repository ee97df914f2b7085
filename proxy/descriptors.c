#include "proxy/descriptors.h"

#include <dirent.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#define RESERVE_MAX 64 /* for checks, the admin interface, files */

static _Atomic uint32_t used;
/* By use; constant once workers run. */
static uint32_t most[] = {UINT32_MAX, UINT32_MAX, UINT32_MAX};

static uint32_t count_open(void)
{
    uint32_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    if (d == NULL)
        return RESERVE_MAX; /* no /proc: a guess on the safe side */
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

void descriptors_init(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return;
    uint32_t all = limit.rlim_cur < UINT32_MAX ? (uint32_t)limit.rlim_cur : UINT32_MAX;
    uint32_t reserve = all / 8 < RESERVE_MAX ? all / 8 : RESERVE_MAX;
    uint32_t taken = count_open() + reserve;
    uint32_t left = all > taken ? all - taken : 0;
    most[DESCRIPTORS_BACKEND] = left;
    most[DESCRIPTORS_STREAM] = left - left / 32;
    most[DESCRIPTORS_CLIENT] = left - left / 8;
}

bool descriptors_take(enum descriptors_use use, unsigned n)
{
    uint32_t before = atomic_fetch_add_explicit(&used, n, memory_order_relaxed);
    if (before < most[use] && n <= most[use] - before)
        return true;
    descriptors_give(n);
    return false;
}

void descriptors_give(unsigned n)
{
    atomic_fetch_sub_explicit(&used, n, memory_order_relaxed);
}
