/* One block of memory holds the whole ring:
 *
 *   struct | guard | entry[0] .. entry[n-1] | WINDOW guards | first[0] .. first[nbuckets-1]
 *
 * An entry is a point: 48 bits of position and 16 bits of slot in one word. Entries are sorted, so
 * that of several points at one position the one of the lowest slot, which is the first name in
 * byte order, comes first.
 *
 * `first` is an index: the circle is divided into equal buckets, and first[b] is the number of the
 * first entry of bucket b. A lookup reads one word of the index, counts how many of the next WINDOW
 * entries are below the key, and thereby finds the points on both sides of the key. The count has
 * no branches, so that the processor can overlap many lookups. Few buckets hold more than WINDOW
 * entries, so the branch for them is predicted well.
 *
 * The guards spare the lookup its special cases at the ends of the array: entry[-1] repeats the
 * last entry, which on the circle precedes the first, and the guards after the end are greater than
 * every key. */
#include "ring/ring.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ring/arcs.h"
#include "ring/hash.h"
#include "ring/ring_internal.h"

#define WINDOW 8          /* entries in a cache line */
#define POINTS_A_BUCKET 5 /* on average: 8 + 4/5 bytes a point, and one window is mostly enough */
#define SMALL_BUCKET 32   /* larger buckets are sorted by qsort() instead of by insertion */
#define SLOT_MASK 0xffffu
#define PLACE_MASK (~(uint64_t)SLOT_MASK)

struct ring {
    size_t n, nslots, nbuckets, bytes;
    bool duplicates; /* some position holds more than one entry */
    uint64_t *entry;
    uint32_t *first;
    uint64_t words[];
};

/* A place is a position in the upper 48 bits of a word, as it is in an entry. Unsigned arithmetic
 * on places wraps around exactly as the circle does, so distances need no case for the end. */
static inline uint64_t place_of(uint64_t word)
{
    return word & PLACE_MASK;
}

static inline unsigned slot_of(uint64_t entry)
{
    return entry & SLOT_MASK;
}

/* Scales the upper 32 bits to 0 .. nbuckets-1. Monotonic, so that the entries of a bucket are
 * adjacent in sorted order. */
static inline size_t bucket_of(const struct ring *r, uint64_t word)
{
    return ((word >> 32) * r->nbuckets) >> 32;
}

/* ---- building ---- */

static struct ring *alloc_ring(size_t n, size_t nslots)
{
    size_t nbuckets = n < POINTS_A_BUCKET ? 1 : n / POINTS_A_BUCKET;
    size_t bytes =
        sizeof(struct ring) + (1 + n + WINDOW) * sizeof(uint64_t) + nbuckets * sizeof(uint32_t);
    struct ring *r = malloc(bytes);
    if (r == NULL)
        return NULL;
    *r = (struct ring){.n = n, .nslots = nslots, .nbuckets = nbuckets, .bytes = bytes};
    r->entry = r->words + 1;
    r->first = (uint32_t *)(r->entry + n + WINDOW);
    return r;
}

static int compare_entries(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void sort_bucket(uint64_t *entry, size_t n)
{
    if (n > SMALL_BUCKET) {
        qsort(entry, n, sizeof *entry, compare_entries);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        uint64_t e = entry[i];
        size_t j = i;
        for (; j > 0 && entry[j - 1] > e; j--)
            entry[j] = entry[j - 1];
        entry[j] = e;
    }
}

/* A bucket sort that produces the index at the same time. Hashed points are spread evenly, so each
 * bucket is small; this is several times faster than sorting all entries by comparison. */
static void sort_entries(struct ring *r, const uint64_t *entries)
{
    memset(r->first, 0, r->nbuckets * sizeof *r->first);
    for (size_t i = 0; i < r->n; i++)
        r->first[bucket_of(r, entries[i])]++;
    for (size_t b = 1; b < r->nbuckets; b++)
        r->first[b] += r->first[b - 1];
    /* now first[b] is the end of bucket b; filling the bucket backwards makes it the beginning */
    for (size_t i = 0; i < r->n; i++)
        r->entry[--r->first[bucket_of(r, entries[i])]] = entries[i];
    for (size_t b = 0; b < r->nbuckets; b++) {
        size_t end = b + 1 < r->nbuckets ? r->first[b + 1] : r->n;
        sort_bucket(r->entry + r->first[b], end - r->first[b]);
    }
}

static void set_guards(struct ring *r)
{
    r->entry[-1] = r->entry[r->n - 1];
    for (size_t i = 0; i < WINDOW; i++)
        r->entry[r->n + i] = UINT64_MAX;
}

static bool has_duplicates(const struct ring *r)
{
    for (size_t i = 1; i < r->n; i++) {
        assert(r->entry[i - 1] <= r->entry[i]);
        if (place_of(r->entry[i - 1]) == place_of(r->entry[i]))
            return true;
    }
    return false;
}

struct ring *ring_from_entries(const uint64_t *entries, size_t n, size_t nslots, struct error *e)
{
    assert(n >= 1 && n <= RING_MAX_POINTS);
    assert(nslots >= 1 && nslots < RING_NONE);
    struct ring *r = alloc_ring(n, nslots);
    if (r == NULL) {
        error_set(e, ENOMEM, "no memory for a ring of %zu points", n);
        return NULL;
    }
    for (size_t i = 0; i < n; i++)
        assert(slot_of(entries[i]) < nslots);
    sort_entries(r, entries);
    set_guards(r);
    r->duplicates = has_duplicates(r);
    return r;
}

/* Byte order of names; a prefix comes first. */
static bool name_below(struct str a, struct str b)
{
    int order = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return order < 0 || (order == 0 && a.n < b.n);
}

static uint64_t count_points(const struct ring_member *members, size_t n, unsigned vnodes)
{
    uint64_t points = 0;
    for (size_t i = 0; i < n; i++) {
        assert(members[i].name.n > 0);
        assert(members[i].weight >= 1 && members[i].weight <= 256);
        assert(i == 0 || name_below(members[i - 1].name, members[i].name));
        points += (uint64_t)members[i].weight * vnodes;
    }
    return points;
}

static void make_points(const struct ring_member *members, size_t n, unsigned vnodes,
                        uint64_t *entries)
{
    for (size_t slot = 0; slot < n; slot++) {
        uint64_t seed = hash_name(members[slot].name);
        uint64_t count = (uint64_t)members[slot].weight * vnodes;
        for (uint64_t j = 0; j < count; j++)
            *entries++ = place_of(hash_point(seed, j)) | slot;
    }
}

struct ring *ring_new(const struct ring_member *members, size_t n, unsigned vnodes, struct error *e)
{
    assert(n >= 1 && n <= 4096 && vnodes >= 1);
    uint64_t points = count_points(members, n, vnodes);
    if (points > RING_MAX_POINTS) {
        error_set(e, 0,
                  "a ring of %llu points (the sum of weight x vnodes) is too large, at most %d",
                  (unsigned long long)points, RING_MAX_POINTS);
        return NULL;
    }
    uint64_t *entries = malloc(points * sizeof *entries);
    if (entries == NULL) {
        error_set(e, ENOMEM, "no memory for a ring of %llu points", (unsigned long long)points);
        return NULL;
    }
    make_points(members, n, vnodes, entries);
    struct ring *r = ring_from_entries(entries, points, n, e);
    free(entries);
    return r;
}

void ring_free(struct ring *r)
{
    free(r);
}

size_t ring_points(const struct ring *r)
{
    return r->n;
}

size_t ring_slots(const struct ring *r)
{
    return r->nslots;
}

size_t ring_memory(const struct ring *r)
{
    return r->bytes;
}

const uint64_t *ring_entries(const struct ring *r)
{
    return r->entry;
}

/* ---- looking up ---- */

/* How many of the WINDOW entries from e on are below a place. As they are sorted, this is the index
 * of the first one that is not. */
static inline size_t count_below(const uint64_t *e, uint64_t place)
{
    size_t count = 0;
    for (size_t i = 0; i < WINDOW; i++)
        count += e[i] < place;
    return count;
}

/* The index of the first entry at or after a place; n if there is none. The loop ends at the guards
 * at the latest. */
static inline size_t seek(const struct ring *r, uint64_t place)
{
    const uint64_t *e = r->entry + r->first[bucket_of(r, place)];
    size_t below = count_below(e, place);
    while (__builtin_expect(below == WINDOW, 0)) {
        e += WINDOW;
        below = count_below(e, place);
    }
    return (size_t)(e - r->entry) + below;
}

size_t ring_first_at_place(const struct ring *r, size_t i)
{
    while (i > 0 && place_of(r->entry[i - 1]) == place_of(r->entry[i]))
        i--;
    return i;
}

unsigned ring_find(const struct ring *r, uint64_t hash)
{
    uint64_t key = place_of(hash);
    size_t i = seek(r, key);
    const uint64_t *at = r->entry + i;
    uint64_t before = at[-1];
    uint64_t after = i == r->n ? r->entry[0] : at[0];
    bool back = key - place_of(before) <= place_of(after) - key;
    /* seek() finds the first entry of the place after the key, but the last one of the place before
     * it: there the first name in byte order has to be looked up */
    if (__builtin_expect(r->duplicates, 0) && back)
        before = r->entry[ring_first_at_place(r, i == 0 ? r->n - 1 : i - 1)];
    return slot_of(back ? before : after);
}

/* Visits points in order of their distance from the key. The entries not visited yet are the `rest`
 * entries from `right` forward around the circle to `left`.
 *
 * Of several entries at one position the lowest slot must be visited first. Going right, that is
 * the order of the array. Going left, the loop therefore takes all entries of a position at once.
 * The two directions cannot both visit a part of one position: entries at one position have the
 * same distance, so the walk finishes a position before the other side becomes nearer. */
unsigned ring_walk(const struct ring *r, uint64_t hash, ring_live_fn *live, const void *arg)
{
    uint64_t key = place_of(hash);
    size_t i = seek(r, key);
    size_t right = i == r->n ? 0 : i; /* the next entry to visit on the right */
    size_t left = i == 0 ? r->n : i;  /* left - 1 is the next entry to visit on the left */
    for (size_t rest = r->n; rest > 0;) {
        uint64_t back = key - place_of(r->entry[left - 1]);
        uint64_t ahead = place_of(r->entry[right]) - key;
        if (back <= ahead) {
            size_t first = ring_first_at_place(r, left - 1);
            for (size_t k = first; k < left; k++)
                if (live(arg, slot_of(r->entry[k])))
                    return slot_of(r->entry[k]);
            assert(rest >= left - first);
            rest -= left - first;
            left = first == 0 ? r->n : first;
        } else {
            if (live(arg, slot_of(r->entry[right])))
                return slot_of(r->entry[right]);
            rest--;
            right = right + 1 == r->n ? 0 : right + 1;
        }
    }
    return RING_NONE;
}

/* ---- measuring ---- */

void ring_shares(const struct ring *r, const uint16_t *owner_of, uint64_t *out, size_t nowners)
{
    struct arcs a;
    memset(out, 0, nowners * sizeof *out);
    arcs_open(&a, r, owner_of);
    for (int64_t at = 0; at < (int64_t)RING_SPACE; arcs_seek(&a, at)) {
        if (a.now.owner != RING_NONE) {
            assert(a.now.owner < nowners);
            out[a.now.owner] += (uint64_t)(a.end - at);
        }
        at = a.end;
    }
}

uint64_t ring_moved(const struct ring *r, const uint16_t *before, const uint16_t *after)
{
    struct arcs a, b;
    uint64_t moved = 0;
    arcs_open(&a, r, before);
    arcs_open(&b, r, after);
    /* both sequences at once, cut wherever either of them has the end of an arc */
    for (int64_t at = 0; at < (int64_t)RING_SPACE;) {
        int64_t end = a.end < b.end ? a.end : b.end;
        if (a.now.owner != b.now.owner)
            moved += (uint64_t)(end - at);
        at = end;
        arcs_seek(&a, at);
        arcs_seek(&b, at);
    }
    return moved;
}
