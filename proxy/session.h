/* One client connection: heads in, exchanges one after another, keep-alive, linger.
 *
 *            first byte         head complete            answer handed over, connection stays
 *   IDLE ----------------> HEAD ---------------> EXCHANGE ------------------------------> IDLE
 *     |                     |                      |    \ 101
 *     | eof, idle deadline  | refused, 408         |     -----> TUNNEL (still its exchange's)
 *     v                     v                      v                   |
 *   CLOSED <------------- LINGER <-----------------+-------------------+
 *
 *   IDLE      no exchange; the idle deadline runs (a new connection too). While the client does not
 *             read its answers, what it has sent behind them waits here
 *   HEAD      an exchange holds the parser; the request deadline runs from the first byte
 *   EXCHANGE  the exchange decides; bytes of later requests wait in the conn. If it is the last one
 *             and wholly there, the client is not watched at first: mostly it is answered and gone
 *             before the watch deadline
 *   TUNNEL    bytes go to the upstream as they are
 *   LINGER    the last answer is out; what the client still sends is thrown away for a moment, so
 *             that a reset can't overtake the answer (RFC 9112 9.6)
 *
 * Invariants: at most one exchange, so pipelined requests are answered in order for free.
 * Ownership: the worker's, as its client. Threads: one worker. */
#pragma once
#include "proxy/client.h"

enum session_state {
    SESSION_IDLE,
    SESSION_HEAD,
    SESSION_EXCHANGE,
    SESSION_TUNNEL,
    SESSION_LINGER,
    SESSION_CLOSED,
};

struct session {
    struct client client;      /* its deadline: idle, request (head, body), linger */
    struct exchange *exchange; /* HEAD, EXCHANGE, TUNNEL */
    struct deadline watch;     /* until it is read from, see EXCHANGE */
    uint8_t state;             /* enum session_state */
    bool served;               /* at least one request was answered */
    bool heard_end;            /* LINGER: what came ends like a head, so nothing is to follow */
};

extern const struct client_mode session_mode;

/* The exchange is over and freed, its answer handed to the conn. keep: the next request may come.
 * dirty: the client may still be sending what nobody will read. */
void session_answered(struct session *s, bool keep, bool dirty);
/* Closes at once, with the exchange if there is one. */
void session_close(struct session *s);

/* The worker's queue expires here. */
void session_on_watch_deadline(struct deadline *d);
