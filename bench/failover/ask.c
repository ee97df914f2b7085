#include "bench/failover/ask.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/head.h"
#include "http/parser.h"

#define MAX_REQUEST 1024
#define MAX_HEAD 16384

static uint64_t now_ms(void)
{
    return clock_now_ns() / 1000000;
}

/* False: the socket is not ready for the events until end_ms. */
static bool wait_for(int fd, short events, uint64_t end_ms, struct error *e)
{
    assert(fd >= 0);
    struct pollfd p = {fd, events, 0};
    for (;;) {
        uint64_t now = now_ms();
        int n = poll(&p, 1, now < end_ms ? (int)(end_ms - now) : 0);
        if (n > 0)
            return true;
        if (n == 0) {
            error_set(e, ETIMEDOUT, "no answer in time");
            return false;
        }
        if (errno != EINTR) {
            error_errno(e, errno, "poll");
            return false;
        }
    }
}

static int open_connection(const struct addr *to, uint64_t end_ms, struct error *e)
{
    int why = 0;
    socklen_t len = sizeof why;
    int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        error_errno(e, errno, "socket");
        return -1;
    }
    if (connect(fd, &to->sa, to->len) < 0)
        why = errno;
    if (why == EINPROGRESS) {
        if (!wait_for(fd, POLLOUT, end_ms, e))
            goto fail;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len) < 0)
            why = errno;
    }
    if (why == 0)
        return fd;
    error_errno(e, why, "connect");
fail:
    close(fd);
    return -1;
}

static bool send_all(int fd, const char *p, size_t n, uint64_t end_ms, struct error *e)
{
    while (n) {
        ssize_t done = send(fd, p, n, MSG_NOSIGNAL);
        if (done > 0) {
            p += done;
            n -= (size_t)done;
        } else if (done < 0 && errno != EAGAIN && errno != EINTR) {
            error_errno(e, errno, "send");
            return false;
        } else if (!wait_for(fd, POLLOUT, end_ms, e)) {
            return false;
        }
    }
    return true;
}

static void take_answer(const struct head *h, const char *base, struct ask_answer *a)
{
    const struct head_field *f = head_find(h, base, STR("X-Backend"));
    struct str name = f ? head_value(base, f) : STR("");
    a->status = h->status;
    snprintf(a->backend, sizeof a->backend, "%.*s", (int)name.n, name.p);
}

struct reader {
    struct parser parser;
    struct head head;
    size_t from, n; /* in[from, n): the head that is being read */
    char in[MAX_HEAD];
};

/* Skips interim answers (1xx). PARSE_DONE: the final head is there. */
static enum parse_result read_heads(struct reader *r)
{
    for (;;) {
        enum parse_result p = parser_execute(&r->parser, &r->head, r->in + r->from, r->n - r->from);
        if (p != PARSE_DONE || r->head.status >= 200)
            return p;
        r->from += r->head.size;
        parser_init_answer(&r->parser, &r->head, MAX_HEAD);
    }
}

/* Reads up to the final head; no caller needs the body. */
static bool receive(int fd, uint64_t end_ms, struct ask_answer *a, struct error *e)
{
    struct reader r = {.n = 0};
    enum parse_result p = PARSE_MORE;
    parser_init_answer(&r.parser, &r.head, MAX_HEAD);
    while (p == PARSE_MORE && r.n < sizeof r.in) {
        if (!wait_for(fd, POLLIN, end_ms, e))
            return false;
        ssize_t got = recv(fd, r.in + r.n, sizeof r.in - r.n, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (got <= 0) {
            error_errno(e, got < 0 ? errno : ECONNRESET, "receive");
            return false;
        }
        r.n += (size_t)got;
        p = read_heads(&r);
    }
    if (p == PARSE_DONE)
        take_answer(&r.head, r.in + r.from, a);
    else
        error_set(e, 0, "malformed answer");
    return p == PARSE_DONE;
}

bool ask(const struct addr *to, const char *method, const char *target, const char *fields,
         unsigned time_ms, struct ask_answer *a, struct error *e)
{
    char out[MAX_REQUEST], host[ADDR_TEXT_MAX];
    uint64_t end_ms = now_ms() + time_ms;
    addr_format(to, host);
    int n = snprintf(out, sizeof out, "%s %s HTTP/1.1\r\nHost: %s\r\n%sConnection: close\r\n\r\n",
                     method, target, host, fields);
    if (n < 0 || (size_t)n >= sizeof out) {
        error_set(e, EMSGSIZE, "the request is too long");
        return false;
    }
    int fd = open_connection(to, end_ms, e);
    if (fd < 0)
        return false;
    bool ok = send_all(fd, out, (size_t)n, end_ms, e) && receive(fd, end_ms, a, e);
    close(fd);
    if (!ok)
        error_prefix(e, "%s", host);
    return ok;
}
