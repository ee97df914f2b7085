/* Where a load may go: the addresses of a target, in the order in which they are tried.
 *
 * What for: `localhost` is often ::1 first, and a server that listens on 127.0.0.1 alone is reached
 * at its second address. A load goes to one address, the first to which a connection can be made.
 * Invariants: 1 to TARGETS_MAX addresses; those of a name in the order of getaddrinfo()
 * (RFC 6724). Ownership: a plain value. Threads: targets_resolve() may ask the resolver and blocks
 * for that long. */
#pragma once
#include <stdbool.h>

#include "base/addr.h"
#include "base/error.h"

#define TARGETS_MAX 16

struct targets {
    unsigned n;
    struct addr at[TARGETS_MAX];
};

/* HOST:PORT, [V6]:PORT or NAME:PORT. Of a name's addresses the first TARGETS_MAX are taken. */
bool targets_resolve(const char *text, struct targets *out, struct error *e);

/* Starts a load, or the like, to one address. False: the error says why not. */
typedef bool targets_fn(void *arg, const struct addr *to, struct error *e);
/* Calls `start` with each address until it is true. False: it never was; the error names each
 * address with its reason, or what the machine lacks (descriptors), which no further address has.
 */
bool targets_try(const struct targets *t, targets_fn *start, void *arg, struct error *e);
