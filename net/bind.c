#include "net/bind.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

static int set(int fd, int level, int option)
{
    int on = 1;
    return setsockopt(fd, level, option, &on, sizeof on);
}

static int bind_one(const struct addr *a, bool first)
{
    int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (set(fd, SOL_SOCKET, SO_REUSEADDR) < 0 || set(fd, IPPROTO_TCP, TCP_NODELAY) < 0 ||
        (!first && set(fd, SOL_SOCKET, SO_REUSEPORT) < 0) || bind(fd, &a->sa, a->len) < 0 ||
        (first && set(fd, SOL_SOCKET, SO_REUSEPORT) < 0)) {
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
