#include "app/role.h"

#include <assert.h>
#include <stdlib.h>

#include "app/role_hooks.h"
#include "base/log.h"
#include "base/mem.h"

struct role {
    struct role_options o; /* `cluster` is not used after role_new() */
    struct role_hooks *hooks;
    uv_timer_t step; /* ACTIVATING: until it is tried again; LEAVING: for on_standby */
    uv_timer_t cut;  /* armed while something may be open from before */
    unsigned nopen;  /* timers */
    enum role_state state;
    uint64_t epoch;
    bool wish, told;  /* told: the fleet has said what it wants */
    bool started;     /* the wish is followed */
    unsigned nleaves; /* runs of on_standby before listen() ends, which have not ended */
    bool failing;
    bool moved_on;              /* another process has the address */
    bool leaving;               /* the process stops */
    void (*on_left)(void *arg); /* NULL: it was called, or there is none to call */
    void *left_arg;
};

static void follow(struct role *r);

/* ---- states ---- */

static void log_role(const struct role *r, const char *event)
{
    struct log_line line;
    if (!log_begin(&line, LOG_INFO, event))
        return;
    log_u64(&line, "epoch", r->epoch);
    log_end(&line);
}

static void run(struct role *r, enum role_hook which, void (*on_end)(void *arg))
{
    if (!r->moved_on)
        role_hooks_run(r->hooks, which, r->epoch, on_end, r);
}

static void left(struct role *r)
{
    void (*on_left)(void *arg) = r->on_left;
    r->on_left = NULL;
    if (on_left)
        on_left(r->left_arg);
}

static void on_again(uv_timer_t *timer)
{
    follow(timer->data);
}

static void activate(struct role *r)
{
    struct error e;
    if (!r->o.ops->listen(r->o.arg, &e)) {
        if (!r->failing)
            log_event(LOG_ERROR, "activation failed", e.text);
        r->failing = true;
        r->state = ROLE_ACTIVATING;
        uv_timer_start(&r->step, on_again, ROLE_AGAIN_MS, 0);
        return;
    }
    r->failing = false;
    r->state = ROLE_ACTIVE;
    uv_timer_stop(&r->cut);
    log_role(r, "active");
    run(r, ROLE_HOOK_ACTIVE, NULL);
    r->o.ops->changed(r->o.arg, true);
}

/* The address is gone, or its command had its time. Whoever wants this one active again meanwhile
 * has to have the address announced again. */
static void silence(struct role *r)
{
    uv_timer_stop(&r->step);
    if (r->leaving) {
        left(r);
    } else if (r->wish) {
        r->state = ROLE_ACTIVE;
        run(r, ROLE_HOOK_ACTIVE, NULL);
    } else {
        r->state = ROLE_SILENCING;
        r->o.ops->silence(r->o.arg);
    }
}

static void on_hook_ended(void *arg)
{
    struct role *r = arg;
    if (--r->nleaves == 0 && r->state == ROLE_LEAVING)
        silence(r);
}

static void on_hook_late(uv_timer_t *timer)
{
    log_event(LOG_WARN, "command is slow", "on_standby has not ended, the role goes without it");
    silence(timer->data);
}

/* A command of the last time, which took too long, may still run: that is not the one to wait for.
 */
static void leave(struct role *r)
{
    r->state = ROLE_LEAVING;
    if (r->moved_on || !role_hooks_has(r->hooks, ROLE_HOOK_STANDBY)) {
        silence(r);
        return;
    }
    uv_timer_start(&r->step, on_hook_late, ROLE_LEAVE_MS, 0);
    r->nleaves++;
    run(r, ROLE_HOOK_STANDBY, on_hook_ended);
}

/* Does what the wish asks for, if there is something to be done in this state. */
static void follow(struct role *r)
{
    if (!r->started || r->leaving)
        return;
    bool idle = r->state == ROLE_STANDBY || r->state == ROLE_ACTIVATING;
    if (idle && r->wish) {
        activate(r);
    } else if (r->state == ROLE_ACTIVATING) {
        r->state = ROLE_STANDBY;
        r->failing = false;
        uv_timer_stop(&r->step);
    } else if (r->state == ROLE_ACTIVE && !r->wish) {
        leave(r);
    }
}

static void on_cut(uv_timer_t *timer)
{
    struct role *r = timer->data;
    r->o.ops->cut(r->o.arg);
}

/* ---- the interface ---- */

struct role *role_new(const struct role_options *o, int *uv_error)
{
    const struct config_cluster *c = o->cluster;
    struct role *r = mem_zalloc(sizeof *r);
    *uv_error = uv_timer_init(o->loop, &r->step);
    if (*uv_error == 0)
        *uv_error = uv_timer_init(o->loop, &r->cut);
    if (*uv_error < 0) {
        free(r);
        return NULL;
    }
    r->nopen = 2;
    r->step.data = r->cut.data = r;
    r->o = *o;
    r->o.cluster = NULL;
    r->hooks = role_hooks_new(o->loop, c->node, c->on_active, c->on_standby);
    return r;
}

void role_begin(struct role *r, bool goes_on)
{
    assert(!r->started);
    if (!goes_on)
        run(r, ROLE_HOOK_STANDBY, NULL);
}

/* Where it goes on the address is here, so on_active has nothing to do. */
void role_start(struct role *r, bool goes_on)
{
    struct error e;
    r->started = true;
    if (!r->told)
        r->wish = goes_on;
    if (goes_on && r->o.ops->listen(r->o.arg, &e)) {
        r->state = ROLE_ACTIVE;
        log_role(r, "active");
        r->o.ops->changed(r->o.arg, true);
    } else {
        log_role(r, "standby");
    }
    follow(r);
}

void role_configure(struct role *r, const struct config_cluster *c, uint64_t shutdown_timeout_ms)
{
    r->o.shutdown_timeout_ms = shutdown_timeout_ms;
    if (c)
        role_hooks_set(r->hooks, c->node, c->on_active, c->on_standby);
}

void role_set_most(struct role *r, uint64_t ms)
{
    role_hooks_set_most(r->hooks, ms);
}

void role_wish(struct role *r, bool active, uint64_t epoch)
{
    r->told = true;
    r->wish = active;
    r->epoch = epoch;
    follow(r);
}

void role_announce(struct role *r)
{
    if (r->state == ROLE_ACTIVE && r->started && !r->leaving)
        run(r, ROLE_HOOK_ACTIVE, NULL);
}

void role_silenced(struct role *r)
{
    if (r->state != ROLE_SILENCING)
        return;
    r->state = ROLE_STANDBY;
    uv_timer_start(&r->cut, on_cut, r->o.shutdown_timeout_ms, 0);
    log_role(r, "standby");
    r->o.ops->changed(r->o.arg, false);
    follow(r);
}

enum role_state role_state(const struct role *r)
{
    return r->state;
}

bool role_accepting(const struct role *r)
{
    return r->state == ROLE_ACTIVE || r->state == ROLE_LEAVING || r->state == ROLE_SILENCING;
}

bool role_failing(const struct role *r)
{
    return r->failing;
}

void role_leave(struct role *r, void (*on_left)(void *arg), void *arg)
{
    assert(!r->leaving);
    r->leaving = true;
    r->on_left = on_left;
    r->left_arg = arg;
    if (r->state == ROLE_ACTIVE) {
        leave(r);
    } else if (r->state != ROLE_LEAVING) { /* in that state it is under way */
        run(r, ROLE_HOOK_STANDBY, NULL);
        left(r);
    }
}

void role_hand_over(struct role *r)
{
    r->moved_on = r->leaving = true;
    uv_timer_stop(&r->step);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct role *r = handle->data;
    if (--r->nopen == 0)
        free(r);
}

void role_close(struct role *r)
{
    if (r == NULL)
        return;
    role_hooks_close(r->hooks);
    uv_close((uv_handle_t *)&r->step, on_timer_closed);
    uv_close((uv_handle_t *)&r->cut, on_timer_closed);
}
