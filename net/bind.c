#include "net/bind.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* One bound socket; -1: errno says why. SO_REUSEADDR allows the port although connections of an
 * earlier process are in TIME_WAIT; on Linux it does not allow two listeners. */
static int bind_one(const struct addr *a, bool first)
{
    int fd = new_socket(a->sa.sa_family);
    if (fd < 0)
        return -1;
    if (set(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0 || set(fd, IPPROTO_TCP, TCP_NODELAY, 1) < 0 ||
        (a->sa.sa_family == AF_INET6 && set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) < 0) ||
        (!first && set(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0) || bind(fd, &a->sa, a->len) < 0 ||
        (first && set(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0))
        return close_keeping_errno(fd);
    return fd;
}

bool bind_further(const struct addr *a, int *fds, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        int fd = addr_is_unix(a) ? -1 : bind_one(a, false);
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
static bool bind_tcp(const struct addr *a, int *fds, unsigned n, struct error *e)
{
    for (unsigned i = 0; i < n; i++) {
        fds[i] = bind_one(a, i == 0);
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

static bool bind_unix(const struct addr *a, int *fds, unsigned n, struct bind_claim *claim,
                      struct error *e)
{
    if (!take_path(a, claim, e))
        return false;
    /* Duplicates of one socket share its queue, so any worker can accept each connection. */
    for (unsigned i = 0; i < n; i++) {
        fds[i] = fcntl(claim->fd, F_DUPFD_CLOEXEC, 0);
        if (fds[i] >= 0)
            continue;
        struct error ignored; /* the first error is the cause */
        set_error(e, a, errno);
        bind_release(claim, &ignored);
        while (i > 0)
            close(fds[--i]);
        return false;
    }
    return true;
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
    return addr_is_unix(a) ? bind_unix(a, fds, n, claim, e) : bind_tcp(a, fds, n, e);
}

static bool is_unix(int fd)
{
    int domain = AF_UNSPEC;
    socklen_t len = sizeof domain;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

static bool listens(int fd)
{
    int value = 0;
    socklen_t len = sizeof value;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len) == 0 && value;
}

bool bind_listen(int fd, bool first, int backlog, struct error *e)
{
    if (listens(fd))
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
