#include "bench/load/load.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "bench/load/cpu.h"
#include "bench/load/load_thread.h"

const char *const load_error_names[LOAD_ERRORS] = {"connect", "reset",     "closed",
                                                   "timeout", "malformed", "unfinished"};

/* ---- life ---- */

static void load_free(struct load *l)
{
    for (unsigned i = 0; i < l->nthreads; i++)
        load_thread_deinit(&l->threads[i]);
    free(l->threads);
    free(l->owner);
    free(l->moved);
    uv_cond_destroy(&l->changed);
    uv_mutex_destroy(&l->lock);
    free(l);
}

static struct load *load_new(const struct load_options *o)
{
    struct load *l = mem_zalloc(sizeof *l);
    uint32_t nkeys = o->keys ? o->keys->n : 0;
    l->options = o;
    l->threads = mem_zalloc_array(o->threads, sizeof *l->threads);
    l->owner = mem_zalloc_array(nkeys, sizeof *l->owner);
    l->moved = mem_zalloc_array(nkeys, sizeof *l->moved);
    for (uint32_t i = 0; i < nkeys; i++)
        l->owner[i] = LOAD_NO_BACKEND;
    if (uv_mutex_init(&l->lock) != 0 || uv_cond_init(&l->changed) != 0)
        abort(); /* memory is out */
    return l;
}

static void post_all(struct load *l, enum load_message kind)
{
    for (unsigned i = 0; i < l->nthreads; i++)
        mailbox_post(&l->threads[i].mailbox, (int)kind, 0, NULL, NULL);
}

static void wait_for(struct load *l, const unsigned *count, unsigned n)
{
    uv_mutex_lock(&l->lock);
    while (*count < n)
        uv_cond_wait(&l->changed, &l->lock);
    uv_mutex_unlock(&l->lock);
}

/* Ends all threads, of which the first `started` ones have run. */
static void give_up(struct load *l, unsigned started)
{
    assert(started <= l->nthreads);
    wait_for(l, &l->ready, started); /* an earlier message would find clients that connect */
    post_all(l, LOAD_ABORT);         /* the others get the message when their loops run below */
    for (unsigned i = 0; i < started; i++)
        load_thread_join(&l->threads[i]);
    for (unsigned i = started; i < l->nthreads; i++)
        uv_run(&l->threads[i].loop, UV_RUN_DEFAULT);
    load_free(l);
}

/* Such an error is not the fault of the target, and the user can raise the limit. */
static bool is_lack_of_descriptors(int uv_error)
{
    return uv_error == UV_EMFILE || uv_error == UV_ENFILE;
}

static bool has_connected(const struct load *l, struct error *e)
{
    int why = 0;
    bool any = false;
    char text[ADDR_TEXT_MAX];
    for (unsigned i = 0; i < l->nthreads; i++) {
        any |= l->threads[i].connected > 0;
        if (!is_lack_of_descriptors(why))
            why = l->threads[i].connect_error;
    }
    if (is_lack_of_descriptors(why)) {
        error_set(e, -why, "%u connections: %s", l->options->connections, uv_strerror(why));
        return false;
    }
    if (any)
        return true;
    addr_format(&l->options->target, text);
    error_set(e, -why, "connect %s: %s", text, uv_strerror(why));
    return false;
}

struct load *load_start(const struct load_options *o, struct error *e)
{
    struct load *l = load_new(o);
    unsigned started = 0;
    bool ok = true;
    assert(o->wire && o->threads >= 1 && o->connections >= o->threads && o->pipeline >= 1);
    for (unsigned i = 0; i < o->threads && ok; i++) {
        ok = load_thread_init(&l->threads[i], l, i, e);
        l->nthreads += ok;
    }
    while (ok && started < l->nthreads) {
        ok = load_thread_run(&l->threads[started], e);
        started += ok;
    }
    if (ok) { /* the clock starts when all have tried to connect: that is not part of the load */
        wait_for(l, &l->ready, started);
        ok = has_connected(l, e);
    }
    if (!ok) {
        give_up(l, started);
        return NULL;
    }
    l->cpu_at_start = cpu_seconds();
    l->start_ns = clock_now_ns();
    l->end_ns = o->duration_ns ? l->start_ns + o->duration_ns : UINT64_MAX;
    post_all(l, LOAD_START);
    return l;
}

uint64_t load_started_ns(const struct load *l)
{
    return l->start_ns;
}

void load_progress(const struct load *l, struct load_progress *p)
{
    *p = (struct load_progress){.seconds = (double)(clock_now_ns() - l->start_ns) / 1e9};
    for (unsigned i = 0; i < l->nthreads; i++) {
        p->answered += atomic_load_explicit(&l->threads[i].answered, memory_order_relaxed);
        p->failed += atomic_load_explicit(&l->threads[i].failed, memory_order_relaxed);
        p->sent += atomic_load_explicit(&l->threads[i].sent, memory_order_relaxed);
    }
}

bool load_over(struct load *l)
{
    uv_mutex_lock(&l->lock);
    bool over = l->over == l->nthreads;
    uv_mutex_unlock(&l->lock);
    return over;
}

void load_stop(struct load *l)
{
    post_all(l, LOAD_STOP);
}

void load_abort(struct load *l)
{
    post_all(l, LOAD_ABORT);
}

/* ---- the result ---- */

static void add_counts(struct load_result *r, const struct load_thread *t)
{
    r->sent += atomic_load_explicit(&t->sent, memory_order_relaxed);
    r->answered += atomic_load_explicit(&t->answered, memory_order_relaxed);
    r->failed += atomic_load_explicit(&t->failed, memory_order_relaxed);
    r->connects += t->connects;
    r->bytes_in += t->bytes_in;
    r->bytes_out += t->bytes_out;
    r->unsent += t->unsent;
    r->unnamed_answers += t->unnamed;
    r->unasked += t->unasked;
    for (unsigned i = 0; i < LOAD_ERRORS; i++)
        r->errors[i] += t->errors[i];
    for (unsigned i = 0; i < sizeof r->statuses / sizeof *r->statuses; i++)
        r->statuses[i] += t->statuses[i];
    for (unsigned i = 0; i < r->nbackends; i++)
        r->backend_answers[i] += t->backend_answers[i];
    latency_add(&r->latency, &t->latency);
    r->nmoves += t->moves.n;
    r->nfailures += t->failures.n;
    r->nslow += t->slow.n;
}

/* Compares two events of a kind by their time. */
#define BY(kind)                                             \
    static int by_##kind(const void *a, const void *b)       \
    {                                                        \
        uint64_t x = ((const struct load_##kind *)a)->at_ns; \
        uint64_t y = ((const struct load_##kind *)b)->at_ns; \
        return (x > y) - (x < y);                            \
    }
BY(move)
BY(failure)
BY(slow)

/* Joins the events of all threads, in the order of their times. */
static void *join_events(struct load *l, size_t offset, size_t size, size_t *kept,
                         int (*compare)(const void *, const void *))
{
    size_t n = 0;
    for (unsigned i = 0; i < l->nthreads; i++)
        n += ((const struct load_events *)((const char *)&l->threads[i] + offset))->kept;
    char *all = mem_zalloc_array(n, size);
    *kept = 0;
    for (unsigned i = 0; i < l->nthreads; i++) {
        const struct load_events *e =
            (const struct load_events *)((const char *)&l->threads[i] + offset);
        if (e->kept)
            memcpy(all + *kept * size, e->data, e->kept * size);
        *kept += e->kept;
    }
    if (n)
        qsort(all, n, size, compare);
    return all;
}

/* Joins the time lines of all threads; the interval is the widest of theirs. */
static void join_cells(struct load_result *r, const struct load *l)
{
    for (unsigned i = 0; i < l->nthreads; i++)
        if (l->threads[i].interval_ns > r->interval_ns)
            r->interval_ns = l->threads[i].interval_ns;
    r->cells = mem_zalloc_array(LOAD_CELLS, sizeof *r->cells);
    r->cell_backends = mem_zalloc_array((size_t)LOAD_CELLS * r->nbackends, sizeof(uint64_t));
    for (unsigned i = 0; i < l->nthreads; i++) {
        const struct load_thread *t = &l->threads[i];
        unsigned ratio = (unsigned)(r->interval_ns / t->interval_ns); /* a power of two */
        for (unsigned k = 0; k < t->ncells; k++) {
            struct load_cell *to = &r->cells[k / ratio];
            const struct load_cell *from = &t->cells[k];
            to->answered += from->answered;
            to->failed += from->failed;
            to->refused += from->refused;
            to->moves += from->moves;
            if (from->max_ns > to->max_ns)
                to->max_ns = from->max_ns;
            for (unsigned b = 0; b < r->nbackends; b++)
                r->cell_backends[(size_t)(k / ratio) * r->nbackends + b] +=
                    t->cell_backends[(size_t)k * LOAD_MAX_BACKENDS + b];
            if (k / ratio >= r->ncells)
                r->ncells = k / ratio + 1;
        }
    }
}

static void take_keys(struct load_result *r, struct load *l)
{
    uint32_t n = l->options->keys ? l->options->keys->n : 0;
    r->owner = mem_zalloc_array(n, sizeof *r->owner);
    for (uint32_t i = 0; i < n; i++) {
        r->owner[i] = atomic_load_explicit(&l->owner[i], memory_order_relaxed);
        r->keys_asked += r->owner[i] != LOAD_NO_BACKEND;
        r->keys_moved += atomic_load_explicit(&l->moved[i], memory_order_relaxed);
    }
}

struct load_result *load_finish(struct load *l)
{
    struct load_result *r = mem_zalloc(sizeof *r);
    uint64_t last = l->start_ns, send_end = l->start_ns;
    for (unsigned i = 0; i < l->nthreads; i++)
        load_thread_join(&l->threads[i]); /* from here on all their counters may be read */
    r->cpu_seconds = cpu_seconds() - l->cpu_at_start;
    latency_init(&r->latency);
    r->nbackends = atomic_load(&l->nbackends);
    memcpy(r->backend_names, l->backend_names, sizeof r->backend_names);
    for (unsigned i = 0; i < l->nthreads; i++) {
        add_counts(r, &l->threads[i]);
        if (l->threads[i].last_ns > last)
            last = l->threads[i].last_ns;
        if (l->threads[i].stopped_ns > send_end)
            send_end = l->threads[i].stopped_ns;
    }
    assert(r->sent == r->answered + r->failed);
    r->send_seconds = (double)(send_end - l->start_ns) / 1e9;
    r->seconds = (double)((last > send_end ? last : send_end) - l->start_ns) / 1e9;
    r->moves = join_events(l, offsetof(struct load_thread, moves), sizeof *r->moves, &r->moves_kept,
                           by_move);
    r->failures = join_events(l, offsetof(struct load_thread, failures), sizeof *r->failures,
                              &r->failures_kept, by_failure);
    r->slow =
        join_events(l, offsetof(struct load_thread, slow), sizeof *r->slow, &r->slow_kept, by_slow);
    join_cells(r, l);
    take_keys(r, l);
    load_free(l);
    return r;
}

void load_result_free(struct load_result *r)
{
    if (r == NULL)
        return;
    latency_deinit(&r->latency);
    free(r->moves);
    free(r->failures);
    free(r->slow);
    free(r->owner);
    free(r->cells);
    free(r->cell_backends);
    free(r);
}
