/* Deadlines without a timer each: a queue per duration, one coarse uv_timer_t per loop.
 *
 * What for: every connection has one or two deadlines that are set again with each request. All
 * entries of a queue have the same duration, so arming is a push at the tail and the head is always
 * the next to expire: no heap, no system call.
 * Invariants: a deadline is in at most one queue; the timer is due no later than any head. While
 * deadlines expire, any queue may go away and others may come, also those whose callback runs.
 * Ownership: deadlines live in what they guard, which must deadline_cancel() before it goes.
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
    uint64_t timer_due_ms; /* UINT64_MAX: not running */
    struct list queues;
    /* While deadlines expire, else NULL: */
    struct deadline_queue *current; /* NULL too if it went away under its own callback */
    struct list *next;              /* the link of the queue whose turn is next */
};

typedef void deadline_fn(struct deadline *d);

struct deadline_queue {
    struct deadline_clock *clock;
    struct list link; /* in the clock */
    struct list entries;
    uint64_t duration_ms;
    deadline_fn *on_expired; /* the deadline is out of the queue by then */
};

void deadline_clock_init(struct deadline_clock *c, uv_loop_t *loop);
/* All queues must be empty or never used again; on_closed as of uv_close(). */
void deadline_clock_close(struct deadline_clock *c, uv_close_cb on_closed);
void deadline_queue_init(struct deadline_queue *q, struct deadline_clock *c, uint64_t duration_ms,
                         deadline_fn *on_expired);
/* It must be empty. */
void deadline_queue_deinit(struct deadline_queue *q);
/* All of `from`, on the same clock, goes over to q, which is empty: a deadline is due as if it had
 * been armed in q when it was armed in `from`, so at once if that is over. */
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

/* The slow part of arming: the timer must come sooner than it would. */
void deadline_hasten(struct deadline_clock *c, uint64_t due_ms);

/* Due duration_ms from now; leaves any queue it was in. */
static inline void deadline_arm(struct deadline_queue *q, struct deadline *d)
{
    list_remove(&d->link);
    d->due_ms = uv_now(q->clock->timer.loop) + q->duration_ms;
    list_push_back(&q->entries, &d->link);
    if (d->due_ms < q->clock->timer_due_ms)
        deadline_hasten(q->clock, d->due_ms);
}
