/* Runs a command under a lock: waits for the lock, keeps it, stops the command before anyone else
 * can have the lock, releases it.
 *
 *   WAITING ---granted---> RUNNING ---its end---> RELEASING ---> done
 *      |                      |                      ^
 *      |                      +--lost, or no answer--> STOPPING: TERM, then KILL
 *      +--- time over, a signal: RELEASING what an attempt may have got
 *
 * Invariants: the command starts once, while the lock is believed in. Before anything else that it
 * does, this process looks at the clock, so that one that was stopped first stops the command if
 * its time is over. Threads: the main one; it starts others (lookups). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app/lock_child.h"
#include "config/redis_url.h"

/* Exit statuses apart from the command's own and 128 + a signal; those below are sysexits.h's. */
#define LOCK_EXIT_LOST 69 /* EX_UNAVAILABLE: the lock was lost while the command ran */
#define LOCK_EXIT_NONE 75 /* EX_TEMPFAIL: no lock in time; the command never ran */
#define LOCK_EXIT_NOT_RUNNABLE 126
#define LOCK_EXIT_NOT_FOUND 127

struct lock_run_options {
    const char *name;
    const char *command; /* argv[0] */
    const struct redis_url *urls;
    size_t nurls;
    uint64_t ttl_ms, wait_ms;
    bool verbose;
};

/* child: forked, not started. Returns the exit status; what went wrong was told on stderr. */
int lock_run(const struct lock_run_options *o, struct lock_child *child);
