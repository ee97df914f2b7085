#include "http/parser.h"

#include <assert.h>
#include <http_parser.h>

#include "http/chars.h"
#include "http/field.h"
#include "http/start_line.h"

/* What a head obeys once it is called done, besides the start line's grammar:
 *
 *   lines      each ends in exactly CRLF; no folding; no control character but HTAB in a value
 *   names      one or more tchars, the colon right behind
 *   number     at most HEAD_MAX_FIELDS fields, names below 64 KiB, the whole at most max_size
 *   framing    at most one Content-Length, 1*DIGIT up to 2^63-1, never beside Transfer-Encoding;
 *              Transfer-Encoding is `chunked` once and nothing else, never in HTTP/1.0
 *   Host       (requests) exactly one in HTTP/1.1, at most one in HTTP/1.0, host[:port] with a host
 *              that is not empty (an http URI has one, RFC 9110 4.2.1), the same as the authority
 *              of an absolute-form target
 *
 * The library as packaged is built without HTTP_PARSER_STRICT. It lets through, and we refuse:
 * spaces in names, a control character as a value's first byte, LF without CR at any line's end, CR
 * without LF where a value is empty and at the blank line, and folded lines. It is stopped at the
 * blank line, so it never reads a body. */

/* A head may have that many options in Connection: each is compared with every field. */
#define CONNECTION_OPTIONS_MAX 64

/* Passed to the callbacks of one call of http_parser_execute(). */
struct feed {
    struct parser *p;
    struct head *h;
    const char *base, *end;
    size_t from; /* base + from was the first byte of this call */
};

static http_parser primed; /* past a start line: each head's fields begin with a copy */
static http_parser_settings settings;

_Static_assert(sizeof(http_parser) == sizeof(((struct parser *)0)->impl), "room for http_parser");

enum parse_result parser_refuse(struct parser *p, int status, const char *reason)
{
    if (p->kind == PARSER_ANSWER)
        status = 502;
    else if (p->kind == PARSER_TRAILERS && status != 431)
        status = 400;
    p->status = (uint16_t)status;
    p->reason = reason;
    p->state = HEAD_REFUSED;
    return PARSE_ERROR;
}

/* From a callback: any value but 0 stops the library. */
static int stop(struct parser *p, int status, const char *reason)
{
    parser_refuse(p, status, reason);
    return -1;
}

static bool seen(const struct parser *p, enum field_id id)
{
    return (p->seen >> id & 1) != 0;
}

/* Between a colon and the value, base[from, to): white space, or a CRLF and nothing behind it. The
 * byte before `from` counts as well. */
static bool gap_is_clean(const char *base, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        char c = base[i], before = base[i - 1];
        if (before == '\n' || (before == '\r') != (c == '\n'))
            return false;
    }
    return true;
}

static int host_rule(struct feed *x, const struct head_field *f)
{
    struct head *h = x->h;
    struct str value = head_value(x->base, f);
    if (seen(x->p, FIELD_HOST))
        return stop(x->p, 400, "repeated Host");
    if (!chars_are_authority(value))
        return stop(x->p, 400, "malformed Host");
    if (h->has_host && !str_eq_nocase(value, head_str(x->base, h->host)))
        return stop(x->p, 400, "Host differs from the target's authority");
    if (!h->has_host)
        h->host = (struct head_slice){f->value, f->value_len};
    h->has_host = true;
    return 0;
}

static int length_rule(struct feed *x, const struct head_field *f)
{
    if (seen(x->p, FIELD_CONTENT_LENGTH))
        return stop(x->p, 400, "repeated Content-Length");
    if (seen(x->p, FIELD_TRANSFER_ENCODING))
        return stop(x->p, 400, "both Content-Length and Transfer-Encoding");
    if (!field_parse_length(head_value(x->base, f), &x->h->content_length))
        return stop(x->p, 400, "malformed Content-Length");
    x->h->has_length = true;
    return 0;
}

static int coding_rule(struct feed *x, const struct head_field *f)
{
    if (x->h->minor == 0)
        return stop(x->p, 400, "Transfer-Encoding in HTTP/1.0");
    if (seen(x->p, FIELD_CONTENT_LENGTH))
        return stop(x->p, 400, "both Content-Length and Transfer-Encoding");
    bool chunked = x->h->body == BODY_CHUNKED;
    int status = field_check_codings(head_value(x->base, f), &chunked);
    if (status)
        return stop(x->p, status,
                    status == 501 ? "unknown transfer coding" : "malformed Transfer-Encoding");
    x->h->body = BODY_CHUNKED;
    return 0;
}

/* Max-Forwards counts for OPTIONS and TRACE only (RFC 9110 7.6.2). */
static int forwards_rule(struct feed *x, const struct head_field *f)
{
    struct head *h = x->h;
    uint64_t n;
    if (h->method != METHOD_OPTIONS && h->method != METHOD_TRACE)
        return 0;
    if (seen(x->p, FIELD_MAX_FORWARDS) || !field_parse_length(head_value(x->base, f), &n))
        return stop(x->p, 400, "malformed Max-Forwards");
    h->limited = true;
    h->max_forwards = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    return 0;
}

/* What a field says about its own message, at the end of its line. */
static int field_rule(struct feed *x, const struct head_field *f)
{
    enum parser_kind kind = x->p->kind;
    switch (f->id) {
    case FIELD_HOST:
        return kind == PARSER_REQUEST ? host_rule(x, f) : 0;
    case FIELD_CONTENT_LENGTH:
        return kind == PARSER_TRAILERS ? stop(x->p, 400, "framing in a trailer")
                                       : length_rule(x, f);
    case FIELD_TRANSFER_ENCODING:
        return kind == PARSER_TRAILERS ? stop(x->p, 400, "framing in a trailer")
                                       : coding_rule(x, f);
    case FIELD_MAX_FORWARDS:
        return kind == PARSER_REQUEST ? forwards_rule(x, f) : 0;
    case FIELD_DATE:
        x->h->has_date = true;
        return 0;
    case FIELD_EXPECT: /* not from HTTP/1.0, RFC 9110 10.1.1 */
        if (x->h->minor && str_eq_nocase(head_value(x->base, f), STR("100-continue")))
            x->h->expect_continue = true;
        return 0;
    default:
        return 0;
    }
}

/* The line of `f` is over, its value trimmed. */
static int end_field(struct feed *x, struct head_field *f)
{
    f->hop = field_is_hop(f->id);
    x->p->state = FIELDS_ENDED;
    x->h->nfields++;
    if (f->id != FIELD_OTHER && field_rule(x, f) != 0)
        return -1;
    x->p->seen |= 1u << f->id;
    return 0;
}

/* A name or the next piece of one, complete if the colon is among this call's bytes. */
static int on_field(http_parser *hp, const char *at, size_t n)
{
    struct feed *x = hp->data;
    struct head *h = x->h;
    bool complete = at + n != x->end;
    /* The library notes a Transfer-Encoding for any name that begins so, and would then refuse a
     * Content-Length beside it. Both are for our rules to judge. */
    hp->uses_transfer_encoding = 0;
    if (h->nfields == HEAD_MAX_FIELDS)
        return complete ? stop(x->p, 431, "too many fields") : 0;
    struct head_field *f = &h->fields[h->nfields];
    if (x->p->state != FIELDS_NAME) {
        f->name = (uint32_t)(at - x->base);
        x->p->state = FIELDS_NAME;
    }
    const char *name = x->base + f->name;
    size_t len = (size_t)(at + n - name);
    f->id = complete ? field_identify(name, len) : FIELD_OTHER;
    if (f->id == FIELD_OTHER && memchr(at, ' ', n))
        return stop(x->p, 400, "space in a field name");
    if (!complete)
        return 0;
    if (len > UINT16_MAX)
        return stop(x->p, 431, "field name too long");
    f->name_len = (uint16_t)len;
    x->p->state = FIELDS_GAP;
    return 0;
}

/* A value or the next piece of one, complete if the line's end is among this call's bytes. The
 * library tells of an empty one only when it sees the next line's first byte. */
static int on_value(http_parser *hp, const char *at, size_t n)
{
    struct feed *x = hp->data;
    struct head_field *f = &x->h->fields[x->h->nfields];
    if (x->p->state == FIELDS_ENDED)
        return stop(x->p, 400, "folded field line");
    if (x->p->state == FIELDS_GAP) {
        size_t gap = f->name + f->name_len + 1u;
        if (!gap_is_clean(x->base, gap > x->from ? gap : x->from, (size_t)(at - x->base)))
            return stop(x->p, 400, "malformed line end or folded field line");
        if (at[-1] == '\n') {
            f->value = (uint32_t)gap;
            f->value_len = 0;
            return end_field(x, f);
        }
        if (!char_is(*at, CHAR_TEXT))
            return stop(x->p, 400, "control character in a field value");
        f->value = (uint32_t)(at - x->base);
        x->p->state = FIELDS_VALUE;
    }
    if (at + n == x->end)
        return 0;
    if (at[n] != '\r')
        return stop(x->p, 400, "LF without CR");
    struct str value =
        str_trim((struct str){x->base + f->value, (size_t)(at + n - x->base) - f->value});
    f->value_len = (uint32_t)value.n;
    return end_field(x, f);
}

/* Stops the library before it looks at what follows the head. */
static int on_headers_complete(http_parser *hp)
{
    return -1;
}

/* Before main(): the library's own limit on heads is a global that must be set once and before any
 * thread, and every parser starts from the same primed copy. */
__attribute__((constructor)) static void prime(void)
{
    static const char start_line[] = "GET / HTTP/1.1\r\n";
    http_parser_set_max_header_size(UINT32_MAX);
    http_parser_settings_init(&settings);
    http_parser_init(&primed, HTTP_REQUEST);
    size_t n = http_parser_execute(&primed, &settings, start_line, sizeof(start_line) - 1);
    assert(n == sizeof(start_line) - 1 && primed.http_errno == HPE_OK);
    (void)n;
    settings.on_header_field = on_field;
    settings.on_header_value = on_value;
    settings.on_headers_complete = on_headers_complete;
}

static void init(struct parser *p, struct head *h, uint32_t max_size, enum parser_kind kind,
                 enum parser_state state)
{
    memcpy(p->impl, &primed, sizeof(p->impl));
    p->taken = 0;
    p->max_size = max_size;
    p->seen = 0;
    p->status = 0;
    p->state = (uint8_t)state;
    p->kind = (uint8_t)kind;
    p->reason = NULL;
    memset(h, 0, offsetof(struct head, fields));
}

void parser_init_request(struct parser *p, struct head *h, uint32_t max_size)
{
    init(p, h, max_size, PARSER_REQUEST, START_EMPTY_LINE);
}

void parser_init_answer(struct parser *p, struct head *h, uint32_t max_size)
{
    init(p, h, max_size, PARSER_ANSWER, START_STATUS_VERSION);
}

void parser_init_trailers(struct parser *p, struct head *h, uint32_t max_size)
{
    init(p, h, max_size, PARSER_TRAILERS, FIELDS_LINE);
}

/* The fields that an option of Connection names end here. Host can't be taken away so: without it
 * the request would be another one (RFC 9110 7.6.1 forbids to name it). */
static void mark_hop(struct head *h, const char *base, struct str option)
{
    for (unsigned i = 0; i < h->nfields; i++) {
        struct head_field *f = &h->fields[i];
        if (f->name_len == option.n && f->id != FIELD_HOST &&
            str_eq_nocase(head_name(base, f), option))
            f->hop = true;
    }
}

/* RFC 9112 9.3, RFC 9110 7.6.1 and 7.8. */
static enum parse_result connection_rule(struct parser *p, struct head *h, const char *base)
{
    bool close = false, keep_alive = false;
    unsigned options = 0;
    for (unsigned i = 0; i < h->nfields; i++) {
        if (h->fields[i].id != FIELD_CONNECTION)
            continue;
        struct str rest = head_value(base, &h->fields[i]), option;
        while (field_list_next(&rest, &option)) {
            if (++options > CONNECTION_OPTIONS_MAX)
                return parser_refuse(p, 431, "too many options in Connection");
            if (str_eq_nocase(option, STR("close")))
                close = true;
            else if (str_eq_nocase(option, STR("keep-alive")))
                keep_alive = true;
            else if (str_eq_nocase(option, STR("upgrade")))
                h->upgrade = h->minor && seen(p, FIELD_UPGRADE);
            else
                mark_hop(h, base, option);
        }
    }
    h->keep_alive = !close && (h->minor || keep_alive);
    return PARSE_DONE;
}

/* The blank line was read: what can be said only of the head as a whole. */
static enum parse_result end_head(struct parser *p, struct head *h, const char *base)
{
    h->size = p->taken;
    if (p->kind == PARSER_REQUEST && h->minor && !seen(p, FIELD_HOST))
        return parser_refuse(p, 400, "missing Host");
    if (h->has_length)
        h->body = h->content_length ? BODY_LENGTH : BODY_NONE;
    else if (h->body != BODY_CHUNKED && p->kind == PARSER_ANSWER)
        h->body = BODY_CLOSE;
    h->keep_alive = h->minor;
    if (seen(p, FIELD_CONNECTION) && p->kind != PARSER_TRAILERS &&
        connection_rule(p, h, base) == PARSE_ERROR)
        return PARSE_ERROR;
    p->state = HEAD_DONE;
    return PARSE_DONE;
}

/* One plain line at base + at: name ":" OWS value CRLF, the value not empty and nothing behind it,
 * all of it there and every byte right. How many bytes it has; 0: not such a line, which says
 * nothing about whether it is right. */
static size_t plain_line(const char *base, size_t at, size_t end, struct head_field *f)
{
    size_t i = at;
    while (i < end && char_is(base[i], CHAR_TOKEN))
        i++;
    size_t name_len = i - at;
    if (i == end || base[i] != ':' || name_len == 0 || name_len > UINT16_MAX)
        return 0;
    for (i++; i < end && (base[i] == ' ' || base[i] == '\t');)
        i++;
    size_t value = i;
    i = chars_skip_text(base, i, end);
    if (end - i < 2 || base[i] != '\r' || base[i + 1] != '\n' || i == value || base[i - 1] == ' ' ||
        base[i - 1] == '\t')
        return 0;
    f->name = (uint32_t)at;
    f->name_len = (uint16_t)name_len;
    f->value = (uint32_t)value;
    f->value_len = (uint32_t)(i - value);
    f->id = (uint8_t)field_identify(base + at, name_len);
    return i + 2 - at;
}

static enum parse_result read_fields(struct parser *p, struct head *h, const char *base, size_t end)
{
    struct feed x = {p, h, base, base + end, p->taken};
    http_parser hp;
    if (p->state == FIELDS_LINE) /* the library goes on from here */
        p->state = FIELDS_ENDED;
    memcpy(&hp, p->impl, sizeof(hp));
    hp.data = &x;
    size_t n = http_parser_execute(&hp, &settings, base + p->taken, end - p->taken);
    if (p->status) /* a callback of ours refused */
        return PARSE_ERROR;
    switch (HTTP_PARSER_ERRNO(&hp)) {
    case HPE_CB_headers_complete:
        n += x.from; /* where the LF of the blank line must be */
        if (base[n] != '\n' || n == 0 || base[n - 1] != '\r')
            return parser_refuse(p, 400, "malformed end of the head");
        p->taken = (uint32_t)n + 1;
        return end_head(p, h, base);
    case HPE_OK:
        break;
    default:
        return parser_refuse(p, 400, http_errno_description(HTTP_PARSER_ERRNO(&hp)));
    }
    if (p->state == FIELDS_GAP) {
        const struct head_field *f = &h->fields[h->nfields];
        size_t gap = f->name + f->name_len + 1u;
        if (!gap_is_clean(base, gap > x.from ? gap : x.from, end))
            return parser_refuse(p, 400, "malformed line end or folded field line");
    }
    memcpy(p->impl, &hp, sizeof(p->impl));
    p->taken = (uint32_t)end;
    return PARSE_MORE;
}

/* Fields that say where messages and connections end: in every head they go through the library,
 * so that two readers, its rules and ours, must agree on them. */
static bool goes_to_library(enum field_id id)
{
    return id == FIELD_CONTENT_LENGTH || id == FIELD_TRANSFER_ENCODING || id == FIELD_CONNECTION ||
           id == FIELD_UPGRADE;
}

/* The short way, for heads as they nearly always are: takes the plain lines that are there, and the
 * blank line. Whatever else there is, a line in pieces or one that may be wrong, is left to the
 * library from that line's first byte on; it takes seven times as long for a line. Both ways must
 * agree: the tests and the fuzzer give each head whole (this way) and byte by byte (the library's).
 */
static enum parse_result read_plain(struct parser *p, struct head *h, const char *base, size_t end)
{
    struct feed x = {p, h, base, base + end, p->taken};
    while (h->nfields < HEAD_MAX_FIELDS) {
        struct head_field *f = &h->fields[h->nfields];
        size_t n = plain_line(base, p->taken, end, f);
        if (n == 0)
            break;
        if (goes_to_library(f->id)) {
            if (read_fields(p, h, base, p->taken + n) == PARSE_ERROR)
                return PARSE_ERROR;
        } else {
            if (end_field(&x, f) != 0)
                return PARSE_ERROR;
            p->taken += (uint32_t)n;
        }
        p->state = FIELDS_LINE;
    }
    size_t left = end - p->taken;
    if (left >= 2 && base[p->taken] == '\r' && base[p->taken + 1] == '\n') {
        p->taken += 2;
        return end_head(p, h, base);
    }
    if (left && h->nfields && (base[p->taken] == ' ' || base[p->taken] == '\t'))
        return parser_refuse(p, 400, "folded field line");
    return PARSE_MORE;
}

enum parse_result parser_execute(struct parser *p, struct head *h, const char *base, size_t len)
{
    assert(p->state != HEAD_DONE && p->state != HEAD_REFUSED && p->taken <= len);
    size_t end = len < p->max_size ? len : p->max_size;
    enum parse_result r = PARSE_MORE;
    if (p->state < START_END) {
        r = start_line_read(p, h, base, end);
        if (r == PARSE_MORE && len > end)
            return parser_refuse(p, 414, "start line too long");
        if (r != PARSE_DONE)
            return r;
        r = PARSE_MORE;
    }
    if (p->taken < end && p->state == FIELDS_LINE)
        r = read_plain(p, h, base, end);
    if (r == PARSE_MORE && p->taken < end)
        r = read_fields(p, h, base, end);
    if (r == PARSE_MORE && len > end)
        return parser_refuse(p, 431, "fields too large");
    return r;
}
