/* A socket address and its text.
 *
 * What for: `HOST:PORT` with an IPv4 literal, `[V6]:PORT` and `unix:PATH`; names are told apart, as
 * somebody has to look them up first.
 * Invariants: len is 0 as long as no address is known, and a unix path ends with a NUL.
 * Ownership: a plain value. Threads: none. */
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

/* What accept() and the like may write to an addr. */
#define ADDR_LEN_MAX ((socklen_t)sizeof(struct sockaddr_un))
/* The longest path of a unix socket that the kernel takes, without its NUL. */
#define ADDR_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

enum addr_result {
    ADDR_OK,
    ADDR_BAD,  /* not an address at all */
    ADDR_NAME, /* HOST is a name, not a literal: *out has the port, and len 0 */
    ADDR_LONG, /* unix:PATH with a path longer than ADDR_PATH_MAX */
};

#define ADDR_TEXT_MAX 128 /* longest: "unix:" and a path; then "[v6]:65535" */
#define ADDR_IP_MAX 46    /* an IPv6 address in its longest form */

enum addr_result addr_parse(struct str s, struct addr *out);
/* "127.0.0.1:80", "[::1]:80", "unix:/run/x"; returns the length, always terminated. */
int addr_format(const struct addr *a, char out[ADDR_TEXT_MAX]);
/* The address alone in canonical text (RFC 5952), an IPv4-mapped one as IPv4; returns the length.
 * A unix address has none: the text is empty. */
int addr_format_ip(const struct addr *a, char out[ADDR_IP_MAX]);
/* Whether nobody beyond this host can reach it. */
bool addr_is_loopback(const struct addr *a);
uint16_t addr_port(const struct addr *a); /* 0 of a unix address */

/* A total order: IPv4 before IPv6 before unix; within a family by the bytes of the address, then by
 * port. */
int addr_cmp(const struct addr *a, const struct addr *b);
static inline bool addr_eq(const struct addr *a, const struct addr *b)
{
    return addr_cmp(a, b) == 0;
}

static inline bool addr_is_unix(const struct addr *a)
{
    return a->len != 0 && a->sa.sa_family == AF_UNIX;
}

/* The HOST of a text that is an ADDR_NAME. */
static inline struct str addr_host(const char *text)
{
    const char *colon = strrchr(text, ':');
    return (struct str){text, colon ? (size_t)(colon - text) : strlen(text)};
}
