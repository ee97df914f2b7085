/* Request lines and status lines (RFC 9112 3 and 4), read by us because http-parser knows only its
 * own list of methods and takes versions that it can't mean.
 *
 * What for: parser.c hands over the bytes until the line's LF was read.
 * Invariants: each byte is looked at once, but for the eight of a version; p->taken is where to go
 * on; nothing is accepted that could not become a valid line.
 * Ownership: none. Threads: the owner's. */
#pragma once
#include <stddef.h>

#include "http/parser.h"

enum parser_kind { PARSER_REQUEST, PARSER_ANSWER, PARSER_TRAILERS };

/* Where in the head p->taken is; what each state expects there. Up to START_END the start line's:
 *
 *   request:  EMPTY_LINE [EMPTY_LF] METHOD TARGET VERSION CR LF -> FIELDS
 *   answer:   STATUS_VERSION STATUS [REASON] LF                  -> FIELDS
 */
enum parser_state {
    START_EMPTY_LINE, /* one CRLF before a request line is skipped (RFC 9112 2.2) */
    START_EMPTY_LF,
    START_METHOD,
    START_TARGET,
    START_VERSION,
    START_CR,
    START_STATUS_VERSION,
    START_STATUS, /* " 200" and what follows it */
    START_REASON,
    START_LF,
    START_END,
    /* of parser.c */
    FIELDS_LINE = START_END, /* a line's first byte; the library has seen nothing yet */
    FIELDS_NAME,
    FIELDS_GAP, /* behind the colon, no value yet */
    FIELDS_VALUE,
    FIELDS_ENDED, /* in the library's hands between a value's end and the next name */
    HEAD_DONE,
    HEAD_REFUSED,
};

/* base[0, end) as in parser_execute(). PARSE_DONE: p->taken is behind the line's LF. */
enum parse_result start_line_read(struct parser *p, struct head *h, const char *base, size_t end);

/* Notes why the head is refused: `status` for a request; an answer is always a 502, of trailers
 * only 431 is told from 400. Always PARSE_ERROR. parser.c has it. */
enum parse_result parser_refuse(struct parser *p, int status, const char *reason);
