/* `ringbench ring`: what the ring costs and how it spreads and moves keys, without a network.
 *
 * Times are medians of ROUNDS passes over the same random keys. "find" is throughput: hashes made
 * beforehand, one lookup after another, none waiting for the last. In "chained" each key depends on
 * the answer before it, so nothing overlaps: what a lone lookup waits. "hash+find" hashes a key of
 * KEY_LEN bytes before each lookup, not chained. */
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "bench/bench.h"
#include "ring/hash.h"
#include "ring/ring.h"

#define ROUNDS 9
#define LIST_MAX 32
#define NAME_SIZE 16 /* "backend-4095" */
#define KEY_LEN 16   /* "session-00000000" */
#define KEYS_DEFAULT 1000000
#define KEYS_MAX 100000000

struct list_option {
    unsigned value[LIST_MAX];
    size_t n;
};

struct options {
    struct list_option backends, vnodes;
    size_t keys;
    bool json;
};

/* Made once, used for every size. */
struct keys {
    size_t n;
    uint64_t *hash;
    char *text; /* n times KEY_LEN bytes */
};

struct members {
    struct ring_member *member;
    char (*name)[NAME_SIZE];
    size_t n;
};

struct figures {
    unsigned backends, vnodes;
    size_t points;
    double find_ns, chained_ns, hash_find_ns;
    double build_ms, bytes_a_point;
    double deviation, max; /* of the shares, relative to their mean */
    double moved;          /* share of the key space, of 1 */
    uint64_t foreign_positions, foreign_keys;
};

static const char usage[] =
    "usage: ringbench ring [--backends LIST] [--vnodes LIST] [--keys N] [--json]\n"
    "\n"
    "  --backends LIST  numbers of backends, 1 to 4096, comma separated (default 5,100,1000)\n"
    "  --vnodes LIST    numbers of points a backend, 1 to 4096 (default 160,512)\n"
    "  --keys N         random keys to look up (default 1000000)\n"
    "  --json           one JSON document instead of a table\n"
    "\n"
    "find        ns a lookup, hash excluded, independent lookups one after another\n"
    "chained     the same, but each lookup waits for the one before\n"
    "hash+find   ns to hash a key of 16 bytes and look it up, independent\n"
    "B/pt        heap bytes a point, entries and index\n"
    "sd, max     exact shares of the backends relative to their mean\n"
    "moved       exact share of all keys that move when the backend with the most fails\n"
    "foreign     what moved besides: positions of the circle, exactly, and of the N keys\n";

static double now_ns(void)
{
    struct timespec t;
    int rc = clock_gettime(CLOCK_MONOTONIC, &t);
    assert(rc == 0);
    (void)rc;
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
    qsort(v, n, sizeof *v, compare_doubles);
    return v[n / 2];
}

/* ---- what is measured ---- */

/* splitmix64: any even spread of keys will do, and the same in each run. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static void keys_init(struct keys *k, size_t n)
{
    uint64_t seed = 1;
    k->n = n;
    k->hash = mem_zalloc_array(n, sizeof *k->hash);
    k->text = mem_zalloc_array(n, KEY_LEN);
    for (size_t i = 0; i < n; i++) {
        char text[KEY_LEN + 1];
        snprintf(text, sizeof text, "session-%08x", (unsigned)(next_random(&seed) >> 32));
        memcpy(k->text + i * KEY_LEN, text, KEY_LEN);
        k->hash[i] = next_random(&seed);
    }
}

static void keys_deinit(struct keys *k)
{
    free(k->hash);
    free(k->text);
}

static void members_init(struct members *m, size_t n)
{
    assert(n <= 10000);
    m->n = n;
    m->member = mem_zalloc_array(n, sizeof *m->member);
    m->name = mem_zalloc_array(n, sizeof *m->name);
    for (size_t i = 0; i < n; i++) {
        snprintf(m->name[i], NAME_SIZE, "backend-%04u", (unsigned)i % 10000);
        m->member[i] = (struct ring_member){str_of(m->name[i]), 1};
    }
}

static void members_deinit(struct members *m)
{
    free(m->member);
    free(m->name);
}

typedef uint64_t pass_fn(const struct ring *r, const struct keys *k);

static uint64_t pass_find(const struct ring *r, const struct keys *k)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < k->n; i++)
        sum += ring_find(r, k->hash[i]);
    return sum;
}

/* The odd factor spreads what little of the slot differs over all of the position. */
static uint64_t pass_chained(const struct ring *r, const struct keys *k)
{
    uint64_t slot = 0, sum = 0;
    for (size_t i = 0; i < k->n; i++) {
        slot = ring_find(r, k->hash[i] + slot * 0x9e3779b97f4a7c15);
        sum += slot;
    }
    return sum;
}

static uint64_t pass_hash_find(const struct ring *r, const struct keys *k)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < k->n; i++)
        sum += ring_find(r, hash_key((struct str){k->text + i * KEY_LEN, KEY_LEN}));
    return sum;
}

/* ns a key: the median of ROUNDS passes after one to warm up. */
static double time_pass(pass_fn *pass, const struct ring *r, const struct keys *k)
{
    static volatile uint64_t sink; /* keeps the passes from being optimised away */
    double ns[ROUNDS];
    sink = pass(r, k);
    for (size_t i = 0; i < ROUNDS; i++) {
        double start = now_ns();
        sink = pass(r, k);
        ns[i] = (now_ns() - start) / (double)k->n;
    }
    (void)sink;
    return median(ns, ROUNDS);
}

/* The ring of the last round; NULL: the error says why. */
static struct ring *time_build(const struct members *m, unsigned vnodes, double *ms,
                               struct error *e)
{
    double ns[ROUNDS];
    struct ring *r = NULL;
    for (size_t i = 0; i < ROUNDS; i++) {
        ring_free(r);
        double start = now_ns();
        r = ring_new(m->member, m->n, vnodes, e);
        ns[i] = now_ns() - start;
        if (r == NULL)
            return NULL;
    }
    *ms = median(ns, ROUNDS) / 1e6;
    return r;
}

/* ---- balance and movement ---- */

static bool is_not(const void *arg, unsigned slot)
{
    return slot != *(const unsigned *)arg;
}

/* Of the keys whose backend stays, how many the loss of `lost` moves: as the walk has it, and as a
 * ring made without that backend has it. */
static uint64_t foreign_keys(const struct ring *r, const struct ring *without, unsigned lost,
                             const struct keys *k)
{
    uint64_t foreign = 0;
    for (size_t i = 0; i < k->n; i++) {
        unsigned home = ring_find(r, k->hash[i]);
        if (home == lost)
            continue;
        unsigned rebuilt = ring_find(without, k->hash[i]);
        rebuilt += rebuilt >= lost; /* slots behind the gap moved up by one */
        foreign += ring_walk(r, k->hash[i], is_not, &lost) != home || rebuilt != home;
    }
    return foreign;
}

/* Fills in deviation and max from the exact shares; returns the slot with the largest. */
static unsigned weigh_shares(struct figures *f, const uint64_t *share, size_t n)
{
    double mean = (double)RING_SPACE / (double)n, squares = 0;
    unsigned largest = 0;
    for (unsigned i = 0; i < n; i++) {
        double d = (double)share[i] / mean - 1;
        squares += d * d;
        if (share[i] > share[largest])
            largest = i;
    }
    f->deviation = sqrt(squares / (double)n);
    f->max = (double)share[largest] / mean;
    return largest;
}

static bool measure_failure(struct figures *f, const struct ring *r, struct members *m,
                            unsigned lost, const struct keys *k, struct error *e)
{
    if (m->n == 1)
        return true; /* nobody is left whose keys could move */
    struct ring_member gone = m->member[lost];
    size_t behind = (m->n - lost - 1) * sizeof gone;
    memmove(m->member + lost, m->member + lost + 1, behind);
    struct ring *without = ring_new(m->member, m->n - 1, f->vnodes, e);
    memmove(m->member + lost + 1, m->member + lost, behind);
    m->member[lost] = gone;
    if (without == NULL)
        return false;
    f->foreign_keys = foreign_keys(r, without, lost, k);
    ring_free(without);
    return true;
}

static bool measure_moves(struct figures *f, const struct ring *r, struct members *m,
                          const struct keys *k, struct error *e)
{
    uint64_t *share = mem_zalloc_array(m->n, sizeof *share);
    uint16_t *before = mem_zalloc_array(m->n, sizeof *before);
    uint16_t *after = mem_zalloc_array(m->n, sizeof *after);
    for (size_t i = 0; i < m->n; i++)
        before[i] = after[i] = (uint16_t)i;
    ring_shares(r, before, share, m->n);
    unsigned lost = weigh_shares(f, share, m->n);
    after[lost] = RING_NONE;
    uint64_t moved = ring_moved(r, before, after);
    assert(moved >= share[lost]);
    f->moved = (double)moved / (double)RING_SPACE;
    f->foreign_positions = moved - share[lost];
    bool ok = measure_failure(f, r, m, lost, k, e);
    free(share);
    free(before);
    free(after);
    return ok;
}

static bool measure(struct figures *f, const struct keys *k, struct error *e)
{
    struct members m;
    members_init(&m, f->backends);
    struct ring *r = time_build(&m, f->vnodes, &f->build_ms, e);
    bool ok = r != NULL;
    if (ok) {
        f->points = ring_points(r);
        f->bytes_a_point = (double)ring_memory(r) / (double)f->points;
        f->find_ns = time_pass(pass_find, r, k);
        f->chained_ns = time_pass(pass_chained, r, k);
        f->hash_find_ns = time_pass(pass_hash_find, r, k);
        ok = measure_moves(f, r, &m, k, e);
    }
    ring_free(r);
    members_deinit(&m);
    return ok;
}

/* ---- output ---- */

static void print_head(const struct options *o)
{
    if (o->json)
        printf("{\"version\": \"%s\", \"keys\": %zu, \"rounds\": %d, \"rings\": [",
               RINGPROXY_VERSION, o->keys, ROUNDS);
    else
        printf("%8s %6s %8s %8s %8s %10s %9s %6s %7s %7s %9s %8s %7s\n", "backends", "vnodes",
               "points", "find", "chained", "hash+find", "build", "B/pt", "sd", "max", "moved",
               "foreign", "keys");
}

static void print_json(const struct figures *f, bool first)
{
    printf("%s\n  {\"backends\": %u, \"vnodes\": %u, \"points\": %zu,"
           " \"find_ns\": %.2f, \"chained_ns\": %.2f, \"hash_find_ns\": %.2f,"
           " \"build_ms\": %.3f, \"bytes_per_point\": %.3f,"
           " \"share_deviation\": %.6f, \"share_max\": %.6f,"
           " \"moved\": %.9f, \"foreign_positions\": %llu, \"foreign_keys\": %llu}",
           first ? "" : ",", f->backends, f->vnodes, f->points, f->find_ns, f->chained_ns,
           f->hash_find_ns, f->build_ms, f->bytes_a_point, f->deviation, f->max, f->moved,
           (unsigned long long)f->foreign_positions, (unsigned long long)f->foreign_keys);
}

static void print_row(const struct figures *f)
{
    printf("%8u %6u %8zu %5.1f ns %5.1f ns %7.1f ns %6.2f ms %6.2f %6.2f%% %7.3f %8.4f%% %8llu"
           " %7llu\n",
           f->backends, f->vnodes, f->points, f->find_ns, f->chained_ns, f->hash_find_ns,
           f->build_ms, f->bytes_a_point, f->deviation * 100, f->max, f->moved * 100,
           (unsigned long long)f->foreign_positions, (unsigned long long)f->foreign_keys);
}

static int run(const struct options *o)
{
    int code = BENCH_OK;
    bool first = true;
    struct keys keys;
    keys_init(&keys, o->keys);
    print_head(o);
    for (size_t v = 0; v < o->vnodes.n && code == BENCH_OK; v++) {
        for (size_t b = 0; b < o->backends.n && code == BENCH_OK; b++, first = false) {
            struct figures f = {.backends = o->backends.value[b], .vnodes = o->vnodes.value[v]};
            struct error e;
            if (!measure(&f, &keys, &e)) {
                fprintf(stderr, "ringbench: %u backends with %u vnodes: %s\n", f.backends, f.vnodes,
                        e.text);
                code = BENCH_FAILED;
                break;
            }
            o->json ? print_json(&f, first) : print_row(&f);
            if (f.foreign_positions || f.foreign_keys)
                code = BENCH_FAILED;
        }
    }
    if (o->json)
        puts("\n]}");
    keys_deinit(&keys);
    return code;
}

/* ---- options ---- */

/* Decimal digits alone, from 1 to max; *end is set behind them. */
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

int bench_ring(int argc, char **argv)
{
    static const struct option names[] = {
        {"backends", required_argument, NULL, 'b'}, {"vnodes", required_argument, NULL, 'v'},
        {"keys", required_argument, NULL, 'k'},     {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
    };
    struct options o = {{{5, 100, 1000}, 3}, {{160, 512}, 2}, KEYS_DEFAULT, false};
    int c;
    while ((c = getopt_long(argc, argv, "h", names, NULL)) != -1) {
        if (c == 'b' && !parse_list(optarg, 4096, &o.backends))
            return bad_value("--backends", "up to 32 numbers from 1 to 4096");
        if (c == 'v' && !parse_list(optarg, 4096, &o.vnodes))
            return bad_value("--vnodes", "up to 32 numbers from 1 to 4096");
        if (c == 'k' && !parse_keys(optarg, &o.keys))
            return bad_value("--keys", "1 to 100000000");
        if (c == 'j')
            o.json = true;
        if (c == 'h') {
            fputs(usage, stdout);
            return BENCH_OK;
        }
        if (c == '?')
            return BENCH_USAGE;
    }
    if (optind != argc) {
        fprintf(stderr, "ringbench ring: unexpected argument: %s\n", argv[optind]);
        return BENCH_USAGE;
    }
    if (!fits(&o))
        return bad_value("--backends and --vnodes", "products up to 4194304");
    return run(&o);
}
