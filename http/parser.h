/* Parses the heads of HTTP/1 requests and answers, and trailer sections (RFC 9112, RFC 9110).
 *
 * What for: turns received bytes into a struct head, stricter than the RFC demands (docs/http.md,
 * Requests that are refused). It takes bytes as they arrive, examines each once, and refuses at the
 * first byte that is wrong. Three readers share the work: start_line.c reads the start line;
 * parser.c reads field lines that are complete and in the usual form; the library http-parser reads
 * all other field lines, at five times the instructions. What the library tolerates against the RFC
 * (bare LF, folding, ...) is refused here. No other module uses http-parser.
 * Invariants: after PARSE_DONE the head obeys every rule listed in parser.c. After PARSE_ERROR,
 * status and reason say what to answer, and the parser must be initialised before it is used again.
 * Ownership: no heap. Threads: the owner's. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "http/head.h"

enum parse_result { PARSE_MORE, PARSE_DONE, PARSE_ERROR };

struct parser {
    _Alignas(8) char impl[32]; /* struct http_parser */
    uint32_t taken;            /* bytes of the head that were examined so far */
    uint32_t max_size;         /* bytes of a whole head */
    uint32_t seen;             /* the fields so far, a bit for each enum field_id */
    uint16_t status;           /* PARSE_ERROR: 400, 405, 414, 431, 501, 505; of answers: 502 */
    uint8_t state, kind;       /* enum parser_state, enum parser_kind */
    const char *reason;        /* PARSE_ERROR: static text */
};

/* Prepares parser and head for a new head. max_size: bytes of the whole head. If a request exceeds
 * it within the start line the status is 414, within the fields 431. */
void parser_init_request(struct parser *p, struct head *h, uint32_t max_size);
void parser_init_answer(struct parser *p, struct head *h, uint32_t max_size);
/* For a trailer section: field lines up to a blank line (RFC 9112 7.1.2). */
void parser_init_trailers(struct parser *p, struct head *h, uint32_t max_size);

/* Parses the bytes that were added since the last call. base[0, len): everything received so far,
 * from the first byte of the head on, also bytes after its end. The bytes of earlier calls must be
 * unchanged but may be at another address. PARSE_DONE: *h is complete, h->size <= len. */
enum parse_result parser_execute(struct parser *p, struct head *h, const char *base, size_t len);
