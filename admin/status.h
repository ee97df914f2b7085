/* The state of the proxy as JSON: `GET /status`, `GET /route`, and the answer to an operator's
 * POST.
 *
 * What for: it makes JSON objects out of a snapshot; it knows neither HTTP nor loops.
 * Invariants: reads only. In text that is not UTF-8 (a key, a reason) each byte that is not ASCII
 * is shown as U+FFFD, so that every answer is valid JSON.
 * Ownership: each function returns a new reference, or NULL when memory is out.
 * Threads: control, to which the rosters belong. */
#pragma once
#include <jansson.h>
#include <stdint.h>

#include "admin/hooks.h"
#include "base/str.h"
#include "pool/snapshot.h"

/* The document of /status. fleet: NULL if this proxy decides by itself. now_ms is of the clock that
 * the rosters are given. */
json_t *status_document(const struct snapshot *s, const struct admin_fleet *fleet, uint64_t now_ms);
/* One server of a pool; its id is as in pool/failover.h. */
json_t *status_server(const struct snapshot *s, const struct admin_fleet *fleet, size_t pool,
                      unsigned id, uint64_t now_ms);
/* The server of a key now, limits and loads ignored, and the backend that the key belongs to; if
 * this proxy sends the key elsewhere than the fleet has agreed, also to whom. */
json_t *status_route(struct pool *p, struct str key);
/* Any bytes as a JSON string. */
json_t *status_text(struct str s);
