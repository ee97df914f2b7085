/* Heads: first byte of the input: kind (bits 0-1) and size limit (the rest); then the bytes.
 *
 * A head whole and byte by byte must come to the same; a head that is done must be one again when
 * it is written out for the next hop, with the same framing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/field.h"
#include "http/framing.h"
#include "http/parser.h"
#include "http/rewrite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)   \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

enum kind { REQUEST, ANSWER, TRAILERS };

struct outcome {
    enum parse_result result;
    struct parser parser;
    struct head head;
};

static void init(struct outcome *o, enum kind kind, uint32_t max_size)
{
    if (kind == REQUEST)
        parser_init_request(&o->parser, &o->head, max_size);
    else if (kind == ANSWER)
        parser_init_answer(&o->parser, &o->head, max_size);
    else
        parser_init_trailers(&o->parser, &o->head, max_size);
}

/* Feeds `step` bytes more each time, from a copy of just the bytes that are there. */
static void feed(struct outcome *o, enum kind kind, uint32_t max_size, const char *in, size_t n,
                 size_t step)
{
    size_t len = 0;
    init(o, kind, max_size);
    o->result = PARSE_MORE;
    while (o->result == PARSE_MORE && len < n) {
        len = n - len < step ? n : len + step;
        char *copy = malloc(len);
        MUST(copy);
        memcpy(copy, in, len);
        o->result = parser_execute(&o->parser, &o->head, copy, len);
        free(copy);
    }
    if (o->result == PARSE_DONE)
        MUST(o->head.size <= len && o->head.size <= max_size);
    if (o->result == PARSE_ERROR)
        MUST(o->parser.status >= 400 && o->parser.status <= 505 && o->parser.reason);
}

static void check_same(const struct outcome *a, const struct outcome *b)
{
    MUST(a->result == b->result);
    if (a->result == PARSE_ERROR)
        MUST(a->parser.status == b->parser.status);
    if (a->result != PARSE_DONE)
        return;
    MUST(memcmp(&a->head, &b->head, offsetof(struct head, fields)) == 0);
    MUST(memcmp(a->head.fields, b->head.fields, a->head.nfields * sizeof(a->head.fields[0])) == 0);
}

/* Parses what was written, all of which must be one head. */
static void parse_again(struct outcome *o, enum kind kind, const struct buffer *out)
{
    feed(o, kind, UINT32_MAX, out->data, out->end, out->end);
    MUST(o->result == PARSE_DONE && o->head.size == out->end);
}

static bool goes_on(const struct head_field *f)
{
    return !f->hop && f->id != FIELD_CONTENT_LENGTH;
}

/* How many fields of ours there are beside those passed on. */
static unsigned passed_on(const struct head *h)
{
    unsigned n = 0;
    for (unsigned i = 0; i < h->nfields; i++)
        n += goes_on(&h->fields[i]);
    return n;
}

/* No protocol that carries requests goes on. */
static void check_protocols(const struct head *h, const char *in)
{
    for (unsigned i = 0; i < h->nfields; i++) {
        struct str rest = head_value(in, &h->fields[i]), element;
        while (h->fields[i].id == FIELD_UPGRADE && field_list_next(&rest, &element))
            MUST(field_is_protocol(element));
    }
}

static void check_request(const struct head *h, const char *in, bool trusted)
{
    static struct outcome again;
    struct buffer out = {0};
    struct rewrite_request r = {
        .peer = STR("192.0.2.1"), .proto = STR("http"), .upgrade = h->upgrade, .trusted = trusted};
    MUST(rewrite_request(&out, h, in, &r));
    if (!h->has_host)
        MUST(buffer_append(&out, "Host: x\r\n", 9));
    MUST(buffer_append(&out, "\r\n", 2));
    if (h->nfields <= HEAD_MAX_FIELDS - 8) {
        parse_again(&again, REQUEST, &out);
        const struct head *g = &again.head;
        MUST(g->minor == 1 && g->body == h->body && g->content_length == h->content_length);
        MUST(g->has_length == h->has_length && g->method == h->method && g->keep_alive);
        MUST(g->upgrade == h->upgrade && g->expect_continue == h->expect_continue);
        MUST(g->te_trailers == h->te_trailers);
        check_protocols(g, out.data);
        if (h->has_host)
            MUST(str_eq_nocase(head_str(in, h->host), head_str(out.data, g->host)));
        if (in[h->path.off] != '*' && out.data[g->target.off] != '*')
            MUST(str_eq(head_str(in, h->path), head_str(out.data, g->path)));
        MUST(str_eq(head_str(in, h->query), head_str(out.data, g->query)));
    }
    buffer_release(&out);
}

static void check_answer(const struct head *h, const char *in)
{
    static struct outcome again;
    struct buffer out = {0};
    struct rewrite_answer r = {
        .close = !h->keep_alive, .upgrade = h->upgrade && h->keep_alive, .body = h->body};
    MUST(rewrite_answer(&out, h, in, &r));
    if (h->nfields <= HEAD_MAX_FIELDS - 8) {
        parse_again(&again, ANSWER, &out);
        const struct head *g = &again.head;
        MUST(g->minor == 1 && g->status == h->status && g->keep_alive == h->keep_alive);
        check_protocols(g, out.data);
        MUST(framing_of_answer(g, false) == framing_of_answer(h, false));
        if (framing_of_answer(h, false) == BODY_LENGTH)
            MUST(g->content_length == h->content_length);
        if (!r.upgrade)
            MUST(passed_on(g) == passed_on(h) + 1);
    }
    buffer_release(&out);
}

static void check_trailers(const struct head *h, const char *in)
{
    static struct outcome again;
    struct buffer out = {0};
    MUST(rewrite_last_chunk(&out, h, in));
    MUST(out.end >= 5 && memcmp(out.data, "0\r\n", 3) == 0);
    buffer_consume(&out, 3);
    feed(&again, TRAILERS, UINT32_MAX, buffer_head(&out), buffer_len(&out), SIZE_MAX / 2);
    MUST(again.result == PARSE_DONE && again.head.size == buffer_len(&out));
    MUST(again.head.nfields == passed_on(h));
    buffer_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct outcome whole, bytes, pieces;
    if (size < 2 || size > 4096)
        return 0;
    enum kind kind = (enum kind)((data[0] & 3) % 3);
    uint32_t max_size = data[0] < 128 ? 65536 : (uint32_t)(data[0] & 0x7c) + 1;
    const char *in = (const char *)data + 1;
    size_t n = size - 1;
    feed(&whole, kind, max_size, in, n, n);
    feed(&bytes, kind, max_size, in, n, 1);
    feed(&pieces, kind, max_size, in, n, 7);
    check_same(&whole, &bytes);
    check_same(&whole, &pieces);
    if (whole.result != PARSE_DONE)
        return 0;
    if (kind == REQUEST)
        check_request(&whole.head, in, data[0] & 4);
    else if (kind == ANSWER)
        check_answer(&whole.head, in);
    else
        check_trailers(&whole.head, in);
    return 0;
}
