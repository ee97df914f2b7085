/* One backend or standby as all threads see it.
 *
 * What for: its address, whether it may be given requests, how busy it is, what it has done.
 * Invariants: what stands under "constant" never changes. `usable` and `place` are written by the
 * control thread alone. `failures` counts consecutive failures of live traffic; any worker may
 * raise or reset it. Ownership: the pool's. Threads: see each group; the atomics need no order
 * among themselves (relaxed), as no other memory is published through them. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

#define SERVER_ERROR_KINDS 4

/* One worker's counters of one server: written by that worker alone, read by the control thread. */
struct server_cell {
    _Atomic uint64_t requests; /* tries that were sent or were about to be */
    _Atomic uint64_t errors;   /* tries that failed: connect, reset, timeout, broken answer */
    char pad[48];
};

/* Where a server by name is now. The two places are used in turn, so that what is being written is
 * never what readers are told to read: nobody waits, and memory does not grow however often the
 * address changes. */
struct server_place {
    _Atomic uint32_t generation;  /* 0: the name has not been resolved yet */
    _Atomic uint64_t words[2][4]; /* [generation % 2] is a sockaddr_in or sockaddr_in6 */
};

struct server {
    /* constant */
    const char *name;         /* the configuration's */
    const char *address_text; /* "127.0.0.1:9001", "unix:/run/b1", as configured */
    struct addr address;      /* where it is for good; len 0: it is by name, see server_address() */
    uint16_t id;              /* within the pool, see failover.h */
    bool standby;
    uint32_t weight;           /* 1 for a standby */
    uint32_t max_connections;  /* 0: no limit */
    unsigned passive_failures; /* the pool's threshold; 0: off */
    struct server_cell *cells; /* one a worker */

    struct server_place place;

    /* any thread */
    _Alignas(64) _Atomic uint32_t active; /* requests in flight and tunnels, all workers */
    _Atomic uint32_t failures;            /* consecutive, see server_failed() */
    _Atomic bool usable; /* neither down nor drained, nor a standby that waits for its return */
};

static inline bool server_by_name(const struct server *s)
{
    return s->address.len == 0;
}

/* Where to connect now, from any thread; *generation is of that address, see server_generation().
 * False: its name has not been resolved yet. */
bool server_address(const struct server *s, struct addr *out, uint32_t *generation);
/* Grows with each change of the address: a connection made under another generation goes to where
 * the server was. Always 0 if the server is not by name. */
static inline uint32_t server_generation(const struct server *s)
{
    return atomic_load_explicit(&s->place.generation, memory_order_relaxed);
}
/* Control thread: a server by name is at this IPv4 or IPv6 address now, with no failures yet.
 * False: there it was already. */
bool server_move(struct server *s, const struct addr *to);

/* What a Host field says of it. */
static inline const char *server_host(const struct server *s)
{
    return addr_is_unix(&s->address) ? "localhost" : s->address_text;
}

static inline void cell_add(_Atomic uint64_t *c, uint64_t n)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* A failure of live traffic. True if this one reaches the threshold (told once: the caller mails
 * control, which calls roster_passive_down()). */
bool server_failed(struct server *s);
/* A success: the count of consecutive failures starts again. */
static inline void server_succeeded(struct server *s)
{
    if (atomic_load_explicit(&s->failures, memory_order_relaxed))
        atomic_store_explicit(&s->failures, 0, memory_order_relaxed);
}
/* Sums over the workers' cells. */
uint64_t server_requests(const struct server *s, unsigned nworkers);
uint64_t server_errors(const struct server *s, unsigned nworkers);

/* A zeroed array whose elements begin at cache lines, so that threads which write to different ones
 * do not disturb each other; size is a multiple of 64. Aborts when memory is out; free() it. */
void *server_zalloc_lines(size_t count, size_t size);
