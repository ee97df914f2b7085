#include "app/member_admin.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

static struct fleet *fleet_of(const struct member_admin *a)
{
    return member_fleet(membership_member(a->membership));
}

static void forget(struct member_admin *a)
{
    if (a->filled)
        fleet_status_deinit(&a->from);
    free(a->members);
    a->members = NULL;
    a->filled = false;
}

/* Both structs are the same pair of texts; the one is admin's, the other the fleet's. */
static const struct admin_place *places(const struct fleet_status_server *s)
{
    _Static_assert(sizeof(struct admin_place) == sizeof(struct fleet_status_server), "the same");
    return (const struct admin_place *)s;
}

static struct admin_member member_of(const struct fleet_status_member *m)
{
    return (struct admin_member){
        .node = m->node,
        .role = m->heard ? m->role : NULL,
        .seen_ms = m->seen_ms,
        .silent = m->silent,
        .epoch = m->epoch,
        .seq = m->seq,
        .listen_active = m->listen_active,
        .accepting = m->accepting,
        .ready = m->ready,
        .priority = m->priority,
        .differs = m->differs,
        .ndiffers = m->ndiffers,
        .except = places(m->except),
        .nexcept = m->nexcept,
    };
}

static void count(struct member_admin *a)
{
    const struct fleet_status *s = &a->from;
    const struct redis_counts *c = member_redis_counts(membership_member(a->membership));
    a->refused[0] = (struct admin_count){"state", s->refused_state};
    a->refused[1] = (struct admin_count){"view", s->refused_view};
    a->refused[2] = (struct admin_count){"answer", s->refused_answer};
    for (unsigned t = 0; t < REDIS_TROUBLES; t++)
        a->errors[t] = (struct admin_count){redis_trouble_name(t), c->of[t]};
}

static const struct admin_fleet_status *on_status(void *arg)
{
    struct member_admin *a = arg;
    const struct fleet_status *s = &a->from;
    forget(a);
    fleet_status(fleet_of(a), &a->from);
    a->filled = true;
    a->members = mem_zalloc_array(s->nmembers, sizeof *a->members);
    for (size_t i = 0; i < s->nmembers; i++)
        a->members[i] = member_of(&s->members[i]);
    count(a);
    a->status = (struct admin_fleet_status){
        .name = s->name,
        .node = s->node,
        .redis_up = s->reached,
        .role = fleet_role_name(s->role),
        .since_ms = s->since_ms,
        .keeper = s->keeper,
        .node_twice = s->node_twice,
        .epoch = s->version.epoch,
        .seq = s->version.seq,
        .age_ms = s->age_ms,
        .members = a->members,
        .nmembers = s->nmembers,
        .nlive = s->nlive,
        .publications = s->publications,
        .stalls = s->stalls,
        .refused = a->refused,
        .nrefused = sizeof a->refused / sizeof a->refused[0],
        .redis_errors = a->errors,
        .nredis_errors = REDIS_TROUBLES,
    };
    return &a->status;
}

static bool on_votes(void *arg, size_t pool, unsigned server, struct admin_votes *votes)
{
    struct fleet *f =
        fleet_of(arg); /* NULL while a reload leaves the fleet, and answers who waits */
    struct fleet_votes v;
    if (f == NULL || !fleet_votes(f, (unsigned)pool, server, &v))
        return false;
    *votes = (struct admin_votes){v.down, v.up, v.voters};
    return true;
}

/* ---- what an operator asks for ---- */

struct asked {
    admin_requested_fn *done;
    void *arg;
};

static void on_requested(void *arg, enum fleet_outcome o)
{
    static const enum admin_outcome outcomes[] = {
        [FLEET_AGREED] = ADMIN_AGREED,
        [FLEET_HERE] = ADMIN_HERE,
        [FLEET_REFUSED] = ADMIN_REFUSED,
        [FLEET_BUSY] = ADMIN_CROWDED,
    };
    struct asked asked = *(struct asked *)arg;
    free(arg);
    asked.done(asked.arg, outcomes[o]);
}

static void on_request(void *arg, size_t pool, unsigned server, enum admin_verb verb,
                       admin_requested_fn *done, void *done_arg)
{
    static const enum fleet_verb verbs[] = {[ADMIN_DRAIN] = FLEET_DRAIN,
                                            [ADMIN_ENABLE] = FLEET_ENABLE,
                                            [ADMIN_FAILBACK] = FLEET_FAILBACK};
    const struct member_admin *a = arg;
    struct asked *asked = mem_zalloc(sizeof *asked);
    *asked = (struct asked){done, done_arg};
    fleet_request(fleet_of(a), (unsigned)pool, server, verbs[verb], on_requested, asked);
}

void member_admin_init(struct member_admin *a, const struct membership *m)
{
    *a = (struct member_admin){
        .membership = m, .fleet = {.status = on_status, .votes = on_votes, .request = on_request}};
    a->fleet.arg = a;
}

void member_admin_deinit(struct member_admin *a)
{
    forget(a);
}

const struct admin_fleet *member_admin_fleet(const struct member_admin *a)
{
    return membership_member(a->membership) ? &a->fleet : NULL;
}
