#include "tests/lib/sim.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/splitmix.h"

#define LINES 400 /* kept of what was said */

struct event {
    struct heap_node node;
    struct sim_process *process; /* NULL: nobody's */
    unsigned life;
    sim_fn *fn, *drop;
    void *arg;
};

struct line {
    struct list link;
    char text[1500];
};

/* The order of events of one microsecond is that of their making. */
static uint64_t key_of(struct sim *s, uint64_t at_us)
{
    assert(at_us < UINT64_C(1) << 33 && s->events < UINT64_C(1) << 30);
    return at_us << 30 | s->events++;
}

static uint64_t due_us(const struct heap_node *n)
{
    return n->key >> 30;
}

void sim_init(struct sim *s, uint64_t seed)
{
    *s = (struct sim){.random = seed * 0x9e3779b97f4a7c15 + 1};
    list_init(&s->line);
}

double sim_between(struct sim *s, double low, double high)
{
    return low + (high - low) * splitmix_unit(&s->random);
}

unsigned sim_below(struct sim *s, unsigned n)
{
    return (unsigned)(splitmix_unit(&s->random) * n);
}

bool sim_chance(struct sim *s, double p)
{
    return splitmix_unit(&s->random) < p;
}

double sim_gap(struct sim *s, double mean)
{
    return -mean * log(1 - splitmix_unit(&s->random));
}

static void push(struct sim *s, struct sim_process *p, uint64_t at_us, sim_fn *fn, void *arg,
                 sim_fn *drop)
{
    struct event *e = mem_zalloc(sizeof *e);
    *e = (struct event){.process = p, .life = p ? p->life : 0, .fn = fn, .drop = drop, .arg = arg};
    heap_push(&s->heap, &e->node, key_of(s, at_us < s->now_us ? s->now_us : at_us));
}

void sim_post(struct sim *s, uint64_t at_us, sim_fn *fn, void *arg, sim_fn *drop)
{
    push(s, NULL, at_us, fn, arg, drop);
}

void sim_send(struct sim_process *p, uint64_t at_us, sim_fn *fn, void *arg, sim_fn *drop)
{
    push(p->sim, p, at_us, fn, arg, drop);
}

static void drop(struct event *e)
{
    if (e->drop)
        e->drop(e->arg);
    free(e->arg);
    free(e);
}

void sim_deinit(struct sim *s)
{
    for (struct heap_node *n; (n = heap_first(&s->heap)) != NULL;) {
        heap_remove(&s->heap, n);
        drop(container_of(n, struct event, node));
    }
    list_foreach_safe(it, next, &s->line) free(container_of(it, struct line, link));
}

bool sim_process_runs(const struct sim_process *p)
{
    return p->alive && p->stopped_us == 0;
}

/* Whether an event may reach its process; if not, it was dropped, or waits. */
static bool reaches(struct sim *s, struct event *e)
{
    struct sim_process *p = e->process;
    if (p == NULL)
        return true;
    if (!p->alive || e->life != p->life) {
        drop(e);
        return false;
    }
    if (s->now_us < p->stopped_us) {
        heap_push(&s->heap, &e->node, key_of(s, p->stopped_us));
        return false;
    }
    if (p->stopped_us) {
        p->stopped_us = 0;
        sim_say(s, "%s goes on", p->name);
        if (p->on_wake)
            p->on_wake(p->arg);
        if (!p->alive || e->life != p->life) {
            drop(e);
            return false;
        }
    }
    return true;
}

void sim_run(struct sim *s, uint64_t until_us, bool (*stop)(void *arg), void *arg)
{
    for (struct heap_node *n; (n = heap_first(&s->heap)) != NULL && due_us(n) <= until_us;) {
        if (stop && stop(arg))
            return;
        s->now_us = due_us(n);
        heap_remove(&s->heap, n);
        struct event *e = container_of(n, struct event, node);
        if (!reaches(s, e))
            continue;
        e->fn(e->arg);
        free(e->arg);
        free(e);
    }
    s->now_us = until_us;
}

void sim_process_start(struct sim_process *p)
{
    assert(!p->alive);
    p->alive = true;
    p->stopped_us = 0;
    p->life++;
}

void sim_process_kill(struct sim_process *p)
{
    p->alive = false;
    p->stopped_us = 0;
}

void sim_process_stop(struct sim_process *p, uint64_t until_us)
{
    if (until_us > p->stopped_us)
        p->stopped_us = until_us;
}

double sim_mono(const struct sim_process *p)
{
    return (double)p->sim->now_us / SIM_MS * p->pace + p->offset_ms;
}

uint64_t sim_mono_ms(const struct sim_process *p)
{
    return (uint64_t)sim_mono(p);
}

uint64_t sim_wall_ms(const struct sim_process *p)
{
    return (uint64_t)((int64_t)(p->sim->now_us / SIM_MS) + p->wall_ms);
}

/* ---- timers: an event that knows its timer, and does nothing if that was stopped meanwhile ----
 */

struct due {
    struct sim_timer *timer; /* NULL: it was stopped */
};

static void on_due(void *arg)
{
    struct due *d = arg;
    struct sim_timer *t = d->timer;
    if (t == NULL)
        return;
    t->due = NULL;
    t->fn(t->arg);
}

static void on_due_dropped(void *arg)
{
    struct due *d = arg;
    if (d->timer)
        d->timer->due = NULL;
}

void sim_timer_start(struct sim_timer *t, struct sim_process *p, double in_ms, sim_fn *fn,
                     void *arg)
{
    sim_timer_stop(t);
    struct due *d = mem_zalloc(sizeof *d);
    *d = (struct due){.timer = t};
    *t = (struct sim_timer){.due = d, .fn = fn, .arg = arg};
    /* never before its time by that clock */
    double us = in_ms <= 0 ? 0 : ceil(in_ms * SIM_MS / p->pace) + 1;
    sim_send(p, p->sim->now_us + (uint64_t)us, on_due, d, on_due_dropped);
}

void sim_timer_stop(struct sim_timer *t)
{
    if (t->due)
        ((struct due *)t->due)->timer = NULL;
    t->due = NULL;
}

/* ---- what happens ---- */

void sim_say(struct sim *s, const char *format, ...)
{
    struct line *l;
    if (s->nlines < LINES) {
        l = mem_zalloc(sizeof *l);
        s->nlines++;
    } else {
        l = container_of(s->line.next, struct line, link);
        list_remove(&l->link);
    }
    int at = snprintf(l->text, sizeof l->text, "%10.3f ", (double)s->now_us / SIM_MS);
    va_list args;
    va_start(args, format);
    vsnprintf(l->text + at, sizeof l->text - (size_t)at, format, args);
    va_end(args);
    list_push_back(&s->line, &l->link);
    if (s->tells)
        fprintf(stderr, "%s\n", l->text);
}

void sim_show(struct sim *s)
{
    if (s->tells)
        return; /* they were shown */
    list_foreach(it, &s->line) fprintf(stderr, "%s\n", container_of(it, struct line, link)->text);
}
