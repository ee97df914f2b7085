/* A backend on a loopback port that does one thing to every connection, in the test's own loop.
 *
 * Ownership: fake_open() to fake_close(), then run the loop until it has nothing left to do.
 * Threads: the loop's. */
#pragma once
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/addr.h"
#include "base/list.h"

enum fake_kind {
    FAKE_ANSWER,       /* the text, once anything was received */
    FAKE_ANSWER_CLOSE, /* the same, then closes */
    FAKE_GREET,        /* the text, at once */
    FAKE_HANG,         /* accepts, never says anything */
    FAKE_RESET,        /* accepts and resets */
    FAKE_DRIP,         /* the text, a byte every 20 ms */
    FAKE_REFUSE,       /* holds the port, but does not listen */
};

struct fake {
    union {
        uv_tcp_t listener;
        uv_pipe_t pipe; /* the same on a unix path */
    };
    struct list conns;
    enum fake_kind kind;
    const char *text;
    struct addr address;
    char address_text[ADDR_TEXT_MAX];
    unsigned accepted, open;
    unsigned ended, resets;    /* how the other ends went: in order, or by a reset */
    uint64_t accepted_ms[64];  /* of the first ones */
    char received[1024];       /* on all connections */
    size_t received_len;       /* of it */
    void (*on_answered)(void); /* NULL, or: the text has just been handed to the kernel */
};

struct fake_conn {
    uv_tcp_t tcp;
    uv_timer_t timer;
    struct list link;
    struct fake *fake;
    size_t sent;
    unsigned handles;
    char in[1024];
};

static inline void fake_conn_closed(uv_handle_t *h)
{
    struct fake_conn *c = h->data;
    if (--c->handles == 0) {
        c->fake->open--;
        free(c);
    }
}

static inline void fake_conn_close(struct fake_conn *c, bool reset)
{
    if (uv_is_closing((uv_handle_t *)&c->timer))
        return;
    list_remove(&c->link);
    uv_close((uv_handle_t *)&c->timer, fake_conn_closed);
    if (!reset || uv_tcp_close_reset(&c->tcp, fake_conn_closed) != 0)
        uv_close((uv_handle_t *)&c->tcp, fake_conn_closed);
}

/* Sends n bytes of the text from where it stands; small enough for any socket's buffer. */
static inline void fake_send(struct fake_conn *c, size_t n)
{
    uv_buf_t b = uv_buf_init((char *)(uintptr_t)c->fake->text + c->sent, (unsigned)n);
    int done = n ? uv_try_write((uv_stream_t *)&c->tcp, &b, 1) : 0;
    if (done < 0)
        fake_conn_close(c, false);
    else
        c->sent += (size_t)done;
}

static inline void fake_send_all(struct fake_conn *c)
{
    fake_send(c, strlen(c->fake->text) - c->sent);
    if (c->fake->on_answered)
        c->fake->on_answered();
    if (c->fake->kind == FAKE_ANSWER_CLOSE)
        fake_conn_close(c, false);
}

static inline void fake_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *b)
{
    struct fake_conn *c = h->data;
    *b = uv_buf_init(c->in, sizeof c->in);
}

static inline void fake_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct fake_conn *c = s->data;
    struct fake *f = c->fake;
    if (n < 0) {
        f->ended += n == UV_EOF;
        f->resets += n == UV_ECONNRESET;
        fake_conn_close(c, false);
        return;
    }
    size_t room = sizeof f->received - 1 - f->received_len;
    size_t taken = (size_t)n < room ? (size_t)n : room;
    memcpy(f->received + f->received_len, b->base, taken);
    f->received_len += taken;
    if (n > 0 && c->sent == 0 && (f->kind == FAKE_ANSWER || f->kind == FAKE_ANSWER_CLOSE))
        fake_send_all(c);
}

static inline void fake_drip(uv_timer_t *t)
{
    struct fake_conn *c = t->data;
    if (c->sent < strlen(c->fake->text))
        fake_send(c, 1);
}

static inline void fake_accept(uv_stream_t *s, int status)
{
    struct fake *f = s->data;
    struct fake_conn *c = calloc(1, sizeof *c);
    assert(status == 0 && c != NULL);
    c->fake = f;
    c->handles = 2;
    c->tcp.data = c->timer.data = c;
    list_push_back(&f->conns, &c->link);
    f->open++;
    int err = uv_tcp_init(s->loop, &c->tcp) | uv_timer_init(s->loop, &c->timer) |
              uv_accept(s, (uv_stream_t *)&c->tcp);
    assert(err == 0);
    (void)err;
    if (f->accepted < sizeof f->accepted_ms / sizeof *f->accepted_ms)
        f->accepted_ms[f->accepted] = uv_hrtime() / 1000000;
    f->accepted++;
    if (f->kind == FAKE_RESET) {
        fake_conn_close(c, true);
        return;
    }
    uv_read_start((uv_stream_t *)&c->tcp, fake_alloc, fake_read);
    if (f->kind == FAKE_GREET)
        fake_send_all(c);
    else if (f->kind == FAKE_DRIP)
        uv_timer_start(&c->timer, fake_drip, 20, 20);
}

static inline void fake_init(struct fake *f, enum fake_kind kind, const char *text)
{
    memset(f, 0, sizeof *f);
    list_init(&f->conns);
    f->kind = kind;
    f->text = text;
}

/* On unix:PATH; libuv removes the file when it is closed. */
static inline void fake_open_unix(struct fake *f, uv_loop_t *loop, enum fake_kind kind,
                                  const char *text, const char *address)
{
    fake_init(f, kind, text);
    int err = addr_parse(str_of(address), &f->address) != ADDR_OK;
    strcpy(f->address_text, address);
    err |= uv_pipe_init(loop, &f->pipe, 0) | uv_pipe_bind(&f->pipe, f->address.un.sun_path);
    if (err == 0 && kind != FAKE_REFUSE)
        err = uv_listen((uv_stream_t *)&f->pipe, 64, fake_accept);
    assert(err == 0);
    (void)err;
    f->listener.data = f;
}

static inline void fake_open_at(struct fake *f, uv_loop_t *loop, enum fake_kind kind,
                                const char *text, const char *ip, uint16_t port)
{
    struct sockaddr_in at;
    fake_init(f, kind, text);
    int err = uv_ip4_addr(ip, port, &at) | uv_tcp_init(loop, &f->listener) |
              uv_tcp_bind(&f->listener, (struct sockaddr *)&at, 0);
    if (err == 0 && kind != FAKE_REFUSE)
        err = uv_listen((uv_stream_t *)&f->listener, 64, fake_accept);
    int len = sizeof f->address.v6;
    err |= uv_tcp_getsockname(&f->listener, &f->address.sa, &len);
    assert(err == 0);
    (void)err;
    f->address.len = (socklen_t)len;
    addr_format(&f->address, f->address_text);
    f->listener.data = f;
}

static inline void fake_open(struct fake *f, uv_loop_t *loop, enum fake_kind kind, const char *text)
{
    fake_open_at(f, loop, kind, text, "127.0.0.1", 0);
}

static inline void fake_close(struct fake *f)
{
    uv_close((uv_handle_t *)&f->listener, NULL);
    list_foreach_safe(it, next, &f->conns)
        fake_conn_close(container_of(it, struct fake_conn, link), false);
}
