/* The rules of a listener's `pool` and `routes`. */
#include <stdlib.h>

#include "base/mem.h"
#include "config/route_values.h"
#include "config/issued.h"
#include "config/rules_parts.h"

struct pool_name {
    const char *name;
    size_t index;
};

/* The arguments of every rule that concerns one listener. */
struct route_rules {
    struct report *r;
    const struct yaml_node *node;
    const struct report_path *path;
    struct config_listener *listener;
    bool know_mode;
    const struct pool_name *names; /* sorted */
    size_t npools;
};

static int pool_name_cmp(const void *a, const void *b)
{
    const struct pool_name *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* The index of the pool that the key `pool` of a mapping names. */
static void resolve_pool(const struct route_rules *p, const struct yaml_node *map,
                         const struct report_path *path, size_t *out)
{
    const struct yaml_node *node = yaml_tree_get(map, "pool");
    struct report_path at = path_key(path, "pool");
    char text[REPORT_QUOTE_MAX];
    if (node == NULL || node->kind != YAML_SCALAR || node->text.n == 0)
        return; /* reported */
    struct pool_name wanted = {node->text.p, 0};
    const struct pool_name *found =
        p->npools ? bsearch(&wanted, p->names, p->npools, sizeof wanted, pool_name_cmp) : NULL;
    if (found)
        *out = found->index;
    else
        report_node(p->r, node, &at, "%s is no pool of this file, allowed a pool's name",
                    report_quote(node->text, text));
}

/* ---- one route ---- */

/* The value of a condition; NULL: there is none, or none that goes with the mode. */
static const struct yaml_node *condition(const struct route_rules *p, const struct yaml_node *map,
                                         const struct report_path *at, enum config_mode mode)
{
    const struct yaml_node *node = yaml_tree_get(map, at->key.p); /* of path_key(): with a NUL */
    if (node == NULL || !p->know_mode || p->listener->mode == mode)
        return node;
    report_node(p->r, node, at, "means nothing with mode: %s, allowed with mode: %s",
                mode == MODE_HTTP ? "tcp" : "http", mode == MODE_HTTP ? "http" : "tcp");
    return NULL;
}

static void read_conditions(const struct route_rules *p, const struct yaml_node *map,
                            const struct report_path *path, struct config_route *route)
{
    struct report_path host = path_key(path, "host"), at_path = path_key(path, "path"),
                       methods = path_key(path, "methods"), sni = path_key(path, "sni");
    const struct yaml_node *node;
    if ((node = condition(p, map, &host, MODE_HTTP)) != NULL)
        read_host(p->r, node, &host, false, &route->host);
    if ((node = condition(p, map, &at_path, MODE_HTTP)) != NULL)
        read_route_path(p->r, node, &at_path, &route->path, &route->path_exact);
    if ((node = condition(p, map, &methods, MODE_HTTP)) != NULL)
        read_methods(p->r, node, &methods, &route->methods, &route->nmethods);
    if ((node = condition(p, map, &sni, MODE_TCP)) != NULL)
        read_host(p->r, node, &sni, true, &route->sni);
}

/* Routes without a key of their own have the listener's, which was checked. */
static void settle_keys(const struct route_rules *p, const struct yaml_node *map,
                        const struct report_path *path, struct config_route *route)
{
    const struct yaml_node *key = yaml_tree_get(map, "key");
    struct report_path at = path_key(path, "key");
    route->own_keys = key != NULL;
    if (key == NULL) {
        route->keys = p->listener->keys;
        route->nkeys = p->listener->nkeys;
    } else if (p->know_mode) {
        rules_check_keys(p->r, route->keys, route->nkeys, p->listener->mode, key, &at);
        issued_check_keys(p->r, p->listener, route->keys, route->nkeys, key, &at);
    }
}

/* ---- a route that another one hides ---- */

static bool host_covers(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        return a == NULL;
    size_t na = strlen(a), nb = strlen(b);
    if (a[0] != '*')
        return strcmp(a, b) == 0;
    /* "*.example.com" and "*.sub.example.com" or "sub.example.com": the latter ends in the former
     * without its '*', and is longer than that, if by its own '*' alone */
    return nb >= na && strcmp(a + 1, b + nb - (na - 1)) == 0;
}

static bool path_covers(const struct config_route *a, const struct config_route *b)
{
    if (a->path == NULL || b->path == NULL)
        return a->path == NULL;
    size_t n = 0;
    while (a->path[n] && a->path[n] == b->path[n])
        n++;
    if (a->path[n] || (a->path_exact && (!b->path_exact || b->path[n])))
        return false;
    return a->path[n - 1] == '/' || b->path[n] == '/' || b->path[n] == 0;
}

static bool has_method(const struct config_route *a, const char *method)
{
    for (size_t i = 0; i < a->nmethods; i++)
        if (strcmp(a->methods[i], method) == 0)
            return true;
    return false;
}

static bool methods_cover(const struct config_route *a, const struct config_route *b)
{
    for (size_t i = 0; a->nmethods && i < b->nmethods; i++)
        if (!has_method(a, b->methods[i]))
            return false;
    return a->nmethods == 0 || b->nmethods > 0;
}

/* Whether `a` matches all that `b` matches. */
static bool covers(const struct config_route *a, const struct config_route *b)
{
    return host_covers(a->host, b->host) && host_covers(a->sni, b->sni) && path_covers(a, b) &&
           methods_cover(a, b);
}

/* A route behind one that covers it is surely a mistake: it would never be used. At most 8 million
 * pairs, of which nearly all differ in their first bytes. */
static void check_hidden(const struct route_rules *p, const struct yaml_node *list,
                         const struct report_path *path)
{
    const struct config_listener *l = p->listener;
    for (size_t i = 1; i < l->nroutes; i++) {
        size_t by = 0;
        while (by < i && !covers(&l->routes[by], &l->routes[i]))
            by++;
        struct report_path at = path_index(path, i);
        if (by < i)
            report_node(p->r, list->items[i], &at,
                        "never matches, since routes[%zu] in line %u takes all that it would; a "
                        "narrower route has to come first",
                        by, list->items[by]->line);
    }
}

/* ---- one listener ---- */

static void check_routes(const struct route_rules *p, const struct yaml_node *list)
{
    struct config_listener *l = p->listener;
    struct report_path path = path_key(p->path, "routes");
    size_t before = p->r->count;
    if (l->nroutes > CONFIG_MAX_ROUTES) {
        report_node(p->r, list, &path, "%zu routes, allowed 1 to %d", l->nroutes,
                    CONFIG_MAX_ROUTES);
        return;
    }
    for (size_t i = 0; i < l->nroutes; i++) {
        const struct yaml_node *map = list_item(list, i);
        struct report_path at = path_index(&path, i);
        read_conditions(p, map, &at, &l->routes[i]);
        resolve_pool(p, map, &at, &l->routes[i].pool);
    }
    if (p->r->count == before) /* else conditions may be missing that would tell routes apart */
        check_hidden(p, list, &path);
}

/* `pool: P` in place of routes. */
static void make_route(const struct route_rules *p)
{
    struct config_listener *l = p->listener;
    free(l->routes); /* of an empty list */
    l->routes = mem_zalloc(sizeof *l->routes);
    l->nroutes = 1;
    resolve_pool(p, p->node, p->path, &l->routes->pool);
}

static void check_listener(const struct route_rules *p)
{
    struct config_listener *l = p->listener;
    const struct yaml_node *pool = yaml_tree_get(p->node, "pool");
    const struct yaml_node *list = yaml_tree_get(p->node, "routes");
    struct report_path at_pool = path_key(p->path, "pool"), at = path_key(p->path, "routes");
    bool is_list = list && list->kind == YAML_LIST;
    if (pool && l->nroutes)
        report_node(p->r, list, &at, "given beside pool, allowed one of them");
    else if (pool == NULL && list == NULL && p->node && p->node->kind == YAML_MAP)
        report_node(p->r, p->node, &at_pool, "missing, it or routes is required");
    else if (pool == NULL && is_list && list->count == 0)
        report_node(p->r, list, &at, "the list is empty, allowed 1 to %d", CONFIG_MAX_ROUTES);
    if (l->nroutes)
        check_routes(p, list);
    else
        make_route(p);
    for (size_t i = 0; i < l->nroutes; i++) {
        struct report_path item = path_index(&at, i);
        settle_keys(p, list_item(list, i), &item, &l->routes[i]);
    }
}

void rules_apply_routes(struct report *r, const struct yaml_node *listeners, struct config *c)
{
    struct pool_name *names = mem_zalloc_array(c->npools, sizeof *names);
    struct report_path path = path_key(NULL, "listeners");
    /* sorted copies, since c->pools keeps the order of the file */
    for (size_t i = 0; i < c->npools; i++)
        names[i] = (struct pool_name){c->pools[i].name ? c->pools[i].name : "", i};
    if (c->npools)
        qsort(names, c->npools, sizeof *names, pool_name_cmp);
    for (size_t i = 0; i < c->nlisteners; i++) {
        struct report_path item = path_index(&path, i);
        struct config_listener *l = &c->listeners[i];
        const struct yaml_node *node = list_item(listeners, i);
        check_listener(
            &(struct route_rules){r, node, &item, l, rules_know_mode(l, node), names, c->npools});
    }
    free(names);
}
