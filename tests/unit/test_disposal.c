/* What is left to a thread to free. */
#include "app/disposal.h"

#include <pthread.h>

#include "tests/lib/unit.h"

#define MANY 1000

struct thing {
    pthread_t freed_by;
    unsigned place; /* 1: the first that was freed */
};

static unsigned nfreed; /* the thread's, until it has ended */

static void free_thing(void *object)
{
    struct thing *t = object;
    t->freed_by = pthread_self();
    t->place = ++nfreed;
}

START_TEST(all_is_freed_by_the_end_in_order_and_on_another_thread)
{
    static struct thing things[MANY];
    struct error e;
    struct disposal *d = disposal_new(&e);
    ck_assert_msg(d != NULL, "%s", e.text);
    for (unsigned i = 0; i < MANY; i++)
        disposal_take(d, free_thing, &things[i]);
    disposal_free(d);
    for (unsigned i = 0; i < MANY; i++) {
        ck_assert_uint_eq(things[i].place, i + 1);
        ck_assert(!pthread_equal(things[i].freed_by, pthread_self()));
    }
}
END_TEST

START_TEST(one_that_took_nothing_ends_at_once)
{
    struct error e;
    disposal_free(NULL);
    struct disposal *d = disposal_new(&e);
    ck_assert_msg(d != NULL, "%s", e.text);
    disposal_free(d);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("disposal");
    TCase *c = tcase_create("disposal");
    tcase_add_test(c, all_is_freed_by_the_end_in_order_and_on_another_thread);
    tcase_add_test(c, one_that_took_nothing_ends_at_once);
    suite_add_tcase(s, c);
    return s;
}

int main(void)
{
    return unit_main(build);
}
