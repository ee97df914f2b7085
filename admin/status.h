/* What is going on, as JSON: `GET /status`, `GET /route` and the server S of an operator's POST.
 *
 * What for: these JSON objects out of a snapshot, and nothing else; no HTTP, no loop.
 * Invariants: reads only. Text that is not UTF-8 (a key, a reason) is shown with U+FFFD in the
 * places of what is not ASCII, so that every answer is valid JSON.
 * Ownership: each function returns a new reference, or NULL when memory is out.
 * Threads: the control thread alone, as the rosters are its own. */
#pragma once
#include <jansson.h>
#include <stdint.h>

#include "base/str.h"
#include "pool/snapshot.h"

/* The whole of /status; now_ms is the clock that the rosters are given. */
json_t *status_document(const struct snapshot *s, uint64_t now_ms);
/* One server of a pool, id as in pool/failover.h. */
json_t *status_server(const struct snapshot *s, size_t pool, unsigned id, uint64_t now_ms);
/* Who serves a key now and whose it is; limits and loads ignored. */
json_t *status_route(const struct pool *p, struct str key);
/* A JSON string of any bytes. */
json_t *status_text(struct str s);
