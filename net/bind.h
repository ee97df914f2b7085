/* Binds the sockets of a listener, one for each worker.
 *
 * TCP: the sockets share the port by SO_REUSEPORT with each other, but with no other process. The
 * first one is bound without the option; that fails if any other process holds the port, even one
 * that uses SO_REUSEPORT itself. The option is set after that bind() and before the other sockets
 * are bound. An IPv6 socket also accepts IPv4 where its address allows it ([::]), whatever the
 * default of the system is.
 *
 * Unix: one socket, duplicated for each worker. docs/operations.md, Files of Unix sockets.
 *
 *   lock PATH.lock ---- another process holds it ----------------> address in use
 *     |
 *   does PATH exist? -- as another kind of file -----------------> error, the file stays
 *     |       '-------- as a socket: connect() -- accepted ------> address in use
 *     |                       '-- refused: no process serves it -> remove PATH
 *   bind()
 *
 * The lock is held until bind_release(). It is needed for two reasons. A socket that is bound but
 * does not listen yet refuses connections just as one without a process does. And of two processes
 * that find the same stale file, the slower one would remove the new socket of the faster one. With
 * the lock, exactly one of several processes that start at the same time gets the path and keeps
 * it. The kernel releases the lock with the process; an empty PATH.lock that remains then has no
 * effect. A program that does not know the lock can only interfere between the refused connect()
 * and the removal.
 *
 * Standing by: a socket can be bound and refuse clients, and listen when its time has come.
 *
 *   bind_ahead() --> bind_listen() <--> bind_silence()
 *
 * While it is silent no other process can bind the port, but for one of the same user that shares
 * it. A silent socket of a path can't listen any more: bind_renew() puts another one in its place.
 *
 * Ownership: the caller closes the descriptors and releases the claim. Threads: control. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

#include "base/addr.h"
#include "base/error.h"

#define BIND_BACKLOG 4096 /* for bind_listen(); the kernel cuts it to net.core.somaxconn */

/* The files that a listener on a unix socket has created. {0}: none. */
struct bind_claim {
    const struct addr *at; /* the caller's address; NULL: nothing is claimed */
    int fd;    /* a duplicate of the socket: while it is open, its inode is not reused */
    int lock;  /* PATH.lock, open and locked */
    dev_t dev; /* identify the file of the socket, so that no other is removed */
    ino_t ino;
    bool lent; /* another process has the same claim: the files are its business */
};

/* Fills fds[n] with non-blocking sockets that are bound to *a but do not listen yet. TCP sockets
 * have TCP_NODELAY set, which accepted connections inherit. The file of a unix socket has the mode
 * 0777 less the umask. True: the caller owns the descriptors and must release *claim; *a must
 * outlive the claim. False: no descriptor is open, nothing is claimed, and *e is for example "bind
 * 0.0.0.0:80: permission denied". */
bool bind_sockets(const struct addr *a, int *fds, unsigned n, struct bind_claim *claim,
                  struct error *e);
/* The same, and the machine need not have the address yet. */
bool bind_ahead(const struct addr *a, int *fds, unsigned n, struct bind_claim *claim,
                struct error *e);
/* More sockets for a TCP port that sockets share already, as bind_sockets() makes them or systemd
 * with ReusePort=; of another process of this user, too. False: that can't be, and none is open. */
bool bind_further(const struct addr *a, int *fds, unsigned n);
/* Makes a socket listen; one that does already, because it was given to this process, stays as it
 * is. first: it is fds[0] of those that share a port; it must listen before the others do. False:
 * *e is for example "listen: address already in use". */
bool bind_listen(int fd, bool first, int backlog, struct error *e);
/* Whether it listens. */
bool bind_listens(int fd);
/* Some time before bind_silence(): a TCP socket that listens does not hear who connects from now
 * on; only handshakes that have begun come to their end. So nobody has connected when it is
 * silenced, to be reset. TCP asks again after a second. Does nothing to a unix socket. Any thread.
 */
void bind_deafen(int fd);
/* A TCP socket refuses whoever connects from now on, and keeps its port, unless that was 0 when it
 * was bound; what is in its queue is reset. Does nothing to a unix socket. Any thread. */
void bind_silence(int fd);
/* Before bind_listen(): undoes for all sockets of a TCP port what keeps others from it. */
void bind_waken(const int *fds, unsigned n);
/* Puts a new unix socket, which does not listen, in the place of the one at the path: clients are
 * refused. The old socket is closed here, with fds[n]; what it has queued is for those who have
 * duplicates of it. False: *e says why, and all is as before. */
bool bind_renew(int *fds, unsigned n, struct bind_claim *claim, struct error *e);
/* Removes the file of the socket, unless another file has replaced it, and the lock, so that
 * another process can bind the path. Connections are not affected. If it is lent, the
 * files stay, and so does the lock while the other process has it. Does nothing with an empty
 * claim, as it is after the first call. False: a file could not be removed; the claim is empty
 * nevertheless. */
bool bind_release(struct bind_claim *claim, struct error *e);
