#include "health/checker.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "health/probe.h"

struct target {
    struct checker *checker;
    unsigned server;
    uv_timer_t timer;    /* until the next check begins */
    struct probe *probe; /* NULL: none is running */
    uint64_t began_ms;   /* the last one */
};

struct checker {
    uv_loop_t *loop;
    struct pool *pool;
    struct roster *roster;
    const struct config_health *health;
    struct target *targets;
    unsigned ntargets;
    uv_timer_t tick;
    bool first;         /* the first checks are on */
    unsigned first_due; /* how many of them have not ended */
    bool running, closing;
    unsigned open; /* handles and probes that are not closed yet */
    checker_fn *on_done, *on_closed;
    void *done_arg, *closed_arg;
};

static void start_timer(uv_timer_t *t, uv_timer_cb cb, uint64_t ms)
{
    int err = uv_timer_start(t, cb, ms, 0); /* fails for a closing handle or without cb alone */
    assert(err == 0);
    (void)err;
}

/* ---- closing ---- */

static void closed_one(struct checker *c)
{
    assert(c->open > 0);
    if (--c->open > 0 || !c->closing)
        return;
    checker_fn *on_closed = c->on_closed;
    void *arg = c->closed_arg;
    free(c->targets);
    free(c);
    on_closed(arg);
}

static void on_handle_closed(uv_handle_t *h)
{
    closed_one(h->data);
}

static void on_target_closed(uv_handle_t *h)
{
    struct target *t = h->data;
    closed_one(t->checker);
}

static void on_probe_closed(void *arg)
{
    struct target *t = arg;
    closed_one(t->checker);
}

/* ---- time ---- */

static void on_tick(uv_timer_t *t)
{
    struct checker *c = t->data;
    roster_tick(c->roster, uv_now(c->loop));
    checker_rearm(c);
}

void checker_rearm(struct checker *c)
{
    if (!c->running || c->closing)
        return;
    uint64_t at = roster_next_ms(c->roster), now = uv_now(c->loop);
    if (at == UINT64_MAX)
        uv_timer_stop(&c->tick);
    else
        start_timer(&c->tick, on_tick, at > now ? at - now : 0);
}

/* ---- checks ---- */

static void begin(struct target *t);

static void on_begin(uv_timer_t *timer)
{
    begin(timer->data);
}

/* A quarter of a few ms is nothing, and a check on the heels of the other is enough of a hurry. */
static uint64_t pause_ms(const struct checker *c, bool changing)
{
    uint64_t ms = changing ? c->health->interval_ms / 4 : c->health->interval_ms;
    return ms > 0 ? ms : 1;
}

static void schedule(struct target *t, bool changing)
{
    struct checker *c = t->checker;
    uint64_t at = t->began_ms + pause_ms(c, changing), now = uv_now(c->loop);
    start_timer(&t->timer, on_begin, at > now ? at - now : 0);
}

static void on_first_done(struct checker *c)
{
    c->first = false;
    c->on_done(c->done_arg);
}

static void log_not_done(const struct target *t, const char *reason)
{
    struct log_line l;
    if (!log_begin(&l, LOG_WARN, "check not possible"))
        return;
    log_str(&l, "pool", t->checker->pool->config->name);
    log_str(&l, "server", t->checker->pool->servers[t->server].name);
    log_str(&l, "reason", reason);
    log_end(&l);
}

static void on_probe_done(void *arg, enum probe_outcome outcome, const char *reason)
{
    struct target *t = arg;
    struct checker *c = t->checker;
    t->probe = NULL;
    if (outcome == PROBE_NOT_DONE)
        log_not_done(t, reason);
    if (c->first) {
        roster_first(c->roster, t->server, outcome != PROBE_FAIL, reason, uv_now(c->loop));
        assert(c->first_due > 0);
        if (--c->first_due == 0)
            on_first_done(c);
        return;
    }
    bool changing = roster_changing(c->roster, t->server);
    if (outcome != PROBE_NOT_DONE)
        changing =
            roster_check(c->roster, t->server, outcome == PROBE_PASS, reason, uv_now(c->loop));
    schedule(t, changing);
    checker_rearm(c);
}

static void begin(struct target *t)
{
    struct checker *c = t->checker;
    struct probe_callbacks cb = {.on_done = on_probe_done, .on_closed = on_probe_closed, .arg = t};
    assert(t->probe == NULL && !c->closing);
    c->open++;
    t->probe = probe_start(c->loop, c->health, c->pool->config->send_head,
                           &c->pool->servers[t->server], &cb);
    t->began_ms = uv_now(c->loop);
}

static void on_nothing_first(uv_timer_t *t)
{
    on_first_done(t->data);
}

void checker_first(struct checker *c, checker_fn *on_done, void *arg)
{
    assert(!c->first && !c->running && !c->closing);
    c->first = true;
    c->on_done = on_done;
    c->done_arg = arg;
    if (c->health->check == CHECK_OFF) {
        start_timer(&c->tick, on_nothing_first, 0);
        return;
    }
    c->first_due = c->ntargets;
    for (unsigned i = 0; i < c->ntargets; i++)
        begin(&c->targets[i]);
}

void checker_run(struct checker *c)
{
    assert(!c->first && !c->running && !c->closing);
    c->running = true;
    uv_update_time(c->loop);
    if (c->health->check != CHECK_OFF)
        for (unsigned i = 0; i < c->ntargets; i++)
            start_timer(&c->targets[i].timer, on_begin,
                        c->health->interval_ms * (i + 1) / c->ntargets);
    checker_rearm(c);
}

/* ---- life ---- */

static void init_timer(struct checker *c, uv_timer_t *t, void *data)
{
    int err = uv_timer_init(c->loop, t); /* only fills in the handle */
    assert(err == 0);
    (void)err;
    t->data = data;
    c->open++;
}

struct checker *checker_new(uv_loop_t *loop, struct pool *pool, struct roster *roster)
{
    struct checker *c = mem_zalloc(sizeof *c);
    c->loop = loop;
    c->pool = pool;
    c->roster = roster;
    c->health = &pool->config->health;
    c->ntargets = pool->nservers;
    c->targets = mem_zalloc_array(c->ntargets, sizeof *c->targets);
    init_timer(c, &c->tick, c);
    for (unsigned i = 0; i < c->ntargets; i++) {
        struct target *t = &c->targets[i];
        t->checker = c;
        t->server = i;
        init_timer(c, &t->timer, t);
    }
    return c;
}

void checker_close(struct checker *c, checker_fn *on_closed, void *arg)
{
    assert(!c->closing);
    c->closing = true;
    c->on_closed = on_closed;
    c->closed_arg = arg;
    uv_close((uv_handle_t *)&c->tick, on_handle_closed);
    for (unsigned i = 0; i < c->ntargets; i++) {
        struct target *t = &c->targets[i];
        uv_close((uv_handle_t *)&t->timer, on_target_closed);
        if (t->probe != NULL)
            probe_cancel(t->probe);
        t->probe = NULL;
    }
}
