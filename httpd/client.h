/* The structs of httpd/, for httpd.c and client.c alone.
 *
 * What for: httpd.c opens and closes the server and accepts; client.c reads the requests of a
 * connection, calls the handler and writes the answers.
 * Invariants, ownership and threads: as in httpd.h. */
#pragma once
#include <time.h>

#include "base/list.h"
#include "http/framing.h"
#include "http/parser.h"
#include "httpd/httpd.h"
#include "net/acceptor.h"

struct httpd {
    struct net *net;
    struct httpd_options options;
    struct acceptor acceptor;
    uv_timer_t grace;
    bool listening, closing, accept_failing;
    unsigned handles; /* how many are open; the last one to close frees the server */
    struct httpd_counts counts;
    struct list clients;
    struct deadline_queue idle, linger;
    struct addr address;
    struct buffer text, fields; /* of the answer that a handler fills in */
    struct buffer out;          /* the head that is written */
    time_t date_at;             /* when `date` was made */
    char date[64];
    size_t date_len;
    httpd_closed_fn *on_closed;
    void *closed_arg;
};

/* A client's connection:
 *
 *            head is complete             body is complete
 *    HEAD ------------------------> BODY -------------------> ASKED
 *    ^  \_____ there is no body, or it is refused, denied ___^  |
 *    |                                                          | httpd_answer()
 *    |                               the body is fed            |     or httpd_refuse()
 *    |                      FED <-------------------------------+
 *    |       httpd_finish()  |                                  | all of it is given
 *    |                       '--------------> SENT <------------'
 *    '--- the last byte is with the kernel --' |
 *                                              | the same, and `last` is set
 *    CLOSED <-- end of stream, or too late -- LINGER
 *
 * CLOSED may follow each of them. Bytes that come in ASKED, FED and SENT are left with the conn,
 * which stops to read when they are many. */
enum state {
    STATE_HEAD,   /* a head is to come, a part of it may have come */
    STATE_BODY,   /* `in` holds the head, and what has come of the body, decoded */
    STATE_ASKED,  /* the handler has the request, and has not answered it */
    STATE_FED,    /* the head of the answer is written, and its body is fed */
    STATE_SENT,   /* all of the answer is written, some of it may wait for the socket */
    STATE_LINGER, /* our side is shut down, what still comes is dropped */
    STATE_CLOSED, /* conn_close() was called */
};

struct client {
    struct conn conn;
    struct httpd *server;
    struct list link;
    struct deadline deadline; /* in the server's idle or linger, or in none */
    enum state state;
    bool last;                  /* no request follows this one */
    bool ended;                 /* the peer has shut down its side */
    enum httpd_content content; /* of the answer; HTTPD_FRAMED: what is fed is written as it is */
    size_t left;                /* HTTPD_SIZED: bytes that are still to be fed */
    size_t max_body;            /* of the request, once it is admitted */
    struct buffer in;           /* used for requests with a body, see STATE_BODY */
    struct parser parser;
    struct framing framing;
    struct head head;
    struct httpd_request request;
};

/* Takes over an accepted connection. False: memory is out, and the descriptor is closed. */
bool httpd_client_open(struct httpd *s, int fd);
/* Closes; the memory is freed later. A second call does nothing. */
void httpd_client_close(struct client *c);
/* Tells the server that a connection is closed and freed. This one is in httpd.c. */
void httpd_client_gone(struct httpd *s);
