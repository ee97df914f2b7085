/* Plans as JSON documents, for `--json` and the admin interface. docs/plan.md has the fields.
 * Threads: pure. */
#pragma once
#include <jansson.h>

#include "plan/outages.h"
#include "plan/plan.h"

#define DOCUMENT_MOVES 1000 /* of a pool or a case, the largest; the others are counted */

/* pool: that one alone, and the routes that concern it; NULL: all. NULL: out of memory. The caller
 * gives the reference back. */
json_t *document_plan(const struct plan *p, const struct plan_pool *pool);
/* What outages_run() has found, for one pool: its `worst` cases. As above. */
json_t *document_outages(struct outages *o, const struct config_pool *pool, size_t worst);
