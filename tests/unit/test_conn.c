#include "net/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/lib/talk.h"
#include "tests/lib/unit.h"

#define BIG (16 << 20)

/* An owner that takes what it is told to, and notes what it hears. */
struct owner {
    struct conn conn;
    struct conn_room room;
    size_t take, taken; /* bytes it will take in all; that it took */
    unsigned connects, reads, eofs, errors, drains, closed;
    int error; /* the last one */
    bool close_in_read;
    char text[256];
};

struct fixture {
    uv_loop_t loop;
    struct net net;
    struct owner owner;
    struct talk peer;
};

static void on_closed(struct conn *c)
{
    container_of(c, struct owner, conn)->closed++;
}

static size_t on_read(struct conn *c, char *data, size_t len)
{
    struct owner *o = container_of(c, struct owner, conn);
    size_t n = len < o->take - o->taken ? len : o->take - o->taken;
    ck_assert_uint_eq(o->closed, 0);
    o->reads++;
    for (size_t i = 0; i < n && o->taken + i < sizeof o->text - 1; i++)
        o->text[o->taken + i] = data[i];
    memset(data, '!', n); /* it may overwrite what it takes */
    o->taken += n;
    if (o->close_in_read)
        conn_close(c, on_closed);
    return n;
}

static void on_eof(struct conn *c)
{
    container_of(c, struct owner, conn)->eofs++;
}

static void on_error(struct conn *c, int uv_error)
{
    struct owner *o = container_of(c, struct owner, conn);
    ck_assert_int_lt(uv_error, 0);
    o->error = uv_error;
    o->errors++;
}

static void on_drain(struct conn *c)
{
    struct owner *o = container_of(c, struct owner, conn);
    ck_assert_uint_le(conn_queued(c), CONN_LOW_MARK);
    o->drains++;
}

static void on_connected(struct conn *c)
{
    container_of(c, struct owner, conn)->connects++;
}

static const struct conn_ops ops = {on_read, on_eof, on_error, on_drain, NULL, on_connected};

static void start(struct fixture *f, size_t take)
{
    struct addr at = {.v4 = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}},
                      .len = sizeof at.v4};
    *f = (struct fixture){.owner.take = take};
    ck_assert_int_eq(uv_loop_init(&f->loop), 0);
    net_init(&f->net, &f->loop);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listener, &at.sa, at.len), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, &at.sa, &at.len), 0);
    talk_open(&f->peer, &f->loop, &at);
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    close(listener);
    conn_accept(&f->owner.conn, &f->net, &ops, fd);
}

/* Turns the loop until the condition holds. */
#define UNTIL(f, condition)                                       \
    do {                                                          \
        uint64_t begin_ns = uv_hrtime();                          \
        while (!(condition)) {                                    \
            ck_assert(uv_hrtime() - begin_ns < TALK_PATIENCE_NS); \
            uv_run(&(f)->loop, UV_RUN_NOWAIT);                    \
        }                                                         \
    } while (0)

static void finish(struct fixture *f)
{
    conn_close(&f->owner.conn, on_closed);
    conn_close(&f->owner.conn, on_closed); /* again: nothing */
    UNTIL(f, f->owner.closed);
    if (f->peer.fd >= 0)
        talk_close(&f->peer);
    net_close(&f->net);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    net_deinit(&f->net);
    ck_assert_int_eq(uv_loop_close(&f->loop), 0);
    ck_assert_uint_eq(f->owner.closed, 1);
}

static void say(struct fixture *f, const char *text)
{
    ck_assert_int_eq(send(f->peer.fd, text, strlen(text), 0), (ssize_t)strlen(text));
}

static int write_text(struct conn *c, const char *text)
{
    char copy[64];
    int n = snprintf(copy, sizeof copy, "%s", text);
    uv_buf_t buf = uv_buf_init(copy, (unsigned)n);
    return conn_write(c, &buf, 1, NULL);
}

START_TEST(bytes_not_taken_are_kept_in_order)
{
    struct fixture f;
    struct owner *o = &f.owner;
    start(&f, 3);
    ck_assert_int_eq(conn_start(&o->conn), 0);
    say(&f, "abcdef");
    UNTIL(&f, conn_pending(&o->conn) == 3);
    say(&f, "ghi");
    UNTIL(&f, conn_pending(&o->conn) == 6);
    o->take = 8;
    conn_continue(&o->conn);
    ck_assert_uint_eq(conn_pending(&o->conn), 1);
    o->take = 100;
    conn_continue(&o->conn);
    ck_assert_str_eq(o->text, "abcdefghi");
    ck_assert_uint_eq(conn_pending(&o->conn), 0);
    ck_assert_ptr_null(o->conn.in.data); /* an idle conn holds no buffer */
    finish(&f);
}
END_TEST

START_TEST(what_came_before_it_is_registered_is_read_now)
{
    struct fixture f;
    struct owner *o = &f.owner;
    start(&f, 100);
    say(&f, "early");
    UNTIL(&f, conn_alive(&o->conn) == false); /* there is something to read */
    conn_read_now(&o->conn);
    ck_assert_str_eq(o->text, "early");
    ck_assert(conn_alive(&o->conn));
    ck_assert_int_eq(write_text(&o->conn, "answer"), 0);
    ck_assert(!o->conn.registered);
    UNTIL(&f, (talk_receive(&f.peer), buffer_len(&f.peer.got) == 6));
    finish(&f);
}
END_TEST

START_TEST(end_before_it_is_registered_is_told)
{
    struct fixture f;
    start(&f, 100);
    ck_assert_int_eq(shutdown(f.peer.fd, SHUT_WR), 0);
    UNTIL(&f, !conn_alive(&f.owner.conn));
    conn_read_now(&f.owner.conn);
    ck_assert_uint_eq(f.owner.eofs, 1);
    finish(&f);
}
END_TEST

START_TEST(a_paused_conn_reads_nothing_until_it_is_resumed)
{
    struct fixture f;
    struct owner *o = &f.owner;
    start(&f, 100);
    ck_assert_int_eq(conn_start(&o->conn), 0);
    conn_pause(&o->conn, PAUSE_PEER);
    say(&f, "later");
    UNTIL(&f, !o->conn.reading); /* stopped when the bytes came, not before */
    ck_assert_uint_eq(o->reads, 0);
    conn_pause(&o->conn, PAUSE_INPUT);
    conn_resume(&o->conn, PAUSE_PEER);
    ck_assert(!o->conn.reading); /* one reason is left */
    conn_resume(&o->conn, PAUSE_INPUT);
    UNTIL(&f, o->taken == 5);
    ck_assert_uint_eq(o->errors, 0);
    finish(&f);
}
END_TEST

START_TEST(input_nobody_takes_is_bounded_and_none_is_lost)
{
    struct fixture f;
    struct owner *o = &f.owner;
    start(&f, 0);
    ck_assert_int_eq(conn_start(&o->conn), 0);
    ck_assert_int_eq(fcntl(f.peer.fd, F_SETFL, O_NONBLOCK), 0);
    char block[4096];
    size_t sent = 0;
    memset(block, 'x', sizeof block);
    uint64_t since_ns = uv_hrtime();
    for (ssize_t n; sent < BIG;) {
        ck_assert(uv_hrtime() - since_ns < TALK_PATIENCE_NS);
        if ((n = send(f.peer.fd, block, sizeof block, 0)) > 0)
            sent += (size_t)n;
        else if (!o->conn.reading)
            break;
        uv_run(&f.loop, UV_RUN_NOWAIT);
    }
    ck_assert_uint_lt(sent, BIG); /* the peer was held up */
    ck_assert_uint_ge(conn_pending(&o->conn), CONN_HIGH_MARK);
    ck_assert_uint_le(conn_pending(&o->conn), CONN_HIGH_MARK + NET_READ_SIZE);
    o->take = sent;
    conn_continue(&o->conn);
    UNTIL(&f, o->taken == sent);
    finish(&f);
}
END_TEST

START_TEST(closing_in_on_read_is_the_last_that_is_heard)
{
    struct fixture f;
    struct owner *o = &f.owner;
    start(&f, 2);
    o->close_in_read = true;
    ck_assert_int_eq(conn_start(&o->conn), 0);
    say(&f, "abcdef");
    ck_assert_int_eq(shutdown(f.peer.fd, SHUT_WR), 0);
    UNTIL(&f, o->closed);
    ck_assert_uint_eq(o->reads, 1);
    ck_assert_uint_eq(o->eofs + o->errors, 0);
    finish(&f);
}
END_TEST

START_TEST(closing_unregistered_is_told_by_the_loop)
{
    struct fixture f;
    start(&f, 100);
    conn_close(&f.owner.conn, on_closed);
    ck_assert_uint_eq(f.owner.closed, 0);
    ck_assert_int_eq(write_text(&f.owner.conn, "no"), UV_EPIPE);
    finish(&f);
}
END_TEST

/* Fills the conn's output. Returns how much was written in all. */
static size_t fill(struct conn *c)
{
    static char block[32768];
    uv_buf_t buf = uv_buf_init(block, sizeof block);
    size_t total = 0;
    while (conn_queued(c) <= CONN_HIGH_MARK) {
        for (size_t i = 0; i < sizeof block; i++)
            block[i] = (char)('a' + (total + i) % 23);
        ck_assert_int_eq(conn_write(c, &buf, 1, NULL), 0);
        total += sizeof block;
    }
    return total;
}

START_TEST(output_that_waits_goes_out_in_order_and_drains)
{
    struct fixture f;
    struct owner *o = &f.owner;
    start(&f, 0);
    size_t total = fill(&o->conn); /* it registers itself when the socket is full */
    ck_assert(o->conn.registered);
    ck_assert_int_eq(conn_shutdown(&o->conn), 0);
    UNTIL(&f, (talk_receive(&f.peer), f.peer.ended));
    ck_assert_uint_eq(buffer_len(&f.peer.got), total);
    const char *got = buffer_head(&f.peer.got);
    for (size_t i = 0; i < total; i++)
        if (got[i] != (char)('a' + i % 23))
            ck_abort_msg("byte %zu of %zu", i, total);
    ck_assert_uint_ge(o->drains, 1);
    ck_assert_uint_eq(conn_queued(&o->conn), 0);
    finish(&f);
}
END_TEST

/* Each takes a request of libuv's, which is a hundred times as much. */
START_TEST(small_pieces_that_wait_count_with_what_they_take)
{
    struct fixture f;
    struct owner *o = &f.owner;
    start(&f, 0);
    size_t pieces = 0, total = fill(&o->conn);
    size_t before = conn_queued(&o->conn);
    while (conn_queued(&o->conn) < before + CONN_HIGH_MARK) {
        ck_assert_int_eq(write_text(&o->conn, "x"), 0);
        pieces++;
    }
    ck_assert_uint_ge(pieces, 100);
    ck_assert_uint_le(pieces, 1000);
    ck_assert_int_eq(conn_shutdown(&o->conn), 0);
    UNTIL(&f, (talk_receive(&f.peer), f.peer.ended));
    ck_assert_uint_eq(buffer_len(&f.peer.got), total + pieces);
    ck_assert_uint_ge(o->drains, 1);
    ck_assert_uint_eq(conn_queued(&o->conn), 0);
    finish(&f);
}
END_TEST

START_TEST(last_write_is_not_held_back_by_the_close)
{
    struct fixture f;
    start(&f, 0);
    f.owner.conn.last_write = true;
    ck_assert_int_eq(write_text(&f.owner.conn, "bye"), 0);
    conn_close(&f.owner.conn, on_closed);
    UNTIL(&f, (talk_receive(&f.peer), f.peer.ended));
    ck_assert_str_eq(f.peer.got.data, "bye");
    ck_assert(!f.peer.reset);
    finish(&f);
}
END_TEST

START_TEST(a_broken_conn_is_reset)
{
    struct fixture f;
    start(&f, 0);
    if (_i)
        ck_assert_int_eq(conn_start(&f.owner.conn), 0);
    conn_break(&f.owner.conn);
    conn_close(&f.owner.conn, on_closed);
    UNTIL(&f, (talk_receive(&f.peer), f.peer.ended));
    ck_assert(f.peer.reset);
    finish(&f);
}
END_TEST

START_TEST(a_write_to_a_reset_conn_fails_with_nothing_sent)
{
    struct fixture f;
    const struct linger now = {1, 0};
    bool none_sent = false;
    uv_buf_t buf = uv_buf_init(f.owner.text, 1);
    start(&f, 0);
    ck_assert_int_eq(setsockopt(f.peer.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    close(f.peer.fd);
    f.peer.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* for finish() */
    UNTIL(&f, !conn_alive(&f.owner.conn));
    ck_assert_int_lt(conn_write(&f.owner.conn, &buf, 1, &none_sent), 0);
    ck_assert(none_sent);
    ck_assert_int_eq(write_text(&f.owner.conn, "more"), UV_EPIPE); /* nothing more is written */
    ck_assert_uint_eq(f.owner.errors, 0);                          /* the result has told it */
    finish(&f);
}
END_TEST

/* A listener on a unix path; the test removes the file. */
static int unix_listener(struct addr *at)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *at = (struct addr){.un.sun_family = AF_UNIX, .len = ADDR_LEN_MAX};
    snprintf(at->un.sun_path, sizeof at->un.sun_path, "/tmp/test_conn.%d", (int)getpid());
    unlink(at->un.sun_path);
    ck_assert_int_eq(bind(fd, &at->sa, at->len), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    return fd;
}

static void start_connect(struct fixture *f, const struct addr *to)
{
    *f = (struct fixture){.owner.take = 100, .peer.fd = -1};
    ck_assert_int_eq(uv_loop_init(&f->loop), 0);
    net_init(&f->net, &f->loop);
    ck_assert_int_eq(conn_connect(&f->owner.conn, &f->net, &ops, to, &f->owner.room), 0);
    ck_assert_uint_eq(f->owner.connects + f->owner.errors, 0); /* never from within */
}

START_TEST(a_conn_to_a_unix_address_carries_bytes_both_ways)
{
    struct addr at;
    struct fixture f;
    char got[8] = "";
    int listener = unix_listener(&at);
    start_connect(&f, &at);
    UNTIL(&f, f.owner.connects);
    ck_assert_uint_eq(f.owner.errors, 0);
    ck_assert_int_eq(conn_start(&f.owner.conn), 0);
    f.peer.fd = accept(listener, NULL, NULL);
    ck_assert(conn_alive(&f.owner.conn));
    ck_assert_int_eq(write_text(&f.owner.conn, "ask"), 0);
    ck_assert_int_eq(recv(f.peer.fd, got, sizeof got, 0), 3);
    ck_assert_str_eq(got, "ask");
    say(&f, "answer");
    UNTIL(&f, f.owner.taken == 6);
    ck_assert_str_eq(f.owner.text, "answer");
    ck_assert_int_eq(conn_shutdown(&f.owner.conn), 0);
    UNTIL(&f, recv(f.peer.fd, got, sizeof got, MSG_DONTWAIT) == 0);
    ck_assert_int_eq(shutdown(f.peer.fd, SHUT_WR), 0);
    UNTIL(&f, f.owner.eofs);
    close(listener);
    unlink(at.un.sun_path);
    finish(&f);
}
END_TEST

START_TEST(what_keeps_it_from_a_unix_address_is_told_later)
{
    struct addr at;
    struct fixture f;
    close(unix_listener(&at)); /* its file stays */
    if (_i)
        unlink(at.un.sun_path);
    start_connect(&f, &at);
    UNTIL(&f, f.owner.errors);
    ck_assert_int_eq(f.owner.error, _i ? UV_ENOENT : UV_ECONNREFUSED);
    ck_assert_uint_eq(f.owner.connects, 0);
    unlink(at.un.sun_path);
    finish(&f);
}
END_TEST

START_TEST(no_descriptors_for_a_unix_address_are_told_at_once)
{
    struct addr at;
    struct fixture f = {.peer.fd = -1};
    struct rlimit old, none;
    int listener = unix_listener(&at);
    ck_assert_int_eq(uv_loop_init(&f.loop), 0);
    net_init(&f.net, &f.loop);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = (struct rlimit){0, old.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    int r = conn_connect(&f.owner.conn, &f.net, &ops, &at, &f.owner.room);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    ck_assert_int_eq(r, UV_EMFILE);
    close(listener);
    unlink(at.un.sun_path);
    finish(&f);
}
END_TEST

START_TEST(closing_while_it_connects_is_the_end_of_it)
{
    struct addr at;
    struct fixture f;
    int listener = unix_listener(&at);
    start_connect(&f, &at);
    finish(&f);
    ck_assert_uint_eq(f.owner.connects + f.owner.errors, 0); /* on_closed says it all */
    close(listener);
    unlink(at.un.sun_path);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("conn");
    TCase *c = tcase_create("conn");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, bytes_not_taken_are_kept_in_order);
    tcase_add_test(c, what_came_before_it_is_registered_is_read_now);
    tcase_add_test(c, end_before_it_is_registered_is_told);
    tcase_add_test(c, a_paused_conn_reads_nothing_until_it_is_resumed);
    tcase_add_test(c, input_nobody_takes_is_bounded_and_none_is_lost);
    tcase_add_test(c, closing_in_on_read_is_the_last_that_is_heard);
    tcase_add_test(c, closing_unregistered_is_told_by_the_loop);
    tcase_add_test(c, output_that_waits_goes_out_in_order_and_drains);
    tcase_add_test(c, small_pieces_that_wait_count_with_what_they_take);
    tcase_add_test(c, last_write_is_not_held_back_by_the_close);
    tcase_add_loop_test(c, a_broken_conn_is_reset, 0, 2);
    tcase_add_test(c, a_write_to_a_reset_conn_fails_with_nothing_sent);
    tcase_add_test(c, a_conn_to_a_unix_address_carries_bytes_both_ways);
    tcase_add_loop_test(c, what_keeps_it_from_a_unix_address_is_told_later, 0, 2);
    tcase_add_test(c, no_descriptors_for_a_unix_address_are_told_at_once);
    tcase_add_test(c, closing_while_it_connects_is_the_end_of_it);
    suite_add_tcase(s, c);
    return s;
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    return unit_main(build);
}
