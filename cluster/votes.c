#include "cluster/votes.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cluster/state.h"

static size_t servers_of(const struct ballot *b)
{
    return b->config->nbackends + b->config->nstandbys;
}

/* ---- what a member says about the servers of a ballot ---- */

enum says { SAYS_UNKNOWN, SAYS_UNSURE, SAYS_UP, SAYS_DOWN };

/* Goes through the servers of the ballot and of a view's pool side by side: backends and standbys
 * ascend by name each, those of the view all together. */
struct walk {
    const struct ballot *ballot;
    const struct view_pool *pool;
    size_t at; /* in the pool */
};

struct statement {
    enum says says; /* SAYS_UNKNOWN: the member does not list the server */
    bool maybe;     /* nor is it known whether it does */
    bool out;
};

static const struct view_server *walk_to(struct walk *w, size_t id, const char *name)
{
    const struct view_pool *p = w->pool;
    if (id == 0 || id == w->ballot->config->nbackends)
        w->at = 0;
    while (w->at < p->nservers && strcmp(p->servers[w->at].name, name) < 0)
        w->at++;
    return w->at < p->nservers && strcmp(p->servers[w->at].name, name) == 0 ? &p->servers[w->at]
                                                                            : NULL;
}

/* A server that is in no list of a view which left out `names`. */
static struct statement unlisted(const struct walk *w, const char *name)
{
    const struct ballot *b = w->ballot;
    struct statement up = {.says = SAYS_UP}, unknown = {.says = SAYS_UNKNOWN};
    if (w->pool->named)
        return unknown;
    if (strcmp(w->pool->digest, b->digest) == 0)
        return up;
    if (b->agreed && strcmp(w->pool->digest, b->agreed->digest) == 0)
        return state_server(b->agreed, name) ? up : unknown;
    return (struct statement){.says = SAYS_UNSURE, .maybe = true};
}

/* id: 0, 1, ... in this order. */
static struct statement statement_of(struct walk *w, size_t id)
{
    static const enum says votes[] = {
        [VIEW_UP] = SAYS_UP, [VIEW_DOWN] = SAYS_DOWN, [VIEW_UNSURE] = SAYS_UNSURE};
    const struct config_pool *c = w->ballot->config;
    const char *name =
        id < c->nbackends ? c->backends[id].name : c->standbys[id - c->nbackends].name;
    const struct view_server *s = walk_to(w, id, name);
    return s ? (struct statement){.says = votes[s->vote], .out = s->out} : unlisted(w, name);
}

/* ---- votes ---- */

/* Of one server. */
struct count {
    struct tally live[2][2]; /* [has traffic][is blind] */
    unsigned silent;
};

static bool has_traffic(const struct view *v)
{
    return !v->listen_active || v->role == VIEW_KEEPER;
}

static void add_statement(struct tally *t, struct statement s)
{
    if (s.says == SAYS_UNKNOWN)
        return;
    t->voters++;
    t->down += s.says == SAYS_DOWN;
    t->up += s.says == SAYS_UP;
}

static void count_live(const struct ballot *b, const struct view *v, struct count *counts)
{
    struct walk w = {b, view_pool_of(v, b->config->name), 0};
    for (size_t id = 0; id < servers_of(b) && w.pool; id++)
        add_statement(&counts[id].live[has_traffic(v)][w.pool->blind], statement_of(&w, id));
}

/* Of an `active` one that went silent the role is another's by now. */
static void count_silent(const struct ballot *b, const struct view *v, struct count *counts)
{
    struct walk w = {b, view_pool_of(v, b->config->name), 0};
    for (size_t id = 0; id < servers_of(b) && w.pool && !v->listen_active; id++)
        counts[id].silent += statement_of(&w, id).says != SAYS_UNKNOWN;
}

/* What it lists is not known. It takes no part where the role alone gives a vote. */
static void count_without_view(const struct electorate *e, const struct ballot *b,
                               struct count *counts)
{
    for (size_t id = 0; id < servers_of(b) && !e->own->listen_active; id++)
        counts[id].silent++;
}

static void count_peer(const struct electorate *e, const struct ballot *b, const struct peer *p,
                       struct count *counts)
{
    enum peer_life life = peer_life(p, e->now_ms, e->ttl_ms);
    if (life == PEER_GONE || strcmp(p->node, e->node) == 0)
        return;
    if (p->view == NULL)
        count_without_view(e, b, counts);
    else if (life == PEER_LIVE)
        count_live(b, p->view, counts);
    else
        count_silent(b, p->view, counts);
}

static struct tally sum(struct tally a, struct tally b)
{
    return (struct tally){a.down + b.down, a.up + b.up, a.voters + b.voters};
}

static struct tally result_of(const struct ballot *b, const struct count *c)
{
    bool traffic = c->live[1][0].voters + c->live[1][1].voters > 0;
    struct tally seeing = traffic ? c->live[1][0] : sum(c->live[0][0], c->live[1][0]),
                 blind = traffic ? c->live[1][1] : sum(c->live[0][1], c->live[1][1]);
    struct tally t = seeing.voters ? seeing : blind;
    if (b->config->health.check == CHECK_OFF)
        t.voters = t.down + t.up;
    else
        t.voters += c->silent;
    return t;
}

void votes_count(const struct electorate *e, const struct ballot *b, struct tally *out)
{
    size_t n = servers_of(b);
    struct count *counts = mem_zalloc_array(n, sizeof *counts);
    count_live(b, e->own, counts);
    for (size_t i = 0; i < peers_count(e->peers); i++)
        count_peer(e, b, peers_at(e->peers, i), counts);
    for (size_t id = 0; id < n; id++)
        out[id] = result_of(b, &counts[id]);
    free(counts);
}

enum votes_outcome votes_rule(const struct config_pool *config, struct tally t)
{
    if (config->agree == AGREE_ALL ? t.down > 0 : 2 * t.down > t.voters)
        return VOTES_OUT;
    /* without checks nothing but the end of a claim would bring it back */
    if (2 * t.up > t.voters || (config->health.check == CHECK_OFF && t.down == 0))
        return VOTES_IN;
    return VOTES_UNCHANGED;
}

/* ---- other counts ---- */

static void count_routes(const struct ballot *b, const struct view *v, struct tally *out)
{
    struct walk w = {b, view_pool_of(v, b->config->name), 0};
    for (size_t id = 0; id < servers_of(b) && w.pool; id++) {
        struct statement s = statement_of(&w, id);
        if (s.says == SAYS_UNKNOWN)
            continue;
        out[id].voters++;
        out[id].down += s.out;
        out[id].up += !s.out && !s.maybe;
    }
}

/* The view of a live node other than the reader; NULL: it is not live, has none, or is the reader.
 */
static const struct view *live_view(const struct electorate *e, const struct peer *p)
{
    bool live = peer_life(p, e->now_ms, e->ttl_ms) == PEER_LIVE && strcmp(p->node, e->node) != 0;
    return live ? p->view : NULL;
}

void votes_routes(const struct electorate *e, const struct ballot *b, struct tally *out)
{
    memset(out, 0, servers_of(b) * sizeof *out);
    count_routes(b, e->own, out);
    for (size_t i = 0; i < peers_count(e->peers); i++) {
        const struct view *v = live_view(e, peers_at(e->peers, i));
        if (v)
            count_routes(b, v, out);
    }
}

enum votes_outcome votes_merge(struct tally t)
{
    return 2 * t.down > t.voters ? VOTES_OUT : 2 * t.up > t.voters ? VOTES_IN : VOTES_UNCHANGED;
}

void votes_claims(const struct electorate *e, const struct ballot *b, unsigned *out)
{
    memset(out, 0, servers_of(b) * sizeof *out);
    for (size_t i = 0; i < peers_count(e->peers); i++) {
        const struct view *v = live_view(e, peers_at(e->peers, i));
        struct walk w = {b, v ? view_pool_of(v, b->config->name) : NULL, 0};
        for (size_t id = 0; id < servers_of(b) && w.pool; id++)
            out[id] += statement_of(&w, id).says == SAYS_DOWN;
    }
}

/* ---- the role ---- */

/* < 0: a is preferred. */
static int prefer(const char *node_a, const struct view *a, const char *node_b,
                  const struct view *b)
{
    if (a->listen_active != b->listen_active)
        return a->listen_active ? -1 : 1;
    if (a->ready != b->ready)
        return a->ready ? -1 : 1;
    if (a->listen_active && a->accepting != b->accepting)
        return a->accepting ? -1 : 1;
    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    return strcmp(node_a, node_b);
}

/* Whether a node that accepted when it was last heard of may still do so: the reader was cut off
 * itself, so that neither its silence nor a last beat of then says anything. */
static bool may_be_active(const struct electorate *e, const struct peer *p)
{
    return e->own->role == VIEW_ALONE && e->own->listen_active && !e->own->accepting && p->view &&
           p->view->listen_active && p->view->accepting && strcmp(p->node, e->node) != 0 &&
           prefer(p->node, p->view, e->node, e->own) < 0;
}

unsigned votes_rank(const struct electorate *e)
{
    unsigned before = 0;
    bool absent = false;
    for (size_t i = 0; i < peers_count(e->peers); i++) {
        const struct peer *p = peers_at(e->peers, i);
        const struct view *v = live_view(e, p);
        before += v && prefer(p->node, v, e->node, e->own) < 0;
        absent |= may_be_active(e, p);
    }
    return before + (absent ? VOTES_ABSENT : 0);
}

static size_t blind_pools(const struct view *v)
{
    size_t n = 0;
    for (size_t i = 0; i < v->npools; i++)
        n += v->pools[i].blind;
    return n;
}

/* Whether a fit follower with this view is better than the reader. */
static bool is_better(const struct view *own, const struct view *v, bool unfit)
{
    size_t blind = blind_pools(v), own_blind = blind_pools(own);
    if (blind > own_blind)
        return false;
    if (unfit && (blind < own_blind || !own->ready))
        return true;
    if (v->listen_active != own->listen_active)
        return v->listen_active;
    return v->priority > own->priority && v->preempt;
}

const struct peer *votes_better(const struct electorate *e, const struct version *last, bool unfit)
{
    const struct peer *best = NULL;
    for (size_t i = 0; i < peers_count(e->peers); i++) {
        const struct peer *p = peers_at(e->peers, i);
        const struct view *v = live_view(e, p);
        if (v && p->fit && e->now_ms - p->fit_ms >= 2 * e->ttl_ms &&
            version_compare(&v->version, last) == 0 && is_better(e->own, v, unfit) &&
            (best == NULL || prefer(p->node, v, best->node, best->view) < 0))
            best = p;
    }
    return best;
}
