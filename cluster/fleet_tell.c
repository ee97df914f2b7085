/* What is shown. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cluster/fleet_internal.h"

void fleet_tell(struct fleet *f, const struct fleet_notice *n)
{
    if (f->ops.tell)
        f->ops.tell(f->ops.arg, n);
}

static void add_excepted(struct fleet_status_member *m, const struct view *v)
{
    size_t n = 0;
    for (size_t i = 0; i < v->npools; i++)
        for (size_t k = 0; k < v->pools[i].nservers; k++)
            n += v->pools[i].servers[k].except;
    m->except = mem_zalloc_array(n, sizeof *m->except);
    for (size_t i = 0; i < v->npools; i++)
        for (size_t k = 0; k < v->pools[i].nservers; k++)
            if (v->pools[i].servers[k].except)
                m->except[m->nexcept++] =
                    (struct fleet_status_server){v->pools[i].name, v->pools[i].servers[k].name};
}

static void add_view(struct fleet_status_member *m, const struct view *v)
{
    m->heard = true;
    m->role = view_role_word(v->role);
    m->epoch = v->version.epoch;
    m->seq = v->version.seq;
    m->listen_active = v->listen_active;
    m->accepting = v->accepting;
    m->ready = v->ready;
    m->priority = v->priority;
    add_excepted(m, v);
}

static void add_peer(const struct fleet *f, struct fleet_status_member *m, const struct peer *p)
{
    const struct note *n = fleet_note(f, p->node);
    *m = (struct fleet_status_member){
        .node = p->node,
        .silent = peer_life(p, f->now_ms, f->ttl_ms) != PEER_LIVE,
        .role = "",
        .seen_ms = f->now_ms - p->heard_ms,
    };
    if (p->view)
        add_view(m, p->view);
    m->ndiffers = n ? n->ndiffers : 0;
    m->differs = mem_zalloc_array(m->ndiffers, sizeof *m->differs);
    for (size_t i = 0; i < m->ndiffers; i++)
        m->differs[i] = n->differs[i];
}

static void add_self(struct fleet *f, struct fleet_status_member *m)
{
    fleet_electorate(f);
    *m = (struct fleet_status_member){.node = f->node, .self = true};
    add_view(m, &f->own);
}

static void add_members(struct fleet *f, struct fleet_status *s)
{
    size_t n = peers_count(f->peers);
    s->members = mem_zalloc_array(n + 1, sizeof *s->members);
    bool self = false;
    for (size_t i = 0; i <= n; i++) {
        const struct peer *p = i < n ? peers_at(f->peers, i) : NULL;
        if (!self && (!p || strcmp(f->node, p->node) < 0)) {
            add_self(f, &s->members[s->nmembers++]);
            self = true;
        }
        if (p)
            add_peer(f, &s->members[s->nmembers++], p);
    }
    for (size_t i = 0; i < s->nmembers; i++)
        s->nlive += !s->members[i].silent;
}

void fleet_status(struct fleet *f, struct fleet_status *s)
{
    f->now_ms = f->ops.boot_ms(f->ops.arg);
    bool known = f->role == FLEET_KEEPER || (f->holder && !f->lock_is_free && f->reached);
    *s = (struct fleet_status){
        .name = f->name,
        .node = f->node,
        .reached = f->reached,
        .role = f->role,
        .settling = f->role == FLEET_KEEPER && f->apart,
        .since_ms = f->now_ms - f->role_since_ms,
        .keeper = !known                    ? NULL
                  : f->role == FLEET_KEEPER ? f->node
                                            : f->holder,
        .version = f->version,
        .agreed = !f->apart && !f->unapplied,
        .age_ms = f->applied_ms > 0 ? f->now_ms - f->applied_ms : 0,
        .active = f->active,
        .node_twice = f->twice > 1 && f->now_ms - f->twice_ms < PEERS_SILENT * f->ttl_ms,
        .publications = f->publications,
        .restored = f->restored,
        .stalls = f->stalls,
        .locks_lost = f->locks_lost,
        .refused_state = f->refused_state,
        .refused_view = f->refused_view,
        .refused_answer = f->refused_answer,
    };
    add_members(f, s);
}

void fleet_status_deinit(struct fleet_status *s)
{
    for (size_t i = 0; i < s->nmembers; i++) {
        free(s->members[i].differs);
        free(s->members[i].except);
    }
    free(s->members);
    *s = (struct fleet_status){0};
}

bool fleet_votes(const struct fleet *f, unsigned pool, unsigned server, struct fleet_votes *v)
{
    if (f->role != FLEET_KEEPER || !f->has_work || pool >= f->nparts)
        return false;
    const struct part *p = &f->parts[pool];
    const struct tally *t = &p->tallies[server];
    *v = (struct fleet_votes){.down = t->down,
                              .up = t->up,
                              .voters = t->voters,
                              .down_by_all = p->pool->config->agree == AGREE_ALL};
    return true;
}
