#include "bench/failover/play.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "bench/failover/rig.h"
#include "bench/load/http_wire.h"

#define SECOND_NS 1000000000u
#define MS_NS 1000000u
#define TIMEOUT_NS (15u * (uint64_t)SECOND_NS) /* longer than any of the proxies waits */
#define PROGRESS_NS (SECOND_NS / 4)
#define NO_FAULT SIZE_MAX

struct player {
    const struct play_options *o;
    const struct scenario *s;
    struct finding *f;
    struct rig rig;
    struct keys keys;
    struct wire *wire;
    struct load_options load_options; /* must stay here: the load refers to them */
    struct load *load;
    unsigned troubles[SCENARIO_MAX_SERVERS];
    size_t open[SCENARIO_MAX_SERVERS]; /* index of the fault that a server has now, or NO_FAULT */
    uint64_t until_ns;                 /* the time since the start that on_time() waits for */
    uint64_t told_ns;                  /* when the line of progress was printed last */
    bool well;                         /* false: a process ended by itself, `why` says which */
    struct error why;
};

/* Since the start of the load. */
static uint64_t now_ns(const struct player *p)
{
    return clock_now_ns() - load_started_ns(p->load);
}

/* ---- the live line ---- */

static void tell_progress(struct player *p)
{
    struct load_progress l;
    if (!p->o->progress || (p->told_ns && now_ns(p) < p->told_ns + PROGRESS_NS))
        return;
    p->told_ns = now_ns(p);
    load_progress(p->load, &l);
    fprintf(stderr, "\r%s: %.0f of %.0f s, %llu sent, %llu without answer ", p->s->name,
            (double)p->told_ns / SECOND_NS, (double)p->s->duration_ms / 1000,
            (unsigned long long)l.sent, (unsigned long long)l.failed);
}

static void end_progress(struct player *p)
{
    if (p->o->progress && p->told_ns)
        fprintf(stderr, "\r\x1b[K");
}

/* ---- faults ---- */

static void begin_fault(struct player *p, unsigned server, size_t event, uint64_t from_ns)
{
    struct finding *f = p->f;
    f->faults = mem_grow(f->faults, f->nfaults + 1, sizeof *f->faults);
    f->faults[f->nfaults] = (struct aftermath_fault){.server = f->names[server],
                                                     .from_ns = from_ns,
                                                     .to_ns = AFTERMATH_NONE,
                                                     .event = (unsigned)event};
    p->open[server] = f->nfaults++;
}

/* Carries out an event on one server. A fault begins before the act that hurts and ends after the
 * act that heals, so that all its effects lie within it. */
static bool act(struct player *p, size_t event, unsigned server, struct error *e)
{
    const struct scenario_event *v = &p->s->events[event];
    unsigned before = p->troubles[server], after = scenario_after(before, v->act, v->value);
    assert(server < SCENARIO_MAX_SERVERS);
    /* A second trouble of a server that is hurt belongs to the fault that has begun. */
    if (server < p->rig.nservers && !before && after)
        begin_fault(p, server, event, now_ns(p));
    if (!rig_act(&p->rig, v, server, e))
        return false;
    p->troubles[server] = after;
    if (!after && p->open[server] != NO_FAULT) {
        p->f->faults[p->open[server]].to_ns = now_ns(p);
        p->open[server] = NO_FAULT;
    }
    return true;
}

/* ---- time ---- */

static bool is_well(struct player *p)
{
    if (p->well)
        p->well = rig_is_well(&p->rig, &p->why);
    return p->well;
}

static bool on_time(void *player)
{
    struct player *p = player;
    tell_progress(p);
    return !is_well(p) || now_ns(p) >= p->until_ns;
}

static bool on_load_over(void *player)
{
    struct player *p = player;
    tell_progress(p);
    return !is_well(p) || load_over(p->load);
}

static bool await(struct player *p, wait_condition_fn *condition, uint64_t time_ms,
                  const char *what, struct error *e)
{
    enum wait_result r = wait_until(p->o->wait, condition, p, time_ms);
    if (r != WAIT_DONE)
        wait_explain(p->o->wait, r, time_ms, e, "%s", what);
    else if (!p->well)
        *e = p->why;
    return r == WAIT_DONE && p->well;
}

static bool play_events(struct player *p, struct error *e)
{
    for (size_t i = 0; i < p->s->nevents; i++) {
        const struct scenario_event *v = &p->s->events[i];
        p->until_ns = v->at_ms * MS_NS;
        p->rig.culprit = NULL;
        if (!await(p, on_time, v->at_ms + 1000, "the next event", e))
            return false;
        p->f->begun_ns[i] = now_ns(p);
        for (size_t k = 0; k < v->nservers; k++)
            if (!act(p, i, v->servers[k], e))
                return false;
        p->f->done_ns[i] = now_ns(p);
    }
    p->rig.culprit = NULL;
    /* The last requests have their timeout; the rest is for a machine that is slow. */
    uint64_t end_ms = p->s->duration_ms + TIMEOUT_NS / MS_NS + 10000;
    return await(p, on_load_over, end_ms, "the end of the load", e);
}

/* ---- the load ---- */

static bool start_load(struct player *p, struct error *e)
{
    char host[ADDR_TEXT_MAX];
    addr_format(&p->rig.target, host);
    const struct http_wire_options w = {
        .method = STR("GET"),
        .target = STR("/"),
        .host = str_of(host),
        .key_in = "header:X-Key",
        .backend_from = "header:X-Backend",
    };
    keys_init(&p->keys, p->s->keys);
    p->keys.dist = KEYS_SEQUENTIAL; /* every key is requested again after keys / rate seconds */
    p->wire = http_wire_new(&w, e);
    if (p->wire == NULL)
        return false;
    p->load_options = (struct load_options){
        .target = p->rig.target,
        .wire = p->wire,
        .threads = 1,
        .connections = p->s->connections,
        .pipeline = 1,
        .rate = p->s->rate,
        .duration_ns = p->s->duration_ms * MS_NS,
        .timeout_ns = TIMEOUT_NS,
        .slow_ns = p->s->slow_ms * MS_NS,
        .keys = &p->keys,
        .seed = 1,
    };
    p->load = load_start(&p->load_options, e);
    return p->load != NULL;
}

/* On return the load is over, on success and on failure. */
static bool play_load(struct player *p, struct error *e)
{
    bool ok = start_load(p, e);
    if (ok) {
        ok = play_events(p, e);
        end_progress(p);
        if (!ok)
            load_abort(p->load);
        finding_take(p->f, load_finish(p->load), &p->load_options);
    }
    http_wire_free(p->wire);
    keys_deinit(&p->keys);
    return ok;
}

/* ---- a scenario ---- */

static void tell_last_words(const struct process *culprit)
{
    char text[4096];
    if (culprit == NULL)
        return;
    process_last_words(culprit, text, sizeof text);
    size_t n = strlen(text);
    if (n)
        fprintf(stderr, "--- the end of what %s said:\n%s%s---\n", culprit->name, text,
                text[n - 1] == '\n' ? "" : "\n");
}

bool play(const struct play_options *o, const struct scenario *s, struct finding *f,
          struct error *e)
{
    struct player p = {.o = o, .s = s, .f = f, .well = true};
    struct error more;
    for (size_t i = 0; i < SCENARIO_MAX_SERVERS; i++)
        p.open[i] = NO_FAULT;
    finding_init(f, s, o->proxy);
    if (!rig_open(&p.rig, o->wait, s, o->proxy, o->program, e))
        return false;
    bool ok = rig_start(&p.rig, e) && play_load(&p, e);
    if (!ok && !o->wait->interrupted) /* before rig_close() removes the file */
        tell_last_words(p.rig.culprit);
    if (o->keep)
        fprintf(stderr, "%s: its files are in %s\n", s->name, p.rig.folder);
    if (!rig_close(&p.rig, o->keep, ok ? e : &more))
        ok = false;
    if (ok && f->nfaults)
        aftermath_examine(&f->aftermath, f->result, s->keys, s->slow_ms * MS_NS, f->faults,
                          f->nfaults);
    return ok;
}
