/* The listening sockets that one worker has of an address: mostly one.
 *
 * What for: every connection that it accepts becomes a client, under the generation that is current
 * then. The structs are in ground.h.
 * Invariants: it outlives generations, and ends with listener_stop() when its address leaves the
 * configuration or the worker stops. Its memory stands until its acceptors have closed, and as long
 * as a generation has it, so also as long as one of its clients is left. Ownership: counted
 * (ground.h); it owns the sockets. Threads: one worker. */
#pragma once
#include "base/error.h"
#include "proxy/ground.h"

/* Takes over fd, a socket that listens, and accepts from it, too. `now` must be set. False: the
 * error says why, and fd is closed. */
bool listener_start(struct listener *l, int fd, struct error *e);
/* Accepts what is queued, then closes the sockets. A second call does nothing. */
void listener_stop(struct listener *l);
/* Its sockets of ports do not hear who connects from now on (bind_deafen()). */
void listener_deafen(struct listener *l);
/* As listener_stop(), but control goes on to have the sockets, and they refuse whoever connects
 * from then on (bind_silence()). */
void listener_silence(struct listener *l);
