/* A parsed head: start line, fields and what follows from them, as offsets into the bytes received.
 *
 * What for: the one form in which a head goes from http/parser to everybody else.
 * Invariants: offsets count from the head's first byte, so the bytes may move (a growing buffer)
 * between parsing and use; slices made by head_str() live as long as those bytes stand still.
 * A head that parser_execute() called done has passed every check of ours: it is not ambiguous.
 * Ownership: a plain struct, no heap. Threads: the owner's. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define HEAD_MAX_FIELDS 128

/* Fields that somebody here looks at. */
enum field_id {
    FIELD_OTHER,
    FIELD_CONNECTION,
    FIELD_CONTENT_LENGTH,
    FIELD_COOKIE,
    FIELD_DATE,
    FIELD_EXPECT,
    FIELD_HOST,
    FIELD_KEEP_ALIVE,
    FIELD_MAX_FORWARDS,
    FIELD_PROXY_CONNECTION,
    FIELD_TE,
    FIELD_TRAILER,
    FIELD_TRANSFER_ENCODING,
    FIELD_UPGRADE,
    FIELD_VIA,
    FIELD_X_FORWARDED_FOR,
    FIELD_X_FORWARDED_HOST,
    FIELD_X_FORWARDED_PROTO,
};

enum method { /* RFC 9110 9; any other token is METHOD_OTHER and passed on */
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

/* Where a body ends, RFC 9112 6.3. */
enum body_kind {
    BODY_NONE,
    BODY_LENGTH, /* content_length bytes, at least 1 */
    BODY_CHUNKED,
    BODY_CLOSE, /* answers only: to the end of the connection */
};

struct head_slice {
    uint32_t off, len;
};

struct head_field {
    uint32_t name, value; /* offsets */
    uint32_t value_len;   /* without white space at both ends */
    uint16_t name_len;
    uint8_t id; /* enum field_id */
    bool hop;   /* named by Connection, or hop-by-hop by itself: not passed on */
};

struct head {
    uint32_t size; /* of the whole head, blank line (and a skipped CRLF before it) included */
    uint8_t minor; /* HTTP/1.minor: 0 or 1 */
    /* requests */
    uint8_t method; /* enum method */
    struct head_slice method_text, target;
    struct head_slice path;  /* of the target: without query, scheme and authority; "*" stays "*",
                                the empty path of an absolute-form target is "/"; never len 0 */
    struct head_slice query; /* without the '?', which stands before query.off if there is one */
    struct head_slice
        host;      /* Host's value (or the absolute-form target's authority); len 0: none */
    bool has_host; /* host is set: by a Host field or by the target */
    bool expect_continue;
    bool limited;          /* OPTIONS or TRACE with a Max-Forwards (RFC 9110 7.6.2) */
    uint32_t max_forwards; /* of it; 0: it must not go on */
    /* answers */
    uint16_t status; /* 100 to 599 */
    struct head_slice reason;
    /* both */
    bool keep_alive; /* what version and Connection say, RFC 9112 9.3 */
    bool upgrade;    /* Connection names upgrade and an Upgrade field is there (HTTP/1.1 only) */
    bool has_date;   /* answers: a Date was there */
    bool has_length; /* a Content-Length was there (answers to HEAD and 304 keep it) */
    uint8_t body;    /* enum body_kind; for answers by the fields alone, see framing_of_answer() */
    uint64_t content_length;
    uint16_t nfields;
    struct head_field fields[HEAD_MAX_FIELDS];
};

static inline struct str head_str(const char *base, struct head_slice s)
{
    return (struct str){base + s.off, s.len};
}

static inline struct str head_name(const char *base, const struct head_field *f)
{
    return (struct str){base + f->name, f->name_len};
}

static inline struct str head_value(const char *base, const struct head_field *f)
{
    return (struct str){base + f->value, f->value_len};
}

/* The first field line of that name, any case; NULL if there is none. */
const struct head_field *head_find(const struct head *h, const char *base, struct str name);
/* RFC 9110 9.2.2: GET, HEAD, PUT, DELETE, OPTIONS, TRACE. */
bool method_idempotent(enum method m);
