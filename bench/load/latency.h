/* A histogram of durations with three significant digits, log-linear as HdrHistogram's
 * (http://hdrhistogram.org): 1024 steps a power of two above the first 2048, so a value is told
 * within 0.1 %, from 1 ns to 4.8 hours; what is longer counts as that.
 *
 * Ownership: latency_init() to latency_deinit(). Threads: one writer. */
#pragma once
#include <stdint.h>

struct latency {
    uint64_t count, min, max; /* ns; min is UINT64_MAX while empty */
    double sum;
    uint64_t *counts; /* LATENCY_BUCKETS */
};

#define LATENCY_BUCKETS (2048 + 33 * 1024)

void latency_init(struct latency *h);
void latency_deinit(struct latency *h);
void latency_record(struct latency *h, uint64_t ns);
void latency_add(struct latency *to, const struct latency *from);
/* The value at or below which the share q of all (0 to 1) lie: the highest that counts as equal,
 * as HdrHistogram has it, and never above max. 0 if empty. */
uint64_t latency_quantile(const struct latency *h, double q);
/* The highest value of bucket i. */
uint64_t latency_bucket_top(unsigned i);
