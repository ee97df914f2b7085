#include "app/control.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "app/app.h"
#include "app/crew.h"
#include "app/desk.h"
#include "app/disposal.h"
#include "app/member_admin.h"
#include "app/membership.h"
#include "app/notice.h"
#include "app/notify.h"
#include "app/reload.h"
#include "app/service.h"
#include "app/sockets.h"
#include "app/standby.h"
#include "app/upgrade.h"
#include "base/limit.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/conn.h"
#include "net/lookup.h"
#include "net/mailbox.h"
#include "proxy/descriptors.h"

enum control_state {
    CONTROL_STARTING, /* the first checks are under way */
    CONTROL_RUNNING,
    CONTROL_RETIRING, /* another process serves, the workers finish what is open */
    CONTROL_STOPPING, /* the workers finish what is open */
    CONTROL_CLOSING,  /* the workers have ended, and the loop's handles close */
};

#define NSIGNALS 5
#define RETIRE_MS 5000 /* how long idle clients may take to send their last request */

struct control {
    uv_loop_t loop;
    enum control_state state;
    int status;              /* exit status */
    struct service *service; /* the generation in service */
    struct disposal *disposal;
    const struct control_hooks *hooks;
    struct mailbox mailbox;
    uv_signal_t signals[NSIGNALS];
    uv_timer_t stop_timer;
    struct net net;   /* of this loop, for checks and admin */
    struct desk desk; /* the admin interface */
    struct admin_hooks admin_hooks;
    struct lookups *lookups;
    struct sockets *sockets;
    struct reload *reload;
    struct upgrade *upgrade;
    struct crew *crew;
    struct membership *membership; /* in a fleet, or in none */
    struct member_admin member_admin;
    struct standby standby;
    unsigned ndone;              /* workers that have ended */
    bool left;                   /* while it stops: the fleet knows */
    struct inherited *inherited; /* what this process was given and nobody has taken */
    struct takeover *takeover;   /* the process before this one; NULL: there is none */
    struct notify notify;        /* what systemd is told */
};

static void begin_stop(struct control *c);
static void close_all(struct control *c);
static void close_when_done(struct control *c);
static void on_stop_timeout(uv_timer_t *timer);

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

static const struct config *config_of(const struct control *c)
{
    return c->service->snapshot->config;
}

/* ---- events ---- */

/* The owners are published by now, so what the workers send elsewhere goes to the right server.
 * Workers are told of each server that goes down, because requests may wait for it; of other
 * changes only where connections have to be closed for them: with the end of an exception keys go
 * back. The last server of a pool with `when_all_down: try` goes on like before, and nothing is
 * better elsewhere. One that is left out here because an operator asked for that finishes what it
 * has, as any drained server. */
static void on_notice(void *arg, const struct roster_notice *n)
{
    struct control *c = arg;
    notice_log(n);
    notify_changed(&c->notify);
    bool down = n->event == ROSTER_SERVER_DOWN || (n->event == ROSTER_EXCEPTION && !n->ok);
    if (down && !server_usable(n->member->server))
        crew_post_server(c->crew, WORKER_SERVER_DOWN, n->member->server);
    else if ((n->event == ROSTER_OWNERS || n->event == ROSTER_EXCEPTION_ENDED) &&
             n->pool->config->close_moved == CLOSE_MOVED_ALWAYS)
        crew_post_owners(c->crew, n->pool->totals);
}

/* A server by name has moved: the workers close idle connections to its old address. */
static void on_moved(void *arg, struct server *server)
{
    struct control *c = arg;
    crew_post_server(c->crew, WORKER_SERVER_MOVED, server);
}

static void before_result(void *arg)
{
    const struct control *c = arg;
    membership_awake(c->membership);
}

static struct checker_names names_of(struct control *c)
{
    return (struct checker_names){c->lookups, on_moved, before_result, c};
}

/* A worker reported failures of live traffic. Its request may be of an older generation, so the
 * server may be in no pool any more. */
static void live_failures(struct control *c, const struct server *server, bool suspect)
{
    const struct snapshot *s = c->service->snapshot;
    size_t i = snapshot_find_pool(s, server->pool);
    const struct pool_member *m = i < s->npools ? pool_find_server(s->pools[i], server) : NULL;
    if (m == NULL)
        return;
    membership_awake(c->membership);
    if (!suspect)
        roster_passive_down(s->rosters[i], m->id, uv_now(&c->loop));
    else if (roster_suspect(s->rosters[i], m->id))
        checker_ask(c->service->checkers[i], m->id);
}

/* ---- standing by ---- */

static const struct snapshot *snapshot_of(void *arg)
{
    const struct control *c = arg;
    return c->service->snapshot;
}

static void on_accepting(void *arg, bool accepting)
{
    struct control *c = arg;
    c->admin_hooks.stands_by = !accepting;
    membership_accepting(c->membership, accepting);
    if (c->state != CONTROL_RUNNING)
        return;
    notice_listeners(accepting ? "listening" : "listener silent", config_of(c), NULL,
                     c->crew->size);
    notify_changed(&c->notify);
}

static const struct standby_ops standby_ops = {snapshot_of, on_accepting};

static void on_message(struct mailbox *m, struct message *msg)
{
    struct control *c = container_of(m, struct control, mailbox);
    switch ((enum control_message)msg->kind) {
    case CONTROL_PASSIVE_DOWN:
    case CONTROL_SUSPICION:
        if (c->state <= CONTROL_RETIRING) /* while it stops, nothing would come of it */
            live_failures(c, msg->object, msg->kind == CONTROL_SUSPICION);
        break;
    case CONTROL_SNAPSHOT:
        disposal_take(c->disposal, msg->release, msg->object);
        msg->release = NULL;
        break;
    case CONTROL_SILENT:
        if (crew_silenced(c->crew) && c->state == CONTROL_RUNNING)
            standby_silenced(&c->standby);
        break;
    case CONTROL_WORKER_DONE:
        ++c->ndone;
        close_when_done(c);
        break;
    }
    message_free(msg);
}

/* ---- to another process ---- */

/* What the new process needs for first checks, and some time to start. */
static uint64_t upgrade_timeout(const struct config *f)
{
    uint64_t most = 0;
    for (size_t i = 0; i < f->npools; i++)
        if (f->pools[i].health.timeout_ms > most)
            most = f->pools[i].health.timeout_ms;
    return UPGRADE_WAIT_MS + most;
}

static void on_admin_upgrade(void *arg, uint64_t timeout_ms, admin_done_fn *done, void *done_arg)
{
    struct control *c = arg;
    const char *why = NULL;
    if (c->state != CONTROL_RUNNING)
        why = "the proxy starts, stops or has handed over";
    else if (!c->hooks || !c->hooks->can_upgrade)
        why = "this process was not started by `ringproxy run`";
    if (why == NULL) {
        upgrade_ask(c->upgrade, timeout_ms ? timeout_ms : upgrade_timeout(config_of(c)), done,
                    done_arg);
        return;
    }
    log_event(LOG_WARN, "upgrade refused", why);
    if (done)
        done(done_arg, c->state == CONTROL_RUNNING ? 409 : 503, json_pack("{s:s}", "error", why));
}

static void on_held(void *arg)
{
    struct control *c = arg;
    upgrade_start(c->upgrade);
}

/* What the rosters know is about to be written down, so nobody may change it. */
static void hold(void *arg)
{
    struct control *c = arg;
    desk_set_closed(&c->desk, true);
    membership_freeze(c->membership, true);
    reload_hold(c->reload, on_held, c);
}

static void add_sockets(void *arg, const struct addr *at, const int *fds, unsigned n,
                        const struct bind_claim *claim)
{
    handover_add_sockets(arg, at, fds, n, claim);
}

static bool collect(void *arg, struct handover_draft *d, struct error *e)
{
    struct control *c = arg;
    const struct snapshot *s = c->service->snapshot;
    handover_init(d, s->generation);
    sockets_each(c->sockets, add_sockets, d);
    if (c->desk.now) {
        int fd = admin_socket(c->desk.now);
        handover_add_sockets(d, &s->config->admin_listen, &fd, 1, NULL);
    }
    char *member = membership_save(c->membership);
    handover_add_member(d, member);
    free(member);
    bool ok = handover_add_pools(d, s, uv_now(&c->loop));
    if (!ok)
        error_set(e, ENOMEM, "the document: %s", strerror(ENOMEM));
    return ok;
}

static void on_upgrade_failed(void *arg)
{
    struct control *c = arg;
    desk_set_closed(&c->desk, false);
    membership_freeze(c->membership, false);
    reload_begin(c->reload);
}

/* What idle clients may still send has come. */
static void on_retire_timeout(uv_timer_t *timer)
{
    struct control *c = timer->data;
    uint64_t all = config_of(c)->shutdown_timeout_ms;
    uv_timer_start(timer, on_stop_timeout, all > RETIRE_MS ? all - RETIRE_MS : 0, 0);
    crew_post(c->crew, WORKER_STOP);
}

/* The new process may have read the file before somebody changed it and sent a signal here. */
static void on_handed_over(void *arg, int pid)
{
    struct control *c = arg;
    uint64_t all = config_of(c)->shutdown_timeout_ms;
    c->state = CONTROL_RETIRING;
    standby_hand_over(&c->standby);
    if (reload_waits(c->reload))
        uv_kill(pid, SIGHUP);
    reload_stop(c->reload);
    membership_hand_over(c->membership);
    c->left = true;
    sockets_hand_over(c->sockets);
    desk_close(&c->desk);
    uv_timer_start(&c->stop_timer, on_retire_timeout, all < RETIRE_MS ? all : RETIRE_MS, 0);
    crew_post(c->crew, WORKER_RETIRE);
}

static const struct upgrade_ops upgrade_ops = {hold, collect, on_handed_over, on_upgrade_failed};

/* ---- signals ---- */

static void on_signal(uv_signal_t *handle, int signum)
{
    struct control *c = handle->data;
    if (signum == SIGHUP) {
        reload_ask(c->reload, &(struct admin_reload){0}, NULL, NULL);
    } else if (signum == SIGUSR2) {
        on_admin_upgrade(c, 0, NULL, NULL);
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
    crew_post(c->crew, WORKER_ABORT);
}

static void close_when_done(struct control *c)
{
    if (c->left && c->ndone == c->crew->nstarted)
        close_all(c);
}

static void on_left(void *arg)
{
    struct control *c = arg;
    c->left = true;
    close_when_done(c);
}

/* The last worker that ends, or the fleet that has been told, leads to close_all(). Before the
 * workers run there are none to wait for. */
static void stop_workers(void *arg)
{
    struct control *c = arg;
    sockets_release(c->sockets);
    crew_post(c->crew, WORKER_STOP);
    if (c->left || c->membership == NULL)
        on_left(c);
    else
        membership_leave(c->membership, on_left, c);
}

/* An active proxy accepts traffic until on_standby has moved the address, or had its time. */
static void begin_stop(struct control *c)
{
    if (c->state >= CONTROL_STOPPING)
        return;
    bool was_retiring = c->state == CONTROL_RETIRING;
    c->state = CONTROL_STOPPING;
    notify_stopping();
    notify_changed(&c->notify);
    reload_stop(c->reload);
    upgrade_stop(c->upgrade);
    desk_set_ready(&c->desk, false);
    if (c->crew->nstarted)
        uv_timer_start(&c->stop_timer, on_stop_timeout, config_of(c)->shutdown_timeout_ms, 0);
    if (was_retiring)
        stop_workers(c);
    else
        standby_leave(&c->standby, stop_workers, c);
}

/* Closes everything with a handle on the control loop, which ends with the last of them. */
static void close_all(struct control *c)
{
    if (c->state == CONTROL_CLOSING)
        return;
    c->state = CONTROL_CLOSING;
    standby_close(&c->standby);
    reload_close(c->reload);
    upgrade_close(c->upgrade);
    takeover_close(c->takeover);
    c->admin_hooks.fleet = NULL;
    member_admin_deinit(&c->member_admin);
    membership_close(c->membership);
    c->membership = NULL;
    service_close(c->service);
    c->service = NULL;
    lookups_close(c->lookups);
    desk_close(&c->desk);
    for (int i = 0; i < NSIGNALS; i++)
        uv_close((uv_handle_t *)&c->signals[i], NULL);
    uv_close((uv_handle_t *)&c->stop_timer, NULL);
    mailbox_close(&c->mailbox);
    notify_close(&c->notify);
    net_close(&c->net);
}

/* ---- start ---- */

static void describe(void *arg, char *text, size_t size)
{
    const struct control *c = arg;
    if (c->state == CONTROL_RUNNING)
        notice_describe(c->service->snapshot, text, size);
    else
        snprintf(text, size, "%s",
                 c->state == CONTROL_STARTING ? "first checks of the servers"
                                              : "finishing what is open");
}

static void begin_to_tell(void *arg)
{
    struct control *c = arg;
    if (c->takeover) {
        notify_main_pid(getpid());
        membership_begin(c->membership);
    }
    notify_open(&c->notify, &c->loop, describe, c);
    notify_ready();
    notify_changed(&c->notify);
}

/* All that can fail. The admin interface of a process that takes over opens here, as only now it is
 * ready: nobody is to see that another process answers. */
static bool begin_to_serve(struct control *c, struct error *e)
{
    bool ok = (c->takeover == NULL || desk_open(&c->desk, c->service->snapshot, e)) &&
              sockets_listen(c->sockets, e);
    descriptors_init(); /* counts the sockets here; workers tell of theirs */
    return ok && (c->takeover == NULL || takeover_listen(c->takeover, &c->loop, e)) &&
           crew_start(c->crew, c->service->snapshot, c->sockets, &c->mailbox, e);
}

/* This process serves. The one before it, if any, ends when it hears of that. */
static void tell_ready(struct control *c)
{
    if (c->takeover == NULL) {
        notify_ready();
        return;
    }
    inherited_close_unused(c->inherited);
    sockets_own(c->sockets);
    takeover_ready(c->takeover, begin_to_tell, c);
}

/* The traffic begins. */
static void on_joined(void *arg)
{
    struct control *c = arg;
    struct error e;
    if (c->state != CONTROL_STARTING)
        return;
    standby_look(&c->standby);
    bool ok = begin_to_serve(c, &e);
    c->state = CONTROL_RUNNING;
    if (!ok) {
        fail(c, "start failed", e.text);
        begin_stop(c);
        return;
    }
    sockets_keep(c->sockets, config_of(c));
    if (c->standby.role == NULL)
        notice_listeners("listening", config_of(c), NULL, c->crew->size);
    desk_set_ready(&c->desk, true);
    tell_ready(c);
    standby_start(&c->standby);
    notify_changed(&c->notify);
    if (c->hooks && c->hooks->on_ready)
        c->hooks->on_ready(c->hooks->arg);
    reload_begin(c->reload);
}

/* The first checks are done. A fleet may know better by now who is out. */
static void on_first_checked(void *arg)
{
    struct control *c = arg;
    if (c->state != CONTROL_STARTING)
        return;
    service_start(c->service, NULL, uv_now(&c->loop));
    membership_checked(c->membership, c->service->snapshot, c->takeover != NULL);
    if (c->takeover)
        on_joined(c);
}

/* ---- the fleet ---- */

static void on_look(void *arg, size_t pool, unsigned server)
{
    const struct control *c = arg;
    if (pool < c->service->snapshot->npools)
        checker_look(c->service->checkers[pool], server);
}

static bool is_ready(void *arg)
{
    const struct control *c = arg;
    return c->state == CONTROL_RUNNING && standby_is_able(&c->standby);
}

static void on_wish(void *arg, enum fleet_wish w, uint64_t epoch)
{
    struct control *c = arg;
    struct role *role = c->standby.role;
    if (role == NULL)
        return;
    if (w == FLEET_ANNOUNCE)
        role_announce(role);
    else
        role_wish(role, w == FLEET_ACTIVE, epoch);
}

static const struct membership_ops membership_ops = {
    .joined = on_joined,
    .look = on_look,
    .is_ready = is_ready,
    .wish = on_wish,
};

/* ---- reload ---- */

static void on_admin_reload(void *arg, const struct admin_reload *what, admin_done_fn *done,
                            void *done_arg)
{
    struct control *c = arg;
    reload_ask(c->reload, what, done, done_arg);
}

static struct service *current(void *arg)
{
    struct control *c = arg;
    return c->service;
}

static void unmake(void *arg)
{
    struct control *c = arg;
    crew_drop_updates(c->crew);
    desk_give_up(&c->desk);
}

static bool make_ready(void *arg, struct service *next, struct error *e)
{
    struct control *c = arg;
    struct snapshot *s = next->snapshot;
    bool ok =
        crew_make_updates(c->crew, s, c->sockets, e) && desk_prepare(&c->desk, config_of(c), s, e);
    if (!ok)
        unmake(c);
    return ok;
}

/* The owners are published before the workers hear of the new generation. The sockets of listeners
 * that go are closed here before that, too, see app/sockets.h. */
static bool switch_over(void *arg, struct service *next)
{
    struct control *c = arg;
    struct service *old = c->service;
    struct config *is = next->snapshot->config, *was = old->snapshot->config;
    log_set_level(is->log_level);
    notice_log_warnings(is);
    membership_leave_before(c->membership, is);
    c->service = next;
    service_start(next, old, uv_now(&c->loop));
    membership_follow(c->membership, next->snapshot);
    c->admin_hooks.fleet = member_admin_fleet(&c->member_admin);
    sockets_keep(c->sockets, is);
    crew_update(c->crew);
    standby_configure(&c->standby, is);
    bool moved = desk_switch(&c->desk, next->snapshot);
    notice_listeners(standby_accepts(&c->standby) ? "listening" : "listener silent", is, was,
                     c->crew->size);
    notice_listeners("listener closed", was, is, c->crew->size);
    service_close(old);
    notify_changed(&c->notify);
    return moved;
}

static void on_answered(void *arg)
{
    struct control *c = arg;
    desk_leave(&c->desk);
}

static const struct reload_ops reload_ops = {current, make_ready, unmake, switch_over, on_answered};

/* ---- the loop ---- */

static bool init_loop(struct control *c, struct error *e)
{
    static const int wanted[NSIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
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
    if (r == 0) {
        const struct reload_options o = {.net = &c->net,
                                         .sockets = c->sockets,
                                         .names = names_of(c),
                                         .disposal = c->disposal,
                                         .notify = on_notice,
                                         .ops = &reload_ops,
                                         .arg = c};
        c->reload = reload_new(&o, &r);
    }
    if (r == 0)
        c->upgrade = upgrade_new(&c->loop, &upgrade_ops, c, &r);
    c->admin_hooks = (struct admin_hooks){.reload = on_admin_reload,
                                          .upgrade = on_admin_upgrade,
                                          .arg = c,
                                          .reloads = c->reload ? reload_counts(c->reload) : NULL};
    c->desk = (struct desk){.net = &c->net, .hooks = &c->admin_hooks, .inherited = c->inherited};
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

static void deinit(struct control *c)
{
    crew_free(c->crew);
    disposal_free(c->disposal);
    sockets_free(c->sockets);
    mailbox_deinit(&c->mailbox);
    net_deinit(&c->net);
    int r = uv_loop_close(&c->loop);
    if (r < 0)
        fail(c, "control loop not clean", uv_strerror(r));
}

/* A failure here ends the process, so nothing is undone. */
static bool init(struct control *c, struct config *config, struct error *e)
{
    c->crew = crew_new(config->workers);
    c->sockets = sockets_new(config->workers, c->inherited);
    c->disposal = disposal_new(e);
    if (c->disposal == NULL || !init_loop(c, e) ||
        !standby_init(&c->standby, &c->loop, config, c->crew, c->sockets, &standby_ops, c, e))
        return false;
    struct snapshot *s = snapshot_new(config, NULL, takeover_generation(c->takeover),
                                      config->workers, on_notice, c, e);
    if (s == NULL)
        return false;
    const struct checker_names names = names_of(c);
    c->service = service_new(s, c->disposal);
    service_open(c->service, &c->net, &names);
    struct membership_options o = {
        .net = &c->net, .lookups = c->lookups, .config = config, .ops = &membership_ops, .arg = c};
    o.resume = takeover_member(c->takeover);
    c->membership = membership_new(&o, e);
    if (c->membership == NULL)
        return false;
    member_admin_init(&c->member_admin, c->membership);
    c->admin_hooks.stands_by = c->standby.role != NULL;
    c->admin_hooks.fleet = member_admin_fleet(&c->member_admin);
    if (c->takeover == NULL) { /* else the process before this one tells */
        notify_open(&c->notify, &c->loop, describe, c);
        notify_changed(&c->notify);
    }
    return true;
}

/* Binds all sockets before anything runs, so that a port in use is an error at once. Listening
 * begins after the first checks: until then clients are refused, and a load balancer in front of
 * this proxy takes another one. */
static bool open_all(struct control *c, struct error *e)
{
    if (!takeover_restore(c->takeover, c->service->snapshot, uv_now(&c->loop), e))
        return false;
    inherited_reserve(c->inherited, config_of(c));
    if (!sockets_bind(c->sockets, config_of(c), e))
        return false;
    standby_begin(&c->standby);
    if (c->standby.role && c->hooks && c->hooks->on_role)
        c->hooks->on_role(c->hooks->arg, c->standby.role, &c->loop);
    if (c->takeover)
        return true; /* see begin_to_serve(), and tell_ready() for what nobody uses */
    bool ok = desk_open(&c->desk, c->service->snapshot, e);
    inherited_close_unused(c->inherited);
    return ok;
}

static void run(struct control *c, struct config *config)
{
    struct error e;
    raise_descriptor_limit();
    if (!init(c, config, &e)) {
        fail(c, "start failed", e.text);
        return;
    }
    log_event(LOG_INFO, "start", "ringproxy " RINGPROXY_VERSION);
    if (open_all(c, &e)) {
        if (c->takeover == NULL)
            membership_begin(c->membership);
        service_first(c->service, NULL, on_first_checked, c);
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
    struct control control = {.hooks = hooks,
                              .inherited = hooks ? hooks->inherited : NULL,
                              .takeover = hooks ? hooks->takeover : NULL};
    struct error e;
    log_set_level(config->log_level);
    if (control.takeover)
        notify_silence();
    signal(SIGPIPE, SIG_IGN); /* a peer that has gone shows as EPIPE */
    if (!log_start(&e)) {
        fail(&control, "start failed", e.text);
        return control.status;
    }
    notice_log_warnings(config);
    run(&control, config);
    stop_log();
    return control.status;
}
