#include "proxy/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "proxy/descriptors.h"
#include "tests/lib/unit.h"

#define BIG (24u << 20)
#define PATIENCE_NS UINT64_C(60000000000)

/* One way between two peers that the test plays, as a tunnel has it. */
struct way {
    struct worker worker; /* of which a relay needs the pipes alone */
    uv_loop_t loop;
    struct net net;
    struct conn source, sink;
    struct relay relay;
    int from, to; /* the peers' ends */
    unsigned closed, turns;
    bool was_bulk, was_held, ended, source_error, sink_error;
    size_t plain; /* bytes that were copied */
    uint64_t most;
    size_t sent, got; /* by the peers */
};

static unsigned char pattern[BIG]; /* what is sent */

static void make_pattern(void)
{
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (unsigned char)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

static void check_end(struct way *w)
{
    if (!w->source.eof || relay_held(&w->relay) || conn_pending(&w->source) || w->ended)
        return;
    w->ended = true;
    ck_assert_int_eq(conn_shutdown(&w->sink), 0);
}

static size_t on_read(struct conn *c, char *data, size_t len)
{
    struct way *w = container_of(c, struct way, source);
    uv_buf_t buf = uv_buf_init(data, (unsigned)len);
    ck_assert(!w->relay.bulk);
    if (c->paused & PAUSE_PEER)
        return 0;
    w->plain += len;
    if (relay_write(&w->relay, &buf, 1, NULL) < 0)
        w->sink_error = true;
    else if (relay_pays(&w->relay) && w->most)
        relay_begin(&w->relay, w->most);
    return len;
}

static void take_turn(struct way *w)
{
    size_t moved;
    int uv_error;
    w->turns++;
    w->was_bulk = true;
    switch (relay_turn(&w->relay, &moved, &uv_error)) {
    case RELAY_OK:
        break;
    case RELAY_SINK:
        ck_assert_int_lt(uv_error, 0);
        w->sink_error = true;
        break;
    case RELAY_SOURCE:
        w->source_error = uv_error != UV_EOF;
        ck_assert(w->source_error || w->source.eof);
        check_end(w);
    }
    if (w->most != UINT64_MAX)
        w->most -= moved;
    w->was_held |= relay_held(&w->relay) > 0;
    ck_assert(relay_held(&w->relay) == 0 || w->source.paused & PAUSE_PEER);
}

static void on_readable(struct conn *c)
{
    take_turn(container_of(c, struct way, source));
}

static void on_source_eof(struct conn *c)
{
    check_end(container_of(c, struct way, source));
}

static void on_source_error(struct conn *c, int uv_error)
{
    container_of(c, struct way, source)->source_error = true;
}

static void on_sink_error(struct conn *c, int uv_error)
{
    container_of(c, struct way, sink)->sink_error = true;
}

static size_t on_sink_read(struct conn *c, char *data, size_t len)
{
    return len;
}

static void ignore(struct conn *c)
{
}

static void on_sink_drain(struct conn *c)
{
    struct way *w = container_of(c, struct way, sink);
    int uv_error;
    enum relay_rest rest = relay_drained(&w->relay, &uv_error);
    w->sink_error |= rest == RELAY_REST_LOST;
    if (rest != RELAY_REST_NONE)
        return;
    if (w->relay.bulk)
        take_turn(w);
    else
        conn_continue(&w->source);
    if (!(w->source.paused & PAUSE_PEER))
        conn_resume(&w->source, PAUSE_PEER);
    check_end(w);
}

static const struct conn_ops source_ops = {on_read, on_source_eof, on_source_error, ignore,
                                           on_readable};
static const struct conn_ops sink_ops = {on_sink_read, ignore, on_sink_error, on_sink_drain, NULL};

/* The two ends of a connection. On one thread TCP would wait for its timers again and again, as who
 * sends into a full window gets no turn to be read from in time; where a reset is wanted it is TCP
 * nevertheless. */
static void connect_pair(bool tcp, int *one, int *other)
{
    int pair[2] = {-1, -1};
    struct addr at = {.v4 = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}},
                      .len = sizeof at.v4};
    if (!tcp) {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    } else {
        int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(bind(listener, &at.sa, at.len), 0);
        ck_assert_int_eq(listen(listener, 1), 0);
        ck_assert_int_eq(getsockname(listener, &at.sa, &at.len), 0);
        pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(connect(pair[0], &at.sa, at.len), 0);
        pair[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        close(listener);
    }
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(fcntl(pair[i], F_SETFL, O_NONBLOCK), 0);
    *one = pair[0];
    *other = pair[1];
}

static void start(struct way *w, bool tcp, uint64_t most)
{
    int source, sink;
    signal(SIGPIPE, SIG_IGN);
    *w = (struct way){.most = most};
    ck_assert_int_eq(uv_loop_init(&w->loop), 0);
    net_init(&w->net, &w->loop);
    connect_pair(tcp, &w->from, &source);
    connect_pair(tcp, &w->to, &sink);
    conn_accept(&w->source, &w->net, &source_ops, source);
    conn_accept(&w->sink, &w->net, &sink_ops, sink);
    relay_init(&w->relay, &w->worker, &w->source, &w->sink);
    ck_assert_int_eq(conn_start(&w->sink), 0);
}

static void on_source_closed(struct conn *c)
{
    container_of(c, struct way, source)->closed++;
}

static void on_sink_closed(struct conn *c)
{
    container_of(c, struct way, sink)->closed++;
}

static void finish(struct way *w)
{
    relay_end(&w->relay);
    conn_close(&w->source, on_source_closed);
    conn_close(&w->sink, on_sink_closed);
    while (w->closed < 2)
        uv_run(&w->loop, UV_RUN_ONCE);
    net_close(&w->net);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    net_deinit(&w->net);
    ck_assert_int_eq(uv_loop_close(&w->loop), 0);
    pipe_free_spares(&w->worker.pipes);
    ck_assert_uint_eq(w->worker.pipes.npipes, 0);
    close(w->from);
    close(w->to);
}

#define UNTIL(w, condition)                                  \
    do {                                                     \
        uint64_t begin_ns = uv_hrtime();                     \
        while (!(condition)) {                               \
            ck_assert(uv_hrtime() - begin_ns < PATIENCE_NS); \
            uv_run(&(w)->loop, UV_RUN_NOWAIT);               \
        }                                                    \
    } while (0)

/* The peer sends up to `end` in all. Returns whether that is done. */
static bool send_to(struct way *w, size_t end)
{
    while (w->sent < end) {
        ssize_t r = send(w->from, pattern + w->sent, end - w->sent, 0);
        if (r < 0)
            return false;
        w->sent += (size_t)r;
    }
    return true;
}

/* The other peer reads what is there. Returns false at the end. */
static bool receive(struct way *w)
{
    unsigned char data[65536];
    ssize_t n;
    while ((n = recv(w->to, data, sizeof data, 0)) > 0) {
        ck_assert_uint_le(w->got + (size_t)n, BIG);
        ck_assert_int_eq(memcmp(data, pattern + w->got, (size_t)n), 0);
        w->got += (size_t)n;
    }
    ck_assert(n == 0 || errno == EAGAIN);
    return n != 0;
}

/* Nothing moves any more although the loop turns. */
static void stall(struct way *w)
{
    for (unsigned quiet = 0; quiet < 200; quiet++) {
        size_t before = w->sent;
        send_to(w, BIG);
        uv_run(&w->loop, UV_RUN_NOWAIT);
        if (w->sent != before)
            quiet = 0;
        else
            poll(NULL, 0, 1);
    }
}

START_TEST(bulk_comes_whole_through_a_sink_that_was_full)
{
    struct way w;
    start(&w, false, UINT64_MAX);
    ck_assert_int_eq(conn_start(&w.source), 0);
    stall(&w);
    ck_assert_uint_lt(w.sent, BIG); /* it is held back */
    ck_assert(w.was_bulk && w.was_held);
    ck_assert_uint_le(relay_held(&w.relay), PIPE_MAX_HELD);
    bool shut = false;
    UNTIL(&w, !receive(&w) ||
                  (!shut && send_to(&w, BIG) && (shut = true) && shutdown(w.from, SHUT_WR) != 0));
    ck_assert_uint_eq(w.got, BIG);
    ck_assert(w.ended && !w.sink_error && !w.source_error);
    ck_assert_uint_lt(w.plain, BIG / 2);
    finish(&w);
}
END_TEST

START_TEST(bulk_stops_at_its_last_byte)
{
    const size_t most = 3000001;
    struct way w;
    start(&w, false, most);
    ck_assert_int_eq(conn_start(&w.source), 0);
    UNTIL(&w, (send_to(&w, BIG), w.turns > 0));
    size_t begun_at = w.plain;
    UNTIL(&w, (send_to(&w, BIG), receive(&w), w.got == BIG));
    ck_assert(!w.relay.bulk && w.most == 0);
    ck_assert_uint_ge(begun_at, RELAY_BULK_AFTER * (size_t)NET_READ_SIZE);
    ck_assert_uint_eq(w.plain, BIG - most);
    finish(&w);
}
END_TEST

START_TEST(a_trickle_is_copied_again)
{
    struct way w;
    start(&w, false, UINT64_MAX);
    ck_assert_int_eq(conn_start(&w.source), 0);
    UNTIL(&w, (send_to(&w, BIG / 4), receive(&w), w.got == BIG / 4));
    ck_assert(w.was_bulk);
    size_t plain = w.plain;
    for (unsigned i = 1; i <= 20; i++)
        UNTIL(&w, (send_to(&w, BIG / 4 + i * 100), receive(&w), w.got == BIG / 4 + i * 100));
    ck_assert(!w.relay.bulk);
    ck_assert_uint_ge(w.plain - plain, 1500);
    finish(&w);
}
END_TEST

START_TEST(without_a_pipe_it_is_copied)
{
    struct way w;
    start(&w, false, UINT64_MAX);
    w.worker.pipes.npipes = 1 << 20; /* it has as many as it may */
    ck_assert_int_eq(conn_start(&w.source), 0);
    UNTIL(&w, (send_to(&w, BIG), receive(&w), w.got == BIG));
    ck_assert(w.was_bulk); /* it was tried */
    ck_assert_uint_eq(w.plain, BIG);
    w.worker.pipes.npipes = 0;
    finish(&w);
}
END_TEST

static void reset(int *fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    ck_assert_int_eq(setsockopt(*fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    close(*fd);
    *fd = -1;
}

START_TEST(a_reset_of_the_source_is_no_end)
{
    struct way w;
    start(&w, true, UINT64_MAX);
    ck_assert_int_eq(conn_start(&w.source), 0);
    UNTIL(&w, (send_to(&w, BIG), receive(&w), w.was_bulk));
    reset(&w.from);
    UNTIL(&w, (receive(&w), w.source_error));
    ck_assert(!w.ended);
    finish(&w);
}
END_TEST

START_TEST(a_reset_of_the_sink_is_told)
{
    struct way w;
    start(&w, true, UINT64_MAX);
    ck_assert_int_eq(conn_start(&w.source), 0);
    stall(&w);
    ck_assert(w.was_held);
    reset(&w.to);
    UNTIL(&w, w.sink_error);
    finish(&w);
}
END_TEST

START_TEST(spare_pipes_are_few_and_counted)
{
    struct pipe_store store = {0};
    struct pipe *pipes[300];
    unsigned n = 0;
    while (n < 300 && (pipes[n] = pipe_take(&store, 0)) != NULL)
        n++;
    ck_assert_uint_gt(n, 8);
    ck_assert_uint_lt(n, 300); /* a worker's are bounded */
    ck_assert_uint_eq(store.npipes, n);
    for (unsigned i = 0; i < n; i++) {
        pipes[i]->held = i % 2; /* one that is not empty can't be used again */
        pipe_give(&store, pipes[i]);
    }
    ck_assert_uint_le(store.npipes, 8);
    ck_assert_uint_eq(store.npipes, store.nspare);
    pipe_free_spares(&store);
    ck_assert_uint_eq(store.npipes, 0);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("relay");
    TCase *c = tcase_create("relay");
    tcase_set_timeout(c, 120);
    make_pattern();
    tcase_add_test(c, bulk_comes_whole_through_a_sink_that_was_full);
    tcase_add_test(c, bulk_stops_at_its_last_byte);
    tcase_add_test(c, a_trickle_is_copied_again);
    tcase_add_test(c, without_a_pipe_it_is_copied);
    tcase_add_test(c, a_reset_of_the_source_is_no_end);
    tcase_add_test(c, a_reset_of_the_sink_is_told);
    tcase_add_test(c, spare_pipes_are_few_and_counted);
    suite_add_tcase(s, c);
    return s;
}

int main(void)
{
    return unit_main(build);
}
