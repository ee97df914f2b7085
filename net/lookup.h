/* The addresses of host names, without blocking a loop.
 *
 * What for: lookup_start() asks getaddrinfo() (hosts file, DNS: what nsswitch.conf says) in a
 * thread and brings the answer to the loop. Why not uv_getaddrinfo(): a name server that does not
 * answer holds a thread for half a minute, and libuv neither closes a loop nor ends a process
 * before it has that thread back. Here a thread that nobody waits for any more is left to itself.
 * Invariants: the answer comes once, in a later turn of the loop, unless lookup_cancel() comes
 * before it. At most LOOKUP_THREADS ask at a time, further names wait in the order of coming.
 * Ownership: lookups_new() to lookups_close(); a lookup is good until its answer or
 * lookup_cancel(). Threads: the loop's; `ask` runs in threads of its own. */
#pragma once
#include <uv.h>

#include "base/addr_set.h"

#define LOOKUP_THREADS 64 /* a name that nobody answers for holds one for half a minute */
#define LOOKUP_HOST_MAX 255

struct lookup_answer {
    struct addr_set addrs; /* n 0: it failed ... */
    char reason[128];      /* ... because of this */
};

/* Asks, for as long as it takes. out is zeroed; called from any thread, several at a time. */
typedef void lookup_ask_fn(const char *host, uint16_t port, struct lookup_answer *out);
typedef void lookup_fn(void *arg, const struct lookup_answer *a);

struct lookups;
struct lookup;

/* ask NULL: getaddrinfo(). NULL: no memory or descriptor for it; *uv_error says what. */
struct lookups *lookups_new(uv_loop_t *loop, lookup_ask_fn *ask, int *uv_error);
/* No answer comes any more; lookups that are still under way must not be touched again. The loop
 * ends without waiting for threads. */
void lookups_close(struct lookups *l);

/* host: at most LOOKUP_HOST_MAX bytes. The addresses will have this port. */
struct lookup *lookup_start(struct lookups *l, struct str host, uint16_t port, lookup_fn *on_answer,
                            void *arg);
void lookup_cancel(struct lookup *q);
