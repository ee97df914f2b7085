/* A whole proxy in this process, with a name server that the test plays: what becomes of
 * connections when a backend's name moves. */
#include "app/control.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/lib/unit.h"

#define PATIENCE_S 20

/* Assertions of Check are for the main thread, which runs the proxy. The story is told by another;
 * what goes wrong there ends it. */
#define MUST(condition)                                                                           \
    do {                                                                                          \
        if (!(condition)) {                                                                       \
            fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, strerror(errno)); \
            abort();                                                                              \
        }                                                                                         \
    } while (0)

/* ---- the name server ---- */

static _Atomic(const char *) named_ip;

static void ask(const char *host, uint16_t port, struct lookup_answer *out)
{
    struct addr a;
    char text[64];
    MUST(strcmp(host, "b1.example") == 0);
    snprintf(text, sizeof text, "%s:%u", named_ip, port);
    MUST(addr_parse(str_of(text), &a) == ADDR_OK);
    addr_set_add(&out->addrs, &a);
}

/* ---- sockets that fail instead of hanging ---- */

static void set_patience(int fd)
{
    const struct timeval t = {.tv_sec = PATIENCE_S};
    MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t) == 0);
}

static int listen_at(const char *ip, uint16_t *port)
{
    struct addr a;
    char text[64];
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(text, sizeof text, "%s:1", ip);
    MUST(addr_parse(str_of(text), &a) == ADDR_OK);
    a.v4.sin_port = htons(*port);
    MUST(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
    MUST(bind(fd, &a.sa, a.len) == 0);
    MUST(getsockname(fd, &a.sa, &a.len) == 0 && listen(fd, 64) == 0);
    *port = addr_port(&a);
    set_patience(fd);
    return fd;
}

static int connect_to(uint16_t port)
{
    struct addr a = {.v4 = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}},
                     .len = sizeof a.v4};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.v4.sin_port = htons(port);
    set_patience(fd);
    MUST(connect(fd, &a.sa, a.len) == 0);
    return fd;
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

/* An idle connection ends with a reset, another one with a FIN. */
static void hear_end(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, 0);
    MUST(n == 0 || (n < 0 && errno == ECONNRESET));
}

/* ---- the story ---- */

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!";

/* A request from a client, seen by the backend that it must come to. Both connections stay. */
struct pair {
    int client, upstream;
};

static void ask_proxy(int client)
{
    say(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
}

static void answer_request(struct pair p)
{
    char got[1024];
    say(p.upstream, answer);
    hear(p.client, got, sizeof got, "!");
}

static struct pair begin_request(uint16_t port, int backend)
{
    char got[1024];
    struct pair p = {.client = connect_to(port)};
    ask_proxy(p.client);
    p.upstream = accept(backend, NULL, NULL);
    MUST(p.upstream >= 0);
    set_patience(p.upstream);
    hear(p.upstream, got, sizeof got, "\r\n\r\n");
    return p;
}

static void close_pair(struct pair p)
{
    close(p.client);
    close(p.upstream);
}

struct story {
    uint16_t proxy_port, backend_port;
    int old, new; /* what listens where b1.example is at first, and then */
    pthread_t teller;
};

static void *tell(void *arg)
{
    struct story *s = arg;
    char got[1024];
    struct pair idle = begin_request(s->proxy_port, s->old);
    struct pair busy = begin_request(s->proxy_port, s->old);
    struct pair other = begin_request(s->proxy_port, s->old); /* idle, of the same client again */
    answer_request(idle);
    answer_request(other);

    named_ip = "127.0.0.2";
    hear_end(idle.upstream); /* closed, though nobody asked for anything */
    hear_end(other.upstream);

    /* The same client's next request goes to the new place ... */
    ask_proxy(other.client);
    struct pair moved = {other.client, accept(s->new, NULL, NULL)};
    MUST(moved.upstream >= 0);
    set_patience(moved.upstream);
    hear(moved.upstream, got, sizeof got, "\r\n\r\n");
    answer_request(moved);
    /* ... and its connection is kept. */
    ask_proxy(moved.client);
    hear(moved.upstream, got, sizeof got, "\r\n\r\n");
    answer_request(moved);

    /* What was under way at the old one ends there, and its connection with it. */
    answer_request(busy);
    hear_end(busy.upstream);
    close(moved.upstream); /* or it might be used again */
    struct pair last = begin_request(s->proxy_port, s->new);
    answer_request(last);

    close_pair(idle);
    close_pair(busy);
    close(other.upstream);
    close(moved.client);
    close_pair(last);
    MUST(kill(getpid(), SIGTERM) == 0);
    return NULL;
}

static void on_ready(void *arg)
{
    struct story *s = arg;
    ck_assert_int_eq(pthread_create(&s->teller, NULL, tell, s), 0);
}

static const char format[] = "workers: 3\n"
                             "log: {level: error}\n"
                             "listeners: [{name: web, listen: '127.0.0.1:%u', pool: p}]\n"
                             "pools:\n"
                             "  - name: p\n"
                             "    resolve: 10ms\n"
                             "    health: {check: off}\n"
                             "    backends: [{name: b1, address: 'b1.example:%u'}]\n";

START_TEST(a_moved_name_drains_the_old_address_and_fills_the_new_one)
{
    struct story s = {.backend_port = 0};
    char text[1024];
    struct config_errors errors = {0};
    named_ip = "127.0.0.1";
    s.old = listen_at("127.0.0.1", &s.backend_port);
    s.new = listen_at("127.0.0.2", &s.backend_port);
    close(listen_at("127.0.0.1", &s.proxy_port));
    snprintf(text, sizeof text, format, s.proxy_port, s.backend_port);
    struct config *config = config_parse("test", text, strlen(text), &errors);
    ck_assert_msg(config != NULL, "%s", errors.count ? errors.lines[0] : "?");
    config_errors_free(&errors);
    const struct control_hooks hooks = {.on_ready = on_ready, .arg = &s, .ask = ask};
    ck_assert_int_eq(control_run(config, &hooks), 0);
    ck_assert_int_eq(pthread_join(s.teller, NULL), 0);
    config_unref(config);
    close(s.old);
    close(s.new);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("control");
    TCase *t = tcase_create("control");
    tcase_set_timeout(t, 100);
    tcase_add_loop_test(t, a_moved_name_drains_the_old_address_and_fills_the_new_one, 0, 3);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
