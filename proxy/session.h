/* HTTP/1 with one client: heads in, answers out, one exchange after another, keep-alive, linger.
 *
 *            first byte         head complete            answer handed over, connection stays
 *   IDLE ----------------> HEAD ---------------> EXCHANGE ------------------------------> IDLE
 *     |  \___________________|__ head at once ____^  |    \ 101
 *     | eof, idle deadline   | refused, 408          |     -----> TUNNEL
 *     v                      v                       v               | both ends have ended
 *   CLOSED <------------- LINGER <-------------------+---------------+
 *
 *   IDLE      no request; the idle deadline runs, for a new connection too. While the client does
 *             not read its answers, requests that it has sent after them wait here
 *   HEAD      a part of a head has come; the request deadline runs from its first byte
 *   EXCHANGE  an exchange carries the request; bytes of later requests wait in the conn. If this is
 *             the connection's last request and has come whole, the client is not watched at
 *             first: mostly the answer is sent, and the client gone, before the watch deadline
 *   TUNNEL    the connection is used by a tunnel (tunnel.h), which the session owns
 *   LINGER    the last answer is out; what the client still sends is thrown away for a moment, as a
 *             reset could overtake the answer (RFC 9112 9.6)
 *
 * CLOSED may follow each of them.
 *
 * What for: the session is the front of its exchanges (front.h). It parses request heads, composes
 * answer heads, chunks and the proxy's own answers, and runs the client's deadlines.
 * Invariants: there is at most one exchange, so pipelined requests are answered in order.
 * Ownership: the worker's, as one of its clients.
 * Threads: one worker. */
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

/* A request head while it is parsed. Most heads come in one piece and are parsed in the worker's
 * reader. A session whose head comes in pieces gets a reader of its own. */
struct head_reader {
    struct parser parser;
    struct head head;
};

struct session {
    struct client client; /* its deadline: idle, request (head, body), watch, grace or linger */
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
    bool heard_end : 1;    /* LINGER: what came ends like a head, so nothing should follow */
};

extern const struct client_mode session_mode;

/* The deadlines of the worker's `watch` queue expire here. */
void session_on_watch_deadline(struct deadline *d);
