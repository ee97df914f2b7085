#include "app/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define PATIENCE_S 1 /* for a change of state, if the queue of the socket is full */

static bool handed_over; /* another process is the service's main one */
static bool complained;

/* The address in NOTIFY_SOCKET: a path, or '@' and an abstract name. False: there is none. */
static bool find_socket(struct sockaddr_un *a, socklen_t *len)
{
    const char *name = getenv("NOTIFY_SOCKET");
    size_t n = name ? strlen(name) : 0;
    if (n < 2 || n >= sizeof a->sun_path || (name[0] != '/' && name[0] != '@'))
        return false;
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(a->sun_path, name, n);
    if (name[0] == '@')
        a->sun_path[0] = 0;
    *len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    return true;
}

static bool send_text(const char *text, bool patient, const struct sockaddr_un *a, socklen_t len)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    int flags = MSG_NOSIGNAL | (patient ? 0 : MSG_DONTWAIT);
    bool ok =
        (!patient || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0) &&
        sendto(fd, text, strlen(text), flags, (const void *)a, len) >= 0;
    int code = errno;
    close(fd);
    errno = code;
    return ok;
}

static void notify(const char *text, bool patient)
{
    struct sockaddr_un a;
    socklen_t len;
    if (handed_over || !find_socket(&a, &len) || send_text(text, patient, &a, len) || complained)
        return;
    complained = true;
    log_event(LOG_WARN, "notify failed", strerror(errno));
}

void notify_ready(void)
{
    notify("READY=1", true);
}

void notify_reloading(void)
{
    char text[64];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
             (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
    notify(text, true);
}

void notify_stopping(void)
{
    notify("STOPPING=1", true);
}

void notify_main_pid(pid_t pid)
{
    char text[32];
    snprintf(text, sizeof text, "MAINPID=%ld", (long)pid);
    handed_over = false;
    notify(text, true);
    handed_over = pid != getpid();
}

void notify_silence(void)
{
    handed_over = true;
}

void notify_status(const char *text)
{
    char line[sizeof "STATUS=" + NOTIFY_TEXT_MAX];
    snprintf(line, sizeof line, "STATUS=%.*s", NOTIFY_TEXT_MAX - 1, text);
    notify(line, false);
}

/* ---- from a loop ---- */

static void on_watchdog(uv_timer_t *timer)
{
    notify("WATCHDOG=1", false);
}

static void on_status(uv_timer_t *timer)
{
    struct notify *n = timer->data;
    char text[NOTIFY_TEXT_MAX] = "";
    n->describe(n->arg, text, sizeof text);
    if (strcmp(text, n->last) == 0)
        return;
    memcpy(n->last, text, sizeof text);
    notify_status(text);
}

static bool read_number(const char *name, uint64_t *value)
{
    const char *text = getenv(name);
    char *end;
    if (text == NULL || text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return errno == 0 && *end == 0;
}

/* Milliseconds from one sign of life to the next; 0: none are wanted of this process. */
static uint64_t watchdog_interval(void)
{
    uint64_t usec, pid;
    if (!read_number("WATCHDOG_USEC", &usec) || usec == 0 ||
        (getenv("WATCHDOG_PID") &&
         (!read_number("WATCHDOG_PID", &pid) || pid != (uint64_t)getpid())))
        return 0;
    return usec / 2000 ? usec / 2000 : 1;
}

void notify_open(struct notify *n, uv_loop_t *loop, notify_describe_fn *describe, void *arg)
{
    struct sockaddr_un a;
    socklen_t len;
    *n = (struct notify){.describe = describe, .arg = arg, .is_open = find_socket(&a, &len)};
    if (!n->is_open)
        return;
    uint64_t interval = watchdog_interval();
    uv_timer_init(loop, &n->watchdog);
    uv_timer_init(loop, &n->status);
    n->status.data = n;
    if (interval)
        uv_timer_start(&n->watchdog, on_watchdog, 0, interval);
}

void notify_changed(struct notify *n)
{
    if (n->is_open && !uv_is_active((uv_handle_t *)&n->status))
        uv_timer_start(&n->status, on_status, NOTIFY_STATUS_MS, 0);
}

void notify_close(struct notify *n)
{
    if (!n->is_open)
        return;
    n->is_open = false;
    uv_close((uv_handle_t *)&n->watchdog, NULL);
    uv_close((uv_handle_t *)&n->status, NULL);
}
