/* A load upon one address: threads with a loop each, connections, a schedule, and what came of it.
 *
 * What for: `ringbench http`, `ringbench tcp` (ping-pong) and `ringbench failover` describe a load
 * in struct load_options, run it, and read struct load_result.
 * Closed loop (rate 0): each connection sends the next request when an answer is complete. Open
 * loop: request k of all threads is due at start + k/rate, whatever the server does; it goes out on
 * the first connection of its thread that is free from then on, and its latency runs from when it
 * was due. So a stall shows in every request that it held up, not in one a connection (coordinated
 * omission). Invariants: sent = answered + failed once the load is over. Nothing is sent a second
 * time, but for pipelined requests behind an answer that closes the connection: nobody has looked
 * at those. Ownership: load_start() to load_finish(); the options must outlive it. Threads: the
 * caller's one; load_progress() may be asked while it runs. */
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
#define LOAD_NO_BACKEND 65535  /* not told, or not one of the first LOAD_MAX_BACKENDS */
#define LOAD_MAX_EVENTS 100000 /* kept of each kind; all are counted */
#define LOAD_CELLS 1200        /* of the time line, at most */

/* Why a request got no answer. */
enum load_error {
    LOAD_CONNECT,    /* refused, unreachable, too slow to connect */
    LOAD_RESET,      /* the connection broke */
    LOAD_CLOSED,     /* the server ended it before the answer was whole */
    LOAD_TIMEOUT,    /* no whole answer within the time a request has */
    LOAD_MALFORMED,  /* what came is no answer */
    LOAD_UNFINISHED, /* the run was broken off */
    LOAD_ERRORS,
};
extern const char *const load_error_names[LOAD_ERRORS]; /* "connect", "reset", ... */

struct load_options {
    struct addr target;
    const struct wire *wire; /* what is said on a connection */
    unsigned threads;        /* 1 to 64 */
    unsigned connections;    /* all threads together; at least one a thread */
    unsigned pipeline;       /* requests on their way on one connection, 1 to 256 */
    double rate;             /* requests a second, all together; 0: closed loop */
    uint64_t duration_ns;    /* sending ends then; 0: only with `requests` or load_stop() */
    uint64_t requests;       /* sending ends after so many; 0: no such end */
    uint64_t timeout_ns;     /* that a request has, and a connection to be made */
    uint64_t slow_ns;        /* answers slower than that are kept as events; 0: none */
    bool close;              /* a connection for each request */
    const struct keys *keys; /* NULL: no keys */
    uint64_t seed;
};

/* A key was answered by another server than the time before (seen when the answer was whole). */
struct load_move {
    uint64_t at_ns; /* since the start, as all times below */
    uint32_t key;
    uint16_t from, to; /* backends */
};

struct load_failure {
    uint64_t due_ns, at_ns; /* when it was to be sent, when it failed */
    uint32_t key;           /* KEYS_NONE: none */
    uint16_t status;        /* 0; or the answer's, 400 to 599: answered, so not among the failed */
    uint8_t error;          /* enum load_error, where status is 0 */
};

struct load_slow {
    uint64_t due_ns, at_ns;
    uint32_t key;
    uint16_t backend;
};

/* What happened in one interval of the time line (by when it was over). */
struct load_cell {
    uint64_t answered, failed, refused /* answers of 400 and more */, moves;
    uint64_t max_ns; /* slowest answer */
};

struct load_result {
    double seconds;      /* from the start to the last answer, or to the end of sending if later */
    double send_seconds; /* from the start to the end of sending */
    double cpu_seconds;  /* of this whole process, over that time */
    uint64_t sent, answered, failed, connects, bytes_in, bytes_out;
    uint64_t unsent;  /* open loop: due before the end, but no connection was free for them, also
                         not within the time of a request after the end */
    uint64_t unasked; /* connections ended because bytes came that nobody had asked for */
    uint64_t errors[LOAD_ERRORS];
    uint64_t statuses[600]; /* http: answers by status */
    struct latency latency; /* of all answers, ns */
    unsigned nbackends;
    char backend_names[LOAD_MAX_BACKENDS][LOAD_BACKEND_NAME];
    uint64_t backend_answers[LOAD_MAX_BACKENDS];
    uint64_t unnamed_answers; /* that told no backend */
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

/* Makes the connections, then starts the clock and sends. NULL: the text says why; the target can't
 * be reached at all (`connect 127.0.0.1:1: connection refused`), or threads and memory are short.
 */
struct load *load_start(const struct load_options *o, struct error *e);
/* CLOCK_MONOTONIC at the start, ns. */
uint64_t load_started_ns(const struct load *l);
void load_progress(const struct load *l, struct load_progress *p);
/* True once nothing is left to be sent or waited for: load_finish() will not block. */
bool load_over(struct load *l);
/* No more is sent; what is on its way is waited for, within its time. Any thread, also a signal's.
 */
void load_stop(struct load *l);
/* The same, but nothing is waited for: LOAD_UNFINISHED. */
void load_abort(struct load *l);
/* Waits for the end. The result is the caller's: load_result_free(). */
struct load_result *load_finish(struct load *l);
void load_result_free(struct load_result *r); /* NULL is fine */
