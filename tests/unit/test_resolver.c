/* When a name is looked up again. */
#include "health/resolver.h"

#include <stdatomic.h>
#include <string.h>

#include "tests/lib/unit.h"

#define CLOCK_MS 2 /* a timer may be up to a ms early by another clock's rounding */
#define INTERVAL_MS 40

static _Atomic unsigned asked, asking, most;
static _Atomic uint64_t slow_ms;
static _Atomic uint64_t asked_ms[64];

static void ask(const char *host, uint16_t port, struct lookup_answer *out)
{
    unsigned now = ++asking, n = asked++;
    if (now > most)
        most = now;
    if (n < 64)
        asked_ms[n] = uv_hrtime() / 1000000;
    if (slow_ms)
        uv_sleep((unsigned)slow_ms);
    out->addrs.n = strcmp(host, "b1.example") == 0 && port == 80 ? 1 : 0;
    asking--;
}

struct owner {
    uv_loop_t loop;
    struct lookups *lookups;
    struct resolver *resolver;
    uint64_t began_ms;
    unsigned answers;
    bool closed, close_in_answer;
};

static void on_closed(void *arg)
{
    struct owner *o = arg;
    ck_assert(!o->closed);
    o->closed = true;
}

static void on_answer(void *arg, const struct lookup_answer *a)
{
    struct owner *o = arg;
    ck_assert(!o->closed);
    ck_assert_uint_eq(a->addrs.n, 1);
    o->answers++;
    if (o->close_in_answer)
        resolver_close(o->resolver);
}

static void start(struct owner *o, uint64_t slow)
{
    const struct resolver_callbacks cb = {on_answer, on_closed, o};
    int err;
    *o = (struct owner){.began_ms = uv_hrtime() / 1000000};
    asked = most = 0;
    slow_ms = slow;
    ck_assert_int_eq(uv_loop_init(&o->loop), 0);
    o->lookups = lookups_new(&o->loop, ask, &err);
    ck_assert(o->lookups != NULL);
    o->resolver = resolver_open(&o->loop, o->lookups, "b1.example:80", INTERVAL_MS, &cb);
    ck_assert_uint_eq(o->answers, 0);
}

static void finish(struct owner *o)
{
    if (!o->close_in_answer)
        resolver_close(o->resolver);
    while (!o->closed)
        uv_run(&o->loop, UV_RUN_ONCE);
    lookups_close(o->lookups);
    uv_run(&o->loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&o->loop), 0);
    while (asking) /* a thread may still be in there */
        uv_sleep(1);
}

START_TEST(it_asks_once_until_it_is_told_to_repeat)
{
    struct owner o;
    start(&o, 0);
    while (o.answers == 0)
        uv_run(&o.loop, UV_RUN_ONCE);
    ck_assert_int_eq(uv_run(&o.loop, UV_RUN_NOWAIT), 1); /* the async's; no timer is due */
    ck_assert_uint_eq(asked, 1);
    resolver_repeat(o.resolver);
    while (o.answers < 5)
        uv_run(&o.loop, UV_RUN_ONCE);
    for (unsigned i = 1; i < 5; i++) /* seen late is not begun late: only the sum can't be short */
        ck_assert_uint_ge(asked_ms[i] + CLOCK_MS, o.began_ms + i * INTERVAL_MS);
    finish(&o);
}
END_TEST

START_TEST(what_takes_longer_than_the_interval_is_not_asked_twice_at_once)
{
    struct owner o;
    start(&o, 3 * INTERVAL_MS);
    resolver_repeat(o.resolver); /* while the first one is under way */
    while (o.answers < 3)
        uv_run(&o.loop, UV_RUN_ONCE);
    ck_assert_uint_eq(most, 1);
    finish(&o);
}
END_TEST

/* _i 0: during a lookup; 1: between two lookups; 2: from on_answer. */
START_TEST(closing_works_at_any_time)
{
    struct owner o;
    start(&o, _i == 0 ? 50 : 0);
    o.close_in_answer = _i == 2;
    if (_i == 1) {
        resolver_repeat(o.resolver);
        while (o.answers < 2)
            uv_run(&o.loop, UV_RUN_ONCE);
    }
    finish(&o);
    ck_assert_uint_eq(o.answers, _i == 0 ? 0 : _i == 1 ? 2 : 1);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("resolver");
    TCase *t = tcase_create("resolver");
    tcase_set_timeout(t, 100);
    tcase_add_test(t, it_asks_once_until_it_is_told_to_repeat);
    tcase_add_test(t, what_takes_longer_than_the_interval_is_not_asked_twice_at_once);
    tcase_add_loop_test(t, closing_works_at_any_time, 0, 3);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
