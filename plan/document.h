/* Plans as JSON documents, for `--json` and the admin interface. docs/plan.md has the fields.
 * Threads: pure. */
#pragma once
#include <jansson.h>

#include "plan/plan.h"

#define DOCUMENT_MOVES 1000 /* of a pool, the largest; the others are counted */

/* pool: that one alone; NULL: all. NULL: out of memory. The caller gives the reference back. */
json_t *document_plan(const struct plan *p, const struct plan_pool *pool);
