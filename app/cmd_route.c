/* `ringproxy route` prints the server of each key, computed offline by the code that routes
 * requests. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "app/options.h"
#include "base/mem.h"
#include "pool/pool.h"
#include "pool/routes.h"
#include "ring/hash.h"

struct route_args {
    const char *file, *pool;
    const char *listener, *host, *path, *method, *sni; /* a request, in place of a pool */
    const char **down;
    size_t ndown;
};

/* Where the value of an option goes that may be given once; NULL: it is no such option. */
static const char **text_option(struct route_args *a, int o)
{
    switch (o) {
    case 'c':
        return &a->file;
    case 'p':
        return &a->pool;
    case 'l':
        return &a->listener;
    case 'h':
        return &a->host;
    case 'P':
        return &a->path;
    case 'm':
        return &a->method;
    case 's':
        return &a->sni;
    default:
        return NULL;
    }
}

static int check_args(const struct route_args *a)
{
    if (a->file == NULL)
        return options_usage("route", "-c FILE is required");
    if (a->listener && a->pool)
        return options_usage("route", "--pool and --listener exclude each other");
    if (a->listener == NULL && (a->host || a->path || a->method || a->sni))
        return options_usage("route",
                             "--host, --path, --method and --sni need --listener, whose routes "
                             "they choose from");
    if (a->path && a->path[0] != '/' && strcmp(a->path, "*") != 0)
        return options_usage("route", "--path %s does not begin with '/'", a->path);
    return -1;
}

/* Returns an exit status, or -1: the command goes on, and argv[optind] and beyond are the keys. */
static int parse_args(int argc, char **argv, struct route_args *a)
{
    static const struct option longs[] = {{"config", required_argument, NULL, 'c'},
                                          {"pool", required_argument, NULL, 'p'},
                                          {"down", required_argument, NULL, 'd'},
                                          {"listener", required_argument, NULL, 'l'},
                                          {"host", required_argument, NULL, 'h'},
                                          {"path", required_argument, NULL, 'P'},
                                          {"method", required_argument, NULL, 'm'},
                                          {"sni", required_argument, NULL, 's'},
                                          {NULL, 0, NULL, 0}};
    int o;
    while ((o = getopt_long(argc, argv, ":c:", longs, NULL)) != -1) {
        const char **text = text_option(a, o);
        if (text) {
            *text = optarg;
        } else if (o == 'd') {
            a->down = mem_grow(a->down, a->ndown + 1, sizeof *a->down);
            a->down[a->ndown++] = optarg;
        } else {
            return options_usage("route", o == ':' ? "%s needs a value" : "unknown option %s",
                                 argv[optind - 1]);
        }
    }
    return check_args(a);
}

static const struct config_listener *find_listener(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->nlisteners; i++)
        if (strcmp(c->listeners[i].name, name) == 0)
            return &c->listeners[i];
    return NULL;
}

/* The pool of the listener's first route that matches. NULL: a message was printed. */
static const struct config_pool *pool_of_route(const struct config *c, const struct route_args *a)
{
    const struct config_listener *l = find_listener(c, a->listener);
    const char *path = a->path ? a->path : "/";
    if (l == NULL) {
        options_usage("route", "%s has no listener %s", c->file, a->listener);
        return NULL;
    }
    bool tcp = l->mode == MODE_TCP;
    if (tcp ? a->host || a->path || a->method : a->sni != NULL) {
        options_usage("route", "listener %s has mode: %s, %s", l->name, tcp ? "tcp" : "http",
                      tcp ? "--sni alone chooses a route" : "--sni means nothing there");
        return NULL;
    }
    const char *host = tcp ? a->sni : a->host;
    const struct route_query q = {.host = str_of(host ? host : ""),
                                  .path = {path, strcspn(path, "?")},
                                  .method = str_of(a->method ? a->method : "GET")};
    struct routes *routes = routes_new(l);
    size_t i = routes_find(routes, &q);
    routes_free(routes);
    if (i != ROUTE_NONE)
        return &c->pools[l->routes[i].pool];
    fprintf(stderr, "ringproxy route: no route of listener %s matches\n", l->name);
    return NULL;
}

/* The id of a backend or standby (failover.h), or SERVER_NONE. */
static uint16_t find_server(const struct config_pool *p, const char *name)
{
    for (size_t i = 0; i < p->nbackends; i++)
        if (strcmp(p->backends[i].name, name) == 0)
            return (uint16_t)i;
    for (size_t i = 0; i < p->nstandbys; i++)
        if (strcmp(p->standbys[i].name, name) == 0)
            return (uint16_t)(p->nbackends + i);
    return SERVER_NONE;
}

/* As the running proxy does when its checks have put every server out (standings_decide.c). */
static void try_all(const struct pool *p, bool *out)
{
    if (p->config->when_all_down != WHEN_ALL_DOWN_TRY || memchr(out, false, p->nservers))
        return;
    memset(out, 0, p->nservers * sizeof *out);
    fprintf(stderr,
            "ringproxy route: pool %s: every server is out; with when_all_down: try, keys go where "
            "they would if all were in service\n",
            p->config->name);
}

/* Publishes the owners that the pool has when the servers of --down are out. */
static bool take_down(struct pool *p, const struct route_args *a)
{
    bool ok = false;
    bool *out = mem_zalloc_array(p->nservers, sizeof *out);
    uint16_t *ids = mem_zalloc_array(p->nbackends, sizeof *ids);
    struct pool_owner *owners = mem_zalloc_array(p->nbackends, sizeof *owners);
    for (size_t i = 0; i < a->ndown; i++) {
        uint16_t id = find_server(p->config, a->down[i]);
        if (id == SERVER_NONE) {
            options_usage("route", "pool %s has no backend or standby %s", p->config->name,
                          a->down[i]);
            goto done;
        }
        out[id] = true;
    }
    try_all(p, out);
    failover_owners(p->failover, out, ids);
    for (unsigned i = 0; i < p->nbackends; i++) /* without a ramp, which would need time */
        owners[i] = (struct pool_owner){ids[i], SERVER_NONE, 0};
    pool_publish(p, owners);
    ok = true;
done:
    free(owners);
    free(ids);
    free(out);
    return ok;
}

/* The unlocked functions, as there is one thread, and there may be millions of keys. */
static void print_route(const struct pool *p, struct str key)
{
    uint16_t id = pool_find(p, hash_key(key));
    fwrite_unlocked(key.p, 1, key.n, stdout);
    putchar_unlocked('\t');
    fputs_unlocked(id == SERVER_NONE ? "-" : p->members[id].server->name, stdout);
    putchar_unlocked('\n');
}

/* One key a line, of any bytes but the line feed. Stops early if stdout is broken, as an endless
 * input would otherwise keep the command alive. */
static bool route_stdin(const struct pool *p)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    errno = 0;
    while (!ferror_unlocked(stdout) && (n = getline(&line, &cap, stdin)) >= 0) {
        struct str key = {line, (size_t)n};
        if (key.n && key.p[key.n - 1] == '\n')
            key.n--;
        print_route(p, key);
    }
    bool ok = !ferror(stdin) && (feof(stdin) || ferror(stdout));
    if (!ok)
        fprintf(stderr, "ringproxy route: stdin: %s\n", strerror(errno ? errno : EIO));
    free(line);
    return ok;
}

static int route(const struct config_pool *config, const struct route_args *a, char **keys,
                 size_t nkeys)
{
    struct error e;
    bool ok = true;
    struct pool *p = pool_new(config, 1, NULL, &e); /* for one worker: this thread */
    if (p == NULL) {
        fprintf(stderr, "ringproxy route: pool %s: %s\n", config->name, e.text);
        return APP_FAILED;
    }
    if (!take_down(p, a)) {
        pool_free(p);
        return APP_USAGE;
    }
    for (size_t i = 0; i < nkeys; i++)
        print_route(p, str_of(keys[i]));
    if (nkeys == 0)
        ok = route_stdin(p);
    ok = options_flush("route") && ok;
    pool_free(p);
    return ok ? APP_OK : APP_FAILED;
}

int cmd_route(int argc, char **argv)
{
    struct route_args a = {0};
    struct config *c = NULL;
    const struct config_pool *pool;
    int status = parse_args(argc, argv, &a);
    if (status >= 0)
        goto done;
    status = APP_USAGE;
    c = options_load(a.file);
    if (c && (pool = a.listener ? pool_of_route(c, &a) : options_pool("route", c, a.pool)) != NULL)
        status = route(pool, &a, argv + optind, (size_t)(argc - optind));
    config_unref(c);
done:
    free(a.down);
    return status;
}
