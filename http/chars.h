/* What each byte may be in a head: the character classes of RFC 9110 5.6 and RFC 3986.
 * Pure; constant tables. */
#pragma once
#include <endian.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum char_class {
    CHAR_TOKEN = 1,  /* tchar, RFC 9110 5.6.2 */
    CHAR_TARGET = 2, /* visible ASCII but '#': a target has no fragment, RFC 9112 3.2 */
    CHAR_TEXT = 4,   /* what a field value or a reason may hold: HTAB, SP, VCHAR, obs-text */
    CHAR_HOST = 8,   /* unreserved and sub-delims, RFC 3986 2.2 and 2.3 */
    CHAR_HEX = 16,
    CHAR_DIGIT = 32,
};

extern const uint8_t char_classes[256];

static inline bool char_is(char c, enum char_class class)
{
    return (char_classes[(unsigned char)c] & class) != 0;
}

/* The first place in base[i, end) that is no CHAR_TEXT, or end. Eight bytes at a time: a control
 * character or DEL leaves a top bit in `alarm`. A borrow can raise a false alarm only above a true
 * one, so the lowest is true; of these HTAB is fine. */
static inline size_t chars_skip_text(const char *base, size_t i, size_t end)
{
    const uint64_t ones = 0x0101010101010101u, tops = ones << 7;
    while (end - i >= 8) {
        uint64_t w;
        memcpy(&w, base + i, sizeof(w));
        w = le64toh(w);
        uint64_t del = w ^ ones * 0x7f;
        uint64_t alarm = (((w - ones * 0x20) & ~w) | ((del - ones) & ~del)) & tops;
        if (alarm == 0) {
            i += 8;
            continue;
        }
        i += (unsigned)__builtin_ctzll(alarm) / 8;
        if (base[i] != '\t')
            return i;
        i++;
    }
    while (i < end && char_is(base[i], CHAR_TEXT))
        i++;
    return i;
}

/* At least one byte, each a tchar. */
bool chars_are_token(struct str s);
/* uri-host [":" port] with a host that is not empty, RFC 9110 7.2 and RFC 3986 3.2.2. */
bool chars_are_authority(struct str s);
