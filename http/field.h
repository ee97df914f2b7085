/* What single fields mean, without a head around them.
 *
 * What for: parser.c, framing.c and rewrite.c ask here, so that each rule stands once.
 * Invariants: names and values were checked for their characters before.
 * Ownership: none. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "http/head.h"

/* name[0, n) must be tchars; any case. */
enum field_id field_identify(const char *name, size_t n);
/* Hop-by-hop by itself, whether Connection names it or not (RFC 9110 7.6.1). */
static inline bool field_is_hop(enum field_id id)
{
    const unsigned hop = 1u << FIELD_CONNECTION | 1u << FIELD_KEEP_ALIVE |
                         1u << FIELD_PROXY_CONNECTION | 1u << FIELD_TE |
                         1u << FIELD_TRANSFER_ENCODING | 1u << FIELD_UPGRADE;
    return (hop >> id & 1) != 0;
}
/* May not stand in a trailer section: framing, routing, authentication, controls and what says how
 * to read the content (RFC 9110 6.5.1). */
bool field_not_in_trailers(enum field_id id, struct str name);

/* The next element of a comma list, white space trimmed, possibly empty; false at its end. `rest`
 * is the whole value at first (its p not NULL). */
bool field_list_next(struct str *rest, struct str *element);
/* 1*DIGIT up to 2^63-1, nothing else. */
bool field_parse_length(struct str value, uint64_t *length);
/* One Transfer-Encoding line after others: `chunked` must be the last coding of all, the only one
 * known and there once. Sets *chunked. 0, or the status to refuse with: 400 or 501. */
int field_check_codings(struct str value, bool *chunked);
