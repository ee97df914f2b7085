/* What the commands have in common: `-c FILE`, messages, results that could not be written.
 * Threads: the main thread alone. */
#pragma once
#include <stdbool.h>

#include "config/config.h"

/* "ringproxy COMMAND: message" and a hint to the usage, on stderr. Returns APP_USAGE. */
int options_usage(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Loads a configuration. NULL: all its errors are on stderr, a line each. */
struct config *options_load(const char *file);
/* The pool of that name, or the only one if name is NULL. NULL: the message is on stderr. */
const struct config_pool *options_pool(const char *command, const struct config *c,
                                       const char *name);
/* Whether all of stdout was written; if not (a full disk, a closed pipe) the message is on stderr.
 */
bool options_flush(const char *command);
