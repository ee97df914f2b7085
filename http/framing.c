#include "http/framing.h"

#include <assert.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "http/chars.h"
#include "http/field.h"
#include "http/parser.h"

/* The states of the chunked coding, one for each place in its grammar (RFC 9112 7.1):
 *
 *   SIZE_FIRST -> SIZE -> [EXTENSION] -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE_FIRST
 *                                  size 0 |
 *                                         +-> LAST_FIRST -> LAST_LF -----------------> END
 *                                                 +-> TRAILERS (a field's first byte) -> END
 *
 * Any state can lead to MALFORMED or TOO_LARGE, which are final. Which state a byte leads to
 * depends on that byte alone, so the result does not depend on how the body is split into reads. */
enum state {
    SIZE_FIRST,
    SIZE,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    LAST_FIRST,
    LAST_LF,
    TRAILERS,
    END,
    MALFORMED, /* 400 */
    TOO_LARGE, /* 431 */
};

/* The limit of a size line, with its extensions and CRLF. No known client sends extensions; endless
 * ones are an attack on servers that read them without counting (CVE-2023-39326). */
#define LINE_MAX_BYTES 256
#define SIZE_MAX_DIGITS 16 /* hexadecimal digits of 64 bits; more, even zeros, is refused */

struct trailers {
    struct buffer bytes; /* the offsets of `head` refer to these */
    struct parser parser;
    struct head head;
};

enum body_kind framing_of_answer(const struct head *answer, bool request_was_head)
{
    if (request_was_head || answer->status < 200 || answer->status == 204 || answer->status == 304)
        return BODY_NONE;
    return (enum body_kind)answer->body;
}

void framing_init(struct framing *f, enum body_kind kind, uint64_t length, uint32_t max_trailers)
{
    *f = (struct framing){
        .kind = (uint8_t)kind,
        .state = SIZE_FIRST,
        .max_trailers = max_trailers,
        .left = kind == BODY_LENGTH ? length : 0,
    };
}

void framing_free_trailers(struct framing *f)
{
    buffer_release(&f->trailers->bytes);
    free(f->trailers);
    f->trailers = NULL;
}

static unsigned hex_value(char c)
{
    return char_is(c, CHAR_DIGIT) ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a') + 10;
}

/* The state after a byte of a size line. f->left accumulates the size, f->line counts the bytes. */
static enum state size_line(struct framing *f, char c)
{
    if (++f->line > LINE_MAX_BYTES)
        return MALFORMED;
    switch (f->state) {
    case SIZE_FIRST:
    case SIZE:
        if (char_is(c, CHAR_HEX)) {
            if (f->line > SIZE_MAX_DIGITS || f->left > INT64_MAX >> 4)
                return MALFORMED;
            f->left = f->left << 4 | hex_value(c);
            return SIZE;
        }
        if (f->state == SIZE_FIRST)
            return MALFORMED;
        return c == '\r' ? SIZE_LF : c == ';' ? EXTENSION : MALFORMED;
    case EXTENSION: /* a recipient must ignore extensions it does not know (RFC 9112 7.1.1) */
        return c == '\r' ? SIZE_LF : char_is(c, CHAR_TEXT) ? EXTENSION : MALFORMED;
    default:
        assert(f->state == SIZE_LF);
        f->line = 0;
        return c != '\n' ? MALFORMED : f->left ? DATA : LAST_FIRST;
    }
}

/* The state after a byte of a line end, after a chunk or after the last chunk. LF alone is refused:
 * readers differ in whether they accept it, which makes smuggling possible. */
static enum state line_end(const struct framing *f, char c)
{
    switch (f->state) {
    case DATA_CR:
        return c == '\r' ? DATA_LF : MALFORMED;
    case DATA_LF:
        return c == '\n' ? SIZE_FIRST : MALFORMED;
    case LAST_FIRST:
        return c == '\r' ? LAST_LF : TRAILERS;
    default:
        assert(f->state == LAST_LF);
        return c == '\n' ? END : MALFORMED;
    }
}

/* Applies RFC 9110 6.5.1 to a whole trailer section. */
static enum state check_trailers(struct trailers *t)
{
    for (unsigned i = 0; i < t->head.nfields; i++) {
        struct head_field *field = &t->head.fields[i];
        switch (field_as_trailer(field->id, head_name(t->bytes.data, field))) {
        case TRAILER_PASSES:
            break;
        case TRAILER_USELESS:
            field->hop = true;
            break;
        case TRAILER_REFUSED:
            return MALFORMED;
        }
    }
    return END;
}

/* Reads a piece of the trailer section. The bytes are copied first, because the parser needs the
 * section from its beginning and the caller's bytes are gone at the next call. Returns the next
 * state; *used: how many bytes of data[0, len) belong to the section. Out of memory counts as too
 * large. */
static enum state read_trailers(struct framing *f, const char *data, size_t len, size_t *used)
{
    struct trailers *t = f->trailers;
    *used = 0;
    if (t == NULL) {
        t = f->trailers = calloc(1, sizeof(*t));
        if (t == NULL)
            return TOO_LARGE;
        parser_init_trailers(&t->parser, &t->head, f->max_trailers);
    }
    /* one byte above the limit is copied, too: the parser refuses at that byte */
    size_t had = buffer_len(&t->bytes), room = f->max_trailers - had;
    size_t n = len <= room ? len : room + 1;
    if (!buffer_append(&t->bytes, data, n))
        return TOO_LARGE;
    switch (parser_execute(&t->parser, &t->head, t->bytes.data, had + n)) {
    case PARSE_MORE:
        *used = n;
        return TRAILERS;
    case PARSE_DONE:
        *used = t->head.size - had;
        return check_trailers(t);
    case PARSE_ERROR:
        break;
    }
    return t->parser.status == 431 ? TOO_LARGE : MALFORMED;
}

/* Decodes bytes of one kind at data[i]: a piece of a chunk or of the trailer section, otherwise a
 * single byte. Returns how many. */
static size_t step(struct framing *f, char *data, size_t i, size_t len, size_t *payload)
{
    size_t n = 1;
    if (f->state == DATA) {
        n = f->left < len - i ? (size_t)f->left : len - i;
        if (*payload != i) /* equal as long as no framing came before in these bytes */
            memmove(data + *payload, data + i, n);
        *payload += n;
        f->left -= n;
        if (f->left == 0)
            f->state = DATA_CR;
    } else if (f->state <= SIZE_LF) {
        f->state = (uint8_t)size_line(f, data[i]);
    } else if (f->state == TRAILERS) {
        f->state = (uint8_t)read_trailers(f, data + i, len - i, &n);
    } else {
        f->state = (uint8_t)line_end(f, data[i]);
        if (f->state == TRAILERS) /* the byte is the first of a field: the parser reads it again */
            n = 0;
    }
    return n;
}

static enum framing_result decode_chunked(struct framing *f, char *data, size_t len, size_t *used,
                                          size_t *payload)
{
    size_t i = 0;
    while (i < len && f->state < END)
        i += step(f, data, i, len, payload);
    *used = i;
    return f->state < END ? FRAMING_MORE : f->state == END ? FRAMING_DONE : FRAMING_ERROR;
}

enum framing_result framing_decode(struct framing *f, char *data, size_t len, size_t *used,
                                   size_t *payload)
{
    *used = *payload = 0;
    switch ((enum body_kind)f->kind) {
    case BODY_NONE:
        return FRAMING_DONE;
    case BODY_LENGTH:
        *used = *payload = f->left < len ? (size_t)f->left : len;
        f->left -= *used;
        return f->left ? FRAMING_MORE : FRAMING_DONE;
    case BODY_CHUNKED:
        return decode_chunked(f, data, len, used, payload);
    case BODY_CLOSE:
        *used = *payload = len;
        return FRAMING_MORE;
    }
    assert(0 && "unknown kind of body");
    return FRAMING_ERROR;
}

int framing_status(const struct framing *f)
{
    return f->state == TOO_LARGE ? 431 : 400;
}

bool framing_trailers(const struct framing *f, const struct head **trailers, const char **base)
{
    if (f->kind != BODY_CHUNKED || f->state != END || f->trailers == NULL)
        return false;
    *trailers = &f->trailers->head;
    *base = f->trailers->bytes.data;
    return true;
}

void framing_drop_trailers(struct framing *f, struct str name)
{
    struct trailers *t = f->trailers;
    for (unsigned i = 0; t && i < t->head.nfields; i++)
        if (field_may_be(head_name(t->bytes.data, &t->head.fields[i]), name))
            t->head.fields[i].hop = true;
}
