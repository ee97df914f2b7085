/* Parses request lines and status lines (RFC 9112 3 and 4): the first part of http/parser.
 *
 * What for: the library http-parser knows only a fixed list of methods and accepts versions that do
 * not exist, so start lines are parsed here. parser.c passes bytes until the LF of the line was
 * read.
 * Invariants: each byte is examined once, except for the eight of a version. p->taken is where the
 * next call continues. The line is refused at the first byte with which it cannot become valid.
 * Ownership: none. Threads: the owner's. */
#pragma once
#include <stddef.h>

#include "http/parser.h"

enum parser_kind { PARSER_REQUEST, PARSER_ANSWER, PARSER_TRAILERS };

/* What the parser expects at p->taken. The states before START_END are those of the start line:
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
    START_STATUS, /* " 200" and the byte after it */
    START_REASON,
    START_LF,
    START_END,
    /* the states of parser.c */
    FIELDS_LINE = START_END, /* the first byte of a line that the library has not seen yet */
    FIELDS_NAME,
    FIELDS_GAP, /* after the colon, before the value */
    FIELDS_VALUE,
    FIELDS_ENDED, /* the library has read a value and not yet called for the next name */
    HEAD_DONE,
    HEAD_REFUSED,
};

/* Parses base[p->taken, end); base as in parser_execute(). PARSE_DONE: the line is complete,
 * p->taken is the index after its LF. */
enum parse_result start_line_read(struct parser *p, struct head *h, const char *base, size_t end);

/* Refuses the head: records the reason (a constant) and the status. The status applies to requests;
 * an answer is always a 502, a trailer section a 431 or else a 400. Returns PARSE_ERROR. Defined in
 * parser.c. */
enum parse_result parser_refuse(struct parser *p, int status, const char *reason);
