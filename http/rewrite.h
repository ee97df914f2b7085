/* Composes the heads that are forwarded, from parsed ones. docs/http.md, What is rewritten.
 *
 * What for: removes hop-by-hop fields, adds X-Forwarded-* and Via, and frames the body as the next
 * hop needs it. A head is always composed anew, never copied as a whole: so the next hop gets
 * exactly what this one has understood.
 * Invariants: the result is one well-formed head, without anything that the parser refuses.
 * Ownership: appends to the caller's buffer. False: out of memory; the buffer is unchanged.
 * Threads: pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "http/head.h"

struct rewrite_request {
    struct str peer;  /* the client's address in canonical text; empty: it is on a unix socket */
    struct str proto; /* the value of X-Forwarded-Proto: "http" */
    bool upgrade;     /* forward the Upgrade field, of a head with `upgrade` */
    bool trusted;     /* keep X-Forwarded-Proto and -Host if they are there */
    bool no_via;      /* add no Via */
    /* Fields with this name, by field_may_be(), are not passed on; n 0: none. */
    struct str without;
};

/* Appends the head of a request for a backend, always HTTP/1.1, but without the blank line at its
 * end: the caller adds "\r\n", and before that "Host: x\r\n" if the request had no host (HTTP/1.0).
 * So the head can be composed before the backend is chosen. The target is as sent, except that
 * absolute-form becomes origin-form (RFC 9112 3.2.1), with its authority as Host. The body is
 * framed by Content-Length as parsed or by Transfer-Encoding: chunked. */
bool rewrite_request(struct buffer *out, const struct head *h, const char *base,
                     const struct rewrite_request *r);

/* A cookie that the proxy sets by an answer (RFC 6265 4.1). The texts are such as may stand there.
 */
struct rewrite_cookie {
    struct str name, value, path, same_site;
    struct str domain;  /* empty: none */
    uint64_t max_age_s; /* 0: none */
    bool secure;
};

struct rewrite_answer {
    bool close;         /* add Connection: close */
    bool keep_alive_10; /* add Connection: keep-alive, for an HTTP/1.0 client that stays */
    bool upgrade;       /* of a 101: add Connection: Upgrade, and Upgrade as sent */
    bool no_via;        /* add no Via */
    struct str date; /* the present "Date: ...\r\n" for an answer without Date; at most 64 bytes */
    uint8_t body;    /* enum body_kind, the framing to the client: LENGTH and NONE keep a sent
                        Content-Length, CHUNKED writes Transfer-Encoding, CLOSE neither */
    const struct rewrite_cookie *cookie; /* to be set; NULL: none */
};

/* Appends the complete head of an answer, blank line included, always HTTP/1.1. An answer with 1xx
 * or 204 gets no Content-Length (RFC 9110 8.6). A final answer with a cookie gets Cache-Control:
 * private, as a shared cache would give the cookie of one client to others (RFC 9111 7.3). */
bool rewrite_answer(struct buffer *out, const struct head *h, const char *base,
                    const struct rewrite_answer *r);
/* Appends the end of a chunked body: "0\r\n", the trailers (NULL: none) and the blank line. base:
 * the bytes that the offsets of the trailers refer to. */
bool rewrite_last_chunk(struct buffer *out, const struct head *trailers, const char *base);
