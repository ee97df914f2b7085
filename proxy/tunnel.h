/* Upgrade tunnels: after a 101 that was asked for, bytes both ways until both ends have ended.
 *
 * Invariants: a FIN of one side is passed on to the other by itself (half-close is kept); the
 * listener's idle deadline runs while nothing moves; the server stays lent (active) all the time.
 * Ownership: the exchange lives on as the tunnel's state. Threads: one worker. */
#pragma once
#include "proxy/exchange.h"

/* The 101 is written; the session's bytes go to the upstream from now on. */
void tunnel_start(struct exchange *x);
size_t tunnel_from_client(struct exchange *x, char *data, size_t len);
size_t tunnel_from_upstream(struct exchange *x, char *data, size_t len);
void tunnel_client_eof(struct exchange *x);
void tunnel_upstream_eof(struct exchange *x);
/* What `source` feeds has drained. */
void tunnel_drained(struct exchange *x, struct conn *source);
