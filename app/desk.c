#include "app/desk.h"

#include <assert.h>

#include "base/log.h"

static bool same_place(const struct config *a, const struct config *b)
{
    return a->has_admin && b->has_admin && addr_eq(&a->admin_listen, &b->admin_listen);
}

static bool listen_on(const struct desk *d, struct admin *a, const struct config *c,
                      struct error *e)
{
    int fd;
    switch (inherited_take(d->inherited, &c->admin_listen, "admin", &fd, 1, e)) {
    case INHERITED_TAKEN:
        return admin_listen_on(a, fd, e);
    case INHERITED_FAILED:
        return false;
    case INHERITED_NONE:
        break;
    }
    return admin_listen(a, e);
}

static void close_one(struct admin **a)
{
    if (*a)
        admin_close(*a, NULL, NULL);
    *a = NULL;
}

/* NULL: the error says why. */
static struct admin *open_one(const struct desk *d, struct snapshot *s, struct error *e)
{
    struct log_line l;
    struct admin *a = admin_new(d->net, s, d->hooks);
    if (!listen_on(d, a, s->config, e)) {
        error_prefix(e, "admin");
        close_one(&a);
        return NULL;
    }
    if (log_begin(&l, LOG_INFO, "admin listening")) {
        log_str(&l, "address", s->config->admin_listen_text);
        log_end(&l);
    }
    return a;
}

bool desk_open(struct desk *d, struct snapshot *s, struct error *e)
{
    assert(d->now == NULL);
    if (s->config->has_admin)
        d->now = open_one(d, s, e);
    return d->now || !s->config->has_admin;
}

bool desk_prepare(struct desk *d, const struct config *was, struct snapshot *s, struct error *e)
{
    assert(d->next == NULL);
    if (!s->config->has_admin || same_place(was, s->config))
        return true;
    d->next = open_one(d, s, e);
    return d->next != NULL;
}

void desk_give_up(struct desk *d)
{
    close_one(&d->next);
}

bool desk_switch(struct desk *d, struct snapshot *s)
{
    assert(d->last == NULL);
    if (d->now) /* also if it goes: it lives on for a moment, and must not see what is freed by then
                 */
        admin_set_snapshot(d->now, s);
    if (d->next == NULL && s->config->has_admin)
        return false;
    d->last = d->now;
    d->now = d->next;
    d->next = NULL;
    desk_set_ready(d, d->ready);
    return d->last != NULL;
}

void desk_leave(struct desk *d)
{
    close_one(&d->last);
}

void desk_close(struct desk *d)
{
    close_one(&d->now);
    close_one(&d->next);
    close_one(&d->last);
}

void desk_set_ready(struct desk *d, bool ready)
{
    d->ready = ready;
    if (d->now)
        admin_set_ready(d->now, ready);
}

void desk_set_closed(struct desk *d, bool closed)
{
    if (d->now)
        admin_set_closed(d->now, closed);
}
