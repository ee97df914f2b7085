#include "bench/report/distance.h"

#include <math.h>

/* sqrt(-ln(0.01 / 2) / 2): the two-sided 1% point of the limit distribution. */
#define ONE_PERCENT 1.6276236

/* A position in a histogram, which moves from bound to bound. */
struct walk {
    const json_t *histogram;
    size_t next;
    json_int_t passed, total;
};

static json_int_t count_at(const json_t *h, size_t i)
{
    return json_integer_value(json_array_get(json_array_get(h, i), 1));
}

static struct walk walk_of(const json_t *h)
{
    struct walk w = {.histogram = h};
    for (size_t i = 0; i < json_array_size(h); i++)
        w.total += count_at(h, i);
    return w;
}

/* The next bound, infinity at the end. */
static double next_bound(const struct walk *w)
{
    if (w->next == json_array_size(w->histogram))
        return INFINITY;
    return json_number_value(json_array_get(json_array_get(w->histogram, w->next), 0));
}

static void pass(struct walk *w, double bound)
{
    while (next_bound(w) <= bound)
        w->passed += count_at(w->histogram, w->next++);
}

static double share(const struct walk *w)
{
    return (double)w->passed / (double)w->total;
}

bool distance_of(const json_t *a, const json_t *b, struct distance *out)
{
    struct walk wa = walk_of(a), wb = walk_of(b);
    *out = (struct distance){.count_a = wa.total, .count_b = wb.total};
    if (wa.total == 0 || wb.total == 0)
        return false;
    double n = (double)wa.total, m = (double)wb.total, bound;
    out->largest = -1; /* below any gap, so that the first one is taken */
    out->threshold = ONE_PERCENT * sqrt((n + m) / (n * m));
    while (isfinite(bound = fmin(next_bound(&wa), next_bound(&wb)))) {
        pass(&wa, bound);
        pass(&wb, bound);
        double gap = fabs(share(&wa) - share(&wb));
        if (gap <= out->largest)
            continue;
        out->largest = gap;
        out->at_us = bound;
        out->share_a = share(&wa);
        out->share_b = share(&wb);
    }
    return true;
}
