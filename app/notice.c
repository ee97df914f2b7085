#include "app/notice.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"

struct wording {
    enum log_level level;
    const char *event;
    const char *by; /* the name of the field that has the other server; NULL: no such field */
};

/* A standby is named by the field `server`, as `standby` names the other server of a promotion. */
static struct wording words_of(const struct roster_notice *n)
{
    bool standby = n->member && n->member->standby;
    switch (n->event) {
    case ROSTER_SERVER_UP:
        return (struct wording){LOG_INFO, standby ? "standby up" : "backend up", NULL};
    case ROSTER_SERVER_DOWN:
        return (struct wording){LOG_WARN, standby ? "standby down" : "backend down", NULL};
    case ROSTER_PROMOTION:
        return (struct wording){LOG_WARN, "promotion", "standby"};
    case ROSTER_TAKEOVER_ENDED:
        return (struct wording){LOG_INFO, "takeover ended", "standby"};
    case ROSTER_NEXT:
        return (struct wording){LOG_WARN, "no standby", NULL};
    case ROSTER_RAMP:
        return (struct wording){LOG_INFO, "failback begins", "from"};
    case ROSTER_FAILBACK:
        return (struct wording){LOG_INFO, "failback", "from"};
    case ROSTER_HELD:
        return (struct wording){LOG_INFO, "failback waits", "holder"};
    case ROSTER_DRAINED:
        return (struct wording){LOG_INFO, "drained", NULL};
    case ROSTER_ENABLED:
        return (struct wording){LOG_INFO, "enabled", NULL};
    case ROSTER_ALL_DOWN:
        return (struct wording){LOG_WARN, "all servers down", NULL};
    case ROSTER_ALL_DOWN_ENDED:
        return (struct wording){LOG_INFO, "all servers down ended", NULL};
    case ROSTER_SUSPECTED:
        return (struct wording){LOG_WARN, "suspected", NULL};
    case ROSTER_SPARED:
        return (struct wording){LOG_WARN, "last server spared", NULL};
    case ROSTER_AGREED:
        return (struct wording){LOG_DEBUG, "agreement applied", NULL};
    case ROSTER_PARTED:
        return (struct wording){LOG_DEBUG, "decides alone", NULL};
    case ROSTER_EXCEPTION:
        return (struct wording){LOG_WARN, "exception", NULL};
    case ROSTER_EXCEPTION_ENDED:
        return (struct wording){LOG_INFO, "exception ended", NULL};
    case ROSTER_OWNERS:
        break;
    }
    return (struct wording){LOG_INFO, "unknown", NULL};
}

void notice_log(const struct roster_notice *n)
{
    struct log_line l;
    if (n->event == ROSTER_OWNERS) /* what has moved is in the other notices */
        return;
    struct wording w = words_of(n);
    if (!log_begin(&l, w.level, w.event))
        return;
    log_str(&l, "pool", n->pool->config->name);
    if (n->member)
        log_str(&l, n->member->standby ? "server" : "backend", n->member->server->name);
    if (n->event == ROSTER_ALL_DOWN)
        log_str(&l, "routing", "as if all were in service");
    if (n->by && w.by)
        log_str(&l, w.by, n->by->server->name);
    if (n->event == ROSTER_HELD && n->wait_ms == 0)
        log_str(&l, "for", "operator");
    else if (n->wait_ms)
        log_fmt(&l, "for", "%llums", (unsigned long long)n->wait_ms);
    if (n->event == ROSTER_SUSPECTED) {
        log_str(&l, "of", blame_name(n->blame));
        log_str(&l, "check", n->ok ? "passed" : "failed");
    }
    if (n->reason)
        log_str(&l, "reason", n->reason);
    if (n->count)
        log_u64(&l, "count", n->count);
    if (n->moved >= 0)
        log_share(&l, "moved", n->moved);
    log_end(&l);
}

void notice_log_warnings(const struct config *c)
{
    for (size_t i = 0; i < c->warnings.count; i++)
        log_event(LOG_WARN, "configuration", c->warnings.lines[i]);
}

void notice_describe(const struct snapshot *s, char *text, size_t size)
{
    size_t servers = 0, usable = 0;
    for (size_t i = 0; i < s->npools; i++) {
        const struct pool *p = s->pools[i];
        servers += p->nservers;
        for (size_t m = 0; m < p->nservers; m++)
            usable += server_usable(p->members[m].server);
    }
    snprintf(text, size, "generation %" PRIu64 ", %zu pool%s, %zu of %zu servers in service",
             s->generation, s->npools, s->npools == 1 ? "" : "s", usable, servers);
}

static bool listens_on(const struct config *c, const struct addr *a)
{
    for (size_t i = 0; i < c->nlisteners; i++)
        if (addr_eq(&c->listeners[i].listen, a))
            return true;
    return false;
}

void notice_listeners(const char *event, const struct config *f, const struct config *other,
                      unsigned workers)
{
    for (size_t i = 0; i < f->nlisteners; i++) {
        const struct config_listener *l = &f->listeners[i];
        struct log_line line;
        if ((other && listens_on(other, &l->listen)) || !log_begin(&line, LOG_INFO, event))
            continue;
        log_str(&line, "listener", l->name);
        log_str(&line, "address", l->listen_text);
        if (l->nroutes == 1)
            log_str(&line, "pool", f->pools[l->routes[0].pool].name);
        else
            log_u64(&line, "routes", l->nroutes);
        log_u64(&line, "workers", workers);
        log_end(&line);
    }
}
