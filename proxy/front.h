/* What an exchange asks of whoever brought the request: its front.
 *
 * What for: an exchange carries a request to a server and the answer back. How the request came and
 * how the answer is put into bytes is the front's business: an HTTP/1 session is one, a stream of
 * HTTP/2 would be another.
 *
 *   front --- exchange_start, _on_body, _on_drain, _on_readable ---> exchange
 *         <-- interim, answer, body, pause, resume, owes, end ------
 *
 * Invariants: `end` comes exactly once and last, unless the front gave the exchange up itself
 * (exchange_abandon); after it the exchange is gone. At most one `answer`, and `body` only behind
 * it. No function of a front calls back into the exchange, but for `resume`, which may offer body
 * bytes at once, and for any but `end`, which may abandon it. Nothing of what is passed is kept by
 * the front. Ownership: the front owns the exchange's life, the exchange owns nothing of the front.
 * Threads: one worker. */
#pragma once
#include "http/framing.h"
#include "proxy/record.h"

struct front;
struct lease;

enum front_result {
    FRONT_OK,
    FRONT_FULL, /* it took the bytes and wants no more until exchange_on_drain() */
    FRONT_GONE, /* the client is lost, or there was no memory: nothing more can be passed on */
};

/* What the exchange waits for from the client; a deadline runs for it. */
enum front_owes {
    FRONT_OWES_NOTHING,
    FRONT_OWES_BODY,    /* the next bytes of its request */
    FRONT_OWES_READING, /* that it reads what fills its connection */
};

/* The final head of an answer. */
struct front_answer {
    const struct head *head;
    const char *base;     /* of the head */
    enum body_kind body;  /* how the body ends as it comes from the server */
    bool request_is_done; /* the request has come whole */
};

/* Bytes of the answer's body. */
struct front_piece {
    char *data;
    size_t len;
    bool last;                     /* the body ends with them */
    const struct framing *framing; /* it has the trailers once the last piece is there */
};

struct front_end {
    const struct request_record *record;
    bool own_answer;      /* the front is to answer record->status for the proxy, if it still can */
    bool request_is_done; /* the request has come whole */
    struct lease *lease;  /* END_UPGRADED: the front is to take it over within `end`, else NULL */
};

struct front_ops {
    /* A 1xx; 101 is the last one. */
    enum front_result (*interim)(struct front *f, const struct head *h, const char *base);
    enum front_result (*answer)(struct front *f, const struct front_answer *a,
                                const struct front_piece *p);
    enum front_result (*body)(struct front *f, const struct front_piece *p);
    /* No bytes of the request's body are wanted for now. */
    void (*pause)(struct front *f);
    /* They are wanted again; those that wait may be offered at once. */
    void (*resume)(struct front *f);
    bool (*is_paused)(struct front *f);
    /* What is owed changed, or the client has just paid a part: its time begins anew. */
    void (*owes)(struct front *f, enum front_owes what);
    void (*end)(struct front *f, const struct front_end *e);
};

struct front {
    const struct front_ops *ops;
};
