/* The character classes of heads: which bytes may occur where (RFC 9110 5.6, RFC 3986).
 * Pure; a constant table. */
#pragma once
#include <endian.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum char_class {
    CHAR_TOKEN = 1,  /* tchar, RFC 9110 5.6.2 */
    CHAR_TARGET = 2, /* visible ASCII except '#', as a target has no fragment: RFC 9112 3.2 */
    CHAR_TEXT = 4,   /* of a field value or a reason: HTAB, SP, VCHAR, obs-text (RFC 9110 5.5) */
    CHAR_HOST = 8,   /* unreserved and sub-delims, RFC 3986 2.2 and 2.3 */
    CHAR_HEX = 16,
    CHAR_DIGIT = 32,
};

/* The classes of each byte, a bit for each enum char_class. */
extern const uint8_t char_classes[256];

static inline bool char_is(char c, enum char_class class)
{
    return (char_classes[(unsigned char)c] & class) != 0;
}

/* The index of the first byte of base[i, end) that is not CHAR_TEXT, or end.
 *
 * It examines eight bytes at a time: `alarm` gets the top bit of each byte that is a control
 * character (below 0x20) or DEL. The subtractions may borrow from the next higher byte and set a
 * wrong bit there, but only above a byte that is itself below 0x20 or DEL; so the lowest bit set is
 * always right. Of the characters found, HTAB is allowed. */
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

/* True for a token: one or more tchars (RFC 9110 5.6.2). */
bool chars_are_token(struct str s);
/* True for uri-host [":" port] with a host that is not empty (RFC 9110 7.2, RFC 3986 3.2.2). */
bool chars_are_authority(struct str s);
/* True if two authorities name the same host, in any case, and the same port; one without a port
 * has this one (RFC 9110 4.2.3). Both must have passed chars_are_authority(). */
bool chars_same_authority(struct str a, struct str b, unsigned port);
