/* What the commands have in common: `-c FILE`, messages about usage, output that fails.
 *
 * What for: all commands report the same mistakes in the same words.
 * Invariants: messages go to stderr, one line each; results are the commands' own, on stdout.
 * Ownership: a configuration that is loaded is the caller's.
 * Threads: the main thread alone. */
#pragma once
#include <stdbool.h>

#include "config/config.h"

/* Prints "ringproxy COMMAND: message" and a hint at --help. Returns APP_USAGE. */
int options_usage(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Loads a configuration. NULL: all its errors were printed, a line each. */
struct config *options_load(const char *file);
/* The pool of that name, or the only one if name is NULL. NULL: a message was printed. */
const struct config_pool *options_pool(const char *command, const struct config *c,
                                       const char *name);
/* Whether all of stdout was written. If not (a full disk, a closed pipe), a message was printed. */
bool options_flush(const char *command);
