#include "base/error.h"

#include <stdio.h>
#include <string.h>

void error_set(struct error *e, int code, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    e->code = code;
    vsnprintf(e->text, sizeof e->text, format, ap);
    va_end(ap);
}

/* Appends ": tail" to the text. */
static void append(struct error *e, const char *tail)
{
    size_t n = strlen(e->text);
    snprintf(e->text + n, sizeof e->text - n, ": %s", tail);
}

void error_errno(struct error *e, int code, const char *format, ...)
{
    char buf[128];
    va_list ap;
    va_start(ap, format);
    e->code = code;
    vsnprintf(e->text, sizeof e->text, format, ap);
    va_end(ap);
    append(e, strerror_r(code, buf, sizeof buf)); /* GNU variant: safe with threads, returns text */
}

void error_prefix(struct error *e, const char *format, ...)
{
    char old[sizeof e->text]; /* a copy: vsnprintf() must not read what it overwrites */
    va_list ap;
    memcpy(old, e->text, sizeof old);
    va_start(ap, format);
    vsnprintf(e->text, sizeof e->text, format, ap);
    va_end(ap);
    append(e, old);
}
