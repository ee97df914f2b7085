/* What a service manager is told of this process: sd_notify(3), for units with Type=notify.
 *
 *   notify_ready() --> notify_reloading() --> notify_ready() --> ... --> notify_stopping()
 *
 * What for: systemd starts what depends on this service when its listeners are open, knows that a
 * reload has ended, shows a line of state in `systemctl status`, and ends a process whose control
 * loop does not turn any more.
 * The protocol is a datagram of a few lines to a socket named by the environment. libsystemd would
 * bring six libraries for that, and its sd_notify() blocks while nobody reads the socket, which
 * would stop health checks and failover. Here a change of state is tried for a second, all else is
 * dropped at once.
 * Invariants: without NOTIFY_SOCKET in the environment nothing is sent. A failure is logged, once;
 * the proxy goes on. After notify_main_pid() of another process nothing is sent for this one,
 * because systemd would take it for news of the other.
 * Ownership: a struct notify is the caller's, embedded. Threads: control, or before threads exist.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#define NOTIFY_TEXT_MAX 256
#define NOTIFY_STATUS_MS 100 /* changes of the state line within that time are one message */

/* The listeners are open, or a reload has ended, refused or not. */
void notify_ready(void);
/* A reload begins; notify_ready() ends it. With the time that Type=notify-reload needs. */
void notify_reloading(void);
/* A stop begins. */
void notify_stopping(void);
/* The process to follow from now on. Another one's: this process says nothing more; its own makes
 * it speak again. */
void notify_main_pid(pid_t pid);
/* Another process is the service's main one: nothing is said until notify_main_pid() of this one.
 */
void notify_silence(void);
/* The line of state; at most NOTIFY_TEXT_MAX - 1 bytes of it are sent. */
void notify_status(const char *text);

/* Writes the line of state. */
typedef void notify_describe_fn(void *arg, char *text, size_t size);

/* What is sent from a loop: the line of state, soon after it may have changed, and, if systemd asks
 * for it (WATCHDOG_USEC), a sign of life at half of the interval. A loop that does not turn sends
 * none. */
struct notify {
    uv_timer_t watchdog, status;
    notify_describe_fn *describe;
    void *arg;
    bool is_open;               /* there is somebody to notify, and the timers are initialised */
    char last[NOTIFY_TEXT_MAX]; /* the line that was sent last */
};

/* Begins with the signs of life. To be closed before the loop ends. */
void notify_open(struct notify *n, uv_loop_t *loop, notify_describe_fn *describe, void *arg);
/* What describe() says may have changed. Cheap: many changes at once make one call of describe(),
 * and one message if its text is a new one. */
void notify_changed(struct notify *n);
/* Ends both; the timers close with the loop. Does nothing before notify_open(). */
void notify_close(struct notify *n);
