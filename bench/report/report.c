#include "bench/report/report.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/report/report_html.h"
#include "bench/report/stored.h"

/* The results replace the empty list of results in the page. */
static const char mark[] = "<script type=\"application/json\" id=\"results\">";
static const char empty[] = "[]";

/* In JSON these characters occur within strings only, and there they can be escaped: so a result
 * contains neither "</script" nor "<!--", which HTML would take for markup. */
static const char *escaped(char c)
{
    return c == '<' ? "\\u003c" : c == '>' ? "\\u003e" : c == '&' ? "\\u0026" : NULL;
}

static bool put(FILE *f, const void *p, size_t n)
{
    return fwrite(p, 1, n, f) == n;
}

static int on_json(const char *p, size_t n, void *arg)
{
    FILE *f = arg;
    for (size_t i = 0; i < n; i++) {
        const char *e = escaped(p[i]);
        if (e ? !put(f, e, strlen(e)) : putc(p[i], f) == EOF)
            return -1;
    }
    return 0;
}

static bool put_results(FILE *f, json_t *const *results, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!put(f, i ? ",\n" : "[\n", 2) ||
            json_dump_callback(results[i], on_json, f, JSON_COMPACT | JSON_ENSURE_ASCII) != 0)
            return false;
    }
    return put(f, "\n]", 2);
}

static bool put_page(FILE *f, json_t *const *results, size_t n)
{
    const unsigned char *end = report_html + sizeof report_html;
    const unsigned char *at = memmem(report_html, sizeof report_html, mark, strlen(mark));
    assert(at && (size_t)(end - at) > strlen(mark) + strlen(empty));
    at += strlen(mark);
    assert(memcmp(at, empty, strlen(empty)) == 0);
    const unsigned char *rest = at + strlen(empty);
    return put(f, report_html, (size_t)(at - report_html)) && put_results(f, results, n) &&
           put(f, rest, (size_t)(end - rest));
}

bool report_write(const char *path, json_t *const *results, size_t n, struct error *e)
{
    assert(n >= 1 && n <= REPORT_MAX);
    FILE *f = fopen(path, "we");
    if (f == NULL) {
        error_errno(e, errno, "%s", path);
        return false;
    }
    errno = 0; /* jansson may fail without setting it */
    bool ok = put_page(f, results, n);
    int why = errno;
    if (fclose(f) != 0 && ok) {
        ok = false;
        why = errno;
    }
    if (!ok)
        error_errno(e, why ? why : EIO, "%s", path);
    return ok;
}

/* ---- `ringbench report` ---- */

static const char usage[] = "usage: ringbench report FILE.json... -o FILE.html\n"
                            "\n"
                            "Draws results that `ringbench http --json`, `ringbench tcp --json` or "
                            "`ringbench ring --json`\n"
                            "has written, as one page that needs nothing but a browser. Up to 8 "
                            "results of one kind go into\n"
                            "a page beside each other.\n"
                            "\n"
                            "  -o, --output FILE  the page\n";

static int bad_usage(const char *what)
{
    fprintf(stderr, "ringbench report: %s; `ringbench report --help` shows how\n", what);
    return BENCH_USAGE;
}

static int complain(int code, const char *text)
{
    fprintf(stderr, "ringbench report: %s\n", text);
    return code;
}

/* False: the error says which file, and why. */
static bool load_all(char *const *paths, size_t n, json_t **results, struct error *e)
{
    for (size_t i = 0; i < n; i++) {
        results[i] = stored_load(paths[i], e);
        if (results[i] == NULL)
            return false;
        if (!stored_comparable(paths[0], results[0], paths[i], results[i], e))
            return false;
    }
    return true;
}

static int report(char *const *paths, size_t n, const char *output)
{
    json_t *results[REPORT_MAX] = {NULL};
    struct error e;
    int code = BENCH_OK;
    if (!load_all(paths, n, results, &e))
        code = complain(BENCH_USAGE, e.text);
    else if (!report_write(output, results, n, &e))
        code = complain(BENCH_FAILED, e.text);
    for (size_t i = 0; i < n; i++)
        json_decref(results[i]);
    return code;
}

int bench_report(int argc, char **argv)
{
    static const struct option names[] = {{"output", required_argument, NULL, 'o'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    const char *output = NULL;
    int c;
    while ((c = getopt_long(argc, argv, "ho:", names, NULL)) != -1) {
        if (c == 'h') {
            fputs(usage, stdout);
            return BENCH_OK;
        }
        if (c != 'o')
            return BENCH_USAGE; /* getopt has printed why */
        output = optarg;
    }
    size_t n = (size_t)(argc - optind);
    if (output == NULL)
        return bad_usage("-o FILE.html is required");
    if (n < 1 || n > REPORT_MAX)
        return bad_usage(n ? "at most 8 results fit into one page" : "which FILE.json?");
    return report(argv + optind, n, output);
}
