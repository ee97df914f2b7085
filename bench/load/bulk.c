/* A connection goes CONNECTING -> READY -> MOVING -> ENDED. All of them begin to move together,
 * when the last one has connected or failed. */
#include "bench/load/bulk.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"
#include "bench/load/cpu.h"

#define PIECE (256 * 1024) /* bytes that one send() offers at most */
#define READ_MOST (1024 * 1024)
#define TURNS 16 /* system calls for one connection before the others get their turn */
#define INTERVAL_MS 100

enum flow_state { FLOW_CONNECTING, FLOW_READY, FLOW_MOVING, FLOW_ENDED };

struct bulk;

struct flow {
    uv_poll_t poll;
    struct bulk *bulk;
    enum flow_state state;
    int fd;
};

struct bulk {
    const struct bulk_options *options;
    struct bulk_result *result;
    uv_loop_t loop;
    uv_timer_t connect_timer, end_timer, tick;
    uv_signal_t term, intr;
    struct flow *flows;
    unsigned nflows, connecting, moving;
    bool started, over;
    int error; /* errno of the last connect that failed */
    char *piece;
    uint64_t start_ns, last_in, last_out, ticks; /* as of the last tick */
};

/* ---- the end ---- */

static void close_handle(uv_handle_t *h)
{
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

static void on_flow_closed(uv_handle_t *h)
{
    struct flow *f = container_of((uv_poll_t *)h, struct flow, poll);
    close(f->fd);
    f->fd = -1;
}

static void end_flow(struct flow *f)
{
    if (f->state == FLOW_ENDED)
        return;
    f->state = FLOW_ENDED;
    uv_close((uv_handle_t *)&f->poll, on_flow_closed);
}

static void finish(struct bulk *b)
{
    if (b->over)
        return;
    b->over = true;
    if (b->started)
        b->result->seconds = (double)(clock_now_ns() - b->start_ns) / 1e9;
    for (unsigned i = 0; i < b->nflows; i++)
        end_flow(&b->flows[i]);
    close_handle((uv_handle_t *)&b->connect_timer);
    close_handle((uv_handle_t *)&b->end_timer);
    close_handle((uv_handle_t *)&b->tick);
    close_handle((uv_handle_t *)&b->term);
    close_handle((uv_handle_t *)&b->intr);
}

static void flow_failed(struct flow *f, enum load_error why)
{
    struct bulk *b = f->bulk;
    bool moved = f->state == FLOW_MOVING;
    b->result->failed++;
    b->result->errors[why]++;
    end_flow(f);
    if (moved && --b->moving == 0)
        finish(b);
}

/* ---- moving ---- */

static bool again(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static void receive(struct flow *f)
{
    assert(f->state == FLOW_MOVING);
    for (int i = 0; i < TURNS; i++) {
        ssize_t n = recv(f->fd, NULL, READ_MOST, MSG_TRUNC | MSG_DONTWAIT);
        if (n > 0) {
            f->bulk->result->bytes_in += (uint64_t)n;
            continue;
        }
        if (n == 0)
            flow_failed(f, LOAD_CLOSED);
        else if (!again())
            flow_failed(f, LOAD_RESET);
        return;
    }
}

static void transmit(struct flow *f)
{
    assert(f->state == FLOW_MOVING);
    for (int i = 0; i < TURNS; i++) {
        ssize_t n = send(f->fd, f->bulk->piece, PIECE, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            if (!again())
                flow_failed(f, LOAD_RESET);
            return;
        }
        f->bulk->result->bytes_out += (uint64_t)n;
        if (n < PIECE)
            return; /* the socket is full */
    }
}

static void on_moving(uv_poll_t *poll, int status, int events)
{
    struct flow *f = container_of(poll, struct flow, poll);
    if (status < 0) {
        flow_failed(f, LOAD_RESET);
        return;
    }
    if (events & UV_READABLE)
        receive(f);
    if (f->state == FLOW_MOVING && events & UV_WRITABLE)
        transmit(f);
}

/* A source begins to send when it gets a byte. */
static bool ask(struct flow *f)
{
    if (f->bulk->options->up)
        return true;
    ssize_t n = send(f->fd, "g", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    f->bulk->result->bytes_out += n == 1;
    return n == 1;
}

static void start_flow(struct flow *f)
{
    const struct bulk_options *o = f->bulk->options;
    /* Readable also where no bytes are expected: that is how the end of a connection shows. */
    int events = UV_READABLE | (o->up ? UV_WRITABLE : 0);
    f->state = FLOW_MOVING;
    if (!ask(f) || uv_poll_start(&f->poll, events, on_moving) < 0)
        flow_failed(f, LOAD_RESET);
}

/* ---- the time line ---- */

static void merge_cells(struct bulk_result *r)
{
    for (unsigned i = 0; i < LOAD_CELLS / 2; i++) {
        const struct bulk_cell *two = r->cells + (size_t)2 * i;
        r->cells[i] = (struct bulk_cell){two[0].bytes_in + two[1].bytes_in,
                                         two[0].bytes_out + two[1].bytes_out};
    }
    memset(r->cells + LOAD_CELLS / 2, 0, LOAD_CELLS / 2 * sizeof *r->cells);
    r->ncells = LOAD_CELLS / 2;
    r->interval_ns *= 2;
}

/* The bytes since the last tick belong to the interval that ends now. */
static void note_cell(struct bulk *b)
{
    struct bulk_result *r = b->result;
    uint64_t passed = clock_now_ns() - b->start_ns;
    while (passed / r->interval_ns >= LOAD_CELLS)
        merge_cells(r);
    uint64_t i = passed / r->interval_ns;
    if (i > 0 && passed % r->interval_ns < r->interval_ns / 2)
        i--; /* the tick came a little late, after the end of its interval */
    r->cells[i].bytes_in += r->bytes_in - b->last_in;
    r->cells[i].bytes_out += r->bytes_out - b->last_out;
    if (i >= r->ncells)
        r->ncells = (unsigned)i + 1;
    if (b->options->progress && ++b->ticks % (1000 / INTERVAL_MS) == 0)
        fprintf(stderr, "\r%6.1f s  %12" PRIu64 " MiB in  %12" PRIu64 " MiB out ",
                (double)passed / 1e9, r->bytes_in >> 20, r->bytes_out >> 20);
    b->last_in = r->bytes_in;
    b->last_out = r->bytes_out;
}

static void on_tick(uv_timer_t *timer)
{
    note_cell(timer->data);
}

static void on_end(uv_timer_t *timer)
{
    finish(timer->data);
}

static void on_signal(uv_signal_t *s, int number)
{
    finish(s->data);
}

/* ---- connecting ---- */

static void start_moving(struct bulk *b)
{
    uv_update_time(&b->loop);
    uv_timer_stop(&b->connect_timer);
    b->started = true;
    b->start_ns = clock_now_ns();
    uv_timer_start(&b->end_timer, on_end, b->options->duration_ns / 1000000, 0);
    uv_timer_start(&b->tick, on_tick, INTERVAL_MS, INTERVAL_MS);
    unsigned ready = 0;
    for (unsigned i = 0; i < b->nflows; i++)
        ready += b->flows[i].state == FLOW_READY;
    b->moving =
        ready; /* counted before they start, so that one that breaks at once does not end the run */
    for (unsigned i = 0; i < b->nflows && !b->over; i++)
        if (b->flows[i].state == FLOW_READY)
            start_flow(&b->flows[i]);
    if (ready == 0)
        finish(b);
}

static void tried(struct flow *f, int error)
{
    struct bulk *b = f->bulk;
    assert(f->state == FLOW_CONNECTING && b->connecting > 0);
    if (error) {
        b->error = error;
        flow_failed(f, LOAD_CONNECT);
    } else {
        f->state = FLOW_READY;
        uv_poll_stop(&f->poll);
    }
    if (--b->connecting == 0)
        start_moving(b);
}

/* libuv reports any error of a polled socket as EBADF; SO_ERROR has the real one. */
static void on_connected(uv_poll_t *poll, int status, int events)
{
    struct flow *f = container_of(poll, struct flow, poll);
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(f->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    tried(f, error ? error : -status);
}

static void on_connect_timeout(uv_timer_t *timer)
{
    struct bulk *b = timer->data;
    for (unsigned i = 0; i < b->nflows; i++)
        if (b->flows[i].state == FLOW_CONNECTING)
            tried(&b->flows[i], ETIMEDOUT);
}

static bool open_flow(struct bulk *b, struct flow *f, struct error *e)
{
    const struct addr *to = &b->options->target;
    f->bulk = b;
    f->state = FLOW_CONNECTING;
    f->fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (f->fd < 0) {
        error_errno(e, errno, "socket");
        return false;
    }
    int r = uv_poll_init(&b->loop, &f->poll, f->fd);
    if (r < 0) {
        close(f->fd);
        error_set(e, -r, "poll: %s", uv_strerror(r));
        return false;
    }
    b->nflows++;
    b->connecting++;
    /* Later errors of connect() come by the poll, see on_connected(). */
    int failed = connect(f->fd, &to->sa, to->len) < 0 && errno != EINPROGRESS ? errno : 0;
    if (failed || (r = uv_poll_start(&f->poll, UV_WRITABLE, on_connected)) < 0) {
        b->error = failed ? failed : -r;
        b->connecting--;
        flow_failed(f, LOAD_CONNECT);
    }
    return true;
}

/* ---- all of it ---- */

/* Only the first call can fail: the first signal handle of a process opens a pipe. */
static int init_handles(struct bulk *b)
{
    uv_timer_t *const timers[] = {&b->connect_timer, &b->end_timer, &b->tick};
    int r = uv_signal_init(&b->loop, &b->term);
    if (r < 0)
        return r;
    uv_signal_init(&b->loop, &b->intr);
    b->term.data = b->intr.data = b;
    for (int i = 0; i < 3; i++) {
        uv_timer_init(&b->loop, timers[i]);
        timers[i]->data = b;
    }
    return 0;
}

static bool open_all(struct bulk *b, struct error *e)
{
    int r = uv_signal_start(&b->term, on_signal, SIGTERM);
    if (r == 0)
        r = uv_signal_start(&b->intr, on_signal, SIGINT);
    if (r < 0) {
        error_set(e, -r, "signals: %s", uv_strerror(r));
        return false;
    }
    for (unsigned i = 0; i < b->options->connections; i++)
        if (!open_flow(b, &b->flows[i], e))
            return false;
    uv_timer_start(&b->connect_timer, on_connect_timeout, b->options->timeout_ns / 1000000, 0);
    if (b->connecting == 0)
        start_moving(b);
    return true;
}

static bool check_reached(const struct bulk *b, struct error *e)
{
    char text[ADDR_TEXT_MAX];
    if (b->result->errors[LOAD_CONNECT] < b->options->connections)
        return true;
    addr_format(&b->options->target, text);
    error_errno(e, b->error, "connect %s", text);
    return false;
}

bool bulk_run(const struct bulk_options *o, struct bulk_result *r, struct error *e)
{
    struct bulk bulk = {.options = o, .result = r}, *b = &bulk;
    *r = (struct bulk_result){.interval_ns = INTERVAL_MS * UINT64_C(1000000)};
    int rc = uv_loop_init(&b->loop);
    if (rc == 0 && (rc = init_handles(b)) < 0)
        uv_loop_close(&b->loop);
    if (rc < 0) {
        error_set(e, -rc, "event loop: %s", uv_strerror(rc));
        return false; /* the result holds no memory yet */
    }
    r->cells = mem_zalloc_array(LOAD_CELLS, sizeof *r->cells);
    b->piece = mem_zalloc(PIECE);
    b->flows = mem_zalloc_array(o->connections, sizeof *b->flows);
    double cpu = cpu_seconds();
    bool ok = open_all(b, e);
    if (!ok)
        finish(b);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    if (b->started)
        note_cell(b);
    r->cpu_seconds = cpu_seconds() - cpu;
    rc = uv_loop_close(&b->loop);
    assert(rc == 0); /* every handle was closed */
    free(b->flows);
    free(b->piece);
    if (o->progress)
        fprintf(stderr, "\r%79s\r", "");
    return ok && check_reached(b, e);
}

void bulk_result_deinit(struct bulk_result *r)
{
    free(r->cells);
    r->cells = NULL;
}
