/* Workers under load while generations of the configuration come and go. */
#include "proxy/worker.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "httpd/httpd.h"
#include "net/bind.h"
#include "tests/lib/unit.h"

#define WORKERS 2
#define BACKENDS 5
#define CLIENTS 3
#define GENERATIONS 1000
#define REQUESTS_A_CONNECTION 40

/* ---- backends: small servers on a thread of their own ---- */

struct backends {
    uv_loop_t loop;
    struct net net;
    uv_async_t stop;
    pthread_t thread;
    struct httpd *servers[BACKENDS];
    uint16_t ports[BACKENDS];
};

static struct addr loopback(uint16_t port)
{
    struct addr a = {.v4 = {.sin_family = AF_INET,
                            .sin_port = htons(port),
                            .sin_addr = {htonl(INADDR_LOOPBACK)}},
                     .len = sizeof a.v4};
    return a;
}

static bool answer(void *arg, struct httpd_request *q, struct httpd_answer *a)
{
    a->body = STR("here");
    return true;
}

static void on_stop(uv_async_t *async)
{
    struct backends *b = async->data;
    for (unsigned i = 0; i < BACKENDS; i++)
        httpd_close(b->servers[i], NULL, NULL);
    net_close(&b->net);
    uv_close((uv_handle_t *)&b->stop, NULL);
}

static void *run_backends(void *arg)
{
    struct backends *b = arg;
    uv_run(&b->loop, UV_RUN_DEFAULT);
    return NULL;
}

static void start_backends(struct backends *b)
{
    const struct httpd_options options = {.handle = answer};
    const struct addr any = loopback(0);
    struct error e;
    ck_assert_int_eq(uv_loop_init(&b->loop), 0);
    net_init(&b->net, &b->loop);
    b->stop.data = b;
    ck_assert_int_eq(uv_async_init(&b->loop, &b->stop, on_stop), 0);
    for (unsigned i = 0; i < BACKENDS; i++) {
        b->servers[i] = httpd_new(&b->net, &options);
        ck_assert_msg(httpd_listen(b->servers[i], &any, &e), "%s", e.text);
        b->ports[i] = addr_port(httpd_address(b->servers[i]));
    }
    ck_assert_int_eq(pthread_create(&b->thread, NULL, run_backends, b), 0);
}

static void stop_backends(struct backends *b)
{
    uv_async_send(&b->stop);
    pthread_join(b->thread, NULL);
    net_deinit(&b->net);
    ck_assert_int_eq(uv_loop_close(&b->loop), 0);
}

/* ---- clients ---- */

struct load {
    uint16_t port;
    _Atomic bool stop;
    _Atomic unsigned answered, failed;
};

static int dial(uint16_t port)
{
    const struct addr a = loopback(port);
    const struct timeval patience = {.tv_sec = 100};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
        connect(fd, &a.sa, a.len) != 0)
        return -1;
    return fd;
}

/* True: the whole answer came, and it is a server's. */
static bool ask(int fd, unsigned key)
{
    char text[2048];
    size_t n = 0;
    int len = snprintf(text, sizeof text,
                       "%s / HTTP/1.1\r\nHost: h\r\nX-Key: %u\r\nContent-Length: 2\r\n\r\nhi",
                       key % 2 ? "POST" : "PUT", key);
    if (send(fd, text, (size_t)len, MSG_NOSIGNAL) != len)
        return false;
    while (n < 4 || memcmp(text + n - 4, "here", 4) != 0) {
        ssize_t r = recv(fd, text + n, sizeof text - n, 0);
        if (r <= 0)
            return false;
        n += (size_t)r;
    }
    return memcmp(text, "HTTP/1.1 200 ", 13) == 0;
}

static void *run_client(void *arg)
{
    struct load *l = arg;
    unsigned key = 0;
    while (!atomic_load(&l->stop)) {
        int fd = dial(l->port);
        bool ok = fd >= 0;
        for (unsigned i = 0; ok && i < REQUESTS_A_CONNECTION && !atomic_load(&l->stop); i++) {
            ok = ask(fd, key++);
            atomic_fetch_add(ok ? &l->answered : &l->failed, 1);
        }
        if (fd >= 0)
            close(fd);
        else
            atomic_fetch_add(&l->failed, 1);
    }
    return NULL;
}

/* ---- generations ---- */

static void ignore_notice(void *arg, const struct roster_notice *n)
{
}

/* Servers come, go, move to another address and change their weight from one to the next. */
static struct config *make_config(const struct backends *b, uint16_t port, unsigned g)
{
    static const char format[] =
        "listeners:\n"
        "  - {name: web, listen: 127.0.0.1:%u, pool: %s, key: [header:X-Key],\n"
        "     timeouts: {request: %us}, max_header_size: %uKiB}\n"
        "pools:\n"
        "  - name: other\n"
        "    backends: [{name: b1, address: 127.0.0.1:%u}]\n"
        "  - name: p\n"
        "    health: {check: off}\n"
        "    timeouts: {idle: %us}\n"
        "    backends:\n"
        "      - {name: b1, address: 127.0.0.1:%u}\n"
        "      - {name: b2, address: 127.0.0.1:%u, weight: %u}\n"
        "      - {name: b%u, address: 127.0.0.1:%u}\n"
        "    standbys: [{name: s1, address: 127.0.0.1:%u}]\n";
    char text[1024];
    struct config_errors errors = {0};
    int n = snprintf(text, sizeof text, format, port, g % 7 == 6 ? "other" : "p", 10 + g % 3,
                     16u << g % 5, b->ports[0], 20 + g % 2, b->ports[0], b->ports[1 + g % 2],
                     1 + g % 3, 3 + g % 2, b->ports[3], b->ports[4]);
    struct config *config = config_parse("test.yaml", text, (size_t)n, &errors);
    if (config == NULL)
        ck_abort_msg("%s", errors.lines[0]);
    config_errors_free(&errors);
    return config;
}

static struct snapshot *next(const struct backends *b, uint16_t port, struct snapshot *old)
{
    struct error e;
    uint64_t g = old ? old->generation + 1 : 1;
    struct config *config = make_config(b, port, (unsigned)g);
    struct snapshot *s = snapshot_new(config, old, g, WORKERS, ignore_notice, NULL, &e);
    config_unref(config);
    if (s == NULL)
        ck_abort_msg("%s", e.text);
    snapshot_start(s, old, g);
    return s;
}

static void wait_for_more(struct load *l, unsigned than)
{
    while (atomic_load(&l->answered) < than && atomic_load(&l->failed) == 0)
        usleep(50);
}

struct proxy {
    uv_loop_t loop; /* never run: what workers say to control is not heard */
    struct mailbox control;
    struct worker workers[WORKERS];
    struct snapshot *current;
};

static void on_control(struct mailbox *m, struct message *msg)
{
    message_free(msg);
}

static uint16_t start_proxy(struct proxy *p, const struct backends *b)
{
    struct error e;
    struct bind_claim claim;
    int fds[WORKERS];
    struct addr any = loopback(0), here = {.len = ADDR_LEN_MAX};
    ck_assert_int_eq(uv_loop_init(&p->loop), 0);
    ck_assert_int_eq(mailbox_init(&p->control, &p->loop, on_control), 0);
    ck_assert_msg(bind_sockets(&any, fds, 1, &claim, &e), "%s", e.text);
    ck_assert_int_eq(getsockname(fds[0], &here.sa, &here.len), 0);
    close(fds[0]);
    ck_assert_msg(bind_sockets(&here, fds, WORKERS, &claim, &e), "%s", e.text);
    for (unsigned i = 0; i < WORKERS; i++)
        ck_assert_msg(bind_listen(fds[i], i == 0, BIND_BACKLOG, &e), "%s", e.text);
    p->current = next(b, addr_port(&here), NULL);
    for (unsigned i = 0; i < WORKERS; i++)
        ck_assert_msg(worker_init(&p->workers[i], i, p->current, &p->control, &fds[i], &e), "%s",
                      e.text);
    for (unsigned i = 0; i < WORKERS; i++) {
        close(fds[i]);
        ck_assert_msg(worker_start(&p->workers[i], &e), "%s", e.text);
    }
    return addr_port(&here);
}

static void post_update(struct worker *w, struct snapshot *s)
{
    static const int has_it = -1;
    struct error e;
    struct worker_update *u = worker_update_new(s, &has_it, &e);
    ck_assert_ptr_nonnull(u);
    worker_post(w, WORKER_GENERATION, u, worker_update_release);
}

static void publish(struct proxy *p, struct snapshot *s)
{
    struct snapshot *old = p->current;
    for (unsigned i = 0; i < WORKERS; i++)
        post_update(&p->workers[i], s);
    snapshot_retire(old);
    snapshot_unref(old);
    p->current = s;
}

static void stop_proxy(struct proxy *p)
{
    for (unsigned i = 0; i < WORKERS; i++)
        worker_post(&p->workers[i], WORKER_STOP, NULL, NULL);
    for (unsigned i = 0; i < WORKERS; i++) {
        worker_join(&p->workers[i]);
        worker_deinit(&p->workers[i]);
    }
    const struct pool *pool = p->current->pools[1];
    for (unsigned i = 0; i < pool->nservers; i++)
        ck_assert_uint_eq(atomic_load(&pool->members[i].server->active), 0);
    ck_assert_uint_eq(atomic_load(&p->current->listeners[0].stats->connections), 0);
    snapshot_retire(p->current);
    snapshot_unref(p->current);
    mailbox_close(&p->control);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    mailbox_deinit(&p->control);
    ck_assert_int_eq(uv_loop_close(&p->loop), 0);
}

START_TEST(a_thousand_generations_cost_no_request)
{
    struct backends b;
    struct proxy p;
    struct load l = {0};
    pthread_t clients[CLIENTS];
    log_set_level(LOG_ERROR);
    start_backends(&b);
    l.port = start_proxy(&p, &b);
    for (unsigned i = 0; i < CLIENTS; i++)
        ck_assert_int_eq(pthread_create(&clients[i], NULL, run_client, &l), 0);
    for (unsigned g = 0; g < GENERATIONS; g++) {
        wait_for_more(&l, 3 * g);
        publish(&p, next(&b, l.port, p.current));
    }
    wait_for_more(&l, atomic_load(&l.answered) + 100);
    atomic_store(&l.stop, true);
    for (unsigned i = 0; i < CLIENTS; i++)
        pthread_join(clients[i], NULL);
    ck_assert_uint_eq(atomic_load(&l.failed), 0);
    ck_assert_uint_ge(atomic_load(&l.answered), 3 * (GENERATIONS - 1));
    stop_proxy(&p);
    stop_backends(&b);
}
END_TEST

/* The proxy answers by itself. */
static bool ask_with_long_head(int fd, size_t n)
{
    static const char head[] = "OPTIONS * HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\nX-Long: ";
    char got[1024];
    char *text = malloc(n);
    ck_assert_ptr_nonnull(text);
    memset(text, 'a', n);
    memcpy(text, head, sizeof head - 1);
    memcpy(text + n - 4, "\r\n\r\n", 4);
    bool sent = send(fd, text, n, MSG_NOSIGNAL) == (ssize_t)n;
    free(text);
    return sent && recv(fd, got, sizeof got, 0) > 0 && memcmp(got, "HTTP/1.1 200 ", 13) == 0;
}

START_TEST(a_kept_connection_takes_the_larger_heads_of_a_new_generation)
{
    struct backends b;
    struct proxy p;
    log_set_level(LOG_ERROR);
    start_backends(&b);
    uint16_t port = start_proxy(&p, &b);
    int fd = dial(port);
    ck_assert_int_ge(fd, 0);
    ck_assert(ask(fd, 0));
    for (unsigned g = 2; g <= 4; g++)
        publish(&p, next(&b, port, p.current));
    ck_assert(ask(fd, 1)); /* the mail may come behind the first one of these */
    ck_assert(ask(fd, 2));
    ck_assert(ask_with_long_head(fd, 200 * 1024));
    close(fd);
    stop_proxy(&p);
    stop_backends(&b);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("worker");
    TCase *c = tcase_create("worker");
    tcase_set_timeout(c, 250);
    tcase_add_test(c, a_thousand_generations_cost_no_request);
    tcase_add_test(c, a_kept_connection_takes_the_larger_heads_of_a_new_generation);
    suite_add_tcase(s, c);
    return s;
}

int main(void)
{
    return unit_main(build);
}
