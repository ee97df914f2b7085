/* A histogram of durations with fixed buckets, for the Prometheus metrics.
 *
 * Invariants: count[i] is the number of durations above bound i-1 and up to bound i; the last
 * bucket has no upper bound. (Prometheus's own buckets are cumulative: the exporter adds them up.)
 * Threads: one writer, the worker that owns the histogram. Any thread may read; it may see a count
 * without the matching sum. */
#pragma once
#include <stdatomic.h>
#include <stdint.h>

#define HISTOGRAM_BUCKETS 16

struct histogram {
    _Atomic uint64_t count[HISTOGRAM_BUCKETS];
    _Atomic uint64_t sum_us;
};

/* Inclusive upper bounds in microseconds; the last bucket has none. */
static const uint32_t histogram_bounds_us[HISTOGRAM_BUCKETS - 1] = {
    500,    1000,   2500,    5000,    10000,   25000,    50000,   100000,
    250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000};

/* Counts one duration, in microseconds. A load and a store instead of an atomic addition: there is
 * only one writer, so no update can be lost. */
static inline void histogram_record(struct histogram *h, uint64_t us)
{
    unsigned i = 0;
    while (i < HISTOGRAM_BUCKETS - 1 && us > histogram_bounds_us[i])
        i++;
    uint64_t c = atomic_load_explicit(&h->count[i], memory_order_relaxed);
    atomic_store_explicit(&h->count[i], c + 1, memory_order_relaxed);
    uint64_t s = atomic_load_explicit(&h->sum_us, memory_order_relaxed);
    atomic_store_explicit(&h->sum_us, s + us, memory_order_relaxed);
}
