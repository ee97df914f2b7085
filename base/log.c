#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log_writer.h"

#define LAST_WORDS_MS 1000

/* Relaxed: which lines of other threads a change of the level still affects does not matter. */
static _Atomic int threshold = LOG_INFO;

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

/* Kept free for the end of a line: "..." and a newline. */
#define TAIL 5

/* Appends as much as there is room for; log_end() marks a line that was cut off. */
static void put(struct log_line *l, const char *p, size_t n)
{
    size_t room = LOG_LINE_MAX - TAIL - l->n;
    if (n > room)
        n = room;
    memcpy(l->text + l->n, p, n);
    l->n += n;
}

/* True if a value needs no quotes in logfmt. */
static bool plain(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c <= ' ' || c >= 127 || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return n > 0;
}

/* Escapes what could end the quotes or the line, and control characters, which can change the
 * settings of the reader's terminal. Bytes above ASCII stay: they are mostly UTF-8. */
static void put_escaped(struct log_line *l, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        char hex[5];
        if (c == '"' || c == '\\') {
            char esc[2] = {'\\', (char)c};
            put(l, esc, 2);
        } else if (c < ' ' || c == 127) {
            snprintf(hex, sizeof hex, "\\x%02x", c);
            put(l, hex, 4);
        } else {
            put(l, p + i, 1);
        }
    }
}

void log_strn(struct log_line *l, const char *key, const char *value, size_t n)
{
    if (l->n)
        put(l, " ", 1);
    put(l, key, strlen(key));
    put(l, "=", 1);
    if (plain(value, n)) {
        put(l, value, n);
        return;
    }
    put(l, "\"", 1);
    put_escaped(l, value, n);
    put(l, "\"", 1);
}

void log_str(struct log_line *l, const char *key, const char *value)
{
    log_strn(l, key, value, strlen(value));
}

void log_fmt(struct log_line *l, const char *key, const char *format, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    log_str(l, key, text);
}

void log_u64(struct log_line *l, const char *key, uint64_t value)
{
    log_fmt(l, key, "%llu", (unsigned long long)value);
}

void log_share(struct log_line *l, const char *key, double share)
{
    log_fmt(l, key, "%.4f%%", share * 100);
}

static void begin(struct log_line *l, enum log_level level, const char *event)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    /* UTC, so that logs of several hosts can be merged and no hour occurs twice a year */
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t n = strftime(l->text, 64, "time=%Y-%m-%dT%H:%M:%S", &tm);
    l->n = n + (size_t)snprintf(l->text + n, 16, ".%03dZ", (int)(now.tv_nsec / 1000000));
    log_str(l, "level", names[level]);
    log_str(l, "event", event);
}

bool log_begin(struct log_line *l, enum log_level level, const char *event)
{
    if ((int)level < atomic_load_explicit(&threshold, memory_order_relaxed))
        return false;
    begin(l, level, event);
    return true;
}

static void finish(struct log_line *l)
{
    /* A line that fills the buffer exactly is marked as well: the difference is not
     * worth a flag. */
    if (l->n >= LOG_LINE_MAX - TAIL) {
        memcpy(l->text + l->n, "...", 3);
        l->n += 3;
    }
    l->text[l->n++] = '\n';
}

/* ---- where lines go ---- */

/* Told whatever the level is: at the level `error`, it is errors that are missing. */
static size_t say_dropped(char *out, uint64_t count)
{
    struct log_line l;
    begin(&l, LOG_WARN, "log lines dropped");
    log_u64(&l, "count", count);
    finish(&l);
    memcpy(out, l.text, l.n);
    return l.n;
}

_Static_assert(LOG_LINE_MAX <= PIPE_BUF - LOG_WRITER_SAY_MAX - 1, "one write has a whole line");

static struct log_writer writer = LOG_WRITER_INIT(STDERR_FILENO, say_dropped);

static void write_directly(const char *p, size_t n)
{
    /* one write() for a whole line: lines of several threads do not mix */
    for (size_t off = 0; off < n;) {
        ssize_t w = write(STDERR_FILENO, p + off, n - off);
        if (w < 0 && errno != EINTR)
            return; /* stderr is closed or full, and there is no other place to report that */
        if (w > 0)
            off += (size_t)w;
    }
}

void log_end(struct log_line *l)
{
    finish(l);
    if (!log_writer_put(&writer, l->text, l->n))
        write_directly(l->text, l->n);
}

bool log_start(struct error *e)
{
    return log_writer_start(&writer, e);
}

void log_stop(unsigned wait_ms)
{
    (void)log_writer_stop(&writer, wait_ms);
}

uint64_t log_dropped(void)
{
    return log_writer_dropped(&writer);
}

void log_last_words(const char *text)
{
    char line[LOG_LINE_MAX];
    size_t n = strnlen(text, sizeof line);
    memcpy(line, text, n);
    line[n - 1] = '\n'; /* as it was, unless the text is cut off */
    if (log_writer_put(&writer, line, n)) {
        log_stop(LAST_WORDS_MS);
        return;
    }
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&p, 1, LAST_WORDS_MS) > 0)
        write_directly(line, n);
}

void log_event(enum log_level level, const char *event, const char *reason)
{
    struct log_line l;
    if (!log_begin(&l, level, event))
        return;
    log_str(&l, "reason", reason);
    log_end(&l);
}
