/* A clock that stands still until the test lets it go on.
 *
 * What for: uv_now() and uv_timer_start() are replaced at link time in a program that has
 * made_up_time.c, so net/deadline.c runs as it is, and a test of seconds takes none.
 * Invariants: callbacks come from time_advance() alone. One timer at a time: a deadline clock's.
 * Threads: one. */
#pragma once
#include <stdint.h>

uint64_t time_now(void);
/* Time goes on; deadlines that are due expire. */
void time_advance(uint64_t ms);
/* Forgets the timer that is running, if any; time stays. */
void time_reset(void);
