#include "app/member.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app/member_tell.h"
#include "base/boot_clock.h"
#include "base/mem.h"
#include "cluster/store_redis.h"

/* What a roster has to tell, and which one it is. */
struct link {
    struct member *member;
    unsigned pool;
};

struct member {
    struct config *config; /* a reference: the store's URLs are in it */
    struct member_ops ops;
    uv_loop_t *loop;
    uv_timer_t timer; /* until fleet_tick() is due */
    struct random_store random;
    struct store *store;
    struct fleet *fleet;
    struct fleet_pool *pools;
    struct link *links; /* one for each pool */
    size_t npools;
    unsigned open; /* the timer and the store, if they are not closed yet */
    void (*on_closed)(void *arg);
    void *closed_arg;
};

/* ---- what the fleet needs ---- */

static uint64_t boot_ms(void *arg)
{
    return boot_clock_ms();
}

static uint64_t wall_ms(void *arg)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t loop_ms(void *arg)
{
    const struct member *m = arg;
    return uv_now(m->loop);
}

static void on_timer(uv_timer_t *t)
{
    const struct member *m = t->data;
    fleet_tick(m->fleet);
}

static void wake(void *arg, uint64_t in_ms)
{
    struct member *m = arg;
    int err = uv_timer_start(&m->timer, on_timer, in_ms, 0);
    assert(err == 0); /* fails for a closing handle alone */
    (void)err;
}

static void look(void *arg, unsigned pool, unsigned server)
{
    const struct member *m = arg;
    m->ops.look(m->ops.arg, pool, server);
}

static void tell(void *arg, const struct fleet_notice *n)
{
    member_log(n);
}

static bool is_ready(void *arg)
{
    const struct member *m = arg;
    return m->ops.is_ready(m->ops.arg);
}

static void wish(void *arg, enum fleet_wish w)
{
    const struct member *m = arg;
    m->ops.wish(m->ops.arg, w);
}

static void joined(void *arg)
{
    const struct member *m = arg;
    m->ops.joined(m->ops.arg);
}

/* ---- life ---- */

static void free_member(struct member *m)
{
    fleet_free(m->fleet);
    config_unref(m->config);
    free(m->links);
    free(m->pools);
    free(m);
}

static void closed_one(struct member *m)
{
    assert(m->open > 0);
    if (--m->open > 0)
        return;
    void (*on_closed)(void *) = m->on_closed;
    void *arg = m->closed_arg;
    free_member(m);
    if (on_closed)
        on_closed(arg);
}

static void on_timer_closed(uv_handle_t *h)
{
    closed_one(h->data);
}

static void on_store_closed(void *arg)
{
    closed_one(arg);
}

static void close_handles(struct member *m)
{
    uv_close((uv_handle_t *)&m->timer, on_timer_closed);
    store_redis_close(m->store, on_store_closed, m);
}

static struct fleet *make_fleet(struct member *m, const struct member_options *from,
                                struct error *e)
{
    struct config_cluster config = *m->config->cluster;
    config.listen_active = from->listen_active;
    const struct fleet_ops ops = {
        .boot_ms = boot_ms,
        .wall_ms = wall_ms,
        .loop_ms = loop_ms,
        .wake = wake,
        .look = look,
        .tell = tell,
        .is_ready = is_ready,
        .wish = wish,
        .joined = joined,
        .arg = m,
    };
    const struct fleet_options o = {.config = &config,
                                    .store = m->store,
                                    .ops = &ops,
                                    .random = &m->random,
                                    .resume = from->resume};
    return fleet_new(&o, e);
}

struct member *member_open(const struct member_options *o, struct error *e)
{
    const struct config_cluster *c = o->config->cluster;
    struct member *m = mem_zalloc(sizeof *m);
    m->config = config_ref(o->config);
    m->ops = o->ops;
    m->loop = o->net->loop;
    int err = uv_timer_init(m->loop, &m->timer); /* only fills in the handle */
    assert(err == 0);
    (void)err;
    m->timer.data = m;
    const struct store_redis_options s = {.net = o->net,
                                          .lookups = o->lookups,
                                          .urls = c->redis,
                                          .nurls = c->nredis,
                                          .fleet = c->name,
                                          .lock_ttl_ms = c->lock_ttl_ms};
    m->store = store_redis_open(&s);
    m->open = 2;
    m->fleet = make_fleet(m, o, e);
    if (m->fleet == NULL) {
        close_handles(m);
        return NULL;
    }
    store_redis_name(m->store, fleet_instance(m->fleet));
    return m;
}

void member_start(struct member *m)
{
    if (m)
        fleet_start(m->fleet);
}

void member_checked(struct member *m)
{
    if (m)
        fleet_checked(m->fleet);
}

void member_awake(struct member *m)
{
    if (m)
        fleet_awake(m->fleet);
}

void member_accepting(struct member *m, bool accepting)
{
    if (m)
        fleet_accepting(m->fleet, accepting);
}

/* ---- pools ---- */

static void on_news(void *arg, bool claim)
{
    const struct member *m = arg;
    fleet_news(m->fleet, claim);
}

static void on_look(void *arg, unsigned server)
{
    const struct link *l = arg;
    look(l->member, l->pool, server);
}

static void let_go(struct member *m)
{
    for (size_t i = 0; i < m->npools; i++) {
        roster_on_news(m->pools[i].roster, NULL, NULL);
        roster_on_look(m->pools[i].roster, NULL, NULL);
    }
}

/* From now on the rosters decide for themselves, as at a member that hears of nobody. */
static void part(struct member *m)
{
    let_go(m);
    for (size_t i = 0; i < m->npools; i++)
        roster_part(m->pools[i].roster, uv_now(m->loop));
    m->npools = 0;
}

void member_pools(struct member *m, const struct snapshot *s)
{
    if (m == NULL)
        return;
    let_go(m);
    free(m->pools);
    free(m->links);
    m->npools = s->npools;
    m->pools = mem_zalloc_array(s->npools, sizeof *m->pools);
    m->links = mem_zalloc_array(s->npools, sizeof *m->links);
    for (size_t i = 0; i < s->npools; i++) {
        m->pools[i] = (struct fleet_pool){.roster = s->rosters[i], .pool = s->pools[i]};
        m->links[i] = (struct link){m, (unsigned)i};
        roster_on_news(s->rosters[i], on_news, m);
        roster_on_look(s->rosters[i], on_look, &m->links[i]);
    }
    fleet_pools(m->fleet, m->pools, m->npools);
}

void member_leave(struct member *m, void (*done)(void *arg), void *arg)
{
    if (m == NULL) {
        done(arg);
        return;
    }
    part(m);
    fleet_leave(m->fleet, done, arg);
    fleet_pools(m->fleet, NULL, 0); /* not before: what it says of them is its last word */
}

void member_hand_over(struct member *m)
{
    if (m == NULL)
        return;
    let_go(m);
    m->npools = 0;
}

void member_close(struct member *m, void (*on_closed)(void *arg), void *arg)
{
    if (m == NULL)
        return;
    m->on_closed = on_closed;
    m->closed_arg = arg;
    part(m); /* the fleet is not called any more, as it would ask a store that closes */
    close_handles(m);
}

/* ---- a reload ---- */

bool member_configure(struct member *m, const struct config *c)
{
    if (m == NULL || c->cluster == NULL)
        return m == NULL && c->cluster == NULL;
    if (!config_same_member(m->config->cluster, c->cluster))
        return false;
    fleet_configure(m->fleet, c->cluster);
    return true;
}

/* ---- to another process, and for those who look ---- */

char *member_save(const struct member *m)
{
    return m ? fleet_save(m->fleet) : NULL;
}

void member_freeze(struct member *m, bool frozen)
{
    if (m)
        fleet_freeze(m->fleet, frozen);
}

struct fleet *member_fleet(const struct member *m)
{
    return m ? m->fleet : NULL;
}

const struct redis_counts *member_redis_counts(const struct member *m)
{
    return store_redis_counts(m->store);
}
