#include "bench/load/latency.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

/* Values below 2048 have a bucket each. Above, a value with its highest bit at 11 + e (e >= 0)
 * keeps that bit and the ten below it: 1024 buckets a power of two, the first at 2048 + e * 1024.
 */
#define FIRST 2048u
#define STEPS 1024u
#define TOP ((uint64_t)1 << 44) /* larger values count as TOP - 1 */

static unsigned bucket_of(uint64_t v)
{
    if (v < FIRST)
        return (unsigned)v;
    if (v >= TOP)
        v = TOP - 1;
    unsigned e = 52 - (unsigned)__builtin_clzll(v);
    return FIRST + e * STEPS + (unsigned)(v >> (e + 1)) - STEPS;
}

uint64_t latency_bucket_top(unsigned i)
{
    if (i < FIRST)
        return i;
    unsigned e = (i - FIRST) / STEPS;
    uint64_t step = (i - FIRST) % STEPS + STEPS;
    return ((step + 1) << (e + 1)) - 1;
}

void latency_init(struct latency *h)
{
    *h = (struct latency){.min = UINT64_MAX};
    h->counts = mem_zalloc_array(LATENCY_BUCKETS, sizeof *h->counts);
}

void latency_deinit(struct latency *h)
{
    free(h->counts);
    h->counts = NULL;
}

void latency_record(struct latency *h, uint64_t ns)
{
    assert(bucket_of(ns) < LATENCY_BUCKETS);
    h->counts[bucket_of(ns)]++;
    h->count++;
    h->sum += (double)ns;
    if (ns < h->min)
        h->min = ns;
    if (ns > h->max)
        h->max = ns;
}

void latency_add(struct latency *to, const struct latency *from)
{
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
        to->counts[i] += from->counts[i];
    to->count += from->count;
    to->sum += from->sum;
    if (from->min < to->min)
        to->min = from->min;
    if (from->max > to->max)
        to->max = from->max;
}

uint64_t latency_quantile(const struct latency *h, double q)
{
    uint64_t want = (uint64_t)(q * (double)h->count + 0.5), seen = 0;
    if (h->count == 0)
        return 0;
    if (want < 1)
        want = 1;
    if (want >= h->count)
        return h->max;                               /* exactly, not the top of its bucket */
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) { /* rare enough for a plain search */
        seen += h->counts[i];
        if (seen >= want) {
            uint64_t top = latency_bucket_top(i);
            return top < h->max ? top : h->max;
        }
    }
    return h->max;
}
