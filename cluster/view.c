#include "cluster/view.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cluster/fields.h"

static const char *const roles[] = {
    [VIEW_ALONE] = "alone", [VIEW_FOLLOWER] = "follower", [VIEW_KEEPER] = "keeper"};
static const char *const verbs[] = {
    [VIEW_DRAIN] = "drain", [VIEW_ENABLE] = "enable", [VIEW_FAILBACK] = "failback"};
static const char *const listens[] = {"always", "active"};

const char *view_role_word(enum view_role role)
{
    return roles[role];
}

const char *view_verb_word(enum view_verb verb)
{
    return verbs[verb];
}

/* ---- finding, sorting ---- */

static int server_cmp(const void *a, const void *b)
{
    return strcmp(((const struct view_server *)a)->name, ((const struct view_server *)b)->name);
}

static int pool_cmp(const void *a, const void *b)
{
    return strcmp(((const struct view_pool *)a)->name, ((const struct view_pool *)b)->name);
}

void view_sort(struct view *v)
{
    if (v->npools)
        qsort(v->pools, v->npools, sizeof *v->pools, pool_cmp);
    for (size_t i = 0; i < v->npools; i++)
        if (v->pools[i].nservers)
            qsort(v->pools[i].servers, v->pools[i].nservers, sizeof *v->pools[i].servers,
                  server_cmp);
}

const struct view_pool *view_pool_of(const struct view *v, const char *name)
{
    const struct view_pool key = {.name = name};
    return v->npools ? bsearch(&key, v->pools, v->npools, sizeof key, pool_cmp) : NULL;
}

const struct view_server *view_server_of(const struct view_pool *p, const char *name)
{
    const struct view_server key = {.name = name};
    return p->nservers ? bsearch(&key, p->servers, p->nservers, sizeof key, server_cmp) : NULL;
}

bool view_blind(const struct view *v)
{
    for (size_t i = 0; i < v->npools; i++)
        if (v->pools[i].blind)
            return true;
    return false;
}

/* ---- decoding ---- */

/* A view with the texts that it points to. What is copied from a document has less bytes with its
 * NUL than in the document with its quotes. */
struct decoded {
    struct view view;
    size_t used;
    char texts[];
};

static const char *copy(struct decoded *d, const char *text)
{
    size_t size = strlen(text) + 1;
    char *at = memcpy(d->texts + d->used, text, size);
    d->used += size;
    return at;
}

/* The lists of names of a pool. */
enum { NAMES, DOWN, UNSURE, OUT, EXCEPT, LISTS };

static const char *const lists[] = {
    [NAMES] = "names", [DOWN] = "d", [UNSURE] = "?", [OUT] = "out", [EXCEPT] = "except"};

struct mention {
    const char *name;
    unsigned lists; /* bits */
};

static int mention_cmp(const void *a, const void *b)
{
    return strcmp(((const struct mention *)a)->name, ((const struct mention *)b)->name);
}

/* Sorts the mentions and joins those of one server. Returns how many servers there are; 0 of some:
 * one list has a name twice, which is at m->name. */
static size_t join(struct mention *m, size_t n)
{
    size_t kept = 0;
    if (n)
        qsort(m, n, sizeof *m, mention_cmp);
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || strcmp(m[kept - 1].name, m[i].name) != 0) {
            m[kept++] = m[i];
        } else if (m[kept - 1].lists & m[i].lists) {
            m->name = m[i].name;
            return 0;
        } else {
            m[kept - 1].lists |= m[i].lists;
        }
    }
    return kept;
}

static bool fill_servers(struct decoded *d, struct view_pool *p, struct mention *m, size_t n,
                         struct error *e)
{
    size_t nservers = join(m, n);
    if (n && nservers == 0) {
        error_set(e, 0, "twice in a list");
        return fields_at(e, m->name);
    }
    p->servers = mem_zalloc_array(nservers, sizeof *p->servers);
    for (size_t i = 0; i < nservers; i++) {
        bool down = m[i].lists & 1u << DOWN, unsure = m[i].lists & 1u << UNSURE;
        if ((down && unsure) || (p->named && !(m[i].lists & 1u << NAMES))) {
            error_set(e, 0, down && unsure ? "in d and ?" : "not in names");
            return fields_at(e, m[i].name);
        }
        p->servers[p->nservers++] = (struct view_server){.name = copy(d, m[i].name),
                                                         .vote = down     ? VIEW_DOWN
                                                                 : unsure ? VIEW_UNSURE
                                                                          : VIEW_UP,
                                                         .out = m[i].lists & 1u << OUT,
                                                         .except = m[i].lists & 1u << EXCEPT};
    }
    return true;
}

static bool read_mentions(json_t *const array[LISTS], struct mention *m, struct error *e)
{
    for (unsigned list = 0; list < LISTS; list++) {
        for (size_t i = 0; i < json_array_size(array[list]); i++, m++) {
            m->lists = 1u << list;
            if (!fields_as_name(json_array_get(array[list], i), lists[list], &m->name, e))
                return false;
        }
    }
    return true;
}

static bool read_servers(struct decoded *d, json_t *o, struct view_pool *p, struct error *e)
{
    json_t *array[LISTS];
    size_t n = 0;
    for (unsigned list = 0; list < LISTS; list++) {
        if (!fields_array(o, lists[list], FIELDS_MAY, VIEW_MAX_SERVERS, &array[list], e))
            return false;
        n += json_array_size(array[list]);
    }
    p->named = array[NAMES] != NULL;
    struct mention *m = mem_zalloc_array(n, sizeof *m);
    bool ok = read_mentions(array, m, e) && fill_servers(d, p, m, n, e);
    free(m);
    return ok;
}

static bool read_pool(struct decoded *d, json_t *o, struct view_pool *p, struct error *e)
{
    const char *digest;
    if (!json_is_object(o)) {
        error_set(e, 0, "not an object");
        return false;
    }
    if (!fields_hex(o, "digest", &digest, e) ||
        !fields_flag(o, "blind", FIELDS_MAY, &p->blind, e) || !read_servers(d, o, p, e))
        return false;
    p->digest = copy(d, digest);
    return true;
}

static bool read_pools(struct decoded *d, json_t *pools, struct error *e)
{
    const char *name;
    json_t *o;
    struct view *v = &d->view;
    v->pools = mem_zalloc_array(json_object_size(pools), sizeof *v->pools);
    json_object_foreach(pools, name, o)
    {
        struct view_pool *p = &v->pools[v->npools++];
        if (!fields_key(name, e) || (!read_pool(d, o, p, e) && !fields_at(e, name))) {
            error_prefix(e, "pools");
            return false;
        }
        p->name = copy(d, name);
    }
    qsort(v->pools, v->npools, sizeof *v->pools, pool_cmp);
    return true;
}

static bool read_ask(struct decoded *d, json_t *o, struct view_ask *a, struct error *e)
{
    unsigned verb;
    if (!json_is_array(o) || json_array_size(o) != 5) {
        error_set(e, 0, "not a list of 5");
        return false;
    }
    if (!fields_as_number(json_array_get(o, 0), "number", NUMBER_MAX, &a->number, e) ||
        !fields_as_name(json_array_get(o, 1), "pool", &a->pool, e) ||
        !fields_as_name(json_array_get(o, 2), "server", &a->server, e) ||
        !fields_as_word(json_array_get(o, 3), "verb", verbs, VIEW_FAILBACK + 1, &verb, e) ||
        !fields_as_number(json_array_get(o, 4), "made", NUMBER_MAX, &a->made_ms, e))
        return false;
    a->pool = copy(d, a->pool);
    a->server = copy(d, a->server);
    a->verb = (enum view_verb)verb;
    return true;
}

static bool read_asks(struct decoded *d, json_t *asks, struct error *e)
{
    struct view *v = &d->view;
    uint64_t before = 0;
    v->asks = mem_zalloc_array(json_array_size(asks), sizeof *v->asks);
    for (; v->nasks < json_array_size(asks); v->nasks++) {
        struct view_ask *a = &v->asks[v->nasks];
        if (!read_ask(d, json_array_get(asks, v->nasks), a, e)) {
            error_prefix(e, "asks: %zu", v->nasks);
            return false;
        }
        if (a->number <= before) {
            error_set(e, 0, "asks: numbers that do not ascend from 1");
            return false;
        }
        before = a->number;
    }
    return true;
}

/* "by" is empty where nothing was published yet. */
static bool read_version(json_t *o, struct version *v, struct error *e)
{
    const char *by = json_string_value(json_object_get(o, "by"));
    if (!fields_number(o, "epoch", FIELDS_MUST, NUMBER_MAX, &v->epoch, e) ||
        !fields_number(o, "seq", FIELDS_MUST, NUMBER_MAX, &v->seq, e))
        return false;
    if (by && *by == 0 && v->epoch == 0 && v->seq == 0)
        return true;
    if (!fields_hex(o, "by", &by, e))
        return false;
    memcpy(v->by, by, strlen(by) + 1);
    return true;
}

static bool read_self(json_t *o, struct view *v, struct error *e)
{
    const char *id;
    unsigned role, listen;
    uint64_t priority;
    if (!fields_hex(o, "id", &id, e) || !read_version(o, &v->version, e) ||
        !fields_word(o, "role", roles, VIEW_KEEPER + 1, &role, e) ||
        !fields_word(o, "listen", listens, 2, &listen, e) ||
        !fields_flag(o, "accepting", FIELDS_MUST, &v->accepting, e) ||
        !fields_flag(o, "preempt", FIELDS_MUST, &v->preempt, e) ||
        !fields_flag(o, "ready", FIELDS_MUST, &v->ready, e) ||
        !fields_number(o, "priority", FIELDS_MUST, VIEW_MAX_PRIORITY, &priority, e))
        return false;
    memcpy(v->id, id, strlen(id) + 1);
    v->role = (enum view_role)role;
    v->listen_active = listen == 1;
    v->priority = (uint32_t)priority;
    return true;
}

static bool read_view(struct decoded *d, json_t *o, struct error *e)
{
    json_t *pools, *asks;
    return read_self(o, &d->view, e) &&
           fields_object(o, "pools", FIELDS_MUST, VIEW_MAX_POOLS, &pools, e) &&
           fields_array(o, "asks", FIELDS_MAY, VIEW_MAX_ASKS, &asks, e) &&
           read_pools(d, pools, e) && read_asks(d, asks, e);
}

struct view *view_decode(struct str text, struct error *e)
{
    json_t *root = fields_parse(text, VIEW_MAX_BYTES, e);
    if (root == NULL)
        return NULL;
    struct decoded *d = mem_zalloc(sizeof *d + text.n);
    bool ok = read_view(d, root, e);
    json_decref(root);
    if (ok)
        return &d->view;
    view_free(&d->view);
    return NULL;
}

void view_free(struct view *v)
{
    if (v == NULL)
        return;
    for (size_t i = 0; i < v->npools; i++)
        free(v->pools[i].servers);
    free(v->pools);
    free(v->asks);
    free(v); /* the first member of its struct decoded */
}
