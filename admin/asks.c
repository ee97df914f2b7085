#include "admin/asks.h"

#include <stdlib.h>

#include "admin/later.h"
#include "admin/status.h"
#include "base/mem.h"

struct ask {
    struct asks *asks; /* NULL: the interface was closed */
    struct ask *next;
    struct later *later;
    char *pool, *server; /* by name, as ids are those of one snapshot */
};

static json_t *say(const char *what)
{
    return json_pack("{s:s}", "error", what);
}

static void unlink_ask(struct ask *k)
{
    struct ask **at = &k->asks->first;
    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
}

/* Adds `agreed`. Takes over the reference. */
static json_t *with_agreed(json_t *server, bool agreed)
{
    if (server && json_object_set_new(server, "agreed", json_boolean(agreed)) == 0)
        return server;
    json_decref(server);
    return NULL;
}

static void answer_server(const struct ask *k, bool agreed)
{
    const struct asks *a = k->asks;
    const struct snapshot *s = *a->snapshot;
    size_t pool = snapshot_find_pool(s, k->pool);
    const struct pool_member *m =
        pool < s->npools ? pool_find_name(s->pools[pool], k->server) : NULL;
    if (m == NULL)
        later_done(k->later, 404, say("a reload took this server away"));
    else
        later_done(
            k->later, 200,
            with_agreed(status_server(s, a->hooks->fleet, pool, m->id, uv_now(a->loop)), agreed));
}

static void on_requested(void *arg, enum admin_outcome outcome)
{
    struct ask *k = arg;
    if (k->asks == NULL)
        later_done(k->later, 503, say("the admin interface has moved"));
    else if (outcome == ADMIN_REFUSED)
        later_done(k->later, 409, say("the server is down"));
    else if (outcome == ADMIN_CROWDED)
        later_done(k->later, 503,
                   say("too many requests wait for the fleet, or another process takes over"));
    else
        answer_server(k, outcome == ADMIN_AGREED);
    if (k->asks)
        unlink_ask(k);
    free(k->pool);
    free(k->server);
    free(k);
}

bool asks_begin(struct asks *a, struct httpd_request *q, size_t pool, unsigned server,
                enum admin_verb verb)
{
    const struct pool *p = (*a->snapshot)->pools[pool];
    const struct admin_fleet *f = a->hooks->fleet;
    struct later *later = later_keep(q);
    if (later == NULL)
        return false;
    struct ask *k = mem_zalloc(sizeof *k);
    *k = (struct ask){.asks = a,
                      .next = a->first,
                      .later = later,
                      .pool = mem_strdup(p->config->name),
                      .server = mem_strdup(p->members[server].server->name)};
    a->first = k;
    f->request(f->arg, pool, server, verb, on_requested, k);
    return true;
}

void asks_end(struct asks *a)
{
    for (struct ask *k = a->first; k; k = k->next)
        k->asks = NULL;
    a->first = NULL;
}
