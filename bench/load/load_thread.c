#include "bench/load/load_thread.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "bench/load/client.h"

#define CONNECT_BATCH 256
#define BACKOFF_MS 10 /* until a client is used again after it failed to connect */
#define INTERVAL_NS 100000000u
#define FAR_NS (UINT64_MAX / 4) /* later than any clock here */
#define PIECE (1024 * 1024)     /* bytes of requests that are composed before they are written */

static const struct load_options *options_of(const struct load_thread *t)
{
    return t->load->options;
}

/* ---- the end ---- */

/* Counts this thread among those that are ready or over, and wakes the caller's thread. */
static void tell(struct load_thread *t, unsigned *count)
{
    uv_mutex_lock(&t->load->lock);
    (*count)++;
    uv_cond_signal(&t->load->changed);
    uv_mutex_unlock(&t->load->lock);
}

static void close_loop(struct load_thread *t)
{
    uv_close((uv_handle_t *)&t->end, NULL);
    if (t->alarm_fd >= 0)
        uv_close((uv_handle_t *)&t->alarm, NULL);
    mailbox_close(&t->mailbox);
    net_close(&t->net);
}

void load_thread_maybe_over(struct load_thread *t)
{
    /* In two steps: connections close asynchronously, and each closed one comes here again. */
    if (t->state == LOAD_THREAD_WAITING && t->in_flight == 0) {
        t->state = LOAD_THREAD_CLOSED;
        for (unsigned i = 0; i < t->nclients; i++)
            client_close(&t->clients[i]);
    }
    if (t->state == LOAD_THREAD_CLOSED && t->open == 0 && !uv_is_closing((uv_handle_t *)&t->end))
        close_loop(t);
}

/* ---- the schedule ---- */

/* From the start each time: sums of intervals would drift from the rate by their rounding. */
static uint64_t due_ns_of(const struct load_thread *t, uint64_t k)
{
    double after = (double)k * 1e9 / options_of(t)->rate;
    return after < (double)FAR_NS ? t->load->start_ns + (uint64_t)after : FAR_NS;
}

/* The number of requests that were due before `until` and have not been sent. */
static uint64_t overdue(const struct load_thread *t, uint64_t until)
{
    double due = ceil((double)(until - t->load->start_ns) * options_of(t)->rate / 1e9);
    uint64_t all = (uint64_t)due, step = t->load->nthreads;
    uint64_t n = all > t->next_due ? (all - t->next_due + step - 1) / step : 0;
    return n < t->left ? n : t->left;
}

static uint64_t timeout_ms(const struct load_thread *t)
{
    return (options_of(t)->timeout_ns + 999999) / 1000000;
}

/* The requests in flight have had their time. Their own deadlines may be later: with pipelining
 * each answer gives the next request more time. */
static void on_waited(uv_timer_t *timer)
{
    struct load_thread *t = container_of(timer, struct load_thread, end);
    for (unsigned i = 0; i < t->nclients; i++)
        client_fail(&t->clients[i], LOAD_TIMEOUT);
}

static void wait_for_answers(struct load_thread *t)
{
    if (t->state < LOAD_THREAD_WAITING) {
        t->state = LOAD_THREAD_WAITING;
        uv_timer_start(&t->end, on_waited, timeout_ms(t), 0);
    }
    load_thread_maybe_over(t);
}

/* Ends the sending before all was sent: requests that are due and not sent count as unsent. */
static void stop_sending(struct load_thread *t)
{
    if (t->state == LOAD_THREAD_SENDING) {
        uint64_t now = clock_now_ns();
        t->stopped_ns = now < t->load->end_ns ? now : t->load->end_ns;
        t->unsent = options_of(t)->rate > 0 ? overdue(t, t->stopped_ns) : 0;
    }
    wait_for_answers(t);
}

/* All requests are sent. The schedule lasted until `due`, when the next request would have been
 * due, even if the last one went out before. */
static void complete(struct load_thread *t, uint64_t due)
{
    t->stopped_ns = due < t->load->end_ns ? due : t->load->end_ns;
    wait_for_answers(t);
}

/* Whether a request is to be sent now; *due: when it was due. */
static bool next_request(struct load_thread *t, uint64_t now, uint64_t *due)
{
    if (t->state != LOAD_THREAD_SENDING)
        return false;
    *due = options_of(t)->rate > 0 ? due_ns_of(t, t->next_due) : now;
    if (t->left == 0 || *due >= t->load->end_ns) {
        complete(t, *due);
        return false;
    }
    if (*due > now)
        return false;
    t->next_due += t->load->nthreads;
    t->left--;
    return true;
}

static void set_alarm(struct load_thread *t, uint64_t ns)
{
    struct itimerspec when = {.it_value = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)}};
    if (t->alarm_ns == ns)
        return;
    int r = timerfd_settime(t->alarm_fd, TFD_TIMER_ABSTIME, &when, NULL);
    assert(r == 0); /* fails only for an invalid time */
    (void)r;
    t->alarm_ns = ns;
}

/* Sets the alarm to the time of the next request, unless no client is free to send it. */
static void update_alarm(struct load_thread *t)
{
    if (options_of(t)->rate > 0 && t->state == LOAD_THREAD_SENDING && !list_empty(&t->free))
        set_alarm(t, due_ns_of(t, t->next_due));
}

void load_thread_refill(struct load_thread *t, struct client *c, unsigned most, uint64_t now)
{
    const struct load_options *o = options_of(t);
    uint64_t due;
    while (most-- > 0 && !list_empty(&c->free) && next_request(t, now, &due)) {
        uint32_t key = o->keys ? keys_next(o->keys, &t->draw) : KEYS_NONE;
        t->in_flight++;
        load_count(&t->sent);
        client_send(c, due, key);
        if (buffer_len(&t->out) > PIECE)
            client_flush(c);
    }
    client_flush(c);
    update_alarm(t);
    load_thread_maybe_over(t); /* the answer that led here may have been the last one */
}

void load_thread_dispatch(struct load_thread *t, uint64_t now)
{
    /* In an open loop one request for each client in turn: a pipeline that fills up while other
     * connections are free would delay requests by itself. */
    unsigned most = options_of(t)->rate > 0 ? 1 : options_of(t)->pipeline;
    uint64_t sent;
    do {
        if (list_empty(&t->free))
            return;
        sent = atomic_load_explicit(&t->sent, memory_order_relaxed);
        load_thread_refill(t, container_of(t->free.next, struct client, free), most, now);
    } while (sent != atomic_load_explicit(&t->sent, memory_order_relaxed));
}

static void on_alarm(uv_poll_t *poll, int status, int events)
{
    struct load_thread *t = container_of(poll, struct load_thread, alarm);
    t->alarm_ns = 0;
    load_thread_dispatch(t, clock_now_ns());
    if (t->alarm_ns == 0) { /* setting the timer also clears its readiness */
        t->alarm_ns = 1;
        set_alarm(t, 0);
    }
}

static void on_last_call(uv_timer_t *timer)
{
    stop_sending(container_of(timer, struct load_thread, end));
}

/* The clock of the loop has whole milliseconds, so the timer may be a little early. Requests that
 * were due before the end and wait for a connection are still sent, or a stall at the end would not
 * show in the result. */
static void on_end(uv_timer_t *timer)
{
    struct load_thread *t = container_of(timer, struct load_thread, end);
    if (clock_now_ns() < t->load->end_ns)
        uv_timer_start(timer, on_end, 1, 0);
    else if (options_of(t)->rate > 0 && overdue(t, t->load->end_ns) > 0)
        uv_timer_start(timer, on_last_call, timeout_ms(t), 0);
    else
        stop_sending(t);
}

/* ---- counting ---- */

/* Twice the interval, half the cells: the time line has a bounded size however long the run is. */
static void merge_cells(struct load_thread *t)
{
    for (unsigned i = 0; i < LOAD_CELLS / 2; i++) {
        struct load_cell a = t->cells[2 * i], b = t->cells[2 * i + 1];
        t->cells[i] =
            (struct load_cell){a.answered + b.answered, a.failed + b.failed, a.refused + b.refused,
                               a.moves + b.moves, a.max_ns > b.max_ns ? a.max_ns : b.max_ns};
        uint32_t *to = t->cell_backends + (size_t)i * LOAD_MAX_BACKENDS;
        const uint32_t *from = t->cell_backends + (size_t)i * 2 * LOAD_MAX_BACKENDS;
        for (unsigned k = 0; k < LOAD_MAX_BACKENDS; k++)
            to[k] = from[k] + from[k + LOAD_MAX_BACKENDS];
    }
    memset(t->cells + LOAD_CELLS / 2, 0, LOAD_CELLS / 2 * sizeof *t->cells);
    memset(t->cell_backends + (size_t)LOAD_CELLS / 2 * LOAD_MAX_BACKENDS, 0,
           (size_t)LOAD_CELLS / 2 * LOAD_MAX_BACKENDS * sizeof *t->cell_backends);
    t->ncells = LOAD_CELLS / 2;
    t->interval_ns *= 2;
}

/* The index of the interval of the time line that contains `now`. */
static unsigned cell_at(struct load_thread *t, uint64_t now)
{
    assert(now >= t->load->start_ns);
    while ((now - t->load->start_ns) / t->interval_ns >= LOAD_CELLS)
        merge_cells(t);
    unsigned i = (unsigned)((now - t->load->start_ns) / t->interval_ns);
    if (i >= t->ncells)
        t->ncells = i + 1;
    return i;
}

/* Counts an event and returns memory for it; NULL: enough events of this kind are kept. */
static void *add_event(struct load_events *e)
{
    if (e->n++ >= LOAD_MAX_EVENTS)
        return NULL;
    if (e->kept == e->cap)
        e->data = mem_grow(e->data, e->cap = e->cap ? e->cap * 2 : 64, e->size);
    return e->data + e->size * e->kept++;
}

/* The number of a backend by its name; `hint` is a likely one, so that most calls compare once. */
static uint16_t find_backend(struct load *l, struct str name, uint16_t hint)
{
    unsigned n = atomic_load_explicit(&l->nbackends, memory_order_acquire);
    if (hint < n && str_eq(name, str_of(l->backend_names[hint])))
        return hint;
    for (unsigned i = 0; i < n; i++)
        if (str_eq(name, str_of(l->backend_names[i])))
            return (uint16_t)i;
    return LOAD_NO_BACKEND;
}

static uint16_t backend_of(struct load *l, struct str name, uint16_t hint)
{
    uint16_t found = find_backend(l, name, hint);
    if (found != LOAD_NO_BACKEND)
        return found; /* without the lock: names are only added, and published by their number */
    uv_mutex_lock(&l->lock);
    found = find_backend(l, name, hint); /* another thread may have added it meanwhile */
    unsigned n = atomic_load_explicit(&l->nbackends, memory_order_relaxed);
    if (found == LOAD_NO_BACKEND && n < LOAD_MAX_BACKENDS) {
        memcpy(l->backend_names[n], name.p,
               name.n); /* the array is zeroed, and the wire has cut the name */
        atomic_store_explicit(&l->nbackends, n + 1, memory_order_release);
        found = (uint16_t)n;
    }
    uv_mutex_unlock(&l->lock);
    return found;
}

static void key_answered(struct load_thread *t, uint32_t key, uint16_t backend, uint16_t before,
                         struct load_cell *cell, uint64_t now)
{
    struct load *l = t->load;
    if (before == backend)
        return;
    atomic_store_explicit(&l->owner[key], backend, memory_order_relaxed);
    if (before == LOAD_NO_BACKEND)
        return;
    atomic_store_explicit(&l->moved[key], true, memory_order_relaxed);
    cell->moves++;
    struct load_move *m = add_event(&t->moves);
    if (m)
        *m = (struct load_move){now - l->start_ns, key, before, backend};
}

static void add_failure(struct load_thread *t, uint64_t due, uint64_t now, uint32_t key,
                        uint16_t status, enum load_error why)
{
    struct load_failure *f = add_event(&t->failures);
    if (f)
        *f = (struct load_failure){due - t->load->start_ns, now - t->load->start_ns, key, status,
                                   (uint8_t)why};
}

/* Counts the answer for its backend, and notices whether the key has moved. Returns the backend. */
static uint16_t note_backend(struct load_thread *t, struct str name, uint32_t key, unsigned cell,
                             uint64_t now)
{
    struct load *l = t->load;
    uint16_t before = LOAD_NO_BACKEND;
    if (key != KEYS_NONE)
        before = atomic_load_explicit(&l->owner[key], memory_order_relaxed);
    uint16_t backend = name.n ? backend_of(l, name, before) : LOAD_NO_BACKEND;
    if (backend == LOAD_NO_BACKEND) {
        t->unnamed++;
        return backend;
    }
    t->backend_answers[backend]++;
    t->cell_backends[(size_t)cell * LOAD_MAX_BACKENDS + backend]++;
    if (key != KEYS_NONE)
        key_answered(t, key, backend, before, &t->cells[cell], now);
    return backend;
}

void load_thread_answered(struct load_thread *t, const struct wire_answer *a, uint64_t due,
                          uint32_t key, uint64_t now)
{
    uint64_t took = now > due ? now - due : 0;
    assert(t->in_flight > 0 && a->status < sizeof t->statuses / sizeof *t->statuses);
    unsigned i = cell_at(t, now);
    struct load_cell *cell = &t->cells[i];
    t->in_flight--;
    load_count(&t->answered);
    t->last_ns = now;
    t->statuses[a->status]++;
    latency_record(&t->latency, took);
    cell->answered++;
    if (took > cell->max_ns)
        cell->max_ns = took;
    uint16_t backend = note_backend(t, a->backend, key, i, now);
    if (a->status >= 400) {
        cell->refused++;
        add_failure(t, due, now, key, a->status, 0);
    }
    if (options_of(t)->slow_ns && took > options_of(t)->slow_ns) {
        struct load_slow *s = add_event(&t->slow);
        if (s)
            *s = (struct load_slow){due - t->load->start_ns, now - t->load->start_ns, key, backend};
    }
}

void load_thread_failed(struct load_thread *t, enum load_error why, uint64_t due, uint32_t key)
{
    uint64_t now = clock_now_ns();
    assert(t->in_flight > 0 && why < LOAD_ERRORS);
    t->in_flight--;
    load_count(&t->failed);
    t->errors[why]++;
    t->cells[cell_at(t, now)].failed++;
    add_failure(t, due, now, key, 0, why);
}

/* ---- life ---- */

void load_thread_client_ready(struct load_thread *t, int uv_error)
{
    assert(t->state == LOAD_THREAD_CONNECTING && t->unready > 0);
    if (uv_error < 0)
        t->connect_error = uv_error;
    else
        t->connected++;
    if (--t->unready == 0) {
        t->state = LOAD_THREAD_READY;
        tell(t, &t->load->ready);
    }
}

static void start_sending(struct load_thread *t)
{
    const struct load_options *o = options_of(t);
    assert(t->state == LOAD_THREAD_READY);
    t->state = LOAD_THREAD_SENDING;
    t->last_ns = t->load->start_ns;
    uv_update_time(&t->loop); /* the loop may have slept until the message came */
    if (o->duration_ns)
        uv_timer_start(&t->end, on_end, (o->duration_ns + 999999) / 1000000, 0);
    load_thread_dispatch(t, clock_now_ns());
}

static void abort_now(struct load_thread *t)
{
    stop_sending(t);
    for (unsigned i = 0; i < t->nclients; i++)
        client_fail(&t->clients[i], LOAD_UNFINISHED);
}

static void on_message(struct mailbox *m, struct message *msg)
{
    struct load_thread *t = container_of(m, struct load_thread, mailbox);
    switch ((enum load_message)msg->kind) {
    case LOAD_START:
        start_sending(t);
        break;
    case LOAD_STOP:
        stop_sending(t);
        break;
    case LOAD_ABORT:
        abort_now(t);
        break;
    }
    message_free(msg);
}

static void init_counters(struct load_thread *t)
{
    latency_init(&t->latency);
    t->interval_ns = INTERVAL_NS;
    t->cells = mem_zalloc_array(LOAD_CELLS, sizeof *t->cells);
    t->cell_backends =
        mem_zalloc_array((size_t)LOAD_CELLS * LOAD_MAX_BACKENDS, sizeof *t->cell_backends);
    t->moves.size = sizeof(struct load_move);
    t->failures.size = sizeof(struct load_failure);
    t->slow.size = sizeof(struct load_slow);
}

/* The part of the whole that thread `index` gets. */
static uint64_t share(uint64_t whole, unsigned index, unsigned threads)
{
    return whole / threads + (index < whole % threads);
}

static void init_clients(struct load_thread *t)
{
    const struct load_options *o = options_of(t);
    t->nclients = t->unready = (unsigned)share(o->connections, t->index, o->threads);
    t->left = o->requests ? share(o->requests, t->index, o->threads) : UINT64_MAX;
    t->next_due = t->index;
    if (o->keys)
        keys_draw_init(&t->draw, o->seed, t->index, o->threads);
    list_init(&t->free);
    t->clients = mem_zalloc_array(t->nclients, sizeof *t->clients);
    for (unsigned i = 0; i < t->nclients; i++)
        client_init(&t->clients[i], t);
}

static int init_alarm(struct load_thread *t)
{
    t->alarm_fd = -1;
    if (options_of(t)->rate <= 0)
        return 0;
    /* libuv's timers have whole milliseconds, a schedule of many requests a second needs better. */
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = uv_poll_init(&t->loop, &t->alarm, fd);
    if (r < 0) {
        close(fd);
        return r;
    }
    t->alarm_fd = fd;
    return uv_poll_start(&t->alarm, UV_READABLE, on_alarm);
}

bool load_thread_init(struct load_thread *t, struct load *l, unsigned index, struct error *e)
{
    *t = (struct load_thread){.load = l, .index = index, .alarm_fd = -1};
    int r = uv_loop_init(&t->loop);
    if (r == 0) {
        r = mailbox_init(&t->mailbox, &t->loop, on_message);
        if (r < 0)
            uv_loop_close(&t->loop);
    }
    if (r < 0) {
        error_set(e, -r, "event loop: %s", uv_strerror(r));
        return false;
    }
    net_init(&t->net, &t->loop);
    uv_timer_init(&t->loop, &t->end);
    deadline_queue_init(&t->timeouts, &t->net.clock, timeout_ms(t), client_on_timeout);
    deadline_queue_init(&t->backoffs, &t->net.clock, BACKOFF_MS, client_on_backoff);
    init_counters(t);
    init_clients(t);
    r = init_alarm(t);
    if (r == 0)
        return true;
    error_set(e, -r, "timer: %s", uv_strerror(r));
    t->state = LOAD_THREAD_CLOSED;
    close_loop(t);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    load_thread_deinit(t);
    return false;
}

static void run(void *arg)
{
    struct load_thread *t = arg;
    unsigned n = t->nclients; /* copied: when the last client has tried, the thread is ready */
    for (unsigned i = 0; i < n; i++) {
        if (i % CONNECT_BATCH == CONNECT_BATCH - 1)
            uv_run(&t->loop, UV_RUN_NOWAIT); /* else the first connections could time out before
                                                they are looked at */
        client_connect(&t->clients[i]);
    }
    uv_run(&t->loop, UV_RUN_DEFAULT);
    tell(t, &t->load->over);
}

bool load_thread_run(struct load_thread *t, struct error *e)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the caller's thread */
    int r = uv_thread_create(&t->thread, run, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r < 0)
        error_set(e, -r, "thread: %s", uv_strerror(r));
    return r == 0;
}

void load_thread_join(struct load_thread *t)
{
    int r = uv_thread_join(&t->thread);
    assert(r == 0);
    (void)r;
}

void load_thread_deinit(struct load_thread *t)
{
    int r = uv_loop_close(&t->loop);
    assert(r == 0); /* every handle was closed */
    (void)r;
    mailbox_deinit(&t->mailbox);
    net_deinit(&t->net);
    if (t->alarm_fd >= 0)
        close(t->alarm_fd);
    for (unsigned i = 0; i < t->nclients; i++)
        client_deinit(&t->clients[i]);
    free(t->clients);
    buffer_release(&t->out);
    latency_deinit(&t->latency);
    free(t->cells);
    free(t->cell_backends);
    free(t->moves.data);
    free(t->failures.data);
    free(t->slow.data);
}
