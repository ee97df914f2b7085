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
 * forge a line. A line is one write(2) of at most LOG_LINE_MAX bytes; a longer one is cut off and
 * ends with "...".
 * Ownership: a line is in the caller's memory. Threads: any; the level is atomic. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
/* Writes the line. Failures of the write are ignored. */
void log_end(struct log_line *l);
/* A whole line with one value, `reason`. */
void log_event(enum log_level level, const char *event, const char *reason);
