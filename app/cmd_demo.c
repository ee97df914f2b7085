/* `ringproxy demo`: a proxy, four backends and a standby in one process, to try things on.
 *
 *   main thread     control_run(), as in `ringproxy run`, with a configuration that is made here
 *   second thread   the loop of five servers of httpd/: the backends and the standby
 */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "app/app.h"
#include "app/control.h"
#include "app/options.h"
#include "base/log.h"
#include "base/mem.h"
#include "httpd/httpd.h"

#define NSERVERS 5 /* the last one is the standby */
#define CONFIG_MAX 4096
#define TOUR_MAX 4096

static const char *const names[NSERVERS] = {"b1", "b2", "b3", "b4", "s1"};

struct demo_server {
    const char *name;
    struct httpd *server;
    uint16_t port;
    bool failing; /* its checks fail, see POST /fail */
};

struct demo {
    uv_loop_t loop; /* of the backends */
    struct net net;
    uv_async_t stop;
    uv_thread_t thread;
    struct demo_server servers[NSERVERS];
    uint16_t proxy_port, admin_port;
};

/* What is printed. Not in struct demo: a thread may still wait for its reader when all else ends.
 */
static struct {
    char text[TOUR_MAX];
    size_t n;
} tour;

/* --- backends --- */

static bool set_failing(struct demo_server *s, const struct httpd_request *q,
                        struct httpd_answer *a, bool failing)
{
    if (q->head->method != METHOD_POST) {
        a->status = 405;
        return httpd_field(a, "Allow", STR("POST"));
    }
    s->failing = failing;
    a->body = failing ? STR("its health checks fail now\n") : STR("its health checks pass again\n");
    return true;
}

/* /fail and /recover decide what /healthz says; each other path answers with the backend's name. */
static bool handle(void *arg, struct httpd_request *q, struct httpd_answer *a)
{
    struct demo_server *s = arg;
    if (str_eq(q->path, STR("/fail")) || str_eq(q->path, STR("/recover")))
        return set_failing(s, q, a, q->path.n == strlen("/fail"));
    if (str_eq(q->path, STR("/healthz"))) {
        a->status = s->failing ? 503 : 200;
        a->body = s->failing ? STR("failing on request\n") : STR("ok\n");
        return true;
    }
    return httpd_field(a, "X-Backend", str_of(s->name)) &&
           buffer_append(a->text, s->name, strlen(s->name)) && buffer_append(a->text, "\n", 1);
}

static struct addr loopback(void)
{
    struct addr a = {.v4 = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}},
                     .len = sizeof a.v4};
    return a;
}

static bool open_server(struct demo *d, struct demo_server *s, const char *name, struct error *e)
{
    const struct httpd_options options = {.handle = handle, .arg = s, .max_connections = 4096};
    struct addr any = loopback();
    s->name = name;
    s->server = httpd_new(&d->net, &options);
    if (!httpd_listen(s->server, &any, e)) {
        error_prefix(e, "backend %s", name);
        return false;
    }
    s->port = addr_port(httpd_address(s->server));
    return true;
}

/* Runs on the backends' thread, or on the main thread if that one was not started. */
static void close_servers(struct demo *d)
{
    for (int i = 0; i < NSERVERS; i++)
        if (d->servers[i].server)
            httpd_close(d->servers[i].server, NULL, NULL);
    net_close(&d->net);
    uv_close((uv_handle_t *)&d->stop, NULL);
}

static void on_stop(uv_async_t *async)
{
    close_servers(async->data);
}

static void backends_main(void *arg)
{
    struct demo *d = arg;
    uv_run(&d->loop, UV_RUN_DEFAULT);
}

/* Signals are handled by the main thread, so others block them, as every worker does. */
static int start_thread(uv_thread_t *thread, uv_thread_cb entry, void *arg)
{
    sigset_t all, before;
    sigfillset(&all);
    int rc = -pthread_sigmask(SIG_SETMASK, &all, &before);
    if (rc < 0)
        return rc;
    rc = uv_thread_create(thread, entry, arg);
    int back = -pthread_sigmask(SIG_SETMASK, &before, NULL);
    assert(back == 0); /* the mask was just read from there */
    (void)back;
    return rc;
}

/* --- the proxy --- */

/* Finds two ports that are free now. Both sockets are held until both ports are known, so they
 * differ. If another program takes one before the proxy binds it, the demo does not start. */
static bool pick_ports(uint16_t ports[2], struct error *e)
{
    int fds[2] = {-1, -1};
    bool ok = true;
    for (int i = 0; i < 2 && ok; i++) {
        struct addr a = loopback();
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ok = fds[i] >= 0 && bind(fds[i], &a.sa, a.len) == 0 &&
             getsockname(fds[i], &a.sa, &a.len) == 0;
        if (!ok)
            error_errno(e, errno, "a free port");
        ports[i] = addr_port(&a);
    }
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return ok;
}

/* Short intervals, so that a failover and a failback are seen within a few seconds. */
static const char config_format[] =
    "workers: 2\n"
    "shutdown_timeout: 5s\n"
    "admin: {listen: '127.0.0.1:%u'}\n"
    "listeners:\n"
    "  - {name: demo, listen: '127.0.0.1:%u', pool: demo, key: ['header:X-Key']}\n"
    "pools:\n"
    "  - name: demo\n"
    "    health: {check: http, path: /healthz, interval: 500ms, timeout: 250ms, fall: 2, rise: 2}\n"
    "    failback: {after: 1s}\n"
    "    backends:\n"
    "      - {name: b1, address: '127.0.0.1:%u'}\n"
    "      - {name: b2, address: '127.0.0.1:%u'}\n"
    "      - {name: b3, address: '127.0.0.1:%u'}\n"
    "      - {name: b4, address: '127.0.0.1:%u'}\n"
    "    standbys:\n"
    "      - {name: s1, address: '127.0.0.1:%u'}\n";

static struct config *make_config(const struct demo *d)
{
    char text[CONFIG_MAX];
    const struct demo_server *s = d->servers;
    int n = snprintf(text, sizeof text, config_format, d->admin_port, d->proxy_port, s[0].port,
                     s[1].port, s[2].port, s[3].port, s[4].port);
    assert(n > 0 && n < CONFIG_MAX);
    struct config_errors errors = {0};
    struct config *config = config_parse("demo", text, (size_t)n, &errors);
    for (size_t i = 0; i < errors.count; i++)
        fprintf(stderr, "%s\n", errors.lines[i]);
    config_errors_free(&errors);
    return config;
}

static void compose_tour(const struct demo *d, FILE *to)
{
    unsigned proxy = d->proxy_port, admin = d->admin_port, b2 = d->servers[1].port;
    fprintf(to,
            "ringproxy demo: a proxy, four backends and a standby in this process\n\n"
            "  proxy  http://127.0.0.1:%u  (key: the header X-Key)\n"
            "  admin  http://127.0.0.1:%u  (/status, /metrics, /route?pool=demo&key=K)\n",
            proxy, admin);
    for (int i = 0; i < NSERVERS; i++)
        fprintf(to, "  %s     http://127.0.0.1:%u%s\n", d->servers[i].name, d->servers[i].port,
                i == NSERVERS - 1 ? "  (standby)" : "");
    fprintf(to,
            "\nOne request:\n"
            "  curl -H 'X-Key: alice' http://127.0.0.1:%u/\n"
            "Who serves which key:\n"
            "  for k in 1 2 3 4 5 6 7 8 9; do echo \"$k $(curl -s -H \"X-Key: $k\" "
            "http://127.0.0.1:%u/)\"; done\n",
            proxy, proxy);
    fprintf(to,
            "Let b2 fail its checks, look again (its keys are on s1, no other moved), heal it:\n"
            "  curl -X POST http://127.0.0.1:%u/fail\n"
            "  curl -X POST http://127.0.0.1:%u/recover\n"
            "Take b3 out of service, and put it back:\n"
            "  curl -X POST http://127.0.0.1:%u/pools/demo/backends/b3/drain\n"
            "  curl -X POST http://127.0.0.1:%u/pools/demo/backends/b3/enable\n\n"
            "Ctrl-C ends it.\n",
            b2, b2, admin, admin);
}

/* Runs on a thread of its own, as perhaps nobody reads. Not by stdio, which would be waited for
 * when the process ends. */
static void tour_main(void *arg)
{
    for (size_t off = 0; off < tour.n;) {
        ssize_t n = write(STDOUT_FILENO, tour.text + off, tour.n - off);
        if (n > 0) {
            off += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            log_event(LOG_WARN, "stdout", strerror(n == 0 ? EIO : errno));
            return; /* the demo runs all the same */
        }
    }
}

static void on_ready(void *arg)
{
    uv_thread_t thread;
    FILE *to = fmemopen(tour.text, sizeof tour.text, "w");
    if (to) {
        compose_tour(arg, to);
        tour.n = (size_t)ftell(to);
        fclose(to);
    }
    if (start_thread(&thread, tour_main, NULL) == 0)
        pthread_detach(thread);
}

static int run_proxy(struct demo *d)
{
    struct config *config = make_config(d);
    if (config == NULL)
        return APP_FAILED;
    const struct control_hooks hooks = {.on_ready = on_ready, .arg = d};
    int status = control_run(config, &hooks);
    config_unref(config);
    return status;
}

/* --- the whole demo --- */

/* Runs the demo on a loop that is initialised. */
static int run(struct demo *d)
{
    struct error e = {0};
    int rc = uv_async_init(&d->loop, &d->stop, on_stop);
    if (rc < 0) {
        fprintf(stderr, "ringproxy demo: %s\n", uv_strerror(rc));
        return APP_FAILED;
    }
    d->stop.data = d;
    net_init(&d->net, &d->loop);
    uint16_t ports[2];
    /* The backends listen before the proxy begins, so that its first checks pass. */
    for (int i = 0; i < NSERVERS; i++)
        if (!open_server(d, &d->servers[i], names[i], &e))
            goto close;
    if (!pick_ports(ports, &e))
        goto close;
    d->proxy_port = ports[0];
    d->admin_port = ports[1];
    rc = start_thread(&d->thread, backends_main, d);
    if (rc < 0) {
        error_set(&e, -rc, "thread: %s", uv_strerror(rc));
        goto close;
    }
    int status = run_proxy(d);
    /* The backends end after the proxy, so that its last requests are answered. */
    rc = uv_async_send(&d->stop);
    assert(rc == 0); /* the handle is open until it runs */
    rc = uv_thread_join(&d->thread);
    assert(rc == 0);
    return status;
close:
    fprintf(stderr, "ringproxy demo: %s\n", e.text);
    close_servers(d);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    return APP_FAILED;
}

int cmd_demo(int argc, char **argv)
{
    (void)argv;
    if (argc > 1)
        return options_usage("demo", "it takes no arguments");
    struct demo *d = mem_zalloc(sizeof *d);
    int status = APP_FAILED, rc = uv_loop_init(&d->loop);
    signal(SIGPIPE, SIG_IGN);
    if (rc == 0) {
        status = run(d);
        net_deinit(&d->net);
        rc = uv_loop_close(&d->loop);
        assert(rc == 0); /* every handle was closed */
    } else {
        fprintf(stderr, "ringproxy demo: event loop: %s\n", uv_strerror(rc));
    }
    free(d);
    return status;
}
