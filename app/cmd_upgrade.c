/* `ringproxy upgrade` has the running proxy hand over to the program that is installed now. */
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "app/admin_client.h"
#include "app/app.h"
#include "app/options.h"
#include "base/units.h"

#define ANSWER_MS 5000 /* the proxy gives the new process up after the timeout, and says so */

struct upgrade_args {
    const char *file;
    struct admin_hints hints;
    uint64_t timeout_ms;
};

/* Returns an exit status, or -1: the command goes on. */
static int parse_args(int argc, char **argv, struct upgrade_args *a)
{
    static const struct option longs[] = {{"config", required_argument, NULL, 'c'},
                                          {"admin", required_argument, NULL, 'a'},
                                          {"token-file", required_argument, NULL, 't'},
                                          {"timeout", required_argument, NULL, 'T'},
                                          {NULL, 0, NULL, 0}};
    int o;
    opterr = 0;
    while ((o = getopt_long(argc, argv, ":c:", longs, NULL)) != -1) {
        if (o == 'c')
            a->file = optarg;
        else if (o == 'a')
            a->hints.url = optarg;
        else if (o == 't')
            a->hints.token_file = optarg;
        else if (o != 'T')
            return options_usage("upgrade", o == ':' ? "%s needs a value" : "unknown option %s",
                                 argv[optind - 1]);
        else if (!units_parse_duration(str_of(optarg), &a->timeout_ms) || a->timeout_ms == 0 ||
                 a->timeout_ms > 3600000)
            return options_usage("upgrade", "--timeout %s: allowed are 1ms to 1h", optarg);
    }
    return optind == argc ? -1 : options_usage("upgrade", "unexpected %s", argv[optind]);
}

static int tell(const struct admin_where *w, const struct admin_answer *a)
{
    json_t *root =
        json_loadb(a->body.data ? a->body.data + a->body.start : "", buffer_len(&a->body), 0, NULL);
    const json_t *pid = json_object_get(root, "pid");
    const char *error = json_string_value(json_object_get(root, "error"));
    bool ok = a->status == 200 && json_is_integer(pid);
    if (ok)
        printf("process %" JSON_INTEGER_FORMAT ", generation %" JSON_INTEGER_FORMAT "\n",
               json_integer_value(pid), json_integer_value(json_object_get(root, "generation")));
    else if (error)
        fprintf(stderr, "ringproxy upgrade: %s\n", error);
    else
        fprintf(stderr,
                "ringproxy upgrade: %s answered with status %d: is that the admin interface of a "
                "ringproxy that can be upgraded?\n",
                w->authority, a->status);
    if (a->status == 401)
        fprintf(stderr, "The token is taken from --token-file FILE, RINGPROXY_ADMIN_TOKEN or -c "
                        "FILE.\n");
    json_decref(root);
    return options_flush("upgrade") && ok ? APP_OK : APP_FAILED;
}

static int ask(const struct admin_where *w, uint64_t timeout_ms)
{
    char target[64];
    snprintf(target, sizeof target, "/upgrade?timeout=%" PRIu64 "ms", timeout_ms);
    const struct admin_request q = {"POST", target, {0}};
    struct admin_answer a;
    struct error e;
    if (!admin_ask(w, &q, timeout_ms + ANSWER_MS, &a, &e)) {
        fprintf(stderr, "ringproxy upgrade: %s\n", e.text);
        fprintf(stderr,
                "Is the proxy running, and is this the address at which it has its admin "
                "interface (admin.listen)?\n"
                "The address is taken from --admin URL, RINGPROXY_ADMIN or -c FILE, else it "
                "is http://127.0.0.1:9900.\n");
        return APP_FAILED;
    }
    int status = tell(w, &a);
    admin_answer_deinit(&a);
    return status;
}

/* -c FILE is the file that the new process will read: with an error in it, the proxy is not asked.
 */
int cmd_upgrade(int argc, char **argv)
{
    struct upgrade_args args = {.timeout_ms = 60000};
    struct admin_where where;
    struct config *config = NULL;
    struct error e;
    int status = parse_args(argc, argv, &args);
    if (status >= 0)
        return status;
    if (args.file && (config = options_load(args.file)) == NULL)
        return APP_USAGE;
    args.hints.config = config;
    if (admin_where_init(&where, &args.hints, &e)) {
        status = ask(&where, args.timeout_ms);
        admin_where_deinit(&where);
    } else {
        status = options_usage("upgrade", "%s", e.text);
    }
    config_unref(config);
    return status;
}
