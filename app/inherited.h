/* Listening sockets that this process was given: by systemd at its start (socket activation,
 * sd_listen_fds(3)), or by the process that it replaces.
 *
 *   new --> read_environment, add... --> reserve for each listener --> take for each --> free
 *
 * What for: such a socket goes on to queue connections while no process of the service runs, so
 * that a restart refuses nobody. A listener that finds its sockets here binds none.
 * Which are a listener's: those bound to its address, where [::]:80 is 0.0.0.0:80, too, if it
 * accepts IPv4; if there are none, those whose name (FileDescriptorName=) is the listener's and
 * whose address is no other listener's. There may be several for an address (ReusePort=). Those of
 * the process before are its listeners' of that address, whatever they are bound to.
 * Invariants: each is a stream socket that is bound or listens, closed on exec and non-blocking.
 * Ownership: the descriptors in it are its own; inherited_take() hands out duplicates and closes
 * the originals.
 * Threads: control, or before threads exist; inherited_read_environment() changes the environment.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/error.h"
#include "config/config.h"
#include "net/bind.h"

struct inherited;

/* An empty set. */
struct inherited *inherited_new(void);
/* Adds what LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES say, and removes them from the environment,
 * as they are not for a child. Nothing, if they are for another process. False: they say what can't
 * be, or a descriptor is no listening socket: "inherited socket web (descriptor 4): not a stream
 * socket". */
bool inherited_read_environment(struct inherited *in, struct error *e);
/* Adds one and takes the descriptor over, also if that fails. */
bool inherited_add(struct inherited *in, int fd, const char *name, struct error *e);
/* The same for one that the process before this one had for a listener at *at. */
bool inherited_add_at(struct inherited *in, int fd, const struct addr *at, struct error *e);
/* The files of the unix socket that was added last were created by that process, which goes on to
 * have them: lock, which is taken over, is the descriptor of the lock, and dev and ino are the
 * socket's file. inherited_bind() gives them as a claim that is lent. */
void inherited_add_files(struct inherited *in, int lock, dev_t dev, ino_t ino);
/* Before anything is taken: sockets with the address of a listener or of the admin interface are
 * for that alone, whatever their names are. in NULL, here and below: there are no sockets. */
void inherited_reserve(struct inherited *in, const struct config *c);
/* How many sockets have not been taken. */
size_t inherited_count(const struct inherited *in);
/* How many of them are that listener's. */
size_t inherited_matching(const struct inherited *in, const struct addr *a, const char *name);

enum inherited_result {
    INHERITED_NONE,   /* no socket is that listener's */
    INHERITED_TAKEN,  /* fds[n] are the caller's */
    INHERITED_FAILED, /* *e says why; nothing is the caller's */
};

/* The sockets of one listener for n workers, as bind_sockets() gives them, except that they may
 * listen already. One socket is duplicated for each worker; workers then share its queue. Several
 * are dealt out in turn; if they are of the process before, and share their port, further ones are
 * bound, so that all workers get equal shares. More than n are an error, because what a socket
 * queues that nobody accepts from would wait forever. The file of a unix socket is not this
 * process's: there is nothing to release. */
enum inherited_result inherited_take(struct inherited *in, const struct addr *a, const char *name,
                                     int *fds, unsigned n, struct error *e);
/* What inherited_take() gives, or else bind_sockets(): see net/bind.h. The claim of a socket that
 * was taken is empty, or lent (inherited_add_files()). ahead: of a proxy that may have to stand by;
 * then bind_ahead(), and a socket that the service manager goes on to have is an error. */
bool inherited_bind(struct inherited *in, const struct addr *a, const char *name, bool ahead,
                    int *fds, unsigned n, struct bind_claim *claim, struct error *e);
/* Closes those that nobody took, with a warning for each in the log. */
void inherited_close_unused(struct inherited *in);
/* Closes what is left, without a word. */
void inherited_free(struct inherited *in);
