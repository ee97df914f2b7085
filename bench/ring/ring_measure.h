/* The figures that `ringbench ring` measures of one layout at one size.
 *
 * Times are CPU time, medians of RING_ROUNDS passes over the same random keys. "find" is
 * throughput: keys are hashed beforehand, and no lookup waits for the one before it. In "chained"
 * each key depends on the answer before it, so lookups do not overlap: the time is the latency of a
 * single lookup. "hash+find" also hashes a key of LAYOUT_KEY_LEN bytes before each lookup, and is
 * not chained.
 *
 * Threads: the main thread. */
#pragma once
#include "bench/ring/layout.h"

#define RING_ROUNDS 9

/* The keys; made once and used for every layout and size. */
struct ring_keys {
    size_t n;
    char *text;      /* n times LAYOUT_KEY_LEN bytes */
    uint64_t *hash;  /* by the hash function of the layout being measured */
    uint16_t *owner; /* the slot of each key, in the layout and size being measured */
};

/* The keys that move when one backend fails or is added; shares are parts of 1, of all keys. */
struct ring_moves {
    bool known;   /* false: the size after the change is not allowed */
    double moved; /* the share that changed its backend */
    double least; /* the share that had to: the keys of the failed backend, or those that the new
                     one gets */
    uint64_t positions; /* ringproxy: how many of RING_SPACE moved though they need not; else 0 */
    uint64_t foreign;   /* how many of the keys moved between two backends that stayed */
};

struct ring_figures {
    const struct layout *layout; /* these three are given, the rest is measured */
    unsigned backends, vnodes;   /* vnodes 0: the layout has none */
    size_t keys;                 /* number of random keys */
    size_t timed;                /* lookups in a pass, at most `keys` */
    size_t points, memory;
    double find_ns, chained_ns, hash_find_ns, build_ms;
    double deviation, max; /* of the shares, relative to their mean */
    struct ring_moves failure, addition;
};

/* The same keys in each run. */
void ring_keys_init(struct ring_keys *k, size_t n);
void ring_keys_deinit(struct ring_keys *k);
/* Sets hash[] for a layout. */
void ring_keys_hash(struct ring_keys *k, const struct layout *layout);

/* Measures f->layout, with keys that were hashed for it. It depends on the layout whether its
 * shares are exact or sampled over the keys (layout->shares), and whether its moves are
 * (ring_moves_exact()). False: the layout could not be built, and the error says why. */
bool ring_measure(struct ring_figures *f, struct ring_keys *k, struct error *e);

/* True: `moved` and `least` are exact; else they are counted over the keys. */
bool ring_moves_exact(const struct layout *layout);
