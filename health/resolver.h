/* Looks up the addresses of one host name periodically. docs/configuration.md, Names.
 *
 * What for: a server configured by name follows its name to another address.
 * Invariants: at most one lookup at a time. A lookup begins `interval` after the beginning of the
 * one before, or immediately after that one if it took longer.
 * Ownership: the caller's from resolver_open() to resolver_close(), which frees it.
 * Threads: the loop's. */
#pragma once
#include "net/lookup.h"

struct resolver;

struct resolver_callbacks {
    lookup_fn *on_answer; /* not called from within resolver_open(); may close the resolver */
    void (*on_closed)(void *arg);
    void *arg;
};

/* Begins the first lookup. address: "NAME:PORT", for which addr_parse() returns ADDR_NAME; it must
 * outlive the resolver. */
struct resolver *resolver_open(uv_loop_t *loop, struct lookups *lookups, const char *address,
                               uint64_t interval_ms, const struct resolver_callbacks *callbacks);
/* Begins to repeat the lookup; until then there is only the first one. Call it once. */
void resolver_repeat(struct resolver *r);
/* From now on the callbacks get `arg`, and lookups begin interval_ms apart. A lookup that is under
 * way goes on. */
void resolver_hand_over(struct resolver *r, uint64_t interval_ms, void *arg);
/* Ends the lookup under way, if there is one. on_closed is called later, once, after the memory was
 * freed. */
void resolver_close(struct resolver *r);
