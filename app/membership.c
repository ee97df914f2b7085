#include "app/membership.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"

struct membership {
    struct net *net;
    struct lookups *lookups;
    const struct membership_ops *ops;
    void *arg;
    struct member *member; /* NULL: in no fleet */
    bool waits;            /* `joined` is still to come */
    bool leaving;
    bool listen_active; /* in force since the start */
    bool accepts;       /* membership_accepting() */
    unsigned open;      /* members that are not closed yet, and this object itself */
};

/* ---- life ---- */

static void closed_one(void *arg)
{
    struct membership *m = arg;
    assert(m->open > 0);
    if (--m->open == 0)
        free(m);
}

static void close_member(struct membership *m, struct member *which)
{
    if (which == NULL)
        return;
    m->open++;
    member_close(which, closed_one, m);
}

/* ---- what the member needs ---- */

static void on_joined(void *arg)
{
    struct membership *m = arg;
    if (!m->waits)
        return;
    m->waits = false;
    m->ops->joined(m->arg);
}

static void on_look(void *arg, size_t pool, unsigned server)
{
    const struct membership *m = arg;
    m->ops->look(m->arg, pool, server);
}

static bool is_ready(void *arg)
{
    const struct membership *m = arg;
    return m->ops->is_ready(m->arg);
}

static void on_wish(void *arg, enum fleet_wish w)
{
    const struct membership *m = arg;
    if (!m->leaving)
        m->ops->wish(m->arg, w, fleet_epoch(member_fleet(m->member)));
}

static bool open_member(struct membership *m, struct config *c, const char *resume, struct error *e)
{
    const struct member_options o = {
        .net = m->net,
        .lookups = m->lookups,
        .config = c,
        .listen_active = m->listen_active,
        .resume = resume,
        .ops = {
            .joined = on_joined, .look = on_look, .wish = on_wish, .is_ready = is_ready, .arg = m}};
    m->member = member_open(&o, e);
    return m->member != NULL;
}

struct membership *membership_new(const struct membership_options *o, struct error *e)
{
    struct membership *m = mem_zalloc(sizeof *m);
    *m = (struct membership){
        .net = o->net, .lookups = o->lookups, .ops = o->ops, .arg = o->arg, .open = 1};
    m->listen_active = o->config->cluster && o->config->cluster->listen_active;
    if (o->config->cluster == NULL || open_member(m, o->config, o->resume, e))
        return m;
    membership_close(m);
    return NULL;
}

void membership_begin(struct membership *m)
{
    member_start(m->member);
}

void membership_checked(struct membership *m, const struct snapshot *s, bool resumed)
{
    member_pools(m->member, s);
    if (m->member == NULL) {
        if (!resumed)
            m->ops->joined(m->arg);
        return;
    }
    m->waits = !resumed;
    member_checked(m->member);
}

void membership_awake(struct membership *m)
{
    member_awake(m->member);
}

/* ---- a reload ---- */

/* One that has left, and is no longer this membership's. */
struct leaver {
    struct membership *from;
    struct member *member;
};

static void on_leaver_left(void *arg)
{
    struct leaver *l = arg;
    close_member(l->from, l->member);
    closed_one(l->from);
    free(l);
}

void membership_leave_before(struct membership *m, const struct config *next)
{
    if (m->member == NULL || member_configure(m->member, next))
        return;
    struct leaver *l = mem_zalloc(sizeof *l);
    *l = (struct leaver){m, m->member};
    m->member = NULL;
    m->open++;
    log_event(LOG_INFO, "fleet left", "the configuration has another `cluster`");
    member_leave(l->member, on_leaver_left, l);
}

void membership_follow(struct membership *m, const struct snapshot *s)
{
    struct error e;
    if (m->member == NULL && s->config->cluster) {
        if (!open_member(m, s->config, NULL, &e)) {
            log_event(LOG_ERROR, "fleet not joined", e.text);
            return;
        }
        if (m->accepts)
            member_accepting(m->member, true);
        member_start(m->member);
        member_pools(m->member, s);
        member_checked(m->member);
        return;
    }
    member_pools(m->member, s);
}

void membership_accepting(struct membership *m, bool accepting)
{
    m->accepts = accepting;
    member_accepting(m->member, accepting);
}

/* ---- a stop, and a hand-over ---- */

void membership_leave(struct membership *m, void (*done)(void *arg), void *arg)
{
    assert(!m->leaving);
    m->leaving = true;
    m->waits = false;
    member_leave(m->member, done, arg);
}

char *membership_save(const struct membership *m)
{
    return member_save(m->member);
}

void membership_freeze(struct membership *m, bool frozen)
{
    member_freeze(m->member, frozen);
}

void membership_hand_over(struct membership *m)
{
    m->leaving = true;
    member_hand_over(m->member);
    close_member(m, m->member);
    m->member = NULL;
}

void membership_close(struct membership *m)
{
    if (m == NULL)
        return;
    m->leaving = true;
    m->waits = false;
    close_member(m, m->member);
    m->member = NULL;
    closed_one(m);
}

/* ---- for those who look ---- */

const struct member *membership_member(const struct membership *m)
{
    return m->member;
}
