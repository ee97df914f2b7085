#include "http/start_line.h"

#include <assert.h>

#include "http/chars.h"

/* Each function below is a step: it reads the part of the line that the present state expects.
 * True: the part is complete and the state is the next one. False: the bytes have ended within the
 * part, or the line is refused. */

static bool refuse(struct parser *p, int status, const char *reason)
{
    parser_refuse(p, status, reason);
    return false;
}

/* A step that expects one certain byte. */
static bool one_byte(struct parser *p, char byte, char expected, uint8_t next, const char *reason)
{
    if (byte != expected)
        return refuse(p, 400, reason);
    p->taken++;
    p->state = next;
    return true;
}

/* Methods are case-sensitive (RFC 9110 9.1). */
static enum method method_of(struct str s)
{
    switch (s.n) {
    case 3:
        return memcmp(s.p, "GET", 3) == 0   ? METHOD_GET
               : memcmp(s.p, "PUT", 3) == 0 ? METHOD_PUT
                                            : METHOD_OTHER;
    case 4:
        return memcmp(s.p, "POST", 4) == 0   ? METHOD_POST
               : memcmp(s.p, "HEAD", 4) == 0 ? METHOD_HEAD
                                             : METHOD_OTHER;
    case 5:
        return memcmp(s.p, "TRACE", 5) == 0 ? METHOD_TRACE : METHOD_OTHER;
    case 6:
        return memcmp(s.p, "DELETE", 6) == 0 ? METHOD_DELETE : METHOD_OTHER;
    case 7:
        return memcmp(s.p, "OPTIONS", 7) == 0   ? METHOD_OPTIONS
               : memcmp(s.p, "CONNECT", 7) == 0 ? METHOD_CONNECT
                                                : METHOD_OTHER;
    default:
        return METHOD_OTHER;
    }
}

/* Some old clients send a CRLF after a body, which is then before the next request; one is skipped
 * (RFC 9112 2.2). */
static bool empty_line(struct parser *p, struct head *h, const char *base)
{
    if (base[p->taken] == '\r') {
        p->taken++;
        p->state = START_EMPTY_LF;
    } else {
        p->state = START_METHOD;
        h->method_text.off = p->taken;
    }
    return true;
}

static bool method(struct parser *p, struct head *h, const char *base, size_t end)
{
    size_t i = p->taken;
    while (i < end && char_is(base[i], CHAR_TOKEN))
        i++;
    p->taken = (uint32_t)i;
    if (i == end)
        return false;
    h->method_text.len = (uint32_t)i - h->method_text.off;
    if (base[i] != ' ' || h->method_text.len == 0)
        return refuse(p, 400, "malformed method");
    h->method = method_of(head_str(base, h->method_text));
    /* refused now, because the target of a CONNECT has a form of its own (RFC 9112 3.2.3) */
    if (h->method == METHOD_CONNECT)
        return refuse(p, 405, "CONNECT is not allowed");
    p->taken++;
    p->state = START_TARGET;
    h->target.off = p->taken;
    return true;
}

/* True if one of the two is a prefix of the other, ignoring case: s may still become `whole`. */
static bool is_prefix(struct str s, struct str whole)
{
    size_t n = s.n < whole.n ? s.n : whole.n;
    return strncasecmp(s.p, whole.p, n) == 0;
}

/* True if a target of this method can begin with `s`: origin-form, asterisk-form or absolute-form
 * (RFC 9112 3.2). */
static bool target_begins(enum method m, struct str s)
{
    if (s.n == 0 || s.p[0] == '/')
        return true;
    if (s.p[0] == '*')
        return s.n == 1 && m == METHOD_OPTIONS; /* RFC 9112 3.2.4 */
    return is_prefix(s, STR("http://")) || is_prefix(s, STR("https://"));
}

/* Sets host, path and query of a complete target. False: the authority of an absolute-form is
 * malformed. */
static bool split_target(struct head *h, const char *base)
{
    const char *p = base + h->target.off, *end = p + h->target.len, *path = p;
    if (*p != '/' && *p != '*') { /* absolute-form, RFC 9112 3.2.2 */
        const char *slash = memchr(p, '/', h->target.len);
        if (slash == NULL || end - slash < 3)
            return false; /* it ends within "http://" */
        const char *authority = slash + 2;
        path = authority;
        while (path < end && *path != '/' && *path != '?')
            path++;
        h->host.off = (uint32_t)(authority - base);
        h->host.len = (uint32_t)(path - authority);
        h->has_host = true;
        if (!chars_are_authority(head_str(base, h->host)))
            return false;
    }
    const char *question = memchr(path, '?', (size_t)(end - path));
    const char *path_end = question ? question : end;
    h->path.off = (uint32_t)(path - base);
    h->path.len = (uint32_t)(path_end - path);
    /* The empty path of an absolute-form means "/". A slice has to point at one: the last '/' of
     * "http://" serves. */
    if (h->path.len == 0) {
        h->path.off = h->host.off - 1;
        h->path.len = 1;
    }
    h->query.off = (uint32_t)(question ? question + 1 - base : end - base);
    h->query.len = question ? (uint32_t)(end - question - 1) : 0;
    return true;
}

static bool target(struct parser *p, struct head *h, const char *base, size_t end)
{
    size_t i = p->taken, start = h->target.off;
    while (i < end && char_is(base[i], CHAR_TARGET))
        i++;
    p->taken = (uint32_t)i;
    /* also for an incomplete target: the first wrong byte is to be refused */
    if (!target_begins(h->method, (struct str){base + start, i - start}))
        return refuse(p, 400, "malformed target");
    if (i == end)
        return false;
    h->target.len = (uint32_t)(i - start);
    if (base[i] != ' ' || i == start)
        return refuse(p, 400, "malformed target");
    if (!split_target(h, base))
        return refuse(p, 400, "malformed authority in the target");
    p->taken++;
    p->state = START_VERSION;
    return true;
}

/* Checks the first n bytes (at most 8) of a version, HTTP-name "/" DIGIT "." DIGIT (RFC 9112 2.3).
 * Returns 0, or the status to refuse with: 505 for a well-formed version other than 1.x. */
static int check_version(const char *v, size_t n)
{
    if (memcmp(v, "HTTP/", n < 5 ? n : 5) != 0)
        return 400;
    if ((n > 5 && !char_is(v[5], CHAR_DIGIT)) || (n > 6 && v[6] != '.') ||
        (n > 7 && !char_is(v[7], CHAR_DIGIT)))
        return 400;
    return n == 8 && v[5] != '1' ? 505 : 0;
}

static bool version(struct parser *p, struct head *h, const char *base, size_t end)
{
    /* from its first byte again if it came in pieces, which spares a state for each of its bytes */
    size_t start = h->target.off + h->target.len + 1;
    /* the usual end of a request line, in one comparison */
    if (end - start >= 10 && memcmp(base + start, "HTTP/1.1\r\n", 10) == 0) {
        h->minor = 1;
        p->taken = (uint32_t)start + 10;
        p->state = START_END;
        return true;
    }
    size_t n = end - start < 8 ? end - start : 8;
    int status = check_version(base + start, n);
    if (status)
        return refuse(p, status, status == 505 ? "not HTTP/1.x" : "malformed version");
    p->taken = (uint32_t)(start + n);
    if (n < 8)
        return false;
    h->minor = base[start + 7] != '0'; /* a higher minor version is treated as 1.1: RFC 9110 2.5 */
    p->state = START_CR;
    return true;
}

/* The version of an answer. It begins at base[0]: nothing may precede a status line. */
static bool status_version(struct parser *p, struct head *h, const char *base, size_t end)
{
    size_t n = end < 8 ? end : 8;
    if (memcmp(base, "HTTP/1.", n < 7 ? n : 7) != 0 || (n == 8 && !char_is(base[7], CHAR_DIGIT)))
        return refuse(p, 502, "malformed version in the status line");
    p->taken = (uint32_t)n;
    if (n < 8)
        return false;
    h->minor = base[7] != '0'; /* as in requests */
    p->state = START_STATUS;
    return true;
}

/* " 200" at index 8 to 11; then a space and the reason, or the end of the line. The RFC demands the
 * space even before an empty reason (RFC 9112 4), but some servers omit it. */
static bool status(struct parser *p, struct head *h, const char *base, size_t end)
{
    for (; p->taken < end && p->taken < 12; p->taken++) {
        char c = base[p->taken];
        if (p->taken == 8 ? c != ' ' : p->taken == 9 ? c < '1' || c > '5' : !char_is(c, CHAR_DIGIT))
            return refuse(p, 502, "malformed status");
    }
    if (p->taken == end)
        return false;
    h->status = (uint16_t)((base[9] - '0') * 100 + (base[10] - '0') * 10 + (base[11] - '0'));
    char c = base[p->taken];
    if (c != ' ' && c != '\r')
        return refuse(p, 502, "malformed status");
    p->taken++;
    p->state = c == ' ' ? START_REASON : START_LF;
    h->reason.off = p->taken;
    return true;
}

/* The reason phrase has no meaning, but it is forwarded, so its characters are checked. */
static bool reason(struct parser *p, struct head *h, const char *base, size_t end)
{
    size_t i = p->taken;
    while (i < end && char_is(base[i], CHAR_TEXT))
        i++;
    p->taken = (uint32_t)i;
    if (i == end)
        return false;
    h->reason.len = (uint32_t)i - h->reason.off;
    return one_byte(p, base[i], '\r', START_LF, "control character in the reason");
}

static bool step(struct parser *p, struct head *h, const char *base, size_t end)
{
    switch (p->state) {
    case START_EMPTY_LINE:
        return empty_line(p, h, base);
    case START_EMPTY_LF:
        h->method_text.off = p->taken + 1;
        return one_byte(p, base[p->taken], '\n', START_METHOD, "CR without LF");
    case START_METHOD:
        return method(p, h, base, end);
    case START_TARGET:
        return target(p, h, base, end);
    case START_VERSION:
        return version(p, h, base, end);
    case START_CR:
        return one_byte(p, base[p->taken], '\r', START_LF, "malformed version");
    case START_STATUS_VERSION:
        return status_version(p, h, base, end);
    case START_STATUS:
        return status(p, h, base, end);
    case START_REASON:
        return reason(p, h, base, end);
    default:
        assert(p->state == START_LF);
        return one_byte(p, base[p->taken], '\n', START_END, "CR without LF");
    }
}

enum parse_result start_line_read(struct parser *p, struct head *h, const char *base, size_t end)
{
    assert(p->state < START_END);
    while (p->taken < end && step(p, h, base, end))
        if (p->state == START_END)
            return PARSE_DONE;
    return p->status ? PARSE_ERROR : PARSE_MORE;
}
