#include "bench/ring/ring_measure.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/splitmix.h"

#define NAME_SIZE 16      /* "backend-4096" */
#define BACKENDS_MAX 4096 /* that a ring may have */
#define TIMED_MAX 250000  /* lookups in a pass: enough to touch all of the largest ring */
#define TIMED_MIN 1000
#define LINEAR_STEPS 5000000 /* backends that a pass of a linear layout examines */

/* The backends in the order of their names, and behind them one more, to be added. */
struct members {
    struct ring_member *member;
    char (*name)[NAME_SIZE];
    size_t n;
};

/* ---- keys and members ---- */

void ring_keys_init(struct ring_keys *k, size_t n)
{
    uint64_t seed = 1;
    k->n = n;
    k->text = mem_zalloc_array(n, LAYOUT_KEY_LEN);
    k->hash = mem_zalloc_array(n, sizeof *k->hash);
    k->owner = mem_zalloc_array(n, sizeof *k->owner);
    for (size_t i = 0; i < n; i++) {
        char text[LAYOUT_KEY_LEN + 1];
        snprintf(text, sizeof text, "session-%08x", (unsigned)(splitmix_next(&seed) >> 32));
        memcpy(k->text + i * LAYOUT_KEY_LEN, text, LAYOUT_KEY_LEN);
    }
}

void ring_keys_deinit(struct ring_keys *k)
{
    free(k->text);
    free(k->hash);
    free(k->owner);
}

void ring_keys_hash(struct ring_keys *k, const struct layout *layout)
{
    for (size_t i = 0; i < k->n; i++)
        k->hash[i] = layout->hash((struct str){k->text + i * LAYOUT_KEY_LEN, LAYOUT_KEY_LEN});
}

static void members_init(struct members *m, size_t n)
{
    assert(n < 10000);
    m->n = n;
    m->member = mem_zalloc_array(n + 1, sizeof *m->member);
    m->name = mem_zalloc_array(n + 1, sizeof *m->name);
    for (size_t i = 0; i <= n; i++) {
        snprintf(m->name[i], NAME_SIZE, "backend-%04u", (unsigned)i % 10000);
        m->member[i] = (struct ring_member){str_of(m->name[i]), 1};
    }
}

static void members_deinit(struct members *m)
{
    free(m->member);
    free(m->name);
}

/* ---- times ---- */

/* CPU time, so that other processes disturb a measurement only through the caches. */
static double now_ns(void)
{
    struct timespec t;
    int rc = clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    assert(rc == 0);
    (void)rc;
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Not the mean: a pass that was interrupted is far too long and must not count. */
static double median(double *v, size_t n)
{
    qsort(v, n, sizeof *v, compare_doubles);
    return v[n / 2];
}

static volatile uint64_t sink; /* keeps the passes from being optimised away */

/* ns for each key: the median of the passes, after one to warm up. */
static double time_pass(layout_pass *pass, const void *built, const struct layout_keys *k)
{
    double ns[RING_ROUNDS];
    sink = pass(built, k);
    for (size_t i = 0; i < RING_ROUNDS; i++) {
        double start = now_ns();
        sink = pass(built, k);
        ns[i] = (now_ns() - start) / (double)k->n;
    }
    return median(ns, RING_ROUNDS);
}

/* Linear layouts get fewer lookups, or a run with 4096 backends would take minutes. */
static size_t lookups_a_pass(const struct layout *l, size_t backends, size_t keys)
{
    size_t n = l->linear ? LINEAR_STEPS / backends : TIMED_MAX;
    n = n < TIMED_MIN ? TIMED_MIN : n > TIMED_MAX ? TIMED_MAX : n;
    return n < keys ? n : keys;
}

static void measure_times(struct ring_figures *f, const void *built, const struct ring_keys *k)
{
    const struct layout *l = f->layout;
    f->timed = lookups_a_pass(l, f->backends, k->n);
    struct layout_keys timed = {f->timed, k->hash, k->text};
    f->find_ns = time_pass(l->find_pass, built, &timed);
    f->chained_ns = time_pass(l->chained_pass, built, &timed);
    f->hash_find_ns = time_pass(l->hash_find_pass, built, &timed);
}

/* Returns the layout built in the last round; NULL: the error says why. */
static void *time_build(struct ring_figures *f, const struct members *m, struct error *e)
{
    double ns[RING_ROUNDS];
    void *built = NULL;
    for (size_t i = 0; i < RING_ROUNDS; i++) {
        f->layout->free(built);
        double start = now_ns();
        built = f->layout->build(m->member, m->n, f->vnodes, e);
        ns[i] = now_ns() - start;
        if (built == NULL)
            return NULL;
    }
    f->build_ms = median(ns, RING_ROUNDS) / 1e6;
    return built;
}

/* ---- balance ---- */

static void find_owners(const struct layout *l, const void *built, struct ring_keys *k)
{
    for (size_t i = 0; i < k->n; i++)
        k->owner[i] = (uint16_t)l->find(built, k->hash[i]);
}

static void sample_shares(const struct ring_keys *k, double *share, size_t n)
{
    for (size_t i = 0; i < n; i++)
        share[i] = 0;
    for (size_t i = 0; i < k->n; i++)
        share[k->owner[i]] += 1;
    for (size_t i = 0; i < n; i++)
        share[i] /= (double)k->n;
}

/* Fills in deviation and max; returns the slot with the largest share. */
static unsigned weigh_shares(struct ring_figures *f, const double *share, size_t n)
{
    double squares = 0;
    unsigned largest = 0;
    for (unsigned i = 0; i < n; i++) {
        double d = share[i] * (double)n - 1;
        squares += d * d;
        if (share[i] > share[largest])
            largest = i;
    }
    f->deviation = sqrt(squares / (double)n);
    f->max = share[largest] * (double)n;
    return largest;
}

/* Returns the slot with the largest share. */
static unsigned measure_balance(struct ring_figures *f, const void *built,
                                const struct ring_keys *k)
{
    double *share = mem_zalloc_array(f->backends, sizeof *share);
    if (f->layout->shares)
        f->layout->shares(built, share);
    else
        sample_shares(k, share, f->backends);
    unsigned busiest = weigh_shares(f, share, f->backends);
    free(share);
    return busiest;
}

/* ---- what moves ---- */

struct count {
    size_t moved, least;
};

/* Every key of `least` has moved, too, so the difference is what moved without need. */
static void set_moves(struct ring_moves *m, struct count c, size_t keys)
{
    assert(c.moved >= c.least);
    m->known = true;
    m->moved = (double)c.moved / (double)keys;
    m->least = (double)c.least / (double)keys;
    m->foreign = c.moved - c.least;
}

bool ring_moves_exact(const struct layout *layout)
{
    return layout == &layout_ringproxy;
}

/* Compares all of the circle of r between two states: `slot` alone is out, and all are in service.
 */
static void set_moves_exactly(struct ring_moves *m, const struct ring *r, unsigned slot)
{
    size_t n = ring_slots(r);
    uint64_t *share = mem_zalloc_array(n, sizeof *share);
    uint16_t *all = mem_zalloc_array(n, sizeof *all);
    uint16_t *rest = mem_zalloc_array(n, sizeof *rest);
    for (size_t i = 0; i < n; i++)
        all[i] = rest[i] = (uint16_t)i;
    rest[slot] = RING_NONE;
    ring_shares(r, all, share, n);
    uint64_t moved = ring_moved(r, all, rest);
    assert(moved >= share[slot]);
    m->known = true;
    m->moved = (double)moved / (double)RING_SPACE;
    m->least = (double)share[slot] / (double)RING_SPACE;
    m->positions = moved - share[slot];
    free(share);
    free(all);
    free(rest);
}

static bool is_not(const void *arg, unsigned slot)
{
    return slot != *(const unsigned *)arg;
}

/* Builds the layout without the lost backend. */
static void *build_without(const struct ring_figures *f, struct members *m, unsigned lost,
                           struct error *e)
{
    assert(m->n > 1 && lost < m->n);
    struct ring_member gone = m->member[lost];
    size_t behind = (m->n - lost - 1) * sizeof gone;
    memmove(m->member + lost, m->member + lost + 1, behind);
    void *without = f->layout->build(m->member, m->n - 1, f->vnodes, e);
    memmove(m->member + lost + 1, m->member + lost, behind);
    m->member[lost] = gone;
    return without;
}

/* ringproxy itself does not build a ring without the lost backend, but walks on along the ring it
 * has, `walked`; that must not move a foreign key either. walked NULL: another layout. */
static struct count count_lost(const struct layout *l, const void *without,
                               const struct ring *walked, unsigned lost, const struct ring_keys *k)
{
    struct count c = {0};
    for (size_t i = 0; i < k->n; i++) {
        unsigned home = k->owner[i], now = RING_NONE;
        if (home != lost) {
            now = l->find(without, k->hash[i]);
            now += now >= lost; /* the slots behind the lost one have moved up by one */
            if (walked && now == home)
                now = ring_walk(walked, k->hash[i], is_not, &lost);
        }
        c.least += home == lost;
        c.moved += now != home;
    }
    return c;
}

static bool measure_failure(struct ring_figures *f, const void *built, struct members *m,
                            unsigned lost, const struct ring_keys *k, struct error *e)
{
    if (m->n == 1) { /* no backend is left: all keys lose theirs */
        set_moves(&f->failure, (struct count){k->n, k->n}, k->n);
        return true;
    }
    const struct ring *walked = ring_moves_exact(f->layout) ? built : NULL;
    void *without = build_without(f, m, lost, e);
    if (without == NULL)
        return false;
    set_moves(&f->failure, count_lost(f->layout, without, walked, lost, k), k->n);
    f->layout->free(without);
    if (walked)
        set_moves_exactly(&f->failure, walked, lost);
    return true;
}

static bool one_more_fits(const struct ring_figures *f)
{
    uint64_t more = (uint64_t)f->backends + 1;
    return more <= BACKENDS_MAX && more * f->vnodes <= RING_MAX_POINTS;
}

/* The new backend has the last name, so the others keep their slots. */
static bool measure_addition(struct ring_figures *f, const struct members *m,
                             const struct ring_keys *k, struct error *e)
{
    if (!one_more_fits(f))
        return true;
    void *with = f->layout->build(m->member, m->n + 1, f->vnodes, e);
    if (with == NULL)
        return false;
    struct count c = {0};
    for (size_t i = 0; i < k->n; i++) {
        unsigned now = f->layout->find(with, k->hash[i]);
        c.least += now == m->n;
        c.moved += now != k->owner[i];
    }
    set_moves(&f->addition, c, k->n);
    if (ring_moves_exact(f->layout))
        set_moves_exactly(&f->addition, with, (unsigned)m->n);
    f->layout->free(with);
    return true;
}

bool ring_measure(struct ring_figures *f, struct ring_keys *k, struct error *e)
{
    struct members m;
    members_init(&m, f->backends);
    void *built = time_build(f, &m, e);
    bool ok = built != NULL;
    if (ok) {
        f->keys = k->n;
        f->points = f->layout->points ? f->layout->points(built) : 0;
        f->memory = f->layout->memory(built);
        measure_times(f, built, k);
        find_owners(f->layout, built, k);
        unsigned busiest = measure_balance(f, built, k);
        ok = measure_failure(f, built, &m, busiest, k, e) && measure_addition(f, &m, k, e);
    }
    f->layout->free(built);
    members_deinit(&m);
    return ok;
}
