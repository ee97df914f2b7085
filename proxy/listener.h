/* A listening socket of one worker: accepts, and hands every connection over as a client, under the
 * generation that is current then. The struct is in ground.h.
 *
 * Invariants: it outlives generations; a worker's stop or listener_stop() ends it.
 * Ownership: part of the worker. Threads: one worker. */
#pragma once
#include "base/error.h"
#include "proxy/ground.h"

/* Takes over fd (bound). Worker 0 must be the first to start, see net/bind.h. `now` must be set.
 * False: the error says why, and fd is closed. */
bool listener_start(struct listener *l, int fd, struct error *e);
/* Takes what is queued, then stops listening. Again: nothing. */
void listener_stop(struct listener *l);
