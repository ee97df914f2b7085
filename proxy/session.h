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
 * Ownership: the worker's; freed in the last close callback. Threads: one worker. */
#pragma once
#include "proxy/worker.h"

enum session_state {
    SESSION_IDLE,
    SESSION_HEAD,
    SESSION_EXCHANGE,
    SESSION_TUNNEL,
    SESSION_LINGER,
    SESSION_CLOSED,
};

struct session {
    struct conn conn;
    struct worker_listener *wl;
    struct exchange *exchange; /* HEAD, EXCHANGE, TUNNEL */
    struct list all;           /* worker's sessions */
    struct deadline deadline;  /* idle, request (head, body), linger */
    struct deadline watch;     /* until it is read from, see EXCHANGE */
    uint8_t state;             /* enum session_state */
    bool served;               /* at least one request was answered */
    bool counted;              /* among the descriptors in use */
    bool heard_end;            /* LINGER: what came ends like a head, so nothing is to follow */
    uint8_t peer_len;
    char peer[ADDR_IP_MAX]; /* the client's address, canonical text; empty: a unix socket's */
};

/* Takes over an accepted, non-blocking socket. */
void session_accept(struct worker_listener *wl, int fd, const struct addr *peer);
/* The exchange is over and freed, its answer handed to the conn. keep: the next request may come.
 * dirty: the client may still be sending what nobody will read. */
void session_answered(struct session *s, bool keep, bool dirty);
/* Closes at once, with the exchange if there is one. */
void session_close(struct session *s);
/* The worker stops: closes what is idle, once its last answer is out. */
void session_stop(struct session *s);

/* Queues of the listener and the worker expire here. */
void session_on_request_deadline(struct deadline *d);
void session_on_idle_deadline(struct deadline *d);
void session_on_linger_deadline(struct deadline *d);
void session_on_watch_deadline(struct deadline *d);

static inline struct str session_peer(const struct session *s)
{
    return (struct str){s->peer, s->peer_len};
}
