/* The descriptors 0, 1 and 2, which a process may be started without.
 *
 * What for: the next descriptors that a process opens take the lowest free numbers. A socket that
 * got the number 2 would be sent the log, and one that got 0 be read from as stdin.
 * Threads: the main one, before any other is started and any descriptor opened. */
#pragma once
#include <stdbool.h>

/* Opens /dev/null, for reading and writing, in the place of each one that is missing. False: that
 * was not possible, errno has the reason, and the process should not go on. */
bool streams_open_missing(void);
