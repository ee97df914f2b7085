/* A small HTTP/1.1 server: the admin interface, the demo's backends and `ringbench serve` stand on
 * it.
 *
 * What for: keep-alive, pipelined requests in order, bounded bodies read whole (by length or
 * chunked), one handler that answers at once; the answer may be held back, go out in chunks or
 * slowly. Not for proxying: a handler has the whole body of its answer at hand.
 * Invariants: a connection handles one request after another; in the steady state a request costs
 * one read, one write and no allocation (a body in chunks or over 64 KiB may take more writes, a
 * slow one takes some hundred). A request must arrive within the idle timeout of its first
 * byte. A head or body that is refused is answered and the connection closed, after what the peer
 * still sends was read for a while, so that it gets to see the answer. Nothing is answered early:
 * delays are measured from when the request was complete, on the real clock.
 * Ownership: miniserver_new() to miniserver_close(); the memory goes with the last handle, before
 * on_closed is called. Threads: the loop's. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/addr.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/str.h"
#include "http/head.h"

#define MINISERVER_MAX_HEAD (16 * 1024)   /* larger: 414 or 431 */
#define MINISERVER_MAX_BODY (1024 * 1024) /* larger: 413 */
#define MINISERVER_NEVER UINT64_MAX

/* A request, its body complete. All slices are good until the handler returns. */
struct miniserver_request {
    const struct head *head;
    const char *base; /* what the head's offsets count from */
    struct str path;
    struct str query; /* without the '?'; empty if none */
    struct str body;
};

/* What the handler fills in; it starts as 200, text/plain, an empty body. */
struct miniserver_answer {
    int status;
    const char *type;      /* Content-Type; NULL: none */
    struct str body;       /* must stand until the handler returned; p NULL: see text */
    struct buffer *text;   /* empty at first: to compose a body in */
    struct buffer *fields; /* further field lines, see miniserver_field() */
    uint64_t delay_ms;     /* the answer is held back so long; MINISERVER_NEVER: not sent at all */
    bool close;            /* close the connection afterwards */

    bool lasting;      /* body stands until on_closed is called, so it need not be copied */
    size_t chunk_size; /* not 0: the body goes in chunks of so many bytes, fewer in the last one and
                          where a slow body is cut; whole, with its length, to a 1.0 client */
    uint64_t drip_ms;  /* not 0: the head goes at once, the body evenly over that time, its last
                          byte at the end of it; a peer that is slow gets what was due meanwhile */
    bool urgent;       /* miniserver_stall() does not hold it */
    bool counted;      /* in miniserver_counts(), once its last byte was given to the kernel */
};

struct miniserver_counts {
    uint64_t accepted;    /* connections since the start, without those beyond the limit */
    unsigned connections; /* open now */
    uint64_t answered;    /* of the answers that are `counted` */
    uint64_t errors;      /* of those, with a status of 400 or more */
};

/* Answers a request. False: memory is out; the client gets a 500 and the connection is closed. */
typedef bool miniserver_handle_fn(void *arg, const struct miniserver_request *q,
                                  struct miniserver_answer *a);
typedef void miniserver_closed_fn(void *arg);

struct miniserver_options {
    miniserver_handle_fn *handle;
    void *arg;
    unsigned max_connections; /* beyond, new ones are closed; 0: 1024 */
    uint64_t idle_timeout_ms; /* 0: one minute */
};

struct miniserver;

struct miniserver *miniserver_new(uv_loop_t *loop, const struct miniserver_options *o);
/* Once. Port 0 takes a free one, see miniserver_address(). False: "listen ADDR: why"; the server
 * must still be closed. */
bool miniserver_listen(struct miniserver *s, const struct addr *a, struct error *e);
/* The address it really listens on. */
const struct addr *miniserver_address(const struct miniserver *s);
/* Good until the server is closed. */
const struct miniserver_counts *miniserver_counts(const struct miniserver *s);
/* From now on for that long no answer begins, and none goes on that is not with the kernel already,
 * but for urgent ones. Requests are still handled; what is due goes out when the time is over.
 * Again: the new time counts; 0 ends it. */
void miniserver_stall(struct miniserver *s, uint64_t ms);
uint64_t miniserver_stalled(const struct miniserver *s); /* ms left, rounded up */
/* Stops listening, lets answers that are on their way go out (for a second at most), closes the
 * rest at once. The handler is not called any more. on_closed may be NULL. */
void miniserver_close(struct miniserver *s, miniserver_closed_fn *on_closed, void *arg);

/* The first field line of that name, any case. False: absent. */
bool miniserver_header(const struct miniserver_request *q, const char *name, struct str *value);
/* Adds a field line; neither name nor value may hold a CR or LF. False: memory is out. */
bool miniserver_field(struct miniserver_answer *a, const char *name, struct str value);

enum miniserver_query { QUERY_ABSENT, QUERY_FOUND, QUERY_BAD };
/* The first parameter `name` of a query, percent-decoded ('+' stays '+') and appended to value.
 * QUERY_BAD: broken percent-encoding, or memory is out. */
enum miniserver_query miniserver_query(struct str query, const char *name, struct buffer *value);
/* Percent-decodes s onto out. False: broken encoding, or memory is out. */
bool miniserver_decode(struct str s, struct buffer *out);
