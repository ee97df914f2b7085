/* One way of an exchange: a body from where it comes to where it goes.
 *
 * What for: requests and answers are moved alike. A piece that was read is decoded, and framed
 * again for the next hop; of a body of known length the most is moved as bulk, see relay.h.
 * Invariants: framing.left counts what is still to be taken from the source, read or as bulk.
 * Ownership: embedded in its exchange. Threads: one worker. */
#pragma once
#include "http/framing.h"
#include "proxy/relay.h"

struct body {
    struct framing framing; /* as it comes */
    struct relay relay;     /* of this attempt */
};

/* What was made of a read: `used` bytes of it belong to the body, and those of the payload stand in
 * its front. */
struct body_piece {
    enum framing_result result;
    size_t used, payload;
};

/* Room for the size line of a chunk. */
#define BODY_CHUNK_LINE 20

/* As framing_init(). The relay is set up by itself, for each attempt. */
void body_init(struct body *b, enum body_kind kind, uint64_t length, uint32_t max_trailers);
/* Nothing may be on its way. */
void body_deinit(struct body *b);

struct body_piece body_decode(struct body *b, char *data, size_t len);
/* A piece in chunks for the next hop: put behind bufs[*n], of which up to four are used; none if
 * there is nothing to say. line: BODY_CHUNK_LINE bytes. last: the body ends here, with the trailers
 * that came in `from`, which are composed behind what scratch holds. False: no memory. */
bool body_put_chunk(const struct framing *from, uv_buf_t *bufs, unsigned *n, char *line,
                    uv_buf_t payload, bool last, struct buffer *scratch);

/* A piece was passed on: the rest is moved as bulk from now on if that pays. */
void body_consider_bulk(struct body *b);
/* As relay_turn(). */
enum relay_result body_turn(struct body *b, size_t *moved, int *uv_error);
/* Of known length, and all of it is handed to the sink, by bulk in the end. */
static inline bool body_is_handed_over(const struct body *b)
{
    return b->framing.kind == BODY_LENGTH && b->framing.left == 0 && relay_held(&b->relay) == 0;
}
