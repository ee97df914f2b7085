/* The protocol of a load's connections: how a request is composed, and where an answer ends.
 *
 * What for: `ringbench http` and `ringbench tcp` differ in this alone; client.c has the connection,
 * load.c the schedule.
 * Ownership: a wire is constant once made and outlives the load. The state of reading answers on
 * one connection is a struct wire_reader, of a size that the wire tells, zeroed when the connection
 * opens.
 * Threads: a wire is shared and read-only, a reader belongs to one connection. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/str.h"

struct wire_reader;

enum wire_result {
    WIRE_MORE, /* the answer goes on */
    WIRE_DONE, /* the answer ended with the last byte used */
    WIRE_BAD,  /* the bytes are no answer */
};

/* An answer; slices point into the bytes that were read or into the reader. */
struct wire_answer {
    uint16_t status;    /* of HTTP; else 0 */
    bool keep;          /* the connection may carry further requests */
    struct str backend; /* who answered; empty: the answer does not say it */
};

struct wire {
    /* Appends a request for the key (empty: none). False: no memory. */
    bool (*put)(const struct wire *w, struct str key, struct buffer *out);
    /* Takes some or all of data[0, len) and sets *used to how much; it may overwrite that much. */
    enum wire_result (*take)(const struct wire *w, struct wire_reader *r, char *data, size_t len,
                             size_t *used, struct wire_answer *a);
    /* The server closed the connection. True: that completed the answer that was being read. */
    bool (*take_end)(const struct wire *w, struct wire_reader *r, struct wire_answer *a);
    void (*reset)(const struct wire *w, struct wire_reader *r); /* releases and zeroes */
    size_t reader_size;
};
