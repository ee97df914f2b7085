#include "tests/lib/made_up_time.h"

#include <assert.h>
#include <uv.h>

static struct {
    uint64_t now_ms;
    uv_timer_t *timer; /* while it runs */
    uv_timer_cb on_timer;
    uint64_t due_ms;
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
    made_up.on_timer = cb;
    made_up.due_ms = made_up.now_ms + timeout;
    return 0;
}

uint64_t time_now(void)
{
    return made_up.now_ms;
}

void time_advance(uint64_t ms)
{
    made_up.now_ms += ms;
    while (made_up.timer && made_up.due_ms <= made_up.now_ms) {
        uv_timer_t *timer = made_up.timer;
        made_up.timer = NULL;
        if (!uv_is_closing((uv_handle_t *)timer))
            made_up.on_timer(timer);
    }
}

void time_reset(void)
{
    made_up.timer = NULL;
}
