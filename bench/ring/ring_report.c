#include "bench/ring/ring_report.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* ---- tables ---- */

#define CELL_SIZE 24

/* Prints the first three cells of a row. */
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

/* The legends of the marks in the table, but only of those that occur. */
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

void ring_json_head(FILE *to, size_t keys)
{
    fprintf(to, "{\"version\": \"%s\", \"keys\": %zu, \"rounds\": %d, \"rings\": [",
            RINGPROXY_VERSION, keys, RING_ROUNDS);
}

void ring_json_end(FILE *to)
{
    fputs("\n]}\n", to);
}

/* Only exact moves are known by position. */
static void print_positions(FILE *to, const char *name, const struct ring_moves *m, bool exact)
{
    if (exact && m->known)
        fprintf(to, " \"%s\": %" PRIu64 ",", name, m->positions);
    else
        fprintf(to, " \"%s\": null,", name);
}

static void print_addition(FILE *to, const struct ring_figures *f)
{
    const struct ring_moves *m = &f->addition;
    print_positions(to, "added_foreign_positions", m, ring_moves_exact(f->layout));
    if (m->known)
        fprintf(to,
                " \"added_moved\": %.9f, \"added_least\": %.9f, \"added_foreign_keys\": %" PRIu64,
                m->moved, m->least, m->foreign);
    else
        fprintf(to, " \"added_moved\": null, \"added_least\": null, \"added_foreign_keys\": null");
    fprintf(to, ", \"added_ideal\": %.9f", 1.0 / (f->backends + 1));
}

static void print_sizes(FILE *to, const struct ring_figures *f)
{
    fprintf(to, "\"layout\": \"%s\", \"backends\": %u,", f->layout->name, f->backends);
    if (f->vnodes)
        fprintf(to, " \"vnodes\": %u,", f->vnodes);
    else
        fprintf(to, " \"vnodes\": null,");
    if (f->points)
        fprintf(to, " \"points\": %zu, \"bytes_per_point\": %.3f,", f->points,
                (double)f->memory / (double)f->points);
    else
        fprintf(to, " \"points\": null, \"bytes_per_point\": null,");
    fprintf(to, " \"bytes\": %zu, \"bytes_per_backend\": %.3f,", f->memory,
            (double)f->memory / f->backends);
}

static const char *exact_or_sampled(bool exact)
{
    return exact ? "exact" : "sampled";
}

void ring_json_row(FILE *to, const struct ring_figures *f, bool first)
{
    bool exact = ring_moves_exact(f->layout);
    fprintf(to, "%s\n  {", first ? "" : ",");
    print_sizes(to, f);
    fprintf(to,
            " \"timed_keys\": %zu, \"find_ns\": %.2f, \"chained_ns\": %.2f, \"hash_find_ns\": %.2f,"
            " \"build_ms\": %.3f,",
            f->timed, f->find_ns, f->chained_ns, f->hash_find_ns, f->build_ms);
    fprintf(to, " \"shares\": \"%s\", \"share_deviation\": %.6f, \"share_max\": %.6f,",
            exact_or_sampled(f->layout->shares), f->deviation, f->max);
    fprintf(to,
            " \"moves\": \"%s\", \"moved\": %.9f, \"least\": %.9f, \"foreign_keys\": %" PRIu64 ",",
            exact_or_sampled(exact), f->failure.moved, f->failure.least, f->failure.foreign);
    print_positions(to, "foreign_positions", &f->failure, exact);
    print_addition(to, f);
    putc('}', to);
}
