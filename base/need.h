/* How many of a thing are in use at once, and how many were lately: so many are worth keeping.
 *
 *     in use      ___                                  the mark: the most of this window and of the
 *          ______|   |______                           one before it, so of 5 to 10 seconds
 *     window  |  a  |  b  |  c  |
 *     mark       3     3     1
 *
 * Invariants: `peak` is at least `now`. The clock is the caller's, in milliseconds.
 * Ownership: embedded; all zero is a start. Threads: one at a time. */
#pragma once
#include <assert.h>
#include <stdint.h>

#define NEED_WINDOW_MS 5000

struct need {
    uint32_t now;         /* in use */
    uint32_t peak;        /* the most at once in this window */
    uint32_t peak_before; /* ... in the window before it */
    uint64_t window_ms;   /* when this window began */
};

static inline void need_take(struct need *n)
{
    n->now++;
    if (n->peak < n->now)
        n->peak = n->now;
}

static inline void need_give(struct need *n)
{
    assert(n->now > 0);
    n->now--;
}

/* Begins a new window if the last one is over; to be called now and then. */
static inline void need_turn(struct need *n, uint64_t now_ms)
{
    if (now_ms - n->window_ms < NEED_WINDOW_MS)
        return;
    n->peak_before = n->peak;
    n->peak = n->now;
    n->window_ms = now_ms;
}

static inline uint32_t need_mark(const struct need *n)
{
    return n->peak > n->peak_before ? n->peak : n->peak_before;
}
