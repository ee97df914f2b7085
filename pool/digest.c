/* What is hashed, in this order; numbers have 8 bytes, the lowest first, texts end with a NUL:
 *
 *   "ringproxy pool 1", vnodes, when_down
 *   number of backends, each: name, weight
 *   number of standbys, each: name, number of `for`, each: name of the backend
 *
 * "1" stands for the functions of ring/hash.h, too. */
#include "pool/digest.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"

static void add_number(XXH3_state_t *h, uint64_t n)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(n >> 8 * i);
    XXH3_128bits_update(h, bytes, sizeof bytes);
}

static void add_text(XXH3_state_t *h, const char *text)
{
    XXH3_128bits_update(h, text, strlen(text) + 1);
}

void digest_of(const struct config_pool *c, char out[DIGEST_SIZE])
{
    XXH3_state_t *h = mem_check(XXH3_createState());
    XXH3_128bits_reset(h);
    add_text(h, "ringproxy pool 1");
    add_number(h, c->vnodes);
    add_number(h, c->when_down == WHEN_DOWN_FAIL);
    add_number(h, c->nbackends);
    for (size_t b = 0; b < c->nbackends; b++) {
        add_text(h, c->backends[b].name);
        add_number(h, c->backends[b].weight);
    }
    add_number(h, c->nstandbys);
    for (size_t s = 0; s < c->nstandbys; s++) {
        add_text(h, c->standbys[s].name);
        add_number(h, c->standbys[s].nfor);
        for (size_t i = 0; i < c->standbys[s].nfor; i++)
            add_text(h, c->backends[c->standbys[s].for_backends[i]].name);
    }
    XXH128_hash_t d = XXH3_128bits_digest(h);
    XXH3_freeState(h);
    snprintf(out, DIGEST_SIZE, "%016llx%016llx", (unsigned long long)d.high64,
             (unsigned long long)d.low64);
}
