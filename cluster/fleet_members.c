/* What is known of the other members, and the view that they get of this one. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cluster/fleet_internal.h"

/* ---- what this member sees ---- */

static enum view_vote vote_of(const struct roster *r, unsigned id)
{
    enum roster_vote v = roster_vote(r, id);
    return v == ROSTER_VOTE_UP ? VIEW_UP : v == ROSTER_VOTE_DOWN ? VIEW_DOWN : VIEW_UNSURE;
}

static void own_drop(struct fleet *f)
{
    free(f->own.pools);
    free(f->own.asks);
    free(f->own_servers);
    f->own = (struct view){0};
    f->own_servers = NULL;
}

static void look_at_pools(struct fleet *f)
{
    size_t total = 0;
    for (size_t i = 0; i < f->nparts; i++)
        total += f->parts[i].pool->nservers;
    struct view_server *s = f->own_servers = mem_zalloc_array(total, sizeof *s);
    f->own.pools = mem_zalloc_array(f->nparts, sizeof *f->own.pools);
    f->own.npools = f->nparts;
    for (size_t i = 0; i < f->nparts; i++) {
        const struct part *p = &f->parts[i];
        f->own.pools[i] = (struct view_pool){.name = p->pool->config->name,
                                             .digest = p->digest,
                                             .named = true,
                                             .blind = roster_blind(p->roster),
                                             .servers = s,
                                             .nservers = p->pool->nservers};
        for (unsigned id = 0; id < p->pool->nservers; id++)
            *s++ = (struct view_server){.name = p->pool->members[id].server->name,
                                        .vote = vote_of(p->roster, id),
                                        .out = roster_is_out(p->roster, id),
                                        .except = roster_is_excepted(p->roster, id)};
    }
}

static void look_around(struct fleet *f)
{
    own_drop(f);
    struct view *v = &f->own;
    memcpy(v->id, f->instance, sizeof v->id);
    if (!f->unapplied)
        v->version = f->version;
    v->role = f->role == FLEET_KEEPER ? VIEW_KEEPER : f->apart ? VIEW_ALONE : VIEW_FOLLOWER;
    v->listen_active = f->listen_active;
    v->accepting = f->accepting;
    v->priority = f->priority;
    v->preempt = f->preempt;
    v->ready = f->checked && (!f->ops.is_ready || f->ops.is_ready(f->ops.arg));
    look_at_pools(f);
    v->asks = mem_zalloc_array(f->nasks, sizeof *v->asks);
    v->nasks = f->nasks;
    for (size_t i = 0; i < f->nasks; i++)
        v->asks[i] = (struct view_ask){.number = f->asks[i].number,
                                       .pool = f->asks[i].pool,
                                       .server = f->asks[i].server,
                                       .verb = (enum view_verb)f->asks[i].verb,
                                       .made_ms = f->asks[i].made_ms};
    view_sort(v);
}

struct electorate fleet_electorate(struct fleet *f)
{
    look_around(f);
    return (struct electorate){.peers = f->peers,
                               .node = f->node,
                               .own = &f->own,
                               .now_ms = f->now_ms,
                               .ttl_ms = f->ttl_ms};
}

struct ballot fleet_ballot(const struct fleet *f, const struct part *p)
{
    const struct config_pool *c = p->pool->config;
    return (struct ballot){.config = c,
                           .digest = p->digest,
                           .agreed = f->state ? state_pool(f->state, c->name) : NULL};
}

/* ---- the view that is sent ---- */

/* Whether it says newly that a server is down. */
static bool claims_more(struct fleet *f)
{
    bool more = false;
    for (size_t i = 0; i < f->nparts; i++) {
        struct part *p = &f->parts[i];
        for (unsigned id = 0; id < p->pool->nservers; id++) {
            p->saying[id] = roster_vote(p->roster, id) == ROSTER_VOTE_DOWN;
            more |= p->saying[id] && !p->told[id];
        }
    }
    return more;
}

/* The view without what changes in consequence of publications alone. */
static char *news_of(struct fleet *f)
{
    size_t len;
    struct error e;
    f->own.version = (struct version){0};
    for (size_t i = 0; i < f->own.npools; i++)
        for (size_t k = 0; k < f->own.pools[i].nservers; k++)
            f->own.pools[i].servers[k].out = false;
    return view_encode(&f->own, &len, &e);
}

/* Publications come one after another, as in a ramp: what has been applied of them is told with the
 * next other change, or when there was none for a while. Nobody needs it before. */
static bool is_busy(const struct fleet *f)
{
    return f->sent && !f->apart && !f->unapplied && f->said.epoch == f->version.epoch &&
           strcmp(f->said.by, f->version.by) == 0 && f->now_ms - f->applied_ms < f->ttl_ms;
}

/* Fills in what of a sync is about the view. */
void fleet_say(struct fleet *f, struct call *c, struct store_sync *r)
{
    struct error e = {0};
    size_t len;
    look_around(f);
    view_leave_names(&f->own, f->unapplied ? NULL : f->state);
    struct version is = f->own.version;
    if (is_busy(f))
        f->own.version = f->said;
    char *text = view_encode(&f->own, &len, &e);
    if (text && f->sent && strcmp(f->sent, text) != 0 &&
        version_compare(&is, &f->own.version) != 0) {
        f->own.version = is;
        free(text);
        text = view_encode(&f->own, &len, &e);
    }
    if (!text) {
        if (!f->told_own_view)
            fleet_tell(f, &(struct fleet_notice){.event = FLEET_REFUSED_VALUE,
                                                 .what = "view",
                                                 .node = f->node,
                                                 .reason = e.text});
        f->told_own_view = true;
        return;
    }
    if (f->sent && strcmp(f->sent, text) == 0) {
        free(text);
        return;
    }
    c->text = text;
    c->len = len;
    c->version = f->own.version;
    c->news = news_of(f);
    r->view = (struct str){text, len};
    bool claim = claims_more(f);
    r->tells = !f->news || !c->news || strcmp(f->news, c->news) != 0;
    r->kind = claim ? HINT_CLAIM : HINT_VIEW;
}

/* It was answered. */
void fleet_said(struct fleet *f)
{
    for (size_t i = 0; i < f->nparts; i++)
        memcpy(f->parts[i].told, f->parts[i].saying,
               f->parts[i].pool->nservers * sizeof *f->parts[i].told);
}

/* ---- what the others say ---- */

/* Another member newly says that a server is down which this one sees up: it looks at once. */
static void confirm(struct fleet *f, const struct view *old, const struct view *v)
{
    for (unsigned i = 0; i < f->nparts; i++) {
        struct part *p = &f->parts[i];
        const char *name = p->pool->config->name;
        const struct view_pool *said = old ? view_pool_of(old, name) : NULL;
        const struct view_pool *says = view_pool_of(v, name);
        for (size_t k = 0; says && k < says->nservers; k++) {
            const struct view_server *s = &says->servers[k];
            const struct view_server *was =
                s->vote == VIEW_DOWN && said ? view_server_of(said, s->name) : NULL;
            if (s->vote != VIEW_DOWN || (was && was->vote == VIEW_DOWN))
                continue;
            const struct pool_member *m = pool_find_name(p->pool, s->name);
            if (m && roster_vote(p->roster, m->id) == ROSTER_VOTE_UP && f->ops.look)
                f->ops.look(f->ops.arg, i, m->id);
        }
    }
}

/* Another process writes under this one's node. The last words of a process before this one may
 * come late, once. */
static void own_node(struct fleet *f, const char *instance)
{
    if (strcmp(instance, f->instance) == 0)
        return;
    f->twice = f->now_ms - f->twice_ms < PEERS_SILENT * f->ttl_ms ? f->twice + 1 : 1;
    f->twice_ms = f->now_ms;
    if (f->twice == 2)
        fleet_tell(f, &(struct fleet_notice){
                          .event = FLEET_NODE_TWICE, .node = f->node, .instance = instance});
}

static uint64_t mix(uint64_t h, const char *text)
{
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3); /* FNV-1a */
    return (h ^ 0xff) * UINT64_C(0x100000001b3);
}

/* What stays in the store comes again and again: it is counted once. */
static bool is_news(struct fleet *f, const char *node, const char *reason)
{
    uint64_t h = mix(mix(UINT64_C(0xcbf29ce484222325), node), reason);
    for (size_t i = 0; i < sizeof f->refused_views / sizeof *f->refused_views; i++)
        if (f->refused_views[i].hash == h) {
            bool lately = f->now_ms - f->refused_views[i].ms <= PATIENCE_MS;
            f->refused_views[i].ms = f->now_ms;
            return !lately;
        }
    size_t at = f->refused_at++ % (sizeof f->refused_views / sizeof *f->refused_views);
    f->refused_views[at].hash = h;
    f->refused_views[at].ms = f->now_ms;
    return true;
}

static void refused_view(struct fleet *f, const char *node, const char *reason)
{
    if (!is_news(f, node, reason))
        return;
    f->refused_view++;
    if (f->refused_view > 1 && f->now_ms - f->view_told_ms < QUIET_MS)
        return;
    f->view_told_ms = f->now_ms;
    fleet_tell(f,
               &(struct fleet_notice){
                   .event = FLEET_REFUSED_VALUE, .what = "view", .node = node, .reason = reason});
}

static void take_view(struct fleet *f, const struct store_view *given)
{
    struct error e = {0};
    if (strcmp(given->node, f->node) == 0)
        return;
    struct view *v = view_decode(given->text, &e);
    if (!v)
        refused_view(f, given->node, e.text);
    const struct peer *p = peers_find(f->peers, given->node);
    if (v && p)
        confirm(f, p->view, v);
    peers_view(f->peers, given->node, v, f->now_ms);
}

void fleet_claims(struct fleet *f)
{
    struct electorate e = fleet_electorate(f);
    for (size_t i = 0; i < f->nparts; i++) {
        struct part *p = &f->parts[i];
        struct ballot b = fleet_ballot(f, p);
        unsigned *counts = mem_zalloc_array(p->pool->nservers, sizeof *counts);
        votes_claims(&e, &b, counts);
        for (unsigned id = 0; id < p->pool->nservers; id++) {
            bool claimed = counts[id] > 0;
            if (claimed != p->claimed[id])
                roster_claim(p->roster, id, claimed);
            p->claimed[id] = claimed;
        }
        free(counts);
    }
}

/* ---- notes: what was told of each ---- */

static void note_drop(struct note *n)
{
    for (size_t i = 0; i < n->ndiffers; i++)
        free(n->differs[i]);
    free(n->differs);
    free(n->node);
}

static bool has(char *const *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], name) == 0)
            return true;
    return false;
}

static void tell_differs(struct fleet *f, enum fleet_event event, const struct note *n,
                         const char *pool)
{
    fleet_tell(f, &(struct fleet_notice){.event = event, .node = n->node, .pool = pool});
}

/* Which pools a member has configured in another way than this one has. */
static void compare_digests(struct fleet *f, struct note *n, const struct view *v)
{
    char **differs = mem_zalloc_array(f->nparts, sizeof *differs);
    size_t count = 0;
    for (size_t i = 0; i < f->nparts; i++) {
        const char *name = f->parts[i].pool->config->name;
        const struct view_pool *vp = v ? view_pool_of(v, name) : NULL;
        if (vp && strcmp(vp->digest, f->parts[i].digest) != 0)
            differs[count++] = mem_strdup(name);
    }
    for (size_t i = 0; i < count; i++)
        if (!has(n->differs, n->ndiffers, differs[i]))
            tell_differs(f, FLEET_DIFFERS, n, differs[i]);
    for (size_t i = 0; i < n->ndiffers; i++) {
        if (!has(differs, count, n->differs[i]))
            tell_differs(f, FLEET_DIFFERS_ENDED, n, n->differs[i]);
        free(n->differs[i]);
    }
    free(n->differs);
    n->differs = differs;
    n->ndiffers = count;
}

/* Two processes of one node take turns in being its newest instance. */
static bool is_too_often(const struct fleet *f, struct note *n, enum fleet_event event)
{
    if (event != FLEET_MEMBER_NEW)
        return false;
    if (n->new_ms && f->now_ms - n->new_ms < QUIET_MS)
        return true;
    n->new_ms = f->now_ms;
    return false;
}

static void tell_life(struct fleet *f, struct note *n, const struct peer *p, bool known)
{
    bool same = known && strcmp(n->instance, p->instance) == 0;
    enum peer_life life = peer_life(p, f->now_ms, f->ttl_ms);
    if (same && life == n->life)
        return;
    f->recount = f->recount_claims = true;
    enum fleet_event event = life == PEER_LIVE     ? FLEET_MEMBER_NEW
                             : life == PEER_SILENT ? FLEET_MEMBER_SILENT
                                                   : FLEET_MEMBER_GONE;
    uint64_t silent_ms = PEERS_SILENT * f->ttl_ms;
    if (!is_too_often(f, n, event))
        fleet_tell(f, &(struct fleet_notice){.event = event,
                                             .node = p->node,
                                             .instance = p->instance,
                                             .ms = life == PEER_SILENT ? silent_ms : 0});
}

/* One that had the role may have announced its address until now, however long it was not heard of:
 * it was cut off from the store, or killed and has started again. */
static void compare_roles(struct fleet *f, struct note *n, const struct view *v)
{
    bool accepts = v->listen_active && v->accepting;
    f->announce |= n->accepts && !accepts;
    n->accepts = accepts;
}

static void update_note(struct fleet *f, struct note *n, const struct peer *p, bool known)
{
    if (!known)
        n->node = mem_strdup(p->node);
    tell_life(f, n, p, known);
    n->life = peer_life(p, f->now_ms, f->ttl_ms);
    bool same = known && n->c == p->c && strcmp(n->instance, p->instance) == 0 &&
                n->heard == (p->view != NULL);
    memcpy(n->instance, p->instance, sizeof n->instance);
    n->c = p->c;
    n->heard = p->view != NULL;
    if (p->view)
        compare_roles(f, n, p->view);
    if (!same || f->compare_all)
        compare_digests(f, n, p->view);
}

/* Peers and notes both ascend by node. */
static void update_notes(struct fleet *f)
{
    size_t n = peers_count(f->peers), at = 0;
    struct note *fresh = mem_zalloc_array(n, sizeof *fresh);
    for (size_t i = 0; i < n; i++) {
        const struct peer *p = peers_at(f->peers, i);
        int order = -1;
        while (at < f->nnotes && (order = strcmp(f->notes[at].node, p->node)) < 0)
            note_drop(&f->notes[at++]);
        bool known = at < f->nnotes && order == 0;
        if (known)
            fresh[i] = f->notes[at++];
        update_note(f, &fresh[i], p, known);
    }
    while (at < f->nnotes)
        note_drop(&f->notes[at++]);
    free(f->notes);
    f->notes = fresh;
    f->nnotes = n;
    f->compare_all = false;
}

const struct note *fleet_note(const struct fleet *f, const char *node)
{
    for (size_t i = 0; i < f->nnotes; i++)
        if (strcmp(f->notes[i].node, node) == 0)
            return &f->notes[i];
    return NULL;
}

void fleet_digests(struct fleet *f)
{
    f->compare_all = f->recount_claims = true;
    update_notes(f);
}

void fleet_observe(struct fleet *f, const struct store_synced *a)
{
    peers_begin(f->peers);
    for (size_t i = 0; i < a->nbeats; i++) {
        const struct store_beat *b = &a->beats[i];
        if (strcmp(b->node, f->node) == 0)
            own_node(f, b->instance);
        else if (!peers_beat(f->peers, b->node, b->instance, b->n, b->c, f->now_ms))
            refused_view(f, b->node, "no such beat, or too many nodes");
    }
    for (size_t i = 0; i < a->nviews; i++)
        take_view(f, &a->views[i]);
    peers_end(f->peers, f->now_ms, f->ttl_ms);
    if (a->nviews > 0)
        f->recount = f->recount_claims = true;
    update_notes(f);
    if (f->recount_claims)
        fleet_claims(f);
    f->recount_claims = false;
}

/* ---- nodes that are gone ---- */

static void on_forgotten(void *arg, const bool *yes)
{
    fleet_call_end(arg);
}

void fleet_forget(struct fleet *f)
{
    const char *nodes[16];
    size_t n = 0;
    if (f->role != FLEET_KEEPER || f->frozen)
        return;
    for (size_t i = 0; i < peers_count(f->peers) && n < 16; i++) {
        const struct peer *p = peers_at(f->peers, i);
        if (p->listed && peer_life(p, f->now_ms, f->ttl_ms) == PEER_GONE)
            nodes[n++] = p->node;
    }
    if (n > 0)
        f->store->ops->forget(f->store, f->lock.value, nodes, n, on_forgotten, fleet_call(f));
}

void fleet_members_drop(struct fleet *f)
{
    for (size_t i = 0; i < f->nnotes; i++)
        note_drop(&f->notes[i]);
    free(f->notes);
    own_drop(f);
}
