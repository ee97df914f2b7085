/* `key: [header:X, cookie:sid, ...]` -> the bytes to hash. CONTRACT "Keys".
 * Pure. */
#pragma once
#include "base/buffer.h"
#include "config/config.h"
#include "http/head.h"

/* What a key can be made of. */
struct key_source {
    const struct head *head; /* NULL: there is no request */
    const char *base;        /* of the head */
    struct str peer;         /* the client's address */
    struct str sni;          /* the server name that it asks for */
};

/* The first alternative of which all parts are present and not empty. False: keyless. The key
 * points into its source or into scratch (which is overwritten), whichever it was made of. Falls
 * back to keyless when memory is out. */
bool key_extract(const struct config_key *keys, size_t nkeys, const struct key_source *from,
                 struct buffer *scratch, struct str *key);
/* Whether the server name, not known yet, can decide: an alternative with it has all its other
 * parts, and none before it is present. */
bool key_wants_sni(const struct config_key *keys, size_t nkeys, const struct key_source *from);
