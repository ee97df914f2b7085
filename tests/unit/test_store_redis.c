/* The store of a fleet in a real redis-server, and in one that answers nonsense. */
#include "cluster/store_redis.h"

#include "tests/lib/fake_redis.h"
#include "tests/lib/redis_server.h"
#include "tests/lib/unit.h"

#define MINE "aaaa 3000 web1/a1"
#define OTHERS "bbbb 3000 web2/b2"

static struct redis_server server;
static uv_loop_t loop;
static struct net net;
static struct lookups *lookups;
static struct redis_url url;
static struct fake_redis fake;
static struct store *stores[2]; /* of a1 and b2 */
static unsigned nclosed;

/* What was told. */
static char told[2][2048];
static unsigned nreached[2], nhints[2], nrefused[2], nanswers, nunknown;

/* The last answers, as far as they are looked at. */
static struct store_synced synced;
static struct store_acquired acquired;
static char beats[512], views[512], holder[64], body[64], next[64];
static bool yes;

static void note(unsigned i, const char *what, const char *text)
{
    size_t at = strlen(told[i]);
    snprintf(told[i] + at, sizeof told[i] - at, "%s%s%s", at ? "; " : "", what, text);
}

static void on_hint(void *arg, enum hint kind, const char *instance)
{
    static const char *const names[] = {"state ", "claim ", "view ", "lock "};
    unsigned i = (unsigned)(uintptr_t)arg;
    nhints[i]++;
    note(i, names[kind], instance);
}

static void on_reach(void *arg, bool reachable, const char *why)
{
    unsigned i = (unsigned)(uintptr_t)arg;
    nreached[i]++;
    note(i, reachable ? "up " : "down ", why);
}

static void on_refused(void *arg, const char *what)
{
    unsigned i = (unsigned)(uintptr_t)arg;
    nrefused[i]++;
    note(i, "refused ", what);
}

static const struct store_events events[2] = {{on_hint, on_reach, on_refused, (void *)0},
                                              {on_hint, on_reach, on_refused, (void *)1}};

static void keep(char *to, size_t size, struct str s)
{
    snprintf(to, size, "%.*s", (int)s.n, s.n ? s.p : "");
}

static void on_synced(void *arg, const struct store_synced *a)
{
    nunknown += a == NULL;
    nanswers += a != NULL;
    if (a == NULL)
        return;
    synced = *a;
    keep(holder, sizeof holder, a->holder);
    keep(body, sizeof body, a->body);
    keep(next, sizeof next, a->next);
    beats[0] = views[0] = '\0';
    for (size_t i = 0, at = 0; i < a->nbeats; i++)
        at += (size_t)snprintf(beats + at, sizeof beats - at, "%s%s/%s %u %u", at ? "; " : "",
                               a->beats[i].node, a->beats[i].instance, (unsigned)a->beats[i].n,
                               (unsigned)a->beats[i].c);
    for (size_t i = 0, at = 0; i < a->nviews; i++)
        at += (size_t)snprintf(views + at, sizeof views - at, "%s%s %.*s", at ? "; " : "",
                               a->views[i].node, (int)a->views[i].text.n, a->views[i].text.p);
}

static void on_acquired(void *arg, const struct store_acquired *a)
{
    nunknown += a == NULL;
    nanswers += a != NULL;
    if (a == NULL)
        return;
    acquired = *a;
    keep(holder, sizeof holder, a->holder);
}

static void on_done(void *arg, const bool *a)
{
    nunknown += a == NULL;
    nanswers += a != NULL;
    yes = a && *a;
}

#define WAIT_FOR(condition)                                                      \
    for (uint64_t until = uv_hrtime() + 60000000000; !(condition);) {            \
        ck_assert_msg(uv_hrtime() < until, "%s; told: %s", #condition, told[0]); \
        uv_run(&loop, UV_RUN_ONCE);                                              \
    }

/* Until the call that was just made is answered; false: unknown. */
static bool answered(void)
{
    unsigned a = nanswers, u = nunknown;
    WAIT_FOR(nanswers > a || nunknown > u);
    return nanswers > a;
}

static void on_closed(void *arg)
{
    nclosed++;
}

static void set_up(void)
{
    int err = uv_loop_init(&loop);
    ck_assert_int_eq(err, 0);
    net_init(&net, &loop);
    lookups = lookups_new(&loop, NULL, &err);
    ck_assert(lookups);
    memset(told, 0, sizeof told);
    memset(nreached, 0, sizeof nreached);
    memset(nhints, 0, sizeof nhints);
    memset(nrefused, 0, sizeof nrefused);
    memset(stores, 0, sizeof stores);
    memset(&fake, 0, sizeof fake);
    nanswers = nunknown = nclosed = 0;
}

static uint64_t lock_ttl_ms = 60000;

static void open_store(unsigned i)
{
    const struct store_redis_options o = {
        .net = &net,
        .lookups = lookups,
        .urls = &url,
        .nurls = 1,
        .fleet = "edge",
        .lock_ttl_ms = lock_ttl_ms,
    };
    stores[i] = store_redis_open(&o);
    store_redis_name(stores[i], i ? "b2" : "a1");
    stores[i]->events = &events[i];
}

static int64_t listeners(void)
{
    const char *words[] = {"PUBSUB", "NUMSUB", "{ringproxy:edge}"};
    struct redis_reply *r = redis_server_call(&server, words, (size_t[]){6, 6, 16}, 3);
    ck_assert(r->type == REPLY_ARRAY && r->n == 2);
    int64_t n = r->elements[1]->integer;
    resp_reply_free(r);
    return n;
}

static void set_up_real(void)
{
    static char path[128];
    set_up();
    snprintf(path, sizeof path, "unix:%s", server.path);
    url = (struct redis_url){.shown = path, .address_text = path};
    ck_assert_int_eq(addr_parse(str_of(path), &url.address), ADDR_OK);
    resp_reply_free(redis_server_call(&server, (const char *[]){"FLUSHALL"}, (size_t[]){8}, 1));
    open_store(0);
    open_store(1);
    WAIT_FOR(nreached[0] && nreached[1] && listeners() == 2);
}

static void set_up_fake(void)
{
    static char shown[] = "fake";
    set_up();
    fake_redis_open(&fake, &loop);
    url = (struct redis_url){
        .shown = shown, .address = fake.address, .address_text = fake.address_text};
    fake.answers[0] = (struct fake_answer){
        "SUBSCRIBE", "*3\r\n$9\r\nsubscribe\r\n$16\r\n{ringproxy:edge}\r\n:1\r\n"};
    open_store(0);
    WAIT_FOR(nreached[0] && strstr(fake.log, "SUBSCRIBE"));
}

static void tear_down(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < 2; i++)
        if (stores[i]) {
            store_redis_close(stores[i], on_closed, NULL);
            n++;
        }
    if (fake.address.len)
        fake_redis_close(&fake);
    lookups_close(lookups);
    net_close(&net);
    uv_run(&loop, UV_RUN_DEFAULT);
    net_deinit(&net);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    ck_assert_uint_ge(nclosed, n);
}

/* ---- calls ---- */

static bool sync_as(unsigned i, struct store_sync s)
{
    s.node = i ? "web2" : "web1";
    s.instance = i ? "b2" : "a1";
    stores[i]->ops->sync(stores[i], &s, on_synced, NULL);
    return answered();
}

static bool acquire_as(unsigned i, uint64_t floor)
{
    const struct store_acquire a = {
        .lock = i ? OTHERS : MINE, .floor = floor, .instance = i ? "b2" : "a1"};
    stores[i]->ops->acquire(stores[i], &a, on_acquired, NULL);
    return answered();
}

static bool publish_as(unsigned i, uint64_t epoch, uint64_t seq, const char *text)
{
    struct store_publish p = {
        .lock = i ? OTHERS : MINE, .version = {epoch, "", seq}, .body = str_of(text)};
    strcpy(p.version.by, i ? "b2" : "a1");
    stores[i]->ops->publish(stores[i], &p, on_done, NULL);
    return answered();
}

static bool restore_as(unsigned i, uint64_t epoch, uint64_t seq, const char *text)
{
    struct store_publish p = {.version = {epoch, "c3", seq}, .body = str_of(text)};
    stores[i]->ops->restore(stores[i], &p, on_done, NULL);
    return answered();
}

/* ---- in a real one ---- */

START_TEST(members_meet)
{
    ck_assert(sync_as(
        0, (struct store_sync){.n = 1, .view = STR("A"), .tells = true, .kind = HINT_CLAIM}));
    ck_assert_str_eq(beats, "web1/a1 1 1");
    ck_assert_uint_eq(synced.highest_c, 1);
    ck_assert_str_eq(holder, "");
    ck_assert(sync_as(1, (struct store_sync){.n = 9}));
    ck_assert_str_eq(beats, "web1/a1 1 1; web2/b2 9 0");
    ck_assert_str_eq(views, "web1 A");
    ck_assert(sync_as(1, (struct store_sync){.n = 10, .view = STR("B"), .known_c = 1}));
    ck_assert(sync_as(0, (struct store_sync){.n = 2, .known_c = 1}));
    ck_assert_str_eq(beats, "web2/b2 10 2; web1/a1 2 1");
    ck_assert_str_eq(views, "web2 B");
    WAIT_FOR(nhints[1] == 1);
    ck_assert_ptr_nonnull(strstr(told[1], "; claim a1"));
    ck_assert_uint_eq(nhints[0], 0); /* the own one is not told, and web2 had no news */
    ck_assert_uint_eq(nrefused[0] + nrefused[1], 0);
}
END_TEST

START_TEST(the_lock_and_the_state_go_round)
{
    ck_assert(acquire_as(0, 99));
    ck_assert(acquired.granted && acquired.epoch == 100);
    ck_assert_uint_eq(acquired.version.epoch, 0);
    ck_assert(acquire_as(1, 500));
    ck_assert(!acquired.granted && acquired.left_ms > 0 && acquired.left_ms <= 3000);
    ck_assert_str_eq(holder, MINE);
    ck_assert(publish_as(1, 100, 1, "{}") && !yes);
    ck_assert(publish_as(0, 100, 1, "{1}") && yes);
    ck_assert(publish_as(0, 100, 1, "{2}") && !yes);
    ck_assert(sync_as(1, (struct store_sync){.n = 1}));
    ck_assert_str_eq(body, "{1}");
    ck_assert(synced.version.epoch == 100 && synced.version.seq == 1);
    ck_assert_str_eq(synced.version.by, "a1");
    ck_assert(sync_as(1, (struct store_sync){.n = 2, .known = {100, "a1", 1}}));
    ck_assert_str_eq(body, "");
    ck_assert(sync_as(0, (struct store_sync){.n = 1, .lock = MINE, .epoch = 100}));
    ck_assert(synced.renewed);
    ck_assert(sync_as(1, (struct store_sync){.n = 3, .lock = MINE, .epoch = 99}));
    ck_assert(!synced.renewed);
    stores[0]->ops->offer(stores[0], MINE, "b2", on_done, NULL);
    ck_assert(answered() && yes);
    ck_assert(sync_as(1, (struct store_sync){.n = 4}));
    ck_assert_str_eq(next, "b2");
    ck_assert(acquire_as(1, 0));
    ck_assert(acquired.granted && acquired.epoch == 101 && acquired.version.epoch == 100);
    ck_assert(restore_as(0, 300, 1, "{3}") && yes);
    ck_assert(restore_as(0, 300, 1, "{3}") && !yes);
    stores[0]->ops->release(stores[0], MINE, on_done, NULL);
    ck_assert(answered() && !yes);
    const char *nodes[] = {"web1", "web3"};
    stores[1]->ops->forget(stores[1], OTHERS, nodes, 2, on_done, NULL);
    ck_assert(answered() && yes);
    stores[1]->ops->release(stores[1], OTHERS, on_done, NULL);
    ck_assert(answered() && yes);
    ck_assert(sync_as(1, (struct store_sync){.n = 5}));
    ck_assert_str_eq(beats, "web2/b2 5 0");
    ck_assert_str_eq(holder, "");
    WAIT_FOR(nhints[1] == 3 && nhints[0] == 1);
    ck_assert_ptr_nonnull(strstr(told[1], "; state a1; lock a1; state a1"));
    ck_assert_ptr_nonnull(strstr(told[0], "; lock b2"));
    ck_assert_uint_eq(nrefused[0] + nrefused[1], 0);
}
END_TEST

static void set_by_hand(const char *const *words, size_t n)
{
    size_t lens[16];
    for (size_t i = 0; i < n; i++)
        lens[i] = strlen(words[i]);
    struct redis_reply *r = redis_server_call(&server, words, lens, n);
    ck_assert_int_ne(r->type, REPLY_ERROR);
    resp_reply_free(r);
}

START_TEST(a_lock_set_by_hand_is_held_for_ever)
{
    set_by_hand((const char *[]){"SET", "{ringproxy:edge}:lock", "operator"}, 3);
    ck_assert(sync_as(0, (struct store_sync){.n = 1}));
    ck_assert_str_eq(holder, "operator");
    ck_assert_uint_eq(synced.left_ms, NUMBER_MAX);
    ck_assert(acquire_as(0, 1) && !acquired.granted);
    ck_assert_str_eq(holder, "operator");
    ck_assert_uint_eq(acquired.left_ms, NUMBER_MAX);
    ck_assert_uint_eq(nrefused[0], 0);
}
END_TEST

START_TEST(what_is_broken_is_told_once_and_the_rest_serves)
{
    set_by_hand((const char *[]){"HSET", "{ringproxy:edge}:lock", "a", "b"}, 4);
    set_by_hand((const char *[]){"SET", "{ringproxy:edge}:state", "x"}, 3);
    set_by_hand((const char *[]){"SET", "{ringproxy:edge}:next", "not\nme"}, 3);
    set_by_hand((const char *[]){"HSET", "{ringproxy:edge}:beats", "a b", "a1 1 1", "web3", "x y"},
                6);
    for (unsigned i = 1; i <= 3; i++)
        ck_assert(sync_as(0, (struct store_sync){.n = i, .view = STR("A")}));
    ck_assert_str_eq(beats, "web1/a1 3 3");
    ck_assert_str_eq(holder, "?");
    ck_assert_str_eq(next, "");
    ck_assert_uint_eq(synced.version.epoch, 0);
    ck_assert_uint_eq(nrefused[0], 5);
    ck_assert_ptr_nonnull(strstr(told[0], "refused the lock has a value of nobody"));
    ck_assert_ptr_nonnull(strstr(told[0], "refused the lock is offered to nobody"));
    ck_assert_ptr_nonnull(strstr(told[0], "refused the key state held no publication"));
    ck_assert_ptr_nonnull(strstr(told[0], "refused a beat of a node whose name no node can have"));
    ck_assert_ptr_nonnull(strstr(told[0], "refused a beat that is none of web3"));
}
END_TEST

START_TEST(a_body_or_view_beyond_bounds_is_left_out)
{
    char *big = malloc(STORE_BODY_MAX + 2);
    ck_assert(big);
    memset(big, 'x', STORE_BODY_MAX + 1);
    big[STORE_BODY_MAX + 1] = '\0';
    set_by_hand((const char *[]){"HSET", "{ringproxy:edge}:beats", "web2", "b2 1 1"}, 4);
    set_by_hand((const char *[]){"HSET", "{ringproxy:edge}:views", "web2", big}, 4);
    ck_assert(restore_as(1, 10, 1, big) && yes);
    ck_assert(sync_as(0, (struct store_sync){.n = 1, .known = {9, "a1", 1}}));
    ck_assert_str_eq(views, "");
    ck_assert_str_eq(body, "");
    ck_assert_uint_eq(synced.version.epoch, 0); /* as if nothing were there */
    ck_assert_uint_eq(nrefused[0], 2);
    big[STORE_BODY_MAX] = '\0';
    ck_assert(restore_as(1, 10, 2, big) && yes);
    ck_assert(sync_as(0, (struct store_sync){.n = 1, .known = {9, "a1", 1}}));
    ck_assert_uint_eq(synced.body.n, STORE_BODY_MAX);
    ck_assert_uint_eq(synced.version.seq, 2);
    free(big);
}
END_TEST

START_TEST(an_epoch_of_a_thousand_years_ahead_is_not_believed)
{
    const uint64_t y2026 = UINT64_C(1767225600000), year = UINT64_C(31556952000);
    ck_assert_uint_eq(store_redis_most_epoch(0), y2026 + 1000 * year); /* a clock never set */
    ck_assert_uint_eq(store_redis_most_epoch(y2026 + 5), y2026 + 1000 * year + 5);
    ck_assert_uint_lt(store_redis_most_epoch(y2026 + 1000 * year), NUMBER_MAX);
    set_by_hand((const char *[]){"HSET", "{ringproxy:edge}:state", "epoch", "9007199254740991",
                                 "by", "c3", "seq", "1", "body", "{}"},
                10);
    set_by_hand((const char *[]){"SET", "{ringproxy:edge}:epoch", "9007199254740991"}, 3);
    ck_assert(sync_as(0, (struct store_sync){.n = 1}));
    ck_assert_uint_eq(synced.version.epoch, 0);
    ck_assert_ptr_nonnull(strstr(told[0], "refused the key state held no publication"));
    ck_assert(acquire_as(0, 99) && acquired.granted);
    ck_assert_uint_eq(acquired.epoch, 100);
    ck_assert(publish_as(0, 100, 1, "{}") && yes);
}
END_TEST

/* How often the server was asked for a PONG. */
static unsigned pings(void)
{
    const char *words[] = {"INFO", "commandstats"};
    struct redis_reply *r = redis_server_call(&server, words, (size_t[]){4, 12}, 2);
    const char *calls = strstr(r->text.p, "cmdstat_ping:calls=");
    unsigned n = calls ? (unsigned)atoi(calls + strlen("cmdstat_ping:calls=")) : 0;
    resp_reply_free(r);
    return n;
}

START_TEST(a_quiet_channel_is_asked_whether_it_is_there)
{
    store_redis_close(stores[0], on_closed, NULL);
    lock_ttl_ms = 1000;
    open_store(0);
    lock_ttl_ms = 60000;
    WAIT_FOR(nreached[0] == 2 && listeners() == 2 && nclosed == 1);
    unsigned before = pings();
    WAIT_FOR(pings() >= before + 2);
    ck_assert(sync_as(1, (struct store_sync){.n = 1, .view = STR("B"), .tells = true}));
    WAIT_FOR(nhints[0] == 1);
    for (enum redis_trouble t = 0; t < REDIS_TROUBLES; t++)
        ck_assert_uint_eq(store_redis_counts(stores[0])->of[t], 0);
}
END_TEST

START_TEST(one_that_becomes_a_replica_is_left)
{
    set_by_hand((const char *[]){"REPLICAOF", "127.0.0.1", "1"}, 3);
    ck_assert(!sync_as(0, (struct store_sync){.n = 1}));
    ck_assert(!acquire_as(1, 1));
    WAIT_FOR(nreached[0] == 2 && nreached[1] == 2);
    ck_assert(!store_redis_is_up(stores[0]));
    ck_assert_ptr_nonnull(strstr(told[0], "it is no primary any more"));
    set_by_hand((const char *[]){"REPLICAOF", "NO", "ONE"}, 3);
    WAIT_FOR(nreached[0] == 3 && nreached[1] == 3);
    ck_assert(sync_as(0, (struct store_sync){.n = 2}));
}
END_TEST

/* ---- in one that answers nonsense ---- */

static void answer(const char *text)
{
    fake.answers[1] = (struct fake_answer){"EVAL", text};
}

START_TEST(an_error_is_told_once_and_the_outcome_unknown)
{
    answer("-NOPERM this user has no permissions\r\n");
    for (unsigned i = 0; i < 3; i++)
        ck_assert(!sync_as(0, (struct store_sync){.n = i}));
    ck_assert(!acquire_as(0, 1));
    ck_assert(!publish_as(0, 1, 1, "{}"));
    ck_assert_str_eq(strstr(told[0], "; refused"),
                     "; refused sync: NOPERM this user has no permissions; "
                     "refused acquire: NOPERM this user has no permissions; "
                     "refused publish: NOPERM this user has no permissions");
    ck_assert(store_redis_is_up(stores[0]));
    ck_assert_uint_eq(store_redis_counts(stores[0])->of[REDIS_ANSWER], 5);
}
END_TEST

/* An answer to acquire with this in place of one element. */
static const char *acquire_answer(unsigned at, const char *element)
{
    static char out[512];
    const char *e[] = {":1\r\n", ":7\r\n",       "$0\r\n\r\n", ":0\r\n",
                       ":6\r\n", "$2\r\na1\r\n", ":2\r\n"};
    size_t n = (size_t)snprintf(out, sizeof out, "*7\r\n");
    for (unsigned i = 0; i < 7; i++)
        n += (size_t)snprintf(out + n, sizeof out - n, "%s", i == at ? element : e[i]);
    return out;
}

START_TEST(an_answer_of_another_shape_is_refused_whole)
{
    static const struct {
        unsigned at;
        const char *element;
    } cases[] = {
        {0, "+1\r\n"},
        {1, ":-1\r\n"},
        {1, ":0\r\n"},
        {1, ":9007199254740992\r\n"},
        {2, ":1\r\n"},
        {3, ":-2\r\n"},
        {3, "$-1\r\n"},
        {4, ":0\r\n"},
        {5, "$0\r\n\r\n"},
        {5, "$2\r\nA1\r\n"},
        {5, "$33\r\n0123456789abcdef0123456789abcdef0\r\n"},
        {6, ":0\r\n"},
        {6, "*0\r\n"},
    };
    answer(acquire_answer(9, ""));
    ck_assert(acquire_as(0, 1) && acquired.granted && acquired.epoch == 7);
    ck_assert_uint_eq(acquired.version.seq, 2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        answer(acquire_answer(cases[i].at, cases[i].element));
        ck_assert_msg(!acquire_as(0, 1), "case %zu", i);
    }
    answer("*0\r\n");
    ck_assert(!acquire_as(0, 1));
    ck_assert(!sync_as(0, (struct store_sync){.n = 1}));
    answer(":2\r\n");
    ck_assert(!publish_as(0, 1, 1, "{}"));
    ck_assert(!acquire_as(0, 1));
    answer("$1\r\n1\r\n");
    ck_assert(!publish_as(0, 1, 1, "{}"));
    ck_assert_uint_eq(nrefused[0], 3);
}
END_TEST

START_TEST(hints_that_are_none_are_refused_once)
{
    static const char *const payloads[] = {"",        "state",   "state ",   "state A1", "stat a1",
                                           "view a1", "view\na", "lock b2 ", "state b2"};
    char text[128];
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++) {
        snprintf(text, sizeof text,
                 "*3\r\n$7\r\nmessage\r\n$16\r\n{ringproxy:edge}\r\n$%zu\r\n%s\r\n",
                 strlen(payloads[i]), payloads[i]);
        fake_redis_send(&fake, text);
    }
    WAIT_FOR(nhints[0]);
    ck_assert_str_eq(strstr(told[0], "; refused"),
                     "; refused a message of the channel that is no hint; state b2");
}
END_TEST

START_TEST(calls_are_not_told_after_a_close)
{
    answer("");
    const struct store_sync s = {.node = "web1", .instance = "a1", .n = 1};
    stores[0]->ops->sync(stores[0], &s, on_synced, NULL);
    stores[0]->ops->release(stores[0], MINE, on_done, NULL);
    store_redis_close(stores[0], on_closed, NULL);
    stores[0] = NULL;
    WAIT_FOR(nclosed);
    ck_assert_uint_eq(nanswers + nunknown, 0);
}
END_TEST

static Suite *build(void)
{
    Suite *suite = suite_create("store_redis");
    TCase *real = tcase_create("real"), *nonsense = tcase_create("nonsense");
    tcase_set_timeout(real, 120);
    tcase_add_checked_fixture(real, set_up_real, tear_down);
    tcase_add_checked_fixture(nonsense, set_up_fake, tear_down);
    tcase_add_test(real, members_meet);
    tcase_add_test(real, the_lock_and_the_state_go_round);
    tcase_add_test(real, a_lock_set_by_hand_is_held_for_ever);
    tcase_add_test(real, what_is_broken_is_told_once_and_the_rest_serves);
    tcase_add_test(real, a_body_or_view_beyond_bounds_is_left_out);
    tcase_add_test(real, an_epoch_of_a_thousand_years_ahead_is_not_believed);
    tcase_add_test(real, a_quiet_channel_is_asked_whether_it_is_there);
    tcase_add_test(real, one_that_becomes_a_replica_is_left);
    tcase_add_test(nonsense, an_error_is_told_once_and_the_outcome_unknown);
    tcase_add_test(nonsense, an_answer_of_another_shape_is_refused_whole);
    tcase_add_test(nonsense, hints_that_are_none_are_refused_once);
    tcase_add_test(nonsense, calls_are_not_told_after_a_close);
    suite_add_tcase(suite, real);
    suite_add_tcase(suite, nonsense);
    return suite;
}

int main(void)
{
    if (!redis_server_start(&server)) {
        printf("there is no redis-server\n");
        return 77; /* meson: skipped */
    }
    int r = unit_main(build);
    redis_server_stop(&server);
    return r;
}
