/* A Redis that answers by a script, in the test's own loop, on a loopback port.
 *
 * Ownership: fake_redis_open() to fake_redis_close(), then run the loop until it has nothing left
 * to do. Threads: the loop's. */
#pragma once
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/addr.h"
#include "base/list.h"
#include "cluster/resp.h"

#define FAKE_MASTER "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
#define FAKE_REPLICA "*5\r\n$5\r\nslave\r\n$1\r\nh\r\n:1\r\n$9\r\nconnected\r\n:0\r\n"

struct fake_answer {
    const char *command; /* its first word */
    const char *text;    /* "": none, ever */
};

struct fake_redis {
    uv_tcp_t listener;
    struct list conns;
    struct addr address;
    char address_text[ADDR_TEXT_MAX];
    struct fake_answer answers[8]; /* of this test; the first that fits counts */
    bool resets;                   /* each connection at once */
    bool drips;                    /* an answer byte by byte, a turn of the loop each */
    unsigned accepted, open;
    uint64_t accepted_ns[16];
    char log[2048]; /* the commands, "AUTH pw; ROLE; ..." */
};

struct fake_redis_conn {
    uv_tcp_t tcp;
    uv_timer_t timer; /* of dripping */
    struct list link;
    struct fake_redis *fake;
    struct resp *reader;
    char *dripping;
    size_t at, len, size;
    unsigned handles;
    bool subscribed;
    char in[65536];
};

static inline void fake_redis_conn_closed(uv_handle_t *h)
{
    struct fake_redis_conn *c = h->data;
    if (--c->handles > 0)
        return;
    c->fake->open--;
    resp_free(c->reader);
    free(c->dripping);
    free(c);
}

static inline void fake_redis_end(struct fake_redis_conn *c, bool reset)
{
    if (uv_is_closing((uv_handle_t *)&c->timer))
        return;
    list_remove(&c->link);
    uv_close((uv_handle_t *)&c->timer, fake_redis_conn_closed);
    if (!reset || uv_tcp_close_reset(&c->tcp, fake_redis_conn_closed) != 0)
        uv_close((uv_handle_t *)&c->tcp, fake_redis_conn_closed);
}

static inline void fake_redis_written(uv_write_t *w, int status)
{
    free(w);
}

static inline void fake_redis_write(struct fake_redis_conn *c, const char *p, size_t n)
{
    uv_write_t *w = malloc(sizeof *w + n);
    assert(w);
    memcpy(w + 1, p, n);
    uv_buf_t b = uv_buf_init((char *)(w + 1), (unsigned)n);
    if (uv_write(w, (uv_stream_t *)&c->tcp, &b, 1, fake_redis_written) != 0)
        free(w);
}

static inline void fake_redis_drip(uv_timer_t *t)
{
    struct fake_redis_conn *c = t->data;
    if (c->at < c->len)
        fake_redis_write(c, c->dripping + c->at++, 1);
    else
        uv_timer_stop(t);
}

static inline void fake_redis_say(struct fake_redis_conn *c, const char *text)
{
    size_t n = strlen(text);
    if (!c->fake->drips) {
        if (n)
            fake_redis_write(c, text, n);
        return;
    }
    c->dripping = realloc(c->dripping, c->len + n + 1);
    assert(c->dripping);
    memcpy(c->dripping + c->len, text, n + 1);
    c->len += n;
    uv_timer_start(&c->timer, fake_redis_drip, 0, 1);
}

static inline const char *fake_redis_answer(const struct fake_redis *f, const char *command)
{
    static const struct fake_answer usual[] = {
        {"AUTH", "+OK\r\n"}, {"SELECT", "+OK\r\n"}, {"ROLE", FAKE_MASTER}, {"PING", "+PONG\r\n"}};
    for (size_t i = 0; i < 8 && f->answers[i].command; i++)
        if (strcmp(f->answers[i].command, command) == 0)
            return f->answers[i].text;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (strcmp(usual[i].command, command) == 0)
            return usual[i].text;
    return "+OK\r\n";
}

static inline void fake_redis_log(struct fake_redis *f, const struct redis_reply *command)
{
    size_t at = strlen(f->log);
    for (size_t i = 0; i < command->n && at + 64 < sizeof f->log; i++)
        at += (size_t)snprintf(f->log + at, sizeof f->log - at, "%s%.40s",
                               i    ? " "
                               : at ? "; "
                                    : "",
                               command->elements[i]->text.p);
}

static inline void fake_redis_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *b)
{
    struct fake_redis_conn *c = h->data;
    *b = uv_buf_init(c->in, sizeof c->in);
}

static inline void fake_redis_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct fake_redis_conn *c = s->data;
    struct redis_reply *command;
    if (n < 0) {
        fake_redis_end(c, false);
        return;
    }
    bool ok = resp_feed(c->reader, b->base, (size_t)n);
    assert(ok);
    (void)ok;
    while (resp_next(c->reader, &command) == RESP_REPLY) {
        fake_redis_log(c->fake, command);
        c->subscribed |= strcmp(command->elements[0]->text.p, "SUBSCRIBE") == 0;
        fake_redis_say(c, fake_redis_answer(c->fake, command->elements[0]->text.p));
        resp_reply_free(command);
    }
}

static inline void fake_redis_accept(uv_stream_t *s, int status)
{
    struct fake_redis *f = s->data;
    struct fake_redis_conn *c = calloc(1, sizeof *c);
    assert(status == 0 && c != NULL);
    c->fake = f;
    c->handles = 2;
    c->reader = resp_new();
    c->tcp.data = c->timer.data = c;
    list_push_back(&f->conns, &c->link);
    f->open++;
    int err = uv_tcp_init(s->loop, &c->tcp) | uv_timer_init(s->loop, &c->timer) |
              uv_accept(s, (uv_stream_t *)&c->tcp);
    assert(err == 0);
    (void)err;
    if (f->accepted < 16)
        f->accepted_ns[f->accepted] = uv_hrtime();
    f->accepted++;
    if (f->resets)
        fake_redis_end(c, true);
    else
        uv_read_start((uv_stream_t *)&c->tcp, fake_redis_alloc, fake_redis_read);
}

/* Holds a port, and refuses connections until fake_redis_listen(). */
static inline void fake_redis_bind(struct fake_redis *f, uv_loop_t *loop)
{
    struct sockaddr_in at;
    int len = sizeof f->address.v6;
    memset(f, 0, sizeof *f);
    list_init(&f->conns);
    int err = uv_ip4_addr("127.0.0.1", 0, &at) | uv_tcp_init(loop, &f->listener) |
              uv_tcp_bind(&f->listener, (struct sockaddr *)&at, 0) |
              uv_tcp_getsockname(&f->listener, &f->address.sa, &len);
    assert(err == 0);
    (void)err;
    f->address.len = (socklen_t)len;
    addr_format(&f->address, f->address_text);
    f->listener.data = f;
}

static inline void fake_redis_listen(struct fake_redis *f)
{
    int err = uv_listen((uv_stream_t *)&f->listener, 64, fake_redis_accept);
    assert(err == 0);
    (void)err;
}

static inline void fake_redis_open(struct fake_redis *f, uv_loop_t *loop)
{
    fake_redis_bind(f, loop);
    fake_redis_listen(f);
}

/* To those who listen to a channel. */
static inline void fake_redis_send(struct fake_redis *f, const char *text)
{
    list_foreach_safe(it, next, &f->conns)
    {
        struct fake_redis_conn *c = container_of(it, struct fake_redis_conn, link);
        if (c->subscribed)
            fake_redis_say(c, text);
    }
}

/* To all that are connected. */
static inline void fake_redis_tell(struct fake_redis *f, const char *text)
{
    list_foreach_safe(it, next, &f->conns)
        fake_redis_say(container_of(it, struct fake_redis_conn, link), text);
}

static inline void fake_redis_end_all(struct fake_redis *f, bool reset)
{
    list_foreach_safe(it, next, &f->conns)
        fake_redis_end(container_of(it, struct fake_redis_conn, link), reset);
}

static inline void fake_redis_close(struct fake_redis *f)
{
    uv_close((uv_handle_t *)&f->listener, NULL);
    fake_redis_end_all(f, false);
}
