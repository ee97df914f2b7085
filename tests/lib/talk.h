/* A client on the same thread as the server under test: it turns the server's loop while it waits.
 *
 * Waiting is for a condition, never for a time; TALK_PATIENCE_NS only ends a test that would hang.
 * Ownership: talk_open() to talk_close(). Threads: the loop's. */
#pragma once
#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/addr.h"
#include "base/buffer.h"

#define TALK_PATIENCE_NS UINT64_C(20000000000)

struct talk {
    uv_loop_t *loop;
    int fd;
    struct buffer got; /* all that came, and a NUL behind it */
    bool ended;        /* the server closed; reset: it did so with bytes unread */
    bool reset;
};

static inline void talk_open(struct talk *t, uv_loop_t *loop, const struct addr *to)
{
    *t = (struct talk){.loop = loop};
    t->fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(t->fd, 0);
    ck_assert_int_eq(connect(t->fd, &to->sa, to->len), 0);
}

static inline void talk_close(struct talk *t)
{
    close(t->fd);
    buffer_release(&t->got);
}

/* Takes what has arrived. */
static inline void talk_receive(struct talk *t)
{
    ck_assert(buffer_reserve(&t->got, 64 * 1024 + 1));
    ssize_t n = recv(t->fd, t->got.data + t->got.end, 64 * 1024, MSG_DONTWAIT);
    if (n > 0)
        t->got.end += (size_t)n;
    else if (n == 0)
        t->ended = true;
    else if (errno == ECONNRESET)
        t->ended = t->reset = true;
    else
        ck_assert(errno == EAGAIN || errno == EINTR);
    t->got.data[t->got.end] = 0;
}

static inline void talk_turn(struct talk *t)
{
    uv_run(t->loop, UV_RUN_NOWAIT);
    if (!t->ended)
        talk_receive(t);
}

/* Sends all of it, turning the loop when the server is slow. The server may have closed. */
static inline void talk_send(struct talk *t, const char *p, size_t n)
{
    uint64_t until = uv_hrtime() + TALK_PATIENCE_NS;
    while (n) {
        ssize_t sent = send(t->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
            return;
        if (sent > 0) {
            p += sent;
            n -= (size_t)sent;
        } else {
            ck_assert(sent < 0 && errno == EAGAIN);
            ck_assert_uint_lt(uv_hrtime(), until);
            uv_run(t->loop, UV_RUN_NOWAIT);
        }
    }
}

static inline void talk_say(struct talk *t, const char *text)
{
    talk_send(t, text, strlen(text));
}

/* Until `text` has come `times` times in all. */
static inline void talk_wait_text(struct talk *t, const char *text, unsigned times)
{
    uint64_t until = uv_hrtime() + TALK_PATIENCE_NS;
    for (;;) {
        unsigned seen = 0;
        const char *p = t->got.data;
        while (p && (p = strstr(p, text)) != NULL)
            seen++, p += strlen(text);
        if (seen >= times)
            return;
        ck_assert_msg(!t->ended, "closed before \"%s\": %.500s", text, t->got.data);
        ck_assert_msg(uv_hrtime() < until, "no \"%s\" in: %.500s", text, t->got.data);
        talk_turn(t);
    }
}

static inline void talk_wait_bytes(struct talk *t, size_t n)
{
    uint64_t until = uv_hrtime() + TALK_PATIENCE_NS;
    while (buffer_len(&t->got) < n) {
        ck_assert(!t->ended && uv_hrtime() < until);
        talk_turn(t);
    }
}

static inline void talk_wait_end(struct talk *t)
{
    uint64_t until = uv_hrtime() + TALK_PATIENCE_NS;
    while (!t->ended) {
        ck_assert_msg(uv_hrtime() < until, "not closed: %.500s", t->got.data ? t->got.data : "");
        talk_turn(t);
    }
}

static inline bool talk_has(const struct talk *t, const char *text)
{
    return t->got.data && strstr(t->got.data, text) != NULL;
}
