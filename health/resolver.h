/* Asks again and again what addresses a name stands for.
 *
 * Invariants: one lookup at a time; the next begins `interval` after the last one began, or at once
 * if that took longer. Ownership: resolver_open() to resolver_close(), which frees. Threads: the
 * loop's. */
#pragma once
#include "net/lookup.h"

struct resolver;

struct resolver_callbacks {
    lookup_fn *on_answer; /* never from within; may close the resolver */
    void (*on_closed)(void *arg);
    void *arg;
};

/* Asks for the NAME of "NAME:PORT", which must stand, for the first time. */
struct resolver *resolver_open(uv_loop_t *loop, struct lookups *lookups, const char *address,
                               uint64_t interval_ms, const struct resolver_callbacks *callbacks);
/* From now on it asks again, too. */
void resolver_repeat(struct resolver *r);
/* on_closed comes once, with the memory gone. */
void resolver_close(struct resolver *r);
