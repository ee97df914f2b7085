/* Extracts the key of a request or connection: the bytes that are hashed onto the ring, as the
 * listener's `key: [header:X, cookie:sid, ...]` defines them. docs/configuration.md, Keys.
 * Ownership: a key is a slice of the caller's memory. Pure. */
#pragma once
#include "base/buffer.h"
#include "config/config.h"
#include "http/head.h"

/* Everything that a key can be composed of. An empty slice means that there is no such thing. */
struct key_source {
    const struct head *head;       /* NULL: mode tcp, there is no request */
    const char *base;              /* the bytes that the offsets of the head refer to */
    struct str peer;               /* the client's address as text, `source_ip` */
    const struct network *trusted; /* a sorted set; empty if the peer is not in it, so that what the
                                      peer says of others does not count for `client_ip` */
    size_t ntrusted;
    struct str sni; /* the server name of the client's ClientHello, `sni` */
    bool secure;    /* the client's connection is encrypted */
};

/* Finds the first alternative all of whose parts are present and not empty; for `issued:NAME` that
 * is the cookie. True: *key is the key. It is a slice of the source, or of *scratch, which is
 * overwritten, and valid as long as both are unchanged. False: the request is keyless, or memory is
 * out. */
bool key_extract(const struct config_key *keys, size_t nkeys, const struct key_source *from,
                 struct buffer *scratch, struct str *key);
/* The text of an issued key: so many hexadecimal digits, 128 bits. */
#define KEY_ISSUED_LEN 32
/* Makes that text of random bytes. Hexadecimal, so that it can be typed at `ringproxy route`. */
void key_issue(const uint8_t random[KEY_ISSUED_LEN / 2], char out[KEY_ISSUED_LEN]);
/* Whether the client has come by https: by the transport (`secure`), or by what a trusted peer says
 * in X-Forwarded-Proto. */
bool key_is_secure(const struct key_source *from);
/* True if the key depends on the server name, which is not known yet: no alternative before the one
 * with `sni` is present, and all other parts of that one are. Only then is it worth waiting for the
 * ClientHello. */
bool key_wants_sni(const struct config_key *keys, size_t nkeys, const struct key_source *from);
