/* What a keeper begins with, what it carries along, and the whole of what it publishes. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cluster/fleet_internal.h"

/* ---- the first state of a term ---- */

/* A keeper that was alone, or has just come, goes by what most of those here route by; where
 * neither has more than half, by what was agreed last. As to waits and ramps: its own where they
 * fit, else the agreed. */
static void merge(const struct electorate *e, const struct ballot *b, struct part *p, uint64_t now)
{
    struct standings *agreed = standings_copy(p->work);
    if (b->agreed)
        standings_adopt(agreed, b->agreed, now);
    votes_routes(e, b, p->tallies);
    for (unsigned id = 0; id < p->pool->nservers; id++) {
        enum votes_outcome v = votes_merge(p->tallies[id]);
        bool was_out = standings_is_out(agreed, id);
        bool out = v == VOTES_OUT || (v == VOTES_UNCHANGED && was_out);
        if (standings_is_out(p->work, id) == out)
            continue;
        if (was_out == out)
            standings_take(p->work, id, agreed);
        else if (out)
            standings_down(p->work, id, now);
        else
            standings_put_back(p->work, id, now);
    }
    standings_free(agreed);
}

static void begin_done(struct fleet *f)
{
    for (size_t i = 0; i < f->ndone; i++)
        free(f->done[i].result);
    free(f->done);
    f->ndone = f->state ? f->state->ndone : 0;
    f->done = mem_zalloc_array(f->ndone, sizeof *f->done);
    for (size_t i = 0; i < f->ndone; i++) {
        const struct state_done *d = &f->state->done[i];
        f->done[i].number = d->number;
        f->done[i].result = mem_strdup(d->result);
        memcpy(f->done[i].instance, d->instance, sizeof d->instance);
    }
}

static void begin_waits(struct fleet *f)
{
    for (size_t i = 0; i < f->nwaits; i++)
        free(f->waits[i].node);
    free(f->waits);
    f->nwaits = f->state ? f->state->nnodes : 0;
    f->waits = mem_zalloc_array(f->nwaits, sizeof *f->waits);
    for (size_t i = 0; i < f->nwaits; i++) {
        const struct state_node *n = &f->state->nodes[i];
        uint64_t lost = n->lost_ms < f->now_ms ? f->now_ms - n->lost_ms : 0;
        f->waits[i] = (struct wait_of){mem_strdup(n->node), n->wait_ms, lost};
    }
}

static struct wait_of *wait_of(const struct fleet *f, const char *node)
{
    for (size_t i = 0; i < f->nwaits; i++)
        if (strcmp(f->waits[i].node, node) == 0)
            return &f->waits[i];
    return NULL;
}

/* The keeper before this one has lost the role: the more often it does, the longer it waits. */
static void note_loss(struct fleet *f)
{
    char *node = f->loser;
    f->loser = NULL;
    if (!node)
        return;
    struct wait_of *w = wait_of(f, node);
    uint64_t first = 2 * f->ttl_ms;
    if (w) {
        bool again = f->now_ms - w->lost_ms <= PATIENCE_MS;
        uint64_t twice = 2 * (w->wait_ms > first ? w->wait_ms : first);
        w->wait_ms = !again ? first : twice < PATIENCE_MS ? twice : PATIENCE_MS;
        w->lost_ms = f->now_ms;
    } else {
        f->waits = mem_grow(f->waits, f->nwaits + 1, sizeof *f->waits);
        f->waits[f->nwaits++] = (struct wait_of){mem_strdup(node), first, f->now_ms};
    }
    free(node);
}

uint64_t fleet_patience(const struct fleet *f, const char *node)
{
    const struct wait_of *w = wait_of(f, node);
    return w && f->now_ms - w->lost_ms <= PATIENCE_MS ? w->wait_ms : 0;
}

void fleet_keeper_begin(struct fleet *f)
{
    free(f->loser);
    f->loser = NULL;
    if (f->holder && !f->offered && strcmp(f->holder, f->node) != 0)
        f->loser = mem_strdup(f->holder);
}

void fleet_begin_work(struct fleet *f, bool settled)
{
    struct electorate e = fleet_electorate(f);
    uint64_t now = f->ops.loop_ms(f->ops.arg);
    for (size_t i = 0; i < f->nparts; i++) {
        struct part *p = &f->parts[i];
        standings_free(p->work);
        p->work = standings_copy(roster_standings(p->roster));
        struct ballot b = fleet_ballot(f, p);
        if (settled)
            merge(&e, &b, p, now);
    }
    begin_done(f);
    begin_waits(f);
    note_loss(f);
    f->has_work = true;
    f->published_valid = false;
}

/* After a reload: by name, what is decided goes on. */
void fleet_rebuild_work(struct fleet *f, const struct part *old, size_t nold)
{
    uint64_t now = f->ops.loop_ms(f->ops.arg);
    for (size_t i = 0; i < f->nparts; i++) {
        struct part *p = &f->parts[i];
        p->work = standings_copy(roster_standings(p->roster));
        for (size_t k = 0; k < nold; k++) {
            if (!old[k].work || strcmp(old[k].pool->config->name, p->pool->config->name) != 0)
                continue;
            struct agreed_pool a;
            struct standings *follows = p->work;
            standings_export(old[k].work, &a, now);
            standings_adopt(follows, &a, now);
            standings_export_free(&a);
            p->work = standings_copy(follows); /* which decides again */
            standings_free(follows);
        }
    }
}

/* ---- requests of operators ---- */

static struct done_of *done_of(struct fleet *f, const char *instance)
{
    for (size_t i = 0; i < f->ndone; i++)
        if (strcmp(f->done[i].instance, instance) == 0)
            return &f->done[i];
    f->done = mem_grow(f->done, f->ndone + 1, sizeof *f->done);
    struct done_of *d = &f->done[f->ndone++];
    *d = (struct done_of){.result = mem_strdup("ok")};
    memcpy(d->instance, instance, strlen(instance) + 1);
    return d;
}

static const char *carry_out(struct fleet *f, const struct view_ask *a, uint64_t loop)
{
    for (size_t i = 0; i < f->nparts; i++) {
        struct part *p = &f->parts[i];
        if (strcmp(p->pool->config->name, a->pool) != 0)
            continue;
        const struct pool_member *m = pool_find_name(p->pool, a->server);
        if (!m)
            return DONE_UNKNOWN;
        p->decided[m->id] = false;
        if (a->verb == VIEW_DRAIN)
            standings_drain(p->work, m->id, a->made_ms, loop);
        else if (a->verb == VIEW_ENABLE)
            standings_enable(p->work, m->id, a->made_ms, loop);
        else if (!standings_failback(p->work, m->id, a->made_ms, loop))
            return DONE_DOWN;
        return DONE_OK;
    }
    return DONE_UNKNOWN;
}

/* Each once. Behind one that is refused the others wait for the next publication, as a member is
 * told the result of the last one. */
static void carry_out_all(struct fleet *f, const struct view *v, uint64_t loop)
{
    const struct done_of *found = NULL;
    for (size_t i = 0; i < f->ndone && !found; i++)
        if (strcmp(f->done[i].instance, v->id) == 0)
            found = &f->done[i];
    uint64_t last = found ? found->number : 0;
    for (size_t i = 0; i < v->nasks; i++) {
        if (v->asks[i].number <= last)
            continue;
        struct done_of *d = done_of(f, v->id);
        const char *result = carry_out(f, &v->asks[i], loop);
        free(d->result);
        d->result = mem_strdup(result);
        d->number = v->asks[i].number;
        f->dirty = true;
        if (strcmp(result, DONE_OK) != 0)
            return;
    }
}

void fleet_carry_out(struct fleet *f, uint64_t loop)
{
    carry_out_all(f, &f->own, loop);
    for (size_t i = 0; i < peers_count(f->peers); i++) {
        const struct peer *p = peers_at(f->peers, i);
        if (p->view && peer_life(p, f->now_ms, f->ttl_ms) == PEER_LIVE)
            carry_out_all(f, p->view, loop);
    }
}

/* Whether an instance may still ask. */
static bool may_ask(const struct fleet *f, const char *instance)
{
    if (strcmp(instance, f->instance) == 0 ||
        f->now_ms - f->keeper_since_ms < PEERS_SILENT * f->ttl_ms)
        return true;
    for (size_t i = 0; i < peers_count(f->peers); i++)
        if (strcmp(peers_at(f->peers, i)->instance, instance) == 0)
            return true;
    return false;
}

static void prune_done(struct fleet *f)
{
    size_t kept = 0;
    for (size_t i = 0; i < f->ndone; i++) {
        if (may_ask(f, f->done[i].instance) && kept < STATE_MAX_DONE)
            f->done[kept++] = f->done[i];
        else
            free(f->done[i].result);
    }
    f->ndone = kept;
}

/* ---- what this keeper does not know ---- */

static const struct part *part_of(const struct fleet *f, const char *pool)
{
    for (size_t i = 0; i < f->nparts; i++)
        if (strcmp(f->parts[i].pool->config->name, pool) == 0)
            return &f->parts[i];
    return NULL;
}

static bool is_known(const struct fleet *f, const char *pool, const char *server)
{
    const struct part *p = part_of(f, pool);
    return p && pool_find_name(p->pool, server);
}

static bool is_listed(const struct fleet *f, const struct agreed_pool *a, const char *server)
{
    for (size_t i = 0; i < peers_count(f->peers); i++) {
        const struct peer *p = peers_at(f->peers, i);
        if (!p->view || peer_life(p, f->now_ms, f->ttl_ms) != PEER_LIVE)
            continue;
        const struct view_pool *vp = view_pool_of(p->view, a->name);
        if (vp &&
            ((!vp->named && strcmp(vp->digest, a->digest) == 0) || view_server_of(vp, server)))
            return true;
    }
    return false;
}

/* key: the names of a pool and a server. */
static int carried_cmp(const void *key, const void *carried)
{
    const char *const *names = key;
    const struct carried *c = carried;
    int pools = strcmp(names[0], c->pool);
    return pools != 0 ? pools : strcmp(names[1], c->server);
}

static void carried_drop(struct carried *c)
{
    free(c->pool);
    free(c->server);
}

static void carried_drop_all(struct fleet *f)
{
    for (size_t i = 0; i < f->ncarried; i++)
        carried_drop(&f->carried[i]);
    f->ncarried = 0;
}

/* The next one of the last publication. *at: in f->carried, which has the same order. */
static struct carried carry(struct fleet *f, size_t *at, const struct agreed_pool *a,
                            const struct agreed_server *s)
{
    const char *const names[] = {a->name, s->name};
    struct carried c = {mem_strdup(a->name), mem_strdup(s->name), f->now_ms, false};
    int order = -1;
    while (*at < f->ncarried && (order = carried_cmp(names, &f->carried[*at])) > 0)
        carried_drop(&f->carried[(*at)++]);
    if (*at < f->ncarried && order == 0) {
        c.listed_ms = f->carried[*at].listed_ms;
        carried_drop(&f->carried[(*at)++]);
    }
    if (is_listed(f, a, s->name))
        c.listed_ms = f->now_ms;
    c.gone = f->now_ms - c.listed_ms > PEERS_SILENT * f->ttl_ms;
    f->dirty |= c.gone;
    return c;
}

/* Entries of the last publication that are not of this configuration stay in the next one, until
 * no live view has listed them for long. */
void fleet_carry_along(struct fleet *f)
{
    size_t most = 0, n = 0, at = 0;
    for (size_t i = 0; f->state && i < f->state->npools; i++)
        most += f->state->pools[i].nservers;
    struct carried *fresh = mem_zalloc_array(most, sizeof *fresh);
    for (size_t i = 0; f->state && i < f->state->npools; i++) {
        const struct agreed_pool *a = &f->state->pools[i];
        for (size_t k = 0; k < a->nservers; k++)
            if (!is_known(f, a->name, a->servers[k].name))
                fresh[n++] = carry(f, &at, a, &a->servers[k]);
    }
    while (at < f->ncarried)
        carried_drop(&f->carried[at++]);
    free(f->carried);
    f->carried = fresh;
    f->ncarried = n;
}

void fleet_base_drop(struct fleet *f)
{
    carried_drop_all(f);
    free(f->carried);
    for (size_t i = 0; i < f->ndone; i++)
        free(f->done[i].result);
    free(f->done);
    for (size_t i = 0; i < f->nwaits; i++)
        free(f->waits[i].node);
    free(f->waits);
    free(f->loser);
}

/* ---- the whole ---- */

/* In its pool's order, after fleet_carry_along(). Nobody decides on it here, so that it stays as it
 * was decided last, as far as time alone does not change it. */
static size_t add_carried(struct fleet *f, const struct agreed_pool *a, struct agreed_server *out)
{
    size_t n = 0;
    uint64_t ago_ms = f->now_ms - f->applied_ms;
    for (size_t i = 0; i < a->nservers; i++) {
        struct agreed_server s = a->servers[i];
        const char *const names[] = {a->name, s.name};
        const struct carried *c =
            f->ncarried ? bsearch(names, f->carried, f->ncarried, sizeof *c, carried_cmp) : NULL;
        if (!c || c->gone)
            continue;
        if (s.phase == AGREED_RAMP)
            s.phase = AGREED_UP;
        s.from = NULL;
        s.left_ms = s.left_ms > ago_ms ? s.left_ms - ago_ms : 0;
        s.back_ms += ago_ms;
        s.carried = true;
        out[n++] = s;
    }
    return n;
}

static void add_part(struct fleet *f, const struct part *p, struct agreed_pool *out, uint64_t loop)
{
    const struct agreed_pool *before =
        f->state ? state_pool(f->state, p->pool->config->name) : NULL;
    struct agreed_pool a;
    standings_export(p->work, &a, loop);
    size_t n = a.nservers + (before ? before->nservers : 0);
    *out = (struct agreed_pool){.name = p->pool->config->name,
                                .digest = p->digest,
                                .servers = mem_zalloc_array(n, sizeof *out->servers),
                                .nservers = a.nservers};
    for (size_t i = 0; i < a.nservers; i++)
        out->servers[i] = a.servers[i];
    standings_export_free(&a);
    if (before)
        out->nservers += add_carried(f, before, out->servers + out->nservers);
}

static void add_pools(struct fleet *f, struct state *s, uint64_t loop)
{
    size_t foreign = f->state ? f->state->npools : 0;
    s->pools = mem_zalloc_array(f->nparts + foreign, sizeof *s->pools);
    for (size_t i = 0; i < f->nparts; i++)
        add_part(f, &f->parts[i], &s->pools[s->npools++], loop);
    for (size_t i = 0; i < foreign; i++) {
        const struct agreed_pool *a = &f->state->pools[i];
        if (part_of(f, a->name))
            continue;
        struct agreed_pool *p = &s->pools[s->npools];
        *p = *a;
        p->servers = mem_zalloc_array(a->nservers, sizeof *p->servers);
        p->nservers = add_carried(f, a, p->servers);
        if (p->nservers > 0)
            s->npools++;
        else
            free(p->servers);
    }
}

static void add_rest(struct fleet *f, struct state *s)
{
    prune_done(f);
    s->done = mem_zalloc_array(f->ndone, sizeof *s->done);
    for (size_t i = 0; i < f->ndone; i++) {
        struct state_done *d = &s->done[s->ndone++];
        d->number = f->done[i].number;
        d->result = f->done[i].result;
        memcpy(d->instance, f->done[i].instance, sizeof d->instance);
    }
    s->nodes = mem_zalloc_array(f->nwaits, sizeof *s->nodes);
    for (size_t i = 0; i < f->nwaits; i++) {
        const struct wait_of *w = &f->waits[i];
        if (f->now_ms - w->lost_ms <= PATIENCE_MS)
            s->nodes[s->nnodes++] =
                (struct state_node){w->node, w->wait_ms, f->now_ms - w->lost_ms};
    }
}

static char *assemble(struct fleet *f, size_t *len, struct error *e)
{
    struct state s = {0};
    add_pools(f, &s, f->ops.loop_ms(f->ops.arg));
    add_rest(f, &s);
    char *text = state_encode(&s, f->state, len, e);
    for (size_t i = 0; i < s.npools; i++)
        free(s.pools[i].servers);
    free(s.pools);
    free(s.done);
    free(s.nodes);
    return text;
}

char *fleet_assemble(struct fleet *f, size_t *len, struct error *e)
{
    fleet_carry_along(f);
    char *text = assemble(f, len, e);
    if (text || f->ncarried == 0)
        return text;
    carried_drop_all(f); /* what is not this fleet's affair is not to be in its way */
    return assemble(f, len, e);
}
