/* One request and its answer: the state machine of the proxy.
 *
 *   request   HEAD -> EXPECT -> BODY -> DONE       forward only; a state may be left out
 *   replay    FRESH -> KEPT -> LOST                the same
 *   answer    WAIT -> BODY -> DONE                 the same
 *   attempt   NONE -> CONNECT -> READY -> SENT -> DEAF or RESET
 *               \_________________^ \____________^
 *             and from each of them back to NONE: that attempt is over
 *
 *   request   EXPECT: the client waits for a 100 before it sends its body; BODY: the next bytes of
 *             the body are awaited; DONE: the request has come whole
 *   replay    FRESH: no server can have seen a byte of the request; KEPT: the request is idempotent
 *             and every byte of it that was sent is still stored; LOST: it can't be sent again
 *   answer    WAIT: the front has got nothing but 1xx; BODY: it has got the final head; DONE: it
 *             has got the whole answer, or is to compose an answer of the proxy's own
 *   attempt   CONNECT: no byte of the request was sent; READY: there is a connection, and the head
 *             goes out in this event, together with what there is of the body; SENT: the head was
 *             sent; DEAF, RESET: the server takes no more of the request, because it has ended its
 *             side in order (DEAF) or reset the connection; its answer may still be readable
 *
 * What for: an exchange picks a server, moves the request from its front (front.h) to that server
 * and the answer back, tries other servers, or gives up. It does not know the front's protocol.
 * docs/http.md, Retries, has the rules: a request may be sent again while the answer is in WAIT and
 * the replay is not LOST.
 * Invariants: a server and a connection to it are lent exactly while the attempt is not NONE. Body
 * bytes are taken from the front only while the attempt is READY or SENT. No event ends in READY.
 * Events: each function below is an event, and so is each callback of the connection. Events nest.
 * When the outermost event ends, exchange_settle() tells the front what its client owes and arms
 * the clocks, or, if the exchange is over, tells the front of the end and frees the exchange. So
 * within an event an exchange that is over can still be read.
 * Ownership: the front owns it; its memory comes from the worker's free list. It holds a reference
 * to its generation.
 * Threads: one worker. */
#pragma once
#include "base/buffer.h"
#include "http/parser.h"
#include "proxy/body.h"
#include "proxy/front.h"
#include "proxy/lease.h"

enum exchange_request { REQUEST_HEAD, REQUEST_EXPECT, REQUEST_BODY, REQUEST_DONE };
enum exchange_attempt {
    ATTEMPT_NONE,
    ATTEMPT_CONNECT,
    ATTEMPT_READY,
    ATTEMPT_SENT,
    ATTEMPT_DEAF,
    ATTEMPT_RESET,
};
enum exchange_replay { REPLAY_FRESH, REPLAY_KEPT, REPLAY_LOST };
enum exchange_answer { ANSWER_WAIT, ANSWER_BODY, ANSWER_DONE };

/* What an event has moved. The deadline that waits for such bytes begins anew. */
enum exchange_moved {
    MOVED_REQUEST = 1, /* the client gave body bytes */
    MOVED_SERVER = 2,  /* the server took some of what was queued for it */
    MOVED_ANSWER = 4,  /* the server gave a 1xx, or bytes of its answer's body */
    MOVED_CLIENT = 8,  /* the client took some of what was queued for it */
};

#define EXCHANGE_REPLAY_MAX (64 * 1024)

struct exchange {
    struct front *front;         /* NULL: the front has given the exchange up */
    struct conn *conn;           /* the client's, for bulk; NULL: the front shares its conn */
    struct worker_listener *wl;  /* the listener, in the exchange's generation */
    struct exchange *next_spare; /* in the free list */
    struct deadline deadline; /* the server's: for the final head, then for each gap in the body */
    struct deadline_queue *gaps; /* where it is armed behind the final head; set with that head */
    struct lease lease;

    /* What stands from here on is zeroed for each request, up to `out`. */
    uint8_t request, attempt, replay, answer; /* see the drawing */
    uint8_t depth;                            /* how many events are open */
    uint8_t moved;                            /* by the open event: enum exchange_moved, or'ed */
    uint8_t owes;                             /* enum front_owes, as the front was told last */

    /* the request */
    uint8_t method;       /* enum method */
    uint8_t last_failure; /* enum end_reason, of the last try that failed */
    bool upgrade;         /* the client asked for it */
    bool needs_host;      /* HTTP/1.0 without a Host: the server's address becomes the Host */
    bool made_key; /* its key is the one in issued_key, and the answer is to set the cookie */
    bool secure;   /* with made_key: the client came by https */

    /* the progress */
    bool continued;   /* the front has got a 100 */
    bool answer_keep; /* by the answer's head the connection may serve again */
    bool own_answer;  /* the front is to compose the answer, with the record's status */
    bool heard;       /* in this attempt a byte came from the server */
    uint16_t interim; /* how many 1xx this attempt has brought */
    size_t unsent;    /* bytes of the request in the kernel when the response deadline was armed;
                         0: they were not counted then */
    struct request_record record; /* the reason is END_OPEN until the exchange is over */
    struct body request_body, answer_body;

    /* What stands from here on is not zeroed when the memory is used again: buffers stay. */
    const struct config_key_part *issued; /* of the route, if it has such a key; set with the key */
    char issued_key[KEY_ISSUED_LEN];
    struct buffer out;    /* the request head in the form that the server gets */
    size_t out_fixed;     /* end of the part of `out` that is the same for each try */
    struct buffer kept;   /* body bytes that were sent, with their framing, for another try */
    struct parser parser; /* of answer heads */
    struct head head;     /* the answer's, while it is parsed and passed on */
};

/* An exchange for one request, under the generation of the client. conn as in the struct. NULL: no
 * memory. */
struct exchange *exchange_new(struct front *f, struct conn *conn, struct client *c);
/* Frees the free list. */
void exchange_free_spares(struct worker *w);

/* ---- calls of the front ----
 *
 * Each of them may end the exchange. When it returns, front->ops->end() has been called then, and
 * the exchange is freed. */

/* Begins with a head that is complete and valid. Its texts stand at base; neither is needed after
 * the call. data[0, len) has come behind the head: what is there of the body is sent together with
 * it. Returns how many of these bytes were taken. */
size_t exchange_start(struct exchange *x, const struct head *h, const char *base, char *data,
                      size_t len);
/* Offers bytes of the body. Returns how many of them were taken. */
size_t exchange_on_body(struct exchange *x, char *data, size_t len);
/* The front can take bytes of the answer again. */
void exchange_on_drain(struct exchange *x);
/* The client has ended its side after its request. It may still read, or be gone: so an event
 * stream may be silent for as long as any other answer, and no longer as a tunnel. */
void exchange_on_client_end(struct exchange *x);
/* The front's conn has more of a body that is moved as bulk. */
void exchange_on_readable(struct exchange *x);
/* The deadline for FRONT_OWES_BODY is over. */
void exchange_body_too_slow(struct exchange *x);
/* The front gives the exchange up: the exchange ends, and calls the front no more, not even `end`.
 */
void exchange_abandon(struct exchange *x, enum end_reason why);

/* Whether the request has come whole. */
static inline bool exchange_has_request(const struct exchange *x)
{
    return x->request == REQUEST_DONE;
}

/* The rest of the request is still wanted. It is not if the exchange is over, even if it stands
 * until the end of its event. */
static inline bool exchange_lacks_request(const struct exchange *x)
{
    return x->request != REQUEST_DONE && x->record.reason == END_OPEN;
}

/* The deadlines of a pool's `response` and `body` queues and of a listener's `events` expire here.
 */
void exchange_on_response_deadline(struct deadline *d);
