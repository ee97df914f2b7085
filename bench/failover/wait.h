/* A loop that is run until something has happened: waits with a condition and a deadline, which a
 * signal ends early.
 *
 * What for: `ringbench failover` reads as a sequence of steps (start, wait, hurt, wait, stop), and
 * every one of them can be broken off by SIGINT, SIGTERM or SIGHUP without leaving anything behind.
 * Conditions are asked after every event of the loop and every WAIT_TICK_MS.
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
/* Forgets a signal, so that the waits for an orderly end can be waited for; the next one ends them
 * in turn. */
void wait_forgive(struct wait *w);
/* "interrupted by SIGINT", or "WHAT: not within N s". */
void wait_explain(const struct wait *w, enum wait_result r, uint64_t time_ms, struct error *e,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));
