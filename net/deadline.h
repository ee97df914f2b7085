/* Many deadlines with one timer: a queue for each duration, and one uv_timer_t for each loop.
 *
 *   clock (uv_timer_t)
 *     |-- queue, 10 s   head: due first -> ... -> tail: armed last
 *     '-- queue, 60 s   head            -> ... -> tail
 *
 * What for: every connection has one or two deadlines, which are armed again with each request. All
 * deadlines of a queue have the same duration, so arming is a push at the tail, and the head is
 * always the next to expire: it takes no heap and no system call.
 * Its own time: the clock is the loop's, less the time in which the loop was away: the process was
 * stopped, its core stalled, one turn of the loop took long. What peers did meanwhile lies in the
 * sockets, so the time away is nobody's slowness, and no deadline counts it.
 *
 *   loop   timers -> before_wait -> waits for sockets, reads -> after_wait -> timers -> ...
 *            |        has come in time?                   in time?           |
 *            '-- late: the sockets are read once more before anything expires'
 *
 * Invariants: a deadline is in at most one queue. The timer is due no later than any head, and
 * within a second of its start, so that a stop within a long wait is noticed, too. None was armed
 * later than now. While deadlines expire, queues may be added and removed, even the one whose
 * callback runs.
 * Ownership: a deadline is embedded in what it guards, which must call deadline_cancel() before it
 * is freed.
 * Threads: one loop. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"

struct deadline {
    struct list link;
    uint64_t due_ms; /* by deadline_now() */
};

struct deadline_clock {
    uv_timer_t timer;
    uint64_t timer_due_ms; /* by deadline_now(); UINT64_MAX: the timer does not run */
    struct list queues;
    uint64_t away_ms; /* in all; so much is the loop's clock ahead of this one */
    /* These three are by the loop's clock (uv_now): */
    uint64_t timer_at_ms; /* when the timer is to fire */
    uint64_t turned_ms;   /* when the loop came round last */
    uint64_t expected_ms; /* by when it is to come round again; UINT64_MAX: no matter when */
    uint64_t grace_ms;    /* the loop may be later than that by so much */
    bool was_away;        /* in this turn of the loop */
    bool looked;          /* the timer was late, and the sockets were read since */
    /* These two are NULL unless deadlines expire: */
    struct deadline_queue *current; /* whose callbacks run; NULL if it was removed */
    struct list *next;              /* link of the queue that comes after it */
};

typedef void deadline_fn(struct deadline *d);

struct deadline_queue {
    struct deadline_clock *clock;
    struct list link; /* in the clock */
    struct list entries;
    uint64_t duration_ms;
    deadline_fn *on_expired; /* called after the deadline has left the queue */
};

void deadline_clock_init(struct deadline_clock *c, uv_loop_t *loop);
/* All queues must be empty, or never be used again. on_closed: as of uv_close(). */
void deadline_clock_close(struct deadline_clock *c, uv_close_cb on_closed);
/* To be called in each turn of the loop, right before it waits for sockets and after it has called
 * back for them. A clock without these calls only looks at the sockets before what is late expires.
 */
void deadline_clock_before_wait(struct deadline_clock *c);
void deadline_clock_after_wait(struct deadline_clock *c);

/* The time by which deadlines are due, in ms. It may stand still, or go back to what it was in the
 * last turn of the loop. */
static inline uint64_t deadline_now(const struct deadline_clock *c)
{
    return uv_now(c->timer.loop) - c->away_ms;
}

void deadline_queue_init(struct deadline_queue *q, struct deadline_clock *c, uint64_t duration_ms,
                         deadline_fn *on_expired);
/* The queue must be empty. */
void deadline_queue_deinit(struct deadline_queue *q);
/* Changes the duration. Deadlines of the queue are then due as if it had always been this one, so
 * perhaps at once. */
void deadline_queue_set(struct deadline_queue *q, uint64_t duration_ms);

static inline void deadline_init(struct deadline *d)
{
    list_init(&d->link);
}

static inline void deadline_cancel(struct deadline *d)
{
    list_remove(&d->link);
}

static inline bool deadline_armed(const struct deadline *d)
{
    return !list_empty(&d->link);
}

/* The slow part of arming: makes the timer due earlier. */
void deadline_hasten(struct deadline_clock *c, uint64_t due_ms);

/* Makes the deadline due duration_ms from now, or a turn of the loop later. If it is in a queue, it
 * leaves that. */
static inline void deadline_arm(struct deadline_queue *q, struct deadline *d)
{
    list_remove(&d->link);
    d->due_ms = deadline_now(q->clock) + q->duration_ms;
    list_push_back(&q->entries, &d->link);
    if (d->due_ms < q->clock->timer_due_ms)
        deadline_hasten(q->clock, d->due_ms);
}
