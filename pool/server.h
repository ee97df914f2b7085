/* One backend or standby as all threads see it, for as long as any of them has to do with it.
 *
 * What for: its address, whether it may be given requests, how busy it is, what it has done, and
 * each worker's connections to it.
 * Invariants: a server is what the configuration calls a name at an address in a pool: as long as
 * those three texts stay, generations of the configuration share the one object, so nothing that
 * is counted here starts again at a reload. What a file may change about it (weight, limits,
 * thresholds, its role) is in struct pool_member, one a generation. What stands under "constant"
 * never changes. `usable` and `place` are written by the control thread alone. `failures` counts
 * consecutive failures of live traffic; any worker may raise or reset it.
 * Ownership: counted (base/ref.h). Members of pools, mail and connections hold references. The
 * texts are the server's own copies, so that it needs no configuration.
 * Threads: see each group; the atomics need no order among themselves (relaxed), as no other memory
 * is published through them. */
#pragma once
#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/list.h"
#include "base/ref.h"

#define SERVER_LINE 64 /* bytes of a cache line */

/* One worker's part of a server. The counters are written by that worker alone and read by the
 * control thread; the lists are touched by that worker alone. */
struct server_cell {
    _Alignas(SERVER_LINE) _Atomic uint64_t requests; /* tries that were sent or were about to be */
    _Atomic uint64_t errors; /* tries that failed: connect, reset, timeout, broken answer */
    struct list idle;        /* kept connections, the one used last in front */
    struct list busy;        /* connections that are lent */
    unsigned nidle;
    void *home; /* the worker's view of the pool that has the server in the worker's current
                   generation; NULL: no pool of it has */
};

/* Where a server by name is now. The two places are used in turn, so that what is being written is
 * never what readers are told to read: nobody waits, and memory does not grow however often the
 * address changes. */
struct server_place {
    _Atomic uint32_t generation;  /* 0: the name has not been resolved yet */
    _Atomic uint64_t words[2][4]; /* [generation % 2] is a sockaddr_in or sockaddr_in6 */
};

struct server {
    struct ref ref;

    /* constant */
    char *pool, *name;
    char *address_text;  /* "127.0.0.1:9001", "unix:/run/b1", as configured */
    struct addr address; /* where it is for good; len 0: it is by name, see server_address() */
    unsigned nworkers;
    struct server_cell *cells; /* one a worker */

    struct server_place place;

    /* any thread */
    _Alignas(SERVER_LINE) _Atomic uint32_t active; /* requests in flight and tunnels, all workers */
    _Atomic uint32_t failures;                     /* consecutive, see server_failed() */
    _Atomic bool usable; /* neither down nor drained, nor a standby that waits for its return */
};

/* Usable, idle, without failures, and not resolved if it is by name. The texts are copied. */
struct server *server_new(const char *pool, const char *name, const char *address_text,
                          const struct addr *address, unsigned nworkers);
struct server *server_ref(struct server *s);
/* The last one frees it: no request is at it, no worker has a connection to it. NULL is fine. */
void server_unref(struct server *s);
/* server_unref() as a message's release function (net/mailbox.h). */
void server_release(void *server);

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
 * control, which calls roster_passive_down()). threshold 0: never. */
bool server_failed(struct server *s, unsigned threshold);
/* A success: the count of consecutive failures starts again. */
static inline void server_succeeded(struct server *s)
{
    if (atomic_load_explicit(&s->failures, memory_order_relaxed))
        atomic_store_explicit(&s->failures, 0, memory_order_relaxed);
}
static inline struct server_cell *server_cell(const struct server *s, unsigned worker)
{
    assert(worker < s->nworkers);
    return &s->cells[worker];
}
/* Sums over the workers' cells. */
uint64_t server_requests(const struct server *s);
uint64_t server_errors(const struct server *s);

/* A zeroed array that begins at a cache line, so that threads which write to different elements of
 * a whole number of lines do not disturb each other. Aborts when memory is out; free() it. */
void *server_zalloc_lines(size_t count, size_t size);
