/* Reads and writes heads of the PROXY protocol, versions 1 and 2: bytes at the beginning of a
 * connection in which a proxy states the addresses of the client's connection (HAProxy's
 * proxy-protocol.txt, sections 2.1 and 2.2). docs/configuration.md, The PROXY protocol.
 *
 * What for: a listener behind another proxy learns the client's address from it; a server behind
 * this proxy learns it, too; a health check states that it has no client.
 * Invariants: no state between calls. The result for the first n bytes does not depend on how they
 * are split into reads, and a head is refused at the first byte that cannot be right. A head has at
 * most PROXY_HEAD_MAX bytes, so that reading it again from its beginning for each byte that arrives
 * is cheap (at most 1,360 steps for a byte).
 * Ownership: the caller's memory. Threads: pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"

/* Bytes of a head that is accepted, its TLVs included. The protocol allows 65,551 bytes; real heads
 * have 28 or 52, and some hundred with the names of a client certificate. */
#define PROXY_HEAD_MAX 4096
/* Bytes of a head that is written, at most: "PROXY TCP6 ..." with two addresses of 39 bytes. */
#define PROXY_HEAD_WRITE_MAX 104

enum proxy_head_result {
    PROXY_HEAD_MORE, /* incomplete: the bytes so far can be the beginning of a head */
    PROXY_HEAD_DONE, /* complete and valid */
    PROXY_HEAD_BAD,  /* not a valid head: the connection must be closed without an answer */
};

struct proxy_head {
    size_t size; /* DONE: bytes of the head; the client's bytes follow it */
    /* DONE, true: source and destination are those of an IPv4 or IPv6 connection (an address may be
     * IPv4-mapped, a port 0). False (UNKNOWN, LOCAL, UNSPEC, Unix sockets): the addresses of this
     * connection itself apply. */
    bool has_addresses;
    struct addr source, destination;
    const char *reason; /* BAD: what is wrong; a constant */
};

/* Reads a head. data[0, len): everything received since the connection began. *head is overwritten.
 *
 * Version 1: TCP4 and TCP6 exactly as in the grammar (an IPv6 address may end in dotted decimal, as
 * inet_ntop() writes IPv4-mapped ones). Bytes after UNKNOWN are ignored up to the CRLF; neither CR
 * nor LF may be among them. Version 2: datagrams give their addresses as streams do. The TLVs must
 * fill the rest of the head, and a CRC32c among them must be right. After LOCAL, and where the
 * address family or the transport is UNSPEC, the position of TLVs is undefined, so the rest is
 * skipped. */
enum proxy_head_result proxy_protocol_read(const char *data, size_t len, struct proxy_head *head);

/* Writes the head of a forwarded connection to out and returns its size. version: 1 or 2. The
 * addresses are written as IPv4 if both are IPv4 or IPv4-mapped, otherwise as IPv6. If one of them
 * is neither, as that of a Unix socket, the head is UNKNOWN (version 1) or LOCAL (version 2):
 * UNSPEC would be more exact than LOCAL, but a receiver may refuse it, as HAProxy 2.6 does. */
size_t proxy_protocol_write(unsigned version, const struct addr *source,
                            const struct addr *destination, char out[PROXY_HEAD_WRITE_MAX]);
/* Writes the head of a connection that the proxy makes for itself, a health check: UNKNOWN or
 * LOCAL. Returns its size. version: 1 or 2. */
size_t proxy_protocol_write_local(unsigned version, char out[PROXY_HEAD_WRITE_MAX]);
