/* Pipes that bytes pass through between two sockets without coming into the process.
 *
 * What for: splice() needs one between its two ends.
 * Invariants: a spare pipe is empty; both its descriptors are counted (descriptors.h), as long as
 * it exists.
 * Ownership: whoever took it gives it back; spares are the worker's. Threads: one worker. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PIPE_MAX_HELD (1024 * 1024) /* bytes in one; pages that hold them count for no socket */

struct pipe {
    struct pipe *next_spare;
    int out, in; /* to read from, to write to */
    size_t held; /* bytes in it, kept by who uses it */
};

/* The pipes of one worker. {0} is a store without any. */
struct pipe_store {
    struct pipe *spare; /* free list */
    unsigned nspare, npipes;
    uint64_t none_until_ms; /* one could not be had: none is asked for before this time */
};

/* now_ms: the loop's clock. NULL: there is no room for one, or only for a tiny one: copy instead.
 */
struct pipe *pipe_take(struct pipe_store *s, uint64_t now_ms);
/* One that is not empty is closed, and what is in it lost. */
void pipe_give(struct pipe_store *s, struct pipe *p);
void pipe_free_spares(struct pipe_store *s);
