/* Bound sockets for a listener, one a worker.
 *
 * TCP: they share the port by SO_REUSEPORT among themselves and with nobody else. The first one is
 * bound without the option, so a port that any other process holds is an error, even if that
 * process shares it too; the option is set afterwards, before the others. An IPv6 socket takes IPv4
 * as well where its address allows it ([::]), whatever the system's default is.
 *
 * Unix: one socket, duplicated for each worker. The way to its path:
 *
 *   PATH.lock is locked         held by another: address in use
 *     |
 *   PATH is there?  -- no socket -------------> refused, never removed
 *     |     '-- socket: connect() -- answered -> address in use
 *     |              '-- refused: left behind by a process that is gone --> removed
 *   bind()
 *
 * The lock is held until bind_release(). It is needed because a socket that is bound and does not
 * listen yet looks like one that was left behind, and because of two that find the same stale file
 * the slower would else remove the socket of the faster. So of several that start at once, in
 * whatever way they meet, one gets the path and it keeps it. The kernel drops the lock with the
 * process; what stays of PATH.lock then is an empty file that hinders nobody. Programs that do not
 * know the lock could only come in between the refused connect() and the removal.
 *
 * Ownership: the caller closes the descriptors and releases the claim. Threads: control. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

#include "base/addr.h"
#include "base/error.h"

/* What a unix socket has in the file system. {0}: nothing. */
struct bind_claim {
    const struct addr *at; /* NULL: nothing is claimed */
    int fd;                /* the socket once more: while it is open no other file gets its inode */
    int lock;              /* PATH.lock, locked */
    dev_t dev;
    ino_t ino;
};

/* Fills fds[n] with non-blocking sockets bound to a, not listening yet; of TCP with TCP_NODELAY set
 * (accepted ones inherit it). The mode of a unix socket's file is what the umask leaves of 0777.
 * *claim is to be released, until then *a must stand. False: none is left open, nothing claimed;
 * the text is "bind 0.0.0.0:80: permission denied". */
bool bind_sockets(const struct addr *a, int *fds, unsigned n, struct bind_claim *claim,
                  struct error *e);
/* Begins to listen. first: of those that share the port; it must be the first to. False: the text
 * is "listen: address already in use". */
bool bind_listen(int fd, bool first, int backlog, struct error *e);
/* Removes the socket's file, if it is still ours, and the lock: the path is free for others, what
 * has connected already is not touched. Again, or with nothing claimed: nothing. False: a file
 * could not be removed (the claim is gone nevertheless). */
bool bind_release(struct bind_claim *claim, struct error *e);
