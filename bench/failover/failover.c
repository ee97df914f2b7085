/* `ringbench failover`: plays scenarios of failing servers behind a proxy under a steady load, and
 * tells which requests and keys were affected. */
#include <errno.h>
#include <getopt.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limit.h"
#include "base/mem.h"
#include "bench/bench.h"
#include "bench/failover/play.h"
#include "bench/load/result.h"
#include "bench/report/document.h"
#include "bench/report/report.h"

#define DEFAULT_SCENARIOS "bench/scenarios/*.yaml"

static const char usage[] =
    "usage: ringbench failover [OPTION]... [SCENARIO.yaml]...\n\n"
    "Starts backends, standbys and a proxy, keeps a steady load of GETs upon it, and lets happen\n"
    "what the scenarios say; then tells what became of requests and keys.\n"
    "Without a scenario: all of " DEFAULT_SCENARIOS ".\n\n"
    "  --proxy NAME    ringproxy (default), haproxy or nginx\n"
    "  --binary PATH   the proxy's program\n"
    "  --json FILE     writes all figures too, an array with an object a scenario\n"
    "  --report DIR    draws each scenario's load as a page, DIR/NAME.html; makes the folder\n"
    "  --keep          leaves configurations and logs behind, and says where\n";

struct options {
    const struct proxy *proxy;
    const char *binary, *json, *report;
    bool keep;
};

struct scenarios {
    struct scenario **list;
    size_t n;
};

/* ---- scenarios ---- */

static bool load_one(struct scenarios *s, const char *file)
{
    struct config_errors errors;
    struct scenario *one = scenario_load(file, &errors);
    for (size_t i = 0; i < errors.count; i++)
        fprintf(stderr, "%s\n", errors.lines[i]);
    config_errors_free(&errors);
    if (one) {
        s->list = mem_grow(s->list, s->n + 1, sizeof(struct scenario *));
        s->list[s->n++] = one;
    }
    return one != NULL;
}

static bool load_defaults(struct scenarios *s)
{
    glob_t g;
    bool ok = true;
    int rc = glob(DEFAULT_SCENARIOS, 0, NULL, &g);
    if (rc != 0) {
        fprintf(stderr, "ringbench failover: %s in the current folder; name a SCENARIO.yaml\n",
                rc == GLOB_NOMATCH ? "there is no " DEFAULT_SCENARIOS
                                   : DEFAULT_SCENARIOS " cannot be read");
        return false;
    }
    for (size_t i = 0; i < g.gl_pathc; i++)
        ok &= load_one(s, g.gl_pathv[i]);
    globfree(&g);
    return ok;
}

/* Prints the errors of all files, not only those of the first. */
static bool load_scenarios(struct scenarios *s, char *const *files, size_t n)
{
    bool ok = n > 0 || load_defaults(s);
    for (size_t i = 0; i < n; i++)
        ok &= load_one(s, files[i]);
    return ok;
}

static void free_scenarios(struct scenarios *s)
{
    for (size_t i = 0; i < s->n; i++)
        scenario_free(s->list[i]);
    free(s->list);
}

/* ---- a run ---- */

static bool save_json(const char *path, const struct finding *findings, size_t n)
{
    struct error e;
    json_t *list = document_value(json_array());
    for (size_t i = 0; i < n; i++)
        document_push(list, finding_json(&findings[i]));
    bool ok = result_save(list, path, &e);
    json_decref(list);
    if (!ok)
        fprintf(stderr, "ringbench failover: %s\n", e.text);
    return ok;
}

static bool draw(const char *folder, const struct finding *f)
{
    char path[4096];
    struct error e;
    int n = snprintf(path, sizeof path, "%s/%s.html", folder, f->scenario->name);
    bool ok = n > 0 && (size_t)n < sizeof path;
    if (!ok)
        error_set(&e, ENAMETOOLONG, "%s: path too long", folder);
    ok = ok && report_write(path, &f->load, 1, &e);
    if (!ok)
        fprintf(stderr, "ringbench failover: %s\n", e.text);
    return ok;
}

/* After a failure the results of the scenarios before it are printed all the same. */
static bool play_all(const struct play_options *o, const struct scenarios *s,
                     struct finding *findings, size_t *nplayed)
{
    for (*nplayed = 0; *nplayed < s->n; ++*nplayed) {
        struct error e;
        struct finding *f = &findings[*nplayed];
        if (!play(o, s->list[*nplayed], f, &e)) {
            fprintf(stderr, "ringbench failover: %s: %s\n", s->list[*nplayed]->name, e.text);
            finding_deinit(f);
            return false;
        }
        finding_print(f, stdout);
        fflush(stdout); /* the next scenario takes a while */
    }
    return true;
}

static int run(const struct options *o, const struct scenarios *s, const char *program)
{
    struct wait wait;
    struct error e;
    size_t n = 0;
    if (!wait_open(&wait, &e)) {
        fprintf(stderr, "ringbench failover: %s\n", e.text);
        return BENCH_FAILED;
    }
    struct finding *findings = mem_zalloc_array(s->n, sizeof *findings);
    const struct play_options p = {&wait, o->proxy, program, o->keep, isatty(STDERR_FILENO) == 1};
    bool ok = play_all(&p, s, findings, &n);
    if (n)
        findings_print_summary(findings, n, stdout);
    if (o->json)
        ok &= save_json(o->json, findings, n);
    for (size_t i = 0; i < n && o->report; i++)
        ok &= draw(o->report, &findings[i]);
    for (size_t i = 0; i < n; i++)
        finding_deinit(&findings[i]);
    free(findings);
    wait_close(&wait);
    return ok ? BENCH_OK : BENCH_FAILED;
}

/* Each connection of the load takes two descriptors in the proxy, which gets the same limit. */
static void raise_descriptors(void)
{
    struct error ignored; /* the load reports if there are too few */
    limit_raise_descriptors(&ignored);
}

/* Tested before the first scenario, as minutes would be lost if the file cannot be written. */
static bool can_write(const char *path)
{
    FILE *f = fopen(path, "ae");
    if (f && fclose(f) == 0)
        return true;
    fprintf(stderr, "ringbench failover: %s: %s\n", path, strerror(errno));
    return false;
}

/* Checks everything that can be checked before the first process starts. */
static int prepare(const struct options *o, const struct scenarios *s)
{
    struct error e;
    if (o->report && mkdir(o->report, 0777) < 0 && errno != EEXIST) {
        fprintf(stderr, "ringbench failover: %s: %s\n", o->report, strerror(errno));
        return BENCH_FAILED;
    }
    if (o->json && !can_write(o->json))
        return BENCH_FAILED;
    char *program = proxy_program(o->proxy, o->binary, &e);
    if (program == NULL) {
        fprintf(stderr, "ringbench failover: %s\n", e.text);
        return BENCH_FAILED;
    }
    signal(SIGPIPE, SIG_IGN); /* writing to a server that is killed is an error, not the end */
    raise_descriptors();
    int code = run(o, s, program);
    free(program);
    return code;
}

/* ---- options ---- */

/* BENCH_OK: *o is complete. -1: help was printed. Else the exit code. */
static int parse_options(struct options *o, int argc, char **argv)
{
    static const struct option names[] = {{"proxy", required_argument, NULL, 'p'},
                                          {"binary", required_argument, NULL, 'b'},
                                          {"json", required_argument, NULL, 'j'},
                                          {"report", required_argument, NULL, 'r'},
                                          {"keep", no_argument, NULL, 'k'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    int c;
    optind = 1;
    while ((c = getopt_long(argc, argv, "h", names, NULL)) != -1) {
        switch (c) {
        case 'p':
            o->proxy = proxy_find(optarg);
            if (o->proxy == NULL) {
                fprintf(stderr, "ringbench failover: --proxy %s: allowed are %s\n", optarg,
                        proxy_names);
                return BENCH_USAGE;
            }
            break;
        case 'b':
            o->binary = optarg;
            break;
        case 'j':
            o->json = optarg;
            break;
        case 'r':
            o->report = optarg;
            break;
        case 'k':
            o->keep = true;
            break;
        case 'h':
            return fputs(usage, stdout) < 0 ? BENCH_FAILED : -1;
        default:
            fputs(usage, stderr);
            return BENCH_USAGE;
        }
    }
    return BENCH_OK;
}

int bench_failover(int argc, char **argv)
{
    struct options o = {.proxy = proxy_find("ringproxy")};
    struct scenarios s = {NULL, 0};
    int code = parse_options(&o, argc, argv);
    if (code != BENCH_OK)
        return code < 0 ? BENCH_OK : code;
    if (load_scenarios(&s, argv + optind, (size_t)(argc - optind)))
        code = prepare(&o, &s);
    else
        code = BENCH_USAGE;
    free_scenarios(&s);
    return code;
}
