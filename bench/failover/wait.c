#include "bench/failover/wait.h"

#include <assert.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

static const int numbers[WAIT_SIGNALS] = {SIGINT, SIGTERM, SIGHUP};

static void on_signal(uv_signal_t *s, int number)
{
    struct wait *w = s->data;
    w->interrupted = number;
}

/* The timer only makes the loop turn, so that conditions are evaluated. */
static void on_tick(uv_timer_t *t)
{
}

/* nsignals: how many of the signal handles are initialised. */
static void close_handles(struct wait *w, unsigned nsignals)
{
    uv_close((uv_handle_t *)&w->tick, NULL);
    for (unsigned i = 0; i < nsignals; i++)
        uv_close((uv_handle_t *)&w->signals[i], NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&w->loop);
    assert(rc == 0); /* every handle was closed */
    (void)rc;
}

bool wait_open(struct wait *w, struct error *e)
{
    *w = (struct wait){.interrupted = 0};
    int rc = uv_loop_init(&w->loop);
    if (rc < 0) {
        error_set(e, -rc, "event loop: %s", uv_strerror(rc));
        return false;
    }
    rc = uv_timer_init(&w->loop, &w->tick);
    assert(rc == 0);
    for (unsigned i = 0; i < WAIT_SIGNALS; i++) {
        rc = uv_signal_init(&w->loop, &w->signals[i]);
        w->signals[i].data = w;
        if (rc < 0 || (rc = uv_signal_start(&w->signals[i], on_signal, numbers[i])) < 0) {
            error_set(e, -rc, "signal %d: %s", numbers[i], uv_strerror(rc));
            close_handles(w, w->signals[i].type == UV_SIGNAL ? i + 1 : i);
            return false;
        }
    }
    return true;
}

void wait_close(struct wait *w)
{
    close_handles(w, WAIT_SIGNALS);
}

enum wait_result wait_until(struct wait *w, wait_condition_fn *condition, void *arg,
                            uint64_t time_ms)
{
    uint64_t end_ns = clock_now_ns() + time_ms * 1000000;
    enum wait_result r;
    int rc = uv_timer_start(&w->tick, on_tick, WAIT_TICK_MS, WAIT_TICK_MS);
    assert(rc == 0); /* uv_timer_start() fails only on a handle that is closing */
    (void)rc;
    for (;;) {
        /* Signals are checked before the condition: a signal may be the reason why it is true. */
        uv_run(&w->loop, UV_RUN_NOWAIT);
        if (w->interrupted)
            r = WAIT_INTERRUPTED;
        else if (condition(arg))
            r = WAIT_DONE;
        else if (clock_now_ns() >= end_ns)
            r = WAIT_LATE;
        else { /* sleeps until an event or the next tick */
            uv_run(&w->loop, UV_RUN_ONCE);
            continue;
        }
        break;
    }
    uv_timer_stop(&w->tick);
    return r;
}

void wait_forget_signal(struct wait *w)
{
    w->interrupted = 0;
}

void wait_explain(const struct wait *w, enum wait_result r, uint64_t time_ms, struct error *e,
                  const char *format, ...)
{
    char what[256];
    va_list ap;
    assert(r != WAIT_DONE);
    if (r == WAIT_INTERRUPTED) {
        error_set(e, 0, "interrupted by SIG%s", sigabbrev_np(w->interrupted));
        return;
    }
    va_start(ap, format);
    vsnprintf(what, sizeof what, format, ap);
    va_end(ap);
    error_set(e, 0, "%s: not within %.0f s", what, (double)time_ms / 1000);
}
