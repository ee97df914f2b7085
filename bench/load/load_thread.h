/* One thread of a load: its loop, its clients, its part of the schedule, and its counters.
 *
 *   CONNECTING -- all clients have tried --> READY -- load_start() --> SENDING
 *   SENDING -- duration, requests, load_stop() --> WAITING
 *   WAITING -- no request in flight, or their time is over --> CLOSED
 *
 * Invariants: only the thread writes its counters; the three that load_progress() reads are
 * atomics. load_finish() reads everything else after the thread was joined.
 * Ownership: the load's. Threads: its own one. */
#pragma once
#include <stdatomic.h>
#include <uv.h>

#include "base/buffer.h"
#include "bench/load/load.h"
#include "net/conn.h"
#include "net/mailbox.h"

struct client;

enum load_thread_state {
    LOAD_THREAD_CONNECTING,
    LOAD_THREAD_READY,
    LOAD_THREAD_SENDING,
    LOAD_THREAD_WAITING,
    LOAD_THREAD_CLOSED,
};

/* The state that all threads share. */
struct load {
    const struct load_options *options;
    struct load_thread *threads;
    unsigned nthreads;         /* number of threads that were initialised */
    uint64_t start_ns, end_ns; /* of sending, on base/clock.h; set before LOAD_START is mailed */
    double cpu_at_start;
    uv_mutex_t lock; /* guards the rest of this struct, and adding a name */
    uv_cond_t changed;
    unsigned ready, over; /* threads */
    _Atomic unsigned nbackends;
    char backend_names[LOAD_MAX_BACKENDS]
                      [LOAD_BACKEND_NAME]; /* each is written once, under the lock */
    _Atomic uint16_t *owner;               /* per key: the backend that answered it last */
    _Atomic bool *moved;                   /* per key: more than one backend has answered it */
};

/* Messages from the caller to a thread. */
enum load_message { LOAD_START, LOAD_STOP, LOAD_ABORT };

/* Events of one kind: the first LOAD_MAX_EVENTS are kept. */
struct load_events {
    char *data;
    size_t size, kept, cap;
    uint64_t n;
};

struct load_thread {
    struct load *load;
    unsigned index;
    enum load_thread_state state;
    uv_loop_t loop;
    uv_thread_t thread;
    struct mailbox mailbox;
    struct net net;
    struct deadline_queue timeouts, backoffs;
    uv_timer_t end;  /* of sending */
    uv_poll_t alarm; /* a timerfd: the next request is due */
    int alarm_fd;
    uint64_t alarm_ns; /* when the alarm is set to ring; 0: it is not set */

    struct client *clients;
    unsigned nclients, unready; /* unready: clients that have not tried to connect yet */
    unsigned connected;         /* clients that were connected before the start */
    int connect_error;          /* the last error of connecting, a uv error */
    struct list
        free; /* clients that may take a request; the first has been free for the longest time */
    unsigned open;      /* clients that are not OFF */
    unsigned in_flight; /* requests in flight */
    uint64_t left;      /* requests that may still be sent */
    uint64_t next_due;  /* open loop: the index of the next request, among those of all threads */
    struct keys_draw draw;
    struct buffer out; /* requests that are composed and not written yet */

    _Atomic uint64_t sent, answered, failed;
    uint64_t connects, bytes_in, bytes_out, unsent, unnamed, unasked;
    uint64_t errors[LOAD_ERRORS];
    uint64_t statuses[600];
    uint64_t last_ns;    /* when the last answer was complete */
    uint64_t stopped_ns; /* when sending ended */
    struct latency latency;
    uint64_t backend_answers[LOAD_MAX_BACKENDS];
    struct load_events moves, failures, slow;
    uint64_t interval_ns;
    unsigned ncells;
    struct load_cell *cells; /* LOAD_CELLS */
    uint32_t *cell_backends; /* LOAD_CELLS rows of LOAD_MAX_BACKENDS */
};

bool load_thread_init(struct load_thread *t, struct load *l, unsigned index, struct error *e);
bool load_thread_run(struct load_thread *t, struct error *e);
void load_thread_join(struct load_thread *t);
void load_thread_deinit(struct load_thread *t);

/* Called by the clients. */

static inline void load_count(_Atomic uint64_t *c)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* The first attempt to connect has ended; < 0: with this uv error. */
void load_thread_client_ready(struct load_thread *t, int uv_error);
/* Hands out requests as long as clients are free and requests are due. */
void load_thread_dispatch(struct load_thread *t, uint64_t now_ns);
/* Hands up to `most` due requests to one client, and writes them at once. */
void load_thread_refill(struct load_thread *t, struct client *c, unsigned most, uint64_t now_ns);
void load_thread_answered(struct load_thread *t, const struct wire_answer *a, uint64_t due_ns,
                          uint32_t key, uint64_t now_ns);
void load_thread_failed(struct load_thread *t, enum load_error why, uint64_t due_ns, uint32_t key);
/* Ends the thread if it waits for its last requests and none is in flight any more. */
void load_thread_maybe_over(struct load_thread *t);
