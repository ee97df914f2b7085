/* A timer of a loop on CLOCK_BOOTTIME (base/boot_clock.h).
 *
 * What for: the end of a lease comes while the host sleeps, too; a timer of libuv would go off late
 * by the time that it slept.
 * Ownership: the caller's memory, until the loop has closed it. Threads: the loop's. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"

struct boot_alarm {
    uv_poll_t poll;
    int fd;
    void (*on_alarm)(void *arg);
    void *arg;
};

bool boot_alarm_init(struct boot_alarm *a, uv_loop_t *loop, void (*on_alarm)(void *arg), void *arg,
                     struct error *e);
/* Goes off once at that time, at once if it has passed. 0: never. Takes the place of the time that
 * was set before. */
void boot_alarm_set(struct boot_alarm *a, uint64_t at_ms);
void boot_alarm_close(struct boot_alarm *a);
