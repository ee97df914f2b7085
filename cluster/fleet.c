/* The life of a member, its clock, and its syncs. */
#include "cluster/fleet.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/splitmix.h"
#include "cluster/fleet_internal.h"

/* ---- calls of the store ---- */

struct call *fleet_call(struct fleet *f)
{
    struct call *c = mem_zalloc(sizeof(*c));
    c->fleet = f;
    c->start_ms = f->now_ms;
    list_push_back(&f->calls, &c->link);
    return c;
}

void fleet_call_end(struct call *c)
{
    list_remove(&c->link);
    free(c->text);
    free(c->news);
    free(c);
}

/* ---- its life ---- */

static void on_hint(void *arg, enum hint kind, const char *instance);
static void on_reach(void *arg, bool reachable, const char *why);
static void on_refused(void *arg, const char *what);

static bool make_instance(struct fleet *f, struct error *e)
{
    uint8_t bytes[16];
    if (!random_take(f->random, bytes, sizeof bytes, e) ||
        !random_take(f->random, &f->jitter, sizeof f->jitter, e))
        return false;
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(f->instance + 2 * i, 3, "%02x", bytes[i]);
    return true;
}

static void configure(struct fleet *f, const struct config_cluster *c)
{
    f->name = mem_strdup(c->name);
    f->node = mem_strdup(c->node);
    f->ttl_ms = c->lock_ttl_ms;
    f->sync_ms = f->ttl_ms / 3;
    f->deadline_ms = f->refresh_wait_ms = f->ttl_ms / 6;
    f->listen_active = c->listen_active;
    f->active = !c->listen_active;
    f->accepting = !c->listen_active;
    f->priority = c->priority;
    f->preempt = c->preempt;
}

struct fleet *fleet_new(const struct fleet_options *o, struct error *e)
{
    struct fleet *f = mem_zalloc(sizeof(*f));
    *f = (struct fleet){.ops = *o->ops, .store = o->store, .random = o->random, .apart = true};
    f->due_ms = f->sync_at_ms = f->hint_at_ms = f->acquire_at_ms = NEVER;
    list_init(&f->calls);
    if (!make_instance(f, e)) {
        free(f);
        return NULL;
    }
    configure(f, o->config);
    f->peers = peers_new();
    f->now_ms = f->role_since_ms = f->ops.boot_ms(f->ops.arg);
    if (o->resume)
        fleet_resume(f, o->resume);
    char who[LOCK_WHO_MAX + 1];
    snprintf(who, sizeof who, "%s/%s", f->node, f->instance);
    struct lock before = f->lock;
    lock_init(&f->lock, who, f->ttl_ms);
    fleet_resume_lock(f, &before);
    f->events = (struct store_events){on_hint, on_reach, on_refused, f};
    f->store->events = &f->events;
    return f;
}

void fleet_free(struct fleet *f)
{
    if (!f)
        return;
    list_foreach_safe(it, next, &f->calls) fleet_call_end(container_of(it, struct call, link));
    fleet_requests_drop(f);
    fleet_parts_drop(f);
    fleet_keeper_drop(f);
    fleet_members_drop(f);
    peers_free(f->peers);
    state_free(f->state);
    free(f->body);
    free(f->sent);
    free(f->news);
    free(f->holder);
    free(f->name);
    free(f->node);
    free(f);
}

void fleet_configure(struct fleet *f, const struct config_cluster *c)
{
    fleet_enter(f);
    f->priority = c->priority;
    f->preempt = c->preempt;
    f->wanted = true;
    fleet_finish(f);
}

/* ---- pools ---- */

static void part_drop(struct part *p)
{
    standings_free(p->work);
    standings_free(p->published);
    free(p->claimed);
    free(p->told);
    free(p->saying);
    free(p->tallies);
    free(p->decided);
}

void fleet_parts_drop(struct fleet *f)
{
    for (size_t i = 0; i < f->nparts; i++)
        part_drop(&f->parts[i]);
    free(f->parts);
    f->parts = NULL;
    f->nparts = 0;
}

static void part_init(struct part *p, const struct fleet_pool *from)
{
    size_t n = from->pool->nservers;
    *p = (struct part){.roster = from->roster, .pool = from->pool};
    digest_of(p->pool->config, p->digest);
    p->claimed = mem_zalloc_array(n, sizeof *p->claimed);
    p->told = mem_zalloc_array(n, sizeof *p->told);
    p->saying = mem_zalloc_array(n, sizeof *p->saying);
    p->decided = mem_zalloc_array(n, sizeof *p->decided);
    p->tallies = mem_zalloc_array(n, sizeof *p->tallies);
}

void fleet_pools(struct fleet *f, const struct fleet_pool *pools, size_t n)
{
    fleet_enter(f);
    if (n == 0)
        fleet_requests_leave(f);
    struct part *old = f->parts;
    size_t nold = f->nparts;
    f->parts = mem_zalloc_array(n, sizeof *f->parts);
    f->nparts = n;
    for (size_t i = 0; i < n; i++)
        part_init(&f->parts[i], &pools[i]);
    fleet_requests_check(f);
    if (f->checked && !f->apart)
        fleet_spread(f);
    if (f->has_work)
        fleet_rebuild_work(f, old, nold);
    for (size_t i = 0; i < nold; i++)
        part_drop(&old[i]);
    free(old);
    fleet_digests(f);
    f->recount = f->wanted = true;
    fleet_finish(f);
}

/* ---- the clock ---- */

static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The process was stopped, or the loop was starved: what it believed of the others, and they of
 * it, may be old; what ran out meanwhile says nothing about a server. */
static void stalled(struct fleet *f, uint64_t ms)
{
    f->stalls++;
    fleet_tell(f, &(struct fleet_notice){.event = FLEET_STALLED, .ms = ms});
    uint64_t now = f->ops.loop_ms(f->ops.arg);
    for (size_t i = 0; i < f->nparts; i++)
        roster_stalled(f->parts[i].roster, now);
    f->wanted = f->recount = true;
}

void fleet_enter(struct fleet *f)
{
    f->depth++;
    f->now_ms = f->ops.boot_ms(f->ops.arg);
    if (f->depth > 1 || !f->started || f->left)
        return;
    if (f->due_ms != NEVER && f->now_ms > f->due_ms + f->sync_ms) {
        uint64_t late = f->now_ms - f->due_ms;
        f->due_ms = f->now_ms;
        stalled(f, late);
    }
    if (f->role == FLEET_KEEPER && !lock_believes(&f->lock, f->now_ms))
        fleet_lost(f, "no answer from Redis in time");
}

/* The tick comes often enough for a stall to be seen. */
static void arm(struct fleet *f)
{
    uint64_t at = f->now_ms + f->sync_ms / 8;
    at = lesser(at, lesser(f->hint_at_ms, f->acquire_at_ms));
    if (!f->sync)
        at = lesser(at, f->sync_at_ms);
    if (f->checked && !f->joined)
        at = lesser(at, f->checked_ms + f->deadline_ms);
    if (f->role == FLEET_FOLLOWER)
        at = lesser(at, f->contact_ms + f->ttl_ms + 1);
    at = lesser(at, fleet_requests_next(f));
    at = lesser(at, fleet_keeper_next(f));
    f->due_ms = at > f->now_ms ? at : f->now_ms + 1;
    f->ops.wake(f->ops.arg, f->due_ms - f->now_ms);
}

static void sync_now(struct fleet *f);

void fleet_finish(struct fleet *f)
{
    if (f->depth == 1 && f->started && !f->left && f->nparts > 0) {
        fleet_decide(f);
        fleet_wishes(f);
        if (f->wanted && f->sync)
            f->again = true;
        else if (f->wanted)
            sync_now(f);
        f->wanted = false;
        arm(f);
    }
    f->depth--;
}

void fleet_awake(struct fleet *f)
{
    if (f->depth > 0)
        return;
    fleet_enter(f);
    if (f->wanted)
        fleet_finish(f);
    else
        f->depth--;
}

void fleet_start(struct fleet *f)
{
    f->started = true;
    fleet_enter(f);
    f->started_ms = f->now_ms;
    f->wanted = true;
    fleet_finish(f);
}

static void join(struct fleet *f)
{
    if (f->checked && !f->joined) {
        f->joined = true;
        if (f->ops.joined)
            f->ops.joined(f->ops.arg);
    }
}

void fleet_checked(struct fleet *f)
{
    fleet_enter(f);
    f->checked = true;
    f->checked_ms = f->now_ms;
    if (f->unapplied)
        fleet_apply(f);
    fleet_requests_check(f); /* those of the process before, see fleet_save() */
    if (f->contacted)
        join(f);
    f->wanted = true;
    fleet_finish(f);
}

/* What holds after a while is told in any case; a store that comes and goes is not each time. */
static void tell_reach(struct fleet *f)
{
    if (!f->reach_known || (f->reach_told && f->told_reached == f->reached))
        return;
    if (!f->reach_told || f->now_ms - f->reach_told_ms >= QUIET_MS) {
        f->reach_told_ms = f->now_ms;
        f->reach_tells = 0;
    }
    if (f->reach_tells == REACH_TELLS)
        return;
    f->reach_tells++;
    f->reach_told = true;
    f->told_reached = f->reached;
    enum fleet_event event = f->reached ? FLEET_REACHED : FLEET_UNREACHED;
    fleet_tell(f, &(struct fleet_notice){.event = event, .reason = f->reach_why});
}

void fleet_tick(struct fleet *f)
{
    if (!f->started)
        return;
    fleet_enter(f);
    tell_reach(f);
    if (f->left) {
        fleet_left(f);
        f->depth--;
        return;
    }
    uint64_t now = f->now_ms;
    if (f->role == FLEET_FOLLOWER && now > f->contact_ms + f->ttl_ms)
        fleet_part(f);
    if (f->checked && now >= f->checked_ms + f->deadline_ms)
        join(f);
    if (now >= f->hint_at_ms || (!f->sync && now >= f->sync_at_ms)) {
        f->hint_at_ms = NEVER;
        f->wanted = true;
    }
    if (now >= f->acquire_at_ms)
        fleet_acquire(f);
    fleet_requests_due(f);
    fleet_finish(f);
}

/* Whoever calls may be a roster at work, which must not be called back: it is a note, and a tick.
 */
void fleet_news(struct fleet *f, bool claim)
{
    /* What is newly said to be down is found by comparing views, see fleet_members.c. */
    (void)claim;
    if (f->left)
        return;
    f->wanted = f->recount = true;
    if (f->depth == 0 && f->started)
        f->ops.wake(f->ops.arg, 0);
}

void fleet_accepting(struct fleet *f, bool accepting)
{
    f->accepting = accepting;
    if (accepting && !f->wished)
        f->active = true;
    fleet_news(f, false);
}

/* ---- syncs ---- */

static double between(struct fleet *f, double low, double high)
{
    return low + (high - low) * splitmix_unit(&f->jitter);
}

/* When the next sync is due if nothing happens before. */
static void schedule(struct fleet *f, bool answered)
{
    double in = between(f, 0.8, 1.2) * (double)f->sync_ms;
    if (!answered)
        in = between(f, RETRY_MS, (double)f->sync_ms);
    else if (f->role == FLEET_KEEPER)
        in = 0.9 * (double)f->sync_ms;
    f->sync_at_ms = f->now_ms + (uint64_t)in;
}

static void take_body(struct fleet *f, const struct store_synced *a)
{
    int newer = version_compare(&a->version, &f->version);
    if (newer > 0 && a->body.n > 0)
        fleet_take(f, &a->version, a->body);
    else if (newer < 0 && !f->frozen)
        fleet_restore(f);
}

/* The store has lost something of this member's or of others' views: both are exchanged anew. Not
 * more often than once a period, as two members of one node do this to each other for ever. */
static void begin_views_anew(struct fleet *f)
{
    f->known_c = 0;
    free(f->sent);
    f->sent = NULL;
    if (f->now_ms - f->resent_ms >= f->sync_ms) {
        f->resent_ms = f->now_ms;
        f->again = true;
    }
}

static void learn_c(struct fleet *f, const struct store_synced *a, bool with_view)
{
    uint64_t own = 0;
    for (size_t i = 0; i < a->nbeats; i++)
        if (strcmp(a->beats[i].node, f->node) == 0 &&
            strcmp(a->beats[i].instance, f->instance) == 0)
            own = a->beats[i].c;
    bool lost = a->highest_c < f->known_c || (!with_view && own != f->own_c);
    f->own_c = own;
    f->known_c = a->highest_c;
    if (lost)
        begin_views_anew(f);
}

static void accept_view(struct fleet *f, struct call *c)
{
    if (!c->text)
        return;
    free(f->sent);
    free(f->news);
    f->sent = c->text;
    f->news = c->news;
    f->said = c->version;
    c->text = c->news = NULL;
    fleet_said(f);
}

static void heard(struct fleet *f, struct call *c, const struct store_synced *a)
{
    bool with_view = c->text != NULL;
    f->contact_ms = c->start_ms;
    f->contacted = f->consider = true;
    f->need_body = false;
    accept_view(f, c);
    fleet_observe(f, a);
    learn_c(f, a, with_view);
    fleet_heard_of_lock(f, c, a);
    take_body(f, a);
    join(f);
    fleet_candidate(f, a);
    fleet_forget(f);
}

static void on_synced(void *arg, const struct store_synced *answer)
{
    struct call *c = arg;
    struct fleet *f = c->fleet;
    fleet_enter(f);
    f->sync = NULL;
    if (answer && !f->left)
        heard(f, c, answer);
    fleet_call_end(c);
    schedule(f, answer != NULL);
    /* There for the end of another's lock, at once. */
    if (answer && answer->holder.n > 0 && f->role != FLEET_KEEPER)
        f->sync_at_ms = lesser(f->sync_at_ms, f->now_ms + answer->left_ms + 5);
    f->wanted |= (f->again && answer != NULL) || f->reached_since;
    f->again = f->reached_since = false;
    fleet_finish(f);
}

/* One at a time. */
static void sync_now(struct fleet *f)
{
    assert(!f->sync);
    struct call *c = f->sync = fleet_call(f);
    struct store_sync r = {.node = f->node, .instance = f->instance, .n = ++f->n};
    f->last_sync_ms = f->now_ms;
    f->sync_at_ms = f->hint_at_ms = NEVER;
    fleet_say(f, c, &r);
    r.known_c = f->known_c;
    r.known = version_compare(&f->refused, &f->version) > 0 ? f->refused : f->version;
    if (f->role == FLEET_KEEPER) {
        r.lock = f->lock.value;
        r.epoch = c->epoch = f->lock.epoch;
    }
    f->store->ops->sync(f->store, &r, on_synced, c);
}

/* Of syncs that hints ask for. When a server stops, all members of a fleet claim that one after
 * another; the first claim is enough for a follower to look. */
static uint64_t spacing(const struct fleet *f, enum hint kind)
{
    uint64_t of_claims = SPACING_OF_MEMBER_MS * peers_count(f->peers);
    bool wide = kind == HINT_CLAIM && f->role != FLEET_KEEPER && of_claims > SPACING_MS;
    return wide ? of_claims : SPACING_MS;
}

static void on_hint(void *arg, enum hint kind, const char *instance)
{
    struct fleet *f = arg;
    bool concerns = kind != HINT_VIEW || f->role == FLEET_KEEPER;
    if (!concerns || f->left || !f->started || strcmp(instance, f->instance) == 0)
        return;
    fleet_enter(f);
    f->hint_at_ms = lesser(f->hint_at_ms, f->last_sync_ms + spacing(f, kind));
    if (f->now_ms >= f->hint_at_ms) {
        f->hint_at_ms = NEVER;
        f->wanted = true;
    }
    fleet_finish(f);
}

static void on_reach(void *arg, bool reachable, const char *why)
{
    struct fleet *f = arg;
    if (f->reached == reachable && f->reach_known)
        return;
    f->reached = reachable;
    f->reach_known = true;
    snprintf(f->reach_why, sizeof f->reach_why, "%s", why ? why : "");
    fleet_enter(f);
    tell_reach(f);
    /* A sync of before that is not answered must not put off the one that will be. */
    f->reached_since = reachable && f->sync;
    f->wanted |= reachable;
    fleet_finish(f);
}

static void on_refused(void *arg, const char *what)
{
    struct fleet *f = arg;
    f->refused_answer++;
    fleet_enter(f);
    if (f->refused_answer == 1 || f->now_ms - f->answer_told_ms >= QUIET_MS) {
        f->answer_told_ms = f->now_ms;
        fleet_tell(f, &(struct fleet_notice){
                          .event = FLEET_REFUSED_VALUE, .what = "answer", .reason = what});
    }
    fleet_finish(f);
}

/* ---- the end ---- */

void fleet_left(struct fleet *f)
{
    if (f->on_left && (!f->leaving || f->now_ms >= f->left_ms + f->deadline_ms)) {
        void (*done)(void *) = f->on_left;
        f->on_left = NULL;
        done(f->left_arg);
    }
}

static void on_released(void *arg, const bool *yes)
{
    struct call *c = arg;
    struct fleet *f = c->fleet;
    f->leaving = NULL;
    fleet_call_end(c);
    fleet_enter(f);
    if (yes && *yes)
        fleet_tell(f, &(struct fleet_notice){.event = FLEET_RELEASED});
    fleet_left(f);
    f->depth--;
}

void fleet_leave(struct fleet *f, void (*done)(void *arg), void *arg)
{
    fleet_enter(f);
    assert(!f->on_left);
    f->left_ms = f->now_ms;
    f->on_left = done;
    f->left_arg = arg;
    bool keeper = f->role == FLEET_KEEPER && !f->left && !f->frozen;
    f->left = true;
    fleet_requests_give_up(f);
    if (keeper) {
        lock_released(&f->lock);
        f->leaving = fleet_call(f);
        f->store->ops->release(f->store, f->lock.value, on_released, f->leaving);
        f->ops.wake(f->ops.arg, f->deadline_ms);
    }
    fleet_left(f);
    f->depth--;
}

enum fleet_role fleet_role(const struct fleet *f)
{
    return f->role;
}

const char *fleet_instance(const struct fleet *f)
{
    return f->instance;
}

bool fleet_version(const struct fleet *f, uint64_t *epoch, uint64_t *seq)
{
    *epoch = f->version.epoch;
    *seq = f->version.seq;
    return !f->apart;
}

uint64_t fleet_epoch(const struct fleet *f)
{
    return f->role == FLEET_KEEPER ? f->lock.epoch : f->version.epoch;
}

bool fleet_is_active(const struct fleet *f)
{
    return f->active;
}

/* What the other process has used up since is behind these numbers for good. */
static void leap(struct fleet *f)
{
    f->seq += 2 * RESUME_LEAP;
    f->asked += 2 * RESUME_LEAP;
    f->n += 2 * RESUME_LEAP;
}

void fleet_freeze(struct fleet *f, bool frozen)
{
    if (frozen == f->frozen)
        return;
    fleet_enter(f);
    f->frozen = frozen;
    if (frozen) {
        f->acquire_at_ms = NEVER;
        fleet_requests_give_up(f);
    } else {
        leap(f);
    }
    f->recount = f->wanted = true;
    fleet_finish(f);
}
