#include "bench/ring/ring_report.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bench/ring/plot.h"

/* ---- tables ---- */

#define CELL_SIZE 24

/* The first three cells of each row. */
static void print_subject(const struct ring_figures *f)
{
    char vnodes[CELL_SIZE] = "-";
    if (f->vnodes)
        snprintf(vnodes, sizeof vnodes, "%u", f->vnodes);
    printf("%-10s %8u %6s", f->layout->name, f->backends, vnodes);
}

void ring_cost_head(void)
{
    printf("%-10s %8s %6s %8s %11s %11s %11s %10s %11s %8s %10s\n", "layout", "backends", "vnodes",
           "points", "find", "chained", "hash+find", "build", "memory", "B/point", "B/backend");
}

void ring_cost_row(const struct ring_figures *f)
{
    char points[CELL_SIZE] = "-", each[CELL_SIZE] = "-", memory[CELL_SIZE];
    if (f->points) {
        snprintf(points, sizeof points, "%zu", f->points);
        snprintf(each, sizeof each, "%.2f", (double)f->memory / (double)f->points);
    }
    if (f->memory < 1024)
        snprintf(memory, sizeof memory, "%zu B  ", f->memory);
    else
        snprintf(memory, sizeof memory, "%.1f KiB", (double)f->memory / 1024);
    print_subject(f);
    printf(" %8s %8.1f ns %8.1f ns %8.1f ns %7.2f ms %11s %8s %10.1f\n", points, f->find_ns,
           f->chained_ns, f->hash_find_ns, f->build_ms, memory, each,
           (double)f->memory / f->backends);
}

static void print_moves(const struct ring_moves *m)
{
    if (m->known)
        printf("  %9.4f %9.4f %8" PRIu64, m->moved * 100, m->least * 100, m->foreign);
    else
        printf("  %9s %9s %8s", "-", "-", "-");
}

static void print_keys_row(const struct ring_figures *f)
{
    print_subject(f);
    printf("  %8.2f%% %7.3f %c", f->deviation * 100, f->max, f->layout->shares ? ' ' : '*');
    print_moves(&f->failure);
    print_moves(&f->addition);
    putchar('\n');
}

static void print_notes(const struct ring_figures *f, size_t n)
{
    bool sampled = false, exact = false, known = true;
    uint64_t positions = 0;
    for (size_t i = 0; i < n; i++) {
        sampled |= f[i].layout->shares == NULL;
        exact |= ring_moves_exact(f[i].layout);
        known &= f[i].addition.known;
        positions += f[i].failure.positions + f[i].addition.positions;
    }
    if (sampled)
        printf("* over the %zu keys, which alone scatter by sqrt(backends / keys); the other shares"
               " are exact\n",
               f->keys);
    if (exact)
        printf("ringproxy's moved and least are exact; of the 2^48 positions of its circle %" PRIu64
               " moved besides\n",
               positions);
    if (!known)
        puts("- one backend more is not allowed");
}

void ring_keys_table(const struct ring_figures *f, size_t n)
{
    printf("\n%-26s  %-18s   %-28s  %s\n", "", "share of a backend", "the busiest fails, % of keys",
           "one is added, % of keys");
    printf("%-10s %8s %6s  %9s %7s    %9s %9s %8s  %9s %9s %8s\n", "layout", "backends", "vnodes",
           "sd", "max", "moved", "least", "foreign", "moved", "least", "foreign");
    for (size_t i = 0; i < n; i++)
        print_keys_row(&f[i]);
    print_notes(f, n);
}

/* ---- JSON ---- */

void ring_json_head(size_t keys)
{
    printf("{\"version\": \"%s\", \"keys\": %zu, \"rounds\": %d, \"rings\": [", RINGPROXY_VERSION,
           keys, RING_ROUNDS);
}

void ring_json_end(void)
{
    puts("\n]}");
}

/* Positions are of the exact ones alone. */
static void print_positions(const char *name, const struct ring_moves *m, bool exact)
{
    if (exact && m->known)
        printf(" \"%s\": %" PRIu64 ",", name, m->positions);
    else
        printf(" \"%s\": null,", name);
}

static void print_addition(const struct ring_figures *f)
{
    const struct ring_moves *m = &f->addition;
    print_positions("added_foreign_positions", m, ring_moves_exact(f->layout));
    if (m->known)
        printf(" \"added_moved\": %.9f, \"added_least\": %.9f, \"added_foreign_keys\": %" PRIu64,
               m->moved, m->least, m->foreign);
    else
        printf(" \"added_moved\": null, \"added_least\": null, \"added_foreign_keys\": null");
    printf(", \"added_ideal\": %.9f", 1.0 / (f->backends + 1));
}

static void print_sizes(const struct ring_figures *f)
{
    printf("\"layout\": \"%s\", \"backends\": %u,", f->layout->name, f->backends);
    if (f->vnodes)
        printf(" \"vnodes\": %u,", f->vnodes);
    else
        printf(" \"vnodes\": null,");
    if (f->points)
        printf(" \"points\": %zu, \"bytes_per_point\": %.3f,", f->points,
               (double)f->memory / (double)f->points);
    else
        printf(" \"points\": null, \"bytes_per_point\": null,");
    printf(" \"bytes\": %zu, \"bytes_per_backend\": %.3f,", f->memory,
           (double)f->memory / f->backends);
}

static const char *exact_or_sampled(bool exact)
{
    return exact ? "exact" : "sampled";
}

void ring_json_row(const struct ring_figures *f, bool first)
{
    bool exact = ring_moves_exact(f->layout);
    printf("%s\n  {", first ? "" : ",");
    print_sizes(f);
    printf(" \"timed_keys\": %zu, \"find_ns\": %.2f, \"chained_ns\": %.2f, \"hash_find_ns\": %.2f,"
           " \"build_ms\": %.3f,",
           f->timed, f->find_ns, f->chained_ns, f->hash_find_ns, f->build_ms);
    printf(" \"shares\": \"%s\", \"share_deviation\": %.6f, \"share_max\": %.6f,",
           exact_or_sampled(f->layout->shares), f->deviation, f->max);
    printf(" \"moves\": \"%s\", \"moved\": %.9f, \"least\": %.9f, \"foreign_keys\": %" PRIu64 ",",
           exact_or_sampled(exact), f->failure.moved, f->failure.least, f->failure.foreign);
    print_positions("foreign_positions", &f->failure, exact);
    print_addition(f);
    putchar('}');
}

/* ---- plot ---- */

enum { CHART_FIND, CHART_BALANCE, CHART_FAILURE, CHART_ADDITION, NCHARTS };

#define LABEL_SIZE 24 /* "ringproxy, 4096 vnodes" */

/* Which of several sizes or series a figure belongs to. */
struct plot_index {
    double *x;
    size_t nx;
    struct plot_series *series;
    char (*label)[LABEL_SIZE];
    size_t nseries;
};

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static size_t x_of(const struct plot_index *p, unsigned backends)
{
    size_t i = 0;
    while (i < p->nx && p->x[i] != backends)
        i++;
    return i;
}

static void collect_x(struct plot_index *p, const struct ring_figures *f, size_t n)
{
    p->x = mem_zalloc_array(n, sizeof *p->x);
    for (size_t i = 0; i < n; i++)
        if (x_of(p, f[i].backends) == p->nx)
            p->x[p->nx++] = f[i].backends;
    qsort(p->x, p->nx, sizeof *p->x, compare_doubles);
}

static void label_of(const struct ring_figures *f, char label[LABEL_SIZE])
{
    if (f->vnodes)
        snprintf(label, LABEL_SIZE, "%s, %u vnodes", f->layout->name, f->vnodes);
    else
        snprintf(label, LABEL_SIZE, "%s", f->layout->name);
}

static size_t series_of(const struct plot_index *p, const char *label)
{
    size_t i = 0;
    while (i < p->nseries && strcmp(p->label[i], label) != 0)
        i++;
    return i;
}

static unsigned colour_of(const struct layout *l)
{
    unsigned i = 0;
    while (layouts[i] != l)
        i++;
    assert(i < LAYOUT_COUNT);
    return i;
}

/* A colour a layout; of the same layout with several numbers of points the dashes differ. */
static void collect_series(struct plot_index *p, const struct ring_figures *f, size_t n)
{
    unsigned dash = 0;
    p->series = mem_zalloc_array(n, sizeof *p->series);
    p->label = mem_zalloc_array(n, sizeof *p->label);
    for (size_t i = 0; i < n; i++) {
        char label[LABEL_SIZE];
        label_of(&f[i], label);
        if (series_of(p, label) < p->nseries)
            continue;
        dash = i > 0 && f[i].layout == f[i - 1].layout ? dash + 1 : 0;
        memcpy(p->label[p->nseries], label, LABEL_SIZE);
        p->series[p->nseries] =
            (struct plot_series){p->label[p->nseries], colour_of(f[i].layout), dash % PLOT_DASHES};
        p->nseries++;
    }
}

/* NAN: of sampled shares the largest says how few the keys are, not how even the layout is. */
static double largest_share(const struct ring_figures *f)
{
    return f->layout->shares ? f->max : NAN;
}

/* NAN: nothing known, or nothing had to move. */
static double against_least(const struct ring_moves *m)
{
    return m->known && m->least > 0 ? m->moved / m->least : NAN;
}

static double *collect_values(const struct plot_index *p, const struct ring_figures *f, size_t n)
{
    size_t chart = p->nseries * p->nx;
    double *y = mem_zalloc_array(chart * NCHARTS, sizeof *y);
    for (size_t i = 0; i < chart * NCHARTS; i++)
        y[i] = NAN;
    for (size_t i = 0; i < n; i++) {
        char label[LABEL_SIZE];
        label_of(&f[i], label);
        double *at = y + series_of(p, label) * p->nx + x_of(p, f[i].backends);
        at[CHART_FIND * chart] = f[i].find_ns;
        at[CHART_BALANCE * chart] = largest_share(&f[i]);
        at[CHART_FAILURE * chart] = against_least(&f[i].failure);
        at[CHART_ADDITION * chart] = against_least(&f[i].addition);
    }
    return y;
}

void ring_plot(FILE *to, const struct ring_figures *f, size_t n)
{
    static const struct plot_chart charts[NCHARTS] = {
        [CHART_FIND] = {"ns a lookup", true, NAN},
        [CHART_BALANCE] = {"largest share of a backend / mean, where it is exact", false, 1},
        [CHART_FAILURE] = {"the busiest fails: keys moved / least possible", true, 1},
        [CHART_ADDITION] = {"one is added: keys moved / least possible", true, 1},
    };
    char note[160];
    snprintf(note, sizeof note,
             "ringbench %s, %zu keys; lookups without the hash, independent; lines in one place are"
             " drawn side by side",
             RINGPROXY_VERSION, f->keys);
    struct plot_index index = {0};
    collect_x(&index, f, n);
    collect_series(&index, f, n);
    double *y = collect_values(&index, f, n);
    plot_write(to, &(struct plot){.title = "Where keys go, and what it costs",
                                  .note = note,
                                  .x_title = "backends",
                                  .series = index.series,
                                  .nseries = index.nseries,
                                  .x = index.x,
                                  .nx = index.nx,
                                  .chart = charts,
                                  .ncharts = NCHARTS,
                                  .y = y});
    free(y);
    free(index.label);
    free(index.series);
    free(index.x);
}
