#include "base/heap.h"

#include "tests/lib/unit.h"

#define N 500

/* xorshift64: the same sequence in every run. */
static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void expect_sorted(struct heap *h, unsigned count)
{
    uint64_t last = 0;
    while (heap_first(h)) {
        struct heap_node *n = heap_first(h);
        ck_assert_uint_ge(n->key, last);
        last = n->key;
        heap_remove(h, n);
        ck_assert(!heap_holds(n));
        ck_assert_uint_gt(count, 0);
        count--;
    }
    ck_assert_uint_eq(count, 0);
}

START_TEST(what_is_pushed_comes_out_by_key)
{
    for (int order = 0; order < 4; order++) { /* rising, falling, equal, mixed */
        struct heap h = {0};
        struct heap_node nodes[N] = {0};
        uint64_t seed = 1;
        for (unsigned i = 0; i < N; i++)
            heap_push(&h, &nodes[i],
                      order == 0   ? i
                      : order == 1 ? N - i
                      : order == 2 ? 7
                                   : random_next(&seed) % 100);
        expect_sorted(&h, N);
    }
}
END_TEST

START_TEST(any_node_may_be_removed)
{
    for (unsigned step = 1; step < 8; step++) {
        struct heap h = {0};
        struct heap_node nodes[N] = {0};
        uint64_t seed = step;
        unsigned left = N;
        for (unsigned i = 0; i < N; i++)
            heap_push(&h, &nodes[i], random_next(&seed));
        heap_remove(&h, heap_first(&h)); /* gives the heap some depth */
        left--;
        for (unsigned i = 0; i < N; i += step)
            if (heap_holds(&nodes[i])) {
                heap_remove(&h, &nodes[i]);
                left--;
            }
        for (unsigned i = 0; i < N; i += step)
            heap_remove(&h, &nodes[i]); /* again: nothing */
        expect_sorted(&h, left);
    }
}
END_TEST

/* Against the obvious: the smallest of a plain array. */
START_TEST(pushes_and_pops_may_alternate)
{
    struct heap h = {0};
    struct heap_node nodes[N] = {0};
    uint64_t seed = 42;
    for (unsigned round = 0; round < 20000; round++) {
        struct heap_node *n = &nodes[random_next(&seed) % N];
        if (heap_holds(n))
            heap_remove(&h, n);
        else
            heap_push(&h, n, random_next(&seed) % 1000);
        uint64_t least = UINT64_MAX;
        for (unsigned i = 0; i < N; i++)
            if (heap_holds(&nodes[i]) && nodes[i].key < least)
                least = nodes[i].key;
        ck_assert_uint_eq(heap_first(&h) ? heap_first(&h)->key : UINT64_MAX, least);
    }
}
END_TEST

static Suite *build(void)
{
    Suite *suite = suite_create("heap");
    TCase *t = tcase_create("heap");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, what_is_pushed_comes_out_by_key);
    tcase_add_test(t, any_node_may_be_removed);
    tcase_add_test(t, pushes_and_pops_may_alternate);
    suite_add_tcase(suite, t);
    return suite;
}

int main(void)
{
    return unit_main(build);
}
