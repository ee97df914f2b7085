/* What `ringbench ring` measures of one layout at one size.
 *
 * Times are CPU time, medians of RING_ROUNDS passes over the same random keys. "find" is
 * throughput: hashes made beforehand, one lookup after another, none waiting for the last. In
 * "chained" each key depends on the answer before it, so nothing overlaps: what a lone lookup
 * waits. "hash+find" hashes a key of LAYOUT_KEY_LEN bytes before each lookup, not chained.
 *
 * Threads: the main thread. */
#pragma once
#include "bench/ring/layout.h"

#define RING_ROUNDS 9

/* Made once, used for every layout and size. */
struct ring_keys {
    size_t n;
    char *text;      /* n times LAYOUT_KEY_LEN bytes */
    uint64_t *hash;  /* as the present layout hashes them */
    uint16_t *owner; /* of the present layout and size */
};

/* What a change of one backend moves. Shares are of all keys, of 1. */
struct ring_moves {
    bool known;         /* false: the size after the change is not allowed */
    double moved;       /* changed their backend */
    double least;       /* had to: those of the failed one, those that the new one gets */
    uint64_t positions; /* ringproxy: of RING_SPACE, exactly, what moved besides; otherwise 0 */
    uint64_t foreign;   /* of the keys, what moved between two backends that stayed */
};

struct ring_figures {
    const struct layout *layout; /* these three are the question */
    unsigned backends, vnodes;   /* vnodes 0: the layout knows none */
    size_t keys;                 /* sampled */
    size_t timed;                /* lookups a pass, at most keys */
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

/* Answers f's question, with keys hashed for its layout. Whether shares come from the whole space
 * (layout->shares) or from the keys, and whether moved and least do (ring_moves_exact()), is the
 * layout's. False: there is no such layout in memory; the error says why. */
bool ring_measure(struct ring_figures *f, struct ring_keys *k, struct error *e);

/* Moved and least are exact; otherwise they are counted over the keys. */
bool ring_moves_exact(const struct layout *layout);
