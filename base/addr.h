/* A socket address and its text.
 *
 * What for: one type for every address of the program, parsed from and printed as `IPV4:PORT`,
 * `[IPV6]:PORT` or `unix:PATH`. A link-local IPv6 address is one of an interface,
 * `[fe80::1%eth0]:80` (RFC 4007); the interface is a part of the address in addr_cmp(). The parser
 * recognises a host name (`NAME:PORT`) but does not resolve it: the caller does (net/lookup.h).
 * Invariants: len is 0 while no address is known. The path of a unix address ends with a NUL.
 * Ownership: a plain value without pointers; copy it freely. Threads: no shared state. */
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/str.h"

struct addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un un;
    };
    socklen_t len;
};

/* The size to pass to accept(), getsockname() and the like for a struct addr. */
#define ADDR_LEN_MAX ((socklen_t)sizeof(struct sockaddr_un))
/* The longest path of a unix socket in bytes, without its NUL: the kernel's limit. */
#define ADDR_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

enum addr_result {
    ADDR_OK,
    ADDR_BAD,          /* not an address */
    ADDR_NAME,         /* NAME:PORT: *out holds the port, its len is 0 */
    ADDR_LONG,         /* unix:PATH, but the path is longer than ADDR_PATH_MAX */
    ADDR_NO_INTERFACE, /* [V6%INTERFACE]:PORT, but this host has no such interface */
    ADDR_NOT_LOCAL,    /* [V6%INTERFACE]:PORT, but the address is not link-local */
};

/* Room for any address as text, its NUL included; "unix:" and a path is the longest. */
#define ADDR_TEXT_MAX 128
/* Room for any IP address without a port, its NUL included. */
#define ADDR_IP_MAX 46

/* Parses an address; the port must be 1 to 65535. Behind '%' is the name or the number of an
 * interface, which is looked up: that is a system call. Overwrites *out in any case; only ADDR_OK
 * and ADDR_NAME leave something to use in it. */
enum addr_result addr_parse(struct str s, struct addr *out);
/* Parses an IP address without brackets, interface and port; the port becomes 0. No system call.
 * False: it is none, and *out has len 0. */
bool addr_parse_ip(struct str s, struct addr *out);
/* Writes "127.0.0.1:80", "[::1]:80", "[fe80::1%eth0]:80" or "unix:/run/x" and a NUL; returns the
 * length. The name of an interface takes a system call. */
int addr_format(const struct addr *a, char out[ADDR_TEXT_MAX]);
/* Writes the IP address without the port in canonical form (RFC 5952), an IPv4-mapped IPv6 address
 * as IPv4, a link-local one without its interface, whose name means nothing to another host;
 * returns the length. For a unix address the text is empty. */
int addr_format_ip(const struct addr *a, char out[ADDR_IP_MAX]);
/* True if only processes of this host can connect to the address: 127/8, ::1, unix. */
bool addr_is_loopback(const struct addr *a);
/* True for a link-local address without an interface, which the kernel neither binds nor
 * connects to. */
bool addr_lacks_scope(const struct addr *a);
/* The port in host byte order; 0 for a unix address. */
uint16_t addr_port(const struct addr *a);
/* port: in host byte order. The address must not be a unix address. */
void addr_set_port(struct addr *a, uint16_t port);

/* A total order: IPv4 before IPv6 before unix; within a family by the bytes of the address, then by
 * port (and scope), a unix address by its path. Negative, 0 or positive, like memcmp(). */
int addr_cmp(const struct addr *a, const struct addr *b);
static inline bool addr_eq(const struct addr *a, const struct addr *b)
{
    return addr_cmp(a, b) == 0;
}

static inline bool addr_is_unix(const struct addr *a)
{
    return a->len != 0 && a->sa.sa_family == AF_UNIX;
}

/* The NAME of a text for which addr_parse() returned ADDR_NAME; a slice of that text. */
static inline struct str addr_host(const char *text)
{
    const char *colon = strrchr(text, ':');
    return (struct str){text, colon ? (size_t)(colon - text) : strlen(text)};
}
