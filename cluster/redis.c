#include "cluster/redis.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cluster/link.h"

struct redis {
    struct redis_options o;
    char *channel; /* NULL: no messages are wanted */
    struct redis_counts counts;
    struct link *commands;
    struct link *messages; /* NULL without a channel */
    uv_timer_t ping;       /* of messages; used and closed with it */
    unsigned open;         /* links and timers that are not closed yet */
    void (*on_closed)(void *arg);
    void *closed_arg;
};

const char *redis_trouble_name(enum redis_trouble t)
{
    static const char *const names[REDIS_TROUBLES] = {"lookup",   "connect", "timeout", "lost",
                                                      "protocol", "auth",    "role",    "answer"};
    assert(t < REDIS_TROUBLES);
    return names[t];
}

/* ---- commands ---- */

static void on_up(void *arg, const char *where)
{
    struct redis *r = arg;
    /* what is published from now on is published here */
    if (r->messages && link_is_up(r->messages) && link_where(r->messages) != where)
        link_give_up(r->messages, REDIS_LOST, "commands go elsewhere");
    if (r->o.on_up)
        r->o.on_up(r->o.arg, where);
}

static void on_down(void *arg, const char *why)
{
    const struct redis *r = arg;
    if (r->o.on_down)
        r->o.on_down(r->o.arg, why);
}

void redis_call(struct redis *r, const char *const *argv, const size_t *argvlen, size_t n,
                redis_done_fn *done, void *arg)
{
    link_call(r->commands, argv, argvlen, n, done, arg);
}

/* ---- messages ---- */

static bool is_text(const struct redis_reply *reply, const char *text)
{
    return reply->type == REPLY_TEXT && str_eq(reply->text, str_of(text));
}

/* [message, channel, payload] */
static bool on_push(void *arg, const struct redis_reply *reply)
{
    const struct redis *r = arg;
    if (reply->type != REPLY_ARRAY || reply->n != 3 || !is_text(reply->elements[0], "message"))
        return false;
    if (!is_text(reply->elements[1], r->channel) || reply->elements[2]->type != REPLY_TEXT)
        return false;
    if (r->o.on_message)
        r->o.on_message(r->o.arg, reply->elements[2]->text);
    return true;
}

static void on_subscribed(void *arg, const struct redis_reply *reply)
{
    struct redis *r = arg;
    if (reply == NULL)
        return;
    if (reply->type == REPLY_ARRAY && reply->n == 3 && is_text(reply->elements[0], "subscribe"))
        return;
    if (reply->type == REPLY_ERROR) {
        if (r->o.on_deaf)
            r->o.on_deaf(r->o.arg, reply->text.p);
        link_give_up(r->messages, REDIS_AUTH, "SUBSCRIBE is refused");
    } else {
        link_give_up(r->messages, REDIS_PROTOCOL, "SUBSCRIBE: not an answer to it");
    }
}

/* A subscriber is answered by ["pong", ""]. */
static void on_pong(void *arg, const struct redis_reply *reply)
{
    struct redis *r = arg;
    if (reply &&
        (reply->type != REPLY_ARRAY || reply->n != 2 || !is_text(reply->elements[0], "pong")))
        link_give_up(r->messages, REDIS_PROTOCOL, "PING: not an answer to it");
}

static void on_ping_due(uv_timer_t *t)
{
    struct redis *r = t->data;
    if (link_is_up(r->messages))
        link_call(r->messages, (const char *[]){"PING"}, (const size_t[]){4}, 1, on_pong, r);
}

static void on_messages_up(void *arg, const char *where)
{
    struct redis *r = arg;
    const char *words[] = {"SUBSCRIBE", r->channel};
    const size_t lens[] = {strlen(words[0]), strlen(words[1])};
    link_call(r->messages, words, lens, 2, on_subscribed, r);
}

static void open_messages(struct redis *r, const struct link_options *commands)
{
    struct link_options o = *commands;
    o.on_up = on_messages_up;
    o.on_down = NULL;
    o.on_push = on_push;
    r->channel = mem_strdup(r->o.channel);
    int err = uv_timer_init(r->o.net->loop, &r->ping);
    assert(err == 0); /* it cannot fail in libuv 1.x */
    (void)err;
    r->ping.data = r;
    uv_timer_start(&r->ping, on_ping_due, r->o.period_ms, r->o.period_ms);
    r->messages = link_open(&o);
    r->open += 2;
}

/* ---- opening and closing ---- */

struct redis *redis_open(const struct redis_options *o)
{
    struct redis *r = mem_zalloc(sizeof *r);
    r->o = *o;
    const struct link_options commands = {
        .net = o->net,
        .lookups = o->lookups,
        .urls = o->urls,
        .nurls = o->nurls,
        .deadline_ms = o->deadline_ms,
        .longest_wait_ms = o->period_ms,
        .counts = &r->counts,
        .on_up = on_up,
        .on_down = on_down,
        .arg = r,
    };
    r->commands = link_open(&commands);
    r->open = 1;
    if (o->channel)
        open_messages(r, &commands);
    return r;
}

static void closed_one(void *arg)
{
    struct redis *r = arg;
    if (--r->open > 0)
        return;
    void (*on_closed)(void *arg) = r->on_closed;
    void *closed_arg = r->closed_arg;
    free(r->channel);
    free(r);
    on_closed(closed_arg);
}

static void on_ping_closed(uv_handle_t *h)
{
    closed_one(h->data);
}

void redis_close(struct redis *r, void (*on_closed)(void *arg), void *arg)
{
    r->on_closed = on_closed;
    r->closed_arg = arg;
    link_close(r->commands, closed_one, r);
    if (r->messages == NULL)
        return;
    link_close(r->messages, closed_one, r);
    uv_close((uv_handle_t *)&r->ping, on_ping_closed);
}

bool redis_is_up(const struct redis *r)
{
    return link_is_up(r->commands);
}

const char *redis_why(const struct redis *r)
{
    return link_why(r->commands);
}

const struct redis_counts *redis_counts(const struct redis *r)
{
    return &r->counts;
}
