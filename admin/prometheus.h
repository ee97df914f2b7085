/* The figures as Prometheus text (exposition format 0.0.4): `GET /metrics`.
 *
 * Invariants: reads only; each family stands once, with HELP and TYPE in front of its samples.
 * Ownership: appends to the caller's buffer. Threads: the control thread. */
#pragma once
#include <stdbool.h>

#include "base/buffer.h"
#include "pool/snapshot.h"

#define PROMETHEUS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* False: memory is out, and the buffer holds a part. */
bool prometheus_write(struct buffer *out, const struct snapshot *s);
