/* How far two latency distributions are apart: the Kolmogorov-Smirnov distance of two histograms.
 *
 * Both are arrays of [upper bound in us, count], ascending, as stored_load() has checked. Counting
 * in buckets can only make the distance smaller, so nothing is found that is not there.
 * Threads: pure. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

struct distance {
    json_int_t count_a, count_b;
    double largest;          /* the widest gap between both shares, 0 to 1 */
    double at_us;            /* where that is */
    double share_a, share_b; /* of the answers that were not slower than at_us */
    double threshold; /* independent draws from one distribution exceed it once in 100 times */
};

/* False: one of them has no answers. */
bool distance_of(const json_t *a, const json_t *b, struct distance *out);
