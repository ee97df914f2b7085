/* The command that runs under a lock: a process group of its own, ready before the lock is.
 *
 * What for: everything that it starts can be reached by one signal, and it has what a command has
 * that a shell starts: stdin, stdout, stderr, the terminal.
 *
 * lock_child_fork() makes a process that waits; lock_child_start() lets it execute the command. So
 * fork() comes before any thread, and nothing that can be slow comes between the lock and the
 * command. If this process ends, however it does, the one that waits ends, and the command is sent
 * SIGTERM (the group's leader alone).
 *
 * The terminal. If it is our group's, and stdin and stdout are terminals, the command's group gets
 * it at its start; else when the command asks for it (it is stopped by SIGTTIN or SIGTTOU), so that
 * a pipeline goes on as it is. A stop is undone at once: whoever is stopped can't renew its lock.
 * A command that wants the terminal while it belongs to another group stays stopped until we get it
 * (by `fg`). Threads: the main one; fork before all others. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct lock_child {
    pid_t pid;       /* and its group */
    int go, failure; /* pipes: to it, the word to start; from it, why it could not; -1: closed */
    int terminal;    /* /dev/tty; -1: there is none */
    bool gave_terminal, wants_terminal, started;
    bool ended; /* it is no more, `status` says how it went */
    int status; /* as wait() has it */
};

/* argv lives as long as the struct. False: there is no process. */
bool lock_child_fork(struct lock_child *c, char *const *argv, struct error *e);
/* Lets it execute, with RINGPROXY_LOCK_NAME and _EPOCH. False: it is no more. */
bool lock_child_start(struct lock_child *c, const char *name, uint64_t epoch);
/* To the whole group; to it alone while it waits. */
void lock_child_signal(const struct lock_child *c, int signum);
/* Whether anything of the group is left. */
bool lock_child_group_lives(const struct lock_child *c);
/* After SIGCHLD: takes its end, or undoes its stop. The signal that stopped it, 0: none did. */
int lock_child_look(struct lock_child *c);
/* The terminal may be ours again: after a SIGCONT of ours, and from time to time while it is
 * wanted. */
void lock_child_continued(struct lock_child *c);
/* After its end: why it could not be executed, an errno; 0: it was. */
int lock_child_failure(const struct lock_child *c);
/* Takes the terminal back and closes what is open. One that still waits ends; it is not reaped. */
void lock_child_deinit(struct lock_child *c);
