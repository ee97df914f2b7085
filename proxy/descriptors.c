#include "proxy/descriptors.h"

#include <dirent.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#define RESERVE_MAX 64 /* descriptors for checks, the admin interface and files */

static _Atomic uint32_t used;
static uint32_t limit = UINT32_MAX; /* of the process; not atomic: constant once workers run */
/* What is not for traffic: the reserve, and what is open for other purposes. That never passes
 * through descriptors_take(). */
static _Atomic uint32_t others;

/* What there is for traffic. */
static uint32_t all_there_is(void)
{
    uint32_t taken = atomic_load_explicit(&others, memory_order_relaxed);
    if (limit == UINT32_MAX)
        return limit;
    return limit > taken ? limit - taken : 0;
}

/* The limit of `used`. */
static uint32_t limit_of(enum descriptors_use use)
{
    uint32_t all = all_there_is();
    switch (use) {
    case DESCRIPTORS_STREAM:
        return all - all / 32;
    case DESCRIPTORS_CLIENT:
        return all - all / 8;
    case DESCRIPTORS_BACKEND:
        break;
    }
    return all;
}

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
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) != 0 || l.rlim_cur >= UINT32_MAX)
        return;
    limit = (uint32_t)l.rlim_cur;
    /* with a very small limit, a full reserve would leave nothing for traffic */
    uint32_t reserve = limit / 8 < RESERVE_MAX ? limit / 8 : RESERVE_MAX;
    atomic_store_explicit(&others, count_open() + reserve, memory_order_relaxed);
}

void descriptors_add_others(int n)
{
    atomic_fetch_add_explicit(&others, (uint32_t)n, memory_order_relaxed);
}

bool descriptors_take(enum descriptors_use use, unsigned n)
{
    /* Add first, then compare: two threads cannot both take the last descriptor. While one undoes
     * its excess, another may be refused that would have fitted, which does no harm. */
    uint32_t before = atomic_fetch_add_explicit(&used, n, memory_order_relaxed);
    uint32_t most = limit_of(use);
    if (before < most && n <= most - before)
        return true;
    descriptors_give(n);
    return false;
}

bool descriptors_fit(enum descriptors_use use, unsigned n, unsigned idle)
{
    uint64_t now = atomic_load_explicit(&used, memory_order_relaxed);
    return now + n <= (uint64_t)limit_of(use) + idle;
}

bool descriptors_scarce(void)
{
    uint32_t now = atomic_load_explicit(&used, memory_order_relaxed);
    uint32_t all = all_there_is();
    return now >= all - all / 4;
}

unsigned descriptors_idle_share(unsigned nworkers)
{
    unsigned share = all_there_is() / 16 / nworkers;
    return share ? share : 1;
}

void descriptors_give(unsigned n)
{
    atomic_fetch_sub_explicit(&used, n, memory_order_relaxed);
}
