/* What went wrong, in words, handed up to whoever can say it to the user.
 *
 * A function that can fail takes a `struct error *` last and returns bool (true: done) or a
 * pointer (NULL: failed). Who knows more puts it in front: "listener web: bind 0.0.0.0:8080:
 * address already in use". Failures are logged once, at the top.
 *
 * Ownership: the caller's memory, no heap. Threads: a plain value. */
#pragma once
#include <stdarg.h>

struct error {
    int code; /* an errno value, or 0 where none fits */
    char text[480];
};

void error_set(struct error *e, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "what: strerror(code)" */
void error_errno(struct error *e, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts "prefix: " before the text; the end is cut if it does not fit. */
void error_prefix(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
