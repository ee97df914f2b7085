/* When to probe whom in one pool; tells the roster what came out, and keeps the roster's time.
 *
 * What for: checker_first() once, roster_start(), then checker_run() until checker_close().
 * Invariants: at most one probe a server at a time. A server's checks begin `interval` apart,
 * spread over the interval from server to server; while it is changing state a quarter apart; at
 * once if the last one took longer. With `check: off` nothing is probed, only time is kept.
 * The roster's now_ms is uv_now() of the loop.
 * Ownership: checker_new() to checker_close(), which frees. Pool and roster must outlive on_closed.
 * Threads: the control loop's. */
#pragma once
#include <uv.h>

#include "pool/roster.h"

struct checker;

typedef void checker_fn(void *arg);

struct checker *checker_new(uv_loop_t *loop, struct pool *pool, struct roster *roster);
/* Checks every server once, all at the same time, for at most health.timeout each; the results go
 * to roster_first(), then on_done is called, never from within. A server that could not be checked
 * for want of something on this host is taken as up. on_done may close the checker. */
void checker_first(struct checker *c, checker_fn *on_done, void *arg);
/* Begins the periodic checks; roster_start() was called. */
void checker_run(struct checker *c);
/* To be called after every other call that changes the roster (drain, passive down, ...): its next
 * tick may have come nearer. */
void checker_rearm(struct checker *c);
/* Stops at any time; nothing is told to the roster any more, an on_done that is due is dropped.
 * on_closed comes once, with all handles closed and the checker freed. */
void checker_close(struct checker *c, checker_fn *on_closed, void *arg);
