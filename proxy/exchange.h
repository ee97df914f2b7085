/* One request and its answer: THE state machine. It picks a server, sends, retries, gives up.
 *
 *   request   HEAD --> EXPECT --> BODY --> DONE     EXPECT: the client waits for a 100 before its
 *               \________________^  ^       ^               body; BODY: its next bytes are awaited
 *                \__________________________/
 *   attempt   NONE --> CONNECT --> READY --> SENT --> DEAF | RESET       CONNECT: no byte of it was
 *               ^ \_________________^         |         |                sent; READY: the head goes
 *               '-----------------------------+---------'                out with this event's body
 *             DEAF, RESET: the server takes no more of the request, as it has ended its side in
 *             order, or was reset; what it answered before that can still be read
 *   replay    FRESH --> KEPT --> LOST               FRESH: no server can have seen any of it; KEPT:
 *               \________________^                  it is idempotent and all that was sent is at
 *                                                   hand; LOST: it can't be sent again
 *   answer    WAIT --> BODY --> DONE                WAIT: nothing but 1xx went to the front; BODY:
 *               \________________^                  the final head did
 *
 * What for: it moves a request from its front (front.h) to a server and the answer back, whatever
 * protocol the front speaks. docs/http.md, "Tries", has the rules: a request may be sent again
 * while the answer is in WAIT and the replay is not LOST.
 *
 * Invariants: a connection and its server are lent exactly while the attempt is not NONE. Body
 * bytes are taken from the front only while the attempt is READY or SENT. No event ends in READY.
 * Events: each function below and each callback of the connection is one; they may nest. When the
 * outermost one is over, settle() sets the clocks, tells the front what its client owes, and ends
 * and frees what has become over. So within an event an exchange that is over can still be looked
 * at, and the front is told of the end as the very last thing.
 * Ownership: the front's; from the worker's free list. It holds a reference to its generation.
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

/* What an event has moved; its deadline begins anew. */
enum exchange_moved {
    MOVED_REQUEST = 1, /* the client gave body bytes */
    MOVED_SERVER = 2,  /* the server took some of what was queued for it */
    MOVED_ANSWER = 4,  /* the server gave bytes of its answer's body */
    MOVED_CLIENT = 8,  /* the client took some of what was queued for it */
};

#define EXCHANGE_REPLAY_MAX (64 * 1024)

struct exchange {
    struct front *front;        /* NULL: it has given the exchange up */
    struct conn *conn;          /* the client's, for bulk; NULL: the front has none of its own */
    struct worker_listener *wl; /* of its generation */
    struct exchange *next_spare;
    struct deadline deadline; /* for the final head, later the longest gap */
    struct lease lease;

    uint8_t request, attempt, replay, answer; /* see above */
    uint8_t depth;                            /* of events */
    uint8_t moved;                            /* enum exchange_moved, or'ed: in this event */
    uint8_t owes;                             /* enum front_owes: what the front was told last */

    /* what it is */
    uint8_t method;       /* enum method */
    uint8_t last_failure; /* enum end_reason: why the last try failed */
    bool upgrade;         /* the client asked for it */
    bool needs_host;      /* HTTP/1.0 without a Host: the backend's address */

    /* how far it is */
    bool continued;   /* a 100 was passed on */
    bool answer_keep; /* the connection may serve again after this answer */
    bool own_answer;  /* it is over, and the front is to answer for the proxy */
    bool heard;       /* a byte of an answer came in this attempt */
    uint8_t interim;  /* 1xx answers of this attempt */
    size_t unsent;    /* bytes the kernel held when the response deadline was armed; 0: they
                         were not counted then */
    struct request_record record; /* its reason is END_OPEN until the exchange is over */
    struct body request_body, answer_body;

    /* kept over uses: what stands below is not zeroed */
    struct buffer out;    /* the request head as the server gets it */
    size_t out_fixed;     /* of it, without what differs from try to try */
    struct buffer kept;   /* body bytes that were sent, framed, for another try */
    struct parser parser; /* of the answer */
    struct head head;     /* of the answer */
};

/* Under the client's generation. conn: see above. NULL: no memory. */
struct exchange *exchange_new(struct front *f, struct conn *conn, struct client *c);
/* Frees the free list. */
void exchange_free_spares(struct worker *w);

/* From the front. Any of these may end the exchange: front->ops->end was called by then, and it is
 * gone. */

/* The head, whose texts are at base, is complete and valid; it is not kept. data[0, len) has come
 * behind it: what is there of the body goes out together with the head. Returns how many of these
 * bytes were taken. */
size_t exchange_start(struct exchange *x, const struct head *h, const char *base, char *data,
                      size_t len);
/* Takes body bytes; returns how many. */
size_t exchange_on_body(struct exchange *x, char *data, size_t len);
/* The front has room again. */
void exchange_on_drain(struct exchange *x);
/* More of a body that is moved as bulk has come. */
void exchange_on_readable(struct exchange *x);
/* The client owed its body, and the time for it is over. */
void exchange_body_too_slow(struct exchange *x);
/* The front gives it up: everything is dropped without another word to the front. */
void exchange_abandon(struct exchange *x, enum end_reason why);

/* The request has come whole. */
static inline bool exchange_has_request(const struct exchange *x)
{
    return x->request == REQUEST_DONE;
}

void exchange_on_response_deadline(struct deadline *d);
