/* When the checker probes whom, and what it makes of it: real sockets and time, one loop. Upper
 * bounds on time are left out, as machines are slow; what must not be early is exact. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "health/checker.h"
#include "pool/roster_save.h"
#include "tests/lib/fake_backend.h"
#include "tests/lib/unit.h"

#define N 4
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define BAD "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
/* A timer may be up to a ms early by another clock's rounding. */
#define CLOCK_MS 2

/* b1, b2, b3 and the standby s1, each with a fake behind it. */
struct world {
    uv_loop_t loop;
    struct net net;
    uv_timer_t heartbeat; /* a turn of the loop may end in a long wait for sockets else */
    struct fake fakes[N];
    struct fake other; /* at another address with the port of fakes[0], see name_b1() */
    bool has_other;
    char name[32]; /* "b1.example:PORT" */
    struct lookups *lookups;
    unsigned moves; /* of b1, after its first address */
    struct config_server servers[N];
    struct config_range range;
    struct config_pool config;
    struct pool *pool;
    struct roster *roster;
    struct checker *checker;
    bool first_done, closed, close_at_first;
    unsigned before; /* generations before this one whose checkers are not closed yet */
    unsigned failbacks, downs;
    unsigned accepted_at_down; /* by the server that went down last */
};

static void on_notice(void *arg, const struct roster_notice *n)
{
    struct world *w = arg;
    w->failbacks += n->event == ROSTER_FAILBACK;
    w->downs += n->event == ROSTER_SERVER_DOWN;
    if (n->event == ROSTER_SERVER_DOWN)
        w->accepted_at_down = w->fakes[n->member->id].accepted;
}

static void on_closed(void *arg)
{
    struct world *w = arg;
    ck_assert(!w->closed);
    w->closed = true;
}

static void on_first(void *arg)
{
    struct world *w = arg;
    ck_assert(!w->first_done);
    w->first_done = true;
    if (w->close_at_first)
        checker_close(w->checker, on_closed, w);
}

static void on_heartbeat(uv_timer_t *t)
{
}

static void world_init(struct world *w)
{
    static const char *const names[N] = {"b1", "b2", "b3", "s1"};
    memset(w, 0, sizeof *w);
    ck_assert_int_eq(uv_loop_init(&w->loop), 0);
    net_init(&w->net, &w->loop);
    ck_assert_int_eq(uv_timer_init(&w->loop, &w->heartbeat), 0);
    ck_assert_int_eq(uv_timer_start(&w->heartbeat, on_heartbeat, 10, 10), 0);
    w->range = (struct config_range){200, 399};
    for (int i = 0; i < N; i++) {
        fake_open(&w->fakes[i], &w->loop, FAKE_ANSWER, OK);
        w->servers[i] = (struct config_server){.name = (char *)(uintptr_t)names[i],
                                               .address = w->fakes[i].address,
                                               .address_text = w->fakes[i].address_text,
                                               .weight = 1};
    }
    w->config = (struct config_pool){
        .name = (char *)(uintptr_t) "p",
        .vnodes = 8,
        .health = {.check = CHECK_HTTP,
                   .path = (char *)(uintptr_t) "/",
                   .expect_status = &w->range,
                   .nexpect_status = 1,
                   .interval_ms = 80,
                   .timeout_ms = 20000,
                   .fall = 2,
                   .rise = 2},
        .passive = {.failures = 5},
        .failback = {.max_after_ms = 300000},
        .backends = w->servers,
        .nbackends = N - 1,
        .standbys = &w->servers[N - 1],
        .nstandbys = 1,
    };
}

/* ---- names ---- */

/* What the name server says; it is asked from threads. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const char *ips; /* "127.0.0.1 127.0.0.2"; "": no such name; NULL: silence */
    unsigned asked;
} dns = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, "", 0};

static void dns_says(const char *ips)
{
    pthread_mutex_lock(&dns.lock);
    dns.ips = ips;
    pthread_cond_broadcast(&dns.changed);
    pthread_mutex_unlock(&dns.lock);
}

static unsigned dns_asked(void)
{
    pthread_mutex_lock(&dns.lock);
    unsigned n = dns.asked;
    pthread_mutex_unlock(&dns.lock);
    return n;
}

static void ask(const char *host, uint16_t port, struct lookup_answer *out)
{
    char ips[64];
    pthread_mutex_lock(&dns.lock);
    dns.asked++;
    while (dns.ips == NULL)
        pthread_cond_wait(&dns.changed, &dns.lock);
    snprintf(ips, sizeof ips, "%s", dns.ips);
    pthread_mutex_unlock(&dns.lock);
    snprintf(out->reason, sizeof out->reason, "no such name");
    char *rest = ips, *ip;
    while ((ip = strsep(&rest, " ")) != NULL) {
        struct addr a;
        char text[64];
        snprintf(text, sizeof text, "%s:%u", ip, port);
        if (addr_parse(str_of(text), &a) == ADDR_OK)
            addr_set_add(&out->addrs, &a);
    }
}

static void on_moved(void *arg, struct server *s)
{
    struct world *w = arg;
    ck_assert_ptr_eq(s, w->pool->members[0].server);
    w->moves++;
}

/* Puts b1 behind a name, with a second backend at 127.0.0.2. Before world_open(). */
static void name_b1(struct world *w, const char *ips)
{
    unsigned port = addr_port(&w->fakes[0].address);
    dns_says(ips);
    fake_open_at(&w->other, &w->loop, FAKE_ANSWER, OK, "127.0.0.2", (uint16_t)port);
    w->has_other = true;
    snprintf(w->name, sizeof w->name, "b1.example:%u", port);
    w->servers[0].address = (struct addr){0};
    w->servers[0].address_text = w->name;
    w->config.resolve_ms = 30;
}

static bool b1_is_at(const struct world *w, const struct fake *f)
{
    struct addr at;
    uint32_t generation;
    return server_address(w->pool->members[0].server, &at, &generation) &&
           addr_eq(&at, &f->address);
}

static void check_b1_is_at(const struct world *w, const struct fake *f)
{
    ck_assert(b1_is_at(w, f));
}

/* ---- the world ---- */

static void world_open(struct world *w)
{
    struct error e;
    int err;
    w->lookups = lookups_new(&w->loop, ask, &err);
    ck_assert(w->lookups != NULL);
    const struct checker_names names = {w->lookups, on_moved, NULL, w};
    w->pool = pool_new(&w->config, 1, NULL, &e);
    ck_assert(w->pool != NULL);
    w->roster = roster_new(w->pool, on_notice, w);
    w->checker = checker_new(w->pool, w->roster);
    checker_open(w->checker, &w->net, &names);
}

static void turn(struct world *w)
{
    ck_assert(uv_run(&w->loop, UV_RUN_ONCE) != 0);
}

static void first_checks(struct world *w, const struct pool *old)
{
    w->first_done = false;
    checker_first(w->checker, old, on_first, w);
    ck_assert(!w->first_done);
    while (!w->first_done)
        turn(w);
}

static void world_first(struct world *w)
{
    first_checks(w, NULL);
}

static void world_run(struct world *w)
{
    world_first(w);
    roster_start(w->roster, uv_now(&w->loop));
    checker_run(w->checker);
}

static void world_close(struct world *w)
{
    if (!w->close_at_first)
        checker_close(w->checker, on_closed, w);
    while (!w->closed || w->before)
        turn(w);
    lookups_close(w->lookups);
    uv_close((uv_handle_t *)&w->heartbeat, NULL);
    roster_free(w->roster);
    pool_free(w->pool);
    for (int i = 0; i < N; i++)
        fake_close(&w->fakes[i]);
    if (w->has_other)
        fake_close(&w->other);
    net_close(&w->net);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    net_deinit(&w->net);
    ck_assert_int_eq(uv_loop_close(&w->loop), 0);
}

static void until_state(struct world *w, unsigned server, enum roster_state state)
{
    while (roster_state(w->roster, server) != state)
        turn(w);
}

static void until_accepted(struct world *w, unsigned server, unsigned n)
{
    while (w->fakes[server].accepted < n)
        turn(w);
}

/* ---- the next generation ---- */

struct before {
    struct world *world;
    struct pool *pool;
    struct roster *roster;
    struct checker *checker;
};

static void on_before_closed(void *arg)
{
    struct before *b = arg;
    b->world->before--;
    pool_free(b->pool);
    free(b);
}

/* Opens the next generation; the one before goes on. */
static struct before *next_generation(struct world *w, const struct config_pool *config)
{
    struct error e;
    struct before *b = mem_zalloc(sizeof *b);
    const struct checker_names names = {w->lookups, on_moved, NULL, w};
    *b = (struct before){w, w->pool, w->roster, w->checker};
    w->pool = pool_new(config, 1, b->pool, &e);
    ck_assert(w->pool != NULL);
    w->roster = roster_new(w->pool, on_notice, w);
    w->checker = checker_new(w->pool, w->roster);
    checker_open(w->checker, &w->net, &names);
    w->before++;
    return b;
}

static void switch_over(struct world *w, struct before *b)
{
    roster_adopt(w->roster, b->roster, uv_now(&w->loop));
    checker_adopt(w->checker, b->checker);
    checker_run(w->checker);
    checker_close(b->checker, on_before_closed, b);
    roster_free(b->roster);
}

/* The configuration must outlive the world. */
static void reload(struct world *w, const struct config_pool *config)
{
    struct before *b = next_generation(w, config);
    first_checks(w, b->pool);
    switch_over(w, b);
}

START_TEST(the_first_checks_decide_how_servers_start)
{
    struct world w;
    world_init(&w);
    w.fakes[1].text = BAD;
    w.fakes[3].kind = FAKE_RESET;
    world_open(&w);
    world_run(&w);
    ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_UP);
    ck_assert_int_eq(roster_state(w.roster, 1), ROSTER_DOWN);
    ck_assert_int_eq(roster_state(w.roster, 2), ROSTER_UP);
    ck_assert_int_eq(roster_state(w.roster, 3), ROSTER_DOWN);
    ck_assert_str_eq(roster_last_check(w.roster, 1)->reason, "status 503, expected 200-399");
    for (unsigned i = 0; i < N; i++)
        ck_assert(roster_last_check(w.roster, i)->done);
    world_close(&w);
}
END_TEST

START_TEST(checks_send_the_head_that_the_pool_sends)
{
    static const char head[] = "PROXY UNKNOWN\r\nGET / HTTP/1.1\r\n";
    struct world w;
    world_init(&w);
    w.config.send_head = SEND_HEAD_V1;
    world_open(&w);
    world_run(&w);
    for (unsigned i = 0; i < N; i++)
        ck_assert_int_eq(strncmp(w.fakes[i].received, head, sizeof head - 1), 0);
    world_close(&w);
}
END_TEST

START_TEST(the_first_checks_run_at_the_same_time)
{
    /* Each of them hangs: one after the other would take four timeouts. */
    struct world w;
    world_init(&w);
    w.config.health.timeout_ms = 1000;
    for (int i = 0; i < N; i++)
        w.fakes[i].kind = FAKE_HANG;
    world_open(&w);
    uint64_t began = uv_hrtime() / 1000000;
    checker_first(w.checker, NULL, on_first, &w);
    for (unsigned i = 0; i < N; i++)
        until_accepted(&w, i, 1);
    ck_assert(!w.first_done);
    while (!w.first_done)
        turn(&w);
    uint64_t took = uv_hrtime() / 1000000 - began;
    ck_assert_uint_ge(took + CLOCK_MS, 1000);
    for (unsigned i = 0; i < N; i++) {
        ck_assert(!roster_last_check(w.roster, i)->ok);
        ck_assert_uint_eq(w.fakes[i].accepted, 1);
    }
    world_close(&w);
}
END_TEST

START_TEST(a_server_goes_down_and_comes_back_by_its_checks)
{
    struct world w;
    world_init(&w);
    world_open(&w);
    world_run(&w);
    w.fakes[0].text = BAD;
    until_state(&w, 0, ROSTER_DOWN);
    ck_assert_uint_eq(pool_owner_of(w.pool, 0).owner, 3);
    ck_assert_int_eq(roster_state(w.roster, 3), ROSTER_PROMOTED);
    w.fakes[0].text = OK;
    until_state(&w, 0, ROSTER_UP);
    ck_assert_uint_eq(pool_owner_of(w.pool, 0).owner, 0);
    for (unsigned i = 1; i < N; i++)
        ck_assert(roster_last_check(w.roster, i)->ok);
    world_close(&w);
}
END_TEST

START_TEST(checks_are_an_interval_apart_and_spread_over_it)
{
    struct world w;
    world_init(&w);
    world_open(&w);
    world_run(&w);
    uint64_t began = uv_hrtime() / 1000000, interval = w.config.health.interval_ms;
    for (unsigned i = 0; i < N; i++)
        until_accepted(&w, i, 5);
    for (unsigned i = 0; i < N; i++) {
        const uint64_t *at = w.fakes[i].accepted_ms;
        ck_assert_uint_ge(at[1] + CLOCK_MS, began + interval * (i + 1) / N);
        /* Accepted late is not begun late: only the sum over several can't be too short. */
        ck_assert_uint_ge(at[4] + CLOCK_MS, began + interval * (i + 1) / N + 3 * interval);
    }
    ck_assert_uint_le(w.fakes[0].accepted_ms[1], w.fakes[3].accepted_ms[1]);
    world_close(&w);
}
END_TEST

START_TEST(while_a_server_is_changing_its_next_check_comes_sooner)
{
    /* Nine failures in a row are eight quarters of the interval; the others meanwhile go on with
     * whole ones. */
    struct world w;
    world_init(&w);
    w.config.health.interval_ms = 400;
    w.config.health.fall = 9;
    uint64_t opened = uv_hrtime() / 1000000;
    world_open(&w);
    world_run(&w);
    w.fakes[0].text = BAD;
    uint64_t began = uv_hrtime() / 1000000;
    until_state(&w, 0, ROSTER_DOWN);
    uint64_t took = uv_hrtime() / 1000000 - opened;
    const uint64_t *at = w.fakes[0].accepted_ms;
    ck_assert_uint_eq(w.accepted_at_down, 10);
    ck_assert_uint_ge(at[9] + CLOCK_MS, began + 400 / N + 8 * 100);
    /* One at the start, one within the first interval, then one an interval. */
    ck_assert_uint_le(w.fakes[1].accepted, 2 + (took + CLOCK_MS) / 400);
    world_close(&w);
}
END_TEST

/* Its status is known, and the next check ends the wait for the rest. */
START_TEST(an_answer_without_an_end_holds_up_no_check)
{
    struct world w;
    world_init(&w);
    w.config.health.timeout_ms = 20000;
    w.fakes[0].text = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    world_open(&w);
    world_run(&w);
    until_accepted(&w, 0, 5);
    ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_UP);
    world_close(&w);
}
END_TEST

START_TEST(a_hanging_server_is_down_after_fall_timeouts)
{
    struct world w;
    world_init(&w);
    w.config.health.timeout_ms = 1000;
    w.config.health.fall = 1;
    world_open(&w);
    world_run(&w);
    w.fakes[2].kind = FAKE_HANG;
    until_state(&w, 2, ROSTER_DOWN);
    ck_assert_str_eq(roster_last_check(w.roster, 2)->reason, "timed out after 1000 ms");
    /* No second check began while the first was on, though the interval was over. */
    ck_assert_uint_eq(w.accepted_at_down, 2);
    world_close(&w);
}
END_TEST

/* ---- reloads ---- */

START_TEST(new_servers_alone_are_checked_before_a_switch)
{
    struct world w;
    world_init(&w);
    w.config.health.interval_ms = 3600000;
    w.config.nbackends = 1; /* b1 and s1 */
    w.fakes[1].text = BAD;
    world_open(&w);
    world_run(&w);
    struct config_pool next = w.config;
    next.nbackends = 3;
    struct before *b = next_generation(&w, &next);
    first_checks(&w, b->pool);
    ck_assert_int_eq(roster_state(b->roster, 0), ROSTER_UP); /* the one before still works */
    for (unsigned i = 0; i < N; i++)
        ck_assert_uint_eq(w.fakes[i].accepted, 1);
    switch_over(&w, b);
    ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_UP);
    ck_assert_int_eq(roster_state(w.roster, 1), ROSTER_DOWN);
    ck_assert_int_eq(roster_state(w.roster, 2), ROSTER_UP);
    ck_assert_uint_eq(pool_owner_of(w.pool, 1).owner, 3);
    world_close(&w);
}
END_TEST

/* A reload comes every few ms, so that no generation lasts as long as the check. */
START_TEST(a_check_under_way_goes_on_over_any_number_of_reloads)
{
    struct world w;
    world_init(&w);
    w.config.health.timeout_ms = 600;
    w.config.health.fall = 1;
    world_open(&w);
    world_run(&w);
    w.fakes[2].kind = FAKE_HANG;
    until_accepted(&w, 2, 2);
    struct config_pool next = w.config;
    unsigned reloads = 0;
    for (; roster_state(w.roster, 2) != ROSTER_DOWN; reloads++) {
        reload(&w, &next);
        turn(&w);
    }
    ck_assert_uint_gt(reloads, 3);
    ck_assert_str_eq(roster_last_check(w.roster, 2)->reason, "timed out after 600 ms");
    ck_assert_uint_eq(w.accepted_at_down, 2);
    w.fakes[2].kind = FAKE_ANSWER;
    until_state(&w, 2, ROSTER_UP);
    world_close(&w);
}
END_TEST

static void turn_for(struct world *w, uint64_t ms)
{
    for (uint64_t began = uv_now(&w->loop); uv_now(&w->loop) - began < ms;)
        turn(w);
}

START_TEST(no_number_of_reloads_puts_checks_off)
{
    struct world w;
    world_init(&w);
    w.config.health.interval_ms = 200;
    world_open(&w);
    world_run(&w);
    uint64_t began = uv_hrtime() / 1000000;
    struct config_pool next[2] = {w.config, w.config};
    next[1].health.interval_ms = 150;
    unsigned reloads = 0;
    for (; w.fakes[0].accepted < 5 || w.fakes[3].accepted < 5; reloads++) {
        reload(&w, &next[_i ? reloads % 2 : 0]);
        turn(&w);
    }
    ck_assert_uint_gt(reloads, 10);
    const uint64_t *at = w.fakes[0].accepted_ms, least = _i ? 150 : 200;
    ck_assert_uint_ge(at[4] + CLOCK_MS, began + least / 4 + 3 * least);
    world_close(&w);
}
END_TEST

START_TEST(checks_follow_the_new_settings)
{
    struct world w;
    world_init(&w);
    world_open(&w);
    world_run(&w);
    struct config_pool off = w.config, tcp = w.config, http = w.config;
    off.health.check = CHECK_OFF;
    tcp.health.check = CHECK_TCP;
    tcp.health.send = tcp.health.expect = (char *)(uintptr_t) "HTTP";
    tcp.health.send_len = tcp.health.expect_len = 4;
    http.health.path = (char *)(uintptr_t) "/other";
    reload(&w, &off);
    unsigned n = w.fakes[0].accepted;
    turn_for(&w, 3 * w.config.health.interval_ms);
    ck_assert_uint_le(w.fakes[0].accepted, n + 1); /* one may have been on its way */
    n = w.fakes[0].accepted;
    reload(&w, &tcp);
    until_accepted(&w, 0, n + 2);
    w.fakes[0].text = "no\n";
    until_state(&w, 0, ROSTER_DOWN);
    w.fakes[0].text = OK;
    w.fakes[0].received_len = 0;
    memset(w.fakes[0].received, 0, sizeof w.fakes[0].received);
    reload(&w, &http);
    until_state(&w, 0, ROSTER_UP);
    ck_assert(strstr(w.fakes[0].received, "GET /other HTTP/1.1") != NULL);
    world_close(&w);
}
END_TEST

START_TEST(the_check_of_a_server_that_goes_is_cancelled)
{
    struct world w;
    world_init(&w);
    w.config.health.timeout_ms = 60000;
    world_open(&w);
    world_run(&w);
    w.fakes[2].kind = FAKE_HANG;
    until_accepted(&w, 2, 2);
    struct config_pool next = w.config;
    next.nbackends = 2;
    uint64_t began = uv_hrtime() / 1000000;
    reload(&w, &next);
    while (w.before)
        turn(&w);
    ck_assert_uint_lt(uv_hrtime() / 1000000 - began, 60000);
    world_close(&w);
}
END_TEST

/* A reload that is given up, before, during or after the first checks of the new servers. */
START_TEST(a_generation_that_never_runs_leaves_the_one_before)
{
    struct world w;
    world_init(&w);
    w.config.nbackends = 2;
    world_open(&w);
    world_run(&w);
    struct config_pool next = w.config;
    next.nbackends = 3;
    w.fakes[2].kind = _i == 1 ? FAKE_HANG : FAKE_ANSWER;
    struct before *b = next_generation(&w, &next);
    if (_i == 1) {
        checker_first(w.checker, b->pool, on_first, &w);
        until_accepted(&w, 2, 1);
    } else if (_i == 2) {
        first_checks(&w, b->pool);
    }
    struct before was = *b;
    *b = (struct before){&w, w.pool, w.roster, w.checker};
    w.pool = was.pool;
    w.roster = was.roster;
    w.checker = was.checker;
    checker_close(b->checker, on_before_closed, b);
    roster_free(b->roster);
    w.fakes[0].text = BAD;
    until_state(&w, 0, ROSTER_DOWN);
    while (w.before)
        turn(&w);
    world_close(&w);
}
END_TEST

/* ---- checks that live traffic asks for ---- */

/* An hour apart, so that each one after the first was asked for. */
static void patient_world(struct world *w)
{
    world_init(w);
    w->config.health.interval_ms = 3600000;
    w->config.health.fall = 9;
    world_open(w);
    world_run(w);
}

static void suspect(struct world *w, unsigned server)
{
    ck_assert(roster_suspect(w->roster, server));
    checker_ask(w->checker, server);
}

static void until_decided(struct world *w, unsigned server)
{
    while (roster_suspicion(w->roster, server) == ROSTER_PENDING)
        turn(w);
}

START_TEST(a_check_that_is_asked_for_begins_at_once_and_decides)
{
    struct world w;
    patient_world(&w);
    w.fakes[1].text = BAD;
    suspect(&w, 0);
    suspect(&w, 1);
    until_decided(&w, 0);
    until_decided(&w, 1);
    ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_UP);
    ck_assert_int_eq(roster_state(w.roster, 1), ROSTER_DOWN);
    ck_assert_uint_eq(w.fakes[0].accepted, 2);
    ck_assert_uint_eq(w.accepted_at_down, 2);
    ck_assert_uint_eq(w.fakes[2].accepted, 1);
    world_close(&w);
}
END_TEST

START_TEST(the_next_one_waits_for_a_quarter_of_the_interval_and_is_made)
{
    struct world w;
    world_init(&w);
    w.config.health.interval_ms = 1200;
    world_open(&w);
    world_run(&w);
    uint64_t began = uv_hrtime() / 1000000; /* the first one that is asked for begins later */
    suspect(&w, 0);
    until_decided(&w, 0);
    unsigned n = w.fakes[0].accepted;
    suspect(&w, 0);
    suspect(&w, 0);
    until_decided(&w, 0);
    ck_assert_int_eq(roster_suspicion(w.roster, 0), ROSTER_CLEARED);
    ck_assert_uint_eq(w.fakes[0].accepted, n + 1);
    ck_assert_uint_ge(w.fakes[0].accepted_ms[n] + CLOCK_MS, began + 1200 / 4);
    world_close(&w);
}
END_TEST

START_TEST(a_check_that_ran_before_is_followed_by_the_one_that_was_asked_for)
{
    struct world w;
    world_init(&w);
    w.config.health.interval_ms = 3600000;
    world_open(&w);
    world_first(&w);
    roster_start(w.roster, uv_now(&w.loop));
    w.config.health.interval_ms = 4; /* until the periodic check of b1 has begun */
    checker_run(w.checker);
    w.fakes[0].kind = FAKE_DRIP;
    until_accepted(&w, 0, 2);
    w.config.health.interval_ms = 3600000;
    suspect(&w, 0);
    w.fakes[0].kind = FAKE_ANSWER; /* of the next connections */
    unsigned n = w.fakes[0].accepted;
    until_decided(&w, 0);
    ck_assert_uint_eq(w.fakes[0].accepted, n + 1);
    ck_assert_int_eq(roster_suspicion(w.roster, 0), ROSTER_CLEARED);
    world_close(&w);
}
END_TEST

START_TEST(a_look_is_a_check_like_any_other_and_comes_at_once)
{
    struct world w;
    patient_world(&w);
    w.fakes[1].text = BAD;
    turn_for(&w, 150); /* the first checks are no news any more */
    for (unsigned i = 0; i < 3; i++) {
        checker_look(w.checker, 0);
        checker_look(w.checker, 1);
    }
    until_accepted(&w, 0, 2);
    until_accepted(&w, 1, 2);
    while (roster_last_check(w.roster, 1)->ok)
        turn(&w);
    checker_look(w.checker, 1); /* this has just been told */
    turn_for(&w, 50);
    ck_assert_uint_eq(w.fakes[0].accepted, 2);
    ck_assert_uint_eq(w.fakes[1].accepted, 2);
    ck_assert_uint_eq(w.fakes[2].accepted, 1);
    ck_assert_int_eq(roster_state(w.roster, 1), ROSTER_UP); /* fall is 9 */
    world_close(&w);
}
END_TEST

START_TEST(a_look_waits_for_the_check_under_way)
{
    struct world w;
    patient_world(&w);
    w.fakes[0].kind = FAKE_DRIP;
    turn_for(&w, 150);
    checker_look(w.checker, 0);
    until_accepted(&w, 0, 2);
    turn_for(&w, 150);
    checker_look(w.checker, 0);
    w.fakes[0].kind = FAKE_ANSWER; /* of the next connections */
    until_accepted(&w, 0, 3);
    turn_for(&w, 50);
    ck_assert_uint_eq(w.fakes[0].accepted, 3);
    world_close(&w);
}
END_TEST

START_TEST(what_was_asked_for_before_a_reload_is_made_once)
{
    /* the check is under way, _i == 1: and asks what the new file does not */
    struct world w;
    patient_world(&w);
    w.fakes[1].kind = FAKE_HANG;
    size_t received = w.fakes[1].received_len;
    suspect(&w, 1);
    while (w.fakes[1].received_len == received)
        turn(&w);
    struct config_pool next = w.config;
    if (_i == 1)
        next.health.path = (char *)(uintptr_t) "/other";
    w.fakes[1].kind = FAKE_ANSWER; /* of the next connections */
    w.fakes[1].text = BAD;
    for (int k = 0; k < 3; k++)
        reload(&w, &next);
    if (_i == 1) {
        until_state(&w, 1, ROSTER_DOWN);
        ck_assert(strstr(w.fakes[1].received, "GET /other HTTP/1.1") != NULL);
    }
    turn_for(&w, 50);
    ck_assert_uint_eq(w.fakes[1].accepted, 2 + (unsigned)_i);
    ck_assert_int_eq(roster_suspicion(w.roster, 1), _i ? ROSTER_CONFIRMED : ROSTER_PENDING);
    world_close(&w);
}
END_TEST

START_TEST(a_check_that_waits_for_its_turn_waits_over_a_reload)
{
    struct world w;
    world_init(&w);
    w.config.health.interval_ms = 1200;
    world_open(&w);
    world_run(&w);
    uint64_t began = uv_hrtime() / 1000000;
    suspect(&w, 0);
    until_decided(&w, 0);
    unsigned n = w.fakes[0].accepted;
    suspect(&w, 0);
    struct config_pool next = w.config;
    reload(&w, &next);
    reload(&w, &next);
    until_decided(&w, 0);
    ck_assert_int_eq(roster_suspicion(w.roster, 0), ROSTER_CLEARED);
    ck_assert_uint_eq(w.fakes[0].accepted, n + 1);
    ck_assert_uint_ge(w.fakes[0].accepted_ms[n] + CLOCK_MS, began + 1200 / 4);
    world_close(&w);
}
END_TEST

START_TEST(the_wait_and_the_ramp_end_by_the_checkers_clock)
{
    struct world w;
    world_init(&w);
    w.config.failback.after_ms = 60;
    w.config.failback.ramp_ms = 60;
    w.config.health.interval_ms = 40;
    world_open(&w);
    world_run(&w);
    w.fakes[0].text = BAD;
    until_state(&w, 0, ROSTER_DOWN);
    w.fakes[0].text = OK;
    uint64_t began; /* not after the turn in which the wait begins */
    do {
        began = uv_now(&w.loop);
        turn(&w);
    } while (roster_state(w.roster, 0) != ROSTER_RETURNING);
    while (w.failbacks == 0)
        turn(&w);
    ck_assert_uint_ge(uv_now(&w.loop) - began, 120);
    ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_UP);
    world_close(&w);
}
END_TEST

START_TEST(without_checks_only_time_is_kept)
{
    struct world w;
    world_init(&w);
    w.config.health.check = CHECK_OFF;
    world_open(&w);
    world_run(&w);
    uint64_t began = uv_now(&w.loop);
    roster_passive_down(w.roster, 0, began);
    ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_DOWN);
    until_state(&w, 0, ROSTER_UP);
    ck_assert_uint_ge(uv_now(&w.loop) - began, 80);
    for (unsigned i = 0; i < N; i++) {
        ck_assert_uint_eq(w.fakes[i].accepted, 0);
        ck_assert(!roster_last_check(w.roster, i)->done);
    }
    world_close(&w);
}
END_TEST

/* At any time: before, during and after the first checks, and while periodic ones are on. */
START_TEST(closing_works_at_any_time)
{
    struct world w;
    world_init(&w);
    w.fakes[1].kind = FAKE_HANG;
    w.config.health.timeout_ms = 100;
    w.config.health.interval_ms = 5;
    if (_i == 5 || _i == 7)
        w.config.health.check = CHECK_OFF;
    world_open(&w);
    if (_i == 1 || _i == 5)
        checker_first(w.checker, NULL, on_first, &w);
    w.close_at_first = _i >= 6;
    if (_i == 2 || _i >= 6)
        world_first(&w);
    if (_i == 3 || _i == 4)
        world_run(&w);
    if (_i == 4)
        until_accepted(&w, 1, 2);
    world_close(&w);
    ck_assert_int_eq(w.first_done, _i >= 2 && _i != 5);
}
END_TEST

START_TEST(a_name_is_resolved_before_its_first_check)
{
    struct world w;
    world_init(&w);
    name_b1(&w, "127.0.0.2");
    world_open(&w);
    world_run(&w);
    ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_UP);
    check_b1_is_at(&w, &w.other);
    ck_assert_uint_eq(w.other.accepted, 1);
    ck_assert_uint_eq(w.fakes[0].accepted, 0);
    ck_assert_uint_eq(w.moves, 0);
    world_close(&w);
}
END_TEST

START_TEST(a_name_that_is_not_resolved_starts_down_and_comes_up_once_it_is)
{
    struct world w;
    world_init(&w);
    name_b1(&w, "");
    world_open(&w);
    world_run(&w);
    ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_DOWN);
    ck_assert_str_eq(roster_last_check(w.roster, 0)->reason, "resolve: no such name");
    ck_assert_uint_eq(pool_owner_of(w.pool, 0).owner, 3);
    ck_assert_int_eq(roster_state(w.roster, 1), ROSTER_UP); /* the others serve */
    unsigned asked = dns_asked();
    while (dns_asked() < asked + 3) /* it is asked again and again */
        turn(&w);
    ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_DOWN);
    ck_assert_uint_eq(w.fakes[0].accepted + w.other.accepted, 0);
    dns_says("127.0.0.1");
    until_state(&w, 0, ROSTER_UP);
    check_b1_is_at(&w, &w.fakes[0]);
    ck_assert_uint_eq(pool_owner_of(w.pool, 0).owner, 0);
    world_close(&w);
}
END_TEST

START_TEST(a_silent_name_server_holds_up_the_start_for_one_timeout)
{
    struct world w;
    world_init(&w);
    w.config.health.timeout_ms = 150;
    name_b1(&w, NULL);
    world_open(&w);
    uint64_t began = uv_hrtime() / 1000000;
    world_run(&w);
    ck_assert_uint_ge(uv_hrtime() / 1000000 - began + CLOCK_MS, 150);
    ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_DOWN);
    ck_assert_str_eq(roster_last_check(w.roster, 0)->reason, "resolve: no answer after 150 ms");
    unsigned asked = dns_asked();
    until_accepted(&w, 1, 4);
    ck_assert_uint_eq(dns_asked(), asked); /* one lookup at a time */
    if (_i == 0) {
        dns_says("127.0.0.1");
        until_state(&w, 0, ROSTER_UP);
    }
    world_close(&w); /* _i == 1: though it is still asked */
    dns_says("");
}
END_TEST

START_TEST(a_server_moves_with_its_name_and_stays_up)
{
    struct world w;
    world_init(&w);
    name_b1(&w, "127.0.0.1");
    world_open(&w);
    world_run(&w);
    check_b1_is_at(&w, &w.fakes[0]);
    dns_says("127.0.0.2");
    while (w.moves == 0)
        turn(&w);
    check_b1_is_at(&w, &w.other);
    unsigned old = w.fakes[0].accepted, new = w.other.accepted;
    while (w.other.accepted < new + 3)
        turn(&w);
    ck_assert_uint_le(w.fakes[0].accepted, old + 1); /* one may have been on its way */
    ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_UP);
    ck_assert_uint_eq(w.downs, 0);
    ck_assert_uint_eq(w.moves, 1);
    world_close(&w);
}
END_TEST

/* The check was under way when the name moved: its failure is that of an address nobody uses now.
 */
START_TEST(a_check_of_where_it_was_says_nothing_of_where_it_is)
{
    struct world w;
    world_init(&w);
    w.config.health.fall = 1;
    w.config.health.timeout_ms = 1500;
    name_b1(&w, "127.0.0.1");
    world_open(&w);
    world_run(&w);
    unsigned accepted = w.fakes[0].accepted;
    w.fakes[0].kind = FAKE_HANG;
    until_accepted(&w, 0, accepted + 1);
    dns_says("127.0.0.2");
    while (w.other.accepted < 2)
        turn(&w);
    ck_assert_uint_eq(w.downs, 0);
    check_b1_is_at(&w, &w.other);
    world_close(&w);
}
END_TEST

START_TEST(a_lookup_that_fails_changes_nothing)
{
    struct world w;
    world_init(&w);
    name_b1(&w, "127.0.0.1");
    world_open(&w);
    world_run(&w);
    dns_says("");
    unsigned asked = dns_asked(), accepted = w.fakes[0].accepted;
    while (dns_asked() < asked + 4)
        turn(&w);
    until_accepted(&w, 0, accepted + 2);
    ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_UP);
    check_b1_is_at(&w, &w.fakes[0]);
    ck_assert_uint_eq(w.moves, 0);
    ck_assert(roster_last_check(w.roster, 0)->ok);
    world_close(&w);
}
END_TEST

START_TEST(of_several_addresses_the_first_that_answers_is_used)
{
    struct world w;
    world_init(&w);
    w.fakes[0].text = BAD;
    name_b1(&w, "127.0.0.2 127.0.0.1");
    world_open(&w);
    world_run(&w);
    ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_UP);
    check_b1_is_at(&w, &w.other);
    unsigned n = w.fakes[0].accepted;
    until_accepted(&w, 0, n + 2); /* looked at again behind lookups */
    check_b1_is_at(&w, &w.other);
    w.fakes[0].text = OK;
    while (!b1_is_at(&w, &w.fakes[0]))
        turn(&w);
    ck_assert_uint_eq(w.downs, 0);
    ck_assert_uint_eq(w.moves, 1);
    world_close(&w);
}
END_TEST

START_TEST(a_server_that_went_down_comes_back_at_another_of_its_addresses)
{
    struct world w;
    world_init(&w);
    name_b1(&w, "127.0.0.1 127.0.0.2");
    world_open(&w);
    world_run(&w);
    check_b1_is_at(&w, &w.fakes[0]);
    w.fakes[0].text = BAD;
    until_state(&w, 0, ROSTER_DOWN);
    check_b1_is_at(&w, &w.fakes[0]); /* not before */
    until_state(&w, 0, ROSTER_UP);
    check_b1_is_at(&w, &w.other);
    ck_assert_uint_eq(w.downs, 1);
    world_close(&w);
}
END_TEST

START_TEST(without_checks_a_name_alone_decides)
{
    struct world w;
    world_init(&w);
    w.config.health.check = CHECK_OFF;
    w.config.health.interval_ms = 20;
    name_b1(&w, _i ? "127.0.0.2 127.0.0.1" : "");
    world_open(&w);
    world_run(&w);
    if (_i == 0) {
        ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_DOWN);
        ck_assert_str_eq(roster_last_check(w.roster, 0)->reason, "resolve: no such name");
        unsigned asked = dns_asked();
        while (dns_asked() < asked + 4) /* more than an interval, which is what ends a failure */
            turn(&w);
        ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_DOWN);
        dns_says("127.0.0.2 127.0.0.1");
    }
    until_state(&w, 0, ROSTER_UP);
    check_b1_is_at(&w, &w.fakes[0]);
    dns_says("127.0.0.2");
    while (!b1_is_at(&w, &w.other))
        turn(&w);
    ck_assert_uint_eq(w.moves, 1);
    ck_assert_uint_eq(w.fakes[0].accepted + w.other.accepted, 0);
    roster_passive_down(w.roster, 0, uv_now(&w.loop));
    until_state(&w, 0, ROSTER_UP); /* that one ends by itself */
    world_close(&w);
}
END_TEST

/* While it is looked up for the first time, while it is checked, between lookups, while one is on.
 */
START_TEST(closing_works_at_any_time_with_names_too)
{
    struct world w;
    world_init(&w);
    w.config.health.timeout_ms = 5000;
    name_b1(&w, _i == 1 ? NULL : _i == 2 ? "" : "127.0.0.1 127.0.0.2");
    if (_i == 3)
        w.fakes[0].kind = FAKE_HANG;
    world_open(&w);
    if (_i >= 1 && _i <= 3)
        checker_first(w.checker, NULL, on_first, &w);
    if (_i == 1) {
        unsigned asked = dns_asked();
        while (dns_asked() == asked && w.fakes[1].accepted == 0)
            turn(&w);
    } else if (_i == 3) {
        until_accepted(&w, 0, 1);
    }
    w.close_at_first = _i == 4;
    if (_i == 4)
        world_first(&w);
    if (_i >= 5)
        world_run(&w);
    if (_i == 6) {
        dns_says(NULL);
        unsigned asked = dns_asked();
        while (dns_asked() == asked)
            turn(&w);
    }
    world_close(&w);
    dns_says("");
}
END_TEST

START_TEST(a_name_that_stays_is_not_looked_up_from_nothing)
{
    struct world w;
    world_init(&w);
    name_b1(&w, "127.0.0.1");
    w.config.resolve_ms = 3600000;
    world_open(&w);
    world_run(&w);
    unsigned asked = dns_asked(), accepted = w.fakes[0].accepted;
    dns_says("127.0.0.2");
    struct config_pool next = w.config;
    reload(&w, &next);
    reload(&w, &next);
    check_b1_is_at(&w, &w.fakes[0]);
    until_accepted(&w, 0, accepted + 3);
    ck_assert_uint_eq(dns_asked(), asked);
    struct config_pool sooner = w.config;
    sooner.resolve_ms = 20;
    reload(&w, &sooner);
    while (w.moves == 0)
        turn(&w);
    check_b1_is_at(&w, &w.other);
    ck_assert_uint_eq(w.downs, 0);
    /* a lookup that is under way goes on */
    dns_says(NULL);
    asked = dns_asked();
    while (dns_asked() == asked)
        turn(&w);
    reload(&w, &next);
    ck_assert_uint_eq(dns_asked(), asked + 1);
    dns_says("127.0.0.1");
    while (w.moves == 1)
        turn(&w);
    check_b1_is_at(&w, &w.fakes[0]);
    world_close(&w);
    dns_says("");
}
END_TEST

START_TEST(names_stay_while_checks_are_turned_off_and_on)
{
    struct world w;
    world_init(&w);
    name_b1(&w, "127.0.0.2");
    world_open(&w);
    world_run(&w);
    struct config_pool off = w.config, on = w.config;
    off.health.check = CHECK_OFF;
    reload(&w, &off);
    dns_says("127.0.0.1");
    while (w.moves == 0)
        turn(&w);
    check_b1_is_at(&w, &w.fakes[0]);
    reload(&w, &on);
    unsigned n = w.fakes[0].accepted;
    until_accepted(&w, 0, n + 2);
    dns_says("127.0.0.2");
    while (w.moves == 1)
        turn(&w);
    check_b1_is_at(&w, &w.other);
    ck_assert_uint_eq(w.downs, 0);
    world_close(&w);
}
END_TEST

/* As if the process had been replaced: nothing is checked or waited for before the start. */
START_TEST(a_restored_server_is_not_checked_first)
{
    struct world w;
    struct error e;
    world_init(&w);
    w.config.health.interval_ms = 100;
    w.config.health.fall = w.config.health.rise = 1;
    name_b1(&w, "127.0.0.1");
    world_open(&w);
    world_run(&w);
    w.fakes[1].text = BAD;
    until_state(&w, 1, ROSTER_DOWN);
    json_t *document = roster_save(w.roster, uv_now(&w.loop));
    checker_close(w.checker, on_closed, &w);
    while (!w.closed)
        turn(&w);
    roster_free(w.roster);
    pool_free(w.pool);
    lookups_close(w.lookups);
    w.closed = false;
    dns_says(NULL);
    unsigned accepted[N];
    for (unsigned i = 0; i < N; i++)
        accepted[i] = w.fakes[i].accepted;
    world_open(&w);
    ck_assert(roster_restore(w.roster, document, uv_now(&w.loop), &e));
    json_decref(document);
    world_first(&w);
    roster_start(w.roster, uv_now(&w.loop));
    for (unsigned i = 0; i < N; i++)
        ck_assert_uint_eq(w.fakes[i].accepted, accepted[i]);
    ck_assert_int_eq(roster_state(w.roster, 1), ROSTER_DOWN);
    check_b1_is_at(&w, &w.fakes[0]);
    checker_run(w.checker);
    until_accepted(&w, 0, accepted[0] + 2);
    dns_says("127.0.0.2");
    while (!b1_is_at(&w, &w.other))
        turn(&w);
    w.fakes[1].text = OK;
    until_state(&w, 1, ROSTER_UP);
    world_close(&w);
    dns_says("");
}
END_TEST

static void add_name_tests(Suite *s)
{
    TCase *t = tcase_create("names");
    tcase_set_timeout(t, 100);
    tcase_add_test(t, a_name_is_resolved_before_its_first_check);
    tcase_add_test(t, a_name_that_is_not_resolved_starts_down_and_comes_up_once_it_is);
    tcase_add_loop_test(t, a_silent_name_server_holds_up_the_start_for_one_timeout, 0, 2);
    tcase_add_test(t, a_server_moves_with_its_name_and_stays_up);
    tcase_add_test(t, a_check_of_where_it_was_says_nothing_of_where_it_is);
    tcase_add_test(t, a_lookup_that_fails_changes_nothing);
    tcase_add_test(t, of_several_addresses_the_first_that_answers_is_used);
    tcase_add_test(t, a_server_that_went_down_comes_back_at_another_of_its_addresses);
    tcase_add_loop_test(t, without_checks_a_name_alone_decides, 0, 2);
    tcase_add_loop_test(t, closing_works_at_any_time_with_names_too, 0, 7);
    tcase_add_test(t, a_name_that_stays_is_not_looked_up_from_nothing);
    tcase_add_test(t, names_stay_while_checks_are_turned_off_and_on);
    tcase_add_test(t, a_restored_server_is_not_checked_first);
    suite_add_tcase(s, t);
}

static Suite *suite(void)
{
    Suite *s = suite_create("checker");
    TCase *t = tcase_create("checker");
    tcase_set_timeout(t, 100);
    tcase_add_test(t, the_first_checks_decide_how_servers_start);
    tcase_add_test(t, checks_send_the_head_that_the_pool_sends);
    tcase_add_test(t, the_first_checks_run_at_the_same_time);
    tcase_add_test(t, a_server_goes_down_and_comes_back_by_its_checks);
    tcase_add_test(t, checks_are_an_interval_apart_and_spread_over_it);
    tcase_add_test(t, while_a_server_is_changing_its_next_check_comes_sooner);
    tcase_add_test(t, an_answer_without_an_end_holds_up_no_check);
    tcase_add_test(t, a_hanging_server_is_down_after_fall_timeouts);
    tcase_add_test(t, a_check_that_is_asked_for_begins_at_once_and_decides);
    tcase_add_test(t, the_next_one_waits_for_a_quarter_of_the_interval_and_is_made);
    tcase_add_test(t, a_check_that_ran_before_is_followed_by_the_one_that_was_asked_for);
    tcase_add_test(t, a_look_is_a_check_like_any_other_and_comes_at_once);
    tcase_add_test(t, a_look_waits_for_the_check_under_way);
    tcase_add_test(t, the_wait_and_the_ramp_end_by_the_checkers_clock);
    tcase_add_test(t, without_checks_only_time_is_kept);
    tcase_add_loop_test(t, closing_works_at_any_time, 0, 8);
    tcase_add_test(t, new_servers_alone_are_checked_before_a_switch);
    tcase_add_test(t, a_check_under_way_goes_on_over_any_number_of_reloads);
    tcase_add_loop_test(t, no_number_of_reloads_puts_checks_off, 0, 2);
    tcase_add_test(t, checks_follow_the_new_settings);
    tcase_add_test(t, the_check_of_a_server_that_goes_is_cancelled);
    tcase_add_loop_test(t, a_generation_that_never_runs_leaves_the_one_before, 0, 3);
    tcase_add_loop_test(t, what_was_asked_for_before_a_reload_is_made_once, 0, 2);
    tcase_add_test(t, a_check_that_waits_for_its_turn_waits_over_a_reload);
    suite_add_tcase(s, t);
    add_name_tests(s);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
