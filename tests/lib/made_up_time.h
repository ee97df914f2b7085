/* A clock that stands still until the test lets it go on.
 *
 * What for: uv_now() and uv_timer_start() are replaced at link time in a program that has
 * made_up_time.c, so net/deadline.c runs as it is, and a test of seconds takes none. The
 * loop itself does not run: here is done what it does for a deadline clock.
 * Invariants: callbacks come from time_advance() alone. One timer at a time: a deadline clock's.
 * Threads: one. */
#pragma once
#include <stdint.h>

uint64_t time_now(void);
/* Time goes on, and the loop with it: it wakes for each deadline when that is due. */
void time_advance(uint64_t ms);
/* The loop waits, and is stopped for so long. What happens until the next call of time_advance(),
 * or of this one, happens in the callbacks with which its turn goes on. */
void time_stop(uint64_t ms);
/* A turn of the loop takes so long. */
void time_stall(uint64_t ms);
/* Forgets the timer that is running, if any; time stays. */
void time_reset(void);
