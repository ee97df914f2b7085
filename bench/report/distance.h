/* How far apart two latency distributions are: the Kolmogorov-Smirnov distance of two histograms.
 *
 * A histogram is an array of [upper bound in us, count], ascending, as stored_load() has checked.
 * Counting in buckets can only make the distance smaller, so there are no false differences.
 * Threads: pure. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

struct distance {
    json_int_t count_a, count_b;
    double largest;          /* the widest gap between the shares, 0 to 1 */
    double at_us;            /* the latency where the gap is widest */
    double share_a, share_b; /* shares of the answers that took at_us or less */
    double threshold; /* two independent samples of one distribution exceed it in 1 of 100 cases */
};

/* False: one of the histograms is empty. */
bool distance_of(const json_t *a, const json_t *b, struct distance *out);
