/* Layouts: ways to distribute keys over backends. There is ringproxy's ring, and the layouts that
 * other proxies use, written from their public descriptions, so that `ringbench ring` can measure
 * them side by side.
 *
 * What for: a layout is a table of functions over a structure that only these functions know.
 * Invariants: immutable once built. Slot i stands for members[i] of the array it was built from.
 * Ownership: build() to free(). Threads: read-only, may be shared. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "ring/ring.h"

#define LAYOUT_KEY_LEN 16 /* bytes of each key in a timed pass: "session-00000000" */

struct layout_keys {
    size_t n;
    const uint64_t *hash; /* by the hash function of the layout */
    const char *text;     /* n times LAYOUT_KEY_LEN bytes */
};

typedef uint64_t layout_pass(const void *built, const struct layout_keys *k);

struct layout {
    const char *name;
    const char *what; /* a line of help */
    bool has_vnodes;  /* has `vnodes` points for each backend; else the number is ignored */
    bool linear;      /* a lookup examines every backend */

    /* Hashes the bytes of a key for find(). */
    uint64_t (*hash)(struct str key);
    /* Members are as for ring_new(): sorted by name, n from 1 to 4096. ringproxy and ketama honour
     * weights, for the others they must be 1. NULL: the error says why. */
    void *(*build)(const struct ring_member *members, size_t n, unsigned vnodes, struct error *e);
    void (*free)(void *built); /* NULL is fine */
    unsigned (*find)(const void *built, uint64_t hash);
    size_t (*memory)(const void *built); /* bytes on the heap that lookups need */
    /* The number of points or table entries. NULL: this layout has none. */
    size_t (*points)(const void *built);
    /* The exact share of each slot, as parts of 1, if hashes are spread evenly. NULL: shares can
     * only be estimated by sampling. */
    void (*shares)(const void *built, double *share);

    /* The timed passes, which call find() directly, so that the compiler may inline it. Each
     * returns a sum that depends on every lookup. */
    layout_pass *find_pass;
    layout_pass *chained_pass;   /* each hash depends on the slot found before */
    layout_pass *hash_find_pass; /* from the text */
};

extern const struct layout layout_ringproxy, layout_ketama, layout_maglev, layout_rendezvous,
    layout_modulo;

/* All of the above. */
#define LAYOUT_COUNT 5
extern const struct layout *const layouts[LAYOUT_COUNT];

/* NULL: there is none of this name. */
const struct layout *layout_named(struct str name);
