#include "tests/fuzz/http_message.h"

#include <assert.h>
#include <stdlib.h>

#define MAX_HEAD (256 * 1024)

static void append(struct buffer *b, const char *data, size_t n)
{
    bool ok = buffer_append(b, data, n);
    assert(ok);
    (void)ok;
}

void http_message_init_request(struct http_message *m, uint32_t max_head)
{
    *m = (struct http_message){.max_head = max_head ? max_head : MAX_HEAD};
    parser_init_request(&m->parser, &m->head, m->max_head);
}

void http_message_init_answer(struct http_message *m, bool to_head)
{
    *m = (struct http_message){.max_head = MAX_HEAD, .answer = true, .to_head = to_head};
    parser_init_answer(&m->parser, &m->head, m->max_head);
}

void http_message_deinit(struct http_message *m)
{
    framing_deinit(&m->framing);
    buffer_release(&m->bytes);
    buffer_release(&m->body);
    buffer_release(&m->trailers);
}

static void note_trailers(struct http_message *m)
{
    const struct head *h;
    const char *base;
    if (!framing_trailers(&m->framing, &h, &base))
        return;
    for (unsigned i = 0; i < h->nfields; i++) {
        if (h->fields[i].hop) /* not passed on */
            continue;
        struct str name = head_name(base, &h->fields[i]), value = head_value(base, &h->fields[i]);
        append(&m->trailers, name.p, name.n);
        append(&m->trailers, ":", 1);
        append(&m->trailers, value.p, value.n);
        append(&m->trailers, "\n", 1);
    }
}

/* Decodes in place, so what it gets is a copy. Returns how many bytes were taken. */
static size_t feed_body(struct http_message *m, const char *data, size_t n)
{
    size_t used, payload;
    char *copy = malloc(n ? n : 1);
    assert(copy);
    memcpy(copy, data, n);
    enum framing_result r = framing_decode(&m->framing, copy, n, &used, &payload);
    if (r == FRAMING_ERROR) {
        m->state = MESSAGE_BROKEN;
        m->status = (uint16_t)framing_status(&m->framing);
        used = n;
    } else {
        append(&m->body, copy, payload);
        if (r == FRAMING_DONE) {
            m->state = MESSAGE_DONE;
            note_trailers(m);
        }
    }
    free(copy);
    return used;
}

static void begin_body(struct http_message *m)
{
    const struct head *h = &m->head;
    m->has_head = true;
    m->kind = m->answer ? framing_of_answer(h, m->to_head) : (enum body_kind)h->body;
    if (m->answer && h->status < 200)
        m->kind = BODY_NONE;
    framing_init(&m->framing, m->kind, h->content_length, m->max_head);
    m->state = m->kind == BODY_NONE ? MESSAGE_DONE : MESSAGE_BODY;
}

/* Takes bytes of the head alone. */
static size_t feed_head(struct http_message *m, const char *data, size_t n)
{
    size_t before = buffer_len(&m->bytes);
    append(&m->bytes, data, n);
    switch (parser_execute(&m->parser, &m->head, m->bytes.data, buffer_len(&m->bytes))) {
    case PARSE_MORE:
        return n;
    case PARSE_ERROR:
        m->state = MESSAGE_BROKEN;
        m->status = m->parser.status;
        return n;
    case PARSE_DONE:
        break;
    }
    m->bytes.end = m->head.size;
    begin_body(m);
    return m->head.size - before;
}

size_t http_message_feed(struct http_message *m, const char *data, size_t n)
{
    size_t used = 0;
    if (n && m->state == MESSAGE_HEAD)
        used = feed_head(m, data, n);
    if (used < n && m->state == MESSAGE_BODY)
        used += feed_body(m, data + used, n - used);
    return used;
}

void http_message_end(struct http_message *m)
{
    if (m->state == MESSAGE_BODY && m->kind == BODY_CLOSE)
        m->state = MESSAGE_DONE;
    else if (m->state != MESSAGE_DONE)
        m->state = MESSAGE_BROKEN;
}

struct str http_message_field(const struct http_message *m, const char *name)
{
    const struct head_field *f = head_find(&m->head, m->bytes.data, str_of(name));
    return f ? head_value(m->bytes.data, f) : (struct str){"", 0};
}
