#include "pool/routes.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "ring/hash.h"

#define NOWHERE UINT32_MAX
#define HOST_MAX 255 /* bytes of a host in a route; config/ allows fewer */
#define FEW 8        /* routes of a group that are tried one after the other */

/* The conditions of a route but its host. */
struct rule {
    struct str path; /* n 0: any */
    const struct config_route *route;
};

/* Which lengths a set of texts has: what is of another length need not be looked up. */
struct lengths {
    uint64_t seen; /* a bit for each length, modulo 64 */
    size_t longest;
};

/* The routes with the same host. */
struct group {
    struct str host;   /* in lower case; of "*.example.com": ".example.com" */
    uint64_t hash;     /* of it */
    uint32_t first;    /* index of its first route */
    uint32_t from, n;  /* its routes, in their order: members[from, from + n) */
    uint32_t pathless; /* more than FEW: the first node of its routes without a path */
    struct lengths paths;
};

/* A route in the table of paths, which has those of large groups. */
struct node {
    uint64_t hash; /* of the group and the path */
    uint32_t group, route;
    uint32_t next; /* the next route of this group with the same path; NOWHERE: none */
};

/* Open addressing: a slot is the index of an entry, or NOWHERE. At most half of them are used. */
struct table {
    uint32_t *slots;
    uint32_t mask;
};

struct routes {
    struct rule *rules; /* one for each route */
    struct group *groups;
    uint32_t *members;
    struct node *nodes;
    uint32_t ngroups, nnodes;
    uint32_t any;               /* the group of routes without a host; NOWHERE: there are none */
    struct lengths hosts, ends; /* of hosts, and of ends, which are hosts that begin with "*." */
    struct table by_host;       /* -> groups */
    struct table by_path;       /* -> the first node of a group and path */
};

/* ---- hashes ---- */

static void add_length(struct lengths *l, size_t n)
{
    l->seen |= UINT64_C(1) << (n % 64);
    if (n > l->longest)
        l->longest = n;
}

static bool has_length(const struct lengths *l, size_t n)
{
    return n <= l->longest && (l->seen >> (n % 64) & 1);
}

/* An exact path has other nodes than the prefix of the same text. */
static uint64_t hash_path(uint32_t group, struct str path, bool exact)
{
    return hash_key(path) ^ (group * UINT64_C(2) + exact + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static uint32_t slot_of(const struct table *t, uint64_t hash)
{
    return (uint32_t)(hash >> 32) & t->mask;
}

static void table_init(struct table *t, size_t n)
{
    size_t size = 4;
    while (size < 2 * n)
        size *= 2;
    t->slots = mem_zalloc_array(size, sizeof *t->slots);
    memset(t->slots, 0xff, size * sizeof *t->slots);
    t->mask = (uint32_t)size - 1;
}

static void table_add(struct table *t, uint64_t hash, uint32_t entry)
{
    uint32_t s = slot_of(t, hash);
    while (t->slots[s] != NOWHERE)
        s = (s + 1) & t->mask;
    t->slots[s] = entry;
}

/* ---- matching ---- */

struct str route_host(struct str host)
{
    const char *end = host.n && host.p[0] == '[' ? memchr(host.p, ']', host.n) : NULL;
    if (end)
        return (struct str){host.p, (size_t)(end - host.p) + 1};
    const char *colon = host.n ? memchr(host.p, ':', host.n) : NULL;
    size_t n = colon ? (size_t)(colon - host.p) : host.n;
    return (struct str){host.p, n && host.p[n - 1] == '.' ? n - 1 : n};
}

static char lower(char c)
{
    return (char)(c + ((unsigned)(c - 'A') < 26 ? 32 : 0));
}

static bool method_matches(const struct config_route *route, struct str method)
{
    if (route->nmethods == 0)
        return true;
    for (size_t i = 0; i < route->nmethods; i++)
        if (str_eq(method, str_of(route->methods[i])))
            return true;
    return false;
}

/* A prefix ends where a segment does. */
static bool path_matches(const struct rule *rule, struct str path)
{
    struct str p = rule->path;
    if (p.n == 0)
        return true;
    if (path.n < p.n || memcmp(path.p, p.p, p.n) != 0)
        return false;
    return path.n == p.n ||
           (!rule->route->path_exact && (p.p[p.n - 1] == '/' || path.p[p.n] == '/'));
}

/* The first node of a group and path; NOWHERE: there is none. */
static uint32_t find_node(const struct routes *r, uint32_t group, struct str path, bool exact)
{
    uint64_t hash = hash_path(group, path, exact);
    for (uint32_t s = slot_of(&r->by_path, hash);; s = (s + 1) & r->by_path.mask) {
        uint32_t i = r->by_path.slots[s];
        if (i == NOWHERE)
            return NOWHERE;
        const struct rule *rule = &r->rules[r->nodes[i].route];
        if (r->nodes[i].hash == hash && r->nodes[i].group == group &&
            rule->route->path_exact == exact && str_eq(rule->path, path))
            return i;
    }
}

/* Takes the first route of a list that takes the method, if that is before the best one. */
static void take_node(const struct routes *r, uint32_t i, struct str method, uint32_t *best)
{
    for (; i != NOWHERE && r->nodes[i].route < *best; i = r->nodes[i].next)
        if (method_matches(r->rules[r->nodes[i].route].route, method))
            *best = r->nodes[i].route;
}

static void search_path(const struct routes *r, uint32_t group, const struct route_query *q,
                        size_t len, bool exact, uint32_t *best)
{
    if (has_length(&r->groups[group].paths, len))
        take_node(r, find_node(r, group, (struct str){q->path.p, len}, exact), q->method, best);
}

/* Looks up each prefix of the path that ends where a segment does. */
static void search_paths(const struct routes *r, uint32_t group, const struct route_query *q,
                         uint32_t *best)
{
    struct str path = q->path;
    size_t longest = r->groups[group].paths.longest;
    size_t n = path.n <= longest ? path.n : longest + 1; /* a prefix may end at a '/' behind it */
    take_node(r, r->groups[group].pathless, q->method, best);
    for (size_t i = 0; i < n; i++) {
        if (path.p[i] != '/')
            continue;
        if (i > 0)
            search_path(r, group, q, i, false, best);
        if (i + 1 < path.n)
            search_path(r, group, q, i + 1, false, best);
    }
    search_path(r, group, q, path.n, false, best);
    search_path(r, group, q, path.n, true, best);
}

static void search_group(const struct routes *r, uint32_t group, const struct route_query *q,
                         uint32_t *best)
{
    const struct group *g = &r->groups[group];
    if (g->first >= *best)
        return;
    if (g->n > FEW) {
        search_paths(r, group, q, best);
        return;
    }
    const uint32_t *member = r->members + g->from;
    for (uint32_t i = 0; i < g->n && member[i] < *best; i++) {
        const struct rule *rule = &r->rules[member[i]];
        if (path_matches(rule, q->path) && method_matches(rule->route, q->method))
            *best = member[i];
    }
}

/* ends: a group of "*.", which begins with its dot. */
static uint32_t find_group(const struct routes *r, uint64_t hash, struct str host, bool ends)
{
    for (uint32_t s = slot_of(&r->by_host, hash);; s = (s + 1) & r->by_host.mask) {
        uint32_t i = r->by_host.slots[s];
        if (i == NOWHERE)
            return NOWHERE;
        const struct group *g = &r->groups[i];
        if (g->hash == hash && (g->host.p[0] == '.') == ends && str_eq(g->host, host))
            return i;
    }
}

static void search_host(const struct routes *r, struct str host, bool ends,
                        const struct route_query *q, uint32_t *best)
{
    const struct lengths *l = ends ? &r->ends : &r->hosts;
    uint32_t group = has_length(l, host.n) ? find_group(r, hash_key(host), host, ends) : NOWHERE;
    if (group != NOWHERE)
        search_group(r, group, q, best);
}

/* No more of the end of a host is looked at than the longest host of a route has. */
static void search_hosts(const struct routes *r, struct str host, const struct route_query *q,
                         uint32_t *best)
{
    char text[HOST_MAX];
    size_t most = r->ends.longest > r->hosts.longest ? r->ends.longest : r->hosts.longest;
    size_t n = host.n < most ? host.n : most;
    for (size_t i = 0; i < n; i++)
        text[i] = lower(host.p[host.n - n + i]);
    for (size_t i = 0; i < n && r->ends.longest; i++)
        if (text[i] == '.' && n - i < host.n)
            search_host(r, (struct str){text + i, n - i}, true, q, best);
    if (n == host.n)
        search_host(r, (struct str){text, n}, false, q, best);
}

size_t routes_find(const struct routes *r, const struct route_query *q)
{
    uint32_t best = NOWHERE;
    if (r == NULL)
        return 0;
    struct str host = route_host(q->host);
    if (host.n)
        search_hosts(r, host, q, &best);
    if (r->any != NOWHERE)
        search_group(r, r->any, q, &best);
    return best == NOWHERE ? ROUTE_NONE : best;
}

/* ---- building ---- */

static struct str host_of(const struct config_route *route)
{
    const char *host = route->host ? route->host : route->sni;
    return host == NULL ? (struct str){0} : str_of(host[0] == '*' ? host + 1 : host);
}

static bool has_condition(const struct config_route *route)
{
    return route->host || route->sni || route->path || route->nmethods;
}

/* The group of a route, which may be new. */
static uint32_t group_for(struct routes *r, uint32_t route, struct str host)
{
    uint64_t hash = hash_key(host);
    uint32_t group = host.n == 0 ? r->any : find_group(r, hash, host, host.p[0] == '.');
    if (group != NOWHERE)
        return group;
    group = r->ngroups++;
    r->groups[group] =
        (struct group){.host = host, .hash = hash, .first = route, .pathless = NOWHERE};
    if (host.n == 0) {
        r->any = group;
        return group;
    }
    table_add(&r->by_host, hash, group);
    add_length(host.p[0] == '.' ? &r->ends : &r->hosts, host.n);
    assert(host.n <= HOST_MAX);
    return group;
}

/* Sorts the routes by group; within a group they keep their order. */
static void fill_groups(struct routes *r, const uint32_t *group_of, uint32_t n)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < n; i++)
        r->groups[group_of[i]].n++;
    for (uint32_t g = 0; g < r->ngroups; g++) {
        r->groups[g].from = at;
        at += r->groups[g].n;
        r->groups[g].n = 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct group *g = &r->groups[group_of[i]];
        r->members[g->from + g->n++] = i;
        add_length(&g->paths, r->rules[i].path.n);
    }
}

/* From the last route to the first, as each is put in front of its list. */
static void add_node(struct routes *r, uint32_t group, uint32_t route)
{
    const struct rule *rule = &r->rules[route];
    bool exact = rule->route->path_exact;
    uint64_t hash = hash_path(group, rule->path, exact);
    struct node *node = &r->nodes[r->nnodes];
    *node = (struct node){hash, group, route, NOWHERE};
    if (rule->path.n == 0) {
        node->next = r->groups[group].pathless;
        r->groups[group].pathless = r->nnodes++;
        return;
    }
    uint32_t s = slot_of(&r->by_path, node->hash);
    uint32_t before = find_node(r, group, rule->path, exact);
    node->next = before;
    if (before == NOWHERE) {
        table_add(&r->by_path, node->hash, r->nnodes++);
        return;
    }
    while (r->by_path.slots[s] != before)
        s = (s + 1) & r->by_path.mask;
    r->by_path.slots[s] = r->nnodes++;
}

struct routes *routes_new(const struct config_listener *l)
{
    assert(l->nroutes > 0 && l->nroutes <= CONFIG_MAX_ROUTES);
    if (l->nroutes == 1 && !has_condition(&l->routes[0]))
        return NULL;
    uint32_t n = (uint32_t)l->nroutes;
    uint32_t *group_of = mem_zalloc_array(n, sizeof *group_of);
    struct routes *r = mem_zalloc(sizeof *r);
    r->rules = mem_zalloc_array(n, sizeof *r->rules);
    r->groups = mem_zalloc_array(n, sizeof *r->groups);
    r->members = mem_zalloc_array(n, sizeof *r->members);
    r->nodes = mem_zalloc_array(n, sizeof *r->nodes);
    r->any = NOWHERE;
    table_init(&r->by_host, n);
    table_init(&r->by_path, n);
    for (uint32_t i = 0; i < n; i++) {
        const struct config_route *route = &l->routes[i];
        r->rules[i].route = route;
        if (route->path)
            r->rules[i].path = str_of(route->path);
        group_of[i] = group_for(r, i, host_of(route));
    }
    fill_groups(r, group_of, n);
    for (uint32_t i = n; i-- > 0;)
        if (r->groups[group_of[i]].n > FEW)
            add_node(r, group_of[i], i);
    free(group_of);
    return r;
}

void routes_free(struct routes *r)
{
    if (r == NULL)
        return;
    free(r->rules);
    free(r->groups);
    free(r->members);
    free(r->nodes);
    free(r->by_host.slots);
    free(r->by_path.slots);
    free(r);
}

/* ---- texts ---- */

static bool put(struct buffer *out, const char *s)
{
    return buffer_append(out, s, strlen(s));
}

bool route_text(const struct config_route *route, struct buffer *out)
{
    const char *host = route->host ? route->host : route->sni;
    bool ok = true, first = host == NULL && route->path == NULL;
    if (!has_condition(route))
        return put(out, "any");
    if (host)
        ok = put(out, host);
    if (route->path)
        ok = ok && put(out, route->path_exact ? "=" : "") && put(out, route->path);
    for (size_t i = 0; i < route->nmethods && ok; i++)
        ok = put(out, i ? "," : first ? "" : " ") && put(out, route->methods[i]);
    return ok;
}
