/* `ringproxy reload` has the running proxy read its file again, and says what came of it. */
#include <stdio.h>

#include "app/app.h"
#include "app/asking.h"

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

/* A proxy that refuses says why in JSON; who else listens there does not. */
static int tell_refusal(const struct asking *k, const struct admin_where *w,
                        const struct admin_answer *a, json_t *root)
{
    size_t i;
    json_t *line;
    bool told = asking_refused(k, w, a, root);
    json_array_foreach(json_object_get(root, "errors"), i, line)
        fprintf(stderr, "%s\n", json_string_value(line));
    if (json_object_get(root, "max_move"))
        fprintf(stderr, "The configuration stays as it was; --force reloads it nevertheless.\n");
    return told && a->status < 500 && a->status != 404 && a->status != 405 ? APP_USAGE : APP_FAILED;
}

static int tell(const struct asking *k, const struct admin_where *w, const struct admin_answer *a,
                json_t *root)
{
    if (root && k->json)
        asking_print_json(a);
    if (a->status != 200 || !json_is_integer(json_object_get(root, "generation")))
        return tell_refusal(k, w, a, root);
    if (!k->json)
        print_outcome(root);
    return APP_OK;
}

/* -c FILE is the very file that is to be reloaded: with an error in it, the proxy is not asked. */
int cmd_reload(int argc, char **argv)
{
    struct asking k = {.command = "reload",
                       .takes_force = true,
                       .takes_json = true,
                       .most_ms = 86400000,
                       .most = "24h",
                       .suited = "a ringproxy that can reload",
                       .timeout_ms = 60000};
    int status = asking_parse(&k, argc, argv);
    if (status >= 0)
        return status;
    const struct admin_request q = {"POST", k.force ? "/reload?force=1" : "/reload", {0}};
    return asking_run(&k, &q, k.timeout_ms, tell);
}
