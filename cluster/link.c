#include "cluster/link.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/splitmix.h"
#include "cluster/resp.h"

#define FIRST_WAIT_MS 50
#define PASSWORD_MAX 4096u
#define WHY_MAX 256

enum state { STATE_WAIT, STATE_LOOK, STATE_CONNECT, STATE_GREET, STATE_UP };

/* A stream and its reader. It may outlive its use by the link, as closing takes a while. */
struct stream {
    struct conn conn;
    struct conn_room room;
    struct link *link;
    struct resp *reader;
};

struct call {
    struct list at; /* link.waiting or link.unsent */
    struct deadline deadline;
    struct link *link;
    redis_done_fn *done;
    void *arg;
};

struct link {
    struct link_options o;
    enum state state;
    struct stream *stream; /* in CONNECT, GREET, UP; else NULL */
    struct lookup *lookup; /* in LOOK; else NULL */
    size_t url;            /* which one is tried or used */
    struct addr_set addrs; /* of it */
    unsigned next_addr;    /* to try */
    struct list waiting;   /* calls that were sent, in order */
    struct list unsent;    /* calls that can't be sent */
    bool write_failed;     /* the stream is to be given up as soon as the loop comes round */
    unsigned greeting;     /* answers that are still to come */
    struct deadline_queue calls;
    struct deadline_queue connects;
    struct deadline connecting; /* in `connects` in LOOK and CONNECT */
    uv_timer_t retry;           /* in WAIT */
    uv_timer_t soon;            /* `unsent` is to be told, or write_failed */
    uint64_t wait_ms;           /* before the next round */
    uint64_t random;
    bool told_down; /* on_down was called, and on_up was not since */
    bool closing;
    unsigned open; /* streams and timers that are not closed yet */
    void (*on_closed)(void *arg);
    void *closed_arg;
    char why[WHY_MAX];
};

static bool look_up(struct link *l, size_t url);
static void next_try(struct link *l);

/* ---- what went wrong ---- */

/* Words of a stranger go to logs and terminals. */
static void make_printable(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || (unsigned char)*text > '~')
            *text = '?';
}

__attribute__((format(printf, 3, 4))) static void note(struct link *l, enum redis_trouble trouble,
                                                       const char *format, ...)
{
    va_list args;
    l->o.counts->of[trouble]++;
    int n = snprintf(l->why, sizeof l->why, "%s: ", l->o.urls[l->url].shown);
    size_t at = n < 0 ? 0 : (size_t)n < sizeof l->why ? (size_t)n : sizeof l->why - 1;
    va_start(args, format);
    vsnprintf(l->why + at, sizeof l->why - at, format, args);
    va_end(args);
    make_printable(l->why);
}

/* ---- calls ---- */

/* Tells the calls of a list that their outcome is unknown. */
static void tell_unknown(struct link *l, struct list *calls)
{
    while (!list_empty(calls) && !l->closing) {
        struct call *c = container_of(calls->next, struct call, at);
        list_remove(&c->at);
        deadline_cancel(&c->deadline);
        redis_done_fn *done = c->done;
        void *arg = c->arg;
        free(c);
        done(arg, NULL);
    }
}

static void forget_calls(struct list *calls)
{
    while (!list_empty(calls)) {
        struct call *c = container_of(calls->next, struct call, at);
        list_remove(&c->at);
        deadline_cancel(&c->deadline);
        free(c);
    }
}

static struct call *new_call(struct link *l, redis_done_fn *done, void *arg)
{
    struct call *c = mem_zalloc(sizeof *c);
    list_init(&c->at);
    deadline_init(&c->deadline);
    c->link = l;
    c->done = done;
    c->arg = arg;
    return c;
}

static void on_soon(uv_timer_t *t)
{
    struct link *l = t->data;
    if (l->write_failed)
        link_give_up(l, REDIS_LOST, "the connection takes no more");
    if (l->closing)
        return;
    struct list calls; /* what is called in `done` is for the next time */
    list_init(&calls);
    list_append(&calls, &l->unsent);
    list_init(&l->unsent);
    tell_unknown(l, &calls);
    forget_calls(&calls);
}

static void act_soon(struct link *l)
{
    if (!uv_is_active((uv_handle_t *)&l->soon))
        uv_timer_start(&l->soon, on_soon, 0, 0);
}

static void send_call(struct link *l, const char *const *argv, const size_t *argvlen, size_t n,
                      redis_done_fn *done, void *arg)
{
    size_t len = 0;
    struct call *c = new_call(l, done, arg);
    list_push_back(&l->waiting, &c->at);
    deadline_arm(&l->calls, &c->deadline);
    char *bytes = l->write_failed ? NULL : resp_format(argv, argvlen, n, &len);
    uv_buf_t buf = uv_buf_init(bytes, (unsigned)len);
    if (bytes == NULL || conn_write(&l->stream->conn, &buf, 1, NULL) < 0) {
        l->write_failed = true;
        act_soon(l);
    }
    if (bytes)
        resp_format_free(bytes);
}

void link_call(struct link *l, const char *const *argv, const size_t *argvlen, size_t n,
               redis_done_fn *done, void *arg)
{
    assert(!l->closing && n >= 1);
    if (l->state == STATE_UP) {
        send_call(l, argv, argvlen, n, done, arg);
        return;
    }
    list_push_back(&l->unsent, &new_call(l, done, arg)->at);
    act_soon(l);
}

/* ---- giving up ---- */

static void closed_one(struct link *l)
{
    assert(l->open > 0);
    if (--l->open > 0 || !l->closing)
        return;
    deadline_queue_deinit(&l->calls);
    deadline_queue_deinit(&l->connects);
    void (*on_closed)(void *arg) = l->on_closed;
    void *arg = l->closed_arg;
    free(l);
    on_closed(arg);
}

static void on_stream_closed(struct conn *c)
{
    struct stream *s = container_of(c, struct stream, conn);
    struct link *l = s->link;
    resp_free(s->reader);
    free(s);
    closed_one(l);
}

/* Ends whatever is under way; the calls that wait stay. */
static void stop(struct link *l)
{
    if (l->lookup)
        lookup_cancel(l->lookup);
    if (l->stream)
        conn_close(&l->stream->conn, on_stream_closed);
    l->lookup = NULL;
    l->stream = NULL;
    l->write_failed = false;
    l->greeting = 0;
    deadline_cancel(&l->connecting);
}

static void on_retry(uv_timer_t *t)
{
    struct link *l = t->data;
    if (look_up(l, 0))
        next_try(l);
}

/* 50 ms, doubling, give or take a half, so that those who lost one Redis do not come in step. */
static void wait_for_next_round(struct link *l)
{
    double factor = .5 + splitmix_unit(&l->random);
    l->state = STATE_WAIT;
    uv_timer_start(&l->retry, on_retry, (uint64_t)((double)l->wait_ms * factor) + 1, 0);
    l->wait_ms *= 2;
    if (l->wait_ms > l->o.longest_wait_ms)
        l->wait_ms = l->o.longest_wait_ms;
}

static void tell_down(struct link *l)
{
    if (l->told_down)
        return;
    l->told_down = true;
    if (l->o.on_down)
        l->o.on_down(l->o.arg, l->why);
}

/* After note(). */
static void give_up(struct link *l)
{
    bool was_up = l->state == STATE_UP;
    struct list calls;
    stop(l);
    l->state = STATE_LOOK;
    if (was_up)
        wait_for_next_round(l);
    list_init(&calls);
    list_append(&calls, &l->waiting);
    list_init(&l->waiting);
    tell_unknown(l, &calls); /* which may close the link */
    forget_calls(&calls);
    if (l->closing)
        return;
    if (was_up)
        tell_down(l);
    else
        next_try(l);
}

void link_give_up(struct link *l, enum redis_trouble trouble, const char *why)
{
    if (l->closing || l->stream == NULL)
        return;
    note(l, trouble, "%s", why);
    give_up(l);
}

static void on_expired(struct deadline *d)
{
    struct call *c = container_of(d, struct call, deadline);
    link_give_up(c->link, REDIS_TIMEOUT, "no answer in time");
}

/* ---- greeting ---- */

/* Reads the file whole, without what ends its line. Never waits: a FIFO without a writer is empty.
 */
static bool read_password(const char *path, char out[PASSWORD_MAX + 2], size_t *len,
                          struct error *e)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        error_errno(e, errno, "%s", path);
        return false;
    }
    size_t n = 0;
    ssize_t r = 0;
    while (n < PASSWORD_MAX + 2 && (r = read(fd, out + n, PASSWORD_MAX + 2 - n)) > 0)
        n += (size_t)r;
    int err = r < 0 ? errno : 0;
    close(fd);
    if (n > 0 && out[n - 1] == '\n')
        n -= 1 + (n > 1 && out[n - 2] == '\r');
    *len = n;
    if (err)
        error_errno(e, err, "%s", path);
    else if (n == 0 || n > PASSWORD_MAX)
        error_set(e, 0, "%s: %s", path, n ? "too long for a password" : "empty");
    return !err && n > 0 && n <= PASSWORD_MAX;
}

static enum redis_trouble kind_of(const struct redis_reply *error)
{
    static const char *const auth[] = {"NOAUTH", "WRONGPASS", "NOPERM"};
    static const char *const role[] = {"LOADING", "READONLY", "MASTERDOWN"};
    for (size_t i = 0; i < sizeof auth / sizeof *auth; i++)
        if (strncmp(error->text.p, auth[i], strlen(auth[i])) == 0)
            return REDIS_AUTH;
    for (size_t i = 0; i < sizeof role / sizeof *role; i++)
        if (strncmp(error->text.p, role[i], strlen(role[i])) == 0)
            return REDIS_ROLE;
    return REDIS_ANSWER;
}

static bool is_master(const struct redis_reply *role)
{
    return role->type == REPLY_ARRAY && role->n > 0 &&
           (role->elements[0]->type == REPLY_TEXT || role->elements[0]->type == REPLY_STATUS) &&
           str_eq(role->elements[0]->text, STR("master"));
}

static void greeted(struct link *l)
{
    if (l->greeting == 0 || --l->greeting > 0)
        return;
    l->state = STATE_UP;
    l->told_down = false;
    if (l->o.on_up)
        l->o.on_up(l->o.arg, l->o.urls[l->url].shown);
}

static void refuse(struct link *l, const char *command, enum redis_trouble trouble,
                   const struct redis_reply *reply)
{
    if (reply->type == REPLY_ERROR)
        note(l, trouble, "%s: %s", command, reply->text.p);
    else
        note(l, REDIS_PROTOCOL, "%s: not an answer to it", command);
    give_up(l);
}

/* Answers to the greeting. NULL: the stream was given up already. */
static void on_auth(void *arg, const struct redis_reply *reply)
{
    /* "unknown command 'AUTH', with args beginning with: ...": the password is no one's to read */
    const char *args =
        reply && reply->type == REPLY_ERROR ? strstr(reply->text.p, "with args") : NULL;
    if (args)
        link_give_up(arg, REDIS_AUTH, "AUTH: it does not know this command");
    else if (reply && reply->type != REPLY_STATUS)
        refuse(arg, "AUTH", REDIS_AUTH, reply);
    else if (reply)
        greeted(arg);
}

static void on_select(void *arg, const struct redis_reply *reply)
{
    if (reply && reply->type != REPLY_STATUS)
        refuse(arg, "SELECT", reply->type == REPLY_ERROR ? kind_of(reply) : REDIS_PROTOCOL, reply);
    else if (reply)
        greeted(arg);
}

static void on_role(void *arg, const struct redis_reply *reply)
{
    if (reply && is_master(reply))
        greeted(arg);
    else if (reply && reply->type == REPLY_ARRAY)
        link_give_up(arg, REDIS_ROLE, "it is no primary");
    else if (reply)
        refuse(arg, "ROLE", reply->type == REPLY_ERROR ? kind_of(reply) : REDIS_PROTOCOL, reply);
}

/* A Redis that loads its data answers ROLE, but not PING. */
static void on_ping(void *arg, const struct redis_reply *reply)
{
    if (reply && reply->type != REPLY_STATUS)
        refuse(arg, "PING", reply->type == REPLY_ERROR ? kind_of(reply) : REDIS_PROTOCOL, reply);
    else if (reply)
        greeted(arg);
}

static void greet_with(struct link *l, redis_done_fn *done, const char *const *words, size_t n)
{
    size_t lens[3];
    for (size_t i = 0; i < n; i++)
        lens[i] = strlen(words[i]);
    l->greeting++;
    send_call(l, words, lens, n, done, l);
}

/* False: the password can't be read. */
static bool greet_auth(struct link *l, const struct redis_url *u)
{
    char secret[PASSWORD_MAX + 2];
    const char *words[3] = {"AUTH"};
    size_t lens[3] = {4}, n = 1;
    struct error e;
    if (u->password == NULL && u->password_file == NULL)
        return true;
    if (u->user) {
        words[n] = u->user;
        lens[n++] = strlen(u->user);
    }
    words[n] = u->password;
    if (u->password_file == NULL) {
        lens[n] = strlen(u->password);
    } else {
        words[n] = secret;
        if (!read_password(u->password_file, secret, &lens[n], &e)) {
            note(l, REDIS_AUTH, "password_file: %s", e.text);
            return false;
        }
    }
    l->greeting++;
    send_call(l, words, lens, n + 1, on_auth, l);
    explicit_bzero(secret, sizeof secret);
    return true;
}

static void greet(struct link *l)
{
    const struct redis_url *u = &l->o.urls[l->url];
    char db[16];
    l->state = STATE_GREET;
    if (!greet_auth(l, u)) {
        give_up(l);
        return;
    }
    snprintf(db, sizeof db, "%u", u->db);
    if (u->db != 0)
        greet_with(l, on_select, (const char *[]){"SELECT", db}, 2);
    greet_with(l, on_role, (const char *[]){"ROLE"}, 1);
    greet_with(l, on_ping, (const char *[]){"PING"}, 1);
}

/* ---- reading ---- */

/* Of a primary that became a replica, say: there is another one to be looked for. */
static bool shows_other_role(const struct redis_reply *reply)
{
    return reply->type == REPLY_ERROR &&
           (kind_of(reply) == REDIS_ROLE || strstr(reply->text.p, "READONLY You can't write"));
}

static void on_answer(struct link *l, const struct redis_reply *reply)
{
    const struct stream *s = l->stream;
    if (list_empty(&l->waiting)) {
        link_give_up(l, REDIS_PROTOCOL, "an answer that nobody asked for");
        return;
    }
    struct call *c = container_of(l->waiting.next, struct call, at);
    bool moved = l->state == STATE_UP && shows_other_role(reply);
    if (l->state == STATE_UP && reply->type == REPLY_ERROR)
        l->o.counts->of[REDIS_ANSWER]++;
    else if (l->state == STATE_UP)
        l->wait_ms = FIRST_WAIT_MS; /* it is of use: the next loss is a new story */
    redis_done_fn *done = c->done;
    void *arg = c->arg;
    list_remove(&c->at);
    deadline_cancel(&c->deadline);
    free(c);
    done(arg, reply);
    if (moved && !l->closing && l->stream == s)
        link_give_up(l, REDIS_ROLE, "it is no primary any more, or is loading its data");
}

static size_t on_read(struct conn *conn, char *data, size_t len)
{
    struct stream *s = container_of(conn, struct stream, conn);
    struct link *l = s->link;
    struct redis_reply *reply = NULL;
    enum resp_result result = RESP_BAD;
    if (resp_feed(s->reader, data, len)) {
        /* in a callback the stream may be given up, or the link be closed */
        while (l->stream == s && (result = resp_next(s->reader, &reply)) == RESP_REPLY) {
            if (l->state != STATE_UP || !l->o.on_push || !l->o.on_push(l->o.arg, reply))
                if (l->stream == s)
                    on_answer(l, reply);
            resp_reply_free(reply);
        }
    }
    if (l->stream == s && result == RESP_BAD)
        link_give_up(l, REDIS_PROTOCOL, resp_error(s->reader));
    return len;
}

static void on_eof(struct conn *conn)
{
    link_give_up(container_of(conn, struct stream, conn)->link, REDIS_LOST,
                 "it has closed the connection");
}

static void on_error(struct conn *conn, int err)
{
    struct link *l = container_of(conn, struct stream, conn)->link;
    link_give_up(l, l->state == STATE_CONNECT ? REDIS_CONNECT : REDIS_LOST, uv_strerror(err));
}

static void on_drain(struct conn *conn)
{
}

static void on_connected(struct conn *conn)
{
    struct link *l = container_of(conn, struct stream, conn)->link;
    deadline_cancel(&l->connecting);
    int r = conn_start(conn);
    if (r < 0)
        link_give_up(l, REDIS_CONNECT, uv_strerror(r));
    else
        greet(l);
}

static const struct conn_ops ops = {
    .on_read = on_read,
    .on_eof = on_eof,
    .on_error = on_error,
    .on_drain = on_drain,
    .on_connected = on_connected,
};

/* ---- connecting ---- */

/* False: it failed at once, and that was noted. */
static bool connect_to(struct link *l, const struct addr *to)
{
    struct stream *s = mem_zalloc(sizeof *s);
    s->link = l;
    s->reader = mem_check(resp_new());
    l->open++;
    int r = conn_connect(&s->conn, l->o.net, &ops, to, &s->room);
    if (r < 0) {
        note(l, REDIS_CONNECT, "%s", uv_strerror(r));
        conn_close(&s->conn, on_stream_closed);
        return false;
    }
    l->stream = s;
    l->state = STATE_CONNECT;
    if (!deadline_armed(&l->connecting)) /* one for the lookup and its first address */
        deadline_arm(&l->connects, &l->connecting);
    return true;
}

static void on_found(void *arg, const struct lookup_answer *a)
{
    struct link *l = arg;
    l->lookup = NULL;
    l->addrs = a->addrs;
    if (a->addrs.n == 0)
        note(l, REDIS_LOOKUP, "%s", a->reason);
    next_try(l);
}

/* Turns to a URL. False: its addresses come later. */
static bool look_up(struct link *l, size_t url)
{
    const struct redis_url *u = &l->o.urls[url];
    l->url = url;
    l->next_addr = l->addrs.n = 0;
    if (u->address.len) {
        l->addrs.n = 1;
        l->addrs.items[0] = u->address;
        return true;
    }
    l->state = STATE_LOOK;
    l->lookup =
        lookup_start(l->o.lookups, addr_host(u->address_text), addr_port(&u->address), on_found, l);
    deadline_arm(&l->connects, &l->connecting);
    return false;
}

/* Goes on with this round: the next address of this URL, the next URL. */
static void next_try(struct link *l)
{
    for (;;) {
        if (l->next_addr < l->addrs.n) {
            if (connect_to(l, &l->addrs.items[l->next_addr++]))
                return;
        } else if (l->url + 1 == l->o.nurls) {
            break;
        } else if (!look_up(l, l->url + 1)) {
            return;
        }
    }
    deadline_cancel(&l->connecting);
    wait_for_next_round(l);
    tell_down(l);
}

static void on_late(struct deadline *d)
{
    struct link *l = container_of(d, struct link, connecting);
    note(l, REDIS_TIMEOUT, "%s",
         l->state == STATE_LOOK ? "its name is not resolved in time" : "no connection in time");
    give_up(l);
}

/* ---- opening and closing ---- */

struct link *link_open(const struct link_options *o)
{
    struct link *l = mem_zalloc(sizeof *l);
    assert(o->nurls >= 1);
    l->o = *o;
    l->state = STATE_WAIT;
    list_init(&l->waiting);
    list_init(&l->unsent);
    deadline_queue_init(&l->calls, &o->net->clock, o->deadline_ms, on_expired);
    deadline_queue_init(&l->connects, &o->net->clock, o->deadline_ms, on_late);
    deadline_init(&l->connecting);
    l->random = uv_hrtime() ^ (uint64_t)(uintptr_t)l;
    l->wait_ms = FIRST_WAIT_MS < o->longest_wait_ms ? FIRST_WAIT_MS : o->longest_wait_ms;
    int r = uv_timer_init(o->net->loop, &l->retry) | uv_timer_init(o->net->loop, &l->soon);
    assert(r == 0); /* it cannot fail in libuv 1.x */
    (void)r;
    l->retry.data = l->soon.data = l;
    l->open = 2;
    uv_timer_start(&l->retry, on_retry, 0, 0);
    return l;
}

static void on_timer_closed(uv_handle_t *h)
{
    closed_one(h->data);
}

void link_close(struct link *l, void (*on_closed)(void *arg), void *arg)
{
    assert(!l->closing);
    l->closing = true;
    l->on_closed = on_closed;
    l->closed_arg = arg;
    stop(l);
    forget_calls(&l->waiting);
    forget_calls(&l->unsent);
    uv_close((uv_handle_t *)&l->retry, on_timer_closed);
    uv_close((uv_handle_t *)&l->soon, on_timer_closed);
}

bool link_is_up(const struct link *l)
{
    return l->state == STATE_UP && !l->closing;
}

const char *link_where(const struct link *l)
{
    return l->o.urls[l->url].shown;
}

const char *link_why(const struct link *l)
{
    return l->why;
}
