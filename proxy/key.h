/* `key: [header:X, cookie:sid, ...]` -> the bytes to hash. CONTRACT "Keys".
 * Pure. */
#pragma once
#include "base/buffer.h"
#include "config/config.h"
#include "http/head.h"

/* The first alternative of which all parts are present and not empty. False: keyless. The key
 * points into base, peer or scratch (which is overwritten), whichever it was made of. Falls back to
 * keyless when memory is out. */
bool key_extract(const struct config_key *keys, size_t nkeys, const struct head *h,
                 const char *base, struct str peer, struct buffer *scratch, struct str *key);
