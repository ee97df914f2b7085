/* One connection of a load, and the requests that are on their way on it.
 *
 *         client_send                on_connected             client_send
 *   OFF -------------> CONNECTING ----------------> OPEN --------------------> OPEN
 *    ^                     | failed                   | ended by either side, broken, too slow
 *    |      on_closed      v                          v
 *    +------------------ CLOSING <--------------------+
 *
 *   OFF         nothing is open; with requests on their way it connects by itself (they
 *               stood behind an answer that closed the connection)
 *   CONNECTING  what is on its way is put when it is made
 *   OPEN        answers come in the order of the requests
 *   CLOSING     what was on its way has failed, or waits to be sent again
 *
 * Invariants: in its thread's `free` list exactly while it may take a request: OFF and not held
 * back, or OPEN, with fewer than `pipeline` on their way. The deadline runs while something is on
 * its way or it connects, and begins anew with each answer.
 * Ownership: the thread's. Threads: that one. */
#pragma once
#include "bench/load/load_thread.h"
#include "net/conn.h"

enum client_state { CLIENT_OFF, CLIENT_CONNECTING, CLIENT_OPEN, CLIENT_CLOSING };

struct client_request {
    uint64_t due_ns; /* CLOCK_MONOTONIC */
    uint32_t key;
};

struct client {
    struct conn conn; /* not in OFF */
    struct load_thread *thread;
    struct list free;
    struct deadline deadline; /* of the request under way; OFF: until it may connect again */
    enum client_state state;
    bool held_back;        /* OFF: connecting failed a moment ago */
    unsigned first, count; /* of requests: a ring of `pipeline` */
    struct client_request *requests;
    struct wire_reader *reader;
};

void client_init(struct client *c, struct load_thread *t);
/* After on_closed or in OFF. */
void client_deinit(struct client *c);
/* Connects with nothing to send yet, so that the load begins with open connections. */
void client_connect(struct client *c);
/* Takes a request; it must be in the `free` list. What is put is written by client_flush() at the
 * latest. */
void client_send(struct client *c, uint64_t due_ns, uint32_t key);
/* Writes what the thread has composed, for this client. */
void client_flush(struct client *c);
/* Whatever is on its way fails so, and it closes. */
void client_fail(struct client *c, enum load_error why);
/* Nothing is on its way: it closes if it is open. */
void client_close(struct client *c);

void client_on_timeout(struct deadline *d);
void client_on_backoff(struct deadline *d);
