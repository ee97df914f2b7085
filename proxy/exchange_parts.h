/* Between the sources of exchange.h: exchange.c (life, end, clocks, attempts, and what the
 * connection tells), exchange_request.c (the way up), exchange_answer.c (the way down).
 *
 * Threads and ownership: as of exchange.h. Everything here is called within an event. */
#pragma once
#include <assert.h>

#include "proxy/exchange.h"

/* ---- states: each move is checked ---- */

static inline struct worker *exchange_worker(const struct exchange *x)
{
    return x->wl->worker;
}

/* There must be an attempt. */
static inline struct conn *exchange_server_conn(const struct exchange *x)
{
    return &x->lease.upstream->conn;
}

static inline bool exchange_is_over(const struct exchange *x)
{
    return x->record.reason != END_OPEN;
}

static inline void exchange_move_request(struct exchange *x, enum exchange_request to)
{
    assert(to > x->request);
    x->request = (uint8_t)to;
}

static inline void exchange_move_attempt(struct exchange *x, enum exchange_attempt to)
{
    static const uint8_t allowed[] = {
        [ATTEMPT_NONE] = 1 << ATTEMPT_CONNECT | 1 << ATTEMPT_READY,
        [ATTEMPT_CONNECT] = 1 << ATTEMPT_NONE | 1 << ATTEMPT_READY,
        [ATTEMPT_READY] =
            1 << ATTEMPT_NONE | 1 << ATTEMPT_SENT | 1 << ATTEMPT_DEAF | 1 << ATTEMPT_RESET,
        [ATTEMPT_SENT] = 1 << ATTEMPT_NONE | 1 << ATTEMPT_DEAF | 1 << ATTEMPT_RESET,
        [ATTEMPT_DEAF] = 1 << ATTEMPT_NONE,
        [ATTEMPT_RESET] = 1 << ATTEMPT_NONE,
    };
    assert(allowed[x->attempt] & 1 << to);
    assert((x->lease.upstream != NULL) == (to != ATTEMPT_NONE));
    x->attempt = (uint8_t)to;
}

static inline void exchange_move_replay(struct exchange *x, enum exchange_replay to)
{
    assert(to > x->replay);
    x->replay = (uint8_t)to;
}

static inline void exchange_move_answer(struct exchange *x, enum exchange_answer to)
{
    assert(to > x->answer);
    x->answer = (uint8_t)to;
}

/* docs/http.md "Tries": whether the request may be sent again. */
static inline bool exchange_may_resend(const struct exchange *x)
{
    return x->answer == ANSWER_WAIT && x->replay != REPLAY_LOST;
}

static inline bool exchange_has_body_to_come(const struct exchange *x)
{
    return x->request == REQUEST_EXPECT || x->request == REQUEST_BODY;
}

/* The server takes no more of the request. */
static inline bool exchange_is_deaf(const struct exchange *x)
{
    return x->attempt == ATTEMPT_DEAF || x->attempt == ATTEMPT_RESET;
}

static inline bool exchange_front_is_paused(const struct exchange *x)
{
    return x->front->ops->is_paused(x->front);
}

static inline void exchange_pause_front(struct exchange *x)
{
    x->front->ops->pause(x->front);
}

/* What waits of the body may come within this. */
static inline void exchange_resume_front(struct exchange *x)
{
    x->front->ops->resume(x->front);
}

/* ---- exchange.c ---- */

/* Begins an event. */
static inline void exchange_enter(struct exchange *x)
{
    assert(x->depth < UINT8_MAX);
    x->depth++;
}
/* Ends it: nothing of the exchange may be touched behind this. */
void exchange_settle(struct exchange *x);
/* Nothing more is done with it; exchange_settle() frees it. Again: nothing. */
void exchange_end(struct exchange *x, enum end_reason why);
/* With an answer of the proxy's own. */
void exchange_end_by_proxy(struct exchange *x, enum end_reason why, int status);
/* The connection goes back (keep) or is closed, the server is given back. */
void exchange_end_attempt(struct exchange *x, bool keep);
/* Empties a buffer, and frees it if it is large. */
void exchange_trim(struct buffer *b);
/* Lends the next server and begins an attempt on it. */
void exchange_pick(struct exchange *x);
/* The server of this try is to blame for its failure: another is tried, or none is left. */
void exchange_attempt_failed(struct exchange *x, enum end_reason why);
/* The connection broke. A kept one that the server has just closed is no failed try. */
void exchange_broken(struct exchange *x, int uv_error);

/* ---- exchange_request.c ---- */

/* Sends the head of a READY attempt, for which no body bytes have come. */
void exchange_flush(struct exchange *x);
/* How many bytes of the body were taken: none while there is nobody to take them. */
size_t exchange_take_body(struct exchange *x, char *data, size_t len);
/* The server takes no more of the request; what it has answered before that can be read. */
void exchange_go_deaf(struct exchange *x, int uv_error);
/* What was queued for the server is out. */
void exchange_server_drained(struct exchange *x);

/* ---- exchange_answer.c ---- */

/* How many bytes of the answer were taken. */
size_t exchange_take_answer(struct exchange *x, char *data, size_t len);
void exchange_server_eof(struct exchange *x);
/* Moves what there is of a body in bulk. */
void exchange_pass_bulk_down(struct exchange *x);
