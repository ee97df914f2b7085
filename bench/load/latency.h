/* A histogram of durations with three significant digits, log-linear as HdrHistogram's
 * (http://hdrhistogram.org): above the first 2048 ns there are 1024 buckets for each power of two,
 * so a value is known within 0.1 %, from 1 ns to 4.8 hours. A longer duration counts as 4.8 hours.
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
/* The quantile q, 0 to 1: a share q of all values is at or below it. Of the values in its bucket it
 * is the highest, as in HdrHistogram, but never above max. 0 if the histogram is empty. */
uint64_t latency_quantile(const struct latency *h, double q);
/* The highest value of bucket i. */
uint64_t latency_bucket_top(unsigned i);
