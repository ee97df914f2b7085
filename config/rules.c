#include "config/rules.h"

#include <assert.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/units.h"
#include "config/issued.h"
#include "config/read.h"
#include "config/rules_parts.h"
#include "config/token.h"

/* The arguments of every rule that concerns one pool. */
struct pool_rules {
    struct report *r;
    const struct yaml_node *node;
    const struct report_path *path;
    struct config_pool *pool;
};

/* ---- duplicates ---- */

/* One use of a text that must be unique, at the path LIST[index].LEAF. */
struct claim {
    const char *text; /* NULL: the value is wrong and was reported */
    const struct yaml_node *node;
    const char *list;
    size_t index;
    const char *leaf;
};

/* Equal texts in the order of the file, so that the first use is the one that counts as right. */
static int claim_cmp(const void *a, const void *b)
{
    const struct claim *x = a, *y = b;
    int c = strcmp(x->text, y->text);
    if (c)
        return c;
    if (x->node->line != y->node->line)
        return x->node->line < y->node->line ? -1 : 1;
    if (x->node->column != y->node->column)
        return x->node->column < y->node->column ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Reports every use of a text but the first. rule: what is required, for the message. Reorders
 * `claims`. */
static void check_claims(struct report *r, const struct report_path *up, struct claim *claims,
                         size_t n, const char *rule)
{
    size_t whole = 0, first = 0;
    for (size_t i = 0; i < n; i++)
        if (claims[i].text && claims[i].node)
            claims[whole++] = claims[i];
    if (whole)
        qsort(claims, whole, sizeof *claims, claim_cmp);
    for (size_t i = 1; i < whole; i++) {
        const struct claim *c = &claims[i];
        if (strcmp(c->text, claims[first].text) != 0) {
            first = i;
            continue;
        }
        char text[REPORT_QUOTE_MAX];
        struct report_path list = path_key(up, c->list);
        struct report_path item = path_index(&list, c->index);
        struct report_path leaf = path_key(&item, c->leaf);
        report_node(r, c->node, &leaf, "%s is taken already in line %u, %s",
                    report_quote(str_of(c->text), text), claims[first].node->line, rule);
    }
}

/* ---- the servers of a pool ---- */

/* A server with its place in the file, which sorting would lose otherwise. */
struct placed_server {
    struct config_server server;
    const struct yaml_node *node;
    size_t index; /* in the file's list */
};

static int by_name(const void *a, const void *b)
{
    const struct placed_server *x = a, *y = b;
    const char *m = x->server.name ? x->server.name : "", *n = y->server.name ? y->server.name : "";
    int c = strcmp(m, n);
    return c ? c : x->index < y->index ? -1 : 1;
}

/* Sorts the servers by name. Returns copies in the same order with their nodes, for messages; the
 * caller frees that array. */
static struct placed_server *sort_servers(struct config_server *servers, size_t n,
                                          const struct yaml_node *list)
{
    struct placed_server *placed = mem_zalloc_array(n, sizeof *placed);
    for (size_t i = 0; i < n; i++)
        placed[i] = (struct placed_server){servers[i], list_item(list, i), i};
    if (n)
        qsort(placed, n, sizeof *placed, by_name);
    for (size_t i = 0; i < n; i++)
        servers[i] = placed[i].server;
    return placed;
}

static void add_name_claims(struct claim *claims, const struct placed_server *placed, size_t n,
                            const char *list)
{
    for (size_t i = 0; i < n; i++)
        claims[i] = (struct claim){placed[i].server.name, yaml_tree_get(placed[i].node, "name"),
                                   list, placed[i].index, "name"};
}

/* For bsearch(). A server whose name was wrong has none; sort_servers() puts it first. */
static int name_cmp(const void *name, const void *server)
{
    const char *n = ((const struct config_server *)server)->name;
    return strcmp(name, n ? n : "");
}

static int index_cmp(const void *a, const void *b)
{
    uint16_t x = *(const uint16_t *)a, y = *(const uint16_t *)b;
    return x < y ? -1 : x > y;
}

/* Finds the index of the backend with a name of a `for` list. */
static bool resolve_backend(const struct pool_rules *p, const struct yaml_node *node,
                            const struct report_path *path, uint16_t *out)
{
    char *name = NULL, text[REPORT_QUOTE_MAX];
    if (!read_name(p->r, node, path, &name))
        return false;
    const struct config_server *found = NULL;
    if (p->pool->nbackends)
        found = bsearch(name, p->pool->backends, p->pool->nbackends, sizeof *found, name_cmp);
    free(name);
    if (found == NULL) {
        report_node(p->r, node, path, "%s is no backend of this pool, allowed a backend's name",
                    report_quote(node->text, text));
        return false;
    }
    *out = (uint16_t)(found - p->pool->backends);
    return true;
}

/* Reads the `for` list of a standby into indexes of backends, in ascending order. */
static void resolve_for(const struct pool_rules *p, struct config_server *standby,
                        const struct yaml_node *node, const struct report_path *path)
{
    if (node == NULL)
        return;
    if (node->kind != YAML_LIST) {
        read_wrong_kind(p->r, node, path, "a list of names of backends");
        return;
    }
    if (node->count > CONFIG_MAX_SERVERS) {
        report_node(p->r, node, path, "%zu names, allowed %d", node->count, CONFIG_MAX_SERVERS);
        return;
    }
    bool *seen = mem_zalloc_array(p->pool->nbackends, sizeof *seen);
    standby->for_backends = mem_zalloc_array(node->count, sizeof *standby->for_backends);
    for (size_t i = 0; i < node->count; i++) {
        struct report_path at = path_index(path, i);
        uint16_t backend;
        if (!resolve_backend(p, node->items[i], &at, &backend))
            continue;
        if (seen[backend])
            report_node(p->r, node->items[i], &at, "%s is in the list already, allowed once",
                        p->pool->backends[backend].name);
        else
            standby->for_backends[standby->nfor++] = backend;
        seen[backend] = true;
    }
    if (standby->nfor)
        qsort(standby->for_backends, standby->nfor, sizeof *standby->for_backends, index_cmp);
    free(seen);
}

/* A pool with too many servers is not examined further: it would only add a long list of errors. */
static bool check_server_count(const struct pool_rules *p)
{
    size_t n = p->pool->nbackends + p->pool->nstandbys;
    if (n <= CONFIG_MAX_SERVERS)
        return true;
    const char *list = p->pool->nbackends > CONFIG_MAX_SERVERS ? "backends" : "standbys";
    struct report_path at = path_key(p->path, list);
    report_node(p->r, yaml_tree_get(p->node, list), &at,
                "%zu backends and standbys in the pool, allowed %d", n, CONFIG_MAX_SERVERS);
    return false;
}

/* Sorts the servers of a pool, checks that their names differ, and resolves the `for` lists. */
static void check_servers(const struct pool_rules *p)
{
    struct config_pool *pool = p->pool;
    if (!check_server_count(p))
        return;
    size_t nb = pool->nbackends, ns = pool->nstandbys;
    struct placed_server *backends =
        sort_servers(pool->backends, nb, yaml_tree_get(p->node, "backends"));
    struct placed_server *standbys =
        sort_servers(pool->standbys, ns, yaml_tree_get(p->node, "standbys"));
    struct claim *claims = mem_zalloc_array(nb + ns, sizeof *claims);
    add_name_claims(claims, backends, nb, "backends");
    add_name_claims(claims + nb, standbys, ns, "standbys");
    check_claims(p->r, p->path, claims, nb + ns,
                 "names of backends and standbys of a pool must differ");
    /* only now: `for` becomes indexes, and those exist once the backends are sorted */
    struct report_path list = path_key(p->path, "standbys");
    for (size_t i = 0; i < ns; i++) {
        struct report_path item = path_index(&list, standbys[i].index);
        struct report_path at = path_key(&item, "for");
        pool->standbys[i].weight = 1;
        resolve_for(p, &pool->standbys[i], yaml_tree_get(standbys[i].node, "for"), &at);
    }
    free(claims);
    free(backends);
    free(standbys);
}

/* Checked here although ring_new() has the same bound, so that the message names the place. */
static void check_points(const struct pool_rules *p)
{
    uint64_t weights = 0;
    for (size_t i = 0; i < p->pool->nbackends; i++)
        weights += p->pool->backends[i].weight;
    if (weights * p->pool->vnodes <= CONFIG_MAX_POINTS)
        return;
    struct report_path at = path_key(p->path, "backends");
    report_node(p->r, yaml_tree_get(p->node, "backends"), &at,
                "%" PRIu64 " points (weights %" PRIu64 " x vnodes %u), allowed %d",
                weights * p->pool->vnodes, weights, p->pool->vnodes, CONFIG_MAX_POINTS);
}

/* ---- health, failback ---- */

static const char *const check_names[] = {
    [CHECK_OFF] = "off", [CHECK_TCP] = "tcp", [CHECK_HTTP] = "http"};

/* A key without effect is an error: the user expects an effect from it, for example a `path` that
 * is never requested. */
static void check_health_keys(const struct pool_rules *p, const struct yaml_node *map,
                              const struct report_path *path)
{
    static const struct {
        const char *key;
        bool with[3]; /* by enum config_check */
        const char *allowed;
    } keys[] = {
        {"port", {[CHECK_TCP] = true, [CHECK_HTTP] = true}, "with check: http or tcp"},
        {"method", {[CHECK_HTTP] = true}, "with check: http"},
        {"path", {[CHECK_HTTP] = true}, "with check: http"},
        {"host", {[CHECK_HTTP] = true}, "with check: http"},
        {"send", {[CHECK_TCP] = true}, "with check: tcp"},
        {"expect", {[CHECK_TCP] = true, [CHECK_HTTP] = true}, "with check: http or tcp"},
    };
    enum config_check check = p->pool->health.check;
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        const struct yaml_node *node = yaml_tree_get(map, keys[k].key);
        struct report_path at = path_key(path, keys[k].key);
        if (node && !keys[k].with[check])
            report_node(p->r, node, &at, "means nothing with check: %s, allowed %s",
                        check_names[check], keys[k].allowed);
    }
}

/* True if a path or host can be part of the head of the request that a check sends. */
static bool sendable(const char *s)
{
    for (; *s; s++)
        if (*s <= ' ' || *s >= 0x7f) /* refuses bytes above ASCII, whether char is signed or not */
            return false;
    return true;
}

/* `path` and `expect` have defaults only for `check: http`; that is why they are not in
 * schema.c. */
static void check_http_health(const struct pool_rules *p, const struct yaml_node *map,
                              const struct report_path *path)
{
    struct config_health *h = &p->pool->health;
    const struct yaml_node *expect = yaml_tree_get(map, "expect");
    struct report_path at = path_key(path, "path");
    char text[REPORT_QUOTE_MAX];
    if (h->path && (h->path[0] != '/' || !sendable(h->path)))
        report_node(p->r, yaml_tree_get(map, "path"), &at,
                    "%s is not a path, allowed '/' and visible ASCII characters",
                    report_quote(str_of(h->path), text));
    else if (h->path == NULL)
        h->path = mem_strdup("/healthz");
    at = path_key(path, "host");
    if (h->host && (!sendable(h->host) || strpbrk(h->host, "/?#@,\"\\<>")))
        report_node(p->r, yaml_tree_get(map, "host"), &at,
                    "%s is not a host, allowed a name or an address, with or without a port",
                    report_quote(str_of(h->host), text));
    struct yaml_node fallback = {YAML_SCALAR, .text = STR("200-399")};
    at = path_key(path, "expect");
    read_statuses(p->r, expect ? expect : &fallback, &at, &h->expect_status, &h->nexpect_status);
}

static const struct config_server *find_unix(const struct config_server *servers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (addr_is_unix(&servers[i].address))
            return &servers[i];
    return NULL;
}

/* A unix socket has no port that another one could replace. */
static void check_health_port(const struct pool_rules *p, const struct yaml_node *map,
                              const struct report_path *path)
{
    const struct config_pool *pool = p->pool;
    const struct config_server *s = find_unix(pool->backends, pool->nbackends);
    struct report_path at = path_key(path, "port");
    if (s == NULL)
        s = find_unix(pool->standbys, pool->nstandbys);
    if (s && pool->health.port)
        report_node(p->r, yaml_tree_get(map, "port"), &at,
                    "means nothing for %s, whose address is %s, allowed if all addresses have a "
                    "port",
                    s->name ? s->name : "a server", s->address_text);
}

static void check_health(const struct pool_rules *p)
{
    const struct yaml_node *map = yaml_tree_get(p->node, "health");
    const struct yaml_node *expect = yaml_tree_get(map, "expect");
    struct report_path path = path_key(p->path, "health"), at = path_key(&path, "expect");
    const struct yaml_node *check = yaml_tree_get(map, "check");
    enum config_check chosen = p->pool->health.check;
    if (check && !(check->kind == YAML_SCALAR && str_eq(check->text, str_of(check_names[chosen]))))
        return; /* reported; which keys go with the intended check is not known */
    check_health_keys(p, map, &path);
    check_health_port(p, map, &path);
    if (chosen == CHECK_HTTP)
        check_http_health(p, map, &path);
    else if (chosen == CHECK_TCP && expect)
        read_bytes(p->r, expect, &at, 4096, &p->pool->health.expect, &p->pool->health.expect_len);
}

/* True if the field holds the value of its node. If not, the node is wrong and was reported, and a
 * comparison with other values would report a consequence of that. */
static bool was_read(const struct yaml_node *node, uint64_t ms)
{
    uint64_t said;
    return node->kind == YAML_SCALAR && units_parse_duration(node->text, &said) && said == ms;
}

/* `max_after` must not be less than `after`. If only `after` is given, `max_after` follows it
 * instead of keeping a default that contradicts it. */
static void check_failback(const struct pool_rules *p)
{
    struct config_failback *f = &p->pool->failback;
    const struct yaml_node *map = yaml_tree_get(p->node, "failback");
    const struct yaml_node *most = yaml_tree_get(map, "max_after");
    const struct yaml_node *after = yaml_tree_get(map, "after");
    struct report_path path = path_key(p->path, "failback"), at = path_key(&path, "max_after");
    if (f->max_after_ms >= f->after_ms)
        return;
    if (most == NULL)
        f->max_after_ms = f->after_ms;
    else if (was_read(most, f->max_after_ms) && (!after || was_read(after, f->after_ms)))
        report_node(p->r, most, &at, "%s is less than after, allowed %s or more", most->text.p,
                    after ? after->text.p : "5s");
}

/* ---- the document ---- */

static void check_pools(struct report *r, const struct yaml_node *root, struct config *c)
{
    const struct yaml_node *list = yaml_tree_get(root, "pools");
    struct report_path path = path_key(NULL, "pools");
    struct claim *claims = mem_zalloc_array(c->npools, sizeof *claims);
    for (size_t i = 0; i < c->npools; i++) {
        const struct yaml_node *node = list_item(list, i);
        struct report_path item = path_index(&path, i);
        struct pool_rules p = {r, node, &item, &c->pools[i]};
        claims[i] =
            (struct claim){c->pools[i].name, yaml_tree_get(node, "name"), "pools", i, "name"};
        check_servers(&p);
        check_points(&p);
        check_health(&p);
        check_failback(&p);
    }
    check_claims(r, NULL, claims, c->npools, "names of pools must differ");
    free(claims);
}

static const char *const mode_names[] = {[MODE_HTTP] = "http", [MODE_TCP] = "tcp"};
static const char *const mode_keys[] = {
    [MODE_HTTP] = "header:NAME, cookie:NAME, query:NAME, path, uri, host, source_ip, client_ip, "
                  "joined with '+', and issued:NAME",
    [MODE_TCP] = "source_ip, sni, joined with '+'"};

/* True if all parts of a key exist in a mode: there is no request head in mode tcp, and no
 * ClientHello in mode http. */
static bool key_suits(const struct config_key *k, enum config_mode mode)
{
    for (size_t i = 0; i < k->nparts; i++) {
        enum config_key_kind kind = k->parts[i].kind;
        if (kind != KEY_SOURCE_IP && (kind == KEY_SNI) != (mode == MODE_TCP))
            return false;
    }
    return true;
}

bool rules_know_mode(const struct config_listener *l, const struct yaml_node *node)
{
    const struct yaml_node *mode = yaml_tree_get(node, "mode");
    return mode == NULL ||
           (mode->kind == YAML_SCALAR && str_eq(mode->text, str_of(mode_names[l->mode])));
}

void rules_check_keys(struct report *r, const struct config_key *keys, size_t nkeys,
                      enum config_mode mode, const struct yaml_node *key,
                      const struct report_path *at)
{
    for (size_t i = 0; i < nkeys; i++) {
        char text[REPORT_QUOTE_MAX];
        bool list = key->kind == YAML_LIST;
        const struct yaml_node *item = list ? key->items[i] : key;
        struct report_path at_item = path_index(at, i);
        if (!key_suits(&keys[i], mode))
            report_node(r, item, list ? &at_item : at, "%s means nothing with mode: %s, allowed %s",
                        report_quote(item->text, text), mode_names[mode], mode_keys[mode]);
    }
}

static void check_keys(struct report *r, const struct config_listener *l,
                       const struct yaml_node *node, const struct report_path *path)
{
    struct report_path at = path_key(path, "key");
    const struct yaml_node *key = yaml_tree_get(node, "key");
    if (!rules_know_mode(l, node))
        return;
    rules_check_keys(r, l->keys, l->nkeys, l->mode, key, &at);
    issued_check_keys(r, l, l->keys, l->nkeys, key, &at);
}

/* Mode tcp has no heads: a key that says what is done with them is surely a mistake there. */
static void check_head_keys(struct report *r, const struct config_listener *l,
                            const struct yaml_node *node, const struct report_path *path)
{
    const struct yaml_node *trusted = yaml_tree_get(node, "trusted_proxies");
    const struct yaml_node *via = yaml_tree_get(node, "via");
    struct report_path at_trusted = path_key(path, "trusted_proxies"),
                       at_via = path_key(path, "via");
    if (l->mode == MODE_TCP && l->ntrusted_proxies)
        report_node(r, trusted, &at_trusted,
                    "means nothing with mode: tcp, allowed with mode: http");
    if (l->mode == MODE_TCP && via && !l->via)
        report_node(r, via, &at_via, "off means nothing with mode: tcp, allowed with mode: http");
}

/* An address in canonical text, so that different spellings of one address (an IPv6 address has
 * many) count as duplicates. NULL if the value was wrong. The caller frees. */
static char *canonical(const struct addr *a)
{
    char text[ADDR_TEXT_MAX];
    if (a->len == 0)
        return NULL;
    addr_format(a, text);
    return mem_strdup(text);
}

static void check_listeners(struct report *r, const struct yaml_node *root, struct config *c)
{
    const struct yaml_node *list = yaml_tree_get(root, "listeners");
    struct report_path path = path_key(NULL, "listeners");
    size_t n = c->nlisteners;
    struct claim *names = mem_zalloc_array(n, sizeof *names);
    struct claim *addrs = mem_zalloc_array(n, sizeof *addrs);
    char **texts = mem_zalloc_array(n, sizeof *texts);
    for (size_t i = 0; i < n; i++) {
        const struct config_listener *l = &c->listeners[i];
        const struct yaml_node *node = list_item(list, i);
        texts[i] = canonical(&l->listen);
        names[i] = (struct claim){l->name, yaml_tree_get(node, "name"), "listeners", i, "name"};
        addrs[i] =
            (struct claim){texts[i], yaml_tree_get(node, "listen"), "listeners", i, "listen"};
        struct report_path item = path_index(&path, i);
        check_keys(r, l, node, &item);
        check_head_keys(r, l, node, &item);
    }
    check_claims(r, NULL, names, n, "names of listeners must differ");
    check_claims(r, NULL, addrs, n, "addresses of listeners must differ");
    for (size_t i = 0; i < n; i++)
        free(texts[i]);
    free(texts);
    free(addrs);
    free(names);
    rules_apply_routes(r, list, c);
    for (size_t i = 0; i < n; i++) {
        struct report_path item = path_index(&path, i);
        issued_check_cookie(r, &c->listeners[i], list_item(list, i), &item);
    }
}

static void check_admin(struct report *r, const struct yaml_node *root, struct config *c)
{
    const struct yaml_node *map = yaml_tree_get(root, "admin");
    const struct yaml_node *listen = yaml_tree_get(map, "listen");
    const struct yaml_node *file = yaml_tree_get(map, "token_file");
    struct report_path path = path_key(NULL, "admin");
    struct report_path at = path_key(&path, "token_file"), at_listen = path_key(&path, "listen");
    struct error e;
    if (map == NULL || map->kind != YAML_MAP)
        return;
    c->has_admin = true;
    if (file && file->kind == YAML_SCALAR && file->text.n) {
        c->admin_token = token_load(r->file, file->text.p, &e);
        if (c->admin_token == NULL)
            report_node(r, file, &at, "%s", e.text);
    } else if (file == NULL && c->admin_listen.len && !addr_is_loopback(&c->admin_listen)) {
        report_node(r, map, &at, "missing, it is required as admin.listen is not loopback");
    }
    /* not by check_claims(): this path is of another form than LIST[index].LEAF */
    for (size_t i = 0; i < c->nlisteners && c->admin_listen.len; i++)
        if (c->listeners[i].listen.len && addr_eq(&c->listeners[i].listen, &c->admin_listen)) {
            report_node(r, listen, &at_listen,
                        "%s is the address of listeners[%zu], addresses must differ",
                        c->admin_listen_text, i);
            break;
        }
}

/* One worker for each processor that the process may use, which can be fewer than the host has. */
static unsigned default_workers(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1; /* more processors than cpu_set_t has room for: the user has to set `workers` */
    int n = CPU_COUNT(&set);
    return n < 1 ? 1 : n > 256 ? 256 : (unsigned)n;
}

void rules_apply(struct report *r, const struct yaml_node *root, struct config *c)
{
    /* The order has no effect on the messages, which are sorted by place. */
    if (c->workers == 0) /* not configured: 0 is out of range */
        c->workers = default_workers();
    check_admin(r, root, c);
    check_pools(r, root, c);
    check_listeners(r, root, c);
    rules_apply_cluster(r, root, c);
}
