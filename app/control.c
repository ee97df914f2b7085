#include "app/control.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "admin/admin.h"
#include "app/app.h"
#include "app/notice.h"
#include "base/limit.h"
#include "base/log.h"
#include "base/mem.h"
#include "health/checker.h"
#include "net/bind.h"
#include "net/conn.h"
#include "net/lookup.h"
#include "net/mailbox.h"
#include "pool/snapshot.h"
#include "proxy/descriptors.h"
#include "proxy/worker.h"

enum control_state {
    CONTROL_STARTING, /* the first checks are under way */
    CONTROL_RUNNING,
    CONTROL_STOPPING, /* the workers finish what is open */
    CONTROL_CLOSING,  /* the workers have ended, and the loop's handles close */
};

#define NSIGNALS 4

struct control {
    uv_loop_t loop;
    enum control_state state;
    int status; /* exit status */
    struct snapshot *snapshot;
    const struct control_hooks *hooks;
    struct mailbox mailbox;
    uv_signal_t signals[NSIGNALS];
    uv_timer_t stop_timer;
    struct net net; /* of this loop, for checks and admin */
    struct admin *admin;
    struct lookups *lookups;
    struct checker **checkers; /* one for each pool */
    size_t nchecked;           /* how many pools have done their first checks */
    struct worker *workers;
    unsigned nworkers, nstarted, ndone;
    int *fds; /* bound sockets by [worker][listener], until the workers have them */
    struct bind_claim *claims; /* one for each listener: the files of unix sockets */
};

static void begin_stop(struct control *c);
static void close_all(struct control *c);

static void fail(struct control *c, const char *event, const char *reason)
{
    log_event(LOG_ERROR, event, reason);
    c->status = APP_FAILED;
}

/* At a second signal "at once" has to be short, even if nobody reads the log. */
#define LOG_STOP_MS 1000
#define LOG_LEAVE_MS 100

static void leave_at_once(int signum)
{
    _exit(APP_FAILED);
}

/* libuv has given the signals back by now, but a second one still has to end the process with 1. */
static void stop_log(void)
{
    signal(SIGTERM, leave_at_once);
    signal(SIGINT, leave_at_once);
    log_stop(LOG_STOP_MS);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
}

/* ---- events ---- */

static void post_all(struct control *c, enum worker_message kind)
{
    for (unsigned i = 0; i < c->nstarted; i++)
        worker_post(&c->workers[i], kind, NULL, NULL);
}

/* Each message has a reference of its own. */
static void post_server(struct control *c, enum worker_message kind, struct server *s)
{
    for (unsigned i = 0; i < c->nstarted; i++)
        worker_post(&c->workers[i], kind, server_ref(s), server_release);
}

static void post_owners(struct control *c, struct pool_totals *totals)
{
    for (unsigned i = 0; i < c->nstarted; i++)
        worker_post(&c->workers[i], WORKER_OWNERS_CHANGED, pool_totals_ref(totals),
                    pool_totals_release);
}

/* The owners are published by now, so what the workers send elsewhere goes to the right server.
 * Workers are told of each server that goes down, because requests may wait for it; of other
 * changes only where connections have to be closed for them. The last server of a pool with
 * `when_all_down: try` goes on like before, and nothing is better elsewhere. */
static void on_notice(void *arg, const struct roster_notice *n)
{
    struct control *c = arg;
    notice_log(n);
    if (n->event == ROSTER_SERVER_DOWN && !server_usable(n->member->server))
        post_server(c, WORKER_SERVER_DOWN, n->member->server);
    else if (n->event == ROSTER_OWNERS && n->pool->config->close_moved == CLOSE_MOVED_ALWAYS)
        post_owners(c, n->pool->totals);
}

/* A server by name has moved: the workers close idle connections to its old address. */
static void on_moved(void *arg, struct server *server)
{
    post_server(arg, WORKER_SERVER_MOVED, server);
}

/* A worker reported failures of live traffic. Its request may be of an older generation, so the
 * server may be in no pool any more. */
static void live_failures(struct control *c, const struct server *server, bool suspect)
{
    size_t i = snapshot_find_pool(c->snapshot, server->pool);
    const struct pool_member *m =
        i < c->snapshot->npools ? pool_find_server(c->snapshot->pools[i], server) : NULL;
    if (m == NULL)
        return;
    if (!suspect)
        roster_passive_down(c->snapshot->rosters[i], m->id, uv_now(&c->loop));
    else if (roster_suspect(c->snapshot->rosters[i], m->id))
        checker_ask(c->checkers[i], m->id);
}

static void on_message(struct mailbox *m, struct message *msg)
{
    struct control *c = container_of(m, struct control, mailbox);
    switch ((enum control_message)msg->kind) {
    case CONTROL_PASSIVE_DOWN:
    case CONTROL_SUSPICION:
        if (c->state == CONTROL_RUNNING) /* while it stops, nothing would come of it */
            live_failures(c, msg->object, msg->kind == CONTROL_SUSPICION);
        break;
    case CONTROL_SNAPSHOT:
        break; /* message_free() gives the reference back */
    case CONTROL_WORKER_DONE:
        if (++c->ndone == c->nstarted)
            close_all(c);
        break;
    }
    message_free(msg);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct control *c = handle->data;
    if (signum == SIGHUP) {
        log_event(LOG_WARN, "reload refused", "not supported by this version");
    } else if (signum == SIGUSR1) {
        log_event(LOG_INFO, "logs reopened", "events go to stderr, there is no file to reopen");
    } else if (c->state >= CONTROL_STOPPING) {
        log_event(LOG_WARN, "stop", "second signal, leaving at once");
        log_stop(LOG_LEAVE_MS);
        _exit(APP_FAILED);
    } else {
        log_event(LOG_INFO, "stop", strsignal(signum));
        begin_stop(c);
    }
}

/* ---- stop ---- */

static void on_stop_timeout(uv_timer_t *timer)
{
    struct control *c = timer->data;
    fail(c, "shutdown timeout", "requests were still in flight, their connections are closed");
    post_all(c, WORKER_ABORT);
}

/* Removes the files of unix sockets, so that the next process can use these paths. Clients that
 * have connected are served. */
static void release_claims(struct control *c)
{
    struct error e;
    for (size_t i = 0; c->claims && i < c->snapshot->nlisteners; i++)
        if (!bind_release(&c->claims[i], &e))
            log_event(LOG_WARN, "socket file left", e.text);
}

/* Before the workers run there is nothing to wait for. After that, CONTROL_WORKER_DONE of the last
 * one leads to close_all(). */
static void begin_stop(struct control *c)
{
    if (c->state >= CONTROL_STOPPING)
        return;
    bool running = c->state == CONTROL_RUNNING;
    c->state = CONTROL_STOPPING;
    release_claims(c);
    if (c->admin)
        admin_set_ready(c->admin, false);
    if (!running || c->nstarted == 0) {
        close_all(c);
        return;
    }
    uv_timer_start(&c->stop_timer, on_stop_timeout, c->snapshot->config->shutdown_timeout_ms, 0);
    post_all(c, WORKER_STOP);
}

/* The loop waits for its handles by itself. */
static void on_checker_closed(void *arg)
{
}

/* Closes everything with a handle on the control loop, which ends with the last of them. */
static void close_all(struct control *c)
{
    if (c->state == CONTROL_CLOSING)
        return;
    c->state = CONTROL_CLOSING;
    for (size_t i = 0; i < c->snapshot->npools; i++)
        if (c->checkers[i])
            checker_close(c->checkers[i], on_checker_closed, c);
    lookups_close(c->lookups);
    if (c->admin)
        admin_close(c->admin, NULL, NULL);
    for (int i = 0; i < NSIGNALS; i++)
        uv_close((uv_handle_t *)&c->signals[i], NULL);
    uv_close((uv_handle_t *)&c->stop_timer, NULL);
    mailbox_close(&c->mailbox);
    net_close(&c->net);
}

/* ---- start ---- */

/* The workers have duplicates; a socket that stays open here would go on to queue connections. */
static void close_fds(struct control *c)
{
    for (size_t i = 0; i < c->nworkers * c->snapshot->nlisteners; i++)
        if (c->fds[i] >= 0)
            close(c->fds[i]);
    free(c->fds);
    c->fds = NULL;
}

/* Binds all sockets before anything runs, so that a port in use is an error at once. Listening
 * begins after the first checks: until then clients are refused, and a load balancer in front of
 * this proxy takes another one. */
static bool bind_all(struct control *c, struct error *e)
{
    size_t nlisteners = c->snapshot->nlisteners, n = c->nworkers * nlisteners;
    c->fds = mem_zalloc_array(n, sizeof *c->fds);
    for (size_t i = 0; i < n; i++)
        c->fds[i] = -1;
    c->claims = mem_zalloc_array(nlisteners, sizeof *c->claims);
    int *mine = mem_zalloc_array(c->nworkers, sizeof *mine);
    bool ok = true;
    for (size_t l = 0; l < nlisteners && ok; l++) {
        const struct config_listener *config = c->snapshot->listeners[l].config;
        ok = bind_sockets(&config->listen, mine, c->nworkers, &c->claims[l], e);
        if (!ok)
            error_prefix(e, "listener %s", config->name);
        for (unsigned w = 0; w < c->nworkers && ok; w++)
            c->fds[w * nlisteners + l] = mine[w];
    }
    free(mine);
    return ok;
}

/* Before the workers run, so that none of them can begin to accept before the first socket of each
 * listener is the port's only one (net/bind.h). */
static bool listen_all(struct control *c, struct error *e)
{
    size_t nlisteners = c->snapshot->nlisteners;
    for (size_t l = 0; l < nlisteners; l++) {
        const struct config_listener *config = c->snapshot->listeners[l].config;
        for (unsigned w = 0; w < c->nworkers; w++) {
            if (bind_listen(c->fds[w * nlisteners + l], w == 0, BIND_BACKLOG, e))
                continue;
            error_prefix(e, "listener %s: %s", config->name, config->listen_text);
            return false;
        }
    }
    return true;
}

static bool start_workers(struct control *c, struct error *e)
{
    size_t nlisteners = c->snapshot->nlisteners;
    c->workers = mem_zalloc_array(c->nworkers, sizeof *c->workers);
    unsigned ready = 0;
    for (; ready < c->nworkers; ready++)
        if (!worker_init(&c->workers[ready], ready, c->snapshot, &c->mailbox,
                         c->fds + ready * nlisteners, e))
            break;
    bool ok = ready == c->nworkers;
    for (; ok && c->nstarted < c->nworkers; c->nstarted++)
        ok = worker_start(&c->workers[c->nstarted], e);
    if (ok)
        return true;
    /* Workers that did not start are freed here. Those that did are stopped as in any stop. */
    for (unsigned i = c->nstarted; i < ready; i++)
        worker_deinit(&c->workers[i]);
    return false;
}

static void log_listening(const struct control *c)
{
    for (size_t i = 0; i < c->snapshot->nlisteners; i++) {
        const struct config_listener *config = c->snapshot->listeners[i].config;
        struct log_line l;
        if (!log_begin(&l, LOG_INFO, "listening"))
            return;
        log_str(&l, "listener", config->name);
        log_str(&l, "address", config->listen_text);
        log_str(&l, "pool", c->snapshot->config->pools[config->routes[0].pool].name);
        log_u64(&l, "workers", c->nworkers);
        log_end(&l);
    }
}

/* The first checks of one pool are done. When those of the last pool are, the traffic begins. */
static void on_first_checked(void *arg)
{
    struct control *c = arg;
    struct error e;
    if (++c->nchecked < c->snapshot->npools || c->state != CONTROL_STARTING)
        return;
    snapshot_start(c->snapshot, NULL, uv_now(&c->loop));
    descriptors_init(); /* the sockets of the listeners are open by now, and are counted */
    bool ok = listen_all(c, &e) && start_workers(c, &e);
    close_fds(c);
    c->state = CONTROL_RUNNING;
    if (!ok) {
        fail(c, "start failed", e.text);
        begin_stop(c);
        return;
    }
    for (size_t i = 0; i < c->snapshot->npools; i++)
        checker_run(c->checkers[i]);
    log_listening(c);
    if (c->admin)
        admin_set_ready(c->admin, true);
    if (c->hooks && c->hooks->on_ready)
        c->hooks->on_ready(c->hooks->arg);
}

static void begin_checks(struct control *c)
{
    const struct checker_names names = {c->lookups, on_moved, c};
    for (size_t i = 0; i < c->snapshot->npools; i++)
        c->checkers[i] =
            checker_new(&c->net, c->snapshot->pools[i], c->snapshot->rosters[i], &names);
    for (size_t i = 0; i < c->snapshot->npools; i++)
        checker_first(c->checkers[i], NULL, on_first_checked, c);
}

static bool open_admin(struct control *c, struct error *e)
{
    struct log_line l;
    if (!c->snapshot->config->has_admin)
        return true;
    c->admin = admin_new(&c->net, c->snapshot, NULL);
    if (!admin_listen(c->admin, e)) {
        error_prefix(e, "admin");
        return false;
    }
    if (log_begin(&l, LOG_INFO, "admin listening")) {
        log_str(&l, "address", c->snapshot->config->admin_listen_text);
        log_end(&l);
    }
    return true;
}

static bool init_loop(struct control *c, struct error *e)
{
    static const int wanted[NSIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    int r = uv_loop_init(&c->loop);
    if (r == 0)
        r = mailbox_init(&c->mailbox, &c->loop, on_message);
    for (int i = 0; i < NSIGNALS && r == 0; i++) {
        r = uv_signal_init(&c->loop, &c->signals[i]);
        c->signals[i].data = c;
        if (r == 0)
            r = uv_signal_start(&c->signals[i], on_signal, wanted[i]);
    }
    if (r == 0)
        r = uv_timer_init(&c->loop, &c->stop_timer);
    c->stop_timer.data = c;
    if (r == 0)
        net_init(&c->net, &c->loop);
    if (r == 0)
        c->lookups = lookups_new(&c->loop, c->hooks ? c->hooks->ask : NULL, &r);
    if (r < 0)
        error_set(e, -r, "control loop: %s", uv_strerror(r));
    return r == 0;
}

/* The soft limit is only a default, and every connection needs descriptors. */
static void raise_descriptor_limit(void)
{
    struct error e;
    if (!limit_raise_descriptors(&e))
        log_event(LOG_WARN, "descriptor limit", strerror(e.code));
}

/* The snapshot goes last, as all else points into it. */
static void deinit(struct control *c)
{
    for (unsigned i = 0; i < c->nstarted; i++) {
        worker_join(&c->workers[i]);
        worker_deinit(&c->workers[i]);
    }
    free(c->workers);
    free(c->checkers);
    free(c->claims);
    if (c->fds)
        close_fds(c);
    mailbox_deinit(&c->mailbox);
    net_deinit(&c->net);
    int r = uv_loop_close(&c->loop);
    if (r < 0)
        fail(c, "control loop not clean", uv_strerror(r));
    snapshot_retire(c->snapshot);
    snapshot_unref(c->snapshot);
}

/* A failure here ends the process, so nothing is undone. */
static bool init(struct control *c, struct config *config, struct error *e)
{
    if (!init_loop(c, e))
        return false;
    c->nworkers = config->workers;
    c->snapshot = snapshot_new(config, NULL, 1, c->nworkers, on_notice, c, e);
    return c->snapshot != NULL;
}

static void run(struct control *c, struct config *config)
{
    struct error e;
    raise_descriptor_limit();
    if (!init(c, config, &e)) {
        fail(c, "start failed", e.text);
        return;
    }
    c->checkers = mem_zalloc_array(c->snapshot->npools, sizeof(struct checker *));
    log_event(LOG_INFO, "start", "ringproxy " RINGPROXY_VERSION);
    if (bind_all(c, &e) && open_admin(c, &e)) {
        begin_checks(c);
    } else {
        fail(c, "start failed", e.text);
        begin_stop(c);
    }
    uv_run(&c->loop, UV_RUN_DEFAULT);
    deinit(c);
    log_event(LOG_INFO, "stopped", c->status == APP_OK ? "clean" : "failed");
}

int control_run(struct config *config, const struct control_hooks *hooks)
{
    struct control control = {.hooks = hooks};
    struct error e;
    log_set_level(config->log_level);
    signal(SIGPIPE, SIG_IGN); /* a peer that has gone shows as EPIPE */
    if (!log_start(&e)) {
        fail(&control, "start failed", e.text);
        return control.status;
    }
    run(&control, config);
    stop_log();
    return control.status;
}
