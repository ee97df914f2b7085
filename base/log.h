/* The event log: one line an event, logfmt, to stderr.
 *
 *   time=2026-01-02T03:04:05.678Z level=info event="backend down" pool=cache backend=b1
 * reason="..."
 *
 * Use:  struct log_line l;
 *       if (log_begin(&l, LOG_INFO, "backend down")) {
 *           log_str(&l, "pool", pool->name);
 *           log_end(&l);
 *       }
 *
 * Invariants: values are quoted and escaped where they must be, so nothing from the network can
 * forge a line; a line is one write(2) and at most LOG_LINE_MAX bytes (cut with "..." beyond).
 * Threads: any; the level is an atomic, a line is on the caller's stack. */
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

void log_set_level(enum log_level level);
/* False if the level is not wanted: then nothing is to be done. */
bool log_begin(struct log_line *l, enum log_level level, const char *event);
void log_str(struct log_line *l, const char *key, const char *value);
void log_strn(struct log_line *l, const char *key, const char *value, size_t n);
void log_u64(struct log_line *l, const char *key, uint64_t value);
/* A share of 1 in per cent with four digits, e.g. share=20.0134% */
void log_share(struct log_line *l, const char *key, double share);
void log_fmt(struct log_line *l, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void log_end(struct log_line *l);
/* An event with nothing but one reason. */
void log_event(enum log_level level, const char *event, const char *reason);
