/* Plans and heirs against a count over every stretch in which no owner can change, against
 * ring_shares() and ring_moved(), and by what must hold of any plan. */
#include "ring/plan.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/splitmix.h"
#include "ring/heirs.h"
#include "ring/ring_internal.h"
#include "tests/lib/unit.h"

#define MASK (RING_SPACE - 1)
#define HALF (RING_SPACE / 2)
#define MAX_POINTS 10
#define MAX_SLOTS 5
#define NIDS 6

static uint64_t random_state = 7;

static size_t random_below(size_t n)
{
    return (size_t)(splitmix_next(&random_state) % n);
}

/* ---- the reference ---- */

struct tiny {
    uint64_t entry[MAX_POINTS];
    size_t n, nslots;
    uint16_t owner_of[MAX_SLOTS];
    struct ring *ring;
};

/* Up to 10 points, most of them in few places at the ends, the middle and next to each other. Each
 * slot has one of NIDS owners, nobody (NIDS), or none. */
static void make_tiny(struct tiny *t)
{
    static const uint64_t places[] = {
        0, 1, 2, 3, HALF - 1, HALF, HALF + 1, RING_SPACE - 2, RING_SPACE - 1, HALF / 2};
    const size_t nplaces = sizeof places / sizeof places[0];
    struct error e;
    t->n = 1 + random_below(MAX_POINTS);
    t->nslots = 1 + random_below(MAX_SLOTS);
    size_t variety = 1 + random_below(nplaces + 1);
    for (size_t i = 0; i < t->n; i++) {
        size_t k = random_below(variety);
        uint64_t position = k < nplaces ? places[k] : splitmix_next(&random_state) & MASK;
        t->entry[i] = position << 16 | random_below(t->nslots);
    }
    for (size_t i = 0; i < t->nslots; i++)
        t->owner_of[i] = random_below(3) ? (uint16_t)random_below(NIDS + 1) : RING_NONE;
    t->ring = ring_from_entries(t->entry, t->n, t->nslots, &e);
    ck_assert_ptr_nonnull(t->ring);
}

static bool has_owner(const void *arg, unsigned slot)
{
    return ((const uint16_t *)arg)[slot] != RING_NONE;
}

static unsigned owner_at(const struct tiny *t, uint64_t position)
{
    unsigned slot = ring_walk(t->ring, position << 16, has_owner, t->owner_of);
    return slot == RING_NONE ? NIDS : t->owner_of[slot];
}

/* All positions at which an owner can change: at and behind each point, and behind the middle
 * between any two, both ways round. */
static size_t add_cuts(const struct tiny *t, uint64_t *cut, size_t n)
{
    for (size_t i = 0; i < t->n; i++)
        for (size_t j = 0; j < t->n; j++) {
            uint64_t a = t->entry[i] >> 16, gap = ((t->entry[j] >> 16) - a) & MASK;
            const uint64_t around[] = {a, a + gap / 2, a + gap / 2 + HALF};
            for (size_t k = 0; k < 3; k++)
                for (uint64_t d = 0; d < 3; d++)
                    cut[n++] = (around[k] + d - 1) & MASK;
        }
    return n;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t count[NIDS + 1][NIDS + 1];

static void count_all(const struct tiny *a, const struct tiny *b)
{
    static uint64_t cut[2 * 9 * MAX_POINTS * MAX_POINTS + 2];
    size_t n = add_cuts(b, cut, add_cuts(a, cut, 0));
    cut[n++] = 0;
    qsort(cut, n, sizeof *cut, compare_u64);
    cut[n++] = RING_SPACE;
    memset(count, 0, sizeof count);
    for (size_t i = 0; i + 1 < n; i++)
        if (cut[i] < cut[i + 1])
            count[owner_at(a, cut[i])][owner_at(b, cut[i])] += cut[i + 1] - cut[i];
}

static uint64_t moved_between(const struct ring_plan *p, unsigned from, unsigned to)
{
    uint64_t positions = 0;
    for (size_t i = 0; i < p->nmoves; i++)
        if (p->moves[i].from == from && p->moves[i].to == to)
            positions += p->moves[i].positions;
    return positions;
}

/* ---- what must hold of any plan ---- */

static void check_plan(const struct ring_plan *p, size_t nids)
{
    uint64_t before = 0, after = 0, moved = 0, gained = 0;
    int64_t *balance = mem_zalloc_array(nids + 1, sizeof *balance);
    for (size_t i = 0; i < p->nmoves; i++) {
        const struct ring_move *m = &p->moves[i];
        ck_assert_uint_ne(m->from, m->to);
        ck_assert_uint_gt(m->positions, 0);
        if (i > 0)
            ck_assert_uint_ge(p->moves[i - 1].positions, m->positions);
        balance[m->from] -= (int64_t)m->positions;
        balance[m->to] += (int64_t)m->positions;
        moved += m->positions;
    }
    for (size_t id = 0; id <= nids; id++) {
        before += p->before[id];
        after += p->after[id];
        ck_assert_int_eq((int64_t)(p->after[id] - p->before[id]), balance[id]);
        gained += balance[id] > 0 ? (uint64_t)balance[id] : 0;
    }
    ck_assert_uint_eq(before, RING_SPACE);
    ck_assert_uint_eq(after, RING_SPACE);
    ck_assert_uint_eq(moved, p->moved);
    ck_assert_uint_eq(gained, p->least);
    ck_assert_uint_le(p->least, p->moved);
    free(balance);
}

static struct ring_plan plan_of(const struct ring *a, const uint16_t *owner_a, const struct ring *b,
                                const uint16_t *owner_b, size_t nids)
{
    struct ring_layout before = {a, owner_a}, after = {b, owner_b};
    struct ring_plan p;
    ring_plan(&before, &after, nids, &p);
    check_plan(&p, nids);
    struct ring_plan sums;
    ring_plan_sums(&before, &after, nids, &sums);
    ck_assert_uint_eq(sums.moved, p.moved);
    ck_assert_uint_eq(sums.least, p.least);
    ck_assert_mem_eq(sums.before, p.before, (nids + 1) * sizeof *p.before);
    ck_assert_mem_eq(sums.after, p.after, (nids + 1) * sizeof *p.after);
    ring_plan_deinit(&sums);
    return p;
}

START_TEST(each_pair_of_owners_moves_what_a_count_over_the_circle_finds)
{
    for (int round = 0; round < 1500; round++) {
        struct tiny a, b;
        make_tiny(&a);
        make_tiny(&b);
        struct ring_plan p = plan_of(a.ring, a.owner_of, b.ring, b.owner_of, NIDS);
        count_all(&a, &b);
        for (unsigned from = 0; from <= NIDS; from++) {
            uint64_t before = 0, after = 0;
            for (unsigned to = 0; to <= NIDS; to++) {
                before += count[from][to];
                after += count[to][from];
                if (from != to)
                    ck_assert_uint_eq(moved_between(&p, from, to), count[from][to]);
            }
            ck_assert_uint_eq(p.before[from], before);
            ck_assert_uint_eq(p.after[from], after);
        }
        ring_plan_deinit(&p);
        ring_free(a.ring);
        ring_free(b.ring);
    }
}
END_TEST

START_TEST(on_one_ring_a_plan_is_what_ring_moved_and_ring_shares_say)
{
    for (int round = 0; round < 500; round++) {
        struct tiny a;
        uint16_t other[MAX_SLOTS];
        uint64_t shares[NIDS + 1];
        make_tiny(&a);
        for (size_t i = 0; i < a.nslots; i++)
            other[i] = random_below(3) ? (uint16_t)random_below(NIDS) : RING_NONE;
        struct ring_plan p = plan_of(a.ring, a.owner_of, a.ring, other, NIDS);
        /* ring_moved() tells keys without an owner from those of nobody; here they are one */
        ring_shares(a.ring, other, shares, NIDS + 1);
        for (size_t id = 0; id < NIDS; id++)
            ck_assert_uint_eq(p.after[id], shares[id]);
        bool named = true;
        for (size_t i = 0; i < a.nslots; i++)
            named = named && a.owner_of[i] != NIDS;
        if (named)
            ck_assert_uint_eq(p.moved, ring_moved(a.ring, a.owner_of, other));
        ring_plan_deinit(&p);
        ring_free(a.ring);
    }
}
END_TEST

/* ---- heirs ---- */

/* Against a pass over the whole ring without the slots that are out. */
static void check_heirs(const struct ring *r, struct ring_heirs *h, const uint16_t *out, size_t n)
{
    size_t nslots = ring_slots(r);
    uint16_t *owner = mem_zalloc_array(nslots, sizeof *owner);
    uint16_t *heir = mem_zalloc_array(nslots, sizeof *heir);
    uint64_t *shares = mem_zalloc_array(nslots, sizeof *shares);
    uint64_t *gain = mem_zalloc_array(nslots, sizeof *gain);
    for (size_t i = 0; i < nslots; i++)
        owner[i] = (uint16_t)i;
    for (size_t i = 0; i < n; i++)
        owner[out[i]] = RING_NONE;
    ring_shares(r, owner, shares, nslots);
    size_t nheirs = ring_heirs_find(h, out, n, gain, heir), gaining = 0;
    for (size_t i = 0; i < nslots; i++) {
        gaining += gain[i] > 0;
        if (owner[i] != RING_NONE)
            ck_assert_uint_eq(ring_heirs_positions(h)[i] + gain[i], shares[i]);
        else
            ck_assert_uint_eq(gain[i], 0);
    }
    ck_assert_uint_eq(nheirs, gaining);
    for (size_t i = 0; i < nheirs; i++)
        ck_assert_uint_gt(gain[heir[i]], 0);
    free(owner);
    free(heir);
    free(shares);
    free(gain);
}

START_TEST(heirs_get_what_a_ring_without_the_others_gives_them)
{
    for (int round = 0; round < 3000; round++) {
        struct tiny a;
        uint16_t out[MAX_SLOTS];
        make_tiny(&a);
        struct ring_heirs *h = ring_heirs_new(a.ring);
        for (int i = 0; i < 4; i++) {
            size_t n = 0;
            for (uint16_t s = 0; s < a.nslots; s++)
                if (n + 1 < a.nslots && random_below(2))
                    out[n++] = s;
            check_heirs(a.ring, h, out, n);
        }
        ring_heirs_free(h);
        ring_free(a.ring);
    }
}
END_TEST

/* ---- rings of names ---- */

#define MANY 300

static char names[MANY * 2][8];
static struct ring_member members[MANY * 2];
static uint16_t same[MANY * 2], further[MANY * 2];

static struct ring *ring_of(const struct ring_member *m, size_t n, unsigned vnodes)
{
    struct error e;
    struct ring *r = ring_new(m, n, vnodes, &e);
    ck_assert_ptr_nonnull(r);
    return r;
}

static void name_all(void)
{
    for (unsigned i = 0; i < MANY * 2; i++) {
        snprintf(names[i], sizeof names[i], "n%04u", i % 10000);
        members[i] = (struct ring_member){str_of(names[i]), 1};
        same[i] = (uint16_t)i;
        further[i] = (uint16_t)((i + MANY) % (MANY * 2));
    }
}

START_TEST(heirs_of_each_pair_of_names_are_exact)
{
    struct ring *r = ring_of(members, 9, 20);
    struct ring_heirs *h = ring_heirs_new(r);
    for (uint16_t a = 0; a < 9; a++) {
        ck_assert_uint_eq(ring_heirs_points(h, a), 20);
        for (uint16_t b = 0; b < 9; b++)
            check_heirs(r, h, (uint16_t[]){a, b}, a == b ? 1 : 2);
    }
    check_heirs(r, h, (uint16_t[]){0, 1, 2, 3, 5, 6, 7, 8}, 8); /* one is left */
    ring_heirs_free(h);
    ring_free(r);
}
END_TEST

START_TEST(the_same_layout_moves_nothing)
{
    struct ring *r = ring_of(members, 50, 64), *again = ring_of(members, 50, 64);
    struct ring_plan p = plan_of(r, same, again, same, 50);
    ck_assert_uint_eq(p.moved, 0);
    ck_assert_uint_eq(p.nmoves, 0);
    ring_plan_deinit(&p);
    ring_free(r);
    ring_free(again);
}
END_TEST

START_TEST(a_joining_or_heavier_backend_moves_the_least_possible)
{
    struct ring *r = ring_of(members, 50, 64), *more = ring_of(members, 51, 64);
    struct ring_plan p = plan_of(r, same, more, same, 51);
    ck_assert_uint_eq(p.before[50], 0);
    ck_assert_uint_gt(p.after[50], RING_SPACE / 80);
    ck_assert_uint_eq(p.moved, p.after[50]);
    ck_assert_uint_eq(p.moved, p.least);
    ring_plan_deinit(&p);

    members[7].weight = 3;
    struct ring *heavy = ring_of(members, 50, 64);
    members[7].weight = 1;
    p = plan_of(r, same, heavy, same, 50);
    ck_assert_uint_gt(p.moved, 0);
    ck_assert_uint_eq(p.moved, p.after[7] - p.before[7]);
    ck_assert_uint_eq(p.moved, p.least);
    for (size_t i = 0; i < p.nmoves; i++)
        ck_assert_uint_eq(p.moves[i].to, 7);
    ring_plan_deinit(&p);
    ring_free(r);
    ring_free(more);
    ring_free(heavy);
}
END_TEST

START_TEST(all_names_new_moves_all_keys_between_many_pairs)
{
    struct ring *r = ring_of(members, MANY, 40), *other = ring_of(members + MANY, MANY, 40);
    struct ring_plan p = plan_of(r, same, other, further, MANY * 2);
    ck_assert_uint_eq(p.moved, RING_SPACE);
    ck_assert_uint_eq(p.least, RING_SPACE);
    ck_assert_uint_gt(p.nmoves, 10000); /* the table grew, several times */
    ring_plan_deinit(&p);
    ring_free(r);
    ring_free(other);
}
END_TEST

START_TEST(more_points_each_move_more_than_the_least)
{
    struct ring *r = ring_of(members, 20, 64), *finer = ring_of(members, 20, 512);
    struct ring_plan p = plan_of(r, same, finer, same, 20);
    ck_assert_uint_gt(p.moved, RING_SPACE / 2);
    ck_assert_uint_lt(p.least, RING_SPACE / 4);
    ring_plan_deinit(&p);
    ring_free(r);
    ring_free(finer);
}
END_TEST

START_TEST(without_an_owner_everything_is_nobodys)
{
    uint16_t none[20];
    memset(none, 0xff, sizeof none);
    struct ring *r = ring_of(members, 20, 16);
    struct ring_plan p = plan_of(r, same, r, none, 20);
    ck_assert_uint_eq(p.after[20], RING_SPACE);
    ck_assert_uint_eq(p.moved, RING_SPACE);
    ck_assert_uint_eq(p.least, RING_SPACE);
    ring_plan_deinit(&p);
    /* refused in place (when_down: fail): the others keep what they have */
    uint16_t refused[20];
    memcpy(refused, same, sizeof refused);
    refused[3] = 20;
    p = plan_of(r, same, r, refused, 20);
    ck_assert_uint_eq(p.moved, p.before[3]);
    ck_assert_uint_eq(p.after[20], p.before[3]);
    ck_assert_uint_eq(p.nmoves, 1);
    ring_plan_deinit(&p);
    ring_free(r);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("ring_plan");
    TCase *t = tcase_create("plan");
    tcase_add_checked_fixture(t, name_all, NULL);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, each_pair_of_owners_moves_what_a_count_over_the_circle_finds);
    tcase_add_test(t, on_one_ring_a_plan_is_what_ring_moved_and_ring_shares_say);
    tcase_add_test(t, heirs_get_what_a_ring_without_the_others_gives_them);
    tcase_add_test(t, heirs_of_each_pair_of_names_are_exact);
    tcase_add_test(t, the_same_layout_moves_nothing);
    tcase_add_test(t, a_joining_or_heavier_backend_moves_the_least_possible);
    tcase_add_test(t, all_names_new_moves_all_keys_between_many_pairs);
    tcase_add_test(t, more_points_each_move_more_than_the_least);
    tcase_add_test(t, without_an_owner_everything_is_nobodys);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
