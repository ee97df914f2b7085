#include "admin/admin.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/answer.h"
#include "admin/asks.h"
#include "admin/config.h"
#include "admin/later.h"
#include "admin/prometheus.h"
#include "admin/status.h"
#include "base/mem.h"
#include "base/units.h"
#include "httpd/httpd.h"
#include "ring/hash.h"

#define MAX_CONNECTIONS 256 /* scrapers and operators are few, and descriptors are for clients */

struct admin {
    struct net *net;
    struct snapshot *snapshot;
    const struct admin_hooks *hooks; /* NULL: nothing can be asked for */
    struct httpd *server;
    bool ready;
    bool closed; /* see admin_set_closed() */
    struct asks asks;
    admin_closed_fn *on_closed;
    void *closed_arg;
};

/* A request and its answer, as the functions below pass them on. */
struct call {
    struct admin *admin;
    struct httpd_request *q;
    struct httpd_answer *a;
};

/* Each function below that answers (answer_*, get_*, post_*, dispatch) returns false when memory is
 * out. */

/* Takes over the reference. NULL: memory is out. */
static bool answer_document(struct call *c, int status, json_t *root)
{
    bool ok = answer_json(c->a, status, root);
    json_decref(root);
    return ok;
}

static bool answer_error(struct call *c, int status, const char *what)
{
    return answer_document(c, status, json_pack("{s:s}", "error", what));
}

/* --- authority --- */

/* Takes the same time wherever the two differ first, so that its duration does not give a token
 * away. */
static bool same_secret(struct str given, struct str token)
{
    unsigned char differ = given.n != token.n;
    for (size_t i = 0; i < given.n; i++)
        differ |= (unsigned char)(given.p[i] ^ token.p[token.n ? i % token.n : 0]);
    return differ == 0;
}

static bool has_token(const struct call *c)
{
    const char *token = c->admin->snapshot->config->admin_token;
    if (token == NULL)
        return true;
    struct str field;
    const struct str scheme = STR("Bearer ");
    if (!httpd_header(c->q, "Authorization", &field) || field.n < scheme.n ||
        !str_eq_nocase((struct str){field.p, scheme.n}, scheme))
        return false;
    struct str given = {field.p + scheme.n, field.n - scheme.n};
    return same_secret(str_trim(given), str_of(token));
}

/* Whether the HOST of "HOST:PORT" is an address, or localhost, which no name server can redirect.
 */
static bool host_is_literal(struct str host)
{
    const char *colon = host.n ? memrchr(host.p, ':', host.n) : NULL;
    size_t n = colon && memchr(colon, ']', (size_t)(host.p + host.n - colon)) == NULL
                   ? (size_t)(colon - host.p)
                   : host.n;
    char with_port[ADDR_TEXT_MAX];
    struct addr a;
    if (str_eq_nocase((struct str){host.p, n}, STR("localhost")))
        return true;
    int len = snprintf(with_port, sizeof with_port, "%.*s:1", (int)(n < 60 ? n : 60), host.p);
    return addr_parse((struct str){with_port, (size_t)len}, &a) == ADDR_OK && !addr_is_unix(&a);
}

/* A browser names in Origin the site whose page made it send a POST; other clients send no Origin.
 * A page of another site must not act from the operator's browser. Nor must a page whose host name
 * was made to resolve to this address (DNS rebinding): there Origin and Host are equal, so without
 * a token Host must be an address. */
static bool origin_is_ours(const struct call *c)
{
    struct str origin, host = head_str(c->q->base, c->q->head->host);
    if (!httpd_header(c->q, "Origin", &origin))
        return true;
    static const struct str schemes[] = {{"http://", 7}, {"https://", 8}};
    for (unsigned i = 0; i < 2; i++) {
        struct str s = schemes[i];
        if (origin.n > s.n && memcmp(origin.p, s.p, s.n) == 0 &&
            str_eq_nocase((struct str){origin.p + s.n, origin.n - s.n}, host))
            return c->admin->snapshot->config->admin_token || host_is_literal(host);
    }
    return false;
}

/* --- GET --- */

/* NULL: this proxy decides by itself. */
static const struct admin_fleet *fleet_of(const struct admin *a)
{
    return a->hooks ? a->hooks->fleet : NULL;
}

static bool get_healthz(struct call *c)
{
    return answer_document(c, 200, json_pack("{s:b}", "alive", 1));
}

static bool pool_is_live(const struct pool *p)
{
    for (unsigned slot = 0; slot < p->nbackends; slot++)
        if (pool_owner_of(p, slot).owner != SERVER_NONE)
            return true;
    return false;
}

/* In a fleet the backends may be in service by agreement although this proxy reaches none. */
static const char *pool_trouble(const struct snapshot *s, size_t pool)
{
    const struct roster *r = s->rosters[pool];
    if (!pool_is_live(s->pools[pool]))
        return "a pool has no live backend";
    if (roster_is_lost(r))
        return "no server of a pool can be reached from here";
    return NULL;
}

/* For load balancers: a pool without a live backend can serve nothing, and another proxy may. */
static bool get_readyz(struct call *c)
{
    const struct snapshot *s = c->admin->snapshot;
    for (size_t i = 0; i < s->npools; i++) {
        const char *trouble = pool_trouble(s, i);
        if (trouble)
            return answer_document(c, 503,
                                   json_pack("{s:b, s:s, s:o}", "ready", 0, "reason", trouble,
                                             "pool",
                                             status_text(str_of(s->pools[i]->config->name))));
    }
    const struct admin_hooks *h = c->admin->hooks;
    const char *why = !c->admin->ready    ? "starting or stopping"
                      : h && h->stands_by ? "standby"
                                          : NULL;
    if (why)
        return answer_document(c, 503, json_pack("{s:b, s:s}", "ready", 0, "reason", why));
    return answer_document(c, 200, json_pack("{s:b}", "ready", 1));
}

static bool get_status(struct call *c)
{
    return answer_document(
        c, 200,
        status_document(c->admin->snapshot, fleet_of(c->admin), uv_now(c->admin->net->loop)));
}

static bool get_metrics(struct call *c)
{
    c->a->type = PROMETHEUS_TYPE;
    return prometheus_write(c->a->text, c->admin->snapshot, c->admin->hooks);
}

/* The index of a pool, or -1. */
static int find_pool(const struct snapshot *s, struct str name)
{
    for (size_t i = 0; i < s->npools; i++)
        if (str_eq(name, str_of(s->pools[i]->config->name)))
            return (int)i;
    return -1;
}

static int find_server(const struct pool *p, struct str name)
{
    for (int id = 0; id < p->nservers; id++)
        if (str_eq(name, str_of(p->members[id].server->name)))
            return id;
    return -1;
}

static struct str content(const struct buffer *b)
{
    return (struct str){b->data, b->end};
}

static int find_listener(const struct snapshot *s, struct str name)
{
    for (size_t i = 0; i < s->nlisteners; i++)
        if (str_eq(name, str_of(s->listeners[i].config->name)))
            return (int)i;
    return -1;
}

/* A parameter of the query, decoded; what it holds is `missing` if it is not there. */
static struct str parameter(struct call *c, const char *name, struct buffer *b, struct str missing)
{
    return httpd_query(c->q->query, name, b) == QUERY_FOUND ? content(b) : missing;
}

/* The index of the first route of a listener that matches the request in the parameters. */
static size_t find_route_of(struct call *c, const struct snapshot_listener *l)
{
    struct buffer host = {0}, path = {0}, method = {0};
    const char *name = l->config->mode == MODE_TCP ? "sni" : "host";
    struct route_query q = {parameter(c, name, &host, (struct str){0}),
                            parameter(c, "path", &path, STR("/")),
                            parameter(c, "method", &method, STR("GET"))};
    size_t i = routes_find(l->routes, &q);
    buffer_release(&host);
    buffer_release(&path);
    buffer_release(&method);
    return i;
}

/* With ?listener=L the pool is that of the route which such a request takes. */
static bool route_by_listener(struct call *c, struct str listener, struct str key)
{
    const struct snapshot *s = c->admin->snapshot;
    int i = find_listener(s, listener);
    if (i < 0)
        return answer_error(c, 404, "no such listener");
    size_t route = find_route_of(c, &s->listeners[i]);
    if (route == ROUTE_NONE)
        return answer_error(c, 404, "no route of this listener matches");
    struct pool *p = s->pools[s->listeners[i].config->routes[route].pool];
    return answer_document(c, 200, status_route(p, key));
}

static bool get_route(struct call *c)
{
    const struct snapshot *s = c->admin->snapshot;
    struct buffer pool = {0}, listener = {0}, key = {0};
    bool by_pool = httpd_query(c->q->query, "pool", &pool) == QUERY_FOUND;
    bool by_listener = httpd_query(c->q->query, "listener", &listener) == QUERY_FOUND;
    bool ok;
    int i;
    if (by_pool == by_listener || httpd_query(c->q->query, "key", &key) != QUERY_FOUND)
        ok = answer_error(c, 400,
                          "required: ?pool=POOL&key=KEY, or ?listener=LISTENER&host=HOST&path=PATH"
                          "&method=METHOD&sni=NAME&key=KEY, percent-encoded");
    else if (by_listener)
        ok = route_by_listener(c, content(&listener), content(&key));
    else if ((i = find_pool(s, content(&pool))) < 0)
        ok = answer_error(c, 404, "no such pool");
    else
        ok = answer_document(c, 200, status_route(s->pools[i], content(&key)));
    buffer_release(&pool);
    buffer_release(&listener);
    buffer_release(&key);
    return ok;
}

/* --- POST --- */

/* A request: a few milliseconds of the thread that checks servers. */
#define ROUTES_MAX_KEYS 16384

static bool append_name(struct buffer *b, const char *before, const struct pool *p, uint16_t id)
{
    const char *name = id == SERVER_NONE ? "-" : p->members[id].server->name;
    return buffer_append(b, before, 1) && buffer_append(b, name, strlen(name));
}

/* As `ringproxy route` writes it, with a third column where this proxy sends the key elsewhere. */
static bool append_route(struct buffer *b, struct pool *p, struct pool_view *v, struct str key)
{
    uint64_t hash = hash_key(key);
    uint16_t now = pool_find(p, hash), here = pool_find_here(p, v, hash);
    return buffer_append(b, key.p, key.n) && append_name(b, "\t", p, now) &&
           (here == now || append_name(b, "\t", p, here)) && buffer_append(b, "\n", 1);
}

static bool answer_routes(struct call *c, struct pool *p, struct str keys)
{
    struct pool_view view = {0};
    bool ok = true;
    size_t n = 0;
    for (; ok && keys.n > 0 && n <= ROUTES_MAX_KEYS; n++) {
        const char *end = memchr(keys.p, '\n', keys.n);
        struct str key = {keys.p, end ? (size_t)(end - keys.p) : keys.n};
        ok = append_route(c->a->text, p, &view, key);
        size_t used = key.n + (end != NULL);
        keys = (struct str){keys.p + used, keys.n - used};
    }
    pool_view_deinit(&view);
    c->a->type = "text/plain; charset=utf-8";
    if (n <= ROUTES_MAX_KEYS)
        return ok;
    buffer_clear(c->a->text);
    return answer_error(c, 413, "more than 16384 keys");
}

/* Many keys at once, one a line. */
static bool post_route(struct call *c)
{
    const struct snapshot *s = c->admin->snapshot;
    struct buffer pool = {0};
    bool ok;
    int i;
    if (httpd_query(c->q->query, "pool", &pool) != QUERY_FOUND)
        ok = answer_error(c, 400, "required: ?pool=POOL, percent-encoded, and keys, one a line");
    else if ((i = find_pool(s, content(&pool))) < 0)
        ok = answer_error(c, 404, "no such pool");
    else
        ok = answer_routes(c, s->pools[i], c->q->body);
    buffer_release(&pool);
    return ok;
}

static bool do_drain(struct roster *r, unsigned id, uint64_t now_ms)
{
    roster_drain(r, id, now_ms);
    return true;
}

static bool do_enable(struct roster *r, unsigned id, uint64_t now_ms)
{
    roster_enable(r, id, now_ms);
    return true;
}

static const struct action {
    const char *name;
    bool (*run)(struct roster *r, unsigned id, uint64_t now_ms); /* false: the server is down */
    enum admin_verb verb;                                        /* the same, of a fleet */
} actions[] = {{"drain", do_drain, ADMIN_DRAIN},
               {"enable", do_enable, ADMIN_ENABLE},
               {"failback", roster_failback, ADMIN_FAILBACK}};

#define NACTIONS (sizeof actions / sizeof actions[0])

/* The answer is the server as it is now, so that an operator sees what came of it. */
static bool run_action(struct call *c, const struct action *action, int pool, int server)
{
    struct admin *m = c->admin;
    uint64_t now_ms = uv_now(m->net->loop);
    if (!m->ready) /* a roster that has not started takes no event but first checks */
        return answer_error(c, 503, "starting or stopping");
    if (m->closed)
        return answer_error(c, 503, "handing over to another process");
    if (fleet_of(m))
        return asks_begin(&m->asks, c->q, (size_t)pool, (unsigned)server, action->verb);
    if (!action->run(m->snapshot->rosters[pool], (unsigned)server, now_ms))
        return answer_error(c, 409, "the server is down");
    return answer_document(
        c, 200, status_server(m->snapshot, NULL, (size_t)pool, (unsigned)server, now_ms));
}

/* Cuts the part up to the next '/' off the front of rest. */
static struct str segment(struct str *rest)
{
    const char *slash = rest->n ? memchr(rest->p, '/', rest->n) : NULL;
    struct str s = {rest->p, slash ? (size_t)(slash - rest->p) : rest->n};
    size_t skip = slash ? s.n + 1 : s.n;
    rest->p += skip;
    rest->n -= skip;
    return s;
}

/* Parses "/pools/P/backends/B/ACTION"; pool and server stay percent-encoded. NULL: another path. */
static const struct action *parse_action(struct str path, struct str *pool, struct str *server)
{
    struct str root = segment(&path), pools = segment(&path);
    *pool = segment(&path);
    struct str backends = segment(&path);
    *server = segment(&path);
    if (root.n || !str_eq(pools, STR("pools")) || !str_eq(backends, STR("backends")))
        return NULL;
    for (size_t i = 0; i < NACTIONS; i++)
        if (str_eq(path, str_of(actions[i].name)))
            return &actions[i];
    return NULL;
}

static bool post_action(struct call *c, const struct action *action, struct str pool,
                        struct str server)
{
    const struct snapshot *s = c->admin->snapshot;
    struct buffer name = {0};
    int i = httpd_decode(pool, &name) ? find_pool(s, content(&name)) : -1;
    buffer_clear(&name);
    int id = i >= 0 && httpd_decode(server, &name) ? find_server(s->pools[i], content(&name)) : -1;
    buffer_release(&name);
    if (i < 0)
        return answer_error(c, 404, "no such pool");
    if (id < 0)
        return answer_error(c, 404, "no such backend or standby in this pool");
    return run_action(c, action, i, id);
}

/* A switch in the query: 0 or 1; absent is 0. False: it has another value. */
static bool query_switch(const struct call *c, const char *name, bool *on)
{
    struct buffer value = {0};
    enum httpd_query found = httpd_query(c->q->query, name, &value);
    *on = str_eq(content(&value), STR("1"));
    bool ok = found == QUERY_ABSENT ||
              (found == QUERY_FOUND && (*on || str_eq(content(&value), STR("0"))));
    buffer_release(&value);
    return ok;
}

static bool ask_reload(struct call *c, const struct admin_reload *r)
{
    const struct admin_hooks *hooks = c->admin->hooks;
    if (hooks == NULL)
        return answer_error(c, 501, "not supported by this proxy");
    struct later *later = later_keep(c->q);
    if (later == NULL)
        return false;
    if (r->has_text && !r->dry_run)
        later_etag(later, r->text);
    hooks->reload(hooks->arg, r, later_done, later);
    return true;
}

/* A switch that is not known is refused: with `dry_run` misspelt, the change would be made. */
static const char *const switches[] = {"force", "dry_run"};

static bool post_reload(struct call *c)
{
    struct admin_reload r = {0};
    if (!httpd_query_knows(c->q->query, switches, 1) || !query_switch(c, "force", &r.force))
        return answer_error(c, 400, "allowed: ?force=0 or ?force=1");
    return ask_reload(c, &r);
}

/* timeout=30s: at most an hour. */
static bool post_upgrade(struct call *c)
{
    const struct admin_hooks *hooks = c->admin->hooks;
    struct buffer value = {0};
    uint64_t timeout_ms = 0;
    enum httpd_query found = httpd_query(c->q->query, "timeout", &value);
    bool ok = found == QUERY_ABSENT ||
              (found == QUERY_FOUND && units_parse_duration(content(&value), &timeout_ms) &&
               timeout_ms > 0 && timeout_ms <= 3600000);
    buffer_release(&value);
    if (!ok)
        return answer_error(c, 400, "allowed: ?timeout=1ms to 1h");
    if (hooks == NULL)
        return answer_error(c, 501, "not supported by this proxy");
    struct later *later = later_keep(c->q);
    if (later == NULL)
        return false;
    hooks->upgrade(hooks->arg, timeout_ms, later_done, later);
    return true;
}

/* --- the configuration --- */

/* The file may hold a password (`health.send`), so without a token a page must not read it by way
 * of a name that was made to resolve to this address. */
static bool get_config(struct call *c)
{
    const struct config *config = c->admin->snapshot->config;
    if (config->admin_token == NULL && !host_is_literal(head_str(c->q->base, c->q->head->host)))
        return answer_error(c, 403, "without a token Host must be an address, or localhost");
    return admin_config_get(c->q, c->a, config);
}

/* Whether the request may replace the file, as far as its head tells. If not, it is answered; *ok:
 * memory sufficed. matched: see admin_config_condition(). */
static bool may_put(struct call *c, bool *ok, bool *matched)
{
    const struct config *config = c->admin->snapshot->config;
    const char *why = "the file in force is another one, see ETag";
    int status;
    if (!origin_is_ours(c))
        *ok = answer_error(c, 403, "a request on behalf of another site");
    else if (!config->admin_write)
        *ok = answer_error(c, 403, "not allowed: the configuration needs admin: {write: on}");
    else if ((status = admin_config_condition(c->q, config->etag, matched)) != 0)
        *ok = httpd_field(c->a, "ETag", str_of(config->etag)) && answer_error(c, status, why);
    else if ((status = admin_config_form(c->q, &why)) != 0)
        *ok = answer_error(c, status, why);
    else
        return true;
    return false;
}

/* With If-Match the reload must begin with the generation whose file the client has seen. */
static bool put_config(struct call *c)
{
    struct admin_reload r = {.has_text = true, .text = c->q->body};
    bool ok, matched;
    if (!may_put(c, &ok, &matched))
        return ok;
    if (!httpd_query_knows(c->q->query, switches, 2) || !query_switch(c, "force", &r.force) ||
        !query_switch(c, "dry_run", &r.dry_run))
        return answer_error(c, 400, "allowed: ?force=0 or 1, ?dry_run=0 or 1");
    r.generation = matched ? c->admin->snapshot->generation : 0;
    return ask_reload(c, &r);
}

/* --- routes --- */

/* The resources with a path of their own; the paths of `actions` have names in them. */
static const struct route {
    const char *path;
    bool open; /* needs no token */
    bool (*get)(struct call *c);
    bool (*post)(struct call *c);
    bool (*put)(struct call *c);
} routes[] = {
    {"/healthz", true, get_healthz, NULL, NULL},
    {"/readyz", true, get_readyz, NULL, NULL},
    {"/status", false, get_status, NULL, NULL},
    {"/metrics", false, get_metrics, NULL, NULL},
    {"/route", false, get_route, post_route, NULL},
    {"/config", false, get_config, NULL, put_config},
    {"/reload", false, NULL, post_reload, NULL},
    {"/upgrade", false, NULL, post_upgrade, NULL},
};

#define NROUTES (sizeof routes / sizeof routes[0])

static const struct route *find_route(struct str path)
{
    for (size_t i = 0; i < NROUTES; i++)
        if (str_eq(path, str_of(routes[i].path)))
            return &routes[i];
    return NULL;
}

static bool answer_method(struct call *c, struct str allowed)
{
    return httpd_field(c->a, "Allow", allowed) && answer_error(c, 405, "method not allowed");
}

/* What has a GET, and perhaps a PUT or a POST. */
static bool run_get(struct call *c, const struct route *route)
{
    uint8_t method = c->q->head->method;
    if (method == METHOD_GET || method == METHOD_HEAD)
        return route->get(c);
    if (route->put == NULL)
        return answer_method(c, route->post ? STR("GET, HEAD, POST") : STR("GET, HEAD"));
    return method == METHOD_PUT ? route->put(c) : answer_method(c, STR("GET, HEAD, PUT"));
}

/* Whether a request that changes something may. If not, it is answered; *ok: memory sufficed. */
static bool may_post(struct call *c, bool *ok)
{
    if (c->q->head->method != METHOD_POST)
        *ok = answer_method(c, STR("POST"));
    else if (!origin_is_ours(c))
        *ok = answer_error(c, 403, "a request on behalf of another site");
    else
        return true;
    return false;
}

/* Whether the request has the token. If not, it is answered; *ok: memory sufficed. */
static bool may_ask(struct call *c, bool *ok)
{
    if (has_token(c))
        return true;
    *ok = httpd_field(c->a, "WWW-Authenticate", STR("Bearer realm=\"ringproxy\"")) &&
          answer_error(c, 401, "a bearer token is required");
    return false;
}

/* The token is checked before the path, so that paths can't be explored without one. */
static bool dispatch(struct call *c)
{
    const struct route *route = find_route(c->q->path);
    struct str pool, server;
    const struct action *action = route ? NULL : parse_action(c->q->path, &pool, &server);
    bool ok;
    if (!(route && route->open) && !may_ask(c, &ok))
        return ok;
    if (route == NULL && action == NULL)
        return answer_error(c, 404, "no such resource");
    if (route && route->get && !(route->post && c->q->head->method == METHOD_POST))
        return run_get(c, route);
    if (!may_post(c, &ok))
        return ok;
    return route ? route->post(c) : post_action(c, action, pool, server);
}

/* Only who may replace the configuration may send more than a little. */
static enum httpd_admission admit(void *arg, struct httpd_request *q, struct httpd_answer *a,
                                  size_t *max_body)
{
    struct call c = {arg, q, a};
    bool ok = true, matched;
    if (q->head->method != METHOD_PUT || !str_eq(q->path, STR("/config")))
        return HTTPD_ADMIT;
    if (!answer_fields(a))
        return HTTPD_MEMORY;
    if (!may_ask(&c, &ok) || !may_put(&c, &ok, &matched))
        return ok ? HTTPD_DENY : HTTPD_MEMORY;
    *max_body = CONFIG_MAX_FILE;
    return HTTPD_ADMIT;
}

static bool handle(void *arg, struct httpd_request *q, struct httpd_answer *a)
{
    struct call c = {arg, q, a};
    return answer_fields(a) && dispatch(&c);
}

/* --- life --- */

struct admin *admin_new(struct net *n, struct snapshot *s, const struct admin_hooks *hooks)
{
    struct admin *a = mem_zalloc(sizeof *a);
    a->net = n;
    a->snapshot = s;
    a->hooks = hooks;
    a->asks = (struct asks){.snapshot = &a->snapshot, .hooks = hooks, .loop = n->loop};
    const struct httpd_options options = {
        .handle = handle, .admit = admit, .arg = a, .max_connections = MAX_CONNECTIONS};
    a->server = httpd_new(n, &options);
    return a;
}

bool admin_listen(struct admin *a, struct error *e)
{
    assert(a->snapshot->config->has_admin);
    return httpd_listen(a->server, &a->snapshot->config->admin_listen, e);
}

bool admin_listen_on(struct admin *a, int fd, struct error *e)
{
    char text[ADDR_TEXT_MAX];
    assert(a->snapshot->config->has_admin);
    if (!httpd_listen_on(a->server, fd, e))
        return false;
    /* the configuration was checked with another address */
    if (a->snapshot->config->admin_token || addr_is_loopback(admin_address(a)))
        return true;
    addr_format(admin_address(a), text);
    error_set(e, EACCES, "the given socket listens on %s, which takes a token_file", text);
    return false;
}

int admin_socket(const struct admin *a)
{
    return httpd_socket(a->server);
}

void admin_set_closed(struct admin *a, bool closed)
{
    a->closed = closed;
}

const struct addr *admin_address(const struct admin *a)
{
    return httpd_address(a->server);
}

void admin_set_snapshot(struct admin *a, struct snapshot *s)
{
    a->snapshot = s;
}

void admin_set_ready(struct admin *a, bool ready)
{
    a->ready = ready;
}

static void on_server_closed(void *arg)
{
    struct admin *a = arg;
    admin_closed_fn *on_closed = a->on_closed;
    void *closed_arg = a->closed_arg;
    free(a);
    if (on_closed)
        on_closed(closed_arg);
}

void admin_close(struct admin *a, admin_closed_fn *on_closed, void *arg)
{
    asks_end(&a->asks);
    a->on_closed = on_closed;
    a->closed_arg = arg;
    a->snapshot = NULL;
    httpd_close(a->server, on_server_closed, a);
}
