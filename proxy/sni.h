/* The server name that a TLS client asks for, read from its ClientHello (RFC 8446 4.1.2 and 5.1,
 * RFC 5246 7.4.1.2, RFC 6066 3) without touching a byte of it.
 *
 * What for: `key: sni`. The bytes stay with the connection and go to the server as they came.
 * Invariants: each byte is looked at once, however the bytes come, and the answer is known with the
 * ClientHello's last byte, or with the first one that cannot belong to one (of a number: its last).
 * What it may be spread over is bounded: SNI_MAX_HELLO bytes of message in SNI_MAX_INPUT bytes of
 * records.
 * Ownership: the caller's memory, no heap. Threads: pure.
 *
 * The name is taken only from a ClientHello that is well formed to its end: lengths that fill what
 * is around them exactly, the server_name extension once and in it one host_name (names of other
 * types are skipped). In front of it nothing but handshake records, none of them empty. The
 * record's minor version is ignored, as RFC 8446 5.1 wants it; extensions that are not known
 * (GREASE, encrypted_client_hello, whose outer name counts) are skipped. A host name is letters,
 * digits, '-' and '_' in labels of 1 to 63, 253 in all; a dot at its end is dropped. With anything
 * else there the connection has no name. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define SNI_MAX_HELLO 16384 /* the message behind its own header; usual are 200 to 2,000 */
#define SNI_MAX_INPUT 32768 /* with the records around it, of which each has a byte at least */
#define SNI_MAX_NAME 253

enum sni_result {
    SNI_MORE,    /* so far it may become a ClientHello */
    SNI_NAME,    /* a whole one, sni_name() is the server's */
    SNI_NONE,    /* a whole one without a name, or with one that is no host name */
    SNI_NOT_TLS, /* no ClientHello, or a malformed or too large one */
};

struct sni {
    enum sni_result result;
    uint32_t seen;        /* bytes of the connection looked at */
    uint8_t header;       /* of these, bytes of the record's header; 5: in its content */
    uint16_t record_left; /* bytes of this content still to come */
    uint8_t field;        /* of the message: what is being read, */
    uint16_t need;        /* its bytes still to come, */
    uint32_t value;       /* the number it is, as far as it came */
    /* bytes still free for fields: in the message, in its extensions, in the list of names */
    uint16_t hello_left, extensions_left, names_left;
    uint16_t type; /* of the extension, then of the name */
    bool has_extension, has_host_name;
    uint16_t name_len; /* 0: none that is a host name */
    char name[SNI_MAX_NAME + 1];
};

void sni_init(struct sni *s);
/* data[0, len): all that has come since the connection began, or since the PROXY head's end; what
 * an earlier call has seen is not looked at again. Once it is not SNI_MORE the answer stays. */
enum sni_result sni_read(struct sni *s, const char *data, size_t len);

/* After SNI_NAME: in lower case, without a dot at its end; lives as long as s. */
static inline struct str sni_name(const struct sni *s)
{
    return (struct str){s->name, s->name_len};
}
