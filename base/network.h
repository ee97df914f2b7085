/* IP networks (CIDR), and sets of them that are searched quickly.
 *
 * What for: `trusted_proxies`: is this address in one of these networks?
 * Invariants: a network is a range of addresses of one family. An IPv4-mapped IPv6 address is an
 * IPv4 address, as in addr_format_ip(); so no IPv6 network contains it. A set is an array that
 * networks_sort() has sorted and freed of overlaps; a search takes log2(n) comparisons.
 * Ownership: plain values; arrays are the caller's. Threads: no shared state. Pure. */
#pragma once
#include "base/addr.h"

struct network {
    sa_family_t family;          /* AF_INET, AF_INET6, or AF_UNIX: all clients on unix sockets */
    uint8_t first[16], last[16]; /* in network byte order; of IPv4 the first four bytes, the others
                                    are 0; of AF_UNIX all are 0 */
};

enum network_result {
    NETWORK_OK,
    NETWORK_BAD,    /* neither an address, nor an address with a length, nor "unix" */
    NETWORK_LENGTH, /* the length is greater than an address of this family is long */
};

/* Parses `10.0.0.0/8`, `fd00::/8`, an address alone, which is a network of one, or `unix`. Bits
 * behind the length are ignored: 10.1.2.3/8 is 10.0.0.0/8. *out is set for NETWORK_OK alone. */
enum network_result network_parse(struct str s, struct network *out);

/* Sorts networks, and joins those that overlap. Returns how many are left. */
size_t networks_sort(struct network *networks, size_t n);
/* True if one of a sorted set contains the address; its port is ignored. */
bool networks_contain(const struct network *networks, size_t n, const struct addr *a);
