/* Reads the bearer token of the admin interface (RFC 6750) from its file.
 * Ownership: the caller's. Threads: any; blocks. */
#pragma once
#include "base/error.h"

/* Returns the token, without white space at both ends; the caller frees it. token_file is relative
 * to the directory of config_file, unless it begins with '/'. NULL: *e says why. */
char *token_load(const char *config_file, const char *token_file, struct error *e);
