/* What conn.c asks of a transport, over memory: allocations that fail, outcomes of connecting, what
 * is told after a close. And a layer between a conn and its transport, as TLS would be one: here it
 * says hello first and flips the bits of all that passes. */
#include "net/transport.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lib/alloc_fault.h"
#include "tests/lib/memory_transport.h"
#include "tests/lib/unit.h"

/* ---- the peer ---- */

struct peer {
    struct memory_wire wire;
    struct buffer got;
    bool fin, closed, reset;
    size_t lost;
};

static struct peer peer;
static int connect_error; /* of the next connect, told at once */

static void on_taken(struct memory_wire *w, const char *data, size_t n)
{
}

static void on_taken_end(struct memory_wire *w, bool error)
{
}

static void on_given(struct memory_wire *w, const char *data, size_t n)
{
    ck_assert(buffer_append(&peer.got, data, n));
}

static void on_fin(struct memory_wire *w)
{
    peer.fin = true;
}

static void on_peer_closed(struct memory_wire *w, bool reset, size_t lost)
{
    peer.closed = true;
    peer.reset = reset;
    peer.lost = lost;
}

static const struct memory_ops peer_ops = {on_taken, on_taken_end, on_given, on_fin,
                                           on_peer_closed};

static struct memory_wire *on_connect(struct conn *c, const struct addr *to, int *uv_error)
{
    *uv_error = connect_error;
    return connect_error ? NULL : &peer.wire;
}

/* ---- the owner ---- */

struct fixture {
    uv_loop_t loop;
    struct net net;
    struct conn conn;
    struct conn_room room;
    size_t take; /* bytes that it takes at most in one call */
    char text[64];
    size_t taken;
    unsigned connects, eofs, errors, drains, closed;
    int error;
};

static struct fixture *of(struct conn *c)
{
    return container_of(c, struct fixture, conn);
}

static size_t on_read(struct conn *c, char *data, size_t len)
{
    struct fixture *f = of(c);
    size_t n = len < f->take ? len : f->take;
    alloc_fault_hold(); /* Check allocates */
    ck_assert_uint_le(f->taken + n, sizeof f->text - 1);
    alloc_fault_release();
    memcpy(f->text + f->taken, data, n);
    f->taken += n;
    return n;
}

static void on_eof(struct conn *c)
{
    of(c)->eofs++;
}

static void on_error(struct conn *c, int uv_error)
{
    of(c)->errors++;
    of(c)->error = uv_error;
}

static void on_drain(struct conn *c)
{
    of(c)->drains++;
}

static void on_connected(struct conn *c)
{
    of(c)->connects++;
    ck_assert_int_eq(conn_start(c), 0);
}

static const struct conn_ops ops = {
    .on_read = on_read,
    .on_eof = on_eof,
    .on_error = on_error,
    .on_drain = on_drain,
    .on_connected = on_connected,
};

static void on_closed(struct conn *c)
{
    of(c)->closed++;
}

static void init(struct fixture *f)
{
    *f = (struct fixture){.take = SIZE_MAX};
    peer = (struct peer){0};
    connect_error = 0;
    memory_init(on_connect);
    memory_wire_init(&peer.wire, &peer_ops);
    ck_assert_int_eq(uv_loop_init(&f->loop), 0);
    net_init(&f->net, &f->loop);
    f->net.transport = &memory_transport;
}

static void turn(struct fixture *f)
{
    for (unsigned i = 0; i < 5; i++) {
        memory_run();
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
}

static void accept_one(struct fixture *f)
{
    init(f);
    conn_accept(&f->conn, &f->net, &ops, memory_wire_accept(&peer.wire));
    ck_assert_int_eq(conn_start(&f->conn), 0);
}

static void finish(struct fixture *f)
{
    net_close(&f->net); /* its handles wait for the conn */
    conn_close(&f->conn, on_closed);
    turn(f);
    ck_assert_uint_eq(f->closed, 1);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    net_deinit(&f->net);
    ck_assert_int_eq(uv_loop_close(&f->loop), 0);
    memory_wire_deinit(&peer.wire);
    buffer_release(&peer.got);
}

static int write_text(struct conn *c, const char *text, bool *none_sent)
{
    uv_buf_t bufs[3] = {uv_buf_init(NULL, 0)}; /* in two pieces, and an empty one */
    char copy[64];
    size_t n = strlen(text);
    memcpy(copy, text, n);
    bufs[1] = uv_buf_init(copy, (unsigned)n / 2);
    bufs[2] = uv_buf_init(copy + n / 2, (unsigned)(n - n / 2));
    return conn_write(c, bufs, 3, none_sent);
}

static void peer_says(struct fixture *f, const char *text)
{
    memory_send(&peer.wire, text, strlen(text));
    turn(f);
}

/* What the peer has got. */
static bool peer_got(const char *text)
{
    return buffer_len(&peer.got) == strlen(text) &&
           memcmp(buffer_head(&peer.got), text, strlen(text)) == 0;
}

/* ---- tests of a conn ---- */

START_TEST(output_that_finds_no_memory_to_wait_in_fails)
{
    struct fixture f;
    bool none_sent = _i != 0;
    accept_one(&f);
    peer.wire.room = (size_t)_i; /* nothing goes out, or a part */
    alloc_fault_after(1);
    ck_assert_int_eq(write_text(&f.conn, "abcdef", &none_sent), UV_ENOMEM);
    ck_assert(alloc_fault_off());
    ck_assert(none_sent == (_i == 0));
    ck_assert_uint_eq(buffer_len(&peer.got), (size_t)_i);
    ck_assert_int_eq(write_text(&f.conn, "more", NULL), UV_EPIPE);
    ck_assert_uint_eq(conn_queued(&f.conn), 0);
    ck_assert_uint_eq(f.errors, 0); /* the result has told it */
    finish(&f);
}
END_TEST

START_TEST(input_that_finds_no_memory_to_be_kept_in_is_an_error)
{
    struct fixture f;
    accept_one(&f);
    f.take = 0;
    if (_i) /* something is kept already: then there is no room to read to */
        peer_says(&f, "a");
    alloc_fault_after(1);
    peer_says(&f, _i ? "a line that is longer than what the buffer has room for" : "a");
    bool failed = alloc_fault_off();
    ck_assert_uint_eq(f.errors, failed);
    ck_assert(_i || failed);
    ck_assert(!failed || f.error == UV_ENOMEM);
    finish(&f);
}
END_TEST

START_TEST(what_waits_when_it_closes_is_lost_and_freed)
{
    struct fixture f;
    accept_one(&f);
    peer.wire.room = 2;
    ck_assert_int_eq(write_text(&f.conn, "abcdef", NULL), 0);
    ck_assert_int_eq(write_text(&f.conn, "ghi", NULL), 0);
    ck_assert_uint_gt(conn_queued(&f.conn), 0);
    ck_assert(peer_got("abcdefghi")); /* what was given, out or not */
    finish(&f);
    ck_assert_uint_eq(peer.lost, 7);
    ck_assert_uint_eq(f.drains, 0);
}
END_TEST

START_TEST(output_drains_when_the_window_opens)
{
    struct fixture f;
    accept_one(&f);
    peer.wire.room = 2;
    ck_assert_int_eq(write_text(&f.conn, "abcdef", NULL), 0);
    ck_assert_int_eq(conn_shutdown(&f.conn), 0);
    turn(&f);
    ck_assert_uint_eq(f.drains, 0);
    ck_assert(!peer.fin);
    peer.wire.room = MEMORY_ROOM_MAX;
    turn(&f);
    ck_assert_uint_eq(f.drains, 1);
    ck_assert(peer.fin);
    finish(&f);
    ck_assert_uint_eq(peer.lost, 0);
}
END_TEST

START_TEST(connecting_is_told_once_and_not_after_a_close)
{
    static const int outcomes[] = {0, UV_ECONNREFUSED, 1 /* none yet */};
    struct fixture f;
    init(&f);
    ck_assert_int_eq(conn_connect(&f.conn, &f.net, &ops, NULL, &f.room), 0);
    turn(&f);
    ck_assert_uint_eq(f.connects + f.errors, 0);
    memory_connected(&peer.wire, outcomes[_i]);
    if (outcomes[_i] <= 0)
        turn(&f);
    finish(&f);
    ck_assert_uint_eq(f.connects, outcomes[_i] == 0);
    ck_assert_uint_eq(f.errors, outcomes[_i] < 0);
    ck_assert_int_eq(f.error, outcomes[_i] < 0 ? outcomes[_i] : 0);
}
END_TEST

START_TEST(what_fails_at_once_is_the_result_and_is_closed_all_the_same)
{
    struct fixture f;
    init(&f);
    connect_error = UV_EMFILE;
    ck_assert_int_eq(conn_connect(&f.conn, &f.net, &ops, NULL, &f.room), UV_EMFILE);
    turn(&f);
    ck_assert_uint_eq(f.connects + f.errors, 0);
    finish(&f);
}
END_TEST

START_TEST(bulk_is_possible_where_the_transport_has_a_way)
{
    struct fixture f;
    init(&f);
    if (_i)
        f.net.transport = &memory_transport_plain;
    conn_accept(&f.conn, &f.net, &ops, memory_wire_accept(&peer.wire));
    ck_assert(conn_can_splice(&f.conn) == (_i == 0));
    finish(&f);
}
END_TEST

/* ---- a layer ---- */

#define FLIP 0x20

struct layer {
    struct conn *conn; /* above */
    struct conn lower;
    uv_idle_t again; /* tells what lower has kept, when reading goes on */
    size_t held;     /* told by conn_holds() */
    unsigned open;   /* of lower and again */
    bool greeted;
};

static struct layer *layer_of(const struct conn *c)
{
    return c->other.state;
}

static struct layer *of_lower(struct conn *c)
{
    return container_of(c, struct layer, lower);
}

static void flip(char *to, const char *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (char)(from[i] ^ FLIP);
}

static size_t on_lower_read(struct conn *lower, char *data, size_t len)
{
    struct layer *l = of_lower(lower);
    if (!l->greeted) { /* the peer's hello is one byte */
        l->greeted = true;
        conn_on_connected(l->conn, 0);
        return 1;
    }
    uv_buf_t room = conn_read_room(l->conn);
    size_t n = len < room.len ? len : room.len;
    if (n == 0) {
        conn_on_readable(l->conn);
        return 0;
    }
    flip(room.base, data, n); /* data may lie in the same buffer, never before the room */
    conn_on_bytes(l->conn, room.base, n, n == room.len);
    return n;
}

static void on_lower_eof(struct conn *lower)
{
    struct layer *l = of_lower(lower);
    if (l->greeted)
        conn_on_end(l->conn, 0);
    else
        conn_on_connected(l->conn, UV_ECONNRESET);
}

static void on_lower_error(struct conn *lower, int uv_error)
{
    struct layer *l = of_lower(lower);
    if (l->greeted)
        conn_on_error(l->conn, uv_error);
    else
        conn_on_connected(l->conn, uv_error);
}

static void on_lower_drain(struct conn *lower)
{
    struct layer *l = of_lower(lower);
    size_t n = l->held - conn_queued(lower);
    l->held -= n;
    if (n)
        conn_on_released(l->conn, n, 0);
}

static void on_lower_connected(struct conn *lower)
{
    uv_buf_t hello = uv_buf_init((char[]){'?'}, 1);
    ck_assert_int_eq(conn_start(lower), 0);
    ck_assert_int_eq(conn_write(lower, &hello, 1, NULL), 0);
}

static const struct conn_ops lower_ops = {
    .on_read = on_lower_read,
    .on_eof = on_lower_eof,
    .on_error = on_lower_error,
    .on_drain = on_lower_drain,
    .on_connected = on_lower_connected,
};

static int layer_connect(struct conn *c, const struct addr *to, struct conn_room *room)
{
    struct layer *l = calloc(1, sizeof *l);
    ck_assert_ptr_nonnull(l);
    l->conn = c;
    l->open = 2;
    c->other.state = l;
    ck_assert_int_eq(uv_idle_init(c->net->loop, &l->again), 0);
    return conn_connect_over(&l->lower, c->net, &memory_transport, &lower_ops, to, room);
}

static int layer_start(struct conn *c)
{
    return 0; /* it has read the hello already */
}

static void on_again(uv_idle_t *again)
{
    struct layer *l = container_of(again, struct layer, again);
    uv_idle_stop(again);
    conn_clear_pause(&l->lower, PAUSE_PEER);
    conn_continue(&l->lower);
    conn_resume(&l->lower, (enum conn_pause)0);
}

static int layer_read_start(struct conn *c)
{
    struct layer *l = layer_of(c);
    if (conn_pending(&l->lower))
        return uv_idle_start(&l->again, on_again);
    conn_resume(&l->lower, PAUSE_PEER);
    return 0;
}

static void layer_read_stop(struct conn *c)
{
    conn_pause(&layer_of(c)->lower, PAUSE_PEER);
    uv_idle_stop(&layer_of(c)->again);
}

static ssize_t layer_write(struct conn *c, const uv_buf_t *bufs, unsigned n)
{
    struct layer *l = layer_of(c);
    char data[256];
    size_t len = 0;
    for (unsigned i = 0; i < n; i++) {
        flip(data + len, bufs[i].base, bufs[i].len);
        len += bufs[i].len;
    }
    uv_buf_t buf = uv_buf_init(data, (unsigned)len);
    int r = conn_write(&l->lower, &buf, 1, NULL);
    if (r < 0)
        return r;
    conn_holds(c, conn_queued(&l->lower) - l->held);
    l->held = conn_queued(&l->lower);
    return (ssize_t)len;
}

static int layer_shutdown(struct conn *c)
{
    return conn_shutdown(&layer_of(c)->lower);
}

static void layer_closed_one(struct layer *l)
{
    struct conn *c = l->conn;
    if (--l->open)
        return;
    if (l->held)
        conn_on_released(c, l->held, UV_ECANCELED);
    free(l);
    conn_on_closed(c);
}

static void on_lower_closed(struct conn *lower)
{
    layer_closed_one(of_lower(lower));
}

static void on_again_closed(uv_handle_t *again)
{
    layer_closed_one(container_of((uv_idle_t *)again, struct layer, again));
}

static void layer_close(struct conn *c)
{
    uv_close((uv_handle_t *)&layer_of(c)->again, on_again_closed);
    conn_close(&layer_of(c)->lower, on_lower_closed);
}

static const struct transport layer_transport = {
    .connect = layer_connect,
    .start = layer_start,
    .read_start = layer_read_start,
    .read_stop = layer_read_stop,
    .write = layer_write,
    .shutdown = layer_shutdown,
    .close = layer_close,
};

static void connect_layer(struct fixture *f)
{
    init(f);
    f->net.transport = &layer_transport;
    ck_assert_int_eq(conn_connect(&f->conn, &f->net, &ops, NULL, &f->room), 0);
    memory_connected(&peer.wire, 0);
    turn(f);
    ck_assert(peer_got("?"));
    ck_assert_uint_eq(f->connects, 0); /* the handshake is not over */
}

START_TEST(a_layer_connects_when_its_handshake_is_over)
{
    struct fixture f;
    connect_layer(&f);
    if (_i == 0)
        peer_says(&f, "!");
    else if (_i == 1)
        memory_fin(&peer.wire);
    else
        memory_reset(&peer.wire);
    turn(&f);
    ck_assert_uint_eq(f.connects, _i == 0);
    ck_assert_int_eq(f.error, _i == 0 ? 0 : UV_ECONNRESET);
    finish(&f);
    ck_assert_uint_eq(f.connects + f.errors, 1);
}
END_TEST

START_TEST(a_layer_turns_bytes_both_ways)
{
    struct fixture f;
    connect_layer(&f);
    peer_says(&f, "!HELLO"); /* bytes come with the end of the handshake */
    ck_assert_str_eq(f.text, "hello");
    ck_assert_int_eq(write_text(&f.conn, "answer", NULL), 0);
    turn(&f);
    ck_assert(peer_got("?ANSWER"));
    ck_assert_int_eq(conn_shutdown(&f.conn), 0);
    memory_fin(&peer.wire);
    turn(&f);
    ck_assert(peer.fin);
    ck_assert_uint_eq(f.eofs, 1);
    ck_assert(!conn_can_splice(&f.conn));
    finish(&f);
}
END_TEST

START_TEST(a_layer_holds_back_what_its_conn_is_paused_for)
{
    struct fixture f;
    connect_layer(&f);
    peer_says(&f, "!");
    conn_pause(&f.conn, PAUSE_PEER);
    peer_says(&f, "LATER");
    ck_assert_uint_eq(f.taken, 0);
    conn_resume(&f.conn, PAUSE_PEER);
    ck_assert_uint_eq(f.taken, 0); /* never from within */
    peer_says(&f, "STILL");
    ck_assert_str_eq(f.text, "laterstill");
    f.take = 3; /* what is not taken is kept above, in order */
    conn_pause(&f.conn, PAUSE_INPUT);
    conn_resume(&f.conn, PAUSE_INPUT);
    peer_says(&f, "ABCDEFG");
    ck_assert_str_eq(f.text, "laterstillabcdefg");
    finish(&f);
}
END_TEST

START_TEST(what_a_layer_holds_counts_as_queued)
{
    struct fixture f;
    connect_layer(&f);
    peer_says(&f, "!");
    peer.wire.room = 2;
    ck_assert_int_eq(write_text(&f.conn, "abcdef", NULL), 0);
    ck_assert_uint_gt(conn_queued(&f.conn), 0);
    unsigned drains = f.drains;
    if (_i == 0) {
        peer.wire.room = MEMORY_ROOM_MAX;
        turn(&f);
        ck_assert_uint_eq(conn_queued(&f.conn), 0);
        ck_assert_uint_eq(f.drains, drains + 1);
        ck_assert(peer_got("?ABCDEF"));
    }
    finish(&f);
    ck_assert_uint_eq(peer.lost, _i == 0 ? 0 : 4);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("transport");
    TCase *c = tcase_create("transport");
    tcase_add_loop_test(c, output_that_finds_no_memory_to_wait_in_fails, 0, 6);
    tcase_add_loop_test(c, input_that_finds_no_memory_to_be_kept_in_is_an_error, 0, 2);
    tcase_add_test(c, what_waits_when_it_closes_is_lost_and_freed);
    tcase_add_test(c, output_drains_when_the_window_opens);
    tcase_add_loop_test(c, connecting_is_told_once_and_not_after_a_close, 0, 3);
    tcase_add_test(c, what_fails_at_once_is_the_result_and_is_closed_all_the_same);
    tcase_add_loop_test(c, bulk_is_possible_where_the_transport_has_a_way, 0, 2);
    tcase_add_loop_test(c, a_layer_connects_when_its_handshake_is_over, 0, 3);
    tcase_add_test(c, a_layer_turns_bytes_both_ways);
    tcase_add_test(c, a_layer_holds_back_what_its_conn_is_paused_for);
    tcase_add_loop_test(c, what_a_layer_holds_counts_as_queued, 0, 2);
    suite_add_tcase(s, c);
    return s;
}

int main(void)
{
    return unit_main(build);
}
