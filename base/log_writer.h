/* Lines to a descriptor that nobody waits for: a bounded queue, and a thread that writes.
 *
 *   any thread --> queue --> the writer's thread --> write(2), which may take as long as it likes
 *                    |
 *                    +-- full: the line is dropped and counted, and the count is written in its
 *                        place as soon as the queue has come that far
 *
 * What for: a terminal that is held, a pipe whose reader has stopped or a full disk must not stop
 * the thread that has something to say.
 * Invariants: while the thread runs, each line is either written or counted, and never both, in the
 * order of log_writer_put(). The lock is never held while the descriptor is used, so that a put
 * waits for the copying of some lines at most. A write has whole lines and no more than PIPE_BUF
 * bytes, so that those to a pipe are atomic: no line there is torn, not even if the process ends
 * during the write. Where a write ends within a line (a full disk), the next one begins on a new
 * line.
 * Ownership: the caller's memory, which must stay until the process ends, since a thread that
 * waits for a reader cannot be ended. The descriptor is not closed.
 * Threads: any, but one at a time starts and stops. The thread blocks all signals. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define LOG_WRITER_QUEUE (256 * 1024) /* bytes: lines, and 16 bytes for each of them */
#define LOG_WRITER_SAY_MAX 127        /* of the line that tells a count */

enum log_writer_state {
    LOG_WRITER_OFF,      /* no thread: log_writer_put() takes nothing */
    LOG_WRITER_RUNNING,  /* the thread waits for lines, or writes some */
    LOG_WRITER_STOPPING, /* the thread ends as soon as nothing is left to be written */
    LOG_WRITER_STUCK,    /* the thread was given up: all lines are dropped and counted */
};

struct log_writer {
    int fd;
    /* Composes the line that tells of `count` missing ones, with its newline; returns its length,
     * LOG_WRITER_SAY_MAX at most. The thread calls it. */
    size_t (*say)(char *out, uint64_t count);
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;  /* for the thread: there is work */
    pthread_cond_t ended; /* for log_writer_stop() */
    /* All below is protected by the lock. */
    enum log_writer_state state;
    bool failed;       /* the last write failed: the next one waits for a line */
    uint64_t missing;  /* lines that are missing before the first one of the queue */
    uint64_t unsaid;   /* lines dropped since one was queued */
    uint64_t dropped;  /* all lines that were dropped, or could not be written */
    size_t head, used; /* the queue: where it begins, how many bytes it has */
    char queue[LOG_WRITER_QUEUE];
};

#define LOG_WRITER_INIT(fd, say)                                                          \
    {                                                                                     \
        (fd), (say), .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, \
                     .ended = PTHREAD_COND_INITIALIZER                                    \
    }

/* Starts the thread. False: it can't be started, and *e says why. To be called in the state
 * LOG_WRITER_OFF; in any other it does nothing. */
bool log_writer_start(struct log_writer *w, struct error *e);
/* Takes a line of n bytes, the last of which is its only newline; n is at most
 * PIPE_BUF - LOG_WRITER_SAY_MAX - 1. It is queued, or dropped and counted. False: there is no
 * thread, and the line was not taken. Never waits for the descriptor. */
bool log_writer_put(struct log_writer *w, const char *line, size_t n);
/* Waits until all that is queued is written, for wait_ms at most, and ends the thread. When a tenth
 * of a second, or of the time, is over, a pipe whose reader is behind is made large enough for the
 * rest. False: time was up; what is left is not written, or only a part of it. */
bool log_writer_stop(struct log_writer *w, unsigned wait_ms);
/* How many lines were dropped or could not be written. */
uint64_t log_writer_dropped(struct log_writer *w);
