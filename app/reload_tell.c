#include "app/reload_tell.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "plan/document.h"
#include "pool/moved.h"

static const char refused[] = "reload refused";

static double share_of(uint64_t positions)
{
    return (double)positions / (double)RING_SPACE;
}

/* json_pack() and its like take over references, and fail if one of them is NULL. */
static json_t *errors_document(json_t *lines)
{
    return json_pack("{s:o}", "errors", lines);
}

static void log_refused(size_t errors, const char *reason)
{
    struct log_line l;
    if (!log_begin(&l, LOG_ERROR, refused))
        return;
    log_u64(&l, "errors", errors);
    log_str(&l, "reason", reason);
    log_end(&l);
}

/* ---- refusals ---- */

json_t *tell_errors(const struct config_errors *errors, bool log)
{
    json_t *lines = json_array();
    for (size_t i = 0; i < errors->count; i++) {
        if (log)
            log_event(LOG_ERROR, "configuration error", errors->lines[i]);
        if (lines && json_array_append_new(lines, json_string(errors->lines[i])) < 0) {
            json_decref(lines);
            lines = NULL;
        }
    }
    if (log)
        log_refused(errors->count, "the file has errors, the configuration stays as it was");
    return errors_document(lines);
}

json_t *tell_refused(const char *reason)
{
    log_refused(1, reason);
    return errors_document(json_pack("[s]", reason));
}

json_t *tell_not_replaced(const char *reason)
{
    log_refused(1, reason);
    return json_pack("{s:s}", "error", reason);
}

static bool exceeds(const struct plan_pool *p, double max_move)
{
    return share_of(p->moved) > max_move;
}

bool tell_exceeds(const struct plan *p, double max_move)
{
    for (size_t i = 0; i < p->npools; i++)
        if (exceeds(&p->pools[i], max_move))
            return true;
    return false;
}

static json_t *bound_line(const struct plan_pool *p, double max_move)
{
    char text[PLAN_PERCENT];
    return json_sprintf("pool %s: %s of the keys would move, reload.max_move allows %g%%", p->name,
                        plan_percent(p->moved, text), max_move * 100);
}

/* Of all pools with a share that `get` gives; those that are new or gone have none. */
static bool is_in_both(const struct plan_pool *p)
{
    return p->change != PLAN_ADDED && p->change != PLAN_REMOVED;
}

static json_t *add_share(json_t *shares, const struct plan_pool *p, double share)
{
    if (!is_in_both(p) || json_object_set_new(shares, p->name, json_real(share)) == 0)
        return shares;
    json_decref(shares);
    return NULL;
}

static json_t *shares(const struct plan *p, bool least)
{
    json_t *out = json_object();
    for (size_t i = 0; i < p->npools && out; i++)
        out = add_share(out, &p->pools[i], share_of(least ? p->pools[i].least : p->pools[i].moved));
    return out;
}

static void log_bound(const struct plan_pool *p, double max_move)
{
    struct log_line l;
    if (!log_begin(&l, LOG_ERROR, "too many keys would move"))
        return;
    log_str(&l, "pool", p->name);
    log_share(&l, "moved", share_of(p->moved));
    log_share(&l, "least", share_of(p->least));
    log_share(&l, "allowed", max_move);
    log_end(&l);
}

json_t *tell_bound(const struct plan *p, double max_move)
{
    json_t *lines = json_array();
    size_t n = 0;
    for (size_t i = 0; i < p->npools; i++) {
        if (!exceeds(&p->pools[i], max_move))
            continue;
        n++;
        log_bound(&p->pools[i], max_move);
        if (lines && json_array_append_new(lines, bound_line(&p->pools[i], max_move)) < 0) {
            json_decref(lines);
            lines = NULL;
        }
    }
    log_refused(n, "reload.max_move");
    return json_pack("{s:o, s:f, s:o, s:o}", "errors", lines, "max_move", max_move, "moved",
                     shares(p, false), "least", shares(p, true));
}

json_t *tell_plan(const struct plan *p, double max_move)
{
    json_t *document = document_plan(p, NULL);
    if (document == NULL ||
        json_object_set_new(document, "allowed", json_boolean(!tell_exceeds(p, max_move))) == 0)
        return document;
    json_decref(document);
    return NULL;
}

json_t *tell_changed(void)
{
    return json_pack("{s:s}", "error", "another configuration is in force by now");
}

json_t *tell_moved(void)
{
    return json_pack("{s:s}", "error", "not done: the admin interface has moved meanwhile");
}

json_t *tell_unready(void)
{
    return json_pack("{s:s}", "error", "starting, stopping or handing over to another process");
}

/* ---- done ---- */

/* What the switch has moved: unlike the plan, this counts which servers were out. */
struct moved {
    double share, least;
};

/* Whether id of `to` names the server that `was` names in `from`. */
static bool same_server(const struct pool *from, uint16_t was, const struct pool *to, uint16_t id)
{
    if (was == SERVER_NONE || id == SERVER_NONE)
        return was == id;
    return pool_before(to, id, from) == &from->members[was];
}

/* The quick answer for most pools: no name is looked up, and no ring is gone through. */
static bool nothing_moved(const struct pool *from, const struct pool *to)
{
    bool same = from->ring == to->ring && from->config->when_down == to->config->when_down;
    for (unsigned slot = 0; slot < to->nbackends && same; slot++) {
        struct pool_owner was = pool_owner_of(from, slot), is = pool_owner_of(to, slot);
        same =
            same_server(from, was.owner, to, is.owner) && same_server(from, was.from, to, is.from);
    }
    return same;
}

/* Where requests find their keys elsewhere, all keys of the pool have moved. */
static struct moved moved_of(const struct plan_pool *p, const struct snapshot *before,
                             const struct snapshot *after)
{
    if (!is_in_both(p))
        return (struct moved){0};
    if (p->change == PLAN_ALL_KEYS)
        return (struct moved){share_of(p->moved), share_of(p->least)};
    const struct pool *from = before->pools[snapshot_find_pool(before, p->name)];
    const struct pool *to = after->pools[snapshot_find_pool(after, p->name)];
    if (nothing_moved(from, to))
        return (struct moved){0};
    struct plan_moved m = plan_switch(from, to);
    double share = pool_moved(from, to); /* with what ramps had left; -1: another ring */
    return (struct moved){share < 0 ? share_of(m.moved) : share, share_of(m.least)};
}

static void log_pool(const struct plan_pool *p, const struct moved *m)
{
    static const char *const events[] = {[PLAN_SAME] = "pool changed",
                                         [PLAN_MOVED] = "pool changed",
                                         [PLAN_ALL_KEYS] = "pool changed",
                                         [PLAN_ADDED] = "pool added",
                                         [PLAN_REMOVED] = "pool removed"};
    struct log_line l;
    if ((p->change == PLAN_SAME && m->share == 0) || !log_begin(&l, LOG_INFO, events[p->change]))
        return;
    log_str(&l, "pool", p->name);
    if (is_in_both(p)) {
        log_share(&l, "moved", m->share);
        log_share(&l, "least", m->least);
    }
    if (p->why.n)
        log_str(&l, "reason", p->why.text[0]);
    log_end(&l);
}

static void log_reloaded(const struct prepared *p, const struct snapshot *s, const struct moved *m)
{
    struct log_line l;
    size_t most = 0;
    for (size_t i = 1; i < p->plan->npools; i++)
        most = m[i].share > m[most].share ? i : most;
    if (!log_begin(&l, LOG_INFO, "reloaded"))
        return;
    log_u64(&l, "generation", s->generation);
    log_u64(&l, "servers_added", p->nadded);
    log_u64(&l, "servers_removed", p->nremoved);
    log_share(&l, "moved", m[most].share);
    if (m[most].share > 0)
        log_str(&l, "most_of", p->plan->pools[most].name);
    log_end(&l);
}

/* The number of threads is fixed at the start, and so is what the sockets are bound for. Returns
 * the keys that differ. */
static json_t *log_restart(const struct snapshot *s)
{
    static const char *const listens[] = {"always", "active"};
    const struct config *c = s->config;
    bool active = c->cluster && c->cluster->listen_active;
    json_t *keys = json_array();
    struct log_line l;
    if (c->workers != s->nworkers) {
        json_array_append_new(keys, json_string("workers"));
        if (log_begin(&l, LOG_WARN, "needs restart")) {
            log_str(&l, "key", "workers");
            log_u64(&l, "running", s->nworkers);
            log_u64(&l, "file", c->workers);
            log_end(&l);
        }
    }
    if (active != s->listen_active) {
        json_array_append_new(keys, json_string("cluster.listen"));
        if (log_begin(&l, LOG_WARN, "needs restart")) {
            log_str(&l, "key", "cluster.listen");
            log_str(&l, "running", listens[s->listen_active]);
            log_str(&l, "file", listens[active]);
            log_end(&l);
        }
    }
    return keys;
}

/* The names of the pools with that change. */
static json_t *names(const struct plan *p, enum plan_change change)
{
    json_t *out = json_array();
    for (size_t i = 0; i < p->npools && out; i++) {
        const struct plan_pool *pool = &p->pools[i];
        if (pool->change != change || json_array_append_new(out, json_string(pool->name)) == 0)
            continue;
        json_decref(out);
        out = NULL;
    }
    return out;
}

json_t *tell_reloaded(const struct prepared *p, const struct snapshot *s)
{
    const struct plan *plan = p->plan;
    struct moved *m = mem_zalloc_array(plan->npools, sizeof *m);
    json_t *moved = json_object(), *least = json_object();
    for (size_t i = 0; i < plan->npools; i++) {
        const struct plan_pool *pool = &plan->pools[i];
        m[i] = moved_of(pool, p->old, s);
        log_pool(pool, &m[i]);
        moved = moved ? add_share(moved, pool, m[i].share) : NULL;
        least = least ? add_share(least, pool, m[i].least) : NULL;
    }
    json_t *restart = log_restart(s);
    log_reloaded(p, s, m);
    free(m);
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o}", "generation", (json_int_t)s->generation,
                     "moved", moved, "least", least, "added", names(plan, PLAN_ADDED), "removed",
                     names(plan, PLAN_REMOVED), "needs_restart", restart);
}
