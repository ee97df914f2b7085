/* One request and its answer: THE state machine. It picks a server, sends, retries, gives up.
 *
 * Two halves with a state each, and around them the attempt:
 *
 *   request   HEAD --> BODY --> DONE         HEAD: the parser is fed by the session
 *                \________________^          BODY: framed bytes pass to the upstream
 *   answer    WAIT --> BODY --> DONE         WAIT: nothing but 1xx went to the client
 *                \____________^  ^           BODY: the final head is passed on
 *                 \--> TUNNEL ---/           TUNNEL: 101, tunnel.c has the bytes
 *   attempt   NONE --> CONNECT --> SENT      CONNECT: nothing of it was sent on this connection
 *               ^  \______________^          SENT: the head was, or is about to be, written
 *               '------'------------'        back to NONE: this attempt is over
 *
 * What holds: a connection and its server are lent exactly while the attempt is not NONE. A body is
 * taken from the client only while the attempt is SENT. While the answer is in WAIT the exchange
 * may start again on another server if exchange.c's may_resend() says so, and on nothing else.
 * Ownership: the session's; from the worker's free list. Threads: one worker. */
#pragma once
#include "base/buffer.h"
#include "http/parser.h"
#include "proxy/body.h"
#include "proxy/tunnel.h"
#include "proxy/upstream.h"

struct session;

enum exchange_request { REQUEST_HEAD, REQUEST_BODY, REQUEST_DONE };
enum exchange_answer { ANSWER_WAIT, ANSWER_BODY, ANSWER_TUNNEL, ANSWER_DONE };
enum exchange_attempt { ATTEMPT_NONE, ATTEMPT_CONNECT, ATTEMPT_SENT };

/* Why the last try failed: decides between 502, 503 and 504 in the end. */
enum exchange_failure { FAILURE_NONE, FAILURE_BROKEN, FAILURE_TIMEOUT, FAILURE_LOCAL };

#define EXCHANGE_REPLAY_MAX (64 * 1024)

struct exchange {
    struct session *session;
    struct exchange *next_spare;
    struct deadline deadline; /* for the final head, later the longest gap */

    enum exchange_request request;
    enum exchange_answer answer;
    enum exchange_attempt attempt;
    struct lease lease; /* attempt CONNECT, SENT: of a server and a connection */

    /* what it is */
    uint64_t started_ms;
    uint8_t method, minor;
    uint8_t last_failure; /* enum exchange_failure */
    bool idempotent;
    bool upgrade;    /* the client asked for it */
    bool keep_alive; /* the client allows it */
    bool needs_host; /* HTTP/1.0 without a Host: the backend's address */

    /* how far it is */
    bool head_unsent;     /* attempt SENT: the head waits to go out with the first body bytes */
    bool sent;            /* a byte of it may have reached some server */
    bool write_dead;      /* the upstream takes no more; its answer may still come */
    bool upstream_reset;  /* a write was told so: reading will show an end like any other */
    bool replay_lost;     /* what was sent of the body is no longer at hand */
    bool wait_continue;   /* Expect: 100-continue, neither a body byte nor an answer yet */
    bool continued;       /* a 100 was passed on */
    bool answer_begun;    /* a byte of an answer came on this attempt */
    bool answer_keep;     /* the upstream may serve again after this answer */
    bool close_client;    /* the answer says so */
    size_t unsent;        /* when the response deadline was armed; 0: not asked */
    uint8_t interim;      /* 1xx answers on this attempt */
    uint16_t status;      /* of the answer passed on, 0: none yet */
    struct tunnel tunnel; /* answer TUNNEL */
    struct body request_body, answer_body;

    /* kept over uses: what stands below is not zeroed */
    struct buffer out;    /* the request head as the server gets it */
    size_t out_fixed;     /* of it, without what differs from try to try */
    struct buffer replay; /* body bytes sent, framed, for another try */
    struct parser parser; /* of the request, then of the answer */
    struct head head;     /* of the request, then of the answer */
};

/* NULL: no memory. The parser stands ready for the request's head. */
struct exchange *exchange_new(struct session *s);
/* Frees the free list. */
void exchange_free_spares(struct worker *w);

/* From the session. Any of these may end the exchange and free it: s->exchange is another then. */

/* The head is complete and valid, at base. */
void exchange_start(struct exchange *x, const char *base);
/* Takes body bytes; returns how many. */
size_t exchange_on_body(struct exchange *x, char *data, size_t len);
/* Sends a head that still waits for body bytes. False: the exchange went on elsewhere or is over.
 */
bool exchange_flush(struct exchange *x);
void exchange_on_client_drain(struct exchange *x);
/* More of a body that is moved as bulk has come. */
void exchange_on_client_readable(struct exchange *x);
/* The request deadline ran out while the body was to come. */
void exchange_body_too_slow(struct exchange *x);
/* The request is wholly there and no other will follow on this connection. */
static inline bool exchange_is_last(const struct exchange *x)
{
    return x->request == REQUEST_DONE && !x->keep_alive && !x->upgrade;
}
/* Only the end of the client's connection says where the answer under way ends. */
static inline bool exchange_ends_by_close(const struct exchange *x)
{
    return x->answer == ANSWER_BODY && x->minor == 0 &&
           (x->answer_body.framing.kind == BODY_CHUNKED ||
            x->answer_body.framing.kind == BODY_CLOSE);
}
/* The session goes: drops everything and frees it, without a word to the session. */
void exchange_abandon(struct exchange *x);

void exchange_on_response_deadline(struct deadline *d);
