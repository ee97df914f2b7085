#include "cluster/store_redis.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/list.h"
#include "base/mem.h"
#include "cluster/answers.h"
#include "cluster/scripts.h"

/* What was refused is told once; again after so many syncs without a refusal. */
#define CLEAN_SYNCS 60
#define TOLD_MAX 32
#define YEAR_MS UINT64_C(31556952000)
#define YEAR_2026_MS UINT64_C(1767225600000)

enum key { KEY_LOCK, KEY_EPOCH, KEY_NEXT, KEY_STATE, KEY_BEATS, KEY_VIEWS, KEYS };

struct store_redis {
    struct store store;
    struct redis *redis;
    char *keys[KEYS];
    char *channel;
    char *instance;
    uint64_t offer_ms;
    struct list requests;
    uint64_t told[TOLD_MAX]; /* hashes of what on_refused has told */
    unsigned ntold, clean;
    bool closing;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

/* A call that was sent. */
struct request {
    struct list at;
    struct store_redis *store;
    enum script script;
    store_synced_fn *synced;
    store_acquired_fn *acquired;
    store_done_fn *done;
    void *arg;
    struct version known; /* of a sync */
};

static struct store_redis *of(struct store *s)
{
    return container_of(s, struct store_redis, store);
}

/* ---- what is refused ---- */

/* FNV-1a */
static uint64_t hash_of(const char *text)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return h;
}

static bool is_news(struct store_redis *s, const char *what)
{
    uint64_t h = hash_of(what);
    for (unsigned i = 0; i < s->ntold; i++)
        if (s->told[i] == h)
            return false;
    if (s->ntold == TOLD_MAX)
        return false;
    s->told[s->ntold++] = h;
    return true;
}

static void on_refused(void *arg, const char *what)
{
    struct store_redis *s = arg;
    s->clean = 0;
    if (is_news(s, what) && s->store.events && s->store.events->on_refused)
        s->store.events->on_refused(s->store.events->arg, what);
}

__attribute__((format(printf, 2, 3))) static void refuse(struct store_redis *s, const char *format,
                                                         ...)
{
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    on_refused(s, what);
}

static void count_clean_sync(struct store_redis *s)
{
    if (++s->clean > CLEAN_SYNCS)
        s->ntold = 0;
}

/* ---- answers ---- */

static void answer_sync(struct store_redis *s, const struct request *q,
                        const struct redis_reply *reply)
{
    struct answer_synced a;
    bool ok = reply && answer_read_sync(&a, reply, &q->known, on_refused, s);
    if (ok)
        count_clean_sync(s);
    if (!s->closing)
        q->synced(q->arg, ok ? &a.synced : NULL);
    if (ok)
        answer_synced_free(&a);
}

static void answer_acquire(struct store_redis *s, const struct request *q,
                           const struct redis_reply *reply)
{
    struct store_acquired a;
    bool ok = reply && answer_read_acquire(&a, reply, on_refused, s);
    if (!s->closing)
        q->acquired(q->arg, ok ? &a : NULL);
}

static void answer_done(struct store_redis *s, const struct request *q,
                        const struct redis_reply *reply)
{
    bool yes, ok = reply && answer_read_done(&yes, reply, on_refused, s);
    if (!s->closing)
        q->done(q->arg, ok ? &yes : NULL);
}

static void on_answer(void *arg, const struct redis_reply *reply)
{
    struct request *q = arg;
    struct store_redis *s = q->store;
    list_remove(&q->at);
    if (reply && reply->type == REPLY_ERROR) {
        refuse(s, "%s: %s", script_name(q->script), reply->text.p);
        reply = NULL;
    }
    if (q->script == SCRIPT_SYNC)
        answer_sync(s, q, reply);
    else if (q->script == SCRIPT_ACQUIRE)
        answer_acquire(s, q, reply);
    else
        answer_done(s, q, reply);
    free(q); /* the store may be closing by now */
}

/* ---- calls ---- */

uint64_t store_redis_most_epoch(uint64_t wall_ms)
{
    return (wall_ms > YEAR_2026_MS ? wall_ms : YEAR_2026_MS) + 1000 * YEAR_MS;
}

static void add_most(struct script_call *c)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    script_add_number(c, store_redis_most_epoch(t.tv_sec > 0 ? (uint64_t)t.tv_sec * 1000 : 0));
}

static void begin(struct store_redis *s, struct script_call *c, enum script script,
                  const enum key *keys, unsigned n)
{
    script_begin(c, script, n);
    for (unsigned i = 0; i < n; i++)
        script_add(c, str_of(s->keys[keys[i]]));
}

#define BEGIN(s, c, script, ...)                               \
    begin((s), (c), (script), (const enum key[]){__VA_ARGS__}, \
          sizeof((const enum key[]){__VA_ARGS__}) / sizeof(enum key))

static void add(struct script_call *c, const char *text)
{
    script_add(c, str_of(text ? text : ""));
}

static struct request *send_call(struct store_redis *s, const struct script_call *c,
                                 enum script script, void *arg)
{
    struct request *q = mem_zalloc(sizeof *q);
    q->store = s;
    q->script = script;
    q->arg = arg;
    list_init(&q->at);
    list_push_back(&s->requests, &q->at);
    redis_call(s->redis, c->argv, c->argvlen, c->n, on_answer, q);
    return q;
}

static void do_sync(struct store *store, const struct store_sync *r, store_synced_fn *done,
                    void *arg)
{
    struct store_redis *s = of(store);
    struct script_call c;
    BEGIN(s, &c, SCRIPT_SYNC, KEY_LOCK, KEY_EPOCH, KEY_NEXT, KEY_STATE, KEY_BEATS, KEY_VIEWS);
    add(&c, s->channel);
    add(&c, r->node);
    add(&c, r->instance);
    script_add_number(&c, r->n);
    script_add(&c, r->view);
    add(&c, !r->tells ? "" : r->kind == HINT_CLAIM ? "claim" : "view");
    script_add_number(&c, r->known_c);
    add(&c, r->lock);
    script_add_number(&c, r->epoch);
    script_add_number(&c, r->known.epoch);
    add(&c, r->known.by);
    script_add_number(&c, r->known.seq);
    add_most(&c);
    struct request *q = send_call(s, &c, SCRIPT_SYNC, arg);
    q->synced = done;
    q->known = r->known;
}

static void do_acquire(struct store *store, const struct store_acquire *r, store_acquired_fn *done,
                       void *arg)
{
    struct store_redis *s = of(store);
    struct script_call c;
    BEGIN(s, &c, SCRIPT_ACQUIRE, KEY_LOCK, KEY_EPOCH, KEY_NEXT, KEY_STATE);
    add(&c, r->lock);
    add(&c, r->previous);
    script_add_number(&c, r->floor);
    add(&c, r->instance);
    add_most(&c);
    send_call(s, &c, SCRIPT_ACQUIRE, arg)->acquired = done;
}

static void add_publication(const struct store_redis *s, struct script_call *c,
                            const struct store_publish *r)
{
    add(c, s->channel);
    add(c, s->instance);
    if (r->lock)
        add(c, r->lock);
    script_add_number(c, r->version.epoch);
    add(c, r->version.by);
    script_add_number(c, r->version.seq);
    script_add(c, r->body);
    add_most(c);
}

static void do_publish(struct store *store, const struct store_publish *r, store_done_fn *done,
                       void *arg)
{
    struct store_redis *s = of(store);
    struct script_call c;
    assert(r->lock);
    BEGIN(s, &c, SCRIPT_PUBLISH, KEY_LOCK, KEY_EPOCH, KEY_STATE);
    add_publication(s, &c, r);
    send_call(s, &c, SCRIPT_PUBLISH, arg)->done = done;
}

static void do_restore(struct store *store, const struct store_publish *r, store_done_fn *done,
                       void *arg)
{
    struct store_redis *s = of(store);
    struct script_call c;
    assert(!r->lock);
    BEGIN(s, &c, SCRIPT_RESTORE, KEY_EPOCH, KEY_STATE);
    add_publication(s, &c, r);
    send_call(s, &c, SCRIPT_RESTORE, arg)->done = done;
}

static void do_offer(struct store *store, const char *lock, const char *to_instance,
                     store_done_fn *done, void *arg)
{
    struct store_redis *s = of(store);
    struct script_call c;
    BEGIN(s, &c, SCRIPT_OFFER, KEY_LOCK, KEY_NEXT);
    add(&c, s->channel);
    add(&c, s->instance);
    add(&c, lock);
    add(&c, to_instance);
    script_add_number(&c, s->offer_ms);
    send_call(s, &c, SCRIPT_OFFER, arg)->done = done;
}

static void do_release(struct store *store, const char *lock, store_done_fn *done, void *arg)
{
    struct store_redis *s = of(store);
    struct script_call c;
    BEGIN(s, &c, SCRIPT_RELEASE, KEY_LOCK);
    add(&c, s->channel);
    add(&c, s->instance);
    add(&c, lock);
    send_call(s, &c, SCRIPT_RELEASE, arg)->done = done;
}

static void do_forget(struct store *store, const char *lock, const char *const *nodes, size_t n,
                      store_done_fn *done, void *arg)
{
    struct store_redis *s = of(store);
    struct script_call c;
    size_t len = 0;
    for (size_t i = 0; i < n; i++)
        len += strlen(nodes[i]) + 1;
    char *lines = mem_zalloc(len + 1), *end = lines;
    for (size_t i = 0; i < n; i++) {
        end = stpcpy(end, nodes[i]);
        *end++ = '\n';
    }
    BEGIN(s, &c, SCRIPT_FORGET, KEY_LOCK, KEY_BEATS, KEY_VIEWS);
    add(&c, lock);
    script_add(&c, (struct str){lines, len});
    send_call(s, &c, SCRIPT_FORGET, arg)->done = done;
    free(lines);
}

static const struct store_ops ops = {
    .sync = do_sync,
    .acquire = do_acquire,
    .publish = do_publish,
    .restore = do_restore,
    .offer = do_offer,
    .release = do_release,
    .forget = do_forget,
};

/* ---- what Redis tells by itself ---- */

static void on_message(void *arg, struct str payload)
{
    struct store_redis *s = arg;
    enum hint kind;
    char instance[INSTANCE_SIZE];
    if (!answer_read_hint(payload, &kind, instance))
        on_refused(s, "a message of the channel that is no hint");
    else if (strcmp(instance, s->instance) != 0 && s->store.events && s->store.events->on_hint)
        s->store.events->on_hint(s->store.events->arg, kind, instance);
}

static void on_up(void *arg, const char *where)
{
    const struct store_redis *s = arg;
    if (s->store.events && s->store.events->on_reach)
        s->store.events->on_reach(s->store.events->arg, true, where);
}

static void on_down(void *arg, const char *why)
{
    const struct store_redis *s = arg;
    if (s->store.events && s->store.events->on_reach)
        s->store.events->on_reach(s->store.events->arg, false, why);
}

static void on_deaf(void *arg, const char *why)
{
    refuse(arg, "subscribe: %s", why);
}

/* ---- opening and closing ---- */

/* All keys of a fleet have one hash tag, so that they are in one slot of a Redis cluster. */
static char *key_of(const char *fleet, const char *suffix)
{
    char *out = NULL;
    int n = asprintf(&out, "{ringproxy:%s}%s", fleet, suffix);
    return mem_check(n < 0 ? NULL : out);
}

struct store *store_redis_open(const struct store_redis_options *o)
{
    static const char *const suffixes[KEYS] = {":lock",  ":epoch", ":next",
                                               ":state", ":beats", ":views"};
    struct store_redis *s = mem_zalloc(sizeof *s);
    s->store.ops = &ops;
    list_init(&s->requests);
    for (unsigned i = 0; i < KEYS; i++)
        s->keys[i] = key_of(o->fleet, suffixes[i]);
    s->channel = key_of(o->fleet, "");
    s->instance = mem_strdup("");
    s->offer_ms = o->lock_ttl_ms / 3;
    const struct redis_options redis = {
        .net = o->net,
        .lookups = o->lookups,
        .urls = o->urls,
        .nurls = o->nurls,
        .deadline_ms = o->lock_ttl_ms / 6,
        .period_ms = o->lock_ttl_ms / 3,
        .channel = s->channel,
        .on_up = on_up,
        .on_down = on_down,
        .on_message = on_message,
        .on_deaf = on_deaf,
        .arg = s,
    };
    s->redis = redis_open(&redis);
    return &s->store;
}

void store_redis_name(struct store *store, const char *instance)
{
    struct store_redis *s = of(store);
    free(s->instance);
    s->instance = mem_strdup(instance);
}

static void on_closed(void *arg)
{
    struct store_redis *s = arg;
    void (*tell)(void *arg) = s->on_closed;
    void *closed_arg = s->closed_arg;
    list_foreach_safe(it, next, &s->requests) free(container_of(it, struct request, at));
    for (unsigned i = 0; i < KEYS; i++)
        free(s->keys[i]);
    free(s->channel);
    free(s->instance);
    free(s);
    tell(closed_arg);
}

void store_redis_close(struct store *store, void (*closed)(void *arg), void *arg)
{
    struct store_redis *s = of(store);
    s->closing = true;
    s->on_closed = closed;
    s->closed_arg = arg;
    redis_close(s->redis, on_closed, s);
}

bool store_redis_is_up(struct store *store)
{
    return redis_is_up(of(store)->redis);
}

const struct redis_counts *store_redis_counts(struct store *store)
{
    return redis_counts(of(store)->redis);
}
