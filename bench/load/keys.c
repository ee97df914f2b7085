#include "bench/load/keys.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/splitmix.h"

/* ---- texts ---- */

#define TEXT_MAX 14 /* "key9999999" with room */

void keys_init(struct keys *k, uint32_t n)
{
    assert(n >= 1 && n <= KEYS_MAX);
    *k = (struct keys){.n = n, .dist = KEYS_UNIFORM};
    k->text = mem_zalloc_array(n, TEXT_MAX);
    k->offset = mem_zalloc_array((size_t)n + 1, sizeof *k->offset);
    uint32_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        at += (uint32_t)snprintf(k->text + at, TEXT_MAX, "key%u", i);
        k->offset[i + 1] = at;
    }
}

/* A key goes into a field line, a target or a cookie and must not break them. */
static bool harmless(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] <= ' ' || p[i] > '~')
            return false;
    return true;
}

static bool add_line(struct keys *k, const char *line, size_t n, size_t *cap, size_t *text_cap)
{
    size_t at = k->offset[k->n];
    if (k->n == KEYS_MAX || at + n > UINT32_MAX)
        return false;
    if (k->n + 2 > *cap)
        k->offset = mem_grow(k->offset, *cap *= 2, sizeof *k->offset);
    while (at + n > *text_cap)
        k->text = mem_grow(k->text, *text_cap *= 2, 1);
    memcpy(k->text + at, line, n);
    k->offset[++k->n] = (uint32_t)(at + n);
    return true;
}

/* False: the error says why. */
static bool read_lines(struct keys *k, FILE *f, struct error *e)
{
    size_t cap = 1024, text_cap = 16384, room = 0, number = 0;
    char *line = NULL;
    bool ok = true;
    k->offset = mem_zalloc_array(cap, sizeof *k->offset);
    k->text = mem_zalloc(text_cap);
    for (ssize_t n; ok && (n = getline(&line, &room, f)) >= 0;) {
        number++;
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            n--;
        ok = harmless(line, (size_t)n);
        if (!ok)
            error_set(e, 0, "line %zu: a key is visible ASCII without white space", number);
        else if (n > 0 && !(ok = add_line(k, line, (size_t)n, &cap, &text_cap)))
            error_set(e, 0, "line %zu: more than %u keys or 4 GiB", number, KEYS_MAX);
    }
    if (ok && ferror(f)) {
        ok = false;
        error_errno(e, errno, "read");
    } else if (ok && k->n == 0) {
        ok = false;
        error_set(e, 0, "no key in it");
    }
    free(line);
    return ok;
}

bool keys_init_file(struct keys *k, const char *path, struct error *e)
{
    *k = (struct keys){.dist = KEYS_SEQUENTIAL};
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        error_errno(e, errno, "%s", path);
        return false;
    }
    bool ok = read_lines(k, f, e);
    fclose(f);
    if (!ok) {
        error_prefix(e, "%s", path);
        keys_deinit(k);
    }
    return ok;
}

void keys_deinit(struct keys *k)
{
    free(k->text);
    free(k->offset);
    *k = (struct keys){0};
}

/* ---- drawing ---- */

/* Zipf by rejection-inversion (Hoermann and Derflinger 1996): constant time, any n and s. The
 * integral of x^-s, shifted so that it is exact at s = 1 as well, and its inverse: */
static double integral(double s, double x)
{
    double l = log(x), t = (1 - s) * l;
    return (fabs(t) > 1e-8 ? expm1(t) / t : 1 + t / 2 * (1 + t / 3)) * l;
}

static double inverse(double s, double x)
{
    double t = x * (1 - s);
    if (t < -1)
        t = -1;
    return exp((fabs(t) > 1e-8 ? log1p(t) / t : 1 - t / 2 * (1 - t / 3 * 2)) * x);
}

static void zipf_prepare(struct keys *k, double s)
{
    k->zipf_s = s;
    k->zipf_x1 = integral(s, 1.5) - 1;
    k->zipf_n = integral(s, k->n + 0.5);
    k->zipf_cut = 2 - inverse(s, integral(s, 2.5) - pow(2, -s));
}

static uint32_t zipf_next(const struct keys *k, uint64_t *random)
{
    for (;;) {
        double u = k->zipf_n + splitmix_unit(random) * (k->zipf_x1 - k->zipf_n);
        double x = inverse(k->zipf_s, u);
        double rank = floor(x + 0.5);
        if (rank < 1)
            rank = 1;
        else if (rank > k->n)
            rank = k->n;
        if (rank - x <= k->zipf_cut || u >= integral(k->zipf_s, rank + 0.5) - pow(rank, -k->zipf_s))
            return (uint32_t)rank - 1;
    }
}

bool keys_set_dist(struct keys *k, const char *text)
{
    if (strcmp(text, "uniform") == 0)
        k->dist = KEYS_UNIFORM;
    else if (strcmp(text, "sequential") == 0)
        k->dist = KEYS_SEQUENTIAL;
    else if (strncmp(text, "zipf:", 5) == 0) {
        char *end;
        errno = 0;
        double s = strtod(text + 5, &end);
        if (text[5] < '0' || text[5] > '9' || *end || errno || !(s > 0 && s <= 10))
            return false;
        k->dist = KEYS_ZIPF;
        zipf_prepare(k, s);
    } else
        return false;
    return true;
}

void keys_draw_init(struct keys_draw *d, uint64_t seed, unsigned thread, unsigned nthreads)
{
    assert(thread < nthreads);
    d->random = seed;
    /* A generator for each thread, so that what one draws does not depend on the others. */
    for (unsigned i = 0; i <= thread; i++)
        d->random = splitmix_next(&d->random) ^ seed;
    d->next = thread;
    d->step = nthreads;
}

uint32_t keys_next(const struct keys *k, struct keys_draw *d)
{
    switch (k->dist) {
    case KEYS_SEQUENTIAL: {
        uint32_t i = (uint32_t)(d->next % k->n);
        d->next += d->step;
        return i;
    }
    case KEYS_ZIPF:
        return zipf_next(k, &d->random);
    case KEYS_UNIFORM:
        break;
    }
    /* Multiplied, not divided with remainder: as even for so few keys, and faster. */
    return (uint32_t)(((splitmix_next(&d->random) >> 32) * k->n) >> 32);
}
