#include "net/deadline.h"

#include <assert.h>

static void on_timer(uv_timer_t *timer);

void deadline_clock_init(struct deadline_clock *c, uv_loop_t *loop)
{
    int r = uv_timer_init(loop, &c->timer);
    assert(r == 0); /* it has no way to fail in libuv 1.x */
    (void)r;
    list_init(&c->queues);
    c->timer_due_ms = UINT64_MAX;
    c->current = NULL;
    c->next = NULL;
}

void deadline_clock_close(struct deadline_clock *c, uv_close_cb on_closed)
{
    c->timer_due_ms = 0; /* so that arming a deadline does not start a closed timer */
    uv_close((uv_handle_t *)&c->timer, on_closed);
}

void deadline_queue_init(struct deadline_queue *q, struct deadline_clock *c, uint64_t duration_ms,
                         deadline_fn *on_expired)
{
    q->clock = c;
    q->duration_ms = duration_ms;
    q->on_expired = on_expired;
    list_init(&q->entries);
    list_push_back(&c->queues, &q->link);
}

/* Callbacks may call this: then expire() and expire_all() are told by the clock's two pointers. */
void deadline_queue_deinit(struct deadline_queue *q)
{
    struct deadline_clock *c = q->clock;
    assert(list_empty(&q->entries));
    if (c->current == q)
        c->current = NULL;
    if (c->next == &q->link)
        c->next = q->link.next;
    list_remove(&q->link);
}

void deadline_queue_adopt(struct deadline_queue *q, struct deadline_queue *from)
{
    assert(q->clock == from->clock && list_empty(&q->entries));
    while (!list_empty(&from->entries)) {
        struct deadline *d = container_of(from->entries.next, struct deadline, link);
        list_remove(&d->link);
        d->due_ms = d->due_ms - from->duration_ms + q->duration_ms;
        list_push_back(&q->entries, &d->link);
        if (d->due_ms < q->clock->timer_due_ms)
            deadline_hasten(q->clock, d->due_ms);
    }
}

void deadline_hasten(struct deadline_clock *c, uint64_t due_ms)
{
    uint64_t now = uv_now(c->timer.loop);
    c->timer_due_ms = due_ms;
    int r = uv_timer_start(&c->timer, on_timer, due_ms > now ? due_ms - now : 0, 0);
    assert(r == 0);
    (void)r;
}

/* Expires what is due in q. A callback may remove q, which then must not be touched any more. */
static void expire(struct deadline_clock *c, struct deadline_queue *q, uint64_t now)
{
    c->current = q;
    while (c->current && !list_empty(&q->entries)) {
        struct deadline *d = container_of(q->entries.next, struct deadline, link);
        if (d->due_ms > now)
            return;
        list_remove(&d->link);
        q->on_expired(d);
    }
}

/* `next` is kept in the clock and not here, so that deadline_queue_deinit() can move it on. */
static void expire_all(struct deadline_clock *c, uint64_t now)
{
    assert(c->next == NULL); /* callbacks do not run the loop */
    c->next = c->queues.next;
    while (c->next != &c->queues) {
        struct deadline_queue *q = container_of(c->next, struct deadline_queue, link);
        c->next = c->next->next;
        expire(c, q, now);
    }
    c->current = NULL;
    c->next = NULL;
}

static void on_timer(uv_timer_t *timer)
{
    struct deadline_clock *c = container_of(timer, struct deadline_clock, timer);
    uint64_t now = uv_now(timer->loop), next = UINT64_MAX;
    /* While callbacks run the timer counts as due now, so that arming in them does not start it.
     * Afterwards it is started once, for the earliest head. */
    c->timer_due_ms = 0;
    expire_all(c, now);
    if (uv_is_closing((uv_handle_t *)&c->timer))
        return;
    list_foreach(it, &c->queues)
    {
        struct deadline_queue *q = container_of(it, struct deadline_queue, link);
        if (list_empty(&q->entries))
            continue;
        struct deadline *d = container_of(q->entries.next, struct deadline, link);
        if (d->due_ms < next)
            next = d->due_ms;
    }
    c->timer_due_ms = UINT64_MAX;
    if (next != UINT64_MAX)
        deadline_hasten(c, next);
}
