/* Bytes from one conn to another under back-pressure, without a look at them.
 *
 *               reads that fill the whole buffer, several in a row
 *   copying ----------------------------------------------------------> bulk
 *           <----------------------------------------------------------
 *               several rounds in a row that moved little; all was moved that was to be
 *
 * What for: a relay is one way of a tunnel or of a body. Small pieces are read and written; bulk
 * goes through a pipe by splice(), so that its bytes never come into the process. In bulk a round
 * takes what the source has, up to PIPE_MAX_HELD, and gives the sink as much as the sink takes. If
 * the sink is full, a small piece is read out of the pipe and queued, because on_drain, which tells
 * that there is room again, comes for queued bytes alone. The rest waits in the pipe.
 * Invariants: the source is paused for PAUSE_PEER while more than CONN_HIGH_MARK is queued on the
 * sink, or the pipe holds bytes that the sink does not take. Nobody else sets that reason, except
 * the exchange when a server takes no more at all. Order is kept: what the source's conn has kept
 * goes before bulk, what is queued on the sink before what the pipe holds.
 * Ownership: a relay has a pipe while the pipe holds bytes; the conns are its owner's.
 * Threads: one worker. */
#pragma once
#include <stdint.h>

#include "proxy/ground.h"

#define RELAY_BULK_AFTER 3 /* reads that fill the whole buffer */

struct relay {
    struct worker *worker;
    struct conn *source, *sink;
    struct pipe *pipe; /* NULL: no bytes are in one */
    uint64_t left;     /* bytes still to be moved as bulk */
    bool bulk;
    uint8_t poor; /* how many rounds in a row have moved little */
};

enum relay_result {
    RELAY_OK,
    RELAY_SOURCE, /* the source is broken, or *uv_error is UV_EOF: its end has come, behind what the
                     pipe may hold */
    RELAY_SINK,   /* the sink is broken, *uv_error says how */
};

/* Begins with copying. */
void relay_init(struct relay *r, struct worker *w, struct conn *source, struct conn *sink);
/* For relay_end() alone. */
void relay_stop(struct relay *r);
/* Gives both conns up. What the pipe still holds is lost. */
static inline void relay_end(struct relay *r)
{
    if (r->bulk || r->pipe)
        relay_stop(r);
}

/* Writes to the sink, and pauses the source if too much is queued. < 0: the sink is broken. */
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
/* From the source's next on_readable on, up to `most` of its bytes are moved as bulk. */
void relay_begin(struct relay *r, uint64_t most);
/* To be called in on_readable of the source: moves what there is, in a few rounds. *moved: how many
 * bytes were taken from the source. */
enum relay_result relay_turn(struct relay *r, size_t *moved, int *uv_error);

/* What is left to do once the sink has drained. */
enum relay_rest {
    RELAY_REST_NONE, /* the sink has all, and the source is not paused any more: the caller lets it
                        go on (conn_continue(), conn_resume()) */
    RELAY_REST_SAME, /* nothing: the source is still paused for bytes in the pipe, or never was */
    RELAY_REST_LOST, /* the sink is broken, *uv_error says how */
};

/* To be called in on_drain of the sink: gives it what the pipe holds, as much as it takes. */
enum relay_rest relay_drained(struct relay *r, int *uv_error);

/* The bytes in the pipe: taken from the source, not given to the sink. */
static inline size_t relay_held(const struct relay *r)
{
    return r->pipe ? r->pipe->held : 0;
}
