/* Exchanges through a worker, over memory and on made-up time, at moments that sockets do not hit
 * by order. The oracle of tests/fuzz/world.h watches, too. */
#include "proxy/exchange.h"

#include <string.h>

#include "tests/fuzz/world.h"
#include "tests/lib/one_client.h"
#include "tests/lib/unit.h"

static const char configuration[] = "listeners:\n"
                                    "  - name: web\n"
                                    "    listen: 127.0.0.1:1\n"
                                    "    pool: p\n"
                                    "    timeouts: {request: 2s, idle: 3s}\n"
                                    "pools:\n"
                                    "  - name: p\n"
                                    "    timeouts: {connect: 5s, response: 20s}\n"
                                    "    backends:\n"
                                    "      - {name: b1, address: 127.0.0.1:1}\n"
                                    "      - {name: b2, address: 127.0.0.1:2}\n"
                                    "      - {name: b3, address: 127.0.0.1:3}\n"
                                    "      - {name: b4, address: 127.0.0.1:4}\n";

/* ---- what the peers do ---- */

static struct memory_wire *client(void)
{
    return &world.open[0]->wire;
}

static struct memory_wire *newest_backend(void)
{
    ck_assert(!list_empty(&world.backends));
    return &container_of(world.backends.next, struct backend, link)->wire;
}

static void says(struct memory_wire *w, const char *data, size_t n)
{
    memory_send(w, data, n);
    memory_run();
    world_check();
}

static void pass(uint64_t ms)
{
    time_advance(ms);
    memory_run();
    world_check();
}

static uint64_t answered(unsigned status)
{
    return world.snapshot->listeners[0].stats->cells[0].codes[status];
}

START_TEST(a_half_closed_client_is_told_why_its_kept_body_is_refused)
{
    static const char post[] = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    one_client_begin(configuration);
    for (unsigned i = 0; i < WORLD_SERVERS; i++)
        world.connect[i] = CONNECT_LATER;
    says(client(), post, sizeof post - 1);
    says(client(), "wrong\r\n", 7);
    memory_fin(client());
    memory_run();
    ck_assert_uint_eq(world.open[0]->nanswered, 0);
    memory_connected(newest_backend(), 0);
    memory_run();
    ck_assert_uint_eq(answered(400), 1);
    ck_assert_uint_eq(world.open[0]->nanswered, 1);
    one_client_end();
}
END_TEST

#define LONG 400000

START_TEST(a_client_that_reads_an_early_answer_owes_no_body_meanwhile)
{
    static const char post[] = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nbegin";
    static const char head[] = "HTTP/1.1 413 Large\r\nContent-Length: 400000\r\n\r\n";
    static char body[LONG];
    one_client_begin(configuration);
    says(client(), post, sizeof post - 1);
    client()->room = 1000;
    says(newest_backend(), head, sizeof head - 1);
    memset(body, 'b', sizeof body);
    says(newest_backend(), body, sizeof body);
    ck_assert_uint_gt(memory_queued(client()), CONN_HIGH_MARK);
    while (world.open[0]->nanswered == 0) {
        pass(2500); /* more than the request timeout, less than the idle timeout */
        ck_assert_int_eq(client()->state, MEMORY_OPEN);
        client()->room += memory_queued(client()); /* it reads */
        memory_run();
    }
    one_client_end();
}
END_TEST

/* b1 begins to read only after a while, and the last bytes are out of the kernel's buffer shortly
 * before its time is over. */
START_TEST(a_server_that_took_the_last_bytes_has_its_time_to_answer)
{
    static const char post[] = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000\r\n\r\n";
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    static char body[50000];
    one_client_begin(configuration);
    for (unsigned i = 0; i < WORLD_SERVERS; i++)
        world.connect[i] = CONNECT_LATER;
    says(client(), post, sizeof post - 1);
    newest_backend()->room = 1000;
    newest_backend()->unsent = 30000;
    memory_connected(newest_backend(), 0);
    memory_run();
    memset(body, 'b', sizeof body);
    says(client(), body, sizeof body);
    ck_assert_uint_gt(memory_queued(newest_backend()), 0);
    pass(15000);
    newest_backend()->unsent = 20000;
    newest_backend()->room += memory_queued(newest_backend());
    memory_run(); /* a drain: its time begins anew, without a count */
    pass(20000);  /* the benefit of the doubt */
    ck_assert_uint_eq(answered(504), 0);
    newest_backend()->unsent = 0;
    pass(20000);
    ck_assert_uint_eq(answered(504), 0);
    says(newest_backend(), answer, sizeof answer - 1);
    ck_assert_uint_eq(answered(200), 1);
    one_client_end();
}
END_TEST

START_TEST(a_client_that_took_the_last_bytes_is_idle_only_from_then_on)
{
    static const char get[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";
    one_client_begin(configuration);
    says(client(), get, sizeof get - 1);
    client()->unsent = 1000;
    says(newest_backend(), answer, sizeof answer - 1);
    ck_assert_uint_eq(answered(200), 1);
    pass(3000); /* there was no figure to compare with */
    ck_assert_int_eq(client()->state, MEMORY_OPEN);
    client()->unsent = 0;
    pass(3000);
    ck_assert_int_eq(client()->state, MEMORY_OPEN);
    pass(3000);
    ck_assert_int_eq(client()->state, MEMORY_CLOSED);
    one_client_end();
}
END_TEST

START_TEST(a_server_that_has_taken_all_and_does_not_answer_is_504)
{
    static const char get[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    one_client_begin(configuration);
    says(client(), get, sizeof get - 1);
    pass(19000);
    ck_assert_uint_eq(answered(504), 0);
    pass(1000);
    ck_assert_uint_eq(answered(504), 1);
    one_client_end();
}
END_TEST

START_TEST(framing_without_a_byte_of_the_body_gives_a_client_no_more_time)
{
    static const char post[] = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;";
    one_client_begin(configuration);
    says(client(), post, sizeof post - 1);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_eq(answered(408), 0);
        pass(900);
        says(client(), "x", 1);
    }
    ck_assert_uint_eq(answered(408), 1);
    one_client_end();
}
END_TEST

START_TEST(a_server_may_answer_a_head_whose_body_never_comes)
{
    static const char both[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
                               "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n";
    static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    static const char no[] = "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n";
    one_client_begin(configuration);
    memory_send(client(), both, sizeof both - 1);
    memory_fin(client());
    memory_run();
    says(newest_backend(), ok, sizeof ok - 1);
    ck_assert_uint_eq(answered(200), 1);
    says(newest_backend(), no, sizeof no - 1);
    ck_assert_uint_eq(answered(401), 1);
    one_client_end();
}
END_TEST

/* ---- interim answers ---- */

static const char put[] = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi";
static const char processing[] = "HTTP/1.1 102 Processing\r\n\r\n";
static const char created[] = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";

static void says_often(struct memory_wire *w, const char *data, size_t n, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        says(w, data, n);
}

static uint64_t errors_of(unsigned server)
{
    return server_errors(world.snapshot->pools[0]->members[server].server);
}

static uint64_t all_errors(void)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < WORLD_SERVERS; i++)
        n += errors_of(i);
    return n;
}

START_TEST(a_thousand_interim_answers_are_passed_on)
{
    one_client_begin(configuration);
    says(client(), put, sizeof put - 1);
    says_often(newest_backend(), processing, sizeof processing - 1, 1000);
    says(newest_backend(), created, sizeof created - 1);
    ck_assert_uint_eq(answered(201), 1);
    ck_assert_uint_eq(world.open[0]->requests[0]->interim_got, 1000);
    ck_assert_uint_eq(world.nbackends, 1);
    one_client_end();
}
END_TEST

START_TEST(more_interim_answers_are_502_without_another_try_and_without_blame)
{
    one_client_begin(configuration);
    says(client(), put, sizeof put - 1);
    says_often(newest_backend(), processing, sizeof processing - 1, 1001);
    ck_assert_uint_eq(answered(502), 1);
    ck_assert_uint_eq(world.open[0]->requests[0]->interim_got, 1000);
    ck_assert_uint_eq(world.nbackends, 1);
    ck_assert_uint_eq(all_errors(), 0);
    one_client_end();
}
END_TEST

START_TEST(each_interim_answer_gives_the_server_its_time_anew)
{
    one_client_begin(configuration);
    says(client(), put, sizeof put - 1);
    for (unsigned i = 0; i < 10; i++) {
        pass(19000);
        says(newest_backend(), processing, sizeof processing - 1);
    }
    ck_assert_uint_eq(answered(504), 0);
    pass(20000);
    ck_assert_uint_eq(answered(504), 1);
    one_client_end();
}
END_TEST

START_TEST(interim_answers_give_a_client_no_more_time_for_its_body)
{
    static const char post[] = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhi";
    one_client_begin(configuration);
    says(client(), post, sizeof post - 1);
    pass(1500);
    says(newest_backend(), processing, sizeof processing - 1);
    ck_assert_uint_eq(answered(408), 0);
    pass(500);
    ck_assert_uint_eq(answered(408), 1);
    one_client_end();
}
END_TEST

/* The client takes longer to read than the server has to answer. Meanwhile a bounded part of what
 * the server says is kept. */
START_TEST(a_client_that_does_not_read_interim_answers_is_not_the_servers_fault)
{
    static char hints[30000];
    static const char begin[] = "HTTP/1.1 103 Early Hints\r\nX: ";
    static const char impatient[] = "listeners:\n"
                                    "  - {name: web, listen: 127.0.0.1:1, pool: p}\n"
                                    "pools:\n"
                                    "  - name: p\n"
                                    "    timeouts: {response: 5s}\n"
                                    "    backends:\n"
                                    "      - {name: b1, address: 127.0.0.1:1}\n"
                                    "      - {name: b2, address: 127.0.0.1:2}\n"
                                    "      - {name: b3, address: 127.0.0.1:3}\n"
                                    "      - {name: b4, address: 127.0.0.1:4}\n";
    memset(hints, 'x', sizeof hints);
    memcpy(hints, begin, sizeof begin - 1);
    memcpy(hints + sizeof hints - 4, "\r\n\r\n", 4);
    one_client_begin(impatient);
    says(client(), put, sizeof put - 1);
    client()->room = 1000;
    says_often(newest_backend(), hints, sizeof hints, 100);
    ck_assert_uint_lt(memory_queued(client()), 3 * CONN_HIGH_MARK);
    pass(6000);
    pass(6000);
    ck_assert_uint_eq(answered(504), 0);
    ck_assert_uint_eq(all_errors(), 0);
    says(newest_backend(), created, sizeof created - 1);
    client()->room = MEMORY_ROOM_MAX;
    memory_run();
    ck_assert_uint_eq(answered(201), 1);
    ck_assert_uint_eq(world.open[0]->requests[0]->interim_got, 100);
    one_client_end();
}
END_TEST

/* ---- answers that count as failed tries ---- */

#define RETRYING(more)                                            \
    "listeners:\n"                                                \
    "  - {name: web, listen: 127.0.0.1:1, pool: p}\n"             \
    "pools:\n"                                                    \
    "  - name: p\n"                                               \
    "    retry_statuses: [429, 502-504]\n" more "    backends:\n" \
    "      - {name: b1, address: 127.0.0.1:1}\n"                  \
    "      - {name: b2, address: 127.0.0.1:2}\n"                  \
    "      - {name: b3, address: 127.0.0.1:3}\n"                  \
    "      - {name: b4, address: 127.0.0.1:4, max_connections: 1}\n"

static const char busy[] = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy";
static const char later[] = "HTTP/1.1 429 Later\r\nContent-Length: 9\r\n\r\n"; /* in part */
static const char bad_gateway[] = "HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n";
static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

START_TEST(an_answer_of_retry_statuses_is_followed_by_a_try_elsewhere)
{
    one_client_begin(RETRYING(""));
    says(client(), put, sizeof put - 1);
    says(newest_backend(), busy, sizeof busy - 1);
    ck_assert_uint_eq(world.nbackends, 2);
    says(newest_backend(), later, sizeof later - 1);
    ck_assert_uint_eq(world.nbackends, 3);
    says(newest_backend(), ok, sizeof ok - 1);
    ck_assert_uint_eq(answered(200), 1);
    ck_assert_uint_eq(all_errors(), 0);
    one_client_end();
}
END_TEST

START_TEST(the_last_answer_of_retry_statuses_is_passed_on)
{
    one_client_begin(RETRYING(""));
    says(client(), put, sizeof put - 1);
    for (unsigned i = 1; i <= 3; i++) {
        ck_assert_uint_eq(world.nbackends, i);
        says(newest_backend(), busy, sizeof busy - 1);
    }
    ck_assert_uint_eq(world.nbackends, 3); /* retries: 2 */
    ck_assert_uint_eq(answered(503), 1);
    ck_assert_uint_eq(world.open[0]->nanswered, 1);
    one_client_end();
}
END_TEST

START_TEST(an_answer_is_not_given_up_before_another_server_is_there)
{
    one_client_begin(RETRYING("    retries: 10\n"));
    /* another worker's request, of which the oracle knows nothing */
    _Atomic uint32_t *active = &world.snapshot->pools[0]->members[3].server->active;
    atomic_fetch_add(active, 1);
    memory_send(client(), put, sizeof put - 1);
    memory_run();
    for (unsigned i = 0; i < 3; i++) {
        memory_send(newest_backend(), busy, sizeof busy - 1);
        memory_run();
    }
    ck_assert_uint_eq(world.nbackends, 3); /* the fourth server is at its limit */
    ck_assert_uint_eq(answered(503), 1);
    atomic_fetch_sub(active, 1);
    one_client_end();
}
END_TEST

START_TEST(retry_statuses_are_for_what_may_be_sent_again)
{
    static const char post[] = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi";
    one_client_begin(RETRYING(""));
    says(client(), post, sizeof post - 1);
    says(newest_backend(), busy, sizeof busy - 1);
    ck_assert_uint_eq(world.nbackends, 1);
    ck_assert_uint_eq(answered(503), 1);
    one_client_end();
}
END_TEST

/* Of the body the first server had a part, and the rest comes after its answer. */
START_TEST(a_body_under_way_goes_to_the_next_server_whole)
{
    static const char begin[] = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nbegin";
    one_client_begin(RETRYING(""));
    says(client(), begin, sizeof begin - 1);
    says(newest_backend(), busy, sizeof busy - 1);
    says(client(), "ended", 5);
    ck_assert_uint_eq(world.nbackends, 2);
    ck_assert_int_eq(world.open[0]->requests[0]->got.state, MESSAGE_DONE);
    says(newest_backend(), ok, sizeof ok - 1);
    ck_assert_uint_eq(answered(200), 1);
    one_client_end();
}
END_TEST

START_TEST(a_server_is_blamed_for_retried_answers_by_passive_statuses_alone)
{
    one_client_begin(RETRYING("    passive: {statuses: [503]}\n"));
    says(client(), put, sizeof put - 1);
    says(newest_backend(), busy, sizeof busy - 1);
    ck_assert_uint_eq(all_errors(), 1);
    says(newest_backend(), bad_gateway, sizeof bad_gateway - 1);
    ck_assert_uint_eq(all_errors(), 1);
    says(newest_backend(), ok, sizeof ok - 1);
    ck_assert_uint_eq(answered(200), 1);
    one_client_end();
}
END_TEST

/* ---- the proxy was stopped: the timers run before the sockets are read ---- */

static const char get[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/* Two turns of the loop without a byte read, so that all has expired that is going to. */
static void stopped(uint64_t ms)
{
    time_stop(ms);
    pass(0);
    pass(1);
}

START_TEST(an_answer_that_comes_while_the_proxy_is_stopped_is_in_time)
{
    one_client_begin(configuration);
    says(client(), get, sizeof get - 1);
    stopped(60000);
    ck_assert_uint_eq(answered(504), 0);
    says(newest_backend(), ok, sizeof ok - 1);
    ck_assert_uint_eq(answered(200), 1);
    ck_assert_uint_eq(all_errors(), 0);
    one_client_end();
}
END_TEST

START_TEST(a_server_that_is_slow_after_a_stop_is_504)
{
    one_client_begin(configuration);
    says(client(), get, sizeof get - 1);
    stopped(60000);
    pass(19900);
    ck_assert_uint_eq(answered(504), 0);
    pass(200);
    ck_assert_uint_eq(answered(504), 1);
    ck_assert_uint_eq(all_errors(), 1);
    one_client_end();
}
END_TEST

START_TEST(the_server_that_is_tried_next_has_the_time_that_was_left)
{
    one_client_begin(configuration);
    for (unsigned i = 0; i < WORLD_SERVERS; i++)
        world.connect[i] = CONNECT_LATER;
    says(client(), get, sizeof get - 1);
    struct memory_wire *first = newest_backend();
    stopped(60000);
    memory_connected(first, UV_ECONNREFUSED); /* known only now */
    memory_run();
    ck_assert_ptr_ne(newest_backend(), first);
    pass(4900);
    memory_connected(newest_backend(), 0);
    memory_run();
    pass(14000);
    says(newest_backend(), ok, sizeof ok - 1);
    ck_assert_uint_eq(answered(200), 1);
    ck_assert_uint_eq(all_errors(), 1);
    one_client_end();
}
END_TEST

START_TEST(what_a_client_sends_while_the_proxy_is_stopped_is_in_time)
{
    static const char post[] = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\n";
    one_client_begin(configuration);
    stopped(60000); /* before the first byte */
    says(client(), post, 10);
    stopped(60000); /* inside a head */
    says(client(), post + 10, sizeof post - 11);
    stopped(60000); /* inside a body */
    says(client(), "half", 4);
    stopped(60000);
    says(client(), "half", 4);
    says(newest_backend(), ok, sizeof ok - 1);
    ck_assert_uint_eq(answered(200), 1);
    stopped(60000); /* between requests */
    says(client(), get, sizeof get - 1);
    says(newest_backend(), ok, sizeof ok - 1);
    ck_assert_uint_eq(answered(200), 2);
    pass(2990);
    ck_assert_int_eq(client()->state, MEMORY_OPEN);
    pass(20);
    ck_assert_int_eq(client()->state, MEMORY_CLOSED);
    one_client_end();
}
END_TEST

/* ---- gaps behind the head ---- */

#define MINUTE 60000
#define HOUR 3600000

static const struct {
    const char *fields;
    uint64_t gap_ms;
} gaps[] = {
    {"", MINUTE},
    {"Content-Type: text/plain\r\n", MINUTE},
    {"Content-Type: text/event-stream\r\n", HOUR},
    {"content-type:TEXT/Event-Stream\r\n", HOUR},
    {"Content-Type: text/event-stream;charset=utf-8\r\n", HOUR},
    {"Content-Type: text/event-stream \t; x=y\r\n", HOUR},
    {"Content-Length: 1000\r\nContent-Type: text/event-stream\r\n", HOUR},
    {"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n", HOUR},
    {"Content-Type: text/event-streams\r\n", MINUTE},
    {"Content-Type: text/event-strea\r\n", MINUTE},
    {"Content-Type: text/plain; a=text/event-stream\r\n", MINUTE},
    {"X-Content-Type: text/event-stream\r\n", MINUTE},
    {"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n", MINUTE},
};

START_TEST(gaps_behind_the_head_are_bounded_by_body_or_for_event_streams_by_tunnel)
{
    char head[200];
    bool chunked = strstr(gaps[_i].fields, "chunked") != NULL;
    const char *bytes = chunked ? "1\r\nx\r\n" : "x";
    one_client_begin(configuration);
    says(client(), get, sizeof get - 1);
    int n = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\n%s\r\n", gaps[_i].fields);
    says(newest_backend(), head, (size_t)n);
    for (unsigned i = 0; i < 2; i++) {
        pass(gaps[_i].gap_ms - 1);
        ck_assert_int_eq(client()->state, MEMORY_OPEN);
        says(newest_backend(), bytes, strlen(bytes));
    }
    pass(gaps[_i].gap_ms);
    ck_assert_int_eq(client()->state, MEMORY_CLOSED);
    ck_assert_uint_eq(all_errors(), 1);
    for (unsigned i = 0; i < WORLD_SERVERS; i++)
        ck_assert_uint_eq(atomic_load(&world.snapshot->pools[0]->members[i].server->failures), 0);
    one_client_end();
}
END_TEST

/* It may be gone, and nothing but a write would tell. */
START_TEST(an_event_stream_of_a_client_that_has_ended_its_side_is_bounded_by_body)
{
    static const char events[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    one_client_begin(configuration);
    says(client(), get, sizeof get - 1);
    if (_i == 0)
        memory_fin(client());
    says(newest_backend(), events, sizeof events - 1);
    if (_i == 1) {
        pass(10 * MINUTE);
        memory_fin(client());
        memory_run();
    }
    pass(MINUTE - 1);
    ck_assert_int_eq(client()->state, MEMORY_OPEN);
    says(newest_backend(), "data: 1\n\n", 9); /* as long as it takes them */
    pass(MINUTE - 1);
    ck_assert_int_eq(client()->state, MEMORY_OPEN);
    pass(1);
    ck_assert_int_eq(client()->state, MEMORY_CLOSED);
    one_client_end();
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("exchange");
    TCase *c = tcase_create("exchange");
    log_set_level(LOG_ERROR);
    tcase_add_test(c, a_half_closed_client_is_told_why_its_kept_body_is_refused);
    tcase_add_test(c, a_client_that_reads_an_early_answer_owes_no_body_meanwhile);
    tcase_add_test(c, a_server_that_took_the_last_bytes_has_its_time_to_answer);
    tcase_add_test(c, a_client_that_took_the_last_bytes_is_idle_only_from_then_on);
    tcase_add_test(c, a_server_that_has_taken_all_and_does_not_answer_is_504);
    tcase_add_test(c, framing_without_a_byte_of_the_body_gives_a_client_no_more_time);
    tcase_add_test(c, a_server_may_answer_a_head_whose_body_never_comes);
    tcase_add_test(c, a_thousand_interim_answers_are_passed_on);
    tcase_add_test(c, more_interim_answers_are_502_without_another_try_and_without_blame);
    tcase_add_test(c, each_interim_answer_gives_the_server_its_time_anew);
    tcase_add_test(c, interim_answers_give_a_client_no_more_time_for_its_body);
    tcase_add_test(c, a_client_that_does_not_read_interim_answers_is_not_the_servers_fault);
    tcase_add_test(c, an_answer_of_retry_statuses_is_followed_by_a_try_elsewhere);
    tcase_add_test(c, the_last_answer_of_retry_statuses_is_passed_on);
    tcase_add_test(c, an_answer_is_not_given_up_before_another_server_is_there);
    tcase_add_test(c, retry_statuses_are_for_what_may_be_sent_again);
    tcase_add_test(c, a_body_under_way_goes_to_the_next_server_whole);
    tcase_add_test(c, a_server_is_blamed_for_retried_answers_by_passive_statuses_alone);
    tcase_add_test(c, an_answer_that_comes_while_the_proxy_is_stopped_is_in_time);
    tcase_add_test(c, a_server_that_is_slow_after_a_stop_is_504);
    tcase_add_test(c, the_server_that_is_tried_next_has_the_time_that_was_left);
    tcase_add_test(c, what_a_client_sends_while_the_proxy_is_stopped_is_in_time);
    tcase_add_loop_test(c, gaps_behind_the_head_are_bounded_by_body_or_for_event_streams_by_tunnel,
                        0, sizeof gaps / sizeof *gaps);
    tcase_add_loop_test(c, an_event_stream_of_a_client_that_has_ended_its_side_is_bounded_by_body,
                        0, 2);
    suite_add_tcase(s, c);
    return s;
}

int main(void)
{
    return unit_main(build);
}
