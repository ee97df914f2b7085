/* XXH3 is compiled in from its header. The values are part of the ring's definition and must not
 * depend on the shared library that is installed, and for a short key the call would cost as much
 * as the hash. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <endian.h>

#include "ring/hash.h"

uint64_t hash_key(struct str bytes)
{
    return XXH3_64bits(bytes.p, bytes.n);
}

uint64_t hash_name(struct str name)
{
    return XXH3_64bits(name.p, name.n);
}

uint64_t hash_point(uint64_t seed, uint64_t j)
{
    uint64_t bytes = htole64(j);
    return XXH3_64bits_withSeed(&bytes, sizeof bytes, seed);
}

uint64_t hash_pair(struct str backend, struct str standby)
{
    return XXH3_64bits_withSeed(standby.p, standby.n, hash_name(backend));
}
