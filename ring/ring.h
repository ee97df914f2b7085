/* The ring: a key's hash -> the slot of the backend that owns it. CONTRACT "The ring, version 1".
 *
 * What for: consistent hashing (Karger et al., 1997) with the nearest-point rule. docs/ring.md
 * defines the layout to the bit.
 * Invariants: immutable. A slot is the rank of its backend's name in byte order. Entries are 48
 * bits of point and 16 bits of slot in one word, sorted, so that of two points in one place the
 * name that is first in byte order stands first. The ring knows slots, not servers and not health.
 * Ownership: ring_new() to ring_free(). Threads: read-only, share freely. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

#define RING_SPACE (UINT64_C(1) << 48) /* number of positions on the circle */
#define RING_MAX_POINTS 4194304
#define RING_NONE 0xffffu /* no slot */

struct ring_member {
    struct str name;
    uint32_t weight; /* 1 to 256 */
};

struct ring;

/* members must be sorted by name in byte order, without equal names; slot i is members[i].
 * NULL: too many points (over RING_MAX_POINTS) or no memory; the error says so. n: 1 to 4096. */
struct ring *ring_new(const struct ring_member *members, size_t n, unsigned vnodes,
                      struct error *e);
void ring_free(struct ring *r); /* NULL is fine */

size_t ring_points(const struct ring *r);
size_t ring_slots(const struct ring *r);
/* Heap bytes of the ring: entries and index. */
size_t ring_memory(const struct ring *r);

/* The slot that owns a key; hash is hash_key() of its bytes (its upper 48 bits are the position).
 */
unsigned ring_find(const struct ring *r, uint64_t hash);

/* Says whether a slot may be taken by a walk. */
typedef bool ring_live_fn(const void *arg, unsigned slot);
/* The slot of the nearest point, outward both ways from the key, for whose slot live() says true:
 * what ring_find() would say if the other slots were not on the ring. RING_NONE if there is none.
 */
unsigned ring_walk(const struct ring *r, uint64_t hash, ring_live_fn *live, const void *arg);

/* The exact number of positions (of RING_SPACE) that each owner serves. owner_of[slot] is any id
 * below nowners, or RING_NONE: then its keys go to the owner of the nearest point of a slot with
 * one, as ring_walk() has it. out[nowners] is overwritten. All NONE: all zero. */
void ring_shares(const struct ring *r, const uint16_t *owner_of, uint64_t *out, size_t nowners);
/* The exact number of positions whose owner differs between two assignments (nobody counts as an
 * owner of its own). */
uint64_t ring_moved(const struct ring *r, const uint16_t *before, const uint16_t *after);
