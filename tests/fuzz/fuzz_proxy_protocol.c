/* PROXY heads: bytes 0 and 1: a seed that says where the bytes are cut; then the bytes. However
 * much of them is there, the answer is the same from the byte on that decides, and "more" before;
 * the addresses of a good head, written again in either version, read back as the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)   \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

/* From a block of exactly n bytes, so that a read past its end is seen. */
static enum proxy_head_result read_copy(const uint8_t *in, size_t n, struct proxy_head *head)
{
    char *copy = malloc(n ? n : 1);
    MUST(copy);
    memcpy(copy, in, n);
    enum proxy_head_result r = proxy_protocol_read(copy, n, head);
    free(copy);
    return r;
}

static void check_same(const struct proxy_head *a, const struct proxy_head *b)
{
    MUST(a->size == b->size && a->has_addresses == b->has_addresses && a->reason == b->reason);
    MUST(memcmp(&a->source, &b->source, sizeof a->source) == 0);
    MUST(memcmp(&a->destination, &b->destination, sizeof a->destination) == 0);
}

/* As if in[0, n) came in pieces whose sizes follow from seed. */
static void check_pieces(const uint8_t *in, size_t n, uint32_t seed, enum proxy_head_result result,
                         const struct proxy_head *whole)
{
    struct proxy_head head;
    bool settled = false;
    for (size_t at = 0; at < n;) {
        seed = seed * 1103515245u + 12345u;
        at += 1 + (seed >> 16) % (n < 256 ? 3 : 97);
        if (at > n)
            at = n;
        enum proxy_head_result r = read_copy(in, at, &head);
        MUST(r == result || (r == PROXY_HEAD_MORE && !settled && at < n));
        settled = r != PROXY_HEAD_MORE;
        if (settled)
            check_same(&head, whole);
        if (result == PROXY_HEAD_DONE)
            MUST(settled == (at >= whole->size));
    }
}

static void check_same_address(const struct addr *a, const struct addr *b)
{
    char text[2][ADDR_TEXT_MAX];
    MUST(addr_format(a, text[0]) == addr_format(b, text[1]) && strcmp(text[0], text[1]) == 0);
}

static void check_written(const struct addr *source, const struct addr *destination)
{
    struct proxy_head head;
    char *out = malloc(PROXY_HEAD_WRITE_MAX);
    MUST(out);
    for (unsigned version = 1; version <= 2; version++) {
        size_t n = proxy_protocol_write(version, source, destination, out);
        MUST(n <= PROXY_HEAD_WRITE_MAX);
        MUST(read_copy((const uint8_t *)out, n, &head) == PROXY_HEAD_DONE);
        MUST(head.size == n && head.has_addresses);
        check_same_address(&head.source, source);
        check_same_address(&head.destination, destination);
    }
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_head head;
    if (size < 2 || size > PROXY_HEAD_MAX + 64)
        return 0;
    uint32_t seed = (uint32_t)data[0] << 8 | data[1];
    data += 2;
    size -= 2;
    enum proxy_head_result r = read_copy(data, size, &head);
    MUST((r == PROXY_HEAD_BAD) == (head.reason != NULL));
    if (r == PROXY_HEAD_DONE)
        MUST(head.size <= size && head.size <= PROXY_HEAD_MAX);
    else
        MUST(head.size == 0 && !head.has_addresses);
    check_pieces(data, size, seed, r, &head);
    if (head.has_addresses) {
        struct addr v4 = {.v4 = {.sin_family = AF_INET, .sin_port = (uint16_t)seed}};
        check_written(&head.source, &head.destination);
        check_written(&head.source, &v4);
        check_written(&v4, &head.destination);
    }
    return 0;
}
