/* `ringbench tcp`: ping-pong with an echo server, or as many bytes as the connections can carry. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/load/arguments.h"
#include "bench/load/bulk.h"
#include "bench/load/load_arguments.h"
#include "bench/load/pong_wire.h"
#include "bench/load/result.h"
#include "bench/load/run.h"
#include "bench/report/report.h"

#define SIZE_DEFAULT 128
#define SIZE_MAX_BYTES (1u << 20)

struct tcp_command {
    const char *target, *json, *report, *direction;
    bool bulk, quiet;
    uint64_t size;
    struct load_options load;
    struct targets targets;
};

static const char usage[] =
    "usage: ringbench tcp HOST:PORT [OPTION]...\n\n"
    "  --mode M              ping-pong (default): messages to an echo server, each answered "
    "before\n"
    "                        the next; bulk: bytes as fast as they go\n"
    "  --connections N       default 64; bulk: 4\n"
    "  --duration D          such as 10s (the default) or 500ms\n"
    "  --timeout D           that an answer, and a connection, may take (default 10s)\n"
    "  --json FILE           all figures, for programs\n"
    "  --report FILE.html    the same as a page to look at\n"
    "  --quiet               no line of progress\n"
    "ping-pong\n"
    "  --size N              bytes of a message (default 128; or 16KiB, ...)\n"
    "  --threads N, --requests N, --rate R, --pipeline N: as of `ringbench http`\n"
    "bulk\n"
    "  --direction D         down (default): from a server that sends without end once it has got "
    "a\n"
    "                        byte; up: to one that reads; both: an echo server\n\n"
    "`ringbench serve --mode echo|source|sink` is such a server.\n"
    "Exit: 0; 1 if the target could not be reached or a file not be written; 2 for bad usage.\n";

static int failed(const struct error *e)
{
    fprintf(stderr, "ringbench tcp: %s\n", e->text);
    return BENCH_FAILED;
}

/* ---- options ---- */

enum { O_MODE = LOAD_ARGUMENT_END, O_SIZE, O_DIRECTION, O_JSON, O_REPORT, O_QUIET };

static const struct option names[] = {
    LOAD_ARGUMENTS,
    {"mode", required_argument, NULL, O_MODE},
    {"size", required_argument, NULL, O_SIZE},
    {"direction", required_argument, NULL, O_DIRECTION},
    {"json", required_argument, NULL, O_JSON},
    {"report", required_argument, NULL, O_REPORT},
    {"quiet", no_argument, NULL, O_QUIET},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool is_direction(const char *text)
{
    return strcmp(text, "up") == 0 || strcmp(text, "down") == 0 || strcmp(text, "both") == 0;
}

/* NULL: the option was taken; else what values are allowed. */
static const char *take_option(struct tcp_command *t, int option, const char *value)
{
    switch (option) {
    case O_MODE:
        t->bulk = strcmp(value, "bulk") == 0;
        return t->bulk || strcmp(value, "ping-pong") == 0 ? NULL : "ping-pong, bulk";
    case O_SIZE:
        return arguments_size(value, SIZE_MAX_BYTES, &t->size) && t->size ? NULL : "1 to 1MiB";
    case O_DIRECTION:
        t->direction = value;
        return is_direction(value) ? NULL : "down, up, both";
    case O_JSON:
        t->json = value;
        return NULL;
    case O_REPORT:
        t->report = value;
        return NULL;
    case O_QUIET:
        t->quiet = true;
        return NULL;
    default:
        return load_arguments_take(&t->load, option, value);
    }
}

static int complete(struct tcp_command *t, bool connections_given)
{
    struct load_options *o = &t->load;
    const char *wrong = NULL;
    if (t->bulk && !connections_given)
        o->connections = 4; /* a few are enough to keep a link full */
    if (t->bulk && (o->rate > 0 || o->requests || o->pipeline > 1 || o->threads > 1 || t->size))
        wrong = "--mode bulk: allowed without --rate, --requests, --pipeline, --threads and --size";
    else if (!t->bulk && t->direction)
        wrong = "--direction: allowed with --mode bulk";
    else if (o->close)
        wrong = "--close: an echo server is to keep its connections";
    else
        wrong = load_arguments_complete(o);
    if (wrong == NULL)
        return BENCH_OK;
    fprintf(stderr, "ringbench tcp: %s\n", wrong);
    return BENCH_USAGE;
}

/* -1: help was printed. Else the exit code; BENCH_OK: *t is filled in. */
static int parse_options(struct tcp_command *t, int argc, char **argv)
{
    int c, index = 0;
    bool connections_given = false;
    optind = 1;
    while ((c = getopt_long(argc, argv, "h", names, &index)) != -1) {
        if (c == 'h') {
            fputs(usage, stdout);
            return -1;
        }
        if (c == '?')
            return BENCH_USAGE;
        const char *allowed = take_option(t, c, optarg);
        if (allowed) {
            fprintf(stderr, "ringbench tcp: --%s %s: allowed %s\n", names[index].name,
                    optarg ? optarg : "", allowed);
            return BENCH_USAGE;
        }
        connections_given |= c == LOAD_ARGUMENT_CONNECTIONS;
    }
    if (optind + 1 != argc) {
        fprintf(stderr, "ringbench tcp: %s: allowed one HOST:PORT\n",
                optind == argc ? "no target" : argv[optind + 1]);
        return BENCH_USAGE;
    }
    t->target = argv[optind];
    return complete(t, connections_given);
}

static bool save(const struct tcp_command *t, json_t *document, struct error *e)
{
    return (t->json == NULL || result_save(document, t->json, e)) &&
           (t->report == NULL || report_write(t->report, &document, 1, e));
}

/* ---- ping-pong ---- */

static json_t *pong_options(const struct tcp_command *t)
{
    const struct load_options *o = &t->load;
    json_t *j = json_pack("{s:s, s:I, s:i, s:i, s:i, s:f}", "mode", "ping-pong", "size",
                          (json_int_t)t->size, "threads", (int)o->threads, "connections",
                          (int)o->connections, "pipeline", (int)o->pipeline, "rate", o->rate);
    if (j == NULL)
        abort();
    return j;
}

static int run_pong(struct tcp_command *t)
{
    struct error e;
    t->size = t->size ? t->size : SIZE_DEFAULT;
    struct wire *w = pong_wire_new(t->size);
    t->load.wire = w;
    json_t *options = pong_options(t);
    const struct result_about about = {"tcp", t->target, time(NULL), options, &t->load};
    struct load_result *r = run_load(&t->load, &t->targets, !t->quiet && isatty(STDERR_FILENO), &e);
    bool ok = r != NULL;
    if (ok) {
        json_t *document = result_json(&about, r);
        result_print(stdout, &about, r);
        ok = save(t, document, &e);
        json_decref(document);
    }
    int code = !ok ? failed(&e) : r->answered ? BENCH_OK : BENCH_FAILED;
    load_result_free(r);
    json_decref(options);
    pong_wire_free(w);
    return code;
}

/* ---- bulk ---- */

struct bulk_start {
    struct bulk_options options;
    struct bulk_result *result;
};

static bool bulk_at(void *arg, const struct addr *to, struct error *e)
{
    struct bulk_start *s = arg;
    s->options.target = *to;
    if (bulk_run(&s->options, s->result, e))
        return true;
    bulk_result_deinit(s->result);
    return false;
}

static int run_bulk(const struct tcp_command *t)
{
    struct error e;
    struct bulk_result r;
    const char *direction = t->direction ? t->direction : "down";
    bool both = strcmp(direction, "both") == 0;
    const struct bulk_options o = {
        .connections = t->load.connections,
        .duration_ns = t->load.duration_ns,
        .timeout_ns = t->load.timeout_ns,
        .up = both || strcmp(direction, "up") == 0,
        .down = both || strcmp(direction, "down") == 0,
        .progress = !t->quiet && isatty(STDERR_FILENO),
    };
    time_t started = time(NULL);
    struct bulk_start s = {o, &r};
    bool ok = targets_try(&t->targets, bulk_at, &s, &e);
    if (ok) {
        const struct result_bulk_about about = {t->target, started, direction, o.connections};
        json_t *document = result_bulk_json(&about, &r);
        result_bulk_print(stdout, &r);
        ok = save(t, document, &e);
        json_decref(document);
        bulk_result_deinit(&r);
    }
    return ok ? BENCH_OK : failed(&e);
}

int bench_tcp(int argc, char **argv)
{
    struct tcp_command t = {.load = load_arguments_default()};
    struct error e;
    int code = parse_options(&t, argc, argv);
    if (code != BENCH_OK)
        return code < 0 ? BENCH_OK : code;
    if (!targets_resolve(t.target, &t.targets, &e)) {
        failed(&e);
        return BENCH_USAGE;
    }
    signal(SIGPIPE, SIG_IGN); /* a peer that is gone is an error of its connection */
    load_arguments_raise_limit();
    return t.bulk ? run_bulk(&t) : run_pong(&t);
}
