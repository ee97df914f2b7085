#include "bench/ring/layout.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "bench/ring/layout_pass.h"
#include "ring/hash.h"

const struct layout *const layouts[LAYOUT_COUNT] = {
    &layout_ringproxy, &layout_ketama, &layout_maglev, &layout_rendezvous, &layout_modulo,
};

const struct layout *layout_named(struct str name)
{
    for (size_t i = 0; i < LAYOUT_COUNT; i++)
        if (str_eq(name, str_of(layouts[i]->name)))
            return layouts[i];
    return NULL;
}

/* ---- ringproxy: ring/ as the proxy uses it ---- */

static void *ringproxy_build(const struct ring_member *members, size_t n, unsigned vnodes,
                             struct error *e)
{
    return ring_new(members, n, vnodes, e);
}

static void ringproxy_free(void *built)
{
    ring_free(built);
}

static uint64_t ringproxy_hash(struct str key)
{
    return hash_key(key);
}

static inline unsigned ringproxy_find(const void *built, uint64_t hash)
{
    return ring_find(built, hash);
}

static size_t ringproxy_points(const void *built)
{
    return ring_points(built);
}

static size_t ringproxy_memory(const void *built)
{
    return ring_memory(built);
}

/* ring_shares() counts positions of the circle for a table of owners: here each slot owns itself.
 */
static void ringproxy_shares(const void *built, double *share)
{
    size_t n = ring_slots(built);
    uint16_t *owner = mem_zalloc_array(n, sizeof *owner);
    uint64_t *positions = mem_zalloc_array(n, sizeof *positions);
    for (size_t i = 0; i < n; i++)
        owner[i] = (uint16_t)i;
    ring_shares(built, owner, positions, n);
    for (size_t i = 0; i < n; i++)
        share[i] = (double)positions[i] / (double)RING_SPACE;
    free(owner);
    free(positions);
}

LAYOUT_PASSES(ringproxy)

const struct layout layout_ringproxy = {
    .name = "ringproxy",
    .what = "ringproxy's own ring: the nearest of VNODES points a backend",
    .has_vnodes = true,
    .points = ringproxy_points,
    .shares = ringproxy_shares,
    LAYOUT_FUNCTIONS(ringproxy),
};

/* ---- maglev: Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer",
 * NSDI 2016, section 3.4: each backend has a permutation of the table's entries, and in turn they
 * take the next entry of theirs that is still free ---- */

#define MAGLEV_SIZE 65537 /* a prime: the smaller size in the paper */

struct maglev {
    uint16_t slot[MAGLEV_SIZE]; /* that owns the entry; RING_NONE only while it is filled */
    unsigned nslots;
};

struct permutation {
    uint32_t next, skip; /* the next entry to try, and the step to the one behind it */
};

/* The paper leaves both hash functions open. `skip` is 1 to SIZE - 1 and SIZE is prime, so the
 * steps reach every entry. */
static struct permutation permutation_of(struct str name)
{
    uint64_t seed = hash_name(name);
    return (struct permutation){(uint32_t)(hash_point(seed, 0) % MAGLEV_SIZE),
                                (uint32_t)(hash_point(seed, 1) % (MAGLEV_SIZE - 1)) + 1};
}

/* Ends since some entry is free: maglev_fill() calls it once for each entry of the table. */
static uint32_t take_free_entry(const struct maglev *m, struct permutation *p)
{
    for (;;) {
        uint32_t entry = p->next;
        p->next = (p->next + p->skip) % MAGLEV_SIZE;
        if (m->slot[entry] == RING_NONE)
            return entry;
    }
}

/* By turns, so that the backends' numbers of entries differ by one at most. This is what makes the
 * layout even, and also why a lost backend moves keys of others: the turns shift. */
static void maglev_fill(struct maglev *m, struct permutation *p)
{
    assert(m->nslots > 0 && m->nslots <= MAGLEV_SIZE);
    for (size_t i = 0; i < MAGLEV_SIZE; i++)
        m->slot[i] = RING_NONE;
    unsigned turn = 0;
    for (size_t filled = 0; filled < MAGLEV_SIZE; filled++) {
        m->slot[take_free_entry(m, &p[turn])] = (uint16_t)turn;
        turn = turn + 1 == m->nslots ? 0 : turn + 1;
    }
}

static void *maglev_build(const struct ring_member *members, size_t n, unsigned vnodes,
                          struct error *e)
{
    assert(n >= 1 && n <= 4096);
    struct maglev *m = mem_zalloc(sizeof *m);
    struct permutation *p = mem_zalloc_array(n, sizeof *p);
    m->nslots = (unsigned)n;
    for (size_t i = 0; i < n; i++) {
        assert(members[i].weight == 1);
        p[i] = permutation_of(members[i].name);
    }
    maglev_fill(m, p);
    free(p);
    return m;
}

static void maglev_free(void *built)
{
    free(built);
}

static uint64_t maglev_hash(struct str key)
{
    return hash_key(key);
}

static inline unsigned maglev_find(const void *built, uint64_t hash)
{
    const struct maglev *m = built;
    return m->slot[hash % MAGLEV_SIZE];
}

static size_t maglev_points(const void *built)
{
    return MAGLEV_SIZE;
}

static size_t maglev_memory(const void *built)
{
    return sizeof(struct maglev);
}

static void maglev_shares(const void *built, double *share)
{
    const struct maglev *m = built;
    for (size_t i = 0; i < m->nslots; i++)
        share[i] = 0;
    for (size_t i = 0; i < MAGLEV_SIZE; i++)
        share[m->slot[i]] += 1.0;
    for (size_t i = 0; i < m->nslots; i++)
        share[i] /= MAGLEV_SIZE;
}

LAYOUT_PASSES(maglev)

const struct layout layout_maglev = {
    .name = "maglev",
    .what = "Maglev (Eisenbud et al. 2016), table of 65537 entries",
    .points = maglev_points,
    .shares = maglev_shares,
    LAYOUT_FUNCTIONS(maglev),
};

/* ---- rendezvous: highest random weight (Thaler and Ravishankar 1996) ---- */

struct rendezvous {
    size_t n;
    uint64_t seed[]; /* of each slot: the hash of its backend's name */
};

static void *rendezvous_build(const struct ring_member *members, size_t n, unsigned vnodes,
                              struct error *e)
{
    assert(n >= 1 && n <= 4096);
    struct rendezvous *r = mem_zalloc(sizeof *r + n * sizeof r->seed[0]);
    r->n = n;
    for (size_t i = 0; i < n; i++) {
        assert(members[i].weight == 1);
        r->seed[i] = hash_name(members[i].name);
    }
    return r;
}

static void rendezvous_free(void *built)
{
    free(built);
}

static uint64_t rendezvous_hash(struct str key)
{
    return hash_key(key);
}

/* The weight of a backend for a key is a hash of the key's hash, seeded by the backend's name: as
 * even as a hash of both texts, but the text of the key is hashed only once. */
static inline unsigned rendezvous_find(const void *built, uint64_t hash)
{
    const struct rendezvous *r = built;
    uint64_t highest = hash_point(r->seed[0], hash);
    unsigned slot = 0;
    for (unsigned i = 1; i < r->n; i++) {
        uint64_t weight = hash_point(r->seed[i], hash);
        if (weight > highest) {
            highest = weight;
            slot = i;
        }
    }
    return slot;
}

/* Lookups need no more than the seeds: there is no table. */
static size_t rendezvous_memory(const void *built)
{
    const struct rendezvous *r = built;
    return sizeof *r + r->n * sizeof r->seed[0];
}

LAYOUT_PASSES(rendezvous)

const struct layout layout_rendezvous = {
    .name = "rendezvous",
    .what = "the backend with the highest XXH3 of key and name",
    .linear = true,
    LAYOUT_FUNCTIONS(rendezvous),
};

/* ---- modulo: what a consistent hash is measured against ---- */

struct modulo {
    size_t n;
};

static void *modulo_build(const struct ring_member *members, size_t n, unsigned vnodes,
                          struct error *e)
{
    assert(n >= 1);
    struct modulo *m = mem_zalloc(sizeof *m);
    for (size_t i = 0; i < n; i++)
        assert(members[i].weight == 1);
    m->n = n;
    return m;
}

static void modulo_free(void *built)
{
    free(built);
}

static uint64_t modulo_hash(struct str key)
{
    return hash_key(key);
}

static inline unsigned modulo_find(const void *built, uint64_t hash)
{
    const struct modulo *m = built;
    return (unsigned)(hash % m->n);
}

static size_t modulo_memory(const void *built)
{
    return sizeof(struct modulo);
}

/* The shares differ by at most one hash in 2^64. */
static void modulo_shares(const void *built, double *share)
{
    const struct modulo *m = built;
    for (size_t i = 0; i < m->n; i++)
        share[i] = 1.0 / (double)m->n;
}

LAYOUT_PASSES(modulo)

const struct layout layout_modulo = {
    .name = "modulo",
    .what = "XXH3 of the key modulo the number of backends",
    .shares = modulo_shares,
    LAYOUT_FUNCTIONS(modulo),
};
