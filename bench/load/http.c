/* `ringbench http`: a load of HTTP requests with keys, which tells who answered which key, and what
 * latency a user would have seen. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "bench/bench.h"
#include "bench/load/arguments.h"
#include "bench/load/http_wire.h"
#include "bench/load/load_arguments.h"
#include "bench/load/result.h"
#include "bench/load/run.h"
#include "bench/report/report.h"
#include "http/chars.h"

#define BODY_MAX (64u << 20)
#define KEYS_DEFAULT 1000

struct http_command {
    const char *url, *method, *key_in, *key_dist, *backend_from, *json, *report;
    uint64_t keys; /* their number; 0: there are none */
    char *target;  /* path and query of the URL */
    char *host;    /* of the URL, or of --header Host */
    struct buffer fields, body;
    bool has_body, quiet;
    struct load_options load;
    struct targets targets;
    struct keys key_set;
};

static const char usage[] =
    "usage: ringbench http URL [OPTION]...\n\n"
    "Sends requests to http://HOST[:PORT]/PATH and says what came of them.\n\n"
    "load\n"
    "  --connections N       connections, kept alive (default 64)\n"
    "  --threads N           threads, each with a loop of its own (default 1)\n"
    "  --duration D          how long requests are sent, such as 10s (the default) or 500ms\n"
    "  --requests N          send so many and no more; without --duration until they are sent\n"
    "  --rate R              open loop: R requests a second, whatever the server does; latency "
    "runs\n"
    "                        from when a request was due. Default: closed loop, a connection "
    "sends\n"
    "                        when it has its answer\n"
    "  --pipeline N          requests on their way on one connection (default 1)\n"
    "  --close               a connection for each request\n"
    "  --timeout D           that an answer, and a connection, may take (default 10s); with\n"
    "                        pipelining an answer's time begins with the one before it\n"
    "request\n"
    "  --method M            default GET, with a body POST\n"
    "  --header 'NAME: V'    a field line; may be given again\n"
    "  --body TEXT|@FILE     a body\n"
    "  --body-size N         a body of so many bytes (or 16KiB, ...)\n"
    "keys\n"
    "  --keys N              key0 to key<N-1> (default: no keys; 1000 with --key-in)\n"
    "  --key-dist D          uniform (default), sequential, zipf:S, file:PATH (a key a line, in "
    "turn)\n"
    "  --key-in PLACE        header:NAME (default header:X-Key), query:NAME, cookie:NAME, path\n"
    "  --backend-from PLACE  who answered: header:NAME (default header:X-Backend), body, none\n"
    "  --seed N              of the random keys (default 1)\n"
    "output\n"
    "  --json FILE           all figures, for programs\n"
    "  --report FILE.html    the same as a page to look at\n"
    "  --quiet               no line of progress\n\n"
    "Exit: 0; 1 if the target could not be reached or a file not be written; 2 for bad usage.\n";

static int bad_usage(const char *what, const char *allowed)
{
    fprintf(stderr, "ringbench http: %s: allowed %s\n", what, allowed);
    return BENCH_USAGE;
}

static int failed(const struct error *e)
{
    fprintf(stderr, "ringbench http: %s\n", e->text);
    return BENCH_FAILED;
}

/* ---- the URL ---- */

/* HOST[:PORT] -> HOST:PORT, for targets_resolve(). The caller frees. */
static char *with_port(const char *authority)
{
    /* The colons within [V6] are no port's. */
    const char *end = authority[0] == '[' ? strchr(authority, ']') : authority;
    bool has_port = end && strchr(end, ':') != NULL;
    char *out = mem_zalloc(strlen(authority) + 4);
    sprintf(out, "%s%s", authority, has_port ? "" : ":80");
    return out;
}

/* Takes "%SCOPE" out of [V6%SCOPE], as it must not be sent (RFC 6874 4). */
static void cut_scope(char *authority)
{
    char *scope = strchr(authority, '%'), *close = scope ? strchr(scope, ']') : NULL;
    if (authority[0] == '[' && close)
        memmove(scope, close, strlen(close) + 1);
}

/* In a URL "%25" stands for the '%' (RFC 6874 2); a bare one is taken too, as curl does. */
static void decode_scope(char *authority)
{
    char *scope = authority[0] == '[' ? strstr(authority, "%25") : NULL;
    if (scope)
        memmove(scope + 1, scope + 3, strlen(scope + 3) + 1);
}

static bool parse_url(struct http_command *h, struct error *e)
{
    static const char scheme[] = "http://";
    if (strncmp(h->url, scheme, sizeof scheme - 1) != 0) {
        error_set(e, 0, "%s is no URL that can be used, allowed http://HOST[:PORT][/PATH][?QUERY]",
                  h->url);
        return false;
    }
    const char *authority = h->url + sizeof scheme - 1;
    size_t n = strcspn(authority, "/?#");
    h->host = mem_strndup(authority, n);
    const char *rest = authority + n;
    h->target = mem_zalloc(strlen(rest) + 2);
    sprintf(h->target, "%s%s", *rest == '/' ? "" : "/", rest);
    for (const char *p = h->target; *p; p++) {
        if (char_is(*p, CHAR_TARGET))
            continue;
        error_set(e, 0, "%s: a target is visible ASCII without '#'", h->url);
        return false;
    }
    decode_scope(h->host);
    char *address = with_port(h->host);
    cut_scope(h->host);
    bool ok = chars_are_authority(str_of(h->host)) && targets_resolve(address, &h->targets, e);
    if (!ok && !chars_are_authority(str_of(h->host)))
        error_set(e, 0, "%s: no host in it", h->url);
    free(address);
    return ok;
}

/* ---- fields and bodies ---- */

/* The load sets these fields itself. Others would make requests whose end it does not know. */
static bool is_framing(struct str name)
{
    static const char *const ours[] = {"content-length", "transfer-encoding", "connection"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (str_eq_nocase(name, str_of(ours[i])))
            return true;
    return false;
}

/* False: that is no field line, or it has a field that the load sets itself. */
static bool add_field(struct http_command *h, const char *line)
{
    const char *colon = strchr(line, ':');
    struct str all = str_of(line);
    if (colon == NULL)
        return false;
    struct str name = {line, (size_t)(colon - line)};
    struct str value = str_trim((struct str){colon + 1, all.n - name.n - 1});
    if (!chars_are_token(name) || chars_skip_text(line, 0, all.n) != all.n || is_framing(name))
        return false;
    if (str_eq_nocase(name, STR("Host"))) { /* replaces that of the URL: there may be only one */
        free(h->host);
        h->host = mem_strndup(value.p, value.n);
        return value.n > 0;
    }
    return buffer_append(&h->fields, line, all.n) && buffer_append(&h->fields, "\r\n", 2);
}

static bool read_body(struct http_command *h, const char *text, struct error *e)
{
    char piece[16384];
    error_set(e, 0, "one body");
    if (h->has_body)
        return false;
    h->has_body = true;
    if (text[0] != '@')
        return buffer_append(&h->body, text, strlen(text));
    FILE *f = fopen(text + 1, "re");
    if (f == NULL) {
        error_errno(e, errno, "%s", text + 1);
        return false;
    }
    bool ok = true;
    for (size_t n; ok && (n = fread(piece, 1, sizeof piece, f)) > 0;)
        ok = buffer_len(&h->body) + n <= BODY_MAX && buffer_append(&h->body, piece, n);
    if (!ok)
        error_set(e, 0, "%s: larger than %u bytes", text + 1, BODY_MAX);
    else if (ferror(f)) {
        ok = false;
        error_errno(e, errno, "%s", text + 1);
    }
    fclose(f);
    return ok;
}

/* False: there is a body already, or memory is short. */
static bool make_body(struct http_command *h, uint64_t size)
{
    if (h->has_body)
        return false;
    h->has_body = true;
    if (size && !buffer_reserve(&h->body, size))
        return false;
    if (size)
        memset(h->body.data + h->body.end, 'x', size);
    h->body.end += size;
    return true;
}

/* ---- options ---- */

enum { /* options without a letter */
       O_METHOD = LOAD_ARGUMENT_END,
       O_HEADER,
       O_BODY,
       O_BODY_SIZE,
       O_KEYS,
       O_KEY_DIST,
       O_KEY_IN,
       O_BACKEND_FROM,
       O_JSON,
       O_REPORT,
       O_QUIET
};

static const struct option names[] = {
    LOAD_ARGUMENTS,
    {"method", required_argument, NULL, O_METHOD},
    {"header", required_argument, NULL, O_HEADER},
    {"body", required_argument, NULL, O_BODY},
    {"body-size", required_argument, NULL, O_BODY_SIZE},
    {"keys", required_argument, NULL, O_KEYS},
    {"key-dist", required_argument, NULL, O_KEY_DIST},
    {"key-in", required_argument, NULL, O_KEY_IN},
    {"backend-from", required_argument, NULL, O_BACKEND_FROM},
    {"json", required_argument, NULL, O_JSON},
    {"report", required_argument, NULL, O_REPORT},
    {"quiet", no_argument, NULL, O_QUIET},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static const char *take_option(struct http_command *h, int option, const char *value,
                               struct error *e)
{
    uint64_t size;
    switch (option) {
    case O_METHOD:
        h->method = value;
        return chars_are_token(str_of(value)) && strcmp(value, "CONNECT") != 0
                   ? NULL
                   : "a method of RFC 9110, but CONNECT";
    case O_HEADER:
        return add_field(h, value) ? NULL : "'NAME: VALUE', of a field that does not frame";
    case O_BODY:
        return read_body(h, value, e) ? NULL : e->text;
    case O_BODY_SIZE:
        return arguments_size(value, BODY_MAX, &size) && make_body(h, size)
                   ? NULL
                   : "one body of up to 64MiB";
    case O_KEYS:
        return arguments_count(value, 1, KEYS_MAX, &h->keys) ? NULL : "1 to 10000000";
    case O_KEY_DIST:
        h->key_dist = value;
        return NULL;
    case O_KEY_IN:
        h->key_in = value;
        return NULL;
    case O_BACKEND_FROM:
        h->backend_from = value;
        return NULL;
    case O_JSON:
        h->json = value;
        return NULL;
    case O_REPORT:
        h->report = value;
        return NULL;
    case O_QUIET:
        h->quiet = true;
        return NULL;
    default:
        return load_arguments_take(&h->load, option, value);
    }
}

/* -1: help was printed. Else the exit code; BENCH_OK: *h is filled in. */
static int parse_options(struct http_command *h, int argc, char **argv)
{
    struct error e = {0};
    int c, index = 0;
    optind = 1;
    while ((c = getopt_long(argc, argv, "h", names, &index)) != -1) {
        if (c == 'h') {
            fputs(usage, stdout);
            return -1;
        }
        if (c == '?')
            return BENCH_USAGE;
        const char *allowed = take_option(h, c, optarg, &e);
        if (allowed) {
            fprintf(stderr, "ringbench http: --%s %s: allowed %s\n", names[index].name, optarg,
                    allowed);
            return BENCH_USAGE;
        }
    }
    if (optind + 1 != argc)
        return bad_usage(optind == argc ? "no URL" : argv[optind + 1], "one URL");
    h->url = argv[optind];
    return BENCH_OK;
}

/* Adds the defaults that depend on other options. */
static int complete(struct http_command *h)
{
    const char *wrong = load_arguments_complete(&h->load);
    if (wrong) {
        fprintf(stderr, "ringbench http: %s\n", wrong);
        return BENCH_USAGE;
    }
    if (h->method == NULL) /* a body with GET would mean nothing to most servers */
        h->method = h->has_body ? "POST" : "GET";
    if (h->keys == 0 && (h->key_in || h->key_dist))
        h->keys = KEYS_DEFAULT;
    if (h->keys && h->key_in == NULL)
        h->key_in = "header:X-Key";
    return BENCH_OK;
}

/* Keys of a file are drawn in its order; --key-dist names the file in place of a distribution. */
static bool make_keys(struct http_command *h, struct error *e)
{
    const char *dist = h->key_dist ? h->key_dist : "uniform";
    if (h->keys == 0)
        return true;
    if (strncmp(dist, "file:", 5) == 0) {
        if (!keys_init_file(&h->key_set, dist + 5, e))
            return false;
    } else {
        keys_init(&h->key_set, (uint32_t)h->keys);
        if (!keys_set_dist(&h->key_set, dist)) {
            error_set(e, 0,
                      "--key-dist %s: allowed uniform, sequential, zipf:S (S up to 10), "
                      "file:PATH",
                      dist);
            return false;
        }
    }
    h->load.keys = &h->key_set;
    return true;
}

static struct wire *make_wire(struct http_command *h, struct error *e)
{
    const struct http_wire_options o = {
        .method = str_of(h->method),
        .target = str_of(h->target),
        .host = str_of(h->host),
        .fields = {buffer_head(&h->fields), buffer_len(&h->fields)},
        .body = {buffer_head(&h->body), buffer_len(&h->body)},
        .has_body = h->has_body,
        .key_in = h->key_in,
        .backend_from = h->backend_from,
        .close = h->load.close,
    };
    struct wire *w = http_wire_new(&o, e);
    if (w && h->load.keys && !http_wire_check_keys(w, h->load.keys, e)) {
        http_wire_free(w);
        return NULL;
    }
    return w;
}

/* ---- the run ---- */

/* A path may not be UTF-8, as JSON must be; then the document leaves it out. */
static json_t *dist_json(const struct http_command *h)
{
    if (h->keys == 0)
        return json_null();
    json_t *j = json_string(h->key_dist ? h->key_dist : "uniform");
    return j ? j : json_string("file:?");
}

static json_t *options_json(const struct http_command *h)
{
    const struct load_options *o = &h->load;
    json_t *j = json_pack(
        "{s:i, s:i, s:i, s:f, s:I, s:o, s:s?, s:s, s:s, s:b, s:I, s:I}", "threads", (int)o->threads,
        "connections", (int)o->connections, "pipeline", (int)o->pipeline, "rate", o->rate, "keys",
        (json_int_t)h->key_set.n, "key_dist", dist_json(h), "key_in", h->key_in, "backend_from",
        h->backend_from, "method", h->method, "close", o->close, "body_size",
        (json_int_t)buffer_len(&h->body), "seed", (json_int_t)o->seed);
    if (j == NULL)
        abort(); /* all other texts are ASCII, so memory is out */
    return j;
}

static void print_about(const struct http_command *h)
{
    const struct load_options *o = &h->load;
    printf("%s %s: %u %s, %u connections, ", h->method, h->url, o->threads,
           o->threads == 1 ? "thread" : "threads", o->connections);
    if (o->rate > 0)
        printf("%g requests/s", o->rate);
    else
        fputs("closed loop", stdout);
    if (o->pipeline > 1)
        printf(", %u pipelined", o->pipeline);
    if (h->keys)
        printf(", %u keys (%s) in %s", h->key_set.n, h->key_dist ? h->key_dist : "uniform",
               h->key_in);
    puts(o->close ? ", a connection each" : "");
    fflush(stdout); /* before the line of progress */
}

static int report(const struct http_command *h, const struct result_about *about,
                  const struct load_result *r)
{
    struct error e;
    result_print(stdout, about, r);
    json_t *document = result_json(about, r);
    bool ok = (h->json == NULL || result_save(document, h->json, &e)) &&
              (h->report == NULL || report_write(h->report, &document, 1, &e));
    json_decref(document);
    if (!ok)
        return failed(&e);
    return r->answered ? BENCH_OK : BENCH_FAILED; /* a script shall notice a server that is down */
}

static int run(struct http_command *h)
{
    struct error e;
    json_t *options = options_json(h);
    const struct result_about about = {"http", h->url, time(NULL), options, &h->load};
    print_about(h);
    struct load_result *r = run_load(&h->load, &h->targets, !h->quiet && isatty(STDERR_FILENO), &e);
    int code = r ? report(h, &about, r) : failed(&e);
    load_result_free(r);
    json_decref(options);
    return code;
}

static int prepare_and_run(struct http_command *h)
{
    struct error e;
    if (!parse_url(h, &e) || !make_keys(h, &e)) {
        failed(&e);
        return BENCH_USAGE;
    }
    struct wire *w = make_wire(h, &e);
    if (w == NULL) {
        failed(&e);
        return BENCH_USAGE;
    }
    h->load.wire = w;
    int code = run(h);
    http_wire_free(w);
    return code;
}

int bench_http(int argc, char **argv)
{
    struct http_command h = {
        .backend_from = "header:X-Backend",
        .load = load_arguments_default(),
    };
    int code = parse_options(&h, argc, argv);
    if (code == BENCH_OK)
        code = complete(&h);
    if (code == BENCH_OK) {
        signal(SIGPIPE, SIG_IGN);
        load_arguments_raise_limit();
        code = prepare_and_run(&h);
    }
    keys_deinit(&h.key_set);
    buffer_release(&h.fields);
    buffer_release(&h.body);
    free(h.target);
    free(h.host);
    return code < 0 ? BENCH_OK : code;
}
