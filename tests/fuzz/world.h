/* The peers of a worker: clients and backends over memory, who judge all that the proxy does.
 *
 * What for: fuzz_exchange.c says who does what; here stands what must hold whatever they do.
 * Invariants, checked with each byte that the proxy hands over or closes:
 *   - a backend gets whole, well-formed requests, one at a time, each one that its client has sent,
 *     the next one that is to be answered; its body is the client's, as far as it has come
 *   - a request that is not idempotent goes to one connection only; no server gets one twice, but
 *     for a kept connection that closed before it said a word
 *   - a connection is used again only after a whole, clean answer that allows it; one that a server
 *     logs in is used by one client, and goes with it
 *   - an HTTP/1.1 client gets every 1xx of the backend whose answer it gets, but one 100 only
 *   - a client gets well-formed answers in the order of its requests, each the one that the backend
 *     gave to this very request, or the proxy's own where that is due
 *   - whatever can go on does; a connect is given up in time; a stop is told with each answer
 *   - what ends with the connection ends in order only if it is whole; a request that came whole is
 *     answered or the client is to blame
 * Ownership: a world per input; peers live until its end. Threads: one. */
#pragma once
#include <stdio.h>
#include <stdlib.h>

#include "proxy/worker.h"
#include "tests/fuzz/http_message.h"
#include "tests/lib/made_up_time.h"
#include "tests/lib/memory_transport.h"

/* Holds, or the proxy is wrong. */
#define MUST(condition)                                                                \
    do {                                                                               \
        if (!(condition)) {                                                            \
            fprintf(stderr, "%s:%d: must hold: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                   \
        }                                                                              \
    } while (0)

#define WORLD_SERVERS 4
#define WORLD_CLIENTS 3 /* at a time */
#define WORLD_MAX_CONNECTIONS 200

struct backend;

/* What was said about it stands here, not at the connection to the backend: that may be lent to the
 * next request before the client of this one has seen all. */
struct request {
    struct http_message m;         /* as far as the proxy has read it */
    struct backend *at;            /* the backend that got it last; NULL: none yet */
    struct http_message got, said; /* what that backend got of it, and its answer */
    unsigned interim, hundreds;    /* answers before the final one, of that backend; the 100s */
    unsigned interim_got;          /* what the client got of them, of all backends */
    struct buffer tunnel_said;     /* what that backend said behind a 101 */
    uint8_t on_server[WORLD_SERVERS];
    unsigned servers, continues;
    bool answering; /* the final head went to the client */
};

struct caller {
    struct memory_wire wire;
    struct list link;
    char ip[16];
    struct buffer outbox;   /* not sent yet */
    struct buffer unparsed; /* read by the proxy, its meaning still open */
    struct request **requests;
    size_t nrequests, nanswered;
    struct http_message answer;
    bool answer_open;
    bool head_checked, passed; /* of the answer: passed on from a backend */
    bool last_request;         /* nothing more is read as a request */
    bool last_answer;          /* nothing more may come, for the one before said so */
    bool excused;              /* has caused itself that it may be cut off */
    struct request *tunnel;    /* the one that was answered 101 */
    struct buffer tunnel_sent;
    size_t tunnel_got;
};

struct backend {
    struct memory_wire wire;
    struct list link;
    unsigned server;
    uint64_t since_ms; /* by the time of the deadlines */
    struct buffer outbox;
    struct caller *client;   /* of the request */
    struct request *request; /* the last one it got */
    struct caller *owner;    /* the one whose identity it has; NULL: none */
    unsigned nrequests;
    bool dirty; /* may not be used again */
    bool began; /* the PROXY head has come, if there is one */
    bool tunnel;
    size_t tunnel_got;
};

enum world_connect {
    CONNECT_ACCEPT,
    CONNECT_REFUSE,
    CONNECT_LATER,
    CONNECT_NO_FILE,
    CONNECT_NO_WAY
};

struct world {
    struct snapshot *snapshot;
    struct worker worker;
    struct list clients, backends; /* the newest in front */
    struct caller *open[WORLD_CLIENTS];
    unsigned nclients, nbackends, serial;
    uint32_t max_head;
    unsigned retries;
    unsigned downs;  /* servers that went down: such a move uses up no retry */
    bool proxy_head; /* connections to backends begin with one, version 1 */
    bool failing;    /* no memory, or all is being aborted: nobody is owed an answer */
    enum world_connect connect[WORLD_SERVERS];
};

extern struct world world;

/* Empty, without a worker. */
void world_init(void);
void world_deinit(void);
/* A client connects; its place must be free. */
void world_open(unsigned place);
/* What the worker counts is what can be seen of it. */
void world_check(void);
