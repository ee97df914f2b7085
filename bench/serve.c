/* `ringbench serve`: a test backend that answers with its name.
 *
 * Any path: 200 and the name; /healthz: 200. /__stats tells how many requests came (checks apart),
 * POST /__control makes it misbehave: fail_checks=1, hang=1, status=500, delay=20, in the query or
 * as a JSON object; 0 ends it (status=0 is 200 again). */
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/units.h"
#include "bench/bench.h"
#include "net/miniserver.h"

#define MAX_BODY (64 * 1024 * 1024)
#define MAX_DELAY_MS 86400000
#define MAX_NAME 200
#define MAX_CONNECTIONS 20000

/* What POST /__control sets. */
struct behaviour {
    uint64_t fail_checks, hang, status, delay;
};

struct serve {
    const char *name;
    struct addr listen;
    char *body;
    size_t body_len;
    struct behaviour now;
    uint64_t requests, checks;
    uv_loop_t loop;
    uv_signal_t term, intr;
    struct miniserver *server;
};

/* --- /__control --- */

static const struct setting {
    const char *name;
    size_t offset;
    uint64_t max;
} settings[] = {
    {"fail_checks", offsetof(struct behaviour, fail_checks), 1},
    {"hang", offsetof(struct behaviour, hang), 1},
    {"status", offsetof(struct behaviour, status), 599},
    {"delay", offsetof(struct behaviour, delay), MAX_DELAY_MS},
};

#define NSETTINGS (sizeof settings / sizeof settings[0])

static uint64_t *setting_of(struct behaviour *b, const struct setting *s)
{
    return (uint64_t *)((char *)b + s->offset);
}

static bool valid(const struct setting *s, uint64_t v)
{
    bool is_status = s->offset == offsetof(struct behaviour, status);
    return v <= s->max && (!is_status || v == 0 || v >= 200);
}

/* Digits alone, and not more than max. */
static bool parse_number(struct str s, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || v > max)
            return false;
        v = v * 10 + (uint64_t)(s.p[i] - '0');
    }
    *out = v;
    return s.n > 0 && v <= max;
}

/* False: a value that makes no sense. Sets what is in the query and leaves the rest. */
static bool set_from_query(struct behaviour *b, struct str query)
{
    struct buffer text = {0};
    bool ok = true;
    for (size_t i = 0; i < NSETTINGS && ok; i++) {
        buffer_clear(&text);
        enum miniserver_query found = miniserver_query(query, settings[i].name, &text);
        if (found == QUERY_ABSENT)
            continue;
        struct str value = {text.data, text.end};
        uint64_t v;
        ok = found == QUERY_FOUND && parse_number(value, settings[i].max, &v) &&
             valid(&settings[i], v);
        if (ok)
            *setting_of(b, &settings[i]) = v;
    }
    buffer_release(&text);
    return ok;
}

static bool set_from_json(struct behaviour *b, struct str body)
{
    json_t *root = json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES, NULL);
    bool ok = json_is_object(root);
    for (size_t i = 0; i < NSETTINGS && ok; i++) {
        json_t *v = json_object_get(root, settings[i].name);
        if (v == NULL)
            continue;
        json_int_t n = json_is_boolean(v) ? json_boolean_value(v) : json_integer_value(v);
        ok = (json_is_integer(v) || json_is_boolean(v)) && n >= 0 &&
             valid(&settings[i], (uint64_t)n);
        if (ok)
            *setting_of(b, &settings[i]) = (uint64_t)n;
    }
    json_decref(root);
    return ok;
}

static bool answer_json(struct miniserver_answer *a, json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    a->type = "application/json";
    bool ok = text && buffer_append(a->text, text, strlen(text)) && buffer_append(a->text, "\n", 1);
    free(text);
    return ok;
}

static bool control(struct serve *v, const struct miniserver_request *q,
                    struct miniserver_answer *a)
{
    if (q->head->method != METHOD_POST) {
        a->status = 405;
        return miniserver_field(a, "Allow", STR("POST"));
    }
    struct behaviour wanted = v->now;
    if (!set_from_query(&wanted, q->query) || (q->body.n && !set_from_json(&wanted, q->body))) {
        a->status = 400;
        a->body = STR("allowed: fail_checks=0|1, hang=0|1, status=0|200-599, delay=MS\n");
        return true;
    }
    v->now = wanted;
    return answer_json(a, json_pack("{s:I, s:I, s:I, s:I}", "fail_checks",
                                    (json_int_t)wanted.fail_checks, "hang", (json_int_t)wanted.hang,
                                    "status", (json_int_t)wanted.status, "delay",
                                    (json_int_t)wanted.delay));
}

/* --- requests --- */

static bool stats(struct serve *v, struct miniserver_answer *a)
{
    return answer_json(a, json_pack("{s:s, s:I, s:I}", "name", v->name, "requests",
                                    (json_int_t)v->requests, "checks", (json_int_t)v->checks));
}

static bool handle(void *arg, const struct miniserver_request *q, struct miniserver_answer *a)
{
    struct serve *v = arg;
    if (str_eq(q->path, STR("/__stats")))
        return stats(v, a);
    if (str_eq(q->path, STR("/__control")))
        return control(v, q, a);
    a->delay_ms = v->now.hang ? MINISERVER_NEVER : v->now.delay;
    if (str_eq(q->path, STR("/healthz"))) {
        v->checks++;
        a->status = v->now.fail_checks ? 500 : 200;
        a->body = v->now.fail_checks ? STR("failing on request\n") : STR("ok\n");
        return true;
    }
    v->requests++;
    if (v->now.status)
        a->status = (int)v->now.status;
    a->body = (struct str){v->body, v->body_len};
    return miniserver_field(a, "X-Backend", str_of(v->name));
}

/* --- the program --- */

static const char usage[] =
    "usage: ringbench serve --listen ADDR --name NAME [--body-size N] [--delay MS]\n\n"
    "A test backend. Any path answers 200 with NAME as the body and the field X-Backend: NAME.\n\n"
    "  --listen ADDR     HOST:PORT or [V6]:PORT; port 0 takes a free one\n"
    "  --name NAME       what it answers\n"
    "  --body-size N     pads the body with dots to N bytes (or 16KiB, 1MiB, ...)\n"
    "  --delay MS        answers that much later\n\n"
    "GET /healthz answers 200; GET /__stats tells the number of requests; POST /__control with\n"
    "fail_checks, hang, status or delay (a query, or a JSON object) changes how it behaves.\n";

static int bad_usage(const char *what, const char *value)
{
    fprintf(stderr, "ringbench serve: %s: %s\n%s", what, value, usage);
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

static bool parse_size(const char *text, uint64_t *size)
{
    struct str s = str_of(text);
    return parse_number(s, MAX_BODY, size) || (units_parse_size(s, size) && *size <= MAX_BODY);
}

static bool parse_delay(const char *text, uint64_t *ms)
{
    struct str s = str_of(text);
    return parse_number(s, MAX_DELAY_MS, ms) ||
           (units_parse_duration(s, ms) && *ms <= MAX_DELAY_MS);
}

/* BENCH_OK: v holds what was asked for. -1: help was printed. */
static int parse_options(struct serve *v, int argc, char **argv, uint64_t *size)
{
    static const struct option options[] = {{"listen", required_argument, NULL, 'l'},
                                            {"name", required_argument, NULL, 'n'},
                                            {"body-size", required_argument, NULL, 's'},
                                            {"delay", required_argument, NULL, 'd'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    int c;
    bool listen = false;
    optind = 1;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'l' && !(listen = parse_listen(optarg, &v->listen)))
            return bad_usage("not an address", optarg);
        if (c == 'n' && !valid_name(v->name = optarg))
            return bad_usage("not a name (1 to 200 printable ASCII characters)", optarg);
        if (c == 's' && !parse_size(optarg, size))
            return bad_usage("not a size up to 64MiB", optarg);
        if (c == 'd' && !parse_delay(optarg, &v->now.delay))
            return bad_usage("not a delay up to 24h", optarg);
        if (c == 'h')
            return fputs(usage, stdout) < 0 ? BENCH_FAILED : -1;
        if (c == '?') {
            fputs(usage, stderr);
            return BENCH_USAGE;
        }
    }
    if (optind < argc)
        return bad_usage("unexpected argument", argv[optind]);
    if (!listen || v->name == NULL)
        return bad_usage("required", listen ? "--name NAME" : "--listen ADDR");
    return BENCH_OK;
}

static void make_body(struct serve *v, uint64_t size)
{
    size_t n = strlen(v->name);
    v->body_len = size > n ? (size_t)size : n;
    v->body = mem_zalloc(v->body_len);
    memset(v->body, '.', v->body_len);
    memcpy(v->body, v->name, n);
}

/* Once the server and the signals are closed the loop has nothing left and uv_run() returns. */
static void stop(struct serve *v)
{
    if (uv_is_closing((uv_handle_t *)&v->term))
        return;
    uv_close((uv_handle_t *)&v->term, NULL);
    uv_close((uv_handle_t *)&v->intr, NULL);
    miniserver_close(v->server, NULL, NULL);
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

static bool announce(const struct serve *v, struct error *e)
{
    char text[ADDR_TEXT_MAX];
    addr_format(miniserver_address(v->server), text);
    printf("%s listening on %s\n", v->name, text);
    if (fflush(stdout) == 0)
        return true;
    error_errno(e, errno, "stdout");
    return false;
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
    const struct miniserver_options options = {
        .handle = handle, .arg = v, .max_connections = MAX_CONNECTIONS};
    v->server = miniserver_new(&v->loop, &options);
    bool ok = miniserver_listen(v->server, &v->listen, &e) &&
              watch_signal(v, &v->term, SIGTERM, &e) && watch_signal(v, &v->intr, SIGINT, &e) &&
              announce(v, &e);
    if (!ok) {
        fprintf(stderr, "ringbench serve: %s\n", e.text);
        stop(v);
    }
    uv_run(&v->loop, UV_RUN_DEFAULT);
    return ok ? BENCH_OK : BENCH_FAILED;
}

int bench_serve(int argc, char **argv)
{
    struct serve *v = mem_zalloc(sizeof *v);
    uint64_t size = 0;
    int code = parse_options(v, argc, argv, &size);
    if (code != BENCH_OK) {
        free(v);
        return code < 0 ? BENCH_OK : code;
    }
    signal(SIGPIPE, SIG_IGN);
    make_body(v, size);
    int rc = uv_loop_init(&v->loop);
    if (rc == 0) {
        code = run(v);
        rc = uv_loop_close(&v->loop);
        assert(rc == 0); /* every handle was closed */
    } else {
        fprintf(stderr, "ringbench serve: event loop: %s\n", uv_strerror(rc));
        code = BENCH_FAILED;
    }
    free(v->body);
    free(v);
    return code;
}
