#include "app/sockets.h"

#include <assert.h>
#include <stdlib.h>
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
    int fds[]; /* one for each worker */
};

struct sockets {
    unsigned nworkers;
    struct inherited *inherited; /* NULL: the process was given none */
    struct list places;
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
static void close_place(struct sockets *s, struct place *p)
{
    struct error e;
    if (!bind_release(&p->claim, &e))
        log_event(LOG_WARN, "socket file left", e.text);
    for (unsigned i = 0; i < s->nworkers; i++)
        close(p->fds[i]);
    descriptors_add_others(-(int)s->nworkers);
    list_remove(&p->link);
    free(p);
}

static bool bind_place(struct sockets *s, const struct config_listener *l, struct error *e)
{
    struct place *p = mem_zalloc(sizeof *p + s->nworkers * sizeof p->fds[0]);
    p->address = l->listen;
    p->fresh = true;
    if (!inherited_bind(s->inherited, &p->address, l->name, p->fds, s->nworkers, &p->claim, e)) {
        free(p);
        return false;
    }
    descriptors_add_others((int)s->nworkers);
    list_push_back(&s->places, &p->link);
    return true;
}

static bool listen_place(const struct sockets *s, const struct place *p, struct error *e)
{
    for (unsigned i = 0; i < s->nworkers; i++)
        if (!bind_listen(p->fds[i], i == 0, BIND_BACKLOG, e)) {
            char text[ADDR_TEXT_MAX];
            addr_format(&p->address, text);
            error_prefix(e, "%s", text);
            return false;
        }
    return true;
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
        const struct place *p = container_of(l, struct place, link);
        if (p->fresh && !listen_place(s, p, e))
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

void sockets_keep(struct sockets *s, const struct config *c)
{
    for (size_t i = 0; i < c->nlisteners; i++)
        find(s, &c->listeners[i].listen)->kept = true;
    list_foreach_safe(l, next, &s->places)
    {
        struct place *p = container_of(l, struct place, link);
        if (!p->kept)
            close_place(s, p);
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
            close_place(s, p);
    }
}

void sockets_release(struct sockets *s)
{
    list_foreach_safe(l, next, &s->places) close_place(s, container_of(l, struct place, link));
}

void sockets_free(struct sockets *s)
{
    if (s == NULL)
        return;
    sockets_release(s);
    free(s);
}
