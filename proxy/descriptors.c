#include "proxy/descriptors.h"

#include <dirent.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#define RESERVE_MAX 64 /* descriptors for checks, the admin interface and files */

static _Atomic uint32_t used;
/* The limit of `used` for each enum descriptors_use. Not atomic: constant once workers run. */
static uint32_t limits[] = {UINT32_MAX, UINT32_MAX, UINT32_MAX};
static uint32_t all_there_is = UINT32_MAX; /* for traffic; constant, too */

/* What is open at the start (listeners, the control loop, stderr) stays open and never passes
 * through descriptors_take(), so it is subtracted from the limit once. */
static uint32_t count_open(void)
{
    uint32_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    if (d == NULL)
        return RESERVE_MAX; /* no /proc: a guess that is rather too high than too low */
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
    /* with a very small limit, a full reserve would leave nothing for traffic */
    uint32_t reserve = all / 8 < RESERVE_MAX ? all / 8 : RESERVE_MAX;
    uint32_t taken = count_open() + reserve;
    uint32_t left = all > taken ? all - taken : 0;
    all_there_is = left;
    limits[DESCRIPTORS_BACKEND] = left;
    limits[DESCRIPTORS_STREAM] = left - left / 32;
    limits[DESCRIPTORS_CLIENT] = left - left / 8;
}

bool descriptors_take(enum descriptors_use use, unsigned n)
{
    /* Add first, then compare: two threads cannot both take the last descriptor. While one undoes
     * its excess, another may be refused that would have fitted, which does no harm. */
    uint32_t before = atomic_fetch_add_explicit(&used, n, memory_order_relaxed);
    if (before < limits[use] && n <= limits[use] - before)
        return true;
    descriptors_give(n);
    return false;
}

bool descriptors_fit(enum descriptors_use use, unsigned n, unsigned idle)
{
    uint64_t now = atomic_load_explicit(&used, memory_order_relaxed);
    return now + n <= (uint64_t)limits[use] + idle;
}

bool descriptors_scarce(void)
{
    uint32_t now = atomic_load_explicit(&used, memory_order_relaxed);
    return now >= all_there_is - all_there_is / 4;
}

unsigned descriptors_idle_share(unsigned nworkers)
{
    unsigned share = all_there_is / 16 / nworkers;
    return share ? share : 1;
}

void descriptors_give(unsigned n)
{
    atomic_fetch_sub_explicit(&used, n, memory_order_relaxed);
}
