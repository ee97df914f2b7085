/* Many deadlines with one timer: a queue for each duration, and one uv_timer_t for each loop.
 *
 *   clock (uv_timer_t)
 *     |-- queue, 10 s   head: due first -> ... -> tail: armed last
 *     '-- queue, 60 s   head            -> ... -> tail
 *
 * What for: every connection has one or two deadlines, which are armed again with each request. All
 * deadlines of a queue have the same duration, so arming is a push at the tail, and the head is
 * always the next to expire: it takes no heap and no system call.
 * Invariants: a deadline is in at most one queue. The timer is due no later than any head. While
 * deadlines expire, queues may be added and removed, even the one whose callback runs.
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
    uint64_t due_ms; /* on the loop's clock (uv_now) */
};

struct deadline_clock {
    uv_timer_t timer;
    uint64_t timer_due_ms; /* UINT64_MAX: the timer does not run */
    struct list queues;
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
void deadline_queue_init(struct deadline_queue *q, struct deadline_clock *c, uint64_t duration_ms,
                         deadline_fn *on_expired);
/* The queue must be empty. */
void deadline_queue_deinit(struct deadline_queue *q);
/* Moves all deadlines of `from` to q, which must be empty and have the same clock. A deadline is
 * then due as if it had been armed in q when it was armed in `from`, so perhaps at once. */
void deadline_queue_adopt(struct deadline_queue *q, struct deadline_queue *from);

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

/* Makes the deadline due duration_ms from now. If it is in a queue, it leaves that. */
static inline void deadline_arm(struct deadline_queue *q, struct deadline *d)
{
    list_remove(&d->link);
    d->due_ms = uv_now(q->clock->timer.loop) + q->duration_ms;
    list_push_back(&q->entries, &d->link);
    if (d->due_ms < q->clock->timer_due_ms)
        deadline_hasten(q->clock, d->due_ms);
}
