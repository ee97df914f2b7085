#include "app/upgrade.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/notify.h"
#include "app/program.h"
#include "app/takeover.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"

#define KILL_MS 5000 /* how long a process that was asked to end may take */
#define END_MS 1000  /* from the end of its line to its own */

extern char **environ;

enum upgrade_state {
    UPGRADE_IDLE,
    UPGRADE_HOLDING,
    UPGRADE_STARTING,
    UPGRADE_FAILING,
    UPGRADE_DONE,
    UPGRADE_STOPPED,
};

struct upgrade {
    uv_loop_t *loop;
    const struct upgrade_ops *ops;
    void *arg;
    enum upgrade_state state;
    uv_timer_t timer;    /* STARTING: until the new process is given up; STOPPED: is killed */
    uint64_t timeout_ms; /* of this upgrade */
    uint64_t generation; /* that the new process begins with */
    admin_done_fn *done; /* NULL: nobody waits */
    void *done_arg;
    struct child *child; /* NULL: no new process is waited for */
    const char *why;     /* FAILING: why it was killed; NULL: it ended by itself */
    bool is_silent;      /* STARTING: the line is closed */
    bool closing;
};

/* A new process, until both handles are closed. */
struct child {
    struct upgrade *upgrade; /* NULL: what becomes of it is of no interest any more */
    uv_process_t process;
    uv_pipe_t line;
    unsigned nopen;                   /* handles */
    char word[sizeof TAKEOVER_READY]; /* what it says */
    size_t n;                         /* bytes of it that have come */
};

/* ---- answers ---- */

static void answer(struct upgrade *u, int status, json_t *document)
{
    admin_done_fn *done = u->done;
    u->done = NULL;
    if (done)
        done(u->done_arg, status, document);
    else
        json_decref(document);
}

static json_t *tell_error(const char *what)
{
    return json_pack("{s:s}", "error", what);
}

/* ---- the end of a child ---- */

static void on_handle_closed(uv_handle_t *h)
{
    struct child *c = h->data;
    if (--c->nopen == 0)
        free(c);
}

static void close_child(struct child *c)
{
    uv_close((uv_handle_t *)&c->process, on_handle_closed);
    uv_close((uv_handle_t *)&c->line, on_handle_closed);
}

static void on_timer_closed(uv_handle_t *h)
{
    free(h->data);
}

/* The end of a child is waited for. */
static void close_timer(struct upgrade *u)
{
    if (u->closing && u->child == NULL)
        uv_close((uv_handle_t *)&u->timer, on_timer_closed);
}

static void failed(struct upgrade *u, const char *why)
{
    log_event(LOG_ERROR, "upgrade failed", why);
    u->state = UPGRADE_IDLE;
    u->ops->on_failed(u->arg);
    answer(u, 500, tell_error(why));
}

static void describe_end(const struct upgrade *u, int64_t status, int signum, char *text,
                         size_t size)
{
    if (u->why)
        snprintf(text, size, "the new process %s, and was killed", u->why);
    else if (signum)
        snprintf(text, size, "the new process was ended by signal %d (%s) before it was ready",
                 signum, strsignal(signum));
    else
        snprintf(text, size, "the new process ended with status %" PRId64 " before it was ready%s",
                 status, status ? ", stderr has its reasons" : "");
}

static void on_end(uv_process_t *process, int64_t status, int signum)
{
    struct child *c = process->data;
    struct upgrade *u = c->upgrade;
    char text[256];
    close_child(c);
    u->child = NULL;
    uv_timer_stop(&u->timer);
    if (u->state == UPGRADE_STOPPED) {
        close_timer(u);
        return;
    }
    describe_end(u, status, signum, text, sizeof text);
    failed(u, text);
}

/* It is gone when on_end() comes. */
static void kill_child(struct upgrade *u, int signum)
{
    if (u->child)
        uv_process_kill(&u->child->process, signum);
}

/* ---- a child that starts ---- */

static void give_up(struct upgrade *u, const char *why)
{
    u->state = UPGRADE_FAILING;
    u->why = why;
    kill_child(u, SIGKILL);
}

static void on_late(uv_timer_t *timer)
{
    struct upgrade *u = timer->data;
    if (u->state == UPGRADE_STARTING && u->is_silent)
        give_up(u, "has closed its line to this one");
    else if (u->state == UPGRADE_STARTING)
        give_up(u, "was not ready in time");
    else
        kill_child(u, SIGKILL);
}

static void succeeded(struct upgrade *u)
{
    char go[] = TAKEOVER_GO;
    struct child *c = u->child;
    int pid = uv_process_get_pid(&c->process);
    uv_buf_t word = uv_buf_init(go, sizeof go - 1);
    struct log_line line;
    u->state = UPGRADE_DONE;
    uv_timer_stop(&u->timer);
    notify_main_pid(pid);
    uv_try_write((uv_stream_t *)&c->line, &word, 1); /* if it fails, the new one sees the end */
    close_child(c);
    u->child = NULL;
    if (log_begin(&line, LOG_INFO, "handed over")) {
        log_u64(&line, "pid", (uint64_t)pid);
        log_end(&line);
    }
    answer(u, 200, json_pack("{s:i, s:I}", "pid", pid, "generation", (json_int_t)u->generation));
    u->ops->on_ready(u->arg, pid);
}

static void on_room(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct child *c = h->data;
    *buf = uv_buf_init(c->word + c->n, (unsigned)(sizeof c->word - c->n));
}

/* Anything but the word is the end of it. */
static void on_word(uv_stream_t *line, ssize_t n, const uv_buf_t *buf)
{
    static const char ready[] = TAKEOVER_READY;
    struct child *c = line->data;
    struct upgrade *u = c->upgrade;
    c->n += n > 0 ? (size_t)n : 0;
    bool fits = n >= 0 && c->n < sizeof ready && memcmp(c->word, ready, c->n) == 0;
    if (u->state == UPGRADE_STARTING && fits && c->n == sizeof ready - 1) {
        succeeded(u);
    } else if (!fits) {
        uv_read_stop(line);
        if (u->state == UPGRADE_STARTING && n >= 0)
            give_up(u, "said what this one does not understand");
        else if (u->state == UPGRADE_STARTING) /* mostly it has ended, and on_end() tells how */
            uv_timer_start(&u->timer, on_late, END_MS, 0);
        u->is_silent = true;
    }
}

/* ---- starting one ---- */

static bool open_line(struct child *c, uv_loop_t *loop, int *theirs, struct error *e)
{
    int ends[2];
    int r = uv_pipe_init(loop, &c->line, 0);
    assert(r == 0);
    c->line.data = c;
    c->nopen++;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0) {
        error_errno(e, errno, "a line to the new process");
        return false;
    }
    *theirs = ends[1];
    r = uv_pipe_open(&c->line, ends[0]);
    if (r < 0)
        close(ends[0]);
    else
        r = uv_read_start((uv_stream_t *)&c->line, on_room, on_word);
    if (r < 0)
        error_set(e, -r, "a line to the new process: %s", uv_strerror(r));
    return r == 0;
}

/* This process's environment, and who it is. Strings are this process's but for the last. */
static char **environment(char own[32])
{
    size_t n = 0;
    while (environ[n])
        n++;
    char **list = mem_zalloc_array(n + 2, sizeof *list);
    memcpy(list, environ, n * sizeof *list);
    snprintf(own, 32, TAKEOVER_VARIABLE "=%ld", (long)getpid());
    list[n] = own;
    return list;
}

/* theirs, document, and the draft's: the descriptors from HANDOVER_LINE on. */
static int spawn(struct child *c, uv_loop_t *loop, const struct handover_draft *d, int theirs,
                 int document)
{
    char own[32];
    unsigned n = HANDOVER_FIRST + d->nfds;
    uv_stdio_container_t *stdio = mem_zalloc_array(n, sizeof *stdio);
    for (unsigned i = 0; i < n; i++) {
        stdio[i].flags = UV_INHERIT_FD;
        stdio[i].data.fd = i < HANDOVER_LINE        ? (int)i
                           : i == HANDOVER_LINE     ? theirs
                           : i == HANDOVER_DOCUMENT ? document
                                                    : d->fds[i - HANDOVER_FIRST];
    }
    char **env = environment(own);
    const uv_process_options_t o = {.exit_cb = on_end,
                                    .file = program_file(),
                                    .args = program_arguments(),
                                    .env = env,
                                    .stdio_count = (int)n,
                                    .stdio = stdio};
    c->process.data = c;
    c->nopen++; /* the handle is there also if that fails */
    int r = uv_spawn(loop, &c->process, &o);
    free(env);
    free(stdio);
    return r;
}

static bool start_child(struct upgrade *u, const struct handover_draft *d, int document,
                        struct error *e)
{
    struct child *c = mem_zalloc(sizeof *c);
    int theirs = -1;
    c->upgrade = u;
    bool ok = open_line(c, u->loop, &theirs, e);
    int r = ok ? spawn(c, u->loop, d, theirs, document) : 0;
    if (theirs >= 0)
        close(theirs);
    if (r < 0) {
        error_set(e, -r, "start %s: %s", program_file(), uv_strerror(r));
        ok = false;
    }
    if (ok) {
        u->child = c;
        return true;
    }
    if (c->nopen == 2)
        uv_close((uv_handle_t *)&c->process, on_handle_closed);
    uv_close((uv_handle_t *)&c->line, on_handle_closed);
    return false;
}

/* What this process has is only shared: nothing changes here. */
static bool start(struct upgrade *u, struct error *e)
{
    struct handover_draft d;
    bool ok = u->ops->collect(u->arg, &d, e);
    int document = ok ? handover_seal(&d, e) : -1;
    ok = document >= 0 && start_child(u, &d, document, e);
    if (document >= 0)
        close(document);
    u->generation = d.generation + 1;
    handover_draft_deinit(&d);
    return ok;
}

void upgrade_start(struct upgrade *u)
{
    struct error e;
    struct log_line line;
    assert(u->state == UPGRADE_HOLDING);
    u->why = NULL;
    u->is_silent = false;
    if (!start(u, &e)) {
        failed(u, e.text);
        return;
    }
    u->state = UPGRADE_STARTING;
    uv_update_time(u->loop); /* to make a document may take long */
    uv_timer_start(&u->timer, on_late, u->timeout_ms, 0);
    if (log_begin(&line, LOG_INFO, "upgrade")) {
        log_str(&line, "program", program_file());
        log_u64(&line, "pid", (uint64_t)uv_process_get_pid(&u->child->process));
        log_end(&line);
    }
}

/* ---- the interface ---- */

static void refuse(int status, const char *why, admin_done_fn *done, void *done_arg)
{
    log_event(LOG_WARN, "upgrade refused", why);
    if (done)
        done(done_arg, status, tell_error(why));
}

void upgrade_ask(struct upgrade *u, uint64_t timeout_ms, admin_done_fn *done, void *done_arg)
{
    if (u->state == UPGRADE_DONE || u->state == UPGRADE_STOPPED) {
        refuse(503, "the proxy stops", done, done_arg);
    } else if (u->state != UPGRADE_IDLE) {
        refuse(409, "another upgrade is under way", done, done_arg);
    } else if (program_file() == NULL) {
        refuse(409, "the name of this program is not known", done, done_arg);
    } else if (getpid() == 1) {
        /* what it started would end with it */
        refuse(409, "process 1 can't be replaced", done, done_arg);
    } else {
        u->state = UPGRADE_HOLDING;
        u->timeout_ms = timeout_ms;
        u->done = done;
        u->done_arg = done_arg;
        u->ops->hold(u->arg);
    }
}

void upgrade_stop(struct upgrade *u)
{
    if (u->state != UPGRADE_DONE)
        u->state = UPGRADE_STOPPED;
    if (u->child) {
        log_event(LOG_WARN, "upgrade failed", "the proxy stops");
        kill_child(u, SIGTERM); /* it may have accepted a client just now */
        uv_timer_start(&u->timer, on_late, KILL_MS, 0);
    }
    answer(u, 503, tell_error("the proxy stops"));
}

struct upgrade *upgrade_new(uv_loop_t *loop, const struct upgrade_ops *ops, void *arg,
                            int *uv_error)
{
    struct upgrade *u = mem_zalloc(sizeof *u);
    *uv_error = uv_timer_init(loop, &u->timer);
    if (*uv_error < 0) {
        free(u);
        return NULL;
    }
    u->timer.data = u;
    u->loop = loop;
    u->ops = ops;
    u->arg = arg;
    return u;
}

void upgrade_close(struct upgrade *u)
{
    assert(u->state == UPGRADE_DONE || u->state == UPGRADE_STOPPED);
    u->closing = true;
    close_timer(u);
}
