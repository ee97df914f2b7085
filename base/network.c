#include "base/network.h"

#include <stdlib.h>

/* The family of an address, with IPv4-mapped as IPv4, and its bytes. */
static sa_family_t bytes_of(const struct addr *a, uint8_t out[16])
{
    memset(out, 0, 16);
    if (a->sa.sa_family == AF_INET) {
        memcpy(out, &a->v4.sin_addr, 4);
    } else if (a->sa.sa_family == AF_INET6) {
        const uint8_t *bytes = a->v6.sin6_addr.s6_addr;
        if (IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr)) {
            memcpy(out, bytes + 12, 4);
            return AF_INET;
        }
        memcpy(out, bytes, 16);
    }
    return a->sa.sa_family;
}

/* A decimal number of at most three digits, without leading zeros. */
static bool parse_bits(struct str s, unsigned *bits)
{
    unsigned n = 0;
    if (s.n == 0 || s.n > 3 || (s.n > 1 && s.p[0] == '0'))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        n = n * 10 + (unsigned)(s.p[i] - '0');
    }
    *bits = n;
    return true;
}

/* Widens a network of one address to all that have its first `bits` bits. */
static void widen(struct network *net, unsigned bits)
{
    size_t bytes = net->family == AF_INET ? 4 : 16;
    for (size_t i = 0; i < bytes; i++) {
        unsigned kept = bits >= 8 * (i + 1) ? 8 : bits > 8 * i ? bits - 8 * (unsigned)i : 0;
        uint8_t host = (uint8_t)(0xff >> kept);
        net->first[i] &= (uint8_t)~host;
        net->last[i] |= host;
    }
}

enum network_result network_parse(struct str s, struct network *out)
{
    const char *slash = s.n ? memchr(s.p, '/', s.n) : NULL;
    struct str text = {s.p, slash ? (size_t)(slash - s.p) : s.n};
    struct network net = {0};
    struct addr a;
    unsigned bits;
    if (str_eq(s, STR("unix"))) {
        *out = (struct network){.family = AF_UNIX};
        return NETWORK_OK;
    }
    if (!addr_parse_ip(text, &a))
        return NETWORK_BAD;
    net.family = bytes_of(&a, net.first);
    memcpy(net.last, net.first, sizeof net.last);
    unsigned most = a.sa.sa_family == AF_INET ? 32 : 128;
    if (slash == NULL)
        bits = most;
    else if (!parse_bits((struct str){slash + 1, s.n - text.n - 1}, &bits))
        return NETWORK_BAD;
    if (bits > most)
        return NETWORK_LENGTH;
    if (most == 128 && net.family == AF_INET) { /* IPv4-mapped: its 32 bits come behind 96 */
        if (bits < 96)
            return NETWORK_BAD;
        bits -= 96;
    }
    widen(&net, bits);
    *out = net;
    return NETWORK_OK;
}

static int cmp(sa_family_t family, const uint8_t address[16], const struct network *net)
{
    return family != net->family ? (family < net->family ? -1 : 1)
                                 : memcmp(address, net->first, sizeof net->first);
}

static int network_cmp(const void *a, const void *b)
{
    const struct network *x = a;
    return cmp(x->family, x->first, b);
}

size_t networks_sort(struct network *networks, size_t n)
{
    size_t left = 0;
    if (n)
        qsort(networks, n, sizeof *networks, network_cmp);
    for (size_t i = 0; i < n; i++) {
        struct network *before = left ? &networks[left - 1] : NULL;
        if (before == NULL || before->family != networks[i].family ||
            memcmp(networks[i].first, before->last, sizeof before->last) > 0)
            networks[left++] = networks[i];
        else if (memcmp(networks[i].last, before->last, sizeof before->last) > 0)
            memcpy(before->last, networks[i].last, sizeof before->last);
    }
    return left;
}

bool networks_contain(const struct network *networks, size_t n, const struct addr *a)
{
    uint8_t bytes[16];
    size_t low = 0, high = n; /* those below `low` begin at or before the address, others behind */
    sa_family_t family = bytes_of(a, bytes);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (cmp(family, bytes, &networks[middle]) >= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low && networks[low - 1].family == family &&
           memcmp(bytes, networks[low - 1].last, sizeof bytes) <= 0;
}
