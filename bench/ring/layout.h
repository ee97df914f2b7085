/* Ways to lay keys out over backends: ringproxy's ring, and yardsticks that others use, written
 * from their public description, so that `ringbench ring` can measure them side by side.
 *
 * What for: one table of functions a layout, over a structure that only its own functions know.
 * Invariants: immutable once built. Slot i is members[i] of what it was built from.
 * Ownership: build() to free(). Threads: read-only, share freely. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "ring/ring.h"

#define LAYOUT_KEY_LEN 16 /* bytes of each key in a timed pass: "session-00000000" */

struct layout_keys {
    size_t n;
    const uint64_t *hash; /* as the layout hashes them */
    const char *text;     /* n times LAYOUT_KEY_LEN bytes */
};

typedef uint64_t layout_pass(const void *built, const struct layout_keys *k);

struct layout {
    const char *name;
    const char *what; /* a line of help */
    bool has_vnodes;  /* builds `vnodes` points a backend; otherwise the number is ignored */
    bool linear;      /* a lookup looks at every backend */

    /* A key's bytes -> what find() takes. */
    uint64_t (*hash)(struct str key);
    /* As ring_new() takes them: sorted names, n from 1 to 4096. Weights are honoured by ringproxy
     * and ketama; the others want 1. NULL: the error says why. */
    void *(*build)(const struct ring_member *members, size_t n, unsigned vnodes, struct error *e);
    void (*free)(void *built); /* NULL is fine */
    unsigned (*find)(const void *built, uint64_t hash);
    size_t (*memory)(const void *built); /* heap bytes that lookups need */
    /* Points or table entries. NULL: this layout has none. */
    size_t (*points)(const void *built);
    /* The exact share of each slot, of 1, if hashes are spread evenly. NULL: only sampling tells.
     */
    void (*shares)(const void *built, double *share);

    /* What is timed: find() called directly, so that the compiler may put it in line. Each returns
     * a sum that depends on every lookup. */
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
