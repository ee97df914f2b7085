/* A result as `ringbench http`, `ringbench tcp` and `ringbench ring` write it with --json, read
 * back from its file.
 *
 * Invariants: what stored_load() gives has every member that its kind must have, of the right type
 * and not negative, so that who reads it need not ask again; the counts of the histogram can be
 * summed up. Members it does not know are left in.
 * Ownership: a new reference, the caller's. Threads: a plain tree of values. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"

/* NULL: the error reads "FILE: what is wrong". */
json_t *stored_load(const char *path, struct error *e);
/* "http", "tcp ping-pong", "tcp bulk" or "ring"; NULL if it is none of them. */
const char *stored_kind(const json_t *result);
/* Whether b is of the kind of a; if not, the error names file_b. */
bool stored_comparable(const char *file_a, const json_t *a, const char *file_b, const json_t *b,
                       struct error *e);
/* A tcp bulk result has bytes and no requests. */
bool stored_is_bulk(const json_t *result);
/* A ring result has neither: it is of no load. */
bool stored_is_ring(const json_t *result);
/* Answers with status 400 or more. */
double stored_refused(const json_t *result);
