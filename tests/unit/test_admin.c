#include "admin/admin.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>

#include "admin/prometheus.h"
#include "admin/status.h"
#include "base/mem.h"
#include "ring/hash.h"
#include "tests/lib/talk.h"
#include "tests/lib/unit.h"

#define WORKERS 2

/* Names are sorted: b1 is server 0, b2 1, s1 2. */
static const char config_text[] = "admin: {listen: '127.0.0.1:9900'}\n"
                                  "listeners:\n"
                                  "  - {name: web, listen: '127.0.0.1:8080', pool: cache}\n"
                                  "  - {name: api, listen: '127.0.0.1:8081', pool: other}\n"
                                  "pools:\n"
                                  "  - name: cache\n"
                                  "    backends:\n"
                                  "      - {name: b1, address: '127.0.0.1:9001'}\n"
                                  "      - {name: b2, address: '127.0.0.1:9002'}\n"
                                  "    standbys:\n"
                                  "      - {name: s1, address: '127.0.0.1:9101'}\n"
                                  "  - name: other\n"
                                  "    backends:\n"
                                  "      - {name: c1, address: 'c1.example:9003'}\n";

struct fixture {
    uv_loop_t loop;
    struct net net;
    struct config *config;
    struct snapshot *snapshot;
    struct admin *admin;
    unsigned changes;
    size_t changed_pool;
    bool closed;
    struct admin_hooks hooks;
    struct admin_reload asked; /* the last call of hooks.reload, and who waits for its answer */
    unsigned nasked;
    admin_done_fn *done;
    void *done_arg;
    uint64_t asked_ms; /* of an upgrade */
};

static void on_reload(void *arg, const struct admin_reload *r, admin_done_fn *done, void *done_arg)
{
    struct fixture *f = arg;
    f->asked = *r;
    f->nasked++;
    f->done = done;
    f->done_arg = done_arg;
}

static void on_upgrade(void *arg, uint64_t timeout_ms, admin_done_fn *done, void *done_arg)
{
    struct fixture *f = arg;
    f->asked_ms = timeout_ms;
    f->nasked++;
    f->done = done;
    f->done_arg = done_arg;
}

/* What an operator did reaches the roster of the pool. */
static void on_notice(void *arg, const struct roster_notice *n)
{
    struct fixture *f = arg;
    if (n->event != ROSTER_DRAINED && n->event != ROSTER_ENABLED)
        return;
    f->changes++;
    f->changed_pool = snapshot_find_pool(f->snapshot, n->pool->config->name);
}

static void on_closed(void *arg)
{
    struct fixture *f = arg;
    f->closed = true;
    net_close(&f->net);
}

/* The state before the first checks. */
static void start_unchecked(struct fixture *f)
{
    *f = (struct fixture){0};
    struct config_errors errors = {0};
    struct error e;
    f->config = config_parse("test.yaml", config_text, sizeof config_text - 1, &errors);
    ck_assert_msg(f->config != NULL, "%s", errors.count ? errors.lines[0] : "?");
    config_errors_free(&errors);
    f->config->admin_listen.v4.sin_port = 0;
    ck_assert_int_eq(uv_loop_init(&f->loop), 0);
    net_init(&f->net, &f->loop);
    f->snapshot = snapshot_new(f->config, NULL, 7, WORKERS, on_notice, f, &e);
    ck_assert_msg(f->snapshot != NULL, "%s", e.text);
    f->hooks = (struct admin_hooks){.reload = on_reload, .upgrade = on_upgrade, .arg = f};
    f->admin = admin_new(&f->net, f->snapshot, &f->hooks);
    ck_assert_msg(admin_listen(f->admin, &e), "%s", e.text);
}

/* Everything up, except that `down` (a name, or NULL) failed its first check. */
static void start(struct fixture *f, const char *down)
{
    start_unchecked(f);
    for (size_t p = 0; p < f->snapshot->npools; p++) {
        struct pool *pool = f->snapshot->pools[p];
        for (unsigned i = 0; i < pool->nservers; i++) {
            bool ok = down == NULL || strcmp(pool->members[i].server->name, down) != 0;
            roster_first(f->snapshot->rosters[p], i, ok, ok ? "connected" : "refused",
                         uv_now(&f->loop), uv_now(&f->loop));
        }
        roster_start(f->snapshot->rosters[p], uv_now(&f->loop));
    }
    admin_set_ready(f->admin, true);
}

static void finish(struct fixture *f)
{
    admin_close(f->admin, on_closed, f);
    snapshot_retire(f->snapshot);
    snapshot_unref(f->snapshot); /* allowed from here on */
    uv_run(&f->loop, UV_RUN_DEFAULT);
    ck_assert(f->closed);
    net_deinit(&f->net);
    ck_assert_int_eq(uv_loop_close(&f->loop), 0);
    config_unref(f->config);
}

/* Sends a request with further field lines; returns the status, t holds the answer. */
static int ask_with(struct fixture *f, struct talk *t, const char *line, const char *fields)
{
    char request[1024];
    snprintf(request, sizeof request, "%s HTTP/1.1\r\n%s%sConnection: close\r\n\r\n", line,
             strstr(fields, "Host:") ? "" : "Host: 127.0.0.1:9900\r\n", fields);
    talk_open(t, &f->loop, admin_address(f->admin));
    talk_say(t, request);
    talk_wait_end(t);
    ck_assert(talk_has(t, "\r\n\r\n"));
    ck_assert_int_eq(strncmp(t->got.data, "HTTP/1.1 ", 9), 0);
    return atoi(t->got.data + 9);
}

/* Status alone. */
static int ask(struct fixture *f, const char *line, const char *fields)
{
    struct talk t;
    int status = ask_with(f, &t, line, fields);
    talk_close(&t);
    return status;
}

/* The body as JSON; the caller has a reference. */
static json_t *ask_json(struct fixture *f, const char *line, int status)
{
    struct talk t;
    int got = ask_with(f, &t, line, "");
    ck_assert_msg(got == status, "%s: %s", line, t.got.data);
    ck_assert(talk_has(&t, "\r\nContent-Type: application/json\r\n"));
    json_error_t e;
    json_t *root = json_loads(strstr(t.got.data, "\r\n\r\n") + 4, JSON_ALLOW_NUL, &e);
    ck_assert_msg(root != NULL, "%s", e.text);
    talk_close(&t);
    return root;
}

static void expect_json(json_t *got, const char *expected)
{
    json_error_t e;
    json_t *want = json_loads(expected, 0, &e);
    ck_assert_msg(want != NULL, "%s", e.text);
    char *text = json_dumps(got, 0);
    ck_assert_msg(json_equal(got, want), "%s", text);
    free(text);
    json_decref(want);
}

/* The server S of /status, borrowed from root. */
static json_t *server_of(json_t *root, size_t pool, const char *kind, size_t i)
{
    json_t *p = json_array_get(json_object_get(root, "pools"), pool);
    return json_array_get(json_object_get(p, kind), i);
}

START_TEST(alive_is_not_ready)
{
    struct fixture f;
    start(&f, NULL);
    ck_assert_int_eq(ask(&f, "GET /healthz", ""), 200);
    ck_assert_int_eq(ask(&f, "GET /readyz", ""), 200);
    admin_set_ready(f.admin, false);
    ck_assert_int_eq(ask(&f, "GET /healthz", ""), 200);
    ck_assert_int_eq(ask(&f, "GET /readyz", ""), 503);
    finish(&f);
}
END_TEST

START_TEST(one_dead_pool_is_not_ready)
{
    struct fixture f;
    start(&f, "c1");
    json_t *root = ask_json(&f, "GET /readyz", 503);
    ck_assert_str_eq(json_string_value(json_object_get(root, "pool")), "other");
    json_decref(root);
    finish(&f);
    start(&f, "b1"); /* its standby serves */
    ck_assert_int_eq(ask(&f, "GET /readyz", ""), 200);
    finish(&f);
}
END_TEST

START_TEST(status_has_the_contracts_shape)
{
    struct fixture f;
    start(&f, NULL);
    struct server *b2 = f.snapshot->pools[0]->members[1].server;
    cell_add(&b2->cells[0].requests, 5);
    cell_add(&b2->cells[1].requests, 6);
    cell_add(&b2->cells[1].errors, 2);
    atomic_store(&b2->active, 3);
    struct listener_cell *cells = f.snapshot->listeners[0].stats->cells;
    cell_add(&cells[0].connections, 1);
    cell_add(&cells[1].connections, 2);
    cell_add(&cells[1].requests, 9);
    json_t *root = ask_json(&f, "GET /status", 200);
    ck_assert_str_eq(json_string_value(json_object_get(root, "version")), RINGPROXY_VERSION);
    ck_assert_int_eq(json_integer_value(json_object_get(root, "generation")), 7);
    expect_json(
        json_object_get(root, "listeners"),
        "[{\"name\":\"web\",\"listen\":\"127.0.0.1:8080\",\"mode\":\"http\","
        "\"pool\":\"cache\",\"routes\":[{\"pool\":\"cache\"}],\"connections\":3,\"requests\":9},"
        "{\"name\":\"api\",\"listen\":\"127.0.0.1:8081\",\"mode\":\"http\","
        "\"pool\":\"other\",\"routes\":[{\"pool\":\"other\"}],\"connections\":0,\"requests\":0}]");
    json_t *s = server_of(root, 0, "backends", 1), *check = json_object_get(s, "last_check");
    ck_assert(json_is_integer(json_object_get(check, "age_ms")));
    ck_assert_int_eq(json_object_set_new(check, "age_ms", json_integer(0)), 0);
    expect_json(s, "{\"name\":\"b2\",\"address\":\"127.0.0.1:9002\",\"state\":\"up\","
                   "\"serving\":[\"b2\"],\"requests\":11,\"active\":3,\"errors\":2,"
                   "\"last_check\":{\"ok\":true,\"reason\":\"connected\",\"age_ms\":0},"
                   "\"suspicion\":{\"suspected\":0,\"last\":null}}");
    s = server_of(root, 0, "standbys", 0);
    ck_assert_str_eq(json_string_value(json_object_get(s, "state")), "standby");
    expect_json(json_object_get(s, "serving"), "[]");
    ck_assert_uint_eq(json_array_size(json_object_get(root, "pools")), 2);
    atomic_store(&b2->active, 0);
    json_decref(root);
    finish(&f);
}
END_TEST

/* The pool has no check that could decide, so none was asked for. */
START_TEST(a_suspect_server_is_shown_with_what_it_did)
{
    struct fixture f;
    start(&f, NULL);
    struct suspicions *s = &f.snapshot->pools[0]->members[1].server->suspicions;
    suspicions_note(s, BLAME_RESET, 1);
    suspicions_note(s, BLAME_MALFORMED, UINT64_MAX >> 8); /* by a clock that is ahead */
    json_t *root = ask_json(&f, "GET /status", 200);
    expect_json(
        json_object_get(server_of(root, 0, "backends", 1), "suspicion"),
        "{\"suspected\":2,\"last\":{\"reason\":\"malformed\",\"age_ms\":0,\"check\":null}}");
    json_decref(root);
    finish(&f);
}
END_TEST

START_TEST(a_server_by_name_is_shown_with_where_it_is)
{
    struct fixture f;
    struct addr at;
    start(&f, NULL);
    json_t *root = ask_json(&f, "GET /status", 200);
    json_t *c1 = server_of(root, 1, "backends", 0), *b1 = server_of(root, 0, "backends", 0);
    ck_assert_str_eq(json_string_value(json_object_get(c1, "address")), "c1.example:9003");
    ck_assert(json_is_null(json_object_get(c1, "resolved")));
    ck_assert(json_object_get(b1, "resolved") == NULL);
    json_decref(root);
    ck_assert_int_eq(addr_parse(STR("[2001:db8::1]:9003"), &at), ADDR_OK);
    ck_assert(server_move(f.snapshot->pools[1]->members[0].server, &at));
    root = ask_json(&f, "GET /status", 200);
    c1 = server_of(root, 1, "backends", 0);
    ck_assert_str_eq(json_string_value(json_object_get(c1, "address")), "c1.example:9003");
    ck_assert_str_eq(json_string_value(json_object_get(c1, "resolved")), "[2001:db8::1]:9003");
    json_decref(root);
    finish(&f);
}
END_TEST

START_TEST(a_promoted_standby_is_shown_with_the_points_it_holds)
{
    struct fixture f;
    start(&f, "b1");
    json_t *root = ask_json(&f, "GET /status", 200);
    json_t *b1 = server_of(root, 0, "backends", 0), *s1 = server_of(root, 0, "standbys", 0);
    ck_assert_str_eq(json_string_value(json_object_get(b1, "state")), "down");
    expect_json(json_object_get(b1, "serving"), "[]");
    ck_assert(json_is_false(json_object_get(json_object_get(b1, "last_check"), "ok")));
    ck_assert_str_eq(json_string_value(json_object_get(s1, "state")), "promoted");
    expect_json(json_object_get(s1, "serving"), "[\"b1\"]");
    json_decref(root);
    finish(&f);
}
END_TEST

START_TEST(both_sides_of_a_ramp_hold_the_points)
{
    struct fixture f;
    start(&f, NULL);
    const struct pool_owner ramp[2] = {{.owner = 0, .from = 2, .share = 100},
                                       {.owner = 1, .from = SERVER_NONE}};
    pool_publish(f.snapshot->pools[0], ramp);
    json_t *root = ask_json(&f, "GET /status", 200);
    expect_json(json_object_get(server_of(root, 0, "backends", 0), "serving"), "[\"b1\"]");
    expect_json(json_object_get(server_of(root, 0, "standbys", 0), "serving"), "[\"b1\"]");
    json_decref(root);
    finish(&f);
}
END_TEST

START_TEST(routes_name_who_serves_and_whose_it_is)
{
    struct fixture f;
    start(&f, "b1");
    struct pool *p = f.snapshot->pools[0];
    unsigned of_b1 = 0;
    for (int i = 0; i < 20; i++) {
        char line[64], expected[160], key[16];
        snprintf(key, sizeof key, "k/ %d", i);
        snprintf(line, sizeof line, "GET /route?pool=cache&key=k%%2F%%20%d", i);
        unsigned home = pool_home(p, hash_key(str_of(key)));
        of_b1 += home == 0;
        snprintf(expected, sizeof expected,
                 "{\"pool\":\"cache\",\"key\":\"%s\",\"server\":\"%s\",\"home\":\"%s\"}", key,
                 home == 0 ? "s1" : "b2", home == 0 ? "b1" : "b2");
        json_t *root = ask_json(&f, line, 200);
        expect_json(root, expected);
        json_decref(root);
    }
    ck_assert_uint_gt(of_b1, 0);
    ck_assert_uint_lt(of_b1, 20);
    finish(&f);
}
END_TEST

START_TEST(a_route_nobody_serves_is_null)
{
    struct fixture f;
    start(&f, "c1");
    json_t *root = ask_json(&f, "GET /route?key=x&pool=other", 200);
    expect_json(root, "{\"pool\":\"other\",\"key\":\"x\",\"server\":null,\"home\":\"c1\"}");
    json_decref(root);
    finish(&f);
}
END_TEST

START_TEST(a_key_of_any_bytes_has_a_route)
{
    struct fixture f;
    start(&f, NULL);
    json_t *root = ask_json(&f, "GET /route?pool=cache&key=%ff%00a%22", 200);
    json_t *key = json_object_get(root, "key");
    ck_assert_uint_eq(json_string_length(key), 6);
    ck_assert_int_eq(memcmp(json_string_value(key), "\xef\xbf\xbd\0a\"", 6), 0);
    struct str bytes = {"\xff\0a\"", 4}; /* the hash is of what was sent */
    struct pool *p = f.snapshot->pools[0];
    ck_assert_str_eq(json_string_value(json_object_get(root, "home")),
                     p->members[pool_home(p, hash_key(bytes))].server->name);
    json_decref(root);
    finish(&f);
}
END_TEST

/* Many keys at once. */
static void post_routes(struct fixture *f, struct talk *t, const char *query, const char *keys,
                        size_t n)
{
    char head[256];
    snprintf(head, sizeof head,
             "POST /route%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: "
             "%zu\r\n\r\n",
             query, n);
    talk_open(t, &f->loop, admin_address(f->admin));
    talk_say(t, head);
    talk_send(t, keys, n);
    talk_wait_end(t);
}

START_TEST(many_keys_have_a_line_each)
{
    struct fixture f;
    struct talk t;
    char expected[64];
    start(&f, "b1");
    struct pool *p = f.snapshot->pools[0];
    post_routes(&f, &t, "?pool=cache", "k/ 1\n\nk/ 2", 10);
    ck_assert(talk_has(&t, "200 OK\r\n") && talk_has(&t, "text/plain"));
    const char *one = pool_home(p, hash_key(STR("k/ 1"))) == 0 ? "s1" : "b2";
    const char *none = pool_home(p, hash_key(STR(""))) == 0 ? "s1" : "b2";
    const char *two = pool_home(p, hash_key(STR("k/ 2"))) == 0 ? "s1" : "b2";
    snprintf(expected, sizeof expected, "\r\n\r\nk/ 1\t%s\n\t%s\nk/ 2\t%s\n", one, none, two);
    ck_assert(talk_has(&t, expected));
    talk_close(&t);
    post_routes(&f, &t, "?pool=none", "a", 1);
    ck_assert(talk_has(&t, " 404 "));
    talk_close(&t);
    post_routes(&f, &t, "", "a", 1);
    ck_assert(talk_has(&t, " 400 "));
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(too_many_keys_are_refused)
{
    struct fixture f;
    struct talk t;
    char *keys = mem_zalloc(20000);
    memset(keys, '\n', 20000);
    start(&f, NULL);
    post_routes(&f, &t, "?pool=other", keys, 16384);
    ck_assert(talk_has(&t, "200 OK\r\n"));
    talk_close(&t);
    post_routes(&f, &t, "?pool=other", keys, 16385);
    ck_assert(talk_has(&t, " 413 ") && talk_has(&t, "{\"error\":\"more than 16384 keys\"}"));
    talk_close(&t);
    free(keys);
    finish(&f);
}
END_TEST

START_TEST(what_does_not_exist_is_refused_in_json)
{
    static const struct {
        const char *line;
        int status;
    } cases[] = {
        {"GET /route", 400},
        {"GET /route?pool=cache", 400},
        {"GET /route?key=a", 400},
        {"GET /route?pool=cache&key=%4", 400},
        {"GET /route?pool=none&key=a", 404},
        {"GET /nothing", 404},
        {"GET /status/", 404},
        {"POST /pools/none/backends/b1/drain", 404},
        {"POST /pools/cache/backends/none/drain", 404},
        {"POST /pools/cache/backends/b1", 404},
        {"POST /pools/cache/backends/b1/", 404},
        {"POST /pools/cache/backends/b1/stop", 404},
        {"POST /pools/cache/backends/b1/drain/x", 404},
        {"POST /pools/cache/servers/b1/drain", 404},
        {"POST /pools/cache/backends/%zz/drain", 404},
        {"POST x", 400},
    };
    struct fixture f;
    start(&f, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct talk t;
        int status = ask_with(&f, &t, cases[i].line, "");
        ck_assert_msg(status == cases[i].status, "%s: %d", cases[i].line, status);
        if (i < sizeof cases / sizeof cases[0] - 1) /* the last is no HTTP at all */
            ck_assert(talk_has(&t, "{\"error\":\""));
        talk_close(&t);
    }
    ck_assert_uint_eq(f.changes, 0);
    finish(&f);
}
END_TEST

START_TEST(a_wrong_method_is_told_the_right_one)
{
    struct fixture f;
    struct talk t;
    start(&f, NULL);
    ck_assert_int_eq(ask_with(&f, &t, "POST /status", ""), 405);
    ck_assert(talk_has(&t, "\r\nAllow: GET, HEAD\r\n"));
    talk_close(&t);
    ck_assert_int_eq(ask_with(&f, &t, "DELETE /route", ""), 405);
    ck_assert(talk_has(&t, "\r\nAllow: GET, HEAD, POST\r\n"));
    talk_close(&t);
    ck_assert_int_eq(ask_with(&f, &t, "GET /pools/cache/backends/b1/drain", ""), 405);
    ck_assert(talk_has(&t, "\r\nAllow: POST\r\n"));
    talk_close(&t);
    ck_assert_int_eq(ask_with(&f, &t, "HEAD /status", ""), 200);
    ck_assert_str_eq(strstr(t.got.data, "\r\n\r\n"), "\r\n\r\n");
    talk_close(&t);
    ck_assert_uint_eq(f.changes, 0);
    ck_assert_int_eq(roster_state(f.snapshot->rosters[0], 0), ROSTER_UP);
    finish(&f);
}
END_TEST

START_TEST(operators_drain_and_enable)
{
    struct fixture f;
    start(&f, NULL);
    json_t *root = ask_json(&f, "POST /pools/cache/backends/b1/drain", 200);
    ck_assert_str_eq(json_string_value(json_object_get(root, "name")), "b1");
    ck_assert_str_eq(json_string_value(json_object_get(root, "state")), "draining");
    expect_json(json_object_get(root, "serving"), "[]");
    json_decref(root);
    ck_assert_uint_eq(f.changes, 1);
    ck_assert_uint_eq(f.changed_pool, 0);
    root = ask_json(&f, "GET /status", 200);
    expect_json(json_object_get(server_of(root, 0, "standbys", 0), "serving"), "[\"b1\"]");
    json_decref(root);
    root = ask_json(&f, "POST /pools/cache/backends/%62%31/enable", 200);
    ck_assert_str_eq(json_string_value(json_object_get(root, "state")), "up");
    expect_json(json_object_get(root, "serving"), "[\"b1\"]");
    json_decref(root);
    ck_assert_uint_eq(f.changes, 2);
    root = ask_json(&f, "POST /pools/other/backends/c1/drain", 200);
    json_decref(root);
    ck_assert_uint_eq(f.changed_pool, 1);
    ck_assert_int_eq(ask(&f, "GET /readyz", ""), 503);
    root = ask_json(&f, "POST /pools/cache/backends/s1/drain", 200); /* a standby too */
    ck_assert_str_eq(json_string_value(json_object_get(root, "state")), "draining");
    json_decref(root);
    finish(&f);
}
END_TEST

START_TEST(failback_needs_a_server_that_is_up)
{
    struct fixture f;
    start(&f, "b1");
    json_t *root = ask_json(&f, "POST /pools/cache/backends/b1/failback", 409);
    json_decref(root);
    ck_assert_uint_eq(f.changes, 0);
    root = ask_json(&f, "POST /pools/cache/backends/b2/failback", 200);
    ck_assert_str_eq(json_string_value(json_object_get(root, "state")), "up");
    json_decref(root);
    finish(&f);
}
END_TEST

START_TEST(before_the_first_checks_it_shows_but_does_nothing)
{
    static const char *const actions[] = {"drain", "enable", "failback"};
    struct fixture f;
    start_unchecked(&f);
    ck_assert_int_eq(ask(&f, "GET /healthz", ""), 200);
    ck_assert_int_eq(ask(&f, "GET /readyz", ""), 503);
    ck_assert_int_eq(ask(&f, "GET /metrics", ""), 200);
    ck_assert_int_eq(ask(&f, "GET /route?pool=cache&key=a", ""), 200);
    json_t *root = ask_json(&f, "GET /status", 200);
    ck_assert(json_is_null(json_object_get(server_of(root, 0, "backends", 0), "last_check")));
    json_decref(root);
    for (int i = 0; i < 3; i++) {
        char line[64];
        snprintf(line, sizeof line, "POST /pools/cache/backends/b1/%s", actions[i]);
        ck_assert_int_eq(ask(&f, line, ""), 503);
    }
    ck_assert_uint_eq(f.changes, 0);
    finish(&f);
}
END_TEST

START_TEST(a_token_guards_all_but_the_probes)
{
    struct fixture f;
    struct talk t;
    start(&f, NULL);
    f.config->admin_token = mem_strdup("s3cret-token");
    static const char *const guarded[] = {"GET /status", "GET /metrics", "GET /nothing",
                                          "GET /route?pool=cache&key=a",
                                          "POST /pools/cache/backends/b1/drain"};
    static const char *const wrong[] = {"",
                                        "Authorization: Bearer\r\n",
                                        "Authorization: Bearer \r\n",
                                        "Authorization: Bearer s3cret-toke\r\n",
                                        "Authorization: Bearer s3cret-tokenx\r\n",
                                        "Authorization: Bearer S3cret-token\r\n",
                                        "Authorization: Bearer s3cret-tokens3cret-token\r\n",
                                        "Authorization: Basic s3cret-token\r\n",
                                        "Authorization: s3cret-token\r\n"};
    for (size_t i = 0; i < sizeof guarded / sizeof guarded[0]; i++)
        for (size_t j = 0; j < sizeof wrong / sizeof wrong[0]; j++) {
            ck_assert_int_eq(ask_with(&f, &t, guarded[i], wrong[j]), 401);
            ck_assert(talk_has(&t, "\r\nWWW-Authenticate: Bearer "));
            talk_close(&t);
        }
    ck_assert_int_eq(roster_state(f.snapshot->rosters[0], 0), ROSTER_UP);
    ck_assert_int_eq(ask(&f, "GET /healthz", ""), 200);
    ck_assert_int_eq(ask(&f, "GET /readyz", ""), 200);
    const char *right = "Authorization: Bearer s3cret-token\r\n";
    ck_assert_int_eq(ask(&f, "GET /status", right), 200);
    ck_assert_int_eq(ask(&f, "GET /nothing", right), 404);
    ck_assert_int_eq(ask(&f, "GET /metrics", "authorization: bearer  s3cret-token\r\n"), 200);
    ck_assert_int_eq(ask(&f, "POST /pools/cache/backends/b1/drain", right), 200);
    finish(&f);
}
END_TEST

START_TEST(web_pages_of_others_may_not_post)
{
    static const struct {
        const char *fields;
        int status;
    } cases[] = {
        {"Origin: http://127.0.0.1:9900\r\n", 200},
        {"Host: localhost:9900\r\nOrigin: http://localhost:9900\r\n", 200},
        {"Host: [::1]:9900\r\nOrigin: https://[::1]:9900\r\n", 200},
        {"Host: [::1]\r\nOrigin: http://[::1]\r\n", 200},
        {"Origin: http://127.0.0.1:9901\r\n", 403},
        {"Origin: http://evil.example\r\n", 403},
        {"Origin: null\r\n", 403},
        {"Origin: \r\n", 403},
        {"Origin: http://127.0.0.1:9900.evil.example\r\n", 403},
        /* a name that was pointed at us */
        {"Host: evil.example:9900\r\nOrigin: http://evil.example:9900\r\n", 403},
        {"Host: evil.example\r\nOrigin: http://evil.example\r\n", 403},
    };
    struct fixture f;
    start(&f, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status = ask(&f, "POST /pools/cache/backends/b1/enable", cases[i].fields);
        ck_assert_msg(status == cases[i].status, "%s: %d", cases[i].fields, status);
    }
    /* with a token a name is as good as an address */
    f.config->admin_token = mem_strdup("t");
    ck_assert_int_eq(ask(&f, "POST /pools/cache/backends/b1/enable",
                         "Host: ops.example\r\nOrigin: https://ops.example\r\n"
                         "Authorization: Bearer t\r\n"),
                     200);
    ck_assert_int_eq(ask(&f, "POST /pools/cache/backends/b1/enable",
                         "Host: ops.example\r\nOrigin: https://evil.example\r\n"
                         "Authorization: Bearer t\r\n"),
                     403);
    finish(&f);
}
END_TEST

/* The value of a sample, its text up to the space given exactly. */
static double sample(const char *text, const char *name)
{
    size_t n = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, n) == 0 && line[n] == ' ')
            return atof(line + n);
    }
    ck_abort_msg("no %s in %s", name, text);
}

START_TEST(metrics_have_every_figure)
{
    struct fixture f;
    struct talk t;
    start(&f, "b1");
    struct listener_cell *cells = f.snapshot->listeners[0].stats->cells;
    cell_add(&cells[0].codes[200], 3);
    cell_add(&cells[1].codes[200], 4);
    cell_add(&cells[1].codes[503], 1);
    cell_add(&cells[0].keyless, 2);
    cell_add(&cells[0].connections, 1);
    cell_add(&cells[0].accepted, 8);
    histogram_record(&cells[0].duration, 400);      /* le 0.0005 */
    histogram_record(&cells[1].duration, 700);      /* le 0.001 */
    histogram_record(&cells[1].duration, 60000000); /* beyond all */
    struct server *b2 = f.snapshot->pools[0]->members[1].server;
    cell_add(&b2->cells[1].requests, 6);
    cell_add(&b2->cells[0].errors, 2);
    cell_add(&f.snapshot->pools[0]->totals->retries, 5);
    struct suspicions *s = &f.snapshot->pools[0]->members[1].server->suspicions;
    cell_add(&s->tries[BLAME_CLOSED], 2);
    cell_add(&s->passed, 4);
    cell_add(&s->failed, 1);
    ck_assert_int_eq(ask_with(&f, &t, "GET /metrics", ""), 200);
    ck_assert(talk_has(&t, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    const char *m = strstr(t.got.data, "\r\n\r\n") + 4;
#define HAS(name, value) ck_assert_double_eq_tol(sample(m, name), value, 1e-9)
    HAS("ringproxy_build_info{version=\"" RINGPROXY_VERSION "\"}", 1);
    HAS("ringproxy_requests_total{listener=\"web\",code=\"200\"}", 7);
    HAS("ringproxy_requests_total{listener=\"web\",code=\"503\"}", 1);
    HAS("ringproxy_request_duration_seconds_bucket{listener=\"web\",le=\"0.000500\"}", 1);
    HAS("ringproxy_request_duration_seconds_bucket{listener=\"web\",le=\"0.001000\"}", 2);
    HAS("ringproxy_request_duration_seconds_bucket{listener=\"web\",le=\"30.000000\"}", 2);
    HAS("ringproxy_request_duration_seconds_bucket{listener=\"web\",le=\"+Inf\"}", 3);
    HAS("ringproxy_request_duration_seconds_count{listener=\"web\"}", 3);
    HAS("ringproxy_request_duration_seconds_sum{listener=\"web\"}", 60.0011);
    HAS("ringproxy_request_duration_seconds_count{listener=\"api\"}", 0);
    HAS("ringproxy_keyless_total{listener=\"web\"}", 2);
    HAS("ringproxy_connections{listener=\"web\"}", 1);
    HAS("ringproxy_accepted_total{listener=\"web\"}", 8);
    HAS("ringproxy_backend_up{pool=\"cache\",backend=\"b1\"}", 0);
    HAS("ringproxy_backend_up{pool=\"cache\",backend=\"b2\"}", 1);
    HAS("ringproxy_backend_up{pool=\"cache\",backend=\"s1\"}", 1);
    HAS("ringproxy_backend_requests_total{pool=\"cache\",backend=\"b2\"}", 6);
    HAS("ringproxy_backend_errors_total{pool=\"cache\",backend=\"b2\"}", 2);
    HAS("ringproxy_backend_suspect_tries_total{pool=\"cache\",backend=\"b2\",reason=\"closed\"}",
        2);
    HAS("ringproxy_backend_suspect_tries_total{pool=\"cache\",backend=\"b2\",reason=\"status\"}",
        0);
    HAS("ringproxy_backend_suspicions_total{pool=\"cache\",backend=\"b2\",check=\"passed\"}", 4);
    HAS("ringproxy_backend_suspicions_total{pool=\"cache\",backend=\"b2\",check=\"failed\"}", 1);
    HAS("ringproxy_backend_active{pool=\"cache\",backend=\"b2\"}", 0);
    HAS("ringproxy_failovers_total{pool=\"other\"}", 0);
    HAS("ringproxy_retries_total{pool=\"cache\"}", 5);
#undef HAS
    talk_close(&t);
    finish(&f);
}
END_TEST

static const struct admin_reloads reloads = {.ok = 3, .refused = 2};
static const struct admin_hooks hooks = {.reloads = &reloads};

/* Every sample belongs to the family announced last, and no family comes twice. */
START_TEST(each_family_is_announced_once)
{
    struct fixture f;
    struct buffer out = {0};
    char family[128] = "", seen[4096] = "|";
    start(&f, NULL);
    cell_add(&f.snapshot->listeners[1].stats->cells[0].codes[404], 1);
    ck_assert(prometheus_write(&out, f.snapshot, &hooks));
    ck_assert(buffer_append(&out, "", 1));
    ck_assert_int_eq(out.data[out.end - 2], '\n');
    unsigned samples = 0, families = 0;
    char *rest = NULL;
    for (char *l = strtok_r(out.data, "\n", &rest); l; l = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(l, "# HELP ", 7) == 0) {
            ck_assert_int_eq(sscanf(l, "# HELP %120s", family), 1);
            char key[130];
            snprintf(key, sizeof key, "|%s|", family);
            ck_assert_ptr_null(strstr(seen, key));
            strcat(strcat(seen, family), "|");
            l = strtok_r(NULL, "\n", &rest);
            ck_assert(strncmp(l, "# TYPE ", 7) == 0 && strncmp(l + 7, family, strlen(family)) == 0);
            families++;
        } else {
            ck_assert_msg(strncmp(l, family, strlen(family)) == 0, "%s in %s", l, family);
            samples++;
        }
    }
    ck_assert_uint_ge(families, 13);
    ck_assert_uint_ge(samples, families);
    buffer_release(&out);
    finish(&f);
}
END_TEST

START_TEST(labels_are_escaped)
{
    struct fixture f;
    struct buffer out = {0};
    start(&f, NULL);
    free(f.config->listeners[0].name);
    f.config->listeners[0].name = mem_strdup("a\"b\\c\nd");
    ck_assert(prometheus_write(&out, f.snapshot, &hooks));
    ck_assert(buffer_append(&out, "", 1));
    ck_assert_ptr_nonnull(
        strstr(out.data, "\nringproxy_connections{listener=\"a\\\"b\\\\c\\nd\"} 0\n"));
    ck_assert_ptr_nonnull(strstr(out.data, "\nringproxy_reloads_total{result=\"refused\"} 2\n"));
    buffer_release(&out);
    finish(&f);
}
END_TEST

START_TEST(a_new_generation_is_shown)
{
    struct fixture f;
    struct error e;
    start(&f, NULL);
    struct snapshot *next = snapshot_new(f.config, f.snapshot, 8, WORKERS, on_notice, &f, &e);
    ck_assert_ptr_nonnull(next);
    admin_set_snapshot(f.admin, next);
    snapshot_retire(f.snapshot);
    snapshot_unref(f.snapshot);
    f.snapshot = next;
    json_t *root = ask_json(&f, "GET /status", 200);
    ck_assert_int_eq(json_integer_value(json_object_get(root, "generation")), 8);
    json_decref(root);
    finish(&f);
}
END_TEST

/* Sends a POST for a reload, which then waits for its answer. */
static void ask_reload(struct fixture *f, struct talk *t, const char *query)
{
    char request[256];
    unsigned before = f->nasked;
    snprintf(request, sizeof request,
             "POST /reload%s HTTP/1.1\r\nHost: 127.0.0.1:9900\r\nConnection: close\r\n\r\n", query);
    talk_open(t, &f->loop, admin_address(f->admin));
    talk_say(t, request);
    while (f->nasked == before)
        uv_run(&f->loop, UV_RUN_ONCE);
}

START_TEST(a_reload_is_answered_when_it_is_done)
{
    struct fixture f;
    struct talk t;
    start(&f, NULL);
    ask_reload(&f, &t, "?force=1");
    ck_assert(f.asked.force && !f.asked.dry_run && !f.asked.has_text);
    ck_assert_uint_eq(f.asked.generation, 0);
    ck_assert_uint_eq(t.got.end, 0);
    f.done(f.done_arg, 422, json_pack("{s:[s]}", "errors", "f:1:2: x: y"));
    talk_wait_end(&t);
    ck_assert(talk_has(&t, "HTTP/1.1 422 "));
    ck_assert(talk_has(&t, "\r\nCache-Control: no-store\r\n"));
    ck_assert(talk_has(&t, "\r\n\r\n{\"errors\":[\"f:1:2: x: y\"]}\n"));
    talk_close(&t);
    ask_reload(&f, &t, "");
    ck_assert(!f.asked.force);
    f.done(f.done_arg, 200, NULL); /* memory is out */
    talk_wait_end(&t);
    ck_assert(talk_has(&t, "HTTP/1.1 500 "));
    talk_close(&t);
    ck_assert_int_eq(ask(&f, "POST /reload?force=yes", ""), 400);
    ck_assert_int_eq(ask(&f, "POST /reload?dry_run=1", ""), 400);
    ck_assert_int_eq(ask(&f, "GET /reload", ""), 405);
    ck_assert_int_eq(ask(&f, "POST /reload", "Origin: http://evil.example\r\n"), 403);
    ck_assert_uint_eq(f.nasked, 2);
    finish(&f);
}
END_TEST

START_TEST(an_upgrade_is_answered_when_it_is_done)
{
    static const struct {
        const char *query;
        int status; /* 0: it is asked for */
        uint64_t ms;
    } cases[] = {{"", 0, 0},
                 {"?timeout=2s", 0, 2000},
                 {"?timeout=1h", 0, 3600000},
                 {"?timeout=0s", 400, 0},
                 {"?timeout=2h", 400, 0},
                 {"?timeout=2", 400, 0},
                 {"?timeout=", 400, 0}};
    struct fixture f;
    struct talk t;
    char request[256];
    start(&f, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned before = f.nasked;
        snprintf(request, sizeof request, "POST /upgrade%s", cases[i].query);
        if (cases[i].status) {
            ck_assert_int_eq(ask(&f, request, ""), cases[i].status);
            ck_assert_uint_eq(f.nasked, before);
            continue;
        }
        snprintf(request, sizeof request,
                 "POST /upgrade%s HTTP/1.1\r\nHost: 127.0.0.1:9900\r\nConnection: close\r\n\r\n",
                 cases[i].query);
        talk_open(&t, &f.loop, admin_address(f.admin));
        talk_say(&t, request);
        while (f.nasked == before)
            uv_run(&f.loop, UV_RUN_ONCE);
        ck_assert_uint_eq(f.asked_ms, cases[i].ms);
        f.done(f.done_arg, 200, json_pack("{s:i}", "pid", 77));
        talk_wait_end(&t);
        ck_assert(talk_has(&t, "HTTP/1.1 200 ") && talk_has(&t, "{\"pid\":77}"));
        talk_close(&t);
    }
    ck_assert_int_eq(ask(&f, "GET /upgrade", ""), 405);
    ck_assert_int_eq(ask(&f, "POST /upgrade", "Origin: http://evil.example\r\n"), 403);
    finish(&f);
}
END_TEST

/* What they change would be known to this process alone. */
START_TEST(operators_change_nothing_while_another_process_takes_over)
{
    struct fixture f;
    start(&f, NULL);
    admin_set_closed(f.admin, true);
    ck_assert_int_eq(ask(&f, "POST /pools/cache/backends/b1/drain", ""), 503);
    ck_assert_int_eq(ask(&f, "GET /readyz", ""), 200);
    ck_assert_uint_eq(f.changes, 0);
    admin_set_closed(f.admin, false);
    ck_assert_int_eq(ask(&f, "POST /pools/cache/backends/b1/drain", ""), 200);
    ck_assert_uint_eq(f.changes, 1);
    finish(&f);
}
END_TEST

START_TEST(nobody_need_wait_for_a_reload)
{
    struct fixture f;
    struct talk t;
    start(&f, NULL);
    ask_reload(&f, &t, "");
    talk_close(&t); /* the client goes, and this loop sees it */
    ck_assert_int_eq(ask(&f, "GET /healthz", ""), 200);
    f.done(f.done_arg, 200, json_object());
    ask_reload(&f, &t, "");
    admin_close(f.admin, on_closed, &f);
    talk_wait_end(&t);
    f.done(f.done_arg, 200, json_object());
    talk_close(&t);
    snapshot_retire(f.snapshot);
    snapshot_unref(f.snapshot);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    net_deinit(&f.net);
    ck_assert_int_eq(uv_loop_close(&f.loop), 0);
    config_unref(f.config);
}
END_TEST

/* --- the configuration --- */

#define ETAG_FIELD(name, before, f, after) \
    snprintf(fields, sizeof fields, name ": %s%s%s\r\n", before, (f)->config->etag, after)

START_TEST(the_file_in_force_is_given_under_its_tag)
{
    struct fixture f;
    struct talk t;
    char fields[128];
    start(&f, NULL);
    ck_assert_int_eq(ask_with(&f, &t, "GET /config", ""), 200);
    ck_assert(talk_has(&t, "\r\nContent-Type: application/yaml\r\n"));
    ETAG_FIELD("\r\nETag", "", &f, "");
    ck_assert(talk_has(&t, fields));
    ck_assert_str_eq(strstr(t.got.data, "\r\n\r\n") + 4, config_text);
    talk_close(&t);
    ck_assert_int_eq(ask_with(&f, &t, "HEAD /config", ""), 200);
    ck_assert(talk_has(&t, fields));
    snprintf(fields, sizeof fields, "\r\nContent-Length: %zu\r\n", sizeof config_text - 1);
    ck_assert(talk_has(&t, fields));
    ck_assert_str_eq(strstr(t.got.data, "\r\n\r\n") + 4, "");
    talk_close(&t);
    finish(&f);
}
END_TEST

/* Of each method: what it is answered with If-Match, and with If-None-Match. */
static const struct {
    const char *before, *after; /* around the tag in force */
    int match, none_match, put_match, put_none_match;
} conditions[] = {
    {"", "", 200, 304, 0, 412},
    {"W/", "", 412, 304, 412, 412}, /* weak tags never match strongly */
    {"\"x,\", \"y\" ,  ", " , \"z\"", 200, 304, 0, 412},
    {"\"x\",", ",W/\"z\"", 200, 304, 0, 412},
    {"\"x", "", 412, 200, 412, 0}, /* as text of another tag */
    {"x", "", 412, 200, 412, 0},
    {"", "x", 412, 200, 412, 0},
};

/* Sends a PUT of a file. True: the hook was called, and the request waits for its answer. Otherwise
 * it is answered with *status. */
static bool put(struct fixture *f, struct talk *t, const char *query, const char *fields,
                const char *body, int *status)
{
    char request[1024];
    unsigned before = f->nasked;
    snprintf(request, sizeof request,
             "PUT /config%s HTTP/1.1\r\nHost: 127.0.0.1:9900\r\n%sConnection: close\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             query, fields, strlen(body), body);
    talk_open(t, &f->loop, admin_address(f->admin));
    talk_say(t, request);
    while (f->nasked == before && buffer_len(&t->got) < 12)
        talk_turn(t);
    *status = f->nasked == before ? atoi(t->got.data + 9) : 0;
    return *status == 0;
}

static void start_writable(struct fixture *f)
{
    start(f, NULL);
    f->config->admin_write = true;
}

START_TEST(conditions_compare_tags)
{
    struct fixture f;
    struct talk t;
    char fields[256];
    int status;
    start_writable(&f);
    ETAG_FIELD("If-Match", conditions[_i].before, &f, conditions[_i].after);
    ck_assert_int_eq(ask(&f, "GET /config", fields), conditions[_i].match);
    put(&f, &t, "", fields, "x", &status);
    ck_assert_int_eq(status, conditions[_i].put_match);
    /* only then the reload has to find this generation */
    ck_assert_uint_eq(f.asked.generation, conditions[_i].put_match ? 0 : 7);
    if (status == 0)
        f.done(f.done_arg, 200, json_object());
    talk_close(&t);
    f.asked = (struct admin_reload){0};
    ETAG_FIELD("If-None-Match", conditions[_i].before, &f, conditions[_i].after);
    ck_assert_int_eq(ask(&f, "GET /config", fields), conditions[_i].none_match);
    ck_assert_int_eq(ask(&f, "HEAD /config", fields), conditions[_i].none_match);
    put(&f, &t, "", fields, "x", &status);
    ck_assert_int_eq(status, conditions[_i].put_none_match);
    ck_assert_uint_eq(f.asked.generation, 0);
    if (status == 0)
        f.done(f.done_arg, 200, json_object());
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(a_star_is_any_tag_and_lines_are_one_list)
{
    struct fixture f;
    char fields[128];
    start(&f, NULL);
    ck_assert_int_eq(ask(&f, "GET /config", "If-Match: *\r\n"), 200);
    ck_assert_int_eq(ask(&f, "GET /config", "If-None-Match: *\r\n"), 304);
    ETAG_FIELD("If-Match: \"a\"\r\nif-match", "", &f, "");
    ck_assert_int_eq(ask(&f, "GET /config", fields), 200);
    ck_assert_int_eq(ask(&f, "GET /config", "If-Match:\r\n"), 412);
    finish(&f);
}
END_TEST

START_TEST(a_put_asks_for_a_reload_with_its_text)
{
    struct fixture f;
    struct talk t;
    char field[128], etag[CONFIG_ETAG_SIZE];
    int status;
    start_writable(&f);
    ck_assert(put(&f, &t, "?force=1", "", "a: b\n", &status));
    ck_assert(f.asked.has_text && f.asked.force && !f.asked.dry_run);
    ck_assert_uint_eq(f.asked.text.n, 5);
    f.done(f.done_arg, 200, json_pack("{s:i}", "generation", 8));
    talk_wait_end(&t);
    ck_assert(talk_has(&t, "HTTP/1.1 200 ") && talk_has(&t, "\r\n\r\n{\"generation\":8}\n"));
    config_etag_of(STR("a: b\n"), etag);
    snprintf(field, sizeof field, "\r\nETag: %s\r\n", etag);
    ck_assert(talk_has(&t, field)); /* for the next If-Match */
    talk_close(&t);
    ck_assert(put(&f, &t, "", "", "a: b\n", &status));
    f.done(f.done_arg, 422, json_object());
    talk_wait_end(&t);
    ck_assert(talk_has(&t, "HTTP/1.1 422 ") && !talk_has(&t, "ETag"));
    talk_close(&t);
    ck_assert(put(&f, &t, "?dry_run=1", "", "a: b\n", &status));
    ck_assert(f.asked.dry_run);
    f.done(f.done_arg, 200, json_object());
    talk_wait_end(&t);
    ck_assert(!talk_has(&t, "ETag")); /* the text is not in force */
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(a_put_that_may_not_be_is_refused)
{
    static const struct {
        int status;
        const char *query, *fields;
    } cases[] = {
        {403, "", "Origin: http://evil.example\r\n"},
        {400, "?force=yes", ""},
        {400, "?dry_run", ""},
        {400, "?dryrun=1", ""},
        {400, "?force=1&dry-run=1", ""},
        {412, "", "If-Match: \"stale\"\r\n"},
        {415, "", "Content-Encoding: gzip\r\n"},
        {400, "", "Content-Range: bytes 0-4/5\r\n"},
    };
    struct fixture f;
    struct talk t;
    int status;
    start_writable(&f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert(!put(&f, &t, cases[i].query, cases[i].fields, "a: b\n", &status));
        ck_assert_int_eq(status, cases[i].status);
        talk_wait_end(&t);
        ck_assert(talk_has(&t, "{\"error\":\""));
        talk_close(&t);
    }
    f.config->admin_write = false;
    ck_assert(!put(&f, &t, "", "", "a: b\n", &status));
    ck_assert_int_eq(status, 403);
    talk_wait_text(&t, "admin: {write: on}", 1);
    talk_close(&t);
    ck_assert_uint_eq(f.nasked, 0);
    ck_assert_int_eq(ask(&f, "POST /config", ""), 405);
    ck_assert_int_eq(ask_with(&f, &t, "DELETE /config", ""), 405);
    ck_assert(talk_has(&t, "\r\nAllow: GET, HEAD, PUT\r\n"));
    talk_close(&t);
    ck_assert_int_eq(ask(&f, "PUT /status", ""), 405);
    finish(&f);
}
END_TEST

/* Who waits for a 100 is told before anything large is sent. */
START_TEST(a_body_is_taken_from_who_may_send_it)
{
    static const char head[] = "PUT /config HTTP/1.1\r\nHost: 127.0.0.1:9900\r\n"
                               "Expect: 100-continue\r\nContent-Length: ";
    static const struct {
        const char *length_and_fields, *answer;
        bool write, token;
    } cases[] = {
        {"16777216\r\n\r\n", "HTTP/1.1 100 ", true, false},
        {"16777217\r\n\r\n", "HTTP/1.1 413 ", true, false},
        {"16777216\r\n\r\n", "HTTP/1.1 403 ", false, false},
        {"16777216\r\n\r\n", "HTTP/1.1 401 ", true, true},
        {"16777216\r\nAuthorization: Bearer t\r\n\r\n", "HTTP/1.1 100 ", true, true},
        {"2\r\nIf-Match: \"a\"\r\n\r\n", "HTTP/1.1 412 ", true, false},
    };
    struct fixture f;
    struct talk t;
    start(&f, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        free(f.config->admin_token);
        f.config->admin_token = cases[i].token ? mem_strdup("t") : NULL;
        f.config->admin_write = cases[i].write;
        talk_open(&t, &f.loop, admin_address(f.admin));
        talk_say(&t, head);
        talk_say(&t, cases[i].length_and_fields);
        talk_wait_text(&t, "\r\n\r\n", 1);
        ck_assert_msg(strncmp(t.got.data, cases[i].answer, 13) == 0, "%zu: %s", i, t.got.data);
        talk_close(&t);
    }
    finish(&f);
}
END_TEST

/* A name that an attacker made to resolve to this address would be the origin of his page. */
START_TEST(without_a_token_a_name_gets_no_file)
{
    struct fixture f;
    start(&f, NULL);
    ck_assert_int_eq(ask(&f, "GET /config", "Host: evil.example:9900\r\n"), 403);
    ck_assert_int_eq(ask(&f, "GET /config", "Host: localhost:9900\r\n"), 200);
    ck_assert_int_eq(ask(&f, "GET /config", "Host: [::1]:9900\r\n"), 200);
    f.config->admin_token = mem_strdup("t");
    ck_assert_int_eq(ask(&f, "GET /config", ""), 401);
    ck_assert_int_eq(ask(&f, "GET /config", "Host: proxy.example\r\nAuthorization: Bearer t\r\n"),
                     200);
    finish(&f);
}
END_TEST

static Suite *build(void)
{
    Suite *suite = suite_create("admin");
    TCase *t = tcase_create("admin");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, alive_is_not_ready);
    tcase_add_test(t, one_dead_pool_is_not_ready);
    tcase_add_test(t, status_has_the_contracts_shape);
    tcase_add_test(t, a_suspect_server_is_shown_with_what_it_did);
    tcase_add_test(t, a_server_by_name_is_shown_with_where_it_is);
    tcase_add_test(t, a_promoted_standby_is_shown_with_the_points_it_holds);
    tcase_add_test(t, both_sides_of_a_ramp_hold_the_points);
    tcase_add_test(t, routes_name_who_serves_and_whose_it_is);
    tcase_add_test(t, a_route_nobody_serves_is_null);
    tcase_add_test(t, a_key_of_any_bytes_has_a_route);
    tcase_add_test(t, many_keys_have_a_line_each);
    tcase_add_test(t, too_many_keys_are_refused);
    tcase_add_test(t, what_does_not_exist_is_refused_in_json);
    tcase_add_test(t, a_wrong_method_is_told_the_right_one);
    tcase_add_test(t, operators_drain_and_enable);
    tcase_add_test(t, failback_needs_a_server_that_is_up);
    tcase_add_test(t, before_the_first_checks_it_shows_but_does_nothing);
    tcase_add_test(t, a_token_guards_all_but_the_probes);
    tcase_add_test(t, web_pages_of_others_may_not_post);
    tcase_add_test(t, metrics_have_every_figure);
    tcase_add_test(t, each_family_is_announced_once);
    tcase_add_test(t, labels_are_escaped);
    tcase_add_test(t, a_new_generation_is_shown);
    tcase_add_test(t, a_reload_is_answered_when_it_is_done);
    tcase_add_test(t, an_upgrade_is_answered_when_it_is_done);
    tcase_add_test(t, operators_change_nothing_while_another_process_takes_over);
    tcase_add_test(t, nobody_need_wait_for_a_reload);
    tcase_add_test(t, the_file_in_force_is_given_under_its_tag);
    tcase_add_loop_test(t, conditions_compare_tags, 0,
                        (int)(sizeof conditions / sizeof *conditions));
    tcase_add_test(t, a_star_is_any_tag_and_lines_are_one_list);
    tcase_add_test(t, a_put_asks_for_a_reload_with_its_text);
    tcase_add_test(t, a_put_that_may_not_be_is_refused);
    tcase_add_test(t, a_body_is_taken_from_who_may_send_it);
    tcase_add_test(t, without_a_token_a_name_gets_no_file);
    suite_add_tcase(suite, t);
    return suite;
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    return unit_main(build);
}
