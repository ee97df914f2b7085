/* The share of the key space that changes its server from one generation of a pool to the next.
 *
 * What for: the log line of a reload, for pools that keep their ring. It counts the owners that
 * both pools have published, so what it says has really happened.
 * Invariants: a server is its name here, whatever its address is. A ramp that goes on moves its
 * keys by time, so what it has moved is not counted.
 * Threads: control. */
#pragma once
#include "pool/pool.h"

/* Exact; keys that are refused in one of them alone count, too. -1: the rings are not the same, or
 * too much would have to be gone through: more than 32 ramps in a pool that has slots without an
 * owner. */
double pool_moved(const struct pool *from, const struct pool *to);
