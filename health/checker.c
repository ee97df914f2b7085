#include "health/checker.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/heap.h"
#include "base/log.h"
#include "base/mem.h"
#include "health/candidates.h"
#include "health/check.h"
#include "health/resolver.h"

/* What a server by name has in addition. */
struct named {
    struct resolver *resolver;
    struct candidates candidates;
    struct candidates_span span; /* the candidates that the running check probes */
    bool outdated;               /* the candidates have changed since that check began */
    bool failing;                /* the last lookup failed, and that was logged */
};

/* Checks that begin, send and read fall on ticks, the multiples of this on the loop's clock. A pool
 * whose checks are less than GAP_MS apart gets longer ticks: each waking of the loop then serves
 * several. Otherwise a tick is just the time in which most servers answer. */
#define TICK_MS 2u
#define LONG_TICK_MS 16u
#define GAP_MS 4u
/* What a check has just told, or is about to tell, need not be asked again. */
#define LOOK_APART_MS 100u

struct target {
    struct checker *checker;
    unsigned server;
    struct heap_node wait; /* in the checker's `waiting`: until the next check; at the first one:
                              until the lookup took too long */
    struct check *check;   /* NULL: none is open */
    struct checker *home;  /* that began it: it goes by the ticks and the configuration of that */
    bool checking;         /* its result is still to come */
    bool again;            /* when it has closed, the next check begins */
    uint64_t began_ms;     /* when the last check began */
    uint64_t due_ms;       /* when it was to begin, or the next one is; 0: none was due so far */
    bool first;            /* the first result is still to come */
    bool asked;            /* live traffic has asked for a check, and none has begun since */
    bool decides;          /* the last check that began is one that was asked for */
    bool look;             /* a check is to begin as soon as the one under way has ended */
    uint64_t next_ask_ms;  /* no check that is asked for begins sooner */
    bool adopted;          /* the checker before had this server, too */
    bool anew;             /* a check is to begin at once, as one under way says nothing any more */
    struct named *named;   /* NULL: the server is not by name */
};

struct checker {
    struct net *net; /* of the control loop; NULL: checker_open() is still to come */
    uv_loop_t *loop;
    struct pool *pool;
    struct roster *roster;
    const struct config_health *health;
    struct checker_names names;
    struct target *targets;
    unsigned ntargets;
    struct heap waiting; /* targets, by the time until which they wait */
    uv_timer_t alarm;    /* until that of the first of them */
    struct deadline_queue ticks;
    uv_timer_t tick; /* until roster_tick() is due */
    bool first;      /* the first checks are under way */
    uint64_t first_began_ms;
    unsigned first_due; /* how many of them have no result yet */
    bool running, closing;
    /* how many handles, checks and resolvers are not closed yet; a check that was taken over counts
     * in its home, too */
    unsigned open;
    checker_fn *on_done, *on_closed;
    void *done_arg, *closed_arg;
};

static void start_timer(uv_timer_t *t, uv_timer_cb cb, uint64_t ms)
{
    int err = uv_timer_start(t, cb, ms, 0); /* fails for a closing handle or without cb alone */
    assert(err == 0);
    (void)err;
}

static const struct pool_member *member_of(const struct target *t)
{
    return &t->checker->pool->members[t->server];
}

static struct server *server_of(const struct target *t)
{
    return member_of(t)->server;
}

static bool is_checked(const struct checker *c)
{
    return c->health->check != CHECK_OFF;
}

/* ---- closing ---- */

static void closed_one(struct checker *c)
{
    assert(c->open > 0);
    if (--c->open > 0 || !c->closing)
        return;
    deadline_queue_deinit(&c->ticks);
    checker_fn *on_closed = c->on_closed;
    void *arg = c->closed_arg;
    checker_free(c);
    on_closed(arg);
}

static void on_handle_closed(uv_handle_t *h)
{
    closed_one(h->data);
}

/* A check or a resolver is closed. */
static void on_part_closed(void *arg)
{
    struct target *t = arg;
    closed_one(t->checker);
}

/* ---- time ---- */

static void arm(struct checker *c, uint64_t at_ms);

static void on_tick(uv_timer_t *t)
{
    struct checker *c = t->data;
    roster_tick(c->roster, uv_now(c->loop));
    arm(c, roster_next_ms(c->roster));
}

static void arm(struct checker *c, uint64_t at_ms)
{
    uint64_t now = uv_now(c->loop);
    if (at_ms == UINT64_MAX)
        uv_timer_stop(&c->tick);
    else
        start_timer(&c->tick, on_tick, at_ms > now ? at_ms - now : 0);
}

/* An event, from wherever it came, has changed when the roster's next tick is due. */
static void on_wake(void *arg, uint64_t at_ms)
{
    struct checker *c = arg;
    assert(!c->closing);
    if (c->running)
        arm(c, at_ms);
}

/* ---- targets that wait ---- */

/* One timer for all of them: a uv_timer_t each would be two thirds of a target, to be made, moved
 * and closed at each reload for a hundred thousand of them, all in one turn of the loop. */

static void on_due(struct target *t);

static void on_alarm(uv_timer_t *timer);

static void set_alarm(struct checker *c)
{
    const struct heap_node *first = heap_first(&c->waiting);
    uint64_t now = uv_now(c->loop);
    if (first == NULL)
        uv_timer_stop(&c->alarm);
    else
        start_timer(&c->alarm, on_alarm, first->key > now ? first->key - now : 0);
}

/* A callback may close the checker. None makes a target wait for no time again and again, as a
 * check takes turns of the loop. */
static void on_alarm(uv_timer_t *timer)
{
    struct checker *c = timer->data;
    uint64_t now = uv_now(c->loop);
    struct heap_node *n;
    while (!c->closing && (n = heap_first(&c->waiting)) != NULL && n->key <= now) {
        heap_remove(&c->waiting, n);
        on_due(container_of(n, struct target, wait));
    }
    if (!c->closing)
        set_alarm(c);
}

static void stop_waiting(struct target *t)
{
    heap_remove(&t->checker->waiting, &t->wait);
}

static void wait_until(struct target *t, uint64_t at_ms)
{
    struct checker *c = t->checker;
    bool first = heap_first(&c->waiting) == NULL || at_ms < heap_first(&c->waiting)->key;
    stop_waiting(t);
    heap_push(&c->waiting, &t->wait, at_ms);
    if (first)
        set_alarm(c);
}

/* ---- log lines ---- */

static bool begin_line(struct log_line *l, enum log_level level, const char *event,
                       const struct target *t)
{
    const struct pool_member *m = member_of(t);
    if (!log_begin(l, level, event))
        return false;
    log_str(l, "pool", m->server->pool);
    log_str(l, m->standby ? "server" : "backend", m->server->name);
    return true;
}

static void log_reason(const struct target *t, const char *event, const char *reason)
{
    struct log_line l;
    if (!begin_line(&l, LOG_WARN, event, t))
        return;
    log_str(&l, "reason", reason);
    log_end(&l);
}

static void log_address(const struct target *t, const char *event, const struct addr *a)
{
    struct log_line l;
    char text[ADDR_TEXT_MAX];
    if (!begin_line(&l, LOG_INFO, event, t))
        return;
    addr_format(a, text);
    log_str(&l, "name", server_of(t)->address_text);
    log_str(&l, "address", text);
    log_end(&l);
}

/* ---- the first results ---- */

static void end_first(struct target *t)
{
    struct checker *c = t->checker;
    t->first = false;
    stop_waiting(t);
    assert(c->first_due > 0);
    if (--c->first_due > 0)
        return;
    c->first = false;
    c->on_done(c->done_arg);
}

static void tell_first(struct target *t, bool ok, const char *reason)
{
    struct checker *c = t->checker;
    roster_first(c->roster, t->server, ok, reason, c->first_began_ms, uv_now(c->loop));
    end_first(t);
}

/* ---- checks ---- */

static void begin(struct target *t);

/* If the loop was late, the next check is not: else all that it was late for would fall together,
 * and stay together. */
static void begin_due(struct target *t)
{
    const struct checker *c = t->checker;
    uint64_t due = t->due_ms, interval = c->health->interval_ms;
    begin(t);
    t->due_ms = due + (uv_now(c->loop) - due) / interval * interval;
}

/* A quarter of a few ms is 0 in whole ms; the next check then comes at the next ms. */
static uint64_t pause_ms(const struct checker *c, bool changing)
{
    uint64_t ms = changing ? c->health->interval_ms / 4 : c->health->interval_ms;
    return ms > 0 ? ms : 1;
}

/* What that adds to a pause, or takes away, is less than 2 % of it. */
static uint64_t to_tick(uint64_t at_ms, uint64_t pause_ms, uint64_t tick_ms)
{
    return pause_ms < 32 * tick_ms ? at_ms : (at_ms + tick_ms / 2) / tick_ms * tick_ms;
}

static void start_next(struct target *t, uint64_t at_ms)
{
    uint64_t now = uv_now(t->checker->loop);
    t->due_ms = at_ms > now ? at_ms : now;
    wait_until(t, t->due_ms);
}

/* By when the last check began, not by when it ended: slow checks do not make checks rarer. Those
 * that decide a change are apart also if the last one began late. */
static void schedule(struct target *t, bool changing)
{
    struct checker *c = t->checker;
    uint64_t pause = pause_ms(c, changing);
    uint64_t at = to_tick(t->due_ms + pause, pause, c->ticks.duration_ms);
    uint64_t least = changing ? t->began_ms + pause / 2 : 0;
    at = at > least ? at : least;
    start_next(t, t->asked && t->next_ask_ms < at ? t->next_ask_ms : at);
}

/* Makes the candidate that was chosen the server's address. */
static void move_server(struct target *t)
{
    struct checker *c = t->checker;
    const struct addr *to = candidates_current(&t->named->candidates);
    bool known = server_generation(server_of(t)) != 0;
    if (!server_move(server_of(t), to))
        return;
    log_address(t, known ? "address changed" : "name resolved", to);
    if (known && c->names.on_moved)
        c->names.on_moved(c->names.arg, server_of(t));
}

/* A check that was not possible is not counted: it says nothing about the server. */
static void tell_check(struct target *t, enum probe_outcome outcome, const char *reason)
{
    struct checker *c = t->checker;
    bool changing = roster_changing(c->roster, t->server), ok = outcome == PROBE_PASS;
    if (outcome == PROBE_NOT_DONE)
        t->asked |= t->decides;
    else if (t->decides)
        changing = roster_verdict(c->roster, t->server, ok, reason, t->began_ms, uv_now(c->loop));
    else
        changing = roster_check(c->roster, t->server, ok, reason, t->began_ms, uv_now(c->loop));
    /* A check does not answer a suspicion that came while it ran, unless the server is down now. */
    t->asked = t->asked && roster_suspect(c->roster, t->server);
    if (t->look)
        start_next(t, 0);
    else
        schedule(t, changing);
}

static void on_check_done(void *arg, enum probe_outcome outcome, unsigned which, const char *reason)
{
    struct target *t = arg;
    struct named *n = t->named;
    t->checking = false;
    if (t->checker->names.before_result)
        t->checker->names.before_result(t->checker->names.arg);
    if (n && n->outdated) { /* the result says nothing about the new addresses */
        t->asked |= t->decides;
        begin(t);
        return;
    }
    if (outcome == PROBE_NOT_DONE)
        log_reason(t, "check not possible", reason);
    if (n) {
        candidates_end(&n->candidates,
                       outcome == PROBE_PASS ? n->span.from + which : CANDIDATE_NONE);
        move_server(t);
    }
    if (t->first)
        tell_first(t, outcome != PROBE_FAIL, reason);
    else
        tell_check(t, outcome, reason);
}

static void on_check_closed(void *arg)
{
    struct target *t = arg;
    struct checker *c = t->checker, *home = t->home;
    bool again = t->again && !c->closing;
    t->check = NULL;
    t->again = false;
    if (again)
        begin(t);
    if (home != c)
        closed_one(home);
    closed_one(c); /* last: it may free all of it */
}

/* At the first check the lookup has used up a part of the time. */
static uint64_t timeout_ms(const struct target *t)
{
    const struct checker *c = t->checker;
    uint64_t passed = t->first && t->named ? uv_now(c->loop) - c->first_began_ms : 0;
    return passed < c->health->timeout_ms ? c->health->timeout_ms - passed : 1;
}

static void begin(struct target *t)
{
    struct checker *c = t->checker;
    struct named *n = t->named;
    const struct check_callbacks cb = {on_check_done, on_check_closed, t};
    const struct addr *to = &server_of(t)->address;
    unsigned count = 1;
    assert(!t->checking && !c->closing);
    stop_waiting(t);
    if (t->check) { /* it still reads the rest of an answer */
        t->again = true;
        check_cancel(t->check);
        return;
    }
    if (n) {
        n->outdated = false;
        n->span = candidates_begin(&n->candidates, roster_is_down(c->roster, t->server));
        to = &n->candidates.set.items[n->span.from];
        count = n->span.to - n->span.from;
    }
    if (count == 0)
        return; /* not resolved yet: use_others() begins a check when it is */
    const struct probe_plan plan = {c->health, server_of(t), timeout_ms(t),
                                    c->pool->config->send_head, &c->ticks};
    c->open++;
    t->check = check_start(c->net, &plan, to, count, &cb);
    t->home = c;
    t->checking = true;
    t->began_ms = t->due_ms = uv_now(c->loop);
    t->decides = t->asked;
    t->asked = t->look = false;
    if (t->decides)
        t->next_ask_ms = t->began_ms + pause_ms(c, true);
}

/* ---- names ---- */

static void on_failed_lookup(struct target *t, const char *why)
{
    struct checker *c = t->checker;
    char reason[PROBE_REASON_MAX];
    snprintf(reason, sizeof reason, "resolve: %.100s", why);
    if (!t->named->failing)
        log_reason(t, "resolve failed", why);
    t->named->failing = true;
    if (t->first)
        tell_first(t, false, reason);
    else if (c->running && t->named->candidates.set.n == 0)
        roster_check(c->roster, t->server, false, reason, uv_now(c->loop), uv_now(c->loop));
}

/* Without checks nothing tells which address is best, so the first one is used at once. */
static void use_first(struct target *t)
{
    struct checker *c = t->checker;
    candidates_take_first(&t->named->candidates);
    move_server(t);
    if (t->first)
        end_first(t);
    else if (c->running)
        roster_resolved(c->roster, t->server, uv_now(c->loop));
}

/* A single candidate is used at once; of several, the check that follows decides. */
static void use_others(struct target *t)
{
    struct candidates *k = &t->named->candidates;
    if (k->set.n == 1) {
        candidates_take_first(k);
        move_server(t);
    }
    if (t->checking)
        t->named->outdated = true;
    else if (t->first || t->checker->running)
        begin(t);
}

static void on_lookup(void *arg, const struct lookup_answer *a)
{
    struct target *t = arg;
    if (a->addrs.n == 0) {
        on_failed_lookup(t, a->reason);
        return;
    }
    t->named->failing = false;
    bool others = candidates_update(&t->named->candidates, &a->addrs);
    if (!is_checked(t->checker))
        use_first(t);
    else if (others)
        use_others(t);
}

static void on_slow_name(struct target *t)
{
    char reason[PROBE_REASON_MAX];
    snprintf(reason, sizeof reason, "resolve: no answer after %llu ms",
             (unsigned long long)t->checker->health->timeout_ms);
    tell_first(t, false, reason);
}

static void on_due(struct target *t)
{
    if (t->first)
        on_slow_name(t);
    else
        begin_due(t);
}

static void open_name(struct target *t)
{
    struct checker *c = t->checker;
    const struct resolver_callbacks cb = {on_lookup, on_part_closed, t};
    assert(c->names.lookups != NULL);
    c->open++;
    t->named->resolver = resolver_open(c->loop, c->names.lookups, server_of(t)->address_text,
                                       c->pool->config->resolve_ms, &cb);
}

static void begin_first(struct target *t)
{
    struct checker *c = t->checker;
    t->first = t->named || is_checked(c);
    c->first_due += t->first;
    if (t->named) {
        open_name(t);
        wait_until(t, uv_now(c->loop) + c->health->timeout_ms);
    } else if (is_checked(c)) {
        begin(t);
    }
}

/* The roster has what another process knew of it. Its name is looked up, but nobody waits for that:
 * until then it is where it was. */
static void begin_restored(struct target *t)
{
    struct addr_set set = {.n = 0};
    struct addr at;
    uint32_t generation;
    if (t->named == NULL)
        return;
    if (server_address(server_of(t), &at, &generation)) {
        addr_set_add(&set, &at);
        candidates_update(&t->named->candidates, &set);
        candidates_take_first(&t->named->candidates);
    }
    open_name(t);
}

/* ---- the interface ---- */

static void on_nothing_first(uv_timer_t *t)
{
    struct checker *c = t->data;
    c->first = false;
    c->on_done(c->done_arg);
}

void checker_first(struct checker *c, const struct pool *old, checker_fn *on_done, void *arg)
{
    assert(c->net && !c->first && !c->running && !c->closing);
    c->first = true;
    c->on_done = on_done;
    c->done_arg = arg;
    uv_update_time(c->loop);
    c->first_began_ms = uv_now(c->loop);
    for (unsigned i = 0; i < c->ntargets; i++)
        if (roster_is_known(c->roster, i))
            begin_restored(&c->targets[i]);
        else if (old == NULL || !pool_stays(c->pool, i, old))
            begin_first(&c->targets[i]);
    if (c->first_due == 0)
        start_timer(&c->tick, on_nothing_first, 0);
}

/* roster_start() waits for the first checks of all pools. An answer that came to this pool in the
 * meantime could not be given to the roster, so that is done here. */
static void run_name(struct target *t)
{
    struct checker *c = t->checker;
    if (!is_checked(c) && candidates_current(&t->named->candidates))
        roster_resolved(c->roster, t->server, uv_now(c->loop));
    if (!t->adopted)
        resolver_repeat(t->named->resolver);
}

/* A check that runs, or waits for the one before to close, is followed by schedule(). */
static void run_checks(struct target *t)
{
    struct checker *c = t->checker;
    uint64_t at = t->due_ms;
    if (t->checking || t->again)
        return;
    if (t->anew) {
        t->anew = false;
        begin(t);
        return;
    }
    if (!t->adopted || at == 0)
        at = uv_now(c->loop) + c->health->interval_ms * (t->server + 1) / c->ntargets;
    start_next(t, t->asked && t->next_ask_ms < at ? t->next_ask_ms : at);
}

void checker_ask(struct checker *c, unsigned server)
{
    assert(server < c->ntargets);
    struct target *t = &c->targets[server];
    if (!c->running || c->closing || !is_checked(c) || t->asked)
        return;
    t->asked = true;
    if (!t->checking && !t->again)
        schedule(t, roster_changing(c->roster, server));
}

void checker_look(struct checker *c, unsigned server)
{
    assert(server < c->ntargets);
    struct target *t = &c->targets[server];
    if (!c->running || c->closing || !is_checked(c) || t->again || t->anew)
        return;
    if (uv_now(c->loop) - t->began_ms < LOOK_APART_MS)
        return;
    if (t->checking)
        t->look = true;
    else
        begin(t);
}

void checker_run(struct checker *c)
{
    assert(!c->first && !c->running && !c->closing);
    c->running = true;
    uv_update_time(c->loop);
    for (unsigned i = 0; i < c->ntargets; i++) {
        struct target *t = &c->targets[i];
        if (is_checked(c))
            run_checks(t);
        if (t->named)
            run_name(t);
        /* asked for before a reload, and the check that is to answer it has not begun */
        if (roster_suspicion(c->roster, i) == ROSTER_PENDING && !(t->checking && t->decides))
            checker_ask(c, i);
    }
    arm(c, roster_next_ms(c->roster));
}

/* ---- from one generation to the next ---- */

/* What is left of a time of the old checker, in proportion to the interval: so checks that were
 * apart stay apart, and no number of reloads puts one off. */
static uint64_t adopt_time(const struct checker *c, const struct checker *old, uint64_t at_ms)
{
    uint64_t now = uv_now(c->loop);
    uint64_t left = at_ms > now ? at_ms - now : 0;
    return now + left * c->health->interval_ms / old->health->interval_ms;
}

/* A check under way, or what is left of one: it goes on, and tells this checker. */
static void adopt_check(struct target *t, struct target *was)
{
    t->check = was->check;
    t->home = was->home;
    t->checking = was->checking;
    t->again = was->again;
    t->decides = was->decides;
    was->check = NULL;
    was->checking = was->again = false;
    check_hand_over(t->check, t);
    t->checker->open++;
    if (was->checker != was->home)
        closed_one(was->checker);
}

static void adopt_checks(struct target *t, struct target *was)
{
    struct checker *c = t->checker, *old = was->checker;
    bool under_way = was->checking || was->again;
    if (!is_checked(c) || !is_checked(old))
        return;
    t->due_ms = adopt_time(c, old, was->due_ms);
    t->next_ask_ms = adopt_time(c, old, was->next_ask_ms);
    t->began_ms = was->began_ms;
    t->asked = was->asked;
    t->look = was->look;
    if (was->check && probe_same(c->pool->config, old->pool->config)) {
        adopt_check(t, was);
    } else if (under_way) {
        t->anew = true;
        t->asked |= was->checking && was->decides;
        if (t->named) /* what it was to examine */
            t->named->candidates.new_answer |= t->named->span.from == 0;
    }
    /* The roster forgets a suspicion that no check can answer now. */
    t->asked = t->asked && roster_suspicion(c->roster, t->server) == ROSTER_PENDING;
}

static void adopt_name(struct target *t, struct target *was)
{
    struct checker *c = t->checker;
    assert(t->named->resolver == NULL && was->named->resolver != NULL);
    free(t->named);
    t->named = was->named;
    was->named = NULL;
    resolver_hand_over(t->named->resolver, c->pool->config->resolve_ms, t);
    c->open++;
    closed_one(was->checker);
}

void checker_adopt(struct checker *c, struct checker *old)
{
    assert(!c->first && !c->running && !c->closing && old->running && !old->closing);
    uv_update_time(c->loop);
    for (unsigned i = 0; i < c->ntargets; i++) {
        struct target *t = &c->targets[i];
        if (!pool_stays(c->pool, i, old->pool))
            continue;
        struct target *was = &old->targets[pool_before(c->pool, i, old->pool)->id];
        t->adopted = true;
        if (t->named)
            adopt_name(t, was);
        adopt_checks(t, was);
    }
}

/* ---- life ---- */

static void init_target(struct checker *c, unsigned server)
{
    struct target *t = &c->targets[server];
    t->checker = c;
    t->server = server;
    if (!server_by_name(server_of(t)))
        return;
    t->named = mem_zalloc(sizeof *t->named);
    candidates_init(&t->named->candidates);
}

struct checker *checker_new(struct pool *pool, struct roster *roster)
{
    struct checker *c = mem_zalloc(sizeof *c);
    c->pool = pool;
    c->roster = roster;
    c->health = &pool->config->health;
    c->ntargets = pool->nservers;
    c->targets = mem_zalloc_array(c->ntargets, sizeof *c->targets);
    for (unsigned i = 0; i < c->ntargets; i++)
        init_target(c, i);
    return c;
}

void checker_free(struct checker *c)
{
    for (unsigned i = 0; i < c->ntargets; i++)
        free(c->targets[i].named);
    free(c->targets);
    free(c);
}

static void init_timer(struct checker *c, uv_timer_t *t)
{
    int err = uv_timer_init(c->loop, t); /* only fills in the handle */
    assert(err == 0);
    (void)err;
    t->data = c;
    c->open++;
}

void checker_open(struct checker *c, struct net *net, const struct checker_names *names)
{
    uint64_t gap = (uint64_t)GAP_MS * c->ntargets;
    assert(c->net == NULL);
    c->net = net;
    c->loop = net->loop;
    if (names)
        c->names = *names;
    probe_ticks_init(&c->ticks, net, c->health->interval_ms < gap ? LONG_TICK_MS : TICK_MS);
    init_timer(c, &c->tick);
    init_timer(c, &c->alarm);
    roster_on_wake(c->roster, on_wake, c);
}

static void close_target(struct target *t)
{
    if (t->check != NULL)
        check_cancel(t->check);
    if (t->named && t->named->resolver)
        resolver_close(t->named->resolver);
}

void checker_close(struct checker *c, checker_fn *on_closed, void *arg)
{
    assert(c->net && !c->closing);
    c->closing = true;
    c->on_closed = on_closed;
    c->closed_arg = arg;
    roster_on_wake(c->roster, NULL, NULL);
    uv_close((uv_handle_t *)&c->tick, on_handle_closed);
    uv_close((uv_handle_t *)&c->alarm, on_handle_closed);
    for (unsigned i = 0; i < c->ntargets; i++)
        close_target(&c->targets[i]);
}
