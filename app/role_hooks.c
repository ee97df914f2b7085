#include "app/role_hooks.h"

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"

#define WAITING_MOST 2

/* A run that was asked for. */
struct run {
    struct list link;
    enum role_hook which;
    uint64_t epoch;
    bool dropped;
    void (*on_end)(void *arg);
    void *arg;
};

struct role_hooks {
    uv_loop_t *loop;
    char *node;
    char **argv[2]; /* by enum role_hook; NULL: there is no such command */
    uint64_t most_ms;
    struct list waiting;
    struct run *run; /* under way; NULL: none is */
    bool killed, closing;
    uv_process_t process;
    uv_pipe_t pipe;   /* its stderr */
    uv_timer_t timer; /* kills it */
    unsigned nopen;   /* of process and pipe */
    char text[ROLE_HOOKS_TEXT + 1];
    size_t ntext;
    char drain[4096]; /* what is beyond that goes here */
};

static const char *const names[] = {"on_active", "on_standby"};
static const char *const roles[] = {"active", "standby"};

extern char **environ;

static void next(struct role_hooks *h);

/* ---- argument vectors and environment ---- */

static size_t count(char *const *list)
{
    size_t n = 0;
    while (list[n])
        n++;
    return n;
}

static char **copy(char *const *argv)
{
    if (argv == NULL || argv[0] == NULL)
        return NULL;
    size_t n = count(argv);
    char **out = mem_zalloc_array(n + 1, sizeof *out);
    for (size_t i = 0; i < n; i++)
        out[i] = mem_strdup(argv[i]);
    return out;
}

static void free_list(char **list)
{
    for (size_t i = 0; list && list[i]; i++)
        free(list[i]);
    free(list);
}

static void forget(struct role_hooks *h)
{
    for (int i = 0; i < 2; i++)
        free_list(h->argv[i]);
    free(h->node);
}

static char *variable(const char *name, const char *value)
{
    size_t n = strlen(name) + strlen(value) + 2;
    char *out = mem_zalloc(n);
    snprintf(out, n, "%s=%s", name, value);
    return out;
}

static bool is_own(const char *entry)
{
    return strncmp(entry, "RINGPROXY_ROLE=", 15) == 0 ||
           strncmp(entry, "RINGPROXY_NODE=", 15) == 0 ||
           strncmp(entry, "RINGPROXY_EPOCH=", 16) == 0;
}

/* That of this process, with the three. */
static char **environment(const struct role_hooks *h, const struct run *r)
{
    char epoch[32];
    char **out = mem_zalloc_array(count(environ) + 4, sizeof *out);
    size_t n = 0;
    for (char **e = environ; *e; e++)
        if (!is_own(*e))
            out[n++] = mem_strdup(*e);
    snprintf(epoch, sizeof epoch, "%" PRIu64, r->epoch);
    out[n++] = variable("RINGPROXY_ROLE", roles[r->which]);
    out[n++] = variable("RINGPROXY_NODE", h->node);
    out[n] = variable("RINGPROXY_EPOCH", epoch);
    return out;
}

/* ---- the end of a run ---- */

static void log_end_of(const struct role_hooks *h, int64_t status, int signal)
{
    struct log_line line;
    bool ok = status == 0 && signal == 0;
    if (!log_begin(&line, ok ? LOG_INFO : LOG_WARN, ok ? "command done" : "command failed"))
        return;
    log_str(&line, "command", names[h->run->which]);
    log_u64(&line, "epoch", h->run->epoch);
    if (h->killed)
        log_str(&line, "reason", "it took too long and was killed");
    else if (signal)
        log_u64(&line, "signal", (uint64_t)signal);
    else
        log_u64(&line, "status", (uint64_t)status);
    if (h->ntext)
        log_str(&line, "stderr", h->text);
    log_end(&line);
}

static void end_run(struct run *r)
{
    if (r->on_end)
        r->on_end(r->arg);
    free(r);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct role_hooks *h = handle->data;
    if (--h->nopen > 0)
        return;
    struct run *r = h->run;
    h->run = NULL;
    end_run(r);
    next(h);
}

static void close_handles(struct role_hooks *h)
{
    uv_timer_stop(&h->timer);
    uv_close((uv_handle_t *)&h->process, on_handle_closed);
    uv_close((uv_handle_t *)&h->pipe, on_handle_closed);
}

static void keep(struct role_hooks *h, const char *data, size_t n)
{
    size_t room = ROLE_HOOKS_TEXT - h->ntext;
    n = n < room ? n : room;
    memmove(h->text + h->ntext, data, n);
    h->ntext += n;
    h->text[h->ntext] = 0;
}

/* What the command wrote before it ended is there already. What it has started may have the pipe as
 * well and is not waited for, so this reads as much as a pipe holds and no more. */
static void read_rest(struct role_hooks *h)
{
    uv_os_fd_t fd;
    if (uv_fileno((uv_handle_t *)&h->pipe, &fd) < 0)
        return;
    for (int i = 0; i < 16; i++) {
        ssize_t n = read(fd, h->drain, sizeof h->drain);
        if (n <= 0)
            return;
        keep(h, h->drain, (size_t)n);
    }
}

static void on_exit_of(uv_process_t *process, int64_t status, int signal)
{
    struct role_hooks *h = process->data;
    read_rest(h);
    while (h->ntext && strchr("\r\n ", h->text[h->ntext - 1]))
        h->text[--h->ntext] = 0;
    log_end_of(h, status, signal);
    close_handles(h);
}

/* ---- a run ---- */

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct role_hooks *h = handle->data;
    *buf = uv_buf_init(h->drain, sizeof h->drain);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct role_hooks *h = stream->data;
    if (n > 0)
        keep(h, buf->base, (size_t)n);
    else if (n < 0)
        uv_read_stop(stream);
}

/* Its group, as uv_spawn() has made it the leader of one. */
static void on_too_long(uv_timer_t *timer)
{
    struct role_hooks *h = timer->data;
    h->killed = true;
    uv_kill(-h->process.pid, SIGKILL);
}

static int spawn(struct role_hooks *h, const struct run *r)
{
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_IGNORE},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&h->pipe}};
    char **argv = h->argv[r->which], **env = environment(h, r);
    const uv_process_options_t o = {.exit_cb = on_exit_of,
                                    .file = argv[0],
                                    .args = argv,
                                    .env = env,
                                    .flags = UV_PROCESS_DETACHED,
                                    .stdio_count = 3,
                                    .stdio = stdio};
    int code = uv_pipe_init(h->loop, &h->pipe, 0);
    assert(code == 0); /* it only fills the handle in */
    h->pipe.data = h->process.data = h;
    h->nopen = 2; /* the process's handle is there also if that fails */
    code = uv_spawn(h->loop, &h->process, &o);
    free_list(env);
    return code;
}

static void log_failed(const struct run *r, const char *file, int code)
{
    struct log_line line;
    if (!log_begin(&line, LOG_ERROR, "command failed"))
        return;
    log_str(&line, "command", names[r->which]);
    log_str(&line, "file", file);
    log_str(&line, "reason", uv_strerror(code));
    log_end(&line);
}

static void start(struct role_hooks *h, struct run *r)
{
    h->run = r;
    h->ntext = 0;
    h->text[0] = 0;
    h->killed = false;
    int code = spawn(h, r);
    if (code == 0) {
        uv_read_start((uv_stream_t *)&h->pipe, on_alloc, on_read);
        uv_timer_start(&h->timer, on_too_long, h->most_ms, 0);
        return;
    }
    log_failed(r, h->argv[r->which][0], code);
    close_handles(h);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct role_hooks *h = handle->data;
    forget(h);
    free(h);
}

static void next(struct role_hooks *h)
{
    if (h->run)
        return;
    while (!list_empty(&h->waiting)) {
        struct run *r = container_of(h->waiting.next, struct run, link);
        list_remove(&r->link);
        if (!r->dropped && role_hooks_has(h, r->which)) {
            start(h, r);
            return;
        }
        end_run(r);
    }
    if (h->closing)
        uv_close((uv_handle_t *)&h->timer, on_timer_closed);
}

/* ---- the interface ---- */

/* A command that runs does not need its vector any more. */
void role_hooks_set(struct role_hooks *h, const char *node, char *const *on_active,
                    char *const *on_standby)
{
    forget(h);
    h->node = mem_strdup(node);
    h->argv[ROLE_HOOK_ACTIVE] = copy(on_active);
    h->argv[ROLE_HOOK_STANDBY] = copy(on_standby);
}

struct role_hooks *role_hooks_new(uv_loop_t *loop, const char *node, char *const *on_active,
                                  char *const *on_standby)
{
    struct role_hooks *h = mem_zalloc(sizeof *h);
    h->loop = loop;
    role_hooks_set(h, node, on_active, on_standby);
    h->most_ms = ROLE_HOOKS_MOST_MS;
    list_init(&h->waiting);
    int r = uv_timer_init(loop, &h->timer);
    assert(r == 0); /* it only fills the handle in */
    (void)r;
    h->timer.data = h;
    return h;
}

void role_hooks_set_most(struct role_hooks *h, uint64_t ms)
{
    h->most_ms = ms;
}

bool role_hooks_has(const struct role_hooks *h, enum role_hook which)
{
    return h->argv[which] != NULL;
}

/* Those that wait, and have not been dropped. */
static unsigned nwaiting(const struct role_hooks *h)
{
    unsigned n = 0;
    list_foreach(l, &h->waiting) n += !container_of(l, struct run, link)->dropped;
    return n;
}

void role_hooks_run(struct role_hooks *h, enum role_hook which, uint64_t epoch,
                    void (*on_end)(void *arg), void *arg)
{
    if (!role_hooks_has(h, which) || h->closing)
        return;
    struct run *r = mem_zalloc(sizeof *r);
    *r = (struct run){.which = which, .epoch = epoch, .on_end = on_end, .arg = arg};
    if (nwaiting(h) >= WAITING_MOST)
        list_foreach(l, &h->waiting) container_of(l, struct run, link)->dropped = true;
    list_init(&r->link);
    list_push_back(&h->waiting, &r->link);
    next(h);
}

void role_hooks_close(struct role_hooks *h)
{
    h->closing = true;
    if (h->run)
        h->run->on_end = NULL;
    list_foreach(l, &h->waiting) container_of(l, struct run, link)->on_end = NULL;
    next(h);
}
