/* The figures of `ringbench ring` as tables and as JSON.
 *
 * The caller checks for errors of writing (ferror). Threads: the main thread. */
#pragma once
#include <stdbool.h>
#include <stdio.h>

#include "bench/ring/ring_measure.h"

/* The table of costs: its head, and a row as soon as the figures of a layout are there. */
void ring_cost_head(void);
void ring_cost_row(const struct ring_figures *f);
/* The table of shares and moves, of all n layouts and sizes. */
void ring_keys_table(const struct ring_figures *f, size_t n);

/* The document that docs/ringbench.md describes: its head, a row for each size of each layout, its
 * end. */
void ring_json_head(FILE *to, size_t keys);
void ring_json_row(FILE *to, const struct ring_figures *f, bool first);
void ring_json_end(FILE *to);
