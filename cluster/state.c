#include "cluster/state.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cluster/fields.h"
#include "cluster/state_internal.h"

const char *const state_phases[] = {[AGREED_UP] = "up",
                                    [AGREED_DOWN] = "down",
                                    [AGREED_WAIT] = "wait",
                                    [AGREED_HELD] = "held",
                                    [AGREED_RAMP] = "ramp"};

/* ---- servers ---- */

static bool read_length(json_t *o, const char *key, enum fields_need need, uint64_t *ms,
                        struct error *e)
{
    return fields_number(o, key, need, STATE_LONGEST_MS, ms, e);
}

/* Members that the phase has no use for are checked, too, and then left out. */
static void keep_to_phase(struct agreed_server *s, bool back)
{
    s->returned = back && (s->phase == AGREED_UP || s->phase == AGREED_RAMP);
    if (!s->returned)
        s->back_ms = 0;
    if (s->phase == AGREED_UP && !s->returned)
        s->delay_ms = 0;
    if (s->phase != AGREED_WAIT)
        s->left_ms = 0;
    if (s->phase != AGREED_RAMP) {
        s->from = NULL;
        s->share = 0;
    }
}

static bool read_server(json_t *o, struct agreed_server *s, struct error *e)
{
    unsigned phase;
    uint64_t share;
    if (!json_is_object(o)) {
        error_set(e, 0, "not an object");
        return false;
    }
    if (!fields_word(o, "phase", state_phases, AGREED_RAMP + 1, &phase, e))
        return false;
    s->phase = (enum agreed_phase)phase;
    enum fields_need ramp = s->phase == AGREED_RAMP ? FIELDS_MUST : FIELDS_MAY,
                     wait = s->phase == AGREED_WAIT ? FIELDS_MUST : FIELDS_MAY;
    if (!fields_flag(o, "drained", FIELDS_MAY, &s->drained, e) ||
        !fields_flag(o, "carried", FIELDS_MAY, &s->carried, e) ||
        !fields_name(o, "from", ramp, &s->from, e) ||
        !fields_number(o, "share", ramp, AGREED_SHARE_ALL, &share, e) ||
        !read_length(o, "delay", FIELDS_MAY, &s->delay_ms, e) ||
        !read_length(o, "back", FIELDS_MAY, &s->back_ms, e) ||
        !read_length(o, "left", wait, &s->left_ms, e) ||
        !fields_number(o, "asked", FIELDS_MAY, NUMBER_MAX, &s->asked_ms, e))
        return false;
    s->share = (uint32_t)share;
    keep_to_phase(s, json_object_get(o, "back") != NULL);
    return true;
}

static int server_cmp(const void *a, const void *b)
{
    return strcmp(((const struct agreed_server *)a)->name, ((const struct agreed_server *)b)->name);
}

static bool read_up(json_t *up, struct agreed_pool *p, struct error *e)
{
    for (size_t i = 0; i < json_array_size(up); i++)
        if (!fields_as_name(json_array_get(up, i), "up", &p->servers[p->nservers++].name, e))
            return false;
    return true;
}

static bool read_servers(json_t *servers, struct agreed_pool *p, struct error *e)
{
    const char *name;
    json_t *o;
    json_object_foreach(servers, name, o)
    {
        struct agreed_server *s = &p->servers[p->nservers++];
        s->name = name;
        if (!fields_key(name, e) || (!read_server(o, s, e) && !fields_at(e, name))) {
            error_prefix(e, "servers");
            return false;
        }
    }
    return true;
}

static bool read_pool(json_t *o, struct agreed_pool *p, struct error *e)
{
    json_t *up, *servers;
    if (!json_is_object(o)) {
        error_set(e, 0, "not an object");
        return false;
    }
    if (!fields_hex(o, "digest", &p->digest, e) ||
        !fields_array(o, "up", FIELDS_MAY, STATE_MAX_SERVERS, &up, e) ||
        !fields_object(o, "servers", FIELDS_MAY, STATE_MAX_SERVERS, &servers, e))
        return false;
    size_t n = json_array_size(up) + json_object_size(servers);
    if (n > STATE_MAX_SERVERS) {
        error_set(e, 0, "%zu servers, allowed %d", n, STATE_MAX_SERVERS);
        return false;
    }
    p->servers = mem_zalloc_array(n, sizeof *p->servers);
    if (!read_up(up, p, e) || !read_servers(servers, p, e))
        return false;
    qsort(p->servers, n, sizeof *p->servers, server_cmp);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(p->servers[i - 1].name, p->servers[i].name) == 0) {
            error_set(e, 0, "a server twice");
            return fields_at(e, p->servers[i].name);
        }
    }
    return true;
}

/* ---- the whole ---- */

static int pool_cmp(const void *a, const void *b)
{
    return strcmp(((const struct agreed_pool *)a)->name, ((const struct agreed_pool *)b)->name);
}

static bool read_pools(struct state *s, json_t *pools, struct error *e)
{
    const char *name;
    json_t *o;
    size_t servers = 0;
    s->pools = mem_zalloc_array(json_object_size(pools), sizeof *s->pools);
    json_object_foreach(pools, name, o)
    {
        struct agreed_pool *p = &s->pools[s->npools++];
        p->name = name;
        if (!fields_key(name, e) || (!read_pool(o, p, e) && !fields_at(e, name))) {
            error_prefix(e, "pools");
            return false;
        }
        servers += p->nservers;
    }
    if (servers > STATE_MAX_ALL) {
        error_set(e, 0, "pools: %zu servers together, allowed %d", servers, STATE_MAX_ALL);
        return false;
    }
    qsort(s->pools, s->npools, sizeof *s->pools, pool_cmp);
    return true;
}

static int done_cmp(const void *a, const void *b)
{
    return strcmp(((const struct state_done *)a)->instance,
                  ((const struct state_done *)b)->instance);
}

static bool read_done(struct state *s, json_t *done, struct error *e)
{
    const char *instance;
    json_t *v;
    s->done = mem_zalloc_array(json_object_size(done), sizeof *s->done);
    json_object_foreach(done, instance, v)
    {
        struct state_done *d = &s->done[s->ndone++];
        if (!fields_is_hex(instance)) {
            error_set(e, 0, "done: an instance that is not 1 to 32 hexadecimal digits");
            return false;
        }
        if (!json_is_array(v) || json_array_size(v) != 2) {
            error_set(e, 0, "done: %s: not a list of 2", instance);
            return false;
        }
        memcpy(d->instance, instance, strlen(instance) + 1);
        if (!fields_as_number(json_array_get(v, 0), "number", NUMBER_MAX, &d->number, e) ||
            !fields_as_text(json_array_get(v, 1), "result", STATE_MAX_RESULT, &d->result, e)) {
            error_prefix(e, "done: %s", instance);
            return false;
        }
    }
    qsort(s->done, s->ndone, sizeof *s->done, done_cmp);
    return true;
}

static int node_cmp(const void *a, const void *b)
{
    return strcmp(((const struct state_node *)a)->node, ((const struct state_node *)b)->node);
}

static bool read_node(json_t *o, struct state_node *n, struct error *e)
{
    if (json_is_object(o))
        return read_length(o, "wait", FIELDS_MUST, &n->wait_ms, e) &&
               read_length(o, "lost", FIELDS_MUST, &n->lost_ms, e);
    error_set(e, 0, "not an object");
    return false;
}

static bool read_nodes(struct state *s, json_t *nodes, struct error *e)
{
    const char *name;
    json_t *o;
    s->nodes = mem_zalloc_array(json_object_size(nodes), sizeof *s->nodes);
    json_object_foreach(nodes, name, o)
    {
        struct state_node *n = &s->nodes[s->nnodes++];
        n->node = name;
        if (!fields_key(name, e) || (!read_node(o, n, e) && !fields_at(e, name))) {
            error_prefix(e, "role: nodes");
            return false;
        }
    }
    qsort(s->nodes, s->nnodes, sizeof *s->nodes, node_cmp);
    return true;
}

static bool read_role(struct state *s, json_t *role, struct error *e)
{
    json_t *nodes;
    if (fields_object(role, "nodes", FIELDS_MAY, STATE_MAX_NODES, &nodes, e))
        return read_nodes(s, nodes, e);
    error_prefix(e, "role");
    return false;
}

static bool read_state(struct state *s, json_t *o, struct error *e)
{
    json_t *pools, *done, *role;
    return fields_object(o, "pools", FIELDS_MUST, STATE_MAX_POOLS, &pools, e) &&
           fields_object(o, "done", FIELDS_MAY, STATE_MAX_DONE, &done, e) &&
           fields_object(o, "role", FIELDS_MAY, SIZE_MAX, &role, e) && read_pools(s, pools, e) &&
           read_done(s, done, e) && read_role(s, role, e);
}

struct state *state_decode(struct str text, struct error *e)
{
    json_t *root = fields_parse(text, STATE_MAX_BYTES, e);
    if (root == NULL)
        return NULL;
    struct state *s = mem_zalloc(sizeof *s);
    s->rest = mem_zalloc(sizeof *s->rest);
    s->rest->root = root;
    if (read_state(s, root, e))
        return s;
    state_free(s);
    return NULL;
}

void state_free(struct state *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->npools; i++)
        free(s->pools[i].servers);
    free(s->pools);
    free(s->done);
    free(s->nodes);
    json_decref(s->rest->root);
    free(s->rest);
    free(s);
}

/* ---- finding ---- */

const struct agreed_pool *state_pool(const struct state *s, const char *name)
{
    const struct agreed_pool key = {.name = name};
    return s->npools ? bsearch(&key, s->pools, s->npools, sizeof key, pool_cmp) : NULL;
}

const struct agreed_server *state_server(const struct agreed_pool *p, const char *name)
{
    const struct agreed_server key = {.name = name};
    return p->nservers ? bsearch(&key, p->servers, p->nservers, sizeof key, server_cmp) : NULL;
}

const struct state_done *state_done_of(const struct state *s, const char *instance)
{
    for (size_t i = 0; i < s->ndone; i++)
        if (strcmp(s->done[i].instance, instance) == 0)
            return &s->done[i];
    return NULL;
}

const struct state_node *state_node_of(const struct state *s, const char *node)
{
    for (size_t i = 0; i < s->nnodes; i++)
        if (strcmp(s->nodes[i].node, node) == 0)
            return &s->nodes[i];
    return NULL;
}
