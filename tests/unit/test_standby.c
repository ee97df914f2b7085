/* A whole proxy in this process, with two workers and `cluster.listen: active`, whose role the test
 * plays: sockets of a port and of a path, clients before, while and after it changes. */
#include "app/control.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "net/bind.h"
#include "tests/lib/unit.h"

#define PATIENCE_S 20
#define HAMMERS 4
#define CHANGES 20

/* Assertions of Check are for the main thread, which runs the proxy. The story is told by another;
 * what goes wrong there ends it. */
#define MUST(condition)                                                                           \
    do {                                                                                          \
        if (!(condition)) {                                                                       \
            fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, strerror(errno)); \
            abort();                                                                              \
        }                                                                                         \
    } while (0)

static struct {
    uint16_t port, backend_port;
    char folder[64], path[80];
    struct role *role;
    uv_async_t async; /* carries out `order` */
    _Atomic int order;
    _Atomic int state; /* as of role_state(), told by `async` */
    int backend;       /* it listens */
    atomic_bool stop;
    atomic_uint answered, refused;
    pthread_t teller;
} t;

/* ---- orders to the control thread ---- */

enum { NOTHING, ACTIVE, STANDBY, LOOK, LEAVE };

static void on_order(uv_async_t *async)
{
    int order = atomic_exchange(&t.order, NOTHING);
    if (order == ACTIVE || order == STANDBY)
        role_wish(t.role, order == ACTIVE, 7);
    if (order == LEAVE)
        uv_close((uv_handle_t *)async, NULL);
    atomic_store(&t.state, (int)role_state(t.role));
}

static void give(int order)
{
    atomic_store(&t.order, order);
    MUST(uv_async_send(&t.async) == 0);
    while (atomic_load(&t.order) != NOTHING)
        usleep(100);
}

static void wait_state(enum role_state state)
{
    do {
        give(LOOK);
    } while (atomic_load(&t.state) != (int)state);
}

static void on_role(void *arg, struct role *role, uv_loop_t *loop)
{
    t.role = role;
    MUST(uv_async_init(loop, &t.async, on_order) == 0);
}

/* ---- sockets that fail instead of hanging ---- */

static void set_patience(int fd)
{
    const struct timeval time = {.tv_sec = PATIENCE_S};
    MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time) == 0);
}

static struct addr loopback(uint16_t port)
{
    return (struct addr){.v4 = {.sin_family = AF_INET,
                                .sin_port = htons(port),
                                .sin_addr = {htonl(INADDR_LOOPBACK)}},
                         .len = sizeof(struct sockaddr_in)};
}

static struct addr unix_address(void)
{
    struct addr a;
    char text[128];
    snprintf(text, sizeof text, "unix:%s", t.path);
    MUST(addr_parse(str_of(text), &a) == ADDR_OK);
    return a;
}

static int listen_somewhere(uint16_t *port)
{
    struct addr a = loopback(0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(bind(fd, &a.sa, a.len) == 0 && listen(fd, 64) == 0);
    MUST(getsockname(fd, &a.sa, &a.len) == 0);
    *port = addr_port(&a);
    return fd;
}

/* -1: it was refused. */
static int try_connect(const struct addr *a)
{
    int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    set_patience(fd);
    if (connect(fd, &a->sa, a->len) == 0)
        return fd;
    MUST(errno == ECONNREFUSED);
    close(fd);
    return -1;
}

static int connect_to(const struct addr *a)
{
    int fd = try_connect(a);
    MUST(fd >= 0);
    return fd;
}

static bool refuses(const struct addr *a)
{
    int fd = try_connect(a);
    if (fd >= 0)
        close(fd);
    return fd < 0;
}

static void say(int fd, const char *text)
{
    MUST(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

/* Reads up to what ends so; it is zero-terminated. */
static void hear(int fd, char *got, size_t size, const char *end)
{
    size_t n = 0;
    got[0] = 0;
    while (strstr(got, end) == NULL) {
        ssize_t r = recv(fd, got + n, size - 1 - n, 0);
        MUST(r > 0);
        n += (size_t)r;
        got[n] = 0;
    }
}

static bool at_end(int fd)
{
    char byte;
    return recv(fd, &byte, 1, 0) == 0;
}

/* ---- the backend: one thread a connection ---- */

static atomic_bool held;

static void *serve(void *arg)
{
    char got[1024];
    int fd = (int)(intptr_t)arg;
    for (;;) {
        size_t n = 0;
        got[0] = 0;
        while (strstr(got, "\r\n\r\n") == NULL) {
            ssize_t r = recv(fd, got + n, sizeof got - 1 - n, 0);
            if (r <= 0) {
                close(fd);
                return NULL;
            }
            n += (size_t)r;
            got[n] = 0;
        }
        while (strstr(got, "GET /held") && atomic_load(&held))
            usleep(1000);
        if (strstr(got, "Upgrade: x"))
            say(fd, "HTTP/1.1 101 Said\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
        else
            say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!");
    }
}

static void *accept_all(void *arg)
{
    for (;;) {
        pthread_t thread;
        int fd = accept(t.backend, NULL, NULL);
        if (fd < 0)
            return NULL;
        MUST(pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) == 0);
        pthread_detach(thread);
    }
}

/* ---- clients ---- */

#define GET "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

static void get(int fd, const char *request, const char *end)
{
    char got[1024];
    say(fd, request);
    hear(fd, got, sizeof got, end);
}

static void one_request(const struct addr *a)
{
    int fd = connect_to(a);
    get(fd, GET, "!");
    close(fd);
}

/* Whoever is not refused has to be answered. */
static void *hammer(void *arg)
{
    const struct addr *a = arg;
    while (!atomic_load(&t.stop)) {
        int fd = try_connect(a);
        if (fd < 0) {
            atomic_fetch_add(&t.refused, 1);
            usleep(500);
            continue;
        }
        get(fd, GET, "!");
        atomic_fetch_add(&t.answered, 1);
        close(fd);
    }
    return NULL;
}

/* ---- the story ---- */

static ino_t inode(void)
{
    struct stat st;
    MUST(lstat(t.path, &st) == 0);
    return st.st_ino;
}

static void stand_by(const struct addr *a, const struct addr *path)
{
    int fds[1];
    struct error e;
    struct bind_claim claim;
    MUST(refuses(a) && refuses(path));
    MUST(!bind_sockets(a, fds, 1, &claim, &e) && e.code == EADDRINUSE);
    MUST(!bind_sockets(path, fds, 1, &claim, &e) && e.code == EADDRINUSE);
}

static void change_once(const struct addr *a, const struct addr *path)
{
    char got[1024];
    give(ACTIVE);
    wait_state(ROLE_ACTIVE); /* at the start it waits for a Redis that is not there */
    ino_t file = inode();
    one_request(a);
    one_request(path);
    int idle = connect_to(a), fresh = connect_to(path), busy = connect_to(a),
        tunnel = connect_to(a);
    get(idle, GET, "!");
    get(tunnel, "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        "\r\n\r\n");
    atomic_store(&held, true);
    say(busy, "GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
    get(fresh, GET, "!"); /* so that the one before has come, too */

    give(STANDBY);
    wait_state(ROLE_STANDBY);
    stand_by(a, path);
    MUST(inode() != file);
    MUST(at_end(idle) && at_end(fresh));
    atomic_store(&held, false);
    hear(busy, got, sizeof got, "!");
    MUST(strcasestr(got, "connection: close") != NULL);
    MUST(at_end(busy));
    MUST(recv(tunnel, got, 1, 0) <= 0 && errno != EAGAIN); /* after shutdown_timeout */
    close(idle);
    close(fresh);
    close(busy);
    close(tunnel);
}

static void *tell(void *arg)
{
    const struct addr a = loopback(t.port), path = unix_address();
    struct addr to[HAMMERS];
    pthread_t hammers[HAMMERS];
    wait_state(ROLE_STANDBY);
    stand_by(&a, &path);
    change_once(&a, &path);
    change_once(&a, &path);

    for (int i = 0; i < HAMMERS; i++) {
        to[i] = i % 2 ? a : path;
        MUST(pthread_create(&hammers[i], NULL, hammer, &to[i]) == 0);
    }
    for (int i = 0; i < CHANGES; i++) {
        unsigned answered = atomic_load(&t.answered), refused = atomic_load(&t.refused);
        give(ACTIVE);
        while (atomic_load(&t.answered) < answered + 10 * HAMMERS)
            usleep(100);
        give(STANDBY);
        while (atomic_load(&t.refused) < refused + HAMMERS)
            usleep(100);
    }
    atomic_store(&t.stop, true);
    for (int i = 0; i < HAMMERS; i++)
        pthread_join(hammers[i], NULL);

    give(ACTIVE);
    wait_state(ROLE_ACTIVE);
    one_request(&a);
    give(LEAVE);
    MUST(kill(getpid(), SIGTERM) == 0);
    return NULL;
}

/* Signals are for the thread that runs the proxy, also when a command ends. */
static void start_thread(pthread_t *thread, void *(*run)(void *arg))
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    MUST(pthread_create(thread, NULL, run, NULL) == 0);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void on_ready(void *arg)
{
    start_thread(&t.teller, tell);
}

/* Nobody is at that Redis: the fleet says nothing until a minute has passed. */
static const char format[] = "workers: 2\n"
                             "shutdown_timeout: 200ms\n"
                             "log: {level: error}\n"
                             "cluster:\n"
                             "  redis: redis://127.0.0.1:1\n"
                             "  name: edge\n"
                             "  node: n1\n"
                             "  lock_ttl: 30s\n"
                             "  listen: active\n"
                             "  on_active: [/bin/sh, '-c', '%s']\n"
                             "  on_standby: [/bin/sh, '-c', '%s']\n"
                             "listeners:\n"
                             "  - {name: web, listen: '127.0.0.1:%u', pool: p}\n"
                             "  - {name: path, listen: 'unix:%s', pool: p}\n"
                             "  - {name: later, listen: '192.0.2.77:%u', pool: p}\n"
                             "  - {name: later6, listen: '[2001:db8::77]:%u', pool: p}\n"
                             "pools:\n"
                             "  - name: p\n"
                             "    health: {check: off}\n"
                             "    backends: [{name: b1, address: '127.0.0.1:%u'}]\n";

START_TEST(clients_are_refused_or_answered_whatever_the_role_does)
{
    char text[4096], script[256];
    struct config_errors errors = {0};
    pthread_t backend;
    memset(&t, 0, sizeof t);
    strcpy(t.folder, "/tmp/test_standby_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(t.folder));
    snprintf(t.path, sizeof t.path, "%s/socket", t.folder);
    snprintf(script, sizeof script, "echo $RINGPROXY_ROLE >>%s/roles", t.folder);
    t.backend = listen_somewhere(&t.backend_port);
    close(listen_somewhere(&t.port));
    start_thread(&backend, accept_all);

    snprintf(text, sizeof text, format, script, script, t.port, t.path, t.port, t.port,
             t.backend_port);
    struct config *config = config_parse("test", text, strlen(text), &errors);
    ck_assert_msg(config != NULL, "%s", errors.count ? errors.lines[0] : "?");
    config_errors_free(&errors);
    const struct control_hooks hooks = {.on_ready = on_ready, .on_role = on_role};
    ck_assert_int_eq(control_run(config, &hooks), 0);
    ck_assert_int_eq(pthread_join(t.teller, NULL), 0);
    config_unref(config);

    shutdown(t.backend, SHUT_RDWR);
    pthread_join(backend, NULL);
    close(t.backend);
    ck_assert_msg(access(t.path, F_OK) < 0, "the socket's file is gone");
    snprintf(script, sizeof script, "%s/roles", t.folder);
    ck_assert_int_eq(unlink(script), 0);
    ck_assert_int_eq(rmdir(t.folder), 0);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("standby");
    TCase *c = tcase_create("standby");
    tcase_set_timeout(c, 100);
    tcase_add_test(c, clients_are_refused_or_answered_whatever_the_role_does);
    suite_add_tcase(s, c);
    return s;
}

int main(void)
{
    return unit_main(build);
}
