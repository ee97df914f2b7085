/* Heads out of bytes: http-parser behind our own strictness (RFC 9112, RFC 9110).
 *
 * What for: the only place that knows http-parser. It is fed as bytes come in, looks at each byte
 * once, and refuses at the first byte that is wrong. The start line is read here (any method token,
 * exact versions). Field lines that are there whole and plain are read here too, as the library
 * takes five times the instructions; it reads all others, and its laxness (bare LF, folding, ...)
 * is refused.
 * Invariants: after PARSE_DONE the head obeys every rule listed in parser.c; after PARSE_ERROR
 * status and reason say what to answer, and the parser must be initialised again.
 * Ownership: no heap. Threads: the owner's. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "http/head.h"

enum parse_result { PARSE_MORE, PARSE_DONE, PARSE_ERROR };

struct parser {
    _Alignas(8) char impl[32]; /* struct http_parser */
    uint32_t taken;            /* bytes looked at so far */
    uint32_t max_size;         /* of a head */
    uint32_t seen;             /* fields that were there, a bit an enum field_id */
    uint16_t status;           /* PARSE_ERROR: 400, 405, 414, 431, 501, 505 (answers: 502) */
    uint8_t state, kind;
    const char *reason; /* PARSE_ERROR: static text */
};

/* max_size: a larger target is 414, larger fields are 431. Also resets the head's counts. */
void parser_init_request(struct parser *p, struct head *h, uint32_t max_size);
void parser_init_answer(struct parser *p, struct head *h, uint32_t max_size);
/* Field lines up to a blank line: trailers (RFC 9112 7.1.2). */
void parser_init_trailers(struct parser *p, struct head *h, uint32_t max_size);

/* base[0, len) is the head from its first byte on, all that is there so far (bytes beyond its end
 * may follow); what was there before must be there again, but may have moved. PARSE_DONE: h is
 * filled and h->size <= len. */
enum parse_result parser_execute(struct parser *p, struct head *h, const char *base, size_t len);
