/* A socket address and its text.
 *
 * Accepts `HOST:PORT` with an IPv4 literal and `[V6]:PORT`; names and `unix:PATH` are told apart so
 * that the caller can say that this version does not carry them out.
 * Ownership: a plain value. Threads: none. */
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/str.h"

struct addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t len;
};

enum addr_result {
    ADDR_OK,
    ADDR_BAD,  /* not an address at all */
    ADDR_NAME, /* HOST is a name, not a literal */
    ADDR_UNIX, /* unix:PATH */
};

/* "::1" and "127.0.0.1" with their ports; longest: "[v6]:65535". */
#define ADDR_TEXT_MAX 64

enum addr_result addr_parse(struct str s, struct addr *out);
/* "127.0.0.1:80", "[::1]:80"; returns the length, always terminated. */
int addr_format(const struct addr *a, char out[ADDR_TEXT_MAX]);
/* The address alone in canonical text (RFC 5952), an IPv4-mapped one as IPv4; returns the length.
 */
int addr_format_ip(const struct addr *a, char out[ADDR_TEXT_MAX]);
bool addr_is_loopback(const struct addr *a);
uint16_t addr_port(const struct addr *a);
bool addr_eq(const struct addr *a, const struct addr *b);
