#include "bench/load/client.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

#define ANSWER_HEAD_MAX (65 * 1024) /* more than any wire leaves unread before it gives up */

static void connect_now(struct client *c);

static struct client *of(struct conn *conn)
{
    return container_of(conn, struct client, conn);
}

static const struct load_options *options_of(const struct client *c)
{
    return c->thread->load->options;
}

void client_init(struct client *c, struct load_thread *t)
{
    *c = (struct client){.thread = t};
    list_init(&c->free);
    deadline_init(&c->deadline);
    const struct load_options *o = t->load->options;
    c->requests = mem_zalloc_array(o->pipeline, sizeof *c->requests);
    c->reader = mem_zalloc(o->wire->reader_size);
}

void client_deinit(struct client *c)
{
    assert(c->state == CLIENT_OFF);
    free(c->requests);
    free(c->reader);
}

/* ---- the ring of requests ---- */

static struct client_request *request_at(struct client *c, unsigned i)
{
    assert(i < options_of(c)->pipeline);
    return &c->requests[(c->first + i) % options_of(c)->pipeline];
}

static struct client_request take_first(struct client *c)
{
    assert(c->count > 0);
    struct client_request r = c->requests[c->first];
    c->first = (c->first + 1) % options_of(c)->pipeline;
    c->count--;
    return r;
}

/* ---- in the list of the free, or not ---- */

/* A client that may take a request goes to the end of the list, so that connections take turns and
 * an open loop does not leave most of them idle. */
static void update_free(struct client *c)
{
    bool able = c->state == CLIENT_OPEN || (c->state == CLIENT_OFF && !c->held_back);
    list_remove(&c->free);
    if (able && c->count < options_of(c)->pipeline)
        list_push_back(&c->thread->free, &c->free);
}

/* One deadline for all requests of a connection: answers come in order, so only the first one can
 * be late. */
static void watch(struct client *c)
{
    if (c->count)
        deadline_arm(&c->thread->timeouts, &c->deadline);
    else
        deadline_cancel(&c->deadline);
}

/* ---- closing ---- */

static void on_closed(struct conn *conn)
{
    struct client *c = of(conn);
    struct load_thread *t = c->thread;
    const struct wire *w = options_of(c)->wire;
    assert(c->state == CLIENT_CLOSING && t->open > 0);
    w->reset(w, c->reader);
    c->state = CLIENT_OFF;
    t->open--;
    if (t->state >= LOAD_THREAD_CLOSED) {
        load_thread_maybe_over(t);
        return;
    }
    if (c->count) { /* they stood behind an answer that closed the connection */
        connect_now(c);
        return;
    }
    if (c->held_back)
        deadline_arm(&t->backoffs, &c->deadline);
    update_free(c);
    load_thread_dispatch(t, clock_now_ns());
}

static void close_now(struct client *c)
{
    assert(c->state == CLIENT_CONNECTING || c->state == CLIENT_OPEN);
    c->state = CLIENT_CLOSING;
    deadline_cancel(&c->deadline);
    update_free(c);
    conn_close(&c->conn, on_closed);
}

void client_fail(struct client *c, enum load_error why)
{
    /* All of them: without the first answer the next ones cannot be told apart. */
    while (c->count) {
        struct client_request r = take_first(c);
        load_thread_failed(c->thread, why, r.due_ns, r.key);
    }
    client_close(c);
    load_thread_maybe_over(c->thread);
}

void client_close(struct client *c)
{
    deadline_cancel(&c->deadline);
    if (c->state == CLIENT_CONNECTING || c->state == CLIENT_OPEN)
        close_now(c);
}

void client_on_backoff(struct deadline *d)
{
    struct client *c = container_of(d, struct client, deadline);
    c->held_back = false;
    update_free(c);
    load_thread_dispatch(c->thread, clock_now_ns());
}

/* ---- reading ---- */

/* The first request in flight is answered. False: the connection is closed by that. */
static bool answered(struct client *c, const struct wire_answer *a, uint64_t now)
{
    struct client_request r = take_first(c);
    load_thread_answered(c->thread, a, r.due_ns, r.key, now);
    if (a->keep) {
        watch(c);
        return true;
    }
    close_now(c);
    return false;
}

static size_t on_read(struct conn *conn, char *data, size_t len)
{
    struct client *c = of(conn);
    const struct load_options *o = options_of(c);
    struct wire_answer a;
    uint64_t now = clock_now_ns();
    size_t used = 0, n = 0;
    while (c->count && used < len) {
        enum wire_result r = o->wire->take(o->wire, c->reader, data + used, len - used, &n, &a);
        used += n;
        c->thread->bytes_in += n;
        if (r == WIRE_BAD) {
            client_fail(c, LOAD_MALFORMED);
            return len;
        }
        if (r == WIRE_MORE)
            break;
        if (!answered(c, &a, now)) {
            load_thread_maybe_over(c->thread);
            return len;
        }
    }
    if (c->count == 0 && used < len) { /* bytes without a request */
        c->thread->unasked++;
        close_now(c);
        load_thread_maybe_over(c->thread);
        return len;
    }
    update_free(c);
    /* This client first, and before the loop looks at another one: in a closed loop the next
     * request leaves in the same turn as the answer that it waited for. */
    load_thread_refill(c->thread, c, o->pipeline, now);
    return used;
}

static void on_eof(struct conn *conn)
{
    struct client *c = of(conn);
    const struct wire *w = options_of(c)->wire;
    struct wire_answer a;
    /* An answer without a length ends with the connection; anything else was cut off. */
    if (c->count && w->take_end(w, c->reader, &a)) {
        a.keep = false;
        answered(c, &a, clock_now_ns());
        load_thread_maybe_over(c->thread);
    } else {
        client_fail(c, LOAD_CLOSED);
    }
}

/* Nothing waits for room: the number of requests in flight limits what is queued. */
static void on_drain(struct conn *conn)
{
}

/* ---- connecting ---- */

static void connect_failed(struct client *c, int uv_error)
{
    struct load_thread *t = c->thread;
    c->held_back = true; /* or a server that refuses would keep the thread busy with connecting */
    if (t->state == LOAD_THREAD_CONNECTING)
        load_thread_client_ready(t, uv_error);
    client_fail(c, LOAD_CONNECT);
}

static void put(struct client *c, uint32_t key)
{
    const struct load_options *o = options_of(c);
    struct str text = key == KEYS_NONE ? (struct str){0} : keys_text(o->keys, key);
    if (!o->wire->put(o->wire, text, &c->thread->out))
        abort(); /* a request is small: without memory for it nothing can go on */
}

static void on_error(struct conn *conn, int uv_error)
{
    struct client *c = of(conn);
    if (c->state == CLIENT_CONNECTING)
        connect_failed(c, uv_error);
    else
        client_fail(c, LOAD_RESET);
}

static void on_connected(struct conn *conn)
{
    struct client *c = of(conn);
    struct load_thread *t = c->thread;
    assert(c->state == CLIENT_CONNECTING);
    int r = conn_start(conn);
    if (r < 0) {
        connect_failed(c, r);
        return;
    }
    c->state = CLIENT_OPEN;
    t->connects++;
    for (unsigned i = 0; i < c->count; i++) /* they came while there was no connection */
        put(c, request_at(c, i)->key);
    watch(c);
    update_free(c);
    client_flush(c);
    if (t->state == LOAD_THREAD_CONNECTING)
        load_thread_client_ready(t, 0);
    else if (c->state == CLIENT_OPEN)
        load_thread_dispatch(t, clock_now_ns());
}

static const struct conn_ops client_ops = {on_read, on_eof, on_error, on_drain, NULL, on_connected};

static void connect_now(struct client *c)
{
    struct load_thread *t = c->thread;
    assert(c->state == CLIENT_OFF);
    c->state = CLIENT_CONNECTING;
    t->open++;
    update_free(c);
    deadline_arm(&t->timeouts, &c->deadline);
    int r = conn_connect(&c->conn, &t->net, &client_ops, &options_of(c)->target, &c->room);
    c->conn.in_limit = ANSWER_HEAD_MAX;
    if (r < 0)
        connect_failed(c, r);
}

void client_connect(struct client *c)
{
    connect_now(c);
}

void client_on_timeout(struct deadline *d)
{
    struct client *c = container_of(d, struct client, deadline);
    if (c->state == CLIENT_CONNECTING)
        connect_failed(c, UV_ETIMEDOUT);
    else
        client_fail(c, LOAD_TIMEOUT);
}

/* ---- sending ---- */

void client_send(struct client *c, uint64_t due_ns, uint32_t key)
{
    assert(c->count < options_of(c)->pipeline);
    assert(c->state == CLIENT_OFF || c->state == CLIENT_OPEN);
    *request_at(c, c->count++) = (struct client_request){due_ns, key};
    if (c->state == CLIENT_OFF) {
        connect_now(c);
        return;
    }
    put(c, key);
    if (c->count == 1)
        watch(c);
    update_free(c);
}

void client_flush(struct client *c)
{
    struct buffer *out = &c->thread->out;
    if (buffer_len(out) == 0)
        return;
    assert(c->state == CLIENT_OPEN);
    uv_buf_t b = uv_buf_init(buffer_head(out), (unsigned)buffer_len(out));
    c->thread->bytes_out += b.len;
    int r = conn_write(&c->conn, &b, 1, NULL);
    buffer_clear(out); /* conn has copied what the socket did not take */
    if (r < 0)
        client_fail(c, LOAD_RESET);
}
