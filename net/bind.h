/* Bound sockets for a listener, one a worker, sharing the port by SO_REUSEPORT among themselves and
 * with nobody else.
 *
 * Invariants: the first socket is bound without SO_REUSEPORT, so a port that any other process
 * holds is an error, even if that process shares it too; the option is set afterwards, before the
 * others. Ownership: the caller closes the descriptors. Threads: control. */
#pragma once
#include <stdbool.h>

#include "base/addr.h"
#include "base/error.h"

/* Fills fds[n] with non-blocking sockets bound to a, TCP_NODELAY set (accepted ones inherit it),
 * not listening yet. False: none is left open; the text is "bind 0.0.0.0:80: permission denied". */
bool bind_sockets(const struct addr *a, int *fds, unsigned n, struct error *e);
/* Begins to listen. first: of those that share the port; it must be the first to. False: the text
 * is "listen: address already in use". */
bool bind_listen(int fd, bool first, int backlog, struct error *e);
