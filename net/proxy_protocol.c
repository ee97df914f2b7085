#include "net/proxy_protocol.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>

#define V1_MAX 107 /* bytes of a version 1 head with its CRLF: section 2.1 */

#define V2_FIXED 16 /* bytes of signature, command, kind and length */
#define V2_LOCAL 0x20
#define V2_PROXY 0x21
#define V2_STREAM 1
#define V2_DGRAM 2

static const uint8_t v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

enum v2_family { V2_UNSPEC, V2_INET, V2_INET6, V2_UNIX };

#define TLV_FIXED 3 /* type, length */
#define TLV_CRC32C 3
#define CRC32C_SIZE 4

static enum proxy_head_result bad(struct proxy_head *h, const char *reason)
{
    h->reason = reason;
    return PROXY_HEAD_BAD;
}

static void set_v4(struct addr *a, const uint8_t ip[4], unsigned port)
{
    a->len = sizeof a->v4;
    a->v4.sin_family = AF_INET;
    a->v4.sin_port = htons((uint16_t)port);
    memcpy(&a->v4.sin_addr, ip, 4);
}

static void set_v6(struct addr *a, const uint8_t ip[16], unsigned port)
{
    a->len = sizeof a->v6;
    a->v6.sin6_family = AF_INET6;
    a->v6.sin6_port = htons((uint16_t)port);
    memcpy(&a->v6.sin6_addr, ip, 16);
}

/* ---- version 1: one line of text ---- */

/* A position in the line. Each take_*() advances it over its part of the grammar. MORE: the bytes
 * end within that part. A part without a delimiter, such as a number, ends at the first byte that
 * cannot belong to it, so it needs that byte to be complete. */
struct cursor {
    const char *p, *end;
    struct proxy_head *head;
};

/* Exactly this text. */
static enum proxy_head_result take_text(struct cursor *c, const char *text, const char *reason)
{
    for (; *text; text++, c->p++) {
        if (c->p == c->end)
            return PROXY_HEAD_MORE;
        if (*c->p != *text)
            return bad(c->head, reason);
    }
    return PROXY_HEAD_DONE;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A decimal number up to max, without leading zeros: other readers take those for octal. */
static enum proxy_head_result take_decimal(struct cursor *c, unsigned max, unsigned *out,
                                           const char *reason)
{
    const char *begin = c->p;
    *out = 0;
    for (; c->p < c->end && is_digit(*c->p); c->p++) {
        unsigned v = *out * 10 + (unsigned)(*c->p - '0');
        if (v > max || (c->p > begin && *out == 0))
            return bad(c->head, reason);
        *out = v;
    }
    if (c->p == c->end)
        return PROXY_HEAD_MORE;
    return c->p > begin ? PROXY_HEAD_DONE : bad(c->head, reason);
}

static enum proxy_head_result take_v4(struct cursor *c, uint8_t out[4], const char *reason)
{
    enum proxy_head_result r = PROXY_HEAD_DONE;
    for (int i = 0; i < 4 && r == PROXY_HEAD_DONE; i++) {
        unsigned octet;
        if (i > 0 && (r = take_text(c, ".", reason)) != PROXY_HEAD_DONE)
            break;
        r = take_decimal(c, 255, &octet, reason);
        out[i] = (uint8_t)octet;
    }
    return r;
}

/* An IPv6 address while it is read. inet_pton() is of no use here: it takes only complete
 * addresses, but a wrong byte must be refused when it arrives. */
struct groups {
    uint8_t bytes[16];
    int n;          /* complete groups of 16 bits */
    int gap;        /* the number of groups before "::"; -1: there was none */
    int digits;     /* hexadecimal digits of the present group so far */
    unsigned value; /* of these digits */
    int colons;     /* colons directly before the present position */
};

/* True if `more` further groups are possible; "::" stands for at least one group (RFC
 * 5952 4.2.2). */
static bool has_room(const struct groups *g, int more)
{
    return g->n + more <= (g->gap < 0 ? 8 : 7);
}

/* False: a fifth digit in a group, a ninth group, or an address that begins with a single colon. */
static bool add_digit(struct groups *g, char c)
{
    unsigned v = is_digit(c) ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a') + 10;
    if (g->digits == 4 || !has_room(g, 1) || (g->n == 0 && g->colons == 1))
        return false;
    g->value = g->digits ? g->value << 4 | v : v;
    g->digits++;
    g->colons = 0;
    return true;
}

static void end_group(struct groups *g)
{
    g->bytes[g->n * 2] = (uint8_t)(g->value >> 8);
    g->bytes[g->n * 2 + 1] = (uint8_t)g->value;
    g->n++;
    g->digits = 0;
}

/* After digits a colon ends the group. Otherwise it is the second one of "::", of which an address
 * has at most one, or the first colon of an address, which a second one must follow. */
static bool add_colon(struct groups *g)
{
    if (g->digits) {
        end_group(g);
        g->colons = 1;
        return has_room(g, 1);
    }
    if (g->colons == 2 || (g->colons == 1 && g->gap >= 0))
        return false;
    if (++g->colons == 2)
        g->gap = g->n;
    return true;
}

/* The complete address, with the zeros of "::" inserted. False: groups are missing, and there was
 * no
 * "::". */
static bool join_groups(const struct groups *g, uint8_t out[16])
{
    size_t all = (size_t)g->n * 2, before = g->gap < 0 ? all : (size_t)g->gap * 2;
    if (g->gap < 0 && g->n < 8)
        return false;
    memset(out, 0, 16);
    memcpy(out, g->bytes, before);
    memcpy(out + 16 - (all - before), g->bytes + before, all - before);
    return true;
}

static const char bad_v6[] = "PROXY head: bad IPv6 address";

/* Reads the dotted decimal at the end of an address, at its first dot: the digits before it, which
 * looked like a group, are the first octet and are read again. (In "::300.1" the dot is the first
 * wrong byte: 300 could have been hexadecimal.) */
static enum proxy_head_result take_dotted_end(struct cursor *c, struct groups *g, uint8_t out[16])
{
    if (g->digits == 0 || (g->gap < 0 ? g->n != 6 : !has_room(g, 2)))
        return bad(c->head, bad_v6);
    c->p -= g->digits;
    enum proxy_head_result r = take_v4(c, g->bytes + g->n * 2, bad_v6);
    g->n += 2;
    if (r == PROXY_HEAD_DONE && !join_groups(g, out))
        r = bad(c->head, bad_v6);
    return r;
}

static enum proxy_head_result take_v6(struct cursor *c, uint8_t out[16])
{
    struct groups g = {.gap = -1};
    for (; c->p < c->end; c->p++) {
        char b = *c->p;
        bool hex = is_digit(b) || (b >= 'a' && b <= 'f') || (b >= 'A' && b <= 'F');
        if (b == '.')
            return take_dotted_end(c, &g, out);
        if (hex ? add_digit(&g, b) : b == ':' && add_colon(&g))
            continue;
        /* A hexadecimal digit or colon that does not fit is wrong. Any other byte ends the address,
         * which must not end with a single colon. */
        if (hex || b == ':' || (g.digits == 0 && g.colons < 2))
            return bad(c->head, bad_v6);
        if (g.digits)
            end_group(&g);
        return join_groups(&g, out) ? PROXY_HEAD_DONE : bad(c->head, bad_v6);
    }
    return PROXY_HEAD_MORE;
}

/* "SOURCE DESTINATION PORT PORT" and the end of the line. */
static enum proxy_head_result take_addresses(struct cursor *c, bool v6)
{
    static const char space[] = "PROXY head: bad address, or no space behind it";
    static const char bad_v4[] = "PROXY head: bad IPv4 address",
                      bad_port[] = "PROXY head: bad port";
    uint8_t ip[2][16];
    unsigned port[2];
    enum proxy_head_result r = PROXY_HEAD_DONE;
    /* the order in the line: both addresses, then both ports */
    for (int i = 0; i < 2 && r == PROXY_HEAD_DONE; i++) {
        r = v6 ? take_v6(c, ip[i]) : take_v4(c, ip[i], bad_v4);
        if (r == PROXY_HEAD_DONE)
            r = take_text(c, " ", space);
    }
    for (int i = 0; i < 2 && r == PROXY_HEAD_DONE; i++) {
        r = take_decimal(c, 65535, &port[i], bad_port);
        if (r == PROXY_HEAD_DONE)
            r = take_text(c, i == 0 ? " " : "\r\n", bad_port);
    }
    if (r != PROXY_HEAD_DONE)
        return r;
    void (*set)(struct addr *, const uint8_t *, unsigned) = v6 ? set_v6 : set_v4;
    set(&c->head->source, ip[0], port[0]);
    set(&c->head->destination, ip[1], port[1]);
    c->head->has_addresses = true;
    return PROXY_HEAD_DONE;
}

/* After UNKNOWN: the end of the line, or a space and any bytes up to the end of the line. */
static enum proxy_head_result take_ignored(struct cursor *c)
{
    static const char reason[] = "PROXY head: bad end of the line";
    if (c->p < c->end && *c->p == ' ')
        while (c->p < c->end && *c->p != '\r' && *c->p != '\n')
            c->p++;
    return take_text(c, "\r\n", reason);
}

static enum proxy_head_result take_line(struct cursor *c)
{
    static const char reason[] = "PROXY head: not TCP4, TCP6 or UNKNOWN";
    enum proxy_head_result r = take_text(c, "PROXY ", "no PROXY head");
    if (r != PROXY_HEAD_DONE)
        return r;
    if (c->p < c->end && *c->p == 'U') {
        r = take_text(c, "UNKNOWN", reason);
        return r == PROXY_HEAD_DONE ? take_ignored(c) : r;
    }
    r = take_text(c, "TCP", reason);
    if (r != PROXY_HEAD_DONE)
        return r;
    bool v6 = c->p < c->end && *c->p == '6';
    r = take_text(c, v6 ? "6 " : "4 ", reason);
    return r == PROXY_HEAD_DONE ? take_addresses(c, v6) : r;
}

static enum proxy_head_result read_line(const char *data, size_t len, struct proxy_head *head)
{
    struct cursor c = {data, data + len, head};
    enum proxy_head_result r = take_line(&c);
    head->size = r == PROXY_HEAD_DONE ? (size_t)(c.p - data) : 0;
    return r;
}

/* Reads at most V1_MAX - 1 bytes first: if the line is incomplete then and its last byte is not CR,
 * it cannot end within V1_MAX bytes and is refused now, without waiting for another byte. */
static enum proxy_head_result read_v1(const char *data, size_t len, struct proxy_head *head)
{
    enum proxy_head_result r = read_line(data, len < V1_MAX - 1 ? len : V1_MAX - 1, head);
    if (r != PROXY_HEAD_MORE || len < V1_MAX - 1)
        return r;
    if (data[V1_MAX - 2] != '\r')
        return bad(head, "PROXY head: longer than 107 bytes");
    return read_line(data, len < V1_MAX ? len : V1_MAX, head);
}

/* ---- version 2: binary ---- */

static unsigned get_be16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

/* CRC-32C (Castagnoli), reflected, four bits at a time: few heads have a checksum and all are
 * short, so a small table is enough. */
static uint32_t crc32c(uint32_t crc, const uint8_t *p, size_t n)
{
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return crc;
}

/* Checks a head of n bytes whose checksum is at d[at]; it counts as zeros itself
 * (section 2.2.3). */
static bool crc_is_right(const uint8_t *d, size_t n, size_t at)
{
    static const uint8_t zeros[CRC32C_SIZE];
    uint32_t crc = crc32c(UINT32_MAX, d, at);
    crc = crc32c(crc, zeros, CRC32C_SIZE);
    crc = ~crc32c(crc, d + at + CRC32C_SIZE, n - at - CRC32C_SIZE);
    return crc == ((uint32_t)get_be16(d + at) << 16 | get_be16(d + at + 2));
}

/* True if n remaining bytes can be filled with TLVs exactly. */
static bool can_be_tlvs(size_t n)
{
    return n == 0 || n >= TLV_FIXED;
}

/* Reads the type and length of the TLV at d[at]. room: the most bytes that its value can have. Sets
 * *size, the bytes of the value, and *crc, the index of the value if it is a CRC32c (0: there was
 * none so far). Each condition is checked as soon as the bytes that decide it are there. */
static enum proxy_head_result read_tlv(const uint8_t *d, size_t len, size_t at, size_t room,
                                       size_t *size, size_t *crc, struct proxy_head *head)
{
    static const char bad_crc[] = "PROXY head: malformed or repeated CRC32c";
    static const char bad_tlv[] = "PROXY head: a TLV does not fit";
    /* A checksum has a known size, so more can be said of it before its length is complete. */
    bool is_crc = at < len && d[at] == TLV_CRC32C;
    if (is_crc && (*crc || room < CRC32C_SIZE || !can_be_tlvs(room - CRC32C_SIZE)))
        return bad(head, bad_crc);
    if (is_crc && at + 1 < len && d[at + 1] != 0)
        return bad(head, bad_crc);
    if (at + 1 < len && (size_t)d[at + 1] << 8 > room)
        return bad(head, bad_tlv);
    if (at + TLV_FIXED > len)
        return PROXY_HEAD_MORE;
    *size = get_be16(d + at + 1);
    if (is_crc && *size != CRC32C_SIZE)
        return bad(head, bad_crc);
    if (*size > room || !can_be_tlvs(room - *size))
        return bad(head, bad_tlv);
    if (is_crc)
        *crc = at + TLV_FIXED;
    return PROXY_HEAD_DONE;
}

/* Reads the TLVs that must fill d[at, end); d[at, len) has arrived. */
static enum proxy_head_result read_tlvs(const uint8_t *d, size_t len, size_t at, size_t end,
                                        struct proxy_head *head)
{
    size_t crc = 0, size;
    while (at < end) {
        enum proxy_head_result r = read_tlv(d, len, at, end - at - TLV_FIXED, &size, &crc, head);
        if (r != PROXY_HEAD_DONE)
            return r;
        at += TLV_FIXED + size;
    }
    /* the checksum covers the whole head, so it waits for the last byte */
    if (len < end)
        return PROXY_HEAD_MORE;
    return crc && !crc_is_right(d, end, crc) ? bad(head, "PROXY head: wrong CRC32c")
                                             : PROXY_HEAD_DONE;
}

static void set_addresses(const uint8_t *p, enum v2_family family, struct proxy_head *head)
{
    if (family == V2_INET) {
        set_v4(&head->source, p, get_be16(p + 8));
        set_v4(&head->destination, p + 4, get_be16(p + 10));
    } else {
        set_v6(&head->source, p, get_be16(p + 32));
        set_v6(&head->destination, p + 16, get_be16(p + 34));
    }
    head->has_addresses = true;
}

/* Checks signature, command and kind (address family and transport). */
static enum proxy_head_result read_v2_kind(const uint8_t *d, size_t len, struct proxy_head *head)
{
    if (memcmp(d, v2_signature, len < sizeof v2_signature ? len : sizeof v2_signature) != 0)
        return bad(head, "no PROXY head");
    if (len > 12 && d[12] != V2_LOCAL && d[12] != V2_PROXY)
        return bad(head, "PROXY head: unknown version or command");
    if (len > 13 && d[12] == V2_PROXY && (d[13] >> 4 > V2_UNIX || (d[13] & 15) > V2_DGRAM))
        return bad(head, "PROXY head: unknown address family or transport");
    return len > 13 ? PROXY_HEAD_DONE : PROXY_HEAD_MORE;
}

/* Checks the length of the rest of the head. opaque: the rest has no defined content; otherwise it
 * begins with `addresses` bytes of addresses. */
static enum proxy_head_result read_v2_length(const uint8_t *d, size_t len, size_t addresses,
                                             bool opaque, struct proxy_head *head)
{
    static const char too_long[] = "PROXY head: longer than is accepted";
    const size_t max = PROXY_HEAD_MAX - V2_FIXED;
    if (len > 14 && (size_t)d[14] << 8 > max)
        return bad(head, too_long);
    if (len < V2_FIXED)
        return PROXY_HEAD_MORE;
    size_t n = get_be16(d + 14);
    if (n > max)
        return bad(head, too_long);
    if (!opaque && (n < addresses || !can_be_tlvs(n - addresses)))
        return bad(head, "PROXY head: its length does not fit its addresses");
    return PROXY_HEAD_DONE;
}

static enum proxy_head_result read_v2(const uint8_t *d, size_t len, struct proxy_head *head)
{
    /* Both addresses and both ports of each family. */
    static const size_t sizes[] = {
        [V2_UNSPEC] = 0, [V2_INET] = 12, [V2_INET6] = 36, [V2_UNIX] = 216};
    enum proxy_head_result r = read_v2_kind(d, len, head);
    if (r != PROXY_HEAD_DONE)
        return r;
    /* With LOCAL the receiver must ignore the family (section 2.2). */
    enum v2_family family = d[12] == V2_LOCAL || (d[13] & 15) == 0 ? V2_UNSPEC : d[13] >> 4;
    bool opaque = family == V2_UNSPEC;
    r = read_v2_length(d, len, sizes[family], opaque, head);
    if (r != PROXY_HEAD_DONE)
        return r;
    size_t end = V2_FIXED + get_be16(d + 14);
    if (!opaque)
        r = read_tlvs(d, len, V2_FIXED + sizes[family], end, head);
    else if (len < end)
        r = PROXY_HEAD_MORE;
    if (r != PROXY_HEAD_DONE)
        return r;
    head->size = end;
    if (family == V2_INET || family == V2_INET6)
        set_addresses(d + V2_FIXED, family, head);
    return PROXY_HEAD_DONE;
}

enum proxy_head_result proxy_protocol_read(const char *data, size_t len, struct proxy_head *head)
{
    memset(head, 0, sizeof *head);
    if (len == 0)
        return PROXY_HEAD_MORE;
    /* one byte tells the versions apart: the signature of version 2 begins with CR */
    return data[0] == '\r' ? read_v2((const uint8_t *)data, len, head) : read_v1(data, len, head);
}

/* ---- writing ---- */

static bool is_inet(const struct addr *a)
{
    return a->sa.sa_family == AF_INET || a->sa.sa_family == AF_INET6;
}

static bool is_v4(const struct addr *a)
{
    return a->sa.sa_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr);
}

/* The family that can represent both addresses; a head has one for both. */
static enum v2_family family_of(const struct addr *source, const struct addr *destination)
{
    if (!is_inet(source) || !is_inet(destination))
        return V2_UNSPEC;
    return is_v4(source) && is_v4(destination) ? V2_INET : V2_INET6;
}

/* The address as IPv6; an IPv4 address becomes a mapped one, with the IPv4 address in its last four
 * bytes. */
static void v6_of(const struct addr *a, uint8_t out[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (a->sa.sa_family == AF_INET6) {
        memcpy(out, &a->v6.sin6_addr, 16);
        return;
    }
    memcpy(out, mapped, sizeof mapped);
    memcpy(out + 12, &a->v4.sin_addr, 4);
}

/* Like inet_ntop(), but without dotted decimal, which inet_ntop() writes after "::" and "::ffff:"
 * and which the grammar of version 1 does not have. */
static void format_v6(const uint8_t ip[16], char out[INET6_ADDRSTRLEN])
{
    const char *done = inet_ntop(AF_INET6, ip, out, INET6_ADDRSTRLEN);
    assert(done != NULL);
    (void)done;
    if (strchr(out, '.'))
        snprintf(out, INET6_ADDRSTRLEN, "%s:%x:%x", ip[10] ? "::ffff" : ":", get_be16(ip + 12),
                 get_be16(ip + 14));
}

static size_t write_v1(const struct addr *source, const struct addr *destination,
                       enum v2_family family, char *out)
{
    const struct addr *both[] = {source, destination};
    char text[2][INET6_ADDRSTRLEN];
    for (int i = 0; i < 2; i++) {
        uint8_t ip[16];
        v6_of(both[i], ip);
        if (family == V2_INET6)
            format_v6(ip, text[i]);
        else
            snprintf(text[i], sizeof text[i], "%u.%u.%u.%u", ip[12], ip[13], ip[14], ip[15]);
    }
    /* not directly to out: snprintf() needs a byte for its NUL, and the longest line leaves none */
    char line[PROXY_HEAD_WRITE_MAX + 1];
    int n =
        snprintf(line, sizeof line, "PROXY TCP%c %s %s %u %u\r\n", family == V2_INET6 ? '6' : '4',
                 text[0], text[1], addr_port(source), addr_port(destination));
    assert(n > 0 && n <= PROXY_HEAD_WRITE_MAX);
    memcpy(out, line, (size_t)n);
    return (size_t)n;
}

static uint8_t *put_be16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
    return p + 2;
}

/* Writes the fixed part; returns the position after it, where the addresses begin. */
static uint8_t *put_v2_fixed(char *out, unsigned command, unsigned kind, unsigned length)
{
    uint8_t *p = (uint8_t *)out;
    memcpy(p, v2_signature, sizeof v2_signature);
    p[12] = (uint8_t)command;
    p[13] = (uint8_t)kind;
    return put_be16(p + 14, length);
}

static size_t write_v2(const struct addr *source, const struct addr *destination,
                       enum v2_family family, char *out)
{
    size_t n = family == V2_INET ? 4 : 16;
    uint8_t *p =
        put_v2_fixed(out, V2_PROXY, (unsigned)family << 4 | V2_STREAM, (unsigned)(2 * n + 4));
    uint8_t ip[2][16];
    v6_of(source, ip[0]);
    v6_of(destination, ip[1]);
    memcpy(p, ip[0] + 16 - n, n);
    memcpy(p + n, ip[1] + 16 - n, n);
    p = put_be16(p + 2 * n, addr_port(source));
    p = put_be16(p, addr_port(destination));
    return (size_t)((char *)p - out);
}

size_t proxy_protocol_write(unsigned version, const struct addr *source,
                            const struct addr *destination, char out[PROXY_HEAD_WRITE_MAX])
{
    enum v2_family family = family_of(source, destination);
    assert(version == 1 || version == 2);
    if (family == V2_UNSPEC)
        return proxy_protocol_write_local(version, out);
    return version == 1 ? write_v1(source, destination, family, out)
                        : write_v2(source, destination, family, out);
}

size_t proxy_protocol_write_local(unsigned version, char out[PROXY_HEAD_WRITE_MAX])
{
    static const char unknown[] = "PROXY UNKNOWN\r\n";
    assert(version == 1 || version == 2);
    if (version == 2) {
        put_v2_fixed(out, V2_LOCAL, 0, 0);
        return V2_FIXED;
    }
    memcpy(out, unknown, sizeof unknown - 1);
    return sizeof unknown - 1;
}
