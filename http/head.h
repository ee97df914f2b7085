/* A parsed head: the start line, the fields and what they mean, as offsets into the received bytes.
 *
 * What for: the form in which a head goes from http/parser to all other modules.
 * Invariants: offsets count from the first byte of the head (`base`), so the bytes may be at
 * another address after the parsing, as in a growing buffer. Slices from head_str() and the like
 * are valid until the bytes change or move. A head for which parser_execute() returned PARSE_DONE
 * has passed every check of docs/http.md, Requests that are refused.
 * Ownership: a plain struct, no heap. Threads: the owner's. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define HEAD_MAX_FIELDS 128

/* The fields whose values or presence matter to the proxy. */
enum field_id {
    FIELD_OTHER,
    FIELD_AUTHORIZATION,
    FIELD_CONNECTION,
    FIELD_CONTENT_LENGTH,
    FIELD_CONTENT_TYPE,
    FIELD_COOKIE,
    FIELD_DATE,
    FIELD_EXPECT,
    FIELD_HOST,
    FIELD_HTTP2_SETTINGS,
    FIELD_KEEP_ALIVE,
    FIELD_MAX_FORWARDS,
    FIELD_PROXY_AUTHENTICATE,
    FIELD_PROXY_AUTHORIZATION,
    FIELD_PROXY_CONNECTION,
    FIELD_TE,
    FIELD_TRAILER,
    FIELD_TRANSFER_ENCODING,
    FIELD_UPGRADE,
    FIELD_VIA,
    FIELD_WWW_AUTHENTICATE,
    FIELD_X_FORWARDED_FOR,
    FIELD_X_FORWARDED_HOST,
    FIELD_X_FORWARDED_PROTO,
};

enum method { /* RFC 9110 9; any other token is METHOD_OTHER and is forwarded as sent */
              METHOD_OTHER,
              METHOD_GET,
              METHOD_HEAD,
              METHOD_POST,
              METHOD_PUT,
              METHOD_DELETE,
              METHOD_CONNECT,
              METHOD_OPTIONS,
              METHOD_TRACE,
};

/* How the end of a body is determined, RFC 9112 6.3. */
enum body_kind {
    BODY_NONE,
    BODY_LENGTH, /* content_length bytes, at least 1 */
    BODY_CHUNKED,
    BODY_CLOSE, /* answers only: it lasts to the end of the connection */
};

struct head_slice {
    uint32_t off, len;
};

struct head_field {
    uint32_t name, value; /* offsets */
    uint32_t value_len;   /* without the white space at both ends */
    uint16_t name_len;
    uint8_t id; /* enum field_id */
    bool hop;   /* hop-by-hop, by itself or because Connection names it: not forwarded */
};

struct head {
    uint32_t size; /* bytes, from a skipped CRLF before the request line to the blank line */
    uint16_t nfields;
    uint8_t minor; /* HTTP/1.minor: 0 or 1 */
    /* requests */
    uint8_t method; /* enum method */
    struct head_slice method_text, target;
    struct head_slice path;  /* the target without query, scheme and authority; "*" stays "*", the
                                empty path of an absolute-form target is "/"; never empty */
    struct head_slice query; /* without the '?', which precedes query.off if there is a query; else
                                query.off is the end of the target */
    struct head_slice host;  /* of an absolute-form target, else of Host; len 0: none. Where they
                                differ, which only the default port can, it is of Host */
    bool has_host;           /* host is set */
    bool expect_continue;
    bool te_trailers; /* HTTP/1.1, and TE has `trailers` (RFC 9110 10.1.4) */
    bool limited;     /* max_forwards is set */
    /* answers */
    uint16_t status; /* 100 to 599 */
    struct head_slice reason;
    bool event_stream; /* Content-Type is text/event-stream, whatever its parameters */
    /* both */
    bool keep_alive; /* the connection may persist, by version and Connection: RFC 9112 9.3 */
    bool upgrade;    /* HTTP/1.1, Connection has "upgrade", and Upgrade names a protocol that may
                        follow through the proxy (field_is_protocol()); that of a 101 no other */
    bool identity;   /* credentials (requests) or challenges (answers) of a scheme that logs the
                        connection in, not the request: field_names_identity() */
    bool has_date;   /* there is a Date field */
    bool has_length; /* there is a Content-Length field (answers to HEAD and 304 keep it) */
    bool has_idle;   /* idle_ms is set */
    uint8_t body;    /* enum body_kind; of an answer by its fields alone: framing_of_answer() */
    uint64_t content_length;
    uint32_t max_forwards; /* of OPTIONS or TRACE with a Max-Forwards (RFC 9110 7.6.2): its value;
                              at 0 the request must not be forwarded */
    uint32_t idle_ms;      /* of an answer with Keep-Alive: see field_parse_keep_alive() */
    struct head_field fields[HEAD_MAX_FIELDS];
};

static inline struct str head_str(const char *base, struct head_slice s)
{
    return (struct str){base + s.off, s.len};
}

/* True if the target has a '?'. */
static inline bool head_has_query(const struct head *h, const char *base)
{
    return base[h->query.off - 1] == '?';
}

/* True if the path stands in the target in front of the query, or of the end. Otherwise it is the
 * "/" that an absolute-form target without a path means. */
static inline bool head_path_is_sent(const struct head *h, const char *base)
{
    return h->path.off + h->path.len + head_has_query(h, base) == h->query.off;
}

static inline struct str head_name(const char *base, const struct head_field *f)
{
    return (struct str){base + f->name, f->name_len};
}

static inline struct str head_value(const char *base, const struct head_field *f)
{
    return (struct str){base + f->value, f->value_len};
}

/* The first field line with this name, in any case; NULL if there is none. */
const struct head_field *head_find(const struct head *h, const char *base, struct str name);
/* True if a Set-Cookie of an answer sets, or deletes, the cookie of this name, in this case. */
bool head_sets_cookie(const struct head *h, const char *base, struct str name);
/* True for the idempotent methods (RFC 9110 9.2.2): GET, HEAD, PUT, DELETE, OPTIONS, TRACE. */
bool method_idempotent(enum method m);
