#include "admin/status.h"

#include <assert.h>
#include <stdlib.h>

#include "ring/hash.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* jansson takes UTF-8 alone. */
json_t *status_text(struct str s)
{
    json_t *as_is = json_stringn(s.n ? s.p : "", s.n);
    if (as_is)
        return as_is;
    char *text = malloc(s.n * (sizeof REPLACEMENT - 1) + 1);
    if (text == NULL)
        return NULL;
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] < 0x80) {
            text[n++] = s.p[i];
        } else {
            memcpy(text + n, REPLACEMENT, sizeof REPLACEMENT - 1);
            n += sizeof REPLACEMENT - 1;
        }
    }
    json_t *replaced = json_stringn(text, n);
    free(text);
    return replaced;
}

static json_t *text_of(const char *s)
{
    return status_text(str_of(s));
}

/* json_array_append_new() for an item that may be NULL for want of memory. If it fails it gives the
 * array's reference back and returns NULL. */
static json_t *append(json_t *array, json_t *item)
{
    if (array && json_array_append_new(array, item) == 0)
        return array;
    json_decref(array);
    return NULL;
}

/* Adds a member to an object that may be NULL for want of memory, as may the value. Takes over both
 * references. */
static json_t *add(json_t *object, const char *key, json_t *value)
{
    if (object && json_object_set_new(object, key, value) == 0)
        return object;
    if (object == NULL)
        json_decref(value);
    json_decref(object);
    return NULL;
}

/* The backends that have keys at this server; in a ramp both servers count. */
static json_t *serving(const struct pool *p, unsigned id)
{
    json_t *names = json_array();
    for (unsigned slot = 0; slot < p->nbackends && names; slot++) {
        struct pool_owner o = pool_owner_of(p, slot);
        if (o.owner == id || o.from == id)
            names = append(names, text_of(p->members[slot].server->name));
    }
    return names;
}

static json_t *last_check(const struct roster_check *c, uint64_t now_ms)
{
    if (!c->done)
        return json_null();
    /* An age, as the loop's clock means nothing to a reader. */
    uint64_t age_ms = now_ms > c->at_ms ? now_ms - c->at_ms : 0;
    return json_pack("{s:b, s:o, s:I}", "ok", c->ok, "reason", text_of(c->reason), "age_ms",
                     (json_int_t)age_ms);
}

/* What live traffic has met of the server that may be its fault, and what the check has said that
 * it asked for last: null if none was, or if its result is of no interest any more. */
static json_t *suspicion(const struct server *v, enum roster_suspicion asked, uint64_t now_ms)
{
    static const char *const checks[] = {
        [ROSTER_PENDING] = "pending", [ROSTER_CLEARED] = "passed", [ROSTER_CONFIRMED] = "failed"};
    enum blame blame;
    uint64_t at_ms;
    json_t *last = NULL;
    if (suspicions_last(&v->suspicions, &blame, &at_ms)) {
        uint64_t age_ms = now_ms > at_ms ? now_ms - at_ms : 0;
        last = json_pack("{s:s, s:I, s:s?}", "reason", blame_name(blame), "age_ms",
                         (json_int_t)age_ms, "check", checks[asked]);
    } else {
        last = json_null();
    }
    return json_pack("{s:I, s:o}", "suspected", (json_int_t)suspicions_tries(&v->suspicions),
                     "last", last);
}

/* Adds `resolved`, the address of a server by name; other servers have no such key. Takes over the
 * reference. */
static json_t *add_resolved(json_t *object, const struct server *v)
{
    struct addr at;
    uint32_t generation;
    char text[ADDR_TEXT_MAX];
    if (object == NULL || !server_by_name(v))
        return object;
    json_t *resolved = json_null();
    if (server_address(v, &at, &generation)) {
        addr_format(&at, text);
        resolved = text_of(text);
    }
    return add(object, "resolved", resolved);
}

/* Adds what is known of a server in a fleet alone: `here`, where this proxy leaves it out against
 * the agreement, and at the keeper `votes`. Takes over the reference. */
static json_t *add_fleet(json_t *object, const struct snapshot *s, const struct admin_fleet *f,
                         size_t pool, unsigned id)
{
    struct admin_votes v;
    if (f == NULL)
        return object;
    if (roster_is_excepted(s->rosters[pool], id))
        object = add(object, "here", json_string("down"));
    if (f->votes(f->arg, pool, id, &v))
        object = add(object, "votes",
                     json_pack("{s:I, s:I, s:I}", "down", (json_int_t)v.down, "up",
                               (json_int_t)v.up, "voters", (json_int_t)v.voters));
    return object;
}

/* json_pack() takes over the reference of each "o", and fails if one of them is NULL. */
json_t *status_server(const struct snapshot *s, const struct admin_fleet *fleet, size_t pool,
                      unsigned id, uint64_t now_ms)
{
    assert(pool < s->npools && id < s->pools[pool]->nservers);
    const struct pool *p = s->pools[pool];
    const struct roster *r = s->rosters[pool];
    const struct server *v = p->members[id].server;
    uint32_t active = atomic_load_explicit(&v->active, memory_order_relaxed);
    json_t *object = json_pack("{s:o, s:o, s:s, s:o, s:I, s:I, s:I, s:o, s:o}", "name",
                               text_of(v->name), "address", text_of(v->address_text), "state",
                               roster_state_name(roster_state(r, id)), "serving", serving(p, id),
                               "requests", (json_int_t)server_requests(v), "active",
                               (json_int_t)active, "errors", (json_int_t)server_errors(v),
                               "last_check", last_check(roster_last_check(r, id), now_ms),
                               "suspicion", suspicion(v, roster_suspicion(r, id), now_ms));
    return add_fleet(add_resolved(object, v), s, fleet, pool, id);
}

static json_t *servers(const struct snapshot *s, const struct admin_fleet *fleet, size_t pool,
                       unsigned from, unsigned to, uint64_t now_ms)
{
    json_t *list = json_array();
    for (unsigned id = from; id < to && list; id++)
        list = append(list, status_server(s, fleet, pool, id, now_ms));
    return list;
}

static json_t *pools(const struct snapshot *s, const struct admin_fleet *fleet, uint64_t now_ms)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->npools && list; i++) {
        const struct pool *p = s->pools[i];
        list =
            append(list, json_pack("{s:o, s:b, s:o, s:o}", "name", text_of(p->config->name),
                                   "all_down_routing", roster_all_down(s->rosters[i]), "backends",
                                   servers(s, fleet, i, 0, p->nbackends, now_ms), "standbys",
                                   servers(s, fleet, i, p->nbackends, p->nservers, now_ms)));
    }
    return list;
}

static json_t *route_path(const struct config_route *r)
{
    return json_sprintf("%s%s", r->path_exact ? "=" : "", r->path);
}

static json_t *route_methods(const struct config_route *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->nmethods && list; i++)
        list = append(list, text_of(r->methods[i]));
    return list;
}

static json_t *route(const struct config *c, const struct config_route *r)
{
    json_t *object = json_pack("{s:o}", "pool", text_of(c->pools[r->pool].name));
    if (r->host)
        object = add(object, "host", text_of(r->host));
    if (r->path)
        object = add(object, "path", route_path(r));
    if (r->nmethods)
        object = add(object, "methods", route_methods(r));
    if (r->sni)
        object = add(object, "sni", text_of(r->sni));
    return object;
}

static json_t *routes(const struct config *c, const struct config_listener *l)
{
    json_t *list = json_array();
    for (size_t i = 0; i < l->nroutes && list; i++)
        list = append(list, route(c, &l->routes[i]));
    return list;
}

/* The pool of all routes of a listener; null if they have several. */
static json_t *only_pool(const struct config *c, const struct config_listener *l)
{
    for (size_t i = 1; i < l->nroutes; i++)
        if (l->routes[i].pool != l->routes[0].pool)
            return json_null();
    return text_of(c->pools[l->routes[0].pool].name);
}

static json_t *listener(const struct snapshot *s, const struct snapshot_listener *l)
{
    const struct listener_cell *cells = l->stats->cells;
    uint64_t connections = 0, requests = 0;
    for (unsigned w = 0; w < s->nworkers; w++) {
        connections += atomic_load_explicit(&cells[w].connections, memory_order_relaxed);
        requests += atomic_load_explicit(&cells[w].requests, memory_order_relaxed);
    }
    const char *mode = l->config->mode == MODE_TCP ? "tcp" : "http";
    return json_pack("{s:o, s:o, s:s, s:o, s:o, s:I, s:I}", "name", text_of(l->config->name),
                     "listen", text_of(l->config->listen_text), "mode", mode, "pool",
                     only_pool(s->config, l->config), "routes", routes(s->config, l->config),
                     "connections", (json_int_t)connections, "requests", (json_int_t)requests);
}

static json_t *listeners(const struct snapshot *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->nlisteners && list; i++)
        list = append(list, listener(s, &s->listeners[i]));
    return list;
}

/* ---- the fleet ---- */

static json_t *text_or_null(const char *s)
{
    return s ? text_of(s) : json_null();
}

static json_t *differing(const struct admin_member *m)
{
    json_t *list = json_array();
    for (size_t i = 0; i < m->ndiffers && list; i++)
        list = append(list, text_of(m->differs[i]));
    return list;
}

static json_t *exceptions(const struct admin_member *m)
{
    json_t *list = json_array();
    for (size_t i = 0; i < m->nexcept && list; i++)
        list = append(list, json_pack("{s:o, s:o}", "pool", text_of(m->except[i].pool), "server",
                                      text_of(m->except[i].server)));
    return list;
}

static json_t *member(const struct admin_member *m)
{
    json_t *object =
        json_pack("{s:o, s:o, s:I, s:b}", "node", text_of(m->node), "role", text_or_null(m->role),
                  "seen_ms", (json_int_t)m->seen_ms, "silent", m->silent);
    if (m->role == NULL)
        return object;
    const char *listen = m->listen_active ? "active" : "always";
    object = add(object, "epoch", json_integer((json_int_t)m->epoch));
    object = add(object, "seq", json_integer((json_int_t)m->seq));
    object = add(object, "listen", json_string(listen));
    object = add(object, "accepting", json_boolean(m->accepting));
    object = add(object, "priority", json_integer((json_int_t)m->priority));
    object = add(object, "ready", json_boolean(m->ready));
    object = add(object, "digest_differs", differing(m));
    return add(object, "except", exceptions(m));
}

static json_t *members(const struct admin_fleet_status *f)
{
    json_t *list = json_array();
    for (size_t i = 0; i < f->nmembers && list; i++)
        list = append(list, member(&f->members[i]));
    return list;
}

/* Numbers of a publication, where none was ever applied. */
static json_t *number_of(const struct admin_fleet_status *f, uint64_t n)
{
    return f->epoch ? json_integer((json_int_t)n) : json_null();
}

static json_t *fleet_object(const struct admin_fleet_status *f)
{
    return json_pack("{s:o, s:o, s:b, s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o}", "name",
                     text_of(f->name), "node", text_of(f->node), "node_twice", f->node_twice,
                     "redis", f->redis_up ? "up" : "down", "role", f->role, "since_ms",
                     (json_int_t)f->since_ms, "keeper", text_or_null(f->keeper), "epoch",
                     number_of(f, f->epoch), "seq", number_of(f, f->seq), "age_ms",
                     number_of(f, f->age_ms), "members", members(f));
}

json_t *status_document(const struct snapshot *s, const struct admin_fleet *fleet, uint64_t now_ms)
{
    json_t *document = json_pack("{s:s, s:I, s:o, s:o}", "version", RINGPROXY_VERSION, "generation",
                                 (json_int_t)s->generation, "listeners", listeners(s), "pools",
                                 pools(s, fleet, now_ms));
    return fleet ? add(document, "cluster", fleet_object(fleet->status(fleet->arg))) : document;
}

static json_t *name_of(const struct pool *p, uint16_t id)
{
    return id == SERVER_NONE ? json_null() : text_of(p->members[id].server->name);
}

json_t *status_route(struct pool *p, struct str key)
{
    uint64_t hash = hash_key(key);
    struct pool_view view = {0};
    uint16_t now = pool_find(p, hash), here = pool_find_here(p, &view, hash);
    pool_view_deinit(&view);
    json_t *object =
        json_pack("{s:o, s:o, s:o, s:o}", "pool", text_of(p->config->name), "key", status_text(key),
                  "server", name_of(p, now), "home", name_of(p, pool_home(p, hash)));
    return here == now ? object : add(object, "here", name_of(p, here));
}
