/* The listening sockets of the process, by address.
 *
 *   sockets_bind(config) --> sockets_listen() --> sockets_keep(config)     the configuration is
 * used
 *                       \-----------------------> sockets_forget()         it is not
 *
 * A proxy that stands by (sockets_stand_by()) has them bound, and silent:
 *
 *   sockets_listen(): bound, silent --> sockets_waken() --> listen --> sockets_begin_silence()
 *          ^                                                                   |
 *          '------------------------------------ sockets_silence() <-----------'   workers have
 * drained
 *
 * What for: a listener whose address stays keeps its sockets when the configuration changes, so no
 * client in their queues is lost. Each worker has one socket of each address; those of a TCP port
 * share it, those of a path are duplicates (net/bind.h). Where the process was given more than it
 * has workers, some workers have further ones.
 * Invariants: an address is either in use, or bound for a configuration that is being prepared
 * (fresh). A socket that a worker has closed goes on to queue connections while it is open here. So
 * it is closed here before the workers are told that its listener goes.
 * Ownership: the sockets in it, and the files of those with a path; workers have duplicates.
 * Threads: control. */
#pragma once
#include <stdbool.h>

#include "app/inherited.h"
#include "config/config.h"

struct sockets;

/* inherited: sockets that the process was given, which are used in place of new ones (NULL: none);
 * must outlive this. */
struct sockets *sockets_new(unsigned nworkers, struct inherited *inherited);
/* Closes all sockets. The files of those with a path are released, see sockets_release(). NULL is
 * fine. */
void sockets_free(struct sockets *s);

/* Binds the addresses of the configuration that have no socket yet; these are fresh from now on.
 * False: *e says why, for example "listener web: bind 0.0.0.0:80: permission denied", and nothing
 * has changed. */
bool sockets_bind(struct sockets *s, const struct config *c, struct error *e);
/* Before sockets_bind(), once: the machine need not have the addresses yet, and nothing listens
 * until sockets_waken(). */
void sockets_stand_by(struct sockets *s);
/* Before the first sockets_listen(): whether some that were handed over listen. Then all of them
 * are to, as without sockets_stand_by(). */
bool sockets_go_on(struct sockets *s);
/* Makes all that are in use listen, and those that come from now on. False: *e says why, and none
 * does. */
bool sockets_waken(struct sockets *s, struct error *e);
/* The workers are about to accept what is queued: clients of paths are refused from now on, those
 * of ports by each worker's socket when it has none left. */
void sockets_begin_silence(struct sockets *s);
/* The workers have done so: all refuse clients. */
void sockets_silence(struct sockets *s);
/* Makes the fresh ones listen; while all are silent it tries that, so that a conflict shows.
 * False: *e says why; sockets_forget() is due. */
bool sockets_listen(struct sockets *s, struct error *e);
/* The sockets of one worker for the listeners of the configuration, by their order. only_fresh: -1
 * for those that are in use. */
void sockets_of(const struct sockets *s, const struct config *c, unsigned worker, bool only_fresh,
                int *fds);
/* The nth further socket of that worker for a listener of the configuration, counted from 0; -1:
 * there is none. A fresh address that was bound has none. */
int sockets_further(const struct sockets *s, const struct config_listener *l, unsigned worker,
                    unsigned nth);
/* The configuration is in force: its fresh sockets are in use, and those of addresses that it has
 * not are closed, with their files. */
void sockets_keep(struct sockets *s, const struct config *c);
/* Closes the fresh ones. */
void sockets_forget(struct sockets *s);
/* Removes the files of sockets with a path, so that the next process can use these paths; clients
 * that have connected are served. Then closes all sockets here. A failure is logged. */
void sockets_release(struct sockets *s);

/* What is to be handed over to another process: all sockets of an address. claim: of its files. */
typedef void sockets_fn(void *arg, const struct addr *at, const int *fds, unsigned n,
                        const struct bind_claim *claim);
void sockets_each(const struct sockets *s, sockets_fn *fn, void *arg);
/* The other process has them: closes all here, and leaves the files. */
void sockets_hand_over(struct sockets *s);
/* The process that handed sockets over to this one is done: their files are this one's alone. Until
 * then they stay, whatever happens here. */
void sockets_own(struct sockets *s);
