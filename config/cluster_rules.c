#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/read.h"
#include "config/rules_parts.h"
#include "config/token.h"

#define ARGV_MAX 64
#define ARGUMENT_MAX 4096

/* ---- names ---- */

/* Names are parts of keys in Redis, where braces say which slot a key is of; '/' ends a node in the
 * value of the lock, and the field '#' of the beats is no node. What comes from Redis is taken in
 * ASCII alone. */
static bool is_member_name(const char *name)
{
    for (const char *c = name; *c; c++)
        if (*c <= ' ' || *c >= 0x7f || strchr("{}#", *c))
            return false;
    return true;
}

static void check_name(struct report *r, const struct yaml_node *map,
                       const struct report_path *path, const char *key, const char *name,
                       size_t most)
{
    char text[REPORT_QUOTE_MAX];
    struct report_path at = path_key(path, key);
    const struct yaml_node *node = yaml_tree_get(map, key);
    if (name == NULL || node == NULL)
        return;
    if (strlen(name) > most)
        report_node(r, node, &at, "a name of %zu bytes, allowed 1 to %zu", strlen(name), most);
    else if (!is_member_name(name))
        report_node(r, node, &at, "%s: allowed are visible ASCII characters but '{', '}' and '#'",
                    report_quote(str_of(name), text));
}

/* Another process on the host, such as one that is started before this one has ended, is another
 * member. */
static char *default_node(void)
{
    char host[CONFIG_MAX_NODE - 16] = "", *out = mem_zalloc(CONFIG_MAX_NODE + 1);
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == 0)
        strcpy(host, "localhost");
    for (char *c = host; *c; c++)
        if (!((*c >= '0' && *c <= '9') || (*c >= 'A' && *c <= 'Z') || (*c >= 'a' && *c <= 'z') ||
              strchr("-._", *c)))
            *c = '-';
    snprintf(out, CONFIG_MAX_NODE + 1, "%s-%ld", host, (long)getpid());
    return out;
}

/* ---- redis ---- */

/* The file is read to see that it can be; who connects reads it again. */
static bool check_password_file(struct report *r, const struct yaml_node *node,
                                const struct report_path *path, struct redis_url *u)
{
    struct error e;
    if (u->password_file == NULL)
        return true;
    char *file = token_path(r->file, u->password_file);
    free(u->password_file);
    u->password_file = file;
    char *password = token_load("", file, &e);
    if (password == NULL)
        report_node(r, node, path, "password_file: %s", e.text);
    free(password);
    return password != NULL;
}

static bool read_redis(struct report *r, const struct yaml_node *node,
                       const struct report_path *path, struct redis_url *out)
{
    struct error e;
    if (node->kind != YAML_SCALAR || node->text.n == 0) {
        read_wrong_text(r, node, path, "a URL such as redis://HOST:PORT/DB");
        return false;
    }
    if (!redis_url_parse(out, node->text.p, &e)) {
        report_node(r, node, path, "%s", e.text);
        return false;
    }
    return check_password_file(r, node, path, out);
}

/* One URL, or a list of them. */
static void read_all_redis(struct report *r, const struct yaml_node *node,
                           const struct report_path *path, struct config_cluster *f)
{
    bool list = node->kind == YAML_LIST;
    size_t n = list ? node->count : 1;
    if (n == 0 || n > CONFIG_MAX_REDIS) {
        report_node(r, node, path, "a list of %zu, allowed 1 to %d", n, CONFIG_MAX_REDIS);
        return;
    }
    f->redis = mem_zalloc_array(n, sizeof *f->redis);
    f->nredis = n;
    for (size_t i = 0; i < n; i++) {
        struct report_path at = path_index(path, i);
        read_redis(r, list ? node->items[i] : node, list ? &at : path, &f->redis[i]);
    }
}

/* ---- commands ---- */

/* The arguments of a command, NULL behind the last. NULL: none, or it was reported. */
static char **read_argv(struct report *r, const struct yaml_node *node,
                        const struct report_path *path)
{
    if (node->kind != YAML_LIST) {
        read_wrong_kind(r, node, path, "a list: [COMMAND, ARGUMENT, ...], there is no shell");
        return NULL;
    }
    if (node->count > ARGV_MAX) {
        report_node(r, node, path, "a list of %zu, allowed 0 to %d", node->count, ARGV_MAX);
        return NULL;
    }
    char **argv = mem_zalloc_array(node->count + 1, sizeof *argv);
    size_t n = 0;
    for (size_t i = 0; i < node->count; i++) {
        struct report_path at = path_index(path, i);
        if (read_text(r, node->items[i], &at, ARGUMENT_MAX, &argv[n]))
            n++;
    }
    if (n > 0)
        return argv;
    free(argv);
    return NULL;
}

/* ---- the section ---- */

static void read_cluster(struct report *r, const struct yaml_node *map, struct config *c)
{
    struct report_path path = path_key(NULL, "cluster");
    struct config_cluster *f = mem_zalloc(sizeof *f);
    c->cluster = f;
    read_map(r, &schema_cluster, map, &path, f);
    if (map->kind != YAML_MAP)
        return;
    check_name(r, map, &path, "name", f->name, CONFIG_MAX_FLEET);
    check_name(r, map, &path, "node", f->node, CONFIG_MAX_NODE);
    if (f->node == NULL)
        f->node = default_node();
    struct report_path at = path_key(&path, "redis");
    const struct yaml_node *redis = yaml_tree_get(map, "redis");
    if (redis)
        read_all_redis(r, redis, &at, f);
    const struct {
        const char *key;
        char ***argv;
    } commands[] = {{"on_active", &f->on_active}, {"on_standby", &f->on_standby}};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        const struct yaml_node *command = yaml_tree_get(map, commands[i].key);
        at = path_key(&path, commands[i].key);
        if (command)
            *commands[i].argv = read_argv(r, command, &at);
        if (*commands[i].argv && !f->listen_active)
            report_node(r->warnings, command, &at,
                        "warning: never runs, as `listen` is not `active`");
    }
}

/* ---- the epoch to servers ---- */

/* A field of a request that says something else already, or that is for one connection alone. */
static bool is_taken(struct str name)
{
    static const char *const taken[] = {
        "Host",   "Connection", "Content-Length",      "Transfer-Encoding", "Upgrade",
        "TE",     "Trailer",    "Keep-Alive",          "Proxy-Connection",  "Via",
        "Expect", "Cookie",     "Authorization",       "Max-Forwards",      "X-Forwarded-For",
        "Range",  "Accept",     "Proxy-Authorization", "X-Forwarded-Proto", "X-Forwarded-Host"};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (str_eq_nocase(name, str_of(taken[i])))
            return true;
    return false;
}

static void check_epoch_header(struct report *r, const struct yaml_node *pool,
                               const struct report_path *path, struct config *c,
                               struct config_pool *p)
{
    char text[REPORT_QUOTE_MAX];
    struct report_path at = path_key(path, "epoch_header");
    const struct yaml_node *node = yaml_tree_get(pool, "epoch_header");
    if (p->epoch_header == NULL)
        return;
    struct str name = str_of(p->epoch_header);
    if (str_eq(name, STR("off"))) {
        free(p->epoch_header);
        p->epoch_header = NULL;
    } else if (!read_is_token(name)) {
        report_node(r, node, &at, "%s is not the name of a field, allowed off or a name",
                    report_quote(name, text));
    } else if (is_taken(name)) {
        report_node(r, node, &at, "%s has a meaning of its own, allowed off or another name",
                    report_quote(name, text));
    } else if (c->cluster == NULL) {
        report_node(r->warnings, node, &at,
                    "warning: is never sent, as there is no section cluster");
    }
}

void rules_apply_cluster(struct report *r, const struct yaml_node *root, struct config *c)
{
    const struct yaml_node *map = yaml_tree_get(root, "cluster");
    const struct yaml_node *pools = yaml_tree_get(root, "pools");
    struct report_path path = path_key(NULL, "pools");
    if (map)
        read_cluster(r, map, c);
    for (size_t i = 0; i < c->npools; i++) {
        struct report_path item = path_index(&path, i);
        check_epoch_header(r, list_item(pools, i), &item, c, &c->pools[i]);
    }
}
