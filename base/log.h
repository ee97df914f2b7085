/* The event log: one line for each event, in logfmt, to stderr. docs/operations.md, The log.
 *
 *   time=2026-01-02T03:04:05.678Z level=info event=drained pool=cache backend=b1
 *
 * Use:  struct log_line l;
 *       if (log_begin(&l, LOG_INFO, "backend down")) {
 *           log_str(&l, "pool", pool->name);
 *           log_end(&l);
 *       }
 *
 * Invariants: values are quoted and escaped where necessary, so that bytes from the network cannot
 * forge a line. A line has at most LOG_LINE_MAX bytes; a longer one is cut off and ends with "...".
 * Between log_start() and log_stop() no caller waits for stderr: a thread of the log's own writes
 * (base/log_writer.h), and what does not fit its queue is dropped and counted. Before and after,
 * the caller itself writes each line, with one write(2).
 * Ownership: a line is in the caller's memory. Threads: any; the level is atomic. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

#define LOG_LINE_MAX 1024

struct log_line {
    size_t n;
    char text[LOG_LINE_MAX];
};

/* The lowest level that is written from now on; LOG_INFO at the start. */
void log_set_level(enum log_level level);
/* Begins a line. False if the level is below the configured one: the line must not be used. */
bool log_begin(struct log_line *l, enum log_level level, const char *event);
/* Each appends " key=value". Keys are constants of the program and are not escaped. */
void log_str(struct log_line *l, const char *key, const char *value);
void log_strn(struct log_line *l, const char *key, const char *value, size_t n);
void log_u64(struct log_line *l, const char *key, uint64_t value);
/* share (0 to 1) in per cent with four digits, e.g. share=20.0134% */
void log_share(struct log_line *l, const char *key, double share);
void log_fmt(struct log_line *l, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Queues the line, or writes it. Failures of the write are no business of the caller. */
void log_end(struct log_line *l);
/* A whole line with one value, `reason`. */
void log_event(enum log_level level, const char *event, const char *reason);

/* Starts the thread that writes. False: it can't be started, and *e says why; lines are written as
 * before. A child that fork() made has no such thread: it must not log before it calls exec. */
bool log_start(struct error *e);
/* Writes what is queued, for wait_ms at most, and ends the thread. If time is up the rest is lost,
 * and so are lines that are logged from now on: to write them would be to wait again. */
void log_stop(unsigned wait_ms);
/* How many lines since the start of the process were dropped or could not be written. */
uint64_t log_dropped(void);
/* For a process that ends at once because it can't go on: writes `text`, one line or several with
 * the last newline, behind what is queued, and waits a second for that at most. It allocates
 * nothing. Text beyond LOG_LINE_MAX bytes is cut off. */
void log_last_words(const char *text);
