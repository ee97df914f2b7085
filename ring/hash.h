/* Hash functions whose values never change: they decide where keys live.
 * Pure. */
#pragma once
#include <stdint.h>

#include "base/str.h"

/* XXH3_64 of a key's bytes, seed 0. The ring uses the upper 48 bits as position, a failback's ramp
 * the lower 16. */
uint64_t hash_key(struct str bytes);
/* XXH3_64(name, seed 0): the seed of a backend's points. */
uint64_t hash_name(struct str name);
/* XXH3_64(le64(j), seed): its upper 48 bits are point j of the backend with this seed. */
uint64_t hash_point(uint64_t seed, uint64_t j);
/* XXH3_64(standby's name, seed = XXH3_64(backend's name)): the order of promotion. */
uint64_t hash_pair(struct str backend, struct str standby);
