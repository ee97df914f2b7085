/* What an exchange asks of its front: of the one that brought the request.
 *
 * What for: an exchange carries a request to a server and the answer back. How the request came,
 * and how the answer is put into bytes, is the front's business. An HTTP/1 session is a front; a
 * stream of HTTP/2 would be another.
 *
 *   front --- exchange_start, _on_body, _on_drain, _on_readable ---> exchange
 *         <-- interim, answer, body, pause, resume, owes, end ------
 *
 * Invariants: `end` is called exactly once and last, unless the front gave the exchange up by
 * exchange_abandon(); after `end` the exchange is gone. `answer` is called at most once, and `body`
 * only after it. No operation of a front calls back into the exchange, except that `resume` may
 * offer body bytes, and that all but `end` may abandon it. A front keeps no pointer that it is
 * given. Ownership: the front owns the exchange; the exchange owns nothing of the front. Threads:
 * one worker. */
#pragma once
#include "http/framing.h"
#include "http/rewrite.h"
#include "proxy/record.h"

struct front;
struct lease;

enum front_result {
    FRONT_OK,
    FRONT_FULL, /* it took the bytes, and has no room for more until exchange_on_drain() */
    FRONT_GONE, /* the client is lost, or there was no memory: nothing more can be passed on */
};

/* What the exchange waits for from the client. The front runs a deadline for it. */
enum front_owes {
    FRONT_OWES_NOTHING,
    FRONT_OWES_BODY,    /* the next bytes of the request's body */
    FRONT_OWES_READING, /* to read: its connection is full of bytes of the answer */
};

/* The final head of an answer. */
struct front_answer {
    const struct head *head;
    const char *base;                    /* of the head */
    enum body_kind body;                 /* how the server ends the body */
    bool request_is_done;                /* the request has come whole */
    const struct rewrite_cookie *cookie; /* to be set; NULL: none */
};

/* Bytes of the answer's body. */
struct front_piece {
    char *data;
    size_t len;
    bool last;                     /* the body ends with them */
    const struct framing *framing; /* the server's; it has the trailers when `last` is set */
};

struct front_end {
    const struct request_record *record;
    bool own_answer; /* the front is to compose an answer with record->status, if it still can */
    bool request_is_done; /* the request has come whole */
    struct lease *lease;  /* END_UPGRADED: the front must take it over within `end`; else NULL */
};

struct front_ops {
    /* A 1xx for the client. After a 101, the only one that may set a cookie, nothing but `end`
     * follows. cookie: NULL: none. */
    enum front_result (*interim)(struct front *f, const struct head *h, const char *base,
                                 const struct rewrite_cookie *cookie);
    /* The final head, with the first piece of the body, which may be empty. */
    enum front_result (*answer)(struct front *f, const struct front_answer *a,
                                const struct front_piece *p);
    enum front_result (*body)(struct front *f, const struct front_piece *p);
    /* The exchange takes no bytes of the request's body for now. */
    void (*pause)(struct front *f);
    /* The exchange takes bytes again; those that wait may be offered within the call. */
    void (*resume)(struct front *f);
    bool (*is_paused)(struct front *f);
    /* What the client owes has changed, or it has just given a part: its time begins anew. */
    void (*owes)(struct front *f, enum front_owes what);
    /* The exchange is over. */
    void (*end)(struct front *f, const struct front_end *e);
};

struct front {
    const struct front_ops *ops;
};
