/* What is known of a request when it ends, and the one exit of every request.
 *
 * What for: statistics are counted in record_end() and nowhere else; an access log would be written
 * there as well.
 * Invariants: each request, answered, refused or abandoned, is recorded exactly once, by the code
 * that ends it.
 * Ownership: a plain value.
 * Threads: one worker. */
#pragma once
#include "proxy/ground.h"

enum end_reason {
    END_OPEN,       /* it has not ended */
    END_ANSWERED,   /* a server's answer was passed on whole */
    END_UPGRADED,   /* a server answered 101: the connection becomes a tunnel */
    END_REFUSED,    /* malformed, or answered by the proxy itself (Max-Forwards) */
    END_SLOW,       /* its head or body came too slowly */
    END_OVERFLOW,   /* the listener is at its max_connections, or descriptors are short */
    END_NO_ROUTE,   /* none of the listener's routes matches */
    END_NO_SERVER,  /* no server in service may serve its key, or all are at their limits */
    END_FAILED,     /* all tries were refused, reset or answered by what is not HTTP */
    END_TIMED_OUT,  /* connecting or the answer took too long */
    END_CUT,        /* the server broke off in the middle of the answer */
    END_STALLED,    /* the server stopped in the middle of the answer */
    END_NO_MEMORY,  /* the proxy ran out of memory or descriptors */
    END_CLIENT_LEFT /* the client went, did not read, or the proxy ended its connection */
};

struct request_record {
    enum end_reason reason;
    uint16_t status;         /* of the answer that the client gets; 0: none */
    bool answered;           /* that answer was handed over whole, or is the proxy's own */
    uint64_t started_ms;     /* on the loop's clock, when its head was complete; 0: never */
    uint64_t first_byte_ms;  /* when the final answer's head had come; 0: none came */
    uint64_t received, sent; /* bytes of the request as it came, and of the answer as the server
                                gave it, heads included */
};

/* Counts a request that was answered: its status, and its duration if its head was complete. */
void record_end(struct worker_listener *wl, const struct request_record *r);
/* "answered", "no server", ...: for logs and tests. */
const char *end_reason_name(enum end_reason r);
