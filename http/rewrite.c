#include "http/rewrite.h"

#include <assert.h>

#include "http/field.h"

/* Memory is reserved once for the greatest possible result, so that the put_*() below need not
 * check it and a failure leaves the buffer unchanged. That is every field line as received plus a
 * space after its colon, the host once more in X-Forwarded-Host, an Upgrade at most twice as long,
 * the caller's texts (`more`), and the lines that this module adds itself, which are far below
 * OWN_LINES bytes. */
#define OWN_LINES 512

#define RARE __attribute__((noinline)) /* see parser.c */

static bool reserve(struct buffer *out, const struct head *h, size_t more)
{
    return buffer_reserve(out, 2 * (size_t)h->size + h->nfields + more + OWN_LINES);
}

static void put(struct buffer *out, const char *p, size_t n)
{
    assert(n <= out->cap - out->end);
    memcpy(out->data + out->end, p, n);
    out->end += n;
}

static void put_str(struct buffer *out, struct str s)
{
    if (s.n)
        put(out, s.p, s.n);
}

#define PUT(out, literal) put((out), (literal), sizeof(literal) - 1)

/* Not snprintf(), which is slow and would want a NUL. */
static void put_number(struct buffer *out, uint64_t n)
{
    char digits[20];
    size_t i = sizeof(digits);
    do
        digits[--i] = (char)('0' + n % 10);
    while (n /= 10);
    put(out, digits + i, sizeof(digits) - i);
}

/* "Name: value\r\n". A line that was sent in just that form, as nearly all are, is one copy. */
static void put_field(struct buffer *out, const char *base, const struct head_field *f)
{
    if (f->value == f->name + f->name_len + 2u && base[f->value - 1] == ' ') {
        put(out, base + f->name, f->name_len + 2u + f->value_len);
    } else {
        put_str(out, head_name(base, f));
        PUT(out, ": ");
        put_str(out, head_value(base, f));
    }
    PUT(out, "\r\n");
}

/* The protocols of one Upgrade line that may follow through the proxy; no line if there is none.
 * The result is at most twice as long as the line. */
static void put_protocols(struct buffer *out, const char *base, const struct head_field *f)
{
    struct str rest = head_value(base, f), element;
    bool first = true;
    while (field_list_next(&rest, &element)) {
        if (!field_is_protocol(element))
            continue;
        if (first) {
            put_str(out, head_name(base, f));
            PUT(out, ": ");
        } else {
            PUT(out, ", ");
        }
        put_str(out, element);
        first = false;
    }
    if (!first)
        PUT(out, "\r\n");
}

/* Upgrade and TE are hop-by-hop: they are said anew, and named by a new Connection (RFC 9110 7.8,
 * 10.1.4). */
RARE static void put_hop(struct buffer *out, const struct head *h, const char *base, bool upgrade)
{
    if (upgrade && h->te_trailers)
        PUT(out, "Connection: Upgrade, TE\r\n");
    else if (upgrade)
        PUT(out, "Connection: Upgrade\r\n");
    else
        PUT(out, "Connection: TE\r\n");
    for (unsigned i = 0; upgrade && i < h->nfields; i++)
        if (h->fields[i].id == FIELD_UPGRADE)
            put_protocols(out, base, &h->fields[i]);
    if (h->te_trailers)
        PUT(out, "TE: trailers\r\n");
}

static void put_via(struct buffer *out)
{
    PUT(out, "Via: 1.1 ringproxy\r\n");
}

static void put_length(struct buffer *out, uint64_t length)
{
    PUT(out, "Content-Length: ");
    put_number(out, length);
    PUT(out, "\r\n");
}

/* The target in the form for an origin server (RFC 9112 3.2.1, 3.2.4). */
static void put_target(struct buffer *out, const struct head *h, const char *base)
{
    struct str target = head_str(base, h->target);
    if (target.p[0] == '/' || target.p[0] == '*') {
        put_str(out, target);
        return;
    }
    bool query = head_has_query(h, base);
    if (h->method == METHOD_OPTIONS && !query && !head_path_is_sent(h, base)) {
        PUT(out, "*");
        return;
    }
    put_str(out, head_str(base, h->path));
    if (query) {
        PUT(out, "?");
        put_str(out, head_str(base, h->query));
    }
}

/* True if a field is copied as it is. */
static bool passes_to_backend(const struct head *h, const struct head_field *f)
{
    if (f->hop)
        return false;
    switch (f->id) {
    case FIELD_CONTENT_LENGTH: /* this one and the next three are composed anew */
    case FIELD_X_FORWARDED_FOR:
    case FIELD_X_FORWARDED_PROTO:
    case FIELD_X_FORWARDED_HOST:
        return false;
    case FIELD_MAX_FORWARDS:
        return !h->limited;
    case FIELD_EXPECT: /* ignored in HTTP/1.0 (RFC 9110 10.1.1), but the head says HTTP/1.1 */
        return h->minor != 0;
    default:
        return true;
    }
}

/* The values as sent, then the peer as the last one, which is the only one that a backend can
 * trust. A client on a unix socket, which has no address, is there as "unix:": otherwise it could
 * choose the last value itself. */
static void put_forwarded_for(struct buffer *out, const struct head *h, const char *base,
                              struct str peer)
{
    PUT(out, "X-Forwarded-For: ");
    for (unsigned i = 0; i < h->nfields; i++) {
        const struct head_field *f = &h->fields[i];
        if (f->id == FIELD_X_FORWARDED_FOR && f->value_len) {
            put_str(out, head_value(base, f));
            PUT(out, ", ");
        }
    }
    put_str(out, peer.n ? peer : STR("unix:"));
    PUT(out, "\r\n");
}

/* Copies what a trusted proxy says in fields of this id. False: it says nothing. */
RARE static bool put_kept(struct buffer *out, const struct head *h, const char *base,
                          enum field_id id)
{
    bool any = false;
    for (unsigned i = 0; i < h->nfields; i++) {
        const struct head_field *f = &h->fields[i];
        if (f->id != id || f->value_len == 0)
            continue;
        put_field(out, base, f);
        any = true;
    }
    return any;
}

static void put_forwarded(struct buffer *out, const struct head *h, const char *base,
                          const struct rewrite_request *r)
{
    put_forwarded_for(out, h, base, r->peer);
    if (!(r->trusted && put_kept(out, h, base, FIELD_X_FORWARDED_PROTO))) {
        PUT(out, "X-Forwarded-Proto: ");
        put_str(out, r->proto);
        PUT(out, "\r\n");
    }
    if (!(r->trusted && put_kept(out, h, base, FIELD_X_FORWARDED_HOST)) && h->host.len) {
        PUT(out, "X-Forwarded-Host: ");
        put_str(out, head_str(base, h->host));
        PUT(out, "\r\n");
    }
}

/* Copies the fields that pass. Returns whether one is Host. */
static bool put_fields(struct buffer *out, const struct head *h, const char *base)
{
    bool host = false;
    for (unsigned i = 0; i < h->nfields; i++) {
        const struct head_field *f = &h->fields[i];
        host = host || f->id == FIELD_HOST;
        if (passes_to_backend(h, f))
            put_field(out, base, f);
    }
    return host;
}

RARE static bool put_fields_without(struct buffer *out, const struct head *h, const char *base,
                                    struct str without)
{
    bool host = false;
    for (unsigned i = 0; i < h->nfields; i++) {
        const struct head_field *f = &h->fields[i];
        host = host || f->id == FIELD_HOST;
        if (passes_to_backend(h, f) && !field_may_be(head_name(base, f), without))
            put_field(out, base, f);
    }
    return host;
}

bool rewrite_request(struct buffer *out, const struct head *h, const char *base,
                     const struct rewrite_request *r)
{
    if (!reserve(out, h, r->peer.n + r->proto.n))
        return false;
    put_str(out, head_str(base, h->method_text)); /* as sent: the method may be METHOD_OTHER */
    PUT(out, " ");
    put_target(out, h, base);
    PUT(out, " HTTP/1.1\r\n");
    bool host =
        r->without.n ? put_fields_without(out, h, base, r->without) : put_fields(out, h, base);
    if (!host && h->host.len) { /* HTTP/1.0 with an absolute-form target and without a Host field */
        PUT(out, "Host: ");
        put_str(out, head_str(base, h->host));
        PUT(out, "\r\n");
    }
    put_forwarded(out, h, base, r);
    if (!r->no_via)
        put_via(out);
    if (h->limited) {
        assert(h->max_forwards > 0); /* at 0 the proxy answers itself */
        PUT(out, "Max-Forwards: ");
        put_number(out, h->max_forwards - 1);
        PUT(out, "\r\n");
    }
    if (r->upgrade || h->te_trailers)
        put_hop(out, h, base, r->upgrade);
    /* A request without a body keeps its "Content-Length: 0", if it has one. */
    if (h->body == BODY_CHUNKED)
        PUT(out, "Transfer-Encoding: chunked\r\n");
    else if (h->has_length)
        put_length(out, h->content_length);
    return true;
}

static size_t cookie_size(const struct rewrite_cookie *c)
{
    return c ? c->name.n + c->value.n + c->path.n + c->domain.n + c->same_site.n : 0;
}

RARE static void put_cookie(struct buffer *out, const struct rewrite_cookie *c, unsigned status)
{
    PUT(out, "Set-Cookie: ");
    put_str(out, c->name);
    PUT(out, "=");
    put_str(out, c->value);
    PUT(out, "; Path=");
    put_str(out, c->path);
    if (c->domain.n) {
        PUT(out, "; Domain=");
        put_str(out, c->domain);
    }
    if (c->max_age_s) {
        PUT(out, "; Max-Age=");
        put_number(out, c->max_age_s);
    }
    PUT(out, "; HttpOnly; SameSite=");
    put_str(out, c->same_site);
    if (c->secure)
        PUT(out, "; Secure");
    PUT(out, "\r\n");
    if (status >= 200) /* even beside `public`: caches obey the stricter one (RFC 9111 4.2.1) */
        PUT(out, "Cache-Control: private\r\n");
}

static void put_status_line(struct buffer *out, const struct head *h, const char *base)
{
    PUT(out, "HTTP/1.1 ");
    put_number(out, h->status);
    PUT(out, " ");
    put_str(out, head_str(base, h->reason));
    PUT(out, "\r\n");
}

bool rewrite_answer(struct buffer *out, const struct head *h, const char *base,
                    const struct rewrite_answer *r)
{
    if (!reserve(out, h, cookie_size(r->cookie)))
        return false;
    put_status_line(out, h, base);
    for (unsigned i = 0; i < h->nfields; i++) {
        const struct head_field *f = &h->fields[i];
        if (!f->hop && f->id != FIELD_CONTENT_LENGTH)
            put_field(out, base, f);
    }
    if (r->cookie)
        put_cookie(out, r->cookie, h->status);
    if (!r->no_via)
        put_via(out);
    if (!h->has_date && h->status >= 200) /* a recipient with a clock adds it: RFC 9110 6.6.1 */
        put_str(out, r->date);
    /* neither field may be in a 1xx or 204 (RFC 9110 8.6, RFC 9112 6.1) */
    if (h->status >= 200 && h->status != 204) {
        if (r->body == BODY_CHUNKED)
            PUT(out, "Transfer-Encoding: chunked\r\n");
        else if (h->has_length && r->body != BODY_CLOSE)
            put_length(out, h->content_length);
    }
    /* persistence is the default of HTTP/1.1 and must be said only to HTTP/1.0 clients */
    if (r->upgrade || (h->status == 426 && h->upgrade))
        put_hop(out, h, base, true);
    if (r->close)
        PUT(out, "Connection: close\r\n");
    else if (r->keep_alive_10)
        PUT(out, "Connection: keep-alive\r\n");
    PUT(out, "\r\n");
    return true;
}

bool rewrite_last_chunk(struct buffer *out, const struct head *trailers, const char *base)
{
    /* "0\r\n" and the blank line are 5 bytes; each trailer may get a space after its colon */
    if (!buffer_reserve(out, 5 + (trailers ? (size_t)trailers->size + trailers->nfields : 0)))
        return false;
    PUT(out, "0\r\n");
    for (unsigned i = 0; trailers && i < trailers->nfields; i++)
        if (!trailers->fields[i].hop)
            put_field(out, base, &trailers->fields[i]);
    PUT(out, "\r\n");
    return true;
}
