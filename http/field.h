/* The rules for single fields, independent of the head around them.
 *
 * What for: parser.c, framing.c and rewrite.c share them, so that each rule exists once.
 * Invariants: callers have checked the characters of names and values before.
 * Ownership: none; slices of the caller. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "http/head.h"

/* The id of a field name, in any case. name[0, n) must be a token. */
enum field_id field_identify(const char *name, size_t n);
/* True if a field is hop-by-hop even where Connection does not name it (RFC 9110 7.6.1). */
static inline bool field_is_hop(enum field_id id)
{
    const unsigned hop = 1u << FIELD_CONNECTION | 1u << FIELD_KEEP_ALIVE |
                         1u << FIELD_PROXY_CONNECTION | 1u << FIELD_TE |
                         1u << FIELD_TRANSFER_ENCODING | 1u << FIELD_UPGRADE |
                         1u << FIELD_HTTP2_SETTINGS;
    return (hop >> id & 1) != 0;
}

enum field_trailer {
    TRAILER_PASSES,
    TRAILER_USELESS, /* it comes too late to mean anything: request modifiers, response control, how
                        to process the content (RFC 9110 6.5.1); a reader that merges it into the
                        head is misled, so it is not passed on */
    TRAILER_REFUSED, /* framing, the connection, routing, authentication: an attack */
};

/* What is to be done with a field of a trailer section. */
enum field_trailer field_as_trailer(enum field_id id, struct str name);

/* Whether two names may be one to whoever reads them: in any case, and with '_' for '-', as
 * programs behind CGI and its like get both as HTTP_X_NAME (RFC 3875 4.1.18). */
bool field_may_be(struct str name, struct str other);
/* Iterates over a comma-separated list (RFC 9110 5.6.1). For the first call *rest is the whole
 * value, with p not NULL. True: *element is the next element without white space around it,
 * possibly empty. False: there are no more elements. */
bool field_list_next(struct str *rest, struct str *element);
/* True if an element of Upgrade is a protocol that may follow through the proxy: protocol-name
 * ["/" protocol-version] (RFC 9110 7.8), and neither HTTP (HTTP/2.0, h2c, h3-29, ...) nor TLS. What
 * those carry is requests, and a tunnel would take them past the rules of the proxy. */
bool field_is_protocol(struct str element);
/* Whether credentials or a list of challenges (RFC 9110 11.6) name NTLM, Negotiate, Nego2 or
 * Kerberos, in any case: with these the server logs a whole connection in (RFC 4559 6), so that it
 * must not be shared. In doubt true. */
bool field_names_identity(struct str value);
/* Parses a Content-Length or Max-Forwards: 1*DIGIT up to 2^63-1. False: it is anything else. */
bool field_parse_length(struct str value, uint64_t *length);
/* How long, by a Keep-Alive field of an answer (RFC 2068 19.7.1.1: `timeout=5, max=100`), its
 * connection may be idle and then still be used, in milliseconds: a second less than the server's
 * timeout, as a request that is under way when the server closes is lost; of a timeout of 1 half of
 * it. 0: not at all, which timeout=0 and max=0 say. FIELD_NO_IDLE_LIMIT: it says nothing about
 * that. The least counts if it is said more than once; what is malformed is skipped. */
#define FIELD_NO_IDLE_LIMIT UINT32_MAX
uint32_t field_parse_keep_alive(struct str value);
/* Whether a Content-Type names this media type, in any case, with or without parameters (RFC
 * 9110 8.3.1). */
bool field_is_media_type(struct str value, struct str type);
/* Checks the value of one Transfer-Encoding field. `chunked` is the only known coding; it must
 * occur once in all such fields of a head together, and last (RFC 9112 6.1). *chunked: set by an
 * earlier field of the head; set here if this one has it. Returns 0, or the status to refuse with,
 * 400 or 501. */
int field_check_codings(struct str value, bool *chunked);
