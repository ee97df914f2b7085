/* `ringproxy status` prints the state of the running proxy. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "app/app.h"
#include "app/asking.h"
#include "app/table.h"

#define WATCH_S 1 /* between two looks */

/* ---- values of the document; what is not there is empty ---- */

static const char *text(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

static json_int_t number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static bool truth(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

static const char *yes(bool b)
{
    return b ? "yes" : "no";
}

/* "b1, b2"; empty: "". What does not fit is left out. */
static const char *joined(const json_t *names, char *out, size_t size)
{
    size_t i, n = 0;
    json_t *name;
    out[0] = 0;
    json_array_foreach(names, i, name) if (n < size)
    {
        const char *s = json_string_value(name);
        n += (size_t)snprintf(out + n, size - n, "%s%s", n ? ", " : "", s ? s : "");
    }
    return out;
}

/* A time as a person would say it, in the largest unit that fits. */
static const char *lasting(json_int_t ms, char out[32])
{
    if (ms < 1000)
        snprintf(out, 32, "%" JSON_INTEGER_FORMAT "ms", ms);
    else if (ms < 10000)
        snprintf(out, 32, "%.1fs", (double)ms / 1000);
    else if (ms < 120000)
        snprintf(out, 32, "%" JSON_INTEGER_FORMAT "s", ms / 1000);
    else if (ms < 7200000)
        snprintf(out, 32, "%" JSON_INTEGER_FORMAT "m", ms / 60000);
    else if (ms < 172800000)
        snprintf(out, 32, "%" JSON_INTEGER_FORMAT "h", ms / 3600000);
    else
        snprintf(out, 32, "%" JSON_INTEGER_FORMAT "d", ms / 86400000);
    return out;
}

static void heading(struct table *t, const char *const *names, size_t n)
{
    table_init(t, n);
    for (size_t i = 0; i < n; i++)
        table_cell(t, "%s", names[i]);
}

#define HEADING(t, ...)                              \
    heading((t), (const char *const[]){__VA_ARGS__}, \
            sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void finish(struct table *t)
{
    table_print(t, stdout);
    table_deinit(t);
}

/* A line of words that may come from others: no character moves the cursor. */
static void __attribute__((format(printf, 1, 2))) line(const char *format, ...)
{
    char words[2048];
    va_list ap;
    struct table t;
    va_start(ap, format);
    vsnprintf(words, sizeof words, format, ap);
    va_end(ap);
    table_init(&t, 1);
    table_cell(&t, "%s", words);
    finish(&t);
}

/* ---- listeners and pools ---- */

static void print_listeners(const json_t *root)
{
    size_t i;
    json_t *l;
    struct table t;
    HEADING(&t, "LISTENER", "MODE", "LISTEN", "POOL", "CONNECTIONS", "REQUESTS");
    json_array_foreach(json_object_get(root, "listeners"), i, l)
    {
        table_cell(&t, "%s", text(l, "name"));
        table_cell(&t, "%s", text(l, "mode"));
        table_cell(&t, "%s", text(l, "listen"));
        table_cell(&t, "%s",
                   json_is_null(json_object_get(l, "pool")) ? "(routes)" : text(l, "pool"));
        table_cell(&t, "%" JSON_INTEGER_FORMAT, number(l, "connections"));
        table_cell(&t, "%" JSON_INTEGER_FORMAT, number(l, "requests"));
    }
    finish(&t);
}

static void last_check_cell(struct table *t, const json_t *check)
{
    char age[32];
    if (!json_is_object(check))
        table_cell(t, "%s", "");
    else
        table_cell(t, "%s%s, %s ago", truth(check, "ok") ? "" : "failed: ", text(check, "reason"),
                   lasting(number(check, "age_ms"), age));
}

static void votes_cell(struct table *t, const json_t *votes)
{
    if (!json_is_object(votes))
        table_cell(t, "%s", "");
    else
        table_cell(t,
                   "%" JSON_INTEGER_FORMAT " down, %" JSON_INTEGER_FORMAT
                   " up of %" JSON_INTEGER_FORMAT,
                   number(votes, "down"), number(votes, "up"), number(votes, "voters"));
}

/* here: this proxy leaves the server out against what the fleet has agreed on. */
static void server_cells(struct table *t, const json_t *s, bool standby, bool votes)
{
    char serving[512];
    bool here = json_object_get(s, "here") != NULL;
    table_cell(t, "%s", text(s, "name"));
    table_cell(t, "%s", standby ? "standby" : "backend");
    table_cell(t, "%s%s", text(s, "state"), here ? ", here down" : "");
    table_cell(t, "%s", joined(json_object_get(s, "serving"), serving, sizeof serving));
    table_cell(t, "%" JSON_INTEGER_FORMAT, number(s, "active"));
    table_cell(t, "%" JSON_INTEGER_FORMAT, number(s, "requests"));
    table_cell(t, "%" JSON_INTEGER_FORMAT, number(s, "errors"));
    if (votes)
        votes_cell(t, json_object_get(s, "votes"));
    last_check_cell(t, json_object_get(s, "last_check"));
}

static void add_servers(struct table *t, const json_t *pool, const char *kind, bool votes)
{
    size_t i;
    json_t *s;
    json_array_foreach(json_object_get(pool, kind), i, s)
        server_cells(t, s, strcmp(kind, "standbys") == 0, votes);
}

static void print_pool(const json_t *pool, bool votes)
{
    struct table t;
    line("POOL %s%s", text(pool, "name"),
         truth(pool, "all_down_routing") ? ": all servers are down, and are tried" : "");
    if (votes)
        HEADING(&t, "SERVER", "KIND", "STATE", "SERVING", "ACTIVE", "REQUESTS", "ERRORS", "VOTES",
                "LAST CHECK");
    else
        HEADING(&t, "SERVER", "KIND", "STATE", "SERVING", "ACTIVE", "REQUESTS", "ERRORS",
                "LAST CHECK");
    add_servers(&t, pool, "backends", votes);
    add_servers(&t, pool, "standbys", votes);
    finish(&t);
}

/* ---- the fleet ---- */

/* What is to be known before the table: how this proxy stands in the fleet. */
static void print_own_role(const json_t *c)
{
    char since[32], age[32], version[96] = "";
    const char *keeper = text(c, "keeper"), *role = text(c, "role");
    if (json_is_integer(json_object_get(c, "epoch")))
        snprintf(version, sizeof version,
                 ", publication %" JSON_INTEGER_FORMAT ".%" JSON_INTEGER_FORMAT " of %s ago",
                 number(c, "epoch"), number(c, "seq"), lasting(number(c, "age_ms"), age));
    line("FLEET %s: this is %s, %s for %s%s%s; redis is %s%s", text(c, "name"), text(c, "node"),
         role, lasting(number(c, "since_ms"), since),
         keeper[0] && strcmp(role, "keeper") != 0 ? ", the keeper is " : "",
         strcmp(role, "keeper") != 0 ? keeper : "", text(c, "redis"), version);
}

static void member_cells(struct table *t, const json_t *m)
{
    char seen[32];
    table_cell(t, "%s", text(m, "node"));
    table_cell(t, "%s", truth(m, "silent") ? "silent" : text(m, "role"));
    table_cell(t, "%s ago", lasting(number(m, "seen_ms"), seen));
    if (json_is_null(json_object_get(m, "role"))) {
        for (unsigned i = 0; i < 5; i++)
            table_cell(t, "%s", "");
        return;
    }
    table_cell(t, "%" JSON_INTEGER_FORMAT ".%" JSON_INTEGER_FORMAT, number(m, "epoch"),
               number(m, "seq"));
    table_cell(t, "%s", text(m, "listen"));
    table_cell(t, "%s", yes(truth(m, "accepting")));
    table_cell(t, "%s", yes(truth(m, "ready")));
    table_cell(t, "%" JSON_INTEGER_FORMAT, number(m, "priority"));
}

/* Who disagrees, and about what. */
static void print_disagreement(const json_t *m)
{
    char pools[1024];
    size_t i;
    json_t *place;
    if (json_array_size(json_object_get(m, "digest_differs")) > 0)
        line("%s has another configuration of %s", text(m, "node"),
             joined(json_object_get(m, "digest_differs"), pools, sizeof pools));
    json_array_foreach(json_object_get(m, "except"), i, place)
        line("%s leaves out %s of %s, against the agreement", text(m, "node"),
             text(place, "server"), text(place, "pool"));
}

static void print_fleet(const json_t *c)
{
    size_t i;
    json_t *m;
    struct table t;
    print_own_role(c);
    if (truth(c, "node_twice"))
        line("another process has the name %s, too: give it a name of its own", text(c, "node"));
    HEADING(&t, "NODE", "ROLE", "SEEN", "PUBLICATION", "LISTEN", "ACCEPTING", "READY", "PRIORITY");
    json_array_foreach(json_object_get(c, "members"), i, m) member_cells(&t, m);
    finish(&t);
    json_array_foreach(json_object_get(c, "members"), i, m) print_disagreement(m);
}

/* ---- */

static void print_status(const json_t *root)
{
    size_t i;
    json_t *pool;
    const json_t *c = json_object_get(root, "cluster");
    line("ringproxy %s, generation %" JSON_INTEGER_FORMAT, text(root, "version"),
         number(root, "generation"));
    putchar('\n');
    print_listeners(root);
    json_array_foreach(json_object_get(root, "pools"), i, pool)
    {
        putchar('\n');
        print_pool(pool, strcmp(text(c, "role"), "keeper") == 0);
    }
    if (c) {
        putchar('\n');
        print_fleet(c);
    }
}

static int tell(const struct asking *k, const struct admin_where *w, const struct admin_answer *a,
                json_t *root)
{
    if (a->status != 200 || !json_is_array(json_object_get(root, "pools"))) {
        asking_refused(k, w, a, root);
        return APP_FAILED;
    }
    if (k->watch && !k->json)
        fputs(isatty(STDOUT_FILENO) ? "\033[H\033[J" : "\n", stdout); /* clears a terminal */
    if (k->json)
        asking_print_json(a);
    else
        print_status(root);
    return APP_OK;
}

/* Until somebody ends it. A proxy that does not answer may come back, once it was there. */
static int watch(struct asking *k, const struct admin_request *q)
{
    const struct timespec pause = {.tv_sec = WATCH_S};
    int status = asking_run(k, q, k->timeout_ms, tell);
    while (status == APP_OK && !ferror(stdout)) {
        nanosleep(&pause, NULL);
        if (asking_run(k, q, k->timeout_ms, tell) == APP_USAGE)
            return APP_USAGE; /* of -c FILE, which is read again */
    }
    return ferror(stdout) ? APP_FAILED : status;
}

int cmd_status(int argc, char **argv)
{
    struct asking k = {.command = "status",
                       .takes_json = true,
                       .takes_watch = true,
                       .most_ms = 86400000,
                       .most = "24h",
                       .suited = "a ringproxy",
                       .timeout_ms = 10000};
    int status = asking_parse(&k, argc, argv);
    if (status >= 0)
        return status;
    const struct admin_request q = {"GET", "/status", {0}};
    return k.watch ? watch(&k, &q) : asking_run(&k, &q, k.timeout_ms, tell);
}
