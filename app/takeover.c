#include "app/takeover.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

struct takeover {
    long from; /* the process before this one */
    struct handover handover;
    int line; /* -1: closed */
    uv_poll_t poll;
    bool waits; /* for the word: the handle is open */
    char word[sizeof TAKEOVER_GO];
    size_t n;
    void (*on_go)(void *arg);
    void *arg;
};

/* The process that made the other end of the line; 0: there is no line. */
static long peer_of(int fd)
{
    struct ucred c;
    socklen_t len = sizeof c;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len) == 0 && len == sizeof c ? c.pid : 0;
}

/* 0: this process was not started to take over. */
static long find_parent(void)
{
    const char *text = getenv(TAKEOVER_VARIABLE);
    char *end;
    if (text == NULL)
        return 0;
    errno = 0;
    long pid = strtol(text, &end, 10);
    bool is_number = text[0] >= '1' && text[0] <= '9' && *end == 0 && errno == 0;
    unsetenv(TAKEOVER_VARIABLE);
    return is_number && peer_of(HANDOVER_LINE) == pid ? pid : 0;
}

/* systemd wants signs of life of that process, which are this one's now. */
static void take_watchdog(long from)
{
    char is[24], will_be[24];
    const char *text = getenv("WATCHDOG_PID");
    snprintf(is, sizeof is, "%ld", from);
    snprintf(will_be, sizeof will_be, "%ld", (long)getpid());
    if (text && strcmp(text, is) == 0)
        setenv("WATCHDOG_PID", will_be, 1);
}

bool takeover_begin(struct takeover **t, struct inherited *in, struct error *e)
{
    long from = find_parent();
    *t = NULL;
    if (from == 0)
        return true;
    take_watchdog(from);
    struct takeover *new = mem_zalloc(sizeof *new);
    new->from = from;
    new->line = HANDOVER_LINE;
    int flags = fcntl(new->line, F_GETFL);
    bool ok = fcntl(new->line, F_SETFD, FD_CLOEXEC) == 0 && flags >= 0 &&
              fcntl(new->line, F_SETFL, flags | O_NONBLOCK) == 0;
    if (!ok)
        error_errno(e, errno, "the line to process %ld", from);
    ok = ok && handover_read(&new->handover, HANDOVER_DOCUMENT, in, e);
    close(HANDOVER_DOCUMENT);
    if (ok)
        *t = new;
    else
        takeover_free(new);
    return ok;
}

uint64_t takeover_generation(const struct takeover *t)
{
    return t ? t->handover.generation + 1 : 1;
}

const char *takeover_member(const struct takeover *t)
{
    return t ? handover_member(&t->handover) : NULL;
}

bool takeover_restore(struct takeover *t, struct snapshot *s, uint64_t now_ms, struct error *e)
{
    if (t == NULL)
        return true;
    bool ok = handover_restore(&t->handover, s, now_ms, e);
    handover_deinit(&t->handover);
    return ok;
}

static void close_line(struct takeover *t)
{
    if (t->line >= 0)
        close(t->line);
    t->line = -1;
}

static void log_end_of(const struct takeover *t, bool told)
{
    struct log_line l;
    if (!log_begin(&l, told ? LOG_INFO : LOG_WARN, "taken over"))
        return;
    log_u64(&l, "from", (uint64_t)t->from);
    if (!told)
        log_str(&l, "reason", "that process has gone before it had said all");
    log_end(&l);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    static const char go[] = TAKEOVER_GO;
    struct takeover *t = poll->data;
    ssize_t n = recv(t->line, t->word + t->n, sizeof go - 1 - t->n, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    t->n += n > 0 ? (size_t)n : 0;
    if (n > 0 && t->n < sizeof go - 1)
        return;
    bool told = t->n == sizeof go - 1 && memcmp(t->word, go, t->n) == 0;
    takeover_close(t);
    log_end_of(t, told);
    t->on_go(t->arg);
}

bool takeover_listen(struct takeover *t, uv_loop_t *loop, struct error *e)
{
    int r = uv_poll_init(loop, &t->poll, t->line);
    t->poll.data = t;
    t->waits = r == 0;
    if (r < 0)
        error_set(e, -r, "the line to process %ld: %s", t->from, uv_strerror(r));
    return r == 0;
}

/* That the line has ended is seen by on_readable(), too. */
void takeover_ready(struct takeover *t, void (*on_go)(void *arg), void *arg)
{
    static const char ready[] = TAKEOVER_READY;
    t->on_go = on_go;
    t->arg = arg;
    int r = uv_poll_start(&t->poll, UV_READABLE, on_readable);
    assert(r == 0); /* it only notes what to wait for */
    (void)r;
    if (send(t->line, ready, sizeof ready - 1, MSG_NOSIGNAL) < 0)
        log_event(LOG_WARN, "takeover", strerror(errno));
}

static void on_closed(uv_handle_t *h)
{
    close_line(h->data);
}

void takeover_close(struct takeover *t)
{
    if (t == NULL || !t->waits)
        return;
    t->waits = false;
    uv_close((uv_handle_t *)&t->poll, on_closed);
}

void takeover_free(struct takeover *t)
{
    if (t == NULL)
        return;
    close_line(t);
    handover_deinit(&t->handover);
    free(t);
}
