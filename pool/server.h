/* One backend or standby as all threads see it.
 *
 * What for: its address, whether it may be given requests, how busy it is, what it has done, and
 * the connections that each worker has to it.
 * Invariants: a server is a name at an address in a pool. As long as these three texts stay,
 * generations of the configuration share the one object, so nothing that is counted here begins
 * again at a reload. What a configuration may change about a server (weight, limits, thresholds,
 * its role) is in struct pool_member, one for each generation. The fields under "constant" never
 * change. `usable`, `gone` and `place` are written by the control thread alone. `failures` counts
 * the failures of live traffic in a row; any worker may raise or reset it. Ownership: counted
 * (base/ref.h). Members of pools, mail and connections hold references. The texts are copies, so
 * that a server needs no configuration. Threads: see each group. The atomics need no order among
 * themselves (relaxed), as no other memory is published through them; `place` is explained in
 * server.c. */
#pragma once
#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/list.h"
#include "base/need.h"
#include "base/ref.h"
#include "pool/blame.h"

#define SERVER_LINE 64 /* bytes in a cache line */

/* One worker's part of a server. The atomics are written by that worker alone and read by the
 * control thread; the rest is touched by that worker alone. How many connections are kept is the
 * decision of proxy/upstream_idle.c. */
struct server_cell {
    _Alignas(SERVER_LINE) _Atomic uint64_t requests; /* tries, from the moment the server is lent */
    _Atomic uint64_t errors; /* tries that failed: connect, reset, timeout, broken answer */
    struct list idle;        /* kept connections, the last used in front */
    struct list busy;        /* connections that are lent, or still connect */
    _Atomic uint32_t nidle;
    void *home; /* struct pool_line of its pool (proxy/ground.h); NULL: never connected to */
    /* One line is full; what follows is touched when connections are lent and given back, too. */
    struct need need;      /* of `busy` */
    struct list stocked;   /* in the worker's list of cells that may have idle connections */
    struct server *server; /* constant; a reference to it is held while the cell is in that list */
};

/* The address of a server that is configured by name. The two places are used in turn, so the one
 * that is written is never the one that readers are told to read. So no thread waits, and memory
 * does not grow however often the address changes. */
struct server_place {
    _Atomic uint32_t generation;  /* 0: the name has not been resolved yet */
    _Atomic uint64_t words[2][4]; /* [generation % 2] is a sockaddr_in or sockaddr_in6 */
};

struct server {
    struct ref ref;

    /* constant */
    char *pool, *name;
    char *address_text;  /* "127.0.0.1:9001", "unix:/run/b1", as configured */
    char *unscoped_text; /* address_text without the interface; NULL: it has none */
    struct addr address; /* constant; len 0: the server is by name, see server_address() */
    unsigned nworkers;
    struct server_cell *cells; /* one for each worker */

    struct server_place place;

    /* any thread */
    _Alignas(SERVER_LINE) _Atomic uint32_t active; /* requests in flight and tunnels, all workers */
    _Atomic uint64_t failures; /* the row: those that make it suspect in the upper half, the others
                                  in the lower one; see server_failed() */
    _Atomic bool usable; /* neither down nor drained, and no standby that waits for its return */
    _Atomic bool gone;   /* the configuration in service has it no more, nor will a later one: it
                            finishes what it carries. Set once, by the control thread */

    struct suspicions suspicions;
};

/* A server that is usable, idle and without failures; if it is by name, without an address. The
 * texts are copied. */
struct server *server_new(const char *pool, const char *name, const char *address_text,
                          const struct addr *address, unsigned nworkers);
struct server *server_ref(struct server *s);
/* The last reference frees the server; no request and no connection may be left. NULL is fine. */
void server_unref(struct server *s);
/* server_unref() as a message_release_fn (net/mailbox.h). */
void server_release(void *server);

static inline bool server_by_name(const struct server *s)
{
    return s->address.len == 0;
}

/* Any thread: the address to connect to now, and its generation, see server_generation(). False:
 * the name has not been resolved yet. */
bool server_address(const struct server *s, struct addr *out, uint32_t *generation);
/* The number of the address (not a generation of the configuration): a connection made under
 * another generation goes to an old address. Always 0 if the server is not by name. */
static inline uint32_t server_generation(const struct server *s)
{
    return atomic_load_explicit(&s->place.generation, memory_order_relaxed);
}
/* Control thread: sets the IPv4 or IPv6 address of a server by name, and its failures to 0. False:
 * it has that address already. */
bool server_move(struct server *s, const struct addr *to);

/* Any thread: whether it may be given requests. */
static inline bool server_usable(const struct server *s)
{
    return atomic_load_explicit(&s->usable, memory_order_relaxed);
}

static inline bool server_gone(const struct server *s)
{
    return atomic_load_explicit(&s->gone, memory_order_relaxed);
}

/* The value of a Host field for this server. */
static inline const char *server_host(const struct server *s)
{
    if (addr_is_unix(&s->address))
        return "localhost";
    return s->unscoped_text ? s->unscoped_text : s->address_text;
}

/* Adds to a counter that one thread alone writes: cheaper than an atomic addition. */
static inline void cell_add(_Atomic uint64_t *c, uint64_t n)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* What a failure of live traffic makes of the row that it belongs to. */
enum server_row {
    SERVER_ROW_GOES_ON,
    SERVER_ROW_DOWN,    /* so many as take the server down without further question */
    SERVER_ROW_SUSPECT, /* so many in all, but some of them make it suspect: a check is to decide */
};

/* Counts a failure of live traffic. Each outcome but the first is told once in a row, by the
 * failure that reaches the threshold. Its caller then mails control, which calls
 * roster_passive_down() or roster_suspect(). threshold 0: neither is ever told. */
enum server_row server_failed(struct server *s, unsigned threshold, bool suspect);
/* The row of failures is over: the server has answered, or a check has spoken for it. The load
 * spares the workers a store to a cache line that they share. */
static inline void server_succeeded(struct server *s)
{
    if (atomic_load_explicit(&s->failures, memory_order_relaxed))
        atomic_store_explicit(&s->failures, 0, memory_order_relaxed);
}
/* The cell of a worker, by its index. */
static inline struct server_cell *server_cell(const struct server *s, unsigned worker)
{
    assert(worker < s->nworkers);
    return &s->cells[worker];
}
/* Sums over the workers' cells. */
uint64_t server_requests(const struct server *s);
uint64_t server_errors(const struct server *s);
uint64_t server_idle(const struct server *s);

/* A zeroed array that begins at a cache line. So threads that write to different elements, each a
 * whole number of lines, do not slow each other down. Aborts when memory is out; free() it. */
void *server_zalloc_lines(size_t count, size_t size);
