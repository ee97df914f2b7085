/* Runs a load from its start to its end on the main thread, with a line of progress and with
 * Ctrl-C.
 *
 * The first SIGINT or SIGTERM ends the sending, while requests in flight still have their time; the
 * second breaks them off. Threads: the main one. */
#pragma once
#include "bench/load/load.h"
#include "bench/load/targets.h"

/* Sets o->target to the address that is used, see targets.h. progress: print a line on stderr and
 * replace it once a second. NULL: as of load_start(). */
struct load_result *run_load(struct load_options *o, const struct targets *t, bool progress,
                             struct error *e);
