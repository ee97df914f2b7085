/* A short text for what decides who serves which key of a pool.
 *
 * What for: the members of a fleet tell each other by which configuration they route; those whose
 * digests are the same route alike when the same servers are out.
 * Invariants: of names and weights of the backends, names of the standbys and their `for`, vnodes,
 * the hash functions and when_down, whatever the order in the file is. Nothing else counts, no
 * address above all: members may reach a server in different ways. The value of a configuration
 * never changes between versions of the program. Pure. */
#pragma once
#include "config/config.h"

#define DIGEST_SIZE 33 /* 32 hexadecimal digits of XXH3_128, a NUL */

void digest_of(const struct config_pool *c, char out[DIGEST_SIZE]);
