#include "bench/failover/process.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define LAST_LINES 10

void process_init(struct process *p, const char *name, const char *folder)
{
    size_t n = strlen(folder) + strlen(name) + sizeof "/.log";
    *p = (struct process){.name = mem_strdup(name), .output = mem_zalloc(n)};
    snprintf(p->output, n, "%s/%s.log", folder, name);
}

void process_deinit(struct process *p)
{
    assert(p->state != PROCESS_RUNNING && !p->closing);
    free(p->name);
    free(p->output);
    *p = (struct process){.state = PROCESS_NONE};
}

static void on_closed(uv_handle_t *h)
{
    struct process *p = h->data;
    p->closing = false;
}

static void on_exit_status(uv_process_t *h, int64_t exit_status, int term_signal)
{
    struct process *p = h->data;
    assert(p->state == PROCESS_RUNNING);
    p->state = PROCESS_ENDED;
    p->exit_status = exit_status;
    p->term_signal = term_signal;
    p->closing = true;
    uv_close((uv_handle_t *)h, on_closed);
}

/* uv_spawn() takes an array of char *; execvp() does not modify the strings. */
static char **modifiable(const char *const *argv)
{
    return (char **)(uintptr_t)argv;
}

bool process_start(struct process *p, uv_loop_t *loop, const char *const *argv, struct error *e)
{
    assert(p->state != PROCESS_RUNNING && !p->closing);
    /* Appended to, as one file has the output of all runs. */
    int fd = open(p->output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) {
        error_errno(e, errno, "%s", p->output);
        return false;
    }
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = fd},
        {.flags = UV_INHERIT_FD, .data.fd = fd},
    };
    uv_process_options_t o = {
        .exit_cb = on_exit_status,
        .file = argv[0],
        .args = modifiable(argv),
        .flags = UV_PROCESS_DETACHED,
        .stdio_count = 3,
        .stdio = stdio,
    };
    p->handle.data = p;
    int rc = uv_spawn(loop, &p->handle, &o);
    close(fd);
    if (rc == 0) {
        p->state = PROCESS_RUNNING;
        return true;
    }
    p->handle.data = p; /* uv_close() is needed even if uv_spawn() fails */
    p->closing = true;
    uv_close((uv_handle_t *)&p->handle, on_closed);
    error_set(e, -rc, "%s: %s", argv[0], uv_strerror(rc));
    return false;
}

bool process_running(const struct process *p)
{
    return p->state == PROCESS_RUNNING;
}

bool process_over(void *process)
{
    const struct process *p = process;
    return p->state != PROCESS_RUNNING && !p->closing;
}

bool process_signal(struct process *p, int number, struct error *e)
{
    if (p->state != PROCESS_RUNNING) {
        process_explain_end(p, e);
        return false;
    }
    /* The child leads a process group. After SIGKILL it cannot end its own children, so the whole
     * group is killed. */
    int rc = kill(number == SIGKILL ? -p->handle.pid : p->handle.pid, number);
    if (rc < 0)
        error_errno(e, errno, "%s: SIG%s", p->name, sigabbrev_np(number));
    return rc == 0;
}

/* ---- what it said ---- */

/* Reads the last bytes of a file, up to `size`. -1: it cannot be read. */
static ssize_t read_end(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    off_t end = lseek(fd, 0, SEEK_END);
    off_t from = end > (off_t)size ? end - (off_t)size : 0;
    ssize_t n = end < 0 ? -1 : pread(fd, out, size, from);
    close(fd);
    return n;
}

/* The index at which the last LAST_LINES lines of text[0, n) begin. */
static size_t begin_of_last_lines(const char *text, size_t n)
{
    unsigned lines = 0;
    size_t i = n;
    while (i > 0 && (text[i - 1] != '\n' || i == n || ++lines < LAST_LINES))
        i--;
    return i;
}

void process_last_words(const struct process *p, char *out, size_t size)
{
    assert(size > 0);
    ssize_t n = read_end(p->output, out, size - 1);
    size_t from = n > 0 ? begin_of_last_lines(out, (size_t)n) : 0;
    size_t len = n > 0 ? (size_t)n - from : 0;
    memmove(out, out + from, len);
    out[len] = 0;
}

void process_explain_end(const struct process *p, struct error *e)
{
    if (p->state == PROCESS_NONE)
        error_set(e, 0, "%s was not started", p->name);
    else if (p->term_signal)
        error_set(e, 0, "%s was ended by SIG%s", p->name, sigabbrev_np(p->term_signal));
    else
        error_set(e, 0, "%s ended with exit code %d", p->name, (int)p->exit_status);
}
