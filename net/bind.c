#include "net/bind.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

static int set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value);
}

static int bind_one(const struct addr *a, bool first)
{
    int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (set(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0 || set(fd, IPPROTO_TCP, TCP_NODELAY, 1) < 0 ||
        (!first && set(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0) || bind(fd, &a->sa, a->len) < 0 ||
        (first && set(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0)) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

bool bind_sockets(const struct addr *a, int *fds, unsigned n, struct error *e)
{
    char text[ADDR_TEXT_MAX];
    for (unsigned i = 0; i < n; i++) {
        fds[i] = bind_one(a, i == 0);
        if (fds[i] >= 0)
            continue;
        addr_format(a, text);
        error_errno(e, errno, "bind %s", text);
        while (i > 0)
            close(fds[--i]);
        return false;
    }
    return true;
}

bool bind_listen(int fd, bool first, int backlog, struct error *e)
{
    if ((first && set(fd, SOL_SOCKET, SO_REUSEPORT, 0) < 0) || listen(fd, backlog) < 0 ||
        (first && set(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0)) {
        error_errno(e, errno, "listen");
        return false;
    }
    return true;
}
