/* Workers under load while generations of the configuration come and go. */
#include "proxy/worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "httpd/httpd.h"
#include "net/bind.h"
#include "proxy/descriptors.h"
#include "ring/hash.h"
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
    uint16_t raw; /* the port of a server that a test plays itself */
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

/* ---- listeners that come, go and change ---- */

#define NPORTS 3
#define IDLE_CLIENTS 10000
#define GROUP_MOST 64

/* A proxy whose configuration is a text, and whose listeners each have a port of `ports`. */
struct group {
    struct proxy p;
    const struct backends *b;
    uint16_t ports[NPORTS];
    struct snapshot *seen[GROUP_MOST]; /* each generation: references */
    unsigned nseen;
};

static uint16_t free_port(void)
{
    struct error e;
    struct bind_claim claim;
    struct addr any = loopback(0), here = {.len = ADDR_LEN_MAX};
    int fd;
    ck_assert_msg(bind_sockets(&any, &fd, 1, &claim, &e), "%s", e.text);
    ck_assert_int_eq(getsockname(fd, &here.sa, &here.len), 0);
    close(fd);
    return addr_port(&here);
}

/* In the text @0 is the first port of the group, #0 that of the first backend, #4 the raw one's. */
static struct config *parse_group(const struct group *g, const char *text)
{
    char out[4096];
    size_t n = 0;
    for (const char *t = text; *t; t++) {
        if ((*t == '@' || *t == '#') && t[1] >= '0' && t[1] <= '9') {
            unsigned i = (unsigned)(t[1] - '0');
            n += (size_t)snprintf(out + n, sizeof out - n, "127.0.0.1:%u",
                                  *t == '@' ? g->ports[i]
                                  : i < 4   ? g->b->ports[i]
                                            : g->b->raw);
            t++;
        } else {
            out[n++] = *t;
        }
        ck_assert_uint_lt(n, sizeof out - 32);
    }
    struct config_errors errors = {0};
    struct config *config = config_parse("test.yaml", out, n, &errors);
    if (config == NULL)
        ck_abort_msg("%s", errors.lines[0]);
    config_errors_free(&errors);
    return config;
}

static struct snapshot *build_group(struct group *g, const char *text)
{
    struct error e;
    struct config *config = parse_group(g, text);
    struct snapshot *old = g->p.current;
    struct snapshot *s =
        snapshot_new(config, old, old ? old->generation + 1 : 1, WORKERS, ignore_notice, NULL, &e);
    config_unref(config);
    if (s == NULL)
        ck_abort_msg("%s", e.text);
    snapshot_start(s, old, 1);
    return s;
}

static bool had_before(const struct snapshot *old, uint64_t socket)
{
    for (size_t i = 0; old && i < old->nlisteners; i++)
        if (old->listeners[i].socket == socket)
            return true;
    return false;
}

/* fds[worker][listener]: sockets that listen, for the listeners that `old` has not. */
static void open_sockets(const struct snapshot *s, const struct snapshot *old,
                         int fds[WORKERS][NPORTS])
{
    struct error e;
    struct bind_claim claim;
    for (size_t l = 0; l < s->nlisteners; l++) {
        int mine[WORKERS] = {-1, -1};
        bool new = !had_before(old, s->listeners[l].socket);
        if (new)
            ck_assert_msg(bind_sockets(&s->listeners[l].config->listen, mine, WORKERS, &claim, &e),
                          "%s", e.text);
        for (unsigned i = 0; i < WORKERS; i++) {
            if (new)
                ck_assert_msg(bind_listen(mine[i], i == 0, BIND_BACKLOG, &e), "%s", e.text);
            fds[i][l] = mine[i];
        }
    }
}

static void close_sockets(const struct snapshot *s, int fds[WORKERS][NPORTS])
{
    for (size_t l = 0; l < s->nlisteners; l++)
        for (unsigned i = 0; i < WORKERS; i++)
            if (fds[i][l] >= 0)
                close(fds[i][l]);
}

static void remember(struct group *g, struct snapshot *s)
{
    if (g->nseen < GROUP_MOST)
        g->seen[g->nseen++] = snapshot_ref(s);
}

static void start_group(struct group *g, const struct backends *b, const char *text)
{
    struct error e;
    int fds[WORKERS][NPORTS];
    log_set_level(LOG_ERROR);
    *g = (struct group){.b = b};
    for (unsigned i = 0; i < NPORTS; i++)
        g->ports[i] = free_port();
    ck_assert_int_eq(uv_loop_init(&g->p.loop), 0);
    ck_assert_int_eq(mailbox_init(&g->p.control, &g->p.loop, on_control), 0);
    struct snapshot *s = g->p.current = build_group(g, text);
    open_sockets(s, NULL, fds);
    for (unsigned i = 0; i < WORKERS; i++)
        ck_assert_msg(worker_init(&g->p.workers[i], i, s, &g->p.control, fds[i], &e), "%s", e.text);
    close_sockets(s, fds);
    for (unsigned i = 0; i < WORKERS; i++)
        ck_assert_msg(worker_start(&g->p.workers[i], &e), "%s", e.text);
    remember(g, s);
}

static void reload(struct group *g, const char *text)
{
    struct error e;
    int fds[WORKERS][NPORTS];
    struct snapshot *old = g->p.current, *s = build_group(g, text);
    open_sockets(s, old, fds);
    for (unsigned i = 0; i < WORKERS; i++) {
        struct worker_update *u = worker_update_new(s, fds[i], &e);
        ck_assert_msg(u != NULL, "%s", e.text);
        worker_post(&g->p.workers[i], WORKER_GENERATION, u, worker_update_release);
    }
    close_sockets(s, fds);
    remember(g, s);
    g->p.current = s;
    snapshot_retire(old);
    snapshot_unref(old);
}

/* How many of the generations, all but the current one, somebody else still has. */
static unsigned alive(struct group *g)
{
    unsigned n = 0;
    uv_run(&g->p.loop, UV_RUN_NOWAIT); /* what the workers have done with comes to control */
    for (unsigned i = 0; i < g->nseen; i++)
        if (g->seen[i] != g->p.current && atomic_load(&g->seen[i]->ref.count) > 1)
            n++;
    return n;
}

static void wait_until_alive(struct group *g, unsigned n)
{
    for (unsigned i = 0; alive(g) != n; i++) {
        ck_assert_msg(i < 100000, "%u generations are alive, not %u", alive(g), n);
        usleep(1000);
    }
}

static void stop_group(struct group *g)
{
    for (unsigned i = 0; i < WORKERS; i++)
        worker_post(&g->p.workers[i], WORKER_STOP, NULL, NULL);
    for (unsigned i = 0; i < WORKERS; i++) {
        worker_join(&g->p.workers[i]);
        worker_deinit(&g->p.workers[i]);
    }
    const struct snapshot *s = g->p.current;
    for (size_t i = 0; i < s->nlisteners; i++)
        ck_assert_uint_eq(atomic_load(&s->listeners[i].stats->connections), 0);
    wait_until_alive(g, 0);
    for (unsigned i = 0; i < g->nseen; i++)
        if (g->seen[i] != s)
            snapshot_unref(g->seen[i]);
    if (g->nseen && g->seen[g->nseen - 1] == s)
        snapshot_unref(g->p.current);
    snapshot_retire(g->p.current);
    snapshot_unref(g->p.current);
    mailbox_close(&g->p.control);
    uv_run(&g->p.loop, UV_RUN_DEFAULT);
    mailbox_deinit(&g->p.control);
    ck_assert_int_eq(uv_loop_close(&g->p.loop), 0);
}

static bool ends(int fd)
{
    char c;
    return recv(fd, &c, 1, 0) == 0;
}

static bool is_refused(uint16_t port)
{
    int fd = dial(port);
    if (fd >= 0)
        close(fd);
    return fd < 0;
}

/* Until all workers have closed their sockets. */
static void wait_until_refused(uint16_t port)
{
    for (unsigned i = 0; !is_refused(port); i++) {
        ck_assert_uint_lt(i, 100000);
        usleep(1000);
    }
}

static int dial_and_ask(uint16_t port)
{
    int fd = dial(port);
    ck_assert_int_ge(fd, 0);
    ck_assert(ask(fd, 1));
    return fd;
}

#define POOLS                                                            \
    "pools:\n"                                                           \
    "  - name: p\n"                                                      \
    "    health: {check: off}\n"                                         \
    "    backends: [{name: b1, address: #0}, {name: b2, address: #1}]\n" \
    "  - {name: q, health: {check: off}, backends: [{name: b1, address: #2}]}\n"
#define WEB(more) "  - {name: web, listen: @0, pool: p, key: [header:X-Key]" more "}\n"
#define SECOND(more) "  - {name: second, listen: @1, pool: p, key: [header:X-Key]" more "}\n"

/* The head of a request whose body is to come. */
static void begin_request(int fd)
{
    static const char head[] = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nh";
    ck_assert_int_eq(send(fd, head, sizeof head - 1, MSG_NOSIGNAL), sizeof head - 1);
}

/* Everything up to the end of the connection. */
static size_t read_all(int fd, char *to, size_t most)
{
    size_t n = 0;
    ssize_t r;
    while (n < most - 1 && (r = recv(fd, to + n, most - 1 - n, 0)) > 0)
        n += (size_t)r;
    to[n] = '\0';
    return n;
}

/* What comes is an answer of a server's, and the last one. */
static void read_last(int fd)
{
    char text[4096];
    read_all(fd, text, sizeof text);
    ck_assert_ptr_eq(strstr(text, "HTTP/1.1 200 "), text);
    ck_assert_ptr_nonnull(strstr(text, "Connection: close\r\n"));
    ck_assert_ptr_nonnull(strstr(text, "\r\n\r\nhere"));
}

static void ask_last(int fd)
{
    begin_request(fd);
    ck_assert_int_eq(send(fd, "i", 1, MSG_NOSIGNAL), 1);
    read_last(fd);
}

START_TEST(a_listener_comes_and_goes)
{
    struct backends b;
    struct group g;
    start_backends(&b);
    start_group(&g, &b, "listeners:\n" WEB("") POOLS);
    int first = dial_and_ask(g.ports[0]);
    reload(&g, "listeners:\n" SECOND("") WEB("") POOLS);
    int idle = dial_and_ask(g.ports[1]);
    int fresh = dial(g.ports[1]); /* has said nothing yet */
    ck_assert_int_ge(fresh, 0);
    reload(&g, "listeners:\n" WEB("") POOLS);
    wait_until_refused(g.ports[1]);
    ck_assert_uint_eq(alive(&g), 1); /* their requests may be on their way */
    ask_last(idle);
    ask_last(fresh);
    ck_assert(ask(first, 2)); /* nobody has cut the other listener's client */
    reload(&g, "listeners:\n" WEB("") SECOND("") POOLS);
    close(dial_and_ask(g.ports[1])); /* the address may come again */
    ck_assert(ask(first, 3));
    wait_until_alive(&g, 0);
    close(first);
    close(idle);
    close(fresh);
    stop_group(&g);
    stop_backends(&b);
}
END_TEST

START_TEST(a_request_in_flight_at_a_listener_that_goes_ends_with_close)
{
    struct backends b;
    struct group g;
    start_backends(&b);
    start_group(&g, &b, "listeners:\n" WEB("") SECOND("") POOLS);
    int fd = dial_and_ask(g.ports[1]);
    begin_request(fd);
    const struct listener_stats *stats = g.p.current->listeners[1].stats;
    for (uint64_t n = 0; n < 2; usleep(100))
        for (unsigned i = n = 0; i < WORKERS; i++)
            n += atomic_load(&stats->cells[i].requests); /* its head was taken */
    reload(&g, "listeners:\n" WEB("") POOLS);
    wait_until_refused(g.ports[1]);
    ck_assert_uint_eq(alive(&g), 1); /* the request has it */
    ck_assert_int_eq(send(fd, "i", 1, MSG_NOSIGNAL), 1);
    read_last(fd);
    wait_until_alive(&g, 0);
    close(fd);
    stop_group(&g);
    stop_backends(&b);
}
END_TEST

START_TEST(a_listener_that_stays_keeps_its_clients_whatever_else_changes)
{
    static const char *const texts[] = {
        "listeners:\n" WEB(", timeouts: {idle: 50s}") POOLS,
        "listeners:\n" WEB(", max_connections: 7, via: off") POOLS,
        "listeners:\n  - {name: renamed, listen: @0, pool: q, key: source_ip}\n" POOLS,
        "listeners:\n" SECOND("") "  - {name: renamed, listen: @0, pool: q}\n" POOLS,
        "listeners:\n  - {name: second, listen: @0, pool: p}\n"
        "  - {name: renamed, listen: @1, pool: q}\n" POOLS,
    };
    struct backends b;
    struct group g;
    start_backends(&b);
    start_group(&g, &b, "listeners:\n" WEB("") POOLS);
    int idle = dial_and_ask(g.ports[0]), busy = dial_and_ask(g.ports[0]);
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++) {
        reload(&g, texts[i]);
        wait_until_alive(&g, 0);
        ck_assert(ask(busy, i));
        const struct snapshot *s = g.p.current;
        for (size_t l = 0; l < s->nlisteners; l++) /* the clients count where they are now */
            ck_assert_uint_eq(atomic_load(&s->listeners[l].stats->connections),
                              addr_port(&s->listeners[l].config->listen) == g.ports[0] ? 2 : 0);
    }
    ck_assert(ask(idle, 1));
    close(idle);
    close(busy);
    stop_group(&g);
    stop_backends(&b);
}
END_TEST

START_TEST(a_listener_may_change_its_mode)
{
    struct backends b;
    struct group g;
    start_backends(&b);
    start_group(&g, &b, "listeners:\n" WEB("") POOLS);
    int http = dial_and_ask(g.ports[0]);
    reload(&g, "listeners:\n  - {name: web, listen: @0, pool: p, mode: tcp}\n" POOLS);
    int tcp = dial_and_ask(g.ports[0]);
    ask_last(http); /* of a mode that is no more */
    reload(&g, "listeners:\n" WEB("") POOLS);
    int again = dial_and_ask(g.ports[0]);
    ck_assert(ask(tcp, 2)); /* a stream goes on until it ends */
    ck_assert_uint_eq(alive(&g), 1);
    close(tcp);
    wait_until_alive(&g, 0);
    close(http);
    close(again);
    stop_group(&g);
    stop_backends(&b);
}
END_TEST

START_TEST(idle_clients_take_the_new_idle_timeout)
{
    struct backends b;
    struct group g;
    start_backends(&b);
    start_group(&g, &b, "listeners:\n" WEB(", timeouts: {idle: 1h}") POOLS);
    int served = dial_and_ask(g.ports[0]), fresh = dial(g.ports[0]);
    ck_assert_int_ge(fresh, 0);
    reload(&g, "listeners:\n" WEB(", timeouts: {idle: 50ms}") POOLS);
    ck_assert(ends(served));
    ck_assert(ends(fresh));
    close(served);
    close(fresh);
    stop_group(&g);
    stop_backends(&b);
}
END_TEST

START_TEST(idle_clients_hold_no_generation_of_a_thousand)
{
    struct backends b;
    struct group g;
    int *fds = calloc(IDLE_CLIENTS, sizeof *fds);
    unsigned n = 0;
    ck_assert_ptr_nonnull(fds);
    start_backends(&b);
    start_group(&g, &b, "listeners:\n" WEB("") POOLS);
    while (n < IDLE_CLIENTS && (fds[n] = dial(g.ports[0])) >= 0)
        n++; /* as many as descriptors allow: each is one of the test's, and one of the proxy's */
    for (unsigned i = 0; i < 100 && n > 200; i++)
        close(fds[--n]);
    ck_assert_uint_ge(n, 100);
    for (unsigned i = 0; i < 20; i++)
        ck_assert(ask(fds[i], i));
    for (unsigned i = 0; i < GENERATIONS; i++)
        reload(&g, i % 2 ? "listeners:\n" WEB("") POOLS
                         : "listeners:\n" WEB(", timeouts: {idle: 61s}") POOLS);
    wait_until_alive(&g, 0);
    for (unsigned i = 0; i < n; i += n / 20)
        ck_assert(ask(fds[i], i));
    while (n > 0)
        close(fds[--n]);
    free(fds);
    stop_group(&g);
    stop_backends(&b);
}
END_TEST

/* ---- servers that leave, and what goes to servers that stay ---- */

/* A server that the test plays itself. */
struct raw {
    int listening;
    uint16_t port;
};

static void raw_open(struct raw *r)
{
    struct addr any = loopback(0), here = {.len = ADDR_LEN_MAX};
    r->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(r->listening, 0);
    ck_assert_int_eq(bind(r->listening, &any.sa, any.len), 0);
    ck_assert_int_eq(listen(r->listening, 64), 0);
    ck_assert_int_eq(getsockname(r->listening, &here.sa, &here.len), 0);
    r->port = addr_port(&here);
}

/* Reads a request head, and what stands before it. */
static void raw_read(int fd, char *to, size_t most)
{
    size_t n = 0;
    to[0] = '\0';
    while (strstr(to, "\r\n\r\n") == NULL) {
        ssize_t r = recv(fd, to + n, most - 1 - n, 0);
        ck_assert_int_gt(r, 0);
        n += (size_t)r;
        to[n] = '\0';
    }
}

static void say(int fd, const char *text)
{
    ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

#define RAW_POOL(more, servers)                                                                  \
    "pools:\n  - {name: p, health: {check: off}, retries: 1" more ", backends: [" servers "]}\n" \
    "  - {name: q, health: {check: off}, backends: [{name: b1, address: #2}]}\n"
#define GET(fields) "GET / HTTP/1.1\r\nHost: h\r\n" fields "\r\n"
#define HERE "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere"

/* One server is the test's: `#4` in texts. */
static void start_with_raw(struct group *g, struct backends *b, struct raw *r, const char *text)
{
    start_backends(b);
    raw_open(r);
    b->raw = r->port;
    start_group(g, b, text);
}

START_TEST(a_server_that_leaves_finishes_what_it_carries)
{
    for (unsigned answers = 0; answers < 2; answers++) {
        struct backends b;
        struct group g;
        struct raw r;
        char text[4096];
        start_with_raw(&g, &b, &r,
                       "listeners:\n" WEB("") RAW_POOL("", "{name: b0, address: #4}, "
                                                           "{name: b9, address: #1}"));
        /* a key of b0 */
        unsigned key = 0;
        char request[256], hashed[16];
        do {
            snprintf(hashed, sizeof hashed, "%u", ++key);
        } while (pool_find(g.p.current->pools[0], hash_key(str_of(hashed))) != 0);
        snprintf(request, sizeof request, GET("X-Key: %u\r\n"), key);
        int fd = dial(g.ports[0]);
        ck_assert_int_ge(fd, 0);
        say(fd, request);
        int at = accept(r.listening, NULL, NULL);
        ck_assert_int_ge(at, 0);
        raw_read(at, text, sizeof text);
        reload(&g, "listeners:\n" WEB("") RAW_POOL("", "{name: b9, address: #1}"));
        reload(&g, "listeners:\n" WEB(", timeouts: {idle: 9s}")
                       RAW_POOL("", "{name: b9, address: #1}"));
        wait_until_alive(&g, 1);
        if (answers)
            say(at, HERE);
        close(at); /* without an answer the next server of the request's generation is tried */
        size_t n = 0;
        for (text[0] = '\0'; strstr(text, "\r\n\r\nhere") == NULL; text[n] = '\0') {
            ssize_t got = recv(fd, text + n, sizeof text - 1 - n, 0);
            ck_assert_int_gt(got, 0);
            n += (size_t)got;
        }
        ck_assert_ptr_eq(strstr(text, "HTTP/1.1 200 "), text);
        wait_until_alive(&g, 0);
        ck_assert(ask(fd, key));
        close(fd);
        close(r.listening);
        stop_group(&g);
        stop_backends(&b);
    }
}
END_TEST

START_TEST(what_servers_are_told_of_a_kept_client_is_by_the_new_configuration)
{
    struct backends b;
    struct group g;
    struct raw r;
    char text[4096], expected[128];
    struct addr mine = {.len = ADDR_LEN_MAX};
    start_with_raw(&g, &b, &r, "listeners:\n" WEB("") RAW_POOL("", "{name: b0, address: #4}"));
    int fd = dial(g.ports[0]);
    ck_assert_int_eq(getsockname(fd, &mine.sa, &mine.len), 0);
    say(fd, GET("X-Forwarded-Proto: https\r\n"));
    int at = accept(r.listening, NULL, NULL);
    raw_read(at, text, sizeof text);
    ck_assert_ptr_eq(strstr(text, "GET "), text);
    ck_assert_ptr_nonnull(strstr(text, "\r\nX-Forwarded-Proto: http\r\n"));
    say(at, HERE);
    raw_read(fd, text, sizeof text);
    reload(&g, "listeners:\n" WEB(", trusted_proxies: [127.0.0.0/8]")
                   RAW_POOL(", proxy_protocol: v1", "{name: b0, address: #4}"));
    wait_until_alive(&g, 0);
    say(fd, GET("X-Forwarded-Proto: https\r\n"));
    int kept = at; /* open, but it has named nobody */
    at = accept(r.listening, NULL, NULL);
    ck_assert_int_ge(at, 0);
    close(kept);
    raw_read(at, text, sizeof text);
    snprintf(expected, sizeof expected, "PROXY TCP4 127.0.0.1 127.0.0.1 %u %u\r\nGET ",
             addr_port(&mine), g.ports[0]);
    ck_assert_ptr_eq(strstr(text, expected), text);
    ck_assert_ptr_nonnull(strstr(text, "\r\nX-Forwarded-Proto: https\r\n"));
    say(at, HERE);
    raw_read(fd, text, sizeof text);
    close(at);
    close(fd);
    close(r.listening);
    stop_group(&g);
    stop_backends(&b);
}
END_TEST

#define STREAMS 24
#define TCP "listeners:\n  - {name: web, listen: @0, mode: tcp, pool: p, key: source_ip}\n"
#define TCP_OF_Q "listeners:\n  - {name: web, listen: @0, mode: tcp, pool: q, key: source_ip}\n"

/* From 127.0.0.(2 + i): a key of its own. */
static int dial_as(unsigned i, uint16_t port)
{
    struct addr from = loopback(0), to = loopback(port);
    const struct timeval patience = {.tv_sec = 100};
    from.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + i);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    ck_assert_int_eq(bind(fd, &from.sa, from.len), 0);
    ck_assert_int_eq(connect(fd, &to.sa, to.len), 0);
    return fd;
}

static const char *server_of(const struct group *g, unsigned i)
{
    char key[32];
    snprintf(key, sizeof key, "127.0.0.%u", 2 + i);
    const struct pool *p = g->p.current->pools[0];
    return p->members[pool_find(p, hash_key(str_of(key)))].server->name;
}

static bool goes_on(int fd)
{
    char c;
    return recv(fd, &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN && ask(fd, 1);
}

static bool is_cut(int fd)
{
    char c;
    errno = 0;
    return recv(fd, &c, 1, 0) <= 0 && errno != EAGAIN;
}

/* Streams begin under three generations, the last of which the text in `now` replaces. */
static void streams_after(const char *before, const char *now, bool follow)
{
    struct backends b;
    struct group g;
    int fds[STREAMS];
    const char *at[STREAMS];
    unsigned moved = 0;
    start_backends(&b);
    start_group(&g, &b, before);
    for (unsigned i = 0; i < STREAMS; i++) {
        if (i && i % 8 == 0)
            reload(&g, before);
        fds[i] = dial_as(i, g.ports[0]);
        ck_assert(ask(fds[i], 1));
        at[i] = server_of(&g, i);
    }
    reload(&g, now);
    reload(&g, now);
    for (unsigned i = 0; i < WORKERS; i++) { /* the one between is nobody's: all have caught up */
        unsigned n = g.nseen - 2;
        for (unsigned k = 0; atomic_load(&g.seen[n]->ref.count) > 1; k++) {
            ck_assert_uint_lt(k, 100000);
            uv_run(&g.p.loop, UV_RUN_NOWAIT);
            usleep(1000);
        }
    }
    for (unsigned i = 0; i < STREAMS; i++) {
        bool elsewhere = strcmp(at[i], server_of(&g, i)) != 0;
        moved += elsewhere;
        if (elsewhere && follow)
            ck_assert(is_cut(fds[i]));
        else
            ck_assert(goes_on(fds[i]));
        close(fds[i]);
    }
    ck_assert(moved > 0 && moved < STREAMS);
    wait_until_alive(&g, 0);
    stop_group(&g);
    stop_backends(&b);
}

#define STREAM_POOL(moved, servers)                                                           \
    "pools:\n  - {name: p, health: {check: off}, close_moved: " moved ", backends: [" servers \
    "]}\n  - {name: q, health: {check: off}, backends: [{name: b1, address: #2}]}\n"
#define S1 "{name: b1, address: #0}"
#define S2 "{name: b2, address: #1}"
#define S3 "{name: b3, address: #3}"

START_TEST(streams_follow_keys_that_a_reload_has_moved)
{
    streams_after(TCP STREAM_POOL("always", S1 ", " S2), TCP STREAM_POOL("always", S1), true);
    streams_after(TCP STREAM_POOL("always", S1 ", " S2),
                  TCP STREAM_POOL("always", S1 ", " S2 ", " S3), true);
    /* the setting is the new configuration's, too */
    streams_after(TCP STREAM_POOL("down", S1 ", " S2), TCP STREAM_POOL("always", S1), true);
    /* whatever the listener's pool is now */
    streams_after(TCP STREAM_POOL("always", S1 ", " S2), TCP_OF_Q STREAM_POOL("always", S1), true);
}
END_TEST

START_TEST(streams_stay_at_a_server_that_has_left)
{
    streams_after(TCP STREAM_POOL("down", S1 ", " S2), TCP STREAM_POOL("down", S1), false);
    streams_after(TCP STREAM_POOL("never", S1 ", " S2), TCP STREAM_POOL("never", S1), false);
    streams_after(TCP STREAM_POOL("always", S1 ", " S2), TCP STREAM_POOL("down", S1), false);
}
END_TEST

START_TEST(an_update_that_lies_in_the_mailbox_at_the_end_is_freed)
{
    struct backends b = {.ports = {1, 2, 3, 4, 5}};
    struct group g = {.b = &b, .ports = {free_port(), free_port(), free_port()}};
    struct worker *w = &g.p.workers[0];
    struct error e;
    int fds[WORKERS][NPORTS], more[WORKERS][NPORTS];
    log_set_level(LOG_ERROR);
    ck_assert_int_eq(uv_loop_init(&g.p.loop), 0);
    ck_assert_int_eq(mailbox_init(&g.p.control, &g.p.loop, on_control), 0);
    struct snapshot *s = g.p.current = build_group(&g, "listeners:\n" WEB("") POOLS);
    open_sockets(s, NULL, fds);
    ck_assert_msg(worker_init(w, 0, s, &g.p.control, fds[0], &e), "%s", e.text);
    struct snapshot *new = build_group(&g, "listeners:\n" SECOND("") WEB("") POOLS);
    open_sockets(new, s, more);
    worker_post(w, WORKER_STOP, NULL, NULL);
    struct worker_update *u = worker_update_new(new, more[0], &e);
    ck_assert_ptr_nonnull(u);
    worker_post(w, WORKER_GENERATION, u, worker_update_release);
    close_sockets(s, fds);
    close_sockets(new, more);
    ck_assert(!is_refused(g.ports[1])); /* the update has the socket */
    uv_run(&w->loop, UV_RUN_DEFAULT);   /* ends with the stop, and does not come to the update */
    ck_assert_uint_eq(atomic_load(&new->ref.count), 2);
    worker_deinit(w);
    uv_run(&g.p.loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(atomic_load(&new->ref.count), 1);
    ck_assert_uint_eq(atomic_load(&s->ref.count), 1);
    ck_assert(is_refused(g.ports[0]) && is_refused(g.ports[1]));
    snapshot_retire(s);
    snapshot_unref(s);
    snapshot_retire(new);
    snapshot_unref(new);
    mailbox_close(&g.p.control);
    uv_run(&g.p.loop, UV_RUN_DEFAULT);
    mailbox_deinit(&g.p.control);
    ck_assert_int_eq(uv_loop_close(&g.p.loop), 0);
}
END_TEST

/* How many descriptors there are for traffic. */
static unsigned room(void)
{
    unsigned n = 0;
    while (descriptors_take(DESCRIPTORS_BACKEND, 1))
        n++;
    descriptors_give(n);
    return n;
}

START_TEST(sockets_of_listeners_are_not_for_traffic)
{
    struct backends b;
    struct group g;
    struct rlimit small = {.rlim_cur = 512, .rlim_max = 512};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &small), 0);
    start_backends(&b);
    descriptors_init();
    unsigned all = room();
    start_group(&g, &b, "listeners:\n" WEB("") POOLS);
    ck_assert_uint_eq(room(), all - WORKERS);
    reload(&g, "listeners:\n" WEB("") SECOND("") POOLS);
    wait_until_alive(&g, 0);
    ck_assert_uint_eq(room(), all - 2 * WORKERS);
    reload(&g, "listeners:\n" SECOND("") POOLS);
    wait_until_alive(&g, 0);
    ck_assert_uint_eq(room(), all - WORKERS);
    stop_group(&g);
    ck_assert_uint_eq(room(), all);
    stop_backends(&b);
}
END_TEST

START_TEST(updates_that_come_while_workers_stop_are_freed)
{
    struct backends b;
    struct group g;
    start_backends(&b);
    start_group(&g, &b, "listeners:\n" WEB("") POOLS);
    int fd = dial_and_ask(g.ports[0]);
    begin_request(fd); /* so that the workers may stop with a client, too */
    for (unsigned i = 0; i < WORKERS; i++)
        worker_post(&g.p.workers[i], WORKER_STOP, NULL, NULL);
    reload(&g, "listeners:\n" WEB("") SECOND("") POOLS);
    for (unsigned i = 0; i < WORKERS; i++)
        worker_post(&g.p.workers[i], WORKER_ABORT, NULL, NULL);
    reload(&g, "listeners:\n" SECOND("") POOLS);
    stop_group(&g); /* counts who has the generations */
    ck_assert(is_refused(g.ports[1]));
    close(fd);
    stop_backends(&b);
}
END_TEST

static void post_all(struct group *g, enum worker_message kind)
{
    for (unsigned i = 0; i < WORKERS; i++)
        worker_post(&g->p.workers[i], kind, NULL, NULL);
}

START_TEST(clients_of_workers_that_retire_have_one_more_answer)
{
    struct backends b;
    struct group g;
    start_backends(&b);
    start_group(&g, &b, "listeners:\n" WEB("") POOLS);
    int used = dial_and_ask(g.ports[0]), fresh = dial(g.ports[0]), idle = dial_and_ask(g.ports[0]);
    ck_assert_int_ge(fresh, 0);
    post_all(&g, WORKER_RETIRE);
    wait_until_refused(g.ports[0]);
    ask_last(used);
    ask_last(fresh);
    post_all(&g, WORKER_RETIRE); /* once is enough */
    post_all(&g, WORKER_STOP);
    ck_assert(ends(idle));
    close(used);
    close(fresh);
    close(idle);
    stop_group(&g);
    stop_backends(&b);
}
END_TEST

/* One worker whose loop this thread turns, so that it is known what comes first. */
START_TEST(a_request_that_has_come_when_the_worker_stops_is_answered)
{
    struct backends b;
    struct error e;
    int fds[WORKERS][NPORTS];
    start_backends(&b);
    struct group g = {.b = &b, .ports = {free_port(), free_port(), free_port()}};
    struct worker *w = &g.p.workers[0];
    ck_assert_int_eq(uv_loop_init(&g.p.loop), 0);
    ck_assert_int_eq(mailbox_init(&g.p.control, &g.p.loop, on_control), 0);
    struct snapshot *s = g.p.current = build_group(&g, "listeners:\n" WEB("") POOLS);
    open_sockets(s, NULL, fds);
    ck_assert_msg(worker_init(w, 0, s, &g.p.control, fds[0], &e), "%s", e.text);
    close_sockets(s, fds);
    static const char get[] = "GET / HTTP/1.1\r\nHost: h\r\nX-Key: 1\r\n\r\n";
    char text[4096];
    size_t n = 0;
    int fd = dial(g.ports[0]);
    ck_assert_int_eq(send(fd, get, sizeof get - 1, MSG_NOSIGNAL), sizeof get - 1);
    while (n < 4 || memcmp(text + n - 4, "here", 4) != 0) {
        uv_run(&w->loop, UV_RUN_NOWAIT);
        ssize_t r = recv(fd, text + n, sizeof text - n, MSG_DONTWAIT);
        n += r > 0 ? (size_t)r : 0;
    }
    uv_run(&w->loop, UV_RUN_NOWAIT);         /* the session is idle */
    worker_post(w, WORKER_STOP, NULL, NULL); /* the loop hears of this first */
    ck_assert_int_eq(send(fd, get, sizeof get - 1, MSG_NOSIGNAL), sizeof get - 1);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    read_last(fd);
    close(fd);
    worker_deinit(w);
    snapshot_retire(s);
    uv_run(&g.p.loop, UV_RUN_NOWAIT);
    snapshot_unref(s);
    mailbox_close(&g.p.control);
    uv_run(&g.p.loop, UV_RUN_DEFAULT);
    mailbox_deinit(&g.p.control);
    ck_assert_int_eq(uv_loop_close(&g.p.loop), 0);
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
    tcase_add_test(c, a_listener_comes_and_goes);
    tcase_add_test(c, a_request_in_flight_at_a_listener_that_goes_ends_with_close);
    tcase_add_test(c, a_listener_that_stays_keeps_its_clients_whatever_else_changes);
    tcase_add_test(c, a_listener_may_change_its_mode);
    tcase_add_test(c, idle_clients_take_the_new_idle_timeout);
    tcase_add_test(c, idle_clients_hold_no_generation_of_a_thousand);
    tcase_add_test(c, a_server_that_leaves_finishes_what_it_carries);
    tcase_add_test(c, what_servers_are_told_of_a_kept_client_is_by_the_new_configuration);
    tcase_add_test(c, streams_follow_keys_that_a_reload_has_moved);
    tcase_add_test(c, streams_stay_at_a_server_that_has_left);
    tcase_add_test(c, an_update_that_lies_in_the_mailbox_at_the_end_is_freed);
    tcase_add_test(c, sockets_of_listeners_are_not_for_traffic);
    tcase_add_test(c, updates_that_come_while_workers_stop_are_freed);
    tcase_add_test(c, clients_of_workers_that_retire_have_one_more_answer);
    tcase_add_test(c, a_request_that_has_come_when_the_worker_stops_is_answered);
    suite_add_tcase(s, c);
    return s;
}

int main(void)
{
    return unit_main(build);
}
