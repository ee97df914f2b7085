/* What the sources of exchange.h share.
 *
 * What for: exchange.c has the life, the end, the clocks, the attempts, and what the connection
 * reports; exchange_request.c has the way up; exchange_answer.c has the way down.
 * Invariants: every function in here is called within an event.
 * Ownership and threads: as in exchange.h. */
#pragma once
#include <assert.h>

#include "proxy/exchange.h"

/* ---- states: each move is asserted ---- */

static inline struct worker *exchange_worker(const struct exchange *x)
{
    return x->wl->worker;
}

/* The connection to the server; the attempt must not be NONE. */
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

/* docs/http.md, Retries: whether the request may be sent again. How often is the lease's count. */
static inline bool exchange_may_resend(const struct exchange *x)
{
    return x->answer == ANSWER_WAIT && x->replay != REPLAY_LOST;
}

static inline bool exchange_has_body_to_come(const struct exchange *x)
{
    return x->request == REQUEST_EXPECT || x->request == REQUEST_BODY;
}

/* Whether the server takes no more of the request. */
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

/* Body bytes that wait at the front may be offered within this call. */
static inline void exchange_resume_front(struct exchange *x)
{
    x->front->ops->resume(x->front);
}

/* ---- exchange.c ---- */

/* Begins an event, which exchange_settle() ends. */
static inline void exchange_enter(struct exchange *x)
{
    assert(x->depth < UINT8_MAX);
    x->depth++;
}
/* Ends an event. The exchange may be freed by it, so it must not be touched afterwards. */
void exchange_settle(struct exchange *x);
/* Ends the exchange: the connection is closed, and exchange_settle() will free it. The first reason
 * stands: a second call does nothing. */
void exchange_end(struct exchange *x, enum end_reason why);
/* The same, and the front is to answer with `status` for the proxy. */
void exchange_end_by_proxy(struct exchange *x, enum end_reason why, int status);
/* Gives the server back, and its connection: to the idle ones (keep), or it is closed. */
void exchange_end_attempt(struct exchange *x, bool keep);
/* Empties a buffer, and frees it if it is large. */
void exchange_trim(struct buffer *b);
/* Lends the next server and begins an attempt on it. If there is none, the exchange ends. */
void exchange_pick(struct exchange *x);
/* This try has failed, and b says who is to blame as long as the final head has not come: the next
 * server is tried, or the exchange ends. */
void exchange_attempt_failed(struct exchange *x, enum end_reason why, enum blame b);
/* Leaves this server, and its answer whose head has come, for the next one, if the request may be
 * sent again, a retry is left, and a server takes it. False: nothing has changed. */
bool exchange_leave(struct exchange *x);
/* The connection broke. A kept connection that the server has just closed is no failed try. */
void exchange_broken(struct exchange *x, int uv_error);

/* ---- exchange_request.c ---- */

/* Sends the head of a READY attempt, and what is kept of the body, as no other bytes have come. */
void exchange_flush(struct exchange *x);
/* Returns how many bytes of the body were taken: none while no connection takes them. */
size_t exchange_take_body(struct exchange *x, char *data, size_t len);
/* The server takes no more of the request. What it answered before that may still be readable. */
void exchange_go_deaf(struct exchange *x, int uv_error);
/* The kernel has taken all that was queued for the server. */
void exchange_server_drained(struct exchange *x);

/* ---- exchange_issue.c ---- */

/* The request has no key: it gets one that the proxy makes, if its route issues keys, or counts as
 * keyless. */
void exchange_without_key(struct exchange *x, const struct key_source *from);
/* The cookie that tells the client of the key that was made for it, as *out. NULL: none was made;
 * or h, the answer's head, sets a cookie of this name itself, which stands. The route must issue
 * keys. */
const struct rewrite_cookie *exchange_cookie(struct exchange *x, const struct head *h,
                                             const char *base, struct rewrite_cookie *out);

/* ---- exchange_answer.c ---- */

/* Returns how many bytes of the answer were taken. */
size_t exchange_take_answer(struct exchange *x, char *data, size_t len);
/* The server has ended its side. */
void exchange_server_eof(struct exchange *x);
/* Moves what there is of an answer's body as bulk. */
void exchange_pass_bulk_down(struct exchange *x);
