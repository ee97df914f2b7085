/* `ringbench diff`: compares two results, and tells whether their loads were the same. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/report/distance.h"
#include "bench/report/report.h"
#include "bench/report/stored.h"

struct options {
    const char *file[2]; /* A, B */
    const char *report, *json;
};

enum unit { RATE, TIME_US, BYTES, AMOUNT, FACTOR, SECONDS };

/* A figure is a member of the result or of an object in it; `refused` is a sum over statuses. */
static const struct figure {
    const char *label;
    const char *object, *member;
    enum unit unit;
} figures[] = {
    {"requests/s", NULL, "requests_per_second", RATE},
    {"requests/CPU second", NULL, "requests_per_cpu_second", RATE},
    {"MiB/s", NULL, "mib_per_second", RATE},
    {"MiB/CPU second", NULL, "mib_per_cpu_second", RATE},
    {"latency min", "latency_us", "min", TIME_US},
    {"latency mean", "latency_us", "mean", TIME_US},
    {"latency p50", "latency_us", "p50", TIME_US},
    {"latency p90", "latency_us", "p90", TIME_US},
    {"latency p99", "latency_us", "p99", TIME_US},
    {"latency p99.9", "latency_us", "p99.9", TIME_US},
    {"latency p99.99", "latency_us", "p99.99", TIME_US},
    {"latency max", "latency_us", "max", TIME_US},
    {"sent", NULL, "sent", AMOUNT},
    {"answered", NULL, "answered", AMOUNT},
    {"failed", NULL, "failed", AMOUNT},
    {"refused", "statuses", NULL, AMOUNT},
    {"balance", NULL, "balance", FACTOR},
    {"keys moved", "keys", "moved", AMOUNT},
    {"moves", "keys", "moves", AMOUNT},
    {"bytes in", NULL, "bytes_in", BYTES},
    {"bytes out", NULL, "bytes_out", BYTES},
    {"seconds", NULL, "seconds", SECONDS},
};

#define NFIGURES (sizeof figures / sizeof figures[0])

static const char usage[] =
    "usage: ringbench diff A.json B.json [--report FILE.html] [--json FILE]\n"
    "\n"
    "Compares two results that `ringbench http --json` or `ringbench tcp --json` has written: "
    "their\n"
    "figures, whether their latency distributions differ, and whether their loads were the same.\n"
    "\n"
    "  --report FILE.html  a page with both distributions and timelines\n"
    "  --json FILE         the comparison as JSON\n";

/* ---- what is compared ---- */

/* False: the result has no such figure. */
static bool figure_of(const json_t *result, const struct figure *f, double *out)
{
    const json_t *from = f->object ? json_object_get(result, f->object) : result;
    if (f->member == NULL) {
        *out = stored_refused(result);
        return json_is_object(from);
    }
    const json_t *v = json_object_get(from, f->member);
    *out = json_number_value(v);
    return json_is_number(v);
}

struct compared {
    bool has[2];
    double value[2];
};

/* False: neither result has the figure. */
static bool compare(json_t *const *r, const struct figure *f, struct compared *c)
{
    for (int i = 0; i < 2; i++)
        c->has[i] = figure_of(r[i], f, &c->value[i]);
    return c->has[0] || c->has[1];
}

static bool has_ratio(const struct compared *c)
{
    return c->has[0] && c->has[1] && c->value[0] > 0;
}

/* An option by its name, or the version of ringbench, which may make a difference, too. */
static json_t *setting_of(const json_t *result, const char *name)
{
    if (strcmp(name, "ringbench") == 0)
        return json_object_get(result, name);
    return json_object_get(json_object_get(result, "options"), name);
}

/* An array of {"name", "a", "b"}: the settings that differ. */
static json_t *differences(json_t *const *r)
{
    json_t *out = json_array(), *all = json_copy(json_object_get(r[0], "options")), *v;
    const char *name;
    json_object_update_missing(all, json_object_get(r[1], "options"));
    json_object_set(all, "ringbench", json_object_get(r[0], "ringbench"));
    json_object_foreach(all, name, v)
    {
        json_t *a = setting_of(r[0], name), *b = setting_of(r[1], name);
        if (a && b && json_equal(a, b))
            continue;
        json_array_append_new(out, json_pack("{s:s, s:O?, s:O?}", "name", name, "a", a, "b", b));
    }
    json_decref(all);
    return out;
}

/* ---- as a table ---- */

/* Formats with three significant digits. */
static void format_3(char *out, size_t n, double v, const char *unit)
{
    snprintf(out, n, "%.*f%s", v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v, unit);
}

static void format_us(char *out, size_t n, double us)
{
    if (us < 999.5)
        format_3(out, n, us, " us");
    else if (us < 999.5e3)
        format_3(out, n, us / 1e3, " ms");
    else
        format_3(out, n, us / 1e6, " s");
}

static void format_bytes(char *out, size_t n, double v)
{
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB"};
    size_t i = 0;
    for (; v >= 1023.5 && i + 1 < sizeof units / sizeof units[0]; i++)
        v /= 1024;
    if (i == 0)
        snprintf(out, n, "%.0f B", v);
    else
        format_3(out, n, v, units[i]);
}

static void format_figure(char *out, size_t n, enum unit unit, double v)
{
    switch (unit) {
    case RATE:
        format_3(out, n, v, "");
        break;
    case TIME_US:
        format_us(out, n, v);
        break;
    case BYTES:
        format_bytes(out, n, v);
        break;
    case AMOUNT:
        snprintf(out, n, "%.0f", v);
        break;
    case FACTOR:
        snprintf(out, n, "%.3f", v);
        break;
    case SECONDS:
        snprintf(out, n, "%.2f s", v);
        break;
    }
}

/* Prints a value of a file as JSON, since its escapes keep control characters from the terminal. A
 * plain word is printed without quotes, a missing value as a dash. */
static void print_json(const json_t *v)
{
    char *text = NULL;
    if (v && !json_is_null(v))
        text = json_dumps(v, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_COMPACT);
    size_t n = text ? strlen(text) : 0;
    if (json_is_string(v) && n > 2 && strchr(text, '\\') == NULL)
        printf("%.*s", (int)(n - 2), text + 1);
    else
        fputs(text ? text : "-", stdout);
    free(text);
}

static void print_heads(const struct options *o, json_t *const *r)
{
    for (int i = 0; i < 2; i++) {
        const char *file = o->file[i];
        printf("%c  %s: ", 'A' + i, file);
        print_json(json_object_get(r[i], "target"));
        if (json_object_get(r[i], "started")) {
            fputs(", ", stdout);
            print_json(json_object_get(r[i], "started"));
        }
        putchar('\n');
    }
}

static void print_differences(const json_t *list)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        fputs(i ? ", " : "warning: not the same load: ", stdout);
        print_json(json_object_get(one, "name"));
        putchar(' ');
        print_json(json_object_get(one, "a"));
        fputs(" / ", stdout);
        print_json(json_object_get(one, "b"));
    }
    if (i)
        putchar('\n');
}

static void print_figures(json_t *const *r)
{
    printf("\n%-20s %14s %14s %8s\n", "", "A", "B", "B/A");
    for (const struct figure *f = figures; f < figures + NFIGURES; f++) {
        struct compared c;
        char text[2][32] = {"-", "-"}, ratio[32] = "-";
        if (!compare(r, f, &c))
            continue;
        for (int i = 0; i < 2; i++)
            if (c.has[i])
                format_figure(text[i], sizeof text[i], f->unit, c.value[i]);
        if (has_ratio(&c))
            snprintf(ratio, sizeof ratio, "%.3f", c.value[1] / c.value[0]);
        printf("%-20s %14s %14s %8s\n", f->label, text[0], text[1], ratio);
    }
}

static void print_distance(const struct distance *d)
{
    char at[32];
    format_us(at, sizeof at, d->at_us);
    printf(
        "\nThe latency distributions %s. Furthest apart at %s: %.2f%% of A's answers took\n"
        "that long at most, %.2f%% of B's (Kolmogorov-Smirnov distance %.4f, 1%% threshold %.4f).\n"
        "The requests of a run are not independent of each other, which the threshold takes for\n"
        "granted: this is only a hint. Several runs of each tell more.\n",
        d->largest > d->threshold ? "differ" : "do not differ clearly", at, d->share_a * 100,
        d->share_b * 100, d->largest, d->threshold);
}

static void print_all(const struct options *o, json_t *const *r, const json_t *differ,
                      const struct distance *d)
{
    print_heads(o, r);
    print_differences(differ);
    print_figures(r);
    if (d)
        print_distance(d);
    else if (!stored_is_bulk(r[0]))
        puts("\nNo latency distributions to compare: one of the runs has no answers.");
}

/* ---- as JSON ---- */

static json_t *number_or_null(bool has, double v)
{
    return has && isfinite(v) ? json_real(v) : json_null();
}

/* The path of a figure in a result, such as "latency_us.p99". */
static void name_figure(char *out, size_t n, const struct figure *f)
{
    if (f->member == NULL)
        snprintf(out, n, "%s", f->label);
    else
        snprintf(out, n, "%s%s%s", f->object ? f->object : "", f->object ? "." : "", f->member);
}

static json_t *figures_json(json_t *const *r)
{
    json_t *all = json_object();
    for (const struct figure *f = figures; f < figures + NFIGURES; f++) {
        char name[64];
        struct compared c;
        if (!compare(r, f, &c))
            continue;
        name_figure(name, sizeof name, f);
        double ratio = has_ratio(&c) ? c.value[1] / c.value[0] : 0;
        json_object_set_new(all, name,
                            json_pack("{s:o, s:o, s:o}", "a", number_or_null(c.has[0], c.value[0]),
                                      "b", number_or_null(c.has[1], c.value[1]), "ratio",
                                      number_or_null(has_ratio(&c), ratio)));
    }
    return all;
}

static json_t *distance_json(const struct distance *d)
{
    return json_pack("{s:f, s:f, s:b, s:f, s:f, s:f, s:I, s:I}", "distance", d->largest,
                     "threshold", d->threshold, "differ", d->largest > d->threshold, "at_us",
                     d->at_us, "share_a", d->share_a, "share_b", d->share_b, "answers_a",
                     d->count_a, "answers_b", d->count_b);
}

/* A path that is not UTF-8 becomes null, since JSON must be UTF-8. */
static json_t *head_json(const char *file, const json_t *r)
{
    return json_pack("{s:o?, s:O, s:O?}", "file", json_string(file), "target",
                     json_object_get(r, "target"), "started", json_object_get(r, "started"));
}

static bool write_json(const struct options *o, json_t *const *r, json_t *differ,
                       const struct distance *d, struct error *e)
{
    json_t *all =
        json_pack("{s:s, s:o, s:o, s:O, s:o, s:o?}", "ringbench", RINGPROXY_VERSION, "a",
                  head_json(o->file[0], r[0]), "b", head_json(o->file[1], r[1]), "not_the_same",
                  differ, "figures", figures_json(r), "latency", d ? distance_json(d) : NULL);
    FILE *f = all ? fopen(o->json, "we") : NULL;
    errno = all ? errno : ENOMEM;
    bool ok = f && json_dumpf(all, f, JSON_INDENT(2)) == 0 && putc('\n', f) != EOF;
    if (!ok)
        error_errno(e, errno, "%s", o->json);
    if (f && fclose(f) != 0 && ok) {
        error_errno(e, errno, "%s", o->json);
        ok = false;
    }
    json_decref(all);
    return ok;
}

/* ---- the command ---- */

static int complain(int code, const char *text)
{
    fprintf(stderr, "ringbench diff: %s\n", text);
    return code;
}

static int diff(const struct options *o, json_t *const *r)
{
    struct distance d;
    struct error e;
    bool both =
        distance_of(json_object_get(r[0], "histogram"), json_object_get(r[1], "histogram"), &d);
    json_t *differ = differences(r);
    int code = BENCH_OK;
    print_all(o, r, differ, both ? &d : NULL);
    if (o->json && !write_json(o, r, differ, both ? &d : NULL, &e))
        code = complain(BENCH_FAILED, e.text);
    if (o->report && !report_write(o->report, r, 2, &e))
        code = complain(BENCH_FAILED, e.text);
    json_decref(differ);
    return code;
}

/* diff compares loads; the result of a ring has none. */
static bool is_of_load(const char *file, const json_t *r, struct error *e)
{
    if (stored_is_ring(r))
        error_set(e, 0, "%s: a result of kind ring; diff compares loads", file);
    return !stored_is_ring(r);
}

static int load_and_diff(const struct options *o)
{
    json_t *r[2] = {NULL, NULL};
    struct error e;
    int code = BENCH_USAGE; /* a file that is no result is an error of the command line */
    for (int i = 0; i < 2; i++)
        if ((r[i] = stored_load(o->file[i], &e)) == NULL || !is_of_load(o->file[i], r[i], &e))
            goto done;
    if (stored_comparable(o->file[0], r[0], o->file[1], r[1], &e))
        code = diff(o, r);
done:
    if (code == BENCH_USAGE)
        complain(code, e.text);
    json_decref(r[0]);
    json_decref(r[1]);
    return code;
}

int bench_diff(int argc, char **argv)
{
    static const struct option names[] = {{"report", required_argument, NULL, 'r'},
                                          {"json", required_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    struct options o = {{NULL, NULL}, NULL, NULL};
    int c;
    while ((c = getopt_long(argc, argv, "h", names, NULL)) != -1) {
        if (c == 'h') {
            fputs(usage, stdout);
            return BENCH_OK;
        }
        if (c == '?')
            return BENCH_USAGE; /* getopt has printed why */
        *(c == 'r' ? &o.report : &o.json) = optarg;
    }
    if (argc - optind != 2)
        return complain(BENCH_USAGE, "two results are needed, A.json and B.json");
    o.file[0] = argv[optind];
    o.file[1] = argv[optind + 1];
    return load_and_diff(&o);
}
