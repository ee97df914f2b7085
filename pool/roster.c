/* The roster: what became of each server, and the owners that follow from it.
 *
 * A server is in one phase, and drained or not, whatever its phase:
 *
 *            fall checks failed, or live traffic failed
 *      .------------------------> DOWN <------------+-----------.
 *      |                           |   rise passed  |           |
 *      |      delay over           v                |           |
 *      UP <--------------------- WAITING -----------'           |
 *     |  ^ \                       | delay over, manual, and    |
 *     |  |  \                      v a standby has its points   |
 *     |  |   `------------------ HELD --------------------------+
 *     |  |      operator; its standby went out                  |
 *     v  | ramp over, cut short or forgotten                    |
 *     RAMPING --------------------------------------------------'
 *
 *   UP       in service; owns its points if it is a backend
 *   DOWN     out, not usable. until_ms: when it ends, with `check: off`; NEVER while checks decide
 *            or its name is not resolved
 *   WAITING  checks pass; out until until_ms: failback.after, doubled for each relapse.
 *   HELD     checks pass; out until an operator says so (mode manual). Backends alone
 *   RAMPING  in service; keys come back from ramp_from step by step. Backends alone
 *
 * What is out is DOWN, WAITING, HELD or drained. Every event changes phases or drains, then calls
 * settle(): it ends the waits that have lost their reason, asks failover_owners(), turns returns
 * into ramps, publishes, and only then tells what happened.
 *
 * While a server is drained its wait or hold neither ends nor matters: enabling it ends them. */
#include "pool/roster.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pool/verdict.h"

#define NEVER UINT64_MAX
#define SHARE_ALL 65536u
#define RAMP_STEPS 256
#define RAMP_STEP_MIN_MS 10
/* Exact shares that need a pass over the whole ring, at most so many an event: thousands of servers
 * that change at once must not stall the control thread. The rest are told without a share. */
#define RING_PASSES 32

enum phase { UP, DOWN, WAITING, HELD, RAMPING };

struct member {
    enum phase phase;
    bool drained;
    bool no_wait;   /* was down at its very first check: its first return does not wait */
    bool returned;  /* returned_ms is set: it came back, and has not been down since */
    bool tell_held; /* entered WAITING or HELD and nobody was told */
    bool no_ramp;   /* an operator asked for all points at once */
    struct verdict verdict;
    uint64_t returned_ms;
    uint64_t delay_ms; /* the wait before its next return */
    uint64_t until_ms; /* WAITING; DOWN with `check: off` */
    uint16_t ramp_from;
    uint32_t ramp_share; /* never falls during a ramp */
    uint64_t ramp_start_ms, ramp_step_ms;
    double ramp_moved; /* the share of the key space that the whole ramp moves */
    struct roster_check last;
};

struct roster {
    struct pool *pool;
    const struct config_pool *config;
    roster_notify_fn *notify;
    void *arg;
    unsigned nbackends, nservers;
    bool started, flushing;
    uint64_t next_ms; /* see roster_next_ms() */
    struct member *members;
    struct pool_owner *words; /* a slot each: what is published */
    struct pool_owner *fresh; /* what is about to be */
    bool *out;                /* a server each: as of the last settle() */
    uint16_t *next;           /* a slot each: failover_owners() of out */
    bool *busy;               /* a server each: in next */
    bool *trial_out;          /* scratch of release_standbys() */
    uint16_t *trial;
    uint16_t *before, *after;      /* assignments on the way from words to fresh, see moved() */
    unsigned passes;               /* over the ring, left for this event */
    struct roster_notice *notices; /* to be told after publishing */
    size_t nnotices, cap_notices;
    char passive_reason[64];
};

/* ---- notices ---- */

static const struct pool_member *member_of(const struct roster *r, unsigned id)
{
    return id == SERVER_NONE ? NULL : &r->pool->members[id];
}

static struct roster_notice *push(struct roster *r, enum roster_event event, unsigned server)
{
    assert(!r->flushing); /* a notice's receiver must not call back */
    if (r->nnotices == r->cap_notices) {
        r->cap_notices = r->cap_notices ? 2 * r->cap_notices : 16;
        r->notices = mem_grow(r->notices, r->cap_notices, sizeof *r->notices);
    }
    struct roster_notice *n = &r->notices[r->nnotices++];
    *n = (struct roster_notice){
        .event = event, .pool = r->pool, .member = member_of(r, server), .moved = -1};
    return n;
}

static void flush(struct roster *r)
{
    r->flushing = true;
    for (size_t i = 0; i < r->nnotices; i++)
        r->notify(r->arg, &r->notices[i]);
    r->flushing = false;
    r->nnotices = 0;
}

/* ---- phases ---- */

static void move(struct member *m, enum phase to)
{
    static const unsigned allowed[] = {
        [UP] = 1u << DOWN | 1u << RAMPING,
        [DOWN] = 1u << WAITING,
        [WAITING] = 1u << DOWN | 1u << HELD | 1u << UP,
        [HELD] = 1u << DOWN | 1u << UP,
        [RAMPING] = 1u << DOWN | 1u << UP,
    };
    assert(allowed[m->phase] & 1u << to);
    m->phase = to;
}

static bool is_standby(const struct roster *r, unsigned id)
{
    return id != SERVER_NONE && id >= r->nbackends;
}

static bool is_waiting(const struct member *m)
{
    return !m->drained && (m->phase == WAITING || m->phase == HELD);
}

static bool is_out(const struct member *m)
{
    return m->drained || m->phase == DOWN || m->phase == WAITING || m->phase == HELD;
}

/* The wait before the next return: doubled if the last one did not last. */
static uint64_t next_delay(const struct roster *r, const struct member *m, uint64_t now_ms)
{
    const struct config_failback *f = &r->config->failback;
    if (!m->returned || now_ms - m->returned_ms > f->max_after_ms)
        return f->after_ms;
    uint64_t cap = f->max_after_ms > f->after_ms ? f->max_after_ms : f->after_ms;
    return m->delay_ms > cap / 2 ? cap : 2 * m->delay_ms;
}

static void go_down(struct roster *r, unsigned id, const char *reason, uint64_t now_ms)
{
    struct member *m = &r->members[id];
    if (m->phase == UP || m->phase == RAMPING)
        m->delay_ms = next_delay(r, m, now_ms);
    m->returned = false;
    m->tell_held = false;
    m->no_ramp = false;
    m->ramp_from = SERVER_NONE;
    m->until_ms =
        r->config->health.check == CHECK_OFF ? now_ms + r->config->health.interval_ms : NEVER;
    verdict_force(&m->verdict, false);
    move(m, DOWN);
    push(r, ROSTER_SERVER_DOWN, id)->reason = reason;
}

/* Checks pass again. Whether there is anything to wait for is settle()'s business. */
static void rise(struct roster *r, unsigned id, uint64_t now_ms)
{
    struct member *m = &r->members[id];
    m->until_ms = now_ms + (m->no_wait ? 0 : m->delay_ms);
    m->no_wait = false;
    m->tell_held = true;
    verdict_force(&m->verdict, true);
    move(m, WAITING);
    /* What failed while it was down must not count against it. */
    atomic_store_explicit(&r->pool->members[id].server->failures, 0, memory_order_relaxed);
    push(r, ROSTER_SERVER_UP, id);
}

static void come_back(struct member *m, uint64_t now_ms)
{
    move(m, UP);
    m->tell_held = false;
    m->returned = true;
    m->returned_ms = now_ms;
}

static void end_ramp(struct member *m)
{
    move(m, UP);
    m->ramp_from = SERVER_NONE;
}

/* ---- who is out, and whose waits are over ---- */

static void assign(struct roster *r)
{
    for (unsigned i = 0; i < r->nservers; i++)
        r->out[i] = is_out(&r->members[i]);
    failover_owners(r->pool->failover, r->out, r->next);
}

static bool anyone_owns(const struct roster *r)
{
    for (unsigned b = 0; b < r->nbackends; b++)
        if (r->next[b] != SERVER_NONE)
            return true;
    return false;
}

/* Nobody serves the keys of a slot without an owner if the next owners may not or are not there. */
static bool next_owners_serve(const struct roster *r)
{
    return r->config->when_down == WHEN_DOWN_NEXT && anyone_owns(r);
}

/* A backend that waits or is held: has that lost its reason? */
static bool wait_over(const struct roster *r, unsigned b, bool next_serve, uint64_t now_ms)
{
    const struct member *m = &r->members[b];
    unsigned holder = r->words[b].owner; /* who has its points now ... */
    unsigned cover = r->next[b];         /* ... and who would have them */
    if (cover == SERVER_NONE && !next_serve)
        return true;
    if (m->phase == HELD) /* the keys of a hold have to move anyway: home */
        return is_standby(r, holder) && (r->out[holder] || cover == SERVER_NONE);
    return now_ms >= m->until_ms && (!r->config->failback.manual || cover == SERVER_NONE);
}

/* True if one came back: then more may have lost their reason to wait, and the owners differ. */
static bool release_backends(struct roster *r, uint64_t now_ms)
{
    bool any = false, next_serve = next_owners_serve(r);
    for (unsigned b = 0; b < r->nbackends; b++) {
        struct member *m = &r->members[b];
        if (!is_waiting(m))
            continue;
        if (wait_over(r, b, next_serve, now_ms)) {
            come_back(m, now_ms);
            any = true;
        } else if (m->phase == WAITING && now_ms >= m->until_ms) {
            move(m, HELD);
            m->tell_held = true;
        }
    }
    return any;
}

static unsigned unowned(const struct roster *r, const uint16_t *owners)
{
    unsigned n = 0;
    for (unsigned b = 0; b < r->nbackends; b++)
        n += owners[b] == SERVER_NONE;
    return n;
}

/* What failover_owners() would say if the waiting standby `one`, or all of them (SERVER_NONE), were
 * back. */
static void try_standbys(struct roster *r, unsigned one)
{
    memcpy(r->trial_out, r->out, r->nservers * sizeof *r->out);
    for (unsigned s = r->nbackends; s < r->nservers; s++)
        if (is_waiting(&r->members[s]) && (one == SERVER_NONE || s == one))
            r->trial_out[s] = false;
    failover_owners(r->pool->failover, r->trial_out, r->trial);
}

/* Keys that nobody serves end the wait of the standbys that could serve them: those the promotion
 * rule would choose for these very backends, else one that frees another for them. */
static bool release_needed_standbys(struct roster *r, uint64_t now_ms)
{
    bool any = false;
    try_standbys(r, SERVER_NONE);
    for (unsigned b = 0; b < r->nbackends; b++) {
        unsigned s = r->trial[b];
        if (r->next[b] != SERVER_NONE || !is_standby(r, s) || !is_waiting(&r->members[s]))
            continue;
        come_back(&r->members[s], now_ms);
        any = true;
    }
    if (any || unowned(r, r->trial) == unowned(r, r->next))
        return any;
    for (unsigned s = r->nbackends; s < r->nservers; s++) {
        if (!is_waiting(&r->members[s]))
            continue;
        try_standbys(r, s);
        if (unowned(r, r->trial) < unowned(r, r->next)) {
            come_back(&r->members[s], now_ms);
            return true;
        }
    }
    return false;
}

static bool release_standbys(struct roster *r, uint64_t now_ms)
{
    bool any = false, waiting = false;
    for (unsigned s = r->nbackends; s < r->nservers; s++) {
        struct member *m = &r->members[s];
        if (!is_waiting(m))
            continue;
        if (now_ms >= m->until_ms) {
            come_back(m, now_ms);
            any = true;
        } else {
            waiting = true;
        }
    }
    if (any)
        return true;
    if (!waiting || unowned(r, r->next) == 0 || next_owners_serve(r))
        return false;
    return release_needed_standbys(r, now_ms);
}

/* ---- ramps and words ---- */

static void start_ramp(struct roster *r, unsigned b, unsigned from, uint64_t now_ms)
{
    struct member *m = &r->members[b];
    move(m, RAMPING);
    m->ramp_from = (uint16_t)from;
    m->ramp_share = 0;
    m->ramp_start_ms = m->ramp_step_ms = now_ms;
    m->ramp_moved = -1; /* tell_home() works it out */
}

/* Takes one step of a ramp. False: it has come to its end. */
static bool step_ramp(struct member *m, uint64_t ramp_ms, uint64_t now_ms)
{
    uint64_t passed = now_ms > m->ramp_start_ms ? now_ms - m->ramp_start_ms : 0;
    if (passed >= ramp_ms)
        return false;
    uint32_t share = (uint32_t)(passed * SHARE_ALL / ramp_ms);
    if (share > m->ramp_share)
        m->ramp_share = share;
    m->ramp_step_ms = now_ms;
    return true;
}

/* A standby may go on handing back only while nothing else is asked of it. */
static bool may_hand_back(const struct roster *r, unsigned s)
{
    return is_standby(r, s) && !r->out[s] && !r->busy[s];
}

static struct pool_owner word_of(struct roster *r, unsigned b, uint64_t now_ms)
{
    struct member *m = &r->members[b];
    struct pool_owner w = {.owner = r->next[b], .from = SERVER_NONE};
    uint64_t ramp_ms = r->config->failback.ramp_ms;
    bool home = w.owner == b;
    if (home && m->phase == UP && ramp_ms > 0 && !m->no_ramp && may_hand_back(r, r->words[b].owner))
        start_ramp(r, b, r->words[b].owner, now_ms);
    m->no_ramp = false;
    if (m->phase != RAMPING)
        return w;
    if (!home || !may_hand_back(r, m->ramp_from) || !step_ramp(m, ramp_ms, now_ms)) {
        end_ramp(m);
        return w;
    }
    w.from = m->ramp_from;
    w.share = m->ramp_share;
    return w;
}

static bool same_word(struct pool_owner a, struct pool_owner b)
{
    return a.owner == b.owner && a.from == b.from && a.share == b.share;
}

static bool make_words(struct roster *r, uint64_t now_ms)
{
    bool changed = false;
    memset(r->busy, 0, r->nservers * sizeof *r->busy);
    for (unsigned b = 0; b < r->nbackends; b++)
        if (r->next[b] != SERVER_NONE)
            r->busy[r->next[b]] = true;
    for (unsigned b = 0; b < r->nbackends; b++) {
        r->fresh[b] = word_of(r, b, now_ms);
        changed |= !same_word(r->fresh[b], r->words[b]);
    }
    return changed;
}

/* ---- what moved ---- */

/* An owner as ring_moved() wants it. The keys of a slot without one walk on to the next owner; with
 * when_down: fail they are refused, which counts as an owner of its own. */
static uint16_t moved_id(const struct roster *r, unsigned owner)
{
    if (owner == SERVER_NONE && r->config->when_down == WHEN_DOWN_FAIL)
        return (uint16_t)r->nservers;
    return owner == SERVER_NONE ? RING_NONE : (uint16_t)owner;
}

/* The share of the key space that changes its server when slot b goes from one to the other and all
 * other slots stay as they are in r->before. */
static double moved_whole(struct roster *r, unsigned b, unsigned from, unsigned to)
{
    uint16_t id_from = moved_id(r, from), id_to = moved_id(r, to);
    if (id_from == id_to)
        return 0;
    bool walks = id_from == RING_NONE || id_to == RING_NONE;
    for (unsigned i = 0; i < r->nbackends && !walks; i++)
        walks = i != b && r->before[i] == RING_NONE;
    if (!walks)
        return (double)r->pool->shared_ring->positions[b] / (double)RING_SPACE;
    if (r->passes == 0)
        return -1;
    r->passes--;
    uint16_t kept = r->before[b];
    memcpy(r->after, r->before, r->nbackends * sizeof *r->after);
    r->before[b] = id_from;
    r->after[b] = id_to;
    uint64_t n = ring_moved(r->pool->ring, r->before, r->after);
    r->before[b] = kept;
    return (double)n / (double)RING_SPACE;
}

/* The same from a word that may be amid its ramp: the lower 16 bits of a hash, which split a ramp,
 * and the upper 48, which place it, are independent, so the parts just add up. */
static double moved(struct roster *r, unsigned b, struct pool_owner old, unsigned to)
{
    double home = moved_whole(r, b, old.owner, to);
    if (old.from == SERVER_NONE || home < 0)
        return home;
    double rest = moved_whole(r, b, old.from, to);
    double share = (double)old.share / SHARE_ALL;
    return rest < 0 ? -1 : share * home + (1 - share) * rest;
}

/* ---- telling ---- */

/* The standby that has points of a slot, by word; SERVER_NONE if none has. */
static unsigned holder_of(const struct roster *r, struct pool_owner w)
{
    if (w.from != SERVER_NONE)
        return w.from;
    return is_standby(r, w.owner) ? w.owner : SERVER_NONE;
}

static void tell_held(struct roster *r, uint64_t now_ms)
{
    for (unsigned i = 0; i < r->nservers; i++) {
        struct member *m = &r->members[i];
        if (!m->tell_held || m->drained)
            continue;
        assert(m->phase == WAITING || m->phase == HELD);
        push(r, ROSTER_HELD, i)->wait_ms = m->phase == HELD ? 0 : m->until_ms - now_ms;
        m->tell_held = false;
    }
}

static void tell_ended(struct roster *r, unsigned b)
{
    unsigned holder = holder_of(r, r->words[b]), owner = r->fresh[b].owner;
    if (holder != SERVER_NONE && owner != b && owner != holder)
        push(r, ROSTER_TAKEOVER_ENDED, b)->by = member_of(r, holder);
}

static void tell_home(struct roster *r, unsigned b)
{
    struct pool_owner old = r->words[b], new = r->fresh[b];
    struct member *m = &r->members[b];
    bool was_ramp = old.from != SERVER_NONE, is_ramp = new.from != SERVER_NONE;
    if (new.owner != b || (old.owner == b && was_ramp == is_ramp))
        return;
    struct roster_notice *n = push(r, is_ramp ? ROSTER_RAMP : ROSTER_FAILBACK, b);
    n->by = member_of(r, holder_of(r, is_ramp ? new : old));
    n->moved = was_ramp ? m->ramp_moved : moved(r, b, old, b);
    if (is_ramp) {
        n->wait_ms = r->config->failback.ramp_ms;
        m->ramp_moved = n->moved;
    }
    r->before[b] = (uint16_t)b;
}

static void tell_promotion(struct roster *r, unsigned b)
{
    struct pool_owner old = r->words[b], new = r->fresh[b];
    if (!is_standby(r, new.owner) || new.owner == old.owner)
        return;
    struct roster_notice *n = push(r, ROSTER_PROMOTION, b);
    n->by = member_of(r, new.owner);
    n->moved = moved(r, b, old, new.owner);
    r->before[b] = new.owner;
    atomic_fetch_add_explicit(&r->pool->totals->failovers, 1, memory_order_relaxed);
}

static void tell_next(struct roster *r, unsigned b)
{
    struct pool_owner old = r->words[b], new = r->fresh[b];
    if (new.owner != SERVER_NONE || old.owner == SERVER_NONE)
        return;
    struct roster_notice *n = push(r, ROSTER_NEXT, b);
    n->moved = moved(r, b, old, SERVER_NONE);
    r->before[b] = moved_id(r, SERVER_NONE);
    if (r->config->when_down == WHEN_DOWN_NEXT)
        atomic_fetch_add_explicit(&r->pool->totals->failovers, 1, memory_order_relaxed);
}

/* From words to fresh in the order in which one makes room for the other. */
static void tell_owners(struct roster *r)
{
    static void (*const steps[])(struct roster *, unsigned) = {tell_ended, tell_home,
                                                               tell_promotion, tell_next};
    for (unsigned b = 0; b < r->nbackends; b++)
        r->before[b] = moved_id(r, r->words[b].owner);
    r->passes = RING_PASSES;
    size_t first = r->nnotices;
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++)
        for (unsigned b = 0; b < r->nbackends; b++)
            steps[s](r, b);
    /* Before the start nobody served a key, so none has moved. */
    for (size_t i = first; i < r->nnotices && !r->started; i++)
        r->notices[i].moved = -1;
}

/* ---- after every event ---- */

static uint64_t ramp_next_ms(const struct member *m, uint64_t ramp_ms)
{
    uint64_t step = ramp_ms / RAMP_STEPS;
    uint64_t at = m->ramp_step_ms + (step > RAMP_STEP_MIN_MS ? step : RAMP_STEP_MIN_MS);
    uint64_t end = m->ramp_start_ms + ramp_ms;
    return at < end ? at : end;
}

static uint64_t member_next_ms(const struct roster *r, const struct member *m)
{
    if (m->phase == RAMPING)
        return ramp_next_ms(m, r->config->failback.ramp_ms);
    if (m->phase == DOWN || (m->phase == WAITING && !m->drained))
        return m->until_ms;
    return NEVER;
}

static void note_next(struct roster *r)
{
    r->next_ms = NEVER;
    for (unsigned i = 0; i < r->nservers; i++) {
        uint64_t at = member_next_ms(r, &r->members[i]);
        if (at < r->next_ms)
            r->next_ms = at;
    }
}

/* A waiting backend owns no slot, which keeps requests from it. A standby never owns one by itself,
 * so a second try would take a waiting one for in service unless it is told here. */
static void set_usable(struct roster *r, unsigned id)
{
    const struct member *m = &r->members[id];
    bool usable = is_standby(r, id) ? !is_out(m) : m->phase != DOWN && !m->drained;
    atomic_store_explicit(&r->pool->members[id].server->usable, usable, memory_order_relaxed);
}

/* Publishes what r->next and the ramps say, then tells it. */
static void commit(struct roster *r, uint64_t now_ms)
{
    bool changed = make_words(r, now_ms);
    for (unsigned i = 0; i < r->nservers; i++)
        set_usable(r, i);
    if (changed || !r->started)
        pool_publish(r->pool, r->fresh);
    tell_held(r, now_ms);
    if (changed)
        tell_owners(r);
    if (changed && r->started)
        push(r, ROSTER_OWNERS, SERVER_NONE);
    struct pool_owner *old = r->words;
    r->words = r->fresh;
    r->fresh = old;
    note_next(r);
    flush(r);
}

static void settle(struct roster *r, uint64_t now_ms)
{
    do
        assign(r);
    while (release_backends(r, now_ms) || release_standbys(r, now_ms));
    commit(r, now_ms);
}

/* ---- life ---- */

struct roster *roster_new(struct pool *p, roster_notify_fn *notify, void *arg)
{
    struct roster *r = mem_zalloc(sizeof *r);
    size_t nb = p->nbackends, n = p->nservers;
    *r = (struct roster){.pool = p, .config = p->config, .notify = notify, .arg = arg};
    r->nbackends = p->nbackends;
    r->nservers = p->nservers;
    r->next_ms = NEVER;
    r->members = mem_zalloc_array(n, sizeof *r->members);
    r->words = mem_zalloc_array(nb, sizeof *r->words);
    r->fresh = mem_zalloc_array(nb, sizeof *r->fresh);
    r->out = mem_zalloc_array(n, sizeof *r->out);
    r->next = mem_zalloc_array(nb, sizeof *r->next);
    r->busy = mem_zalloc_array(n, sizeof *r->busy);
    r->trial_out = mem_zalloc_array(n, sizeof *r->trial_out);
    r->trial = mem_zalloc_array(nb, sizeof *r->trial);
    r->before = mem_zalloc_array(nb, sizeof *r->before);
    r->after = mem_zalloc_array(nb, sizeof *r->after);
    for (unsigned i = 0; i < n; i++) {
        struct member *m = &r->members[i];
        m->ramp_from = SERVER_NONE;
        m->delay_ms = r->config->failback.after_ms;
        verdict_init(&m->verdict, r->config->health.fall, r->config->health.rise, true);
    }
    for (unsigned b = 0; b < nb; b++) {
        r->words[b] = (struct pool_owner){.owner = (uint16_t)b, .from = SERVER_NONE};
    }
    return r;
}

void roster_free(struct roster *r)
{
    if (r == NULL)
        return;
    free(r->notices);
    free(r->after);
    free(r->before);
    free(r->trial);
    free(r->trial_out);
    free(r->busy);
    free(r->next);
    free(r->out);
    free(r->fresh);
    free(r->words);
    free(r->members);
    free(r);
}

static struct member *member(const struct roster *r, unsigned server)
{
    assert(server < r->nservers);
    return &r->members[server];
}

static void record(struct member *m, bool ok, const char *reason, uint64_t now_ms)
{
    m->last.done = true;
    m->last.ok = ok;
    m->last.at_ms = now_ms;
    snprintf(m->last.reason, sizeof m->last.reason, "%s", reason ? reason : "");
}

/* ---- events ---- */

void roster_first(struct roster *r, unsigned server, bool ok, const char *reason, uint64_t now_ms)
{
    struct member *m = member(r, server);
    assert(!r->started && m->phase == UP);
    record(m, ok, reason, now_ms);
    if (ok)
        return;
    go_down(r, server, m->last.reason, now_ms);
    m->until_ms = NEVER; /* time alone does not give it an address */
    m->no_wait = true;
}

void roster_resolved(struct roster *r, unsigned server, uint64_t now_ms)
{
    struct member *m = member(r, server);
    assert(r->started);
    if (r->config->health.check != CHECK_OFF || m->phase != DOWN || m->until_ms != NEVER)
        return;
    rise(r, server, now_ms);
    settle(r, now_ms);
}

void roster_start(struct roster *r, uint64_t now_ms)
{
    assert(!r->started);
    settle(r, now_ms);
    r->started = true;
}

bool roster_check(struct roster *r, unsigned server, bool ok, const char *reason, uint64_t now_ms)
{
    struct member *m = member(r, server);
    assert(r->started);
    record(m, ok, reason, now_ms);
    switch (verdict_check(&m->verdict, ok)) {
    case VERDICT_SAME:
        break;
    case VERDICT_DOWN:
        go_down(r, server, m->last.reason, now_ms);
        settle(r, now_ms);
        break;
    case VERDICT_UP:
        rise(r, server, now_ms);
        settle(r, now_ms);
        break;
    }
    return roster_changing(r, server);
}

void roster_passive_down(struct roster *r, unsigned server, uint64_t now_ms)
{
    struct member *m = member(r, server);
    assert(r->started);
    if (m->phase == DOWN)
        return; /* these failures were on their way when it went down */
    snprintf(r->passive_reason, sizeof r->passive_reason, "%u failures of live traffic in a row",
             r->config->passive.failures);
    go_down(r, server, r->passive_reason, now_ms);
    settle(r, now_ms);
}

void roster_drain(struct roster *r, unsigned server, uint64_t now_ms)
{
    struct member *m = member(r, server);
    assert(r->started);
    if (m->drained)
        return;
    m->drained = true;
    push(r, ROSTER_DRAINED, server);
    settle(r, now_ms);
}

/* Undrains, and ends a wait or hold. */
static void put_back(struct roster *r, unsigned server, uint64_t now_ms)
{
    struct member *m = &r->members[server];
    if (!m->drained && !is_waiting(m))
        return;
    push(r, ROSTER_ENABLED, server);
    m->drained = false;
    if (is_waiting(m))
        come_back(m, now_ms);
}

void roster_enable(struct roster *r, unsigned server, uint64_t now_ms)
{
    member(r, server);
    assert(r->started);
    put_back(r, server, now_ms);
    settle(r, now_ms);
}

bool roster_failback(struct roster *r, unsigned server, uint64_t now_ms)
{
    struct member *m = member(r, server);
    assert(r->started);
    if (m->phase == DOWN)
        return false;
    if (m->drained)
        put_back(r, server, now_ms);
    else if (is_waiting(m))
        come_back(m, now_ms);
    else if (m->phase == RAMPING)
        end_ramp(m);
    m->no_ramp = true;
    settle(r, now_ms);
    return true;
}

uint64_t roster_next_ms(const struct roster *r)
{
    return r->next_ms;
}

void roster_tick(struct roster *r, uint64_t now_ms)
{
    if (!r->started || now_ms < r->next_ms)
        return;
    bool due = false;
    for (unsigned i = 0; i < r->nservers; i++) {
        struct member *m = &r->members[i];
        if (m->phase == DOWN && now_ms >= m->until_ms) {
            rise(r, i, now_ms);
            due = true;
        }
        due |= m->phase == WAITING && !m->drained && now_ms >= m->until_ms;
    }
    if (due)
        settle(r, now_ms);
    else
        commit(r, now_ms); /* a ramp's step: nobody's being out has changed */
}

/* ---- for those who look ---- */

static bool serves_any(const struct roster *r, unsigned server)
{
    for (unsigned b = 0; b < r->nbackends; b++)
        if (r->words[b].owner == server || r->words[b].from == server)
            return true;
    return false;
}

enum roster_state roster_state(const struct roster *r, unsigned server)
{
    const struct member *m = member(r, server);
    if (m->drained)
        return ROSTER_DRAINING;
    switch (m->phase) {
    case DOWN:
        return ROSTER_DOWN;
    case WAITING:
    case HELD:
    case RAMPING:
        return ROSTER_RETURNING;
    case UP:
        break;
    }
    if (!is_standby(r, server))
        return ROSTER_UP;
    return serves_any(r, server) ? ROSTER_PROMOTED : ROSTER_STANDBY;
}

const char *roster_state_name(enum roster_state s)
{
    static const char *const names[] = {
        [ROSTER_UP] = "up",
        [ROSTER_DOWN] = "down",
        [ROSTER_DRAINING] = "draining",
        [ROSTER_RETURNING] = "returning",
        [ROSTER_STANDBY] = "standby",
        [ROSTER_PROMOTED] = "promoted",
    };
    return names[s];
}

const struct roster_check *roster_last_check(const struct roster *r, unsigned server)
{
    return &member(r, server)->last;
}

bool roster_is_down(const struct roster *r, unsigned server)
{
    return member(r, server)->phase == DOWN;
}

bool roster_changing(const struct roster *r, unsigned server)
{
    return verdict_changing(&member(r, server)->verdict);
}
