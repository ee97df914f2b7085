/* A small HTTP/1.1 server: the admin interface, the demo's backends and the load tester's test
 * backends stand on it.
 *
 *   handler -> fills in the answer, and returns                      answered at once
 *           -> httpd_keep ... httpd_answer                           answered later
 *           -> httpd_keep ... httpd_answer (not HTTPD_WHOLE)
 *                   -> httpd_feed, on_drain, httpd_feed ... -> httpd_finish    fed
 *
 * What for: keep-alive, pipelined requests in order, request bodies that are bounded and read
 * whole. A handler answers at once, or keeps the request and answers later. It gives the body of
 * its answer whole, or feeds it in pieces as the client takes them.
 * Invariants: a connection has one request at a time; the next one is read when the kernel has the
 * last byte of the answer. In the steady state a request costs one read, one write and no
 * allocation. A request must come within the idle timeout of its first byte, and a client must take
 * what is written to it within that time; how long a handler keeps a request is its own business.
 * After a request that is refused the connection is closed, but first what the client still sends
 * is read for a while, so that a reset does not destroy the answer.
 * Ownership: httpd_new() to httpd_close(); the memory is freed with the last handle, before
 * on_closed. The struct net is the caller's, and must outlive that. A struct httpd_request belongs
 * to the server; a handler that keeps it may use it until on_end.
 * Threads: the loop's. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/str.h"
#include "http/head.h"
#include "net/conn.h"

#define HTTPD_MAX_HEAD (16 * 1024)   /* larger: 414 or 431 */
#define HTTPD_MAX_BODY (1024 * 1024) /* larger: 413, see httpd_admit_fn */

struct httpd_request;

/* What the server reports about a request that its handler keeps. */
struct httpd_request_ops {
    /* Of a body that is fed: the kernel has almost all of it; feed more. */
    void (*on_drain)(struct httpd_request *q);
    /* The last call for this request. whole: the kernel has all of the answer; then the call may
     * come within httpd_answer() or httpd_finish(). Otherwise the client has gone, the server was
     * closed, or the answer was given up; then it never comes within a function of httpd's. */
    void (*on_end)(struct httpd_request *q, bool whole);
};

/* A request, its body complete. */
struct httpd_request {
    /* Until the handler returns: these slices, and the bytes to which the head's offsets refer. */
    const char *base;
    struct str path;
    struct str query; /* without the '?'; empty if none */
    struct str body;
    /* Until on_end. */
    const struct head *head;
    int status; /* of the answer; 0: none was given */
    /* Set by httpd_keep(). */
    const struct httpd_request_ops *ops; /* NULL: the request is not kept */
    void *user;
};

enum httpd_content {
    HTTPD_WHOLE,   /* `body`, or else `text`, with its length */
    HTTPD_SIZED,   /* `length` bytes will be fed */
    HTTPD_CHUNKED, /* any number of bytes will be fed, each piece is a chunk; an HTTP/1.0 client
                      gets them as they are, up to the end of the connection */
    HTTPD_FRAMED,  /* chunked too, but the handler feeds chunks with their framing; not for an
                      HTTP/1.0 client */
};

/* An answer. The handler gets one that says 200, text/plain and an empty body. What it points to
 * need not live longer than the call of the handler or of httpd_answer(). */
struct httpd_answer {
    int status;
    const char *type;           /* Content-Type; NULL: none */
    struct str body;            /* p NULL: `text` is the body */
    struct buffer *text;        /* empty at first, to compose a body in; NULL: none */
    struct buffer *fields;      /* further field lines, see httpd_field(); NULL: none */
    enum httpd_content content; /* other than HTTPD_WHOLE only if the request is kept */
    size_t length;              /* of the body, for HTTPD_SIZED */
    bool close;                 /* close the connection afterwards */
};

/* Answers a request by filling in *a, or keeps it. False: memory is out; the client gets a 500 and
 * the connection is closed. */
typedef bool httpd_handle_fn(void *arg, struct httpd_request *q, struct httpd_answer *a);
/* A request that the server refuses with that status. It may have been read in part only, so it has
 * neither path, query, head nor body. The function keeps it, or answers it by httpd_refuse(). */
typedef void httpd_refuse_fn(void *arg, struct httpd_request *q, int status);
enum httpd_admission {
    HTTPD_ADMIT, /* the body is to be read */
    HTTPD_DENY, /* *a is the answer, given whole; the body is not read, and the connection is closed
                   afterwards */
    HTTPD_MEMORY, /* memory is out; the client gets a 500 and the connection is closed */
};

/* Looks at a request with a body when its head is complete: q has path, query and head until the
 * function returns, and an empty body. A client that waits for a 100 (RFC 9110 10.1.1) has not sent
 * the body yet. *max_body: the bytes that the body may have, HTTPD_MAX_BODY unless the function
 * changes it. The function can't keep the request. */
typedef enum httpd_admission httpd_admit_fn(void *arg, struct httpd_request *q,
                                            struct httpd_answer *a, size_t *max_body);
typedef void httpd_closed_fn(void *arg);

struct httpd_options {
    httpd_handle_fn *handle;
    httpd_admit_fn *admit;   /* NULL: every body is read */
    httpd_refuse_fn *refuse; /* NULL: the server answers refused requests at once */
    void *arg;
    unsigned max_connections; /* above it, new connections are closed; 0: 1024 */
    uint64_t idle_timeout_ms; /* 0: one minute */
};

struct httpd_counts {
    uint64_t accepted;    /* connections since the start, without those above the limit */
    unsigned connections; /* open now */
};

struct httpd;

struct httpd *httpd_new(struct net *n, const struct httpd_options *o);
/* To be called once. Port 0 takes a free port, see httpd_address(). False: the error says "listen
 * ADDR: why"; the server must still be closed. */
bool httpd_listen(struct httpd *s, const struct addr *a, struct error *e);
/* The same on a socket that is bound or listens already, which becomes the server's in any case. */
bool httpd_listen_on(struct httpd *s, int fd, struct error *e);
/* The address that the server listens on, with its real port. */
const struct addr *httpd_address(const struct httpd *s);
/* The listening socket, which stays the server's. */
int httpd_socket(const struct httpd *s);
/* Good until the server is closed. */
const struct httpd_counts *httpd_counts(const struct httpd *s);
/* Stops listening. Answers on their way may go out for a second at most: complete ones, and fed
 * bodies as long as some of their bytes wait for the socket. All other connections are closed at
 * once. No handler is called any more. on_closed may be NULL. */
void httpd_close(struct httpd *s, httpd_closed_fn *on_closed, void *arg);

/* To be called in the handler: the answer will come later, by httpd_answer() or httpd_refuse(), and
 * what the handler returns does not count. Until then a client that ends its side counts as gone.
 */
void httpd_keep(struct httpd_request *q, const struct httpd_request_ops *ops, void *user);
/* Answers a request that is kept. True: its body is to be fed now. False: nothing is to be fed, and
 * on_end may have come: the answer is given whole, its method or status has no body (HEAD, 204,
 * 304), the client has gone, or memory is out, which is answered by a 500. */
bool httpd_answer(struct httpd_request *q, const struct httpd_answer *a);
/* Answers with a status and its reason as text, and closes the connection afterwards. */
void httpd_refuse(struct httpd_request *q, int status);
/* Feeds the next bytes of the body; those that the socket does not take now are copied. True: feed
 * more now. False: wait for on_drain, or on_end. */
bool httpd_feed(struct httpd_request *q, struct str bytes);
/* All of the body was fed. */
void httpd_finish(struct httpd_request *q);
/* The answer can't be given, or not to its end: closes the connection. */
void httpd_give_up(struct httpd_request *q);

/* The value of the first field line with that name, in any case. False: there is none. */
bool httpd_header(const struct httpd_request *q, const char *name, struct str *value);
/* Adds a field line; neither name nor value may hold a CR or LF. False: memory is out. */
bool httpd_field(struct httpd_answer *a, const char *name, struct str value);

enum httpd_query { QUERY_ABSENT, QUERY_FOUND, QUERY_BAD };
/* The first parameter `name` of a query, percent-decoded ('+' stays '+') and appended to value.
 * QUERY_BAD: broken percent-encoding, or memory is out. */
enum httpd_query httpd_query(struct str query, const char *name, struct buffer *value);
/* Whether all parameters of a query are among the n names. */
bool httpd_query_knows(struct str query, const char *const names[], size_t n);
/* Percent-decodes s onto out. False: broken encoding, or memory is out. */
bool httpd_decode(struct str s, struct buffer *out);
