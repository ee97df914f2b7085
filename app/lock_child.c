#include "app/lock_child.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAME_MAX_BYTES 256

/* The word to start. */
struct order {
    uint64_t epoch;
    char name[NAME_MAX_BYTES];
};

/* ---- in the process that becomes the command ---- */

static bool read_order(int fd, struct order *o)
{
    size_t have = 0;
    while (have < sizeof *o) {
        ssize_t n = read(fd, (char *)o + have, sizeof *o - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        have += (size_t)n;
    }
    return true;
}

static void fail(int failure)
{
    int code = errno;
    ssize_t n = write(failure, &code, sizeof code);
    (void)n;
    _exit(127);
}

/* Nothing was changed yet that the command would inherit: no signal is handled, none is blocked. */
static void become(const struct lock_child *c, pid_t parent, int orders, int failure,
                   char *const *argv)
{
    struct order o;
    char epoch[24];
    setpgid(0, 0);
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0)
        fail(failure);
    if (getppid() != parent || !read_order(orders, &o)) /* it died before, or does not want us */
        _exit(0);
    snprintf(epoch, sizeof epoch, "%" PRIu64, o.epoch);
    if (setenv("RINGPROXY_LOCK_NAME", o.name, 1) == 0 &&
        setenv("RINGPROXY_LOCK_EPOCH", epoch, 1) == 0)
        execvp(argv[0], argv);
    fail(failure);
}

/* ---- in ours ---- */

bool lock_child_fork(struct lock_child *c, char *const *argv, struct error *e)
{
    int orders[2], failure[2];
    pid_t parent = getpid();
    *c = (struct lock_child){.go = -1, .failure = -1, .terminal = -1};
    if (pipe2(orders, O_CLOEXEC) != 0) {
        error_errno(e, errno, "pipe");
        return false;
    }
    if (pipe2(failure, O_CLOEXEC) != 0) {
        error_errno(e, errno, "pipe");
        goto no_failure;
    }
    fflush(NULL);
    c->pid = fork();
    if (c->pid < 0) {
        error_errno(e, errno, "fork");
        goto no_process;
    }
    if (c->pid == 0) {
        close(orders[1]);
        become(c, parent, orders[0], failure[1], argv);
    }
    setpgid(c->pid, c->pid); /* both do it, so that it is done for whoever is first */
    close(orders[0]);
    close(failure[1]);
    /* What the command leaves behind becomes our child, so that its end leaves no zombie in the
     * group where nobody else takes it (as in a container whose first process is no init). */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    c->go = orders[1];
    c->failure = failure[0];
    c->terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    return true;
no_process:
    close(failure[0]);
    close(failure[1]);
no_failure:
    close(orders[0]);
    close(orders[1]);
    return false;
}

/* A group that does not have the terminal would be stopped for this, hence the blocked signal. */
static bool hand_terminal(const struct lock_child *c, pid_t from, pid_t to)
{
    sigset_t block, old;
    if (c->terminal < 0 || tcgetpgrp(c->terminal) != from)
        return false;
    sigemptyset(&block);
    sigaddset(&block, SIGTTOU);
    sigprocmask(SIG_BLOCK, &block, &old);
    bool ok = tcsetpgrp(c->terminal, to) == 0;
    sigprocmask(SIG_SETMASK, &old, NULL);
    return ok;
}

static bool give_terminal(struct lock_child *c)
{
    bool ok = hand_terminal(c, getpgrp(), c->pid);
    c->gave_terminal = c->gave_terminal || ok;
    return ok;
}

bool lock_child_start(struct lock_child *c, const char *name, uint64_t epoch)
{
    struct order o = {.epoch = epoch};
    assert(strlen(name) < sizeof o.name && !c->started);
    memcpy(o.name, name, strlen(name));
    c->started = true;
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
        give_terminal(c);
    /* It fits into a pipe that is empty; SIGPIPE is ignored. */
    return write(c->go, &o, sizeof o) == (ssize_t)sizeof o;
}

void lock_child_signal(const struct lock_child *c, int signum)
{
    kill(-c->pid, signum);
}

bool lock_child_group_lives(const struct lock_child *c)
{
    return kill(-c->pid, 0) == 0 || errno == EPERM;
}

/* Whether the terminal is there, and neither ours to give nor the command's already. */
static bool another_has_terminal(const struct lock_child *c)
{
    pid_t owner = c->terminal < 0 ? -1 : tcgetpgrp(c->terminal);
    return owner > 0 && owner != getpgrp() && owner != c->pid;
}

static void undo_stop(struct lock_child *c, int signum)
{
    bool asks = signum == SIGTTIN || signum == SIGTTOU;
    c->wants_terminal = asks && another_has_terminal(c);
    if (asks && !c->wants_terminal)
        give_terminal(c);
    if (!c->wants_terminal)
        lock_child_signal(c, SIGCONT);
}

int lock_child_look(struct lock_child *c)
{
    int status, stopped = 0;
    pid_t p;
    while ((p = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
        if (p != c->pid) { /* one that lost its parent */
            continue;
        } else if (WIFSTOPPED(status)) {
            stopped = WSTOPSIG(status);
            undo_stop(c, stopped);
        } else {
            c->ended = true;
            c->status = status;
        }
    }
    return stopped;
}

void lock_child_continued(struct lock_child *c)
{
    if (!c->started || c->ended || !(c->gave_terminal || c->wants_terminal) || !give_terminal(c))
        return;
    c->wants_terminal = false;
    lock_child_signal(c, SIGCONT);
}

int lock_child_failure(const struct lock_child *c)
{
    int code = 0;
    assert(c->ended);
    return read(c->failure, &code, sizeof code) == (ssize_t)sizeof code ? code : 0;
}

void lock_child_deinit(struct lock_child *c)
{
    hand_terminal(c, c->pid, getpgrp());
    close(c->go);
    close(c->failure);
    if (c->terminal >= 0)
        close(c->terminal);
}
