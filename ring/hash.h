/* The hash functions of the ring and of promotion. Their values never change: they decide which
 * backend a key belongs to, in every proxy and every version. docs/ring.md, Definition. Pure. */
#pragma once
#include <stdint.h>

#include "base/str.h"

/* XXH3_64 of a key's bytes, seed 0. The upper 48 bits are the key's position on the ring; the lower
 * 16 order the keys in the ramp of a failback. */
uint64_t hash_key(struct str bytes);
/* XXH3_64(name), seed 0: the seed of a backend's points. */
uint64_t hash_name(struct str name);
/* XXH3_64(le64(j)) with this seed: its upper 48 bits are point j of the backend. */
uint64_t hash_point(uint64_t seed, uint64_t j);
/* XXH3_64(standby's name) with the seed XXH3_64(backend's name): the preference of a standby for a
 * backend, the greatest first. docs/routing.md, Promotion. */
uint64_t hash_pair(struct str backend, struct str standby);
