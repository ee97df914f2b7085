#include "tests/lib/made_up_time.h"

#include <assert.h>
#include "net/deadline.h"

static struct {
    uint64_t now_ms;
    uv_timer_t *timer; /* while it runs */
    uv_timer_cb on_timer;
    uint64_t due_ms;
    struct deadline_clock *clock; /* whose timer it is, or was last */
    bool waits;                   /* its loop was stopped while it waited */
} made_up;

uint64_t uv_now(const uv_loop_t *loop)
{
    return made_up.now_ms;
}

int uv_timer_start(uv_timer_t *handle, uv_timer_cb cb, uint64_t timeout, uint64_t repeat)
{
    assert(repeat == 0 && (made_up.timer == NULL || made_up.timer == handle));
    if (uv_is_closing((uv_handle_t *)handle))
        return UV_EINVAL;
    made_up.timer = handle;
    made_up.clock = container_of(handle, struct deadline_clock, timer);
    made_up.on_timer = cb;
    made_up.due_ms = made_up.now_ms + timeout;
    return 0;
}

uint64_t time_now(void)
{
    return made_up.now_ms;
}

static void begin_wait(void)
{
    if (made_up.clock && !made_up.waits)
        deadline_clock_before_wait(made_up.clock);
}

static void end_wait(void)
{
    made_up.waits = false;
    if (made_up.clock)
        deadline_clock_after_wait(made_up.clock);
}

static void fire(void)
{
    uv_timer_t *timer = made_up.timer;
    if (timer == NULL || made_up.due_ms > made_up.now_ms)
        return;
    made_up.timer = NULL;
    if (!uv_is_closing((uv_handle_t *)timer))
        made_up.on_timer(timer);
}

void time_advance(uint64_t ms)
{
    uint64_t until = made_up.now_ms + ms;
    if (made_up.waits)
        end_wait();
    fire();
    while (made_up.timer && made_up.due_ms <= until) {
        begin_wait();
        if (made_up.due_ms > made_up.now_ms)
            made_up.now_ms = made_up.due_ms;
        end_wait();
        fire();
    }
    begin_wait();
    made_up.now_ms = until;
    end_wait();
}

void time_stop(uint64_t ms)
{
    if (made_up.waits)
        end_wait();
    begin_wait();
    made_up.now_ms += ms;
    made_up.waits = true;
}

void time_stall(uint64_t ms)
{
    assert(!made_up.waits);
    made_up.now_ms += ms;
}

void time_reset(void)
{
    made_up.timer = NULL;
    made_up.clock = NULL;
    made_up.waits = false;
}
