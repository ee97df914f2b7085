#include "app/boot_alarm.h"

#include <assert.h>
#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct boot_alarm *a = poll->data;
    uint64_t times;
    if (read(a->fd, &times, sizeof times) == (ssize_t)sizeof times)
        a->on_alarm(a->arg);
}

bool boot_alarm_init(struct boot_alarm *a, uv_loop_t *loop, void (*on_alarm)(void *arg), void *arg,
                     struct error *e)
{
    a->on_alarm = on_alarm;
    a->arg = arg;
    a->poll.data = a;
    a->fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (a->fd < 0) {
        error_errno(e, errno, "timerfd_create");
        return false;
    }
    int r = uv_poll_init(loop, &a->poll, a->fd);
    if (r == 0 && (r = uv_poll_start(&a->poll, UV_READABLE, on_readable)) == 0)
        return true;
    error_set(e, -r, "a timer: %s", uv_strerror(r));
    return false;
}

void boot_alarm_set(struct boot_alarm *a, uint64_t at_ms)
{
    const struct itimerspec t = {
        .it_value = {.tv_sec = (time_t)(at_ms / 1000), .tv_nsec = (long)(at_ms % 1000) * 1000000}};
    int r = timerfd_settime(a->fd, TFD_TIMER_ABSTIME, &t, NULL);
    assert(r == 0);
    (void)r;
}

static void on_closed(uv_handle_t *handle)
{
    struct boot_alarm *a = handle->data;
    close(a->fd);
}

void boot_alarm_close(struct boot_alarm *a)
{
    uv_close((uv_handle_t *)&a->poll, on_closed);
}
