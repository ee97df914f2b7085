/* A slice: bytes that somebody else owns.
 *
 * Invariants: p may be NULL only when n is 0. Not terminated by a NUL.
 * Ownership: none; a slice must not outlive the buffer it points into.
 * Threads: a plain value. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct str {
    const char *p;
    size_t n;
};

#define STR(literal)                   \
    (struct str)                       \
    {                                  \
        (literal), sizeof(literal) - 1 \
    }

static inline struct str str_of(const char *cstring)
{
    return (struct str){cstring, strlen(cstring)};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* ASCII case is ignored, as in field names (RFC 9110 5.1). */
static inline bool str_eq_nocase(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}

/* Without the spaces and tabs at both ends (OWS of RFC 9110 5.6.3). */
static inline struct str str_trim(struct str s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s.p++, s.n--;
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}
