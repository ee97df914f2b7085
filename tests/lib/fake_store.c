#include "tests/lib/fake_store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* ---- bytes ---- */

struct blob {
    unsigned refs;
    size_t len;
    char bytes[];
};

static struct blob *blob_new(struct str s)
{
    struct blob *b = mem_zalloc(sizeof *b + s.n + 1);
    b->refs = 1;
    b->len = s.n;
    if (s.n)
        memcpy(b->bytes, s.p, s.n);
    return b;
}

static struct blob *blob_ref(struct blob *b)
{
    if (b)
        b->refs++;
    return b;
}

static void blob_unref(struct blob *b)
{
    if (b && --b->refs == 0)
        free(b);
}

static struct str blob_str(const struct blob *b)
{
    return b ? (struct str){b->bytes, b->len} : (struct str){"", 0};
}

static void data_ref(const struct fake_data *d)
{
    blob_ref(d->body);
    for (unsigned i = 0; i < d->nnodes; i++)
        blob_ref(d->nodes[i].view);
}

static void data_unref(struct fake_data *d)
{
    blob_unref(d->body);
    for (unsigned i = 0; i < d->nnodes; i++)
        blob_unref(d->nodes[i].view);
}

/* ---- the server ---- */

static int64_t redis_ms(const struct fake_redis *r)
{
    return (int64_t)(r->sim->now_us / SIM_MS) + 1000000 + r->jump_ms;
}

static void remember(struct fake_redis *r)
{
    struct fake_past *p = &r->past[r->past_at];
    r->past_at = (r->past_at + 1) % FAKE_PAST;
    if (r->npast < FAKE_PAST)
        r->npast++;
    else
        data_unref(&p->data);
    *p = (struct fake_past){.at_us = r->sim->now_us, .data = r->data};
    data_ref(&p->data);
}

void fake_redis_init(struct fake_redis *r, struct sim *s)
{
    *r = (struct fake_redis){.sim = s, .up = true, .offer_ms = 1000};
    r->past = mem_zalloc_array(FAKE_PAST, sizeof *r->past);
    list_init(&r->stores);
}

void fake_redis_deinit(struct fake_redis *r)
{
    assert(list_empty(&r->stores));
    data_unref(&r->data);
    for (unsigned i = 0; i < r->npast; i++)
        data_unref(&r->past[i].data);
    free(r->past);
}

void fake_redis_wipe(struct fake_redis *r)
{
    data_unref(&r->data);
    r->data = (struct fake_data){0};
}

void fake_redis_set_back(struct fake_redis *r, double by_ms)
{
    double then_us = (double)r->sim->now_us - by_ms * SIM_MS;
    const struct fake_past *best = NULL;
    for (unsigned i = 0; i < r->npast; i++) {
        const struct fake_past *p = &r->past[(r->past_at + FAKE_PAST - 1 - i) % FAKE_PAST];
        if ((double)p->at_us <= then_us) {
            best = p;
            break;
        }
    }
    if (best == NULL)
        return;
    data_ref(&best->data);
    data_unref(&r->data);
    r->data = best->data;
}

void fake_redis_jump(struct fake_redis *r, int64_t by_ms)
{
    r->jump_ms += by_ms;
}

/* What Redis and the beginning of each script do about time. */
static void expire(struct fake_redis *r)
{
    struct fake_data *d = &r->data;
    int64_t now = redis_ms(r);
    if (d->lock[0] && now >= d->lock_until_ms)
        d->lock[0] = 0;
    if (d->lock[0] && d->lock_until_ms - now > d->lock_ttl_ms && !(r->bugs & FAKE_NO_HEAL))
        d->lock_until_ms = now + d->lock_ttl_ms; /* the clock went back */
    if (d->next[0] && now >= d->next_until_ms)
        d->next[0] = 0;
}

static struct fake_node *find_node(struct fake_data *d, const char *node)
{
    for (unsigned i = 0; i < d->nnodes; i++)
        if (strcmp(d->nodes[i].node, node) == 0)
            return &d->nodes[i];
    return NULL;
}

static struct fake_node *add_node(struct fake_data *d, const char *node)
{
    struct fake_node *n = find_node(d, node);
    if (n)
        return n;
    assert(d->nnodes < FAKE_NODES);
    n = &d->nodes[d->nnodes++];
    *n = (struct fake_node){0};
    snprintf(n->node, sizeof n->node, "%s", node);
    return n;
}

static void remove_node(struct fake_data *d, const char *node)
{
    struct fake_node *n = find_node(d, node);
    if (n == NULL)
        return;
    blob_unref(n->view);
    *n = d->nodes[--d->nnodes];
}

void fake_redis_write_state(struct fake_redis *r, const struct version *v, struct str body)
{
    blob_unref(r->data.body);
    r->data.body = blob_new(body);
    r->data.version = *v;
}

void fake_redis_write_view(struct fake_redis *r, const char *node, const char *instance, uint64_t n,
                           struct str view)
{
    struct fake_node *x = add_node(&r->data, node);
    snprintf(x->instance, sizeof x->instance, "%s", instance);
    x->n = n;
    x->c = ++r->data.highest_c;
    blob_unref(x->view);
    x->view = blob_new(view);
}

void fake_redis_write_lock(struct fake_redis *r, const char *value, int64_t ms)
{
    snprintf(r->data.lock, sizeof r->data.lock, "%s", value);
    r->data.lock_ttl_ms = ms;
    r->data.lock_until_ms = redis_ms(r) + ms;
}

/* ---- calls ---- */

enum kind { SYNC, ACQUIRE, PUBLISH, RESTORE, OFFER, RELEASE, FORGET };
static const char *const kind_names[] = {"sync",  "acquire", "publish", "restore",
                                         "offer", "release", "forget"};

/* What is sent: a copy of what the caller has given. */
struct question {
    enum kind kind;
    char node[64], instance[INSTANCE_SIZE], lock[192], previous[192];
    bool has_lock, tells, has_view;
    enum hint hint;
    uint64_t n, known_c, epoch, floor;
    struct version version; /* known, or to be stored */
    struct blob *blob;      /* a view, a body */
    char (*nodes)[64];
    size_t nnodes;
};

struct answer {
    bool yes;
    struct store_synced synced;
    struct store_acquired acquired;
    char holder[192], next[INSTANCE_SIZE];
    struct fake_data data; /* of a sync: what beats, views and body point into */
    struct store_beat beats[FAKE_NODES + 1];
    char before[INSTANCE_SIZE]; /* another instance of the node, as it was before the sync */
    struct store_view views[FAKE_NODES];
};

struct call {
    unsigned refs; /* while it is pending, and under way */
    struct fake_redis *redis;
    struct fake_path *path;
    struct fake_store *store; /* NULL: its outcome is unknown, or its sender has gone */
    struct sim_process *process;
    struct list link; /* in pending */
    struct sim_timer deadline;
    struct question q;
    struct answer *a; /* NULL: not carried out yet */
    union {
        store_synced_fn *synced;
        store_acquired_fn *acquired;
        store_done_fn *done;
    };
    void *arg;
};

struct fake_store {
    struct store store;
    struct list link; /* in redis->stores */
    struct fake_redis *redis;
    struct fake_path *path;
    struct sim_process *process;
    char instance[INSTANCE_SIZE]; /* "": not known before its first call */
    uint64_t deadline_ms, retry_ms, backoff_ms;
    bool up, told_up, told;
    struct list pending;
    struct sim_timer connect;
};

struct under_way { /* the argument of an event */
    struct call *call;
};

static void call_unref(struct call *c)
{
    if (--c->refs > 0)
        return;
    blob_unref(c->q.blob);
    free(c->q.nodes);
    if (c->a)
        data_unref(&c->a->data);
    free(c->a);
    free(c);
}

static void drop_under_way(void *arg)
{
    call_unref(((struct under_way *)arg)->call);
}

static struct under_way *under_way(struct call *c)
{
    struct under_way *u = mem_zalloc(sizeof *u);
    u->call = c;
    return u;
}

/* ---- the network ---- */

bool fake_path_passes(const struct fake_path *p, const struct fake_redis *r)
{
    return r->up && r->sim->now_us >= p->cut_us;
}

static uint64_t delay_us(struct sim *s, const struct fake_path *p)
{
    double d = sim_chance(s, .95) ? sim_between(s, .3, 2) : sim_between(s, 2, 60);
    if (p->slow_ms > 0)
        d += sim_between(s, 0, p->slow_ms);
    return (uint64_t)(d * SIM_MS);
}

struct hint_event {
    struct fake_redis *redis;
    struct fake_store *store;
    enum hint kind;
    char instance[INSTANCE_SIZE];
};

static void on_hint(void *arg)
{
    struct hint_event *h = arg;
    list_foreach(it, &h->redis->stores)
    {
        struct fake_store *s = container_of(it, struct fake_store, link);
        if (s == h->store && s->up && s->store.events && s->store.events->on_hint)
            s->store.events->on_hint(s->store.events->arg, h->kind, h->instance);
    }
}

static void hint(struct fake_redis *r, enum hint kind, const char *instance)
{
    list_foreach(it, &r->stores)
    {
        struct fake_store *s = container_of(it, struct fake_store, link);
        if (strcmp(s->instance, instance) == 0 || !s->up || !fake_path_passes(s->path, r) ||
            sim_chance(r->sim, s->path->lost_hints))
            continue;
        struct hint_event *h = mem_zalloc(sizeof *h);
        *h = (struct hint_event){.redis = r, .store = s, .kind = kind};
        snprintf(h->instance, sizeof h->instance, "%s", instance);
        sim_send(s->process, r->sim->now_us + delay_us(r->sim, s->path), on_hint, h, NULL);
    }
}

/* Who has a lock of this value: TOKEN T NODE/INSTANCE. */
static const char *instance_of(const char *lock)
{
    const char *slash = strrchr(lock, '/');
    return slash ? slash + 1 : "";
}

static int64_t ttl_of(const char *lock)
{
    const char *space = strchr(lock, ' ');
    return space ? strtoll(space, NULL, 10) : 0;
}

/* ---- the scripts ---- */

static bool owns(const struct fake_redis *r, const struct question *q, uint64_t epoch)
{
    return q->has_lock && r->data.lock[0] && strcmp(r->data.lock, q->lock) == 0 &&
           r->data.epoch == epoch;
}

static void fill_synced(struct fake_redis *r, const struct question *q, uint64_t from,
                        struct answer *a)
{
    struct store_synced *s = &a->synced;
    a->data = r->data;
    data_ref(&a->data);
    struct fake_data *d = &a->data;
    int64_t left = d->lock[0] ? d->lock_until_ms - redis_ms(r) : 0;
    s->holder = str_of(d->lock);
    s->left_ms = (uint64_t)left;
    s->next = str_of(d->next);
    s->renewed = a->yes;
    s->version = d->version;
    bool newer = version_compare(&d->version, &q->version) > 0;
    if (newer || (r->bugs & FAKE_READER_TAKES_ANY))
        s->body = blob_str(d->body);
    s->highest_c = d->highest_c;
    s->beats = a->beats;
    s->views = a->views;
    for (unsigned i = 0; i < d->nnodes; i++) {
        struct fake_node *n = &d->nodes[i];
        a->beats[s->nbeats++] =
            (struct store_beat){.node = n->node, .instance = n->instance, .n = n->n, .c = n->c};
        if (n->view && n->c > from && strcmp(n->node, q->node) != 0)
            a->views[s->nviews++] = (struct store_view){.node = n->node, .text = blob_str(n->view)};
    }
}

static void run_sync(struct fake_redis *r, const struct question *q, struct answer *a)
{
    struct fake_data *d = &r->data;
    struct fake_node *n = add_node(d, q->node);
    struct store_beat before = {.node = q->node, .instance = a->before, .n = n->n, .c = n->c};
    snprintf(a->before, sizeof a->before, "%s", n->instance);
    bool another = n->instance[0] && strcmp(n->instance, q->instance) != 0;
    if (another)
        n->c = 0;
    snprintf(n->instance, sizeof n->instance, "%s", q->instance);
    n->n = q->n;
    uint64_t from = n->c ? q->known_c : 0; /* a store that has forgotten it tells it all */
    if (q->has_view) {
        blob_unref(n->view);
        n->view = blob_ref(q->blob);
        n->c = (d->highest_c > q->known_c ? d->highest_c : q->known_c) + 1;
        d->highest_c = n->c;
        if (q->tells)
            hint(r, q->hint, q->instance);
    }
    a->yes = owns(r, q, q->epoch);
    if (a->yes)
        d->lock_until_ms = redis_ms(r) + d->lock_ttl_ms;
    fill_synced(r, q, from, a);
    if (another)
        a->beats[a->synced.nbeats++] = before;
}

static void run_acquire(struct fake_redis *r, const struct question *q, struct answer *a)
{
    struct fake_data *d = &r->data;
    bool mine =
        d->lock[0] == 0 || strcmp(d->lock, q->lock) == 0 ||
        (q->previous[0] && strcmp(d->lock, q->previous) == 0 && !(r->bugs & FAKE_NO_PREVIOUS)) ||
        strcmp(d->next, q->instance) == 0;
    a->acquired = (struct store_acquired){.granted = mine, .version = d->version};
    if (!mine) {
        snprintf(a->holder, sizeof a->holder, "%s", d->lock);
        a->acquired.holder = str_of(a->holder);
        a->acquired.left_ms = (uint64_t)(d->lock_until_ms - redis_ms(r));
        return;
    }
    uint64_t epoch = d->epoch + 1;
    if (!(r->bugs & FAKE_EPOCH_INCR_ONLY)) {
        if (epoch <= d->version.epoch)
            epoch = d->version.epoch + 1;
        if (epoch <= q->floor)
            epoch = q->floor + 1;
    }
    d->epoch = a->acquired.epoch = epoch;
    if (d->granted < epoch)
        d->granted = epoch;
    snprintf(d->lock, sizeof d->lock, "%s", q->lock);
    d->lock_ttl_ms = ttl_of(q->lock);
    d->lock_until_ms = redis_ms(r) + d->lock_ttl_ms;
    d->next[0] = 0;
}

static void store_body(struct fake_redis *r, const struct question *q, bool restored)
{
    struct fake_data *d = &r->data;
    if (r->on_stored)
        r->on_stored(r->arg, &q->version, blob_str(q->blob), restored);
    blob_unref(d->body);
    d->body = blob_ref(q->blob);
    d->version = q->version;
    hint(r, HINT_STATE, restored ? q->instance : q->version.by);
}

static void run_publish(struct fake_redis *r, const struct question *q, struct answer *a)
{
    a->yes = owns(r, q, q->version.epoch) && version_compare(&q->version, &r->data.version) > 0;
    if (r->bugs & FAKE_STALE_PUBLISH)
        a->yes = true;
    if (a->yes)
        store_body(r, q, false);
}

static void run_restore(struct fake_redis *r, const struct question *q, struct answer *a)
{
    a->yes = version_compare(&q->version, &r->data.version) > 0 && !(r->bugs & FAKE_NO_RESTORE);
    if (!a->yes)
        return;
    store_body(r, q, true);
    if (r->data.epoch < q->version.epoch)
        r->data.epoch = q->version.epoch;
}

static void run_offer(struct fake_redis *r, const struct question *q, struct answer *a)
{
    struct fake_data *d = &r->data;
    a->yes = d->lock[0] && strcmp(d->lock, q->lock) == 0;
    if (!a->yes)
        return;
    snprintf(d->next, sizeof d->next, "%s", q->instance);
    d->next_until_ms = redis_ms(r) + (int64_t)r->offer_ms;
    if (r->on_offer)
        r->on_offer(r->arg);
    hint(r, HINT_LOCK, instance_of(q->lock));
}

static void run_release(struct fake_redis *r, const struct question *q, struct answer *a)
{
    struct fake_data *d = &r->data;
    a->yes = d->lock[0] && (strcmp(d->lock, q->lock) == 0 || (r->bugs & FAKE_PLAIN_DEL));
    if (!a->yes)
        return;
    d->lock[0] = 0;
    hint(r, HINT_LOCK, instance_of(q->lock));
}

static void run_forget(struct fake_redis *r, const struct question *q, struct answer *a)
{
    a->yes = r->data.lock[0] && strcmp(r->data.lock, q->lock) == 0;
    for (size_t i = 0; a->yes && i < q->nnodes; i++)
        remove_node(&r->data, q->nodes[i]);
}

static void carry_out(struct fake_redis *r, struct call *c)
{
    static void (*const run[])(struct fake_redis *, const struct question *, struct answer *) = {
        run_sync, run_acquire, run_publish, run_restore, run_offer, run_release, run_forget};
    c->a = mem_zalloc(sizeof *c->a);
    expire(r);
    run[c->q.kind](r, &c->q, c->a);
    if (c->q.kind != SYNC)
        sim_say(r->sim, "Redis: %s of %s: %s", kind_names[c->q.kind], c->process->name,
                c->a->yes || c->a->acquired.granted ? "yes" : "no");
    remember(r);
}

/* ---- the way there and back ---- */

static void finish(struct call *c, bool known)
{
    list_remove(&c->link);
    sim_timer_stop(&c->deadline);
    c->store = NULL;
    struct answer *a = known ? c->a : NULL;
    if (c->q.kind == SYNC)
        c->synced(c->arg, a ? &a->synced : NULL);
    else if (c->q.kind == ACQUIRE)
        c->acquired(c->arg, a ? &a->acquired : NULL);
    else
        c->done(c->arg, a ? &a->yes : NULL);
    call_unref(c);
}

static void on_answer(void *arg)
{
    struct call *c = ((struct under_way *)arg)->call;
    if (c->store)
        finish(c, true);
    call_unref(c);
}

static void come_back(void *arg)
{
    struct call *c = ((struct under_way *)arg)->call;
    if (c->store && fake_path_passes(c->path, c->redis)) {
        c->refs++;
        sim_send(c->process, c->redis->sim->now_us, on_answer, under_way(c), drop_under_way);
    }
    call_unref(c);
}

struct reset {
    struct fake_redis *redis;
    struct fake_store *store;
};

static void lose(struct fake_store *s, const char *why);

static void on_reset(void *arg)
{
    struct reset *x = arg;
    list_foreach(it, &x->redis->stores)
    {
        struct fake_store *s = container_of(it, struct fake_store, link);
        if (s == x->store) {
            if (s->up)
                lose(s, "reset");
            return;
        }
    }
}

/* The other end is gone: the kernel there says so at once, or nobody does. */
static void reset_soon(struct fake_store *s)
{
    if (!sim_chance(s->redis->sim, .5) || s->redis->sim->now_us < s->path->cut_us)
        return;
    struct reset *x = mem_zalloc(sizeof *x);
    *x = (struct reset){.redis = s->redis, .store = s};
    sim_send(s->process, s->redis->sim->now_us + delay_us(s->redis->sim, s->path), on_reset, x,
             NULL);
}

static void arrive(void *arg)
{
    struct call *c = ((struct under_way *)arg)->call;
    struct sim *s = c->redis->sim;
    if (s->now_us < c->path->cut_us) {
        /* TCP may deliver it when the cut is over, its sender gone or not */
        if (!c->process->alive || sim_chance(s, .5)) {
            c->refs++;
            sim_post(s, c->path->cut_us + (uint64_t)sim_between(s, 1000, 80000), arrive,
                     under_way(c), drop_under_way);
        }
    } else if (!c->redis->up) {
        if (c->store)
            reset_soon(c->store);
    } else {
        carry_out(c->redis, c);
        c->refs++;
        uint64_t slow = (uint64_t)(sim_between(s, 0, c->path->slow_back_ms) * SIM_MS);
        sim_post(s, s->now_us + delay_us(s, c->path) + slow, come_back, under_way(c),
                 drop_under_way);
    }
    call_unref(c);
}

void fake_redis_stop(struct fake_redis *r)
{
    r->up = false;
    list_foreach(it, &r->stores) reset_soon(container_of(it, struct fake_store, link));
}

void fake_redis_start(struct fake_redis *r)
{
    r->up = true;
}

/* ---- connections ---- */

static void try_connect(void *arg);

static void tell(struct fake_store *s, bool up, const char *why)
{
    if (s->told && s->told_up == up)
        return;
    s->told = true;
    s->told_up = up;
    if (s->store.events && s->store.events->on_reach)
        s->store.events->on_reach(s->store.events->arg, up, why);
}

static void retry(struct fake_store *s)
{
    double wait = (double)s->backoff_ms * sim_between(s->redis->sim, .5, 1.5);
    s->backoff_ms = s->backoff_ms * 2 < s->retry_ms ? s->backoff_ms * 2 : s->retry_ms;
    sim_timer_start(&s->connect, s->process, wait, try_connect, s);
}

static void connected(void *arg)
{
    struct fake_store *s = arg;
    if (!fake_path_passes(s->path, s->redis)) {
        tell(s, false, "connect failed");
        retry(s);
        return;
    }
    s->up = true;
    s->backoff_ms = 50;
    tell(s, true, "");
}

static void connect_failed(void *arg)
{
    struct fake_store *s = arg;
    tell(s, false, "connect failed");
    retry(s);
}

static void try_connect(void *arg)
{
    struct fake_store *s = arg;
    struct sim *sim = s->redis->sim;
    bool cut = sim->now_us < s->path->cut_us;
    double wait = cut ? (double)s->deadline_ms : 3 * (double)delay_us(sim, s->path) / SIM_MS;
    bool works = !cut && s->redis->up && wait < (double)s->deadline_ms;
    if (wait > (double)s->deadline_ms)
        wait = (double)s->deadline_ms;
    sim_timer_start(&s->connect, s->process, wait, works ? connected : connect_failed, s);
}

/* The connection is given up, with all that waits on it. */
static void lose(struct fake_store *s, const char *why)
{
    struct list gone;
    list_init(&gone);
    s->up = false;
    list_append(&gone, &s->pending);
    sim_say(s->redis->sim, "%s loses its connection: %s", s->process->name, why);
    retry(s);
    while (!list_empty(&gone))
        finish(container_of(gone.next, struct call, link), false);
    tell(s, false, why);
}

static void too_late(void *arg)
{
    struct call *c = arg;
    struct fake_store *s = c->store;
    if (s->up)
        lose(s, "no answer in time");
    else
        finish(c, false);
}

/* ---- store.h ---- */

static struct fake_store *of(struct store *s)
{
    return container_of(s, struct fake_store, store);
}

static struct call *call_new(struct store *store, enum kind kind, const char *lock, void *arg)
{
    struct fake_store *s = of(store);
    struct call *c = mem_zalloc(sizeof *c);
    *c = (struct call){.refs = 1,
                       .redis = s->redis,
                       .path = s->path,
                       .store = s,
                       .process = s->process,
                       .q = {.kind = kind, .has_lock = lock != NULL},
                       .arg = arg};
    assert(s->process->alive);
    if (lock)
        snprintf(c->q.lock, sizeof c->q.lock, "%s", lock);
    snprintf(c->q.instance, sizeof c->q.instance, "%s", s->instance);
    list_init(&c->link);
    list_push_back(&s->pending, &c->link);
    return c;
}

static void send_it(struct call *c)
{
    struct fake_store *s = c->store;
    struct sim *sim = s->redis->sim;
    if (!s->up) { /* there is nothing to send it on */
        sim_timer_start(&c->deadline, s->process, 0, too_late, c);
        return;
    }
    sim_timer_start(&c->deadline, s->process, (double)s->deadline_ms, too_late, c);
    uint64_t at = sim->now_us + delay_us(sim, s->path);
    if (at < s->path->last_us)
        at = s->path->last_us;
    s->path->last_us = at;
    c->refs++;
    sim_post(sim, at, arrive, under_way(c), drop_under_way);
}

static void on_sync(struct store *s, const struct store_sync *r, store_synced_fn *done, void *arg)
{
    struct call *c = call_new(s, SYNC, r->lock, arg);
    struct question *q = &c->q;
    c->synced = done;
    assert(strlen(r->node) < sizeof q->node);
    snprintf(of(s)->instance, sizeof of(s)->instance, "%s", r->instance);
    snprintf(q->instance, sizeof q->instance, "%s", r->instance);
    snprintf(q->node, sizeof q->node, "%s", r->node);
    q->n = r->n;
    q->has_view = r->view.n > 0;
    if (q->has_view)
        q->blob = blob_new(r->view);
    q->tells = r->tells;
    q->hint = r->kind;
    q->known_c = r->known_c;
    q->epoch = r->epoch;
    q->version = r->known;
    send_it(c);
}

static void on_acquire(struct store *s, const struct store_acquire *r, store_acquired_fn *done,
                       void *arg)
{
    struct call *c = call_new(s, ACQUIRE, r->lock, arg);
    c->acquired = done;
    snprintf(of(s)->instance, sizeof of(s)->instance, "%s", r->instance);
    snprintf(c->q.instance, sizeof c->q.instance, "%s", r->instance);
    assert(ttl_of(r->lock) > 0 && strcmp(instance_of(r->lock), r->instance) == 0);
    if (r->previous)
        snprintf(c->q.previous, sizeof c->q.previous, "%s", r->previous);
    c->q.floor = r->floor;
    send_it(c);
}

static void send_body(struct store *s, enum kind kind, const struct store_publish *r,
                      store_done_fn *done, void *arg)
{
    struct call *c = call_new(s, kind, r->lock, arg);
    c->done = done;
    c->q.version = r->version;
    c->q.blob = blob_new(r->body);
    send_it(c);
}

static void on_publish(struct store *s, const struct store_publish *r, store_done_fn *done,
                       void *arg)
{
    assert(r->lock);
    send_body(s, PUBLISH, r, done, arg);
}

static void on_restore(struct store *s, const struct store_publish *r, store_done_fn *done,
                       void *arg)
{
    assert(r->lock == NULL);
    send_body(s, RESTORE, r, done, arg);
}

static void on_offer(struct store *s, const char *lock, const char *to_instance,
                     store_done_fn *done, void *arg)
{
    struct call *c = call_new(s, OFFER, lock, arg);
    c->done = done;
    snprintf(c->q.instance, sizeof c->q.instance, "%s", to_instance);
    send_it(c);
}

static void on_release(struct store *s, const char *lock, store_done_fn *done, void *arg)
{
    struct call *c = call_new(s, RELEASE, lock, arg);
    c->done = done;
    send_it(c);
}

static void on_forget(struct store *s, const char *lock, const char *const *nodes, size_t n,
                      store_done_fn *done, void *arg)
{
    struct call *c = call_new(s, FORGET, lock, arg);
    c->done = done;
    c->q.nodes = mem_zalloc_array(n, sizeof *c->q.nodes);
    for (size_t i = 0; i < n; i++)
        snprintf(c->q.nodes[i], sizeof c->q.nodes[i], "%s", nodes[i]);
    c->q.nnodes = n;
    send_it(c);
}

static const struct store_ops ops = {
    .sync = on_sync,
    .acquire = on_acquire,
    .publish = on_publish,
    .restore = on_restore,
    .offer = on_offer,
    .release = on_release,
    .forget = on_forget,
};

struct fake_store *fake_store_new(struct fake_redis *r, struct fake_path *path,
                                  struct sim_process *process, uint64_t deadline_ms,
                                  uint64_t retry_ms)
{
    struct fake_store *s = mem_zalloc(sizeof *s);
    *s = (struct fake_store){.store = {.ops = &ops},
                             .redis = r,
                             .path = path,
                             .process = process,
                             .deadline_ms = deadline_ms,
                             .retry_ms = retry_ms,
                             .backoff_ms = 50};
    list_init(&s->pending);
    list_push_back(&r->stores, &s->link);
    try_connect(s);
    return s;
}

void fake_store_free(struct fake_store *s)
{
    if (s == NULL)
        return;
    while (!list_empty(&s->pending)) {
        struct call *c = container_of(s->pending.next, struct call, link);
        list_remove(&c->link);
        sim_timer_stop(&c->deadline);
        c->store = NULL;
        call_unref(c);
    }
    sim_timer_stop(&s->connect);
    list_remove(&s->link);
    free(s);
}

struct store *fake_store_store(struct fake_store *s)
{
    return &s->store;
}

bool fake_store_is_up(const struct fake_store *s)
{
    return s->up;
}
