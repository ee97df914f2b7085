/* The admin interface of a proxy in a fleet, which is made up here. */
#include <stdio.h>

#include "admin/admin.h"
#include "tests/lib/talk.h"
#include "tests/lib/unit.h"

/* b1 is server 0, b2 1, s1 2. */
static const char config_text[] = "admin: {listen: '127.0.0.1:9900'}\n"
                                  "listeners:\n"
                                  "  - {name: web, listen: '127.0.0.1:8080', pool: cache}\n"
                                  "pools:\n"
                                  "  - name: cache\n"
                                  "    backends:\n"
                                  "      - {name: b1, address: '127.0.0.1:9001'}\n"
                                  "      - {name: b2, address: '127.0.0.1:9002'}\n"
                                  "    standbys:\n"
                                  "      - {name: s1, address: '127.0.0.1:9101'}\n";

static struct fixture {
    uv_loop_t loop;
    struct net net;
    struct config *config;
    struct snapshot *snapshot;
    struct admin *admin;
    struct admin_hooks hooks;
    bool closed;
    struct admin_fleet_status status;
    bool keeper;
    unsigned nasked; /* the calls of `request`, and the last one */
    size_t pool;
    unsigned server;
    enum admin_verb verb;
    admin_requested_fn *done;
    void *done_arg;
} f;

static const struct admin_fleet_status *fake_status(void *arg)
{
    return &f.status;
}

static bool fake_votes(void *arg, size_t pool, unsigned server, struct admin_votes *votes)
{
    ck_assert(pool == 0 && server < 3);
    *votes = (struct admin_votes){.down = server, .up = 3 - server, .voters = 3};
    return f.keeper;
}

static void fake_request(void *arg, size_t pool, unsigned server, enum admin_verb verb,
                         admin_requested_fn *done, void *done_arg)
{
    f.nasked++;
    f.pool = pool;
    f.server = server;
    f.verb = verb;
    f.done = done;
    f.done_arg = done_arg;
}

static const struct admin_fleet fleet = {
    .status = fake_status, .votes = fake_votes, .request = fake_request};

static void on_notice(void *arg, const struct roster_notice *n)
{
}

static void on_closed(void *arg)
{
    f.closed = true;
    net_close(&f.net);
}

static struct snapshot *snapshot_of(const char *text, const struct snapshot *old)
{
    struct config_errors errors = {0};
    struct error e;
    f.config = config_parse("test.yaml", text, strlen(text), &errors);
    ck_assert_msg(f.config != NULL, "%s", errors.count ? errors.lines[0] : "?");
    config_errors_free(&errors);
    f.config->admin_listen.v4.sin_port = 0;
    struct snapshot *s = snapshot_new(f.config, old, old ? 8 : 7, 1, on_notice, NULL, &e);
    ck_assert_msg(s != NULL, "%s", e.text);
    config_unref(f.config);
    return s;
}

static void start(void)
{
    struct error e;
    f = (struct fixture){0};
    f.status = (struct admin_fleet_status){
        .name = "edge", .node = "edge-1", .role = "alone", .since_ms = 5};
    ck_assert_int_eq(uv_loop_init(&f.loop), 0);
    net_init(&f.net, &f.loop);
    f.snapshot = snapshot_of(config_text, NULL);
    f.hooks = (struct admin_hooks){.fleet = &fleet};
    f.admin = admin_new(&f.net, f.snapshot, &f.hooks);
    ck_assert_msg(admin_listen(f.admin, &e), "%s", e.text);
    uint64_t now_ms = uv_now(&f.loop);
    for (unsigned i = 0; i < 3; i++)
        roster_first(f.snapshot->rosters[0], i, true, "connected", now_ms, now_ms);
    roster_start(f.snapshot->rosters[0], now_ms);
    admin_set_ready(f.admin, true);
}

static void finish(void)
{
    if (!f.closed)
        admin_close(f.admin, on_closed, NULL);
    snapshot_retire(f.snapshot);
    snapshot_unref(f.snapshot);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    ck_assert(f.closed);
    net_deinit(&f.net);
    ck_assert_int_eq(uv_loop_close(&f.loop), 0);
}

static void begin(struct talk *t, const char *line)
{
    char request[256];
    snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
             line);
    talk_open(t, &f.loop, admin_address(f.admin));
    talk_say(t, request);
}

/* The body as JSON; the caller has a reference. */
static json_t *answer_of(struct talk *t, int status)
{
    char line[32];
    json_error_t e;
    talk_wait_end(t);
    snprintf(line, sizeof line, "HTTP/1.1 %d ", status);
    ck_assert_msg(talk_has(t, line), "%s", t->got.data);
    json_t *root = json_loads(strstr(t->got.data, "\r\n\r\n") + 4, 0, &e);
    ck_assert_msg(root != NULL, "%s", e.text);
    talk_close(t);
    return root;
}

static json_t *ask(const char *line, int status)
{
    struct talk t;
    begin(&t, line);
    return answer_of(&t, status);
}

static void expect(json_t *got, const char *wanted)
{
    json_error_t e;
    json_t *want = json_loads(wanted, JSON_DECODE_ANY, &e);
    ck_assert_msg(want != NULL, "%s", e.text);
    char *text = json_dumps(got, JSON_ENCODE_ANY);
    ck_assert_msg(json_equal(got, want), "%s", text);
    free(text);
    json_decref(want);
}

/* The server S of /status, borrowed from root. */
static json_t *server_of(json_t *root, const char *kind, size_t i)
{
    json_t *p = json_array_get(json_object_get(root, "pools"), 0);
    return json_array_get(json_object_get(p, kind), i);
}

/* ---- what is shown ---- */

START_TEST(without_a_fleet_nothing_is_said_of_one)
{
    start();
    f.hooks.fleet = NULL;
    json_t *root = ask("GET /status", 200);
    ck_assert_ptr_null(json_object_get(root, "cluster"));
    ck_assert_ptr_null(json_object_get(server_of(root, "backends", 0), "votes"));
    json_decref(root);
    finish();
}
END_TEST

START_TEST(a_member_that_never_heard_of_a_publication_has_no_numbers)
{
    start();
    json_t *root = ask("GET /status", 200);
    expect(json_object_get(root, "cluster"),
           "{\"name\": \"edge\", \"node\": \"edge-1\","
           " \"node_twice\": false, \"redis\": \"down\", \"role\": \"alone\","
           " \"since_ms\": 5, \"keeper\": null, \"epoch\": null, \"seq\": null, \"age_ms\": null,"
           " \"members\": []}");
    json_decref(root);
    finish();
}
END_TEST

static const char *const differs[] = {"cache", "other"};
static const struct admin_place except[] = {{"cache", "b2"}};
static const struct admin_member members[] = {
    {.node = "edge-1",
     .role = "keeper",
     .seen_ms = 1,
     .epoch = 1795430400123,
     .seq = 9,
     .accepting = true,
     .ready = true,
     .priority = 100},
    {.node = "edge-2",
     .role = "follower",
     .seen_ms = 700,
     .epoch = 1795430400123,
     .seq = 8,
     .listen_active = true,
     .priority = 7,
     .differs = differs,
     .ndiffers = 2,
     .except = except,
     .nexcept = 1},
    {.node = "edge-3", .seen_ms = 9000, .silent = true},
};
static const struct admin_count refused[] = {{"state", 1}, {"view", 2}};
static const struct admin_count errors[] = {{"timeout", 3}};

static void be_keeper(void)
{
    f.keeper = true;
    f.status = (struct admin_fleet_status){.name = "edge",
                                           .node = "edge-1",
                                           .redis_up = true,
                                           .role = "keeper",
                                           .since_ms = 70,
                                           .keeper = "edge-1",
                                           .epoch = 1795430400123,
                                           .seq = 9,
                                           .age_ms = 60,
                                           .members = members,
                                           .nmembers = 3,
                                           .nlive = 2,
                                           .publications = 4,
                                           .stalls = 5,
                                           .refused = refused,
                                           .nrefused = 2,
                                           .redis_errors = errors,
                                           .nredis_errors = 1};
}

START_TEST(a_keeper_shows_members_and_votes)
{
    start();
    be_keeper();
    json_t *root = ask("GET /status", 200);
    expect(json_object_get(root, "cluster"),
           "{\"name\": \"edge\", \"node\": \"edge-1\","
           " \"node_twice\": false, \"redis\": \"up\", \"role\": \"keeper\","
           " \"since_ms\": 70, \"keeper\": \"edge-1\", \"epoch\": 1795430400123, \"seq\": 9,"
           " \"age_ms\": 60, \"members\": ["
           "{\"node\": \"edge-1\", \"role\": \"keeper\", \"seen_ms\": 1, \"silent\": false,"
           " \"epoch\": 1795430400123,"
           " \"seq\": 9, \"listen\": \"always\", \"accepting\": true, \"priority\": 100,"
           " \"ready\": true, \"digest_differs\": [], \"except\": []},"
           "{\"node\": \"edge-2\", \"role\": \"follower\", \"seen_ms\": 700, \"silent\": false,"
           " \"epoch\": 1795430400123, \"seq\": 8, \"listen\": \"active\", \"accepting\": false,"
           " \"priority\": 7, \"ready\": false, \"digest_differs\": [\"cache\", \"other\"],"
           " \"except\": [{\"pool\": \"cache\", \"server\": \"b2\"}]},"
           "{\"node\": \"edge-3\", \"role\": null, \"seen_ms\": 9000, \"silent\": true}]}");
    expect(json_object_get(server_of(root, "backends", 1), "votes"),
           "{\"down\": 1, \"up\": 2, \"voters\": 3}");
    expect(json_object_get(server_of(root, "standbys", 0), "votes"),
           "{\"down\": 2, \"up\": 1, \"voters\": 3}");
    ck_assert_ptr_null(json_object_get(server_of(root, "backends", 1), "here"));
    json_decref(root);
    finish();
}
END_TEST

START_TEST(the_metrics_tell_of_the_fleet)
{
    static const char *const lines[] = {
        "ringproxy_cluster_role{role=\"alone\"} 0\n",
        "ringproxy_cluster_role{role=\"keeper\"} 1\n",
        "ringproxy_cluster_members 2\n",
        "ringproxy_cluster_accepting 1\n",
        "ringproxy_cluster_redis_up 1\n",
        "ringproxy_cluster_redis_errors_total{kind=\"timeout\"} 3\n",
        "ringproxy_cluster_epoch 1795430400123\n",
        "ringproxy_cluster_seq 9\n",
        "ringproxy_cluster_publications_total 4\n",
        "ringproxy_cluster_refused_total{reason=\"state\"} 1\n",
        "ringproxy_cluster_refused_total{reason=\"view\"} 2\n",
        "ringproxy_cluster_exceptions{pool=\"cache\",backend=\"b2\"} 0\n",
        "ringproxy_cluster_digest_differs{pool=\"cache\"} 1\n",
        "ringproxy_cluster_stalls_total 5\n",
    };
    struct talk t;
    start();
    be_keeper();
    begin(&t, "GET /metrics");
    talk_wait_end(&t);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        ck_assert_msg(talk_has(&t, lines[i]), "%s", lines[i]);
    talk_close(&t);
    f.hooks.fleet = NULL;
    begin(&t, "GET /metrics");
    talk_wait_end(&t);
    ck_assert(!talk_has(&t, "cluster"));
    talk_close(&t);
    finish();
}
END_TEST

START_TEST(who_stands_by_is_not_ready)
{
    start();
    json_decref(ask("GET /readyz", 200));
    f.hooks.stands_by = true;
    json_t *root = ask("GET /readyz", 503);
    expect(root, "{\"ready\": false, \"reason\": \"standby\"}");
    json_decref(root);
    json_decref(ask("GET /healthz", 200));
    finish();
}
END_TEST

/* ---- where this proxy differs from what was agreed ---- */

/* All in service. */
static void agree(void)
{
    struct agreed_server servers[] = {
        {.name = "b1", .phase = AGREED_UP},
        {.name = "b2", .phase = AGREED_UP},
        {.name = "s1", .phase = AGREED_UP},
    };
    const struct agreed_pool pool = {
        .name = "cache", .digest = "", .servers = servers, .nservers = 3};
    roster_agree(f.snapshot->rosters[0], &pool, uv_now(&f.loop));
    pool_set_agreed(f.snapshot->pools[0], 5, 7);
}

static void check(unsigned server, bool ok)
{
    uint64_t now_ms = uv_now(&f.loop);
    for (unsigned i = 0; i < 5; i++) /* more than `fall` and `rise` */
        roster_check(f.snapshot->rosters[0], server, ok, ok ? "connected" : "refused", now_ms,
                     now_ms);
}

/* A key of b1, and who serves it as /route says. */
static json_t *route_of_b1(void)
{
    char line[64];
    for (unsigned i = 0;; i++) {
        snprintf(line, sizeof line, "GET /route?pool=cache&key=k%u", i);
        json_t *root = ask(line, 200);
        if (strcmp(json_string_value(json_object_get(root, "home")), "b1") == 0)
            return root;
        json_decref(root);
    }
}

START_TEST(an_exception_is_shown_beside_what_was_agreed)
{
    start();
    agree();
    json_t *root = route_of_b1();
    ck_assert_str_eq(json_string_value(json_object_get(root, "server")), "b1");
    ck_assert_ptr_null(json_object_get(root, "here"));
    json_decref(root);
    check(0, false);
    root = route_of_b1();
    ck_assert_str_eq(json_string_value(json_object_get(root, "server")), "b1");
    ck_assert_str_eq(json_string_value(json_object_get(root, "here")), "s1");
    json_decref(root);
    root = ask("GET /status", 200);
    ck_assert_str_eq(json_string_value(json_object_get(server_of(root, "backends", 0), "here")),
                     "down");
    ck_assert_ptr_null(json_object_get(server_of(root, "backends", 1), "here"));
    json_decref(root);
    struct talk t;
    begin(&t, "GET /metrics");
    talk_wait_end(&t);
    ck_assert(talk_has(&t, "ringproxy_cluster_exceptions{pool=\"cache\",backend=\"b1\"} 1\n"));
    ck_assert(talk_has(&t, "ringproxy_cluster_exceptions{pool=\"cache\",backend=\"b2\"} 0\n"));
    talk_close(&t);
    json_decref(ask("GET /readyz", 200));
    finish();
}
END_TEST

START_TEST(who_reaches_no_server_is_not_ready)
{
    start();
    agree();
    check(0, false);
    check(1, false);
    json_decref(ask("GET /readyz", 200));
    check(2, false);
    json_t *root = ask("GET /readyz", 503);
    expect(root, "{\"ready\": false, \"pool\": \"cache\","
                 " \"reason\": \"no server of a pool can be reached from here\"}");
    json_decref(root);
    check(1, true);
    json_decref(ask("GET /readyz", 200));
    finish();
}
END_TEST

/* A member that is cut off from servers and store alike is blind first, and then alone. */
START_TEST(also_when_it_has_lost_the_fleet_since)
{
    start();
    agree();
    for (unsigned i = 0; i < 3; i++)
        check(i, false);
    json_decref(ask("GET /readyz", 503));
    roster_part(f.snapshot->rosters[0], uv_now(&f.loop));
    json_decref(ask("GET /readyz", 503));
    check(1, true);
    json_decref(ask("GET /readyz", 200));
    finish();
}
END_TEST

/* ---- what is asked ---- */

static void begin_post(struct talk *t, const char *line)
{
    unsigned before = f.nasked;
    begin(t, line);
    while (f.nasked == before)
        uv_run(&f.loop, UV_RUN_ONCE);
}

START_TEST(a_request_is_answered_when_the_fleet_has_agreed)
{
    struct talk t;
    start();
    be_keeper();
    begin_post(&t, "POST /pools/cache/backends/s1/drain");
    ck_assert(f.pool == 0 && f.server == 2 && f.verb == ADMIN_DRAIN);
    ck_assert_uint_eq(t.got.end, 0);
    roster_drain(f.snapshot->rosters[0], 2, uv_now(&f.loop)); /* as a publication says */
    f.done(f.done_arg, ADMIN_AGREED);
    json_t *root = answer_of(&t, 200);
    ck_assert_str_eq(json_string_value(json_object_get(root, "name")), "s1");
    ck_assert_str_eq(json_string_value(json_object_get(root, "state")), "draining");
    ck_assert(json_is_true(json_object_get(root, "agreed")));
    ck_assert_ptr_nonnull(json_object_get(root, "votes"));
    json_decref(root);
    finish();
}
END_TEST

START_TEST(or_when_it_has_not_in_time)
{
    struct talk t;
    start();
    begin_post(&t, "POST /pools/cache/backends/b1/enable");
    ck_assert(f.server == 0 && f.verb == ADMIN_ENABLE);
    f.done(f.done_arg, ADMIN_HERE);
    json_t *root = answer_of(&t, 200);
    ck_assert(json_is_false(json_object_get(root, "agreed")));
    json_decref(root);
    finish();
}
END_TEST

START_TEST(who_stands_by_asks_the_fleet_all_the_same)
{
    struct talk t;
    start();
    f.hooks.stands_by = true;
    begin_post(&t, "POST /pools/cache/backends/b1/drain");
    f.done(f.done_arg, ADMIN_AGREED);
    json_decref(answer_of(&t, 200));
    finish();
}
END_TEST

START_TEST(the_fleet_may_refuse)
{
    static const struct {
        enum admin_outcome outcome;
        int status;
    } cases[] = {{ADMIN_REFUSED, 409}, {ADMIN_CROWDED, 503}};
    struct talk t;
    start();
    for (size_t i = 0; i < 2; i++) {
        begin_post(&t, "POST /pools/cache/backends/b2/failback");
        ck_assert(f.server == 1 && f.verb == ADMIN_FAILBACK);
        f.done(f.done_arg, cases[i].outcome);
        json_decref(answer_of(&t, cases[i].status));
    }
    json_decref(ask("POST /pools/cache/backends/b9/drain", 404));
    admin_set_ready(f.admin, false);
    json_decref(ask("POST /pools/cache/backends/b1/drain", 503));
    ck_assert_uint_eq(f.nasked, 2);
    finish();
}
END_TEST

static void fake_at_once(void *arg, size_t pool, unsigned server, enum admin_verb verb,
                         admin_requested_fn *done, void *done_arg)
{
    done(done_arg, ADMIN_HERE);
}

START_TEST(an_answer_may_come_within_the_request)
{
    struct admin_fleet at_once = fleet;
    at_once.request = fake_at_once;
    start();
    f.hooks.fleet = &at_once;
    json_t *root = ask("POST /pools/cache/backends/b1/drain", 200);
    ck_assert(json_is_false(json_object_get(root, "agreed")));
    json_decref(root);
    finish();
}
END_TEST

/* Ids are others in the new generation. */
START_TEST(an_answer_is_of_the_configuration_in_service)
{
    struct talk t[2];
    start();
    begin_post(&t[0], "POST /pools/cache/backends/b2/drain");
    admin_requested_fn *done = f.done;
    void *of_b2 = f.done_arg;
    begin_post(&t[1], "POST /pools/cache/backends/b1/drain");
    struct snapshot *next =
        snapshot_of("admin: {listen: '127.0.0.1:9900'}\n"
                    "listeners: [{name: web, listen: '127.0.0.1:8080', pool: cache}]\n"
                    "pools: [{name: cache, backends: [{name: b2, address: '127.0.0.1:9002'}]}]\n",
                    f.snapshot);
    snapshot_start(next, f.snapshot, uv_now(&f.loop));
    admin_set_snapshot(f.admin, next);
    snapshot_retire(f.snapshot);
    snapshot_unref(f.snapshot);
    f.snapshot = next;
    f.done(f.done_arg, ADMIN_AGREED);
    json_decref(answer_of(&t[1], 404));
    done(of_b2, ADMIN_AGREED);
    json_t *root = answer_of(&t[0], 200);
    ck_assert_str_eq(json_string_value(json_object_get(root, "name")), "b2");
    json_decref(root);
    finish();
}
END_TEST

START_TEST(a_client_may_go_before_the_answer)
{
    struct talk t;
    start();
    begin_post(&t, "POST /pools/cache/backends/b1/drain");
    talk_close(&t);
    json_decref(ask("GET /healthz", 200));
    f.done(f.done_arg, ADMIN_AGREED);
    finish();
}
END_TEST

START_TEST(and_so_may_the_interface)
{
    struct talk t;
    start();
    begin_post(&t, "POST /pools/cache/backends/b1/drain");
    admin_close(f.admin, on_closed, NULL);
    while (!f.closed)
        uv_run(&f.loop, UV_RUN_ONCE);
    f.done(f.done_arg, ADMIN_AGREED);
    talk_close(&t);
    finish();
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("admin_fleet");
    TCase *t = tcase_create("admin_fleet");
    tcase_add_test(t, without_a_fleet_nothing_is_said_of_one);
    tcase_add_test(t, a_member_that_never_heard_of_a_publication_has_no_numbers);
    tcase_add_test(t, a_keeper_shows_members_and_votes);
    tcase_add_test(t, the_metrics_tell_of_the_fleet);
    tcase_add_test(t, who_stands_by_is_not_ready);
    tcase_add_test(t, an_exception_is_shown_beside_what_was_agreed);
    tcase_add_test(t, who_reaches_no_server_is_not_ready);
    tcase_add_test(t, also_when_it_has_lost_the_fleet_since);
    tcase_add_test(t, a_request_is_answered_when_the_fleet_has_agreed);
    tcase_add_test(t, or_when_it_has_not_in_time);
    tcase_add_test(t, who_stands_by_asks_the_fleet_all_the_same);
    tcase_add_test(t, the_fleet_may_refuse);
    tcase_add_test(t, an_answer_may_come_within_the_request);
    tcase_add_test(t, an_answer_is_of_the_configuration_in_service);
    tcase_add_test(t, a_client_may_go_before_the_answer);
    tcase_add_test(t, and_so_may_the_interface);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
