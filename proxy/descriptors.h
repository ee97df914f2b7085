/* How many sockets the process may still open, so that load is shed before the limit is hit.
 *
 * What for: at the limit accept(), connect(), a health check and opening a file fail alike, and
 * nobody can be told anything. So the traffic's sockets are counted against the limit, less a
 * reserve for the rest of the process, and clients are refused while there is still room to answer
 * those that are in. Invariants: what is taken is given back, each descriptor once. Threads: any;
 * one atomic count, touched per connection, not per request. */
#pragma once
#include <stdbool.h>

/* What for; the further down, the more is left to those above. */
enum descriptors_use {
    DESCRIPTORS_BACKEND, /* a backend connection */
    DESCRIPTORS_STREAM, /* a client and the backend connection that it needs at once: a 32nd is left
                         */
    DESCRIPTORS_CLIENT, /* a client that may share backend connections, a pipe: an eighth is left */
};

/* Reads the limit (RLIMIT_NOFILE) and what is open already. Before any worker starts. */
void descriptors_init(void);
/* Counts n of them, which may exist already. False: they are too many, and not counted. */
bool descriptors_take(enum descriptors_use use, unsigned n);
void descriptors_give(unsigned n);
