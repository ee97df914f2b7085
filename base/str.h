/* A slice: a pointer to bytes and their number.
 *
 * Invariants: p may be NULL only if n is 0. No NUL follows the bytes.
 * Ownership: none; a slice must not outlive the memory that it points into.
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

/* A slice of a string literal. */
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

/* Ignores the case of ASCII letters, as field names need it (RFC 9110 5.1). */
static inline bool str_eq_nocase(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}

/* The slice without spaces and tabs at both ends (OWS, RFC 9110 5.6.3). */
static inline struct str str_trim(struct str s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s.p++, s.n--;
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}
