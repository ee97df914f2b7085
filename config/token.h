/* Reads the bearer token of the admin interface (RFC 6750), or the password for a Redis, from its
 * file.
 * Ownership: the caller's. Threads: any; blocks. */
#pragma once
#include "base/error.h"

/* The path of such a file: relative to the directory of config_file, unless it begins with '/'. The
 * caller frees it. */
char *token_path(const char *config_file, const char *token_file);
/* Returns the token, without white space at both ends; the caller frees it. token_file is as in
 * token_path(). NULL: *e says why. */
char *token_load(const char *config_file, const char *token_file, struct error *e);
