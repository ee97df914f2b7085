/* What a failed assert() does, in place of the C library's: says so without waiting for whoever
 * reads stderr, then aborts. With a full pipe there the process would not end, and one of its
 * threads would be missing. The linker prefers this function, as it comes first. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

#ifdef __GLIBC__
void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function)
{
    char text[LOG_LINE_MAX];
    snprintf(text, sizeof text, "%s:%u: %s: Assertion `%s' failed.\n", file, line, function,
             assertion);
    log_last_words(text);
    abort();
}
#endif
