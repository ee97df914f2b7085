/* Metrics in the text format of Prometheus (exposition format 0.0.4): `GET /metrics`.
 *
 * What for: docs/operations.md, Metrics, has them all.
 * Invariants: reads only. Each family stands once, with HELP and TYPE before its samples.
 * Ownership: appends to the caller's buffer.
 * Threads: control. */
#pragma once
#include <stdbool.h>

#include "admin/hooks.h"
#include "base/buffer.h"
#include "pool/snapshot.h"

#define PROMETHEUS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Appends all metrics; hooks: what they tell of reloads and the fleet, NULL for neither. False:
 * memory is out, and the buffer has a part of them. */
bool prometheus_write(struct buffer *out, const struct snapshot *s,
                      const struct admin_hooks *hooks);
