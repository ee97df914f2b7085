/* `ringbench serve`: test backends, one or more in a process, on one loop.
 *
 * Here are the options and the program; what a backend does is in serve_http.c and serve_tcp.c. */
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/limit.h"
#include "base/log.h"
#include "base/mem.h"
#include "bench/backend/behaviour.h"
#include "bench/backend/serve_http.h"
#include "bench/backend/serve_tcp.h"
#include "bench/bench.h"
#include "net/conn.h"

#define MAX_NAME 200
#define MAX_BACKENDS 256
#define LOG_STOP_MS 1000

enum mode { MODE_HTTP, MODE_ECHO, MODE_SINK, MODE_SOURCE };

static const char *const modes[] = {
    [MODE_HTTP] = "http", [MODE_ECHO] = "echo", [MODE_SINK] = "sink", [MODE_SOURCE] = "source"};

#define NMODES (sizeof modes / sizeof modes[0])

/* One of these two is there from backend_open() on. */
struct backend {
    const char *name;
    struct addr listen;
    struct serve_http *http;
    struct serve_tcp *tcp;
};

struct serve {
    struct backend backends[MAX_BACKENDS];
    unsigned naddresses, nnames;
    enum mode mode;
    struct behaviour behaviour; /* of each at the start */
    uint64_t seed;
    const char *http_only; /* an option that was given and that only HTTP has; NULL: none */
    unsigned nopen;
    uv_loop_t loop;
    struct net net;
    uv_signal_t term, intr;
};

/* --- options --- */

static const char usage[] =
    "usage: ringbench serve --listen ADDR --name NAME [--listen ADDR --name NAME]... [OPTION]...\n"
    "\n"
    "A test backend, or several in one process and on one core, each with its own counters. Any\n"
    "path answers 200 with NAME as the body; every answer has the field X-Backend: NAME.\n"
    "\n"
    "  --listen ADDR     HOST:PORT or [V6]:PORT; port 0 takes a free one\n"
    "  --name NAME       what it answers; the first name goes with the first address, and so on\n"
    "  --mode MODE       http (default), or plain TCP: echo sends back what comes, sink throws it\n"
    "                    away, source sends without end once a first byte came\n"
    "\n"
    "for HTTP, the same for all of them at the start:\n"
    "  --delay D         answers that much later: 250ms, 2s; a bare number is milliseconds\n"
    "  --jitter D        a random 0 to D on top\n"
    "  --body-size N     pads the body with dots to N bytes (or 16KiB, 1MiB, ...)\n"
    "  --chunked         sends the body in chunks\n"
    "  --chunk-size N    of that size (default 4KiB)\n"
    "  --slow-body D     the body drips out evenly over D\n"
    "  --error-rate R    answers that share of the requests, 0 to 1, with 500\n"
    "  --hang-rate R     never answers that share\n"
    "  --seed N          another choice of those, and of the jitter; the same N, the same choice\n"
    "\n"
    "GET /healthz answers 200 and is not counted as a request. GET /__stats tells the counts, "
    "POST\n"
    "/__stats?reset=1 sets them to 0. POST /__control changes how this one behaves, by a query or "
    "a\n"
    "JSON object: delay, jitter, body_size, chunked, chunk_size, slow_body, error_rate, "
    "hang_rate,\n"
    "status=200-599 (0: as usual), hang=1, fail_checks=1, stall=D (answers nothing for so long).\n";

static int bad_usage(const char *what)
{
    fprintf(stderr, "ringbench serve: %s\n%s", what, usage);
    return BENCH_USAGE;
}

/* "--delay abc: why". */
static int bad_value(const char *option, const char *value, const char *why)
{
    fprintf(stderr, "ringbench serve: --%s %s: %s\n%s", option, value, why, usage);
    return BENCH_USAGE;
}

/* addr_parse() that takes port 0 too. */
static bool parse_listen(const char *text, struct addr *out)
{
    size_t n = strlen(text);
    bool any_port = n > 2 && strcmp(text + n - 2, ":0") == 0;
    char *with_port = mem_strdup(text);
    if (any_port)
        with_port[n - 1] = '1';
    bool ok = addr_parse(str_of(with_port), out) == ADDR_OK && !addr_is_unix(out);
    free(with_port);
    if (ok && any_port && out->sa.sa_family == AF_INET6)
        out->v6.sin6_port = 0;
    else if (ok && any_port)
        out->v4.sin_port = 0;
    return ok;
}

/* Printable ASCII: it goes into a header field and into JSON. */
static bool valid_name(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if (name[i] < ' ' || name[i] > '~')
            return false;
    return n > 0 && n <= MAX_NAME;
}

static int take_address(struct serve *v, const char *text)
{
    if (v->naddresses == MAX_BACKENDS)
        return bad_value("listen", text, "256 backends are the most");
    if (!parse_listen(text, &v->backends[v->naddresses].listen))
        return bad_value("listen", text, "allowed is HOST:PORT or [V6]:PORT, numbers only");
    v->naddresses++;
    return BENCH_OK;
}

static int take_name(struct serve *v, const char *name)
{
    if (v->nnames == MAX_BACKENDS)
        return bad_value("name", name, "256 backends are the most");
    if (!valid_name(name))
        return bad_value("name", name, "allowed is 1 to 200 printable ASCII characters");
    for (unsigned i = 0; i < v->nnames; i++)
        if (strcmp(v->backends[i].name, name) == 0)
            return bad_value("name", name, "another backend has it");
    v->backends[v->nnames++].name = name;
    return BENCH_OK;
}

static int take_mode(struct serve *v, const char *text)
{
    for (unsigned i = 0; i < NMODES; i++)
        if (strcmp(text, modes[i]) == 0) {
            v->mode = (enum mode)i;
            return BENCH_OK;
        }
    return bad_value("mode", text, "allowed is http, echo, sink, source");
}

static int take_seed(struct serve *v, const char *text)
{
    char *end;
    errno = 0;
    v->seed = strtoull(text, &end, 10);
    v->http_only = "seed";
    if (text[0] < '0' || text[0] > '9' || *end || errno)
        return bad_value("seed", text, "allowed is 0 to 18446744073709551615");
    return BENCH_OK;
}

static int take_setting(struct serve *v, const char *option, const char *value)
{
    struct error e;
    v->http_only = option;
    if (!behaviour_set(&v->behaviour, str_of(option), str_of(value), &e))
        return bad_value(option, value, e.text);
    return BENCH_OK;
}

/* What the options say together. */
static int check_options(struct serve *v)
{
    struct error e;
    char text[128];
    if (v->naddresses == 0 || v->nnames == 0)
        return bad_usage(v->naddresses ? "--name NAME is required" : "--listen ADDR is required");
    if (v->naddresses != v->nnames) {
        snprintf(text, sizeof text, "--listen and --name come in pairs, not %u and %u",
                 v->naddresses, v->nnames);
        return bad_usage(text);
    }
    if (v->mode != MODE_HTTP && v->http_only) {
        snprintf(text, sizeof text, "--%s is only for --mode http", v->http_only);
        return bad_usage(text);
    }
    return behaviour_check(&v->behaviour, &e) ? BENCH_OK : bad_usage(e.text);
}

static int take_option(struct serve *v, int c, const char *name, const char *value)
{
    switch (c) {
    case 'l':
        return take_address(v, value);
    case 'n':
        return take_name(v, value);
    case 'm':
        return take_mode(v, value);
    case 'r':
        return take_seed(v, value);
    case 's':
        return take_setting(v, name, value ? value : "1");
    default: /* getopt has said what is wrong */
        fputs(usage, stderr);
        return BENCH_USAGE;
    }
}

/* BENCH_OK: v holds what was asked for. -1: help was printed. */
static int parse_options(struct serve *v, int argc, char **argv)
{
    static const struct option options[] = {{"listen", required_argument, NULL, 'l'},
                                            {"name", required_argument, NULL, 'n'},
                                            {"mode", required_argument, NULL, 'm'},
                                            {"seed", required_argument, NULL, 'r'},
                                            {"delay", required_argument, NULL, 's'},
                                            {"jitter", required_argument, NULL, 's'},
                                            {"body-size", required_argument, NULL, 's'},
                                            {"chunked", no_argument, NULL, 's'},
                                            {"chunk-size", required_argument, NULL, 's'},
                                            {"slow-body", required_argument, NULL, 's'},
                                            {"error-rate", required_argument, NULL, 's'},
                                            {"hang-rate", required_argument, NULL, 's'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    int c, at = 0, code = BENCH_OK;
    optind = 1;
    behaviour_init(&v->behaviour);
    while (code == BENCH_OK && (c = getopt_long(argc, argv, "", options, &at)) != -1) {
        if (c == 'h')
            return fputs(usage, stdout) < 0 ? BENCH_FAILED : -1;
        code = take_option(v, c, options[at].name, optarg);
    }
    if (code == BENCH_OK && optind < argc) {
        fprintf(stderr, "ringbench serve: unexpected argument: %s\n%s", argv[optind], usage);
        return BENCH_USAGE;
    }
    return code == BENCH_OK ? check_options(v) : code;
}

/* --- backends --- */

static bool backend_open(struct serve *v, struct backend *b, struct error *e)
{
    if (v->mode == MODE_HTTP) {
        b->http = serve_http_new(&v->net, b->name, &v->behaviour, v->seed);
        return serve_http_listen(b->http, &b->listen, e);
    }
    b->tcp = serve_tcp_new(&v->net, v->mode == MODE_ECHO   ? SERVE_ECHO
                                    : v->mode == MODE_SINK ? SERVE_SINK
                                                           : SERVE_SOURCE);
    return serve_tcp_listen(b->tcp, &b->listen, e);
}

static void backend_close(struct backend *b)
{
    if (b->http)
        serve_http_close(b->http);
    else
        serve_tcp_close(b->tcp);
}

static void backend_free(struct backend *b)
{
    if (b->http)
        serve_http_free(b->http);
    else
        serve_tcp_free(b->tcp);
}

/* False: those that were begun, the last one maybe in vain, are to be closed. */
static bool open_all(struct serve *v, struct error *e)
{
    while (v->nopen < v->nnames)
        if (!backend_open(v, &v->backends[v->nopen++], e))
            return false;
    return true;
}

static bool announce(const struct serve *v, struct error *e)
{
    for (unsigned i = 0; i < v->nopen; i++) {
        const struct backend *b = &v->backends[i];
        char text[ADDR_TEXT_MAX];
        addr_format(b->http ? serve_http_address(b->http) : serve_tcp_address(b->tcp), text);
        printf("%s listening on %s\n", b->name, text);
    }
    if (fflush(stdout) == 0)
        return true;
    error_errno(e, errno, "stdout");
    return false;
}

/* --- the program --- */

/* Once the backends, the net and the signals are closed the loop has nothing left and uv_run()
 * returns. */
static void stop(struct serve *v)
{
    if (uv_is_closing((uv_handle_t *)&v->term))
        return;
    uv_close((uv_handle_t *)&v->term, NULL);
    uv_close((uv_handle_t *)&v->intr, NULL);
    for (unsigned i = 0; i < v->nopen; i++)
        backend_close(&v->backends[i]);
    net_close(&v->net);
}

static void on_signal(uv_signal_t *s, int number)
{
    stop(s->data);
}

static bool watch_signal(struct serve *v, uv_signal_t *s, int number, struct error *e)
{
    s->data = v;
    int rc = uv_signal_start(s, on_signal, number);
    if (rc < 0)
        error_set(e, -rc, "signal %d: %s", number, uv_strerror(rc));
    return rc == 0;
}

/* A connection takes a descriptor, and the soft limit is only a default. */
static void raise_descriptor_limit(void)
{
    struct error e;
    if (!limit_raise_descriptors(&e))
        fprintf(stderr, "ringbench serve: descriptor limit: %s\n", strerror(e.code));
}

/* From an initialised loop to its end. */
static int run(struct serve *v)
{
    struct error e;
    int rc = uv_signal_init(&v->loop, &v->term);
    if (rc < 0) {
        fprintf(stderr, "ringbench serve: signals: %s\n", uv_strerror(rc));
        return BENCH_FAILED;
    }
    rc = uv_signal_init(&v->loop, &v->intr);
    assert(rc == 0); /* only the first one of a loop needs descriptors */
    net_init(&v->net, &v->loop);
    /* the HTTP server logs when it can't accept */
    bool ok = log_start(&e) && open_all(v, &e) && watch_signal(v, &v->term, SIGTERM, &e) &&
              watch_signal(v, &v->intr, SIGINT, &e) && announce(v, &e);
    if (!ok) {
        fprintf(stderr, "ringbench serve: %s\n", e.text);
        stop(v);
    }
    uv_run(&v->loop, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < v->nopen; i++)
        backend_free(&v->backends[i]);
    net_deinit(&v->net);
    log_stop(LOG_STOP_MS);
    return ok ? BENCH_OK : BENCH_FAILED;
}

int bench_serve(int argc, char **argv)
{
    struct serve *v = mem_zalloc(sizeof *v);
    int code = parse_options(v, argc, argv);
    if (code != BENCH_OK) {
        free(v);
        return code < 0 ? BENCH_OK : code;
    }
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    int rc = uv_loop_init(&v->loop);
    if (rc == 0) {
        code = run(v);
        rc = uv_loop_close(&v->loop);
        assert(rc == 0); /* every handle was closed */
    } else {
        fprintf(stderr, "ringbench serve: event loop: %s\n", uv_strerror(rc));
        code = BENCH_FAILED;
    }
    free(v);
    return code;
}
