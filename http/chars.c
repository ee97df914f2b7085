#include "http/chars.h"

#include <arpa/inet.h>

#define RARE __attribute__((noinline)) /* see parser.c */

#define IS_DIGIT(c) ((c) >= '0' && (c) <= '9')
#define IS_ALPHA(c) (((c) >= 'a' && (c) <= 'z') || ((c) >= 'A' && (c) <= 'Z'))
#define IS_ALNUM(c) (IS_DIGIT(c) || IS_ALPHA(c))
#define IS_HEX(c) (IS_DIGIT(c) || ((c) >= 'a' && (c) <= 'f') || ((c) >= 'A' && (c) <= 'F'))
#define IS_VISIBLE(c) ((c) > ' ' && (c) < 127)
#define IS_SUB_DELIM(c)                                                                   \
    ((c) == '!' || (c) == '$' || (c) == '&' || (c) == '\'' || (c) == '(' || (c) == ')' || \
     (c) == '*' || (c) == '+' || (c) == ',' || (c) == ';' || (c) == '=')
#define IS_UNRESERVED(c) (IS_ALNUM(c) || (c) == '-' || (c) == '.' || (c) == '_' || (c) == '~')
#define IS_TOKEN(c)                                                                       \
    (IS_ALNUM(c) || (c) == '!' || (c) == '#' || (c) == '$' || (c) == '%' || (c) == '&' || \
     (c) == '\'' || (c) == '*' || (c) == '+' || (c) == '-' || (c) == '.' || (c) == '^' || \
     (c) == '_' || (c) == '`' || (c) == '|' || (c) == '~')

/* The compiler computes the table from the grammar above; 256 numbers would be hard to check. */
#define CLASSES(c)                                                                           \
    (IS_TOKEN(c) ? CHAR_TOKEN : 0) | (IS_VISIBLE(c) && (c) != '#' ? CHAR_TARGET : 0) |       \
        (IS_VISIBLE(c) || (c) == ' ' || (c) == '\t' || (c) >= 128 ? CHAR_TEXT : 0) |         \
        (IS_UNRESERVED(c) || IS_SUB_DELIM(c) ? CHAR_HOST : 0) | (IS_HEX(c) ? CHAR_HEX : 0) | \
        (IS_DIGIT(c) ? CHAR_DIGIT : 0)
#define FOUR(c) CLASSES(c), CLASSES((c) + 1), CLASSES((c) + 2), CLASSES((c) + 3)
#define ROW(c) FOUR(c), FOUR((c) + 4), FOUR((c) + 8), FOUR((c) + 12)

const uint8_t char_classes[256] = {
    ROW(0x00), ROW(0x10), ROW(0x20), ROW(0x30), ROW(0x40), ROW(0x50), ROW(0x60), ROW(0x70),
    ROW(0x80), ROW(0x90), ROW(0xa0), ROW(0xb0), ROW(0xc0), ROW(0xd0), ROW(0xe0), ROW(0xf0),
};

bool chars_are_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!char_is(s.p[i], CHAR_TOKEN))
            return false;
    return s.n > 0;
}

/* port = *DIGIT, at most 65535. The grammar allows an empty port (RFC 3986 3.2.3). */
static bool is_port(struct str s)
{
    unsigned port = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (!char_is(s.p[i], CHAR_DIGIT))
            return false;
        port = port * 10 + (unsigned)(s.p[i] - '0');
        if (port > 65535)
            return false;
    }
    return true;
}

/* The length of the reg-name at the beginning of s (RFC 3986 3.2.2); 0 if there is none. The
 * grammar of reg-name includes every IPv4 address. */
static size_t reg_name_len(struct str s)
{
    size_t i = 0;
    for (;;) {
        while (i < s.n && char_is(s.p[i], CHAR_HOST))
            i++;
        /* a percent-encoded byte; a '%' without two digits ends the name */
        if (s.n - i < 3 || s.p[i] != '%' || !char_is(s.p[i + 1], CHAR_HEX) ||
            !char_is(s.p[i + 2], CHAR_HEX))
            return i;
        i += 3;
    }
}

/* True for the text between the brackets of an IP-literal: IPv6address, or IPvFuture, which is "v"
 * 1*HEXDIG "." 1*( unreserved / sub-delims / ":" ) (RFC 3986 3.2.2). A zone ("%eth0") is refused:
 * it means nothing on another host. */
RARE static bool is_ip_literal(struct str s)
{
    if (s.n && (s.p[0] | 0x20) == 'v') {
        size_t i = 1;
        while (i < s.n && char_is(s.p[i], CHAR_HEX))
            i++;
        if (i == 1 || i + 1 >= s.n || s.p[i] != '.')
            return false;
        for (i++; i < s.n; i++)
            if (!char_is(s.p[i], CHAR_HOST) && s.p[i] != ':')
                return false;
        return true;
    }
    char text[INET6_ADDRSTRLEN];
    struct in6_addr unused;
    if (s.n == 0 || s.n >= sizeof(text) || memchr(s.p, '\0', s.n))
        return false;
    memcpy(text, s.p, s.n); /* inet_pton() needs a NUL */
    text[s.n] = '\0';
    return inet_pton(AF_INET6, text, &unused) == 1;
}

bool chars_are_authority(struct str s)
{
    size_t host = 0;
    if (s.n && s.p[0] == '[') {
        const char *close = memchr(s.p, ']', s.n);
        if (close == NULL || !is_ip_literal((struct str){s.p + 1, (size_t)(close - s.p) - 1}))
            return false;
        host = (size_t)(close - s.p) + 1;
    } else {
        host = reg_name_len(s);
    }
    if (host == 0 || host == s.n) /* no host, or no port */
        return host > 0;
    return s.p[host] == ':' && is_port((struct str){s.p + host + 1, s.n - host - 1});
}

/* Cuts the port off an authority: the digits behind a last colon, which no host ends with. Returns
 * its number, or `port` if there is none. */
static unsigned cut_port(struct str *authority, unsigned port)
{
    size_t digits = authority->n;
    while (digits && char_is(authority->p[digits - 1], CHAR_DIGIT))
        digits--;
    if (digits == 0 || authority->p[digits - 1] != ':')
        return port;
    unsigned n = 0;
    for (size_t i = digits; i < authority->n; i++)
        n = n * 10 + (unsigned)(authority->p[i] - '0');
    bool empty = digits == authority->n;
    authority->n = digits - 1;
    return empty ? port : n;
}

bool chars_same_authority(struct str a, struct str b, unsigned port)
{
    return cut_port(&a, port) == cut_port(&b, port) && str_eq_nocase(a, b);
}
