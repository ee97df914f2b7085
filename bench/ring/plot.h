/* Line charts over one logarithmic x axis, as a self-contained SVG that is readable on light and
 * dark screens.
 *
 * Ownership: none, everything is the caller's. Texts are put out as they stand: no markup in them.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define PLOT_COLOURS 6
#define PLOT_DASHES 4

struct plot_series {
    const char *label;
    unsigned colour, dash; /* below PLOT_COLOURS, PLOT_DASHES; a colour has its marker too */
};

struct plot_chart {
    const char *title;
    bool log_y;  /* else linear */
    double base; /* the y axis begins here or below; NAN: where the values do */
};

struct plot {
    const char *title, *note, *x_title;
    const struct plot_series *series;
    size_t nseries;
    const double *x; /* nx values above 0, ascending, shared by all series */
    size_t nx;
    const struct plot_chart *chart;
    size_t ncharts;
    /* y[(chart * nseries + series) * nx + i], NAN where there is none; above 0 if log_y */
    const double *y;
};

/* The caller looks at ferror(). */
void plot_write(FILE *to, const struct plot *p);
