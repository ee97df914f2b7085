/* The admin interface's bearer token, from its file.
 * Ownership: the caller's. Threads: any. */
#pragma once
#include "base/error.h"

/* Reads token_file, which is relative to the directory of the configuration file, and cuts white
 * space off both ends. NULL: the error says why. The caller frees. */
char *token_load(const char *config_file, const char *token_file, struct error *e);
