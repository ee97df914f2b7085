/* A listening socket of one worker: accepts, and hands every connection over as a client.
 *
 * Ownership: part of the worker. Threads: one worker. */
#pragma once
#include "proxy/worker.h"

/* Takes over fd (bound). Worker 0 must be the first to start, see net/bind.h. False: the error says
 * why, fd is closed, at the latest by listener_stop(). */
bool listener_start(struct worker_listener *wl, int fd, struct error *e);
/* Polls for connections again. */
void listener_resume(struct worker_listener *wl);
/* Takes what is queued, then stops listening. */
void listener_stop(struct worker_listener *wl);
