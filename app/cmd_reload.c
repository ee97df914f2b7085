/* `ringproxy reload` has the running proxy read its file again, and says what came of it. */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/admin_client.h"
#include "app/app.h"
#include "app/options.h"
#include "base/units.h"

struct reload_args {
    const char *file;
    struct admin_hints hints;
    bool force, json;
    uint64_t timeout_ms;
};

/* Returns an exit status, or -1: the command goes on. */
static int parse_args(int argc, char **argv, struct reload_args *a)
{
    static const struct option longs[] = {{"config", required_argument, NULL, 'c'},
                                          {"admin", required_argument, NULL, 'a'},
                                          {"token-file", required_argument, NULL, 't'},
                                          {"timeout", required_argument, NULL, 'T'},
                                          {"force", no_argument, NULL, 'f'},
                                          {"json", no_argument, NULL, 'j'},
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
        else if (o == 'f')
            a->force = true;
        else if (o == 'j')
            a->json = true;
        else if (o != 'T')
            return options_usage("reload", o == ':' ? "%s needs a value" : "unknown option %s",
                                 argv[optind - 1]);
        else if (!units_parse_duration(str_of(optarg), &a->timeout_ms) || a->timeout_ms == 0 ||
                 a->timeout_ms > 86400000)
            return options_usage("reload", "--timeout %s: allowed are 1ms to 24h", optarg);
    }
    return optind == argc ? -1 : options_usage("reload", "unexpected %s", argv[optind]);
}

/* `least`: the share that had to move. They differ by rounding alone if it is the same. */
static void print_share(const char *pool, double moved, double least)
{
    printf("pool %s: %.4f%% of the keys moved", pool, moved * 100);
    if (moved > least * (1 + 1e-9) + 1e-12)
        printf(", %.4f%% would have been enough", least * 100);
    putchar('\n');
}

static void print_each(const json_t *names, const char *before, const char *after)
{
    size_t i;
    json_t *name;
    json_array_foreach(names, i, name) printf("%s%s%s\n", before, json_string_value(name), after);
}

static void print_outcome(json_t *root)
{
    const char *pool;
    json_t *moved;
    const json_t *least = json_object_get(root, "least");
    printf("generation %" JSON_INTEGER_FORMAT "\n",
           json_integer_value(json_object_get(root, "generation")));
    json_object_foreach(json_object_get(root, "moved"), pool, moved)
    {
        const json_t *enough = json_object_get(least, pool);
        double share = json_number_value(moved);
        print_share(pool, share, enough ? json_number_value(enough) : share);
    }
    print_each(json_object_get(root, "added"), "pool ", ": added");
    print_each(json_object_get(root, "removed"), "pool ", ": removed");
    print_each(json_object_get(root, "needs_restart"), "", ": needs a restart, stays as it was");
}

/* The lines of "errors", or "error". False: there is neither. */
static bool print_errors(json_t *root)
{
    size_t i;
    json_t *line;
    const json_t *errors = json_object_get(root, "errors");
    const char *error = json_string_value(json_object_get(root, "error"));
    if (error)
        fprintf(stderr, "ringproxy reload: %s\n", error);
    json_array_foreach(errors, i, line) fprintf(stderr, "%s\n", json_string_value(line));
    return error || json_array_size(errors) > 0;
}

/* A proxy that refuses says why in JSON; who else listens there does not. */
static int tell_refusal(const struct admin_where *w, int status, json_t *root)
{
    bool told = print_errors(root);
    if (status == 401)
        fprintf(stderr, "The token is taken from --token-file FILE, RINGPROXY_ADMIN_TOKEN or -c "
                        "FILE.\n");
    if (json_object_get(root, "max_move"))
        fprintf(stderr, "The configuration stays as it was; --force reloads it nevertheless.\n");
    if (!told)
        fprintf(stderr,
                "ringproxy reload: %s answered with status %d: is that the admin interface of a "
                "ringproxy that can reload?\n",
                w->authority, status);
    return told && status < 500 && status != 404 && status != 405 ? APP_USAGE : APP_FAILED;
}

static int tell(const struct admin_where *w, const struct reload_args *args,
                const struct admin_answer *a)
{
    json_t *root =
        json_loadb(a->body.data ? a->body.data + a->body.start : "", buffer_len(&a->body), 0, NULL);
    int status = APP_OK;
    if (root && args->json)
        printf("%.*s", (int)buffer_len(&a->body), a->body.data + a->body.start);
    if (a->status != 200 || !json_is_integer(json_object_get(root, "generation")))
        status = tell_refusal(w, a->status, root);
    else if (!args->json)
        print_outcome(root);
    json_decref(root);
    return options_flush("reload") || status ? status : APP_FAILED;
}

static int ask(const struct admin_where *w, const struct reload_args *args)
{
    const struct admin_request q = {"POST", args->force ? "/reload?force=1" : "/reload", {0}};
    struct admin_answer a;
    struct error e;
    if (!admin_ask(w, &q, args->timeout_ms, &a, &e)) {
        fprintf(stderr, "ringproxy reload: %s\n", e.text);
        fprintf(stderr,
                "Is the proxy running, and is this the address at which it has its admin "
                "interface (admin.listen)?\n"
                "The address is taken from --admin URL, RINGPROXY_ADMIN or -c FILE, else it "
                "is http://127.0.0.1:9900.\n");
        return APP_FAILED;
    }
    int status = tell(w, args, &a);
    admin_answer_deinit(&a);
    return status;
}

/* -c FILE is the very file that is to be reloaded: with an error in it, the proxy is not asked. */
int cmd_reload(int argc, char **argv)
{
    struct reload_args args = {.timeout_ms = 60000};
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
        status = ask(&where, &args);
        admin_where_deinit(&where);
    } else {
        status = options_usage("reload", "%s", e.text);
    }
    config_unref(config);
    return status;
}
