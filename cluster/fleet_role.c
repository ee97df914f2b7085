/* Who routes by what: publications, the lock, being alone; and active or standby. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cluster/fleet_internal.h"

const char *fleet_role_name(enum fleet_role r)
{
    return r == FLEET_KEEPER ? "keeper" : r == FLEET_FOLLOWER ? "follower" : "alone";
}

static void become(struct fleet *f, enum fleet_role role)
{
    if (f->role != role) {
        f->role = role;
        f->role_since_ms = f->now_ms;
    }
    f->recount = f->wanted = true;
}

/* ---- publications ---- */

/* A server that the keeper does not know is decided here, from what is published of it on; but what
 * was decided here since stays. */
static void agree(struct fleet *f, struct part *p, const struct agreed_pool *a, uint64_t now)
{
    struct agreed_pool known = *a;
    known.servers = mem_zalloc_array(a->nservers, sizeof *known.servers);
    known.nservers = 0;
    for (size_t i = 0; i < a->nservers; i++)
        if (!a->servers[i].carried)
            known.servers[known.nservers++] = a->servers[i];
    if (f->apart && !roster_agreed(p->roster) && known.nservers < a->nservers)
        roster_agree(p->roster, a, now);
    roster_agree(p->roster, &known, now);
    free(known.servers);
}

/* Everything is by name: a server that the publication does not list is decided here, and so is a
 * pool. */
void fleet_spread(struct fleet *f)
{
    uint64_t now = f->ops.loop_ms(f->ops.arg);
    for (size_t i = 0; i < f->nparts; i++) {
        struct part *p = &f->parts[i];
        const struct agreed_pool *a = state_pool(f->state, p->pool->config->name);
        if (a) {
            agree(f, p, a, now);
            pool_set_agreed(p->pool, f->version.epoch, f->version.seq);
        } else {
            roster_part(p->roster, now);
        }
    }
}

void fleet_apply(struct fleet *f)
{
    bool own = strcmp(f->version.by, f->instance) == 0;
    f->unapplied = false;
    f->applied_ms = f->now_ms;
    if (f->role == FLEET_KEEPER && !own)
        fleet_keeper_reset(f); /* somebody has published before: that is the base */
    if (f->apart) {
        f->apart = false;
        f->followed_ms = f->now_ms;
        fleet_requests_hold(f);
    }
    fleet_spread(f);
    if (!own)
        fleet_tell(f, &(struct fleet_notice){.event = FLEET_APPLIED, .version = f->version});
    if (f->role == FLEET_ALONE) {
        become(f, FLEET_FOLLOWER);
        fleet_tell(f, &(struct fleet_notice){.event = FLEET_BECOMES_FOLLOWER,
                                             .node = f->holder,
                                             .version = f->version});
    }
    fleet_requests_done(f);
    f->recount = f->wanted = true;
}

/* Takes over body, which was malloc()ed, and the state decoded from it. */
void fleet_adopt(struct fleet *f, const struct version *v, char *body, size_t len, struct state *s)
{
    state_free(f->state);
    free(f->body);
    f->version = *v;
    f->state = s;
    f->body = body;
    f->body_len = len;
    if (f->checked)
        fleet_apply(f);
    else
        f->unapplied = true;
}

void fleet_take(struct fleet *f, const struct version *v, struct str body)
{
    struct error e = {0};
    struct state *s = NULL;
    if (v->epoch > NUMBER_MAX || v->seq > NUMBER_MAX)
        error_set(&e, 0, "a number is too large");
    else
        s = state_decode(body, &e);
    if (s) {
        fleet_adopt(f, v, mem_strndup(body.p, body.n), body.n, s);
        return;
    }
    if (version_compare(v, &f->refused) == 0)
        return;
    f->refused = *v;
    f->refused_state++;
    fleet_tell(f,
               &(struct fleet_notice){
                   .event = FLEET_REFUSED_VALUE, .what = "state", .version = *v, .reason = e.text});
    /* Who starts has nothing to follow now. The keeper publishes anew; as that is older, it loses
     * the lock and takes it again, with an epoch above what nobody can read. */
    if (f->role == FLEET_KEEPER)
        f->published_valid = false;
}

static void on_restored(void *arg, const bool *yes)
{
    struct call *c = arg;
    struct fleet *f = c->fleet;
    fleet_enter(f);
    if (yes && *yes) {
        f->restored++;
        fleet_tell(f, &(struct fleet_notice){.event = FLEET_RESTORED, .version = c->version});
    }
    fleet_call_end(c);
    fleet_finish(f);
}

/* Anyone may: a version has one content. */
void fleet_restore(struct fleet *f)
{
    struct call *c = fleet_call(f);
    c->version = f->version;
    struct store_publish r = {.version = f->version, .body = {f->body, f->body_len}};
    f->store->ops->restore(f->store, &r, on_restored, c);
}

/* ---- alone ---- */

/* The decisions go on from the last agreed ones. */
void fleet_part(struct fleet *f)
{
    uint64_t now = f->ops.loop_ms(f->ops.arg);
    f->apart = true;
    for (size_t i = 0; i < f->nparts; i++)
        roster_part(f->parts[i].roster, now);
    fleet_claims(f); /* nobody has been heard of for so long */
    fleet_requests_alone(f);
    become(f, FLEET_ALONE);
    char reason[64];
    snprintf(reason, sizeof reason, "no answer from Redis for %" PRIu64 " ms",
             f->now_ms - f->contact_ms);
    fleet_tell(f, &(struct fleet_notice){
                      .event = FLEET_BECOMES_ALONE, .version = f->version, .reason = reason});
}

/* ---- the lock ---- */

void fleet_lost(struct fleet *f, const char *reason)
{
    lock_lost(&f->lock, f->lock.epoch);
    f->locks_lost++;
    fleet_keeper_reset(f);
    become(f, f->apart ? FLEET_ALONE : FLEET_FOLLOWER);
    fleet_tell(f, &(struct fleet_notice){
                      .event = FLEET_LOCK_LOST, .version.epoch = f->lock.epoch, .reason = reason});
}

static void note_holder(struct fleet *f, struct str value)
{
    struct lock_holder h;
    free(f->holder);
    f->holder = NULL;
    f->holder_instance[0] = '\0';
    if (value.n == 0 || !lock_holder_parse(&h, value))
        return;
    f->holder = mem_strndup(h.node.p, h.node.n);
    if (h.instance.n < sizeof f->holder_instance) {
        memcpy(f->holder_instance, h.instance.p, h.instance.n);
        f->holder_instance[h.instance.n] = '\0';
    }
}

/* An answer to a sync: c is the call. */
void fleet_heard_of_lock(struct fleet *f, const struct call *c, const struct store_synced *a)
{
    if (a->holder.n > 0 || f->role == FLEET_KEEPER)
        note_holder(f, a->holder);
    f->lock_is_free = a->holder.n == 0;
    if (f->role != FLEET_KEEPER || c->epoch != f->lock.epoch)
        return;
    if (a->renewed) {
        lock_renewed(&f->lock, c->epoch, c->start_ms);
        return;
    }
    char reason[128] = "Redis has lost it";
    if (f->holder)
        snprintf(reason, sizeof reason, "held by %.100s", f->holder);
    fleet_lost(f, reason);
}

/* The lock is free, or offered: in whose turn it is. */
void fleet_candidate(struct fleet *f, const struct store_synced *a)
{
    if (f->role == FLEET_KEEPER || !f->checked || f->frozen || f->left || f->acquiring)
        return;
    bool offered = a->next.n > 0 && str_eq(a->next, str_of(f->instance));
    if (a->holder.n > 0 && !offered) {
        f->acquire_at_ms = NEVER;
        return;
    }
    if (f->acquire_at_ms != NEVER && !offered)
        return;
    f->acquire_offered = offered;
    uint64_t rank = 0;
    if (!offered) {
        struct electorate e = fleet_electorate(f);
        rank = votes_rank(&e);
    }
    f->acquire_at_ms = f->now_ms + 1 + rank * (f->ttl_ms / 30);
}

static void take_lock(struct fleet *f, const struct store_acquired *a)
{
    bool quick = !f->apart && f->now_ms - f->followed_ms >= f->ttl_ms;
    f->settle_until_ms = quick ? 0 : f->now_ms + f->ttl_ms;
    f->need_body = version_compare(&a->version, &f->version) > 0;
    f->keeper_since_ms = f->now_ms;
    f->offered = f->acquire_offered;
    f->unfit_ms = NEVER;
    become(f, FLEET_KEEPER);
    fleet_keeper_begin(f);
    fleet_tell(f, &(struct fleet_notice){.event = FLEET_BECOMES_KEEPER,
                                         .version.epoch = f->lock.epoch,
                                         .ms = quick ? 0 : f->ttl_ms});
}

static void on_acquired(void *arg, const struct store_acquired *a)
{
    struct call *c = arg;
    struct fleet *f = c->fleet;
    fleet_call_end(c);
    fleet_enter(f);
    f->acquiring = NULL;
    /* Without an answer the next attempt may replace this one. */
    if (a && !a->granted)
        lock_refused(&f->lock);
    else if (a && f->left)
        f->store->ops->release(f->store, f->lock.value, fleet_ignored, fleet_call(f));
    else if (a && lock_granted(&f->lock, a->epoch, f->now_ms))
        take_lock(f, a);
    fleet_finish(f);
}

void fleet_acquire(struct fleet *f)
{
    struct error e;
    f->acquire_at_ms = NEVER;
    if (f->role == FLEET_KEEPER || f->acquiring || f->frozen || f->left ||
        !lock_begin(&f->lock, f->random, f->now_ms, &e))
        return;
    uint64_t seen = f->version.epoch > f->refused.epoch ? f->version.epoch : f->refused.epoch;
    struct store_acquire r = {.lock = f->lock.value,
                              .previous = f->lock.previous[0] ? f->lock.previous : NULL,
                              .floor = lock_floor(&f->lock, seen, f->ops.wall_ms(f->ops.arg)),
                              .instance = f->instance};
    f->acquiring = fleet_call(f);
    f->store->ops->acquire(f->store, &r, on_acquired, f->acquiring);
}

/* ---- listen: active ---- */

static void wish(struct fleet *f, enum fleet_wish w)
{
    f->wished = true;
    if (f->ops.wish)
        f->ops.wish(f->ops.arg, w);
}

static void go_active(struct fleet *f, const char *reason)
{
    f->active = true;
    f->announce = false;
    struct fleet_notice n = {.event = FLEET_GOES_ACTIVE, .reason = reason};
    if (f->role == FLEET_KEEPER)
        n.version.epoch = f->lock.epoch;
    fleet_tell(f, &n);
    wish(f, FLEET_ACTIVE);
}

static void go_standby(struct fleet *f)
{
    f->active = f->announce = false;
    fleet_tell(f, &(struct fleet_notice){.event = FLEET_GOES_STANDBY, .node = f->holder});
    wish(f, FLEET_STANDBY);
}

/* Nobody serves by a lock that the process before has left, or a member that this one has replaced
 * by a reload: one of this node, right after the start. See fleet_accepting(). */
static bool held_by_another(const struct fleet *f)
{
    if (!f->holder || f->lock_is_free || strcmp(f->holder_instance, f->instance) == 0 ||
        strcmp(f->holder_instance, f->before) == 0)
        return false;
    return strcmp(f->holder, f->node) != 0 || f->now_ms - f->started_ms > f->ttl_ms;
}

/* Whoever is active stays so until it hears of another holder: a proxy does not stop serving
 * because the store is gone. */
void fleet_wishes(struct fleet *f)
{
    if (!f->listen_active || f->left || !f->checked)
        return;
    if (f->role == FLEET_KEEPER) {
        if (!f->active)
            go_active(f, NULL);
    } else if (held_by_another(f)) {
        if (f->active)
            go_standby(f);
    } else if (!f->contacted && !f->active && f->now_ms - f->started_ms > 2 * f->ttl_ms) {
        go_active(f, "Redis was never reached");
    }
    if (f->active && f->announce && f->role == FLEET_KEEPER) {
        f->announce = false;
        wish(f, FLEET_ANNOUNCE);
    }
}
