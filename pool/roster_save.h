/* What a roster knows, as a JSON document for the process that takes this one's place.
 *
 * What for: after a change of the program nothing is forgotten: drains, promotions, holds, waits,
 * ramps, delays of relapses, results in a row.
 * Invariants: all times in a document are lengths, so the clocks of both processes need not agree;
 * what passes between saving and restoring does not count. The new process may have another
 * configuration: it is taken over as by roster_adopt().
 * The document, whose form is numbered by `version`: docs/architecture.md, Health to owners.
 * Ownership: a document is the caller's. Threads: control. */
#pragma once
#include <jansson.h>

#include "base/error.h"
#include "pool/roster.h"

/* Of a roster that has started. NULL: no memory. */
json_t *roster_save(const struct roster *r, uint64_t now_ms);
/* Before roster_start() and before any first check. Servers are known by their names and addresses,
 * as written in the file; what the document has of others is of no interest, and servers that it
 * has not are as new (roster_is_known()). False: it is no such document, or of another pool; then
 * nothing has changed. */
bool roster_restore(struct roster *r, const json_t *document, uint64_t now_ms, struct error *e);
