/* A real redis-server of a test, on a unix socket in a folder of its own, and a client that waits.
 *
 * Ownership: redis_server_start() to redis_server_stop(). Threads: the test's. */
#pragma once
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "cluster/resp.h"
#include "cluster/scripts.h"

struct redis_server {
    char folder[64], path[96];
    pid_t pid;
    int fd; /* of the client */
    struct resp *reader;
    size_t sent, received; /* bytes of the client so far */
};

static inline bool redis_server_connect(struct redis_server *s)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s", s->path);
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert(s->fd >= 0);
    if (connect(s->fd, (struct sockaddr *)&to, sizeof to) == 0)
        return true;
    close(s->fd);
    return false;
}

/* It does not outlive the test, however that ends. */
static inline void redis_server_exec(const struct redis_server *s, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent)
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", s->path, "--save", "",
               "--appendonly", "no", "--dir", s->folder, "--logfile", "/dev/null", "--daemonize",
               "no", (char *)NULL);
    _exit(127);
}

/* False: there is no redis-server on this host. */
static inline bool redis_server_start(struct redis_server *s)
{
    pid_t parent = getpid();
    memset(s, 0, sizeof *s);
    strcpy(s->folder, "/tmp/redis-test-XXXXXX");
    char *made = mkdtemp(s->folder);
    assert(made);
    (void)made;
    snprintf(s->path, sizeof s->path, "%s/s", s->folder);
    s->pid = fork();
    assert(s->pid >= 0);
    if (s->pid == 0)
        redis_server_exec(s, parent);
    uint64_t until = uv_hrtime() + UINT64_C(30000000000);
    while (!redis_server_connect(s)) {
        if (waitpid(s->pid, NULL, WNOHANG) != 0) {
            rmdir(s->folder);
            return false;
        }
        assert(uv_hrtime() < until);
        uv_sleep(2);
    }
    s->reader = resp_new();
    return true;
}

static inline void redis_server_stop(struct redis_server *s)
{
    resp_free(s->reader);
    close(s->fd);
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    unlink(s->path);
    rmdir(s->folder);
}

/* The next reply, which the caller frees. */
static inline struct redis_reply *redis_server_reply(struct redis_server *s)
{
    struct redis_reply *reply = NULL;
    enum resp_result result;
    while ((result = resp_next(s->reader, &reply)) == RESP_MORE) {
        static char bytes[65536];
        ssize_t n = read(s->fd, bytes, sizeof bytes);
        assert(n > 0);
        s->received += (size_t)n;
        bool ok = resp_feed(s->reader, bytes, (size_t)n);
        assert(ok);
        (void)ok;
    }
    assert(result == RESP_REPLY);
    return reply;
}

static inline struct redis_reply *redis_server_call(struct redis_server *s, const char *const *argv,
                                                    const size_t *argvlen, size_t n)
{
    size_t len, at = 0;
    char *bytes = resp_format(argv, argvlen, n, &len);
    assert(bytes);
    while (at < len) {
        ssize_t r = write(s->fd, bytes + at, len - at);
        assert(r > 0);
        at += (size_t)r;
    }
    s->sent += len;
    resp_format_free(bytes);
    return redis_server_reply(s);
}
