#include "app/sockets.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/bind.h"
#include "proxy/descriptors.h"

/* The sockets of one address. */
struct place {
    struct list link;
    struct addr address; /* the claim points to it */
    struct bind_claim claim;
    bool fresh, kept;
    bool given; /* by the process before this one */
    bool spent; /* a unix socket that has listened: it has to be renewed before it may again */
    unsigned n; /* one for each worker, at least */
    int fds[];
};

struct sockets {
    unsigned nworkers;
    struct inherited *inherited; /* NULL: the process was given none */
    struct list places;
    bool ahead;  /* the proxy stands by from time to time */
    bool silent; /* it does now */
};

struct sockets *sockets_new(unsigned nworkers, struct inherited *inherited)
{
    struct sockets *s = mem_zalloc(sizeof *s);
    s->nworkers = nworkers;
    s->inherited = inherited;
    list_init(&s->places);
    return s;
}

/* ---- places ---- */

static struct place *find(const struct sockets *s, const struct addr *a)
{
    list_foreach(l, &s->places)
    {
        struct place *p = container_of(l, struct place, link);
        if (addr_eq(&p->address, a))
            return p;
    }
    return NULL;
}

/* The file goes first: whoever connects by it is to be served. */
static void close_place(struct place *p)
{
    struct error e;
    if (!bind_release(&p->claim, &e))
        log_event(LOG_WARN, "socket file left", e.text);
    for (unsigned i = 0; i < p->n; i++)
        close(p->fds[i]);
    descriptors_add_others(-(int)p->n);
    list_remove(&p->link);
    free(p);
}

static bool bind_place(struct sockets *s, const struct config_listener *l, struct error *e)
{
    size_t given = inherited_matching(s->inherited, &l->listen, l->name);
    unsigned n = given > s->nworkers ? (unsigned)given : s->nworkers;
    struct place *p = mem_zalloc(sizeof *p + n * sizeof p->fds[0]);
    p->n = n;
    p->address = l->listen;
    p->fresh = true;
    p->given = given > 0;
    if (!inherited_bind(s->inherited, &p->address, l->name, s->ahead, p->fds, n, &p->claim, e)) {
        free(p);
        return false;
    }
    descriptors_add_others((int)n);
    list_push_back(&s->places, &p->link);
    return true;
}

static bool listen_place(const struct place *p, struct error *e)
{
    for (unsigned i = 0; i < p->n; i++)
        if (!bind_listen(p->fds[i], i == 0, BIND_BACKLOG, e)) {
            char text[ADDR_TEXT_MAX];
            addr_format(&p->address, text);
            error_prefix(e, "%s", text);
            return false;
        }
    return true;
}

/* ---- standing by ---- */

static void silence_place(struct place *p)
{
    for (unsigned i = 0; i < p->n; i++)
        bind_silence(p->fds[i]);
    /* What could not be renewed refuses at least; it must be, before it listens again. */
    if (p->spent)
        shutdown(p->fds[0], SHUT_RD);
}

/* Whether it can be had shows in listen(): only then no other process can. Sockets that come from
 * the process before this one have shown it there. Of a path the lock says all. */
static bool try_place(struct place *p, struct error *e)
{
    if (p->given || addr_is_unix(&p->address))
        return true;
    bool ok = listen_place(p, e);
    silence_place(p);
    return ok;
}

static bool renew(struct place *p, struct error *e)
{
    if (!p->spent)
        return true;
    p->spent = !bind_renew(p->fds, p->n, &p->claim, e);
    return !p->spent;
}

static bool waken_place(struct place *p, struct error *e)
{
    if (!renew(p, e))
        return false;
    bind_waken(p->fds, p->n);
    return listen_place(p, e);
}

void sockets_stand_by(struct sockets *s)
{
    s->ahead = s->silent = true;
}

bool sockets_go_on(struct sockets *s)
{
    s->silent = true;
    list_foreach(l, &s->places)
    {
        const struct place *p = container_of(l, struct place, link);
        if (p->given && bind_listens(p->fds[0]))
            s->silent = false;
    }
    return !s->silent;
}

bool sockets_waken(struct sockets *s, struct error *e)
{
    s->silent = false;
    list_foreach(l, &s->places)
    {
        struct place *p = container_of(l, struct place, link);
        if (p->fresh || waken_place(p, e))
            continue;
        sockets_begin_silence(s);
        sockets_silence(s);
        return false;
    }
    return true;
}

/* Each waits for the other's end otherwise: a unix socket has one queue, which is to run dry, so
 * others must not come to it; the queues of a port are many, and those that listen still take over
 * from those that do not. */
void sockets_begin_silence(struct sockets *s)
{
    struct error e;
    s->silent = true;
    list_foreach(l, &s->places)
    {
        struct place *p = container_of(l, struct place, link);
        if (p->fresh || !addr_is_unix(&p->address) || !bind_listens(p->fds[0]))
            continue;
        p->spent = true;
        if (!renew(p, &e))
            log_event(LOG_WARN, "socket not renewed", e.text);
    }
}

void sockets_silence(struct sockets *s)
{
    list_foreach(l, &s->places) silence_place(container_of(l, struct place, link));
}

/* ---- the interface ---- */

bool sockets_bind(struct sockets *s, const struct config *c, struct error *e)
{
    for (size_t i = 0; i < c->nlisteners; i++) {
        const struct config_listener *l = &c->listeners[i];
        if (find(s, &l->listen) || bind_place(s, l, e))
            continue;
        error_prefix(e, "listener %s", l->name);
        sockets_forget(s);
        return false;
    }
    return true;
}

bool sockets_listen(struct sockets *s, struct error *e)
{
    list_foreach(l, &s->places)
    {
        struct place *p = container_of(l, struct place, link);
        if (p->fresh && !(s->silent ? try_place(p, e) : listen_place(p, e)))
            return false;
    }
    return true;
}

void sockets_of(const struct sockets *s, const struct config *c, unsigned worker, bool only_fresh,
                int *fds)
{
    assert(worker < s->nworkers);
    for (size_t i = 0; i < c->nlisteners; i++) {
        const struct place *p = find(s, &c->listeners[i].listen);
        assert(p != NULL);
        fds[i] = only_fresh && !p->fresh ? -1 : p->fds[worker];
    }
}

int sockets_further(const struct sockets *s, const struct config_listener *l, unsigned worker,
                    unsigned nth)
{
    const struct place *p = find(s, &l->listen);
    size_t i = worker + ((size_t)nth + 1) * s->nworkers;
    return i < p->n ? p->fds[i] : -1;
}

void sockets_keep(struct sockets *s, const struct config *c)
{
    for (size_t i = 0; i < c->nlisteners; i++)
        find(s, &c->listeners[i].listen)->kept = true;
    list_foreach_safe(l, next, &s->places)
    {
        struct place *p = container_of(l, struct place, link);
        if (!p->kept)
            close_place(p);
        else
            p->kept = p->fresh = false;
    }
}

void sockets_forget(struct sockets *s)
{
    list_foreach_safe(l, next, &s->places)
    {
        struct place *p = container_of(l, struct place, link);
        if (p->fresh)
            close_place(p);
    }
}

void sockets_release(struct sockets *s)
{
    list_foreach_safe(l, next, &s->places) close_place(container_of(l, struct place, link));
}

void sockets_each(const struct sockets *s, sockets_fn *fn, void *arg)
{
    list_foreach(l, &s->places)
    {
        const struct place *p = container_of(l, struct place, link);
        fn(arg, &p->address, p->fds, p->n, &p->claim);
    }
}

static void lend(struct sockets *s, bool lent)
{
    list_foreach(l, &s->places) container_of(l, struct place, link)->claim.lent = lent;
}

void sockets_hand_over(struct sockets *s)
{
    lend(s, true);
    sockets_release(s);
}

void sockets_own(struct sockets *s)
{
    lend(s, false);
}

void sockets_free(struct sockets *s)
{
    if (s == NULL)
        return;
    sockets_release(s);
    free(s);
}
