#include "app/member_tell.h"

#include <inttypes.h>

#include "base/log.h"

struct wording {
    enum log_level level;
    const char *event;
};

static const struct wording wordings[] = {
    [FLEET_BECOMES_ALONE] = {LOG_WARN, "fleet alone"},
    [FLEET_BECOMES_FOLLOWER] = {LOG_INFO, "fleet follower"},
    [FLEET_BECOMES_KEEPER] = {LOG_INFO, "fleet keeper"},
    [FLEET_LOCK_LOST] = {LOG_WARN, "fleet lock lost"},
    [FLEET_RELEASED] = {LOG_INFO, "fleet lock released"},
    [FLEET_OFFERED] = {LOG_INFO, "fleet role offered"},
    [FLEET_PUBLISHED] = {LOG_INFO, "fleet publication"},
    [FLEET_APPLIED] = {LOG_DEBUG, "fleet publication applied"},
    [FLEET_RESTORED] = {LOG_WARN, "fleet state restored"},
    [FLEET_REACHED] = {LOG_INFO, "fleet redis up"},
    [FLEET_UNREACHED] = {LOG_WARN, "fleet redis down"},
    [FLEET_REFUSED_VALUE] = {LOG_ERROR, "fleet value refused"},
    [FLEET_NODE_TWICE] = {LOG_ERROR, "fleet node name used twice"},
    [FLEET_DIFFERS] = {LOG_WARN, "fleet configuration differs"},
    [FLEET_DIFFERS_ENDED] = {LOG_INFO, "fleet configuration agrees"},
    [FLEET_MEMBER_NEW] = {LOG_INFO, "fleet member up"},
    [FLEET_MEMBER_SILENT] = {LOG_WARN, "fleet member silent"},
    [FLEET_MEMBER_GONE] = {LOG_INFO, "fleet member gone"},
    [FLEET_STALLED] = {LOG_WARN, "fleet stood still"},
    [FLEET_GOES_ACTIVE] = {LOG_INFO, "fleet asks for active"},
    [FLEET_GOES_STANDBY] = {LOG_INFO, "fleet asks for standby"},
};

static void log_text(struct log_line *l, const char *key, const char *value)
{
    if (value)
        log_str(l, key, value);
}

static void log_votes(struct log_line *l, const struct fleet_votes *v)
{
    log_fmt(l, "votes", "%u down, %u up of %u%s", v->down, v->up, v->voters,
            v->down_by_all ? ", agree all" : "");
    if (v->accuse && v->accuse[0])
        log_str(l, "down_at", v->accuse);
}

/* `redis` in place of `reason`: where it answers. What else a notice means by its node, its text or
 * its time is named as the docs name it. */
struct names {
    const char *node, *ms, *reason;
};

static struct names names_of(enum fleet_event e)
{
    struct names n = {.node = "node", .ms = "for", .reason = "reason"};
    if (e == FLEET_BECOMES_KEEPER)
        n.ms = "settles";
    if (e == FLEET_BECOMES_FOLLOWER || e == FLEET_GOES_STANDBY)
        n.node = "keeper";
    if (e == FLEET_OFFERED)
        n.node = "to";
    if (e == FLEET_MEMBER_SILENT)
        n.ms = "voter_for";
    if (e == FLEET_MEMBER_NEW || e == FLEET_MEMBER_GONE)
        n.ms = NULL;
    if (e == FLEET_REACHED)
        n.reason = "redis";
    return n;
}

/* The lock has an epoch; a publication has a number besides, and is written as `ringproxy status`
 * and the header of `epoch_header` write it. */
static void log_version(struct log_line *l, const struct version *v)
{
    if (v->epoch && v->seq)
        log_fmt(l, "publication", "%" PRIu64 ".%" PRIu64, v->epoch, v->seq);
    else if (v->epoch)
        log_u64(l, "epoch", v->epoch);
}

static enum log_level level_of(const struct fleet_notice *n)
{
    bool nothing_changed = n->event == FLEET_PUBLISHED && n->server == NULL;
    return nothing_changed ? LOG_DEBUG : wordings[n->event].level;
}

void member_log(const struct fleet_notice *n)
{
    struct log_line l;
    struct names name = names_of(n->event);
    if (!log_begin(&l, level_of(n), wordings[n->event].event))
        return;
    log_version(&l, &n->version);
    log_text(&l, name.node, n->node);
    log_text(&l, "pool", n->pool);
    log_text(&l, "server", n->server);
    log_text(&l, "what", n->what);
    if (n->ms && name.ms)
        log_fmt(&l, name.ms, "%" PRIu64 "ms", n->ms);
    if (n->votes)
        log_votes(&l, n->votes);
    log_text(&l, name.reason, n->reason);
    log_end(&l);
}
