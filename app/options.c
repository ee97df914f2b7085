#include "app/options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "app/app.h"

int options_usage(const char *command, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    fprintf(stderr, "ringproxy %s: ", command);
    vfprintf(stderr, format, ap);
    fputs("\nTry 'ringproxy --help'.\n", stderr);
    va_end(ap);
    return APP_USAGE;
}

struct config *options_load(const char *file)
{
    struct config_errors errors;
    struct config *c = config_load(file, &errors);
    for (size_t i = 0; i < errors.count; i++)
        fprintf(stderr, "%s\n", errors.lines[i]);
    config_errors_free(&errors);
    return c;
}

const struct config_pool *options_pool(const char *command, const struct config *c,
                                       const char *name)
{
    if (name == NULL && c->npools == 1)
        return &c->pools[0];
    if (name == NULL) {
        options_usage(command, "%s has %zu pools, choose one with --pool", c->file, c->npools);
        return NULL;
    }
    for (size_t i = 0; i < c->npools; i++)
        if (strcmp(c->pools[i].name, name) == 0)
            return &c->pools[i];
    options_usage(command, "%s has no pool %s", c->file, name);
    return NULL;
}

/* Output to a pipe or file is buffered, so that it failed shows only here. */
bool options_flush(const char *command)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    fprintf(stderr, "ringproxy %s: stdout: %s\n", command, strerror(errno ? errno : EIO));
    return false;
}
