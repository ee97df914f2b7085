#include "cluster/lock_redis.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/boot_clock.h"
#include "cluster/scripts.h"

/* ---- names ---- */

bool lock_name_is_valid(struct str name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "._-:/@";
    if (name.n == 0 || name.n > LOCK_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (memchr(allowed, name.p[i], sizeof allowed - 1) == NULL)
            return false;
    return true;
}

void lock_redis_init(struct lock_redis *k, struct redis *redis, const char *name, const char *who,
                     uint64_t ttl_ms, void *arg)
{
    assert(lock_name_is_valid(str_of(name)));
    *k = (struct lock_redis){.redis = redis, .arg = arg};
    lock_init(&k->lock, who, ttl_ms);
    snprintf(k->key, sizeof k->key, "{ringlock:%s}", name);
    snprintf(k->epoch_key, sizeof k->epoch_key, "{ringlock:%s}:epoch", name);
}

/* ---- answers ---- */

static const struct redis_reply *element(const struct redis_reply *r, size_t i,
                                         enum reply_type type)
{
    return i < r->n && r->elements[i]->type == type ? r->elements[i] : NULL;
}

/* 0 or more, and 0 for what is none. */
static uint64_t number_at(const struct redis_reply *r, size_t i)
{
    const struct redis_reply *e = element(r, i, REPLY_INTEGER);
    return e && e->integer > 0 ? (uint64_t)e->integer : 0;
}

/* What Redis says is shown to a person: on a terminal, in a log. */
static void note_error(struct lock_answer *a, const struct redis_reply *reply)
{
    struct str s = reply->type == REPLY_ERROR ? reply->text : STR("something that is no answer");
    char text[128];
    size_t n = s.n < sizeof text - 1 ? s.n : sizeof text - 1;
    for (size_t i = 0; i < n; i++)
        text[i] = s.p[i] >= ' ' && s.p[i] <= '~' ? s.p[i] : '?';
    text[n] = '\0';
    snprintf(a->error, sizeof a->error, "Redis answers %s", text);
}

static void read_acquired(struct lock_redis *k, const struct redis_reply *reply,
                          struct lock_answer *a)
{
    const struct redis_reply *granted =
        reply->type == REPLY_ARRAY ? element(reply, 0, REPLY_INTEGER) : NULL;
    const struct redis_reply *holder = granted ? element(reply, 2, REPLY_TEXT) : NULL;
    if (granted && granted->integer == 1) {
        if (lock_granted(&k->lock, number_at(reply, 1), boot_clock_ms()))
            a->outcome = LOCK_GRANTED;
        else
            snprintf(a->error, sizeof a->error,
                     "the lock came too late, or with an epoch that is too low");
    } else if (granted && granted->integer == 0 && reply->n >= 4) {
        lock_refused(&k->lock);
        a->outcome = LOCK_REFUSED;
        a->holder = holder ? holder->text : (struct str){NULL, 0};
        a->left_ms = number_at(reply, 3);
    } else {
        note_error(a, reply);
    }
}

static void on_acquired(void *arg, const struct redis_reply *reply)
{
    struct lock_redis *k = arg;
    struct lock_answer a = {.outcome = LOCK_UNKNOWN};
    k->asking = false;
    if (reply)
        read_acquired(k, reply, &a);
    k->on_answer(k->arg, &a);
}

/* 1 or 0. */
static enum lock_outcome read_done(const struct redis_reply *reply, struct lock_answer *a)
{
    if (reply && reply->type == REPLY_INTEGER && (reply->integer == 0 || reply->integer == 1))
        a->outcome = reply->integer ? LOCK_GRANTED : LOCK_REFUSED;
    else if (reply)
        note_error(a, reply);
    return a->outcome;
}

static void on_renewed(void *arg, const struct redis_reply *reply)
{
    struct lock_redis *k = arg;
    struct lock_answer a = {.outcome = LOCK_UNKNOWN};
    k->asking = false;
    if (read_done(reply, &a) == LOCK_GRANTED)
        lock_renewed(&k->lock, k->epoch, k->start_ms);
    else if (a.outcome == LOCK_REFUSED)
        lock_lost(&k->lock, k->epoch);
    k->on_answer(k->arg, &a);
}

static void on_released(void *arg, const struct redis_reply *reply)
{
    struct lock_redis *k = arg;
    struct lock_answer a = {.outcome = LOCK_UNKNOWN};
    read_done(reply, &a);
    k->on_released(k->arg, &a);
}

/* ---- questions ---- */

static uint64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec > 0 ? (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000 : 0;
}

static void call(struct lock_redis *k, const struct script_call *c, redis_done_fn *done)
{
    redis_call(k->redis, c->argv, c->argvlen, c->n, done, k);
}

bool lock_redis_acquire(struct lock_redis *k, lock_answer_fn *on_answer, struct error *e)
{
    struct script_call c;
    assert(!k->asking);
    if (!lock_begin(&k->lock, &k->random, boot_clock_ms(), e))
        return false;
    k->asking = true;
    k->on_answer = on_answer;
    script_begin(&c, SCRIPT_ACQUIRE, 2);
    script_add(&c, str_of(k->key));
    script_add(&c, str_of(k->epoch_key));
    script_add(&c, str_of(k->lock.value));
    script_add(&c, str_of(k->lock.previous));
    script_add_number(&c, lock_floor(&k->lock, 0, wall_ms()));
    script_add(&c, str_of(k->lock.who));
    call(k, &c, on_acquired);
    return true;
}

void lock_redis_renew(struct lock_redis *k, lock_answer_fn *on_answer)
{
    struct script_call c;
    assert(!k->asking);
    k->asking = true;
    k->on_answer = on_answer;
    k->epoch = k->lock.epoch;
    k->start_ms = boot_clock_ms();
    script_begin(&c, SCRIPT_RENEW, 2);
    script_add(&c, str_of(k->key));
    script_add(&c, str_of(k->epoch_key));
    script_add(&c, str_of(k->lock.value));
    script_add_number(&c, k->epoch);
    call(k, &c, on_renewed);
}

void lock_redis_release(struct lock_redis *k, lock_answer_fn *on_answer)
{
    struct script_call c;
    lock_released(&k->lock);
    k->on_released = on_answer;
    script_begin(&c, SCRIPT_RELEASE, 1);
    script_add(&c, str_of(k->key));
    script_add(&c, STR("")); /* nobody is told: who waits asks again by itself */
    script_add(&c, str_of(k->lock.who));
    script_add(&c, str_of(k->lock.value));
    call(k, &c, on_released);
}
