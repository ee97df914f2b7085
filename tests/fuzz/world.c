#include "tests/fuzz/world.h"

#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "proxy/exchange.h"
#include "proxy/listener.h"
#include "proxy/session.h"
#include "proxy/tunnel.h"
#include "proxy/upstream.h"
#include "tests/lib/alloc_fault.h"

struct world world;

static void append(struct buffer *b, const char *data, size_t n)
{
    MUST(buffer_append(b, data, n));
}

/* What is there of the part's body is the beginning of the whole's, and all of it at its end. */
static void check_body(const struct http_message *whole, struct http_message *part)
{
    size_t from = part->compared, n = buffer_len(&part->body);
    MUST(n <= buffer_len(&whole->body));
    MUST(n == from || memcmp(whole->body.data + from, part->body.data + from, n - from) == 0);
    part->compared = n;
    if (part->state != MESSAGE_DONE)
        return;
    MUST(whole->state == MESSAGE_DONE && n == buffer_len(&whole->body));
    MUST(part->kind != BODY_CHUNKED || whole->kind != BODY_CHUNKED ||
         (buffer_len(&part->trailers) == buffer_len(&whole->trailers) &&
          (buffer_len(&part->trailers) == 0 ||
           memcmp(part->trailers.data, whole->trailers.data, buffer_len(&part->trailers)) == 0)));
}

static bool same(struct str a, struct str b)
{
    return str_eq(a, b);
}

static bool begins(struct str s, const char *scheme)
{
    size_t n = strlen(scheme);
    return s.n >= n && strncasecmp(s.p, scheme, n) == 0 && (s.n == n || s.p[n] == ' ');
}

/* Whether the head surely has what logs a connection in. In doubt false. */
static bool has_identity(const struct http_message *m)
{
    static const char *const names[] = {"Authorization", "Proxy-Authorization", "WWW-Authenticate",
                                        "Proxy-Authenticate"};
    static const char *const schemes[] = {"NTLM", "Negotiate", "Kerberos"};
    const char *base = m->bytes.data;
    for (unsigned i = 0; i < m->head.nfields; i++) {
        struct str value = head_value(base, &m->head.fields[i]);
        bool named = false, found = str_eq(value, STR("Basic realm=\"x\", Negotiate"));
        for (size_t k = m->answer ? 2 : 0; k < (m->answer ? 4 : 2); k++)
            named |= str_eq_nocase(head_name(base, &m->head.fields[i]), str_of(names[k]));
        for (size_t k = 0; k < 3; k++)
            found |= begins(value, schemes[k]);
        if (named && found)
            return true;
    }
    return false;
}

/* ---- what a client has sent ---- */

static struct caller *client_of(struct memory_wire *w)
{
    return container_of(w, struct caller, wire);
}

/* The request that is to be answered next; NULL: not a byte of it came. */
static struct request *current(const struct caller *c)
{
    return c->nanswered < c->nrequests ? c->requests[c->nanswered] : NULL;
}

static struct request *new_request(struct caller *c)
{
    struct request *r = mem_zalloc(sizeof *r);
    http_message_init_request(&r->m, world.max_head);
    c->requests = mem_grow(c->requests, c->nrequests + 1, sizeof(struct request *));
    c->requests[c->nrequests++] = r;
    return r;
}

/* Where the next bytes belong; NULL: that is not to be said yet, or never. */
static struct request *receiving(struct caller *c)
{
    struct request *r = c->nrequests ? c->requests[c->nrequests - 1] : NULL;
    if (r == NULL)
        return new_request(c);
    if (r->m.state == MESSAGE_BROKEN || (r->m.state == MESSAGE_DONE && !r->m.head.keep_alive))
        c->last_request = true;
    if (c->last_request)
        return NULL;
    if (r->m.state != MESSAGE_DONE)
        return r;
    /* behind an Upgrade the answer decides what bytes mean */
    return r->m.head.upgrade && c->nanswered < c->nrequests ? NULL : new_request(c);
}

static void parse_requests(struct caller *c)
{
    struct request *r;
    while (buffer_len(&c->unparsed) && (r = receiving(c)) != NULL)
        buffer_consume(&c->unparsed, http_message_feed(&r->m, buffer_head(&c->unparsed),
                                                       buffer_len(&c->unparsed)));
}

static void on_client_taken(struct memory_wire *w, const char *data, size_t n)
{
    struct caller *c = client_of(w);
    append(c->tunnel ? &c->tunnel_sent : &c->unparsed, data, n);
    if (!c->tunnel)
        parse_requests(c);
}

static void on_client_taken_end(struct memory_wire *w, bool error)
{
}

/* ---- what a client gets ---- */

/* The proxy's own answer. */
static void check_own_answer(const struct http_message *a, const struct request *r)
{
    unsigned status = a->head.status;
    MUST(a->head.has_length);
    if (r == NULL || !http_message_begun(&r->m)) {
        MUST(status == 503 && !a->head.keep_alive); /* too many connections */
    } else if (r->m.state == MESSAGE_HEAD) {
        MUST((status == 408 || status == 503) && !a->head.keep_alive);
    } else if (r->m.state == MESSAGE_BROKEN && !r->m.has_head) {
        MUST((status == r->m.status || status == 503) && !a->head.keep_alive);
    } else {
        bool of_body = status == 408 || (r->m.state == MESSAGE_BROKEN && status == r->m.status) ||
                       (world.failing && status == 431); /* no memory for trailers */
        MUST(of_body || (status >= 502 && status <= 504));
        MUST(r->m.state == MESSAGE_DONE || !a->head.keep_alive);
    }
}

/* The answer is the one that the backend gave to this request. */
static void check_passed_head(const struct http_message *a, const struct request *r)
{
    MUST(r && r->m.has_head && r->at);
    const struct http_message *said = &r->said;
    MUST(http_message_begun(said) && said->head.status == a->head.status);
    MUST(same(head_str(said->bytes.data, said->head.reason),
              head_str(a->bytes.data, a->head.reason)));
    MUST(same(http_message_field(said, "X-Serial"), http_message_field(a, "X-Serial")));
    MUST(r->m.head.minor == 1 || a->kind != BODY_CHUNKED);
    MUST(r->m.head.minor == 0 || r->interim_got >= r->interim - r->hundreds);
    MUST(r->interim <= 1000);
}

static void check_interim(const struct http_message *a, struct request *r)
{
    MUST(r && r->m.head.minor == 1 && r->at && !r->answering);
    MUST(r->interim > 0);
    r->interim_got++;
    r->continues += a->head.status == 100;
    MUST(r->continues <= 1);
}

static bool is_interim(const struct http_message *a)
{
    return a->head.status < 200 && a->head.status != 101;
}

static void check_head(struct caller *c)
{
    const struct http_message *a = &c->answer;
    struct request *r = current(c);
    c->passed = http_message_field(a, "Via").n > 0;
    MUST(a->head.minor == 1);
    if (is_interim(a)) {
        check_interim(a, r);
        return;
    }
    MUST(!world.worker.stopping || !a->head.keep_alive || a->head.status == 101);
    if (c->passed)
        check_passed_head(a, r);
    else
        check_own_answer(a, r);
    if (r)
        r->answering = true;
}

static void check_answer(struct caller *c)
{
    if (!c->head_checked)
        check_head(c);
    c->head_checked = true;
    if (c->passed && !is_interim(&c->answer))
        check_body(&current(c)->said, &c->answer);
}

static void start_tunnel(struct caller *c, struct request *r)
{
    MUST(r->m.head.upgrade && r->m.state == MESSAGE_DONE);
    MUST(r->at->request == r); /* such a connection is lent to nobody else */
    c->tunnel = r;
    r->at->tunnel = true;
    append(&c->tunnel_sent, buffer_head(&c->unparsed), buffer_len(&c->unparsed));
    buffer_clear(&c->unparsed);
}

/* The answer is there, the final one or not. */
static void finish_answer(struct caller *c)
{
    struct http_message *a = &c->answer;
    struct request *r = current(c);
    if (!is_interim(a)) {
        bool stays = a->head.keep_alive && a->kind != BODY_CLOSE;
        if (r && r->m.has_head && r->m.head.minor == 0)
            stays = stays && http_message_field(a, "Connection").n > 0;
        MUST(!stays || (r && r->m.state == MESSAGE_DONE && r->m.head.keep_alive));
        c->last_answer = !stays;
        if (a->head.status == 101)
            start_tunnel(c, r);
        c->nanswered++;
    }
    http_message_deinit(a);
    c->answer_open = false;
    if (!c->tunnel)
        parse_requests(c);
}

static void check_tunnel(const struct buffer *sent, size_t *got, const char *data, size_t n)
{
    MUST(*got + n <= buffer_len(sent));
    MUST(memcmp(sent->data + sent->start + *got, data, n) == 0);
    *got += n;
}

static void on_client_given(struct memory_wire *w, const char *data, size_t n)
{
    struct caller *c = client_of(w);
    while (n && !c->tunnel) {
        const struct request *r = current(c);
        if (!c->answer_open) {
            MUST(!c->last_answer);
            http_message_init_answer(&c->answer,
                                     r && r->m.has_head && r->m.head.method == METHOD_HEAD);
            c->answer_open = true;
            c->head_checked = false;
        }
        size_t used = http_message_feed(&c->answer, data, n);
        MUST(c->answer.state != MESSAGE_BROKEN && used > 0);
        data += used;
        n -= used;
        if (c->answer.has_head)
            check_answer(c);
        if (c->answer.state == MESSAGE_DONE)
            finish_answer(c);
    }
    if (n)
        check_tunnel(&c->tunnel->tunnel_said, &c->tunnel_got, data, n);
}

/* The client sees an end in order: an answer that lasts until here must be whole. */
static void check_end(struct caller *c)
{
    struct http_message *a = &c->answer;
    if (!c->answer_open || a->kind != BODY_CLOSE)
        return;
    http_message_end(a);
    check_answer(c);
    finish_answer(c);
}

/* A request that came whole is answered, unless it is the client's own fault. */
static void check_owed(const struct caller *c)
{
    const struct request *r = current(c);
    if (c->excused || world.failing || c->last_answer || c->tunnel || c->wire.dead || r == NULL)
        return;
    MUST(r->m.state != MESSAGE_DONE || r->answering);
}

static void on_client_fin(struct memory_wire *w)
{
    struct caller *c = client_of(w);
    check_end(c);
    MUST(!c->answer_open);
    MUST(!c->tunnel || c->tunnel_got == buffer_len(&c->tunnel->tunnel_said));
    check_owed(c);
}

static void on_client_closed(struct memory_wire *w, bool reset, size_t lost)
{
    struct caller *c = client_of(w);
    if (w->dead || w->shut_done)
        return;
    if (!reset) {
        MUST(lost == 0);
        check_end(c);
    }
    check_owed(c);
}

static const struct memory_ops client_ops = {on_client_taken, on_client_taken_end, on_client_given,
                                             on_client_fin, on_client_closed};

/* ---- what a backend gets ---- */

static struct backend *backend_of(struct memory_wire *w)
{
    return container_of(w, struct backend, wire);
}

/* Whose bytes these are, as the proxy has it. */
static struct caller *sender(const struct backend *b)
{
    struct upstream *u = container_of(b->wire.conn, struct upstream, conn);
    MUST(u->user);
    const struct lease *l = container_of(u->user, struct lease, user);
    MUST(l->upstream == u);
    struct memory_wire *w = memory_wire_of(&l->client->conn);
    MUST(w->state == MEMORY_OPEN);
    return client_of(w);
}

/* The rules of docs/http.md, "Retries", that can be seen from outside. */
static void check_try(const struct backend *b, const struct request *r)
{
    const struct backend *before = r->at;
    MUST(!r->answering);
    if (before == NULL)
        return;
    MUST(method_idempotent(r->m.head.method));
    if (r->on_server[b->server]) {
        MUST(r->on_server[b->server] == 1 && before->server == b->server && b->nrequests == 0);
        MUST(before->nrequests > 1 && before->request == r && !http_message_begun(&r->said));
        MUST(r->interim == 0);
    }
}

/* The connection has served the request before as it should. */
static void check_reuse(const struct backend *b)
{
    const struct request *before = b->request;
    MUST(!b->dirty && before->at == b);
    MUST(before->got.state == MESSAGE_DONE && before->said.state == MESSAGE_DONE);
    MUST(before->said.head.keep_alive && before->said.head.status >= 200);
    MUST(memory_queued(&b->wire) == 0);
}

static void begin_request(struct backend *b)
{
    struct caller *c = sender(b);
    struct request *r = current(c);
    MUST(r && r->m.has_head);
    check_try(b, r);
    if (b->nrequests)
        check_reuse(b);
    MUST(b->owner == NULL || b->owner == c);
    if (r->at) {
        http_message_deinit(&r->got);
        http_message_deinit(&r->said);
    }
    http_message_init_request(&r->got, 0);
    http_message_init_answer(&r->said, r->m.head.method == METHOD_HEAD);
    r->interim = r->hundreds = 0;
    b->client = c;
    b->request = r;
    b->nrequests++;
    r->at = b;
    r->servers += r->on_server[b->server]++ == 0;
    MUST(r->servers <= 1 + world.retries + world.downs);
}

static bool ends_with(struct str s, const char *end)
{
    size_t n = strlen(end);
    return s.n >= n && memcmp(s.p + s.n - n, end, n) == 0;
}

static void check_request(const struct backend *b)
{
    const struct http_message *got = &b->request->got, *sent = &b->request->m;
    const char *base = got->bytes.data, *sent_base = sent->bytes.data;
    MUST(got->head.minor == 1);
    MUST(same(head_str(base, got->head.method_text), head_str(sent_base, sent->head.method_text)));
    MUST(got->head.method == METHOD_OPTIONS ||
         same(head_str(base, got->head.path), head_str(sent_base, sent->head.path)));
    MUST(same(head_str(base, got->head.query), head_str(sent_base, sent->head.query)));
    MUST(ends_with(http_message_field(got, "X-Forwarded-For"), b->client->ip));
    MUST(ends_with(http_message_field(got, "Via"), "1.1 ringproxy"));
    MUST(got->head.upgrade == sent->head.upgrade);
    MUST(got->head.te_trailers == sent->head.te_trailers);
    MUST(got->head.upgrade || got->head.te_trailers ||
         http_message_field(got, "Connection").n == 0);
    MUST(got->kind == sent->kind && got->head.expect_continue == sent->head.expect_continue);
}

static void on_backend_given(struct memory_wire *w, const char *data, size_t n)
{
    struct backend *b = backend_of(w);
    if (world.proxy_head && !b->began) { /* it is written by itself */
        MUST(n > 8 && memcmp(data, "PROXY ", 6) == 0 && memcmp(data + n - 2, "\r\n", 2) == 0);
        b->began = true;
        return;
    }
    if (b->tunnel) {
        check_tunnel(&b->client->tunnel_sent, &b->tunnel_got, data, n);
        return;
    }
    if (b->nrequests == 0 || b->request->got.state == MESSAGE_DONE)
        begin_request(b);
    struct request *r = b->request;
    bool had_head = r->got.has_head;
    MUST(sender(b) == b->client && current(b->client) == r && r->at == b);
    MUST(http_message_feed(&r->got, data, n) == n && r->got.state != MESSAGE_BROKEN);
    if (r->got.has_head && !had_head)
        check_request(b);
    if (r->got.has_head && !had_head && has_identity(&r->got))
        b->owner = b->client;
    if (r->got.has_head)
        check_body(&r->m, &r->got);
}

/* ---- what a backend says ---- */

/* Returns how many bytes belong to the answer. */
static size_t take_answer(struct backend *b, const char *data, size_t n)
{
    struct request *r = b->request;
    size_t used = 0;
    while (used < n && r->said.state < MESSAGE_DONE) {
        used += http_message_feed(&r->said, data + used, n - used);
        if (r->said.has_head && has_identity(&r->said))
            b->owner = b->client;
        if (r->said.state == MESSAGE_DONE && is_interim(&r->said)) {
            r->interim++;
            r->hundreds += r->said.head.status == 100;
            http_message_deinit(&r->said);
            http_message_init_answer(&r->said, r->m.head.method == METHOD_HEAD);
        }
    }
    return used;
}

static void on_backend_taken(struct memory_wire *w, const char *data, size_t n)
{
    struct backend *b = backend_of(w);
    struct request *r = b->request;
    if (r == NULL || r->at != b) { /* bytes that nobody asked for, or no longer */
        b->dirty = true;
        return;
    }
    size_t used = b->dirty || b->tunnel ? 0 : take_answer(b, data, n);
    if (b->tunnel || (r->said.state == MESSAGE_DONE && r->said.head.status == 101))
        append(&r->tunnel_said, data + used, n - used);
    else if (used < n || r->said.state == MESSAGE_BROKEN)
        b->dirty = true;
}

static void on_backend_taken_end(struct memory_wire *w, bool error)
{
    struct backend *b = backend_of(w);
    struct request *r = b->request;
    b->dirty = true;
    if (r == NULL || r->at != b || b->tunnel)
        return;
    if (!error)
        http_message_end(&r->said);
    else if (r->said.state != MESSAGE_DONE)
        r->said.state = MESSAGE_BROKEN;
}

/* The proxy half-closes tunnels alone. */
static void on_backend_fin(struct memory_wire *w)
{
    const struct backend *b = backend_of(w);
    MUST(b->tunnel && b->tunnel_got == buffer_len(&b->client->tunnel_sent));
}

static void on_backend_closed(struct memory_wire *w, bool reset, size_t lost)
{
}

static const struct memory_ops backend_ops = {on_backend_taken, on_backend_taken_end,
                                              on_backend_given, on_backend_fin, on_backend_closed};

static struct memory_wire *on_connect(struct conn *conn, const struct addr *to, int *uv_error)
{
    static const int outcomes[] = {
        [CONNECT_ACCEPT] = 0, [CONNECT_REFUSE] = UV_ECONNREFUSED, [CONNECT_LATER] = 1};
    unsigned server = (unsigned)addr_port(to) - 1;
    MUST(server < WORLD_SERVERS);
    enum world_connect how = world.connect[server];
    if (how == CONNECT_NO_FILE || world.nbackends >= WORLD_MAX_CONNECTIONS)
        *uv_error = UV_EMFILE;
    else if (how == CONNECT_NO_WAY)
        *uv_error = UV_ENETUNREACH;
    if (*uv_error < 0)
        return NULL;
    struct backend *b = mem_zalloc(sizeof *b);
    memory_wire_init(&b->wire, &backend_ops);
    b->wire.connected = outcomes[how];
    b->server = server;
    b->since_ms = deadline_now(&world.worker.net.clock);
    list_push_front(&world.backends, &b->link);
    world.nbackends++;
    return &b->wire;
}

/* ---- the world ---- */

void world_init(void)
{
    world = (struct world){0};
    list_init(&world.clients);
    list_init(&world.backends);
    memory_init(on_connect);
    time_reset();
}

/* ---- in place of proxy/listener.c: clients come by world_open() ---- */

bool listener_start(struct listener *l, int fd, struct error *e)
{
    return close(fd) == 0;
}

void listener_stop(struct listener *l)
{
}

void listener_deafen(struct listener *l)
{
}

void listener_silence(struct listener *l)
{
}

void world_open(unsigned place)
{
    struct addr peer = {0};
    struct caller *c = mem_zalloc(sizeof *c);
    unsigned n = ++world.nclients;
    snprintf(c->ip, sizeof c->ip, "10.0.%u.%u", n >> 8 & 255, n & 255);
    peer.v4.sin_family = AF_INET;
    peer.v4.sin_addr.s_addr = htonl(10u << 24 | (n & 0xffff));
    peer.len = sizeof peer.v4;
    memory_wire_init(&c->wire, &client_ops);
    list_push_front(&world.clients, &c->link);
    world.open[place] = c;
    client_accept(world.worker.current->listeners[0].listener, memory_wire_accept(&c->wire), &peer);
}

static void free_request(struct request *r)
{
    http_message_deinit(&r->m);
    if (r->at) {
        http_message_deinit(&r->got);
        http_message_deinit(&r->said);
    }
    buffer_release(&r->tunnel_said);
    free(r);
}

static void free_client(struct caller *c)
{
    for (size_t i = 0; i < c->nrequests; i++)
        free_request(c->requests[i]);
    free(c->requests);
    if (c->answer_open)
        http_message_deinit(&c->answer);
    memory_wire_deinit(&c->wire);
    buffer_release(&c->outbox);
    buffer_release(&c->unparsed);
    buffer_release(&c->tunnel_sent);
    free(c);
}

static void free_backend(struct backend *b)
{
    memory_wire_deinit(&b->wire);
    buffer_release(&b->outbox);
    free(b);
}

void world_deinit(void)
{
    list_foreach_safe(it, nxt, &world.clients) free_client(container_of(it, struct caller, link));
    list_foreach_safe(it, nxt, &world.backends)
        free_backend(container_of(it, struct backend, link));
}

static void check_tried(const struct lease *l)
{
    for (unsigned i = 0; i < l->ntried; i++)
        for (unsigned j = 0; j < i; j++)
            MUST(l->tried[i] != l->tried[j]);
}

/* A conn that nobody has paused reads. */
static void check_reads(const struct conn *c)
{
    MUST(c->closing || !c->started || c->eof || c->paused || c->reading);
}

/* Whether a head lies there that nobody takes. */
static bool holds_answer(const struct conn *c)
{
    struct http_message m;
    if (conn_pending(c) == 0)
        return false;
    alloc_fault_hold();
    http_message_init_answer(&m, false);
    http_message_feed(&m, c->in.data + c->in.start, conn_pending(c));
    bool held = m.state != MESSAGE_HEAD;
    http_message_deinit(&m);
    alloc_fault_release();
    return held;
}

/* What can go on goes on: nobody waits for a drain that has been, or sits on bytes. */
static void check_flow(const struct exchange *x)
{
    const struct conn *down = x->conn, *up;
    check_reads(down);
    if (x->attempt < ATTEMPT_SENT)
        return;
    up = &x->lease.upstream->conn;
    check_reads(up);
    if (conn_queued(down) == 0) {
        MUST(!conn_is_paused(up, PAUSE_PEER));
        MUST(x->answer == ANSWER_WAIT ? !holds_answer(up) : conn_pending(up) == 0);
    }
    if (conn_queued(up) == 0 && x->attempt == ATTEMPT_SENT) {
        MUST(!conn_is_paused(down, PAUSE_PEER));
        MUST(x->request == REQUEST_DONE || conn_pending(down) == 0);
    }
}

static void check_tunnel_flow(const struct tunnel *t)
{
    const struct conn *down = &t->client->conn, *up = &t->lease.upstream->conn;
    check_reads(down);
    check_reads(up);
    MUST(conn_queued(down) || (!conn_is_paused(up, PAUSE_PEER) && conn_pending(up) == 0));
    MUST(conn_queued(up) || (!conn_is_paused(down, PAUSE_PEER) && conn_pending(down) == 0));
}

/* The connections that are tied to clients: each to one, at most one to a server. */
static void check_ties(void)
{
    unsigned n = 0;
    list_foreach(it, &world.worker.clients)
    {
        struct client *c = container_of(it, struct client, all);
        unsigned of_client = 0;
        for (struct upstream *u = c->tied, **at = &c->tied; u; at = &u->next_tied, u = *at) {
            MUST(u->state == UPSTREAM_TIED && u->identity && u->tied_at == at);
            for (const struct upstream *v = u->next_tied; v; v = v->next_tied)
                MUST(v->server != u->server);
            of_client++;
        }
        MUST(of_client <= UPSTREAM_TIES_MAX && (of_client == 0 || !c->conn.closing));
        n += of_client;
    }
    list_foreach(it, &world.worker.tied) n--;
    MUST(n == 0);
    list_foreach(it, &world.backends)
    {
        const struct backend *b = container_of(it, struct backend, link);
        MUST(b->wire.state != MEMORY_OPEN || !b->owner || b->owner->wire.state != MEMORY_CLOSED);
    }
}

static void check_connects(void)
{
    uint64_t timeout_ms = world.snapshot->config->pools[0].connect_timeout_ms;
    uint64_t now = deadline_now(&world.worker.net.clock);
    list_foreach(it, &world.backends)
    {
        const struct backend *b = container_of(it, struct backend, link);
        MUST(b->wire.state != MEMORY_CONNECTING || now < b->since_ms + timeout_ms);
    }
}

void world_check(void)
{
    const struct pool *p = world.snapshot->pools[0];
    unsigned active[WORLD_SERVERS] = {0}, connections = 0, total = 0;
    list_foreach(it, &world.worker.clients)
    {
        const struct session *s = container_of(it, struct session, client.all);
        connections += s->state != SESSION_CLOSED;
        const struct lease *l = NULL;
        if (s->state == SESSION_EXCHANGE) {
            check_flow(s->exchange);
            l = &s->exchange->lease;
        } else if (s->state == SESSION_TUNNEL) {
            check_tunnel_flow(s->tunnel);
            l = &s->tunnel->lease;
        }
        if (l == NULL)
            continue;
        check_tried(l);
        MUST(l->member);
        active[l->member->id]++;
    }
    for (unsigned i = 0; i < WORLD_SERVERS; i++) {
        MUST(atomic_load(&p->members[i].server->active) == active[i]);
        total += active[i];
    }
    MUST(!p->load_millionths || atomic_load(&p->totals->active) == total);
    MUST(atomic_load(&world.snapshot->listeners[0].stats->connections) == connections);
    check_connects();
    check_ties();
}
