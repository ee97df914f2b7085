/* Reads the server name from the ClientHello of a TLS client (RFC 8446 4.1.2 and 5.1, RFC 5246
 * 7.4.1.2, RFC 6066 3), without changing or decrypting anything.
 *
 * What for: `key: sni` of mode tcp (docs/tcp.md, TLS by server name). The bytes stay in the buffer
 * of the connection and are forwarded to the server unchanged.
 * Invariants: each byte is examined once, and the result does not depend on how the bytes are split
 * into reads. The result is known at the last byte of the ClientHello, or at the first byte that
 * cannot belong to one (in a number: at its last byte). The input is bounded: a message of at most
 * SNI_MAX_HELLO bytes in records of at most SNI_MAX_INPUT bytes.
 * Ownership: the caller's memory, no heap.
 * Threads: pure.
 *
 * Only a ClientHello that is well formed to its end has a name. Each length must fill the structure
 * around it exactly. The server_name extension must occur once at most, with one host_name at most;
 * names of other types are skipped. All records before the end are handshake records and not empty.
 * The minor version of a record is ignored (RFC 8446 5.1). Unknown extensions are skipped; with
 * encrypted_client_hello the outer name counts. A host name consists of labels of 1 to 63 letters,
 * digits, '-' and '_', 253 bytes in all; a dot at the end is removed. A connection with any other
 * name counts as one without a name. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define SNI_MAX_HELLO 16384 /* the message without its header; usual are 200 to 2,000 bytes */
#define SNI_MAX_INPUT 32768 /* the message and the headers of the records that contain it */
#define SNI_MAX_NAME 253

enum sni_result {
    SNI_MORE,    /* incomplete: the bytes so far can be the beginning of a ClientHello */
    SNI_NAME,    /* complete; sni_name() is the server name */
    SNI_NONE,    /* complete, without a name, or with one that is not a host name */
    SNI_NOT_TLS, /* not a ClientHello, or a malformed or too large one */
};

struct sni {
    enum sni_result result;
    uint32_t seen;        /* bytes of the connection examined so far */
    uint8_t header;       /* bytes of the present record's header so far; 5: it is complete */
    uint16_t record_left; /* bytes of the record's content still to come */
    uint8_t field;        /* enum field of sni.c: the field of the message that is being read */
    uint16_t need;        /* bytes of the field still to come */
    uint32_t value;       /* the number in the field, as far as it has come */
    /* bytes not assigned to a field yet: of the message, its extensions, the list of names */
    uint16_t hello_left, extensions_left, names_left;
    uint16_t type;                     /* of the present extension, or of the present name */
    bool has_extension, has_host_name; /* server_name, and a host_name in it, have occurred */
    uint16_t name_len;                 /* 0: no name, or none that is a host name */
    char name[SNI_MAX_NAME + 1];
};

void sni_init(struct sni *s);
/* Examines the bytes that were added since the last call. data[0, len): everything received
 * since the connection began, or since the end of the PROXY head. A result other than SNI_MORE
 * is final. */
enum sni_result sni_read(struct sni *s, const char *data, size_t len);

/* After SNI_NAME: the name in lower case, without a dot at its end; a slice of *s. */
static inline struct str sni_name(const struct sni *s)
{
    return (struct str){s->name, s->name_len};
}
