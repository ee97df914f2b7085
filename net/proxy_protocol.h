/* The head that a proxy puts in front of a connection to say whose it is: the PROXY protocol,
 * versions 1 and 2, read and written (HAProxy's proxy-protocol.txt, sections 2.1 and 2.2).
 *
 * What for: a listener behind another proxy learns the client's address, a server behind this one
 * too, and a health check says that it is nobody's.
 * Invariants: bytes in, bytes out, no state: what the first n bytes give is the same however they
 * come, and a head is refused at its first byte that cannot be right. All that is read is within
 * len; a head has at most PROXY_HEAD_MAX bytes, so asking again for each byte that comes costs
 * little (1,360 steps a byte at worst).
 * Ownership: the caller's memory. Threads: pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"

/* Of a head that is accepted, version 2 with all its TLVs. The protocol allows 65,551 bytes; what
 * is sent has 28 or 52, with a client certificate's names some hundred. */
#define PROXY_HEAD_MAX 4096
/* Of a head that is written: "PROXY TCP6 ..." with two addresses of 39 bytes. */
#define PROXY_HEAD_WRITE_MAX 104

enum proxy_head_result {
    PROXY_HEAD_MORE, /* so far it may become one */
    PROXY_HEAD_DONE,
    PROXY_HEAD_BAD, /* no head, or not to be trusted: close the connection */
};

struct proxy_head {
    size_t size; /* DONE: bytes of the head; the connection's own begin behind it */
    /* DONE: an IPv4 or IPv6 connection is described (either may be v4-mapped, a port 0). False, for
     * UNKNOWN, LOCAL, UNSPEC and Unix sockets: the addresses of the connection itself hold. */
    bool has_addresses;
    struct addr source, destination;
    const char *reason; /* BAD: what is wrong, in words that live for ever */
};

/* data[0, len): all that has come since the connection began.
 *
 * Version 1: TCP4 and TCP6 exactly by the grammar (an IPv6 address may end in dotted decimal, as
 * inet_ntop() writes v4-mapped ones); what follows UNKNOWN is ignored up to the CRLF, and neither
 * CR nor LF may stand in it alone. Version 2: datagrams give their addresses as streams do. The
 * TLVs must fill the rest of the head and a CRC32c among them must be right; but behind LOCAL, and
 * where address family or transport are UNSPEC, nothing says where TLVs would begin, so all that is
 * skipped unseen. */
enum proxy_head_result proxy_protocol_read(const char *data, size_t len, struct proxy_head *head);

/* Both write one whole head to out and return its size. version: 1 or 2.
 *
 * For a connection that is passed on: as IPv4 if both addresses are (a v4-mapped one is), else as
 * IPv6. If either is neither, as a Unix socket's: UNKNOWN, and LOCAL, which a receiver must accept;
 * UNSPEC would say it better, but may be refused, and HAProxy 2.6 does so. */
size_t proxy_protocol_write(unsigned version, const struct addr *source,
                            const struct addr *destination, char out[PROXY_HEAD_WRITE_MAX]);
/* For a connection of the proxy itself, a health check: UNKNOWN, LOCAL. */
size_t proxy_protocol_write_local(unsigned version, char out[PROXY_HEAD_WRITE_MAX]);
