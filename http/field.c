#include "http/field.h"

#include <assert.h>

#include "http/chars.h"

/* Up to eight bytes as one number, the missing ones zero; the order of bytes does not
 * matter here. */
static inline uint64_t word(const char *p, size_t n)
{
    uint64_t w = 0;
    memcpy(&w, p, n);
    return w;
}

/* is_short() and is_long() compare a name with a lower-case constant, ignoring case, eight bytes at
 * a time. Setting bit 5 turns upper-case letters into lower-case ones; no other tchar becomes a
 * letter or '-' by that, so no other name can match. As n is a constant at every call, the compiler
 * turns this into a few instructions without loops. */
#define CASE_BITS 0x2020202020202020u

static inline bool is_short(const char *p, const char *lower, size_t n)
{
    return ((word(p, n) | CASE_BITS) ^ (word(lower, n) | CASE_BITS)) == 0;
}

/* n is at least 8. The last eight bytes are compared first; they may overlap the others. */
static inline bool is_long(const char *p, const char *lower, size_t n)
{
    uint64_t diff = (word(p + n - 8, 8) | CASE_BITS) ^ word(lower + n - 8, 8);
    for (size_t i = 0; i + 8 <= n; i += 8)
        diff |= (word(p + i, 8) | CASE_BITS) ^ word(lower + i, 8);
    return diff == 0;
}

#define IS(literal)                                                      \
    (sizeof(literal) > 8 ? is_long(name, (literal), sizeof(literal) - 1) \
                         : is_short(name, (literal), sizeof(literal) - 1))

/* Every field of every head is identified, so the length decides first: at most three
 * comparisons. */
enum field_id field_identify(const char *name, size_t n)
{
    switch (n) {
    case 2:
        return IS("te") ? FIELD_TE : FIELD_OTHER;
    case 3:
        return IS("via") ? FIELD_VIA : FIELD_OTHER;
    case 4:
        return IS("host") ? FIELD_HOST : IS("date") ? FIELD_DATE : FIELD_OTHER;
    case 6:
        return IS("cookie") ? FIELD_COOKIE : IS("expect") ? FIELD_EXPECT : FIELD_OTHER;
    case 7:
        return IS("upgrade") ? FIELD_UPGRADE : IS("trailer") ? FIELD_TRAILER : FIELD_OTHER;
    case 10:
        return IS("connection")   ? FIELD_CONNECTION
               : IS("keep-alive") ? FIELD_KEEP_ALIVE
                                  : FIELD_OTHER;
    case 12:
        return IS("content-type")   ? FIELD_CONTENT_TYPE
               : IS("max-forwards") ? FIELD_MAX_FORWARDS
                                    : FIELD_OTHER;
    case 13:
        return IS("authorization") ? FIELD_AUTHORIZATION : FIELD_OTHER;
    case 14:
        return IS("content-length")   ? FIELD_CONTENT_LENGTH
               : IS("http2-settings") ? FIELD_HTTP2_SETTINGS
                                      : FIELD_OTHER;
    case 15:
        return IS("x-forwarded-for") ? FIELD_X_FORWARDED_FOR : FIELD_OTHER;
    case 16:
        return IS("x-forwarded-host")   ? FIELD_X_FORWARDED_HOST
               : IS("proxy-connection") ? FIELD_PROXY_CONNECTION
               : IS("www-authenticate") ? FIELD_WWW_AUTHENTICATE
                                        : FIELD_OTHER;
    case 17:
        return IS("transfer-encoding")   ? FIELD_TRANSFER_ENCODING
               : IS("x-forwarded-proto") ? FIELD_X_FORWARDED_PROTO
                                         : FIELD_OTHER;
    case 18:
        return IS("proxy-authenticate") ? FIELD_PROXY_AUTHENTICATE : FIELD_OTHER;
    case 19:
        return IS("proxy-authorization") ? FIELD_PROXY_AUTHORIZATION : FIELD_OTHER;
    default:
        return FIELD_OTHER;
    }
}

static bool is_among(struct str name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq_nocase(name, str_of(names[i])))
            return true;
    return false;
}

/* X-Forwarded-Port, -Prefix and whatever else proxies say of a request in fields without an id. */
static bool is_forwarded(struct str name)
{
    const struct str prefix = STR("x-forwarded-");
    return name.n > prefix.n && str_eq_nocase((struct str){name.p, prefix.n}, prefix);
}

enum field_trailer field_as_trailer(enum field_id id, struct str name)
{
    static const char *const refused[] = {
        "set-cookie",
        "forwarded",
    };
    static const char *const useless[] = {
        "content-encoding",
        "content-range",
        "range",
        "if-range",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
        "cache-control",
        "pragma",
        "age",
        "expires",
        "location",
        "retry-after",
        "vary",
    };
    switch (id) {
    case FIELD_OTHER:
        break;
    case FIELD_VIA:
        return TRAILER_PASSES;
    case FIELD_CONTENT_TYPE:
    case FIELD_DATE:
    case FIELD_EXPECT:
    case FIELD_TRAILER:
        return TRAILER_USELESS;
    default: /* about framing, the connection, routing or authentication */
        return TRAILER_REFUSED;
    }
    if (is_forwarded(name) || is_among(name, refused, sizeof(refused) / sizeof(refused[0])))
        return TRAILER_REFUSED;
    return is_among(name, useless, sizeof(useless) / sizeof(useless[0])) ? TRAILER_USELESS
                                                                         : TRAILER_PASSES;
}

static char plain(char c)
{
    return c == '_' ? '-' : c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

bool field_may_be(struct str name, struct str other)
{
    for (size_t i = 0; i < name.n && name.n == other.n; i++)
        if (plain(name.p[i]) != plain(other.p[i]))
            return false;
    return name.n == other.n;
}

bool field_list_next(struct str *rest, struct str *element)
{
    if (rest->p == NULL)
        return false;
    /* No quoted strings: in the lists that are read here, every element is a token. */
    const char *comma = rest->n ? memchr(rest->p, ',', rest->n) : NULL;
    if (comma == NULL) {
        *element = str_trim(*rest);
        *rest = (struct str){NULL, 0};
    } else {
        size_t n = (size_t)(comma - rest->p);
        *element = str_trim((struct str){rest->p, n});
        *rest = (struct str){comma + 1, rest->n - n - 1};
    }
    return true;
}

/* The names of HTTP and TLS in Upgrade, in any version. All ALPN names of HTTP are h, a digit and
 * more: h2, h2c, h2c-14, h3-29 (RFC 9113 3.1, RFC 9114 3.1). */
static bool is_http_or_tls(struct str name)
{
    return str_eq_nocase(name, STR("http")) || str_eq_nocase(name, STR("https")) ||
           str_eq_nocase(name, STR("tls")) || str_eq_nocase(name, STR("ssl")) ||
           (name.n > 1 && (name.p[0] | 0x20) == 'h' && char_is(name.p[1], CHAR_DIGIT));
}

bool field_is_protocol(struct str element)
{
    const char *slash = element.n ? memchr(element.p, '/', element.n) : NULL;
    struct str name = {element.p, slash ? (size_t)(slash - element.p) : element.n};
    if (slash && !chars_are_token((struct str){slash + 1, element.n - name.n - 1}))
        return false;
    return chars_are_token(name) && !is_http_or_tls(name);
}

/* Whether an element of a list of challenges begins with one of the schemes. */
static bool begins_with_identity(struct str element)
{
    static const char *const schemes[] = {"ntlm", "negotiate", "nego2", "kerberos"};
    struct str trimmed = str_trim(element);
    size_t n = 0;
    while (n < trimmed.n && char_is(trimmed.p[n], CHAR_TOKEN))
        n++;
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (str_eq_nocase((struct str){trimmed.p, n}, str_of(schemes[i])))
            return true;
    return false;
}

/* A comma within a quoted string ends no element. But if a string is not closed or has a backslash,
 * others may find its end at another place: then what is named inside of strings counts, too. */
bool field_names_identity(struct str value)
{
    bool quoted = false, inside = false, doubt = false;
    bool from_quoted = false; /* the element begins within a quoted string */
    size_t from = 0;
    for (size_t i = 0; i <= value.n; i++) {
        char c = i < value.n ? value.p[i] : ',';
        if (c == ',') {
            bool named = begins_with_identity((struct str){value.p + from, i - from});
            if (named && !from_quoted)
                return true;
            inside |= named;
            from = i + 1;
            from_quoted = quoted;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (c == '\\') {
            doubt = true;
            i += quoted && i + 1 < value.n;
        }
    }
    return inside && (doubt || quoted);
}

bool field_parse_length(struct str value, uint64_t *length)
{
    uint64_t n = 0;
    if (value.n == 0)
        return false;
    for (size_t i = 0; i < value.n; i++) {
        if (!char_is(value.p[i], CHAR_DIGIT))
            return false;
        unsigned digit = (unsigned)(value.p[i] - '0');
        /* signed, although the type is not: the backend may use a signed type for its length */
        if (n > ((uint64_t)INT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *length = n;
    return true;
}

/* "timeout=5" with *name "timeout" gives true and the number; quotes around it are allowed. A
 * number that is too large for a length counts as the largest. */
static bool keep_alive_number(struct str element, struct str name, uint64_t *n)
{
    const char *equals = element.n ? memchr(element.p, '=', element.n) : NULL;
    if (equals == NULL)
        return false;
    size_t at = (size_t)(equals - element.p);
    struct str value = str_trim((struct str){equals + 1, element.n - at - 1});
    if (!str_eq_nocase(str_trim((struct str){element.p, at}), name))
        return false;
    if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"')
        value = (struct str){value.p + 1, value.n - 2};
    for (size_t i = 0; i < value.n; i++)
        if (!char_is(value.p[i], CHAR_DIGIT))
            return false;
    if (!field_parse_length(value, n))
        *n = UINT64_MAX;
    return value.n > 0;
}

static uint32_t idle_limit(uint64_t timeout_s)
{
    if (timeout_s < 2)
        return (uint32_t)timeout_s * 500;
    return timeout_s < FIELD_NO_IDLE_LIMIT / 1000 ? ((uint32_t)timeout_s - 1) * 1000
                                                  : FIELD_NO_IDLE_LIMIT;
}

uint32_t field_parse_keep_alive(struct str value)
{
    struct str rest = value, element;
    uint32_t least = FIELD_NO_IDLE_LIMIT;
    assert(value.p != NULL);
    while (field_list_next(&rest, &element)) {
        uint64_t n;
        uint32_t limit = FIELD_NO_IDLE_LIMIT;
        if (keep_alive_number(element, STR("timeout"), &n))
            limit = idle_limit(n);
        else if (keep_alive_number(element, STR("max"), &n) && n == 0)
            limit = 0;
        if (limit < least)
            least = limit;
    }
    return least;
}

bool field_is_media_type(struct str value, struct str type)
{
    if (value.n < type.n || !str_eq_nocase((struct str){value.p, type.n}, type))
        return false;
    struct str rest = str_trim((struct str){value.p + type.n, value.n - type.n});
    return rest.n == 0 || rest.p[0] == ';';
}

/* The status for a coding that is not exactly `chunked`: 501 for an unknown one, 400 if its name is
 * no token. Its parameters are not examined, as the request is refused anyway. */
static int refuse_coding(struct str element)
{
    size_t n = 0;
    while (n < element.n && element.p[n] != ';' && element.p[n] != ' ' && element.p[n] != '\t')
        n++;
    struct str name = {element.p, n};
    if (!chars_are_token(name))
        return 400;
    /* chunked has no parameters (RFC 9112 7.1): with some it is malformed, not unknown */
    return str_eq_nocase(name, STR("chunked")) ? 400 : 501;
}

int field_check_codings(struct str value, bool *chunked)
{
    struct str rest = value, element;
    assert(value.p != NULL);
    while (field_list_next(&rest, &element)) {
        if (*chunked) /* a coding after chunked, or chunked twice (RFC 9112 6.1) */
            return 400;
        if (!str_eq_nocase(element, STR("chunked")))
            return refuse_coding(element);
        *chunked = true;
    }
    return 0;
}
