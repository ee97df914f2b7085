/* A body on its way through an exchange, up or down.
 *
 * What for: bodies of requests and of answers are moved alike. A piece that was read is decoded,
 * and framed again for the next hop. A long body of known length is moved as bulk, see relay.h.
 * Invariants: framing.left counts what is still to be taken from the source, read or as bulk.
 * Ownership: embedded in its exchange.
 * Threads: one worker. */
#pragma once
#include "http/framing.h"
#include "proxy/relay.h"

struct body {
    struct framing framing; /* the sender's */
    struct relay relay;     /* of the attempt that is on */
};

/* What body_decode() made of bytes that were read: `used` of them belong to the body, and its
 * payload stands in front of them. */
struct body_piece {
    enum framing_result result;
    size_t used, payload;
};

/* Room for the size line of a chunk. */
#define BODY_CHUNK_LINE 20

/* As framing_init(). The relay is set up separately, for each attempt. */
void body_init(struct body *b, enum body_kind kind, uint64_t length, uint32_t max_trailers);
/* No bulk may be on. */
void body_deinit(struct body *b);

/* Decodes data[0, len) in place, see framing_decode(). */
struct body_piece body_decode(struct body *b, char *data, size_t len);
/* Puts a piece into chunks for the next hop: up to four buffers from bufs[*n] on, and none for an
 * empty piece that is not the last. line: BODY_CHUNK_LINE bytes. last: the body ends with this
 * piece; the last chunk, with the trailers that came in `from`, is composed behind what scratch
 * holds. False: no memory. */
bool body_put_chunk(const struct framing *from, uv_buf_t *bufs, unsigned *n, char *line,
                    uv_buf_t payload, bool last, struct buffer *scratch);

/* To be called after a piece was passed on: begins to move the rest as bulk if that pays. */
void body_consider_bulk(struct body *b);
/* As relay_turn(). */
enum relay_result body_turn(struct body *b, size_t *moved, int *uv_error);
/* Whether a body of known length was handed to the sink to its end. */
static inline bool body_is_handed_over(const struct body *b)
{
    return b->framing.kind == BODY_LENGTH && b->framing.left == 0 && relay_held(&b->relay) == 0;
}
