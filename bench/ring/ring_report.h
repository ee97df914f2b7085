/* The figures of `ringbench ring` as tables and as JSON.
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

/* The document that docs/ringbench.md describes: its head, a row for each size of each layout, its
 * end. */
void ring_json_head(FILE *to, size_t keys);
void ring_json_row(FILE *to, const struct ring_figures *f, bool first);
void ring_json_end(FILE *to);
