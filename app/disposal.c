#include "app/disposal.h"

#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "app/background.h"
#include "base/list.h"
#include "base/mem.h"

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

/* Moves all there is to `out`, and waits for that. False: nothing will come any more. */
static bool take_all(struct disposal *d, struct list *out)
{
    pthread_mutex_lock(&d->lock);
    while (list_empty(&d->items) && !d->ends)
        pthread_cond_wait(&d->more, &d->lock);
    list_append(out, &d->items);
    pthread_mutex_unlock(&d->lock);
    return !list_empty(out);
}

/* malloc() keeps pages that were freed amid others, and those of each thread that has ended, until
 * it is told to give them back. */
static void *run(void *arg)
{
    struct disposal *d = arg;
    struct list items;
    list_init(&items);
    while (take_all(d, &items)) {
        free_all(&items);
        malloc_trim(0);
    }
    return NULL;
}

struct disposal *disposal_new(struct error *e)
{
    struct disposal *d = mem_zalloc(sizeof *d);
    pthread_mutex_init(&d->lock, NULL); /* neither can fail with default attributes on Linux */
    pthread_cond_init(&d->more, NULL);
    list_init(&d->items);
    int r = background_start(&d->thread, "disposal", run, d);
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
