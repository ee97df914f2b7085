/* A small HTTP/1.1 server: the admin interface and the demo's backends stand on it, and so do the
 * test backends of the load tester.
 *
 * What for: keep-alive, pipelined requests in order, request bodies that are bounded and read
 * whole. A handler answers at once, or it keeps the request and answers at another time. It gives
 * the body of its answer whole, or feeds it in pieces as the client takes them.
 * Invariants: a connection has one request at a time; the next one is looked at when the last byte
 * of the answer is with the kernel. In the steady state a request costs one read, one write and no
 * allocation. A request must arrive within the idle timeout of its first byte, and a client must
 * take what is written to it within that time; how long a handler keeps a request is its own
 * business. A request that is refused is answered and the connection closed, after what the client
 * still sends was read for a while, so that it gets to see the answer.
 * Ownership: httpd_new() to httpd_close(); the memory goes with the last handle, before on_closed
 * is called. The struct net is the caller's and must outlive that. A struct httpd_request belongs
 * to the server; a handler that keeps it may use it until on_end. Threads: the loop's. */
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
#define HTTPD_MAX_BODY (1024 * 1024) /* larger: 413 */

struct httpd_request;

/* What happens to a request that its handler keeps. */
struct httpd_request_ops {
    /* A fed body: what was fed is with the kernel, or almost; feed more. */
    void (*on_drain)(struct httpd_request *q);
    /* The last call for this request. whole: all of the answer was given to the kernel, which may
     * happen within httpd_answer() and httpd_finish(). Otherwise the client has gone, the server
     * was closed or the answer given up: this never comes from within a function of httpd's. */
    void (*on_end)(struct httpd_request *q, bool whole);
};

/* A request, its body complete. */
struct httpd_request {
    /* These slices, and the bytes that head's offsets are about, are good until the handler
     * returns. */
    const char *base;
    struct str path;
    struct str query; /* without the '?'; empty if none */
    struct str body;
    /* Until on_end. */
    const struct head *head;
    int status; /* of the answer; 0: none was given */
    /* Of a request that is kept. */
    const struct httpd_request_ops *ops; /* NULL: it is not */
    void *user;
};

enum httpd_content {
    HTTPD_WHOLE,   /* `body`, or else `text`, with its length */
    HTTPD_SIZED,   /* `length` bytes will be fed */
    HTTPD_CHUNKED, /* any number of bytes will be fed, each piece is a chunk; an HTTP/1.0 client
                      gets them as they are, up to the end of the connection */
    HTTPD_FRAMED,  /* chunked too, but the handler feeds the chunks' framing as well; not for an
                      HTTP/1.0 client */
};

/* What the handler fills in. It starts as 200, text/plain, an empty body. Nothing of it needs to
 * stand any longer than the handler or httpd_answer() runs. */
struct httpd_answer {
    int status;
    const char *type;           /* Content-Type; NULL: none */
    struct str body;            /* p NULL: see text */
    struct buffer *text;        /* empty at first: to compose a body in; NULL: none */
    struct buffer *fields;      /* further field lines, see httpd_field(); NULL: none */
    enum httpd_content content; /* all but HTTPD_WHOLE: of a request that is kept */
    size_t length;
    bool close; /* close the connection afterwards */
};

/* Answers a request by filling in *a, or keeps it. False: memory is out; the client gets a 500 and
 * the connection is closed. */
typedef bool httpd_handle_fn(void *arg, struct httpd_request *q, struct httpd_answer *a);
/* A request that the server refuses with that status, which may have been read in part only: it has
 * neither path, query, head nor body. It is to be kept, or answered by httpd_refuse(). */
typedef void httpd_refuse_fn(void *arg, struct httpd_request *q, int status);
typedef void httpd_closed_fn(void *arg);

struct httpd_options {
    httpd_handle_fn *handle;
    httpd_refuse_fn *refuse; /* NULL: refused requests are answered at once */
    void *arg;
    unsigned max_connections; /* beyond, new ones are closed; 0: 1024 */
    uint64_t idle_timeout_ms; /* 0: one minute */
};

struct httpd_counts {
    uint64_t accepted;    /* connections since the start, without those beyond the limit */
    unsigned connections; /* open now */
};

struct httpd;

struct httpd *httpd_new(struct net *n, const struct httpd_options *o);
/* Once. Port 0 takes a free one, see httpd_address(). False: "listen ADDR: why"; the server must
 * still be closed. */
bool httpd_listen(struct httpd *s, const struct addr *a, struct error *e);
/* The address it really listens on. */
const struct addr *httpd_address(const struct httpd *s);
/* Good until the server is closed. */
const struct httpd_counts *httpd_counts(const struct httpd *s);
/* Stops listening. Answers that are on their way go out, for a second at most: those that are
 * complete, and fed bodies as long as some of their bytes wait for the socket. All other
 * connections are closed at once. No handler is called any more. on_closed may be NULL. */
void httpd_close(struct httpd *s, httpd_closed_fn *on_closed, void *arg);

/* In the handler: the answer comes later, by httpd_answer() or httpd_refuse(), and what the handler
 * returns does not count. Until it comes, the end of the client's stream is taken for its going. */
void httpd_keep(struct httpd_request *q, const struct httpd_request_ops *ops, void *user);
/* Answers a request that is kept. A body that is to be fed is not fed (it ends at once) if the
 * method or the status has none: HEAD, 204, 304. */
void httpd_answer(struct httpd_request *q, const struct httpd_answer *a);
/* Answers with a status and its reason as text, and closes the connection afterwards. */
void httpd_refuse(struct httpd_request *q, int status);
/* The next bytes of the body; those that the socket does not take now are copied. True: feed more.
 * False: on_drain will come for that, or on_end. */
bool httpd_feed(struct httpd_request *q, struct str bytes);
/* All of the body was fed. */
void httpd_finish(struct httpd_request *q);
/* The answer cannot be given, or not to its end: closes the connection. */
void httpd_give_up(struct httpd_request *q);

/* The first field line of that name, any case. False: absent. */
bool httpd_header(const struct httpd_request *q, const char *name, struct str *value);
/* Adds a field line; neither name nor value may hold a CR or LF. False: memory is out. */
bool httpd_field(struct httpd_answer *a, const char *name, struct str value);

enum httpd_query { QUERY_ABSENT, QUERY_FOUND, QUERY_BAD };
/* The first parameter `name` of a query, percent-decoded ('+' stays '+') and appended to value.
 * QUERY_BAD: broken percent-encoding, or memory is out. */
enum httpd_query httpd_query(struct str query, const char *name, struct buffer *value);
/* Percent-decodes s onto out. False: broken encoding, or memory is out. */
bool httpd_decode(struct str s, struct buffer *out);
