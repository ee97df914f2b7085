/* When a test backend answers, and how fast: later, never, in chunks, dripping, or stalled.
 *
 * What for: a server of httpd/ answers at once and whole. Requests that are to be answered
 * otherwise are kept here until their time, and large or slow bodies are fed to the server in
 * pieces.
 * Invariants: nothing is answered early: delays and stalls are lower bounds, on the real clock;
 * a delay counts from when the request was complete. An answer costs no allocation if it goes at
 * once and its body is short and not in chunks.
 * Ownership: pace_new() to pace_free(), which comes after the end of the loop. Bodies and fields
 * are the caller's and stand until pace_free().
 * Threads: the loop's. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/str.h"
#include "httpd/httpd.h"

#define PACE_NEVER UINT64_MAX

struct pace_answer {
    int status;
    struct str body;
    struct buffer *fields; /* further field lines; NULL: none */
    uint64_t delay_ms;     /* it is held back so long; PACE_NEVER: not sent at all */
    size_t chunk_size; /* not 0: the body goes in chunks of so many bytes, fewer in the last one and
                          where a slow body is cut; whole, with its length, to a 1.0 client */
    uint64_t drip_ms;  /* not 0: the head goes at once, the body evenly over that time, its last
                          byte at the end of it; a peer that is slow gets what was due meanwhile */
    bool counted;      /* in pace_counts(), once its last byte was given to the kernel */
};

struct pace_counts {
    uint64_t answered; /* of the answers that are `counted` */
    uint64_t errors;   /* of those, with a status of 400 or more */
};

struct pace;

struct pace *pace_new(uv_loop_t *loop);
/* After httpd_close(): its handle on the loop is closed, nothing goes on that waits. */
void pace_close(struct pace *p);
void pace_free(struct pace *p);

/* For httpd's handlers: these two keep the request. False: memory is out, it is not kept. */
bool pace_answer(struct pace *p, struct httpd_request *q, const struct pace_answer *a);
bool pace_refuse(struct pace *p, struct httpd_request *q, int status);

/* From now on for that long none of these answers begins, and none goes on but for what was given
 * to httpd already. What is due goes out when the time is over. Again: the new time counts; 0 ends
 * it. */
void pace_stall(struct pace *p, uint64_t ms);
uint64_t pace_stalled(const struct pace *p); /* ms left, rounded up */
const struct pace_counts *pace_counts(const struct pace *p);
