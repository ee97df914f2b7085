/* A load on one address: threads with a loop each, connections, a schedule, and the result.
 *
 * What for: `ringbench http`, `ringbench tcp` (ping-pong) and `ringbench failover` describe a load
 * in struct load_options, run it, and read struct load_result.
 * Closed loop (rate 0): each connection sends the next request when an answer is complete. Open
 * loop: request k of all threads is due at start + k/rate, whatever the server does; it goes out on
 * the first connection of its thread that is free from then on, and its latency is counted from the
 * time when it was due. So a stall shows in every request that it delays, not in one request of
 * each connection only (coordinated omission). Invariants: sent = answered + failed once the load
 * is over. No request is sent twice, except pipelined requests behind an answer that closes the
 * connection: the server has not read those. Ownership: load_start() to load_finish(); the options
 * must outlive the load. Threads: the caller's; load_progress() may be called while the load runs.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/error.h"
#include "bench/load/keys.h"
#include "bench/load/latency.h"
#include "bench/load/wire.h"

#define LOAD_MAX_BACKENDS 256
#define LOAD_BACKEND_NAME 64   /* with its NUL; longer names are cut */
#define LOAD_NO_BACKEND 65535  /* the answer named none, or none of the first LOAD_MAX_BACKENDS */
#define LOAD_MAX_EVENTS 100000 /* kept of each kind; later ones are only counted */
#define LOAD_CELLS 1200        /* of the time line, at most */

/* Why a request got no answer. */
enum load_error {
    LOAD_CONNECT,    /* refused, unreachable, too slow to connect */
    LOAD_RESET,      /* the connection broke */
    LOAD_CLOSED,     /* the server ended it before the answer was whole */
    LOAD_TIMEOUT,    /* the answer was not complete within timeout_ns */
    LOAD_MALFORMED,  /* the bytes that came are no answer */
    LOAD_UNFINISHED, /* the run was broken off */
    LOAD_ERRORS,
};
extern const char *const load_error_names[LOAD_ERRORS]; /* "connect", "reset", ... */

struct load_options {
    struct addr target;
    const struct wire *wire; /* the protocol of the connections */
    unsigned threads;        /* 1 to 64 */
    unsigned connections;    /* all threads together; at least one a thread */
    unsigned pipeline;       /* requests in flight on one connection, 1 to 256 */
    double rate;             /* requests a second, all together; 0: closed loop */
    uint64_t duration_ns;    /* sending ends then; 0: only with `requests` or load_stop() */
    uint64_t requests;       /* sending ends after so many; 0: no such end */
    uint64_t timeout_ns;     /* for an answer, and for connecting */
    uint64_t slow_ns;        /* answers slower than that are kept as events; 0: none */
    bool close;              /* a connection for each request */
    const struct keys *keys; /* NULL: no keys */
    uint64_t seed;
};

/* A key was answered by another server than before; at_ns: when the answer was complete. */
struct load_move {
    uint64_t at_ns; /* since the start, as all times below */
    uint32_t key;
    uint16_t from, to; /* backends */
};

struct load_failure {
    uint64_t due_ns, at_ns; /* when it was to be sent, when it failed */
    uint32_t key;           /* KEYS_NONE: none */
    uint16_t
        status; /* 400 to 599: the request was answered so, and does not count as failed; else 0 */
    uint8_t error; /* enum load_error, where status is 0 */
};

struct load_slow {
    uint64_t due_ns, at_ns;
    uint32_t key;
    uint16_t backend;
};

/* One interval of the time line: the requests that ended in it. */
struct load_cell {
    uint64_t answered, failed, refused /* answers of 400 and more */, moves;
    uint64_t max_ns; /* slowest answer */
};

struct load_result {
    double seconds;      /* from the start to the last answer, or to the end of sending if later */
    double send_seconds; /* from the start to the end of sending */
    double cpu_seconds;  /* of this whole process, over that time */
    uint64_t sent, answered, failed, connects, bytes_in, bytes_out;
    uint64_t unsent;  /* open loop: requests that were due before the end, but found no free
                         connection until timeout_ns after the end */
    uint64_t unasked; /* connections closed because bytes came without a request */
    uint64_t errors[LOAD_ERRORS];
    uint64_t statuses[600]; /* http: answers by status */
    struct latency latency; /* of all answers, ns */
    unsigned nbackends;
    char backend_names[LOAD_MAX_BACKENDS][LOAD_BACKEND_NAME];
    uint64_t backend_answers[LOAD_MAX_BACKENDS];
    uint64_t unnamed_answers; /* answers that named no backend */
    /* keys: over the whole run */
    uint64_t keys_asked; /* keys that were answered by a named backend at least once */
    uint64_t keys_moved; /* of these, that were answered by more than one */
    uint64_t nmoves, nslow, nfailures; /* all; the arrays hold the first LOAD_MAX_EVENTS */
    struct load_move *moves;           /* by time */
    struct load_failure *failures;     /* by time */
    struct load_slow *slow;            /* by time */
    size_t moves_kept, failures_kept, slow_kept;
    uint16_t *owner; /* per key: who answered it last; LOAD_NO_BACKEND: nobody */
    /* the time line */
    uint64_t interval_ns;
    unsigned ncells;
    struct load_cell *cells;
    uint64_t *cell_backends; /* [cell * nbackends + backend]: answers */
};

struct load_progress {
    double seconds; /* since the start */
    uint64_t sent, answered, failed;
};

struct load;

/* Makes the connections, then starts the clock and sends. NULL: the error says why: not one
 * connection could be made (`connect 127.0.0.1:1: connection refused`), or descriptors, threads or
 * memory are short. */
struct load *load_start(const struct load_options *o, struct error *e);
/* The time of the start, on base/clock.h. */
uint64_t load_started_ns(const struct load *l);
void load_progress(const struct load *l, struct load_progress *p);
/* True once all requests are answered or have failed and no more will be sent: load_finish() does
 * not block then. */
bool load_over(struct load *l);
/* Ends the sending; requests in flight still have their time. May be called by any thread, but not
 * from a signal handler. */
void load_stop(struct load *l);
/* The same, but requests in flight fail at once, as LOAD_UNFINISHED. */
void load_abort(struct load *l);
/* Waits for the end. The result is the caller's: load_result_free(). */
struct load_result *load_finish(struct load *l);
void load_result_free(struct load_result *r); /* NULL is fine */
