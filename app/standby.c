#include "app/standby.h"

/* ---- what the role does to the proxy ---- */

static bool on_listen(void *arg, struct error *e)
{
    struct standby *s = arg;
    if (!sockets_waken(s->sockets, e))
        return false;
    if (crew_listen(s->crew, s->ops->snapshot(s->arg), s->sockets, e))
        return true;
    sockets_begin_silence(s->sockets);
    sockets_silence(s->sockets);
    return false;
}

static void on_silence(void *arg)
{
    struct standby *s = arg;
    sockets_begin_silence(s->sockets);
    crew_silence(s->crew);
}

static void on_cut(void *arg)
{
    struct standby *s = arg;
    crew_post(s->crew, WORKER_CUT);
}

static void on_changed(void *arg, bool accepting)
{
    struct standby *s = arg;
    s->ops->changed(s->arg, accepting);
}

static const struct role_ops role_ops = {on_listen, on_silence, on_cut, on_changed};

/* ---- life ---- */

bool standby_init(struct standby *s, uv_loop_t *loop, const struct config *c, struct crew *crew,
                  struct sockets *sockets, const struct standby_ops *ops, void *arg,
                  struct error *e)
{
    int r;
    *s = (struct standby){.crew = crew, .sockets = sockets, .ops = ops, .arg = arg};
    if (c->cluster == NULL || !c->cluster->listen_active)
        return true;
    const struct role_options o = {.loop = loop,
                                   .cluster = c->cluster,
                                   .shutdown_timeout_ms = c->shutdown_timeout_ms,
                                   .ops = &role_ops,
                                   .arg = s};
    s->role = role_new(&o, &r);
    if (s->role == NULL)
        error_set(e, -r, "control loop: %s", uv_strerror(r));
    else
        sockets_stand_by(sockets);
    return s->role != NULL;
}

void standby_begin(struct standby *s)
{
    if (s->role == NULL)
        return;
    crew_stand_by(s->crew);
    role_begin(s->role, sockets_go_on(s->sockets));
}

void standby_look(struct standby *s)
{
    s->goes_on = s->role && sockets_go_on(s->sockets);
}

void standby_start(struct standby *s)
{
    if (s->role)
        role_start(s->role, s->goes_on);
}

void standby_silenced(struct standby *s)
{
    sockets_silence(s->sockets);
    role_silenced(s->role);
}

void standby_configure(struct standby *s, const struct config *c)
{
    if (s->role)
        role_configure(s->role, c->cluster, c->shutdown_timeout_ms);
}

void standby_leave(struct standby *s, void (*on_left)(void *arg), void *arg)
{
    if (s->role)
        role_leave(s->role, on_left, arg);
    else
        on_left(arg);
}

void standby_hand_over(struct standby *s)
{
    if (s->role)
        role_hand_over(s->role);
}

void standby_close(struct standby *s)
{
    role_close(s->role);
    s->role = NULL;
}

bool standby_accepts(const struct standby *s)
{
    return s->role == NULL || role_accepting(s->role);
}

bool standby_is_able(const struct standby *s)
{
    return s->role == NULL || !role_failing(s->role);
}
