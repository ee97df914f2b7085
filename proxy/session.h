/* HTTP/1 with one client: heads in, answers out, one exchange after another, keep-alive, linger.
 *
 *            first byte         head complete            answer handed over, connection stays
 *   IDLE ----------------> HEAD ---------------> EXCHANGE ------------------------------> IDLE
 *     |                     |                      |    \ 101
 *     | eof, idle deadline  | refused, 408         |     -----> TUNNEL
 *     v                     v                      v               | both ends have ended
 *   CLOSED <------------- LINGER <-----------------+---------------+
 *
 *   IDLE      no request; the idle deadline runs (for a new connection too). While the client does
 *             not read its answers, what it has sent behind them waits here
 *   HEAD      a part of a head has come; the request deadline runs from the first byte
 *   EXCHANGE  an exchange carries the request; bytes of later requests wait in the conn. If it is
 *             the last one and wholly there, the client is not watched at first: mostly it is
 *             answered and gone before the watch deadline
 *   TUNNEL    the connection belongs to a tunnel (tunnel.h), which the session owns
 *   LINGER    the last answer is out; what the client still sends is thrown away for a moment, so
 *             that a reset can't overtake the answer (RFC 9112 9.6)
 *
 * What for: it is the front of its exchanges (front.h): it parses request heads, composes answer
 * heads, chunks and the proxy's own answers, and runs the client's deadlines.
 * Invariants: at most one exchange, so pipelined requests are answered in order for free.
 * Ownership: the worker's, as its client. Threads: one worker. */
#pragma once
#include "http/parser.h"
#include "proxy/client.h"
#include "proxy/front.h"

enum session_state {
    SESSION_IDLE,
    SESSION_HEAD,
    SESSION_EXCHANGE,
    SESSION_TUNNEL,
    SESSION_LINGER,
    SESSION_CLOSED,
};

/* A request head while it is parsed. Most heads come in one piece: these are parsed in the worker's
 * own reader. One that does not gets a reader for itself. */
struct head_reader {
    struct parser parser;
    struct head head;
};

struct session {
    struct client client; /* its deadline: idle, request (head, body), watch, linger */
    struct front front;
    union {
        struct head_reader *reader; /* HEAD */
        struct exchange *exchange;  /* EXCHANGE */
        struct tunnel *tunnel;      /* TUNNEL */
    };
    uint8_t state;         /* enum session_state */
    uint8_t method, minor; /* of the request: enum method, HTTP/1.minor */
    uint8_t down;          /* enum body_kind: how the answer under way ends for the client */
    bool keep_alive;       /* the client lets the connection stay after this request */
    bool upgrade;          /* the client asked for an Upgrade */
    bool close;            /* the answer says that the connection closes behind it */
    bool served : 1;       /* at least one request was answered */
    bool heard_end : 1;    /* LINGER: what came ends like a head, so nothing is to follow */
};

extern const struct client_mode session_mode;

/* The worker's queue expires here. */
void session_on_watch_deadline(struct deadline *d);
