#include "net/acceptor.h"

#include <limits.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/list.h"
#include "tests/lib/talk.h"
#include "tests/lib/unit.h"

#define MANY 200

struct fixture {
    uv_loop_t loop;
    struct net net;
    struct acceptor acceptor;
    struct addr address;
    unsigned accepted, stop_after; /* 0: it does not stop itself */
    unsigned errors;
    int last_error;
    bool stopped;
    unsigned room;       /* for so many connections; after that the owner is full */
    unsigned asked_full; /* how often it has said so */
};

static void on_stopped(struct acceptor *a)
{
    struct fixture *f = container_of(a, struct fixture, acceptor);
    f->stopped = true;
    net_close(&f->net);
}

static void on_accept(struct acceptor *a, int fd, const struct addr *peer)
{
    struct fixture *f = container_of(a, struct fixture, acceptor);
    ck_assert_int_eq(peer->sa.sa_family, AF_INET);
    f->accepted++;
    close(fd);
    if (f->accepted == f->stop_after)
        acceptor_stop(a, 0, on_stopped);
}

static void on_error(struct acceptor *a, int uv_error)
{
    struct fixture *f = container_of(a, struct fixture, acceptor);
    f->errors++;
    f->last_error = uv_error;
}

static bool is_full(struct acceptor *a)
{
    struct fixture *f = container_of(a, struct fixture, acceptor);
    bool full = f->accepted >= f->room;
    f->asked_full += full;
    return full;
}

static const struct acceptor_ops ops = {on_accept, on_error, is_full};

static struct addr loopback(void)
{
    struct addr a = {.v4 = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}},
                     .len = sizeof a.v4};
    return a;
}

static void start(struct fixture *f)
{
    struct addr any = loopback();
    struct error e;
    *f = (struct fixture){.room = UINT_MAX};
    ck_assert_int_eq(uv_loop_init(&f->loop), 0);
    net_init(&f->net, &f->loop);
    ck_assert_msg(acceptor_listen(&f->acceptor, &f->net, &ops, &any, &f->address, &e), "%s",
                  e.text);
    ck_assert_uint_ne(addr_port(&f->address), 0);
}

/* The acceptor was told to stop. */
static void finish(struct fixture *f)
{
    uv_run(&f->loop, UV_RUN_DEFAULT);
    ck_assert(f->stopped);
    net_deinit(&f->net);
    ck_assert_int_eq(uv_loop_close(&f->loop), 0);
}

static void connect_many(struct fixture *f, struct talk *t, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        talk_open(&t[i], &f->loop, &f->address);
}

static void close_many(struct talk *t, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        talk_close(&t[i]);
}

START_TEST(connections_are_taken_in_batches)
{
    struct fixture f;
    static struct talk t[MANY];
    start(&f);
    connect_many(&f, t, MANY);
    uv_run(&f.loop, UV_RUN_NOWAIT);
    ck_assert_uint_ge(f.accepted, 1);
    ck_assert_uint_le(f.accepted, ACCEPTOR_BATCH);
    uint64_t until = uv_hrtime() + TALK_PATIENCE_NS;
    while (f.accepted < MANY && uv_hrtime() < until)
        uv_run(&f.loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(f.accepted, MANY);
    ck_assert_uint_eq(f.errors, 0);
    acceptor_stop(&f.acceptor, 0, on_stopped);
    close_many(t, MANY);
    finish(&f);
}
END_TEST

START_TEST(what_is_queued_is_taken_before_it_stops)
{
    struct fixture f;
    static struct talk t[MANY];
    start(&f);
    connect_many(&f, t, MANY);
    acceptor_stop(&f.acceptor, MANY, on_stopped);
    ck_assert_uint_eq(f.accepted, MANY);
    ck_assert(!f.stopped);
    for (unsigned i = 0; i < MANY; i++) {
        talk_wait_end(&t[i]);
        ck_assert(!t[i].reset);
    }
    close_many(t, MANY);
    finish(&f);
}
END_TEST

/* Others may leave in that turn, and then there is room. */
START_TEST(those_for_whom_there_is_no_room_wait_for_one_turn)
{
    struct fixture f;
    static struct talk t[10];
    start(&f);
    f.room = 3;
    connect_many(&f, t, 10);
    uint64_t until = uv_hrtime() + TALK_PATIENCE_NS;
    while (f.asked_full == 0 && uv_hrtime() < until)
        uv_run(&f.loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(f.asked_full, 1);
    ck_assert_uint_eq(f.accepted, 3);
    while (f.accepted < 10 && uv_hrtime() < until) /* full as before: they are to be refused */
        uv_run(&f.loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(f.accepted, 10);
    f.room = 10;
    acceptor_stop(&f.acceptor, 0, on_stopped);
    close_many(t, 10);
    finish(&f);
}
END_TEST

START_TEST(an_owner_that_is_full_does_not_hold_up_its_stop)
{
    struct fixture f;
    static struct talk t[MANY];
    start(&f);
    f.room = 3;
    connect_many(&f, t, MANY);
    acceptor_stop(&f.acceptor, MANY, on_stopped);
    ck_assert_uint_eq(f.accepted, MANY);
    close_many(t, MANY);
    finish(&f);
}
END_TEST

START_TEST(no_more_is_taken_at_its_stop_than_was_said)
{
    struct fixture f;
    static struct talk t[MANY];
    start(&f);
    connect_many(&f, t, MANY);
    acceptor_stop(&f.acceptor, 3, on_stopped);
    ck_assert_uint_eq(f.accepted, 3);
    close_many(t, MANY);
    finish(&f);
    ck_assert_uint_eq(f.accepted, 3);
}
END_TEST

START_TEST(it_may_be_stopped_by_a_connection)
{
    struct fixture f;
    static struct talk t[MANY];
    start(&f);
    f.stop_after = 5;
    connect_many(&f, t, MANY);
    finish(&f);
    ck_assert_uint_eq(f.accepted, 5);
    close_many(t, MANY);
}
END_TEST

/* No descriptor is left above those that are open. */
static struct rlimit exhaust(void)
{
    struct rlimit was, none;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
    none = was;
    none.rlim_cur = 0;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    return was;
}

START_TEST(without_descriptors_connections_wait)
{
    struct fixture f;
    struct talk t[2];
    start(&f);
    connect_many(&f, t, 2);
    struct rlimit was = exhaust();
    uint64_t until = uv_hrtime() + TALK_PATIENCE_NS;
    while (f.errors < 2 && uv_hrtime() < until)
        uv_run(&f.loop, UV_RUN_ONCE);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
    ck_assert_uint_eq(f.errors, 2);
    ck_assert_int_eq(f.last_error, UV_EMFILE);
    ck_assert_uint_eq(f.accepted, 0);
    while (f.accepted < 2 && uv_hrtime() < until)
        uv_run(&f.loop, UV_RUN_ONCE);
    ck_assert_uint_eq(f.accepted, 2);
    acceptor_stop(&f.acceptor, 0, on_stopped);
    close_many(t, 2);
    finish(&f);
}
END_TEST

START_TEST(it_may_be_stopped_while_it_waits_for_descriptors)
{
    struct fixture f;
    struct talk t;
    start(&f);
    connect_many(&f, &t, 1);
    struct rlimit was = exhaust();
    uint64_t until = uv_hrtime() + TALK_PATIENCE_NS;
    while (f.errors < 1 && uv_hrtime() < until)
        uv_run(&f.loop, UV_RUN_ONCE);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
    acceptor_stop(&f.acceptor, 1, on_stopped);
    ck_assert_uint_eq(f.accepted, 1);
    talk_close(&t);
    finish(&f);
}
END_TEST

START_TEST(a_port_in_use_is_an_error)
{
    struct fixture f;
    struct acceptor second;
    struct addr bound;
    struct error e;
    char text[ADDR_TEXT_MAX], expected[256];
    start(&f);
    addr_format(&f.address, text);
    snprintf(expected, sizeof expected, "listen %s: address already in use", text);
    ck_assert(!acceptor_listen(&second, &f.net, &ops, &f.address, &bound, &e));
    ck_assert_int_eq(e.code, EADDRINUSE);
    ck_assert_str_eq(e.text, expected);
    acceptor_stop(&f.acceptor, 0, on_stopped);
    finish(&f);
}
END_TEST

/* Else the kernel would give some of the connections to another process, without a word. */
START_TEST(the_port_is_shared_with_nobody)
{
    struct fixture f;
    const int on = 1;
    start(&f);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on), 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    ck_assert(bind(fd, &f.address.sa, f.address.len) < 0 || listen(fd, 1) < 0);
    ck_assert_int_eq(errno, EADDRINUSE);
    close(fd);
    acceptor_stop(&f.acceptor, 0, on_stopped);
    finish(&f);
}
END_TEST

static Suite *build(void)
{
    Suite *suite = suite_create("acceptor");
    TCase *t = tcase_create("acceptor");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, connections_are_taken_in_batches);
    tcase_add_test(t, what_is_queued_is_taken_before_it_stops);
    tcase_add_test(t, those_for_whom_there_is_no_room_wait_for_one_turn);
    tcase_add_test(t, an_owner_that_is_full_does_not_hold_up_its_stop);
    tcase_add_test(t, no_more_is_taken_at_its_stop_than_was_said);
    tcase_add_test(t, it_may_be_stopped_by_a_connection);
    tcase_add_test(t, without_descriptors_connections_wait);
    tcase_add_test(t, it_may_be_stopped_while_it_waits_for_descriptors);
    tcase_add_test(t, a_port_in_use_is_an_error);
    tcase_add_test(t, the_port_is_shared_with_nobody);
    suite_add_tcase(suite, t);
    return suite;
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    return unit_main(build);
}
