#include "bench/load/http_wire.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/mem.h"
#include "bench/load/load.h"
#include "http/chars.h"
#include "http/framing.h"
#include "http/parser.h"

#define HEAD_MAX (64 * 1024)

/* The place of a key or of a backend's name in a message. */
enum place { PLACE_NONE, PLACE_HEADER, PLACE_QUERY, PLACE_COOKIE, PLACE_PATH, PLACE_BODY };

struct http_wire {
    struct wire wire;
    enum place key_in, backend_from;
    char *backend_field;
    struct buffer before, after; /* the request before and behind the key */
    bool head;                   /* HEAD: answers have no body */
    bool close;
};

enum reader_state { READER_IDLE, READER_HEAD, READER_BODY };

struct wire_reader {
    enum reader_state state;
    bool keep;
    bool named; /* the name is complete */
    uint8_t name_len;
    uint16_t status;
    char name[LOAD_BACKEND_NAME];
    struct framing framing;
    struct parser parser;
    struct head head;
};

static const struct http_wire *of(const struct wire *w)
{
    return (const struct http_wire *)((const char *)w - offsetof(struct http_wire, wire));
}

/* ---- requests ---- */

static bool put(const struct wire *w, struct str key, struct buffer *out)
{
    const struct http_wire *h = of(w);
    return buffer_append(out, h->before.data, h->before.end) && buffer_append(out, key.p, key.n) &&
           buffer_append(out, h->after.data, h->after.end);
}

/* ---- answers ---- */

static void reset(const struct wire *w, struct wire_reader *r)
{
    framing_deinit(&r->framing);
    *r = (struct wire_reader){0};
}

/* Characters outside of visible ASCII become '?': the name is printed and goes into JSON. */
static void set_name(struct wire_reader *r, struct str name)
{
    r->name_len = (uint8_t)(name.n < sizeof r->name ? name.n : sizeof r->name - 1);
    memcpy(r->name, name.p, r->name_len);
    for (size_t i = 0; i < r->name_len; i++)
        if (r->name[i] < ' ' || r->name[i] > '~')
            r->name[i] = '?';
    r->named = true;
}

/* The first word of the body is the name of the backend; it may come in pieces. */
static void add_to_name(struct wire_reader *r, const char *p, size_t n)
{
    for (size_t i = 0; i < n && !r->named; i++) {
        r->named = p[i] <= ' ' || p[i] > '~' || r->name_len == sizeof r->name - 1;
        if (!r->named)
            r->name[r->name_len++] = p[i];
    }
}

static void begin_body(const struct http_wire *h, struct wire_reader *r, const char *base)
{
    const struct head *head = &r->head;
    r->status = head->status;
    enum body_kind kind = framing_of_answer(head, h->head);
    /* With --close the request asked for the end, so the connection goes even if the server keeps
     * it. */
    r->keep = head->keep_alive && kind != BODY_CLOSE && !h->close;
    framing_init(&r->framing, kind, head->content_length, HEAD_MAX);
    r->name_len = 0;
    r->named = h->backend_from != PLACE_BODY;
    if (h->backend_from == PLACE_HEADER) {
        const struct head_field *f = head_find(head, base, str_of(h->backend_field));
        if (f)
            set_name(r, head_value(base, f));
    }
    r->state = READER_BODY;
}

/* WIRE_DONE: the final head is complete, *used bytes long. */
static enum wire_result take_head(const struct http_wire *h, struct wire_reader *r,
                                  const char *data, size_t len, size_t *used)
{
    for (size_t at = 0;;) {
        if (r->state == READER_IDLE)
            parser_init_answer(&r->parser, &r->head, HEAD_MAX);
        r->state = READER_HEAD;
        if (at == len)
            return WIRE_MORE;
        enum parse_result p = parser_execute(&r->parser, &r->head, data + at, len - at);
        if (p == PARSE_ERROR)
            return WIRE_BAD;
        if (p == PARSE_MORE)
            return WIRE_MORE;
        at += r->head.size;
        *used = at;
        if (r->head.status >= 200) {
            begin_body(h, r, data + at - r->head.size);
            return WIRE_DONE;
        }
        if (r->head.status == 101)
            return WIRE_BAD; /* a 101 without a request to upgrade */
        r->state = READER_IDLE;
    }
}

static void answer(const struct http_wire *h, struct wire_reader *r, struct wire_answer *a)
{
    assert(r->state == READER_BODY);
    while (h->backend_from == PLACE_BODY && r->name_len && r->name[r->name_len - 1] == '.')
        r->name_len--; /* dots that pad the body */
    *a = (struct wire_answer){r->status, r->keep, {r->name, r->name_len}};
    framing_deinit(&r->framing);
    r->state = READER_IDLE;
}

static enum wire_result take(const struct wire *w, struct wire_reader *r, char *data, size_t len,
                             size_t *used, struct wire_answer *a)
{
    const struct http_wire *h = of(w);
    *used = 0;
    if (r->state != READER_BODY) {
        enum wire_result head = take_head(h, r, data, len, used);
        if (head != WIRE_DONE)
            return head;
    }
    size_t n, payload;
    enum framing_result f = framing_decode(&r->framing, data + *used, len - *used, &n, &payload);
    if (!r->named) /* framing has moved the payload to the front of the bytes it took */
        add_to_name(r, data + *used, payload);
    *used += n;
    if (f == FRAMING_ERROR)
        return WIRE_BAD;
    if (f == FRAMING_MORE)
        return WIRE_MORE;
    answer(h, r, a);
    return WIRE_DONE;
}

static bool take_end(const struct wire *w, struct wire_reader *r, struct wire_answer *a)
{
    if (r->state != READER_BODY || r->framing.kind != BODY_CLOSE)
        return false;
    answer(of(w), r, a);
    return true;
}

/* ---- making one ---- */

/* Parses "header:NAME" and the like. *name: the text behind the colon; NULL: the place has no name.
 */
static enum place parse_place(const char *text, const char **name)
{
    static const struct {
        const char *word;
        enum place place;
        bool named;
    } places[] = {{"header", PLACE_HEADER, true},
                  {"query", PLACE_QUERY, true},
                  {"cookie", PLACE_COOKIE, true},
                  {"path", PLACE_PATH, false},
                  {"body", PLACE_BODY, false}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        size_t n = strlen(places[i].word);
        if (strncmp(text, places[i].word, n) != 0)
            continue;
        if (!places[i].named && text[n] == 0)
            return *name = NULL, places[i].place;
        if (places[i].named && text[n] == ':' && chars_are_token(str_of(text + n + 1)))
            return *name = text + n + 1, places[i].place;
    }
    return PLACE_NONE;
}

/* Control data of a bounded size, made once: if memory is out, the process aborts, as in base/mem.
 */
static void put_str(struct buffer *b, struct str s)
{
    if (!buffer_append(b, s.p, s.n))
        abort();
}

static void put_text(struct buffer *b, const char *text)
{
    put_str(b, str_of(text));
}

/* Puts path, key and query of the request line. Returns the buffer to which the rest is appended.
 */
static struct buffer *put_target(struct http_wire *h, const struct http_wire_options *o,
                                 const char *name)
{
    const char *mark = o->target.n ? memchr(o->target.p, '?', o->target.n) : NULL;
    struct str path = {o->target.p, mark ? (size_t)(mark - o->target.p) : o->target.n};
    struct str query = {o->target.p + path.n, o->target.n - path.n};
    struct buffer *b = &h->before;
    put_str(b, path);
    if (h->key_in == PLACE_PATH) {
        if (path.n == 0 || path.p[path.n - 1] != '/')
            put_text(b, "/");
        b = &h->after;
    }
    put_str(b, query);
    if (h->key_in == PLACE_QUERY) {
        put_text(b, query.n ? "&" : "?");
        put_text(b, name);
        put_text(b, "=");
        b = &h->after;
    }
    return b;
}

static void compose(struct http_wire *h, const struct http_wire_options *o, const char *name)
{
    char line[64];
    put_str(&h->before, o->method);
    put_text(&h->before, " ");
    struct buffer *b = put_target(h, o, name);
    put_text(b, " HTTP/1.1\r\nHost: ");
    put_str(b, o->host);
    put_text(b, "\r\n");
    if (h->key_in == PLACE_HEADER || h->key_in == PLACE_COOKIE) {
        put_text(b, h->key_in == PLACE_HEADER ? "" : "Cookie: ");
        put_text(b, name);
        put_text(b, h->key_in == PLACE_HEADER ? ": " : "=");
        b = &h->after;
        put_text(b, "\r\n");
    }
    put_str(b, o->fields);
    if (o->close)
        put_text(b, "Connection: close\r\n");
    if (o->has_body) {
        snprintf(line, sizeof line, "Content-Length: %zu\r\n", o->body.n);
        put_text(b, line);
    }
    put_text(b, "\r\n");
    put_str(b, o->body);
}

struct wire *http_wire_new(const struct http_wire_options *o, struct error *e)
{
    const char *key_name = NULL, *backend_name = NULL;
    enum place key_in = o->key_in ? parse_place(o->key_in, &key_name) : PLACE_NONE;
    enum place from = parse_place(o->backend_from, &backend_name);
    if (o->key_in && (key_in == PLACE_NONE || key_in == PLACE_BODY)) {
        error_set(e, 0, "--key-in %s: allowed are header:NAME, query:NAME, cookie:NAME and path",
                  o->key_in);
        return NULL;
    }
    if (from != PLACE_HEADER && from != PLACE_BODY && strcmp(o->backend_from, "none") != 0) {
        error_set(e, 0, "--backend-from %s: allowed are header:NAME, body and none",
                  o->backend_from);
        return NULL;
    }
    struct http_wire *h = mem_zalloc(sizeof *h);
    h->wire = (struct wire){put, take, take_end, reset, sizeof(struct wire_reader)};
    h->key_in = key_in;
    h->backend_from = from;
    h->backend_field = backend_name ? mem_strdup(backend_name) : NULL;
    h->head = str_eq(o->method, STR("HEAD"));
    h->close = o->close;
    compose(h, o, key_name);
    return &h->wire;
}

void http_wire_free(struct wire *w)
{
    if (w == NULL)
        return;
    struct http_wire *h = container_of(w, struct http_wire, wire);
    buffer_release(&h->before);
    buffer_release(&h->after);
    free(h->backend_field);
    free(h);
}

bool http_wire_check_keys(const struct wire *w, const struct keys *k, struct error *e)
{
    static const char *const forbidden[] = {
        [PLACE_NONE] = "",    [PLACE_HEADER] = "", [PLACE_QUERY] = "&#",
        [PLACE_COOKIE] = ";", [PLACE_PATH] = "?#", [PLACE_BODY] = ""};
    const char *bad = forbidden[of(w)->key_in];
    for (uint32_t i = 0; *bad && i < k->n; i++) {
        struct str key = keys_text(k, i);
        for (size_t j = 0; j < key.n; j++) {
            if (strchr(bad, key.p[j]) == NULL)
                continue;
            error_set(e, 0, "key %.*s can't stand there, as it holds '%c'",
                      key.n < 200 ? (int)key.n : 200, key.p, key.p[j]);
            return false;
        }
    }
    return true;
}
