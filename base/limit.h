/* The limit of open descriptors (RLIMIT_NOFILE) of this process and those it starts.
 *
 * What for: a connection needs one descriptor, a proxied one two; the soft limit that a process is
 * born with, often 1024, is only a default.
 * Threads: the limit is the process's; call it before threads open descriptors. */
#pragma once
#include <stdbool.h>

#include "base/error.h"

/* Raises the soft limit to the hard one. False: the limit is what it was, and the error says why.
 */
bool limit_raise_descriptors(struct error *e);
