/* Resolves host names to addresses without blocking a loop.
 *
 * What for: lookup_start() calls getaddrinfo() (hosts file, DNS: as nsswitch.conf says) in a thread
 * of its own and delivers the answer to the loop. Why not uv_getaddrinfo(): a name server that does
 * not respond occupies a thread for half a minute, and libuv closes no loop and ends no process
 * before such a thread has returned. Here lookups_close() abandons the threads that still run.
 * Invariants: on_answer is called once, in a later iteration of the loop, unless lookup_cancel()
 * was called before. At most LOOKUP_THREADS lookups run at a time; further ones wait in order.
 * Ownership: struct lookups is the caller's from lookups_new() to lookups_close(); a struct lookup
 * is valid until its answer or lookup_cancel().
 * Threads: all functions in the loop's thread; only `ask` runs in others. */
#pragma once
#include <uv.h>

#include "base/addr_set.h"

/* Threads at a time. Many, since a name whose server does not respond occupies one for half a
 * minute. */
#define LOOKUP_THREADS 64
#define LOOKUP_HOST_MAX 255

struct lookup_answer {
    struct addr_set addrs; /* n 0: the lookup failed */
    char reason[128];      /* why it failed */
};

/* Resolves a name, blocking for as long as that takes. *out is zeroed before. Several threads call
 * it at the same time. Tests replace it. */
typedef void lookup_ask_fn(const char *host, uint16_t port, struct lookup_answer *out);
/* Receives the answer, which is valid until it returns. */
typedef void lookup_fn(void *arg, const struct lookup_answer *a);

struct lookups; /* all lookups of a loop */
struct lookup;  /* one name that is being looked up */

/* ask: NULL for getaddrinfo(). Returns NULL if the loop has no descriptor for it; *uv_error
 * says why. */
struct lookups *lookups_new(uv_loop_t *loop, lookup_ask_fn *ask, int *uv_error);
/* Frees *l once its handle is closed. on_answer is not called any more; all struct lookup are
 * invalid. The loop ends without waiting for threads: the last of these frees what they share. */
void lookups_close(struct lookups *l);

/* Begins a lookup. host: 1 to LOOKUP_HOST_MAX bytes, copied. port: host byte order; the addresses
 * of the answer will have it. */
struct lookup *lookup_start(struct lookups *l, struct str host, uint16_t port, lookup_fn *on_answer,
                            void *arg);
/* Prevents the call of on_answer; *q is invalid afterwards. */
void lookup_cancel(struct lookup *q);
