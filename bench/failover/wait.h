/* Waits on a loop for a condition, with a deadline; a signal ends a wait early.
 *
 * What for: `ringbench failover` is written as a sequence of steps (start, wait, hurt, wait, stop).
 * SIGINT, SIGTERM and SIGHUP break off any of them, and nothing is left behind.
 * Invariants: a condition is evaluated after every event of the loop and every WAIT_TICK_MS.
 * Ownership: wait_open() to wait_close(), which must come after every other handle of the loop was
 * closed. Threads: the main one. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"

#define WAIT_TICK_MS 5
#define WAIT_SIGNALS 3

struct wait {
    uv_loop_t loop;
    uv_timer_t tick;
    uv_signal_t signals[WAIT_SIGNALS];
    int interrupted; /* the last signal that came; 0: none */
};

enum wait_result { WAIT_DONE, WAIT_LATE, WAIT_INTERRUPTED };

typedef bool wait_condition_fn(void *arg);

/* False: the error says why; nothing is open. */
bool wait_open(struct wait *w, struct error *e);
void wait_close(struct wait *w);
/* Until the condition is true, time_ms have passed or a signal came. */
enum wait_result wait_until(struct wait *w, wait_condition_fn *condition, void *arg,
                            uint64_t time_ms);
/* Forgets a signal that came, so that the waits of an orderly end do not end at once; the next
 * signal ends them again. */
void wait_forget_signal(struct wait *w);
/* "interrupted by SIGINT", or "WHAT: not within N s". */
void wait_explain(const struct wait *w, enum wait_result r, uint64_t time_ms, struct error *e,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));
