#include "bench/backend/drip.h"

#include <assert.h>
#include <stdio.h>

#define LAST_CHUNK "0\r\n\r\n"
#define CHUNK_EXTRA 32 /* more than a chunk's size line and its end, and the last chunk */
#define NS_A_MS 1000000

/* A body drips in some hundred steps, each long enough to be worth a write and short enough that
 * no peer takes it for dead. */
#define DRIP_STEPS 100
#define DRIP_STEP_MAX_MS 100

struct drip drip_of(struct str bytes, size_t chunk_size, uint64_t drip_ms)
{
    return (struct drip){
        .p = bytes.p,
        .left = bytes.n,
        .total = bytes.n,
        .chunk_size = chunk_size,
        .last_chunk = chunk_size > 0,
        .drip_ms = bytes.n ? drip_ms : 0,
    };
}

/* How many bytes may go out now. Whole milliseconds, rounded down: never early, and the product
 * stays below 2^64 for any body that fits in memory and any drip up to a month. */
static size_t bytes_due(struct drip *b, uint64_t now_ns)
{
    if (b->drip_ms == 0)
        return b->left;
    if (b->begun_ns == 0)
        b->begun_ns = now_ns;
    uint64_t passed_ms = (now_ns - b->begun_ns) / NS_A_MS;
    if (passed_ms >= b->drip_ms)
        return b->left;
    size_t sent = b->total - b->left, until_now = (size_t)(b->total * passed_ms / b->drip_ms);
    return until_now > sent ? until_now - sent : 0;
}

/* The first millisecond at which n bytes are due. */
static uint64_t time_of(const struct drip *b, uint64_t n)
{
    return (n * b->drip_ms + b->total - 1) / b->total;
}

uint64_t drip_due_ns(const struct drip *b)
{
    assert(b->drip_ms && b->begun_ns && b->left);
    uint64_t sent = b->total - b->left, step = b->drip_ms / DRIP_STEPS;
    step = step < 1 ? 1 : step > DRIP_STEP_MAX_MS ? DRIP_STEP_MAX_MS : step;
    uint64_t at = time_of(b, sent) + step, next_byte = time_of(b, sent + 1);
    at = at > next_byte ? at : next_byte;
    return b->begun_ns + (at < b->drip_ms ? at : b->drip_ms) * NS_A_MS;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool begin_chunk(struct buffer *out, struct drip *b, size_t n)
{
    char line[24];
    int len = snprintf(line, sizeof line, "%zx\r\n", n);
    b->in_chunk = n;
    return buffer_append(out, line, (size_t)len);
}

/* Some of the `due` bytes, at most `room`, neither of them 0. */
static bool put_some(struct buffer *out, struct drip *b, size_t due, size_t room)
{
    bool chunked = b->chunk_size > 0;
    if (chunked && b->in_chunk == 0 && !begin_chunk(out, b, least(due, b->chunk_size)))
        return false;
    size_t n = least(chunked ? b->in_chunk : due, room);
    if (!buffer_append(out, b->p, n))
        return false;
    b->p += n;
    b->left -= n;
    if (!chunked)
        return true;
    b->in_chunk -= n;
    return b->in_chunk || buffer_append(out, "\r\n", 2);
}

bool drip_put(struct buffer *out, struct drip *b, uint64_t now_ns, size_t most)
{
    size_t n = bytes_due(b, now_ns);
    while (n && buffer_len(out) + CHUNK_EXTRA < most) {
        size_t before = b->left;
        if (!put_some(out, b, n, most - CHUNK_EXTRA - buffer_len(out)))
            return false;
        n -= before - b->left;
    }
    if (b->left || !b->last_chunk || buffer_len(out) + strlen(LAST_CHUNK) > most)
        return true;
    b->last_chunk = false;
    return buffer_append(out, LAST_CHUNK, strlen(LAST_CHUNK));
}
