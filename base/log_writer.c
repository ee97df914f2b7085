#include "base/log_writer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define PIPE_ROOM (1024 * 1024) /* bytes that any process may ask for, as Linux comes */

/* ---- the queue; with the lock ---- */

/* Stands before each line in the queue. */
struct record {
    uint64_t missing; /* lines that were dropped between the one before and this one */
    uint64_t n;       /* bytes of the line */
};

static void queue_in(struct log_writer *w, const void *from, size_t n)
{
    size_t tail = (w->head + w->used) % LOG_WRITER_QUEUE, first = LOG_WRITER_QUEUE - tail;
    if (first > n)
        first = n;
    memcpy(w->queue + tail, from, first);
    memcpy(w->queue, (const char *)from + first, n - first);
    w->used += n;
}

static void queue_peek(const struct log_writer *w, void *to, size_t n)
{
    size_t first = LOG_WRITER_QUEUE - w->head;
    if (first > n)
        first = n;
    memcpy(to, w->queue + w->head, first);
    memcpy((char *)to + first, w->queue, n - first);
}

static void queue_out(struct log_writer *w, void *to, size_t n)
{
    queue_peek(w, to, n);
    w->head = (w->head + n) % LOG_WRITER_QUEUE;
    w->used -= n;
}

static bool queue_line(struct log_writer *w, const char *line, size_t n)
{
    const struct record r = {w->unsaid, n};
    if (sizeof r + n > LOG_WRITER_QUEUE - w->used)
        return false;
    queue_in(w, &r, sizeof r);
    queue_in(w, line, n);
    w->unsaid = 0;
    return true;
}

bool log_writer_put(struct log_writer *w, const char *line, size_t n)
{
    pthread_mutex_lock(&w->lock);
    bool taken = w->state != LOG_WRITER_OFF;
    bool queued = taken && w->state != LOG_WRITER_STUCK && queue_line(w, line, n);
    if (taken && !queued) {
        w->unsaid++;
        w->dropped++;
    }
    pthread_mutex_unlock(&w->lock);
    if (queued)
        pthread_cond_signal(&w->wake);
    return taken;
}

uint64_t log_writer_dropped(struct log_writer *w)
{
    pthread_mutex_lock(&w->lock);
    uint64_t n = w->dropped;
    pthread_mutex_unlock(&w->lock);
    return n;
}

/* ---- the thread ---- */

#define AHEAD (1 + LOG_WRITER_SAY_MAX) /* bytes before the lines of a batch */

/* What goes out in one write: [newline] [the line about missing ones] lines. */
struct batch {
    uint64_t missing; /* what that line tells; 0: there is none */
    size_t nlines;
    size_t end;
    char text[PIPE_BUF]; /* the lines begin at AHEAD, so that the others can be put before them */
};

/* Lines before which others are missing begin a batch, since the count is told at its beginning. */
static void take_lines(struct log_writer *w, struct batch *b)
{
    while (w->used > 0) {
        struct record r;
        queue_peek(w, &r, sizeof r);
        if (b->nlines > 0 && (r.missing > 0 || r.n > sizeof b->text - b->end))
            return;
        queue_out(w, &r, sizeof r);
        queue_out(w, b->text + b->end, r.n);
        b->missing += r.missing;
        b->end += r.n;
        b->nlines++;
    }
}

/* After a failure nothing is tried until there is a line: a thread that only had a count to tell
 * would try for ever. */
static bool has_work(const struct log_writer *w)
{
    return w->used > 0 || (!w->failed && w->missing + w->unsaid > 0);
}

/* Waits for work, and takes as much of it as fits. False: the thread is to end, and has said so. */
static bool next_batch(struct log_writer *w, struct batch *b)
{
    b->missing = b->nlines = 0;
    b->end = AHEAD;
    pthread_mutex_lock(&w->lock);
    while (!has_work(w) && w->state == LOG_WRITER_RUNNING)
        pthread_cond_wait(&w->wake, &w->lock);
    bool work = has_work(w) && w->state != LOG_WRITER_STUCK;
    if (work) {
        b->missing = w->missing;
        w->missing = 0;
        take_lines(w, b);
        if (b->nlines == 0) { /* nothing is queued, so that what was dropped last is next */
            b->missing += w->unsaid;
            w->unsaid = 0;
        }
    } else if (w->state == LOG_WRITER_STOPPING) {
        w->state = LOG_WRITER_OFF;
        pthread_cond_signal(&w->ended);
    }
    pthread_mutex_unlock(&w->lock);
    return work;
}

/* Whether a write that failed is worth another try. A descriptor that was inherited from another
 * process may be non-blocking, which is not ours to change: waiting is done here, then. */
static bool may_write_again(int fd)
{
    if (errno == EINTR)
        return true;
    if (errno != EAGAIN)
        return false;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, -1) >= 0 || errno == EINTR;
}

/* Returns how many of the n bytes were written; fewer only after a failure. */
static size_t write_all(int fd, const char *p, size_t n)
{
    size_t off = 0;
    while (off < n) {
        ssize_t r = write(fd, p + off, n - off);
        if (r > 0)
            off += (size_t)r;
        else if (r == 0 || !may_write_again(fd))
            break;
    }
    return off;
}

/* What of a batch was not written is counted. `written` are bytes from `from` on. */
static void count_lost(struct log_writer *w, const struct batch *b, size_t from, size_t written)
{
    size_t whole = 0;
    for (size_t i = from; i < from + written; i++)
        whole += b->text[i] == '\n';
    bool said = b->missing > 0 && whole > 0;
    size_t lost = b->nlines - (said ? whole - 1 : whole);
    pthread_mutex_lock(&w->lock);
    w->failed = true;
    w->dropped += lost;
    w->missing += lost + (said ? 0 : b->missing);
    pthread_mutex_unlock(&w->lock);
}

static void note_success(struct log_writer *w)
{
    pthread_mutex_lock(&w->lock);
    w->failed = false;
    pthread_mutex_unlock(&w->lock);
}

/* *torn: the last write ended within a line. */
static void write_batch(struct log_writer *w, struct batch *b, bool *torn)
{
    size_t from = AHEAD;
    if (b->missing > 0) {
        char line[LOG_WRITER_SAY_MAX];
        size_t n = w->say(line, b->missing);
        from -= n;
        memcpy(b->text + from, line, n);
    }
    size_t begin = from - *torn;
    if (*torn)
        b->text[begin] = '\n';
    size_t n = write_all(w->fd, b->text + begin, b->end - begin);
    if (n > 0)
        *torn = b->text[begin + n - 1] != '\n';
    if (n == b->end - begin)
        note_success(w);
    else
        count_lost(w, b, from, n > from - begin ? n - (from - begin) : 0);
}

static void *run(void *arg)
{
    struct log_writer *w = arg;
    struct batch b;
    bool torn = false;
    while (next_batch(w, &b))
        write_batch(w, &b, &torn);
    return NULL;
}

/* ---- start and stop ---- */

bool log_writer_start(struct log_writer *w, struct error *e)
{
    sigset_t all, before;
    pthread_mutex_lock(&w->lock);
    int r = 0;
    if (w->state == LOG_WRITER_OFF) {
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&w->thread, NULL, run, w);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (r == 0)
            w->state = LOG_WRITER_RUNNING;
    }
    pthread_mutex_unlock(&w->lock);
    if (r != 0)
        error_errno(e, r, "log thread");
    return r == 0;
}

/* With the lock, which the wait gives back meanwhile. */
static void wait_for_end(struct log_writer *w, uint64_t until_ns)
{
    const struct timespec until = {(time_t)(until_ns / 1000000000), (long)(until_ns % 1000000000)};
    int r = 0;
    while (w->state == LOG_WRITER_STOPPING && r == 0)
        r = pthread_cond_clockwait(&w->ended, &w->lock, CLOCK_MONOTONIC, &until);
}

/* Its reader gets what is in a pipe even after this process has ended, so that the last lines of a
 * process that nobody reads at the moment are not lost. The thread need not wait any more then. */
static void widen_pipe(int fd)
{
    int size = fcntl(fd, F_GETPIPE_SZ);
    if (size >= 0 && size < PIPE_ROOM)
        (void)fcntl(fd, F_SETPIPE_SZ, PIPE_ROOM);
}

bool log_writer_stop(struct log_writer *w, unsigned wait_ms)
{
    uint64_t now = clock_now_ns(), wait_ns = (uint64_t)wait_ms * 1000000;
    pthread_mutex_lock(&w->lock);
    if (w->state != LOG_WRITER_RUNNING) {
        bool off = w->state == LOG_WRITER_OFF;
        pthread_mutex_unlock(&w->lock);
        return off;
    }
    w->state = LOG_WRITER_STOPPING;
    w->failed = false; /* a count that could not be told yet gets another try */
    pthread_cond_signal(&w->wake);
    wait_for_end(w, now + (wait_ms < 1000 ? wait_ns / 10 : 100000000));
    if (w->state == LOG_WRITER_STOPPING) {
        pthread_mutex_unlock(&w->lock);
        widen_pipe(w->fd);
        pthread_mutex_lock(&w->lock);
        wait_for_end(w, now + wait_ns);
    }
    bool ended = w->state == LOG_WRITER_OFF;
    if (!ended)
        w->state = LOG_WRITER_STUCK;
    pthread_mutex_unlock(&w->lock);
    if (ended)
        pthread_join(w->thread, NULL);
    else
        pthread_detach(w->thread);
    return ended;
}
