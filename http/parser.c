#include "http/parser.h"

#include <assert.h>
#include <http_parser.h>

#include "http/chars.h"
#include "http/field.h"
#include "http/start_line.h"

/* The rules that a head obeys after PARSE_DONE, besides the grammar of the start line:
 *
 *   lines      each ends in exactly CRLF; no folding; no control character but HTAB in a value
 *   names      one or more tchars, directly followed by the colon
 *   number     at most HEAD_MAX_FIELDS fields, names below 64 KiB, the whole at most max_size
 *   framing    at most one Content-Length, 1*DIGIT up to 2^63-1, never beside Transfer-Encoding;
 *              Transfer-Encoding is `chunked` once and nothing else, never in HTTP/1.0
 *   Host       (requests) exactly one in HTTP/1.1, at most one in HTTP/1.0, host[:port] with a host
 *              that is not empty (an http URI has one, RFC 9110 4.2.1), the same as the authority
 *              of an absolute-form target, where the default port may be said or not
 *
 * The library as packaged is built without HTTP_PARSER_STRICT. It accepts, and the callbacks below
 * refuse: spaces in names, a control character as the first byte of a value, LF without CR at the
 * end of any line, CR without LF where a value is empty and at the blank line, and folded lines.
 * The library is stopped at the blank line, so it never reads a body. */

/* What few heads need is kept out of line: inlined, its locals would give the functions that every
 * field or head goes through a larger frame with a stack guard. */
#define RARE __attribute__((noinline))

/* The limit of options in Connection. Each is compared with every field, so that without a limit a
 * small head could cost a lot of time. */
#define CONNECTION_OPTIONS_MAX 64

/* The context of the callbacks during one call of http_parser_execute(). */
struct feed {
    struct parser *p;
    struct head *h;
    const char *base, *end;
    size_t from; /* base + from was the first byte of this call */
};

/* A library parser that has already read a start line. Each head begins with a copy of it, so that
 * the library only ever sees field lines. */
static http_parser primed;
static http_parser_settings settings, no_callbacks;

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

/* Refuses the head from a callback: returning a value other than 0 stops the library. */
static int stop(struct parser *p, int status, const char *reason)
{
    parser_refuse(p, status, reason);
    return -1;
}

static bool seen(const struct parser *p, enum field_id id)
{
    return (p->seen >> id & 1) != 0;
}

/* True if the bytes between a colon and the value, base[from, to), are white space only, or end
 * with the one CRLF of a line with an empty value. The library skips these bytes without a
 * callback. base[from - 1] is examined, too. */
static bool gap_is_clean(const char *base, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        char c = base[i], before = base[i - 1];
        if (before == '\n' || (before == '\r') != (c == '\n'))
            return false;
    }
    return true;
}

/* Host beside an absolute-form target, whose scheme's default port may be in one of the two alone.
 * If they differ in that, Host counts, as it is passed on. Returns 0, or -1 if the head is refused.
 */
RARE static int host_of_target_rule(struct feed *x, const struct head_field *f)
{
    struct head *h = x->h;
    struct str value = head_value(x->base, f), authority = head_str(x->base, h->host);
    bool https = (x->base[h->target.off + 4] | 0x20) == 's';
    if (str_eq_nocase(value, authority))
        return 0;
    if (!chars_same_authority(value, authority, https ? 443 : 80))
        return stop(x->p, 400, "Host differs from the target's authority");
    h->host = (struct head_slice){f->value, f->value_len};
    return 0;
}

/* The rules of single fields. Each is called at the end of a line, so that the head is refused at
 * the first field that contradicts one before it. Returns 0, or -1 if the head is refused. */
static int host_rule(struct feed *x, const struct head_field *f)
{
    struct head *h = x->h;
    struct str value = head_value(x->base, f);
    if (seen(x->p, FIELD_HOST))
        return stop(x->p, 400, "repeated Host");
    if (!chars_are_authority(value))
        return stop(x->p, 400, "malformed Host");
    if (h->has_host)
        return host_of_target_rule(x, f);
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

RARE static int coding_rule(struct feed *x, const struct head_field *f)
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

/* Max-Forwards has a meaning for OPTIONS and TRACE only (RFC 9110 7.6.2). A value above 32 bits
 * limits nothing in practice, so it is capped. */
RARE static int forwards_rule(struct feed *x, const struct head_field *f)
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

/* Of several the least stands. What is malformed says nothing: servers send much under this name.
 */
RARE static void idle_rule(struct feed *x, const struct head_field *f)
{
    struct head *h = x->h;
    uint32_t ms = field_parse_keep_alive(head_value(x->base, f));
    if (ms == FIELD_NO_IDLE_LIMIT || (h->has_idle && h->idle_ms <= ms))
        return;
    h->has_idle = true;
    h->idle_ms = ms;
}

/* Credentials and challenges that log the connection in. */
RARE static void identity_rule(struct feed *x, const struct head_field *f)
{
    x->h->identity |= field_names_identity(head_value(x->base, f));
}

/* The fields that field_rule() has a rule for. */
#define RULED                                                                          \
    (1u << FIELD_HOST | 1u << FIELD_CONTENT_LENGTH | 1u << FIELD_TRANSFER_ENCODING |   \
     1u << FIELD_MAX_FORWARDS | 1u << FIELD_CONTENT_TYPE | 1u << FIELD_AUTHORIZATION | \
     1u << FIELD_PROXY_AUTHORIZATION | 1u << FIELD_WWW_AUTHENTICATE |                  \
     1u << FIELD_PROXY_AUTHENTICATE | 1u << FIELD_KEEP_ALIVE | 1u << FIELD_EXPECT)

/* Applies the rule of a field to the message, at the end of its line. Returns 0, or -1 if the head
 * is refused. */
RARE static int field_rule(struct feed *x, const struct head_field *f)
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
    case FIELD_CONTENT_TYPE:
        if (kind == PARSER_ANSWER &&
            field_is_media_type(head_value(x->base, f), STR("text/event-stream")))
            x->h->event_stream = true;
        return 0;
    case FIELD_AUTHORIZATION:
    case FIELD_PROXY_AUTHORIZATION:
        if (kind == PARSER_REQUEST)
            identity_rule(x, f);
        return 0;
    case FIELD_WWW_AUTHENTICATE:
    case FIELD_PROXY_AUTHENTICATE:
        if (kind == PARSER_ANSWER)
            identity_rule(x, f);
        return 0;
    case FIELD_KEEP_ALIVE:
        if (kind == PARSER_ANSWER)
            idle_rule(x, f);
        return 0;
    case FIELD_EXPECT: /* ignored in HTTP/1.0, RFC 9110 10.1.1 */
        if (x->h->minor && str_eq_nocase(head_value(x->base, f), STR("100-continue")))
            x->h->expect_continue = true;
        return 0;
    default:
        assert(0 && "a field without a rule");
        return 0;
    }
}

/* Completes the field `f`, whose line has ended. Returns 0, or -1 if the head is refused. */
static int end_field(struct feed *x, struct head_field *f)
{
    f->hop = field_is_hop(f->id);
    x->p->state = FIELDS_ENDED;
    x->h->nfields++;
    if (1u << f->id & RULED && field_rule(x, f) != 0)
        return -1;
    x->p->seen |= 1u << f->id;
    return 0;
}

/* The library's callback for a name, or for the next piece of one that came in several reads. The
 * name is complete if this call's bytes contain the byte after it, the colon. */
static int on_field(http_parser *hp, const char *at, size_t n)
{
    struct feed *x = hp->data;
    struct head *h = x->h;
    bool complete = at + n != x->end;
    /* The library sets this for every name that begins with "Transfer-Encoding", even for
     * another field, and would then refuse a Content-Length. length_rule() and coding_rule()
     * decide that. */
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

/* The library's callback for a value, or for the next piece of one. The value is complete if this
 * call's bytes contain the end of the line. For an empty value the library calls only when it sees
 * the first byte of the next line. */
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

/* Stops the library before it examines the bytes after the head. */
static int on_headers_complete(http_parser *hp)
{
    return -1;
}

/* Runs before main(), because the library's own limit of heads is a global variable, which must be
 * set before any thread runs. The limit is disabled: parser_execute() has a stricter one. */
__attribute__((constructor)) static void prime(void)
{
    static const char start_line[] = "GET / HTTP/1.1\r\n";
    http_parser_set_max_header_size(UINT32_MAX);
    http_parser_settings_init(&settings);
    http_parser_settings_init(&no_callbacks);
    http_parser_init(&primed, HTTP_REQUEST);
    size_t n = http_parser_execute(&primed, &no_callbacks, start_line, sizeof(start_line) - 1);
    assert(n == sizeof(start_line) - 1 && primed.http_errno == HPE_OK);
    (void)n;
    settings.on_header_field = on_field;
    settings.on_header_value = on_value;
    settings.on_headers_complete = on_headers_complete;
}

/* Only what stands in front of the head's 128 fields is cleared; these are written before they are
 * read. The last two are cleared apart: without them the compiler needs no loop. */
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
    memset(h, 0, offsetof(struct head, max_forwards));
    h->max_forwards = h->idle_ms = 0;
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

/* True if Connection cannot remove a field: RFC 9110 7.6.1 forbids naming those that are for all on
 * the way. Without Host, a client could send the request to another site. X-Forwarded-* are said by
 * the proxy in front, and not every one (HAProxy 2.6) keeps back what its client has in Connection:
 * then the client could have removed what is known of it. */
static bool outlasts_connection(enum field_id id)
{
    return id == FIELD_HOST || id == FIELD_X_FORWARDED_FOR || id == FIELD_X_FORWARDED_HOST ||
           id == FIELD_X_FORWARDED_PROTO;
}

/* Marks the fields that an option of Connection names as hop-by-hop. */
static void mark_hop(struct head *h, const char *base, struct str option)
{
    for (unsigned i = 0; i < h->nfields; i++) {
        struct head_field *f = &h->fields[i];
        if (f->name_len == option.n && !outlasts_connection(f->id) &&
            str_eq_nocase(head_name(base, f), option))
            f->hop = true;
    }
}

/* True if the Upgrade fields name a protocol that may follow through the proxy. Those of a 101 must
 * name no other: it switches to all of them. */
RARE static bool names_protocol(const struct head *h, const char *base)
{
    bool good = false, bad = false;
    for (unsigned i = 0; i < h->nfields; i++) {
        if (h->fields[i].id != FIELD_UPGRADE)
            continue;
        struct str rest = head_value(base, &h->fields[i]), element;
        while (field_list_next(&rest, &element)) {
            bool is = field_is_protocol(element);
            good = good || is;
            bad = bad || (!is && element.n);
        }
    }
    return good && !(bad && h->status == 101);
}

/* Reads all Connection fields (RFC 9112 9.3, RFC 9110 7.6.1 and 7.8). This waits for the end of the
 * head, because an option may name a field that comes later. */
RARE static enum parse_result connection_rule(struct parser *p, struct head *h, const char *base)
{
    bool close = false, keep_alive = false, upgrade = false;
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
                upgrade = true;
            else
                mark_hop(h, base, option);
        }
    }
    h->keep_alive = !close && (h->minor || keep_alive);
    h->upgrade = upgrade && h->minor && seen(p, FIELD_UPGRADE) && names_protocol(h, base);
    return PARSE_DONE;
}

/* True if the TE fields have `trailers`. It has no parameters, so what follows a ';' is not
 * examined. */
RARE static bool wants_trailers(const struct head *h, const char *base)
{
    for (unsigned i = 0; i < h->nfields; i++) {
        if (h->fields[i].id != FIELD_TE)
            continue;
        struct str rest = head_value(base, &h->fields[i]), element;
        while (field_list_next(&rest, &element)) {
            const char *semicolon = element.n ? memchr(element.p, ';', element.n) : NULL;
            if (semicolon)
                element = str_trim((struct str){element.p, (size_t)(semicolon - element.p)});
            if (str_eq_nocase(element, STR("trailers")))
                return true;
        }
    }
    return false;
}

/* Applies the rules that concern the head as a whole, after the blank line. */
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
    h->has_date = seen(p, FIELD_DATE);
    if (seen(p, FIELD_TE) && h->minor && p->kind == PARSER_REQUEST) /* HTTP/1.0 has no trailers */
        h->te_trailers = wants_trailers(h, base);
    if (seen(p, FIELD_CONNECTION) && p->kind != PARSER_TRAILERS &&
        connection_rule(p, h, base) == PARSE_ERROR)
        return PARSE_ERROR;
    p->state = HEAD_DONE;
    return PARSE_DONE;
}

/* Reads one field line at base[at] if it is plain: complete, name ":" OWS value CRLF, with a value
 * that is not empty and has no white space after it, all characters right. Returns its length. 0:
 * it is not such a line, which does not mean that it is wrong. */
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

/* Takes what stands before base[at] as the first piece of a value. Returns 0, or -1 if the head is
 * refused. */
static int begin_value(struct feed *x, http_parser *hp, size_t at)
{
    const struct head_field *f = &x->h->fields[x->h->nfields];
    const char *end = x->end;
    size_t value = f->name + f->name_len + 1u;
    while (value < at && strchr(" \t\r\n", x->base[value]))
        value++;
    x->end = x->base + at;
    int r = on_value(hp, x->base + value, at - value);
    x->end = end;
    return r;
}

/* The library has stopped at base[at]. It refuses a tab behind the number of a Content-Length,
 * although a tab is optional white space just as a space is (RFC 9110 5.6.3). True: base[at] is
 * such a tab, and the library was given a space for it, so that it can go on behind it. */
RARE static bool pass_tab(struct feed *x, http_parser *hp, size_t at)
{
    if (HTTP_PARSER_ERRNO(hp) != HPE_INVALID_CONTENT_LENGTH || x->base[at] != '\t')
        return false;
    if (x->p->state == FIELDS_GAP && begin_value(x, hp, at) != 0)
        return false;
    if (x->p->state != FIELDS_VALUE)
        return false;
    hp->http_errno = HPE_OK;
    http_parser_execute(hp, &no_callbacks, " ", 1);
    return true;
}

/* Lets the library read base[at, x->end). Returns the index at which it has stopped. */
static size_t let_read(struct feed *x, http_parser *hp, size_t at)
{
    size_t end = (size_t)(x->end - x->base);
    at += http_parser_execute(hp, &settings, x->base + at, end - at);
    while (at < end && pass_tab(x, hp, at))
        if (++at < end)
            at += http_parser_execute(hp, &settings, x->base + at, end - at);
    return at;
}

/* Lets the library read base[p->taken, end). */
static enum parse_result read_fields(struct parser *p, struct head *h, const char *base, size_t end)
{
    struct feed x = {p, h, base, base + end, p->taken};
    http_parser hp;
    if (p->state == FIELDS_LINE) /* the library continues at the beginning of a line */
        p->state = FIELDS_ENDED;
    memcpy(&hp, p->impl, sizeof(hp));
    hp.data = &x;
    size_t n = let_read(&x, &hp, p->taken);
    if (p->status) /* a callback refused */
        return PARSE_ERROR;
    switch (HTTP_PARSER_ERRNO(&hp)) {
    case HPE_CB_headers_complete:
        /* n is the index at which the LF of the blank line must be */
        if (base[n] != '\n' || n == 0 || base[n - 1] != '\r')
            return parser_refuse(p, 400, "malformed end of the head");
        p->taken = (uint32_t)n + 1;
        return end_head(p, h, base);
    case HPE_OK:
        break;
    default:
        return parser_refuse(p, 400, http_errno_description(HTTP_PARSER_ERRNO(&hp)));
    }
    /* The bytes end between a colon and the value. They are checked now, not at the next call, so
     * that the first wrong byte is refused when it arrives. */
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

/* The fields that decide where messages and connections end go through the library in every head,
 * even in plain lines: two independent readers must agree on them. */
static bool goes_to_library(enum field_id id)
{
    return id == FIELD_CONTENT_LENGTH || id == FIELD_TRANSFER_ENCODING || id == FIELD_CONNECTION ||
           id == FIELD_UPGRADE;
}

/* The fast path, which suffices for nearly every head: reads all plain lines, and the blank line.
 * The first other line, one in pieces or one that may be wrong, is left to the library from its
 * first byte on; the library needs seven times as long for a line. Both paths must give the same
 * result: the tests and the fuzzer pass each head as a whole (this path) and byte by byte (the
 * library). */
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
    /* No byte past max_size is examined, so that a head is accepted or refused for its size exactly
     * at the limit, no matter how many bytes came at once. */
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
