/* forwarder: what this kernel asks for carrying bytes from one socket to another, and nothing else.
 * `bench/compare/compare` runs it beside the proxies.
 *
 *                     flow[0] ->
 *     client ==== fd[0]  pair  fd[1] ==== backend       one backend connection for each client's,
 *                     <- flow[1]                        the backends in turn
 *
 * Bare epoll, nothing parsed, no timers. Sockets are registered once, edge-triggered, so a message
 * costs a recv() and a send() and its share of an epoll_wait(); with --splice two splice() through
 * a pipe. What a socket does not take is kept, and nothing is read for it until it has taken that.
 *
 * Loopback alone. SIGTERM and SIGINT end it with 0. What would spoil the figures (no descriptors
 * left) ends it with 1. Threads: one. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"

#define CHUNK (32 * 1024) /* read at once; 64 KiB cost more, in step with the largest segments */
#define PIPE (256 * 1024)
#define MAX_BACKENDS 64
#define MAX_EVENTS 256

/* One direction. */
struct flow {
    int from, to;
    size_t waiting; /* bytes that were read and `to` did not take yet, */
    char *kept;     /* from kept + at on; CHUNK bytes, had when first needed */
    size_t at;
    int pipe[2];  /* --splice: they are in here instead */
    bool hung_up; /* an edge told that `from` has ended: read to the end, no other edge comes */
    bool ended;   /* the end was read, and passed on */
};

/* What an event is about. */
struct end {
    struct pair *pair;
    int side;
};

struct pair {
    struct list link; /* among `pairs`, or among `dead` */
    struct end end[2];
    struct flow flow[2]; /* flow[i] is from end[i] to the other */
    bool dead;           /* closed; freed after the batch, which may hold another event of it */
};

static struct forwarder {
    bool splice;
    int epoll, listener, signals;
    struct end on_listener, on_signals; /* told apart by their addresses */
    struct sockaddr_in backend[MAX_BACKENDS];
    unsigned nbackends, turn;
    struct list pairs, dead;
    char chunk[CHUNK];
} self;

static void die(const char *what)
{
    fprintf(stderr, "forwarder: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void check(int rc, const char *what)
{
    if (rc < 0)
        die(what);
}

/* --- bytes --- */

/* The three below return what recv() would: a count, 0 at the end, -1 and errno. */

static ssize_t put(struct flow *f, const char *data, size_t n)
{
    if (self.splice)
        return splice(f->pipe[0], NULL, f->to, NULL, n, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    return send(f->to, data, n, MSG_NOSIGNAL);
}

static ssize_t move_by_pipe(struct flow *f)
{
    ssize_t n = splice(f->from, NULL, f->pipe[1], NULL, PIPE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n > 0)
        f->waiting = (size_t)n;
    return n;
}

static ssize_t move_by_copy(struct flow *f)
{
    ssize_t n = recv(f->from, self.chunk, CHUNK, 0);
    if (n <= 0)
        return n;
    ssize_t sent = put(f, self.chunk, (size_t)n);
    if (sent < 0 && errno != EAGAIN)
        return -1;
    sent = sent < 0 ? 0 : sent;
    if (sent < n) {
        f->kept = f->kept ? f->kept : mem_zalloc(CHUNK);
        f->at = 0;
        f->waiting = (size_t)(n - sent);
        memcpy(f->kept, self.chunk + sent, f->waiting);
    }
    return n;
}

/* Sends what waits. False: some is left, or the socket is broken; errno says which. */
static bool put_waiting(struct flow *f)
{
    while (f->waiting > 0) {
        ssize_t n = put(f, f->kept + f->at, f->waiting);
        if (n < 0)
            return false;
        f->at += (size_t)n;
        f->waiting -= (size_t)n;
    }
    return true;
}

/* Moves what can be moved now. False: a side is broken. */
static bool pump(struct flow *f)
{
    for (;;) {
        if (!put_waiting(f))
            return errno == EAGAIN;
        if (f->ended)
            return true;
        ssize_t n = self.splice ? move_by_pipe(f) : move_by_copy(f);
        if (n < 0)
            return errno == EAGAIN;
        if (n == 0) {
            f->ended = true;
            return shutdown(f->to, SHUT_WR) == 0;
        }
        /* A short read emptied the socket, and what comes next makes a new edge. A short write
         * filled one, and room in it makes an edge too. */
        if (!self.splice && (f->waiting > 0 || (n < CHUNK && !f->hung_up)))
            return true;
    }
}

/* --- pairs --- */

static void open_pipe(struct flow *f)
{
    check(pipe2(f->pipe, O_NONBLOCK | O_CLOEXEC), "pipe2");
    /* past a user's share of pipe pages this is refused, and the pipe is smaller: slower, not wrong
     */
    (void)fcntl(f->pipe[1], F_SETPIPE_SZ, PIPE);
}

static void enroll(int fd, uint32_t events, struct end *end)
{
    struct epoll_event e = {.events = events, .data.ptr = end};
    check(epoll_ctl(self.epoll, EPOLL_CTL_ADD, fd, &e), "epoll_ctl");
}

static void send_at_once(int fd)
{
    int on = 1;
    check(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
}

static int connect_next(void)
{
    const struct sockaddr_in *to = &self.backend[self.turn++ % self.nbackends];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    check(fd, "socket");
    send_at_once(fd);
    if (connect(fd, (const struct sockaddr *)to, sizeof *to) < 0 && errno != EINPROGRESS)
        die("connect");
    return fd;
}

static void open_pair(int client)
{
    struct pair *p = mem_zalloc(sizeof *p);
    int fd[2] = {client, connect_next()};
    send_at_once(client);
    list_push_back(&self.pairs, &p->link);
    for (int i = 0; i < 2; i++) {
        p->end[i] = (struct end){p, i};
        p->flow[i] = (struct flow){.from = fd[i], .to = fd[!i]};
        if (self.splice)
            open_pipe(&p->flow[i]);
    }
    for (int i = 0; i < 2; i++)
        enroll(fd[i], EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &p->end[i]);
}

static void close_pair(struct pair *p)
{
    p->dead = true;
    list_remove(&p->link);
    list_push_back(&self.dead, &p->link);
    for (int i = 0; i < 2; i++) {
        close(p->flow[i].from);
        free(p->flow[i].kept);
        if (self.splice) {
            close(p->flow[i].pipe[0]);
            close(p->flow[i].pipe[1]);
        }
    }
}

static void free_dead(void)
{
    list_foreach_safe(it, next, &self.dead)
    {
        list_remove(it);
        free(container_of(it, struct pair, link));
    }
}

static void on_pair(struct pair *p, int side, uint32_t events)
{
    struct flow *out = &p->flow[side], *in = &p->flow[!side];
    bool ok = !(events & EPOLLERR);
    if (events & (EPOLLRDHUP | EPOLLHUP))
        out->hung_up = true;
    if (ok && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)))
        ok = pump(out);
    if (ok && (events & EPOLLOUT) && in->waiting > 0)
        ok = pump(in);
    if (!ok || (out->ended && in->ended))
        close_pair(p);
}

/* --- the program --- */

static void accept_all(void)
{
    for (;;) {
        int fd = accept4(self.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            open_pair(fd);
        else if (errno == EAGAIN)
            return;
        else if (errno != ECONNABORTED)
            die("accept4");
    }
}

/* Until a signal. */
static void forward(void)
{
    struct epoll_event events[MAX_EVENTS];
    for (bool going = true; going; free_dead()) {
        int n = epoll_wait(self.epoll, events, MAX_EVENTS, -1);
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++) {
            struct end *end = events[i].data.ptr;
            if (end == &self.on_listener)
                accept_all();
            else if (end == &self.on_signals)
                going = false;
            else if (!end->pair->dead)
                on_pair(end->pair, end->side, events[i].events);
        }
    }
}

static void start(const struct sockaddr_in *listen_at)
{
    int on = 1;
    list_init(&self.pairs);
    list_init(&self.dead);
    self.epoll = epoll_create1(EPOLL_CLOEXEC);
    check(self.epoll, "epoll_create1");
    self.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    check(self.listener, "socket");
    check(setsockopt(self.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
    check(bind(self.listener, (const struct sockaddr *)listen_at, sizeof *listen_at), "bind");
    check(listen(self.listener, SOMAXCONN), "listen");
    enroll(self.listener, EPOLLIN, &self.on_listener);

    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    check(sigprocmask(SIG_BLOCK, &set, NULL), "sigprocmask");
    signal(SIGPIPE, SIG_IGN); /* splice() has no flag for it */
    self.signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    check(self.signals, "signalfd");
    enroll(self.signals, EPOLLIN, &self.on_signals);
}

static void stop(void)
{
    list_foreach_safe(it, next, &self.pairs) close_pair(container_of(it, struct pair, link));
    free_dead();
    close(self.listener);
    close(self.signals);
    close(self.epoll);
}

static int usage(FILE *to, int code)
{
    fputs(
        "usage: forwarder [--splice] LISTEN_PORT BACKEND_PORT...\n\n"
        "Forwards the bytes of each connection on 127.0.0.1:LISTEN_PORT to one of its own, to the\n"
        "backend ports of 127.0.0.1 in turn, and back. --splice: by splice(2), without a copy.\n",
        to);
    return code;
}

static bool parse_port(const char *text, struct sockaddr_in *out)
{
    char *end;
    errno = 0;
    unsigned long port = strtoul(text, &end, 10);
    *out = (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && port >= 1 && port <= 65535;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"splice", no_argument, NULL, 's'}, {"help", no_argument, NULL, 'h'}, {0}};
    struct sockaddr_in listen_at;
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h')
            return usage(stdout, 0);
        if (c == '?')
            return usage(stderr, 2);
        self.splice = true;
    }
    self.nbackends = (unsigned)(argc - optind - 1);
    if (argc - optind < 2 || self.nbackends > MAX_BACKENDS || !parse_port(argv[optind], &listen_at))
        return usage(stderr, 2);
    for (unsigned i = 0; i < self.nbackends; i++)
        if (!parse_port(argv[(unsigned)optind + 1 + i], &self.backend[i]))
            return usage(stderr, 2);
    start(&listen_at);
    forward();
    stop();
    return 0;
}
