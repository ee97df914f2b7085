/* `ringbench ring`: what the ring costs and how it spreads and moves keys, beside other layouts,
 * without a network. This file has the options and the order of the steps; ring_measure.c makes the
 * figures. */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bench/bench.h"
#include "bench/report/report.h"
#include "bench/ring/ring_report.h"

#define LIST_MAX 32
#define KEYS_DEFAULT 1000000
#define KEYS_MAX 100000000

struct list_option {
    unsigned value[LIST_MAX];
    size_t n;
};

struct options {
    const struct layout *layout[LAYOUT_COUNT];
    size_t nlayouts;
    struct list_option backends, vnodes;
    size_t keys;
    bool json;
    const char *plot;
};

static const char usage_head[] =
    "usage: ringbench ring [--layout LIST] [--backends LIST] [--vnodes LIST] [--keys N] [--json]\n"
    "                      [--plot FILE]\n"
    "\n"
    "  --layout LIST    how keys are laid out over backends (default: all of these, which takes\n"
    "                   some 10 to 20 seconds)\n";

static const char usage_tail[] =
    "  --backends LIST  numbers of backends, 1 to 4096, comma separated (default 5,100,1000)\n"
    "  --vnodes LIST    numbers of points a backend, 1 to 4096 (default 160,512)\n"
    "  --keys N         random keys (default 1000000); up to 250000 of them are in a timed pass\n"
    "  --json           one JSON document instead of tables\n"
    "  --plot FILE      also charts over the number of backends, as an HTML page\n"
    "\n"
    "find        ns of CPU time a lookup, hash excluded, independent lookups one after another\n"
    "chained     the same, but each lookup waits for the one before\n"
    "hash+find   ns to hash a key of 16 bytes and look it up, independent\n"
    "memory      heap bytes that lookups need; B/point: a point or table entry\n"
    "sd, max     of the backends' shares, relative to their mean: exact, if the hash is even;\n"
    "            for rendezvous over the N keys\n"
    "moved       share of all keys that move when the backend with the most fails, or one is "
    "added\n"
    "least       share that had to: the failed one's keys; those that the new one gets\n"
    "foreign     of the N keys, how many moved between two backends that stay\n"
    "\n"
    "For ringproxy moved and least are exact, for the others counted over the N keys. A failed\n"
    "backend is one that is not there. Exit code 1 if ringproxy moves a foreign key.\n";

static void print_usage(void)
{
    fputs(usage_head, stdout);
    for (size_t i = 0; i < LAYOUT_COUNT; i++)
        printf("                   %-11s %s\n", layouts[i]->name, layouts[i]->what);
    fputs(usage_tail, stdout);
}

/* ---- the run ---- */

struct run {
    const struct options *o;
    struct ring_keys keys;
    struct ring_figures *figures;
    size_t n;
};

/* False: the reason was printed. */
static bool measure(struct run *r, const struct layout *l, unsigned backends, unsigned vnodes)
{
    struct ring_figures *f = &r->figures[r->n];
    struct error e;
    *f = (struct ring_figures){.layout = l, .backends = backends, .vnodes = vnodes};
    if (!ring_measure(f, &r->keys, &e)) {
        fprintf(stderr, "ringbench ring: %s, %u backends, %u vnodes: %s\n", l->name, backends,
                vnodes, e.text);
        return false;
    }
    if (r->o->json)
        ring_json_row(stdout, f, r->n == 0);
    else
        ring_cost_row(f);
    fflush(stdout); /* a row takes a second; main() checks for errors at the end */
    r->n++;
    return true;
}

static bool measure_layout(struct run *r, const struct layout *l)
{
    const struct list_option none = {{0}, 1};
    const struct list_option *vnodes = l->has_vnodes ? &r->o->vnodes : &none;
    ring_keys_hash(&r->keys, l);
    for (size_t v = 0; v < vnodes->n; v++)
        for (size_t b = 0; b < r->o->backends.n; b++)
            if (!measure(r, l, r->o->backends.value[b], vnodes->value[v]))
                return false;
    return true;
}

static bool measure_all(struct run *r)
{
    for (size_t i = 0; i < r->o->nlayouts; i++)
        if (!measure_layout(r, r->o->layout[i]))
            return false;
    return true;
}

static bool moved_foreign(const struct ring_moves *m)
{
    return m->positions > 0 || m->foreign > 0;
}

/* The promise of ringproxy's ring: no key moves that need not move. */
static bool promise_kept(const struct run *r)
{
    bool kept = true;
    for (size_t i = 0; i < r->n; i++) {
        const struct ring_figures *f = &r->figures[i];
        if (f->layout != &layout_ringproxy)
            continue;
        if (!moved_foreign(&f->failure) && !moved_foreign(&f->addition))
            continue;
        fprintf(stderr, "ringbench ring: ringproxy, %u backends, %u vnodes: foreign keys moved\n",
                f->backends, f->vnodes);
        kept = false;
    }
    return kept;
}

/* The document that --json prints; the reference is the caller's. NULL: memory is short. */
static json_t *document(const struct run *r)
{
    char *text = NULL;
    size_t n;
    /* Printed and parsed again, so that the page cannot differ from the document of --json. */
    FILE *to = open_memstream(&text, &n);
    if (to == NULL)
        return NULL;
    ring_json_head(to, r->o->keys);
    for (size_t i = 0; i < r->n; i++)
        ring_json_row(to, &r->figures[i], i == 0);
    ring_json_end(to);
    json_t *all = fclose(to) == 0 ? json_loadb(text, n, 0, NULL) : NULL;
    free(text);
    return all;
}

static bool write_page(const struct run *r)
{
    struct error e;
    json_t *all = document(r);
    bool ok = all && report_write(r->o->plot, &all, 1, &e);
    if (!ok)
        fprintf(stderr, "ringbench ring: %s\n", all ? e.text : "memory is short");
    json_decref(all);
    return ok;
}

/* Tested before the measurement, which takes seconds. False: the reason was printed. */
static bool can_write(const char *path)
{
    FILE *f = fopen(path, "we");
    if (f == NULL)
        fprintf(stderr, "ringbench ring: %s: %s\n", path, strerror(errno));
    return f && fclose(f) == 0;
}

static int run_all(struct run *r)
{
    r->o->json ? ring_json_head(stdout, r->o->keys) : ring_cost_head();
    bool ok = measure_all(r);
    if (r->o->json)
        ring_json_end(stdout);
    else
        ring_keys_table(r->figures, r->n);
    return ok && promise_kept(r) ? BENCH_OK : BENCH_FAILED;
}

static int run(const struct options *o)
{
    if (o->plot && !can_write(o->plot))
        return BENCH_FAILED;
    struct run r = {.o = o};
    r.figures = mem_zalloc_array(o->nlayouts * o->backends.n * o->vnodes.n, sizeof *r.figures);
    ring_keys_init(&r.keys, o->keys);
    int code = run_all(&r);
    if (o->plot && !write_page(&r))
        code = BENCH_FAILED;
    ring_keys_deinit(&r.keys);
    free(r.figures);
    return code;
}

/* ---- options ---- */

/* Parses a decimal number from 1 to max; *end points behind it. */
static bool parse_count(const char *text, unsigned long max, unsigned long *value, char **end)
{
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *value = strtoul(text, end, 10);
    return errno == 0 && *value >= 1 && *value <= max;
}

static bool parse_list(const char *text, unsigned long max, struct list_option *out)
{
    unsigned long value;
    char *end;
    for (out->n = 0; out->n < LIST_MAX; text = end + 1) {
        if (!parse_count(text, max, &value, &end))
            return false;
        out->value[out->n++] = (unsigned)value;
        if (*end == '\0')
            return true;
        if (*end != ',')
            return false;
    }
    return false;
}

static bool add_layout(struct options *o, const struct layout *l)
{
    for (size_t i = 0; i < o->nlayouts; i++)
        if (o->layout[i] == l)
            return false;
    o->layout[o->nlayouts++] = l;
    return true;
}

/* A list of names, each at most once. */
static bool parse_layouts(const char *text, struct options *o)
{
    for (o->nlayouts = 0;; text++) {
        struct str name = {text, strcspn(text, ",")};
        const struct layout *l = layout_named(name);
        if (l == NULL || !add_layout(o, l))
            return false;
        text += name.n;
        if (*text == '\0')
            return true;
    }
}

static bool parse_keys(const char *text, size_t *out)
{
    unsigned long value;
    char *end;
    if (!parse_count(text, KEYS_MAX, &value, &end) || *end != '\0')
        return false;
    *out = value;
    return true;
}

static bool fits(const struct options *o)
{
    for (size_t b = 0; b < o->backends.n; b++)
        for (size_t v = 0; v < o->vnodes.n; v++)
            if ((uint64_t)o->backends.value[b] * o->vnodes.value[v] > RING_MAX_POINTS)
                return false;
    return true;
}

static int bad_value(const char *option, const char *allowed)
{
    fprintf(stderr, "ringbench ring: bad value of %s, allowed are %s\n", option, allowed);
    return BENCH_USAGE;
}

static int bad_layouts(void)
{
    fputs("ringbench ring: bad value of --layout, allowed are, each once:", stderr);
    for (size_t i = 0; i < LAYOUT_COUNT; i++)
        fprintf(stderr, "%s %s", i ? "," : "", layouts[i]->name);
    fputc('\n', stderr);
    return BENCH_USAGE;
}

/* BENCH_OK: *o is complete. -1: help was printed. Else the exit code. */
static int parse_options(struct options *o, int argc, char **argv)
{
    static const struct option names[] = {
        {"layout", required_argument, NULL, 'l'}, {"backends", required_argument, NULL, 'b'},
        {"vnodes", required_argument, NULL, 'v'}, {"keys", required_argument, NULL, 'k'},
        {"json", no_argument, NULL, 'j'},         {"plot", required_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "h", names, NULL)) != -1) {
        if (c == 'l' && !parse_layouts(optarg, o))
            return bad_layouts();
        if (c == 'b' && !parse_list(optarg, 4096, &o->backends))
            return bad_value("--backends", "up to 32 numbers from 1 to 4096");
        if (c == 'v' && !parse_list(optarg, 4096, &o->vnodes))
            return bad_value("--vnodes", "up to 32 numbers from 1 to 4096");
        if (c == 'k' && !parse_keys(optarg, &o->keys))
            return bad_value("--keys", "1 to 100000000");
        if (c == 'j')
            o->json = true;
        if (c == 'p')
            o->plot = optarg;
        if (c == 'h') {
            print_usage();
            return -1;
        }
        if (c == '?')
            return BENCH_USAGE;
    }
    if (optind != argc) {
        fprintf(stderr, "ringbench ring: unexpected argument: %s\n", argv[optind]);
        return BENCH_USAGE;
    }
    return fits(o) ? BENCH_OK : bad_value("--backends and --vnodes", "products up to 4194304");
}

int bench_ring(int argc, char **argv)
{
    struct options o = {
        .nlayouts = LAYOUT_COUNT,
        .backends = {{5, 100, 1000}, 3},
        .vnodes = {{160, 512}, 2},
        .keys = KEYS_DEFAULT,
    };
    memcpy(o.layout, layouts, sizeof o.layout);
    int code = parse_options(&o, argc, argv);
    if (code != BENCH_OK)
        return code < 0 ? BENCH_OK : code;
    return run(&o);
}
