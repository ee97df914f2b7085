#include "net/lookup.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/mem.h"

struct lookup {
    struct lookups *lookups;
    struct list link; /* in lookups->waiting or lookups->done; in none while a thread runs it */
    char host[LOOKUP_HOST_MAX + 1];
    uint16_t port;
    bool started;         /* a thread runs it, or has run it */
    lookup_fn *on_answer; /* NULL: cancelled. Only the loop uses this and arg */
    void *arg;
    struct lookup_answer answer; /* belongs to the thread until the lookup is in `done` */
};

/* Shared by the loop and its threads. Whichever is the last to finish frees it. */
struct lookups {
    lookup_ask_fn *ask;
    uv_async_t async;
    struct list waiting; /* only the loop uses it */
    uv_mutex_t lock;
    /* protected by the lock: */
    struct list done;
    unsigned threads;
    bool closed;        /* lookups_close() was called: async must not be used any more */
    bool loop_finished; /* async is closed: the loop does not use this struct any more */
};

/* ---- the lookup itself, in a thread ---- */

static void add_address(struct addr_set *set, const struct addrinfo *info)
{
    struct addr a = {.len = info->ai_addrlen};
    if (info->ai_family != AF_INET && info->ai_family != AF_INET6)
        return;
    memcpy(&a.v6, info->ai_addr, info->ai_addrlen);
    /* a mapped address and the IPv4 address are one candidate, not two */
    if (info->ai_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a.v6.sin6_addr)) {
        struct addr v4 = {.v4 = {.sin_family = AF_INET, .sin_port = a.v6.sin6_port},
                          .len = sizeof v4.v4};
        memcpy(&v4.v4.sin_addr, &a.v6.sin6_addr.s6_addr[12], sizeof v4.v4.sin_addr);
        a = v4;
    }
    addr_set_add(set, &a);
}

/* Without AI_ADDRCONFIG: which addresses a name has must not depend on the host of the proxy,
 * because all proxies have to choose alike. */
static void ask_system(const char *host, uint16_t port, struct lookup_answer *out)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    int r = getaddrinfo(host, service, &hints, &list);
    if (r == EAI_SYSTEM) { /* only then errno has the reason */
        snprintf(out->reason, sizeof out->reason, "%s", uv_strerror(-errno));
        return;
    }
    if (r != 0) {
        snprintf(out->reason, sizeof out->reason, "%s", gai_strerror(r));
        return;
    }
    for (const struct addrinfo *info = list; info; info = info->ai_next)
        add_address(&out->addrs, info);
    if (out->addrs.n == 0)
        snprintf(out->reason, sizeof out->reason, "it has no address");
    freeaddrinfo(list);
}

/* ---- threads ---- */

static void destroy(struct lookups *l)
{
    uv_mutex_destroy(&l->lock);
    free(l);
}

/* The end of a thread: passes the lookup to the loop, or frees it if the loop is gone. */
static void hand_over(struct lookup *q)
{
    struct lookups *l = q->lookups;
    uv_mutex_lock(&l->lock);
    bool wanted = !l->closed;
    if (wanted) {
        list_push_back(&l->done, &q->link);
        uv_async_send(&l->async);
    }
    bool last = --l->threads == 0 && l->loop_finished;
    uv_mutex_unlock(&l->lock);
    if (!wanted)
        free(q);
    if (last)
        destroy(l);
}

static void *run(void *arg)
{
    struct lookup *q = arg;
    q->lookups->ask(q->host, q->port, &q->answer);
    hand_over(q);
    return NULL;
}

/* Starts a detached thread: no one may wait for it to end. Returns 0 or an errno value. */
static int start_thread(struct lookup *q)
{
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, old;
    int r = pthread_attr_init(&attr);
    if (r != 0)
        return r;
    r = pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    assert(r == 0);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* only the control thread takes signals */
    r = pthread_create(&thread, &attr, run, q);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return r;
}

/* Counts one more thread. False: there are LOOKUP_THREADS already. */
static bool count_thread(struct lookups *l)
{
    uv_mutex_lock(&l->lock);
    bool allowed = l->threads < LOOKUP_THREADS;
    l->threads += allowed;
    uv_mutex_unlock(&l->lock);
    return allowed;
}

static void start_waiting(struct lookups *l)
{
    while (!list_empty(&l->waiting) && count_thread(l)) {
        struct lookup *q = container_of(l->waiting.next, struct lookup, link);
        list_remove(&q->link);
        q->started = true;
        int r = start_thread(q);
        if (r != 0) { /* an answer like any other, and not from within lookup_start() */
            snprintf(q->answer.reason, sizeof q->answer.reason, "no thread: %s", uv_strerror(-r));
            hand_over(q);
        }
    }
}

/* ---- the loop's side ---- */

/* The lock is held only to take one lookup out: no callback runs under it. */
static struct lookup *next_done(struct lookups *l)
{
    struct lookup *q = NULL;
    uv_mutex_lock(&l->lock);
    if (!l->closed && !list_empty(&l->done)) {
        q = container_of(l->done.next, struct lookup, link);
        list_remove(&q->link);
    }
    uv_mutex_unlock(&l->lock);
    return q;
}

/* Takes the lookups from the list one by one, since each callback may cancel others or
 * close all. */
static void on_async(uv_async_t *async)
{
    struct lookups *l = container_of(async, struct lookups, async);
    struct lookup *q;
    while ((q = next_done(l)) != NULL) {
        if (q->on_answer)
            q->on_answer(q->arg, &q->answer);
        free(q);
    }
    if (!uv_is_closing((uv_handle_t *)async)) /* a callback may have closed it */
        start_waiting(l);
}

struct lookups *lookups_new(uv_loop_t *loop, lookup_ask_fn *ask, int *uv_error)
{
    struct lookups *l = mem_zalloc(sizeof *l);
    l->ask = ask ? ask : ask_system;
    list_init(&l->waiting);
    list_init(&l->done);
    *uv_error = uv_mutex_init(&l->lock);
    if (*uv_error < 0) {
        free(l);
        return NULL;
    }
    *uv_error = uv_async_init(loop, &l->async, on_async);
    if (*uv_error < 0) {
        destroy(l);
        return NULL;
    }
    return l;
}

static void on_async_closed(uv_handle_t *h)
{
    struct lookups *l = container_of((uv_async_t *)h, struct lookups, async);
    uv_mutex_lock(&l->lock);
    l->loop_finished = true;
    bool last = l->threads == 0;
    uv_mutex_unlock(&l->lock);
    if (last)
        destroy(l);
}

static void free_all(struct list *lookups)
{
    list_foreach_safe(it, nxt, lookups)
    {
        list_remove(it);
        free(container_of(it, struct lookup, link));
    }
}

void lookups_close(struct lookups *l)
{
    uv_mutex_lock(&l->lock);
    l->closed = true;
    uv_mutex_unlock(&l->lock);
    free_all(&l->waiting);
    free_all(&l->done); /* without the lock: no thread adds to it once `closed` is set */
    uv_close((uv_handle_t *)&l->async, on_async_closed);
}

struct lookup *lookup_start(struct lookups *l, struct str host, uint16_t port, lookup_fn *on_answer,
                            void *arg)
{
    assert(host.n > 0 && host.n <= LOOKUP_HOST_MAX);
    struct lookup *q = mem_zalloc(sizeof *q);
    q->lookups = l;
    memcpy(q->host, host.p, host.n);
    q->port = port;
    q->on_answer = on_answer;
    q->arg = arg;
    list_push_back(&l->waiting, &q->link); /* in order: after those that wait already */
    start_waiting(l);
    return q;
}

void lookup_cancel(struct lookup *q)
{
    q->on_answer = NULL;
    if (q->started)
        return; /* a thread runs it or it is in `done`: on_async() or hand_over() frees it */
    list_remove(&q->link);
    free(q);
}
