#include "app/asking.h"

#include <getopt.h>
#include <stdio.h>

#include "app/app.h"
#include "app/options.h"
#include "base/units.h"

static bool set_timeout(struct asking *k, const char *text)
{
    return units_parse_duration(str_of(text), &k->timeout_ms) && k->timeout_ms > 0 &&
           k->timeout_ms <= k->most_ms;
}

int asking_parse(struct asking *k, int argc, char **argv)
{
    static const struct option longs[] = {{"config", required_argument, NULL, 'c'},
                                          {"admin", required_argument, NULL, 'a'},
                                          {"token-file", required_argument, NULL, 't'},
                                          {"timeout", required_argument, NULL, 'T'},
                                          {"force", no_argument, NULL, 'f'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"watch", no_argument, NULL, 'w'},
                                          {NULL, 0, NULL, 0}};
    int o;
    opterr = 0;
    while ((o = getopt_long(argc, argv, ":c:", longs, NULL)) != -1) {
        if (o == 'c')
            k->file = optarg;
        else if (o == 'a')
            k->hints.url = optarg;
        else if (o == 't')
            k->hints.token_file = optarg;
        else if (o == 'f' && k->takes_force)
            k->force = true;
        else if (o == 'j' && k->takes_json)
            k->json = true;
        else if (o == 'w' && k->takes_watch)
            k->watch = true;
        else if (o != 'T')
            return options_usage(k->command, o == ':' ? "%s needs a value" : "unknown option %s",
                                 argv[optind - 1]);
        else if (!set_timeout(k, optarg))
            return options_usage(k->command, "--timeout %s: allowed are 1ms to %s", optarg,
                                 k->most);
    }
    return optind == argc ? -1 : options_usage(k->command, "unexpected %s", argv[optind]);
}

static int ask(const struct asking *k, const struct admin_where *w, const struct admin_request *q,
               uint64_t wait_ms, asking_tell_fn *tell)
{
    struct admin_answer a;
    struct error e;
    if (!admin_ask(w, q, wait_ms, &a, &e)) {
        fprintf(stderr, "ringproxy %s: %s\n", k->command, e.text);
        fprintf(stderr,
                "Is the proxy running, and is this the address at which it has its admin "
                "interface (admin.listen)?\n"
                "The address is taken from --admin URL, RINGPROXY_ADMIN or -c FILE, else it "
                "is http://127.0.0.1:9900.\n");
        return APP_FAILED;
    }
    json_t *root =
        json_loadb(a.body.data ? a.body.data + a.body.start : "", buffer_len(&a.body), 0, NULL);
    int status = tell(k, w, &a, root);
    json_decref(root);
    admin_answer_deinit(&a);
    return options_flush(k->command) || status ? status : APP_FAILED;
}

int asking_run(struct asking *k, const struct admin_request *q, uint64_t wait_ms,
               asking_tell_fn *tell)
{
    struct admin_where where;
    struct config *config = NULL;
    struct error e;
    int status;
    if (k->file && (config = options_load(k->file)) == NULL)
        return APP_USAGE;
    k->hints.config = config;
    if (admin_where_init(&where, &k->hints, &e)) {
        status = ask(k, &where, q, wait_ms, tell);
        admin_where_deinit(&where);
    } else {
        status = options_usage(k->command, "%s", e.text);
    }
    k->hints.config = NULL;
    config_unref(config);
    return status;
}

bool asking_refused(const struct asking *k, const struct admin_where *w,
                    const struct admin_answer *a, json_t *root)
{
    const char *error = json_string_value(json_object_get(root, "error"));
    bool told = error || json_array_size(json_object_get(root, "errors")) > 0;
    if (error)
        fprintf(stderr, "ringproxy %s: %s\n", k->command, error);
    if (!told)
        fprintf(stderr,
                "ringproxy %s: %s answered with status %d: is that the admin interface of %s?\n",
                k->command, w->authority, a->status, k->suited);
    if (a->status == 401)
        fprintf(stderr, "The token is taken from --token-file FILE, RINGPROXY_ADMIN_TOKEN or -c "
                        "FILE.\n");
    return told;
}

void asking_print_json(const struct admin_answer *a)
{
    printf("%.*s", (int)buffer_len(&a->body), a->body.data + a->body.start);
}
