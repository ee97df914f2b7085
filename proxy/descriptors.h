/* Counts the descriptors of traffic against the limit of the process (RLIMIT_NOFILE).
 *
 * What for: the proxy refuses new clients, and keeps few idle connections, before the limit is
 * reached. At the limit accept(),
 * connect(), health checks and opening files would all fail, and connected clients could no longer
 * be served. A reserve is kept for everything but traffic. docs/operations.md, Descriptors.
 * Listening sockets, which come and go with the configuration, are not for traffic, either.
 * Invariants: every descriptor that is taken is given back exactly once.
 * Ownership: one count for the process.
 * Threads: any; the count is atomic. It changes once for each connection, not for each request. */
#pragma once
#include <stdbool.h>

/* The purpose of a descriptor, which decides how much of the limit it may use up. */
enum descriptors_use {
    DESCRIPTORS_BACKEND, /* a backend connection: everything but the reserve */
    DESCRIPTORS_STREAM,  /* mode tcp, a client together with its backend connection: all but 1/32,
                            which remains for other backend connections */
    DESCRIPTORS_CLIENT,  /* an HTTP client, or a pipe: all but 1/8, which remains for backend
                            connections (of which HTTP clients share fewer than they are) */
};

/* Reads the limit and counts the descriptors that are open already. Call it before any worker
 * starts; without it there is no limit. */
void descriptors_init(void);
/* So many more, or fewer, are open that are not for traffic: listening sockets that come and go
 * with the configuration. What was told before descriptors_init() is counted by that. */
void descriptors_add_others(int n);
/* Counts n descriptors, before or after they are opened. False: the limit of this use does not
 * allow them; nothing is counted. */
bool descriptors_take(enum descriptors_use use, unsigned n);
/* Whether n descriptors would fit if `idle` of those taken were not. */
bool descriptors_fit(enum descriptors_use use, unsigned n, unsigned idle);
/* Whether three quarters of what there is are taken: idle connections give way from there on. */
bool descriptors_scarce(void);
/* How many idle connections each of so many workers may keep while descriptors are scarce: a part
 * of 1/16 of what there is, at least 1. */
unsigned descriptors_idle_share(unsigned nworkers);
/* Undoes descriptors_take(), for any use, when n descriptors are closed. */
void descriptors_give(unsigned n);
