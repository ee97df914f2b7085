#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/fields.h"
#include "cluster/view.h"

static bool same_servers(const struct view_pool *p, const struct agreed_pool *a)
{
    bool same = a && a->nservers == p->nservers && strcmp(a->digest, p->digest) == 0;
    for (size_t i = 0; i < p->nservers && same; i++)
        same = strcmp(a->servers[i].name, p->servers[i].name) == 0;
    return same;
}

void view_leave_names(struct view *v, const struct state *published)
{
    for (size_t i = 0; i < v->npools && published; i++) {
        struct view_pool *p = &v->pools[i];
        if (same_servers(p, state_pool(published, p->name)))
            p->named = false;
    }
}

/* ---- writing ---- */

static bool in_names(const struct view_server *s)
{
    return true;
}

static bool in_down(const struct view_server *s)
{
    return s->vote == VIEW_DOWN;
}

static bool in_unsure(const struct view_server *s)
{
    return s->vote == VIEW_UNSURE;
}

static bool in_out(const struct view_server *s)
{
    return s->out;
}

static bool in_except(const struct view_server *s)
{
    return s->except;
}

static json_t *names_of(const struct view_pool *p, bool (*in)(const struct view_server *s))
{
    json_t *names = json_array();
    for (size_t i = 0; i < p->nservers; i++) {
        if (in(&p->servers[i]) &&
            json_array_append_new(names, json_string(p->servers[i].name)) != 0) {
            json_decref(names);
            return NULL;
        }
    }
    return names;
}

/* An empty list is left out, but that of all names. False: no memory. */
static bool put_names(json_t *o, const char *key, const struct view_pool *p,
                      bool (*in)(const struct view_server *s))
{
    json_t *names = names_of(p, in);
    bool ok = names && ((json_array_size(names) == 0 && in != in_names) ||
                        json_object_set(o, key, names) == 0);
    json_decref(names);
    return ok;
}

/* named: with `names` where a pool is. */
static json_t *encode_pool(const struct view_pool *p, bool named)
{
    json_t *o = json_pack("{s:s, s:b}", "digest", p->digest, "blind", p->blind);
    if (o && (!(named && p->named) || put_names(o, "names", p, in_names)) &&
        put_names(o, "d", p, in_down) && put_names(o, "?", p, in_unsure) &&
        put_names(o, "out", p, in_out) && put_names(o, "except", p, in_except))
        return o;
    json_decref(o);
    return NULL;
}

static json_t *encode_pools(const struct view *v, bool named)
{
    json_t *pools = json_object();
    for (size_t i = 0; i < v->npools; i++) {
        if (json_object_set_new(pools, v->pools[i].name, encode_pool(&v->pools[i], named)) != 0) {
            json_decref(pools);
            return NULL;
        }
    }
    return pools;
}

static json_t *encode_asks(const struct view *v)
{
    json_t *asks = json_array();
    for (size_t i = 0; i < v->nasks; i++) {
        const struct view_ask *a = &v->asks[i];
        if (json_array_append_new(asks, json_pack("[I,s,s,s,I]", (json_int_t)a->number, a->pool,
                                                  a->server, view_verb_word(a->verb),
                                                  (json_int_t)a->made_ms)) != 0) {
            json_decref(asks);
            return NULL;
        }
    }
    return asks;
}

static json_t *encode_view(const struct view *v, bool named)
{
    return json_pack("{s:i, s:s, s:I, s:s, s:I, s:s, s:s, s:b, s:I, s:b, s:b, s:o, s:o}", "v", 1,
                     "id", v->id, "epoch", (json_int_t)v->version.epoch, "by", v->version.by, "seq",
                     (json_int_t)v->version.seq, "role", view_role_word(v->role), "listen",
                     v->listen_active ? "active" : "always", "accepting", v->accepting, "priority",
                     (json_int_t)v->priority, "preempt", v->preempt, "ready", v->ready, "pools",
                     encode_pools(v, named), "asks", encode_asks(v));
}

/* ---- bounds ---- */

static bool pool_in_bounds(const struct view_pool *p)
{
    bool good =
        p->nservers <= VIEW_MAX_SERVERS && fields_is_name(p->name) && fields_is_hex(p->digest);
    for (size_t i = 0; i < p->nservers && good; i++)
        good = fields_is_name(p->servers[i].name) &&
               (i == 0 || strcmp(p->servers[i - 1].name, p->servers[i].name) < 0);
    return good;
}

static bool asks_in_bounds(const struct view *v)
{
    bool good = v->nasks <= VIEW_MAX_ASKS;
    for (size_t i = 0; i < v->nasks && good; i++) {
        const struct view_ask *a = &v->asks[i];
        good = a->number > (i ? v->asks[i - 1].number : 0) && a->number <= NUMBER_MAX &&
               a->made_ms <= NUMBER_MAX && fields_is_name(a->pool) && fields_is_name(a->server);
    }
    return good;
}

static bool version_in_bounds(const struct version *v)
{
    return v->epoch <= NUMBER_MAX && v->seq <= NUMBER_MAX &&
           (fields_is_hex(v->by) || (v->by[0] == 0 && v->epoch == 0 && v->seq == 0));
}

static bool in_bounds(const struct view *v)
{
    bool good = v->npools <= VIEW_MAX_POOLS && fields_is_hex(v->id) &&
                version_in_bounds(&v->version) && asks_in_bounds(v);
    for (size_t i = 0; i < v->npools && good; i++)
        good = pool_in_bounds(&v->pools[i]) &&
               (i == 0 || strcmp(v->pools[i - 1].name, v->pools[i].name) < 0);
    return good;
}

static char *encode(const struct view *v, bool named, size_t *len)
{
    json_t *o = encode_view(v, named);
    char *text = o ? json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(o);
    *len = text ? strlen(text) : 0;
    return text;
}

char *view_encode(const struct view *v, size_t *len, struct error *e)
{
    if (!in_bounds(v)) {
        error_set(e, 0, "a name or number of the view is none, or twice, or they are too many");
        return NULL;
    }
    char *text = encode(v, true, len);
    if (*len > VIEW_MAX_BYTES) {
        free(text);
        text = encode(v, false, len);
    }
    if (text && *len <= VIEW_MAX_BYTES)
        return text;
    if (text)
        error_set(e, 0, "the view has %zu bytes, allowed %u", *len, VIEW_MAX_BYTES);
    else
        error_set(e, 0, "the view cannot be written: memory is out");
    free(text);
    return NULL;
}
