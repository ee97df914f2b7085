#include "net/deadline.h"

#include <assert.h>

/* A loop that comes round later than it meant to by more than this was away. */
#define GRACE_MS 50
#define MOST_GRACE_MS 60000
/* A timer that fires later than this has run before sockets that may have become readable in time.
 */
#define LATE_MS 5
/* While anything is armed the timer fires at least so often: a loop that was stopped in a wait of
 * an hour is to notice that, and a wait can hide a stop only as far as it would have lasted anyway.
 */
#define BEAT_MS 1000

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
    c->away_ms = 0;
    c->timer_at_ms = c->turned_ms = uv_now(loop);
    c->expected_ms = UINT64_MAX;
    c->grace_ms = GRACE_MS;
    c->was_away = c->looked = false;
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

void deadline_queue_set(struct deadline_queue *q, uint64_t duration_ms)
{
    uint64_t longer_ms = duration_ms - q->duration_ms; /* modulo 2^64, if it is shorter */
    if (longer_ms == 0)
        return;
    list_foreach(it, &q->entries) container_of(it, struct deadline, link)->due_ms += longer_ms;
    q->duration_ms = duration_ms;
    if (list_empty(&q->entries))
        return;
    const struct deadline *first = container_of(q->entries.next, struct deadline, link);
    if (first->due_ms < q->clock->timer_due_ms)
        deadline_hasten(q->clock, first->due_ms);
}

static void start_timer(struct deadline_clock *c, uint64_t due_ms, uint64_t delay_ms)
{
    c->timer_due_ms = due_ms;
    c->timer_at_ms = uv_now(c->timer.loop) + delay_ms;
    int r = uv_timer_start(&c->timer, on_timer, delay_ms, 0);
    assert(r == 0);
    (void)r;
}

void deadline_hasten(struct deadline_clock *c, uint64_t due_ms)
{
    uint64_t now = deadline_now(c), beat_ms = now + BEAT_MS;
    uint64_t at_ms = due_ms < beat_ms ? due_ms : beat_ms;
    start_timer(c, at_ms, at_ms > now ? at_ms - now : 0);
}

/* ---- time away ---- */

/* What was armed after the loop came back, but before that was noticed, has counted the time away
 * as passed. It stands at the tail, as it was armed last. */
static void correct(struct deadline_queue *q, uint64_t now)
{
    for (struct list *it = q->entries.prev; it != &q->entries; it = it->prev) {
        struct deadline *d = container_of(it, struct deadline, link);
        if (d->due_ms <= now + q->duration_ms)
            return;
        d->due_ms = now + q->duration_ms;
    }
}

/* Time by which the loop came late was time away. When in its wait before that it was stopped
 * nobody knows: as much of the wait is given back, too. The grace counts in any case, so time never
 * stands still, and it grows with each turn in a row: a loop that has too much to do counts all of
 * its time in the end. */
static void was_away(struct deadline_clock *c, uint64_t late)
{
    uint64_t wait = c->expected_ms - c->turned_ms;
    c->away_ms += late + (wait < late ? wait : late) - c->grace_ms;
    c->was_away = true;
    list_foreach(it, &c->queues)
        correct(container_of(it, struct deadline_queue, link), deadline_now(c));
}

static void come_round(struct deadline_clock *c)
{
    uint64_t now = uv_now(c->timer.loop);
    if (now > c->expected_ms && now - c->expected_ms > c->grace_ms)
        was_away(c, now - c->expected_ms);
    c->turned_ms = now;
    if (c->expected_ms < now)
        c->expected_ms = now;
}

void deadline_clock_before_wait(struct deadline_clock *c)
{
    come_round(c);
    if (!c->was_away)
        c->grace_ms = GRACE_MS;
    else if (c->grace_ms < MOST_GRACE_MS)
        c->grace_ms *= 2;
    c->was_away = false;
    c->expected_ms = c->timer_at_ms > c->turned_ms ? c->timer_at_ms : c->turned_ms;
    if (c->timer_due_ms == UINT64_MAX) /* nothing is armed */
        c->expected_ms = UINT64_MAX;
}

void deadline_clock_after_wait(struct deadline_clock *c)
{
    come_round(c);
    c->expected_ms = c->turned_ms; /* it waits for nothing now */
}

/* ---- expiring ---- */

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

/* When the first of all is due. UINT64_MAX: none is armed. */
static uint64_t first_due(const struct deadline_clock *c)
{
    uint64_t first = UINT64_MAX;
    list_foreach(it, &c->queues)
    {
        const struct deadline_queue *q = container_of(it, struct deadline_queue, link);
        if (list_empty(&q->entries))
            continue;
        const struct deadline *d = container_of(q->entries.next, struct deadline, link);
        if (d->due_ms < first)
            first = d->due_ms;
    }
    return first;
}

/* Timers run before sockets in a turn of the loop. If the timer is late, bytes may have come in
 * time and not be read yet: so the loop polls once more before anything expires. True: it will. */
static bool look_first(struct deadline_clock *c)
{
    bool late = uv_now(c->timer.loop) > c->timer_at_ms + LATE_MS;
    c->looked = late && !c->looked;
    if (c->looked)
        start_timer(c, deadline_now(c), 1); /* 0 would be before the loop polls */
    return c->looked;
}

static void on_timer(uv_timer_t *timer)
{
    struct deadline_clock *c = container_of(timer, struct deadline_clock, timer);
    come_round(c);
    if (look_first(c))
        return;
    /* While callbacks run the timer counts as due now, so that arming in them does not start it.
     * Afterwards it is started once, for the earliest head. */
    c->timer_due_ms = 0;
    expire_all(c, deadline_now(c));
    if (uv_is_closing((uv_handle_t *)&c->timer))
        return;
    uint64_t next = first_due(c);
    c->timer_due_ms = UINT64_MAX;
    if (next != UINT64_MAX)
        deadline_hasten(c, next);
}
