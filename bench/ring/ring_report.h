/* The figures of `ringbench ring` as a table, as JSON, as a plot.
 *
 * Errors of writing are the caller's to look for (ferror). Threads: the main thread. */
#pragma once
#include <stdbool.h>
#include <stdio.h>

#include "bench/ring/ring_measure.h"

/* A table of what the layouts cost, row by row as figures come ... */
void ring_cost_head(void);
void ring_cost_row(const struct ring_figures *f);
/* ... and one of where the keys are, when all n are there. */
void ring_keys_table(const struct ring_figures *f, size_t n);

void ring_json_head(size_t keys);
void ring_json_row(const struct ring_figures *f, bool first);
void ring_json_end(void);

/* An SVG; n at least 1. */
void ring_plot(FILE *to, const struct ring_figures *f, size_t n);
