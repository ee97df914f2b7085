/* The ring: maps the hash of a key to the slot of the backend that owns the key.
 *
 * What for: consistent hashing (Karger et al., 1997) in which the nearest point owns a key.
 * docs/ring.md, Definition, fixes the layout to the bit.
 * Invariants: immutable. Slot i is the backend whose name is number i in byte order. The ring knows
 * slots; it knows neither servers nor their health.
 * Ownership: the caller's, from ring_new() to ring_free(). Threads: read-only, share freely. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

#define RING_SPACE (UINT64_C(1) << 48) /* number of positions on the circle */
#define RING_MAX_POINTS 4194304        /* of one ring; config/ has the same bound */
#define RING_NONE 0xffffu              /* no slot, no owner */

/* A backend as the ring sees it. The name need not outlive ring_new(). */
struct ring_member {
    struct str name;
    uint32_t weight; /* 1 to 256 */
};

struct ring;

/* Builds the ring of n members, 1 to 4096, with weight * vnodes points each. Members must be sorted
 * by name in byte order, names must differ; slot i is members[i]. NULL: more than RING_MAX_POINTS
 * points, or out of memory; *e says which. */
struct ring *ring_new(const struct ring_member *members, size_t n, unsigned vnodes,
                      struct error *e);
void ring_free(struct ring *r); /* NULL is fine */

/* The number of points, the number of slots. */
size_t ring_points(const struct ring *r);
size_t ring_slots(const struct ring *r);
/* Bytes on the heap: entries and index. */
size_t ring_memory(const struct ring *r);

/* The slot that owns a key. hash: hash_key() of the key's bytes. */
unsigned ring_find(const struct ring *r, uint64_t hash);

/* Returns true if ring_walk() may return this slot. */
typedef bool ring_live_fn(const void *arg, unsigned slot);
/* The slot with live(slot) whose point is nearest to the key: what ring_find() would return if the
 * other slots had no points. RING_NONE if no slot is live. Calls live() for points in order of
 * their distance, so possibly several times for one slot. */
unsigned ring_walk(const struct ring *r, uint64_t hash, ring_live_fn *live, const void *arg);

/* Sets out[id] to the exact number of positions (of RING_SPACE) whose keys owner id serves.
 * owner_of[slot] is an id below nowners, or RING_NONE: the keys of such a slot go to the owner of
 * the nearest point of a slot with an owner, as in ring_walk(). If no slot has an owner, all shares
 * are 0. docs/ring.md, Definition, Shares. */
void ring_shares(const struct ring *r, const uint16_t *owner_of, uint64_t *out, size_t nowners);
/* The exact number of positions whose owner differs between two assignments of owners to slots.
 * RING_NONE counts as an owner here: keys that had no owner and have one now count as moved. */
uint64_t ring_moved(const struct ring *r, const uint16_t *before, const uint16_t *after);
