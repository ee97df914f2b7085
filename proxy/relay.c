#include "proxy/relay.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

#define LITTLE (16 * 1024)  /* a round that moves less costs as much as copying does */
#define MAX_POOR 4          /* such rounds in a row */
#define PLENTY (128 * 1024) /* a round that moved so much is followed by another at once, */
#define MAX_ROUNDS 4        /* up to so many: other connections have to have their turn */
#define SPILL 4096          /* bytes read out of the pipe and queued, see relay.h */

void relay_init(struct relay *r, struct worker *w, struct conn *source, struct conn *sink)
{
    *r = (struct relay){.worker = w, .source = source, .sink = sink};
}

static void give_pipe(struct relay *r)
{
    if (r->pipe)
        pipe_give(&r->worker->pipes, r->pipe);
    r->pipe = NULL;
}

static void leave_bulk(struct relay *r)
{
    r->bulk = false;
    conn_set_bulk(r->source, false);
}

void relay_stop(struct relay *r)
{
    if (r->bulk)
        leave_bulk(r);
    give_pipe(r);
}

void relay_begin(struct relay *r, uint64_t most)
{
    assert(most > 0 && conn_pending(r->source) == 0 && r->pipe == NULL);
    r->bulk = true;
    r->left = most;
    r->poor = 0;
    conn_set_bulk(r->source, true);
}

/* The sink is full: a little is queued, so that on_drain comes when it has room. */
static int spill(struct relay *r)
{
    char data[SPILL];
    ssize_t n = read(r->pipe->out, data, r->pipe->held < SPILL ? r->pipe->held : SPILL);
    if (n <= 0)
        return n < 0 ? -errno : UV_EPIPE;
    r->pipe->held -= (size_t)n;
    return conn_queue(r->sink, data, (size_t)n);
}

/* Gives the sink what the pipe holds, as much as it takes. < 0: the sink is broken. */
static int flush(struct relay *r)
{
    struct pipe *p = r->pipe;
    while (p && p->held && conn_queued(r->sink) == 0) {
        ssize_t n = conn_splice_to(r->sink, p->out, p->held);
        p->held -= n > 0 ? (size_t)n : 0;
        if (p->held && (n >= 0 || n == UV_EAGAIN))
            n = spill(r);
        if (n < 0)
            return (int)n;
    }
    if (p == NULL || p->held == 0)
        give_pipe(r);
    else
        conn_pause(r->source, PAUSE_PEER);
    return 0;
}

enum relay_rest relay_drained(struct relay *r, int *uv_error)
{
    *uv_error = flush(r);
    if (*uv_error < 0)
        return RELAY_REST_LOST;
    if (relay_held(r) || !conn_is_paused(r->source, PAUSE_PEER))
        return RELAY_REST_SAME;
    conn_clear_pause(r->source, PAUSE_PEER);
    return RELAY_REST_NONE;
}

/* Whether bulk goes on: as long as it moves much, for a single poor round may be chance. */
static void judge(struct relay *r, size_t moved)
{
    r->poor = moved < LITTLE ? r->poor + 1 : 0;
    r->left -= moved;
    if (r->left == 0 || r->poor >= MAX_POOR)
        leave_bulk(r);
}

/* One round: from the source into a pipe, and on to the sink. *moved: bytes that went into the
 * pipe. What came before an error of the source is passed on first. */
static enum relay_result round_once(struct relay *r, size_t *moved, int *uv_error)
{
    *moved = 0;
    if (conn_queued(r->sink)) { /* what is queued goes first */
        conn_pause(r->source, PAUSE_PEER);
        return RELAY_OK;
    }
    assert(r->bulk && r->pipe == NULL);
    r->pipe = pipe_take(&r->worker->pipes, uv_now(&r->worker->loop));
    if (r->pipe == NULL) {
        leave_bulk(r);
        return RELAY_OK;
    }
    ssize_t n = conn_splice_from(r->source, r->pipe->in,
                                 r->left < PIPE_MAX_HELD ? (size_t)r->left : PIPE_MAX_HELD);
    *moved = r->pipe->held = n > 0 ? (size_t)n : 0;
    judge(r, *moved);
    *uv_error = flush(r);
    if (*uv_error < 0)
        return RELAY_SINK;
    *uv_error = (int)n;
    return n > 0 || n == UV_EAGAIN ? RELAY_OK : RELAY_SOURCE;
}

enum relay_result relay_turn(struct relay *r, size_t *moved, int *uv_error)
{
    enum relay_result result;
    size_t n;
    unsigned rounds = 0;
    *moved = 0;
    do {
        result = round_once(r, &n, uv_error);
        *moved += n;
    } while (result == RELAY_OK && n >= PLENTY && r->bulk &&
             !conn_is_paused(r->source, PAUSE_PEER) && ++rounds < MAX_ROUNDS);
    return result;
}
