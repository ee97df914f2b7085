#include "app/reload.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "app/notify.h"
#include "app/prepare.h"
#include "app/reload_tell.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"

enum reload_state { RELOAD_HELD, RELOAD_IDLE, RELOAD_READING, RELOAD_CHECKING, RELOAD_STOPPED };

/* One that asked. */
struct asker {
    struct list link;
    struct admin_reload what;
    char *text;          /* a copy, which `what` points to; NULL: it has none */
    admin_done_fn *done; /* NULL: nobody waits */
    void *arg;
};

struct reload {
    struct reload_options o;
    enum reload_state state;
    uv_timer_t pause;         /* until the next run of signals */
    uint64_t pause_ends_ms;   /* when it may begin at the soonest */
    struct list waiting;      /* for the next runs */
    struct list served;       /* by the run that is under way */
    struct admin_reload what; /* of this run */
    struct prepare *prepare;  /* READING */
    struct prepared ready;    /* CHECKING: the plan, and what it points into */
    struct service *next;     /* CHECKING */
    struct admin_reloads counts;
    void (*on_held)(void *arg); /* NULL: nobody wants to hold it */
    void *held_arg;
};

/* ---- who asks ---- */

/* The document, whose reference is taken over, goes to each of them. */
static void answer_all(struct list *askers, int status, json_t *document)
{
    list_foreach_safe(l, next, askers)
    {
        struct asker *a = container_of(l, struct asker, link);
        list_remove(&a->link);
        if (a->done)
            a->done(a->arg, status, json_incref(document));
        free(a->text);
        free(a);
    }
    json_decref(document);
}

/* One run can answer both. */
static bool same_kind(const struct admin_reload *a, const struct admin_reload *b)
{
    return !a->has_text && !b->has_text && !a->dry_run && !b->dry_run && a->force == b->force &&
           a->generation == b->generation;
}

static bool somebody_waits(const struct reload *r)
{
    list_foreach(l, &r->waiting) if (container_of(l, struct asker, link)->done) return true;
    return false;
}

static void begin_next(struct reload *r);

static void on_pause(uv_timer_t *timer)
{
    begin_next(timer->data);
}

/* The first that waits, and all others of its kind. */
static void take_askers(struct reload *r)
{
    struct list *first = r->waiting.next;
    r->what = container_of(first, struct asker, link)->what;
    list_foreach_safe(l, next, &r->waiting)
    {
        const struct asker *a = container_of(l, struct asker, link);
        if (l != first && !same_kind(&a->what, &r->what))
            continue;
        list_remove(l);
        list_push_back(&r->served, l);
    }
}

/* ---- a run ---- */

static struct service *current(const struct reload *r)
{
    return r->o.ops->current(r->o.arg);
}

/* Ends a run: what it has prepared and did not put in service is given up. */
static void end_run(struct reload *r, int status, json_t *document)
{
    prepared_deinit(&r->ready, r->o.disposal);
    answer_all(&r->served, status, document);
    if (r->state != RELOAD_STOPPED) {
        r->state = RELOAD_IDLE;
        if (!r->what.dry_run)
            notify_ready();
    }
    begin_next(r);
}

static void refuse(struct reload *r, int status, json_t *document)
{
    r->counts.refused += !r->what.dry_run;
    end_run(r, status, document);
}

/* The file can't be replaced by the text. */
static void refuse_replace(struct reload *r, int status, const struct error *e)
{
    refuse(r, status, tell_not_replaced(e->text));
}

/* For what has no place in the file. */
static void refuse_error(struct reload *r, const struct error *e)
{
    refuse(r, 422, tell_refused(e->text));
}

static void give_up_next(struct reload *r)
{
    if (r->next)
        service_close(r->next);
    r->next = NULL;
    sockets_forget(r->o.sockets);
}

/* Those who wait hear it, rather than that their connection ends; signals stay. */
static void turn_away(struct reload *r)
{
    struct list away;
    list_init(&away);
    list_foreach_safe(l, next, &r->waiting)
    {
        if (container_of(l, struct asker, link)->done == NULL)
            continue;
        list_remove(l);
        list_push_back(&away, l);
    }
    answer_all(&away, 503, tell_moved());
}

/* The new servers are checked: the last steps, in one turn of the loop. */
static void on_checked(void *arg)
{
    struct reload *r = arg;
    struct error e;
    assert(r->state == RELOAD_CHECKING);
    if (!sockets_listen(r->o.sockets, &e) || !r->o.ops->make_ready(r->o.arg, r->next, &e)) {
        give_up_next(r);
        refuse_error(r, &e);
        return;
    }
    if (r->ready.replacement && !replace_commit(r->ready.replacement, &e)) {
        r->o.ops->unmake(r->o.arg);
        give_up_next(r);
        refuse_replace(r, prepared_status(&e), &e);
        return;
    }
    struct service *next = r->next;
    r->next = NULL;
    r->counts.ok++;
    bool moves = r->o.ops->switch_over(r->o.arg, next);
    json_t *document = tell_reloaded(&r->ready, next->snapshot);
    prepared_deinit(&r->ready, r->o.disposal);
    answer_all(&r->served, 200, document);
    if (moves)
        turn_away(r);
    r->o.ops->answered(r->o.arg);
    end_run(r, 200, NULL);
}

static void check_new_servers(struct reload *r)
{
    r->state = RELOAD_CHECKING;
    r->next = r->ready.service;
    r->ready.service = NULL;
    service_open(r->next, r->o.net, &r->o.names);
    service_first(r->next, current(r), on_checked, r);
}

static void on_prepared(void *arg, struct prepared *p)
{
    struct reload *r = arg;
    struct error e;
    r->prepare = NULL;
    r->ready = *p;
    *p = (struct prepared){0};
    double bound = current(r)->snapshot->config->max_move;
    if (r->ready.errors.count)
        refuse(r, 422, tell_errors(&r->ready.errors, !r->what.dry_run));
    else if (r->what.dry_run)
        end_run(r, 200, tell_plan(r->ready.plan, bound));
    else if (r->ready.status)
        refuse_replace(r, r->ready.status, &r->ready.error);
    else if (!r->what.force && tell_exceeds(r->ready.plan, bound))
        refuse(r, 422, tell_bound(r->ready.plan, bound));
    else if (!sockets_bind(r->o.sockets, r->ready.service->snapshot->config, &e))
        refuse_error(r, &e);
    else
        check_new_servers(r);
}

static void begin_run(struct reload *r)
{
    struct error e;
    struct snapshot *old = current(r)->snapshot;
    take_askers(r);
    r->state = RELOAD_READING;
    if (!r->what.dry_run)
        notify_reloading();
    r->pause_ends_ms = uv_now(r->o.net->loop) + RELOAD_PAUSE_MS;
    if (r->what.generation && r->what.generation != old->generation) {
        end_run(r, 412, tell_changed());
        return;
    }
    const struct prepare_options o = {.loop = r->o.net->loop,
                                      .old = old,
                                      .text = r->what.has_text ? &r->what.text : NULL,
                                      .replace = !r->what.dry_run,
                                      .disposal = r->o.disposal,
                                      .notify = r->o.notify,
                                      .notify_arg = r->o.arg};
    r->prepare = prepare_start(&o, on_prepared, r, &e);
    if (r->prepare == NULL)
        refuse_error(r, &e);
}

static void hold(struct reload *r)
{
    void (*on_held)(void *) = r->on_held;
    r->on_held = NULL;
    r->state = RELOAD_HELD;
    uv_timer_stop(&r->pause);
    on_held(r->held_arg);
}

static void begin_next(struct reload *r)
{
    if (r->state == RELOAD_IDLE && r->on_held) {
        hold(r);
        return;
    }
    uint64_t now = uv_now(r->o.net->loop);
    if (r->state != RELOAD_IDLE || list_empty(&r->waiting))
        return;
    if (somebody_waits(r) || now >= r->pause_ends_ms)
        begin_run(r);
    else
        uv_timer_start(&r->pause, on_pause, r->pause_ends_ms - now, 0);
}

/* ---- the interface ---- */

void reload_ask(struct reload *r, const struct admin_reload *what, admin_done_fn *done, void *arg)
{
    if (r->state == RELOAD_STOPPED || (r->state == RELOAD_HELD && done)) {
        if (done)
            done(arg, 503, tell_unready());
        else
            log_event(LOG_WARN, "reload refused", "the proxy stops");
        return;
    }
    struct asker *a = mem_zalloc(sizeof *a);
    a->what = *what;
    if (what->has_text) {
        a->text = mem_zalloc(what->text.n + 1); /* never of size 0 */
        memcpy(a->text, what->text.p, what->text.n);
        a->what.text.p = a->text;
    }
    a->done = done;
    a->arg = arg;
    list_push_back(&r->waiting, &a->link);
    begin_next(r);
}

void reload_begin(struct reload *r)
{
    assert(r->state == RELOAD_HELD);
    r->state = RELOAD_IDLE;
    begin_next(r);
}

void reload_hold(struct reload *r, void (*on_held)(void *arg), void *arg)
{
    assert(r->on_held == NULL && r->state != RELOAD_HELD && r->state != RELOAD_STOPPED);
    r->on_held = on_held;
    r->held_arg = arg;
    begin_next(r);
}

bool reload_waits(const struct reload *r)
{
    return !list_empty(&r->waiting);
}

void reload_stop(struct reload *r)
{
    bool busy = r->state == RELOAD_READING || r->state == RELOAD_CHECKING;
    if (busy || !list_empty(&r->waiting))
        log_event(LOG_WARN, "reload refused", "the proxy stops");
    r->state = RELOAD_STOPPED;
    r->on_held = NULL;
    uv_timer_stop(&r->pause);
    if (r->prepare)
        prepare_cancel(r->prepare);
    r->prepare = NULL;
    give_up_next(r);
    prepared_deinit(&r->ready, r->o.disposal);
    answer_all(&r->served, 503, tell_unready());
    answer_all(&r->waiting, 503, tell_unready());
}

struct reload *reload_new(const struct reload_options *o, int *uv_error)
{
    struct reload *r = mem_zalloc(sizeof *r);
    *uv_error = uv_timer_init(o->net->loop, &r->pause);
    if (*uv_error < 0) {
        free(r);
        return NULL;
    }
    r->o = *o;
    r->pause.data = r;
    list_init(&r->waiting);
    list_init(&r->served);
    return r;
}

static void on_timer_closed(uv_handle_t *h)
{
    free(h->data);
}

void reload_close(struct reload *r)
{
    assert(r->state == RELOAD_STOPPED);
    uv_close((uv_handle_t *)&r->pause, on_timer_closed);
}

const struct admin_reloads *reload_counts(const struct reload *r)
{
    return &r->counts;
}
