/* The ring against a reference that looks at every point, against rings without the dead members,
 * and against figures made with another implementation (docs/ring.md). */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/splitmix.h"
#include "ring/hash.h"
#include "ring/ring.h"
#include "ring/ring_internal.h"
#include "tests/lib/unit.h"

#define POSITION_MASK (RING_SPACE - 1)
#define HALF (RING_SPACE / 2)

/* ---- the reference: the definition, point by point ---- */

struct points {
    uint64_t entry[8192];
    size_t n;
    size_t nslots;
};

static uint64_t entry_of(uint64_t position, unsigned slot)
{
    return (position & POSITION_MASK) << 16 | slot;
}

static bool is_live(const void *arg, unsigned slot)
{
    return ((const bool *)arg)[slot];
}

/* Nearest first, then the point before the key, then the name that is first. */
static unsigned naive_find(const struct points *p, const bool *live, uint64_t position)
{
    uint64_t best_distance = UINT64_MAX;
    bool best_behind = false;
    unsigned best = RING_NONE;
    for (size_t i = 0; i < p->n; i++) {
        unsigned slot = p->entry[i] & 0xffff;
        if (!live[slot])
            continue;
        uint64_t back = (position - (p->entry[i] >> 16)) & POSITION_MASK;
        uint64_t ahead = ((p->entry[i] >> 16) - position) & POSITION_MASK;
        bool behind = ahead < back;
        uint64_t distance = behind ? ahead : back;
        if (distance > best_distance)
            continue;
        if (distance < best_distance || behind < best_behind ||
            (behind == best_behind && slot < best)) {
            best_distance = distance;
            best_behind = behind;
            best = slot;
        }
    }
    return best;
}

static unsigned naive_owner(const struct points *p, const uint16_t *owner_of, uint64_t position)
{
    bool live[4096];
    for (size_t i = 0; i < p->nslots; i++)
        live[i] = owner_of[i] != RING_NONE;
    unsigned slot = naive_find(p, live, position);
    return slot == RING_NONE ? RING_NONE : owner_of[slot];
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* All positions at which the owner can change, whoever is live: behind the middle between any two
 * points, both ways round, and around each point. Sorted, begins with 0 and ends with RING_SPACE.
 */
static size_t naive_cuts(const struct points *p, uint64_t *cut)
{
    size_t n = 0;
    cut[n++] = 0;
    for (size_t i = 0; i < p->n; i++) {
        uint64_t a = p->entry[i] >> 16;
        cut[n++] = a;
        cut[n++] = (a + 1) & POSITION_MASK;
        for (size_t j = 0; j < p->n; j++) {
            uint64_t gap = ((p->entry[j] >> 16) - a) & POSITION_MASK;
            cut[n++] = (a + gap / 2) & POSITION_MASK;
            cut[n++] = (a + gap / 2 + 1) & POSITION_MASK;
            cut[n++] = (a + gap / 2 + 1 + HALF) & POSITION_MASK;
        }
    }
    qsort(cut, n, sizeof *cut, compare_u64);
    cut[n++] = RING_SPACE;
    return n;
}

/* ---- random rings ---- */

static uint64_t random_state;

static uint64_t random_u64(void)
{
    return splitmix_next(&random_state);
}

static size_t random_below(size_t n)
{
    return (size_t)(random_u64() % n);
}

static struct ring *ring_of_points(const struct points *p)
{
    struct error e;
    struct ring *r = ring_from_entries(p->entry, p->n, p->nslots, &e);
    ck_assert_ptr_nonnull(r);
    ck_assert_uint_eq(ring_points(r), p->n);
    ck_assert_uint_eq(ring_slots(r), p->nslots);
    return r;
}

/* Up to 10 points, most of them in few places at the ends, the middle and next to each other. */
static void tiny_points(struct points *p)
{
    static const uint64_t places[] = {
        0, 1, 2, 3, HALF - 1, HALF, HALF + 1, RING_SPACE - 2, RING_SPACE - 1, HALF / 2};
    p->n = 1 + random_below(10);
    p->nslots = 1 + random_below(5);
    size_t variety = 1 + random_below(sizeof places / sizeof places[0] + 1);
    for (size_t i = 0; i < p->n; i++) {
        size_t k = random_below(variety);
        uint64_t position = k < sizeof places / sizeof places[0] ? places[k] : random_u64();
        p->entry[i] = entry_of(position, (unsigned)random_below(p->nslots));
    }
}

static void live_points(const struct points *p, const bool *live, struct points *out)
{
    out->n = 0;
    out->nslots = p->nslots;
    for (size_t i = 0; i < p->n; i++)
        if (live[p->entry[i] & 0xffff])
            out->entry[out->n++] = p->entry[i];
}

/* ---- members with names ---- */

struct member_list {
    struct ring_member member[4096];
    char name[4096][8];
    size_t n;
};

static struct member_list list; /* of the test that runs */

/* Members must come in ascending order of their numbers. */
static void add_member(unsigned number, uint32_t weight)
{
    snprintf(list.name[list.n], sizeof list.name[0], "n%05u", number % 100000);
    list.member[list.n] = (struct ring_member){str_of(list.name[list.n]), weight};
    list.n++;
}

static void set_members(size_t n, uint32_t weight)
{
    list.n = 0;
    for (unsigned i = 0; i < n; i++)
        add_member(i, weight);
}

static struct ring *ring_of_members(const struct ring_member *members, size_t n, unsigned vnodes)
{
    struct error e;
    struct ring *r = ring_new(members, n, vnodes, &e);
    ck_assert_ptr_nonnull(r);
    return r;
}

static struct ring *ring_of_list(unsigned vnodes)
{
    return ring_of_members(list.member, list.n, vnodes);
}

/* The points of the list as docs/ring.md, Definition, has them. */
static void list_points(unsigned vnodes, struct points *p)
{
    p->n = 0;
    p->nslots = list.n;
    for (size_t slot = 0; slot < list.n; slot++) {
        uint64_t seed = hash_key(list.member[slot].name);
        for (uint64_t j = 0; j < (uint64_t)list.member[slot].weight * vnodes; j++)
            p->entry[p->n++] = entry_of(hash_point(seed, j) >> 16, (unsigned)slot);
    }
}

static uint16_t *own_slots(size_t n)
{
    uint16_t *owner = mem_zalloc_array(n, sizeof *owner);
    for (size_t i = 0; i < n; i++)
        owner[i] = (uint16_t)i;
    return owner;
}

/* ---- finding ---- */

static bool all_live[4096];        /* set in main() */
static struct points points, rest; /* too large for the stack with sanitizers */
static uint64_t cuts[3 * 8192];

START_TEST(find_agrees_with_the_definition_on_tiny_rings)
{
    for (int round = 0; round < 3000; round++) {
        tiny_points(&points);
        struct ring *r = ring_of_points(&points);
        size_t ncuts = naive_cuts(&points, cuts);
        for (size_t i = 0; i + 1 < ncuts; i++) {
            uint64_t hash = cuts[i] << 16 | (random_u64() & 0xffff);
            ck_assert_uint_eq(ring_find(r, hash), naive_find(&points, all_live, cuts[i]));
        }
        ring_free(r);
    }
}
END_TEST

START_TEST(find_agrees_with_the_definition_on_named_rings)
{
    for (int round = 0; round < 60; round++) {
        size_t n = 1 + random_below(12);
        unsigned vnodes = 1 + (unsigned)random_below(64);
        list.n = 0;
        for (unsigned i = 0; i < n; i++)
            add_member(i * 100 + (unsigned)random_below(100), 1 + (uint32_t)random_below(4));
        list_points(vnodes, &points);
        struct ring *r = ring_of_list(vnodes);
        ck_assert_uint_eq(ring_points(r), points.n);
        for (int i = 0; i < 500; i++) {
            uint64_t hash = random_u64();
            ck_assert_uint_eq(ring_find(r, hash), naive_find(&points, all_live, hash >> 16));
        }
        ring_free(r);
    }
}
END_TEST

START_TEST(crowded_stretches_are_searched_to_their_end)
{
    for (int round = 0; round < 30; round++) {
        points.n = 1 + random_below(800);
        points.nslots = 300;
        uint64_t base = random_u64(), width = 1 + random_below(600);
        for (size_t i = 0; i < points.n; i++)
            points.entry[i] = entry_of(base + random_below(width), (unsigned)random_below(300));
        struct ring *r = ring_of_points(&points);
        for (int i = 0; i < 400; i++) {
            uint64_t position = (base + random_below(width + 20) - 10) & POSITION_MASK;
            ck_assert_uint_eq(ring_find(r, position << 16),
                              naive_find(&points, all_live, position));
        }
        ring_free(r);
    }
}
END_TEST

START_TEST(one_point_owns_the_whole_circle)
{
    static const uint64_t places[] = {0, 1, HALF, RING_SPACE - 1, 12345678901};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        points = (struct points){.entry = {entry_of(places[i], 6)}, .n = 1, .nslots = 7};
        struct ring *r = ring_of_points(&points);
        ck_assert_uint_eq(ring_find(r, 0), 6);
        ck_assert_uint_eq(ring_find(r, UINT64_MAX), 6);
        ck_assert_uint_eq(ring_find(r, places[i] << 16), 6);
        ck_assert_uint_eq(ring_find(r, (places[i] ^ HALF) << 16), 6);
        ck_assert_uint_eq(ring_walk(r, random_u64(), is_live, all_live), 6);
        ring_free(r);
    }
}
END_TEST

START_TEST(ties_go_to_the_point_before_and_the_name_that_is_first)
{
    const uint64_t entries[] = {entry_of(100, 3), entry_of(200, 2), entry_of(200, 1),
                                entry_of(300, 0), entry_of(300, 3)};
    struct error e;
    struct ring *r = ring_from_entries(entries, 5, 4, &e);
    ck_assert_ptr_nonnull(r);
    ck_assert_uint_eq(ring_find(r, UINT64_C(150) << 16 | 0xffff), 3); /* as far from both */
    ck_assert_uint_eq(ring_find(r, UINT64_C(151) << 16), 1);
    ck_assert_uint_eq(ring_find(r, UINT64_C(200) << 16 | 0xffff), 1); /* on the point */
    ck_assert_uint_eq(ring_find(r, UINT64_C(250) << 16), 1);          /* back to the first of two */
    ck_assert_uint_eq(ring_find(r, UINT64_C(251) << 16), 0);
    /* across the cut, 300 is before 100: the middle between them is 200 + 2^47 */
    ck_assert_uint_eq(ring_find(r, (HALF + 200) << 16), 0);
    ck_assert_uint_eq(ring_find(r, (HALF + 201) << 16), 3);
    ring_free(r);
}
END_TEST

START_TEST(a_key_on_a_point_belongs_to_it)
{
    set_members(20, 1);
    struct ring *r = ring_of_list(64);
    for (unsigned slot = 0; slot < 20; slot++)
        for (uint64_t j = 0; j < 64; j++)
            ck_assert_uint_eq(ring_find(r, hash_point(hash_name(list.member[slot].name), j)), slot);
    ring_free(r);
}
END_TEST

/* ---- walking ---- */

START_TEST(walk_agrees_with_a_ring_without_the_dead_on_tiny_rings)
{
    for (int round = 0; round < 2000; round++) {
        bool live[5];
        tiny_points(&points);
        for (size_t i = 0; i < 5; i++)
            live[i] = random_below(3) > 0;
        live_points(&points, live, &rest);
        struct ring *r = ring_of_points(&points);
        struct ring *without = rest.n ? ring_of_points(&rest) : NULL;
        size_t ncuts = naive_cuts(&points, cuts);
        for (size_t i = 0; i + 1 < ncuts; i++) {
            uint64_t hash = cuts[i] << 16 | 0x5a5a;
            unsigned expected = without ? ring_find(without, hash) : RING_NONE;
            ck_assert_uint_eq(ring_walk(r, hash, is_live, live), expected);
            ck_assert_uint_eq(naive_find(&points, live, cuts[i]), expected);
        }
        ring_free(r);
        ring_free(without);
    }
}
END_TEST

START_TEST(walk_agrees_with_a_ring_of_the_other_members)
{
    static struct ring_member left[40];
    uint16_t slot_of_left[40];
    for (int round = 0; round < 20; round++) {
        bool live[40];
        size_t n = 0;
        set_members(40, 1 + (uint32_t)random_below(3));
        size_t odds = 1 + random_below(12); /* one in `odds` stays */
        for (unsigned i = 0; i < 40; i++) {
            live[i] = random_below(odds) == 0 || i == 17;
            if (live[i]) {
                slot_of_left[n] = (uint16_t)i;
                left[n++] = list.member[i];
            }
        }
        struct ring *r = ring_of_list(50), *without = ring_of_members(left, n, 50);
        for (int i = 0; i < 3000; i++) {
            uint64_t hash = random_u64();
            ck_assert_uint_eq(ring_walk(r, hash, is_live, live),
                              slot_of_left[ring_find(without, hash)]);
        }
        ring_free(r);
        ring_free(without);
    }
}
END_TEST

START_TEST(walk_with_all_live_is_find_and_with_none_is_none)
{
    static const bool none[8];
    set_members(8, 2);
    struct ring *r = ring_of_list(100);
    for (int i = 0; i < 5000; i++) {
        uint64_t hash = random_u64();
        ck_assert_uint_eq(ring_walk(r, hash, is_live, all_live), ring_find(r, hash));
        if (i < 10)
            ck_assert_uint_eq(ring_walk(r, hash, is_live, none), RING_NONE);
    }
    ring_free(r);
}
END_TEST

/* ---- what moves ---- */

/* Every key must keep its backend, named by its member, unless one of both rings has `changed` as
 * its owner. Returns how many keys moved. */
static size_t check_moves(const struct ring *a, const struct ring_member *in_a,
                          const struct ring *b, const struct ring_member *in_b, struct str changed)
{
    size_t moved = 0;
    for (int i = 0; i < 50000; i++) {
        uint64_t hash = random_u64();
        struct str from = in_a[ring_find(a, hash)].name, to = in_b[ring_find(b, hash)].name;
        if (str_eq(from, to))
            continue;
        ck_assert(str_eq(from, changed) || str_eq(to, changed));
        moved++;
    }
    return moved;
}

START_TEST(keys_of_other_backends_stay_when_one_leaves_or_joins)
{
    static struct ring_member fewer[29];
    for (unsigned gone = 0; gone < 30; gone += 29 - gone % 2 * 15) {
        set_members(30, 1);
        for (unsigned i = 0; i < 29; i++)
            fewer[i] = list.member[i + (i >= gone)];
        struct ring *all = ring_of_list(160), *without = ring_of_members(fewer, 29, 160);
        struct str name = list.member[gone].name;
        /* 1 in 30 of 50,000 is 1,667; the share of one backend varies by a few per cent */
        size_t left = check_moves(all, list.member, without, fewer, name);
        size_t joined = check_moves(without, fewer, all, list.member, name);
        ck_assert(left > 1000 && left < 2400);
        ck_assert(joined > 1000 && joined < 2400);
        ring_free(all);
        ring_free(without);
    }
}
END_TEST

START_TEST(a_greater_weight_takes_keys_and_moves_no_others)
{
    static struct ring_member heavier[10];
    set_members(10, 2);
    memcpy(heavier, list.member, sizeof heavier);
    heavier[4].weight = 3;
    struct ring *a = ring_of_list(160), *b = ring_of_members(heavier, 10, 160);
    size_t moved = 0;
    for (int i = 0; i < 100000; i++) {
        uint64_t hash = random_u64();
        unsigned before = ring_find(a, hash), after = ring_find(b, hash);
        ck_assert(before == after || after == 4);
        moved += before != after;
    }
    ck_assert(moved > 2000 && moved < 6000); /* 2/20 becomes 3/21: 4.3 % of all */
    ring_free(a);
    ring_free(b);
}
END_TEST

START_TEST(the_layout_depends_on_names_alone)
{
    static struct ring_member renamed[12];
    set_members(12, 1);
    memcpy(renamed, list.member, sizeof renamed);
    renamed[11].name = STR("zz"); /* still the last */
    struct ring *a = ring_of_list(160), *b = ring_of_members(renamed, 12, 160);
    size_t moved = 0;
    for (int i = 0; i < 50000; i++) {
        uint64_t hash = random_u64();
        unsigned before = ring_find(a, hash), after = ring_find(b, hash);
        ck_assert(before == after || before == 11 || after == 11);
        moved += before != after;
    }
    ck_assert(moved > 4000); /* nearly 2/12 of 50,000: the name made the points, not the slot */
    ring_free(a);
    ring_free(b);
}
END_TEST

/* ---- shares ---- */

START_TEST(shares_and_moves_agree_with_every_stretch_of_tiny_rings)
{
    static const uint16_t choice[] = {0, 1, 2, RING_NONE};
    for (int round = 0; round < 2000; round++) {
        uint16_t before[5], after[5];
        uint64_t expected[3] = {0}, expected_moved = 0, share[3] = {1, 2, 3};
        tiny_points(&points);
        for (size_t i = 0; i < 5; i++) {
            before[i] = choice[random_below(4)];
            after[i] = random_below(2) ? before[i] : choice[random_below(4)];
        }
        size_t ncuts = naive_cuts(&points, cuts);
        for (size_t i = 0; i + 1 < ncuts; i++) {
            if (cuts[i] == cuts[i + 1])
                continue;
            unsigned a = naive_owner(&points, before, cuts[i]);
            unsigned b = naive_owner(&points, after, cuts[i]);
            if (a != RING_NONE)
                expected[a] += cuts[i + 1] - cuts[i];
            if (a != b)
                expected_moved += cuts[i + 1] - cuts[i];
        }
        struct ring *r = ring_of_points(&points);
        ring_shares(r, before, share, 3);
        ck_assert_mem_eq(share, expected, sizeof share);
        ck_assert_uint_eq(ring_moved(r, before, after), expected_moved);
        ck_assert_uint_eq(ring_moved(r, after, before), expected_moved);
        ck_assert_uint_eq(ring_moved(r, after, after), 0);
        ring_free(r);
    }
}
END_TEST

START_TEST(shares_agree_with_every_stretch_of_a_named_ring)
{
    static const uint16_t owner_of[6] = {0, 1, RING_NONE, 3, 1, RING_NONE};
    uint64_t expected[4] = {0}, share[4];
    set_members(6, 1);
    list_points(14, &points);
    size_t ncuts = naive_cuts(&points, cuts);
    for (size_t i = 0; i + 1 < ncuts; i++)
        if (cuts[i] < cuts[i + 1])
            expected[naive_owner(&points, owner_of, cuts[i])] += cuts[i + 1] - cuts[i];
    struct ring *r = ring_of_list(14);
    ring_shares(r, owner_of, share, 4);
    ck_assert_mem_eq(share, expected, sizeof share);
    ck_assert_uint_eq(share[2], 0);
    ring_free(r);
}
END_TEST

static uint64_t sum_of(const uint64_t *v, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += v[i];
    return sum;
}

START_TEST(shares_sum_to_the_whole_circle)
{
    uint64_t share[64];
    uint16_t *owner = own_slots(64);
    for (unsigned n = 1; n <= 64; n += 7) {
        set_members(n, 1);
        struct ring *r = ring_of_list(97);
        ring_shares(r, owner, share, n);
        ck_assert_uint_eq(sum_of(share, n), RING_SPACE);
        ring_free(r);
    }
    free(owner);
}
END_TEST

START_TEST(nobody_has_no_share_and_is_an_owner_of_its_own)
{
    uint16_t nobody[3] = {RING_NONE, RING_NONE, RING_NONE}, some[3] = {0, RING_NONE, 2};
    uint64_t share[3] = {7, 7, 7};
    set_members(3, 1);
    struct ring *r = ring_of_list(10);
    ring_shares(r, nobody, share, 3);
    ck_assert_uint_eq(sum_of(share, 3), 0);
    ck_assert_uint_eq(ring_moved(r, nobody, nobody), 0);
    ck_assert_uint_eq(ring_moved(r, nobody, some), RING_SPACE);
    ck_assert_uint_eq(ring_moved(r, some, nobody), RING_SPACE);
    ring_free(r);
}
END_TEST

START_TEST(a_failure_moves_exactly_the_failed_share)
{
    uint64_t share[40], moved_share[41];
    uint16_t *owner = own_slots(40), *after = own_slots(40);
    set_members(40, 1);
    struct ring *r = ring_of_list(160);
    ring_shares(r, owner, share, 40);
    for (unsigned i = 0; i < 40; i++) {
        after[i] = RING_NONE; /* its keys go to the next owners */
        ck_assert_uint_eq(ring_moved(r, owner, after), share[i]);
        after[i] = 40; /* a standby takes all */
        ck_assert_uint_eq(ring_moved(r, owner, after), share[i]);
        ring_shares(r, after, moved_share, 41);
        ck_assert_uint_eq(moved_share[40], share[i]);
        after[i] = (uint16_t)i;
    }
    ring_free(r);
    free(owner);
    free(after);
}
END_TEST

/* With v points a backend the shares have a relative standard deviation of 1/sqrt(2v): half the
 * variance of the clockwise rule. 1,000 backends pin it down to about 3 %; 10 % are allowed. */
START_TEST(balance_is_that_of_the_nearest_point)
{
    static const unsigned vnodes[] = {40, 160, 512};
    uint64_t share[1000];
    uint16_t *owner = own_slots(1000);
    set_members(1000, 1);
    for (size_t k = 0; k < 3; k++) {
        struct ring *r = ring_of_list(vnodes[k]);
        double squares = 0;
        ring_shares(r, owner, share, 1000);
        for (size_t i = 0; i < 1000; i++) {
            double d = (double)share[i] * 1000 / (double)RING_SPACE - 1;
            squares += d * d;
        }
        double ratio = squares / 1000 * 2 * vnodes[k]; /* of variances */
        ck_assert_double_gt(ratio, 0.81);
        ck_assert_double_lt(ratio, 1.21);
        ring_free(r);
    }
    free(owner);
}
END_TEST

START_TEST(weights_are_honoured)
{
    uint64_t share[30], by_weight[3] = {0};
    uint16_t *owner = own_slots(30);
    list.n = 0;
    for (unsigned i = 0; i < 30; i++)
        add_member(i, 1u << i % 3);
    struct ring *r = ring_of_list(512);
    ck_assert_uint_eq(ring_points(r), 10 * 7 * 512);
    ring_shares(r, owner, share, 30);
    for (size_t i = 0; i < 30; i++) {
        double relative = (double)share[i] * 70 / (double)RING_SPACE / (1u << i % 3);
        ck_assert_double_gt(relative, 0.88); /* 4 standard deviations at weight 1 */
        ck_assert_double_lt(relative, 1.12);
        by_weight[i % 3] += share[i];
    }
    for (size_t k = 0; k < 3; k++) {
        double relative = (double)by_weight[k] * 7 / (double)RING_SPACE / (1u << k);
        ck_assert_double_gt(relative, 0.96);
        ck_assert_double_lt(relative, 1.04);
    }
    ring_free(r);
    free(owner);
}
END_TEST

/* ---- sizes ---- */

START_TEST(too_many_points_are_an_error_and_the_limit_is_not)
{
    struct error e = {0};
    set_members(4096, 1);
    ck_assert_ptr_null(ring_new(list.member, 4096, 1025, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "4198400"));
    ck_assert_ptr_nonnull(strstr(e.text, "4194304"));
    set_members(4096, 256);
    ck_assert_ptr_null(ring_new(list.member, 4096, 4096, &e)); /* 2^32 points */
    ck_assert_ptr_nonnull(strstr(e.text, "4294967296"));

    set_members(4096, 1);
    struct ring *r = ring_of_list(1024);
    ck_assert_uint_eq(ring_points(r), RING_MAX_POINTS);
    ck_assert_uint_eq(ring_slots(r), 4096);
    for (unsigned slot = 0; slot < 4096; slot += 5) {
        uint64_t hash = hash_point(hash_name(list.member[slot].name), slot % 1024);
        ck_assert_uint_eq(ring_find(r, hash), slot);
    }
    ring_free(r);
}
END_TEST

START_TEST(a_point_takes_at_most_nine_bytes)
{
    static const unsigned sizes[][2] = {{5, 160}, {5, 512}, {100, 160}, {1000, 512}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        set_members(sizes[i][0], 1);
        struct ring *r = ring_of_list(sizes[i][1]);
        ck_assert_uint_le(ring_memory(r), 9 * ring_points(r));
        ck_assert_uint_ge(ring_memory(r), 8 * ring_points(r));
        ring_free(r);
    }
    ring_free(NULL);
}
END_TEST

/* ---- version 1, frozen ---- */

static const struct ring_member frozen_members[] = {{{"b1", 2}, 1}, {{"b2", 2}, 2}, {{"b3", 2}, 1}};
static const bool without_b2[] = {true, false, true};

START_TEST(keys_have_their_frozen_owners)
{
    static const struct {
        const char *key;
        unsigned of_4, of_4_without_b2, of_512, of_512_without_b2;
    } frozen[] = {
        {"", 0, 0, 1, 2},         {"a", 2, 2, 0, 0},
        {"user:42", 1, 0, 1, 2},  {"/index.html", 1, 0, 1, 0},
        {"key-0", 1, 0, 2, 2},    {"key-1", 0, 0, 2, 2},
        {"\xc3\xa9", 1, 2, 1, 0},
    };
    struct ring *r4 = ring_of_members(frozen_members, 3, 4);
    struct ring *r512 = ring_of_members(frozen_members, 3, 512);
    for (size_t i = 0; i < sizeof frozen / sizeof frozen[0]; i++) {
        uint64_t hash = hash_key(str_of(frozen[i].key));
        ck_assert_uint_eq(ring_find(r4, hash), frozen[i].of_4);
        ck_assert_uint_eq(ring_walk(r4, hash, is_live, without_b2), frozen[i].of_4_without_b2);
        ck_assert_uint_eq(ring_find(r512, hash), frozen[i].of_512);
        ck_assert_uint_eq(ring_walk(r512, hash, is_live, without_b2), frozen[i].of_512_without_b2);
    }
    ring_free(r4);
    ring_free(r512);
}
END_TEST

START_TEST(shares_have_their_frozen_sizes)
{
    static const struct {
        unsigned vnodes;
        uint16_t b2;
        uint64_t share[3];
    } frozen[] = {
        {4, 1, {73523552252624, 134087570118717, 73863854339315}},
        {4, RING_NONE, {142266532164940, 0, 139208444545716}},
        {512, 1, {68207670823026, 140564860284640, 72702445602990}},
        {512, RING_NONE, {137698251739502, 0, 143776724971154}},
    };
    for (size_t i = 0; i < sizeof frozen / sizeof frozen[0]; i++) {
        uint16_t owner_of[3] = {0, frozen[i].b2, 2};
        uint64_t share[3];
        struct ring *r = ring_of_members(frozen_members, 3, frozen[i].vnodes);
        ring_shares(r, owner_of, share, 3);
        ck_assert_mem_eq(share, frozen[i].share, sizeof share);
        ring_free(r);
    }
}
END_TEST

/* The names of the owners of key-0 to key-1999 one after another, hashed. */
START_TEST(two_thousand_keys_have_their_frozen_owners)
{
    char up[4000], down[4000];
    struct ring *r = ring_of_members(frozen_members, 3, 512);
    for (unsigned i = 0; i < 2000; i++) {
        char key[16];
        snprintf(key, sizeof key, "key-%u", i);
        uint64_t hash = hash_key(str_of(key));
        memcpy(up + 2 * i, frozen_members[ring_find(r, hash)].name.p, 2);
        memcpy(down + 2 * i, frozen_members[ring_walk(r, hash, is_live, without_b2)].name.p, 2);
    }
    ck_assert_uint_eq(hash_key((struct str){up, sizeof up}), 0x53b569034dc9e781);
    ck_assert_uint_eq(hash_key((struct str){down, sizeof down}), 0x0e7289ec02245e91);
    ring_free(r);
}
END_TEST

static Suite *ring_suite(void)
{
    Suite *s = suite_create("ring");
    TCase *t = tcase_create("ring");
    tcase_set_timeout(t, 100);
    tcase_add_test(t, find_agrees_with_the_definition_on_tiny_rings);
    tcase_add_test(t, find_agrees_with_the_definition_on_named_rings);
    tcase_add_test(t, crowded_stretches_are_searched_to_their_end);
    tcase_add_test(t, one_point_owns_the_whole_circle);
    tcase_add_test(t, ties_go_to_the_point_before_and_the_name_that_is_first);
    tcase_add_test(t, a_key_on_a_point_belongs_to_it);
    tcase_add_test(t, walk_agrees_with_a_ring_without_the_dead_on_tiny_rings);
    tcase_add_test(t, walk_agrees_with_a_ring_of_the_other_members);
    tcase_add_test(t, walk_with_all_live_is_find_and_with_none_is_none);
    tcase_add_test(t, keys_of_other_backends_stay_when_one_leaves_or_joins);
    tcase_add_test(t, a_greater_weight_takes_keys_and_moves_no_others);
    tcase_add_test(t, the_layout_depends_on_names_alone);
    tcase_add_test(t, shares_and_moves_agree_with_every_stretch_of_tiny_rings);
    tcase_add_test(t, shares_agree_with_every_stretch_of_a_named_ring);
    tcase_add_test(t, shares_sum_to_the_whole_circle);
    tcase_add_test(t, nobody_has_no_share_and_is_an_owner_of_its_own);
    tcase_add_test(t, a_failure_moves_exactly_the_failed_share);
    tcase_add_test(t, balance_is_that_of_the_nearest_point);
    tcase_add_test(t, weights_are_honoured);
    tcase_add_test(t, too_many_points_are_an_error_and_the_limit_is_not);
    tcase_add_test(t, a_point_takes_at_most_nine_bytes);
    tcase_add_test(t, keys_have_their_frozen_owners);
    tcase_add_test(t, shares_have_their_frozen_sizes);
    tcase_add_test(t, two_thousand_keys_have_their_frozen_owners);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    random_state = 20260101;
    for (size_t i = 0; i < 4096; i++)
        all_live[i] = true;
    return unit_main(ring_suite);
}
