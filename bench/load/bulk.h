/* As many bytes as a number of connections can carry: down (from a `source`, which sends without
 * end after the first byte that it gets), up (to a `sink`), or both ways at once (an echo server).
 *
 * It stands on bare sockets, not on net/conn: what is received is thrown away in the kernel
 * (MSG_TRUNC), which conn cannot do. Read into a buffer of conn's size, as conn does, the same
 * bytes took 2.5 times the CPU (4 connections on loopback: 7,500 MiB a CPU second against 3,000),
 * and the load would be slower than what it measures. Ownership: the result is the caller's:
 * bulk_result_deinit(). Threads: the caller's alone; SIGINT and SIGTERM end it early. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/error.h"
#include "bench/load/load.h"

struct bulk_options {
    struct addr target;
    unsigned connections;
    uint64_t duration_ns;
    uint64_t timeout_ns; /* to connect */
    bool up, down;
    bool progress; /* a line on stderr */
};

struct bulk_cell {
    uint64_t bytes_in, bytes_out;
};

struct bulk_result {
    double seconds, cpu_seconds;
    uint64_t bytes_in, bytes_out;
    uint64_t failed; /* connections that could not be made, broke or were closed by the peer */
    uint64_t errors[LOAD_ERRORS];
    uint64_t interval_ns;
    unsigned ncells;
    struct bulk_cell *cells; /* LOAD_CELLS at most */
};

/* False: not one connection could be made, and the error says why. */
bool bulk_run(const struct bulk_options *o, struct bulk_result *r, struct error *e);
void bulk_result_deinit(struct bulk_result *r);
