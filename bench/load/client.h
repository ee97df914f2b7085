/* One connection of a load, and the requests that are in flight on it.
 *
 *         client_send                on_connected             client_send
 *   OFF -------------> CONNECTING ----------------> OPEN --------------------> OPEN
 *    ^                     | failed                   | ended by either side, broken, too slow
 *    |      on_closed      v                          v
 *    +------------------ CLOSING <--------------------+
 *
 *   OFF         there is no connection. If requests are in flight (they stood behind an answer that
 *               closed the connection), the client connects at once to send them again
 *   CONNECTING  requests in flight are composed when the connection is made
 *   OPEN        answers come in the order of the requests
 *   CLOSING     the requests in flight have failed, or wait to be sent again
 *
 * Invariants: a client is in the `free` list of its thread exactly while it may take a request: it
 * is OFF and not held back, or OPEN, and fewer than `pipeline` requests are in flight. The deadline
 * runs while the client connects or requests are in flight, and begins anew with each answer.
 * Ownership: the thread's. Threads: that one. */
#pragma once
#include "bench/load/load_thread.h"
#include "net/conn.h"

enum client_state { CLIENT_OFF, CLIENT_CONNECTING, CLIENT_OPEN, CLIENT_CLOSING };

struct client_request {
    uint64_t due_ns; /* on base/clock.h */
    uint32_t key;
};

struct client {
    struct conn conn; /* not valid in OFF */
    struct conn_room room;
    struct load_thread *thread;
    struct list free;
    struct deadline
        deadline; /* of the first request in flight; OFF: until the client may connect again */
    enum client_state state;
    bool held_back;        /* OFF: connecting failed just now, and is not tried again at once */
    unsigned first, count; /* of `requests`, a ring of `pipeline` elements */
    struct client_request *requests;
    struct wire_reader *reader;
};

void client_init(struct client *c, struct load_thread *t);
/* After on_closed or in OFF. */
void client_deinit(struct client *c);
/* Connects without a request, so that the load begins with open connections. */
void client_connect(struct client *c);
/* Takes a request; the client must be in the `free` list. The request is composed now if the client
 * is OPEN, and written by client_flush(). */
void client_send(struct client *c, uint64_t due_ns, uint32_t key);
/* Writes the requests that were composed for this client. */
void client_flush(struct client *c);
/* All requests in flight fail for this reason, and the connection is closed. */
void client_fail(struct client *c, enum load_error why);
/* Closes the connection if there is one; no request may be in flight. */
void client_close(struct client *c);

void client_on_timeout(struct deadline *d);
void client_on_backoff(struct deadline *d);
