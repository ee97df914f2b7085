#include "base/addr.h"

#include <arpa/inet.h>
#include <stdio.h>

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

/* A host name as far as telling it from rubbish goes: letters, digits, '-', '.', '_'. */
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

static bool all_numeric(const char *h)
{
    return strspn(h, "0123456789.") == strlen(h);
}

enum addr_result addr_parse(struct str s, struct addr *out)
{
    memset(out, 0, sizeof *out);
    if (s.n >= 5 && memcmp(s.p, "unix:", 5) == 0)
        return s.n > 5 ? ADDR_UNIX : ADDR_BAD;
    const char *colon = s.n ? memrchr(s.p, ':', s.n) : NULL;
    uint16_t port;
    if (colon == NULL ||
        !parse_port((struct str){colon + 1, (size_t)(s.p + s.n - colon - 1)}, &port))
        return ADDR_BAD;
    struct str host = {s.p, (size_t)(colon - s.p)};
    bool brackets = host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    if (brackets)
        host.p++, host.n -= 2;
    char text[256];
    if (host.n == 0 || host.n >= sizeof text)
        return ADDR_BAD;
    memcpy(text, host.p, host.n);
    text[host.n] = 0;
    if (brackets) {
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons(port);
        out->len = sizeof out->v6;
        return inet_pton(AF_INET6, text, &out->v6.sin6_addr) == 1 ? ADDR_OK : ADDR_BAD;
    }
    out->v4.sin_family = AF_INET;
    out->v4.sin_port = htons(port);
    out->len = sizeof out->v4;
    if (inet_pton(AF_INET, text, &out->v4.sin_addr) == 1)
        return ADDR_OK;
    return looks_like_name(host) && !all_numeric(text) ? ADDR_NAME : ADDR_BAD;
}

uint16_t addr_port(const struct addr *a)
{
    return ntohs(a->sa.sa_family == AF_INET6 ? a->v6.sin6_port : a->v4.sin_port);
}

static int finish(int n)
{
    return n < 0 ? 0 : n < ADDR_TEXT_MAX ? n : ADDR_TEXT_MAX - 1;
}

/* inet_ntop() prints an IPv4 address by way of printf(); this is on the path of every connection.
 */
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

int addr_format_ip(const struct addr *a, char out[ADDR_TEXT_MAX])
{
    if (a->sa.sa_family == AF_INET)
        return format_v4((const uint8_t *)&a->v4.sin_addr, out);
    if (IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr))
        return format_v4(&a->v6.sin6_addr.s6_addr[12], out);
    if (inet_ntop(AF_INET6, &a->v6.sin6_addr, out, ADDR_TEXT_MAX) == NULL)
        out[0] = 0;
    return (int)strlen(out);
}

int addr_format(const struct addr *a, char out[ADDR_TEXT_MAX])
{
    char ip[ADDR_TEXT_MAX];
    addr_format_ip(a, ip);
    bool v6 = strchr(ip, ':') != NULL;
    int n = snprintf(out, ADDR_TEXT_MAX, "%s%.50s%s:%u", v6 ? "[" : "", ip, v6 ? "]" : "",
                     addr_port(a));
    return finish(n);
}

bool addr_is_loopback(const struct addr *a)
{
    if (a->sa.sa_family == AF_INET)
        return (ntohl(a->v4.sin_addr.s_addr) >> 24) == 127;
    return IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr) && a->v6.sin6_addr.s6_addr[12] == 127);
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    if (a->sa.sa_family != b->sa.sa_family || addr_port(a) != addr_port(b))
        return false;
    if (a->sa.sa_family == AF_INET)
        return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
    return memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof a->v6.sin6_addr) == 0;
}
