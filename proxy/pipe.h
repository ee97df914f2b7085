/* Pipes for splice(): the kernel forwards bytes from one socket into a pipe and from the pipe into
 * another socket, without copying them into the process. docs/tcp.md, One connection, Bulk.
 *
 * What for: opening and growing a pipe costs several system calls, so a worker keeps a few for
 * reuse, and limits how many it has.
 * Invariants: a spare pipe is empty. Both descriptors of a pipe are counted (descriptors.h) as long
 * as it exists.
 * Ownership: pipe_take() lends a pipe, pipe_give() returns it; the worker owns the spare ones.
 * Threads: one worker. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that one pipe holds at most. They wait in the kernel, in addition to the socket buffers. */
#define PIPE_MAX_HELD (1024 * 1024)

struct pipe {
    struct pipe *next_spare;
    int out, in; /* the end to read from, the end to write to; non-blocking */
    size_t held; /* bytes in the pipe; its user keeps this up to date */
};

/* The pipes of one worker. {0} is a store without pipes. */
struct pipe_store {
    struct pipe *spare;      /* free list */
    unsigned nspare, npipes; /* npipes: lent and spare ones together */
    uint64_t none_until_ms;  /* no pipe could be opened: the next attempt is not before this time */
};

/* Lends an empty pipe. now_ms: the loop's clock. NULL: the worker has as many pipes as it may, or
 * the system allows none of a useful size; the caller then copies the bytes through its memory. */
struct pipe *pipe_take(struct pipe_store *s, uint64_t now_ms);
/* Returns a pipe. One that is not empty is closed, and the bytes in it are lost. */
void pipe_give(struct pipe_store *s, struct pipe *p);
/* Closes the spare pipes, at the end of the worker. */
void pipe_free_spares(struct pipe_store *s);
