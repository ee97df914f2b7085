#include "net/bind.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define LOCK_SUFFIX ".lock"

static int set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value);
}

static int close_keeping_errno(int fd)
{
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* "bind ADDRESS: strerror(code)" */
static void set_error(struct error *e, const struct addr *a, int code)
{
    char text[ADDR_TEXT_MAX];
    addr_format(a, text);
    error_errno(e, code, "bind %s", text);
}

static int new_socket(int family)
{
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* ---- TCP ---- */

/* The machine need not have the address; no right and no sysctl is needed for that. */
static int set_free(int fd, const struct addr *a)
{
    return a->sa.sa_family == AF_INET6 ? set(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1)
                                       : set(fd, IPPROTO_IP, IP_FREEBIND, 1);
}

/* One bound socket; -1: errno says why. SO_REUSEADDR allows the port although connections of an
 * earlier process are in TIME_WAIT; on Linux it does not allow two listeners. */
static int bind_one(const struct addr *a, bool first, bool ahead)
{
    int fd = new_socket(a->sa.sa_family);
    if (fd < 0)
        return -1;
    if ((ahead && set_free(fd, a) < 0) || set(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0 ||
        set(fd, IPPROTO_TCP, TCP_NODELAY, 1) < 0 ||
        (a->sa.sa_family == AF_INET6 && set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) < 0) ||
        (!first && set(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0) || bind(fd, &a->sa, a->len) < 0 ||
        (first && set(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0))
        return close_keeping_errno(fd);
    return fd;
}

bool bind_further(const struct addr *a, int *fds, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        /* the others may have been bound ahead */
        int fd = addr_is_unix(a) ? -1 : bind_one(a, false, true);
        if (fd < 0) {
            while (i > 0)
                close(fds[--i]);
            return false;
        }
        fds[i] = fd;
    }
    return true;
}

/* All or nothing: a listener that lacks the socket of one worker would lose its share
 * of clients. */
static bool bind_tcp(const struct addr *a, int *fds, unsigned n, bool ahead, struct error *e)
{
    for (unsigned i = 0; i < n; i++) {
        fds[i] = bind_one(a, i == 0, ahead);
        if (fds[i] >= 0)
            continue;
        set_error(e, a, errno);
        while (i > 0)
            close(fds[--i]);
        return false;
    }
    return true;
}

/* ---- unix ---- */

struct lock_path {
    char text[ADDR_PATH_MAX + sizeof LOCK_SUFFIX];
};

static struct lock_path lock_path(const struct addr *a)
{
    struct lock_path p;
    snprintf(p.text, sizeof p.text, "%s" LOCK_SUFFIX, a->un.sun_path);
    return p;
}

/* Device and inode identify a file, whatever its name is. */
static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Opens and locks the lock file. -1: errno says why; EWOULDBLOCK: another process holds it. The
 * loop is needed because the holder of the lock removes the file before it unlocks: a process that
 * opened the file before and locks it after that has locked a file without a name, which excludes
 * no other process. */
static int take_lock(const char *path)
{
    for (;;) {
        struct stat opened, there;
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            return -1;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &opened) < 0)
            return close_keeping_errno(fd);
        if (lstat(path, &there) == 0 && same_file(&opened, &there))
            return fd;
        close(fd);
    }
}

/* True if no process serves the socket. False: errno is EADDRINUSE, or why that is not known. */
static bool is_stale(const struct addr *a)
{
    int fd = new_socket(AF_UNIX);
    if (fd < 0)
        return false;
    int error = connect(fd, &a->sa, a->len) == 0 ? EADDRINUSE : errno;
    close(fd);
    /* EAGAIN: its queue of connections is full; EPROTOTYPE: it is no stream socket. Both mean that
     * a process has it open. */
    errno = error == EAGAIN || error == EPROTOTYPE ? EADDRINUSE : error;
    return error == ECONNREFUSED;
}

/* Removes a stale socket at the path, if there is one; the caller holds the lock. False:
 * there is something else. ENOENT is a success everywhere: a program without the lock may
 * remove the file. */
static bool clear_path(const struct addr *a, struct error *e)
{
    const char *path = a->un.sun_path;
    struct stat st;
    /* lstat(): a symbolic link is another kind of file, too, and is never followed or removed */
    if (lstat(path, &st) < 0) {
        if (errno == ENOENT)
            return true;
        set_error(e, a, errno);
    } else if (!S_ISSOCK(st.st_mode)) {
        error_set(e, EEXIST, "bind unix:%s: the file that is there is no socket", path);
    } else if (!is_stale(a) && errno != ENOENT) {
        set_error(e, a, errno);
    } else if (unlink(path) < 0 && errno != ENOENT) {
        error_errno(e, errno, "bind unix:%s: to remove the socket left behind", path);
    } else {
        return true;
    }
    return false;
}

/* Binds a new socket, claim->fd, and records which file that created. */
static bool bind_path(struct bind_claim *claim, struct error *e)
{
    const struct addr *a = claim->at;
    struct stat st;
    claim->fd = new_socket(AF_UNIX);
    if (claim->fd >= 0 && bind(claim->fd, &a->sa, a->len) == 0 && lstat(a->un.sun_path, &st) == 0) {
        claim->dev = st.st_dev;
        claim->ino = st.st_ino;
        return true;
    }
    set_error(e, a, errno);
    if (claim->fd >= 0)
        close(claim->fd);
    return false;
}

/* The whole way to the path, from the lock to the bound socket. False: *claim is empty. */
static bool take_path(const struct addr *a, struct bind_claim *claim, struct error *e)
{
    struct lock_path path = lock_path(a);
    claim->at = a;
    claim->lock = take_lock(path.text);
    if (claim->lock < 0) {
        if (errno == EWOULDBLOCK)
            set_error(e, a, EADDRINUSE);
        else
            error_errno(e, errno, "bind unix:%s: lock %s", a->un.sun_path, path.text);
    } else if (clear_path(a, e) && bind_path(claim, e)) {
        return true;
    } else {
        unlink(path.text); /* while it is locked; a failure does no harm */
        close(claim->lock);
    }
    *claim = (struct bind_claim){0};
    return false;
}

/* Duplicates of one socket share its queue, so any worker can accept each connection. */
static bool duplicate(const struct bind_claim *claim, int *fds, unsigned n, struct error *e)
{
    for (unsigned i = 0; i < n; i++) {
        fds[i] = fcntl(claim->fd, F_DUPFD_CLOEXEC, 0);
        if (fds[i] >= 0)
            continue;
        set_error(e, claim->at, errno);
        while (i > 0)
            close(fds[--i]);
        return false;
    }
    return true;
}

static bool bind_unix(const struct addr *a, int *fds, unsigned n, struct bind_claim *claim,
                      struct error *e)
{
    struct error ignored; /* the first error is the cause */
    if (!take_path(a, claim, e))
        return false;
    if (duplicate(claim, fds, n, e))
        return true;
    bind_release(claim, &ignored);
    return false;
}

static bool remove_files(const struct bind_claim *claim, struct error *e)
{
    bool ok = true;
    struct stat st;
    const char *path = claim->at->un.sun_path;
    struct lock_path lock = lock_path(claim->at);
    /* an administrator may have put another socket at the path meanwhile: that one stays */
    if (lstat(path, &st) == 0 && st.st_dev == claim->dev && st.st_ino == claim->ino &&
        unlink(path) < 0) {
        error_errno(e, errno, "remove %s", path);
        ok = false;
    }
    if (unlink(lock.text) < 0 && errno != ENOENT) {
        error_errno(e, errno, "remove %s", lock.text);
        ok = false;
    }
    return ok;
}

bool bind_release(struct bind_claim *claim, struct error *e)
{
    if (claim->at == NULL)
        return true;
    bool ok = claim->lent || remove_files(claim, e);
    close(claim->fd);
    close(claim->lock); /* this unlocks: both files are gone before another process gets it */
    *claim = (struct bind_claim){0};
    return ok;
}

/* ---- both ---- */

bool bind_sockets(const struct addr *a, int *fds, unsigned n, struct bind_claim *claim,
                  struct error *e)
{
    *claim = (struct bind_claim){0};
    return addr_is_unix(a) ? bind_unix(a, fds, n, claim, e) : bind_tcp(a, fds, n, false, e);
}

bool bind_ahead(const struct addr *a, int *fds, unsigned n, struct bind_claim *claim,
                struct error *e)
{
    *claim = (struct bind_claim){0};
    return addr_is_unix(a) ? bind_unix(a, fds, n, claim, e) : bind_tcp(a, fds, n, true, e);
}

static bool is_unix(int fd)
{
    int domain = AF_UNSPEC;
    socklen_t len = sizeof domain;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

bool bind_listens(int fd)
{
    int value = 0;
    socklen_t len = sizeof value;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len) == 0 && value;
}

bool bind_listen(int fd, bool first, int backlog, struct error *e)
{
    if (bind_listens(fd))
        return true;
    /* listen() without the option, as bind() was: it fails if another process has begun to listen
     * on the port in between. Unix sockets have no such option. */
    bool shared = first && !is_unix(fd);
    if ((shared && set(fd, SOL_SOCKET, SO_REUSEPORT, 0) < 0) || listen(fd, backlog) < 0 ||
        (shared && set(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0)) {
        error_errno(e, errno, "listen");
        return false;
    }
    return true;
}

/* ---- standing by ---- */

/* A filter sees a segment from its TCP header on: the flags are its byte 13. Handshakes that have
 * begun come to their end. */
void bind_deafen(int fd)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TH_SYN | TH_ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TH_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    const struct sock_fprog filter = {.len = sizeof code / sizeof code[0], .filter = code};
    if (!is_unix(fd))
        setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
}

/* A socket that is bound and does not listen keeps nobody from its port who has set SO_REUSEADDR,
 * as most do: so this one has it not while it is silent. */
void bind_silence(int fd)
{
    if (is_unix(fd))
        return;
    if (bind_listens(fd))
        shutdown(fd, SHUT_RD);
    set(fd, SOL_SOCKET, SO_DETACH_FILTER, 0);
    set(fd, SOL_SOCKET, SO_REUSEADDR, 0);
}

/* A second shutdown() of a socket, by a thread that shares it, fails and marks it nevertheless: the
 * connections that it accepts after another listen() would be at their end. This takes the mark
 * off. */
static void unshut(int fd)
{
    static const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    if (!bind_listens(fd) && connect(fd, &nobody, sizeof nobody) < 0)
        return; /* it was not marked */
}

/* listen() looks whether the port is free, as bind() did, and those who share it must agree: also
 * connections of before, which have the option from the socket that accepted them. */
void bind_waken(const int *fds, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (is_unix(fds[i]))
            continue;
        unshut(fds[i]);
        set(fds[i], SOL_SOCKET, SO_DETACH_FILTER, 0);
        set(fds[i], SOL_SOCKET, SO_REUSEADDR, 1);
    }
}

/* The address whose path is that of *a with a '~' behind it. False: it would be too long. */
static bool beside(const struct addr *a, struct addr *to)
{
    char text[ADDR_PATH_MAX + sizeof "unix:~"];
    snprintf(text, sizeof text, "unix:%s~", a->un.sun_path);
    return addr_parse(str_of(text), to) == ADDR_OK;
}

/* A new socket comes to the path in one step, so whoever connects always finds one. The lock is
 * held, so what is left beside it is of this listener. Where the path is as long as it may be, it
 * is free for a moment. Where another file has replaced the socket's, that one stays. */
static bool bind_path_again(const struct bind_claim *old, struct bind_claim *new, struct error *e)
{
    struct stat st;
    struct addr at;
    const char *path = old->at->un.sun_path;
    *new = *old;
    bool there = lstat(path, &st) == 0;
    if (there && (st.st_dev != old->dev || st.st_ino != old->ino)) {
        set_error(e, old->at, EADDRINUSE);
        return false;
    }
    bool apart = beside(old->at, &at);
    unlink(apart ? at.un.sun_path : path);
    new->at = apart ? &at : old->at;
    bool ok = bind_path(new, e);
    new->at = old->at;
    if (!ok || !apart || rename(at.un.sun_path, path) == 0)
        return ok;
    set_error(e, old->at, errno);
    unlink(at.un.sun_path);
    close(new->fd);
    return false;
}

bool bind_renew(int *fds, unsigned n, struct bind_claim *claim, struct error *e)
{
    struct bind_claim new;
    int *fresh = mem_zalloc_array(n, sizeof *fresh);
    bool ok = bind_path_again(claim, &new, e);
    if (ok) {
        close(claim->fd);
        *claim = new;
        ok = duplicate(claim, fresh, n, e);
    }
    for (unsigned i = 0; ok && i < n; i++) {
        close(fds[i]);
        fds[i] = fresh[i];
    }
    free(fresh);
    return ok;
}
