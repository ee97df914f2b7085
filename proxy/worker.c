
#include "proxy/worker.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "proxy/exchange.h"
#include "proxy/generation.h"
#include "proxy/listener.h"
#include "proxy/session.h"
#include "proxy/tunnel.h"
#include "proxy/upstream.h"

#define LINGER_MS 2000 /* how long a client may take to read the last answer and close */
#define WATCH_MS 100   /* how long a client is not watched after its last request */
#define SILENCE_MS 100 /* until the last handshake has come to its end */
#define GRACE_MS 250   /* while leaving: for the first byte of a connection just accepted */

static void close_idle_upstreams(struct worker *w)
{
    while (!list_empty(&w->stocked))
        upstream_close_idle(container_of(w->stocked.next, struct server_cell, stocked));
    upstream_close_tied(w, NULL);
}

/* Clients end by themselves; worker_maybe_done() notices the last of them. */
static void retire(struct worker *w)
{
    if (w->stopping)
        return;
    w->stopping = true;
    deadline_cancel(&w->silence);
    generation_stop(w);
    close_idle_upstreams(w);
    worker_maybe_done(w);
}

static void stop_clients(struct list *clients)
{
    list_foreach_safe(it, nxt, clients) client_stop(container_of(it, struct client, all));
}

static void close_clients(struct list *clients)
{
    list_foreach_safe(it, nxt, clients)
    {
        struct client *c = container_of(it, struct client, all);
        c->ops->close(c);
    }
}

/* Ends what is idle, too. */
static void stop(struct worker *w)
{
    if (w->leaving)
        return;
    w->leaving = true;
    retire(w);
    stop_clients(&w->clients);
    worker_maybe_done(w);
}

/* The time for a stop is over. */
static void abort_all(struct worker *w)
{
    stop(w);
    close_clients(&w->clients);
}

/* Closes the idle connections to the server. */
static void close_kept(struct worker *w, const struct server *server)
{
    upstream_close_idle(worker_cell(w, server));
    upstream_close_tied(w, server);
}

/* Closes idle connections to the server, and sends the requests that wait for it elsewhere. */
static void server_down(struct worker *w, const struct server *server)
{
    close_kept(w, server);
    upstream_server_down(worker_cell(w, server));
}

static void owners_changed(struct worker *w, const struct pool_totals *pool)
{
    struct generation *g = w->current;
    for (size_t p = 0; p < g->snapshot->npools; p++)
        if (g->pools[p].pool->totals == pool)
            tunnel_recheck(g->pools[p].line);
}

/* A worker that stops has closed its listeners, and new ones would live on in a process that ends.
 * Where a listener can't be started although its socket listens, its clients are refused. */
static void take_up(struct worker *w, struct worker_update *u)
{
    struct error e;
    if (!w->stopping && !generation_take_up(w, u, &e))
        log_event(LOG_ERROR, "accept failed", e.text);
}

/* ---- standing by ---- */

struct worker_call {
    size_t n;
    struct worker_socket *sockets;
};

struct worker_call *worker_call_new(void)
{
    return mem_zalloc(sizeof(struct worker_call));
}

bool worker_call_add(struct worker_call *c, size_t listener, int fd, struct error *e)
{
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0) {
        error_errno(e, errno, "dup");
        return false;
    }
    c->sockets = mem_grow(c->sockets, c->n + 1, sizeof *c->sockets);
    c->sockets[c->n++] = (struct worker_socket){listener, own};
    return true;
}

void worker_call_release(void *call)
{
    struct worker_call *c = call;
    for (size_t i = 0; i < c->n; i++)
        if (c->sockets[i].fd >= 0)
            close(c->sockets[i].fd);
    free(c->sockets);
    free(c);
}

static void waken(struct worker *w, struct worker_call *call)
{
    struct error e;
    if (w->stopping || !w->silent)
        return;
    w->silent = false;
    if (!generation_waken(w, call->sockets, call->n, &e))
        log_event(LOG_ERROR, "accept failed", e.text);
}

/* Nobody comes any more, and who was coming is there. */
static void silence(struct worker *w)
{
    generation_silence(w);
    mailbox_post(w->control, CONTROL_SILENT, w->index, NULL, NULL);
}

static void on_silence(struct deadline *d)
{
    silence(container_of(d, struct worker, silence));
}

static void stand_by(struct worker *w)
{
    if (w->stopping || w->silent) {
        mailbox_post(w->control, CONTROL_SILENT, w->index, NULL, NULL);
        return;
    }
    w->silent = true;
    generation_deafen(w);
    stop_clients(&w->clients);
    stop_clients(&w->behind);
    deadline_arm(&w->silences, &w->silence);
}

/* A worker that was called meanwhile has other clients, too. */
static void cut(struct worker *w)
{
    if (!w->silent)
        return;
    close_clients(&w->clients);
    close_clients(&w->behind);
}

static void on_message(struct mailbox *m, struct message *msg)
{
    struct worker *w = container_of(m, struct worker, mailbox);
    switch ((enum worker_message)msg->kind) {
    case WORKER_SERVER_DOWN:
        server_down(w, msg->object);
        break;
    case WORKER_SERVER_MOVED:
        /* Connections that are lent finish what they carry. */
        close_kept(w, msg->object);
        break;
    case WORKER_OWNERS_CHANGED:
        owners_changed(w, msg->object);
        break;
    case WORKER_GENERATION:
        take_up(w, msg->object);
        break;
    case WORKER_ACTIVE:
        waken(w, msg->object);
        break;
    case WORKER_STANDBY:
        stand_by(w);
        break;
    case WORKER_CUT:
        cut(w);
        break;
    case WORKER_RETIRE:
        retire(w);
        break;
    case WORKER_STOP:
        stop(w);
        break;
    case WORKER_ABORT:
        abort_all(w);
        break;
    }
    message_free(msg);
}

struct worker_update *worker_update_new(struct snapshot *s, const int *fds, struct error *e)
{
    struct worker_update *u = mem_zalloc(sizeof *u);
    u->snapshot = snapshot_ref(s);
    u->fds = mem_zalloc_array(s->nlisteners, sizeof *u->fds);
    for (size_t i = 0; i < s->nlisteners; i++)
        u->fds[i] = -1;
    for (size_t i = 0; i < s->nlisteners; i++) {
        const struct config_listener *config = s->listeners[i].config;
        int fd = fds ? fds[i] : -1;
        u->fds[i] = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (fd < 0 || u->fds[i] >= 0)
            continue;
        error_errno(e, errno, "listener %s: %s: dup", config->name, config->listen_text);
        worker_update_release(u);
        return NULL;
    }
    return u;
}

void worker_update_release(void *update)
{
    struct worker_update *u = update;
    for (size_t i = 0; i < u->snapshot->nlisteners; i++)
        if (u->fds[i] >= 0)
            close(u->fds[i]);
    free(u->fds);
    snapshot_unref(u->snapshot);
    free(u);
}

/* The first generation. */
static bool begin(struct worker *w, struct snapshot *s, const int *fds, struct error *e)
{
    struct worker_update *u = worker_update_new(s, fds, e);
    if (u == NULL)
        return false;
    bool ok = generation_take_up(w, u, e);
    worker_update_release(u);
    return ok;
}

bool worker_init(struct worker *w, unsigned index, struct snapshot *s, struct mailbox *control,
                 const int *fds, struct error *e)
{
    *w = (struct worker){.index = index, .control = control, .silent = fds == NULL};
    list_init(&w->clients);
    list_init(&w->upstreams);
    list_init(&w->tied);
    int r = uv_loop_init(&w->loop);
    if (r == 0) {
        r = mailbox_init(&w->mailbox, &w->loop, on_message);
        if (r < 0)
            uv_loop_close(&w->loop);
    }
    if (r < 0) {
        error_set(e, -r, "worker %u: %s", index, uv_strerror(r));
        return false;
    }
    net_init(&w->net, &w->loop);
    upstream_idle_init(w);
    deadline_queue_init(&w->linger, &w->net.clock, LINGER_MS, client_on_close_deadline);
    deadline_queue_init(&w->watch, &w->net.clock, WATCH_MS, session_on_watch_deadline);
    deadline_init(&w->silence);
    deadline_queue_init(&w->silences, &w->net.clock, SILENCE_MS, on_silence);
    deadline_queue_init(&w->grace, &w->net.clock, GRACE_MS, client_on_close_deadline);
    w->reader = mem_zalloc(sizeof *w->reader);
    generation_init(w);
    if (begin(w, s, fds, e))
        return true;
    stop(w); /* those that accept already */
    worker_deinit(w);
    return false;
}

bool worker_accept_also(struct worker *w, size_t listener, int fd, struct error *e)
{
    const struct worker_listener *wl = &w->current->listeners[listener];
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0)
        error_errno(e, errno, "dup");
    if (own >= 0 && listener_start(wl->listener, own, e))
        return true;
    error_prefix(e, "listener %s: %s", wl->config->name, wl->config->listen_text);
    return false;
}

static void run(void *arg)
{
    struct worker *w = arg;
    uv_run(&w->loop, UV_RUN_DEFAULT); /* until stop() and the last connection */
    mailbox_post(w->control, CONTROL_WORKER_DONE, w->index, NULL, NULL);
}

bool worker_start(struct worker *w, struct error *e)
{
    sigset_t all, old;
    char name[16];
    /* The thread inherits the mask: signals are handled by the control thread alone. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int r = uv_thread_create(&w->thread, run, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r < 0) {
        error_set(e, -r, "worker %u: thread: %s", w->index, uv_strerror(r));
        return false;
    }
    snprintf(name, sizeof name, "worker-%u", w->index);
    pthread_setname_np(w->thread, name);
    return true;
}

void worker_post(struct worker *w, enum worker_message kind, void *object,
                 message_release_fn *release)
{
    mailbox_post(&w->mailbox, (int)kind, w->index, object, release);
}

void worker_join(struct worker *w)
{
    int r = uv_thread_join(&w->thread);
    assert(r == 0);
    (void)r;
}

void worker_deinit(struct worker *w)
{
    if (!w->stopping) /* it never ran */
        stop(w);
    uv_run(&w->loop, UV_RUN_DEFAULT); /* for close callbacks that are still due */
    int r = uv_loop_close(&w->loop);
    assert(r == 0);
    (void)r;
    if (w->current)
        generation_unref(w->current);
    mailbox_deinit(&w->mailbox);
    exchange_free_spares(w);
    pipe_free_spares(&w->pipes);
    free(w->reader);
    buffer_release(&w->scratch);
    net_deinit(&w->net);
}
