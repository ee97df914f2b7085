#include "proxy/body.h"

#include <assert.h>
#include <stdio.h>

#include "http/rewrite.h"

#define BULK_LEAST (128 * 1024) /* if less is left, bulk does not pay */

void body_init(struct body *b, enum body_kind kind, uint64_t length, uint32_t max_trailers)
{
    framing_init(&b->framing, kind, length, max_trailers);
}

void body_deinit(struct body *b)
{
    assert(!b->relay.bulk && relay_held(&b->relay) == 0);
    framing_deinit(&b->framing);
}

struct body_piece body_decode(struct body *b, char *data, size_t len)
{
    struct body_piece p;
    p.result = framing_decode(&b->framing, data, len, &p.used, &p.payload);
    return p;
}

bool body_put_chunk(const struct framing *from, uv_buf_t *bufs, unsigned *n, char *line,
                    uv_buf_t payload, bool last, struct buffer *scratch)
{
    static char crlf[] = "\r\n";
    const struct head *trailers = NULL;
    const char *base = NULL;
    if (payload.len) {
        int len = snprintf(line, BODY_CHUNK_LINE, "%zx\r\n", payload.len);
        bufs[(*n)++] = uv_buf_init(line, (unsigned)len);
        bufs[(*n)++] = payload;
        bufs[(*n)++] = uv_buf_init(crlf, 2);
    }
    if (!last)
        return true;
    /* A head may stand in scratch already, which goes out in the same write. */
    size_t before = buffer_len(scratch);
    if (!framing_trailers(from, &trailers, &base))
        trailers = NULL;
    if (!rewrite_last_chunk(scratch, trailers, base))
        return false;
    bufs[(*n)++] =
        uv_buf_init(buffer_head(scratch) + before, (unsigned)(buffer_len(scratch) - before));
    return true;
}

/* A chunked body has framing in between, and a body that ends with its connection has no length
 * that says when bulk must stop: both are copied. */
void body_consider_bulk(struct body *b)
{
    const struct framing *f = &b->framing;
    if (f->kind == BODY_LENGTH && f->left >= BULK_LEAST && relay_pays(&b->relay))
        relay_begin(&b->relay, f->left);
}

enum relay_result body_turn(struct body *b, size_t *moved, int *uv_error)
{
    enum relay_result result = relay_turn(&b->relay, moved, uv_error);
    assert(*moved <= b->framing.left);
    b->framing.left -= *moved;
    return result;
}
