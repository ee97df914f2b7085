/* Runs a load from its start to its end on the main thread, with a line of progress and with
 * Ctrl-C.
 *
 * The first SIGINT or SIGTERM ends the sending, while requests in flight still have their time; the
 * second breaks them off. Threads: the main one. */
#pragma once
#include "bench/load/load.h"

/* progress: print a line on stderr and replace it once a second. NULL: as of load_start(). */
struct load_result *run_load(const struct load_options *o, bool progress, struct error *e);
