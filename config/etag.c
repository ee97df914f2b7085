#include <stdio.h>
#include <xxhash.h>

#include "config/config.h"

void config_etag_of(struct str text, char etag[CONFIG_ETAG_SIZE])
{
    XXH128_hash_t h = XXH3_128bits(text.p, text.n);
    snprintf(etag, CONFIG_ETAG_SIZE, "\"%016llx%016llx\"", (unsigned long long)h.high64,
             (unsigned long long)h.low64);
}
