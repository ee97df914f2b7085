#include "app/disposal.h"

#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "app/background.h"
#include "base/list.h"
#include "base/mem.h"

#define TRIM_PAUSE_S 1 /* without anything to free, before the memory goes back */

struct item {
    struct list link;
    disposal_fn *free_it;
    void *object;
};

struct disposal {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more; /* items, or `ends` */
    struct list items;   /* under the lock */
    bool ends;           /* under the lock: the thread ends when there are no more */
};

static void free_all(struct list *items)
{
    list_foreach_safe(l, next, items)
    {
        struct item *i = container_of(l, struct item, link);
        list_remove(l);
        i->free_it(i->object);
        free(i);
    }
}

/* Waits for items, but not longer than until then; NULL: however long it takes. */
static void wait_for_items(struct disposal *d, const struct timespec *until)
{
    int r = 0;
    while (list_empty(&d->items) && !d->ends && r == 0)
        r = until ? pthread_cond_timedwait(&d->more, &d->lock, until)
                  : pthread_cond_wait(&d->more, &d->lock);
}

/* malloc() keeps pages that were freed amid others, and those of each thread that has ended, until
 * it is told to give them back. That locks one after another what each thread allocates from. So it
 * is not done while the workers take up a generation, but a moment later, once for many reloads;
 * and this thread must not have a low priority, as others would wait for the lock with it. */
static void *run(void *arg)
{
    struct disposal *d = arg;
    struct timespec until;
    struct list items;
    bool trim = false, ends = false;
    list_init(&items);
    while (!ends) {
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += TRIM_PAUSE_S;
        pthread_mutex_lock(&d->lock);
        wait_for_items(d, trim ? &until : NULL);
        list_append(&items, &d->items);
        ends = d->ends && list_empty(&items);
        pthread_mutex_unlock(&d->lock);
        if (trim && !ends && list_empty(&items))
            malloc_trim(0);
        trim = !list_empty(&items);
        free_all(&items);
    }
    return NULL;
}

/* With these arguments none of them can fail on Linux. */
static void init_lock(struct disposal *d)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->more, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

struct disposal *disposal_new(struct error *e)
{
    struct disposal *d = mem_zalloc(sizeof *d);
    init_lock(d);
    list_init(&d->items);
    int r = background_start(&d->thread, "disposal", 0, run, d);
    if (r == 0)
        return d;
    error_errno(e, r, "thread");
    free(d);
    return NULL;
}

void disposal_take(struct disposal *d, disposal_fn *free_it, void *object)
{
    struct item *i = mem_zalloc(sizeof *i);
    i->free_it = free_it;
    i->object = object;
    pthread_mutex_lock(&d->lock);
    list_push_back(&d->items, &i->link);
    pthread_cond_signal(&d->more);
    pthread_mutex_unlock(&d->lock);
}

void disposal_free(struct disposal *d)
{
    if (d == NULL)
        return;
    pthread_mutex_lock(&d->lock);
    d->ends = true;
    pthread_cond_signal(&d->more);
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->thread, NULL);
    pthread_cond_destroy(&d->more);
    pthread_mutex_destroy(&d->lock);
    free(d);
}
