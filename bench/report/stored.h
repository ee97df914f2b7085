/* A result as `ringbench http`, `ringbench tcp` and `ringbench ring` write it with --json, read
 * back from its file.
 *
 * Invariants: a result from stored_load() has every member that its kind must have, of the right
 * type and not negative, so a reader need not check it again; the sum of the counts in the
 * histogram fits. Unknown members are kept. Ownership: the caller owns the reference. Threads: a
 * plain tree of values. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"

/* NULL: the error reads "FILE: what is wrong". */
json_t *stored_load(const char *path, struct error *e);
/* "http", "tcp ping-pong", "tcp bulk" or "ring"; NULL if it is none of them. */
const char *stored_kind(const json_t *result);
/* Whether a and b are of one kind; if not, the error names file_b. */
bool stored_comparable(const char *file_a, const json_t *a, const char *file_b, const json_t *b,
                       struct error *e);
/* The result of a tcp bulk counts bytes, not requests. */
bool stored_is_bulk(const json_t *result);
/* The result of `ringbench ring`, which is not of a load. */
bool stored_is_ring(const json_t *result);
/* The number of answers with a status of 400 or more. */
double stored_refused(const json_t *result);
