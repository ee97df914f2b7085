#include "base/addr.h"

#include <arpa/inet.h>
#include <assert.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>

#define SCOPE_MAX (IF_NAMESIZE + 1) /* '%', a name or number of an interface, NUL */

static const struct str UNIX = {"unix:", 5};

/* 1 to 65535 in at most five digits. Port 0 would let the kernel choose: of no use for a client
 * that has to find the listener. */
static bool parse_port(struct str s, uint16_t *port)
{
    unsigned v = 0;
    if (s.n == 0 || s.n > 5)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        v = v * 10 + (unsigned)(s.p[i] - '0');
    }
    *port = (uint16_t)v;
    return v >= 1 && v <= 65535;
}

/* Accepts any text of letters, digits, '-', '.' and '_'. The resolver decides what a valid name is;
 * this check only finds typing errors while the configuration file is read. */
static bool looks_like_name(struct str h)
{
    for (size_t i = 0; i < h.n; i++) {
        char c = h.p[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '.' || c == '_';
        if (!ok)
            return false;
    }
    return h.n > 0;
}

/* "1.2.3" or "300.1.1.1" is a mistyped IPv4 address, not a name to resolve. */
static bool all_numeric(const char *h)
{
    return strspn(h, "0123456789.") == strlen(h);
}

static enum addr_result parse_unix(struct str path, struct addr *out)
{
    if (path.n == 0 || memchr(path.p, 0, path.n) != NULL)
        return ADDR_BAD;
    if (path.n > ADDR_PATH_MAX)
        return ADDR_LONG;
    out->un.sun_family = AF_UNIX;
    memcpy(out->un.sun_path, path.p, path.n);
    /* with the NUL, although the kernel does not need it: sun_path is used as a C string, too */
    out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n + 1);
    return ADDR_OK;
}

/* The number of an interface by its name, or by its number if it has no such name (RFC 4007 11.2).
 * 0: this host has no such interface. */
static unsigned interface_of(const char *scope)
{
    char name[IF_NAMESIZE];
    unsigned index = strlen(scope) < sizeof name ? if_nametoindex(scope) : 0;
    size_t n = strlen(scope);
    if (index || n == 0 || n > 9 || strspn(scope, "0123456789") != n)
        return index;
    index = (unsigned)strtoul(scope, NULL, 10);
    return if_indextoname(index, name) ? index : 0;
}

/* text: an address, or ADDRESS%INTERFACE, of which this cuts off the interface. Only where an
 * address is one of each interface it needs one; elsewhere the kernel would ignore it, and two
 * texts would be one address. */
static enum addr_result parse_v6(char *text, uint16_t port, struct addr *out)
{
    char *scope = strchr(text, '%');
    if (scope)
        *scope++ = 0;
    out->v6.sin6_family = AF_INET6;
    out->v6.sin6_port = htons(port);
    out->len = sizeof out->v6;
    if (inet_pton(AF_INET6, text, &out->v6.sin6_addr) != 1)
        return ADDR_BAD;
    if (scope == NULL)
        return ADDR_OK;
    if (!IN6_IS_ADDR_LINKLOCAL(&out->v6.sin6_addr))
        return ADDR_NOT_LOCAL;
    out->v6.sin6_scope_id = interface_of(scope);
    return out->v6.sin6_scope_id ? ADDR_OK : ADDR_NO_INTERFACE;
}

static enum addr_result parse_v4(const char *text, uint16_t port, struct addr *out)
{
    out->v4.sin_port =
        htons(port); /* before the result is known: ADDR_NAME returns the port, too */
    if (inet_pton(AF_INET, text, &out->v4.sin_addr) == 1) {
        out->v4.sin_family = AF_INET;
        out->len = sizeof out->v4;
        return ADDR_OK;
    }
    return looks_like_name(str_of(text)) && !all_numeric(text) ? ADDR_NAME : ADDR_BAD;
}

enum addr_result addr_parse(struct str s, struct addr *out)
{
    memset(out, 0, sizeof *out);
    if (s.n >= UNIX.n && memcmp(s.p, UNIX.p, UNIX.n) == 0)
        return parse_unix((struct str){s.p + UNIX.n, s.n - UNIX.n}, out);
    /* the last colon: an IPv6 address contains others */
    const char *colon = s.n ? memrchr(s.p, ':', s.n) : NULL;
    uint16_t port;
    if (colon == NULL ||
        !parse_port((struct str){colon + 1, (size_t)(s.p + s.n - colon - 1)}, &port))
        return ADDR_BAD;
    struct str host = {s.p, (size_t)(colon - s.p)};
    bool brackets = host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    if (brackets)
        host.p++, host.n -= 2;
    char text[256]; /* inet_pton() needs a NUL; a host name has at most 253 bytes */
    if (host.n == 0 || host.n >= sizeof text || memchr(host.p, 0, host.n) != NULL)
        return ADDR_BAD;
    memcpy(text, host.p, host.n);
    text[host.n] = 0;
    return brackets ? parse_v6(text, port, out) : parse_v4(text, port, out);
}

bool addr_parse_ip(struct str s, struct addr *out)
{
    char text[ADDR_IP_MAX];
    memset(out, 0, sizeof *out);
    if (s.n == 0 || s.n >= sizeof text || memchr(s.p, 0, s.n) || memchr(s.p, '%', s.n))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    bool v6 = strchr(text, ':') != NULL;
    if (v6 ? parse_v6(text, 0, out) == ADDR_OK : parse_v4(text, 0, out) == ADDR_OK)
        return true;
    out->len = 0;
    return false;
}

uint16_t addr_port(const struct addr *a)
{
    if (a->sa.sa_family == AF_UNIX)
        return 0;
    return ntohs(a->sa.sa_family == AF_INET6 ? a->v6.sin6_port : a->v4.sin_port);
}

void addr_set_port(struct addr *a, uint16_t port)
{
    assert(a->sa.sa_family != AF_UNIX);
    *(a->sa.sa_family == AF_INET6 ? &a->v6.sin6_port : &a->v4.sin_port) = htons(port);
}

/* Instead of inet_ntop(), which formats IPv4 through sprintf(): too slow for something that every
 * connection needs. */
static int format_v4(const uint8_t *octets, char *out)
{
    char *p = out;
    for (int i = 0; i < 4; i++) {
        unsigned v = octets[i];
        if (v >= 100)
            *p++ = (char)('0' + v / 100);
        if (v >= 10)
            *p++ = (char)('0' + v / 10 % 10);
        *p++ = (char)('0' + v % 10);
        *p++ = i < 3 ? '.' : 0;
    }
    return (int)(p - out) - 1;
}

int addr_format_ip(const struct addr *a, char out[ADDR_IP_MAX])
{
    out[0] = 0;
    if (a->sa.sa_family == AF_UNIX)
        return 0;
    if (a->sa.sa_family == AF_INET)
        return format_v4((const uint8_t *)&a->v4.sin_addr, out);
    /* a client must have the same text, and so the same key, on an IPv4 and on an IPv6 listener */
    if (IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr))
        return format_v4(&a->v6.sin6_addr.s6_addr[12], out);
    if (inet_ntop(AF_INET6, &a->v6.sin6_addr, out, ADDR_IP_MAX) == NULL)
        out[0] = 0;
    return (int)strlen(out);
}

/* "%eth0"; "%7" if the interface is gone; nothing if the address has no interface. */
static void format_scope(const struct addr *a, char out[SCOPE_MAX])
{
    char name[IF_NAMESIZE];
    out[0] = 0;
    if (a->sa.sa_family != AF_INET6 || a->v6.sin6_scope_id == 0)
        return;
    if (if_indextoname(a->v6.sin6_scope_id, name))
        snprintf(out, SCOPE_MAX, "%%%s", name);
    else
        snprintf(out, SCOPE_MAX, "%%%u", a->v6.sin6_scope_id);
}

int addr_format(const struct addr *a, char out[ADDR_TEXT_MAX])
{
    char ip[ADDR_IP_MAX], scope[SCOPE_MAX];
    int n;
    if (a->sa.sa_family == AF_UNIX) {
        n = snprintf(out, ADDR_TEXT_MAX, "%s%.*s", UNIX.p, (int)ADDR_PATH_MAX, a->un.sun_path);
    } else {
        addr_format_ip(a, ip);
        bool v6 = strchr(ip, ':') != NULL;
        format_scope(a, scope);
        n = snprintf(out, ADDR_TEXT_MAX, "%s%s%s%s:%u", v6 ? "[" : "", ip, scope, v6 ? "]" : "",
                     addr_port(a));
    }
    return n < 0 ? 0 : n;
}

/* A unix socket counts: only processes of this host can connect to it. */
bool addr_is_loopback(const struct addr *a)
{
    if (a->sa.sa_family == AF_UNIX)
        return true;
    if (a->sa.sa_family == AF_INET)
        return (ntohl(a->v4.sin_addr.s_addr) >> 24) == 127;
    return IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr) && a->v6.sin6_addr.s6_addr[12] == 127);
}

bool addr_lacks_scope(const struct addr *a)
{
    return a->len != 0 && a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&a->v6.sin6_addr) &&
           a->v6.sin6_scope_id == 0;
}

/* The position of the address's family in the order of addr_cmp(). */
static int rank(const struct addr *a)
{
    return a->sa.sa_family == AF_INET ? 0 : a->sa.sa_family == AF_INET6 ? 1 : 2;
}

static int cmp_unsigned(uint32_t a, uint32_t b)
{
    return a < b ? -1 : a > b;
}

int addr_cmp(const struct addr *a, const struct addr *b)
{
    int c = rank(a) - rank(b);
    if (c)
        return c;
    /* the order of strings, not of bytes: what follows the NUL in sun_path is undefined */
    if (rank(a) == 2)
        return strncmp(a->un.sun_path, b->un.sun_path, sizeof a->un.sun_path);
    if (rank(a) == 0)
        c = memcmp(&a->v4.sin_addr, &b->v4.sin_addr, sizeof a->v4.sin_addr);
    else
        c = memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof a->v6.sin6_addr);
    if (c == 0)
        c = cmp_unsigned(addr_port(a), addr_port(b));
    /* one link-local address exists on every interface; the scope tells them apart */
    if (c == 0 && rank(a) == 1)
        c = cmp_unsigned(a->v6.sin6_scope_id, b->v6.sin6_scope_id);
    return c;
}
