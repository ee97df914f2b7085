/* Bytes from one conn to another under back-pressure; knows no HTTP.
 *
 * Invariants: while more than CONN_HIGH_MARK is queued on the sink its source is paused for
 * PAUSE_PEER, and nobody else sets that reason.
 * Ownership: none. Threads: one loop. */
#pragma once
#include "net/conn.h"

/* Writes to the sink and pauses the source if that was too much. < 0: the sink is broken. */
static inline int relay_write(struct conn *source, struct conn *sink, const uv_buf_t *bufs,
                              unsigned n, bool *none_sent)
{
    int r = conn_write(sink, bufs, n, none_sent);
    if (r == 0 && conn_queued(sink) > CONN_HIGH_MARK)
        conn_pause(source, PAUSE_PEER);
    return r;
}

/* The sink has drained: the source goes on, first with what it has kept. */
static inline void relay_drained(struct conn *source)
{
    if (!(source->paused & PAUSE_PEER))
        return;
    conn_resume(source, PAUSE_PEER);
    conn_continue(source);
}
