/* One block of memory holds everything:
 *
 *   struct | guard | entry[0] .. entry[n-1] | WINDOW guards | first[0] .. first[nbuckets-1]
 *
 * `first` cuts the circle into equal buckets and says where in `entry` each begins. A lookup reads
 * one word of it, counts how many of the next WINDOW entries lie below the key, and has the points
 * on both sides. The count has no branches, so that the processor can overlap many lookups; a
 * bucket that holds more than WINDOW is rare enough for its branch to be foreseen. The guards make
 * both ends of the array ordinary: entry[-1] repeats the last entry, which is the point before the
 * first, and those behind the end are above every key. */
#include "ring/ring.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ring/hash.h"
#include "ring/ring_internal.h"

#define WINDOW 8          /* a cache line of entries */
#define POINTS_A_BUCKET 5 /* mean: 8 + 4/5 bytes a point, and a window reaches far enough */
#define SMALL_BUCKET 32   /* above it insertion sort would be slow */
#define SLOT_MASK 0xffffu
#define PLACE_MASK (~(uint64_t)SLOT_MASK)

struct ring {
    size_t n, nslots, nbuckets, bytes;
    bool twins; /* two entries stand in one place somewhere */
    uint64_t *entry;
    uint32_t *first;
    uint64_t words[];
};

/* A place is a position in the upper 48 bits of a word, as in an entry: arithmetic on it wraps
 * around the circle by itself. */
static inline uint64_t place_of(uint64_t word)
{
    return word & PLACE_MASK;
}

static inline unsigned slot_of(uint64_t entry)
{
    return entry & SLOT_MASK;
}

/* Monotonic in the word, so buckets follow each other as entries do. */
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

/* Points are spread evenly, so dealing them out to the buckets of the index nearly sorts them. */
static void sort_entries(struct ring *r, const uint64_t *entries)
{
    memset(r->first, 0, r->nbuckets * sizeof *r->first);
    for (size_t i = 0; i < r->n; i++)
        r->first[bucket_of(r, entries[i])]++;
    for (size_t b = 1; b < r->nbuckets; b++)
        r->first[b] += r->first[b - 1];
    /* first[b] is the end of bucket b and comes down to its beginning as it fills */
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

static bool has_twins(const struct ring *r)
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
    r->twins = has_twins(r);
    return r;
}

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

/* ---- looking up ---- */

/* How many of the WINDOW entries from e on lie below a place: as e is sorted, where it would
 * stand. */
static inline size_t count_below(const uint64_t *e, uint64_t place)
{
    size_t count = 0;
    for (size_t i = 0; i < WINDOW; i++)
        count += e[i] < place;
    return count;
}

/* The index of the first entry at a place or behind it; n if there is none. */
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

/* The first entry, and so the lowest slot, in the place of entry i. */
static size_t first_twin(const struct ring *r, size_t i)
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
    uint64_t behind = i == r->n ? r->entry[0] : at[0];
    bool back = key - place_of(before) <= place_of(behind) - key;
    if (__builtin_expect(r->twins, 0) && back)
        before = r->entry[first_twin(r, i == 0 ? r->n - 1 : i - 1)];
    return slot_of(back ? before : behind);
}

/* What is left to be seen runs from `right` forward to `left`, `rest` entries around the circle.
 * The left side takes a place as a whole, because its lowest slot comes last from there. A place
 * can't have been begun from the right: which side is nearer changes only when a place is done. */
unsigned ring_walk(const struct ring *r, uint64_t hash, ring_live_fn *live, const void *arg)
{
    uint64_t key = place_of(hash);
    size_t i = seek(r, key);
    size_t right = i == r->n ? 0 : i; /* next to be seen */
    size_t left = i == 0 ? r->n : i;  /* the last one seen */
    for (size_t rest = r->n; rest > 0;) {
        uint64_t back = key - place_of(r->entry[left - 1]);
        uint64_t ahead = place_of(r->entry[right]) - key;
        if (back <= ahead) {
            size_t first = first_twin(r, left - 1);
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

/* The circle cut open at 0 and seen as arcs from left to right, each with one owner: positions
 * below `end` that were not in an arc before belong to now.owner. To the left of 0 stands the
 * last point, to the right of RING_SPACE the first one again, each a turn away. */
struct site {
    int64_t position;
    unsigned owner;
};

struct arcs {
    const struct ring *ring;
    const uint16_t *owner_of;
    size_t i; /* entries below it are done; from ring->n on those of the next turn */
    struct site now, next;
    int64_t end;
};

static unsigned owner_at(const struct arcs *a, size_t i)
{
    return a->owner_of[slot_of(a->ring->entry[i])];
}

/* Sets `next` to the first site with an owner to the right of `now`. There must be one. */
static void arcs_look(struct arcs *a)
{
    size_t n = a->ring->n;
    for (;; a->i++) {
        size_t turn = a->i >= n;
        size_t i = a->i - turn * n;
        int64_t position = (int64_t)(a->ring->entry[i] >> 16) + (int64_t)(turn * RING_SPACE);
        unsigned owner = owner_at(a, i);
        if (owner != RING_NONE && position > a->now.position) {
            a->next = (struct site){position, owner};
            return;
        }
    }
}

/* An arc ends behind the middle of the way to the next site: the middle is still its own. */
static void arcs_bound(struct arcs *a)
{
    if (a->now.position >= (int64_t)RING_SPACE) {
        a->end = RING_SPACE;
        return;
    }
    arcs_look(a);
    int64_t end = a->now.position + (a->next.position - a->now.position) / 2 + 1;
    a->end = end < (int64_t)RING_SPACE ? end : (int64_t)RING_SPACE;
}

/* Moves on to the arc that `position`, at or behind the present one's end, lies in. */
static void arcs_seek(struct arcs *a, int64_t position)
{
    while (a->end <= position && position < (int64_t)RING_SPACE) {
        a->now = a->next;
        arcs_bound(a);
    }
}

static void arcs_open(struct arcs *a, const struct ring *r, const uint16_t *owner_of)
{
    *a = (struct arcs){.ring = r, .owner_of = owner_of};
    size_t i = r->n;
    while (i > 0 && owner_at(a, i - 1) == RING_NONE)
        i--;
    if (i == 0) {
        a->now.owner = RING_NONE;
        a->end = RING_SPACE;
        return;
    }
    for (i = first_twin(r, i - 1); owner_at(a, i) == RING_NONE;)
        i++;
    a->now.position = (int64_t)(r->entry[i] >> 16) - (int64_t)RING_SPACE;
    a->now.owner = owner_at(a, i);
    arcs_bound(a);
    arcs_seek(a, 0);
}

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
