#include "app/service.h"

#include <stdlib.h>

#include "base/mem.h"

struct service *service_new(struct snapshot *s, struct disposal *d)
{
    struct service *v = mem_zalloc(sizeof *v);
    v->snapshot = s;
    v->disposal = d;
    v->checkers = mem_zalloc_array(s->npools, sizeof(struct checker *));
    for (size_t i = 0; i < s->npools; i++)
        v->checkers[i] = checker_new(s->pools[i], s->rosters[i]);
    return v;
}

void service_open(struct service *v, struct net *net, const struct checker_names *names)
{
    for (size_t i = 0; i < v->snapshot->npools; i++)
        checker_open(v->checkers[i], net, names);
}

/* The index of the pool of that name in `old`; false: there is none. */
static bool find_before(const struct service *v, size_t pool, const struct service *old, size_t *at)
{
    if (old == NULL)
        return false;
    *at = snapshot_find_pool(old->snapshot, v->snapshot->pools[pool]->config->name);
    return *at < old->snapshot->npools;
}

static void on_first(void *arg)
{
    struct service *v = arg;
    if (++v->nchecked == v->snapshot->npools)
        v->on_done(v->done_arg);
}

void service_first(struct service *v, const struct service *old, checker_fn *on_done, void *arg)
{
    v->on_done = on_done;
    v->done_arg = arg;
    for (size_t i = 0, at; i < v->snapshot->npools; i++) {
        const struct pool *was = find_before(v, i, old, &at) ? old->snapshot->pools[at] : NULL;
        checker_first(v->checkers[i], was, on_first, v);
    }
}

void service_start(struct service *v, struct service *old, uint64_t now_ms)
{
    snapshot_start(v->snapshot, old ? old->snapshot : NULL, now_ms);
    for (size_t i = 0, at; i < v->snapshot->npools; i++) {
        if (find_before(v, i, old, &at))
            checker_adopt(v->checkers[i], old->checkers[at]);
        checker_run(v->checkers[i]);
    }
}

/* What a checker uses until it is closed belongs to the snapshot. */
static void free_snapshot(void *snapshot)
{
    snapshot_retire(snapshot);
    snapshot_unref(snapshot);
}

void service_free(struct service *v)
{
    if (v == NULL)
        return;
    for (size_t i = 0; i < v->snapshot->npools; i++)
        checker_free(v->checkers[i]);
    free_snapshot(v->snapshot);
    free(v->checkers);
    free(v);
}

static void on_closed(void *arg)
{
    struct service *v = arg;
    if (++v->nclosed < v->snapshot->npools)
        return;
    disposal_take(v->disposal, free_snapshot, v->snapshot);
    free(v->checkers);
    free(v);
}

void service_close(struct service *v)
{
    for (size_t i = 0; i < v->snapshot->npools; i++)
        checker_close(v->checkers[i], on_closed, v);
}
