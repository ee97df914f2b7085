/* A load from its start to its end on the main thread: a line of progress, and Ctrl-C.
 *
 * The first SIGINT or SIGTERM ends the sending, what is on its way is waited for; the second breaks
 * it off. Threads: the main one. */
#pragma once
#include "bench/load/load.h"

/* progress: a line on stderr, written over once a second; without it nothing is printed. NULL: as
 * load_start(). */
struct load_result *run_load(const struct load_options *o, bool progress, struct error *e);
