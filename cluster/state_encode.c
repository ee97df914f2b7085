/* Writes a state. What a document before it has in its objects that this version does not know is
 * taken over, object by object: `old` is the same object there, or NULL. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cluster/fields.h"
#include "cluster/state_internal.h"

static const char *const whole_known[] = {"v", "pools", "done", "role", NULL};
static const char *const pool_known[] = {"digest", "up", "servers", NULL};
static const char *const server_known[] = {"phase", "drained", "carried", "from",  "share",
                                           "delay", "back",    "left",    "asked", NULL};
static const char *const role_known[] = {"nodes", NULL};
static const char *const node_known[] = {"wait", "lost", NULL};

static bool is_known(const char *key, const char *const *known)
{
    while (*known && strcmp(*known, key) != 0)
        known++;
    return *known != NULL;
}

/* Takes over what is not known. False: no memory. */
static bool carry(json_t *into, json_t *old, const char *const *known)
{
    const char *key;
    json_t *v;
    json_object_foreach(old, key, v) if (!is_known(key, known) &&
                                         json_object_set(into, key, v) != 0) return false;
    return true;
}

static bool has_unknown(json_t *old, const char *const *known)
{
    const char *key;
    json_t *v;
    json_object_foreach(old, key, v) if (!is_known(key, known)) return true;
    return false;
}

/* Puts a new value into an object; false: no memory, and the value is gone. */
static bool put(json_t *o, const char *key, json_t *v)
{
    return json_object_set_new(o, key, v) == 0;
}

static bool put_number(json_t *o, const char *key, uint64_t n)
{
    return put(o, key, json_integer((json_int_t)n));
}

static uint64_t shorter(uint64_t ms)
{
    return ms < STATE_LONGEST_MS ? ms : STATE_LONGEST_MS;
}

/* ---- servers ---- */

static bool returned_lately(const struct agreed_server *s)
{
    return s->returned && s->back_ms <= STATE_LONGEST_MS &&
           (s->phase == AGREED_UP || s->phase == AGREED_RAMP);
}

static bool is_plain(const struct agreed_server *s)
{
    return s->phase == AGREED_UP && !s->drained && !s->carried && s->asked_ms == 0 &&
           !returned_lately(s);
}

static bool fill_server(json_t *o, const struct agreed_server *s)
{
    bool back = returned_lately(s), delay = s->delay_ms && (s->phase != AGREED_UP || back);
    return put(o, "phase", json_string(state_phases[s->phase])) &&
           (!s->drained || put(o, "drained", json_true())) &&
           (!s->carried || put(o, "carried", json_true())) &&
           (!delay || put_number(o, "delay", shorter(s->delay_ms))) &&
           (!back || put_number(o, "back", s->back_ms)) &&
           (s->phase != AGREED_WAIT || put_number(o, "left", shorter(s->left_ms))) &&
           (s->phase != AGREED_RAMP ||
            (put(o, "from", json_string(s->from)) && put_number(o, "share", s->share))) &&
           (s->asked_ms == 0 || put_number(o, "asked", s->asked_ms));
}

static json_t *encode_server(const struct agreed_server *s, json_t *old)
{
    json_t *o = json_object();
    if (o && fill_server(o, s) && carry(o, old, server_known))
        return o;
    json_decref(o);
    return NULL;
}

/* Pointers to the servers of a pool, for sorting. */
static int server_cmp(const void *a, const void *b)
{
    return strcmp((*(const struct agreed_server *const *)a)->name,
                  (*(const struct agreed_server *const *)b)->name);
}

static bool fill_servers(json_t *up, json_t *servers, const struct agreed_server **sorted, size_t n,
                         json_t *old)
{
    for (size_t i = 0; i < n; i++) {
        const struct agreed_server *s = sorted[i];
        json_t *was = json_object_get(old, s->name);
        if (is_plain(s) && !has_unknown(was, server_known)
                ? json_array_append_new(up, json_string(s->name)) != 0
                : !put(servers, s->name, encode_server(s, was)))
            return false;
    }
    return true;
}

static bool fill_pool(json_t *o, const struct agreed_pool *p, json_t *old)
{
    json_t *up = json_array(), *servers = json_object();
    const struct agreed_server **sorted = mem_zalloc_array(p->nservers, sizeof *sorted);
    for (size_t i = 0; i < p->nservers; i++)
        sorted[i] = &p->servers[i];
    qsort(sorted, p->nservers, sizeof *sorted, server_cmp);
    bool ok = put(o, "digest", json_string(p->digest)) &&
              fill_servers(up, servers, sorted, p->nservers, json_object_get(old, "servers")) &&
              (json_array_size(up) == 0 || json_object_set(o, "up", up) == 0) &&
              (json_object_size(servers) == 0 || json_object_set(o, "servers", servers) == 0) &&
              carry(o, old, pool_known);
    free(sorted);
    json_decref(up);
    json_decref(servers);
    return ok;
}

/* ---- the whole ---- */

static bool fill_pools(json_t *pools, const struct state *s, json_t *old)
{
    for (size_t i = 0; i < s->npools; i++) {
        json_t *o = json_object();
        if (!put(pools, s->pools[i].name, o) ||
            !fill_pool(o, &s->pools[i], json_object_get(old, s->pools[i].name)))
            return false;
    }
    return true;
}

static bool fill_done(json_t *done, const struct state *s)
{
    for (size_t i = 0; i < s->ndone; i++)
        if (!put(done, s->done[i].instance,
                 json_pack("[I,s]", (json_int_t)s->done[i].number, s->done[i].result)))
            return false;
    return true;
}

static bool fill_nodes(json_t *nodes, const struct state *s, json_t *old)
{
    for (size_t i = 0; i < s->nnodes; i++) {
        const struct state_node *n = &s->nodes[i];
        json_t *o = json_object();
        if (!put(nodes, n->node, o) || !put_number(o, "wait", shorter(n->wait_ms)) ||
            !put_number(o, "lost", shorter(n->lost_ms)) ||
            !carry(o, json_object_get(old, n->node), node_known))
            return false;
    }
    return true;
}

/* "role" and what is below it, if there is anything to say. */
static bool fill_role(json_t *o, const struct state *s, json_t *old)
{
    if (s->nnodes == 0 && !has_unknown(old, role_known))
        return true;
    json_t *role = json_object(), *nodes = json_object();
    bool ok = json_object_set(role, "nodes", nodes) == 0 && json_object_set(o, "role", role) == 0 &&
              fill_nodes(nodes, s, json_object_get(old, "nodes")) && carry(role, old, role_known);
    json_decref(nodes);
    json_decref(role);
    return ok;
}

static json_t *encode_whole(const struct state *s, json_t *old)
{
    json_t *o = json_object(), *pools = json_object(), *done = json_object();
    bool ok = put_number(o, "v", 1) && json_object_set(o, "pools", pools) == 0 &&
              json_object_set(o, "done", done) == 0 &&
              fill_pools(pools, s, json_object_get(old, "pools")) && fill_done(done, s) &&
              fill_role(o, s, json_object_get(old, "role")) && carry(o, old, whole_known);
    json_decref(pools);
    json_decref(done);
    if (ok)
        return o;
    json_decref(o);
    return NULL;
}

static char *encode(const struct state *s, json_t *old)
{
    json_t *o = encode_whole(s, old);
    char *text = o ? json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(o);
    return text;
}

/* ---- bounds ---- */

static bool pool_in_bounds(const struct agreed_pool *p, struct error *e)
{
    bool good = p->nservers <= STATE_MAX_SERVERS && fields_is_hex(p->digest);
    for (size_t i = 0; i < p->nservers && good; i++) {
        const struct agreed_server *s = &p->servers[i];
        good = fields_is_name(s->name) && s->asked_ms <= NUMBER_MAX &&
               (s->phase != AGREED_RAMP ||
                (s->from && fields_is_name(s->from) && s->share <= AGREED_SHARE_ALL));
    }
    if (!good)
        error_set(e, 0, "pool %s is beyond its bounds", p->name);
    return good;
}

static bool in_bounds(const struct state *s, struct error *e)
{
    bool good =
        s->npools <= STATE_MAX_POOLS && s->ndone <= STATE_MAX_DONE && s->nnodes <= STATE_MAX_NODES;
    size_t servers = 0;
    for (size_t i = 0; i < s->npools && good; i++) {
        servers += s->pools[i].nservers;
        good = fields_is_name(s->pools[i].name) && servers <= STATE_MAX_ALL;
    }
    for (size_t i = 0; i < s->ndone && good; i++)
        good = fields_is_hex(s->done[i].instance) && s->done[i].number <= NUMBER_MAX &&
               fields_is_text(s->done[i].result, STATE_MAX_RESULT);
    for (size_t i = 0; i < s->nnodes && good; i++)
        good = fields_is_name(s->nodes[i].node);
    if (!good)
        error_set(e, 0, "too many members, or a name, number or result that is none");
    for (size_t i = 0; i < s->npools && good; i++)
        good = pool_in_bounds(&s->pools[i], e);
    return good;
}

char *state_encode(const struct state *s, const struct state *before, size_t *len, struct error *e)
{
    if (!in_bounds(s, e))
        return NULL;
    json_t *old = before && before->rest ? before->rest->root : NULL;
    char *text = encode(s, old);
    if (text && old && strlen(text) > STATE_MAX_BYTES) {
        free(text);
        text = encode(s, NULL);
    }
    if (text == NULL) {
        error_set(e, 0, "the state cannot be written: memory is out, or a text is not UTF-8");
        return NULL;
    }
    *len = strlen(text);
    if (*len <= STATE_MAX_BYTES)
        return text;
    error_set(e, 0, "the state has %zu bytes, allowed %u", *len, STATE_MAX_BYTES);
    free(text);
    return NULL;
}
