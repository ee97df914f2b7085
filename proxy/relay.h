/* Bytes from one conn to another under back-pressure; knows no HTTP.
 *
 * What for: one way of a tunnel, or of a body. Small pieces are read and written; bulk goes through
 * a pipe by splice(), so that the bytes never come into the process:
 *
 *               reads that fill the whole buffer, several in a row
 *   copying ----------------------------------------------------------> bulk
 *           <----------------------------------------------------------
 *               several rounds in a row that moved little; all is moved that was to be
 *
 * In bulk a round takes what the source has, up to PIPE_MAX_HELD, and gives the sink what it takes.
 * If the sink is full a small piece is read out of the pipe and queued, as whoever waits for the
 * queue to drain is told when the sink has room again; the rest waits in the pipe.
 *
 * Invariants: while more than CONN_HIGH_MARK is queued on the sink, or the pipe holds bytes that it
 * does not take, its source is paused for PAUSE_PEER; nobody else sets that reason, but for
 * exchange.c when an upstream takes no more at all. What the source has kept goes before what comes
 * as bulk, what is queued on the sink before what the pipe holds. Ownership: none but of the pipe,
 * while it holds bytes. Threads: one worker. */
#pragma once
#include <stdint.h>

#include "proxy/ground.h"

#define RELAY_BULK_AFTER 3 /* reads */

struct relay {
    struct worker *worker;
    struct conn *source, *sink;
    struct pipe *pipe; /* NULL: it holds nothing */
    uint64_t left;     /* bytes still to be moved as bulk */
    bool bulk;
    uint8_t poor; /* rounds in a row that moved little */
};

enum relay_result {
    RELAY_OK,
    RELAY_SOURCE, /* *uv_error; UV_EOF: its end has come, behind what the pipe may hold */
    RELAY_SINK,   /* it is broken, *uv_error says how */
};

/* Neither way is begun. */
void relay_init(struct relay *r, struct worker *w, struct conn *source, struct conn *sink);
/* For relay_end(): of one that is in bulk, or whose pipe holds something. */
void relay_stop(struct relay *r);
/* What the pipe still holds is lost. */
static inline void relay_end(struct relay *r)
{
    if (r->bulk || r->pipe)
        relay_stop(r);
}

/* Writes to the sink and pauses the source if that was too much. < 0: the sink is broken. */
static inline int relay_write(const struct relay *r, const uv_buf_t *bufs, unsigned n,
                              bool *none_sent)
{
    int uv_error = conn_write(r->sink, bufs, n, none_sent);
    if (uv_error == 0 && conn_queued(r->sink) > CONN_HIGH_MARK)
        conn_pause(r->source, PAUSE_PEER);
    return uv_error;
}

/* After a piece was passed on: whether the source brings so much that bulk pays. */
static inline bool relay_pays(const struct relay *r)
{
    return r->source->full_reads >= RELAY_BULK_AFTER && conn_pending(r->source) == 0 &&
           conn_can_splice(r->source) && conn_can_splice(r->sink);
}
/* The next `most` bytes of the source are moved as bulk, from its next on_readable on. */
void relay_begin(struct relay *r, uint64_t most);
/* on_readable of the source: moves what there is, in a few rounds. *moved: bytes taken from it. */
enum relay_result relay_turn(struct relay *r, size_t *moved, int *uv_error);

/* What is left behind once the sink has drained. */
enum relay_rest {
    RELAY_REST_NONE, /* all is with the sink; the source, which was paused for it, is no longer: it
                        is for the caller to let it go on */
    RELAY_REST_SAME, /* the source stays as it is: paused for bytes in the pipe, or it never was */
    RELAY_REST_LOST, /* the sink is broken, *uv_error says how */
};

/* The sink has drained: it gets what the pipe holds, as far as it takes it. */
enum relay_rest relay_drained(struct relay *r, int *uv_error);

/* Bytes on their way that the sink has not got. */
static inline size_t relay_held(const struct relay *r)
{
    return r->pipe ? r->pipe->held : 0;
}
