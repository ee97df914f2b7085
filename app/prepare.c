#include "app/prepare.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/background.h"
#include "base/mem.h"

#define NICER 10

struct prepare {
    uv_async_t done;
    pthread_t thread;
    char *file, *text; /* text NULL: the file is read */
    size_t text_len;
    bool replace;
    roster_notify_fn *notify;
    void *notify_arg;
    struct disposal *disposal;
    _Atomic bool cancelled;
    struct prepared result; /* the thread's until `done` is sent */
    prepare_fn *on_done;
    void *arg;
};

/* The plan points into both generations. */
static void free_generations(void *arg)
{
    struct prepared *p = arg;
    plan_free(p->plan);
    service_free(p->service);
    snapshot_unref(p->old);
    free(p);
}

void prepared_deinit(struct prepared *p, struct disposal *d)
{
    replace_free(p->replacement);
    config_errors_free(&p->errors);
    if (p->old) {
        struct prepared *rest = mem_zalloc(sizeof *rest);
        *rest = (struct prepared){.plan = p->plan, .service = p->service, .old = p->old};
        disposal_take(d, free_generations, rest);
    }
    *p = (struct prepared){0};
}

int prepared_status(const struct error *e)
{
    return e->code == ESTALE ? 409 : e->code == ENOSPC || e->code == EDQUOT ? 507 : 500;
}

/* ---- the thread ---- */

/* One error that has no place in the file. */
static void add_error(struct config_errors *errors, const char *file, const char *text)
{
    size_t n = strlen(file) + strlen(text) + 3;
    assert(errors->count == 0);
    errors->lines = mem_zalloc_array(1, sizeof *errors->lines);
    errors->lines[0] = mem_zalloc(n);
    snprintf(errors->lines[0], n, "%s: %s", file, text);
    errors->count = 1;
}

/* Servers of a that b has not; one at another address is another one. */
static size_t count_others(const struct snapshot *a, const struct snapshot *b)
{
    size_t n = 0;
    for (size_t i = 0; i < a->npools; i++) {
        const struct pool *pool = a->pools[i];
        size_t at = snapshot_find_pool(b, pool->config->name);
        for (unsigned id = 0; id < pool->nservers; id++)
            n += at == b->npools || !pool_find_server(b->pools[at], pool->members[id].server);
    }
    return n;
}

/* Each ring that is the same as before is shared, not built. */
static void build(struct prepare *p, struct config *c)
{
    struct prepared *r = &p->result;
    struct error e;
    struct snapshot *s = snapshot_new(c, r->old, r->old->generation + 1, r->old->nworkers,
                                      p->notify, p->notify_arg, &e);
    if (s) {
        const struct plan_side before = {r->old->config, r->old->pools};
        const struct plan_side after = {c, s->pools};
        r->service = service_new(s, p->disposal);
        r->plan = plan_new(&before, &after, &e);
    }
    if (r->plan) {
        r->nadded = count_others(s, r->old);
        r->nremoved = count_others(r->old, s);
        return;
    }
    service_free(r->service);
    r->service = NULL;
    add_error(&r->errors, p->file, e.text);
}

/* An edit that nobody has put in force would be lost. */
static bool is_edited(const struct prepare *p)
{
    const struct config *old = p->result.old->config;
    struct str text = replace_old(p->result.replacement);
    return !str_eq(text, (struct str){old->text, old->text_len}) &&
           !str_eq(text, (struct str){p->text, p->text_len});
}

/* Puts the text on the disk, where its name is all that is missing. */
static void write_text(struct prepare *p)
{
    struct prepared *r = &p->result;
    r->replacement = replace_open(p->file, CONFIG_MAX_FILE, &r->error);
    if (r->replacement && is_edited(p))
        error_set(&r->error, ESTALE, "%s: the file was edited and not put in force", p->file);
    else if (r->replacement &&
             replace_write(r->replacement, (struct str){p->text, p->text_len}, &r->error))
        return;
    r->status = prepared_status(&r->error);
}

static void *run(void *arg)
{
    struct prepare *p = arg;
    struct config *c = p->text ? config_parse(p->file, p->text, p->text_len, &p->result.errors)
                               : config_reload(p->file, &p->result.errors);
    if (c && !atomic_load(&p->cancelled))
        build(p, c);
    if (p->replace && p->result.plan)
        write_text(p);
    config_unref(c); /* the snapshot has a reference of its own */
    int r = uv_async_send(&p->done);
    assert(r == 0); /* the handle is open until it comes */
    (void)r;
    return NULL;
}

/* ---- the loop ---- */

static void on_handle_closed(uv_handle_t *h)
{
    struct prepare *p = h->data;
    prepared_deinit(&p->result, p->disposal);
    free(p->file);
    free(p->text);
    free(p);
}

static void on_done(uv_async_t *async)
{
    struct prepare *p = async->data;
    int r = pthread_join(p->thread, NULL); /* it has nothing left to do */
    assert(r == 0);
    (void)r;
    uv_close((uv_handle_t *)async, on_handle_closed);
    if (!p->cancelled)
        p->on_done(p->arg, &p->result);
}

struct prepare *prepare_start(const struct prepare_options *o, prepare_fn *done, void *arg,
                              struct error *e)
{
    struct prepare *p = mem_zalloc(sizeof *p);
    int r = uv_async_init(o->loop, &p->done, on_done);
    if (r < 0) {
        error_set(e, -r, "reload: %s", uv_strerror(r));
        free(p);
        return NULL;
    }
    p->done.data = p;
    p->file = mem_strdup(o->old->config->file);
    if (o->text) {
        p->text = mem_zalloc(o->text->n + 1);
        memcpy(p->text, o->text->p, o->text->n);
        p->text_len = o->text->n;
        p->replace = o->replace;
    }
    p->disposal = o->disposal;
    p->notify = o->notify;
    p->notify_arg = o->notify_arg;
    p->result.old = snapshot_ref(o->old);
    p->on_done = done;
    p->arg = arg;
    r = background_start(&p->thread, "prepare", NICER, run, p);
    if (r == 0)
        return p;
    error_errno(e, r, "thread");
    uv_close((uv_handle_t *)&p->done, on_handle_closed);
    return NULL;
}

void prepare_cancel(struct prepare *p)
{
    atomic_store(&p->cancelled, true);
}
