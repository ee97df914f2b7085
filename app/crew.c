#include "app/crew.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

struct crew *crew_new(unsigned size)
{
    struct crew *c = mem_zalloc(sizeof *c);
    c->size = size;
    c->workers = mem_zalloc_array(size, sizeof *c->workers);
    return c;
}

static bool add_further(struct crew *c, unsigned worker, const struct config *config,
                        const struct sockets *sockets, struct error *e)
{
    for (size_t i = 0; i < config->nlisteners; i++) {
        int fd;
        for (unsigned n = 0; (fd = sockets_further(sockets, &config->listeners[i], worker, n)) >= 0;
             n++)
            if (!worker_accept_also(&c->workers[worker], i, fd, e))
                return false;
    }
    return true;
}

/* The sockets listen by now, so none of the workers can begin to accept before the first socket of
 * each listener is the port's only one (net/bind.h). */
bool crew_start(struct crew *c, struct snapshot *s, const struct sockets *sockets,
                struct mailbox *control, struct error *e)
{
    int *fds = mem_zalloc_array(s->nlisteners, sizeof *fds);
    unsigned ready = 0;
    bool ok = true;
    for (; ok && ready < c->size; ready += ok) {
        sockets_of(sockets, s->config, ready, false, fds);
        ok = worker_init(&c->workers[ready], ready, s, control, c->silent ? NULL : fds, e);
    }
    free(fds);
    for (unsigned i = 0; ok && !c->silent && i < ready; i++)
        ok = add_further(c, i, s->config, sockets, e);
    for (; ok && c->nstarted < c->size; c->nstarted += ok)
        ok = worker_start(&c->workers[c->nstarted], e);
    /* Workers that did not start are freed here. Those that did are stopped as in any stop. */
    for (unsigned i = c->nstarted; !ok && i < ready; i++)
        worker_deinit(&c->workers[i]);
    return ok;
}

/* ---- standing by ---- */

void crew_stand_by(struct crew *c)
{
    c->silent = true;
}

static bool call_listener(struct worker_call *call, const struct config *config, size_t i,
                          unsigned worker, int first, const struct sockets *sockets,
                          struct error *e)
{
    const struct config_listener *l = &config->listeners[i];
    bool ok = true;
    for (int n = -1, fd = first; ok && fd >= 0; fd = sockets_further(sockets, l, worker, ++n))
        ok = worker_call_add(call, i, fd, e);
    if (!ok)
        error_prefix(e, "listener %s: %s", l->name, l->listen_text);
    return ok;
}

static struct worker_call *call_of(const struct config *config, unsigned worker,
                                   const struct sockets *sockets, struct error *e)
{
    struct worker_call *call = worker_call_new();
    int *fds = mem_zalloc_array(config->nlisteners, sizeof *fds);
    bool ok = true;
    sockets_of(sockets, config, worker, false, fds);
    for (size_t i = 0; ok && i < config->nlisteners; i++)
        ok = call_listener(call, config, i, worker, fds[i], sockets, e);
    free(fds);
    if (ok)
        return call;
    worker_call_release(call);
    return NULL;
}

bool crew_listen(struct crew *c, const struct snapshot *s, const struct sockets *sockets,
                 struct error *e)
{
    struct worker_call **calls = mem_zalloc_array(c->nstarted, sizeof *calls);
    unsigned n = 0;
    assert(c->silent && c->nsilenced == 0);
    while (n < c->nstarted && (calls[n] = call_of(s->config, n, sockets, e)))
        n++;
    c->silent = n < c->nstarted;
    for (unsigned i = 0; i < n; i++)
        if (c->silent)
            worker_call_release(calls[i]);
        else
            worker_post(&c->workers[i], WORKER_ACTIVE, calls[i], worker_call_release);
    free(calls);
    return !c->silent;
}

void crew_silence(struct crew *c)
{
    c->silent = true;
    crew_post(c, WORKER_STANDBY);
}

bool crew_silenced(struct crew *c)
{
    if (++c->nsilenced < c->nstarted)
        return false;
    c->nsilenced = 0;
    return true;
}

void crew_post(struct crew *c, enum worker_message kind)
{
    for (unsigned i = 0; i < c->nstarted; i++)
        worker_post(&c->workers[i], kind, NULL, NULL);
}

void crew_post_server(struct crew *c, enum worker_message kind, struct server *s)
{
    for (unsigned i = 0; i < c->nstarted; i++)
        worker_post(&c->workers[i], kind, server_ref(s), server_release);
}

void crew_post_owners(struct crew *c, struct pool_totals *totals)
{
    for (unsigned i = 0; i < c->nstarted; i++)
        worker_post(&c->workers[i], WORKER_OWNERS_CHANGED, pool_totals_ref(totals),
                    pool_totals_release);
}

bool crew_make_updates(struct crew *c, struct snapshot *s, const struct sockets *sockets,
                       struct error *e)
{
    int *fds = mem_zalloc_array(s->nlisteners, sizeof *fds);
    bool ok = true;
    c->updates = mem_zalloc_array(c->nstarted, sizeof(struct worker_update *));
    for (unsigned i = 0; ok && i < c->nstarted; i++) {
        sockets_of(sockets, s->config, i, true, fds);
        c->updates[i] = worker_update_new(s, c->silent ? NULL : fds, e);
        ok = c->updates[i] != NULL;
    }
    free(fds);
    if (!ok)
        crew_drop_updates(c);
    return ok;
}

void crew_update(struct crew *c)
{
    for (unsigned i = 0; i < c->nstarted; i++)
        worker_post(&c->workers[i], WORKER_GENERATION, c->updates[i], worker_update_release);
    free(c->updates);
    c->updates = NULL;
}

void crew_drop_updates(struct crew *c)
{
    for (unsigned i = 0; c->updates && i < c->nstarted; i++)
        if (c->updates[i])
            worker_update_release(c->updates[i]);
    free(c->updates);
    c->updates = NULL;
}

void crew_free(struct crew *c)
{
    if (c == NULL)
        return;
    for (unsigned i = 0; i < c->nstarted; i++) {
        worker_join(&c->workers[i]);
        worker_deinit(&c->workers[i]);
    }
    free(c->workers);
    free(c);
}
