/* Heads out again: written by us from what was parsed, never copied through unread.
 *
 * What for: hop-by-hop fields off, X-Forwarded-* and Via on, framing as the next hop needs it.
 * Invariants: what is written is one well-formed head; nothing that was refused by the parser can
 * be in it.
 * Ownership: appends to the caller's buffer; false: no memory, the buffer may hold a part.
 * Threads: pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "http/head.h"

struct rewrite_request {
    struct str peer;  /* the client's address, canonical text; empty: it has none (unix) */
    struct str proto; /* "http" */
    bool upgrade;     /* pass the Upgrade on */
};

/* The request head as it goes to a backend, always HTTP/1.1, without the blank line at its end and,
 * if the request had no Host (HTTP/1.0), without Host: the caller adds "Host: x\r\n" then and
 * "\r\n". Target as sent, except that absolute-form becomes origin-form (RFC 9112 3.2.1) with its
 * authority as Host. Bodies: Content-Length as parsed, or Transfer-Encoding: chunked. */
bool rewrite_request(struct buffer *out, const struct head *h, const char *base,
                     const struct rewrite_request *r);

struct rewrite_answer {
    bool close;         /* say Connection: close */
    bool keep_alive_10; /* an HTTP/1.0 client's connection stays: say Connection: keep-alive */
    bool upgrade;       /* 101: Connection: Upgrade and Upgrade as sent */
    struct str date; /* "Date: ...\r\n" of now, for an answer that came without; at most 64 bytes */
    uint8_t body;    /* enum body_kind to the client: LENGTH and NONE keep a Content-Length that
                        was sent, CHUNKED writes Transfer-Encoding, CLOSE neither */
};

/* The whole answer head, blank line included; HTTP/1.1 always. For 1xx and 204 no Content-Length.
 */
bool rewrite_answer(struct buffer *out, const struct head *h, const char *base,
                    const struct rewrite_answer *r);
/* "0\r\n", the trailers (NULL: none) and the blank line: the end of a chunked body. */
bool rewrite_last_chunk(struct buffer *out, const struct head *trailers, const char *base);
