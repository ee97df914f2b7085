/* json_pack() takes over the reference of each "o", and fails if one of them is NULL. */
#include "plan/document.h"

#include <stdlib.h>

#include "base/mem.h"

static json_t *share(uint64_t positions)
{
    return json_real((double)positions / (double)RING_SPACE);
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

static json_t *texts(const struct plan_texts *t)
{
    json_t *array = json_array();
    for (size_t i = 0; i < t->n && array; i++)
        array = append(array, json_string(t->text[i]));
    return array;
}

/* The name of an id of a move: the last one is nobody. */
static json_t *owner(const struct plan_pool *p, unsigned id)
{
    return id < p->nservers ? json_string(p->servers[id].name) : json_null();
}

static json_t *moves(const struct plan_pool *p)
{
    json_t *array = json_array();
    for (size_t i = 0; i < p->ring.nmoves && i < DOCUMENT_MOVES && array; i++) {
        const struct ring_move *m = &p->ring.moves[i];
        array = append(array, json_pack("{s:o, s:o, s:o, s:I}", "from", owner(p, m->from), "to",
                                        owner(p, m->to), "share", share(m->positions), "positions",
                                        (json_int_t)m->positions));
    }
    return array;
}

static json_t *weight(uint32_t weight)
{
    return weight ? json_integer(weight) : json_null();
}

static json_t *servers(const struct plan_pool *p)
{
    json_t *array = json_array();
    for (size_t i = 0; i < p->nservers && array; i++) {
        const struct plan_server *s = &p->servers[i];
        array = append(array, json_pack("{s:s, s:{s:o, s:o, s:I}, s:{s:o, s:o, s:I}}", "name",
                                        s->name, "before", "weight", weight(s->weight_before),
                                        "share", share(p->ring.before[i]), "positions",
                                        (json_int_t)p->ring.before[i], "after", "weight",
                                        weight(s->weight_after), "share", share(p->ring.after[i]),
                                        "positions", (json_int_t)p->ring.after[i]));
    }
    return array;
}

static json_t *addresses(const struct plan_pool *p)
{
    json_t *array = json_array();
    for (size_t i = 0; i < p->naddresses && array; i++)
        array = append(array, json_pack("{s:s, s:s, s:s}", "name", p->addresses[i].name, "before",
                                        p->addresses[i].before, "after", p->addresses[i].after));
    return array;
}

static json_t *fullest(const struct plan_pool *p)
{
    bool after = p->change != PLAN_REMOVED;
    const uint64_t *positions = after ? p->ring.after : p->ring.before;
    return json_pack("{s:s, s:o, s:f}", "name", p->servers[p->fullest].name, "share",
                     share(positions[p->fullest]), "relative", plan_relative(p, p->fullest, after));
}

static json_t *pool_document(const struct plan_pool *p)
{
    static const char *const changes[] = {[PLAN_SAME] = "same",
                                          [PLAN_MOVED] = "moved",
                                          [PLAN_ADDED] = "added",
                                          [PLAN_REMOVED] = "removed",
                                          [PLAN_ALL_KEYS] = "all_keys"};
    size_t further = p->ring.nmoves > DOCUMENT_MOVES ? p->ring.nmoves - DOCUMENT_MOVES : 0;
    return json_pack("{s:s, s:s, s:o, s:o, s:I, s:o, s:I, s:o, s:I, s:o, s:o, s:o, s:o}", "name",
                     p->name, "change", changes[p->change], "why", texts(&p->why), "moved",
                     share(p->moved), "moved_positions", (json_int_t)p->moved, "least",
                     share(p->least), "least_positions", (json_int_t)p->least, "moves", moves(p),
                     "further_moves", (json_int_t)further, "servers", servers(p), "fullest",
                     fullest(p), "addresses", addresses(p), "notes", texts(&p->notes));
}

static json_t *routes(const struct plan *p, const struct plan_pool *pool)
{
    json_t *array = json_array();
    for (size_t i = 0; i < p->nroutes && array; i++) {
        const struct plan_route *r = &p->routes[i];
        if (!plan_route_concerns(r, pool))
            continue;
        array = append(array, json_pack("{s:s, s:s, s:s?, s:s?}", "listener", r->listener, "route",
                                        r->route, "before", r->from_pool, "after", r->to_pool));
    }
    return array;
}

json_t *document_plan(const struct plan *p, const struct plan_pool *pool)
{
    json_t *pools = json_array();
    for (size_t i = 0; i < p->npools && pools; i++)
        if (pool == NULL || pool == &p->pools[i])
            pools = append(pools, pool_document(&p->pools[i]));
    return json_pack("{s:I, s:o, s:o, s:o}", "positions", (json_int_t)RING_SPACE, "pools", pools,
                     "routes", routes(p, pool), "notes", texts(&p->notes));
}

/* ---- outages ---- */

static json_t *outage_fullest(const struct outages *o, const struct outage *c)
{
    if (c->fullest == SERVER_NONE)
        return json_null();
    return json_pack("{s:s, s:o, s:I, s:f}", "name", outages_name(o, c->fullest), "share",
                     share(c->fullest_share), "positions", (json_int_t)c->fullest_share, "relative",
                     c->relative);
}

static json_t *gains(struct outages *o, const struct outage_gain *g, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; i < n && i < DOCUMENT_MOVES && array; i++)
        array = append(array, json_pack("{s:s, s:o, s:I, s:o, s:I}", "name",
                                        outages_name(o, g[i].id), "gained", share(g[i].gained),
                                        "gained_positions", (json_int_t)g[i].gained, "share",
                                        share(g[i].share), "positions", (json_int_t)g[i].share));
    return array;
}

/* list: room for the gains of all servers. */
static json_t *outage_document(struct outages *o, const struct outage *c, struct outage_gain *list)
{
    size_t n = outages_gains(o, c, list);
    json_t *out = json_array();
    for (unsigned i = 0; i < c->nout && out; i++)
        out = append(out, json_string(outages_name(o, c->out[i])));
    return json_pack("{s:o, s:b, s:o, s:I, s:o, s:I, s:o, s:o, s:I}", "out", out, "ignored",
                     c->ignored, "moved", share(c->moved), "moved_positions", (json_int_t)c->moved,
                     "refused", share(c->refused), "refused_positions", (json_int_t)c->refused,
                     "fullest", outage_fullest(o, c), "to", gains(o, list, n), "further",
                     (json_int_t)(n > DOCUMENT_MOVES ? n - DOCUMENT_MOVES : 0));
}

json_t *document_outages(struct outages *o, const struct config_pool *pool, size_t worst)
{
    size_t n;
    const struct outage *cases = outages_cases(o, &n);
    struct outage_gain *list = mem_zalloc_array(pool->nbackends + pool->nstandbys, sizeof *list);
    struct outage normal = outages_normal(o);
    json_t *array = json_array();
    for (size_t i = 0; i < n && i < worst && array; i++)
        array = append(array, outage_document(o, &cases[i], list));
    free(list);
    return json_pack("{s:s, s:I, s:o, s:o}", "name", pool->name, "cases", (json_int_t)n,
                     "in_service", outage_fullest(o, &normal), "worst", array);
}
