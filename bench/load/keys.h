/* The keys of a load: their texts, and the order in which they are drawn.
 *
 * Invariants: the same seed draws the same keys. A text is not terminated by a NUL.
 * Ownership: keys_init() to keys_deinit(). Threads: struct keys is read-only once made; each thread
 * draws with a struct keys_draw of its own. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

#define KEYS_NONE UINT32_MAX
#define KEYS_MAX 10000000u

enum keys_dist { KEYS_UNIFORM, KEYS_SEQUENTIAL, KEYS_ZIPF };

struct keys {
    uint32_t n;
    enum keys_dist dist;
    /* of rejection-inversion sampling, see keys.c */
    double zipf_s, zipf_x1, zipf_n, zipf_cut;
    char *text;       /* all texts, one behind the other */
    uint32_t *offset; /* n + 1: where each text begins, and the end */
};

struct keys_draw {
    uint64_t random;
    uint64_t next, step; /* sequential: thread i of n draws i, i + n, i + 2n ... */
};

/* "key0" to "key<n-1>". */
void keys_init(struct keys *k, uint32_t n);
/* Each line of the file is a key, except empty lines. The keys are drawn in the order of the file.
 */
bool keys_init_file(struct keys *k, const char *path, struct error *e);
/* "uniform", "sequential", "zipf:S" with 0 < S <= 10: how keys are drawn. False: none of these. */
bool keys_set_dist(struct keys *k, const char *text);
void keys_deinit(struct keys *k);

/* thread: from 0 to nthreads - 1. */
void keys_draw_init(struct keys_draw *d, uint64_t seed, unsigned thread, unsigned nthreads);
uint32_t keys_next(const struct keys *k, struct keys_draw *d);

static inline struct str keys_text(const struct keys *k, uint32_t i)
{
    return (struct str){k->text + k->offset[i], k->offset[i + 1] - k->offset[i]};
}
