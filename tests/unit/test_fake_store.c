/* The store in memory of the fleet's tests: what each call does, and what can go wrong. */
#include <stdio.h>
#include <string.h>

#include "tests/lib/fake_store.h"
#include "tests/lib/unit.h"

#define LOCK_A "aaaa 3000 a/IA"
#define LOCK_A2 "aaab 3000 a/IA"
#define LOCK_B "bbbb 3000 b/IB"

struct party {
    struct sim_process process;
    struct fake_path path;
    struct fake_store *connection;
    struct store *store;
    struct store_events events;
    const char *node, *instance;
    uint64_t n;
    /* the last answer */
    unsigned answers, unknown, hints;
    bool yes, granted, renewed, reached;
    uint64_t epoch, left_ms, highest_c;
    size_t nbeats, nviews;
    struct version version;
    char holder[64], next[64], body[64];
    enum hint hint;
};

struct world {
    struct sim sim;
    struct fake_redis redis;
    struct party a, b;
};

static void on_hint(void *arg, enum hint kind, const char *instance)
{
    struct party *p = arg;
    ck_assert_str_ne(instance, p->instance);
    p->hints++;
    p->hint = kind;
}

static void on_reach(void *arg, bool reachable, const char *why)
{
    struct party *p = arg;
    ck_assert(why != NULL);
    p->reached = reachable;
}

static void on_synced(void *arg, const struct store_synced *s)
{
    struct party *p = arg;
    p->answers++;
    p->unknown += s == NULL;
    if (s == NULL)
        return;
    p->renewed = s->renewed;
    p->left_ms = s->left_ms;
    p->highest_c = s->highest_c;
    p->nbeats = s->nbeats;
    p->nviews = s->nviews;
    p->version = s->version;
    snprintf(p->holder, sizeof p->holder, "%.*s", (int)s->holder.n, s->holder.p);
    snprintf(p->next, sizeof p->next, "%.*s", (int)s->next.n, s->next.p);
    snprintf(p->body, sizeof p->body, "%.*s", (int)s->body.n, s->body.n ? s->body.p : "");
}

static void on_acquired(void *arg, const struct store_acquired *a)
{
    struct party *p = arg;
    p->answers++;
    p->unknown += a == NULL;
    if (a == NULL)
        return;
    p->granted = a->granted;
    p->epoch = a->epoch;
    p->left_ms = a->left_ms;
    snprintf(p->holder, sizeof p->holder, "%.*s", (int)a->holder.n, a->holder.p);
}

static void on_done(void *arg, const bool *yes)
{
    struct party *p = arg;
    p->answers++;
    p->unknown += yes == NULL;
    p->yes = yes && *yes;
}

static void run(struct world *w, uint64_t ms)
{
    sim_run(&w->sim, w->sim.now_us + ms * SIM_MS, NULL, NULL);
}

static void join(struct world *w, struct party *p, const char *node, const char *instance)
{
    p->process = (struct sim_process){.sim = &w->sim, .name = node, .pace = 1};
    p->node = node;
    p->instance = instance;
    sim_process_start(&p->process);
    p->connection = fake_store_new(&w->redis, &p->path, &p->process, 500, 1000);
    p->store = fake_store_store(p->connection);
    p->events = (struct store_events){.on_hint = on_hint, .on_reach = on_reach, .arg = p};
    p->store->events = &p->events;
}

static void setup(struct world *w, unsigned bugs)
{
    *w = (struct world){0};
    sim_init(&w->sim, 7);
    fake_redis_init(&w->redis, &w->sim);
    w->redis.bugs = bugs;
    join(w, &w->a, "a", "IA");
    join(w, &w->b, "b", "IB");
    run(w, 200);
    ck_assert(w->a.reached && w->b.reached);
}

static void end(struct world *w)
{
    sim_deinit(&w->sim);
    fake_store_free(w->a.connection);
    fake_store_free(w->b.connection);
    fake_redis_deinit(&w->redis);
}

/* Each of these waits for the answer, or that there is none. */
static void call_ends(struct world *w, struct party *p, unsigned before)
{
    for (unsigned i = 0; i < 700 && p->answers == before; i++)
        run(w, 1);
    ck_assert_uint_eq(p->answers, before + 1);
}

static void sync_as(struct world *w, struct party *p, const char *view, const char *lock,
                    uint64_t epoch)
{
    struct store_sync r = {.node = p->node,
                           .instance = p->instance,
                           .n = ++p->n,
                           .view = str_of(view),
                           .tells = *view != 0,
                           .kind = HINT_CLAIM,
                           .lock = lock,
                           .epoch = epoch,
                           .known = p->version,
                           .known_c = p->highest_c};
    unsigned before = p->answers;
    p->store->ops->sync(p->store, &r, on_synced, p);
    call_ends(w, p, before);
}

static void acquire(struct world *w, struct party *p, const char *lock, const char *previous,
                    uint64_t floor)
{
    struct store_acquire r = {
        .lock = lock, .previous = previous, .floor = floor, .instance = p->instance};
    unsigned before = p->answers;
    p->store->ops->acquire(p->store, &r, on_acquired, p);
    call_ends(w, p, before);
}

static void publish(struct world *w, struct party *p, const char *lock, uint64_t epoch,
                    uint64_t seq, const char *body)
{
    struct store_publish r = {
        .lock = lock, .version = {.epoch = epoch, .seq = seq}, .body = str_of(body)};
    snprintf(r.version.by, sizeof r.version.by, "%s", p->instance);
    unsigned before = p->answers;
    if (lock)
        p->store->ops->publish(p->store, &r, on_done, p);
    else
        p->store->ops->restore(p->store, &r, on_done, p);
    call_ends(w, p, before);
}

START_TEST(the_lock_is_one_members_until_it_expires)
{
    struct world w;
    setup(&w, 0);
    acquire(&w, &w.a, LOCK_A, NULL, 41);
    ck_assert(w.a.granted);
    ck_assert_uint_eq(w.a.epoch, 42);
    acquire(&w, &w.b, LOCK_B, NULL, 0);
    ck_assert(!w.b.granted);
    ck_assert_str_eq(w.b.holder, LOCK_A);
    ck_assert_uint_gt(w.b.left_ms, 2700);
    run(&w, 2000);
    sync_as(&w, &w.a, "", LOCK_A, 42);
    ck_assert(w.a.renewed);
    run(&w, 2000);
    acquire(&w, &w.b, LOCK_B, NULL, 0);
    ck_assert(!w.b.granted);
    run(&w, 1500);
    acquire(&w, &w.b, LOCK_B, NULL, 0);
    ck_assert(w.b.granted);
    ck_assert_uint_eq(w.b.epoch, 43);
    sync_as(&w, &w.a, "", LOCK_A, 42);
    ck_assert(!w.a.renewed);
    ck_assert_str_eq(w.a.holder, LOCK_B);
    end(&w);
}
END_TEST

START_TEST(an_attempt_of_unknown_outcome_is_replaced_by_the_next)
{
    struct world w;
    setup(&w, 0);
    w.a.path.slow_back_ms = 60000;
    acquire(&w, &w.a, LOCK_A, NULL, 0);
    ck_assert_uint_eq(w.a.unknown, 1);
    ck_assert(!w.a.reached);
    w.a.path.slow_back_ms = 0;
    run(&w, 1000);
    ck_assert(w.a.reached);
    acquire(&w, &w.a, LOCK_A2, LOCK_A, 0);
    ck_assert(w.a.granted);
    end(&w);
}
END_TEST

START_TEST(a_publication_needs_lock_epoch_and_a_newer_version)
{
    static const struct {
        const char *lock;
        uint64_t epoch, seq;
        bool stored;
    } rows[] = {
        {LOCK_A, 1, 1, true},   {LOCK_A, 1, 1, false}, {LOCK_A, 1, 2, true},
        {LOCK_A2, 1, 3, false}, {LOCK_A, 2, 3, false}, {LOCK_A, 1, 3, true},
    };
    struct world w;
    setup(&w, 0);
    acquire(&w, &w.a, LOCK_A, NULL, 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        publish(&w, &w.a, rows[i].lock, rows[i].epoch, rows[i].seq, "body");
        ck_assert_msg(w.a.yes == rows[i].stored, "row %zu", i);
    }
    run(&w, 100);
    ck_assert_int_eq(w.b.hint, HINT_STATE);
    sync_as(&w, &w.b, "", NULL, 0);
    ck_assert_uint_eq(w.b.version.seq, 3);
    ck_assert_str_eq(w.b.body, "body");
    sync_as(&w, &w.b, "", NULL, 0); /* it knows it by now */
    ck_assert_str_eq(w.b.body, "");
    end(&w);
}
END_TEST

START_TEST(a_restore_needs_a_newer_version_alone_and_raises_the_epoch)
{
    struct world w;
    setup(&w, 0);
    publish(&w, &w.b, NULL, 900, 5, "old");
    ck_assert(w.b.yes);
    publish(&w, &w.a, NULL, 900, 4, "older");
    ck_assert(!w.a.yes);
    acquire(&w, &w.a, LOCK_A, NULL, 0);
    ck_assert_uint_eq(w.a.epoch, 901);
    end(&w);
}
END_TEST

START_TEST(an_offer_lets_one_instance_take_the_lock_for_a_while)
{
    struct world w;
    setup(&w, 0);
    acquire(&w, &w.a, LOCK_A, NULL, 0);
    for (int late = 1; late >= 0; late--) {
        unsigned before = w.a.answers;
        w.a.store->ops->offer(w.a.store, LOCK_A, "IB", on_done, &w.a);
        call_ends(&w, &w.a, before);
        ck_assert(w.a.yes);
        run(&w, late ? 1100 : 100);
        ck_assert_int_eq(w.b.hint, HINT_LOCK);
        sync_as(&w, &w.b, "", NULL, 0);
        ck_assert_str_eq(w.b.next, late ? "" : "IB");
        acquire(&w, &w.b, LOCK_B, NULL, 0);
        ck_assert(w.b.granted == !late);
    }
    unsigned before = w.a.answers;
    w.a.store->ops->release(w.a.store, LOCK_A, on_done, &w.a);
    call_ends(&w, &w.a, before);
    ck_assert(!w.a.yes); /* it is another's */
    end(&w);
}
END_TEST

START_TEST(views_are_numbered_and_given_to_those_who_lack_them)
{
    struct world w;
    setup(&w, 0);
    sync_as(&w, &w.a, "view of a", NULL, 0);
    ck_assert_uint_eq(w.a.highest_c, 1);
    run(&w, 100);
    ck_assert_int_eq(w.b.hint, HINT_CLAIM);
    ck_assert_uint_eq(w.a.hints, 0); /* its own */
    sync_as(&w, &w.b, "view of b", NULL, 0);
    ck_assert_uint_eq(w.b.nviews, 1); /* not its own */
    sync_as(&w, &w.b, "", NULL, 0);
    ck_assert_uint_eq(w.b.nviews, 0);
    ck_assert_uint_eq(w.b.nbeats, 2);
    fake_redis_wipe(&w.redis);
    sync_as(&w, &w.b, "", NULL, 0);
    ck_assert_uint_eq(w.b.highest_c, 0);
    ck_assert_uint_eq(w.b.nbeats, 1);
    acquire(&w, &w.a, LOCK_A, NULL, 0);
    const char *nodes[] = {"b", "nobody"};
    unsigned before = w.a.answers;
    w.a.store->ops->forget(w.a.store, LOCK_A, nodes, 2, on_done, &w.a);
    call_ends(&w, &w.a, before);
    ck_assert(w.a.yes);
    sync_as(&w, &w.a, "", NULL, 0);
    ck_assert_uint_eq(w.a.nbeats, 1);
    end(&w);
}
END_TEST

START_TEST(data_goes_back_to_what_it_was)
{
    struct world w;
    setup(&w, 0);
    acquire(&w, &w.a, LOCK_A, NULL, 0);
    publish(&w, &w.a, LOCK_A, 1, 1, "one");
    run(&w, 1000);
    publish(&w, &w.a, LOCK_A, 1, 2, "two");
    fake_redis_set_back(&w.redis, 500);
    sync_as(&w, &w.b, "", NULL, 0);
    ck_assert_str_eq(w.b.body, "one");
    end(&w);
}
END_TEST

START_TEST(a_clock_that_goes_back_is_healed_unless_by_a_bug)
{
    for (int bug = 0; bug <= 1; bug++) {
        struct world w;
        setup(&w, bug ? FAKE_NO_HEAL : 0);
        acquire(&w, &w.a, LOCK_A, NULL, 0);
        fake_redis_jump(&w.redis, -20000);
        acquire(&w, &w.b, LOCK_B, NULL, 0);
        ck_assert(!w.b.granted);
        run(&w, 3100);
        acquire(&w, &w.b, LOCK_B, NULL, 0);
        ck_assert(w.b.granted == !bug);
        end(&w);
    }
}
END_TEST

START_TEST(what_was_sent_before_a_cut_may_come_when_its_sender_is_gone)
{
    struct world w;
    setup(&w, 0);
    acquire(&w, &w.a, LOCK_A, NULL, 0);
    w.a.path.cut_us = w.sim.now_us + 2000 * SIM_MS;
    unsigned before = w.a.answers;
    w.a.store->ops->release(w.a.store, LOCK_A, on_done, &w.a);
    fake_store_free(w.a.connection);
    w.a.connection = NULL;
    sim_process_kill(&w.a.process);
    acquire(&w, &w.b, LOCK_B, NULL, 0);
    ck_assert(!w.b.granted);
    run(&w, 2100);
    ck_assert_uint_eq(w.a.answers, before);
    acquire(&w, &w.b, LOCK_B, NULL, 0);
    ck_assert(w.b.granted);
    end(&w);
}
END_TEST

START_TEST(a_store_that_cannot_be_reached_answers_that_nothing_is_known)
{
    struct world w;
    setup(&w, 0);
    fake_redis_stop(&w.redis);
    sync_as(&w, &w.a, "view", NULL, 0);
    ck_assert_uint_eq(w.a.unknown, 1);
    ck_assert(!w.a.reached);
    sync_as(&w, &w.a, "view", NULL, 0);
    ck_assert_uint_eq(w.a.unknown, 2);
    fake_redis_start(&w.redis);
    run(&w, 2000);
    ck_assert(w.a.reached);
    sync_as(&w, &w.a, "view", NULL, 0);
    ck_assert_uint_eq(w.a.unknown, 2);
    end(&w);
}
END_TEST

START_TEST(a_stopped_process_hears_nothing_until_it_goes_on)
{
    struct world w;
    setup(&w, 0);
    struct store_acquire r = {.lock = LOCK_A, .instance = "IA"};
    unsigned before = w.a.answers;
    w.a.store->ops->acquire(w.a.store, &r, on_acquired, &w.a);
    sim_process_stop(&w.a.process, w.sim.now_us + 5000 * SIM_MS);
    run(&w, 4900);
    ck_assert_uint_eq(w.a.answers, before);
    run(&w, 200);
    ck_assert_uint_eq(w.a.answers, before + 1);
    ck_assert(w.a.granted); /* it was, long ago */
    end(&w);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("fake_store");
    TCase *t = tcase_create("all");
    tcase_add_test(t, the_lock_is_one_members_until_it_expires);
    tcase_add_test(t, an_attempt_of_unknown_outcome_is_replaced_by_the_next);
    tcase_add_test(t, a_publication_needs_lock_epoch_and_a_newer_version);
    tcase_add_test(t, a_restore_needs_a_newer_version_alone_and_raises_the_epoch);
    tcase_add_test(t, an_offer_lets_one_instance_take_the_lock_for_a_while);
    tcase_add_test(t, views_are_numbered_and_given_to_those_who_lack_them);
    tcase_add_test(t, data_goes_back_to_what_it_was);
    tcase_add_test(t, a_clock_that_goes_back_is_healed_unless_by_a_bug);
    tcase_add_test(t, what_was_sent_before_a_cut_may_come_when_its_sender_is_gone);
    tcase_add_test(t, a_store_that_cannot_be_reached_answers_that_nothing_is_known);
    tcase_add_test(t, a_stopped_process_hears_nothing_until_it_goes_on);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
