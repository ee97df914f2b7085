/* The text of a failure, passed up to the caller that can tell the user.
 *
 * What for: a function that can fail takes a `struct error *` as its last parameter and returns
 * bool (true: success) or a pointer (NULL: failure). It sets the error only on failure. Each caller
 * on the way up adds its context as a prefix: "listener web: bind 0.0.0.0:8080: address already in
 * use". The outermost caller logs the failure, once.
 * Invariants: text always ends with a NUL; what does not fit is cut off.
 * Ownership: the caller's memory, no heap. Threads: a plain value. */
#pragma once
#include <stdarg.h>

struct error {
    int code; /* an errno value, or 0 where none fits */
    char text[480];
};

/* Sets code and text. */
void error_set(struct error *e, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Sets code and the text "what: strerror(code)"; code is an errno value. */
void error_errno(struct error *e, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts "prefix: " before the text and keeps the code. The prefix must not be made of e->text. */
void error_prefix(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
